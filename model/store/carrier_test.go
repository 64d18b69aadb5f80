package store

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"tuplenet/model"
)

// additions prepares n additions of some ports each, with addresses that follow each other.
func additions(t *testing.T, b *Bulk, n, ports int) []*Addition {
	t.Helper()
	var out []*Addition
	for i := range n {
		objects := portsFrom(netip.AddrFrom4([4]byte{10, 1, byte(i), 1}), ports)
		for _, o := range objects {
			p := o.(*model.LogicalSwitchPort)
			p.Name = fmt.Sprintf("a%d-%s", i, p.Name)
		}
		a, err := b.Prepare(t.Context(), objects)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, a)
	}
	return out
}

// commitAll commits at the same time.
func commitAll(t *testing.T, all []*Addition) (revs []int64, errs []error) {
	t.Helper()
	revs, errs = make([]int64, len(all)), make([]error, len(all))
	var under sync.WaitGroup
	for i, a := range all {
		if errs[i] = a.Send(t.Context()); errs[i] == nil {
			under.Go(func() { _, revs[i], errs[i] = a.Result() })
		}
	}
	under.Wait()
	return revs, errs
}

func TestWhatIsAddedAtTheSameTimeIsSentTogether(t *testing.T) {
	s := newStore(t)
	mustSwitch(t, s, "LS-A")
	const n, ports = 100, 15
	all := additions(t, s.Bulk(), n, ports)
	revs, errs := commitAll(t, all)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	snap, err := s.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	keys := map[model.PortKey]bool{}
	stored := map[string]int64{}
	for ref, o := range snap.Objects {
		if p, ok := o.(*model.LogicalSwitchPort); ok {
			keys[p.Key], stored[p.Name] = true, snap.Written(ref)
		}
	}
	if len(stored) != n*ports || len(keys) != n*ports {
		t.Errorf("%d ports with %d keys, want %d", len(stored), len(keys), n*ports)
	}
	for i, rev := range revs {
		if got := stored[fmt.Sprintf("a%d-p0", i)]; got != rev {
			t.Errorf("addition %d says that it was stored at revision %d, and was at %d", i, rev, got)
		}
	}
	// The first is sent alone, before others came; the rest has company.
	slices.Sort(revs)
	if sent := len(slices.Compact(revs)); sent > n/2 {
		t.Errorf("%d additions that were made at once took %d transactions", n, sent)
	}
	if found, err := s.Misclaims(t.Context()); err != nil || len(found) > 0 {
		t.Errorf("claims and objects disagree: %+v, %v", found, err)
	}
}

func TestWhatIsSentMayNeedWhatWasSentBefore(t *testing.T) {
	s := newStore(t)
	b := s.Bulk()
	var all []*Addition
	prepare := func(objects ...model.Object) {
		t.Helper()
		a, err := b.Prepare(t.Context(), objects)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, a)
	}
	prepare(&model.LogicalRouter{Name: "lr"})
	const switches = 30
	for i := range switches {
		ls := fmt.Sprintf("LS-%d", i)
		prepare(&model.LogicalSwitch{Name: ls, MACPrefix: "02:42"})
		rp, sp := model.NewLink("lr", ls, []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, byte(i), 1}), 24)})
		prepare(rp, sp)
		prepare(&model.LogicalSwitchPort{Switch: ls, Name: ls + "-p", Type: model.PortVIF, IPs: []netip.Addr{netip.AddrFrom4([4]byte{10, 1, byte(i), 2})}})
	}
	revs, errs := commitAll(t, all)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for i := range switches {
		if ls, link, p := revs[3*i+1], revs[3*i+2], revs[3*i+3]; link <= ls || p <= ls || link <= revs[0] {
			t.Errorf("switch %d was stored at revision %d, its link at %d, its port at %d, the router at %d", i, ls, link, p, revs[0])
		}
		if p := all[3*i+3].made[0].(*model.LogicalSwitchPort); !strings.HasPrefix(p.MAC.String(), "02:42:") {
			t.Errorf("%s has MAC %s", p.Name, p.MAC)
		}
	}
	slices.Sort(revs)
	if sent := len(slices.Compact(revs)); sent > len(all)/3 {
		t.Errorf("%d additions took %d transactions", len(all), sent)
	}
	if found, err := s.Misclaims(t.Context()); err != nil || len(found) > 0 {
		t.Errorf("claims and objects disagree: %+v, %v", found, err)
	}
}

func TestABulkAdditionRefusesWhatASwitchCannotHave(t *testing.T) {
	s := newStore(t)
	mustRouter(t, s, "lr")
	if _, _, err := s.AddSwitch(t.Context(), &model.LogicalSwitch{Name: "mc", Type: model.SwitchMulticast}); err != nil {
		t.Fatal(err)
	}
	rp, sp := model.NewLink("lr", "mc", []netip.Prefix{netip.MustParsePrefix("10.1.0.1/24")})
	if _, err := s.Bulk().Prepare(t.Context(), []model.Object{rp, sp}); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "invalid port of type router") {
		t.Errorf("a link to a multicast network: %v", err)
	}
}

func TestOfWhatIsSentTogetherOnlyWhatFailsFails(t *testing.T) {
	s := newStore(t)
	mustSwitch(t, s, "LS-A")
	b := s.Bulk()
	all := additions(t, b, 40, 3)
	for _, address := range []string{"10.1.7.2", "10.1.21.3"} { // taken meanwhile
		if _, _, err := s.another(t).AddSwitchPort(t.Context(), &model.LogicalSwitchPort{Switch: "LS-A", Name: "faster-" + address, Key: 900 + model.PortKey(address[5]), IPs: []netip.Addr{netip.MustParseAddr(address)}}); err != nil {
			t.Fatal(err)
		}
	}
	_, errs := commitAll(t, all)
	var failed []string
	for i, err := range errs {
		if err != nil {
			failed = append(failed, fmt.Sprintf("%d: %v", i, err))
		}
	}
	want := []string{"7: conflict with other IP: 10.1.7.2 is used by switchport/LS-A/faster-10.1.7.2", "21: conflict with other IP: 10.1.21.3 is used by switchport/LS-A/faster-10.1.21.3"}
	if !slices.Equal(failed, want) {
		t.Errorf("failed:\n%s\nwant\n%s", strings.Join(failed, "\n"), strings.Join(want, "\n"))
	}
	for _, key := range keysOf(t, s) {
		if strings.Contains(key, "/a7-") || strings.Contains(key, "/a21-") {
			t.Errorf("%s was left behind", key)
		}
	}
}

func TestAdditionsOfTheSameAtTheSameTimeAreStoredOnce(t *testing.T) {
	s := newStore(t)
	mustSwitch(t, s, "LS-A")
	b := s.Bulk()
	var all []*Addition
	for i := range 12 {
		a, err := b.Prepare(t.Context(), []model.Object{&model.LogicalSwitchPort{Switch: "LS-A", Name: "one", Type: model.PortVIF, IPs: []netip.Addr{netip.AddrFrom4([4]byte{10, 1, 0, byte(1 + i)})}}})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, a)
	}
	_, errs := commitAll(t, all)
	stored := 0
	for _, err := range errs {
		switch {
		case err == nil:
			stored++
		case !errors.Is(err, ErrExists):
			t.Error(err)
		}
	}
	if stored != 1 {
		t.Errorf("%d of 12 additions of one port say that they stored it", stored)
	}
}

func TestAnAdditionWhoseAnswerWasLostIsRecognised(t *testing.T) {
	s := newStore(t)
	mustSwitch(t, s, "LS-A")
	a := additions(t, s.Bulk(), 1, 3)[0]
	_, first, err := carried(t, a)
	if err != nil {
		t.Fatal(err)
	}
	mustSwitch(t, s, "LS-B")
	again, err := a.change(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.commit(t.Context(), again); !errors.Is(err, ErrExists) {
		t.Errorf("the same again: %v", err)
	}
	again.lost = true
	if rev, _, err := s.commit(t.Context(), again); err != nil || rev != first {
		t.Errorf("the same again, because its answer was lost: revision %d, %v, want %d", rev, err, first)
	}
}
