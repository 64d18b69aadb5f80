package plug

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"net/netip"

	"tuplenet/model"
	"tuplenet/model/store"
)

// fleet is a store with hv1 … hv4 alive, of which hv1 and hv2 have ports on LS-A, hv3 on a switch of its own.
func fleet(t *testing.T) *store.Store {
	t.Helper()
	e, err := store.EmbeddedConfig{Dir: t.TempDir(), Listen: "http://127.0.0.1:0", UnsafeNoSync: true}.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	st, err := store.Open(store.Config{Endpoints: e.Endpoints(), DialTimeout: time.Minute, LeaseTTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx := t.Context()
	for i, name := range []string{"hv1", "hv2", "hv3", "hv4"} {
		_, err := st.PutChassis(ctx, &model.Chassis{Name: name, IPs: []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})}, Encaps: []model.Encap{model.EncapGeneve}})
		check(err)
		_, err = st.HoldIdentity(ctx, store.Identity{Chassis: name, Hostname: name, MachineID: name, BootID: name})
		check(err)
	}
	for _, ls := range []string{"LS-A", "LS-C"} {
		_, _, err := st.AddSwitch(ctx, &model.LogicalSwitch{Name: ls})
		check(err)
	}
	for _, p := range []struct{ port, ls, at string }{{"p3", "LS-C", "hv3"}, {"p2", "LS-A", "hv2"}, {"p1", "LS-A", "hv1"}} {
		_, _, err := st.AddSwitchPort(ctx, &model.LogicalSwitchPort{Switch: p.ls, Name: p.port})
		check(err)
		_, err = st.Bind(ctx, p.port, p.at, 0)
		check(err)
	}
	return st
}

func TestA_large_fleet_is_asked_only_where_the_port_concerns_somebody(t *testing.T) {
	st := fleet(t)
	rev, err := st.AwaitBinding(t.Context(), "p1", "hv1")
	if err != nil {
		t.Fatal(err)
	}
	if all, err := concerned(t.Context(), st, "p1", rev, 4); all != nil || err != nil {
		t.Errorf("four hosts are few: %v, %v", all, err)
	}
	some, err := concerned(t.Context(), st, "p1", rev, 3)
	if err != nil || !slices.Equal(some, []string{"hv1", "hv2"}) {
		t.Errorf("concerned are %v, %v: want those with ports on the switch", some, err)
	}
}

func TestA_port_that_nobody_binds_is_an_error_when_the_time_is_over(t *testing.T) {
	st := fleet(t)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := Settle(ctx, st, "p1", "hv4", time.Second); !errors.Is(err, ErrNotReady) {
		t.Errorf("%v", err)
	}
	// Bound, but the host does not say that it has applied it: nobody answers here. There has to be time to read who is alive.
	if _, err := Settle(t.Context(), st, "p1", "hv1", 2*time.Second); !errors.Is(err, ErrNotReady) {
		t.Errorf("%v", err)
	}
}

// A host that was busy for longer than others may take is waited for as long as there is time.
func TestThis_host_may_be_late(t *testing.T) {
	st := fleet(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	lease, err := st.HoldIdentity(ctx, store.Identity{Chassis: "hv1", Hostname: "hv1", MachineID: "hv1", BootID: "hv1"})
	if err != nil {
		t.Fatal(err)
	}
	following, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		first, answers := "", map[string]model.Answer{}
		_ = st.Follow(following, func(u store.Update) {
			for _, w := range u.Waiters {
				if first == "" {
					first = w.ID
				}
				if w.ID == first { // it is too busy for that one
					continue
				}
				answers[w.ID] = model.Answer{Affected: true}
				if err := st.PutStatus(following, lease, &model.Status{Chassis: "hv1", Applied: u.Revision, Answered: answers}); err != nil {
					t.Error(err)
				}
			}
		})
	}()
	receipt, err := Settle(ctx, st, "p1", "hv1", 2*time.Second)
	stop()
	<-ended
	if err != nil || receipt.Applied != 1 || slices.ContainsFunc(receipt.Laggards, func(l store.Laggard) bool { return l.Chassis == "hv1" }) {
		t.Errorf("%+v, %v", receipt, err)
	}
}
