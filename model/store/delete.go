package store

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/client/v3"

	"tuplenet/model"
)

// DeleteSwitch removes a switch and gives its VNI back. With ports left it refuses (ErrChildren) unless recursive is
// set: then the ports go first, together with the router ports at the other end of its links and the static routes
// through those, in transactions of limited size. Prefixes of pools go into quarantine. If that is interrupted, calling it again goes on. It returns the revision of the last transaction.
// Errors: ErrNotFound, ErrChildren.
func (s *Store) DeleteSwitch(ctx context.Context, name string, recursive bool, opts ...Option) (int64, error) {
	ref, opt := model.Ref{Kind: model.KindSwitch, Name: name}, collect(opts)
	o, err := s.load(ctx, ref)
	if err != nil {
		return 0, err
	}
	rev, err := s.deleteParent(ctx, ref, recursive, opt)
	if ls, ok := o.object.(*model.LogicalSwitch); ok && err == nil {
		err = s.giveBack(ctx, opt.service, ls, nil)
	}
	return rev, err
}

// DeleteRouter removes a router and gives its id back; it refuses while ports, static routes or NAT rules are left unless
// recursive is set, as in DeleteSwitch.
func (s *Store) DeleteRouter(ctx context.Context, name string, recursive bool, opts ...Option) (int64, error) {
	return s.deleteParent(ctx, model.Ref{Kind: model.KindRouter, Name: name}, recursive, collect(opts))
}

// DeleteSwitchPort removes a port of a switch and its binding. The port at the other end of a link stays.
// Errors: ErrNotFound.
func (s *Store) DeleteSwitchPort(ctx context.Context, ls, lsp string, opts ...Option) (int64, error) {
	return s.deleteOne(ctx, model.Ref{Kind: model.KindSwitchPort, Parent: ls, Name: lsp}, nil, collect(opts))
}

// DeleteRouterPort removes a port of a router. The port at the other end of a link stays. With static routes through the
// port it refuses (ErrChildren), unless recursive is set: then those go first. Errors: ErrNotFound, ErrChildren.
func (s *Store) DeleteRouterPort(ctx context.Context, lr, lrp string, recursive bool, opts ...Option) (int64, error) {
	ref := model.Ref{Kind: model.KindRouterPort, Parent: lr, Name: lrp}
	return s.deleteWhole(ctx, ref, recursive, collect(opts), func() error { return s.deleteRoutesThrough(ctx, ref) })
}

// DeleteRoute removes a static route. Errors: ErrNotFound.
func (s *Store) DeleteRoute(ctx context.Context, lr, name string, opts ...Option) (int64, error) {
	return s.deleteOne(ctx, model.Ref{Kind: model.KindRoute, Parent: lr, Name: name}, nil, collect(opts))
}

// DeleteNAT removes a NAT rule. Errors: ErrNotFound.
func (s *Store) DeleteNAT(ctx context.Context, lr, name string, opts ...Option) (int64, error) {
	return s.deleteOne(ctx, model.Ref{Kind: model.KindNAT, Parent: lr, Name: name}, nil, collect(opts))
}

// stored is an object as it is in the store; object is nil if it cannot be read.
type stored struct {
	ref    model.Ref
	object model.Object
	rev    int64
}

// load reads an object that may be broken.
func (s *Store) load(ctx context.Context, ref model.Ref) (o stored, err error) {
	err = s.call(ctx, "read "+ref.String(), func(ctx context.Context, c *clientv3.Client, _ bool) error {
		resp, err := c.Get(ctx, s.keys.object(ref))
		if err != nil {
			return err
		}
		if len(resp.Kvs) == 0 {
			return refuse(ErrNotFound, "%s %s not found", ref.Kind.Noun(), ref.Name)
		}
		o = read(ref, resp.Kvs[0])
		return nil
	})
	return o, err
}

func read(ref model.Ref, kv *mvccpb.KeyValue) stored {
	object, err := model.Decode(ref, kv.Value)
	if err != nil {
		object = nil
	}
	return stored{ref: ref, object: object, rev: kv.ModRevision}
}

// deleteOne removes an object with its claims, if the extra guards hold.
func (s *Store) deleteOne(ctx context.Context, ref model.Ref, extra []guard, opt options) (int64, error) {
	for range attempts {
		o, err := s.load(ctx, ref)
		if err != nil {
			return 0, err
		}
		ops, err := s.removal(ctx, o)
		if err != nil {
			return 0, err
		}
		rev, _, err := s.commit(ctx, change{
			what: "delete " + ref.String(), options: opt, ops: ops,
			guards: append([]guard{unchanged(s.keys.object(ref), o.rev)}, extra...),
			key:    s.keys.object(ref), done: func(kv *mvccpb.KeyValue) (int, bool) { return 0, kv == nil },
		})
		if !errors.Is(err, errRaced) {
			return rev, err
		}
	}
	return 0, fmt.Errorf("delete %s: it was changed %d times meanwhile", ref, attempts)
}

// removal is the operations that remove an object, the claims that it holds and, of a switch port, its binding. A claim
// is removed only if it is the object's own: one that was put into the store by hand may name things of others.
func (s *Store) removal(ctx context.Context, o stored) ([]clientv3.Op, error) {
	ops := []clientv3.Op{clientv3.OpDelete(s.keys.object(o.ref))}
	if o.object == nil {
		keys, err := s.search(ctx, o.ref)
		if err != nil {
			return nil, err
		}
		for _, key := range keys {
			op, err := s.releasing(ctx, o.ref, key)
			if err != nil {
				return nil, err
			}
			ops = append(ops, op)
		}
	} else {
		for _, claim := range model.Claims(o.object) {
			op, err := s.releasing(ctx, o.ref, s.keys.unique(claim))
			if err != nil {
				return nil, err
			}
			ops = append(ops, op)
		}
	}
	switch o.ref.Kind {
	case model.KindSwitchPort:
		ops = append(ops, clientv3.OpDelete(s.keys.object(model.Ref{Kind: model.KindBinding, Name: o.ref.Name})))
	case model.KindSwitch, model.KindRouter: // whatever was left by hand
		for _, what := range []string{"ip/", "mac/", "key/", "outport/", "inside/", "outside/"} {
			ops = append(ops, clientv3.OpDelete(s.keys.unique(what+o.ref.String()+"/"), clientv3.WithPrefix()))
		}
	}
	return ops, nil
}

// releaseOf removes a claim if its owner is the object.
func (s *Store) releaseOf(ref model.Ref, key string) clientv3.Op {
	return clientv3.OpTxn([]clientv3.Cmp{clientv3.Compare(clientv3.Value(key), "=", ref.String())}, []clientv3.Op{clientv3.OpDelete(key)}, nil)
}

// search finds the claims of an object that cannot be read, by its name in their values.
func (s *Store) search(ctx context.Context, ref model.Ref) (keys []string, err error) {
	for _, folder := range foldersOfClaims(ref) {
		_, kvs, err := s.list(ctx, []keyRange{prefixRange(s.keys.unique(folder))})
		if err != nil {
			return nil, err
		}
		for _, kv := range kvs {
			if string(kv.Value) == ref.String() {
				keys = append(keys, string(kv.Key))
			}
		}
	}
	return keys, nil
}

// foldersOfClaims is where the claims of an object may be.
func foldersOfClaims(ref model.Ref) []string {
	switch ref.Kind {
	case model.KindSwitchPort:
		return inParent(model.Ref{Kind: model.KindSwitch, Name: ref.Parent})
	case model.KindRouterPort:
		return inParent(model.Ref{Kind: model.KindRouter, Name: ref.Parent})
	case model.KindRoute, model.KindNAT:
		p := model.Ref{Kind: model.KindRouter, Name: ref.Parent}.String() + "/"
		return []string{"outport/" + p, "inside/" + p, "outside/" + p}
	}
	return []string{"vni/", "prefix/"}
}

func inParent(parent model.Ref) []string {
	p := parent.String() + "/"
	return []string{"port/", "ip/" + p, "mac/" + p, "key/" + p}
}

// childKinds are the kinds of what belongs to a switch or a router, in the order in which they are deleted.
func childKinds(parent model.Kind) []model.Kind {
	switch parent {
	case model.KindSwitch:
		return []model.Kind{model.KindSwitchPort}
	case model.KindRouter:
		return []model.Kind{model.KindNAT, model.KindRoute, model.KindRouterPort}
	}
	return nil
}

// dependents are the prefixes of the keys of what belongs to an object or needs it.
func (s *Store) dependents(ref model.Ref) (folders []string) {
	if ref.Kind == model.KindRouterPort {
		return []string{s.keys.unique(model.OutPortClaims(ref.Parent, ref.Name))}
	}
	for _, kind := range childKinds(ref.Kind) {
		folders = append(folders, s.keys.children(kind, ref.Name))
	}
	return folders
}

func remaining(ref model.Ref) error {
	return refuse(ErrChildren, `failed to delete %s: there are remaining ports or static routes, consider using "-r"?`, ref.Name)
}

// alone are the conditions that nothing belongs to an object or needs it.
func (s *Store) alone(ref model.Ref, otherwise error) (out []guard) {
	for _, folder := range s.dependents(ref) {
		out = append(out, guard{
			of: clientv3.CreateRevision, is: "=", to: 0, key: folder, prefix: true,
			explain: func(kv *mvccpb.KeyValue) error {
				if kv == nil {
					return nil
				}
				return otherwise
			},
		})
	}
	return out
}

// deleteParent removes a switch or a router.
func (s *Store) deleteParent(ctx context.Context, ref model.Ref, recursive bool, opt options) (int64, error) {
	return s.deleteWhole(ctx, ref, recursive, opt, func() error {
		for _, kind := range childKinds(ref.Kind) {
			if err := s.deleteChildren(ctx, s.keys.children(kind, ref.Name)); err != nil {
				return err
			}
		}
		return nil
	})
}

// deleteWhole removes an object; with recursive set, children removes first what belongs to it.
func (s *Store) deleteWhole(ctx context.Context, ref model.Ref, recursive bool, opt options, children func() error) (int64, error) {
	for range attempts {
		if recursive {
			if _, err := s.load(ctx, ref); err != nil {
				return 0, err
			}
			if err := children(); err != nil {
				return 0, err
			}
		}
		rev, err := s.deleteOne(ctx, ref, s.alone(ref, remaining(ref)), opt)
		if recursive && errors.Is(err, ErrChildren) {
			continue // somebody added one meanwhile
		}
		return rev, err
	}
	return 0, fmt.Errorf("delete %s: something was added to it %d times meanwhile", ref, attempts)
}

// deleteChildren removes all objects in a folder, in transactions of limited size.
func (s *Store) deleteChildren(ctx context.Context, folder string) error {
	for {
		some, err := s.someChildren(ctx, folder)
		if err != nil || len(some) == 0 {
			return err
		}
		for len(some) > 0 {
			if some, err = s.deleteChunk(ctx, some); err != nil && !errors.Is(err, errRaced) {
				return err
			}
		}
	}
}

// deleteRoutesThrough removes the static routes through a router port.
func (s *Store) deleteRoutesThrough(ctx context.Context, port model.Ref) error {
	for {
		_, kvs, err := s.list(ctx, []keyRange{prefixRange(s.keys.unique(model.OutPortClaims(port.Parent, port.Name)))})
		if err != nil || len(kvs) == 0 {
			return err
		}
		for _, kv := range kvs {
			if err := s.deleteRouteThrough(ctx, string(kv.Key), port); err != nil && !errors.Is(err, errRaced) {
				return err
			}
		}
	}
}

// deleteRouteThrough removes a static route, and its entry under its out-port. If only the entry is there, or the route
// leads through another port (both made by hand), only the entry goes.
func (s *Store) deleteRouteThrough(ctx context.Context, entry string, port model.Ref) error {
	ref, err := s.keys.dependent(entry)
	ch := change{what: "delete " + ref.String(), ops: []clientv3.Op{clientv3.OpDelete(entry)}}
	if err != nil { // nonsense made by hand
		_, _, err = s.commit(ctx, ch)
		return err
	}
	o, err := s.load(ctx, ref)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	route, readable := o.object.(*model.StaticRoute)
	if err == nil && (!readable || route.OutPort == port.Name) {
		ch.ops = append(ch.ops, clientv3.OpDelete(s.keys.object(ref)))
	}
	ch.guards = []guard{unchanged(s.keys.object(ref), o.rev)}
	_, _, err = s.commit(ctx, ch)
	return err
}

// someChildren reads a page of the objects in a folder.
func (s *Store) someChildren(ctx context.Context, folder string) (some []stored, err error) {
	err = s.call(ctx, "read "+folder, func(ctx context.Context, c *clientv3.Client, _ bool) error {
		resp, err := c.Get(ctx, folder, clientv3.WithPrefix(), clientv3.WithLimit(page))
		if err != nil {
			return err
		}
		some = some[:0]
		for _, kv := range resp.Kvs {
			ref, _ := s.keys.ref(string(kv.Key))
			some = append(some, read(ref, kv))
		}
		return nil
	})
	return some, err
}

// deleteChunk removes as many of the objects, with the ports at the other end of their links, as fit into one
// transaction, and returns the others. After errRaced nothing of the chunk was removed; it is found again.
func (s *Store) deleteChunk(ctx context.Context, objects []stored) (rest []stored, err error) {
	ch := change{what: "delete what belongs to " + objects[0].ref.Parent}
	for i, o := range objects {
		both := []stored{o}
		if peer, ok, err := s.otherEnd(ctx, o.object); err != nil {
			return nil, err
		} else if ok {
			both = append(both, peer)
		}
		var ops []clientv3.Op
		var guards []guard
		for _, x := range both {
			if x.ref.Kind == model.KindRouterPort {
				if err := s.deleteRoutesThrough(ctx, x.ref); err != nil {
					return nil, err
				}
			}
			guards = append(guards, unchanged(s.keys.object(x.ref), x.rev))
			guards = append(guards, s.alone(x.ref, errRaced)...)
			more, err := s.removal(ctx, x)
			if err != nil {
				return nil, err
			}
			ops = append(ops, more...)
		}
		if len(ch.ops)+len(ops) > maxOps-4 && i > 0 {
			rest = objects[i:]
			break
		}
		ch.ops = append(ch.ops, ops...)
		ch.guards = append(ch.guards, guards...)
	}
	_, _, err = s.commit(ctx, ch)
	return rest, err
}

// otherEnd finds the port that a port is linked to: a router's port for a switch's and the reverse, each naming the
// other.
func (s *Store) otherEnd(ctx context.Context, o model.Object) (peer stored, ok bool, err error) {
	name, from := "", ""
	switch o := o.(type) {
	case *model.LogicalSwitchPort:
		name, from = o.Peer, o.Name
	case *model.LogicalRouterPort:
		name, from = o.Peer, o.Name
	}
	if name == "" {
		return peer, false, nil
	}
	owner := ""
	err = s.call(ctx, "find the peer "+name, func(ctx context.Context, c *clientv3.Client, _ bool) error {
		resp, err := c.Get(ctx, s.keys.unique("port/"+name))
		if err == nil && len(resp.Kvs) > 0 {
			owner = string(resp.Kvs[0].Value)
		}
		return err
	})
	if err != nil {
		return peer, false, err
	}
	ref, err := model.ParseRef(owner)
	if err != nil || ref.Kind == o.Ref().Kind || !ref.Kind.HasParent() {
		return peer, false, nil // there is none, or the claim was edited by hand
	}
	peer, err = s.load(ctx, ref)
	if errors.Is(err, ErrNotFound) {
		return peer, false, nil
	}
	switch p := peer.object.(type) {
	case *model.LogicalSwitchPort:
		ok = p.Peer == from
	case *model.LogicalRouterPort:
		ok = p.Peer == from
	}
	return peer, ok, err
}
