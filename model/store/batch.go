package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/client/v3"

	"tuplenet/model"
)

// AddRoute stores a new static route. Errors: ErrInvalid, ErrNotFound (router or out-port), ErrExists.
func (s *Store) AddRoute(ctx context.Context, o *model.StaticRoute, opts ...Option) (int64, error) {
	_, rev, err := s.AddAll(ctx, []model.Object{o}, opts...)
	return rev, err
}

// AddNAT stores a new NAT rule. Errors: ErrInvalid, ErrNotFound (router), ErrExists, ErrConflict (a rule of the router
// translates the same).
func (s *Store) AddNAT(ctx context.Context, o *model.NATRule, opts ...Option) (int64, error) {
	_, rev, err := s.AddAll(ctx, []model.Object{o}, opts...)
	return rev, err
}

// AddAll stores several new objects of intent in one transaction: all or none. What they refer to is in the store or
// among them. Filled in are numbers of 0 and missing MACs, for the two ports of a link the same one; addresses are not
// chosen. It returns what was stored and the revision. About forty objects fit.
// Errors: ErrInvalid, ErrNotFound (what one refers to), ErrExists, ErrConflict, ErrExhausted.
func (s *Store) AddAll(ctx context.Context, objects []model.Object, opts ...Option) ([]model.Object, int64, error) {
	b := batch{store: s, refs: map[model.Ref]bool{}, free: s.free, switchOf: s.switchIfThere}
	for _, o := range objects {
		if b.refs[o.Ref()] {
			return nil, 0, refuse(ErrExists, "%s exists: it is given twice", o.Ref().Name)
		}
		b.refs[o.Ref()] = true
	}
	what := "add " + objects[0].Ref().String()
	if n := len(objects) - 1; n > 0 {
		what += fmt.Sprintf(" and %d more", n)
	}
	if err := admits(ctx, b.switchOf, objects...); err != nil {
		return nil, 0, err
	}
	for range attempts {
		made, chosen, err := b.fill(ctx, objects)
		if err != nil {
			return nil, 0, err
		}
		ops, value, err := s.puts(made)
		if err != nil {
			return nil, 0, err
		}
		guards, err := b.guards(made, chosen)
		if err != nil {
			return nil, 0, err
		}
		rev, _, err := s.commit(ctx, change{
			what: what, guards: guards, ops: ops, options: collect(opts), key: s.keys.object(made[0].Ref()),
			done: func(kv *mvccpb.KeyValue) (int, bool) { return 0, bytes.Equal(value, kv.GetValue()) },
		})
		switch {
		case errors.Is(err, errRaced):
		case errors.Is(err, errMAC) && b.derived && b.macAttempt < maxMACAttempts:
			b.macAttempt++
		case err != nil:
			return nil, 0, err
		default:
			return made, rev, nil
		}
	}
	return nil, 0, fmt.Errorf("%s: others were faster %d times", what, attempts)
}

// batch is objects that are added together.
type batch struct {
	store      *Store
	refs       map[model.Ref]bool
	macAttempt int
	derived    bool // MACs were derived, so other ones may be taken
	// free finds up to n numbers, at least one, the lowest first.
	free     func(ctx context.Context, space numbers, n int) ([]uint32, error)
	switchOf switchOf
}

// fill copies the objects and gives them numbers and MACs. chosen are the claims on the numbers.
func (b *batch) fill(ctx context.Context, objects []model.Object) (made []model.Object, chosen map[string]bool, err error) {
	chosen = map[string]bool{}
	var vniFor []*model.VNI
	keysFor := map[model.Ref][]*model.PortKey{}
	peers := map[string]*model.LogicalSwitchPort{}
	for _, o := range objects {
		o, vni, key := copied(o)
		made = append(made, o)
		if vni != nil && *vni == 0 {
			vniFor = append(vniFor, vni)
		}
		if key != nil && *key == 0 {
			keysFor[parentOf(o)] = append(keysFor[parentOf(o)], key)
		}
		if p, ok := o.(*model.LogicalSwitchPort); ok {
			peers[p.Peer] = p
		}
	}
	prefixes, err := b.macPrefixes(ctx, made)
	if err != nil {
		return nil, nil, err
	}
	b.derive(made, peers, prefixes)
	if err := b.number(ctx, vnis(), len(vniFor), func(i int, n uint32) { *vniFor[i] = model.VNI(n) }, chosen); err != nil {
		return nil, nil, err
	}
	for parent, keys := range keysFor {
		if err := b.number(ctx, portKeys(parent), len(keys), func(i int, n uint32) { *keys[i] = model.PortKey(n) }, chosen); err != nil {
			return nil, nil, err
		}
	}
	return made, chosen, nil
}

// copied is a copy of an object, and where its number and its key are if it has such.
func copied(o model.Object) (model.Object, *model.VNI, *model.PortKey) {
	switch o := o.(type) {
	case *model.LogicalSwitch:
		c := *o
		return &c, &c.VNI, nil
	case *model.LogicalRouter:
		c := *o
		return &c, &c.ID, nil
	case *model.LogicalSwitchPort:
		c := *o
		return &c, nil, &c.Key
	case *model.LogicalRouterPort:
		c := *o
		return &c, nil, &c.Key
	}
	return o, nil, nil
}

// macPrefixes are what the MACs begin with that ports without one will get, by switch. A switch that is missing or cannot be read
// has none; whether that matters is for guards to say.
func (b *batch) macPrefixes(ctx context.Context, made []model.Object) (map[string]model.MACPrefix, error) {
	out := map[string]model.MACPrefix{}
	for _, o := range made {
		if ls, ok := o.(*model.LogicalSwitch); ok {
			out[ls.Name] = ls.MACPrefix
		}
	}
	for _, o := range made {
		p, ok := o.(*model.LogicalSwitchPort)
		if !ok || !p.MAC.IsZero() || p.Type == model.PortPatch || p.Type == model.PortRouter { // prefixes are for workloads
			continue
		}
		if _, known := out[p.Switch]; known {
			continue
		}
		ls, err := b.switchOf(ctx, p.Switch)
		if err != nil {
			return nil, err
		}
		if out[p.Switch] = ""; ls != nil {
			out[p.Switch] = ls.MACPrefix
		}
	}
	return out, nil
}

// switchOf finds a switch; nil: there is none, or none that can be read.
type switchOf func(ctx context.Context, ls string) (*model.LogicalSwitch, error)

// switchIfThere is the switchOf the store.
func (s *Store) switchIfThere(ctx context.Context, ls string) (*model.LogicalSwitch, error) {
	o, _, err := s.switchAt(ctx, ls)
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrInvalid) {
		return nil, nil
	}
	return o, err
}

// derive gives ports without a MAC one; the router's port of a link gets that of the switch's.
func (b *batch) derive(made []model.Object, peers map[string]*model.LogicalSwitchPort, prefixes map[string]model.MACPrefix) {
	for _, o := range made {
		if p, ok := o.(*model.LogicalSwitchPort); ok && p.MAC.IsZero() && p.Type != model.PortPatch {
			prefix := prefixes[p.Switch]
			if p.Type == model.PortRouter {
				prefix = ""
			}
			p.MAC, b.derived = prefix.PortMAC(p.Switch, p.Name, p.IPs, b.macAttempt), true
		}
	}
	for _, o := range made {
		p, ok := o.(*model.LogicalRouterPort)
		if !ok || !p.MAC.IsZero() {
			continue
		}
		if peer := peers[p.Name]; peer != nil && peer.Name == p.Peer {
			p.MAC = peer.MAC
			continue
		}
		p.MAC, b.derived = model.DerivePortMAC(p.Router, p.Name, addressesOf(p.Networks), b.macAttempt), true
	}
}

// number takes the n lowest free numbers of a space.
func (b *batch) number(ctx context.Context, space numbers, n int, set func(i int, n uint32), chosen map[string]bool) error {
	for i := 0; i < n; {
		found, err := b.free(ctx, space, n-i)
		if err != nil {
			return err
		}
		for _, number := range found {
			set(i, number)
			chosen[space.claim(number)] = true
			space.first = number + 1
			i++
		}
	}
	return nil
}

// guards are the conditions for new objects: that they are new, that what they refer to exists, and that what they claim
// is free.
func (b *batch) guards(made []model.Object, chosen map[string]bool) ([]guard, error) {
	s, claimed, needed := b.store, map[string]bool{}, map[model.Ref]bool{}
	var out []guard
	needs := func(ref model.Ref, missing func() error) {
		if !b.refs[ref] && !needed[ref] {
			needed[ref] = true
			out = append(out, present(s.keys.object(ref), missing()))
		}
	}
	for _, o := range made {
		ref := o.Ref()
		if ref.Kind.HasParent() {
			parent := parentOf(o)
			needs(parent, func() error { return refuse(ErrNotFound, "%s %s not found", parent.Kind, parent.Name) })
		}
		if ls, ok := o.(*model.LogicalSwitch); ok && len(ls.Pools) > 0 {
			return nil, refuse(ErrInvalid, "switch %s takes subnets from pools, so it is added alone", ls.Name)
		}
		if r, ok := o.(*model.StaticRoute); ok {
			needs(model.Ref{Kind: model.KindRouterPort, Parent: r.Router, Name: r.OutPort}, func() error {
				return refuse(ErrNotFound, "outport %s not found in router %s", r.OutPort, r.Router)
			})
		}
		out = append(out, absent(s.keys.object(ref), func(string) error { return refuse(ErrExists, "%s", existsText(ref)) }))
		for _, claim := range model.Claims(o) {
			switch {
			case claimed[claim]:
				return nil, refuse(ErrConflict, "two of the objects to add claim %s", claim)
			case chosen[claim]:
				free := unchanged(s.keys.unique(claim), 0)
				free.number = true
				out = append(out, free)
			case !strings.HasPrefix(claim, "outport/"): // nobody else can have it
				out = append(out, s.claimGuard(claim))
			}
			claimed[claim] = true
		}
	}
	return out, nil
}

func existsText(ref model.Ref) string {
	if ref.Kind.HasParent() {
		return ref.Name + " exists"
	}
	return ref.Name + " already exist"
}

// DeleteAll removes objects, in transactions of limited size and in the order given: children before what they belong to.
// It refuses if anything that is not listed belongs to one of them or, as a route to its out-port, needs it. What is not
// there is left out; with none there at all, only the waiter is written. It returns the revision of the last
// transaction. Errors: ErrChildren.
func (s *Store) DeleteAll(ctx context.Context, refs []model.Ref, opts ...Option) (int64, error) {
	listed := make(map[model.Ref]bool, len(refs))
	for _, ref := range refs {
		listed[ref] = true
	}
	for range attempts {
		rev, rest, err := s.deleteSome(ctx, refs, listed, collect(opts))
		if errors.Is(err, errRaced) {
			continue
		}
		if err != nil || len(rest) == 0 {
			return rev, err
		}
		refs = rest
	}
	return 0, fmt.Errorf("delete %s: it was changed %d times meanwhile", refs[0], attempts)
}

// deleteSome removes as many of the objects as fit into a transaction and returns the others.
func (s *Store) deleteSome(ctx context.Context, refs []model.Ref, listed map[model.Ref]bool, opt options) (rev int64, rest []model.Ref, err error) {
	ch := change{what: "delete objects"}
	for i, ref := range refs {
		ops, guards, err := s.deletion(ctx, ref, listed)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return 0, nil, err
		}
		if max(len(ch.ops)+len(ops), len(ch.guards)+len(guards)) > maxOps-4 {
			rest = refs[i:]
			break
		}
		if ch.key == "" {
			ch.what, ch.key = "delete "+ref.String(), s.keys.object(ref)
			ch.done = func(kv *mvccpb.KeyValue) (int, bool) { return 0, kv == nil }
		}
		ch.ops, ch.guards = append(ch.ops, ops...), append(ch.guards, guards...)
	}
	if len(rest) == 0 {
		ch.options = opt
	}
	rev, _, err = s.commit(ctx, ch)
	return rev, rest, err
}

// deletion is the operations that remove an object and the conditions for them: it is as it was read, and so is all that
// belongs to it or needs it.
func (s *Store) deletion(ctx context.Context, ref model.Ref, listed map[model.Ref]bool) ([]clientv3.Op, []guard, error) {
	o, err := s.load(ctx, ref)
	if err != nil {
		return nil, nil, err
	}
	if ref.Kind == model.KindPool {
		return s.poolDeletion(ctx, o)
	}
	ops, err := s.removal(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	guards := []guard{unchanged(s.keys.object(ref), o.rev)}
	for _, folder := range s.dependents(ref) {
		h, kvs, err := s.list(ctx, []keyRange{prefixRange(folder)})
		if err != nil {
			return nil, nil, err
		}
		for _, kv := range kvs {
			child, err := s.keys.dependent(string(kv.Key))
			if err != nil || !listed[child] {
				return nil, nil, remaining(ref)
			}
		}
		guards = append(guards, older(folder, h.revision))
	}
	return ops, guards, nil
}

// dependent is the object that a key in one of the folders of dependents tells of.
func (l layout) dependent(key string) (model.Ref, error) {
	if tail, ok := strings.CutPrefix(key, l.unique("outport/"+string(model.KindRouter)+"/")); ok {
		if part := strings.Split(tail, "/"); len(part) == 3 {
			return model.Ref{Kind: model.KindRoute, Parent: part[0], Name: part[2]}, nil
		}
	}
	return l.ref(key)
}
