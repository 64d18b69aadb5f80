package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/client/v3"

	"tuplenet/model"
)

// Option changes how a command is carried out.
type Option func(*options)

type options struct {
	waiter string
	// what the waiter waits for; 0: the change
	since, revision int64
	pools           []Pool
	// service gives out the prefixes of pools with a driver
	service PrefixService
	// families of which the port gets an address; nil: all
	families  *Families
	macPrefix model.MACPrefix
}

// WithWaiter puts the request of a waiter into the same transaction as the change; Await with the same id then waits for
// the nodes. An id is used once.
func WithWaiter(id string) Option { return func(o *options) { o.waiter = id } }

// Between has the waiter wait for what was written behind the revision since and up to revision, in place of the change that it is
// part of: nodes for which that changes something answer by themselves, as soon as they have applied it.
func Between(since, revision int64) Option {
	return func(o *options) { o.since, o.revision = since, revision }
}

func collect(opts []Option) (o options) {
	for _, f := range opts {
		f(&o)
	}
	return o
}

// AddSwitch stores a new switch. A VNI of 0 is replaced by the lowest free one; subnets of pools that are not said are the
// next free ones. It returns what was stored and the revision. Errors: ErrNotFound (pool), ErrInvalid, ErrExists, ErrConflict (VNI given and taken), ErrExhausted.
func (s *Store) AddSwitch(ctx context.Context, o *model.LogicalSwitch, opts ...Option) (*model.LogicalSwitch, int64, error) {
	if opt := collect(opts); len(o.Pools) > 0 {
		return s.addSourced(ctx, o, opt)
	}
	return addNumbered(ctx, s, *o, o.VNI, collect(opts), func(o *model.LogicalSwitch, v model.VNI) model.Object { o.VNI = v; return o })
}

// AddRouter stores a new router. An id of 0 is replaced by the lowest free one. It returns what was stored and the
// revision. Errors: ErrInvalid, ErrExists, ErrConflict (id given and taken), ErrExhausted.
func (s *Store) AddRouter(ctx context.Context, o *model.LogicalRouter, opts ...Option) (*model.LogicalRouter, int64, error) {
	return addNumbered(ctx, s, *o, o.ID, collect(opts), func(o *model.LogicalRouter, v model.VNI) model.Object { o.ID = v; return o })
}

// addNumbered adds an object that needs a VNI, of which with sets the number.
func addNumbered[T any](ctx context.Context, s *Store, o T, given model.VNI, opt options, with func(*T, model.VNI) model.Object) (*T, int64, error) {
	draft := o
	sample := with(&draft, max(given, 1))
	if err := sample.Validate(); err != nil {
		return nil, 0, refuse(ErrInvalid, "%s", err)
	}
	ref := sample.Ref()
	made := make([]*T, 0, 1)
	add := addition{what: fmt.Sprintf("add %s", ref), options: opt, ref: ref}
	add.guards = []guard{absent(s.keys.object(ref), func(string) error { return refuse(ErrExists, "%s already exist", ref.Name) })}
	if given != 0 {
		copied := o
		made = append(made, &copied)
		add.variants = func(int) ([]variant, error) {
			return []variant{{objects: []model.Object{with(made[0], given)}}}, nil
		}
		add.guards = append(add.guards, s.claimGuard(model.ClaimVNI(given)))
	} else {
		add.variants = func(attempt int) ([]variant, error) {
			numbers, err := s.free(ctx, vnis(), candidates(attempt, 4, 3))
			made = made[:0]
			var out []variant
			for _, n := range numbers {
				copied := o
				made = append(made, &copied)
				out = append(out, variant{objects: []model.Object{with(&copied, model.VNI(n))}, allocated: []string{model.ClaimVNI(model.VNI(n))}})
			}
			return out, err
		}
	}
	rev, i, err := s.add(ctx, add)
	if err != nil {
		return nil, 0, err
	}
	return made[i], rev, nil
}

// AddSwitchPort stores a new port of a switch. Filled in: the key, if 0, with the lowest free one; the MAC, if none is
// given, as model.MACPrefix.PortMAC says for the prefix of the switch; the type, if empty, with vif; the IPs of a vif, if there are none, with a free one
// of each subnet of the switch (alloc.Pool) or as FromPools says. It returns what was stored and the revision.
// Errors: ErrInvalid, ErrNotFound (switch), ErrExists (name), ErrConflict (IP, MAC, key given and taken), ErrExhausted.
func (s *Store) AddSwitchPort(ctx context.Context, o *model.LogicalSwitchPort, opts ...Option) (*model.LogicalSwitchPort, int64, error) {
	base := *o
	if base.Type == "" {
		base.Type = model.PortVIF
	}
	opt := collect(opts)
	if err := admits(ctx, s.switchIfThere, &base); err != nil {
		return nil, 0, err
	}
	if err := s.chooseFor(ctx, &base, &opt); err != nil {
		return nil, 0, err
	}
	if len(opt.pools) > 0 {
		return s.addAutomatic(ctx, base, opt.pools, opt)
	}
	derive := base.MAC.IsZero() && base.Type != model.PortPatch
	parent := model.Ref{Kind: model.KindSwitch, Name: o.Switch}
	made, rev, err := s.addPort(ctx, portAddition{
		parent: parent, name: o.Name, key: o.Key, derive: derive, options: opt, claims: len(base.IPs) + 4,
		build: func(key model.PortKey, attempt int) model.Object {
			p := base
			p.Key = key
			if derive {
				p.MAC = opt.macPrefix.PortMAC(p.Switch, p.Name, p.IPs, attempt)
			}
			return &p
		},
	})
	if err != nil {
		return nil, 0, err
	}
	return made.(*model.LogicalSwitchPort), rev, nil
}

// AddRouterPort stores a new port of a router. Filled in are key and MAC, as for switch ports. It returns what was
// stored and the revision. Errors: ErrInvalid, ErrNotFound (router), ErrExists (name), ErrConflict, ErrExhausted.
func (s *Store) AddRouterPort(ctx context.Context, o *model.LogicalRouterPort, opts ...Option) (*model.LogicalRouterPort, int64, error) {
	derive := o.MAC.IsZero()
	parent := model.Ref{Kind: model.KindRouter, Name: o.Router}
	made, rev, err := s.addPort(ctx, portAddition{
		parent: parent, name: o.Name, key: o.Key, derive: derive, options: collect(opts), claims: len(o.Networks) + 4,
		build: func(key model.PortKey, attempt int) model.Object {
			p := *o
			p.Key = key
			if derive {
				p.MAC = model.DerivePortMAC(p.Router, p.Name, addressesOf(p.Networks), attempt)
			}
			return &p
		},
	})
	if err != nil {
		return nil, 0, err
	}
	return made.(*model.LogicalRouterPort), rev, nil
}

func addressesOf(nets []netip.Prefix) []netip.Addr {
	out := make([]netip.Addr, len(nets))
	for i, n := range nets {
		out[i] = n.Addr()
	}
	return out
}

// portAddition is what the addition of a port of a switch and of a router have in common.
type portAddition struct {
	parent  model.Ref
	name    string
	key     model.PortKey // 0: to be allocated
	derive  bool          // the MAC is derived, so another one may be taken when it conflicts
	claims  int           // how many claims the port has at most
	options options
	build   func(key model.PortKey, macAttempt int) model.Object
}

func (s *Store) addPort(ctx context.Context, p portAddition) (model.Object, int64, error) {
	for macAttempt := 0; ; macAttempt++ {
		sample := p.build(max(p.key, 1), macAttempt)
		if err := sample.Validate(); err != nil {
			return nil, 0, refuse(ErrInvalid, "%s", err)
		}
		var made []model.Object
		add := addition{what: "add " + sample.Ref().String(), options: p.options, ref: sample.Ref(), guards: s.portGuards(sample, p.key != 0)}
		add.variants = func(attempt int) ([]variant, error) {
			made = made[:0]
			if p.key != 0 {
				made = append(made, sample)
				return []variant{{objects: made}}, nil
			}
			keys, err := s.free(ctx, portKeys(p.parent), candidates(attempt, len(add.guards)+2, p.claims+2))
			var out []variant
			for _, k := range keys {
				o := p.build(model.PortKey(k), macAttempt)
				made = append(made, o)
				out = append(out, variant{objects: []model.Object{o}, allocated: []string{model.ClaimKey(p.parent, model.PortKey(k))}})
			}
			return out, err
		}
		rev, i, err := s.add(ctx, add)
		if err == nil {
			return made[i], rev, nil
		}
		if !p.derive || !errors.Is(err, errMAC) || macAttempt == maxMACAttempts {
			return nil, 0, err
		}
	}
}

// maxMACAttempts is how many other MACs are tried when a derived one is taken.
const maxMACAttempts = 8

// errMAC marks the conflicts that another MAC would solve.
var errMAC = fmt.Errorf("%w of MACs", ErrConflict)

// portGuards are the conditions for a new port: its parent exists, its name, MAC and addresses are free, and its key, if
// it was given.
func (s *Store) portGuards(o model.Object, withKey bool) []guard {
	parent := parentOf(o)
	out := []guard{
		present(s.keys.object(parent), refuse(ErrNotFound, "%s %s not found", parent.Kind, parent.Name)),
		absent(s.keys.object(o.Ref()), func(string) error { return refuse(ErrExists, "%s exists", o.Ref().Name) }),
	}
	for _, claim := range model.Claims(o) {
		if withKey || !strings.HasPrefix(claim, "key/") {
			out = append(out, s.claimGuard(claim))
		}
	}
	return out
}

// admits refuses ports of types that their switch, which find finds or is among the objects, cannot have. A switch that is missing
// is for guards to say; its type never changes. Errors: ErrInvalid.
func admits(ctx context.Context, find switchOf, objects ...model.Object) error {
	given := map[string]*model.LogicalSwitch{}
	for _, o := range objects {
		if ls, ok := o.(*model.LogicalSwitch); ok {
			given[ls.Name] = ls
		}
	}
	for _, o := range objects {
		p, ok := o.(*model.LogicalSwitchPort)
		if !ok || p.Type == model.PortVIF {
			continue
		}
		ls := given[p.Switch]
		if ls == nil {
			found, err := find(ctx, p.Switch)
			if err != nil {
				return err
			}
			ls = found
		}
		if ls == nil {
			continue
		}
		if err := ls.Admits(p); err != nil {
			return refuse(ErrInvalid, "%s", err)
		}
	}
	return nil
}

func parentOf(o model.Object) model.Ref {
	ref := o.Ref()
	if ref.Kind == model.KindSwitchPort {
		return model.Ref{Kind: model.KindSwitch, Name: ref.Parent}
	}
	return model.Ref{Kind: model.KindRouter, Name: ref.Parent}
}

// claimGuard is the condition that nobody has a claim; its error has the words that the operator knows.
func (s *Store) claimGuard(claim string) guard {
	what, rest, _ := strings.Cut(claim, "/")
	g := absent(s.keys.unique(claim), func(owner string) error {
		value := rest[strings.LastIndexByte(rest, '/')+1:]
		if what == "inside" { // a prefix, which has a slash of its own
			value = strings.SplitN(rest, "/", 3)[2]
		}
		switch what {
		case "port":
			return refuse(ErrExists, "%s exists: %s", value, owner)
		case "ip":
			return refuse(ErrConflict, "conflict with other IP: %s is used by %s", value, owner)
		case "mac":
			return refuse(errMAC, "conflict with other MAC: %s is used by %s", value, owner)
		case "vni":
			return refuse(ErrConflict, "conflict with other VNI: 0x%s is used by %s", strings.TrimLeft(value, "0"), owner)
		case "inside":
			return refuse(ErrConflict, "conflict with other NAT: connections from %s are translated by %s", value, owner)
		case "outside":
			return refuse(ErrConflict, "conflict with other NAT: connections to %s are translated by %s", value, owner)
		}
		return refuse(ErrConflict, "conflict with other %s: %s is used by %s", what, value, owner)
	})
	g.number = what == "ip" || what == "mac" || what == "key" || what == "vni"
	return g
}

// Link connects a router and a switch: it stores the router's port <router>_to_<switch> and the switch's port
// <switch>_to_<router>, with the same addresses and the same MAC, each the other's peer, in one transaction.
// Errors: ErrInvalid, ErrNotFound (router or switch), ErrExists (already linked), ErrConflict, ErrExhausted.
func (s *Store) Link(ctx context.Context, router, ls string, nets []netip.Prefix, opts ...Option) (*model.LogicalRouterPort, *model.LogicalSwitchPort, int64, error) {
	newRP, newSP := model.NewLink(router, ls, slices.Clone(nets))
	rp, sp := *newRP, *newSP
	if err := admits(ctx, s.switchIfThere, &sp); err != nil {
		return nil, nil, 0, err
	}
	rp.Key, sp.Key = 1, 1
	for macAttempt := 0; ; macAttempt++ {
		mac := model.DerivePortMAC(ls, sp.Name, sp.IPs, macAttempt)
		rp.MAC, sp.MAC = mac, mac
		if err := errors.Join(rp.Validate()); err != nil {
			return nil, nil, 0, refuse(ErrInvalid, "%s", err)
		}
		if err := sp.Validate(); err != nil {
			return nil, nil, 0, refuse(ErrInvalid, "%s", err)
		}
		add := addition{what: fmt.Sprintf("link %s to %s", router, ls), options: collect(opts), ref: rp.Ref(),
			guards: append(s.portGuards(&rp, false), s.portGuards(&sp, false)...)}
		madeRP, madeSP := rp, sp
		add.variants = func(int) ([]variant, error) {
			rk, err := s.free(ctx, portKeys(parentOf(&rp)), 1)
			if err != nil {
				return nil, err
			}
			sk, err := s.free(ctx, portKeys(parentOf(&sp)), 1)
			if err != nil {
				return nil, err
			}
			madeRP.Key, madeSP.Key = model.PortKey(rk[0]), model.PortKey(sk[0])
			return []variant{{objects: []model.Object{&madeRP, &madeSP},
				allocated: []string{model.ClaimKey(parentOf(&rp), madeRP.Key), model.ClaimKey(parentOf(&sp), madeSP.Key)}}}, nil
		}
		rev, _, err := s.add(ctx, add)
		if err == nil {
			return &madeRP, &madeSP, rev, nil
		}
		if !errors.Is(err, errMAC) || macAttempt == maxMACAttempts {
			return nil, nil, 0, err
		}
	}
}

// addition is a change that adds objects, with numbers that may have to be allocated.
type addition struct {
	what    string
	ref     model.Ref // of the first object
	guards  []guard
	options options
	// variants are the objects to add, in order of preference; called again when all of them were taken meanwhile.
	variants func(attempt int) ([]variant, error)
}

// variant is one way to add the objects. allocated are the claims on numbers that were chosen by us.
type variant struct {
	objects   []model.Object
	allocated []string
}

// add carries out an addition; it returns the revision and which of the last variants was taken.
func (s *Store) add(ctx context.Context, a addition) (rev int64, taken int, err error) {
	for attempt := range attempts {
		variants, err := a.variants(attempt)
		if err != nil {
			return 0, 0, err
		}
		ch := change{what: a.what, guards: a.guards, options: a.options, key: s.keys.object(a.ref)}
		var values [][]byte
		for _, v := range variants {
			ops, value, err := s.puts(v.objects)
			if err != nil {
				return 0, 0, err
			}
			values = append(values, value)
			if len(v.allocated) == 0 {
				ch.ops = ops
				continue
			}
			c := choice{ops: ops}
			for _, claim := range v.allocated {
				c.free = append(c.free, s.keys.unique(claim))
			}
			ch.choices = append(ch.choices, c)
		}
		ch.done = func(kv *mvccpb.KeyValue) (int, bool) {
			i := slices.IndexFunc(values, func(v []byte) bool { return bytes.Equal(v, kv.GetValue()) })
			return i, i >= 0
		}
		rev, taken, err = s.commit(ctx, ch)
		if errors.Is(err, errTaken) || errors.Is(err, errRaced) {
			continue
		}
		return rev, taken, err
	}
	return 0, 0, fmt.Errorf("%s: others were faster %d times", a.what, attempts)
}

// puts are the operations that store objects and their claims, and the JSON of the first object.
func (s *Store) puts(objects []model.Object) (ops []clientv3.Op, value []byte, err error) {
	for i, o := range objects {
		b, err := model.Encode(o)
		if err != nil {
			return nil, nil, refuse(ErrInvalid, "%s", err)
		}
		if i == 0 {
			value = b
		}
		ref, owner := o.Ref(), o.Ref().String()
		ops = append(ops, clientv3.OpPut(s.keys.object(ref), string(b)))
		for _, claim := range model.Claims(o) {
			ops = append(ops, clientv3.OpPut(s.keys.unique(claim), owner))
		}
	}
	return ops, value, nil
}
