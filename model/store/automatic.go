package store

import (
	"context"
	"net/netip"
	"slices"

	"go.etcd.io/etcd/client/v3"

	"tuplenet/model"
	"tuplenet/model/alloc"
)

// Families says of which families a new port gets an address from the subnets of its switch.
type Families struct {
	IPv4, IPv6 bool
	// EUI64: the IPv6 address has to be the one that the workload makes itself from its MAC (RFC 4862), so that it need not be
	// told; a switch whose IPv6 subnets are longer than /64 is refused.
	EUI64 bool
}

// FromSubnets gives a new switch port an address of each subnet of some families, besides the addresses that it has.
func FromSubnets(f Families) Option { return func(o *options) { o.families = &f } }

// chooseFor finds out what is chosen for a new port, which is added to opt: the pools that its addresses are from, and what its
// MAC begins with.
func (s *Store) chooseFor(ctx context.Context, p *model.LogicalSwitchPort, opt *options) error {
	automatic := p.Type == model.PortVIF && len(opt.pools) == 0 && (len(p.IPs) == 0 || opt.families != nil)
	if !automatic && (!p.MAC.IsZero() || p.Type != model.PortVIF) {
		return nil
	}
	ls, _, err := s.switchAt(ctx, p.Switch)
	if err != nil {
		return err
	}
	opt.macPrefix = ls.MACPrefix
	if automatic {
		opt.pools, err = poolsFor(ls, opt.families)
	}
	return err
}

// poolsFor are the subnets of a switch that a port gets addresses of: all of them, or those of some families.
func poolsFor(ls *model.LogicalSwitch, f *Families) ([]Pool, error) {
	if f == nil {
		return poolsOf(ls.Subnets), nil
	}
	var out []netip.Prefix
	has := map[bool]bool{} // IPv4?
	for _, p := range ls.Subnets {
		v4 := p.Addr().Is4()
		if v4 && !f.IPv4 || !v4 && !f.IPv6 {
			continue
		}
		if !v4 && f.EUI64 && p.Bits() > 64 {
			return nil, refuse(ErrInvalid, "no address is made from a MAC in %s: the prefix is longer than 64, use \"auto\" in place of \"eui64\"", p)
		}
		has[v4] = true
		out = append(out, p)
	}
	for family, wanted := range map[bool]bool{true: f.IPv4, false: f.IPv6} {
		if wanted && !has[family] {
			name := map[bool]string{true: "IPv4", false: "IPv6"}[family]
			return nil, refuse(ErrInvalid, "switch %s has no subnet of %s: give it one with \"tpctl subnet add\"", ls.Name, name)
		}
	}
	return poolsOf(out), nil
}

// addAutomatic adds a port that gets an address of each pool. Whatever was chosen here and is taken by somebody else
// meanwhile is chosen again.
func (s *Store) addAutomatic(ctx context.Context, base model.LogicalSwitchPort, pools []Pool, opt options) (*model.LogicalSwitchPort, int64, error) {
	draft := base
	draft.Key = max(base.Key, 1)
	if draft.MAC.IsZero() {
		draft.MAC = opt.macPrefix.PortMAC(base.Switch, base.Name, nil, 0)
	}
	if err := draft.Validate(); err != nil {
		return nil, 0, refuse(ErrInvalid, "%s", err)
	}
	given := model.Claims(&base)
	add := addition{what: "add " + base.Ref().String(), ref: base.Ref(), options: opt, guards: s.portGuards(&base, base.Key != 0)}
	var made []*model.LogicalSwitchPort
	add.variants = func(attempt int) (out []variant, err error) {
		n := candidates(attempt, len(add.guards)+2, 2*(len(pools)+5))
		if made, err = s.addressed(ctx, base, pools, n, opt.macPrefix); err != nil {
			return nil, err
		}
		for _, p := range made {
			chosen := slices.DeleteFunc(model.Claims(p), func(c string) bool { return slices.Contains(given, c) })
			out = append(out, variant{objects: []model.Object{p}, allocated: chosen})
		}
		return out, nil
	}
	rev, i, err := s.add(ctx, add)
	if err != nil {
		return nil, 0, err
	}
	return made[i], rev, nil
}

// addressed are up to n copies of a port with other free keys and addresses, the lowest first, and with free MACs.
func (s *Store) addressed(ctx context.Context, base model.LogicalSwitchPort, from []Pool, n int, prefix model.MACPrefix) ([]*model.LogicalSwitchPort, error) {
	in := parentOf(&base)
	keys := slices.Repeat([]uint32{uint32(base.Key)}, n)
	if base.Key == 0 {
		var err error
		if keys, err = s.free(ctx, portKeys(in), n); err != nil {
			return nil, err
		}
	}
	n = min(n, len(keys))
	pools := map[netip.Prefix][]netip.Addr{}
	var subnets []netip.Prefix
	for _, f := range from {
		subnet := f.Subnet.Masked()
		subnets = append(subnets, subnet)
		if _, ok := base.MAC.EUI64(subnet); ok { // made from the MAC
			continue
		}
		pool, first := addresses(in, f)
		offsets, err := s.free(ctx, pool, n)
		if err != nil {
			return nil, err
		}
		n = min(n, len(offsets))
		for _, o := range offsets {
			pools[subnet] = append(pools[subnet], alloc.Offset(first, o))
		}
	}
	var made []*model.LogicalSwitchPort
	for i := range n {
		p := base
		p.Key = model.PortKey(keys[i])
		for _, subnet := range subnets {
			if pool := pools[subnet]; pool != nil {
				p.IPs = append(slices.Clip(p.IPs), pool[i])
			}
		}
		made = append(made, &p)
	}
	return s.withMACs(ctx, made, subnets, prefix)
}

// withMACs gives the ports the MACs that were not given, and the addresses that are made from MACs. A derived MAC is
// another one when it, or an address made from it, is taken. Ports for which there is none are left out.
func (s *Store) withMACs(ctx context.Context, ports []*model.LogicalSwitchPort, subnets []netip.Prefix, prefix model.MACPrefix) (made []*model.LogicalSwitchPort, err error) {
	derive := ports[0].MAC.IsZero()
	for attempt := 0; len(ports) > 0; attempt++ {
		var filled []*model.LogicalSwitchPort
		var claims []string // of all ports, the same number for each
		for _, p := range ports {
			q, its := withMAC(*p, derive, attempt, subnets, prefix)
			filled, claims = append(filled, q), append(claims, its...)
		}
		taken, err := s.anyTaken(ctx, claims, len(filled))
		if err != nil {
			return nil, err
		}
		var rest []*model.LogicalSwitchPort
		for i, q := range filled {
			if taken[i] {
				rest = append(rest, ports[i])
			} else {
				made = append(made, q)
			}
		}
		if len(made) == 0 && (!derive || attempt == maxMACAttempts) {
			return nil, refuse(ErrConflict, "conflict with other IP: the address that belongs to MAC %s is used", filled[0].MAC)
		}
		if ports = rest; !derive || len(made) > 0 {
			break
		}
	}
	return made, nil
}

// withMAC is a port with a MAC, derived if it has none, and with an address made from it for each subnet of which it has
// none; claims are what is new of that.
func withMAC(p model.LogicalSwitchPort, derive bool, attempt int, subnets []netip.Prefix, prefix model.MACPrefix) (q *model.LogicalSwitchPort, claims []string) {
	in := parentOf(&p)
	if derive {
		p.MAC = prefix.PortMAC(p.Switch, p.Name, p.IPs, attempt)
		claims = append(claims, model.ClaimMAC(in, p.MAC))
	}
	for _, subnet := range subnets {
		if a, ok := p.MAC.EUI64(subnet); ok {
			p.IPs = append(slices.Clip(p.IPs), a)
			claims = append(claims, model.ClaimIP(in, a))
		}
	}
	return &p, claims
}

// anyTaken tells for each of n equally long groups of claims whether one of them is taken.
func (s *Store) anyTaken(ctx context.Context, claims []string, n int) (taken []bool, err error) {
	taken = make([]bool, n)
	if len(claims) == 0 {
		return taken, nil
	}
	var ops []clientv3.Op
	for _, c := range claims {
		ops = append(ops, clientv3.OpGet(s.keys.unique(c), clientv3.WithCountOnly()))
	}
	err = s.call(ctx, "look for a free MAC address", func(ctx context.Context, c *clientv3.Client, _ bool) error {
		resp, err := c.Txn(ctx).Then(ops...).Commit()
		if err != nil {
			return err
		}
		for i, r := range resp.Responses {
			if r.GetResponseRange().GetCount() > 0 {
				taken[i/(len(claims)/n)] = true
			}
		}
		return nil
	})
	return taken, err
}
