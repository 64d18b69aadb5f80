package store

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/client/v3"

	"tuplenet/model"
)

// waiterTTL is how long the request of a waiter that died stays.
const waiterTTL = 60 * time.Second

// waiterOps is the write of the waiter's request, under a lease so that it goes with a waiter that dies.
func (s *Store) waiterOps(ctx context.Context, o options, nodes bool) ([]clientv3.Op, error) {
	if o.waiter == "" {
		return nil, nil
	}
	op, err := s.waiterOp(ctx, o.waiter, request{Nodes: nodes, Revision: o.revision, Since: o.since})
	return []clientv3.Op{op}, err
}

// pastOps removes requests of earlier waits of the one that writes a request, as many as there is room for.
func (s *Store) pastOps(waiter string, room int) []clientv3.Op {
	s.mu.Lock()
	kept := s.waits[waiter].kept
	s.mu.Unlock()
	if kept == nil {
		return nil
	}
	return kept.clear(room)
}

func (s *Store) waiterOp(ctx context.Context, id string, r request) (clientv3.Op, error) {
	if err := model.ValidateName(id); err != nil {
		return clientv3.Op{}, refuse(ErrInvalid, "id of a waiter: %s", err)
	}
	s.mu.Lock()
	lease, ok := s.waits[id]
	s.mu.Unlock()
	if !ok {
		granted, err := s.grant(ctx, waiterTTL)
		if err != nil {
			return clientv3.Op{}, err
		}
		lease = waitLease{id: granted}
		s.mu.Lock()
		s.waits[id] = lease
		s.mu.Unlock()
	}
	r.Host, _ = os.Hostname()
	b, err := json.Marshal(r)
	if err != nil {
		return clientv3.Op{}, fmt.Errorf("write the request of a waiter as JSON: %w", err)
	}
	return clientv3.OpPut(s.keys.sync(id), string(b), clientv3.WithLease(lease.id)), nil
}

// waitLease is the lease of a waiter's request.
type waitLease struct {
	id   clientv3.LeaseID
	kept *Waiting // whose lease it is, for all its requests; nil: the request's own
}

// request is the value of the key of a waiter. The first one goes with the change: nodes that it changes something for
// answer by themselves. Who of those that may be affected has not answered then is asked by name.
type request struct {
	Host string `json:"host,omitempty"` // from where, for the curious
	// Nodes: the change is one of chassis or bindings, so their watch has to reach the revision as well.
	Nodes bool `json:"nodes,omitempty"`
	// Revision of the change, and the one before it; 0: that of this key.
	Revision int64 `json:"revision,omitempty"`
	Since    int64 `json:"since,omitempty"`
	// Asked are the nodes that should answer also if nothing changed for them.
	Asked     []string `json:"asked,omitempty"`
	Everybody bool     `json:"everybody,omitempty"`

	rev int64 // of the key
}

// parseRequest reads the key of a waiter. Of a broken value only the revision counts.
func parseRequest(kv *mvccpb.KeyValue) request {
	var r request
	if json.Unmarshal(kv.Value, &r) != nil {
		r = request{}
	}
	r.rev = kv.ModRevision
	if r.Revision <= 0 || r.Revision > r.rev {
		r.Revision = r.rev
	}
	if r.Since <= 0 || r.Since >= r.Revision {
		r.Since = r.Revision - 1
	}
	return r
}

func (r request) waiter(id string) Waiter {
	return Waiter{ID: id, Revision: r.Revision, Since: r.Since, Asked: r.Asked, Everybody: r.Everybody}
}

// Laggard is a chassis that has not applied a revision, or not all of it.
type Laggard struct {
	Chassis string
	// Applied is the revision that it has applied; 0: it has not reported any.
	Applied int64
	// Age is the time since its last report, or, of one that is unreachable, since its last sign of life; 0: not known.
	Age time.Duration
	// Unreachable: its daemon does not run, or cannot reach the store.
	Unreachable bool
	// Refused is what its switch did not take.
	Refused []model.Problem
	// Reason is what it says itself, or what is known.
	Reason string
}

func (l Laggard) String() string {
	var b strings.Builder
	b.WriteString(l.Chassis)
	if l.Unreachable {
		fmt.Fprintf(&b, " unreachable (%s)", seenText(l.Age))
		return b.String()
	}
	if l.Applied > 0 {
		fmt.Fprintf(&b, " at revision %d", l.Applied)
	}
	if l.Age > 0 {
		fmt.Fprintf(&b, ", reported %s ago", l.Age.Round(time.Second))
	}
	if l.Reason != "" {
		fmt.Fprintf(&b, ": %s", l.Reason)
	}
	for i, p := range l.Refused {
		fmt.Fprintf(&b, "%s refused %s: %s", []string{":", ";"}[min(i, 1)], p.Key, p.Reason)
	}
	return b.String()
}

// seenText says when a chassis was alive.
func seenText(age time.Duration) string {
	if age <= 0 {
		return "not seen for long"
	}
	return fmt.Sprintf("last seen %s ago", strings.Replace(age.Round(time.Second).String(), "s", " s", 1))
}

// Receipt says where a change is applied.
type Receipt struct {
	// Affected counts the chassis on which something changed, and those that may be affected and did not answer; Applied
	// those of them that have applied the change.
	Affected, Applied int
	Elapsed           time.Duration
	// Laggards are the chassis that may be affected and have not applied all of it, sorted by name; none: the change is
	// applied everywhere.
	Laggards []Laggard
}

// String is such as "applied on 2/2 affected chassis in 23 ms".
func (r Receipt) String() string {
	return fmt.Sprintf("applied on %d/%d affected chassis in %s", r.Applied, r.Affected, durationText(r.Elapsed))
}

func durationText(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// Wait is what Await waits for.
type Wait struct {
	// ID is that of the WithWaiter option that the change was made with.
	ID string
	// Revision of the change; Since is the one before it, if it took several transactions (0: it did not).
	Revision, Since int64
	// Chassis that may be affected, wherever they are: those that do not live are laggards at once. Nil: all that live, and
	// nobody else; each of them has to confirm that it has applied the revision.
	Chassis []string
	// Limit is how long to wait.
	Limit time.Duration
}

// answers is what is known about the nodes while waiting.
type answers struct {
	Wait
	awaited map[string]bool // Chassis
	live    map[string]bool
	status  map[string]*model.Status
	asked   map[string]bool // by name, or all of them
}

func newAnswers(w Wait) *answers {
	a := &answers{Wait: w, awaited: make(map[string]bool, len(w.Chassis))}
	for _, name := range w.Chassis {
		a.awaited[name] = true
	}
	return a
}

// askPatience is how long those that a change affects may take to answer by themselves, before all that may be affected
// are asked by name. Most changes are applied by then.
const askPatience = 150 * time.Millisecond

// Await waits until the chassis that a change affects have applied it, or until the limit. It returns as soon as all of
// them that live have answered. What did not answer in time is in the receipt; an error is returned only when the store
// cannot be asked, or ctx ends. The request of the waiter is removed in any case.
//
// Nodes write nothing for a change that does not concern them: affected ones answer by themselves, and those of w.Chassis that
// then have not are asked by name.
func (s *Store) Await(ctx context.Context, w Wait) (Receipt, error) {
	start := time.Now()
	limit, cancel := context.WithTimeout(ctx, w.Limit)
	defer s.endWait(w.ID)
	defer cancel()
	s.renewWait(limit, w.ID)
	a := newAnswers(w)
	for {
		err := s.awaitOnce(limit, a)
		switch {
		case err == nil:
			return s.receipt(ctx, a, start), nil
		case ctx.Err() != nil:
			return Receipt{}, interrupted(ctx, w)
		case limit.Err() != nil && a.live != nil:
			return s.receipt(ctx, a, start), nil
		case limit.Err() != nil:
			return Receipt{}, refuse(ErrUnreachable, "store unreachable at %s: cannot tell where revision %d is applied", strings.Join(s.cfg.Endpoints, ","), w.Revision)
		}
		pauseFor(limit, retryMin) // the watch broke: ask again
	}
}

// interrupted is the error of a wait whose caller's context ended.
func interrupted(ctx context.Context, w Wait) error {
	return fmt.Errorf("wait for revision %d: %w", w.Revision, context.Cause(ctx))
}

// asking is the time until those who have not answered are asked by name.
type asking struct {
	*time.Timer
	due bool // it is to come
}

func newAsking(a *answers) *asking {
	k := &asking{time.NewTimer(askPatience), true}
	if a.Chassis == nil { // nobody would answer otherwise whom it does not affect
		k.Reset(0)
	}
	return k
}

// again lets it come again.
func (k *asking) again() {
	if !k.due {
		k.due = true
		k.Reset(askPatience)
	}
}

// awaitOnce returns nil when all have answered, or an error when the watch ended.
func (s *Store) awaitOnce(ctx context.Context, a *answers) error {
	from, err := s.loadAnswers(ctx, a)
	if err != nil {
		return err
	}
	c, err := s.etcd()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	opts := []clientv3.OpOption{clientv3.WithPrefix(), clientv3.WithRev(from + 1)}
	lives := c.Watch(clientv3.WithRequireLeader(ctx), s.keys.live(""), opts...)
	reports := c.Watch(clientv3.WithRequireLeader(ctx), s.keys.status(""), opts...)
	ask := newAsking(a)
	defer ask.Stop()
	for {
		if a.unasked() { // at the start, or when somebody came back to life
			ask.again()
		}
		if len(a.missing()) == 0 {
			return nil
		}
		var resp clientv3.WatchResponse
		var ok bool
		select {
		case resp, ok = <-lives:
		case resp, ok = <-reports:
		case <-ask.C:
			ask.due = false
			if a.unasked() {
				if err := s.ask(ctx, a, a.missing()); err != nil {
					return err
				}
			}
			continue
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := resp.Err(); err != nil || !ok {
			return fmt.Errorf("watch the nodes: %w", cmp.Or(err, errRaced))
		}
		for _, e := range resp.Events {
			s.takeAnswer(a, e.Kv, e.Type == mvccpb.DELETE)
		}
	}
}

// unasked tells whether there is somebody to be asked by name, who was not.
func (a *answers) unasked() bool {
	if a.Chassis == nil {
		return a.asked == nil
	}
	return slices.ContainsFunc(a.missing(), func(name string) bool { return !a.asked[name] })
}

// ask asks by name those who have not answered.
func (s *Store) ask(ctx context.Context, a *answers, missing []string) error {
	op, err := s.waiterOp(ctx, a.ID, request{Nodes: true, Revision: a.Revision, Since: a.Since, Asked: missing, Everybody: a.Chassis == nil})
	if err != nil {
		return err
	}
	err = s.call(ctx, "ask the nodes whether revision "+fmt.Sprint(a.Revision)+" is applied", func(ctx context.Context, c *clientv3.Client, _ bool) error {
		_, err := c.Do(ctx, op)
		return err
	})
	if err == nil {
		a.asked = make(map[string]bool, len(missing))
		for _, name := range missing {
			a.asked[name] = true
		}
	}
	return err
}

// loadAnswers reads who is alive and what they reported, all at the revision that it returns.
func (s *Store) loadAnswers(ctx context.Context, a *answers) (rev int64, err error) {
	err = s.call(ctx, "read the status of the nodes", func(ctx context.Context, c *clientv3.Client, _ bool) error {
		resp, err := c.Txn(ctx).Then(
			clientv3.OpGet(s.keys.live(""), clientv3.WithPrefix()),
			clientv3.OpGet(s.keys.status(""), clientv3.WithPrefix())).Commit()
		if err != nil {
			return err
		}
		rev = resp.Header.Revision
		a.live, a.status = map[string]bool{}, map[string]*model.Status{}
		for _, r := range resp.Responses {
			for _, kv := range r.GetResponseRange().GetKvs() {
				s.takeAnswer(a, kv, false)
			}
		}
		return nil
	})
	return rev, err
}

// takeAnswer takes one key of live/ or status/.
func (s *Store) takeAnswer(a *answers, kv *mvccpb.KeyValue, gone bool) {
	key := string(kv.Key)
	if name, ok := strings.CutPrefix(key, s.keys.live("")); ok {
		if gone {
			delete(a.live, name)
		} else {
			a.live[name] = true
		}
		return
	}
	name := strings.TrimPrefix(key, s.keys.status(""))
	delete(a.status, name)
	if st, err := model.DecodeStatus(kv.Value); !gone && err == nil {
		a.status[name] = st
	}
}

// missing are the live chassis that may be affected and have not answered, sorted.
func (a *answers) missing() []string {
	missing := []string{}
	for name := range a.live {
		if a.Chassis != nil && !a.awaited[name] {
			continue
		}
		if _, answered := a.answer(name); !answered {
			missing = append(missing, name)
		}
	}
	slices.Sort(missing)
	return missing
}

// receipt is the sum of what is known. Somebody who is not expected to be affected and says so counts as well.
func (s *Store) receipt(ctx context.Context, a *answers, start time.Time) Receipt {
	r := Receipt{Elapsed: time.Since(start)}
	names := map[string]bool{}
	for name := range a.live {
		names[name] = a.Chassis == nil
	}
	for _, name := range a.Chassis {
		names[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		st := a.status[name]
		answer, answered := a.answer(name)
		switch {
		case answered && len(answer.Refused) > 0:
			r.Affected++
			l := laggard(name, st)
			l.Reason, l.Refused = "", answer.Refused
			r.Laggards = append(r.Laggards, l)
		case answered && answer.Affected:
			r.Affected++
			r.Applied++
		case answered || !names[name]:
		case !a.live[name]:
			r.Affected++
			r.Laggards = append(r.Laggards, s.unreachable(ctx, name))
		default:
			r.Affected++
			r.Laggards = append(r.Laggards, laggard(name, st))
		}
	}
	return r
}

// answer is what a live node says about the waiter. A change that takes several transactions has one waiter: an answer to an
// earlier one of them does not count.
func (a *answers) answer(name string) (answer model.Answer, answered bool) {
	st := a.status[name]
	if st == nil || st.Applied < a.Revision || !a.live[name] {
		return model.Answer{}, false
	}
	answer, answered = st.Answered[a.ID]
	return answer, answered
}

func laggard(name string, st *model.Status) Laggard {
	if st == nil {
		return Laggard{Chassis: name, Reason: "it has not reported yet"}
	}
	l := Laggard{Chassis: name, Applied: st.Applied, Reason: st.Behind}
	if st.Reported > 0 {
		l.Age = max(0, time.Since(time.UnixMilli(st.Reported)))
	}
	if l.Reason == "" {
		l.Reason = "no answer"
	}
	return l
}

// unreachable is a laggard that does not live. That it cannot be told since when is no failure.
func (s *Store) unreachable(ctx context.Context, name string) Laggard {
	age, _ := s.LastSeen(ctx, name)
	return Laggard{Chassis: name, Age: age, Unreachable: true}
}

// renewWait keeps the request of a waiter alive until ctx ends; timeouts may be longer than its lease.
func (s *Store) renewWait(ctx context.Context, id string) {
	s.mu.Lock()
	lease, ok := s.waits[id]
	s.mu.Unlock()
	if !ok || lease.kept != nil {
		return
	}
	c, err := s.etcd()
	if err != nil {
		return
	}
	renewals, err := c.KeepAlive(ctx, lease.id)
	if err != nil {
		return
	}
	go func() {
		for range renewals { // nothing to do but to take them
		}
	}()
}

// endWait removes the request of a waiter; if the store is away, its lease does it later.
func (s *Store) endWait(id string) {
	s.mu.Lock()
	lease, ok := s.waits[id]
	delete(s.waits, id)
	s.mu.Unlock()
	switch {
	case !ok:
	case lease.kept != nil:
		lease.kept.done(id)
	default:
		s.revoke(lease.id)
	}
}
