package compile

import (
	"net/netip"
	"slices"

	"tuplenet/flows/memo"
	"tuplenet/model"
)

// A pinned router that is one of several ways of a route has to be finished before traffic goes to it, whatever the order in which
// it is written, and the node that it is pinned to has to have done all of it. So the node says when: it binds the switch port of
// the router's side to itself, like the port of a workload, after the switch has acknowledged its flows (Output.Carries). All others use
// a way once the port is bound and the router does for the route what the routers of the other ways do. If none is as far,
// all are used: then the packets tell what is missing.

// hopOwner is the linked router port on a switch that has an address; ok is false if there is none.
func hopOwner(r memo.Reader, ls string, ip netip.Addr) (l link, ok bool) {
	for _, l := range r.Derived(derivedLinks, ls).([]link) {
		if rp := getRouterPort(r, l.Router+"/"+l.RouterPort); rp != nil && hasAddress(rp, ip) {
			return l, true
		}
	}
	return link{}, false
}

// finished leaves out the ways to pinned routers that are not finished, unless no pinned router is.
func finished(r memo.Reader, ways []way, prefix netip.Prefix) []way {
	if len(ways) < 2 {
		return ways
	}
	best := bestOf(r, ways, prefix)
	isReady := func(w way) bool {
		b := get[*model.Binding](r, string(model.KindBinding), w.peer)
		return b != nil && b.Chassis == w.pinned.Chassis && serviceOf(r, w.pinned, prefix, w.ls) == best
	}
	if !slices.ContainsFunc(ways, func(w way) bool { return w.pinned != nil && isReady(w) }) {
		return ways
	}
	return slices.DeleteFunc(slices.Clone(ways), func(w way) bool { return w.pinned != nil && !isReady(w) })
}

// carries tells whether a port of a router that works here may be sent traffic of some route: the route has it as its next hop, and
// the router does for the route what the routers of the other ways do.
func carries(r memo.Reader, lr *model.LogicalRouter, rp *model.LogicalRouterPort, ls string) bool {
	if lr.Chassis == "" || !worksHere(r, lr) {
		return false
	}
	for _, l := range r.Derived(derivedLinks, ls).([]link) {
		if l.Router == lr.Name {
			continue
		}
		for _, k := range r.List(indexRoutes, l.Router) {
			s := getRoute(r, k.ID)
			if s == nil || !hasAddress(rp, s.NextHop) || !leadsTo(r, s, rp) {
				continue
			}
			if serviceOf(r, lr, s.Prefix, ls) == bestOf(r, waysOf(r, &Output{}, routeGroup(s)), s.Prefix) {
				return true
			}
		}
	}
	return false
}

// service is what a pinned router does for the packets of a route.
type service struct {
	onward     bool // it knows a way on for them
	translates bool // it translates the addresses that they come from
}

// bestOf is the most that any pinned router of some ways does.
func bestOf(r memo.Reader, ways []way, prefix netip.Prefix) service {
	var best service
	for _, w := range ways {
		if w.pinned != nil {
			s := serviceOf(r, w.pinned, prefix, w.ls)
			best.onward, best.translates = best.onward || s.onward, best.translates || s.translates
		}
	}
	return best
}

// serviceOf tells what a pinned router does for packets of a route that come to it through a switch.
func serviceOf(r memo.Reader, lr *model.LogicalRouter, prefix netip.Prefix, from string) service {
	return service{onward: leadsOn(r, lr, prefix, from), translates: translates(r, lr, prefix)}
}

// translates tells whether a router has a rule by which connections of a family get another source.
func translates(r memo.Reader, lr *model.LogicalRouter, prefix netip.Prefix) bool {
	for _, k := range r.List(indexNAT, lr.Name) {
		n := get[*model.NATRule](r, string(model.KindNAT), k.ID)
		if n != nil && n.Type != model.NATDestination && n.Prefix.Addr().Is4() == prefix.Addr().Is4() {
			return true
		}
	}
	return false
}

// leadsOn tells whether a pinned router has a way on for packets of a route that come from a switch: a route or network that covers
// it, or a route to a part of it, not back into that switch, and with somebody there.
func leadsOn(r memo.Reader, lr *model.LogicalRouter, prefix netip.Prefix, from string) bool {
	for _, k := range r.List(indexRoutes, lr.Name) {
		s := getRoute(r, k.ID)
		if s == nil || !s.Prefix.Overlaps(prefix) {
			continue
		}
		if rp := getRouterPort(r, lr.Name+"/"+s.OutPort); rp != nil && inhabited(r, lr, rp, s.NextHop, from) {
			return true
		}
	}
	for _, k := range r.List(indexRouterPorts, lr.Name) {
		rp := getRouterPort(r, k.ID)
		if rp == nil {
			continue
		}
		for _, n := range rp.Networks {
			if n.Bits() <= prefix.Bits() && n.Overlaps(prefix) && inhabited(r, lr, rp, netip.Addr{}, from) {
				return true
			}
		}
	}
	return false
}

// inhabited tells whether a next hop may be behind a port of a pinned router, on another switch than from: the address is known, or the
// switch leads to a physical network from the router's chassis. Without a next hop, any other switch will do.
func inhabited(r memo.Reader, lr *model.LogicalRouter, rp *model.LogicalRouterPort, hop netip.Addr, from string) bool {
	peer := switchPeer(r, rp)
	if peer == nil || peer.Switch == from {
		return false
	}
	patch := false
	for _, k := range r.List(indexOpen, peer.Switch) {
		p := getPort(r, k.ID)
		if p == nil || p.Type != model.PortPatch {
			continue
		}
		patch = true
		if pl := placeOf(r, p); pl.Chassis == lr.Chassis || pl.Here && lr.Chassis == getNode(r).Chassis {
			return true
		}
	}
	if patch {
		return false
	}
	if !hop.IsValid() {
		return true
	}
	if l, ok := hopOwner(r, peer.Switch, hop); ok {
		return l.Router != lr.Name
	}
	for _, k := range r.List(indexPorts, peer.Switch) {
		if p := getPort(r, k.ID); p != nil && slices.Contains(p.IPs, hop) {
			return true
		}
	}
	return false
}
