package store

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/client/v3"

	"tuplenet/model"
)

// Waiting is what somebody who waits again and again keeps, so that a wait costs no more than the change and the answers: a lease for the
// requests, what tells whom a change concerns, and what the nodes say. It follows the store until something is written that it does not
// follow, such as a link; then it is Over, its methods do what those of Store do, and whoever will wait again begins another.
// Its methods are for one goroutine.
type Waiting struct {
	store  *Store
	lease  clientv3.LeaseID
	cancel context.CancelFunc
	ended  sync.WaitGroup

	// What is around changes, at revision at; the goroutine that waits owns it.
	at      int64
	objects map[model.Ref]model.Object // routers, their ports and the switch ports at the other ends, chassis
	nat     map[model.Ref]model.Object // all rules, once one of them was written; else nil
	present map[string][]string

	mu     sync.Mutex
	rev    int64         // up to which all was brought
	moved  chan struct{} // closed when something was brought
	notes  []note        // what was written behind at, oldest first
	live   map[string]bool
	status map[string]*model.Status
	past   map[string]bool // ids of requests of waits that ended; they are removed together with the next write of a request
	err    error           // why it is over
}

// note is one write of an object, or of the switches that a chassis has ports of.
type note struct {
	rev      int64
	ref      model.Ref
	old, new model.Object
	present  bool // of ref.Name: switches, nil if it was removed
	switches []string
}

// Reasons why it is over that are no failures.
var (
	errMuch       = errors.New("too much was written")
	errStructure  = errors.New("something was written that is not followed")
	errIncomplete = errors.New("a chassis does not say where it is present")
)

// Waiting begins to follow what somebody needs who is about to wait several times. Close ends it.
func (s *Store) Waiting(ctx context.Context) (*Waiting, error) {
	lease, err := s.grant(ctx, waiterTTL)
	if err != nil {
		return nil, err
	}
	w := &Waiting{store: s, lease: lease, moved: make(chan struct{}), objects: map[model.Ref]model.Object{}, present: map[string][]string{},
		live: map[string]bool{}, status: map[string]*model.Status{}, past: map[string]bool{}}
	run, cancel := context.WithCancel(s.ctx)
	w.cancel = cancel
	err = w.load(ctx)
	if err == nil {
		err = w.follow(run)
	}
	if err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

// Close ends it. Requests that are still there go.
func (w *Waiting) Close() {
	w.cancel()
	w.ended.Wait()
	w.store.revoke(w.lease)
}

// Over tells whether it is of no use any more.
func (w *Waiting) Over() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err != nil
}

// Begin lets the request of a wait, of which the id is given to WithWaiter, be under the lease that is kept.
func (w *Waiting) Begin(id string) {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	w.store.waits[id] = waitLease{w.lease, w}
}

// done notes that nobody waits with a request any more. Who was asked has answered, so that nothing comes of it while it stays.
func (w *Waiting) done(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.past[id] = true
}

// clear removes at most so many requests of the past. That may be done twice: the watch says when they are gone.
func (w *Waiting) clear(most int) (ops []clientv3.Op) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range w.past {
		if len(ops) < most {
			ops = append(ops, clientv3.OpDelete(w.store.keys.sync(id)))
		}
	}
	return ops
}

// load reads the store as it is.
func (w *Waiting) load(ctx context.Context) error {
	s := w.store
	answers := answers{live: w.live, status: w.status}
	said := s.keys.presence("")
	h, err := s.walkAt(ctx, []keyRange{prefixRange(said), prefixRange(s.keys.live("")), prefixRange(s.keys.status("")),
		prefixRange(s.keys.folder(model.KindRouter)), prefixRange(s.keys.folder(model.KindRouterPort)), prefixRange(s.keys.folder(model.KindChassis))}, 0,
		func(kv *mvccpb.KeyValue) {
			switch key := string(kv.Key); {
			case strings.HasPrefix(key, said):
				if switches, ok := saidPresent(kv); ok {
					w.present[strings.TrimPrefix(key, said)] = switches
				}
			case strings.HasPrefix(key, s.keys.live("")), strings.HasPrefix(key, s.keys.status("")):
				s.takeAnswer(&answers, kv, false)
			default:
				Sight{Objects: w.objects}.take(s)(kv)
			}
		})
	if err != nil {
		return err
	}
	var ends []string
	for ref, o := range w.objects {
		if _, said := w.present[ref.Name]; ref.Kind == model.KindChassis && !said {
			return errIncomplete
		}
		if rp, ok := o.(*model.LogicalRouterPort); ok {
			ends = append(ends, rp.Peer)
		}
	}
	keys, err := s.portKeysAt(ctx, h.revision, ends)
	if err == nil {
		err = s.getAt(ctx, h.revision, keys, Sight{Objects: w.objects}.take(s))
	}
	w.at, w.rev = h.revision, h.revision
	return err
}

// follow keeps the lease and takes what is written.
func (w *Waiting) follow(ctx context.Context) error {
	s := w.store
	c, err := s.etcd()
	if err != nil {
		return err
	}
	renewals, err := c.KeepAlive(ctx, w.lease)
	if err != nil {
		return err
	}
	watch := c.Watch(s.ownStream(clientv3.WithRequireLeader(ctx)), s.keys.root, clientv3.WithPrefix(), clientv3.WithRev(w.rev+1), clientv3.WithPrevKV())
	w.ended.Go(func() {
		defer w.cancel() // the other one ends as well
		for {
			select {
			case _, ok := <-renewals:
				if !ok {
					w.end(errors.New("the lease ended"))
					return
				}
			case resp, ok := <-watch:
				if err := resp.Err(); err != nil || !ok {
					w.end(errors.New("the watch ended"))
					return
				}
				if !w.take(resp) {
					return
				}
			}
		}
	})
	return nil
}

// end notes why it is over.
func (w *Waiting) end(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over(err)
}

// over is end with the lock held.
func (w *Waiting) over(err error) {
	if w.err == nil {
		w.err = err
		close(w.moved)
	}
}

// take takes what the watch brought; false: it is over.
func (w *Waiting) take(resp clientv3.WatchResponse) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return false
	}
	answers := answers{live: w.live, status: w.status}
	keys := w.store.keys
	for _, e := range resp.Events {
		gone := e.Type == mvccpb.DELETE
		switch key := string(e.Kv.Key); {
		case strings.HasPrefix(key, keys.live("")), strings.HasPrefix(key, keys.status("")):
			w.store.takeAnswer(&answers, e.Kv, gone)
		case gone && strings.HasPrefix(key, keys.sync("")):
			delete(w.past, strings.TrimPrefix(key, keys.sync("")))
		case strings.HasPrefix(key, keys.presence("")):
			n := note{rev: e.Kv.ModRevision, ref: model.Ref{Name: strings.TrimPrefix(key, keys.presence(""))}, present: true}
			if switches, ok := saidPresent(e.Kv); ok && !gone {
				n.switches = append([]string{}, switches...) // not nil
			}
			w.notes = append(w.notes, n)
		case keys.isObject(key):
			n, ok := w.noteOf(e, gone)
			if !ok {
				w.over(errStructure)
				return false
			}
			w.notes = append(w.notes, n)
		}
		w.rev = e.Kv.ModRevision
	}
	if len(w.notes) > fewKeys {
		w.over(errMuch)
		return false
	}
	close(w.moved)
	w.moved = make(chan struct{})
	return true
}

// noteOf reads a write of an object; false: it is one that is not followed.
func (w *Waiting) noteOf(e *clientv3.Event, gone bool) (note, bool) {
	ref, err := w.store.keys.ref(string(e.Kv.Key))
	n := note{rev: e.Kv.ModRevision, ref: ref}
	switch ref.Kind {
	case model.KindRouter, model.KindRouterPort, model.KindChassis:
		return n, false
	}
	if e.PrevKv == nil && (gone || !e.IsCreate()) || err != nil {
		return n, false
	}
	if !gone {
		n.new = w.store.decode(e.Kv).Object
	}
	if e.PrevKv != nil {
		n.old = w.store.decode(e.PrevKv).Object
	}
	for _, o := range []model.Object{n.old, n.new} {
		if p, ok := o.(*model.LogicalSwitchPort); ok && p.Type == model.PortRouter {
			return n, false
		}
	}
	return n, true
}

// Between is that of Store, for revisions behind those of the waits before.
func (w *Waiting) Between(ctx context.Context, from, to int64) (d Difference, ok bool, err error) {
	if w.reached(ctx, to) && w.at <= from {
		if d, err = w.between(ctx, from, to); err == nil {
			return d, true, nil
		}
		w.end(err)
	}
	return w.store.Between(ctx, from, to)
}

// reached waits until everything up to a revision was brought; false: it is over.
func (w *Waiting) reached(ctx context.Context, revision int64) bool {
	limit := time.NewTimer(w.store.cfg.DialTimeout)
	defer limit.Stop()
	for {
		w.mu.Lock()
		moved, err, rev := w.moved, w.err, w.rev
		w.mu.Unlock()
		switch {
		case err != nil:
			return false
		case rev >= revision:
			return true
		}
		select {
		case <-moved:
		case <-limit.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// between makes a difference of what was brought, and of a look at who has the ports in it.
func (w *Waiting) between(ctx context.Context, from, to int64) (d Difference, err error) {
	var differ []note
	at := map[model.Ref]int{}
	for _, n := range w.until(from) {
		if err = w.apply(ctx, n); err != nil {
			return d, err
		}
	}
	old := Sight{Objects: maps.Clone(w.objects), Present: maps.Clone(w.present)}
	for _, n := range w.until(to) {
		if err = w.apply(ctx, n); err != nil {
			return d, err
		}
		if n.present {
			continue
		}
		if i, there := at[n.ref]; there {
			differ[i].new = n.new
			continue
		}
		at[n.ref] = len(differ)
		differ = append(differ, n)
	}
	now := Sight{Objects: maps.Clone(w.objects), Present: maps.Clone(w.present)}
	if slices.ContainsFunc(differ, func(n note) bool { return n.ref.Kind == model.KindNAT }) {
		maps.Copy(old.Objects, w.nat)
		maps.Copy(now.Objects, w.nat)
	}
	for _, n := range differ {
		d.Differ = append(d.Differ, n.ref)
	}
	around := Sight{Objects: map[model.Ref]model.Object{}}
	if err = w.store.endsAt(ctx, to, d.Differ, around, around); err != nil {
		return d, err
	}
	maps.Copy(old.Objects, around.Objects)
	maps.Copy(now.Objects, around.Objects)
	for _, n := range differ {
		setIn(old.Objects, n.ref, n.old)
		setIn(now.Objects, n.ref, n.new)
	}
	d.Old, d.New = old, now
	return d, nil
}

func setIn(objects map[model.Ref]model.Object, ref model.Ref, o model.Object) {
	if o == nil {
		delete(objects, ref)
	} else {
		objects[ref] = o
	}
}

// until are the notes up to a revision, which are forgotten.
func (w *Waiting) until(revision int64) (notes []note) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for n < len(w.notes) && w.notes[n].rev <= revision {
		n++
	}
	notes, w.notes = w.notes[:n:n], w.notes[n:]
	w.at = max(w.at, revision)
	return notes
}

// apply brings what is around changes up to a note.
func (w *Waiting) apply(ctx context.Context, n note) error {
	switch {
	case n.present && n.switches == nil:
		return errIncomplete
	case n.present:
		w.present[n.ref.Name] = n.switches
	case n.ref.Kind != model.KindNAT:
	case w.nat == nil: // the first one: all that there are
		w.nat = map[model.Ref]model.Object{}
		_, err := w.store.walkAt(ctx, []keyRange{prefixRange(w.store.keys.folder(model.KindNAT))}, n.rev, Sight{Objects: w.nat}.take(w.store))
		return err
	default:
		setIn(w.nat, n.ref, n.new)
	}
	return nil
}

// Await is that of Store.
func (w *Waiting) Await(ctx context.Context, wait Wait) (Receipt, error) {
	start := time.Now()
	limit, cancel := context.WithTimeout(ctx, wait.Limit)
	defer cancel()
	a := newAnswers(wait)
	if !w.await(limit, a) && limit.Err() == nil {
		w.store.forgetLease(wait.ID) // it may have ended; who is asked again is asked under another
		wait.Limit -= time.Since(start)
		return w.store.Await(ctx, wait)
	}
	defer w.store.endWait(wait.ID)
	if ctx.Err() != nil {
		return Receipt{}, interrupted(ctx, wait)
	}
	w.mu.Lock()
	a.live, a.status = maps.Clone(w.live), maps.Clone(w.status)
	w.mu.Unlock()
	return w.store.receipt(ctx, a, start), nil
}

// await returns true when all have answered, and false at the end of ctx or when it is over.
func (w *Waiting) await(ctx context.Context, a *answers) bool {
	a.live, a.status = w.live, w.status
	ask := newAsking(a)
	defer ask.Stop()
	for {
		w.mu.Lock()
		moved, over := w.moved, w.err != nil
		missing, unasked := a.missing(), a.unasked()
		w.mu.Unlock()
		if over {
			return false
		}
		if len(missing) == 0 {
			return true
		}
		if unasked {
			ask.again()
		}
		select {
		case <-moved:
		case <-ask.C:
			ask.due = false
			if err := w.store.ask(ctx, a, missing); err != nil {
				w.end(err)
				return false
			}
		case <-ctx.Done():
			return false
		}
	}
}
