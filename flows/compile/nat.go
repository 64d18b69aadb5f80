package compile

import (
	"net/netip"
	"slices"

	"tuplenet/flows/memo"
	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
	"tuplenet/model"
)

// compileNAT makes one rule: on the chassis of the router the translation, and wherever the external address may be
// asked for the answer.
func compileNAT(r memo.Reader, id string) Output {
	var o Output
	n := get[*model.NATRule](r, string(model.KindNAT), id)
	if n == nil {
		return o
	}
	lr := getRouter(r, n.Router)
	if lr == nil {
		return o
	}
	if lr.Chassis == "" {
		o.Problems = []model.Problem{{Key: FactKey(n.Ref()).String(), Reason: `router "` + lr.Name + `" is not pinned to a chassis`}}
		return o
	}
	answerExternal(r, &o, lr, n.External)
	if n.FromOutside() {
		symmetricReturn(r, &o, lr, n)
	}
	if !worksHere(r, lr) {
		return o
	}
	in := pipeline.Datapath.Is(of.Match{}, uint64(lr.ID))
	zone := natZone(lr.ID)
	if n.FromInside() {
		translateSource(&o, in, zone, n)
	}
	if n.FromOutside() {
		translateDestination(r, &o, in, zone, lr, n)
	}
	if insideMTU(r, lr) > 0 {
		o.add(pipeline.CheckExternal.Flow(toPrefix(in, host(n.External)), larger(insideMTU(r, lr)), pipeline.To(pipeline.ExternalSize)))
	}
	if !isOwn(r, lr, n.External) {
		o.add(pipeline.ForExternal.Flow(toPrefix(in, host(n.External))))
	}
	o.rare().Translations = []Translation{{Type: n.Type, Inside: n.Prefix, External: n.External, InZone: zone.dnat, OutZone: zone.snat}}
	return o
}

// translateSource gives connections from inside the external address.
func translateSource(o *Output, in of.Match, zone zones, n *model.NATRule) {
	bits, from := uint16(n.Prefix.Bits()), fromPrefix(in, n.Prefix)
	leave := of.CT{Commit: true, Zone: zone.snat, NAT: &of.NAT{Type: of.NATSrc, AddrMin: n.External}}
	o.add(
		pipeline.Unsnat.Flow(toPrefix(in, host(n.External)), ct(of.CT{Zone: zone.snat, NAT: &of.NAT{Type: of.NATExisting}}, pipeline.DNAT)),
		pipeline.Snat.FlowAt(bits, from, ct(leave, pipeline.Translated)),
		pipeline.RenumberedPing.FlowAt(bits, pipeline.Renumbered.Is(from, 1), ct(renumbered(leave), pipeline.Translated)),
		pipeline.Untranslated.FlowAt(bits, from))
}

// renumbered remembers with a connection which identifier the sender of a ping knows.
func renumbered(c of.CT) of.CT {
	c.Exec = []of.Action{
		of.CopyField{Src: pipeline.PingID.Sub, Dst: pipeline.MarkPingID},
		of.CopyField{Src: pipeline.Renumbered.Sub, Dst: pipeline.MarkRenumbered},
	}
	return c
}

// translateDestination leads connections to the external address inside.
func translateDestination(r memo.Reader, o *Output, in of.Match, zone zones, lr *model.LogicalRouter, n *model.NATRule) {
	var enter []of.Action
	edges := edgesOf(r, n.Prefix)
	if len(edges) > 1 {
		enter = append(enter, pipeline.FromEdge.Load(pipeline.EdgeNumber(uint64(lr.ID))))
	}
	hairpin := of.CT{Commit: true, Zone: zone.snat, NAT: &of.NAT{Type: of.NATSrc, AddrMin: n.External}}
	known := of.CT{Zone: zone.dnat, NAT: &of.NAT{Type: of.NATExisting}}
	o.add(
		pipeline.Dnat.Flow(toPrefix(in, host(n.External)),
			append(enter, ct(of.CT{Commit: true, Zone: zone.dnat, NAT: &of.NAT{Type: of.NATDst, AddrMin: n.Prefix.Addr()}}, pipeline.RouterLocal))...),
		pipeline.Undnat.Flow(fromPrefix(in, n.Prefix), ct(known, pipeline.SNAT)),
		pipeline.HairpinSnat.Flow(sentTo(dnatted(in), n.External), ct(hairpin, pipeline.Translated)))
	if slices.Contains(edges, n) { // what it was sent to is not known any more: the first external address of the inside one will do
		o.add(pipeline.RenumberedHairpin.Flow(pipeline.Renumbered.Is(toPrefix(in, n.Prefix), 1), ct(renumbered(hairpin), pipeline.Translated)))
	}
	if !n.FromInside() { // the answers of hairpins
		o.add(pipeline.Unsnat.Flow(fromPrefix(toPrefix(in, host(n.External)), n.Prefix), ct(of.CT{Zone: zone.snat, NAT: &of.NAT{Type: of.NATExisting}}, pipeline.DNAT)))
	}
}

// compileTranslating makes what a router has once if it translates at all. Answers of translated connections are not
// translated once more: an answer of an inside address that has just become an external one, or of the outside, may be from
// a network whose connections are translated, above all if that is every network. The same holds for what the router says.
func compileTranslating(r memo.Reader, o *Output, lr *model.LogicalRouter) {
	var source, destination bool
	for _, k := range r.List(indexNAT, lr.Name) {
		if n := get[*model.NATRule](r, string(model.KindNAT), k.ID); n != nil {
			source, destination = source || n.FromInside(), destination || n.FromOutside()
		}
		if source && destination {
			break
		}
	}
	if lr.Chassis == "" || !source && !destination {
		return
	}
	in := pipeline.Datapath.Is(of.Match{}, uint64(lr.ID))
	answer := of.U(of.CTTrk | of.CTRpl)
	exceeded(o, in, insideMTU(r, lr))
	o.add(pipeline.Answer.Flow(in.Masked(of.CTState, answer, answer), pipeline.To(pipeline.RouterOut)))
	zone := natZone(lr.ID)
	if destination {
		hairpins(r, o, in, lr.Name)
		for _, e := range icmpErrors(in) {
			o.add(pipeline.UndnatError.Flow(e, ct(of.CT{Zone: zone.dnat, NAT: &of.NAT{Type: of.NATExisting}}, pipeline.SNAT)))
		}
	}
	o.add(
		pipeline.RestoredPing.Flow(pipeline.Restored.Is(in, 1), pipeline.To(pipeline.RouterOut)),
		pipeline.RenumberedOther.Flow(pipeline.Renumbered.Is(in, 1), pipeline.To(pipeline.Hairpin)),
		pipeline.RenumberedLost.Flow(pipeline.Renumbered.Is(in, 1)))
	for _, m := range []of.Match{in.ICMP4().Eq(of.ICMPType, of.U(icmpEchoReply)), in.ICMP6().Eq(of.ICMPv6Type, of.U(icmp6EchoReply))} {
		o.add(pipeline.PingReply.Flow(m.Subfield(pipeline.MarkRenumbered, 1),
			of.CopyField{Src: pipeline.MarkPingID, Dst: pipeline.PingID.Sub}, pipeline.ToDaemon(pipeline.PuntPingReply)))
	}
	if !source {
		return
	}
	for _, k := range r.List(indexRouterPorts, lr.Name) {
		rp := getRouterPort(r, k.ID)
		for _, n := range rp.Networks {
			own := host(n.Addr())
			o.add(pipeline.RouterSays.Flow(fromPrefix(in, own), pipeline.To(pipeline.RouterOut)))
			if !n.Addr().Is4() {
				continue
			}
			for _, e := range icmpErrors(in) {
				o.add(pipeline.RouterError.Flow(fromPrefix(e, own), ct(of.CT{Zone: zone.snat, NAT: &of.NAT{Type: of.NATExisting}}, pipeline.RouterOut)))
			}
		}
	}
}

// icmpErrors match the errors of IPv4 that quote a packet (RFC 792). Those of IPv6 are left as they are: the userspace datapath of
// Open vSwitch 3.1 damages what they quote of TCP and UDP when it translates it.
func icmpErrors(in of.Match) (errors []of.Match) {
	for _, t := range []uint64{icmpUnreachable, icmpTimeExceeded, icmpParameter} {
		errors = append(errors, in.ICMP4().Eq(of.ICMPType, of.U(t)))
	}
	return errors
}

// forgetConnection is what a packet does as it leaves a router that translates: what the tracking of one router says is
// nothing to the next.
func forgetConnection(lr *model.LogicalRouter) []of.Action {
	if lr.Chassis == "" {
		return nil
	}
	return []of.Action{of.CTClear{}, of.SetReg(of.Reg11, 0)}
}

// ct passes the packet through connection tracking and goes on in a table.
func ct(c of.CT, next pipeline.Table) of.Action {
	c.Table = &next.ID
	return c
}

// zones are the conntrack zones of a router, or of a switch (which needs only one): connections to inside addresses and from them are kept apart, so that both
// may be translated in one packet (a hairpin).
type zones struct{ dnat, snat uint16 }

// natZone derives the zones from the id of the router or switch, so that they survive everything. Routers whose ids are equal modulo
// maxNATRouters share them.
func natZone(id model.VNI) zones {
	base := uint16(uint32(id)%maxNATRouters)*2 + 2
	return zones{dnat: base, snat: base + 1}
}

const maxNATRouters = 32766

// answerExternal answers ARP and ND for an external address on the switch whose network it belongs to.
func answerExternal(r memo.Reader, o *Output, lr *model.LogicalRouter, ip netip.Addr) {
	for _, k := range r.List(indexRouterPorts, lr.Name) {
		rp := getRouterPort(r, k.ID)
		if rp == nil || !onNetwork(rp, ip) {
			continue
		}
		if peer := switchPeer(r, rp); peer != nil {
			if ls := getSwitch(r, peer.Switch); ls != nil {
				answer(o, pipeline.Datapath.Is(of.Match{}, uint64(ls.VNI)), rp.MAC, ip, true)
				announce(r, o, lr, rp, ls, peer, ip)
			}
		}
	}
}

// announce asks for an address of a pinned router to be made known in the physical network behind a switch.
func announce(r memo.Reader, o *Output, lr *model.LogicalRouter, rp *model.LogicalRouterPort, ls *model.LogicalSwitch, peer *model.LogicalSwitchPort, ip netip.Addr) {
	if lr.Chassis != "" && worksHere(r, lr) && hasPatch(r, ls.Name) {
		o.rare().Announce = append(o.rare().Announce, Announcement{VNI: ls.VNI, Port: peer.Key, MAC: rp.MAC, IP: ip, Router: true})
	}
}

// onNetwork tells whether an address is on a network of a port, and not the port's own.
func onNetwork(rp *model.LogicalRouterPort, ip netip.Addr) bool {
	on := false
	for _, n := range rp.Networks {
		if n.Addr() == ip {
			return false // answered already
		}
		on = on || n.Contains(ip)
	}
	return on
}

// isOwn tells whether an address is one of a router's ports.
func isOwn(r memo.Reader, lr *model.LogicalRouter, ip netip.Addr) bool {
	for _, k := range r.List(indexRouterPorts, lr.Name) {
		if rp := getRouterPort(r, k.ID); rp != nil && hasAddress(rp, ip) {
			return true
		}
	}
	return false
}

func host(ip netip.Addr) netip.Prefix { return netip.PrefixFrom(ip, ip.BitLen()) }

func fromPrefix(in of.Match, p netip.Prefix) of.Match {
	if p.Addr().Is4() {
		return in.IPv4().Prefix(of.IPSrc, p)
	}
	return in.IPv6().Prefix(of.IPv6Src, p)
}
