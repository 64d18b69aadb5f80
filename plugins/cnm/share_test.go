package cnm

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"time"

	"tuplenet/model"
	"tuplenet/model/store"
)

// newDriver is a driver with a store of its own, that it shares with what share makes.
func newDriver(t *testing.T) (d *Driver, share func() *Driver) {
	t.Helper()
	server, err := store.EmbeddedConfig{Dir: t.TempDir(), Listen: "http://127.0.0.1:0", UnsafeNoSync: true}.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	share = func() *Driver {
		d, err := New(Config{Etcd: server.Endpoints()[0], Router: "LR"}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Close() })
		// The same store, with more patience than the engine has: the machine may be busy.
		st, err := store.Open(store.Config{Endpoints: server.Endpoints(), DialTimeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		d.store.Close()
		d.store = st
		return d
	}
	d = share()
	if _, _, err := d.store.AddRouter(t.Context(), &model.LogicalRouter{Name: "LR"}); err != nil {
		t.Fatal(err)
	}
	return d, share
}

func testNetwork(id, chassis string) *engineNetwork {
	return &engineNetwork{ID: id, Switch: "web", Router: "LR", Chassis: chassis,
		Subnets: []netip.Prefix{netip.MustParsePrefix("10.20.4.0/24")}, Gateways: []netip.Prefix{netip.MustParsePrefix("10.20.4.1/24")}}
}

func TestT49_HostsThatMakeAndDeleteTheSameNetworkDoNotDisturbEachOther(t *testing.T) {
	a, share := newDriver(t)
	var all sync.WaitGroup
	for i, d := range []*Driver{a, share(), share()} {
		n := testNetwork([]string{"n0", "n1", "n2"}[i], []string{"h0", "h1", "h2"}[i])
		all.Go(func() {
			for round := range 25 {
				if err := d.restore(t.Context(), n); err != nil {
					t.Errorf("round %d of %s: make: %v", round, n.ID, err)
				}
				// A container comes: whatever the others have deleted is made again first.
				p, err := d.addPort(t.Context(), n, &model.LogicalSwitchPort{Switch: "web", Name: "docker-" + n.ID, Tags: []string{tagPlugin, tagChassis + n.Chassis}})
				if err != nil {
					t.Errorf("round %d of %s: container: %v", round, n.ID, err)
					continue
				}
				if linked, err := d.hasGateways(t.Context(), n); err != nil || !linked {
					t.Errorf("round %d of %s: a container is on a network without its gateway: %v", round, n.ID, err)
				}
				if _, err := d.store.DeleteSwitchPort(t.Context(), "web", p.Name); err != nil {
					t.Errorf("round %d of %s: end of the container: %v", round, n.ID, err)
				}
				if err := d.dropNetwork(t.Context(), n, false); err != nil {
					t.Errorf("round %d of %s: delete: %v", round, n.ID, err)
				}
			}
		})
	}
	all.Wait()
	// The last one to go may have met a container of another's: then the next one to go takes the switch along.
	if err := a.restore(t.Context(), testNetwork("n0", "h0")); err != nil {
		t.Fatal(err)
	}
	if err := a.dropNetwork(t.Context(), testNetwork("n0", "h0"), false); err != nil {
		t.Fatal(err)
	}
	snap, err := a.store.Snapshot(t.Context())
	if err != nil || len(snap.Objects) != 1 {
		t.Errorf("left are %v, %v", snap.Objects, err)
	}
	if notes, err := a.store.Notes(context.WithoutCancel(t.Context()), name); err != nil || len(notes) != 0 {
		t.Errorf("left are the notes %v, %v", notes, err)
	}
}

func TestT49_ASwitchOfSomebodyElseIsUsedAndNeverDeleted(t *testing.T) {
	d, _ := newDriver(t)
	ctx := t.Context()
	if _, _, err := d.store.AddSwitch(ctx, &model.LogicalSwitch{Name: "web", Subnets: []netip.Prefix{netip.MustParsePrefix("10.20.4.0/22")}}); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := d.store.Link(ctx, "LR", "web", []netip.Prefix{netip.MustParsePrefix("10.20.4.1/22")}); err != nil {
		t.Fatal(err)
	}
	n := testNetwork("n0", "")
	for range 2 {
		if err := d.restore(ctx, n); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.dropNetwork(ctx, n, true); err != nil {
		t.Fatal(err)
	}
	if linked, err := d.hasGateways(ctx, n); err != nil || !linked {
		t.Errorf("the switch of somebody else has lost its link: %v", err)
	}
	n.Subnets = []netip.Prefix{netip.MustParsePrefix("10.30.0.0/24")}
	if err := d.ensure(ctx, n); err == nil {
		t.Error("a network with another subnet than its switch was accepted")
	}
	if _, err := d.network(ctx, "n9"); err == nil || errors.Is(err, store.ErrNotFound) {
		t.Errorf("a network that nobody knows: %v", err)
	}
}
