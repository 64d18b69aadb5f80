package store

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/client/v3"

	"tuplenet/model"
)

// EditSwitch changes what a switch says besides its name and VNI. edit is given a copy of it, and may be called again if somebody else
// was faster; it leaves alone what it is given pointers and slices of. It returns what was stored and the revision.
// Errors: ErrInvalid, ErrNotFound, and that of edit.
func (s *Store) EditSwitch(ctx context.Context, name string, edit func(*model.LogicalSwitch) error, opts ...Option) (*model.LogicalSwitch, int64, error) {
	return editOne(ctx, s, model.Ref{Kind: model.KindSwitch, Name: name}, edit, opts)
}

// EditSwitchPort changes what a port says besides its names, key and addresses; see EditSwitch.
func (s *Store) EditSwitchPort(ctx context.Context, ls, name string, edit func(*model.LogicalSwitchPort) error, opts ...Option) (*model.LogicalSwitchPort, int64, error) {
	return editOne(ctx, s, model.Ref{Kind: model.KindSwitchPort, Parent: ls, Name: name}, edit, opts)
}

// editOne changes an object whose claims stay the same.
func editOne[T any, P interface {
	*T
	model.Object
}](ctx context.Context, s *Store, ref model.Ref, edit func(P) error, opts []Option) (P, int64, error) {
	for range attempts {
		old, err := s.load(ctx, ref)
		if err != nil {
			return nil, 0, err
		}
		was, ok := old.object.(P)
		if !ok {
			return nil, 0, refuse(ErrInvalid, "the %s %s in the store is invalid", ref.Kind.Noun(), ref.Name)
		}
		now := *was
		if err := edit(&now); err != nil {
			return nil, 0, err
		}
		value, err := model.Encode(P(&now))
		if err != nil {
			return nil, 0, refuse(ErrInvalid, "%s", err)
		}
		key := s.keys.object(ref)
		rev, _, err := s.commit(ctx, change{
			what: "edit " + ref.String(), options: collect(opts), key: key,
			guards: []guard{unchanged(key, old.rev)}, ops: []clientv3.Op{clientv3.OpPut(key, string(value))},
			done: func(kv *mvccpb.KeyValue) (int, bool) { return 0, kv != nil && string(kv.Value) == string(value) },
		})
		if errors.Is(err, errRaced) {
			continue
		}
		return &now, rev, err
	}
	return nil, 0, fmt.Errorf("edit %s: others were faster", ref)
}
