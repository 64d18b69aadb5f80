package store

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"tuplenet/model"
)

// portsFrom are n ports of LS-A with consecutive addresses.
func portsFrom(first netip.Addr, n int) (out []model.Object) {
	for i := range n {
		out = append(out, &model.LogicalSwitchPort{Switch: "LS-A", Name: fmt.Sprintf("p%d", i), Type: model.PortVIF, IPs: []netip.Addr{first}})
		first = first.Next()
	}
	return out
}

// carried sends an addition and waits for it.
func carried(t *testing.T, a *Addition) ([]model.Object, int64, error) {
	t.Helper()
	if err := a.Send(t.Context()); err != nil {
		t.Fatal(err)
	}
	return a.Result()
}

func TestRunsHoldForEachNumberInThemAndForNoOther(t *testing.T) {
	s := newStore(t)
	key := func(k model.PortKey) string {
		return s.keys.unique(model.ClaimKey(model.Ref{Kind: model.KindSwitch, Name: "LS-A"}, k))
	}
	var guards []guard
	for _, k := range []model.PortKey{12, 8, 9, 10, 11, 19, 20, 21, 30} {
		guards = append(guards, guard{key: key(k), number: true})
	}
	guards = append(guards, absent("name1", nil), absent("name2", nil))
	var got []string
	for _, c := range runs(guards) {
		p := c.GetCompare()
		end := strings.TrimSuffix(string(p.RangeEnd), "\x00")
		got = append(got, strings.TrimPrefix(string(p.Key), s.keys.unique(""))+" "+strings.TrimPrefix(end, s.keys.unique("")))
	}
	in := "key/switch/LS-A/"
	want := []string{"name1 ", "name2 ", in + "00008 " + in + "00009", in + "00010 " + in + "00012", in + "00019 ", in + "00020 " + in + "00021", in + "00030 "}
	if !slices.Equal(got, want) {
		t.Errorf("conditions\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestABulkAdditionSaysWhichOfManyAddressesIsTaken(t *testing.T) {
	s := newStore(t)
	mustSwitch(t, s, "LS-A")
	if _, _, err := s.AddSwitchPort(t.Context(), &model.LogicalSwitchPort{Switch: "LS-A", Name: "there", IPs: []netip.Addr{netip.MustParseAddr("10.1.0.7")}}); err != nil {
		t.Fatal(err)
	}
	before := keysOf(t, s)
	sameMAC := &model.LogicalSwitchPort{Switch: "LS-A", Name: "mac", Type: model.PortVIF, IPs: []netip.Addr{netip.MustParseAddr("10.9.0.1")}, MAC: model.MAC{0xf2, 1, 10, 1, 0, 7}}
	for want, objects := range map[string][]model.Object{
		"conflict with other IP: 10.1.0.7 is used by switchport/LS-A/there":           portsFrom(netip.MustParseAddr("10.1.0.1"), 16),
		"conflict with other MAC: f2:01:0a:01:00:07 is used by switchport/LS-A/there": append(portsFrom(netip.MustParseAddr("10.1.0.20"), 5), sameMAC),
	} {
		a, err := s.Bulk().Prepare(t.Context(), objects)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err = carried(t, a); !errors.Is(err, ErrConflict) || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
		if got := keysOf(t, s); !slices.Equal(got, before) {
			t.Errorf("left behind %v", got)
		}
	}
}

func TestABulkAdditionTakesOtherKeysThanThoseThatWereTakenMeanwhile(t *testing.T) {
	s := newStore(t)
	mustSwitch(t, s, "LS-A")
	a, err := s.Bulk().Prepare(t.Context(), portsFrom(netip.MustParseAddr("10.1.0.1"), 16))
	if err != nil {
		t.Fatal(err)
	}
	mustPort(t, s.another(t), "LS-A", "faster")
	made, _, err := carried(t, a)
	if err != nil {
		t.Fatal(err)
	}
	for i, o := range made {
		if got, want := o.(*model.LogicalSwitchPort).Key, model.PortKey(i+2); got != want {
			t.Errorf("port %d has key %d, want %d", i, got, want)
		}
	}
}
