package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/client/v3"

	"tuplenet/model"
	"tuplenet/model/alloc"
)

// PrefixService is another system that gives out the prefixes of pools with a driver. Who asks is named by owner, such as
// switch/NET; asking again for the same owner gives the same answer, so that nothing is lost if an answer is.
type PrefixService interface {
	// Allocate takes a prefix of a length; if subnet is valid, that one.
	Allocate(ctx context.Context, pool *model.Pool, owner string, length int, subnet netip.Prefix) (netip.Prefix, error)
	// Release gives a prefix back. One that the system does not know is no error.
	Release(ctx context.Context, pool *model.Pool, owner string, subnet netip.Prefix) error
}

// WithPrefixService says who gives out the prefixes of pools with a driver. Without it they are refused.
func WithPrefixService(p PrefixService) Option { return func(o *options) { o.service = p } }

// quarantined is what the value of a claim begins with that nobody has, and that is not given out for a while.
const quarantined = "quarantine "

// AddPool stores a new pool. Errors: ErrInvalid, ErrExists.
func (s *Store) AddPool(ctx context.Context, o *model.Pool, opts ...Option) (int64, error) {
	_, rev, err := s.AddAll(ctx, []model.Object{o}, opts...)
	return rev, err
}

// DeletePool removes a pool of which no prefix is in use. Errors: ErrNotFound, ErrChildren.
func (s *Store) DeletePool(ctx context.Context, name string, opts ...Option) (int64, error) {
	ref := model.Ref{Kind: model.KindPool, Name: name}
	if _, err := s.load(ctx, ref); err != nil {
		return 0, err
	}
	return s.DeleteAll(ctx, []model.Ref{ref}, opts...)
}

// Held is a prefix of a pool that is not free.
type Held struct {
	Prefix netip.Prefix
	// Owner is the object that has it, or had it last.
	Owner string
	// Quarantine is how long it will not be given out yet; 0: it is in use.
	Quarantine time.Duration
	rev        int64 // of its key
}

// Held are the prefixes of a pool that are in use or in quarantine, sorted. With times set, it also finds out how long those
// in quarantine stay there, which takes a request each.
func (s *Store) Held(ctx context.Context, pool string, times bool) ([]Held, error) {
	held, _, err := s.held(ctx, pool)
	if err != nil || !times {
		return held, err
	}
	for i, h := range held {
		if h.Quarantine == 0 {
			continue
		}
		err := s.call(ctx, "ask how long "+h.Prefix.String()+" stays in quarantine", func(ctx context.Context, c *clientv3.Client, _ bool) error {
			resp, err := c.Get(ctx, s.keys.unique(model.ClaimPrefix(pool, h.Prefix)))
			if err != nil || len(resp.Kvs) == 0 || resp.Kvs[0].Lease == 0 {
				return err
			}
			left, err := c.TimeToLive(ctx, clientv3.LeaseID(resp.Kvs[0].Lease))
			if err == nil && left.TTL > 0 {
				held[i].Quarantine = time.Duration(left.TTL) * time.Second
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return held, nil
}

// held are the prefixes of a pool that are not free, and the revision of this knowledge. The rest of a quarantine is not known.
func (s *Store) held(ctx context.Context, pool string) (out []Held, rev int64, err error) {
	folder := s.keys.unique("")
	h, kvs, err := s.list(ctx, []keyRange{prefixRange(s.keys.unique(model.PrefixClaims(pool)))})
	if err != nil {
		return nil, 0, err
	}
	for _, kv := range kvs {
		_, p, ok := model.ParsePrefixClaim(strings.TrimPrefix(string(kv.Key), folder))
		if !ok {
			continue // made by hand
		}
		x := Held{Prefix: p, Owner: string(kv.Value), rev: kv.ModRevision}
		if owner, is := strings.CutPrefix(x.Owner, quarantined); is {
			x.Owner, x.Quarantine = owner, time.Second
		}
		out = append(out, x)
	}
	return out, h.revision, nil
}

// poolDeletion is the operations that remove a pool, and the conditions: none of its prefixes is in use.
func (s *Store) poolDeletion(ctx context.Context, o stored) ([]clientv3.Op, []guard, error) {
	name := o.ref.Name
	held, rev, err := s.held(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	for _, h := range held {
		if h.Quarantine == 0 {
			return nil, nil, refuse(ErrChildren, "failed to delete pool %s: %s is used by %s, delete that or its subnet first", name, h.Prefix, h.Owner)
		}
	}
	claims := s.keys.unique(model.PrefixClaims(name))
	ops := []clientv3.Op{clientv3.OpDelete(s.keys.object(o.ref)), clientv3.OpDelete(claims, clientv3.WithPrefix()),
		clientv3.OpDelete(s.keys.lengths(name), clientv3.WithPrefix())}
	return ops, []guard{unchanged(s.keys.object(o.ref), o.rev), older(claims, rev)}, nil
}

// older is the guard that no key in a folder is newer than a revision.
func older(folder string, rev int64) guard {
	return guard{of: clientv3.ModRevision, is: "<", to: rev + 1, key: folder, prefix: true,
		explain: func(*mvccpb.KeyValue) error { return nil }} // if it does not hold: errRaced
}

// releasing is the operation that gives a claim up that an object has: a prefix of a pool goes into quarantine.
func (s *Store) releasing(ctx context.Context, owner model.Ref, key string) (clientv3.Op, error) {
	pool, _, ok := model.ParsePrefixClaim(strings.TrimPrefix(key, s.keys.unique("")))
	if !ok {
		return s.releaseOf(owner, key), nil
	}
	p, err := s.Pool(ctx, pool)
	if err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrInvalid) {
		return clientv3.Op{}, err
	}
	if err != nil || p.QuarantineSeconds() == 0 {
		return s.releaseOf(owner, key), nil
	}
	lease, err := s.grant(ctx, time.Duration(p.QuarantineSeconds())*time.Second)
	return clientv3.OpTxn([]clientv3.Cmp{clientv3.Compare(clientv3.Value(key), "=", owner.String())},
		[]clientv3.Op{clientv3.OpPut(key, quarantined+owner.String(), clientv3.WithLease(lease))}, nil), err
}

// ReleasePrefix makes a prefix of a pool free at once that is in quarantine; a driver is told so, also if the store does not
// know of the prefix any more. Errors: ErrNotFound (not in quarantine, and no driver), ErrConflict (in use).
func (s *Store) ReleasePrefix(ctx context.Context, name string, p netip.Prefix, opts ...Option) (int64, error) {
	opt := collect(opts)
	pool, err := s.Pool(ctx, name)
	if err != nil {
		return 0, err
	}
	for range attempts {
		held, rev, err := s.held(ctx, name)
		if err != nil {
			return 0, err
		}
		i := slices.IndexFunc(held, func(h Held) bool { return h.Prefix == p })
		switch {
		case i < 0 && pool.Driver == "":
			return 0, refuse(ErrNotFound, "%s is not in quarantine: it is not in use, or not of pool %s", p, name)
		case i >= 0 && held[i].Quarantine == 0:
			return 0, refuse(ErrConflict, "%s is used by %s", p, held[i].Owner)
		}
		owner := ""
		if i >= 0 {
			owner = held[i].Owner
		}
		if err := s.tell(ctx, opt.service, pool, owner, p); err != nil {
			return 0, err
		}
		if i < 0 {
			return rev, nil
		}
		key := s.keys.unique(model.ClaimPrefix(name, p))
		rev, _, err = s.commit(ctx, change{what: "release " + p.String(), options: opt, guards: []guard{unchanged(key, held[i].rev)}, ops: []clientv3.Op{clientv3.OpDelete(key)}})
		if !errors.Is(err, errRaced) {
			return rev, err
		}
	}
	return 0, fmt.Errorf("release %s: it was changed %d times meanwhile", p, attempts)
}

// tell gives a prefix back to the service of a pool, if it has one.
func (s *Store) tell(ctx context.Context, service PrefixService, pool *model.Pool, owner string, p netip.Prefix) error {
	switch {
	case pool.Driver == "":
		return nil
	case service == nil:
		return errNoService(pool)
	}
	return service.Release(ctx, pool, owner, p)
}

// Pool reads a pool. Errors: ErrNotFound, ErrInvalid.
func (s *Store) Pool(ctx context.Context, name string) (*model.Pool, error) {
	p, _, err := s.poolAt(ctx, name)
	return p, err
}

func (s *Store) poolAt(ctx context.Context, name string) (*model.Pool, int64, error) {
	o, err := s.load(ctx, model.Ref{Kind: model.KindPool, Name: name})
	if err != nil {
		return nil, 0, err
	}
	p, ok := o.object.(*model.Pool)
	if !ok {
		return nil, 0, refuse(ErrInvalid, "the pool %s in the store is invalid: correct it with \"tpctl apply\"", name)
	}
	return p, o.rev, nil
}

// sourcing is what a transaction needs that takes prefixes from pools for a switch.
type sourcing struct {
	store   *Store
	service PrefixService
	owner   string
	// spread is among how many of the next prefixes one is taken: 1, or more if many take them at the same time.
	spread int
	guards []guard
	ops    []clientv3.Op // beside the claims themselves
	asked  []granted     // what was asked of the service
	// drivers are the pools with a driver that the switch has a subnet of.
	drivers []string
}

// granted is a prefix that a service gave out.
type granted struct {
	pool   *model.Pool
	subnet netip.Prefix
}

// errNoService is the refusal of pools whose driver cannot be asked here.
func errNoService(pool *model.Pool) error {
	return refuse(ErrInvalid, "pool %s has the driver %s: subnets of it are taken with tpctl, where the driver is", pool.Name, pool.Driver)
}

// fill gives a switch the subnets that it is to take from pools; old has those that it has already (nil: none).
func (t *sourcing) fill(ctx context.Context, o *model.LogicalSwitch, old *model.LogicalSwitch) (*model.LogicalSwitch, error) {
	made := *o
	made.Pools, made.Subnets = slices.Clone(o.Pools), slices.Clone(o.Subnets)
	taken := map[string][]netip.Prefix{} // for this switch, just now
	for i := range made.Pools {
		src := &made.Pools[i]
		if old != nil && src.Subnet.IsValid() && slices.ContainsFunc(old.Pools, func(x model.SubnetSource) bool { return x.Pool == src.Pool && x.Subnet == src.Subnet }) {
			t.drivers = append(t.drivers, src.Pool) // if it has one
			continue
		}
		p, err := t.take(ctx, *src, taken[src.Pool])
		if err != nil {
			return nil, err
		}
		src.Subnet = p
		taken[src.Pool] = append(taken[src.Pool], p)
		if !slices.Contains(made.Subnets, p) {
			made.Subnets = append(made.Subnets, p)
		}
	}
	return &made, nil
}

// take finds the prefix for a source, and adds the conditions for taking it: neither the pool nor the set of lengths that are
// in use in it changed, nothing within the prefix is taken, and nothing that it is within. The last is asked of each shorter
// length in use, which is why those are known.
func (t *sourcing) take(ctx context.Context, src model.SubnetSource, already []netip.Prefix) (netip.Prefix, error) {
	s := t.store
	pool, rev, err := s.poolAt(ctx, src.Pool)
	if err != nil {
		return netip.Prefix{}, err
	}
	length := src.Length
	switch {
	case src.Subnet.IsValid():
		length = src.Subnet.Bits()
	case length == 0:
		length = pool.DefaultLength()
	}
	if err := pool.CheckLength(length); err != nil {
		return netip.Prefix{}, refuse(ErrInvalid, "%s", err)
	}
	held, heldAt, err := s.held(ctx, src.Pool)
	if err != nil {
		return netip.Prefix{}, err
	}
	p, own, err := t.choose(ctx, pool, src, length, held, already)
	if err != nil {
		return p, err
	}
	key := s.keys.unique(model.ClaimPrefix(src.Pool, p))
	lengths := map[int]bool{}
	for _, h := range held {
		lengths[h.Prefix.Bits()] = true
	}
	t.guards = append(t.guards, unchanged(s.keys.object(pool.Ref()), rev), older(s.keys.lengths(src.Pool), heldAt), unchanged(key, own),
		noneIn(key+"\x00", s.keys.unique(model.ClaimPrefix(src.Pool, netip.PrefixFrom(alloc.LastOf(p), p.Addr().BitLen())))+"\x00"))
	for bits := range lengths {
		if bits < length {
			t.guards = append(t.guards, unchanged(s.keys.unique(model.ClaimPrefix(src.Pool, netip.PrefixFrom(p.Addr(), bits).Masked())), 0))
		}
	}
	if !lengths[length] {
		t.ops = append(t.ops, clientv3.OpPut(s.keys.lengths(src.Pool)+strconv.Itoa(length), ""))
	}
	return p, nil
}

// noneIn is the guard that there is no key from one to another, without the other.
func noneIn(from, end string) guard {
	return guard{of: clientv3.CreateRevision, is: "=", to: 0, key: from, end: end,
		explain: func(*mvccpb.KeyValue) error { return nil }} // if it does not hold: errRaced
}

// choose finds a prefix that is free as of now. own is the revision of its key, which is there only if who names a prefix
// takes it out of quarantine.
func (t *sourcing) choose(ctx context.Context, pool *model.Pool, src model.SubnetSource, length int, held []Held, already []netip.Prefix) (p netip.Prefix, own int64, err error) {
	p = src.Subnet
	if pool.Driver != "" {
		if p, err = t.ask(ctx, pool, length, src.Subnet); err != nil {
			return p, 0, err
		}
	}
	used, resting := slices.Clone(already), 0
	for _, h := range held {
		if h.Prefix == p && h.Quarantine > 0 {
			own = h.rev
			continue
		}
		if p.IsValid() && h.Prefix.Overlaps(p) && h.Quarantine == 0 {
			return p, 0, refuse(ErrConflict, "conflict with other subnet: %s of pool %s is used by %s", h.Prefix, pool.Name, h.Owner)
		}
		if p.IsValid() && h.Prefix.Overlaps(p) {
			return p, 0, refuse(ErrConflict, "conflict with other subnet: %s of pool %s is in quarantine, end that with \"tpctl pool release\"", h.Prefix, pool.Name)
		}
		if h.Quarantine > 0 {
			resting++
		}
		used = append(used, h.Prefix)
	}
	if p.IsValid() {
		if !pool.Contains(p) {
			return p, 0, refuse(ErrInvalid, "invalid subnet %s: it is not in pool %s", p, pool.Name)
		}
		return p, own, nil
	}
	space := alloc.Space{Prefixes: pool.Prefixes, Length: length, Random: pool.Strategy == model.StrategyRandom, Seed: pool.Seed}
	free := space.NextPrefixes(append(used, pool.Reserved...), t.spread)
	if len(free) == 0 {
		return p, 0, refuse(ErrExhausted, "pool %s has no free prefix of length %d: %d are in use, %d in quarantine", pool.Name, length, len(used)-resting, resting)
	}
	return free[rand.IntN(len(free))], 0, nil
}

// ask has the service of a pool give out a prefix.
func (t *sourcing) ask(ctx context.Context, pool *model.Pool, length int, subnet netip.Prefix) (netip.Prefix, error) {
	if t.service == nil {
		return subnet, errNoService(pool)
	}
	if slices.Contains(t.drivers, pool.Name) {
		return subnet, refuse(ErrInvalid, "pool %s gives one subnet to each switch, because it has a driver", pool.Name)
	}
	t.drivers = append(t.drivers, pool.Name)
	for _, g := range t.asked { // before a race was lost: the answer still holds
		if g.pool.Name == pool.Name && (g.subnet == subnet || !subnet.IsValid() && g.subnet.Bits() == length) {
			return g.subnet, nil
		}
	}
	p, err := t.service.Allocate(ctx, pool, t.owner, length, subnet)
	if err != nil {
		return p, refuse(ErrInvalid, "pool %s: %s", pool.Name, oneLine(err))
	}
	t.asked = append(t.asked, granted{pool, p})
	if !pool.Contains(p) || p.Bits() != length || p != p.Masked() {
		return p, refuse(ErrInvalid, "pool %s: the driver %s gave %s, which is not a prefix of length %d of the pool", pool.Name, pool.Driver, p, length)
	}
	return p, nil
}

// undo gives back what the service gave out, because it was not stored. It says so if that fails, too.
func (t *sourcing) undo(ctx context.Context, because error) error {
	for _, g := range t.asked {
		if err := t.service.Release(context.WithoutCancel(ctx), g.pool, t.owner, g.subnet); err != nil {
			because = fmt.Errorf("%w; and %s was not given back to the driver %s: %s", because, g.subnet, g.pool.Driver, oneLine(err))
		}
	}
	return because
}

// again forgets the conditions of a transaction that lost a race, and lets the next one choose among more.
func (t *sourcing) again(attempt int) {
	t.guards, t.ops, t.drivers, t.spread = nil, nil, nil, spreadOf(attempt)
}

// spreadOf is among how many free numbers or prefixes a choice is made at the n-th attempt: the lowest at first; among more
// when others are taking some at the same time, so that a crowd does not race for a single one.
func spreadOf(attempt int) int { return 1 << min(4*attempt, 8) }

// addSourced stores a new switch that takes subnets from pools, all in one transaction.
func (s *Store) addSourced(ctx context.Context, o *model.LogicalSwitch, opt options) (*model.LogicalSwitch, int64, error) {
	t := &sourcing{store: s, service: opt.service, owner: o.Ref().String()}
	if err := model.ValidateDraft(o); err != nil {
		return nil, 0, refuse(ErrInvalid, "%s", err)
	}
	name := absent(s.keys.object(o.Ref()), func(string) error { return refuse(ErrExists, "%s already exist", o.Name) })
	if err := s.holds(ctx, name); err != nil { // before a driver is asked
		return nil, 0, err
	}
	for attempt := range attempts {
		t.again(attempt)
		made, err := t.fill(ctx, o, nil)
		if err != nil {
			return nil, 0, t.undo(ctx, err)
		}
		vni := s.claimGuard(model.ClaimVNI(made.VNI))
		if made.VNI == 0 {
			free, err := s.free(ctx, vnis(), min(t.spread, page))
			if err != nil {
				return nil, 0, t.undo(ctx, err)
			}
			made.VNI = model.VNI(free[rand.IntN(len(free))])
			vni = unchanged(s.keys.unique(model.ClaimVNI(made.VNI)), 0)
		}
		ops, value, err := s.puts([]model.Object{made})
		if err != nil {
			return nil, 0, t.undo(ctx, err)
		}
		rev, _, err := s.commit(ctx, change{
			what: "add " + o.Ref().String(), options: opt, key: s.keys.object(o.Ref()), guards: append([]guard{name, vni}, t.guards...), ops: append(ops, t.ops...),
			done: func(kv *mvccpb.KeyValue) (int, bool) { return 0, bytes.Equal(value, kv.GetValue()) },
		})
		switch {
		case errors.Is(err, errRaced):
		case err != nil:
			return nil, 0, t.undo(ctx, err)
		default:
			return made, rev, nil
		}
	}
	return nil, 0, t.undo(ctx, fmt.Errorf("add %s: others were faster %d times", o.Ref(), attempts))
}

// holds checks a guard by itself, ahead of a transaction that will have it.
func (s *Store) holds(ctx context.Context, g guard) error {
	return s.call(ctx, "read "+g.key, func(ctx context.Context, c *clientv3.Client, _ bool) error {
		resp, err := c.Get(ctx, g.key)
		if err != nil {
			return err
		}
		if len(resp.Kvs) == 0 {
			return g.explain(nil)
		}
		return g.explain(resp.Kvs[0])
	})
}
