package store

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/etcd/client/v3"

	"tuplenet/model"
)

func mustRevision(t *testing.T, s *Store) int64 {
	t.Helper()
	rev, err := s.Revision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

func TestWhatLiesBetweenTwoRevisions(t *testing.T) {
	s := newStore(t)
	mustSwitch(t, s, "stays")
	mustSwitch(t, s, "goes")
	mustPort(t, s, "stays", "p")
	from := mustRevision(t, s)
	if _, err := s.DeleteSwitch(t.Context(), "goes", false); err != nil {
		t.Fatal(err)
	}
	mustSwitch(t, s, "comes")
	to, err := s.Bind(t.Context(), "p", "hv1", 0)
	if err != nil {
		t.Fatal(err)
	}
	mustSwitch(t, s, "later")
	d, ok, err := s.Between(t.Context(), from, to)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	slices.SortFunc(d.Differ, compareRefs)
	if got, want := fmt.Sprint(d.Differ), "[binding/p switch/comes switch/goes]"; got != want {
		t.Errorf("differ %s, want %s", got, want)
	}
	if got, want := sighted(d.Old), "switch/goes switchport/stays/p"; got != want {
		t.Errorf("before: %s, want %s", got, want)
	}
	if got, want := sighted(d.New), "binding/p switch/comes switchport/stays/p"; got != want {
		t.Errorf("afterwards: %s, want %s", got, want)
	}
	if _, err := raw(t, s).Compact(t.Context(), to); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := s.Between(t.Context(), from, to); ok || err != nil {
		t.Errorf("the history is gone: %v %v", ok, err)
	}
}

// sighted are the objects of a sight, sorted.
func sighted(v Sight) string {
	var refs []string
	for ref := range v.Objects {
		refs = append(refs, ref.String())
	}
	slices.Sort(refs)
	return strings.Join(refs, " ")
}

// linked makes two switches behind a router, with two ports on each, of which one is bound.
func linked(t *testing.T) *Store {
	t.Helper()
	s := newStore(t)
	must := func(_ int64, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, rev, err := s.AddRouter(t.Context(), &model.LogicalRouter{Name: "LR"})
	must(rev, err)
	for i, ls := range []string{"A", "B"} {
		mustSwitch(t, s, ls)
		_, _, rev, err := s.Link(t.Context(), "LR", ls, []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i), 1}), 24)})
		must(rev, err)
		for n := range 2 {
			_, rev, err := s.AddSwitchPort(t.Context(), &model.LogicalSwitchPort{Switch: ls, Name: fmt.Sprintf("%s%d", ls, n)})
			must(rev, err)
		}
		must(s.Bind(t.Context(), ls+"0", "hv"+ls, 0))
		if err := s.PutPresence(t.Context(), "hv"+ls, []string{ls}); err != nil {
			t.Fatal(err)
		}
		must(s.PutChassis(t.Context(), chassis("hv"+ls)))
	}
	return s
}

func chassis(name string) *model.Chassis {
	return &model.Chassis{Name: name, IPs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Encaps: []model.Encap{model.EncapGeneve}}
}

func TestOnlyWhatIsAroundADifferenceIsRead(t *testing.T) {
	const skeleton = "router/LR routerport/LR/LR_to_A routerport/LR/LR_to_B switchport/A/A_to_LR switchport/B/B_to_LR"
	s := linked(t)
	from := mustRevision(t, s)
	to, err := s.Bind(t.Context(), "B1", "hvA", 0)
	if err != nil {
		t.Fatal(err)
	}
	d, ok, err := s.Between(t.Context(), from, to)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if got, want := sighted(d.Old), "chassis/hvA chassis/hvB "+skeleton+" switchport/B/B1"; got != sortedWords(want) {
		t.Errorf("before: %s, want %s", got, want)
	}
	if got, want := sighted(d.New), "binding/B1 chassis/hvA chassis/hvB "+skeleton+" switchport/B/B1"; got != sortedWords(want) {
		t.Errorf("afterwards: %s, want %s", got, want)
	}
	if want := map[string][]string{"hvA": {"A"}, "hvB": {"B"}}; !maps.EqualFunc(d.New.Present, want, slices.Equal) {
		t.Errorf("present %v, want %v", d.New.Present, want)
	}
	_, to2, err := s.AddSwitchPort(t.Context(), &model.LogicalSwitchPort{Switch: "A", Name: "new"})
	if err != nil {
		t.Fatal(err)
	}
	if d, _, err = s.Between(t.Context(), to, to2); err != nil || fmt.Sprint(d.Differ) != "[switchport/A/new]" {
		t.Errorf("a port: %v, %v", d.Differ, err)
	}
	if d, ok, err = s.Between(t.Context(), to, to); len(d.Differ) > 0 || !ok || err != nil {
		t.Errorf("nothing: %v %v %v", d.Differ, ok, err)
	}
}

func sortedWords(text string) string {
	words := strings.Fields(text)
	slices.Sort(words)
	return strings.Join(words, " ")
}

func TestEverythingIsReadWhereAChassisDoesNotSayItsSwitches(t *testing.T) {
	s := linked(t)
	from := mustRevision(t, s)
	to, err := s.PutChassis(t.Context(), chassis("silent"))
	if err != nil {
		t.Fatal(err)
	}
	d, ok, err := s.Between(t.Context(), from, to)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if d.New.Present != nil || len(d.New.Objects) != len(d.Old.Objects)+1 || d.New.Objects[model.Ref{Kind: model.KindBinding, Name: "A0"}] == nil {
		t.Errorf("old %s, new %s, present %v", sighted(d.Old), sighted(d.New), d.New.Present)
	}
	if _, err := s.DeleteChassis(t.Context(), "hvA"); err != nil {
		t.Fatal(err)
	}
	if resp, err := raw(t, s).Get(t.Context(), s.keys.presence(""), clientv3.WithPrefix()); err != nil || len(resp.Kvs) != 1 {
		t.Errorf("presence left by a deleted chassis: %v, %v", resp.Kvs, err)
	}
}

// What was written last may be none of our business; then the watch has nothing to tell.
func TestARevisionOfSomebodyElseEndsADifference(t *testing.T) {
	s := linked(t)
	from := mustRevision(t, s)
	mustSwitch(t, s, "C")
	if _, err := raw(t, s).Put(t.Context(), "/elsewhere"+s.keys.root, "x"); err != nil {
		t.Fatal(err)
	}
	d, ok, err := s.Between(t.Context(), from, mustRevision(t, s))
	if err != nil || !ok || fmt.Sprint(d.Differ) != "[switch/C]" {
		t.Errorf("%v %v %v", d.Differ, ok, err)
	}
}
