package cnm

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/docker/go-plugins-helpers/network"

	"tuplenet/model"
	"tuplenet/model/store"
	"tuplenet/plugins/plug"
)

// portName is the logical port of an endpoint.
func portName(endpoint string) string { return "docker-" + endpoint }

// createEndpoint makes the logical port, with the addresses that the engine has chosen, or with free ones of the switch's subnets
// if it has not. What the engine has chosen it does not want to be told.
func (d *Driver) createEndpoint(ctx context.Context, req *network.CreateEndpointRequest) (*network.CreateEndpointResponse, error) {
	_, chassis, err := d.ready(ctx)
	if err != nil {
		return nil, err
	}
	n, err := d.network(ctx, req.NetworkID)
	if err != nil {
		return nil, err
	}
	asked := req.Interface
	if asked == nil {
		asked = &network.EndpointInterface{}
	}
	want, err := n.port(asked, req.EndpointID, chassis)
	if err != nil {
		return nil, err
	}
	d.debts.cancel(ctx, "endpoint "+req.EndpointID)
	p, err := d.addPort(ctx, n, want)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, store.ErrUnreachable) { // it may have been made
			d.debts.owe("endpoint "+req.EndpointID, func(ctx context.Context) error { return d.dropEndpoint(ctx, req.EndpointID) })
		}
		return nil, err
	}
	d.log.Info("endpoint", "network", n.ID, "endpoint", req.EndpointID, "switch", n.Switch, "ips", p.IPs, "mac", p.MAC)
	return &network.CreateEndpointResponse{Interface: n.answer(asked, p)}, nil
}

// port is the logical port that the engine asks for.
func (n *engineNetwork) port(asked *network.EndpointInterface, endpoint, chassis string) (*model.LogicalSwitchPort, error) {
	p := &model.LogicalSwitchPort{
		Switch: n.Switch, Name: portName(endpoint), Type: model.PortVIF,
		Tags: []string{tagPlugin, tagNetwork + n.ID, tagChassis + chassis, tagEndpoint + endpoint},
	}
	for _, text := range []string{asked.Address, asked.AddressIPv6} {
		a, err := parsePrefix(text)
		if err != nil {
			return nil, err
		}
		if a.IsValid() {
			p.IPs = append(p.IPs, a.Addr())
		}
	}
	if asked.MacAddress != "" {
		mac, err := model.ParseMAC(asked.MacAddress)
		if err != nil {
			return nil, err
		}
		p.MAC = mac
	}
	return p, nil
}

// answer is what the engine has not chosen itself.
func (n *engineNetwork) answer(asked *network.EndpointInterface, p *model.LogicalSwitchPort) *network.EndpointInterface {
	out := &network.EndpointInterface{}
	if asked.MacAddress == "" {
		out.MacAddress = p.MAC.String()
	}
	for _, ip := range p.IPs {
		switch text := n.withLength(ip).String(); {
		case ip.Is4() && asked.Address == "":
			out.Address = text
		case ip.Is6() && asked.AddressIPv6 == "":
			out.AddressIPv6 = text
		}
	}
	return out
}

// withLength is an address with the prefix length of its subnet.
func (n *engineNetwork) withLength(ip netip.Addr) netip.Prefix {
	for _, s := range n.Subnets {
		if s.Contains(ip) {
			return netip.PrefixFrom(ip, s.Bits())
		}
	}
	return netip.PrefixFrom(ip, ip.BitLen())
}

// addPort adds the logical port of an endpoint. Reasons why it cannot be added that are not the engine's fault go away first: the
// switch was deleted by another host that has no use for it any more, the address is held for it by the address driver, or a port of a
// container that is long gone has it.
func (d *Driver) addPort(ctx context.Context, n *engineNetwork, want *model.LogicalSwitchPort) (*model.LogicalSwitchPort, error) {
	for attempt := 0; ; attempt++ {
		p, _, err := d.store.AddSwitchPort(ctx, want)
		switch {
		case err == nil || attempt == 2:
			return p, err
		case errors.Is(err, store.ErrNotFound):
			if err := d.restore(ctx, n); err != nil {
				return nil, err
			}
		case errors.Is(err, store.ErrExists):
			return d.again(ctx, want, err)
		case errors.Is(err, store.ErrConflict):
			held, cleared, e := d.holders(ctx, want)
			if e != nil {
				return nil, errors.Join(err, e)
			}
			if len(held) > 0 {
				p, _, err := d.store.ReplaceSwitchPorts(ctx, held, want)
				return p, err
			}
			if !cleared {
				return nil, fmt.Errorf("%w (hosts that share a switch need an --ip-range each, or --ipam-driver tuplenet)", err)
			}
		default:
			return nil, err
		}
	}
}

// again is the port that an earlier request of the same endpoint has made, if it is as is asked now.
func (d *Driver) again(ctx context.Context, want *model.LogicalSwitchPort, refusal error) (*model.LogicalSwitchPort, error) {
	p, err := d.store.SwitchPort(ctx, want.Switch, want.Name)
	if err != nil {
		return nil, errors.Join(refusal, err)
	}
	if !slices.Equal(p.Tags, want.Tags) || len(want.IPs) > 0 && !slices.Equal(p.IPs, want.IPs) || !want.MAC.IsZero() && p.MAC != want.MAC {
		return nil, refusal
	}
	return p, nil
}

// holders looks at who has the addresses of a new port. held are ports of the address driver, which hold them for it. cleared tells
// that there was a port of the same network and host that is not plugged, and that it was deleted: the engine, which has
// given its address to somebody else, has forgotten it.
func (d *Driver) holders(ctx context.Context, want *model.LogicalSwitchPort) (held []string, cleared bool, err error) {
	chassis := tagged(want, tagChassis)
	for _, ip := range want.IPs {
		p, err := d.portWith(ctx, want.Switch, ip)
		if err != nil {
			return nil, false, err
		}
		if p == nil || !made(p, chassis) {
			continue
		}
		if slices.Contains(p.Tags, tagHeld) {
			held = append(held, p.Name)
			continue
		}
		if r, plugged := d.host.Find(p.Name); tagged(p, tagNetwork) != tagged(want, tagNetwork) || plugged && !plug.Gone(r) {
			continue
		}
		d.log.Warn("the engine has given the address of a container that is gone to another one", "port", p.Name, "ips", p.IPs)
		if err := d.dropEndpoint(ctx, tagged(p, tagEndpoint)); err != nil {
			return nil, false, err
		}
		cleared = true
	}
	return held, cleared, nil
}

// tagged is the value of a tag of a port; "" if it has none.
func tagged(p *model.LogicalSwitchPort, tag string) string {
	for _, t := range p.Tags {
		if v, ok := strings.CutPrefix(t, tag); ok {
			return v
		}
	}
	return ""
}

// made tells whether a port was made here for a container on a chassis.
func made(p *model.LogicalSwitchPort, chassis string) bool {
	return slices.Contains(p.Tags, tagPlugin) && tagged(p, tagChassis) == chassis
}

// dropEndpoint takes the interface of an endpoint out, if it is plugged, and deletes its port, if there is one.
func (d *Driver) dropEndpoint(ctx context.Context, endpoint string) error {
	h, chassis, err := d.ready(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(h.Unplug(ctx, portName(endpoint)), d.reachable()); err != nil {
		return err
	}
	if err := d.revoke(ctx, endpoint); err != nil {
		return err
	}
	ref, err := d.store.PortNamed(ctx, portName(endpoint))
	if err != nil {
		return ignoreNotFound(err)
	}
	p, err := d.store.SwitchPort(ctx, ref.Parent, ref.Name)
	if err != nil {
		return ignoreNotFound(err)
	}
	if !made(p, chassis) {
		d.log.Warn("a port of this name is not ours and stays", "port", p.Name, "tags", p.Tags)
		return nil
	}
	_, err = d.store.DeleteSwitchPort(ctx, ref.Parent, ref.Name)
	return ignoreNotFound(err)
}

// endpointInfo is what is told of an endpoint to people.
func (d *Driver) endpointInfo(ctx context.Context, req *network.InfoRequest) (*network.InfoResponse, error) {
	ref, err := d.store.PortNamed(ctx, portName(req.EndpointID))
	if err != nil {
		return nil, err
	}
	p, err := d.store.SwitchPort(ctx, ref.Parent, ref.Name)
	if err != nil {
		return nil, err
	}
	info := map[string]string{"switch": p.Switch, "port": p.Name, "mac": p.MAC.String(), "chassis": tagged(p, tagChassis)}
	for _, ip := range p.IPs {
		if ip.Is4() {
			info["ip"] = ip.String()
		} else {
			info["ipv6"] = ip.String()
		}
	}
	return &network.InfoResponse{Value: info}, nil
}
