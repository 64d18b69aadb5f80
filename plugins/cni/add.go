package cni

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/containernetworking/cni/pkg/ns"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"tuplenet/model"
	"tuplenet/model/store"
	"tuplenet/plugins/plug"
)

// others is how long ADD waits for other hosts to have the new port applied.
const others = 5 * time.Second

// undoing is how long the steps that undo a failed ADD may take.
const undoing = 10 * time.Second

// add makes the logical port and the interface, and writes the result when the first packet will be delivered. If it fails,
// nothing is left.
func add(ctx context.Context, c *call) error {
	if own, err := ns.CheckNetNS(c.args.Netns); err != nil {
		return err
	} else if own {
		return types.NewError(types.ErrInvalidNetNS, "the container's namespace is that of the host", c.args.Netns)
	}
	h, err := c.openHost(ctx)
	if err != nil {
		return err
	}
	defer h.Close()
	chassis, err := h.Ready(ctx)
	if err != nil {
		return err
	}
	c.sweep(ctx, h, chassis)
	mtu, err := c.prepare(ctx, h, chassis)
	if err != nil {
		return err
	}
	p, err := c.allocate(ctx, chassis)
	if err != nil {
		return errors.Join(err, c.disown(ctx, err))
	}
	plugged, err := c.connect(ctx, h, chassis, p, mtu)
	if err == nil {
		err = c.write(p, plugged, mtu)
	}
	if err == nil {
		return nil
	}
	undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoing)
	defer cancel()
	if plugged.Device != "" {
		err = errors.Join(err, h.Unplug(undo, p.Name))
	}
	_, gone := c.store.DeleteSwitchPort(undo, p.Switch, p.Name)
	return errors.Join(err, ignoreNotFound(gone))
}

// sweep removes what containers left behind that went without a DEL, as with a host that lost its power. What cannot be
// removed now is tried again by the next one.
func (c *call) sweep(ctx context.Context, h *plug.Host, chassis string) {
	for _, r := range h.Records(name) {
		if r.Network != c.Name || !plug.Gone(r) {
			continue
		}
		err := errors.Join(h.Unplug(ctx, r.Port), c.release(ctx, r.Port, chassis))
		c.log.Warn("removed a port whose container is gone", "port", r.Port, "device", r.Device, "err", err)
	}
}

// prepare reads the switch: it has to exist, may bring the subnets, and says with the underlay what the MTU is.
func (c *call) prepare(ctx context.Context, h *plug.Host, chassis string) (mtu int, err error) {
	sw, err := c.store.Switch(ctx, c.Switch)
	if errors.Is(err, store.ErrNotFound) {
		return 0, fmt.Errorf("%w: switchname in the configuration %s; `tpctl ls add %s` makes it", err, c.Name, c.Switch)
	}
	if err != nil {
		return 0, err
	}
	if len(c.pools) == 0 {
		for _, s := range sw.Subnets {
			if !slices.ContainsFunc(c.subnets, func(p netip.Prefix) bool { return p.Addr().Is6() == s.Addr().Is6() }) {
				if err := c.addSubnet("subnet of switch "+sw.Name, s.String(), s.Addr().Is6()); err != nil {
					return 0, types.NewError(types.ErrInvalidNetworkConfig, "tpcni ADD: "+err.Error(), "")
				}
			}
		}
	}
	if len(c.pools) == 0 {
		return 0, types.NewError(types.ErrInvalidNetworkConfig, "tpcni ADD: there is no subnet, neither in the configuration nor of switch "+c.Switch, "")
	}
	registered, err := c.store.ChassisNamed(ctx, chassis)
	if errors.Is(err, store.ErrNotFound) {
		return 0, fmt.Errorf("%w: chassis %s is not registered: has its daemon (tuplenet) run, with the same etcd_cluster and data_store_prefix?", plug.ErrNotReady, chassis)
	}
	if err != nil {
		return 0, err
	}
	fits, err := h.MTU(sw, registered)
	if err != nil || c.MTU == 0 {
		return fits, err
	}
	if c.MTU > fits {
		c.log.Warn("the mtu in the configuration is larger than what fits into a tunnel", "mtu", c.MTU, "fits", fits)
	}
	return c.MTU, nil
}

// allocate makes the logical port. Its addresses are the lowest free ones of the subnets, but for those that were asked for.
func (c *call) allocate(ctx context.Context, chassis string) (*model.LogicalSwitchPort, error) {
	var pools []store.Pool
	for _, p := range c.pools {
		if !slices.ContainsFunc(c.ips, func(a netip.Addr) bool { return a.Is6() == p.Subnet.Addr().Is6() }) {
			pools = append(pools, p)
		}
	}
	want := &model.LogicalSwitchPort{Switch: c.Switch, Name: c.port(), Type: model.PortVIF, MAC: c.mac, IPs: c.ips, Tags: c.tags(chassis)}
	// Not cut short when ctx ends: whether a request that was given up is carried out, perhaps later, nobody could tell.
	whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*storeTimeout)
	defer cancel()
	p, _, err := c.store.AddSwitchPort(whole, want, store.FromPools(pools...))
	if errors.Is(err, store.ErrExists) {
		return nil, fmt.Errorf("%w: the container has this interface already, or an earlier ADD was not followed by a DEL", err)
	}
	return p, err
}

// disown deletes the port of an allocation that ended without an answer, if it was carried out nevertheless. A port that was there
// before has the tag of another attempt and stays.
func (c *call) disown(ctx context.Context, failed error) error {
	if !errors.Is(failed, store.ErrUnreachable) && !errors.Is(failed, context.DeadlineExceeded) {
		return nil // the store has refused it
	}
	undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoing)
	defer cancel()
	p, err := c.store.SwitchPort(undo, c.Switch, c.port())
	if err != nil || tagged(p, tagAttempt) != c.attempt {
		return nil // there is none, or the store is still away, which was said already
	}
	_, err = c.store.DeleteSwitchPort(undo, p.Switch, p.Name)
	return ignoreNotFound(err)
}

// connect plugs the interface and waits until it works.
func (c *call) connect(ctx context.Context, h *plug.Host, chassis string, p *model.LogicalSwitchPort, mtu int) (plugged plug.Plugged, err error) {
	cable := plug.Cable{
		Record: plug.Record{Plugin: name, Network: c.Name, Container: c.args.ContainerID, Interface: c.args.IfName, Switch: p.Switch, Port: p.Name},
		MAC:    p.MAC, MTU: mtu, Namespace: c.args.Netns,
	}
	for _, ip := range p.IPs {
		cable.Addresses = append(cable.Addresses, c.interfaceAddress(ip))
	}
	cable.Gateways = c.defaultRoutes(p)
	if plugged, err = h.Plug(ctx, cable); err != nil {
		return plugged, err
	}
	receipt, err := plug.Settle(ctx, c.store, p.Name, chassis, others)
	for _, l := range receipt.Laggards {
		c.log.Warn("a host has not applied the new port", "laggard", l.String())
	}
	if err == nil {
		c.log.Info("plugged", "port", p.Name, "device", plugged.Device, "ips", p.IPs, "mac", p.MAC, "mtu", mtu, "receipt", receipt.String())
	}
	return plugged, err
}

// interfaceAddress is an address with the prefix length of its subnet.
func (c *call) interfaceAddress(ip netip.Addr) netip.Prefix {
	for _, s := range c.subnets {
		if s.Contains(ip) {
			return netip.PrefixFrom(ip, s.Bits())
		}
	}
	return netip.PrefixFrom(ip, ip.BitLen())
}

// gatewayFor is the gateway of the subnet of an address.
func (c *call) gatewayFor(ip netip.Addr) (netip.Addr, bool) {
	for i, s := range c.subnets {
		if s.Contains(ip) {
			return c.gateway[i], true
		}
	}
	return netip.Addr{}, false
}

// defaultRoutes are the gateways of the families of the port's addresses, but for families that have a default route by an
// earlier plugin of the chain.
func (c *call) defaultRoutes(p *model.LogicalSwitchPort) (out []netip.Addr) {
	var before []*types.Route
	if r := c.previous(); r != nil {
		before = r.Routes
	}
	for _, ip := range p.IPs {
		gw, ok := c.gatewayFor(ip)
		taken := slices.ContainsFunc(before, func(r *types.Route) bool {
			bits, size := r.Dst.Mask.Size()
			return bits == 0 && size == ip.BitLen()
		})
		if ok && !taken && !slices.Contains(out, gw) {
			out = append(out, gw)
		}
	}
	return out
}

// previous is the result of the plugin before us in the chain; nil if there is none.
func (c *call) previous() *current.Result {
	if c.PrevResult == nil {
		return nil
	}
	r, err := current.NewResultFromResult(c.PrevResult)
	if err != nil {
		return nil // parse has read it already
	}
	return r
}

// write writes the result, behind that of the chain, in the version that was asked for.
func (c *call) write(p *model.LogicalSwitchPort, plugged plug.Plugged, mtu int) error {
	r := c.previous()
	if r == nil {
		r = &current.Result{DNS: c.DNS}
	}
	r.CNIVersion = current.ImplementedSpecVersion
	inside := len(r.Interfaces) + 1
	r.Interfaces = append(r.Interfaces,
		&current.Interface{Name: plugged.Device, Mac: plugged.DeviceMAC.String(), Mtu: mtu},
		&current.Interface{Name: plugged.Inside, Mac: p.MAC.String(), Mtu: mtu, Sandbox: c.args.Netns})
	for _, ip := range p.IPs {
		conf := &current.IPConfig{Interface: current.Int(inside), Address: ipNet(c.interfaceAddress(ip))}
		if gw, ok := c.gatewayFor(ip); ok {
			conf.Gateway = gw.AsSlice()
		}
		r.IPs = append(r.IPs, conf)
	}
	for _, gw := range plugged.Gateways {
		r.Routes = append(r.Routes, &types.Route{Dst: ipNet(netip.PrefixFrom(gw, 0).Masked()), GW: gw.AsSlice()})
	}
	asked, err := r.GetAsVersion(c.CNIVersion)
	if err != nil {
		return fmt.Errorf("the result in version %s: %w", c.CNIVersion, err)
	}
	return asked.PrintTo(c.out)
}

func ipNet(p netip.Prefix) net.IPNet {
	return net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
