package store

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/client/v3"

	"tuplenet/model"
)

// PutChassis stores what a node says of itself, in place of what it said before. Errors: ErrInvalid.
func (s *Store) PutChassis(ctx context.Context, o *model.Chassis) (int64, error) {
	b, err := model.Encode(o)
	if err != nil {
		return 0, refuse(ErrInvalid, "%s", err)
	}
	rev, _, err := s.commit(ctx, change{what: "register chassis " + o.Name, ops: []clientv3.Op{clientv3.OpPut(s.keys.object(o.Ref()), string(b))}})
	return rev, err
}

// DeleteChassis removes a node that is gone: first the bindings of its ports, then its registration, its liveness and its
// status. A daemon that is alive registers itself again. Errors: ErrNotFound.
func (s *Store) DeleteChassis(ctx context.Context, name string, opts ...Option) (int64, error) {
	ref := model.Ref{Kind: model.KindChassis, Name: name}
	for range attempts {
		o, err := s.load(ctx, ref)
		if err != nil {
			return 0, err
		}
		if err := s.deleteBindings(ctx, name); err != nil {
			return 0, err
		}
		rev, _, err := s.commit(ctx, change{
			what: "delete chassis " + name, options: collect(opts), nodes: true,
			guards: []guard{unchanged(s.keys.object(ref), o.rev)},
			ops: []clientv3.Op{clientv3.OpDelete(s.keys.object(ref)), clientv3.OpDelete(s.keys.live(name)),
				clientv3.OpDelete(s.keys.status(name)), clientv3.OpDelete(s.keys.seen(name)),
				clientv3.OpDelete(s.keys.presence(name))},
			key: s.keys.object(ref), done: func(kv *mvccpb.KeyValue) (int, bool) { return 0, kv == nil },
		})
		if !errors.Is(err, errRaced) {
			return rev, err
		}
	}
	return 0, fmt.Errorf("delete chassis %s: it was changed %d times meanwhile", name, attempts)
}

// deleteBindings removes the bindings to a chassis, in transactions of limited size.
func (s *Store) deleteBindings(ctx context.Context, chassis string) error {
	snap, err := s.Snapshot(ctx, model.KindBinding)
	if err != nil {
		return err
	}
	var ops []clientv3.Op
	flush := func() error {
		if len(ops) == 0 {
			return nil
		}
		_, _, err := s.commit(ctx, change{what: "delete the bindings of chassis " + chassis, ops: ops})
		ops = nil
		return err
	}
	for ref, o := range snap.Objects {
		if b, ok := o.(*model.Binding); !ok || b.Chassis != chassis {
			continue
		}
		key := s.keys.object(ref)
		// Each only if it was not moved to another chassis meanwhile.
		ops = append(ops, clientv3.OpTxn([]clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(key), "<", snap.Revision+1)},
			[]clientv3.Op{clientv3.OpDelete(key)}, nil))
		if len(ops) == maxOps/2 {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// Bind says that a port is on a chassis, if its binding is still the one that was seen (its revision; 0: there was
// none). Errors: ErrConflict if it was changed meanwhile, ErrNotFound if there is no such port: a node that has not seen its end
// yet must not leave a binding behind that nobody would delete. ErrInvalid.
func (s *Store) Bind(ctx context.Context, port, chassis string, seen int64) (int64, error) {
	b := &model.Binding{Port: port, Chassis: chassis}
	value, err := model.Encode(b)
	if err != nil {
		return 0, refuse(ErrInvalid, "%s", err)
	}
	key := s.keys.object(b.Ref())
	exists := present(s.keys.unique(model.ClaimPort(port)), refuse(ErrNotFound, "bind port %s: it is not found", port))
	rev, _, err := s.commit(ctx, change{what: "bind port " + port, guards: []guard{exists, unchanged(key, seen)},
		ops: []clientv3.Op{clientv3.OpPut(key, string(value))},
		key: key, done: func(kv *mvccpb.KeyValue) (int, bool) { return 0, string(kv.GetValue()) == string(value) }})
	if errors.Is(err, errRaced) {
		return 0, refuse(ErrConflict, "bind port %s: its binding was changed meanwhile", port)
	}
	return rev, err
}

// Unbind says that a port is not on a chassis any more. If it is bound to none, nothing is done. Errors: ErrConflict if
// it is bound to another chassis.
func (s *Store) Unbind(ctx context.Context, port, chassis string) error {
	ref := model.Ref{Kind: model.KindBinding, Name: port}
	for range attempts {
		o, err := s.load(ctx, ref)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if b, ok := o.object.(*model.Binding); ok && b.Chassis != chassis {
			return refuse(ErrConflict, "unbind port %s: it is bound to chassis %s", port, b.Chassis)
		}
		key := s.keys.object(ref)
		_, _, err = s.commit(ctx, change{what: "unbind port " + port, guards: []guard{unchanged(key, o.rev)},
			ops: []clientv3.Op{clientv3.OpDelete(key)},
			key: key, done: func(kv *mvccpb.KeyValue) (int, bool) { return 0, kv == nil }})
		if !errors.Is(err, errRaced) {
			return err
		}
	}
	return fmt.Errorf("unbind port %s: its binding was changed %d times meanwhile", port, attempts)
}
