package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"tuplenet/model"
)

// Bulk adds many objects in transactions that go to etcd several at a time. It hands out numbers (VNIs, port keys) that it has looked up
// in advance, so that those transactions do not race each other for the lowest free one.
//
// An addition may need what one that was sent before it makes, without waiting for that. If that one fails, what came of those behind it
// is to be taken back: they may have been given numbers and MACs of something that is not as it was expected.
//
// Safe for use by several goroutines.
type Bulk struct {
	store   *Store
	carrier *carrier

	mu     sync.Mutex
	spaces map[string]*reserve // by numbers.what
	// switches that were looked up or are about to be made, by name; nil: there is none.
	switches map[string]*model.LogicalSwitch
}

// reserve is what is known of a space of numbers.
type reserve struct {
	free []uint32 // sorted; free when looked up, and not handed out since
	next uint32   // where to look for more
}

// reserveSize is how many free numbers are looked up at once.
const reserveSize = 256

// Bulk begins a bulk addition.
func (s *Store) Bulk() *Bulk {
	return &Bulk{store: s, carrier: &carrier{store: s}, spaces: map[string]*reserve{}, switches: map[string]*model.LogicalSwitch{}}
}

// Forget drops the numbers that were looked up in advance: call it after something else allocated numbers.
func (b *Bulk) Forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.spaces)
	clear(b.switches)
}

// switchOf looks up each switch once.
func (b *Bulk) switchOf(ctx context.Context, ls string) (*model.LogicalSwitch, error) {
	b.mu.Lock()
	o, known := b.switches[ls]
	b.mu.Unlock()
	if known {
		return o, nil
	}
	o, err := b.store.switchIfThere(ctx, ls)
	if err == nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.switches[ls] = o
	}
	return o, err
}

// Weight is how much of a transaction an object takes, beside one for each thing that it belongs to or refers to; a
// transaction takes up to MaxWeight.
func Weight(o model.Object) int {
	var text [256]byte
	var ends [8]int
	_, claims := model.AppendClaims(text[:0], ends[:0], o)
	n := len(claims) + 1
	if p, ok := o.(*model.LogicalSwitchPort); ok && p.MAC.IsZero() {
		n++ // it gets one
	}
	return n
}

// MaxWeight bounds the weight of one Addition.
const MaxWeight = maxOps - 4 // for the schema version, the waiter and the look at what is there

// Addition is some objects that are added by one transaction.
type Addition struct {
	bulk    *Bulk
	objects []model.Object // as given
	batch   batch
	made    []model.Object
	chosen  map[string]bool
	taken   []taken
	opts    []Option
	sent    *rider
}

// taken is a number that was handed out.
type taken struct {
	space  string
	number uint32
}

// Prepare does for new objects what AddAll does before its transaction. Numbers are handed out in the order of the calls.
func (b *Bulk) Prepare(ctx context.Context, objects []model.Object) (*Addition, error) {
	a := &Addition{bulk: b, objects: objects, batch: batch{store: b.store, refs: map[model.Ref]bool{}, switchOf: b.switchOf}}
	a.batch.free = func(ctx context.Context, space numbers, n int) ([]uint32, error) {
		found, err := b.take(ctx, space, n)
		for _, number := range found {
			a.taken = append(a.taken, taken{space.what, number})
		}
		return found, err
	}
	for _, o := range objects {
		if a.batch.refs[o.Ref()] {
			return nil, refuse(ErrExists, "%s exists: it is given twice", o.Ref().Name)
		}
		a.batch.refs[o.Ref()] = true
	}
	b.expect(objects)
	err := admits(ctx, b.switchOf, objects...)
	if err != nil {
		return nil, err
	}
	if a.made, a.chosen, err = a.batch.fill(ctx, objects); err != nil {
		b.giveBack(a.taken)
		return nil, err
	}
	return a, nil
}

// Send begins to store the objects, all or none, behind what was sent before. Nothing calls it off.
func (a *Addition) Send(ctx context.Context, opts ...Option) error {
	ch, err := a.change(opts)
	if err != nil {
		a.bulk.giveBack(a.taken)
		return err
	}
	a.opts = opts
	a.sent = a.bulk.carrier.send(context.WithoutCancel(ctx), ch)
	return nil
}

// Result waits until the objects that were sent are stored, and returns them and the revision. Errors as of AddAll.
func (a *Addition) Result() ([]model.Object, int64, error) {
	rev, err := a.sent.wait()
	switch {
	case err == nil:
		return a.made, rev, nil
	case errors.Is(err, errRaced), errors.Is(err, errMAC) && a.batch.derived:
		a.bulk.Forget() // somebody else allocates, too
		return a.bulk.store.AddAll(a.sent.ctx, a.objects, a.opts...)
	}
	a.bulk.giveBack(a.taken)
	return nil, 0, err
}

func (a *Addition) change(opts []Option) (change, error) {
	s := a.bulk.store
	ops, value, err := s.puts(a.made)
	if err != nil {
		return change{}, err
	}
	guards, err := a.batch.guards(a.made, a.chosen)
	var makes []string
	for _, o := range a.made {
		if ref := o.Ref(); ref.Kind != model.KindSwitchPort {
			makes = append(makes, s.keys.object(ref))
		}
	}
	return change{
		makes: makes, hopeful: true, what: fmt.Sprintf("add %d objects", len(a.made)), guards: guards, ops: ops, options: collect(opts), key: s.keys.object(a.made[0].Ref()),
		done: func(kv *mvccpb.KeyValue) (int, bool) { return 0, bytes.Equal(value, kv.GetValue()) },
	}, err
}

// expect notes switches that are about to be made, and that the port keys of new switches and routers are all free: nobody has to look.
func (b *Bulk) expect(objects []model.Object) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, o := range objects {
		if k := o.Ref().Kind; k != model.KindSwitch && k != model.KindRouter {
			continue
		}
		if ls, ok := o.(*model.LogicalSwitch); ok {
			b.switches[ls.Name] = ls
		}
		space := portKeys(o.Ref())
		r := &reserve{next: space.first + reserveSize}
		for n := space.first; n < r.next; n++ {
			r.free = append(r.free, n)
		}
		b.spaces[space.what] = r
	}
}

// take hands out up to n free numbers, at least one.
func (b *Bulk) take(ctx context.Context, space numbers, n int) ([]uint32, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.spaces[space.what]
	if r == nil {
		r = &reserve{next: space.first}
		b.spaces[space.what] = r
	}
	for len(r.free) == 0 {
		from := space
		from.first = r.next
		found, err := b.store.free(ctx, from, reserveSize)
		switch {
		case errors.Is(err, ErrExhausted) && r.next > space.first:
			r.next = space.first // lower ones may have become free meanwhile
			continue
		case err != nil:
			return nil, err
		}
		r.free, r.next = found, found[len(found)-1]+1
	}
	n = min(n, len(r.free))
	out := slices.Clone(r.free[:n])
	r.free = r.free[n:]
	return out, nil
}

// giveBack returns numbers that were not used after all.
func (b *Bulk) giveBack(unused []taken) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, t := range unused {
		if r := b.spaces[t.space]; r != nil {
			at, found := slices.BinarySearch(r.free, t.number)
			if !found {
				r.free = slices.Insert(slices.Clone(r.free), at, t.number)
			}
		}
	}
}

// Mark writes nothing but the request of a waiter, so that Await sees everything that was written before. It returns the
// revision.
func (s *Store) Mark(ctx context.Context, opts ...Option) (int64, error) {
	rev, _, err := s.commit(ctx, change{what: "ask the nodes", options: collect(opts)})
	return rev, err
}
