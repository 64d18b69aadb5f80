package alloc

import (
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestLowest_numbers_fill_gaps_first(t *testing.T) {
	for _, c := range []struct {
		taken       []uint32
		first, last uint32
		n           int
		want        []uint32
	}{
		{nil, 1, 10, 2, []uint32{1, 2}},
		{[]uint32{1, 2, 4}, 1, 10, 3, []uint32{3, 5, 6}},
		{[]uint32{1, 2, 3}, 1, 3, 1, nil},
		{[]uint32{2}, 1, 3, 9, []uint32{1, 3}},
		{[]uint32{0xffffffff}, 0xfffffffe, 0xffffffff, 5, []uint32{0xfffffffe}},
	} {
		if got := Lowest(c.taken, c.first, c.last, c.n); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%+v: got %v", c, got)
		}
	}
}

func TestLowest_agrees_with_looking_at_every_number(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		last := rapid.Uint32Range(1, 60).Draw(t, "last")
		taken := rapid.SliceOfDistinct(rapid.Uint32Range(1, last), rapid.ID).Draw(t, "taken")
		n := rapid.IntRange(0, 20).Draw(t, "n")
		slices.Sort(taken)
		var want []uint32
		for i := uint32(1); i <= last && len(want) < n; i++ {
			if !slices.Contains(taken, i) {
				want = append(want, i)
			}
		}
		if got := Lowest(taken, 1, last, n); !reflect.DeepEqual(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

func TestBlocks_cover_a_range_and_the_first_with_room_is_found(t *testing.T) {
	for _, b := range []Block{{1, 0xffffff}, {1, 5}, {7, 7}, {0, 0xffffffff}} {
		parts := Split(b, 64)
		if len(parts) > 64 || parts[0].First != b.First || parts[len(parts)-1].Last != b.Last {
			t.Fatalf("%v: %v", b, parts)
		}
		for i := 1; i < len(parts); i++ {
			if parts[i].First != parts[i-1].Last+1 {
				t.Fatalf("%v: a gap or overlap: %v", b, parts)
			}
		}
	}
	parts := Split(Block{1, 9}, 3)
	if got, ok := FirstWithRoom(parts, []int64{3, 2, 0}); !ok || got != (Block{4, 6}) {
		t.Error(got, ok)
	}
	if _, ok := FirstWithRoom(parts, []int64{3, 3, 3}); ok {
		t.Error("room in a full range")
	}
}

func TestPools_of_subnets(t *testing.T) {
	for subnet, want := range map[string]string{
		"10.0.0.0/24":        "10.0.0.2 10.0.0.254",
		"10.0.0.0/30":        "10.0.0.2 10.0.0.2",
		"10.0.0.0/31":        "10.0.0.0 10.0.0.1",
		"10.0.0.7/32":        "10.0.0.7 10.0.0.7",
		"255.255.255.252/30": "255.255.255.254 255.255.255.254",
		"10.0.0.0/8":         "10.0.0.2 10.255.255.254",
		"0.0.0.0/1":          "0.0.0.2 127.255.255.254",
		"2001:db8::/112":     "2001:db8::2 2001:db8::ffff",
		"2001:db8::/127":     "2001:db8:: 2001:db8::1",
		"2001:db8::/126":     "2001:db8::2 2001:db8::3",
		"2001:db8::/65":      "2001:db8::2 2001:db8::ffff:ffff",
	} {
		first, last := Pool(netip.MustParsePrefix(subnet))
		if got := first.String() + " " + last.String(); got != want {
			t.Errorf("%s: %s, want %s", subnet, got, want)
		}
	}
}

func TestOffsets_and_distances_of_addresses(t *testing.T) {
	for _, c := range []struct {
		a    string
		n    uint32
		want string
	}{
		{"10.0.0.250", 10, "10.0.1.4"}, {"2001:db8::ffff:ffff:ffff:fffe", 3, "2001:db8:0:1::1"}, {"0.0.0.0", 0xffffffff, "255.255.255.255"},
	} {
		a, want := netip.MustParseAddr(c.a), netip.MustParseAddr(c.want)
		if got := Offset(a, c.n); got != want || Distance(a, got) != c.n {
			t.Errorf("%s + %d: %s, distance %d", c.a, c.n, got, Distance(a, got))
		}
	}
}
