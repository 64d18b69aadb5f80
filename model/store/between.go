package store

import (
	"context"
	"errors"
	"slices"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/v3"

	"tuplenet/model"
)

// Revision is that of the store now.
func (s *Store) Revision(ctx context.Context) (rev int64, err error) {
	err = s.call(ctx, "read the revision of the store", func(ctx context.Context, c *clientv3.Client, _ bool) error {
		resp, err := c.Get(ctx, s.keys.meta(), clientv3.WithCountOnly())
		if err == nil {
			rev = resp.Header.Revision
		}
		return err
	})
	return rev, err
}

// Sight is what is known of the store at one revision.
type Sight struct {
	// Objects that are usable.
	Objects map[model.Ref]model.Object
	// Present are the switches that chassis have ports of, see PutPresence. Nil: Objects has all objects, and the bindings
	// among them tell.
	Present map[string][]string
}

// Difference is what lies between two revisions of the store.
type Difference struct {
	// Old and New hold all that differs and what tells whom that concerns: chassis, routers and their ports with the switch
	// ports at the other ends, the bindings of ports that differ and the ports of bindings that differ, and all NAT rules if
	// one differs. If much differs, or a chassis does not say where it is present, they hold everything.
	Old, New Sight
	// Differ are the refs that were written or removed.
	Differ []model.Ref
}

// fewKeys is up to how many objects are looked up one by one; more make reading everything cheaper.
const fewKeys = 1000

// Between reads what differs between two revisions, and what is around it. It costs what the difference and the number of chassis
// and links cost, not what the number of ports does. ok is false when the history of the store does not reach back that far any more.
func (s *Store) Between(ctx context.Context, from, to int64) (d Difference, ok bool, err error) {
	r := s.Record(ctx, from)
	defer r.Close()
	return r.Until(ctx, to)
}

// Around is Between for somebody who knows what differs.
func (s *Store) Around(ctx context.Context, from, to int64, differ []model.Ref) (d Difference, ok bool, err error) {
	d.Differ = differ
	if len(differ) > fewKeys {
		err = errNoShortcut
	} else {
		err = s.around(ctx, from, to, &d)
	}
	if errors.Is(err, errNoShortcut) {
		d, err = s.whole(ctx, from, to)
	}
	if errors.Is(err, rpctypes.ErrCompacted) {
		return Difference{}, false, nil
	}
	return d, err == nil, err
}

// errNoShortcut says that everything has to be read.
var errNoShortcut = errors.New("what is around the difference cannot be told without all objects")

// whole reads everything at both revisions.
func (s *Store) whole(ctx context.Context, from, to int64) (Difference, error) {
	first, end := s.keys.nodes()
	ranges := []keyRange{prefixRange(s.keys.spec()), {first, end}}
	_, old, err := s.listAt(ctx, ranges, from)
	if err != nil {
		return Difference{}, err
	}
	_, now, err := s.listAt(ctx, ranges, to)
	return s.compare(old, now), err
}

func (s *Store) compare(old, now []*mvccpb.KeyValue) Difference {
	d := Difference{Old: Sight{Objects: make(map[model.Ref]model.Object, len(old))}, New: Sight{Objects: make(map[model.Ref]model.Object, len(now))}}
	was := make(map[string]*mvccpb.KeyValue, len(old))
	for _, kv := range old {
		was[string(kv.Key)] = kv
	}
	for _, kv := range now {
		c := s.decode(kv)
		if c.Object != nil {
			d.New.Objects[c.Ref] = c.Object
		}
		before := was[string(kv.Key)]
		delete(was, string(kv.Key))
		switch {
		case before != nil && before.ModRevision == kv.ModRevision:
			if c.Object != nil {
				d.Old.Objects[c.Ref] = c.Object
			}
			continue
		case before != nil:
			if b := s.decode(before); b.Object != nil {
				d.Old.Objects[b.Ref] = b.Object
			}
		}
		d.Differ = append(d.Differ, c.Ref)
	}
	for _, kv := range old {
		if was[string(kv.Key)] == nil {
			continue
		}
		c := s.decode(kv)
		if c.Object != nil {
			d.Old.Objects[c.Ref] = c.Object
		}
		d.Differ = append(d.Differ, c.Ref)
	}
	return d
}

// take returns a function that adds an object.
func (v Sight) take(s *Store) func(*mvccpb.KeyValue) {
	return func(kv *mvccpb.KeyValue) {
		if c := s.decode(kv); c.Object != nil {
			v.Objects[c.Ref] = c.Object
		}
	}
}

// around fills in a difference. What does not differ is read once: it is the same at both revisions, and what is not there at the
// newer one was not there at the older one.
func (s *Store) around(ctx context.Context, from, to int64, d *Difference) error {
	keys := make([]string, len(d.Differ))
	for i, ref := range d.Differ {
		keys[i] = s.keys.object(ref)
	}
	old, now := Sight{Objects: map[model.Ref]model.Object{}}, Sight{Objects: map[model.Ref]model.Object{}}
	err := s.getAt(ctx, from, keys, old.take(s))
	if err == nil {
		err = s.getAt(ctx, to, keys, now.take(s))
	}
	if err == nil {
		err = s.presence(ctx, from, to, &old, &now)
	}
	if err == nil {
		err = s.skeletonAt(ctx, to, d.Differ, now)
	}
	if err == nil {
		err = s.endsAt(ctx, to, d.Differ, old, now)
	}
	if err != nil {
		return err
	}
	for ref, o := range now.Objects {
		if !slices.Contains(d.Differ, ref) {
			old.Objects[ref] = o
		}
	}
	for _, v := range []Sight{old, now} {
		for ref := range v.Objects {
			if _, said := v.Present[ref.Name]; ref.Kind == model.KindChassis && !said {
				return errNoShortcut
			}
		}
	}
	d.Old, d.New = old, now
	return nil
}

// skeletonAt adds what is looked at whatever differs.
func (s *Store) skeletonAt(ctx context.Context, rev int64, differ []model.Ref, v Sight) error {
	kinds := []model.Kind{model.KindRouter, model.KindRouterPort, model.KindChassis}
	if slices.ContainsFunc(differ, func(r model.Ref) bool { return r.Kind == model.KindNAT }) {
		kinds = append(kinds, model.KindNAT)
	}
	var ranges []keyRange
	for _, k := range kinds {
		ranges = append(ranges, prefixRange(s.keys.folder(k)))
	}
	_, err := s.walkAt(ctx, ranges, rev, v.take(s))
	return err
}

// endsAt adds the switch ports that router ports lead to, now or before, the ports of bindings that differ and the bindings of
// ports that do.
func (s *Store) endsAt(ctx context.Context, rev int64, differ []model.Ref, old, v Sight) error {
	var keys, names []string
	for _, state := range []Sight{old, v} {
		for _, o := range state.Objects {
			if rp, ok := o.(*model.LogicalRouterPort); ok {
				names = append(names, rp.Peer)
			}
		}
	}
	for _, ref := range differ {
		switch ref.Kind {
		case model.KindSwitchPort:
			keys = append(keys, s.keys.object(model.Ref{Kind: model.KindBinding, Name: ref.Name}))
		case model.KindBinding:
			names = append(names, ref.Name)
		}
	}
	ports, err := s.portKeysAt(ctx, rev, names)
	if err != nil {
		return err
	}
	return s.getAt(ctx, rev, append(keys, ports...), v.take(s))
}

// portKeysAt are the keys of the switch ports of these names that are there.
func (s *Store) portKeysAt(ctx context.Context, rev int64, names []string) (keys []string, err error) {
	var claims []string
	for _, name := range names {
		if name != "" {
			claims = append(claims, s.keys.unique(model.ClaimPort(name)))
		}
	}
	err = s.getAt(ctx, rev, claims, func(kv *mvccpb.KeyValue) {
		if ref, err := model.ParseRef(string(kv.Value)); err == nil {
			keys = append(keys, s.keys.object(ref))
		}
	})
	return keys, err
}

// getAt reads keys at a revision, in requests of limited size.
func (s *Store) getAt(ctx context.Context, rev int64, keys []string, each func(*mvccpb.KeyValue)) error {
	slices.Sort(keys)
	for part := range slices.Chunk(slices.Compact(keys), maxOps) {
		ops := make([]clientv3.Op, len(part))
		for i, key := range part {
			ops[i] = clientv3.OpGet(key, clientv3.WithRev(rev))
		}
		var answers []*etcdserverpb.ResponseOp
		err := s.call(ctx, "read the store", func(ctx context.Context, c *clientv3.Client, _ bool) error {
			resp, err := c.Txn(ctx).Then(ops...).Commit()
			if err == nil {
				answers = resp.Responses
			}
			return err
		})
		if err != nil {
			return err
		}
		for _, a := range answers {
			for _, kv := range a.GetResponseRange().GetKvs() {
				each(kv)
			}
		}
	}
	return nil
}
