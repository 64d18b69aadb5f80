package cnm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/docker/go-plugins-helpers/network"

	"tuplenet/model"
	"tuplenet/model/store"
	"tuplenet/plugins/plug"
)

// others is how long Join waits for other hosts to have the new port applied: one that is broken must not keep containers on
// all others from starting.
const others = 2 * time.Second

// nextHop is the type of a route by way of another address (libnetwork's types.NEXTHOP).
const nextHop = 0

// join makes the interface of an endpoint and returns when its first packet will be delivered. The engine moves it into the container,
// names it and gives it its addresses.
func (d *Driver) join(ctx context.Context, req *network.JoinRequest) (*network.JoinResponse, error) {
	h, chassis, err := d.ready(ctx)
	if err != nil {
		return nil, err
	}
	n, err := d.network(ctx, req.NetworkID)
	if err != nil {
		return nil, err
	}
	p, err := d.store.SwitchPort(ctx, n.Switch, portName(req.EndpointID))
	if err != nil {
		return nil, err
	}
	mtu, err := d.mtu(ctx, h, n, chassis)
	if err != nil {
		return nil, err
	}
	d.debts.cancel(ctx, "interface "+req.EndpointID)
	plugged, err := d.plug(ctx, h, n, p, mtu, req.EndpointID)
	if err != nil {
		return nil, err
	}
	receipt, err := plug.Settle(ctx, d.store, p.Name, chassis, others)
	for _, l := range receipt.Laggards {
		d.log.Warn("a host has not applied the new port", "port", p.Name, "laggard", l.String())
	}
	if err != nil {
		d.undo(ctx, "interface "+req.EndpointID, func(ctx context.Context) error { return h.Unplug(ctx, p.Name) })
		return nil, err
	}
	d.mu.Lock()
	d.sandboxes[req.EndpointID] = req.SandboxKey
	d.mu.Unlock()
	d.log.Info("joined", "endpoint", req.EndpointID, "device", plugged.Device, "mtu", mtu, "receipt", receipt.String())
	out := &network.JoinResponse{
		InterfaceName: network.InterfaceName{SrcName: plugged.Inside, DstPrefix: "eth"},
		// Everything goes by way of this network: the engine is not to add a bridge of its own as a way out.
		DisableGatewayService: true,
	}
	for _, r := range n.Routes {
		out.StaticRoutes = append(out.StaticRoutes, &network.StaticRoute{Destination: r.To.String(), RouteType: nextHop, NextHop: r.Via.String()})
	}
	if n.Internal {
		return out, nil
	}
	for _, g := range n.Gateways {
		if g.Addr().Is4() {
			out.Gateway = g.Addr().String()
		} else {
			out.GatewayIPv6 = g.Addr().String()
		}
	}
	return out, nil
}

// plug makes the interface. One that an earlier request of the same endpoint made, the answer to which never came to the engine, is
// made anew.
func (d *Driver) plug(ctx context.Context, h *plug.Host, n *engineNetwork, p *model.LogicalSwitchPort, mtu int, endpoint string) (plug.Plugged, error) {
	cable := plug.Cable{
		Record: plug.Record{Plugin: name, Network: n.ID, Container: endpoint, Switch: p.Switch, Port: p.Name},
		MAC:    p.MAC, MTU: mtu,
	}
	plugged, err := h.Plug(ctx, cable)
	if errors.Is(err, plug.ErrPlugged) {
		if err := h.Unplug(ctx, p.Name); err != nil {
			return plugged, err
		}
		plugged, err = h.Plug(ctx, cable)
	}
	return plugged, err
}

// mtu is that of the containers' interfaces on a network.
func (d *Driver) mtu(ctx context.Context, h *plug.Host, n *engineNetwork, chassis string) (int, error) {
	if n.MTU != 0 {
		return n.MTU, nil
	}
	sw, err := d.store.Switch(ctx, n.Switch)
	if err != nil {
		return 0, err
	}
	registered, err := d.store.ChassisNamed(ctx, chassis)
	if errors.Is(err, store.ErrNotFound) {
		return 0, fmt.Errorf("%w: chassis %s is not registered: has its daemon (tuplenet) run, with the same etcd_cluster and data_store_prefix?", plug.ErrNotReady, chassis)
	}
	if err != nil {
		return 0, err
	}
	return h.MTU(sw, registered)
}

// leave takes the interface of an endpoint out.
func (d *Driver) leave(ctx context.Context, endpoint string) error {
	h, _, err := d.ready(ctx)
	if err != nil {
		return err
	}
	err = h.Unplug(ctx, portName(endpoint))
	if err := errors.Join(err, d.revoke(ctx, endpoint)); err != nil {
		return err
	}
	d.mu.Lock()
	delete(d.sandboxes, endpoint)
	d.mu.Unlock()
	return nil
}
