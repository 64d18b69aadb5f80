package compile

import (
	"cmp"
	"net/netip"

	"tuplenet/flows/memo"
	"tuplenet/model"
)

// Indexes over the facts.
const (
	indexPorts       = "ports"       // switch → its ports
	indexLinks       = "links"       // switch → its ports of type router
	indexOpen        = "open"        // switch → its ports behind which unknown addresses may be
	indexLoose       = "loose"       // switch → its ports whose MACs are learnt
	indexPortName    = "portname"    // port name → port
	indexRouterPorts = "routerports" // router → its ports
	indexNetworks    = "networks"    // router and network → the router's ports on it
	indexRouterName  = "routername"  // router port name → router port
	indexPinned      = "pinned"      // chassis → the routers that work only there
	indexGateways    = "gateways"    // "" → the chassis that are gateways
	indexPatchAt     = "patchat"     // chassis → the patch ports whose pair it makes
	indexRoutes      = "routes"      // router → its static routes
	indexRouteGroup  = "routegroup"  // router and prefix → the static routes with it
	indexNAT         = "nat"         // router → its NAT rules
	indexNATInside   = "natinside"   // inside prefix → the NAT rules for connections to it from outside
	indexWanted      = "wanted"      // switch → its ports elsewhere that are wanted here
	indexAll         = "all"         // kind → every fact of the kind (chassis, interfaces, neighbours, watched chassis)

	joinChassis = "chassison" // switch → the chassis that its ports are bound to
)

func indexes() map[string]memo.Index {
	type port = *model.LogicalSwitchPort
	return map[string]memo.Index{
		indexPorts:       index(model.KindSwitchPort, func(p port) []string { return []string{p.Switch} }),
		indexPortName:    index(model.KindSwitchPort, func(p port) []string { return []string{p.Name} }),
		indexLinks:       index(model.KindSwitchPort, func(p port) []string { return when(p.Type == model.PortRouter, p.Switch) }),
		indexOpen:        index(model.KindSwitchPort, func(p port) []string { return when(isOpen(p), p.Switch) }),
		indexLoose:       index(model.KindSwitchPort, func(p port) []string { return when(p.Learns(), p.Switch) }),
		indexPatchAt:     index(model.KindSwitchPort, func(p port) []string { return when(p.Type == model.PortPatch && p.Bridge != "", p.Chassis) }),
		indexRouterPorts: index(model.KindRouterPort, func(p *model.LogicalRouterPort) []string { return []string{p.Router} }),
		indexNetworks:    index(model.KindRouterPort, networksOf),
		indexRouterName:  index(model.KindRouterPort, func(p *model.LogicalRouterPort) []string { return []string{p.Name} }),
		indexPinned:      index(model.KindRouter, func(r *model.LogicalRouter) []string { return when(r.Chassis != "", r.Chassis) }),
		indexGateways:    index(model.KindChassis, func(c *model.Chassis) []string { return when(c.Gateway, "") }),
		indexRoutes:      index(model.KindRoute, func(s *model.StaticRoute) []string { return []string{s.Router} }),
		indexRouteGroup:  index(model.KindRoute, func(s *model.StaticRoute) []string { return []string{routeGroup(s)} }),
		indexNAT:         index(model.KindNAT, func(n *model.NATRule) []string { return []string{n.Router} }),
		indexNATInside:   index(model.KindNAT, func(n *model.NATRule) []string { return when(n.FromOutside(), n.Prefix.String()) }),
		indexWanted:      index(KindWanted, func(w Wanted) []string { return []string{w.Switch} }),
		indexAll: {Kinds: []string{string(model.KindChassis), KindInterface, KindNeighbour, KindWatched},
			Entries: func(k memo.Key, _ any) []string { return []string{k.Kind} }},
	}
}

func joins() map[string]memo.Join {
	return map[string]memo.Join{
		joinChassis: {Kind: string(model.KindBinding), Index: indexPortName, Entry: func(binding, port any) (string, memo.Key, bool) {
			b, p := binding.(*model.Binding), port.(*model.LogicalSwitchPort)
			return p.Switch, memo.Key{Kind: string(model.KindChassis), ID: b.Chassis}, p.Type != model.PortRouter && b.Chassis != ""
		}},
	}
}

// index is an index over the facts of one kind, which are of one type.
func index[K ~string, T any](kind K, entries func(T) []string) memo.Index {
	return memo.Index{Kinds: []string{string(kind)}, Entries: func(_ memo.Key, v any) []string {
		if t, ok := v.(T); ok {
			return entries(t)
		}
		return nil
	}}
}

// when is one entry, or none.
func when(listed bool, entry string) []string {
	if listed {
		return []string{entry}
	}
	return nil
}

// networksOf are the networks of a router port.
func networksOf(p *model.LogicalRouterPort) []string {
	var entries []string
	for _, n := range p.Networks {
		entries = append(entries, networkOf(p.Router, n))
	}
	return entries
}

// networkOf names the network of an interface address of a router.
func networkOf(router string, n netip.Prefix) string { return router + "/" + n.Masked().String() }

// isOpen tells whether there may be addresses behind a port that intent does not know.
func isOpen(p *model.LogicalSwitchPort) bool {
	return p.Type == model.PortPatch || p.Type == model.PortVIF && len(p.IPs) == 0
}

// FactKey is the key under which an object is a fact.
func FactKey(r model.Ref) memo.Key {
	id := r.Name
	if r.Parent != "" {
		id = r.Parent + "/" + r.Name // "/" is in no name
	}
	return memo.Key{Kind: string(r.Kind), ID: id}
}

// get reads a fact of a known type; the zero value means that it is absent.
func get[T any](r memo.Reader, kind, id string) T {
	v, _ := r.Get(memo.Key{Kind: kind, ID: id}).(T)
	return v
}

func getSwitch(r memo.Reader, name string) *model.LogicalSwitch {
	return get[*model.LogicalSwitch](r, string(model.KindSwitch), name)
}

func getPort(r memo.Reader, id string) *model.LogicalSwitchPort {
	return get[*model.LogicalSwitchPort](r, string(model.KindSwitchPort), id)
}

func getRouter(r memo.Reader, name string) *model.LogicalRouter {
	return get[*model.LogicalRouter](r, string(model.KindRouter), name)
}

func getRouterPort(r memo.Reader, id string) *model.LogicalRouterPort {
	return get[*model.LogicalRouterPort](r, string(model.KindRouterPort), id)
}

func getNode(r memo.Reader) Node { return get[Node](r, KindNode, "") }

func portByName(r memo.Reader, name string) *model.LogicalSwitchPort {
	for _, k := range r.List(indexPortName, name) {
		return getPort(r, k.ID)
	}
	return nil
}

func routerPortByName(r memo.Reader, name string) *model.LogicalRouterPort {
	for _, k := range r.List(indexRouterName, name) {
		return getRouterPort(r, k.ID)
	}
	return nil
}

// path is how packets travel from this node to another chassis.
type path struct {
	IP    netip.Addr // the other's tunnel address
	Encap model.Encap
}

// pathTo is the path to a chassis: to an address of a family that both have, IPv4 first, by the encapsulation that the other
// offers first, of those that this node has a tunnel for. ok is false if they have no family in common.
func pathTo(r memo.Reader, chassis string) (p path, ok bool) {
	c := get[*model.Chassis](r, string(model.KindChassis), chassis)
	if c == nil {
		return p, false
	}
	node := getNode(r)
	for _, want4 := range []bool{true, false} {
		if a := ofFamily(c.IPs, want4); a.IsValid() && ofFamily(node.IPs, want4).IsValid() {
			return path{a, encapOf(node, c.Encaps)}, true
		}
	}
	return p, false
}

// encapOf chooses among what a receiver offers. If the node has no tunnel for any of it yet, that is its first.
func encapOf(node Node, offered []model.Encap) model.Encap {
	for _, e := range offered {
		if node.port(e) != 0 {
			return e
		}
	}
	if len(offered) == 0 {
		return model.EncapGeneve
	}
	return offered[0]
}

// port is the OpenFlow port of the flow-based tunnel of an encapsulation; 0 if there is none.
func (n Node) port(e model.Encap) uint32 {
	if e == model.EncapVXLAN {
		return n.VXLANPort
	}
	return n.TunnelPort
}

// anyTunnel is the port of a flow-based tunnel, which is always up; 0 if there is none.
func (n Node) anyTunnel() uint32 { return cmp.Or(n.TunnelPort, n.VXLANPort) }

// endpoint is the tunnel address by which this node reaches a chassis. The zero Addr means that there is none.
func endpoint(r memo.Reader, chassis string) netip.Addr {
	p, _ := pathTo(r, chassis)
	return p.IP
}

func ofFamily(addrs []netip.Addr, want4 bool) netip.Addr {
	for _, a := range addrs {
		if a.Is4() == want4 {
			return a
		}
	}
	return netip.Addr{}
}
