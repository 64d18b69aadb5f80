package edge

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"tuplenet/model"
)

// Found is an edge that exists.
type Found struct {
	Name, Chassis string
	VIP           []netip.Prefix
}

// All are the edges that exist, made by this package or by hand with the same names: pinned routers LR-<name> that are
// linked to a switch outside. Sorted by name.
func All(have map[model.Ref]model.Object) (out []Found) {
	for _, o := range have {
		lr, ok := o.(*model.LogicalRouter)
		if !ok || lr.Chassis == "" {
			continue
		}
		name, ok := strings.CutPrefix(lr.Name, "LR-")
		if !ok || name == "" {
			continue
		}
		ref := model.Ref{Kind: model.KindRouterPort, Parent: lr.Name, Name: lr.Name + "_to_" + NamesOf(name).Outside}
		if port, ok := have[ref].(*model.LogicalRouterPort); ok {
			out = append(out, Found{name, lr.Chassis, port.Networks})
		}
	}
	slices.SortFunc(out, func(a, b Found) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// NameFor is the name of the edge that exists on the chassis with the same addresses outside, so that a command may be
// repeated; else the first of edge1, edge2 … of which no name is used.
func NameFor(have map[model.Ref]model.Object, chassis string, vip []netip.Prefix) string {
	for _, e := range All(have) {
		if e.Chassis == chassis && slices.Equal(e.VIP, vip) {
			return e.Name
		}
	}
	used := map[string]bool{}
	for ref := range have {
		used[ref.Name] = true
	}
	for i := 1; ; i++ {
		name := fmt.Sprintf("edge%d", i)
		n := NamesOf(name)
		all := []string{n.Router, n.Inner, n.Outside, n.Patch, n.ToOutside, n.ToVirt, n.ToExtWorld, n.NATRule}
		if !slices.ContainsFunc(all, func(name string) bool { return used[name] }) {
			return name
		}
	}
}

// Find is the name of the one edge that is on a chassis and has an address outside; neither has to be given. Errors:
// ErrNotFound, ErrConflict (several).
func Find(have map[model.Ref]model.Object, chassis string, vip netip.Addr) (string, error) {
	var names []string
	for _, e := range All(have) {
		if chassis != "" && e.Chassis != chassis {
			continue
		}
		if vip.IsValid() && !slices.ContainsFunc(e.VIP, func(p netip.Prefix) bool { return p.Addr() == vip }) {
			continue
		}
		names = append(names, e.Name)
	}
	switch len(names) {
	case 0:
		return "", refuse(ErrNotFound, "edge not found: there is none with that chassis and vip")
	case 1:
		return names[0], nil
	}
	return "", refuse(ErrConflict, "several edges fit, say which with --name: %s", strings.Join(names, ", "))
}

// Removal is what has to go with an edge.
type Removal struct {
	// Drain are the routes of other routers through the edge: once they are gone everywhere, no traffic enters it.
	Drain []model.Ref
	// Rest is everything else, children before what they belong to.
	Rest []model.Ref
}

// Remove finds what has to go with an edge: its router and its two switches with all that belongs to them, the links of
// other routers to it, and the routes through those. Errors: ErrNotFound, ErrInUse (something else is linked to one of
// its switches).
func Remove(have map[model.Ref]model.Object, name string) (*Removal, error) {
	n := NamesOf(name)
	router := model.Ref{Kind: model.KindRouter, Name: n.Router}
	switches := []model.Ref{{Kind: model.KindSwitch, Name: n.Inner}, {Kind: model.KindSwitch, Name: n.Outside}}
	lr, exists := have[router].(*model.LogicalRouter)
	if exists && lr.Chassis == "" {
		return nil, refuse(ErrConflict, "router %s is not pinned to a chassis, so it is no edge", n.Router)
	}
	if !exists && have[switches[0]] == nil && have[switches[1]] == nil {
		return nil, refuse(ErrNotFound, "edge %s not found", name)
	}
	goes := map[model.Ref]bool{}
	out := &Removal{}
	for _, ref := range append([]model.Ref{router}, switches...) {
		if have[ref] != nil {
			goes[ref] = true
		}
	}
	for ref, o := range have {
		if err := members(have, n, ref, o, goes); err != nil {
			return nil, err
		}
	}
	for ref, o := range have {
		if r, ok := o.(*model.StaticRoute); ok && goes[model.Ref{Kind: model.KindRouterPort, Parent: r.Router, Name: r.OutPort}] && r.Router != n.Router {
			out.Drain = append(out.Drain, ref)
		}
	}
	for ref := range goes {
		out.Rest = append(out.Rest, ref)
	}
	slices.SortFunc(out.Drain, compare)
	slices.SortFunc(out.Rest, compare)
	return out, nil
}

// members notes in goes what goes because of one object: what belongs to the edge's router or switches, and the other
// ends of links.
func members(have map[model.Ref]model.Object, n Names, ref model.Ref, o model.Object, goes map[model.Ref]bool) error {
	switch o := o.(type) {
	case *model.StaticRoute, *model.NATRule:
		if ref.Parent == n.Router {
			goes[ref] = true
		}
	case *model.LogicalRouterPort:
		if ref.Parent != n.Router {
			return nil
		}
		goes[ref] = true
		if side := switchSide(have, o); side != nil {
			goes[side.Ref()] = true
		}
	case *model.LogicalSwitchPort:
		if ref.Parent != n.Inner && ref.Parent != n.Outside {
			return nil
		}
		goes[ref] = true
		side := routerSide(have, o)
		if o.Type == model.PortVIF || side != nil && foreign(have, n, ref.Parent, side.Router) {
			return refuse(ErrInUse, "failed to delete %s: there are remaining ports: %s", ref.Parent, o.Name)
		}
		if side != nil {
			goes[side.Ref()] = true
		}
	}
	return nil
}

// foreign reports whether a router that is linked to one of the edge's switches is there for something else: to the one
// outside only the edge's router is linked, to the inner one routers that are not edges themselves.
func foreign(have map[model.Ref]model.Object, n Names, ls, router string) bool {
	if router == n.Router {
		return false
	}
	lr, ok := have[model.Ref{Kind: model.KindRouter, Name: router}].(*model.LogicalRouter)
	return ls == n.Outside || ok && lr.Chassis != ""
}

// switchSide is the switch port at the other end of a link, nil if they do not name each other.
func switchSide(have map[model.Ref]model.Object, p *model.LogicalRouterPort) *model.LogicalSwitchPort {
	for _, o := range have {
		if q, ok := o.(*model.LogicalSwitchPort); ok && q.Name == p.Peer && q.Peer == p.Name {
			return q
		}
	}
	return nil
}

// routerSide is the router port at the other end of a link, nil if they do not name each other.
func routerSide(have map[model.Ref]model.Object, p *model.LogicalSwitchPort) *model.LogicalRouterPort {
	if p.Peer == "" {
		return nil
	}
	for _, o := range have {
		if q, ok := o.(*model.LogicalRouterPort); ok && q.Name == p.Peer && q.Peer == p.Name {
			return q
		}
	}
	return nil
}

// rank orders kinds so that what belongs to something, or needs it, comes first.
func rank(k model.Kind) int {
	return slices.Index([]model.Kind{model.KindNAT, model.KindRoute, model.KindSwitchPort, model.KindRouterPort, model.KindRouter, model.KindSwitch}, k)
}

func compare(a, b model.Ref) int {
	return cmp.Or(cmp.Compare(rank(a.Kind), rank(b.Kind)), cmp.Compare(a.Parent, b.Parent), cmp.Compare(a.Name, b.Name))
}
