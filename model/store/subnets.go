package store

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/client/v3"

	"tuplenet/model"
	"tuplenet/model/alloc"
)

// AddSubnet gives a switch one more subnet: the one given if it is valid, else one from a pool (FromSource's). It returns the
// switch as it is then, the subnet and the revision.
// Errors: ErrInvalid, ErrNotFound (switch, pool), ErrExists, ErrConflict (taken), ErrExhausted.
func (s *Store) AddSubnet(ctx context.Context, ls string, subnet netip.Prefix, from *model.SubnetSource, opts ...Option) (*model.LogicalSwitch, netip.Prefix, int64, error) {
	opt := collect(opts)
	t := &sourcing{store: s, service: opt.service, owner: model.Ref{Kind: model.KindSwitch, Name: ls}.String()}
	for attempt := range attempts {
		old, at, err := s.switchAt(ctx, ls)
		if err != nil {
			return nil, subnet, 0, t.undo(ctx, err)
		}
		t.again(attempt)
		made := *old
		if from != nil {
			made.Pools = append(slices.Clone(old.Pools), *from)
			next, err := t.fill(ctx, &made, old)
			if err != nil {
				return nil, subnet, 0, t.undo(ctx, err)
			}
			made, subnet = *next, next.Pools[len(next.Pools)-1].Subnet
		}
		if slices.Contains(old.Subnets, subnet) {
			return nil, subnet, 0, t.undo(ctx, refuse(ErrExists, "subnet %s exists: it is one of switch %s", subnet, ls))
		}
		if !slices.Contains(made.Subnets, subnet) {
			made.Subnets = append(slices.Clone(old.Subnets), subnet)
		}
		rev, err := s.replaceSwitch(ctx, "add subnet "+subnet.String(), old, at, &made, t, opt)
		switch {
		case errors.Is(err, errRaced):
		case err != nil:
			return nil, subnet, 0, t.undo(ctx, err)
		default:
			return &made, subnet, rev, nil
		}
	}
	return nil, subnet, 0, t.undo(ctx, fmt.Errorf("add a subnet to switch %s: others were faster %d times", ls, attempts))
}

// DeleteSubnet takes a subnet from a switch that none of its ports has an address of. A subnet from a pool is given back.
// Errors: ErrNotFound (switch, subnet), ErrChildren.
func (s *Store) DeleteSubnet(ctx context.Context, ls string, subnet netip.Prefix, opts ...Option) (int64, error) {
	opt := collect(opts)
	for range attempts {
		old, at, err := s.switchAt(ctx, ls)
		if err != nil {
			return 0, err
		}
		if !slices.Contains(old.Subnets, subnet) {
			return 0, refuse(ErrNotFound, "subnet %s not found in switch %s", subnet, ls)
		}
		made := *old
		is := func(x model.SubnetSource) bool { return x.Subnet == subnet }
		made.Subnets = slices.DeleteFunc(slices.Clone(old.Subnets), func(p netip.Prefix) bool { return p == subnet })
		made.Pools = slices.DeleteFunc(slices.Clone(old.Pools), is)
		t := &sourcing{store: s, guards: []guard{s.unused(old.Ref(), subnet)}}
		rev, err := s.replaceSwitch(ctx, "delete subnet "+subnet.String(), old, at, &made, t, opt)
		switch {
		case errors.Is(err, errRaced):
		case err != nil:
			return 0, err
		default:
			return rev, s.giveBack(ctx, opt.service, old, &made)
		}
	}
	return 0, fmt.Errorf("delete a subnet of switch %s: others were faster %d times", ls, attempts)
}

// switchAt reads a switch and the revision of its key.
func (s *Store) switchAt(ctx context.Context, ls string) (*model.LogicalSwitch, int64, error) {
	o, err := s.load(ctx, model.Ref{Kind: model.KindSwitch, Name: ls})
	if err != nil {
		return nil, 0, err
	}
	sw, ok := o.object.(*model.LogicalSwitch)
	if !ok {
		return nil, 0, refuse(ErrInvalid, "the switch %s in the store is invalid: correct it with \"tpctl apply\"", ls)
	}
	return sw, o.rev, nil
}

// unused is the guard that no port of a switch has an address in a subnet.
func (s *Store) unused(ls model.Ref, subnet netip.Prefix) guard {
	from := s.keys.unique(model.ClaimIP(ls, subnet.Addr()))
	end := s.keys.unique(model.ClaimIP(ls, alloc.LastOf(subnet))) + "\x00"
	return guard{of: clientv3.CreateRevision, is: "=", to: 0, key: from, end: end, explain: func(kv *mvccpb.KeyValue) error {
		if kv == nil {
			return nil
		}
		return refuse(ErrChildren, "failed to delete subnet %s: %s has an address in it", subnet, kv.Value)
	}}
}

// replaceSwitch changes the subnets of a switch, if it is as it was read.
func (s *Store) replaceSwitch(ctx context.Context, what string, old *model.LogicalSwitch, at int64, made *model.LogicalSwitch, t *sourcing, opt options) (int64, error) {
	value, err := model.Encode(made)
	if err != nil {
		return 0, refuse(ErrInvalid, "%s", err)
	}
	ops := append([]clientv3.Op{clientv3.OpPut(s.keys.object(made.Ref()), string(value))}, t.ops...)
	before, now := model.Claims(old), model.Claims(made)
	for _, c := range now {
		if !slices.Contains(before, c) {
			ops = append(ops, clientv3.OpPut(s.keys.unique(c), made.Ref().String()))
		}
	}
	for _, c := range before {
		if slices.Contains(now, c) {
			continue
		}
		op, err := s.releasing(ctx, made.Ref(), s.keys.unique(c))
		if err != nil {
			return 0, err
		}
		ops = append(ops, op)
	}
	rev, _, err := s.commit(ctx, change{
		what: what, options: opt, guards: append([]guard{unchanged(s.keys.object(made.Ref()), at)}, t.guards...), ops: ops, key: s.keys.object(made.Ref()),
		done: func(kv *mvccpb.KeyValue) (int, bool) { return 0, string(kv.GetValue()) == string(value) },
	})
	return rev, err
}

// giveBack tells the services of pools which prefixes a switch has no more; now is nil if the switch is gone. It is done
// already in the store, so an error says what is left to do.
func (s *Store) giveBack(ctx context.Context, service PrefixService, old, now *model.LogicalSwitch) error {
	for _, src := range old.Pools {
		if now != nil && slices.Contains(now.Pools, src) {
			continue
		}
		pool, err := s.Pool(ctx, src.Pool)
		if err != nil {
			continue // the pool is gone or broken: nobody to tell
		}
		if err := s.tell(ctx, service, pool, old.Ref().String(), src.Subnet); err != nil {
			return fmt.Errorf("%s is done, but %s was not given back to the driver %s, do that with \"tpctl pool release %s %s\": %w",
				old.Ref(), src.Subnet, pool.Driver, pool.Name, src.Subnet, err)
		}
	}
	return nil
}

// giveAllBack does so for the steps of a plan that were carried out.
func (s *Store) giveAllBack(ctx context.Context, service PrefixService, steps []Step) error {
	for _, step := range steps {
		old, ok := step.Old.(*model.LogicalSwitch)
		now, _ := step.New.(*model.LogicalSwitch)
		if !ok {
			continue
		}
		if err := s.giveBack(ctx, service, old, now); err != nil {
			return err
		}
	}
	return nil
}

// completeSources takes over, for subnets from pools that a wanted switch does not name, those that the switch has.
func completeSources(o, old *model.LogicalSwitch) {
	if len(o.Pools) == 0 {
		return
	}
	o.Pools, o.Subnets = slices.Clone(o.Pools), slices.Clone(o.Subnets)
	for i, src := range o.Pools {
		if !src.Subnet.IsValid() {
			for _, x := range old.Pools {
				named := slices.ContainsFunc(o.Pools, func(y model.SubnetSource) bool { return y.Pool == x.Pool && y.Subnet == x.Subnet })
				if x.Pool == src.Pool && !named && (src.Length == 0 || src.Length == x.Subnet.Bits()) {
					o.Pools[i] = x
					break
				}
			}
		}
		if p := o.Pools[i].Subnet; p.IsValid() && !slices.Contains(o.Subnets, p) {
			o.Subnets = append(o.Subnets, p)
		}
	}
}
