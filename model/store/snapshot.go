package store

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/v3"

	"tuplenet/model"
)

// Snapshot is the objects of the store at one revision. It is not changed after it was made.
type Snapshot struct {
	Revision int64
	Objects  map[model.Ref]model.Object
	// Problems are what is in the store but cannot be used, and why.
	Problems map[model.Ref]model.Problem
	written  map[model.Ref]int64 // of objects
}

// Written is the revision at which an object was last written; 0 if there is none.
func (s *Snapshot) Written(ref model.Ref) int64 { return s.written[ref] }

// snapshotPage is how many keys are read in a request. A page is all that is held of what is not decoded yet.
const snapshotPage = 4000

// Snapshot reads all objects of some kinds, or of all kinds if none is given, at one revision.
func (s *Store) Snapshot(ctx context.Context, kinds ...model.Kind) (*Snapshot, error) {
	var ranges []keyRange
	for _, k := range kinds {
		ranges = append(ranges, prefixRange(s.keys.folder(k)))
	}
	if len(kinds) == 0 {
		from, end := s.keys.nodes()
		ranges = []keyRange{prefixRange(s.keys.spec()), {from, end}}
	}
	snap := &Snapshot{Objects: map[model.Ref]model.Object{}, Problems: map[model.Ref]model.Problem{}, written: map[model.Ref]int64{}}
	again := func() {
		clear(snap.Objects)
		clear(snap.Problems)
		clear(snap.written)
	}
	header, err := s.walk(ctx, ranges, again, func(kv *mvccpb.KeyValue) {
		if c := s.decode(kv); c.Object != nil {
			snap.Objects[c.Ref], snap.written[c.Ref] = c.Object, c.Revision
		} else {
			snap.Problems[c.Ref] = model.Problem{Key: c.Ref.String(), Reason: c.Problem}
		}
	})
	if err != nil {
		return nil, err
	}
	snap.Revision = header.revision
	return snap, nil
}

// decode makes a change from a key that exists.
func (s *Store) decode(kv *mvccpb.KeyValue) Change {
	ref, err := s.keys.ref(string(kv.Key))
	c := Change{Ref: ref, Revision: kv.ModRevision}
	if err == nil {
		c.Object, err = s.cfg.Decode(ref, kv.Value, kv.ModRevision)
	}
	if err != nil {
		c.Object, c.Problem = nil, err.Error()
	}
	return c
}

// keyRange is from … end, without end.
type keyRange struct{ from, end string }

func prefixRange(prefix string) keyRange {
	return keyRange{prefix, clientv3.GetPrefixRangeEnd(prefix)}
}

// header tells of which store, and at which revision, something was read.
type header struct {
	revision int64
	cluster  uint64
}

// list reads ranges of keys, all at one revision, in pages.
func (s *Store) list(ctx context.Context, ranges []keyRange) (h header, kvs []*mvccpb.KeyValue, err error) {
	h, err = s.walk(ctx, ranges, func() { kvs = nil }, func(kv *mvccpb.KeyValue) { kvs = append(kvs, kv) })
	return h, kvs, err
}

// walk reads ranges of keys, all at one revision, and hands them over page by page. If that revision is compacted before all
// of it was read, it says again and begins anew.
func (s *Store) walk(ctx context.Context, ranges []keyRange, again func(), each func(*mvccpb.KeyValue)) (header, error) {
	for {
		h, err := s.walkAt(ctx, ranges, 0, each)
		if !errors.Is(err, rpctypes.ErrCompacted) {
			return h, err
		}
		again()
	}
}

// listAt reads ranges of keys at a revision, 0 for that of the first answer.
func (s *Store) listAt(ctx context.Context, ranges []keyRange, rev int64) (h header, kvs []*mvccpb.KeyValue, err error) {
	h, err = s.walkAt(ctx, ranges, rev, func(kv *mvccpb.KeyValue) { kvs = append(kvs, kv) })
	return h, kvs, err
}

func (s *Store) walkAt(ctx context.Context, ranges []keyRange, rev int64, each func(*mvccpb.KeyValue)) (h header, err error) {
	h.revision = rev
	for _, r := range ranges {
		for from, more := r.from, true; more; {
			var resp *clientv3.GetResponse
			err := s.call(ctx, "read the store", func(ctx context.Context, c *clientv3.Client, _ bool) (err error) {
				resp, err = c.Get(ctx, from, clientv3.WithRange(r.end), clientv3.WithLimit(snapshotPage), clientv3.WithRev(h.revision))
				return err
			})
			if err != nil {
				return h, err
			}
			if h.revision == 0 {
				h = header{resp.Header.Revision, resp.Header.ClusterId}
			}
			for i, kv := range resp.Kvs {
				each(kv)
				resp.Kvs[i] = nil
				from = string(kv.Key) + "\x00"
			}
			more = resp.More && len(resp.Kvs) > 0
		}
	}
	return h, nil
}

// Pools are sorted by name.
func (s *Snapshot) Pools() []*model.Pool { return objects[*model.Pool](s, "") }

// Switches are sorted by name.
func (s *Snapshot) Switches() []*model.LogicalSwitch { return objects[*model.LogicalSwitch](s, "") }

// SwitchPorts are the ports of a switch, or of all for "", sorted by switch and name.
func (s *Snapshot) SwitchPorts(ls string) []*model.LogicalSwitchPort {
	return objects[*model.LogicalSwitchPort](s, ls)
}

// Routers are sorted by name.
func (s *Snapshot) Routers() []*model.LogicalRouter { return objects[*model.LogicalRouter](s, "") }

// RouterPorts are the ports of a router, or of all for "", sorted by router and name.
func (s *Snapshot) RouterPorts(lr string) []*model.LogicalRouterPort {
	return objects[*model.LogicalRouterPort](s, lr)
}

// Routes are the static routes of a router, or of all for "", sorted by router and name.
func (s *Snapshot) Routes(lr string) []*model.StaticRoute { return objects[*model.StaticRoute](s, lr) }

// NATRules are the NAT rules of a router, or of all for "", sorted by router and name.
func (s *Snapshot) NATRules(lr string) []*model.NATRule { return objects[*model.NATRule](s, lr) }

// Chassis are sorted by name.
func (s *Snapshot) Chassis() []*model.Chassis { return objects[*model.Chassis](s, "") }

// Binding is the binding of a port; nil if there is none.
func (s *Snapshot) Binding(lsp string) *model.Binding {
	b, _ := s.Objects[model.Ref{Kind: model.KindBinding, Name: lsp}].(*model.Binding)
	return b
}

func objects[T model.Object](s *Snapshot, parent string) []T {
	var out []T
	for _, ref := range slices.SortedFunc(maps.Keys(s.Objects), compareRefs) {
		if o, ok := s.Objects[ref].(T); ok && (parent == "" || ref.Parent == parent) {
			out = append(out, o)
		}
	}
	return out
}

func compareRefs(a, b model.Ref) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Parent, b.Parent), cmp.Compare(a.Name, b.Name))
}
