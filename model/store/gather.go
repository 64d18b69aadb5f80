package store

import (
	"context"
	"math/rand/v2"
	"time"

	"go.etcd.io/etcd/client/v3"

	"tuplenet/model"
)

// A message for each change and each node is what etcd's processor is used for in a large deployment: a core hands out some tens of thousands
// a second. Where changes come faster than that, nodes let them gather: they end the watch and begin it again a while later from where
// it was, and etcd hands out all that came meanwhile in one message. A node judges by what it knows: how fast changes come, and how many others
// there are to be told.
const (
	// shareOfChassis times the number of chassis is how long changes gather at most: ending a watch and beginning it again costs etcd about
	// as much as ten messages, so that a fleet of any size costs it a third of a core, and more come in that time than the fewest that pay.
	shareOfChassis = 500 * time.Microsecond
	// gatherLeast and gatherMost bound that time: below, nothing is gathered, which is so for fewer than 100 chassis.
	gatherLeast, gatherMost = 50 * time.Millisecond, time.Second
	// rush is how many changes must come in that time: 40,000 messages a second for all chassis together.
	rush = 20
)

// gathering is the watch of a stream, or the time until the next one.
type gathering struct {
	watch clientv3.WatchChan // nil: changes gather
	stop  context.CancelFunc
	due   <-chan time.Time // when to begin again; nil: it runs

	since  time.Time // changes are counted
	recent int
	// last is how long the last pause was, 0 if changes did not come fast since. Pauses grow: who writes much at once waits for a short one.
	last time.Duration
}

// begin watches from where the stream was. It does not wait for etcd, as making a watch does.
func (s *stream) begin(ctx context.Context, c *clientv3.Client) {
	ctx, stop := context.WithCancel(ctx)
	from, end, next := s.from, s.end, s.next
	watch := make(chan clientv3.WatchResponse)
	go func() {
		defer close(watch)
		for resp := range c.Watch(ctx, from, clientv3.WithRange(end), clientv3.WithRev(next), clientv3.WithProgressNotify()) {
			select {
			case watch <- resp:
			case <-ctx.Done():
				return
			}
		}
	}()
	s.gathering = gathering{watch: watch, stop: stop, since: time.Now(), last: s.last}
}

// gather takes note of changes that came, and ends the watch for a pause if there were many.
func (s *stream) gather(events []*clientv3.Event, most time.Duration, now time.Time) {
	if most < gatherLeast {
		return
	}
	if now.Sub(s.since) > most {
		s.since, s.recent, s.last = now, 0, 0
	}
	last := int64(0)
	for _, e := range events {
		if e.Kv.ModRevision != last { // all of a transaction comes in one message
			last = e.Kv.ModRevision
			s.recent++
		}
	}
	if s.recent < rush {
		return
	}
	s.stop() // what it may still have begins at s.next, too
	s.last = min(max(2*s.last, most/4), most)
	s.watch, s.due = nil, time.After(s.last-s.last/4+rand.N(s.last/2)) // not all nodes at once
}

// count keeps track of the chassis that there are.
func (f *follower) count(changes []Change) {
	for _, c := range changes {
		switch {
		case c.Ref.Kind != model.KindChassis:
		case c.Object != nil:
			f.chassis[c.Ref.Name] = true
		default:
			delete(f.chassis, c.Ref.Name)
		}
	}
}

// pause is how long changes gather at most in a deployment of this size.
func (f *follower) pause() time.Duration {
	return min(time.Duration(len(f.chassis))*f.store.share, gatherMost)
}
