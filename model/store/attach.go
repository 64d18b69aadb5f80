package store

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/client/v3"

	"tuplenet/model"
)

// What plugins need, that plug the interfaces of containers: addresses from a pool of their own configuration, knowing
// where a port is bound, and a receipt for what others wrote.

// Pool is a subnet from which a port gets an address.
type Pool struct {
	Subnet netip.Prefix
	// Reserved are addresses that are not given out, above all that of the gateway. If there are any, every other address
	// of a host in the subnet is; else alloc.Pool says which.
	Reserved []netip.Addr
}

// FromPools gives a new switch port an address from each pool, besides those that it has already. The subnets of the
// switch do not matter then.
func FromPools(pools ...Pool) Option { return func(o *options) { o.pools = pools } }

func poolsOf(subnets []netip.Prefix) (pools []Pool) {
	for _, s := range subnets {
		pools = append(pools, Pool{Subnet: s})
	}
	return pools
}

// PortNamed finds a port of a switch or router by its name alone. Errors: ErrNotFound.
func (s *Store) PortNamed(ctx context.Context, name string) (ref model.Ref, err error) {
	if err := model.ValidateName(name); err != nil {
		return ref, refuse(ErrInvalid, "%s", err)
	}
	return s.claimant(ctx, "port "+name, model.ClaimPort(name))
}

// PortWithAddress finds the port of a switch that has an address. Errors: ErrNotFound.
func (s *Store) PortWithAddress(ctx context.Context, ls string, a netip.Addr) (model.Ref, error) {
	return s.claimant(ctx, fmt.Sprintf("port with %s on switch %s", a, ls), model.ClaimIP(model.Ref{Kind: model.KindSwitch, Name: ls}, a))
}

// claimant finds the object that has a claim; what names it for people.
func (s *Store) claimant(ctx context.Context, what, claim string) (ref model.Ref, err error) {
	err = s.call(ctx, "find "+what, func(ctx context.Context, c *clientv3.Client, _ bool) error {
		resp, err := c.Get(ctx, s.keys.unique(claim))
		if err != nil {
			return err
		}
		if len(resp.Kvs) == 0 {
			return refuse(ErrNotFound, "%s not found", what)
		}
		if ref, err = model.ParseRef(string(resp.Kvs[0].Value)); err != nil {
			return refuse(ErrNotFound, "%s not found: its claim names %q", what, resp.Kvs[0].Value)
		}
		return nil
	})
	return ref, err
}

// SwitchPort reads a port of a switch. Errors: ErrNotFound, ErrInvalid if what is stored cannot be used.
func (s *Store) SwitchPort(ctx context.Context, ls, name string) (*model.LogicalSwitchPort, error) {
	return readOne[*model.LogicalSwitchPort](ctx, s, model.Ref{Kind: model.KindSwitchPort, Parent: ls, Name: name})
}

// Switch reads a switch. Errors: ErrNotFound, ErrInvalid if what is stored cannot be used.
func (s *Store) Switch(ctx context.Context, name string) (*model.LogicalSwitch, error) {
	return readOne[*model.LogicalSwitch](ctx, s, model.Ref{Kind: model.KindSwitch, Name: name})
}

// ChassisNamed reads what a node says of itself. Errors: ErrNotFound, ErrInvalid if what is stored cannot be used.
func (s *Store) ChassisNamed(ctx context.Context, name string) (*model.Chassis, error) {
	return readOne[*model.Chassis](ctx, s, model.Ref{Kind: model.KindChassis, Name: name})
}

func readOne[T model.Object](ctx context.Context, s *Store, ref model.Ref) (out T, err error) {
	o, err := s.load(ctx, ref)
	if err != nil {
		return out, err
	}
	out, ok := o.object.(T)
	if !ok {
		return out, refuse(ErrInvalid, "the %s %s in the store is invalid", ref.Kind.Noun(), ref.Name)
	}
	return out, nil
}

// AwaitBinding waits until a port is bound to a chassis and returns the revision of the binding. A binding that is older than the
// port is that of an earlier port of the name. It ends with an error only when ctx does.
func (s *Store) AwaitBinding(ctx context.Context, port, chassis string) (int64, error) {
	ref := model.Ref{Kind: model.KindBinding, Name: port}
	for {
		rev, err := s.awaitBindingOnce(ctx, ref, chassis)
		if err == nil {
			return rev, nil
		}
		select { // the store is away, or the watch broke: ask again
		case <-time.After(retryMin):
		case <-ctx.Done():
			return 0, fmt.Errorf("port %s is not bound to chassis %s: %w", port, chassis, context.Cause(ctx))
		}
	}
}

func (s *Store) awaitBindingOnce(ctx context.Context, ref model.Ref, chassis string) (int64, error) {
	var seen, from, made int64
	err := s.call(ctx, "read "+ref.String(), func(ctx context.Context, c *clientv3.Client, _ bool) error {
		resp, err := c.Txn(ctx).Then(clientv3.OpGet(s.keys.object(ref)), clientv3.OpGet(s.keys.unique(model.ClaimPort(ref.Name)))).Commit()
		if err != nil {
			return err
		}
		from, seen, made = resp.Header.Revision+1, 0, first(resp.Responses[1]).GetModRevision()
		if kv := first(resp.Responses[0]); kv.GetModRevision() > made && boundTo(ref, kv, chassis) {
			seen = kv.ModRevision
		}
		return nil
	})
	if err != nil || seen > 0 {
		return seen, err
	}
	c, err := s.etcd()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for resp := range c.Watch(clientv3.WithRequireLeader(ctx), s.keys.object(ref), clientv3.WithRev(from)) {
		if err := resp.Err(); err != nil {
			return 0, err
		}
		for _, e := range resp.Events {
			if boundTo(ref, e.Kv, chassis) {
				return e.Kv.ModRevision, nil
			}
		}
	}
	return 0, errors.New("the watch ended")
}

// boundTo tells whether a key is a binding to a chassis.
func boundTo(ref model.Ref, kv *mvccpb.KeyValue, chassis string) bool {
	b, ok := read(ref, kv).object.(*model.Binding)
	return ok && b.Chassis == chassis
}

// RequestReceipts asks all nodes to say when they have applied everything up to now, and returns the revision of that.
// Await with the same id then waits for them. An id is used once.
func (s *Store) RequestReceipts(ctx context.Context, id string) (int64, error) {
	rev, _, err := s.commit(ctx, change{what: "ask for receipts", options: options{waiter: id}, nodes: true})
	return rev, err
}
