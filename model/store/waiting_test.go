package store

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/client/v3"

	"tuplenet/model"
)

func mustWaiting(t *testing.T, s *Store) *Waiting {
	t.Helper()
	w, err := s.Waiting(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

// What it knows without asking is what is read otherwise, whatever is written; of what it does not follow it says so.
func TestWaitingKnowsWhatIsReadOtherwise(t *testing.T) {
	s := linked(t)
	rev := func(_ any, rev int64, err error) (int64, error) { return rev, err }
	nat := func(name, inside, outside string) func(*Store) (int64, error) {
		return func(s *Store) (int64, error) {
			return s.AddNAT(t.Context(), &model.NATRule{Router: "LR", Name: name, Type: model.NATFloating, Prefix: netip.MustParsePrefix(inside), External: netip.MustParseAddr(outside)})
		}
	}
	port := func(name string) func(*Store) (int64, error) {
		return func(s *Store) (int64, error) {
			return rev(s.AddSwitchPort(t.Context(), &model.LogicalSwitchPort{Switch: "A", Name: name}))
		}
	}
	if _, err := nat("before", "10.0.0.7/32", "192.0.2.107")(s); err != nil {
		t.Fatal(err)
	}
	other := s.another(t)
	w := mustWaiting(t, s)
	for _, step := range []struct {
		name  string
		write []func(*Store) (int64, error)
		over  bool
	}{
		{"a port", []func(*Store) (int64, error){port("new")}, false},
		{"its binding", []func(*Store) (int64, error){func(s *Store) (int64, error) { return s.Bind(t.Context(), "new", "hvA", 0) }}, false},
		{"the port again", []func(*Store) (int64, error){func(s *Store) (int64, error) { return s.DeleteSwitchPort(t.Context(), "A", "new") }}, false},
		{"a NAT rule", []func(*Store) (int64, error){nat("n1", "10.0.0.2/32", "192.0.2.102")}, false},
		{"two more", []func(*Store) (int64, error){nat("n2", "10.0.0.3/32", "192.0.2.103"), nat("n3", "10.0.0.4/32", "192.0.2.104")}, false},
		{"one less", []func(*Store) (int64, error){func(s *Store) (int64, error) { return s.DeleteNAT(t.Context(), "LR", "n1") }}, false},
		{"a port that comes and goes", []func(*Store) (int64, error){port("brief"), func(s *Store) (int64, error) { return s.DeleteSwitchPort(t.Context(), "A", "brief") }}, false},
		{"where a chassis is", []func(*Store) (int64, error){func(s *Store) (int64, error) { return 0, s.PutPresence(t.Context(), "hvA", []string{"A", "B"}) }, port("then")}, false},
		{"what is not followed", []func(*Store) (int64, error){func(s *Store) (int64, error) {
			return rev(s.AddRouter(t.Context(), &model.LogicalRouter{Name: "LR2"}))
		}}, true},
	} {
		from := mustRevision(t, s)
		var to int64
		for _, write := range step.write {
			var err error
			if to, err = write(s); err != nil {
				t.Fatal(step.name, err)
			}
		}
		if _, err := port("later " + step.name)(other); err != nil {
			t.Fatal(err)
		}
		got, ok, err := w.Between(t.Context(), from, to)
		if !ok || err != nil {
			t.Fatal(step.name, ok, err)
		}
		want, _, err := s.Between(t.Context(), from, to)
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(got.Differ, compareRefs)
		slices.SortFunc(want.Differ, compareRefs)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %v\n  %s\n  %s\nwant %v\n  %s\n  %s", step.name, got.Differ, sighted(got.Old), sighted(got.New), want.Differ, sighted(want.Old), sighted(want.New))
		}
		if w.Over() != step.over {
			t.Errorf("%s: over: %v", step.name, w.Over())
		}
	}
}

func TestWaitingIsRefusedWhereAChassisDoesNotSayItsSwitches(t *testing.T) {
	s := linked(t)
	if _, err := s.PutChassis(t.Context(), chassis("silent")); err != nil {
		t.Fatal(err)
	}
	if w, err := s.Waiting(t.Context()); err == nil {
		w.Close()
		t.Error("it began")
	}
}

// The request goes with the change, under one lease for all waits; nodes answer, and it goes with the next one, or at the end.
func TestP16_WaitingAgainAndAgainNeedsOneLease(t *testing.T) {
	s := newStore(t)
	a, b := liveNode(t, s, "a"), liveNode(t, s, "b")
	w := mustWaiting(t, s)
	for round := range 3 {
		id := fmt.Sprintf("w%d", round)
		w.Begin(id)
		rev := waitedChange(t, s, id)
		if resp, err := raw(t, s).Get(t.Context(), s.keys.sync(id)); err != nil || len(resp.Kvs) != 1 || resp.Kvs[0].Lease != int64(w.lease) || resp.Kvs[0].ModRevision != rev {
			t.Fatalf("the request: %v, %v", resp, err)
		}
		receipts := make(chan Receipt, 1)
		go func() {
			r, err := w.Await(t.Context(), Wait{ID: id, Revision: rev, Since: rev - 1, Chassis: []string{"a", "b"}, Limit: time.Minute})
			if err != nil {
				t.Error(err)
			}
			receipts <- r
		}()
		a.report(rev, "", map[string]model.Answer{id: affected})
		waitFor(t, "that b is asked by name", func() bool {
			resp, err := raw(t, s).Get(t.Context(), s.keys.sync(id))
			return err == nil && len(resp.Kvs) == 1 && parseRequest(resp.Kvs[0]).waiter(id).Asks("b")
		})
		b.report(rev, "", map[string]model.Answer{id: unaffected})
		if r := <-receipts; r.Affected != 1 || r.Applied != 1 || len(r.Laggards) != 0 {
			t.Fatalf("%+v", r)
		}
		var requests []string
		for _, key := range keysOf(t, s) {
			if strings.HasPrefix(key, "sync/") {
				requests = append(requests, key)
			}
		}
		if want := []string{"sync/" + id}; !slices.Equal(requests, want) {
			t.Fatalf("requests %v, want %v", requests, want)
		}
	}
	waitFor(t, "the watch to bring the end of the others", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return maps.Equal(w.past, map[string]bool{"w2": true})
	})
	w.Close()
	for _, key := range keysOf(t, s) {
		if strings.HasPrefix(key, "sync/") {
			t.Errorf("%s is left", key)
		}
	}
}

// A process that was stopped for longer than its lease lasts finds that out by a change that it waits for; the change is made all the same.
func TestP16_AWaitGoesOnWhenItsLeaseHasEnded(t *testing.T) {
	s := newStore(t)
	a := liveNode(t, s, "a")
	w := mustWaiting(t, s)
	if _, err := raw(t, s).Revoke(t.Context(), w.lease); err != nil {
		t.Fatal(err)
	}
	w.Begin("w")
	rev := waitedChange(t, s, "w")
	a.report(rev, "", map[string]model.Answer{"w": affected})
	r, err := w.Await(t.Context(), Wait{ID: "w", Revision: rev, Since: rev - 1, Chassis: []string{"a"}, Limit: time.Minute})
	if err != nil || r.Applied != 1 || len(r.Laggards) != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
}

// When it is over in the middle of a wait, the wait goes on without it.
func TestP16_AWaitOutlastsWhatItWasHelpedBy(t *testing.T) {
	s := newStore(t)
	a, b := liveNode(t, s, "a"), liveNode(t, s, "b")
	w := mustWaiting(t, s)
	w.Begin("w")
	rev := waitedChange(t, s, "w")
	a.report(rev, "", map[string]model.Answer{"w": affected})
	receipts := make(chan Receipt, 1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() {
		r, err := w.Await(ctx, Wait{ID: "w", Revision: rev, Since: rev - 1, Chassis: []string{"a", "b"}, Limit: time.Minute})
		if err != nil {
			t.Error(err)
		}
		receipts <- r
	}()
	mustRouter(t, s, "LR")
	waitFor(t, "its end", w.Over)
	b.report(rev, "", map[string]model.Answer{"w": affected})
	if r := <-receipts; r.Affected != 2 || r.Applied != 2 || len(r.Laggards) != 0 {
		t.Fatalf("%+v", r)
	}
}

// Nobody takes what is written between waits; it must not pile up.
func TestWaitingIsOverWhenMuchIsWritten(t *testing.T) {
	s := newStore(t)
	mustSwitch(t, s, "LS")
	w := mustWaiting(t, s)
	for n := 0; n <= fewKeys; n += 50 {
		var ops []clientv3.Op
		for i := range 50 {
			ops = append(ops, clientv3.OpPut(s.keys.object(model.Ref{Kind: model.KindSwitchPort, Parent: "LS", Name: fmt.Sprint("p", n+i)}), "{}"))
		}
		if _, err := raw(t, s).Txn(t.Context()).Then(ops...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, "its end", w.Over)
}
