package store

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"testing"
	"time"

	"go.etcd.io/etcd/client/v3"

	"tuplenet/model"
)

var alice = Identity{Chassis: "ch", Hostname: "alice", MachineID: "m1", BootID: "b1", Instance: "/run/ovs/db.sock"}

func TestA_second_host_with_the_same_name_is_refused_by_name(t *testing.T) {
	s := newStore(t)
	l, err := s.HoldIdentity(t.Context(), alice)
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range []Identity{
		{Chassis: "ch", Hostname: "bob", MachineID: "m2", BootID: "b2", Instance: alice.Instance},
		{Chassis: "ch", Hostname: "bob", MachineID: "m1", BootID: "b1", Instance: "/run/other/db.sock"}, // a lab: same machine, another switch
	} {
		_, err = s.another(t).HoldIdentity(t.Context(), other)
		var held *ErrHeld
		if !errors.As(err, &held) || held.By != alice {
			t.Fatalf("got %v", err)
		}
	}
	live, err := s.Live(t.Context())
	if err != nil || live["ch"] != alice {
		t.Fatalf("%v %v", live, err)
	}
	if err := s.PutStatus(t.Context(), l, &model.Status{Applied: 3}); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(t.Context()); err != nil || l.Err() != nil {
		t.Fatal(err, l.Err())
	}
	live, err = s.Live(t.Context())
	status, err2 := s.Status(t.Context())
	if err != nil || err2 != nil || len(live)+len(status) != 0 {
		t.Fatalf("after Close: %v %v", live, status)
	}
	if _, err := s.another(t).HoldIdentity(t.Context(), Identity{Chassis: "ch", Hostname: "bob", MachineID: "m2"}); err != nil {
		t.Fatal(err)
	}
}

func TestA_restarted_daemon_takes_over_at_once_and_the_old_one_learns_it(t *testing.T) {
	s := newStore(t)
	old, err := s.HoldIdentity(t.Context(), alice)
	if err != nil {
		t.Fatal(err)
	}
	young, err := s.another(t).HoldIdentity(within(t, 20*time.Second), alice) // much less than the lease of a minute
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-old.Done():
	case <-time.After(time.Minute):
		t.Fatal("the old holder does not know")
	}
	var held *ErrHeld
	if !errors.As(old.Err(), &held) {
		t.Fatalf("got %v", old.Err())
	}
	select {
	case <-young.Done():
		t.Fatalf("the new holder lost it: %v", young.Err())
	default:
	}
}

func TestAfter_a_reboot_the_identity_is_taken_when_the_old_lease_ends(t *testing.T) {
	t.Parallel()
	s := openAt(t, Config{Prefix: newStore(t).cfg.Prefix, LeaseTTL: 3 * time.Second}) // long enough not to end on a busy machine
	dying := s.another(t)
	if _, err := dying.HoldIdentity(t.Context(), alice); err != nil {
		t.Fatal(err)
	}
	_ = dying.Close() // no more renewals
	rebooted := alice
	rebooted.BootID = "b2"
	l, err := s.HoldIdentity(t.Context(), rebooted)
	if err != nil {
		t.Fatal(err)
	}
	live, err := s.Live(t.Context())
	if err != nil || live["ch"] != rebooted {
		t.Fatalf("%v %v", live, err)
	}
	// A clone of the machine that boots while this one lives is refused.
	clone := alice
	clone.BootID = "b3"
	err = (&Lease{store: s, id: clone}).acquire(t.Context(), time.Now())
	var held *ErrHeld
	if !errors.As(err, &held) || held.By != rebooted || l.Err() != nil {
		t.Fatalf("got %v", err)
	}
}

func TestA_removed_identity_and_its_status_are_put_again(t *testing.T) {
	s := newStore(t)
	l, err := s.HoldIdentity(t.Context(), alice)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.PutStatus(t.Context(), l, &model.Status{Applied: 5}); err != nil {
		t.Fatal(err)
	}
	before := l.current()
	if _, err := raw(t, s).Revoke(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "identity and status", func() bool {
		live, _ := s.Live(t.Context())
		status, _ := s.Status(t.Context())
		return live["ch"] == alice && status["ch"] != nil && status["ch"].Applied == 5 && l.current() != before
	})
}

// The chassis is deleted while it lives, and its node, which is told the same moment, reports: whichever of the two writes comes
// first, the last report stays, and goes only with the lease that is held now.
func TestAReportIsNotLostWhenTheIdentityIsTakenAgainAtTheSameTime(t *testing.T) {
	s := newStore(t)
	l, err := s.HoldIdentity(t.Context(), alice)
	if err != nil {
		t.Fatal(err)
	}
	for round := range int64(40) {
		before := l.current()
		if _, err := raw(t, s).Delete(t.Context(), s.keys.live("ch")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(round) * 100 * time.Microsecond) // at another point of taking it each time
		if err := s.PutStatus(t.Context(), l, &model.Status{Applied: round}); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "identity", func() bool { return l.current() != before })
		resp, err := raw(t, s).Get(t.Context(), s.keys.status("ch"))
		if err != nil || len(resp.Kvs) != 1 {
			t.Fatalf("round %d: %v %v", round, resp, err)
		}
		st, err := model.DecodeStatus(resp.Kvs[0].Value)
		if err != nil || st.Applied != round || clientv3.LeaseID(resp.Kvs[0].Lease) != l.current() {
			t.Fatalf("round %d: status %+v under lease %x, held is %x (%v)", round, st, resp.Kvs[0].Lease, l.current(), err)
		}
	}
}

// living is a chassis of a test: it lives, and reports what the test says.
type living struct {
	t     *testing.T
	s     *Store
	name  string
	lease *Lease
}

func liveNode(t *testing.T, s *Store, name string) *living {
	t.Helper()
	l, err := s.HoldIdentity(t.Context(), Identity{Chassis: name})
	if err != nil {
		t.Fatal(err)
	}
	return &living{t, s, name, l}
}

func (n *living) report(applied int64, behind string, answers map[string]model.Answer) {
	n.t.Helper()
	if err := n.s.PutStatus(n.t.Context(), n.lease, &model.Status{Applied: applied, Answered: answers, Behind: behind}); err != nil {
		n.t.Fatal(err)
	}
}

// awaitLater waits in the background.
func awaitLater(t *testing.T, s *Store, w Wait) <-chan Receipt {
	receipts := make(chan Receipt, 1)
	go func() {
		r, err := s.Await(t.Context(), w)
		if err != nil {
			t.Error(err)
		}
		receipts <- r
	}()
	return receipts
}

func waitedChange(t *testing.T, s *Store, id string) int64 {
	t.Helper()
	_, rev, err := s.AddSwitch(t.Context(), &model.LogicalSwitch{Name: "LS-" + id}, WithWaiter(id))
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

var affected, unaffected = model.Answer{Affected: true}, model.Answer{}

func TestP16_WhomAChangeDoesNotConcernIsNotWaitedFor(t *testing.T) {
	s := newStore(t)
	if r := <-awaitLater(t, s, Wait{ID: "w0", Revision: waitedChange(t, s, "w0"), Chassis: []string{}, Limit: time.Minute}); r.Affected != 0 || len(r.Laggards) != 0 {
		t.Fatalf("without any chassis: %v", r)
	}
	a, _ := liveNode(t, s, "a"), liveNode(t, s, "silent and not concerned")
	rev := waitedChange(t, s, "w1")
	a.report(rev, "", map[string]model.Answer{"w1": affected})
	if r := <-awaitLater(t, s, Wait{ID: "w1", Revision: rev, Chassis: []string{"a"}, Limit: time.Minute}); r.Affected != 1 || r.Applied != 1 || len(r.Laggards) != 0 {
		t.Fatalf("%+v", r)
	}
	waitFor(t, "end of the request of the waiter", func() bool { return !slices.Contains(keysOf(t, s), "sync/w1") })
}

func TestP16_WhoMayBeAffectedAndIsSilentIsAskedByName(t *testing.T) {
	s := newStore(t)
	a, b := liveNode(t, s, "a"), liveNode(t, s, "b")
	rev := waitedChange(t, s, "w")
	a.report(rev, "", map[string]model.Answer{"w": affected})
	r := awaitLater(t, s, Wait{ID: "w", Revision: rev, Since: rev - 1, Chassis: []string{"a", "b"}, Limit: time.Minute})
	asked := make(chan Waiter, 16)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- s.another(t).Follow(ctx, func(u Update) {
			for _, w := range u.Waiters {
				asked <- w
			}
		})
	}()
	for w := range asked {
		if w.Revision != rev || w.Since != rev-1 || w.Asks("a") {
			t.Fatalf("%+v", w)
		}
		if w.Asks("b") {
			break
		}
	}
	b.report(rev, "", map[string]model.Answer{"w": unaffected})
	if r := <-r; r.Affected != 1 || r.Applied != 1 || len(r.Laggards) != 0 {
		t.Fatalf("%+v", r)
	}
	cancel()
	<-ended
}

// It did not live when those were asked who had not answered.
func TestP16_WhoComesBackWhileItIsWaitedForIsAskedToo(t *testing.T) {
	s := newStore(t)
	a := liveNode(t, s, "a")
	rev := waitedChange(t, s, "w")
	asked := make(chan Waiter, 16)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- s.another(t).Follow(ctx, func(u Update) {
			for _, w := range u.Waiters {
				asked <- w
			}
		})
	}()
	untilAsked := func(name string) {
		t.Helper()
		limit := time.After(10 * time.Second)
		for {
			select {
			case w := <-asked:
				if w.Asks(name) {
					return
				}
			case <-limit:
				t.Fatalf("%s is not asked", name)
			}
		}
	}
	r := awaitLater(t, s, Wait{ID: "w", Revision: rev, Chassis: []string{"a", "b"}, Limit: 20 * time.Second})
	untilAsked("a")
	b := liveNode(t, s, "b")
	untilAsked("b")
	a.report(rev, "", map[string]model.Answer{"w": unaffected})
	b.report(rev, "", map[string]model.Answer{"w": unaffected})
	if r := <-r; r.Affected != 0 || len(r.Laggards) != 0 {
		t.Fatalf("%+v", r)
	}
	cancel()
	<-ended
}

func TestP16_ReceiptsNameWhoIsLateDeadOrRefused(t *testing.T) {
	s := newStore(t)
	a, b, c := liveNode(t, s, "a"), liveNode(t, s, "b"), liveNode(t, s, "c")
	dead := liveNode(t, s, "dead")
	if err := dead.lease.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	rev := waitedChange(t, s, "w")
	a.report(rev, "", map[string]model.Answer{"w": affected})
	b.report(rev-1, "OpenFlow connection is down", nil)
	c.report(rev, "", map[string]model.Answer{"w": {Affected: true, Refused: []model.Problem{{Key: "port/LS/p", Reason: "table full"}}}})
	// Enough time to read what they said, which they have.
	r := <-awaitLater(t, s, Wait{ID: "w", Revision: rev, Chassis: []string{"a", "b", "c", "dead", "never was"}, Limit: 3 * time.Second})
	if r.Affected != 5 || r.Applied != 1 || len(r.Laggards) != 4 {
		t.Fatalf("%+v", r)
	}
	for i, want := range []string{
		fmt.Sprintf(`^b at revision %d(, reported \d+s ago): OpenFlow connection is down$`, rev-1),
		fmt.Sprintf(`^c at revision %d(, reported \d+s ago): refused port/LS/p: table full$`, rev),
		`^dead unreachable \(last seen \d+ s ago\)$`,
		`^never was unreachable \(not seen for long\)$`,
	} {
		if got := r.Laggards[i].String(); !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("%s", got)
		}
	}
	// The dead do not delay: with all others done it is over at once.
	b.report(rev, "", map[string]model.Answer{"w2": affected})
	rev = waitedChange(t, s, "w2")
	b.report(rev, "", map[string]model.Answer{"w2": affected})
	ctx := within(t, time.Minute)
	if r, err := s.Await(ctx, Wait{ID: "w2", Revision: rev, Chassis: []string{"b", "dead"}, Limit: time.Hour}); err != nil || r.Applied != 1 || len(r.Laggards) != 1 {
		t.Fatalf("%+v %v", r, err)
	}
}

func TestAwait_without_names_waits_for_all_that_live(t *testing.T) {
	s := newStore(t)
	a, b := liveNode(t, s, "a"), liveNode(t, s, "b")
	rev := waitedChange(t, s, "w")
	receipts := awaitLater(t, s, Wait{ID: "w", Revision: rev, Limit: time.Minute})
	a.report(rev, "", map[string]model.Answer{"w": affected})
	if err := b.lease.Close(t.Context()); err != nil { // it dies: nobody waits for it
		t.Fatal(err)
	}
	if r := <-receipts; r.Affected != 1 || r.Applied != 1 || len(r.Laggards) != 0 {
		t.Fatalf("%+v", r)
	}
}

func TestASignOfLifeOutlivesTheDaemon(t *testing.T) {
	s := newStore(t)
	if age, err := s.LastSeen(t.Context(), "ch"); err != nil || age != 0 {
		t.Fatalf("before it ever lived: %v %v", age, err)
	}
	for range 2 { // a restarted daemon goes on with it
		l, err := s.HoldIdentity(t.Context(), alice)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if age, err := s.LastSeen(t.Context(), "ch"); err != nil || age <= 0 || age > time.Minute {
			t.Fatalf("%v %v", age, err)
		}
	}
}

func TestReceipts_read_well(t *testing.T) {
	r := Receipt{Affected: 2, Applied: 2, Elapsed: 23 * time.Millisecond}
	if got := r.String(); got != "applied on 2/2 affected chassis in 23 ms" {
		t.Fatal(got)
	}
	l := Laggard{Chassis: "b", Applied: 7, Age: 90 * time.Second, Reason: "no answer"}
	if got := l.String(); got != "b at revision 7, reported 1m30s ago: no answer" {
		t.Fatal(got)
	}
}

// Two thousand nodes live; three are affected. The writes are the change, three answers, and the end of the request.
func TestP16_AWaiterCostsAsManyWritesAsItHasAffectedNodes(t *testing.T) {
	s := newStore(t)
	const nodes = 2000
	c := raw(t, s)
	for i := range nodes {
		if _, err := c.Put(t.Context(), s.keys.live(fmt.Sprintf("hv%04d", i)), "{}"); err != nil {
			t.Fatal(err)
		}
	}
	answer := func(rev int64, id string, names []string) {
		for _, name := range names {
			text := fmt.Sprintf(`{"chassis":%q,"applied":%d,"answered":{%q:{"affected":true}}}`, name, rev, id)
			if _, err := c.Put(t.Context(), s.keys.status(name), text); err != nil {
				t.Error(err)
			}
		}
	}
	var all []string
	for i := range nodes {
		all = append(all, fmt.Sprintf("hv%04d", i))
	}
	for _, chassis := range [][]string{all[:3], all} {
		id := fmt.Sprint("w", len(chassis))
		mustSwitch(t, s, "before-"+id) // the schema record is written with the first change
		before, err := s.Revision(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		rev := waitedChange(t, s, id)
		done := make(chan struct{})
		go func() {
			defer close(done)
			answer(rev, id, chassis)
		}()
		r, err := s.Await(t.Context(), Wait{ID: id, Revision: rev, Chassis: chassis, Limit: 2 * time.Minute})
		if err != nil || r.Applied != len(chassis) || len(r.Laggards) != 0 {
			t.Fatalf("%v %v", r, err)
		}
		<-done
		writes := writesSince(t, s, before)
		t.Logf("%d of %d affected: %d writes, %s", len(chassis), nodes, writes, r.Elapsed.Round(time.Millisecond))
		// The change, the end of the request, and questions by name while slow answers come: the slower the machine, the more.
		if most := len(chassis) + len(chassis)/10 + 8; writes > most {
			t.Errorf("%d writes for %d affected nodes", writes, len(chassis))
		}
	}
}

// writesSince is how many revisions after one are of this deployment: others write at the same time, and so do leases that end.
func writesSince(t *testing.T, s *Store, rev int64) (n int) {
	t.Helper()
	end := put(t, s, "end-of-count", "x")
	ctx, cancel := context.WithCancel(within(t, time.Minute))
	defer cancel()
	last := rev
	for resp := range raw(t, s).Watch(ctx, s.keys.root, clientv3.WithPrefix(), clientv3.WithRev(rev+1)) {
		if err := resp.Err(); err != nil {
			t.Fatal(err)
		}
		for _, e := range resp.Events {
			if e.Kv.ModRevision == end {
				return n
			}
			if e.Kv.ModRevision > last {
				n, last = n+1, e.Kv.ModRevision
			}
		}
	}
	t.Fatal("the watch ended")
	return 0
}
