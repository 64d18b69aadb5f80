package compile

import (
	"maps"
	"slices"

	"tuplenet/model"
)

// Sight is one state of the store, as far as Affected looks.
type Sight struct {
	// Objects are all objects; or, with Present, those that differ, chassis, routers and their ports with the switch ports at the
	// other ends, bindings of ports that differ and ports of bindings that differ, and all NAT rules if one differs.
	Objects map[model.Ref]model.Object
	// Present are the switches that each chassis has ports of.
	Present map[string][]string
}

// Affected names the chassis for which something else may be compiled in one state of the store than in another, given
// the refs of the objects that differ; sorted. It is an upper bound that is found without compiling, so that somebody
// who waits for a change knows whose answers matter: it may name a chassis for which nothing changes, and leaves out
// none. Objects that compete for a number, name or address, as in a store that was edited by hand, are not considered.
//
// What a node compiles follows from computeScope and from what the features read beyond it:
//   - of ports of workloads and patch ports, and of bindings: the nodes that have the switch in their scope. Those are
//     where its island (the switches that distributed routers connect) has ports, and the chassis of routers pinned at it;
//   - of routers, links, routes, NAT rules and switches: all nodes whose islands pinned routers connect, for answers for
//     external addresses and symmetric ways back lead through pinned routers into the next island;
//   - of a pin: all gateways, too, since they may be helpers of each other (redirect);
//   - of a NAT rule: also who has one for the same inside prefix;
//   - of a chassis: everybody.
func Affected(old, new Sight, differ []model.Ref) []string {
	out := map[string]bool{}
	for _, state := range []Sight{old, new} {
		a := newAreas(state)
		for _, ref := range differ {
			for _, o := range []model.Object{old.Objects[ref], new.Objects[ref]} {
				if o != nil {
					a.mark(o)
				}
			}
		}
		maps.Copy(out, a.affected)
	}
	return slices.Sorted(maps.Keys(out))
}

// Alike names what a new object has in common with others that concern the same chassis: of all new objects of one name any one will do for
// Affected. Ports of workloads are alike on one switch, since nobody can have bound a port that was not there.
func Alike(o model.Object) string {
	switch o := o.(type) {
	case *model.LogicalSwitchPort:
		if o.Type != model.PortRouter {
			return string(model.KindSwitchPort) + "/" + o.Switch + " at " + o.Chassis
		}
	case *model.StaticRoute:
		return string(model.KindRoute) + "/" + o.Router
	}
	return o.Ref().String()
}

// areas is how switches and routers hang together in one state of the store.
type areas struct {
	objects  map[model.Ref]model.Object
	switchOf map[string]string // port name → switch
	routerOf map[string]string // router port name → router
	island   groups            // switches connected by distributed routers
	wide     groups            // switches connected by any routers
	members  map[model.Ref][]string
	pinnedAt map[string][]string // switch → chassis of the routers pinned there
	affected map[string]bool
}

func newAreas(s Sight) *areas {
	objects := s.Objects
	a := &areas{objects: objects, switchOf: map[string]string{}, routerOf: map[string]string{}, island: groups{}, wide: groups{},
		members: map[model.Ref][]string{}, pinnedAt: map[string][]string{}, affected: map[string]bool{}}
	for _, o := range objects {
		switch o := o.(type) {
		case *model.LogicalSwitchPort:
			a.switchOf[o.Name] = o.Switch
		case *model.LogicalRouterPort:
			a.routerOf[o.Name] = o.Router
		}
	}
	for _, o := range objects {
		if p, ok := o.(*model.LogicalSwitchPort); ok && p.Type == model.PortRouter {
			a.link(p)
		}
	}
	for _, o := range objects {
		a.locate(o)
	}
	for ls, pins := range a.pinnedAt {
		for _, c := range pins {
			a.at(switchRef(ls), c)
		}
	}
	for c, switches := range s.Present {
		for _, ls := range switches {
			a.at(switchRef(ls), c)
		}
	}
	return a
}

func switchRef(name string) model.Ref { return model.Ref{Kind: model.KindSwitch, Name: name} }
func routerRef(name string) model.Ref { return model.Ref{Kind: model.KindRouter, Name: name} }

// link joins the areas at both ends of a link. Whether both ends agree does not matter for an upper bound.
func (a *areas) link(p *model.LogicalSwitchPort) {
	name, ok := a.routerOf[p.Peer]
	if !ok {
		return
	}
	a.wide.join(switchRef(p.Switch), routerRef(name))
	if lr, ok := a.objects[routerRef(name)].(*model.LogicalRouter); ok && lr.Chassis != "" {
		a.pinnedAt[p.Switch] = append(a.pinnedAt[p.Switch], lr.Chassis)
		return
	}
	a.island.join(switchRef(p.Switch), routerRef(name))
}

// locate notes who is in an area because of an object.
func (a *areas) locate(o model.Object) {
	switch o := o.(type) {
	case *model.Binding:
		if ls, ok := a.switchOf[o.Port]; ok {
			a.at(switchRef(ls), o.Chassis)
		}
	case *model.LogicalSwitchPort:
		a.at(switchRef(o.Switch), o.Chassis)
	case *model.LogicalRouter:
		a.at(o.Ref(), o.Chassis)
	}
}

// at notes that a chassis is in the area of a switch or router; "" is none.
func (a *areas) at(where model.Ref, chassis string) {
	if chassis != "" {
		a.members[a.island.of(where)] = append(a.members[a.island.of(where)], chassis)
	}
}

// mark notes whom an object that differs concerns.
func (a *areas) mark(o model.Object) {
	switch o := o.(type) {
	case *model.Binding:
		a.affected[o.Chassis] = true
		if ls, ok := a.switchOf[o.Port]; ok {
			a.markIsland(switchRef(ls))
		}
	case *model.LogicalSwitchPort:
		if b, ok := a.objects[model.Ref{Kind: model.KindBinding, Name: o.Name}].(*model.Binding); ok {
			a.affected[b.Chassis] = true
		}
		if o.Type == model.PortRouter {
			a.markWide(switchRef(o.Switch))
			return
		}
		if o.Chassis != "" {
			a.affected[o.Chassis] = true
		}
		a.markIsland(switchRef(o.Switch))
	case *model.LogicalSwitch:
		a.markWide(o.Ref())
	case *model.LogicalRouter:
		if o.Chassis != "" {
			a.affected[o.Chassis] = true
			a.markChassis(func(c *model.Chassis) bool { return c.Gateway })
		}
		a.markWide(o.Ref())
	case *model.LogicalRouterPort:
		a.markWide(routerRef(o.Router))
		if ls, ok := a.switchOf[o.Peer]; ok {
			a.markWide(switchRef(ls))
		}
	case *model.StaticRoute:
		a.markWide(routerRef(o.Router))
	case *model.NATRule:
		a.markNAT(o)
	case *model.Chassis:
		a.affected[o.Name] = true
		a.markChassis(func(*model.Chassis) bool { return true })
	}
}

func (a *areas) markNAT(n *model.NATRule) {
	a.markWide(routerRef(n.Router))
	for _, o := range a.objects {
		if other, ok := o.(*model.NATRule); ok && other.Prefix == n.Prefix {
			a.markWide(routerRef(other.Router))
		}
	}
}

func (a *areas) markChassis(which func(*model.Chassis) bool) {
	for _, o := range a.objects {
		if c, ok := o.(*model.Chassis); ok && which(c) {
			a.affected[c.Name] = true
		}
	}
}

func (a *areas) markIsland(where model.Ref) {
	for _, c := range a.members[a.island.of(where)] {
		a.affected[c] = true
	}
}

func (a *areas) markWide(where model.Ref) {
	all := a.wide.of(where)
	a.markIsland(where)
	for island, chassis := range a.members {
		if a.wide.of(island) == all {
			for _, c := range chassis {
				a.affected[c] = true
			}
		}
	}
}

// groups is a partition of switches and routers into sets (union-find). A set goes by one of its members.
type groups map[model.Ref]model.Ref

func (g groups) of(r model.Ref) model.Ref {
	root := r
	for {
		up, ok := g[root]
		if !ok || up == root {
			break
		}
		root = up
	}
	for r != root { // shorten the way for the next time
		r, g[r] = g[r], root
	}
	return root
}

func (g groups) join(a, b model.Ref) {
	if x, y := g.of(a), g.of(b); x != y {
		g[x] = y
	}
}
