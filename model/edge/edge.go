// Package edge knows which objects make an edge: the way from the virtual networks through one chassis to the physical
// world. It turns what an operator says of an edge into objects, compares them with those that exist, and finds what has
// to go when an edge is removed. It is pure: whoever calls it (tpctl) reads and writes the store.
//
// An edge of the name edge1 is, as the tutorial builds it by hand:
//
//	LR-edge1                  router, pinned to the chassis
//	m1                        switch between the central router and LR-edge1
//	outside1                  switch with LR-edge1 and the patch port patchport-outside1 to the physical bridge
//	to_outside1               default route of the central router to LR-edge1; those of all edges are one ECMP route
//	to_virt1, to_ext_world1   routes of LR-edge1 to the virtual networks and to the physical gateway
//	snat_rule1                NAT rule of LR-edge1 for the virtual networks
//
// Further routes and rules of the same sort (another family, another virtual network) end in _2, _3 and so on.
package edge

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"tuplenet/model"
)

// Reasons that a caller branches on, with errors.Is.
var (
	ErrInvalid  = errors.New("invalid edge")
	ErrNotFound = errors.New("edge not found")
	ErrConflict = errors.New("edge in conflict with what exists")
	ErrInUse    = errors.New("edge in use")
)

// refusal is an error with a text of its own and a reason to branch on.
type refusal struct {
	reason error
	text   string
}

func (e *refusal) Error() string { return e.text }
func (e *refusal) Unwrap() error { return e.reason }

func refuse(reason error, format string, args ...any) error {
	return &refusal{reason, fmt.Sprintf(format, args...)}
}

// MaxVirt is the largest number of virtual networks of an edge: all objects of an edge fit into one transaction.
const MaxVirt = 8

// Path is an edge as an operator describes it. Of VIP, Inner and Gateway there is one of each family that the edge has.
type Path struct {
	// Name of the edge, such as edge1.
	Name string
	// Chassis that the edge is on: its system-id.
	Chassis string
	// Central is the router that the virtual networks are linked to.
	Central string
	// MakeCentral: the central router is made if it does not exist.
	MakeCentral bool
	// VIP is the address of the edge in the physical network, with the length of its prefix.
	VIP []netip.Prefix
	// Bridge is the OVS bridge to the physical network; empty: the patch pair is made by hand.
	Bridge string
	// Virt are the virtual networks, masked.
	Virt []netip.Prefix
	// Inner is the network between central router and edge, masked. All edges may have the same one.
	Inner []netip.Prefix
	// Gateway is the router of the physical network.
	Gateway []netip.Addr
	// SNAT are the sources of connections to the outside, at most one of a family; a family without is not translated.
	SNAT []netip.Addr
}

// Names are the names of the objects of an edge.
type Names struct {
	Router, Inner, Outside, Patch          string
	ToOutside, ToVirt, ToExtWorld, NATRule string
}

// NamesOf are the names of an edge's objects: of edge1, LR-edge1, m1, outside1 …; of one that is not called "edge" and
// something, such as paris, LR-paris, m-paris, outside-paris ….
func NamesOf(name string) Names {
	suffix, ok := strings.CutPrefix(name, "edge")
	if !ok || suffix == "" {
		suffix = "-" + name
	}
	return Names{
		Router: "LR-" + name, Inner: "m" + suffix, Outside: "outside" + suffix, Patch: "patchport-outside" + suffix,
		ToOutside: "to_outside" + suffix, ToVirt: "to_virt" + suffix, ToExtWorld: "to_ext_world" + suffix, NATRule: "snat_rule" + suffix,
	}
}

// numbered is the name of the i-th of several objects of the same sort, from 0.
func numbered(name string, i int) string {
	if i == 0 {
		return name
	}
	return fmt.Sprintf("%s_%d", name, i+1)
}

// Validate checks the names and that the parts fit together.
func (p *Path) Validate() error {
	for _, name := range []string{p.Name, p.Chassis, p.Central} {
		if err := model.ValidateName(name); err != nil {
			return refuse(ErrInvalid, "%s", err)
		}
	}
	if len(p.VIP) == 0 || len(p.VIP) > 2 || len(p.VIP) == 2 && is4(p.VIP[0]) == is4(p.VIP[1]) {
		return refuse(ErrInvalid, "invalid vip: an edge has one address, or one of each family")
	}
	if len(p.Virt) == 0 || len(p.Virt) > MaxVirt {
		return refuse(ErrInvalid, "invalid virt: an edge has 1 to %d virtual networks, not %d", MaxVirt, len(p.Virt))
	}
	for _, v := range p.Virt {
		if p.vip(v.Addr()) == nil {
			return refuse(ErrInvalid, "invalid virt %s: the edge has no vip of this family", v)
		}
	}
	if err := p.validateInner(); err != nil {
		return err
	}
	return p.validateOutside()
}

func is4(p netip.Prefix) bool { return p.Addr().Is4() }

// vip is the address of the edge that is of the family of a.
func (p *Path) vip(a netip.Addr) *netip.Prefix {
	if i := slices.IndexFunc(p.VIP, func(v netip.Prefix) bool { return is4(v) == a.Is4() }); i >= 0 {
		return &p.VIP[i]
	}
	return nil
}

func (p *Path) validateInner() error {
	if len(p.Inner) != len(p.VIP) {
		return refuse(ErrInvalid, "invalid inner: it has one network of each family that the vip has")
	}
	for i, n := range p.Inner {
		switch {
		case n != n.Masked():
			return refuse(ErrInvalid, "invalid inner %s: bits are set behind the prefix, the network is %s", n, n.Masked())
		case p.vip(n.Addr()) == nil || i == 1 && is4(n) == is4(p.Inner[0]):
			return refuse(ErrInvalid, "invalid inner %s: it has one network of each family that the vip has", n)
		case n.Addr().BitLen()-n.Bits() < 2:
			return refuse(ErrInvalid, "invalid inner %s: two routers do not fit", n)
		}
	}
	return nil
}

func (p *Path) validateOutside() error {
	if len(p.Gateway) != len(p.VIP) {
		return refuse(ErrInvalid, "invalid ext-gw: there is one of each family that the vip has")
	}
	for i, g := range p.Gateway {
		v := p.vip(g)
		switch {
		case v == nil || i == 1 && g.Is4() == p.Gateway[0].Is4():
			return refuse(ErrInvalid, "invalid ext-gw %s: there is one of each family that the vip has", g)
		case v.Addr() == g:
			return refuse(ErrInvalid, "invalid ext-gw %s: it is the vip", g)
		case !v.Contains(g) && !g.IsLinkLocalUnicast():
			return refuse(ErrInvalid, "invalid ext-gw %s: it is not in the network of the vip %s", g, v)
		}
	}
	for i, a := range p.SNAT {
		if p.vip(a) == nil || i == 1 && a.Is4() == p.SNAT[0].Is4() || i > 1 {
			return refuse(ErrInvalid, "invalid snat %s: there is at most one of each family that the vip has", a)
		}
	}
	return nil
}

// Plan compares the objects of an edge with those that exist. missing are to be added, in one transaction; present exist
// and are as they should be. Errors: ErrInvalid, ErrNotFound (no central router), ErrConflict (an object exists and says
// something else, or no inner address is free).
func (p *Path) Plan(have map[model.Ref]model.Object) (missing, present []model.Object, err error) {
	if err := p.Validate(); err != nil {
		return nil, nil, err
	}
	central, exists := have[model.Ref{Kind: model.KindRouter, Name: p.Central}].(*model.LogicalRouter)
	switch {
	case !exists && !p.MakeCentral:
		return nil, nil, refuse(ErrNotFound, `router %s not found: "edge init" makes the first edge and the router`, p.Central)
	case exists && central.Chassis != "":
		return nil, nil, refuse(ErrConflict, "router %s is pinned to chassis %s: the central router is on all", p.Central, central.Chassis)
	}
	wanted, err := p.objects(have)
	if err != nil {
		return nil, nil, err
	}
	for _, o := range wanted {
		old, ok := have[o.Ref()]
		switch {
		case !ok:
			missing = append(missing, o)
		case !same(o, old):
			return nil, nil, refuse(ErrConflict, "%s %s exists and is not that of edge %s", o.Ref().Kind.Noun(), o.Ref().Name, p.Name)
		default:
			present = append(present, o)
		}
	}
	return missing, present, nil
}

// objects are those of the edge, what others refer to first.
func (p *Path) objects(have map[model.Ref]model.Object) ([]model.Object, error) {
	n := NamesOf(p.Name)
	centre, edge, err := p.innerAddresses(have)
	if err != nil {
		return nil, err
	}
	centrePort, centreSide := model.NewLink(p.Central, n.Inner, centre)
	edgePort, edgeSide := model.NewLink(n.Router, n.Inner, edge)
	outPort, outSide := model.NewLink(n.Router, n.Outside, p.VIP)
	patch := &model.LogicalSwitchPort{Switch: n.Outside, Name: n.Patch, Type: model.PortPatch}
	if p.Bridge != "" {
		patch.Chassis, patch.Bridge = p.Chassis, p.Bridge
	}
	out := []model.Object{
		&model.LogicalRouter{Name: n.Router, Chassis: p.Chassis},
		&model.LogicalSwitch{Name: n.Inner}, &model.LogicalSwitch{Name: n.Outside},
		centrePort, centreSide, edgePort, edgeSide, outPort, outSide, patch,
	}
	if p.MakeCentral {
		out = append([]model.Object{&model.LogicalRouter{Name: p.Central}}, out...)
	}
	for i := range p.VIP {
		def := defaultOf(edge[i].Addr())
		out = append(out, &model.StaticRoute{Router: p.Central, Name: numbered(n.ToOutside, i), Prefix: def, NextHop: edge[i].Addr(), OutPort: centrePort.Name})
	}
	for i, v := range p.Virt {
		out = append(out, &model.StaticRoute{Router: n.Router, Name: numbered(n.ToVirt, i), Prefix: v, NextHop: ofFamily(centre, v.Addr()), OutPort: edgePort.Name})
	}
	for i, g := range p.Gateway {
		out = append(out, &model.StaticRoute{Router: n.Router, Name: numbered(n.ToExtWorld, i), Prefix: defaultOf(g), NextHop: g, OutPort: outPort.Name})
	}
	return append(out, p.translations(n)...), nil
}

// translations are the NAT rules of the edge.
func (p *Path) translations(n Names) (out []model.Object) {
	for _, v := range p.Virt {
		for _, a := range p.SNAT {
			if a.Is4() == is4(v) {
				out = append(out, &model.NATRule{Router: n.Router, Name: numbered(n.NATRule, len(out)), Type: model.NATSource, Prefix: v, External: a})
			}
		}
	}
	return out
}

func defaultOf(a netip.Addr) netip.Prefix {
	if a.Is4() {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}

func ofFamily(nets []netip.Prefix, a netip.Addr) netip.Addr {
	for _, n := range nets {
		if is4(n) == a.Is4() {
			return n.Addr()
		}
	}
	return netip.Addr{}
}

// innerAddresses are those of the central router and of the edge on the switch between them: in each inner network the
// second address for the edge, and of the others the lowest that the central router does not have yet. A link that
// exists keeps its addresses.
func (p *Path) innerAddresses(have map[model.Ref]model.Object) (centre, edge []netip.Prefix, err error) {
	name := p.Central + "_to_" + NamesOf(p.Name).Inner
	taken := map[netip.Addr]bool{}
	for ref, o := range have {
		port, ok := o.(*model.LogicalRouterPort)
		if !ok || ref.Parent != p.Central {
			continue
		}
		if port.Name == name {
			centre = port.Networks
		}
		for _, n := range port.Networks {
			taken[n.Addr()] = true
		}
	}
	kept := centre != nil
	for i, n := range p.Inner {
		first := n.Addr().Next()
		second := first.Next()
		edge = append(edge, netip.PrefixFrom(second, n.Bits()))
		if kept {
			if i >= len(centre) || centre[i].Masked() != n {
				return nil, nil, refuse(ErrConflict, "port %s exists and is not in %s", name, n)
			}
			continue
		}
		a := first
		for a == second || taken[a] {
			a = a.Next()
		}
		if !n.Contains(a) || a.Is4() && !n.Contains(a.Next()) { // the last one is broadcast
			return nil, nil, refuse(ErrConflict, "no address is left in %s for another link of %s: give the edge an inner network of its own", n, p.Central)
		}
		centre = append(centre, netip.PrefixFrom(a, n.Bits()))
	}
	return centre, edge, nil
}

// same reports whether an object that exists says what the wanted one does; numbers and MACs are the store's.
func same(want, have model.Object) bool {
	switch w := want.(type) {
	case *model.LogicalRouter:
		h := have.(*model.LogicalRouter)
		return w.Chassis == h.Chassis
	case *model.LogicalRouterPort:
		h := have.(*model.LogicalRouterPort)
		return slices.Equal(w.Networks, h.Networks) && w.Peer == h.Peer
	case *model.LogicalSwitchPort:
		h := have.(*model.LogicalSwitchPort)
		return w.Type == h.Type && slices.Equal(w.IPs, h.IPs) && w.Peer == h.Peer && w.Chassis == h.Chassis && w.Bridge == h.Bridge
	case *model.StaticRoute:
		h := have.(*model.StaticRoute)
		return w.Prefix == h.Prefix && w.NextHop == h.NextHop && w.OutPort == h.OutPort
	case *model.NATRule:
		h := have.(*model.NATRule)
		return w.Type == h.Type && w.Prefix == h.Prefix && w.External == h.External
	}
	return true // a switch is a switch
}
