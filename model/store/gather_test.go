package store

import (
	"context"
	"fmt"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/client/v3"

	"tuplenet/model"
)

// large makes a store believe that its one chassis is many, so that changes gather for some time.
func large(t *testing.T, s *Store, pause time.Duration) *Store {
	t.Helper()
	s.share = pause
	if _, err := s.PutChassis(t.Context(), &model.Chassis{Name: "ch", IPs: addrs("192.0.2.1"), Encaps: []model.Encap{model.EncapGeneve}}); err != nil {
		t.Fatal(err)
	}
	return s
}

// churn adds switches and deletes every third of them, and returns the revision of the last change.
func churn(t *testing.T, s *Store, name string, switches int, after func(i int, rev int64)) (rev int64) {
	t.Helper()
	for i := range switches {
		name := fmt.Sprintf("%s-%d", name, i)
		_, added, err := s.AddSwitch(t.Context(), &model.LogicalSwitch{Name: name})
		if rev = added; err == nil && i%3 == 0 {
			rev, err = s.DeleteSwitch(t.Context(), name, false)
		}
		if err != nil {
			t.Fatal(err)
		}
		after(i, rev)
	}
	return rev
}

func nothing(int, int64) {}

// revisions are how many transactions an update is of.
func revisions(u Update) int {
	all := map[int64]bool{}
	for _, c := range u.Changes {
		all[c.Revision] = true
	}
	return len(all)
}

func TestFollow_in_a_large_deployment_gathers_what_comes_fast(t *testing.T) {
	s := large(t, newStore(t), time.Second)
	updates := make(chan Update, 10000)
	go func() { _ = s.Follow(t.Context(), func(u Update) { updates <- u }) }()
	r := &replica{}
	most := 0
	take := func(rev int64) {
		t.Helper()
		for limit := time.After(time.Minute); r.rev < rev; {
			select {
			case u := <-updates:
				if u.Revision < r.rev {
					t.Errorf("revision %d after %d", u.Revision, r.rev)
				}
				if !u.Reset {
					most = max(most, revisions(u))
				}
				r.apply(u)
			case <-limit:
				t.Fatalf("revision %d did not come, but %d", rev, r.rev)
			}
		}
	}
	take(1)
	other := s.another(t)
	rounds := 0
	for ; most < rush; rounds++ {
		if rounds == 20 {
			t.Fatalf("at most %d transactions came in one message", most)
		}
		take(churn(t, other, fmt.Sprintf("LS%d", rounds), 60, nothing))
	}
	if len(r.objects) != 1+40*rounds || r.resets != 1 {
		t.Errorf("%d objects after %d rounds and %d readings of the whole state", len(r.objects), rounds, r.resets)
	}
	_, rev, err := other.AddSwitch(t.Context(), &model.LogicalSwitch{Name: "afterwards"})
	if err != nil {
		t.Fatal(err)
	}
	take(rev)
}

func TestFollow_that_gathers_tells_waiters_when_their_change_is_there(t *testing.T) {
	s := large(t, newStore(t), 200*time.Millisecond)
	r := follow(t, s)
	other := s.another(t)
	churn(t, other, "before", 20, nothing)
	_, rev, err := other.AddSwitch(t.Context(), &model.LogicalSwitch{Name: "waited for"}, WithWaiter("w1"))
	if err != nil {
		t.Fatal(err)
	}
	r.until(t, "the waiter", func() bool { return r.waits("w1", rev) })
	if r.objects[model.Ref{Kind: model.KindSwitch, Name: "waited for"}] == nil {
		t.Error("the waiter came before the change that it waits for")
	}
	// One whose transaction changes nothing that is followed, while changes gather.
	churn(t, other, "meanwhile", 20, func(i int, _ int64) {
		if i == 19 {
			if rev, _, err = other.commit(t.Context(), change{what: "wait", options: options{waiter: "w2"}}); err != nil {
				t.Fatal(err)
			}
		}
	})
	r.until(t, "the waiter without a change", func() bool { return r.waits("w2", rev) })
}

func TestP15_a_history_that_is_compacted_while_changes_gather_is_read_again(t *testing.T) {
	s := large(t, newStore(t), 200*time.Millisecond)
	r := follow(t, s)
	other := s.another(t)
	rev := churn(t, other, "LS", 60, func(i int, rev int64) {
		if i%5 == 4 {
			if _, err := raw(t, other).Compact(context.WithoutCancel(t.Context()), rev); err != nil {
				t.Fatal(err)
			}
		}
	})
	r.until(t, "all changes", func() bool { return r.rev >= rev })
	if len(r.objects) != 41 {
		t.Errorf("%d objects, not 40 switches and a chassis", len(r.objects))
	}
}

func TestAWatchGoesOnWhereChangesAreFewOrNodesAre(t *testing.T) {
	begun := time.Now()
	event := func(rev int64) *clientv3.Event { return &clientv3.Event{Kv: &mvccpb.KeyValue{ModRevision: rev}} }
	for _, c := range []struct {
		name  string
		pause time.Duration
		every time.Duration
		ends  bool
	}{
		{"many changes, many chassis", 500 * time.Millisecond, 10 * time.Millisecond, true},
		{"few changes, many chassis", 500 * time.Millisecond, 200 * time.Millisecond, false},
		{"many changes, few chassis", 40 * time.Millisecond, time.Millisecond / 10, false},
	} {
		ended := false
		s := stream{gathering: gathering{since: begun, stop: func() { ended = true }}}
		for i := range int64(40) {
			if !ended { // two objects in each transaction
				s.gather([]*clientv3.Event{event(i), event(i)}, c.pause, begun.Add(time.Duration(i)*c.every))
			}
		}
		if ended != c.ends {
			t.Errorf("%s: the watch ended: %v", c.name, ended)
		}
	}
}

func TestPausesGrowWhileChangesComeFast(t *testing.T) {
	const most = time.Second
	now := time.Now()
	s := stream{gathering: gathering{since: now, stop: func() {}}}
	bring := func(changes int, want time.Duration) {
		t.Helper()
		events := make([]*clientv3.Event, changes)
		for i := range events {
			events[i] = &clientv3.Event{Kv: &mvccpb.KeyValue{ModRevision: now.UnixNano() + int64(i)}}
		}
		s.due = nil
		s.gather(events, most, now)
		if s.last != want || (s.due != nil) != (changes >= rush) {
			t.Errorf("after %d changes the pause is %v, not %v; there is one: %v", changes, s.last, want, s.due != nil)
		}
		s.since, s.recent = now, 0 // as begin does
	}
	bring(rush, most/4)
	bring(rush, most/2)
	bring(rush-1, most/2)
	bring(rush, most)
	bring(5*rush, most)
	now = now.Add(2 * most)
	bring(1, 0)
	bring(rush, most/4)
}
