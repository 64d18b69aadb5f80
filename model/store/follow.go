package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/metadata"

	"tuplenet/model"
)

// Change is a new state of one object.
type Change struct {
	Ref model.Ref
	// Object is nil when it is gone or invalid.
	Object model.Object
	// Revision at which it was written or removed.
	Revision int64
	// Problem says why it is invalid; empty if it is not.
	Problem string
}

// Waiter is somebody who waits for a revision to be applied.
type Waiter struct {
	ID string
	// Revision of the waiter's last change; Since is the one before its first.
	Revision, Since int64
	// Asked are the chassis that should answer also if nothing changed for them; Everybody: all of them.
	Asked     []string
	Everybody bool
}

// Asks tells whether a chassis should answer also if nothing changed for it.
func (w Waiter) Asks(chassis string) bool { return w.Everybody || slices.Contains(w.Asked, chassis) }

// Update is what Follow delivers.
type Update struct {
	// Revision up to which intent (the spec kinds) is delivered, this update included. It never goes down, but with a
	// Reset after the store was replaced.
	Revision int64
	// Reset: Changes is the complete new state; what is not in it is gone. Waiters is complete, too.
	Reset   bool
	Changes []Change
	Waiters []Waiter
	// Gone are the ids of waiters that wait no longer.
	Gone []string
}

// waiterPatience is how long a waiter's revision may take to come through the watch of intent before progress is asked
// for; it comes by itself when the same transaction changed intent.
const waiterPatience = 10 * time.Millisecond

// Follow delivers the state of the store and then its changes, until ctx ends or a permanent error (ErrClusterChanged;
// ErrDenied before the first state). deliver is called by the goroutine of Follow; it should be quick. All changes of
// intent made in one transaction are in one Update; of an object that was changed several times meanwhile, the last
// state is delivered.
// A waiter is delivered only after intent has reached its revision.
//
// It survives the loss of the connection, of the leader and of the history (compaction): then it goes on where it was,
// or delivers the complete state again.
func (s *Store) Follow(ctx context.Context, deliver func(Update)) error {
	f := &follower{store: s, deliver: deliver}
	pause := retryMin
	for {
		started := time.Now()
		err := f.run(ctx)
		s.feed.interrupted(err)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, ErrClusterChanged) && s.cfg.AllowStoreReset:
			s.log.Warn("the store was replaced; taking its state as it is now", "err", err)
			f.forget()
			continue
		case errors.Is(err, ErrClusterChanged), errors.Is(err, ErrDenied) && !f.loaded:
			return err
		case errors.Is(err, rpctypes.ErrCompacted):
			s.log.Info("the history of the store is compacted, reading all of it again", "rev", f.rev)
			f.loaded = false
			continue
		}
		if time.Since(started) > 10*retryMax {
			pause = retryMin
		}
		s.log.Debug("following the store was interrupted", "err", err, "again_in", pause)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
		pause = min(2*pause, retryMax)
	}
}

// follower is the state of Follow. One goroutine owns it.
type follower struct {
	store   *Store
	deliver func(Update)

	loaded  bool
	rev     int64 // up to which intent is delivered
	streams [3]stream
	pending map[string]request // waiters not delivered yet
	chassis map[string]bool    // that are registered

	// what is known of the store, to notice that it is another one
	seen    int64  // highest revision
	cluster uint64 // etcd's id of the cluster
	id      string // ours, of the record of the schema version
}

// stream is one watched range.
type stream struct {
	keyRange
	next int64 // the revision from which to watch
	gathering
}

const (
	streamSpec  = iota // intent
	streamNodes        // chassis and bindings
	streamSync         // waiters
)

func (f *follower) forget() { *f = follower{store: f.store, deliver: f.deliver} }

// run loads if needed and watches until something breaks.
func (f *follower) run(ctx context.Context) error {
	now, err := f.store.observe(ctx)
	if err != nil {
		return err
	}
	if err := f.verify(now, f.seen); err != nil {
		return err
	}
	f.store.feed.connected.Store(true)
	if !f.loaded {
		if err := f.load(ctx); err != nil {
			return err
		}
	}
	return f.watch(ctx)
}

// watch takes what the three watches bring until one breaks or the store turns out to be another one.
func (f *follower) watch(ctx context.Context) error {
	c, err := f.store.etcd()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watched := f.store.ownStream(clientv3.WithRequireLeader(ctx))
	for i := range f.streams {
		f.streams[i].begin(watched, c)
	}
	spec, nodes, sync := &f.streams[streamSpec], &f.streams[streamNodes], &f.streams[streamSync]
	probe := time.NewTimer(f.probePause())
	defer probe.Stop()
	probes := make(chan probed, 1)
	var patience <-chan time.Time // set while waiters are pending
	for {
		if patience == nil && len(f.pending) > 0 {
			patience = time.After(waiterPatience)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case resp, ok := <-spec.watch:
			err = f.take(streamSpec, resp, ok)
		case resp, ok := <-nodes.watch:
			err = f.take(streamNodes, resp, ok)
		case resp, ok := <-sync.watch:
			err = f.take(streamSync, resp, ok)
		case <-spec.due:
			spec.begin(watched, c)
		case <-nodes.due:
			nodes.begin(watched, c)
		case <-patience:
			patience = nil
			if len(f.pending) > 0 {
				if spec.due == nil && nodes.due == nil { // a watch that does not run tells nothing
					_ = c.RequestProgress(watched) // an error shows at the watches
				}
				patience = time.After(10 * waiterPatience)
			}
		case <-probe.C:
			go f.store.probeOnce(ctx, f.seen, probes)
		case p := <-probes:
			f.store.feed.connected.Store(p.err == nil)
			if p.err == nil { // else the store is away; the next probe tells whether it is the same when it returns
				err = f.verify(p.now, p.before)
			}
			probe.Reset(f.probePause())
		}
		if err != nil {
			return err
		}
	}
}

// probed is the result of looking which store this is; before is the highest revision that was seen when it began.
type probed struct {
	now    observation
	before int64
	err    error
}

func (s *Store) probeOnce(ctx context.Context, before int64, result chan<- probed) {
	now, err := s.observe(ctx)
	result <- probed{now, before, err}
}

func (f *follower) probePause() time.Duration {
	return f.store.probe/2 + rand.N(f.store.probe)
}

// observation is what identifies a store.
type observation struct {
	header
	id string // of the record of the schema version; empty if there is none
}

// observe asks which store this is, by a linearizable read.
func (s *Store) observe(ctx context.Context) (o observation, err error) {
	err = s.call(ctx, "read the schema version", func(ctx context.Context, c *clientv3.Client, _ bool) error {
		resp, err := c.Get(ctx, s.keys.meta())
		if err != nil {
			return err
		}
		o = observation{header: header{resp.Header.Revision, resp.Header.ClusterId}}
		var m metaValue
		if len(resp.Kvs) > 0 && json.Unmarshal(resp.Kvs[0].Value, &m) == nil {
			o.id = m.ClusterID
		}
		return nil
	})
	return o, err
}

// verify compares with what is known; before is the highest revision that was seen when the observation was begun.
func (f *follower) verify(o observation, before int64) error {
	where := strings.Join(f.store.cfg.Endpoints, ",")
	switch {
	case f.cluster != 0 && o.cluster != f.cluster:
		return refuse(ErrClusterChanged, "the store at %s is another etcd cluster (%x) than before (%x); allow it if that is intended", where, o.cluster, f.cluster)
	case o.revision < before:
		return refuse(ErrClusterChanged, "the store at %s went back from revision %d to %d: restored from a backup or wiped; allow it if that is intended", where, before, o.revision)
	case f.id != "" && o.id != "" && o.id != f.id:
		return refuse(ErrClusterChanged, "the store at %s has another deployment (%s) than before (%s); allow it if that is intended", where, o.id, f.id)
	}
	f.cluster = o.cluster
	f.seen = max(f.seen, o.revision)
	if o.id != "" {
		f.id = o.id
	}
	return nil
}

// load reads the complete state and delivers it.
func (f *follower) load(ctx context.Context) error {
	s := f.store
	from, end := s.keys.nodes()
	ranges := [3]keyRange{streamSpec: prefixRange(s.keys.spec()), streamNodes: {from, end}, streamSync: prefixRange(s.keys.sync(""))}
	u := Update{Reset: true}
	h, err := s.walk(ctx, ranges[:], func() { u = Update{Reset: true} }, func(kv *mvccpb.KeyValue) {
		if id, ok := strings.CutPrefix(string(kv.Key), s.keys.sync("")); ok {
			u.Waiters = append(u.Waiters, parseRequest(kv).waiter(id))
			return
		}
		u.Changes = append(u.Changes, s.decode(kv))
	})
	if err != nil {
		return err
	}
	if err := f.verify(observation{header: h, id: f.id}, 0); err != nil {
		return err
	}
	u.Revision = h.revision
	for i, r := range ranges {
		f.streams[i] = stream{keyRange: r, next: h.revision + 1}
	}
	f.loaded, f.rev, f.pending, f.chassis = true, h.revision, map[string]request{}, map[string]bool{}
	f.count(u.Changes)
	f.deliver(u)
	return nil
}

// errSuspect says that the store may be another one: look again.
var errSuspect = errors.New("the store reports a revision that was passed already")

// take delivers what a watch brought.
func (f *follower) take(which int, resp clientv3.WatchResponse, ok bool) error {
	if !ok {
		return errors.New("the watch ended")
	}
	if err := resp.Err(); err != nil {
		return fmt.Errorf("watch the store: %w", err)
	}
	st := &f.streams[which]
	if resp.Header.ClusterId != f.cluster && resp.Header.ClusterId != 0 {
		return errSuspect
	}
	if resp.IsProgressNotify() {
		if resp.Header.Revision < st.next-1 {
			return errSuspect
		}
		st.next = resp.Header.Revision + 1
	}
	if n := len(resp.Events); n > 0 {
		st.next = resp.Events[n-1].Kv.ModRevision + 1
	}
	f.seen = max(f.seen, st.next-1)
	u := Update{}
	if which == streamSync {
		u.Gone = f.takeWaiters(resp.Events)
	} else {
		u.Changes = f.changes(resp.Events)
		f.count(u.Changes)
		st.gather(resp.Events, f.pause(), time.Now())
	}
	advanced := f.streams[streamSpec].next-1 > f.rev
	f.rev = max(f.rev, f.streams[streamSpec].next-1)
	u.Revision = f.rev
	u.Waiters = f.ripe()
	if advanced || len(u.Changes) > 0 || len(u.Waiters) > 0 || len(u.Gone) > 0 {
		f.deliver(u)
	}
	return nil
}

// changes are the last states of the keys in events.
func (f *follower) changes(events []*clientv3.Event) []Change {
	out := make([]Change, 0, len(events))
	var at map[model.Ref]int // where the key is in out; what was only made is there once
	if slices.ContainsFunc(events, func(e *clientv3.Event) bool { return !e.IsCreate() }) {
		at = make(map[model.Ref]int, len(events))
	}
	for _, e := range events {
		var c Change
		if e.Type == mvccpb.DELETE {
			ref, _ := f.store.keys.ref(string(e.Kv.Key))
			c = Change{Ref: ref, Revision: e.Kv.ModRevision}
		} else {
			c = f.store.decode(e.Kv)
		}
		if i, ok := at[c.Ref]; ok {
			out[i] = c
			continue
		}
		if at != nil {
			at[c.Ref] = len(out)
		}
		out = append(out, c)
	}
	return out
}

// takeWaiters takes events of waiters; it returns those that are gone.
func (f *follower) takeWaiters(events []*clientv3.Event) (gone []string) {
	for _, e := range events {
		id := strings.TrimPrefix(string(e.Kv.Key), f.store.keys.sync(""))
		if e.Type == mvccpb.DELETE {
			delete(f.pending, id)
			gone = append(gone, id)
			continue
		}
		f.pending[id] = parseRequest(e.Kv)
	}
	return gone
}

// ripe are the waiters whose revision has come through the watches that they are about, sorted by revision.
func (f *follower) ripe() (out []Waiter) {
	for _, id := range slices.Sorted(maps.Keys(f.pending)) {
		r := f.pending[id]
		if r.Revision < f.streams[streamSpec].next && (!r.Nodes || r.Revision < f.streams[streamNodes].next) {
			out = append(out, r.waiter(id))
			delete(f.pending, id)
		}
	}
	slices.SortStableFunc(out, func(a, b Waiter) int { return cmp.Compare(a.Revision, b.Revision) })
	return out
}

// ownStream makes a context whose watches share nothing with others. etcd's client joins watches in one stream by the metadata of their
// contexts, and etcd (3.7 as well) tells nobody in a stream how far it is any more once one watch of it asked for revisions that were compacted: the
// watch of something that seldom changes does that after a reconnect, and then every waiter that depends on progress would wait in vain.
func (s *Store) ownStream(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "tuplenet-stream", strconv.FormatUint(s.streams.Add(1), 10))
}
