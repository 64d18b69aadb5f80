package alloc

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func nets(list ...string) (out []netip.Prefix) {
	for _, p := range list {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

func TestU20_the_lowest_prefix_that_overlaps_nothing_is_next(t *testing.T) {
	for _, c := range []struct {
		pool   []netip.Prefix
		length int
		used   []netip.Prefix
		n      int
		want   []netip.Prefix
	}{
		{nets("2a0a:e5c0::/29"), 64, nil, 2, nets("2a0a:e5c0::/64", "2a0a:e5c0:0:1::/64")},
		{nets("2a0a:e5c0::/29"), 64, nets("2a0a:e5c0::/48"), 1, nets("2a0a:e5c0:1::/64")},
		{nets("2a0a:e5c0::/29"), 48, nets("2a0a:e5c0::/64"), 1, nets("2a0a:e5c0:1::/48")},
		{nets("10.0.0.0/24"), 26, nets("10.0.0.0/26", "10.0.0.128/25"), 3, nets("10.0.0.64/26")},
		{nets("10.0.0.0/24"), 24, nets("10.0.0.7/32"), 1, nil},
		{nets("10.0.0.0/24", "192.0.2.0/24"), 25, nets("10.0.0.0/8"), 9, nets("192.0.2.0/25", "192.0.2.128/25")},
		{nets("255.255.255.0/24"), 25, nets("255.255.255.0/25"), 9, nets("255.255.255.128/25")},
		{nets("10.0.0.0/24"), 16, nil, 1, nil},
	} {
		got := Space{Prefixes: c.pool, Length: c.length}.NextPrefixes(c.used, c.n)
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("/%d of %v without %v: %v", c.length, c.pool, c.used, got)
		}
	}
}

// Whatever is used, what is next overlaps nothing of it and lies in the pool; the lowest is what trying all would find; in a
// random order all that is free is found, too.
func TestU20_prefixes_agree_with_trying_each(t *testing.T) {
	pool := nets("10.0.0.0/27", "10.0.1.0/28")
	rapid.Check(t, func(t *rapid.T) {
		length := rapid.IntRange(27, 31).Draw(t, "length")
		var used []netip.Prefix
		for range rapid.IntRange(0, 6).Draw(t, "n") {
			a := Offset(netip.MustParseAddr("10.0.0.0"), rapid.SampledFrom([]uint32{0, 1, 5, 8, 16, 24, 31, 255, 256, 264, 271}).Draw(t, "a"))
			used = append(used, netip.PrefixFrom(a, rapid.IntRange(26, 32).Draw(t, "bits")).Masked())
		}
		var want []netip.Prefix
		for _, p := range pool {
			for i := range uint64(1) << max(length-p.Bits(), 0) {
				s := Subnet(p, length, i)
				if length >= p.Bits() && !slices.ContainsFunc(used, s.Overlaps) {
					want = append(want, s)
				}
			}
		}
		if got := (Space{Prefixes: pool, Length: length}).NextPrefixes(used, 100); !reflect.DeepEqual(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
		random := Space{Prefixes: pool, Length: length, Random: true, Seed: 3}.NextPrefixes(used, 100)
		slices.SortFunc(random, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
		if !reflect.DeepEqual(random, want) {
			t.Fatalf("at random: got %v, want %v", random, want)
		}
	})
}

func TestX08_an_order_is_a_permutation_that_only_the_seed_decides(t *testing.T) {
	for _, n := range []uint64{1, 2, 3, 254, 1000} {
		seen := map[uint64]bool{}
		for i := range n {
			seen[NewOrder(n, 42).At(i)] = true
		}
		if len(seen) != int(n) {
			t.Errorf("of %d numbers %d came", n, len(seen))
		}
	}
	var first []uint64
	for i := range uint64(8) {
		first = append(first, NewOrder(254, 1).At(i))
	}
	if want := "[102 163 235 130 97 132 42 154]"; fmt.Sprint(first) != want {
		t.Errorf("the order of seed 1 is %v and was %s: nodes of two versions would differ", first, want)
	}
	if NewOrder(1<<48, 1).At(5) == NewOrder(1<<48, 2).At(5) {
		t.Error("two seeds give one order")
	}
}

func TestX05_X06_net_and_host_number_make_an_address(t *testing.T) {
	pod := Template{Network: netip.MustParsePrefix("172.16.0.0/16"), Length: 24, IPv6: netip.MustParseAddr("1000::1:0.0.0.0")}
	a, err := pod.Address(2, 3)
	if err != nil || a.String() != "172.16.2.3/24" || pod.Embed(a).String() != "1000::1:ac10:203/120" {
		t.Errorf("%s %v %s", a, err, pod.Embed(a))
	}
	six := Template{Network: netip.MustParsePrefix("2001:db8::/48"), Length: 64}
	if a, err := six.Address(0xffff, 0x10); err != nil || a.String() != "2001:db8:0:ffff::10/64" {
		t.Errorf("%s %v", a, err)
	}
	for _, c := range []struct {
		net, host uint64
		words     string
	}{{256, 1, "the nets 0 to 255"}, {0, 0, "the hosts 1 to 254"}, {0, 255, "the hosts 1 to 254"}} {
		if _, err := pod.Address(c.net, c.host); err == nil || !strings.Contains(err.Error(), c.words) {
			t.Errorf("net %d host %d: %v", c.net, c.host, err)
		}
	}
}

func TestX08_random_addresses_of_a_flat_network_do_not_meet(t *testing.T) {
	flat := Template{Network: netip.MustParsePrefix("192.168.1.0/24"), Length: 24, Random: true, Seed: 9, Reserve: 4, PerNet: 10}
	seen := map[netip.Prefix]bool{}
	for node := uint64(1); node <= 4; node++ {
		for host := range uint64(11) { // 0: the node itself
			a, err := flat.Address(node, host)
			if err != nil || seen[a] || !flat.Network.Contains(a.Addr()) {
				t.Fatalf("node %d host %d: %s %v", node, host, a, err)
			}
			seen[a] = true
		}
	}
	for _, c := range []struct {
		net, host uint64
		words     string
	}{{5, 0, "4 nodes have an address of their own"}, {0, 1, "the nets 1 to 25"}, {26, 1, "the nets 1 to 25"}, {1, 11, "the hosts 1 to 10"}} {
		if _, err := flat.Address(c.net, c.host); err == nil || !strings.Contains(err.Error(), c.words) {
			t.Errorf("net %d host %d: %v", c.net, c.host, err)
		}
	}
	flat.Length = 26
	if _, err := flat.Address(1, 1); err == nil || !strings.Contains(err.Error(), "one flat network") {
		t.Error(err)
	}
}

func TestCover_is_exact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from := rapid.Uint32Range(0, 300).Draw(t, "from")
		to := rapid.Uint32Range(from, 400).Draw(t, "to")
		base := netip.MustParseAddr("10.0.0.0")
		next := Offset(base, from)
		for _, p := range Cover(next, Offset(base, to)) {
			if p.Masked() != p || p.Addr() != next {
				t.Fatalf("%s does not follow", p)
			}
			next = LastOf(p).Next()
		}
		if next != Offset(base, to+1) {
			t.Fatalf("it ends before %s", next)
		}
	})
}
