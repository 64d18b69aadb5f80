package compile

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"tuplenet/flows/memo"
	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
	"tuplenet/model"
)

// door is the way of a router to an edge where an inside address has an external one.
type door struct {
	rule *model.NATRule
	edge *model.LogicalRouter
	port *model.LogicalRouterPort // of the edge
	// through are the routes of the router that have a way to that port, by name.
	through map[string]netip.Prefix
}

// edgesOf are the rules that lead connections to an inside address, the first by name of each pinned router.
func edgesOf(r memo.Reader, inside netip.Prefix) (rules []*model.NATRule) {
	for _, k := range r.List(indexNATInside, inside.String()) {
		n := get[*model.NATRule](r, k.Kind, k.ID)
		if n == nil || len(rules) > 0 && rules[len(rules)-1].Router == n.Router {
			continue
		}
		if lr := getRouter(r, n.Router); lr != nil && lr.Chassis != "" {
			rules = append(rules, n)
		}
	}
	return rules
}

// doors are the ways of a router to the edges where an inside address has external ones, one an edge.
func doors(r memo.Reader, lr *model.LogicalRouter, inside netip.Prefix) (all []door) {
	for _, n := range edgesOf(r, inside) {
		for _, k := range r.List(indexRouterPorts, n.Router) {
			rp := getRouterPort(r, k.ID)
			if rp == nil {
				continue
			}
			if through := routesTo(r, lr, rp, inside.Addr().Is4()); len(through) > 0 {
				all = append(all, door{n, getRouter(r, n.Router), rp, through})
				break
			}
		}
	}
	return all
}

// routesTo are the routes of a router, of a family, that have a way to an edge's port.
func routesTo(r memo.Reader, lr *model.LogicalRouter, edge *model.LogicalRouterPort, v4 bool) map[string]netip.Prefix {
	found := map[string]netip.Prefix{}
	if !besides(r, lr, edge) {
		return found
	}
	for _, k := range r.List(indexRoutes, lr.Name) {
		if s := getRoute(r, k.ID); s != nil && s.Prefix.Addr().Is4() == v4 && hasAddress(edge, s.NextHop) && leadsTo(r, s, edge) {
			found[routeGroup(s)] = s.Prefix
		}
	}
	return found
}

// besides tells whether a router that works everywhere is on the switch of an edge's port.
func besides(r memo.Reader, lr *model.LogicalRouter, edge *model.LogicalRouterPort) bool {
	return slices.ContainsFunc(neighbours(r, edge), func(o *model.LogicalRouter) bool { return o.Name == lr.Name })
}

// neighbours are the routers that work everywhere and are on the switch of an edge's port.
func neighbours(r memo.Reader, edge *model.LogicalRouterPort) (all []*model.LogicalRouter) {
	peer := switchPeer(r, edge)
	if peer == nil {
		return nil
	}
	for _, l := range r.Derived(derivedLinks, peer.Switch).([]link) {
		if lr := getRouter(r, l.Router); lr != nil && lr.Chassis == "" && !slices.Contains(all, lr) {
			all = append(all, lr)
		}
	}
	return all
}

// symmetricReturn makes the packets of an inside address that has an external one at one edge leave through that edge:
// what comes in there is known only to its connection tracking. It concerns routers next to the edge's that spread over
// several ways; all others have only one way anyway. While the edge is unreachable the packets take the other ways: the
// connections through it are lost, but new ones work. Addresses with external ones at several edges are symmetricReturnOf's.
func symmetricReturn(r memo.Reader, o *Output, edge *model.LogicalRouter, n *model.NATRule) {
	var done []*model.LogicalRouter
	for _, k := range r.List(indexRouterPorts, edge.Name) {
		rp := getRouterPort(r, k.ID)
		if rp == nil {
			continue
		}
		for _, lr := range neighbours(r, rp) {
			if slices.Contains(done, lr) {
				continue
			}
			done = append(done, lr)
			if ways := doors(r, lr, n.Prefix); len(ways) == 1 && ways[0].rule.Ref() == n.Ref() {
				returnFixed(r, o, lr, ways[0])
			}
		}
	}
}

// returnFixed makes all packets of an inside address that a router would spread prefer the ways to one edge.
func returnFixed(r memo.Reader, o *Output, lr *model.LogicalRouter, d door) {
	in := pipeline.Datapath.Is(of.Match{}, uint64(lr.ID))
	for _, id := range slices.Sorted(maps.Keys(d.through)) {
		if g, ok := preferring(r, id, d.port); ok {
			prefix := d.through[id]
			o.Groups = append(o.Groups, g)
			o.add(pipeline.ReturnFixed.FlowAt(routePriority(prefix, returnRank), fromPrefix(toPrefix(in, prefix), d.rule.Prefix),
				of.DecTTL{}, pipeline.Routed.Load(1), of.GroupAction{ID: g.ID}))
		}
	}
}

// symmetricReturnOf does the same for the addresses of a port here that have external ones at several edges, each connection
// for itself: the edge that translates a packet's destination writes its number on it, connection tracking here remembers
// the number, and packets that leave towards edges ask for it. What is begun from inside leaves through the edge of the first
// rule by name. No other packets are tracked.
func symmetricReturnOf(r memo.Reader, o *Output, p *model.LogicalSwitchPort, ls *model.LogicalSwitch) {
	for _, ip := range p.IPs {
		inside := host(ip)
		if len(edgesOf(r, inside)) < 2 || !placeOf(r, p).Here {
			continue
		}
		remembered := map[uint64]bool{}
		for _, name := range r.Derived(derivedRouters, ls.Name).([]string) {
			lr := getRouter(r, name)
			if lr == nil {
				continue
			}
			ways := doors(r, lr, inside)
			if len(ways) < 2 {
				continue
			}
			for _, d := range ways {
				if n := pipeline.EdgeNumber(uint64(d.edge.ID)); !remembered[n] {
					remembered[n] = true
					o.add(remember(p, ls, ip, n))
				}
			}
			returnAsked(r, o, lr, ls, ways, inside)
			if !tellsEdges(getNode(r)) {
				for _, d := range ways[1:] {
					o.Problems = append(o.Problems, model.Problem{Key: FactKey(d.rule.Ref()).String(), Reason: untold(p, ways[0].rule, d.rule)})
				}
			}
		}
	}
}

// untold says what does not work on a chassis that is sent VXLAN.
func untold(p *model.LogicalSwitchPort, first, rule *model.NATRule) string {
	return fmt.Sprintf("connections to %s are answered as from %s: port %s is on a chassis that is sent VXLAN, which does not tell the edge; "+
		"have it offer Geneve first, or let one edge translate %s", rule.External, first.External, p.Name, rule.Prefix.Addr())
}

// remember notes with a connection from outside through which edge it came.
func remember(p *model.LogicalSwitchPort, ls *model.LogicalSwitch, ip netip.Addr, edge uint64) pipeline.Flow {
	to := toPrefix(pipeline.Datapath.Is(of.Match{}, uint64(ls.VNI)).Eq(of.EthDst, of.MAC(p.MAC)), host(ip))
	return pipeline.Remember.Flow(pipeline.FromEdge.Is(to, edge), pipeline.OutPort.Load(uint64(p.Key)),
		ct(of.CT{Commit: true, Zone: natZone(ls.VNI).dnat, Exec: []of.Action{of.Load(pipeline.MarkEdge, edge)}}, pipeline.Deliver))
}

// returnAsked makes packets of an inside address on a switch, that a router would spread, ask for the edge of their connection.
func returnAsked(r memo.Reader, o *Output, lr *model.LogicalRouter, ls *model.LogicalSwitch, ways []door, inside netip.Prefix) {
	in := pipeline.Datapath.Is(of.Match{}, uint64(lr.ID))
	asked := map[string]bool{}
	known := map[string]bool{}
	for _, d := range ways {
		number := pipeline.EdgeNumber(uint64(d.edge.ID))
		for _, id := range slices.Sorted(maps.Keys(d.through)) {
			g, ok := preferring(r, id, d.port)
			if !ok {
				continue
			}
			prefix := d.through[id]
			to, at := toPrefix(in, prefix), routePriority(prefix, returnRank)
			leave := []of.Action{of.DecTTL{}, pipeline.Routed.Load(1), of.GroupAction{ID: g.ID}}
			if !asked[id] {
				asked[id] = true
				o.add(
					pipeline.AskEdge.FlowAt(at, fromPrefix(to, inside), ct(of.CT{Zone: natZone(ls.VNI).dnat}, pipeline.Return)),
					pipeline.ReturnAny.FlowAt(routePriority(prefix, staticRank), fromPrefix(to, inside), leave...))
			}
			if by := fmt.Sprint(id, " ", number); !known[by] {
				known[by] = true
				o.Groups = append(o.Groups, g)
				o.add(pipeline.ReturnBy.FlowAt(at, to.Subfield(pipeline.MarkEdge, number), leave...))
			}
		}
	}
}

// preferring is the group of the ways of a route with those to an edge's port first. ok is false if there is nothing to choose.
func preferring(r memo.Reader, route string, edge *model.LogicalRouterPort) (g of.Group, ok bool) {
	ways := waysOf(r, &Output{}, route)
	if len(ways) < 2 {
		return g, false
	}
	if getNode(r).HostPort != 0 && allOutside(ways) {
		// Connections through an address of the edge need its translation, whatever else leaves through the host.
		ways = slices.DeleteFunc(ways, func(w way) bool { return preference(r, w, edge) != 0 })
	}
	g = of.Group{ID: pipeline.ReturnGroupID(hash(route + "/" + edge.Name)), Type: of.GroupFastFailover}
	slices.SortStableFunc(ways, func(a, b way) int { return preference(r, a, edge) - preference(r, b, edge) })
	ways = watchedOnes(r, ways)
	tunnel := getNode(r).anyTunnel() // always up
	for _, w := range ways {
		watch := tunnel
		if w.chassis != "" && len(ways) > 1 {
			if p := get[Watched](r, KindWatched, w.chassis).OFPort; p != 0 {
				watch = p
			}
		}
		if watch != 0 {
			g.Buckets = append(g.Buckets, of.Bucket{WatchPort: watch, Actions: w.actions(pipeline.Again(pipeline.Neighbour))})
		}
	}
	// When BFD reaches nobody, the edge that knows the connection is the one to try (orAll).
	if len(g.Buckets) > 0 && tunnel != 0 && !slices.ContainsFunc(g.Buckets, func(b of.Bucket) bool { return b.WatchPort == tunnel }) {
		g.Buckets = append(g.Buckets, of.Bucket{WatchPort: tunnel, Actions: g.Buckets[0].Actions})
	}
	return g, len(g.Buckets) > 0
}

// preference sorts the ways to an edge's port before the others.
func preference(r memo.Reader, w way, edge *model.LogicalRouterPort) int {
	if hasAddress(edge, w.hop) && onSameSwitch(r, w.port, edge) {
		return 0
	}
	return 1
}

// leadsTo tells whether the out-port of a route is on the switch that an edge's port is on.
func leadsTo(r memo.Reader, s *model.StaticRoute, edge *model.LogicalRouterPort) bool {
	rp := getRouterPort(r, s.Router+"/"+s.OutPort)
	return rp != nil && onSameSwitch(r, rp, edge)
}

func onSameSwitch(r memo.Reader, a, b *model.LogicalRouterPort) bool {
	p, q := switchPeer(r, a), switchPeer(r, b)
	return p != nil && q != nil && p.Switch == q.Switch
}

func hasAddress(rp *model.LogicalRouterPort, ip netip.Addr) bool {
	return slices.ContainsFunc(rp.Networks, func(n netip.Prefix) bool { return n.Addr() == ip })
}
