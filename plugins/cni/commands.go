package cni

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"tuplenet/model"
	"tuplenet/plugins/plug"
)

// del removes the interface and gives the address back. It succeeds when there is nothing (any more), and also without the
// container's namespace. What cannot be reached is an error, so that the runtime comes back: else the address would be lost.
func del(ctx context.Context, c *call) error {
	h, err := c.openHost(ctx)
	if err != nil {
		return err
	}
	defer h.Close()
	return c.remove(ctx, h, h.Chassis(), c.port())
}

// remove takes a port out and gives its address back, in this order: nobody else gets an address that is still in use.
func (c *call) remove(ctx context.Context, h *plug.Host, chassis, port string) error {
	if err := h.Unplug(ctx, port); err != nil {
		return err
	}
	return c.release(ctx, port, chassis)
}

// check compares what ADD made, as the runtime remembers it, with what is there.
func check(ctx context.Context, c *call) error {
	prev := c.previous()
	if prev == nil {
		return types.NewError(types.ErrInvalidNetworkConfig, "tpcni CHECK: there is no prevResult", "")
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
	record, ok := h.Find(c.port())
	if !ok {
		return fmt.Errorf("port %s is not plugged into this host's switch", c.port())
	}
	if trouble := h.Trouble(record); trouble != "" {
		return fmt.Errorf("port %s: %s", c.port(), trouble)
	}
	p, err := c.store.SwitchPort(ctx, record.Switch, c.port())
	if err != nil {
		return err
	}
	in, err := plug.Inspect(c.args.Netns, c.args.IfName)
	if err != nil {
		return err
	}
	if err := c.compare(prev, p, in); err != nil {
		return err
	}
	bound, cancel := context.WithTimeout(ctx, others)
	defer cancel()
	if _, err := c.store.AwaitBinding(bound, p.Name, chassis); err != nil {
		return err
	}
	return nil
}

// compare finds what differs between the result of ADD, the logical port and the interface.
func (c *call) compare(prev *current.Result, p *model.LogicalSwitchPort, in plug.Inside) error {
	if !in.Up {
		return fmt.Errorf("interface %s is down", c.args.IfName)
	}
	if in.MAC != p.MAC {
		return fmt.Errorf("interface %s has the MAC %s, the logical port %s", c.args.IfName, in.MAC, p.MAC)
	}
	known := 0
	for _, conf := range prev.IPs {
		if conf.Interface == nil || *conf.Interface >= len(prev.Interfaces) || *conf.Interface < 0 {
			continue
		}
		if i := prev.Interfaces[*conf.Interface]; i.Name != c.args.IfName || i.Sandbox != c.args.Netns {
			continue
		}
		known++
		bits, _ := conf.Address.Mask.Size()
		ip, _ := netip.AddrFromSlice(conf.Address.IP)
		ip = ip.Unmap()
		if !slices.Contains(p.IPs, ip) {
			return fmt.Errorf("the logical port does not have the address %s, but %v", ip, p.IPs)
		}
		if !slices.Contains(in.Addresses, netip.PrefixFrom(ip, bits)) {
			return fmt.Errorf("interface %s does not have the address %s/%d, but %v", c.args.IfName, ip, bits, in.Addresses)
		}
	}
	if known != len(p.IPs) {
		return fmt.Errorf("%d addresses of interface %s are in prevResult, the logical port has %d", known, c.args.IfName, len(p.IPs))
	}
	for _, r := range prev.Routes {
		if bits, _ := r.Dst.Mask.Size(); bits != 0 {
			continue
		}
		gw, _ := netip.AddrFromSlice(r.GW)
		if gw = gw.Unmap(); slices.Contains(c.gateway, gw) && !slices.Contains(in.Gateways, gw) {
			return fmt.Errorf("there is no default route by way of %s", gw)
		}
	}
	return nil
}

// gc removes what was made on this host for this network and is not among the attachments that the runtime still knows: in
// the switch, and in the store. A runtime that does not say what it knows only gets rid of what has no interface. Nothing else is
// looked at: other networks, other hosts, ports made by hand.
func gc(ctx context.Context, c *call) error {
	h, err := c.openHost(ctx)
	if err != nil {
		return err
	}
	defer h.Close()
	chassis, err := h.Ready(ctx)
	if err != nil {
		return err
	}
	snap, err := c.store.Snapshot(ctx, model.KindSwitchPort)
	if err != nil {
		return err
	}
	known, told := c.attachments()
	stale := map[string]bool{} // by logical port
	for _, p := range snap.SwitchPorts("") {
		if made(p, chassis) && tagged(p, tagNetwork) == c.Name {
			stale[p.Name] = !told || !known[types.GCAttachment{ContainerID: tagged(p, tagContainer), IfName: tagged(p, tagInterface)}]
		}
	}
	for _, r := range h.Records(name) {
		switch {
		case r.Network != c.Name:
		case told:
			stale[r.Port] = !known[types.GCAttachment{ContainerID: r.Container, IfName: r.Interface}]
		default:
			stale[r.Port] = plug.Gone(r)
		}
	}
	var failed []error
	for _, port := range slices.Sorted(maps.Keys(stale)) {
		if !stale[port] {
			continue
		}
		err := c.remove(ctx, h, chassis, port)
		c.log.Warn("removed a port that the runtime does not know", "port", port, "err", err)
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

// attachments are those that the runtime still knows; told is false if it does not say.
func (c *call) attachments() (known map[types.GCAttachment]bool, told bool) {
	known = map[types.GCAttachment]bool{}
	for _, list := range []*[]types.GCAttachment{c.Attachments, c.AttachmentsDraft} {
		if list == nil {
			continue
		}
		told = true
		for _, a := range *list {
			known[a] = true
		}
	}
	return known, told
}

// statusLimit is how long STATUS waits for the switch of the host: the runtime asks often.
const statusLimit = 3 * time.Second

// status tells whether an ADD could succeed now.
func status(ctx context.Context, c *call) error {
	limit, cancel := context.WithTimeout(ctx, statusLimit)
	defer cancel()
	h, err := c.openHost(limit)
	if err != nil { // without its switch, what runs here has no network
		return types.NewError(types.ErrLimitedConnectivity, "tpcni STATUS: "+oneLine(err), "")
	}
	defer h.Close()
	unavailable := func(err error) error {
		return types.NewError(types.ErrPluginNotAvailable, "tpcni STATUS: "+oneLine(err), "")
	}
	chassis, err := h.Ready(limit)
	if err != nil {
		return unavailable(err)
	}
	if _, err := c.store.Switch(ctx, c.Switch); err != nil {
		return unavailable(err)
	}
	live, err := c.store.Live(ctx)
	if err != nil {
		return unavailable(err)
	}
	if _, ok := live[chassis]; !ok {
		return unavailable(fmt.Errorf("the daemon (tuplenet) of chassis %s is not running", chassis))
	}
	return nil
}
