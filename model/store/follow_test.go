package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/v3"

	"tuplenet/model"
)

// replica keeps what Follow delivers, as a node does.
type replica struct {
	updates chan Update
	ended   chan error

	rev      int64
	resets   int
	objects  map[model.Ref]model.Object
	problems map[model.Ref]string
	waiters  []Waiter
	gone     []string
}

func follow(t *testing.T, s *Store) *replica {
	t.Helper()
	r := &replica{updates: make(chan Update, 10000), ended: make(chan error, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		r.ended <- s.Follow(ctx, func(u Update) { r.updates <- u })
	}()
	t.Cleanup(func() { cancel(); <-stopped })
	return r
}

func (r *replica) apply(u Update) {
	if u.Reset {
		r.resets++
		r.objects, r.problems, r.waiters = map[model.Ref]model.Object{}, map[model.Ref]string{}, nil
	}
	for _, c := range u.Changes {
		delete(r.objects, c.Ref)
		delete(r.problems, c.Ref)
		if c.Object != nil {
			r.objects[c.Ref] = c.Object
		} else if c.Problem != "" {
			r.problems[c.Ref] = c.Problem
		}
	}
	r.rev = u.Revision
	r.waiters = append(r.waiters, u.Waiters...)
	r.gone = append(r.gone, u.Gone...)
}

// until applies updates until the condition holds.
func (r *replica) until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	limit := time.After(time.Minute)
	for r.resets == 0 || !cond() {
		select {
		case u := <-r.updates:
			r.apply(u)
		case err := <-r.ended:
			t.Fatalf("Follow ended before %s: %v", what, err)
		case <-limit:
			t.Fatalf("no %s; at revision %d with %v, problems %v, waiters %v", what, r.rev, r.objects, r.problems, r.waiters)
		}
	}
}

func TestFollow_delivers_the_state_and_then_its_changes(t *testing.T) {
	s := newStore(t)
	mustSwitch(t, s, "LS")
	r := follow(t, s)
	ls := model.Ref{Kind: model.KindSwitch, Name: "LS"}
	r.until(t, "first state", func() bool { return r.objects[ls] != nil })

	mustRouter(t, s, "LR")
	if _, _, _, err := s.Link(t.Context(), "LR", "LS", nets("10.0.0.1/24")); err != nil {
		t.Fatal(err)
	}
	sp, rp := model.Ref{Kind: model.KindSwitchPort, Parent: "LS", Name: "LS_to_LR"}, model.Ref{Kind: model.KindRouterPort, Parent: "LR", Name: "LR_to_LS"}
	r.until(t, "link", func() bool {
		if (r.objects[sp] == nil) != (r.objects[rp] == nil) {
			t.Fatal("half of a transaction was delivered")
		}
		return r.objects[sp] != nil
	})
	if _, err := s.Bind(t.Context(), "LS_to_LR", "ch", 0); err != nil {
		t.Fatal(err)
	}
	binding := model.Ref{Kind: model.KindBinding, Name: "LS_to_LR"}
	r.until(t, "binding", func() bool { return r.objects[binding] != nil })
	rev, err := s.DeleteSwitch(t.Context(), "LS", true)
	if err != nil {
		t.Fatal(err)
	}
	r.until(t, "deletion", func() bool { return r.rev >= rev && len(r.objects) == 1 })
	if r.resets != 1 {
		t.Fatalf("%d resets", r.resets)
	}
}

func TestInvalid_objects_are_absent_with_a_reason_and_the_others_work(t *testing.T) {
	s := newStore(t)
	mustSwitch(t, s, "good")
	put(t, s, "spec/switch/LS-1", `{"name":"LS-1",`)
	put(t, s, "spec/switch/LS-2", `{"name":"LS-2","vni":7,"colour":"red"}`)
	put(t, s, "spec/switch/LS-3", `{"name":"LS-4","vni":7}`)
	put(t, s, "spec/switch/LS-5", `{"name":"LS-5","vni":16777216}`)
	put(t, s, "spec/wormhole/a/b/c", `{}`)
	put(t, s, "spec/switchport/orphan", `{}`)
	want := map[string]string{
		"switch/LS-1": "invalid JSON: unexpected EOF", "switch/LS-2": `unknown field "colour"`, "switch/LS-3": "it says that it is switch/LS-4",
		"switch/LS-5": "invalid VNI 16777216: the limits are 1 and 16777215 (0xffffff)", "wormhole/a/b/c": `unknown kind of object "wormhole"`,
		"switchport/orphan": "a switchport has a key of three parts",
	}
	snap, err := s.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(snap.Switches()) != 1 || len(snap.Problems) != len(want) {
		t.Fatalf("%+v", snap)
	}
	for _, p := range snap.Problems {
		if want[p.Key] != p.Reason {
			t.Errorf("%s: %q, want %q", p.Key, p.Reason, want[p.Key])
		}
	}
	r := follow(t, s)
	r.until(t, "problems", func() bool { return len(r.problems) == len(want) && len(r.objects) == 1 })
	bad, good := model.Ref{Kind: model.KindSwitch, Name: "LS-2"}, model.Ref{Kind: model.KindSwitch, Name: "good"}
	put(t, s, "spec/switch/LS-2", `{"name":"LS-2","vni":7}`)
	put(t, s, "spec/switch/good", `[]`)
	r.until(t, "repair and damage", func() bool { return r.objects[bad] != nil && r.problems[bad] == "" && r.problems[good] != "" })
	if _, err := s.DeleteSwitch(t.Context(), "good", false); err != nil { // broken, but it can be removed
		t.Fatal(err)
	}
	r.until(t, "removal", func() bool { return r.problems[good] == "" })
	for _, k := range keysOf(t, s) {
		if k == "unique/vni/000001" {
			t.Fatal("the VNI of the broken switch is still taken")
		}
	}
}

func TestP15_a_follower_that_was_away_during_a_compaction_gets_everything_again(t *testing.T) {
	s := newStore(t)
	mustSwitch(t, s, "old")
	f := &follower{store: s}
	var updates []Update
	f.deliver = func(u Update) { updates = append(updates, u) }
	if err := f.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	// While nobody listens: a deletion, an addition, and the history is thrown away.
	if _, err := s.DeleteSwitch(t.Context(), "old", false); err != nil {
		t.Fatal(err)
	}
	_, rev, err := s.AddSwitch(t.Context(), &model.LogicalSwitch{Name: "new"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := raw(t, s).Compact(t.Context(), rev); err != nil {
		t.Fatal(err)
	}
	if err := f.run(within(t, time.Minute)); !errors.Is(err, rpctypes.ErrCompacted) {
		t.Fatalf("run returned %v", err)
	}
	f.loaded = false
	ctx, cancel := context.WithCancel(within(t, time.Minute))
	f.deliver = func(u Update) { updates = append(updates, u); cancel() }
	_ = f.run(ctx)
	last := updates[len(updates)-1]
	if !last.Reset || len(last.Changes) != 1 || last.Changes[0].Ref.Name != "new" {
		t.Fatalf("%+v", last)
	}
}

func TestP15_compaction_under_load_loses_nothing(t *testing.T) {
	s := newStore(t)
	r := follow(t, s)
	other := s.another(t)
	done := make(chan error, 1)
	go func() {
		for i := range 60 {
			_, rev, err := other.AddSwitch(t.Context(), &model.LogicalSwitch{Name: fmt.Sprintf("LS-%d", i)})
			if err == nil && i%3 == 0 {
				_, err = other.DeleteSwitch(t.Context(), fmt.Sprintf("LS-%d", i), false)
			}
			if c, cerr := other.etcd(); err == nil && cerr == nil && i%5 == 0 {
				if _, cerr = c.Compact(t.Context(), rev); cerr != nil {
					err = cerr
				}
			}
			if err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	r.until(t, "40 switches", func() bool { return len(r.objects) == 40 })
}

func TestFollow_advances_without_changes_when_somebody_waits(t *testing.T) {
	s := newStore(t)
	r := follow(t, s)
	mustSwitch(t, s, "LS")
	// A waiter whose transaction changes nothing that is followed as intent.
	rev, _, err := s.commit(t.Context(), change{what: "wait", options: options{waiter: "w1"}})
	if err != nil {
		t.Fatal(err)
	}
	r.until(t, "waiter", func() bool { return r.waits("w1", rev) && r.rev >= rev })
	s.endWait("w1")
	r.until(t, "end of the waiter", func() bool { return slices.Contains(r.gone, "w1") })
	// And one that is about chassis.
	if _, err := s.PutChassis(t.Context(), &model.Chassis{Name: "ch", IPs: addrs("192.0.2.1"), Encaps: []model.Encap{model.EncapGeneve}}); err != nil {
		t.Fatal(err)
	}
	rev, err = s.DeleteChassis(t.Context(), "ch", WithWaiter("w2"))
	if err != nil {
		t.Fatal(err)
	}
	r.until(t, "waiter of a chassis", func() bool { return r.waits("w2", rev) })
	if r.objects[model.Ref{Kind: model.KindChassis, Name: "ch"}] != nil {
		t.Fatal("the waiter came before the change that it waits for")
	}
	late := follow(t, s)
	late.until(t, "waiter in the first state", func() bool { return late.waits("w2", rev) })
}

func (r *replica) waits(id string, rev int64) bool {
	return slices.ContainsFunc(r.waiters, func(w Waiter) bool { return w.ID == id && w.Revision == rev && w.Since == rev-1 })
}

// waitFor polls a condition that no watch can tell.
func waitFor(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(time.Minute); !cond(); {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("no %s", what)
		}
	}
}

func TestSnapshot_is_of_one_revision_and_paged(t *testing.T) {
	s := newStore(t)
	c := raw(t, s)
	const n = snapshotPage + 500
	for from := 0; from < n; from += 100 {
		var ops []clientv3.Op
		for i := from; i < from+100 && i < n; i++ {
			name := fmt.Sprintf("p%d", i)
			ops = append(ops, clientv3.OpPut(s.keys.object(model.Ref{Kind: model.KindBinding, Name: name}), `{"port":"`+name+`","chassis":"c"}`))
		}
		if _, err := c.Txn(t.Context()).Then(ops...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
	mustSwitch(t, s, "LS")
	snap, err := s.Snapshot(t.Context())
	if err != nil || len(snap.Objects) != n+1 || len(snap.Problems) != 0 || snap.Binding("p77").Chassis != "c" {
		t.Fatalf("%d objects, %v", len(snap.Objects), err)
	}
	if some, err := s.Snapshot(t.Context(), model.KindSwitch, model.KindChassis); err != nil || len(some.Objects) != 1 {
		t.Fatalf("%v %v", some, err)
	}
}

// TestP16_AMarkSaysForWhatItsWaiterWaits: then those for whom that changed something answer unasked, and nobody has to find out that the
// mark itself changes nothing.
func TestP16_AMarkSaysForWhatItsWaiterWaits(t *testing.T) {
	s := newStore(t)
	r := follow(t, s)
	other := s.another(t)
	var written []int64
	for _, name := range []string{"LS-A", "LS-B"} {
		_, rev, err := other.AddSwitch(t.Context(), &model.LogicalSwitch{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		written = append(written, rev)
	}
	if _, err := other.Mark(t.Context(), WithWaiter("w1"), Between(written[0]-1, written[1])); err != nil {
		t.Fatal(err)
	}
	r.until(t, "the waiter", func() bool { return len(r.waiters) > 0 })
	if w := r.waiters[0]; w.ID != "w1" || w.Revision != written[1] || w.Since != written[0]-1 {
		t.Errorf("waiter %+v, want what came with %v", w, written)
	}
}
