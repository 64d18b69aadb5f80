package compile

import (
	"net/netip"
	"slices"

	"tuplenet/flows/memo"
	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
	"tuplenet/model"
)

// compileLocal makes what the chassis of a port needs besides: who is behind the interface, what it may send, and the
// way out to it.
func compileLocal(r memo.Reader, id string) Output {
	var o Output
	p := getPort(r, id)
	if p == nil {
		return o
	}
	ls := getSwitch(r, p.Switch)
	if ls == nil {
		o.Problems = []model.Problem{{Key: FactKey(p.Ref()).String(), Reason: `switch "` + p.Switch + `" does not exist`}}
		return o
	}
	ofport := get[Interface](r, KindInterface, p.Name).OFPort
	if ofport == 0 || p.Type == model.PortRouter {
		return o
	}
	if isMulticast(ls) && (ls.Admits(p) != nil || uplinkOf(r, ls) == 0) {
		return o
	}
	enter := []of.Action{pipeline.Datapath.Load(uint64(ls.VNI)), pipeline.InPort.Load(uint64(p.Key)), pipeline.To(pipeline.PortSecurity)}
	if getNode(r).OnDemand {
		enter = slices.Insert(enter, 0, pipeline.Ingress.Load(uint64(ofport)))
		o.add(pipeline.AskOfPort.Flow(pipeline.Ingress.Is(of.Match{}, uint64(ofport)), pipeline.AskDaemon(ofport)))
	}
	o.add(
		pipeline.LocalPort.Flow(of.Match{}.Eq(of.InPort, of.U(uint64(ofport))), enter...),
		pipeline.Output.Flow(pipeline.OutPort.Is(pipeline.Datapath.Is(of.Match{}, uint64(ls.VNI)), uint64(p.Key)), of.Output{Port: ofport}),
	)
	symmetricReturnOf(r, &o, p, ls)
	from := pipeline.InPort.Is(pipeline.Datapath.Is(of.Match{}, uint64(ls.VNI)), uint64(p.Key))
	next := pipeline.Responder
	if p.Learns() && learns(r, ls) {
		next = pipeline.Source
		learnFromPort(&o, from, p, ls)
	}
	secure(&o, from, p, pipeline.To(next))
	for _, ip := range addresses(p) {
		if ip.Is4() {
			o.add(pipeline.OwnAddressAsked.Flow(from.ARP().Eq(of.ARPOp, of.U(arpRequest)).Eq(of.ARPTPA, of.Addr(ip))))
		} else {
			o.add(pipeline.OwnAddressAsked.Flow(from.ICMP6().Eq(of.ICMPv6Type, of.U(icmp6NS)).Eq(of.NDTarget, of.Addr(ip))))
		}
	}
	return o
}

// addresses are the declared addresses of a port and, if it speaks IPv6, the link-local one of its MAC.
func addresses(p *model.LogicalSwitchPort) []netip.Addr {
	if !hasIPv6(p.IPs) {
		return p.IPs
	}
	return append(p.IPs[:len(p.IPs):len(p.IPs)], p.MAC.LinkLocal())
}

// secure lets a port send from its own MAC and addresses only. Without declared addresses only the MAC is checked.
func secure(o *Output, from of.Match, p *model.LogicalSwitchPort, next of.Action) {
	if p.NoPortSecurity || p.Type == model.PortPatch {
		o.add(pipeline.Unchecked.Flow(from, next))
		return
	}
	mac := from.Eq(of.EthSrc, of.MAC(p.MAC))
	o.add(pipeline.OwnMAC.Flow(mac, next))
	if len(p.IPs) == 0 {
		return
	}
	for _, other := range []of.Match{from.ARP(), from.IPv4(), from.IPv6()} {
		o.add(pipeline.SpoofedAddress.Flow(other))
	}
	var v4, v6 bool
	for _, ip := range addresses(p) {
		if ip.Is4() {
			v4 = true
			o.add(
				pipeline.OwnIPv4.Flow(mac.IPv4().Eq(of.IPSrc, of.Addr(ip)), next),
				pipeline.OwnARP.Flow(mac.ARP().Eq(of.ARPSHA, of.MAC(p.MAC)).Eq(of.ARPSPA, of.Addr(ip)), next))
			continue
		}
		v6 = true
		o.add(pipeline.OwnIPv6.Flow(mac.IPv6().Eq(of.IPv6Src, of.Addr(ip)), next))
		secureND(o, mac, p, ip, next)
	}
	if v4 {
		unset := of.Addr(netip.IPv4Unspecified())
		o.add(
			pipeline.OwnARP.Flow(mac.ARP().Eq(of.ARPSHA, of.MAC(p.MAC)).Eq(of.ARPSPA, unset), next),
			pipeline.DHCPRequest.Flow(mac.UDP4().Eq(of.IPSrc, unset).Eq(of.IPDst, of.U(0xffffffff)).Eq(of.UDPSrc, of.U(68)).Eq(of.UDPDst, of.U(67)), next))
	}
	if v6 {
		for _, t := range []uint64{icmp6NS, icmp6NA} {
			o.add(pipeline.SpoofedND.Flow(from.ICMP6().Eq(of.ICMPv6Type, of.U(t))))
		}
		unset := of.Addr(netip.IPv6Unspecified())
		for _, t := range []uint64{icmp6RS, icmp6MLDReport, icmp6MLDDone, icmp6MLDv2Report} {
			o.add(pipeline.UnspecifiedIPv6.Flow(mac.ICMP6().Eq(of.IPv6Src, unset).Eq(of.ICMPv6Type, of.U(t)), next))
		}
		o.add(pipeline.OwnND.Flow(mac.NDSolicit().Eq(of.IPv6Src, unset), next)) // duplicate address detection
	}
}

// secureND admits solicitations from, and advertisements of, one of the port's addresses, with its MAC or without one.
func secureND(o *Output, mac of.Match, p *model.LogicalSwitchPort, ip netip.Addr, next of.Action) {
	for _, lladdr := range []of.Value{of.MAC(p.MAC), of.U(0)} {
		o.add(
			pipeline.OwnND.Flow(mac.NDSolicit().Eq(of.IPv6Src, of.Addr(ip)).Eq(of.NDSLL, lladdr), next),
			pipeline.OwnND.Flow(mac.NDAdvertise().Eq(of.NDTarget, of.Addr(ip)).Eq(of.NDTLL, lladdr), next))
	}
}
