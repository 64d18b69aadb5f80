package compile

import (
	"maps"
	"slices"

	"tuplenet/flows/memo"
	"tuplenet/model"
)

// Derived values.
const (
	derivedScope   = "scope"   // "" → scope
	derivedHome    = "home"    // "" → the switches that have ports with an interface here, sorted
	derivedLinks   = "links"   // switch → []link
	derivedMembers = "members" // switch → members
	derivedLocal   = "local"   // "" → switch → the ports with an interface here
	derivedLocalOf = "localof" // switch → the ports with an interface here
	derivedEager   = "eager"   // switch → whether its ports are compiled unasked
	derivedLearns  = "learns"  // switch → whether MACs behind some of its ports are learnt
	derivedEdges   = "edges"   // "" → switch → the gateways that have all flows of its island
	derivedEdgesOf = "edgesof" // switch → the gateways that have all flows of its island
	derivedRouters = "routers" // switch → the routers that its ports' packets cross on this node, sorted
)

func derived() map[string]memo.Derived {
	return map[string]memo.Derived{
		derivedScope:   {Compute: computeScope},
		derivedHome:    {Compute: computeHome},
		derivedLinks:   {Compute: computeLinks},
		derivedMembers: {Compute: computeMembers},
		derivedRouters: {Compute: computeRouters},
		derivedLocal:   {Compute: computeLocal},
		derivedLocalOf: {Compute: computeLocalOf},
		derivedEager:   {Compute: computeEager},
		derivedLearns:  {Compute: computeLearns},
		derivedEdges:   {Compute: computeEdges},
		derivedEdgesOf: {Compute: computeEdgesOf},
	}
}

// scope is what can be reached from the ports of this node and from the routers pinned to it; only that is compiled.
type scope struct {
	Switches, Routers []string // sorted
}

// computeScope walks from the switches of local ports, and from the routers that are pinned to this node and so work for
// everybody's ports, through routers that are processed here.
func computeScope(r memo.Reader, _ string) any {
	switches, routers := map[string]bool{}, map[string]bool{}
	var s scope
	visit := func(ls string) {
		if !switches[ls] && getSwitch(r, ls) != nil {
			switches[ls] = true
			s.Switches = append(s.Switches, ls)
		}
	}
	enter := func(lr string) {
		if routers[lr] {
			return
		}
		routers[lr] = true
		s.Routers = append(s.Routers, lr)
		for _, k := range r.List(indexRouterPorts, lr) {
			if p := getRouterPort(r, k.ID); p != nil {
				if peer := switchPeer(r, p); peer != nil {
					visit(peer.Switch)
				}
			}
		}
	}
	if node := getNode(r); node.Gateway {
		for _, k := range r.List(indexPinned, node.Chassis) {
			enter(k.ID)
		}
	}
	for _, ls := range r.Derived(derivedHome, "").([]string) {
		visit(ls)
	}
	for i := 0; i < len(s.Switches); i++ { // grows while it is walked
		for _, l := range r.Derived(derivedLinks, s.Switches[i]).([]link) {
			if l.Elsewhere == "" {
				enter(l.Router)
			}
		}
	}
	slices.Sort(s.Switches)
	slices.Sort(s.Routers)
	return s
}

// computeHome is apart from the scope, so that one more port on a switch that has others here is no reason to walk.
func computeHome(r memo.Reader, _ string) any {
	return slices.Sorted(maps.Keys(r.Derived(derivedLocal, "").(map[string][]string)))
}

func switchesInScope(r memo.Reader) []string { return r.Derived(derivedScope, "").(scope).Switches }
func routersInScope(r memo.Reader) []string  { return r.Derived(derivedScope, "").(scope).Routers }

// routersNear are the routers in scope, and those pinned elsewhere whose addresses stations on a switch in scope may ask for.
func routersNear(r memo.Reader) []string {
	routers := slices.Clone(routersInScope(r))
	for _, ls := range switchesInScope(r) {
		for _, l := range r.Derived(derivedLinks, ls).([]link) {
			if l.Elsewhere != "" {
				routers = append(routers, l.Router)
			}
		}
	}
	return routers
}

// routersInSight are those near, and those that are pinned to this node though it cannot have them.
func routersInSight(r memo.Reader) []string {
	routers := routersNear(r)
	for _, k := range r.List(indexPinned, getNode(r).Chassis) {
		routers = append(routers, k.ID)
	}
	return routers
}

// listed makes the members of a group the facts in the entry of that name of an index.
func listed(index string) func(r memo.Reader, group string) []string {
	return func(r memo.Reader, group string) []string {
		members := r.List(index, group)
		ids := make([]string, len(members))
		for i, k := range members {
			ids[i] = k.ID
		}
		return ids
	}
}

// localPorts are the switch ports that have an interface on this node.
func localPorts(r memo.Reader) []string {
	var ids []string
	for _, k := range r.List(indexAll, KindInterface) {
		for _, p := range r.List(indexPortName, k.ID) {
			ids = append(ids, p.ID)
		}
	}
	return ids
}

// link is a router port on a switch.
type link struct {
	Port, Router, RouterPort string // switch port name, router, router port name
	RouterID                 model.VNI
	PortKey, RouterPortKey   model.PortKey
	// Elsewhere is the chassis that processes the router, if it is pinned and not to this node.
	Elsewhere string
}

// computeLinks lists the router ports on a switch whose both ends agree.
func computeLinks(r memo.Reader, ls string) any {
	links := []link{}
	if sw := getSwitch(r, ls); sw != nil && isMulticast(sw) {
		return links
	}
	for _, k := range r.List(indexLinks, ls) {
		p := getPort(r, k.ID)
		rp := routerPeer(r, p)
		if rp == nil {
			continue
		}
		lr := getRouter(r, rp.Router)
		if lr == nil {
			continue
		}
		l := link{Port: p.Name, Router: rp.Router, RouterPort: rp.Name, RouterID: lr.ID, PortKey: p.Key, RouterPortKey: rp.Key}
		if !worksHere(r, lr) {
			l.Elsewhere = lr.Chassis
		}
		links = append(links, l)
	}
	return links
}

// routerPeer is the router port at the other end of a switch port of type router, nil if the ends do not agree.
func routerPeer(r memo.Reader, p *model.LogicalSwitchPort) *model.LogicalRouterPort {
	if p.Type != model.PortRouter || p.Peer == "" {
		return nil
	}
	if rp := routerPortByName(r, p.Peer); rp != nil && rp.Peer == p.Name {
		return rp
	}
	return nil
}

// switchPeer is the switch port at the other end of a router port, nil if the ends do not agree.
func switchPeer(r memo.Reader, rp *model.LogicalRouterPort) *model.LogicalSwitchPort {
	if rp.Peer == "" {
		return nil
	}
	if p := portByName(r, rp.Peer); p != nil && p.Type == model.PortRouter && p.Peer == rp.Name {
		return p
	}
	return nil
}

// place says where a port is.
type place struct {
	Here    bool
	OFPort  uint32
	Chassis string // another chassis, if not here
}

// placeOf finds a port. A port with an interface here is here unless another chassis holds the binding: the newest
// claim wins, and the binding is what the newest claimant wrote.
func placeOf(r memo.Reader, p *model.LogicalSwitchPort) place {
	return placeSeenBy(r, getNode(r).Chassis, p)
}

// placeSeenBy is placeOf with the name of the own chassis.
func placeSeenBy(r memo.Reader, own string, p *model.LogicalSwitchPort) place {
	if b := get[*model.Binding](r, string(model.KindBinding), p.Name); b != nil && b.Chassis != own {
		return place{Chassis: b.Chassis}
	}
	if i := get[Interface](r, KindInterface, p.Name); i.OFPort != 0 {
		return place{Here: true, OFPort: i.OFPort}
	}
	return place{}
}

// members says who must get a copy of what is for everybody on a switch.
type members struct {
	Local  []model.PortKey // keys of ports here
	Remote []string        // other chassis with ports, sorted
}

// computeMembers looks at the ports with an interface here and at the list of chassis: however many ports a switch has, one more of them on a
// chassis that has one already, or on none, concerns nobody.
func computeMembers(r memo.Reader, ls string) any {
	m := members{}
	own := getNode(r).Chassis
	for _, id := range r.Derived(derivedLocalOf, ls).([]string) {
		if p := getPort(r, id); p.Type != model.PortRouter && placeSeenBy(r, own, p).Here {
			m.Local = append(m.Local, p.Key)
		}
	}
	slices.Sort(m.Local)
	for _, k := range r.List(joinChassis, ls) {
		if k.ID != own {
			m.Remote = append(m.Remote, k.ID)
		}
	}
	return m
}

// computeRouters walks from a switch through the routers that work everywhere.
func computeRouters(r memo.Reader, ls string) any {
	routers := []string{}
	seen := map[string]bool{ls: true}
	for next := []string{ls}; len(next) > 0; next = next[1:] {
		for _, l := range r.Derived(derivedLinks, next[0]).([]link) {
			if lr := getRouter(r, l.Router); lr == nil || lr.Chassis != "" || slices.Contains(routers, l.Router) {
				continue
			}
			routers = append(routers, l.Router)
			for _, k := range r.List(indexRouterPorts, l.Router) {
				if p := getRouterPort(r, k.ID); p != nil {
					if peer := switchPeer(r, p); peer != nil && !seen[peer.Switch] {
						seen[peer.Switch] = true
						next = append(next, peer.Switch)
					}
				}
			}
		}
	}
	slices.Sort(routers)
	return routers
}
