package compile_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"tuplenet/flows/pipeline"
	"tuplenet/model"
)

// What ought to happen, said of the model alone. The flows are compared with this.

// tunnels tells whether one chassis can send to another.
func (w *world) tunnels(from, to string) bool {
	a := fact[*model.Chassis](w, model.Ref{Kind: model.KindChassis, Name: from})
	b := fact[*model.Chassis](w, model.Ref{Kind: model.KindChassis, Name: to})
	return from == to || a != nil && b != nil && slices.ContainsFunc(a.IPs, func(x netip.Addr) bool {
		return slices.ContainsFunc(b.IPs, func(y netip.Addr) bool { return x.Is4() == y.Is4() })
	})
}

// owner is the port of a switch that has an address: a workload's, or the link to a router.
func (w *world) owner(sw string, ip netip.Addr) *model.LogicalSwitchPort {
	for _, p := range w.portsOf(sw) {
		linkLocal := p.MAC.LinkLocal() == ip && (p.Type == model.PortRouter || slices.ContainsFunc(p.IPs, netip.Addr.Is6))
		if linkLocal || slices.Contains(p.IPs, ip) {
			return p
		}
	}
	return nil
}

// ways are the static routes of a router for a prefix.
func (w *world) ways(lr string, to netip.Prefix) []*model.StaticRoute {
	return slices.DeleteFunc(objects[*model.StaticRoute](w), func(s *model.StaticRoute) bool { return s.Router != lr || s.Prefix != to })
}

// route is the port of a router by which an address is reached on a chassis and the next hop: that with the longest
// prefix, of equal ones the connected network. A way to a router on a chassis that can not be reached is none.
func (w *world) route(at, lr string, to netip.Addr) (out *model.LogicalRouterPort, hop netip.Addr) {
	best := -1
	for _, rp := range w.routerPorts(lr) {
		for _, n := range rp.Networks {
			if n.Contains(to) && n.Bits() > best {
				best, out, hop = n.Bits(), rp, to
			}
		}
	}
	for _, s := range objects[*model.StaticRoute](w) {
		if s.Router != lr || !s.Prefix.Contains(to) || s.Prefix.Bits() <= best {
			continue
		}
		port := fact[*model.LogicalRouterPort](w, model.Ref{Kind: model.KindRouterPort, Parent: lr, Name: s.OutPort})
		if pin := w.pinOf(w.switchEnd(port).Switch, s.NextHop); pin == "" || w.tunnels(at, pin) {
			best, out, hop = s.Prefix.Bits(), port, s.NextHop
		}
	}
	return out, hop
}

// pinOf is the chassis of the pinned router that has an address on a switch.
func (w *world) pinOf(sw string, ip netip.Addr) string {
	p := w.owner(sw, ip)
	if p == nil || p.Type != model.PortRouter {
		return ""
	}
	return fact[*model.LogicalRouter](w, model.Ref{Kind: model.KindRouter, Name: w.routerEnd(p).Router}).Chassis
}

const gone = "drop unbound-destination"

// reach says what becomes of an echo request from a workload to an address, sent to the MAC of via, a router port on
// its switch, or (nil) to the owner of the address on the switch itself.
func (w *world) reach(src *model.LogicalSwitchPort, from, to netip.Addr, via *model.LogicalRouterPort) string {
	at, _ := w.where(src.Name)
	if via == nil {
		return w.deliver(at, w.owner(src.Switch, to), 64)
	}
	return w.forward(at, via, nil, src, from, to, 64)
}

// deliver is what becomes of a packet on a chassis for a workload.
func (w *world) deliver(at string, p *model.LogicalSwitchPort, ttl int) string {
	if c, _ := w.where(p.Name); c == "" || !w.tunnels(at, c) {
		return gone
	}
	return fmt.Sprintf("to %s ttl=%d", p.Name, ttl)
}

// forward is what becomes of a packet on a chassis that enters a router by a port. It comes from another router (back
// is that one's port), or from the workload itself (nil).
func (w *world) forward(at string, in, back *model.LogicalRouterPort, src *model.LogicalSwitchPort, from, to netip.Addr, ttl int) string {
	if pin := fact[*model.LogicalRouter](w, model.Ref{Kind: model.KindRouter, Name: in.Router}).Chassis; pin != "" {
		if !w.tunnels(at, pin) || !fact[*model.Chassis](w, model.Ref{Kind: model.KindChassis, Name: pin}).Gateway {
			return gone
		}
		at = pin
	}
	out, hop := w.route(at, in.Router, to)
	switch {
	case w.isRouters(in.Router, from):
		return "drop router-spoofed" // its own answer came back
	case w.isRouters(in.Router, to) && back == nil:
		return w.deliver(at, src, 64) // the router answers whoever sent the frame, on the same switch
	case w.isRouters(in.Router, to):
		return w.forward(at, back, in, src, to, from, 64)
	case out == nil:
		return fmt.Sprintf("punt %d", pipeline.PuntNoRoute)
	}
	sw := w.switchEnd(out).Switch
	switch p := w.owner(sw, hop); {
	case p == nil:
		return w.external(at, sw, in.Router, hop, ttl-1)
	case p.Type == model.PortRouter:
		return w.forward(at, w.routerEnd(p), out, src, from, to, ttl-1)
	default:
		return w.deliver(at, p, ttl-1)
	}
}

// isRouters tells whether an address is one of a router's own.
func (w *world) isRouters(lr string, ip netip.Addr) bool {
	return slices.ContainsFunc(w.routerPorts(lr), func(rp *model.LogicalRouterPort) bool {
		return slices.ContainsFunc(rp.Networks, func(n netip.Prefix) bool { return n.Addr() == ip })
	})
}

// external is what becomes of a packet that a router on a chassis has for an address that nobody on the switch has.
func (w *world) external(at, sw, router string, to netip.Addr, ttl int) string {
	if w.patch(sw) == nil || fact[*model.LogicalRouter](w, model.Ref{Kind: model.KindRouter, Name: router}).Chassis == "" {
		return fmt.Sprintf("punt %d", pipeline.PuntNoNeighbour)
	}
	for _, n := range w.learnt[at] {
		if n.Router == router && n.Port == router+"_to_"+sw && n.IP == to {
			return w.unknown(at, sw, fmt.Sprintf(" ttl=%d", ttl))
		}
	}
	return fmt.Sprintf("punt %d", pipeline.PuntResolve)
}

// patch is the patch port of a switch.
func (w *world) patch(sw string) *model.LogicalSwitchPort {
	for _, p := range w.portsOf(sw) {
		if p.Type == model.PortPatch {
			return p
		}
	}
	return nil
}

// unknown is what becomes of a frame on a chassis to a MAC that nobody on the switch has.
func (w *world) unknown(at, sw, ttl string) string {
	if p := w.patch(sw); p != nil {
		if c, _ := w.where(p.Name); w.tunnels(at, c) {
			return "to " + p.Name + ttl
		}
	}
	return "drop unknown-destination"
}

// unknownFrom is what becomes of a frame of a port here to a MAC that nobody on the switch has: where any MAC may be behind a port, and
// none is outside, it is one copy to each such port.
func (w *world) unknownFrom(src *model.LogicalSwitchPort, at string) string {
	learning, parts := false, []string(nil)
	for _, p := range w.portsOf(src.Switch) {
		if p.Type == model.PortPatch {
			return w.unknown(at, src.Switch, "")
		}
		if p.Type == model.PortVIF && len(p.IPs) == 0 && p.NoPortSecurity {
			learning = true
			if c, _ := w.where(p.Name); c != "" && p.Name != src.Name && w.tunnels(at, c) {
				parts = append(parts, "to "+p.Name)
			}
		}
	}
	switch {
	case !learning:
		return w.unknown(at, src.Switch, "")
	case parts == nil:
		return "nobody"
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

// everybody is what a frame for all becomes: one copy to each other port of the switch.
func (w *world) everybody(src *model.LogicalSwitchPort, ttl string) string {
	at, _ := w.where(src.Name)
	var parts []string
	for _, p := range w.portsOf(src.Switch) {
		if c, _ := w.where(p.Name); c != "" && p.Name != src.Name && w.tunnels(at, c) {
			parts = append(parts, "to "+p.Name+ttl)
		}
	}
	if parts == nil {
		return "nobody"
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

// answer is what becomes of the question who has an address.
func (w *world) answer(src *model.LogicalSwitchPort, ip netip.Addr) string {
	ttl, unknown := "", "drop unknown-arp"
	if ip.Is6() {
		ttl, unknown = " ttl=255", "drop unknown-nd"
	}
	switch p := w.owner(src.Switch, ip); {
	case p == nil:
		for _, q := range w.portsOf(src.Switch) {
			if q.Type != model.PortRouter && len(q.IPs) == 0 { // somebody whose addresses are not known
				return w.everybody(src, ttl)
			}
		}
		return unknown
	case p.Name == src.Name:
		return "drop own-address-asked"
	}
	return "to " + src.Name + ttl
}
