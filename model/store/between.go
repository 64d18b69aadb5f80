package store

import (
	"context"
	"errors"

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

// Difference is what lies between two revisions of the store.
type Difference struct {
	// Old and New are all usable objects at the two revisions. Those that do not differ are the same in both.
	Old, New map[model.Ref]model.Object
	// Differ are the refs that were written or removed, in the order of their keys.
	Differ []model.Ref
}

// Between reads what differs between two revisions, and everything else, too. ok is false when the history of the store does
// not reach back that far any more.
func (s *Store) Between(ctx context.Context, from, to int64) (d Difference, ok bool, err error) {
	first, end := s.keys.nodes()
	ranges := []keyRange{prefixRange(s.keys.spec()), {first, end}}
	_, old, err := s.listAt(ctx, ranges, from)
	if err == nil {
		var now []*mvccpb.KeyValue
		if _, now, err = s.listAt(ctx, ranges, to); err == nil {
			return s.compare(old, now), true, nil
		}
	}
	if errors.Is(err, rpctypes.ErrCompacted) {
		return Difference{}, false, nil
	}
	return Difference{}, false, err
}

func (s *Store) compare(old, now []*mvccpb.KeyValue) Difference {
	d := Difference{Old: make(map[model.Ref]model.Object, len(old)), New: make(map[model.Ref]model.Object, len(now))}
	was := make(map[string]*mvccpb.KeyValue, len(old))
	for _, kv := range old {
		was[string(kv.Key)] = kv
	}
	for _, kv := range now {
		c := s.decode(kv)
		if c.Object != nil {
			d.New[c.Ref] = c.Object
		}
		before := was[string(kv.Key)]
		delete(was, string(kv.Key))
		switch {
		case before != nil && before.ModRevision == kv.ModRevision:
			if c.Object != nil {
				d.Old[c.Ref] = c.Object
			}
			continue
		case before != nil:
			if b := s.decode(before); b.Object != nil {
				d.Old[b.Ref] = b.Object
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
			d.Old[c.Ref] = c.Object
		}
		d.Differ = append(d.Differ, c.Ref)
	}
	return d
}
