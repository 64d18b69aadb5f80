package compile

import (
	"net/netip"

	"tuplenet/flows/memo"
	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
	"tuplenet/model"
)

// compileRouter makes what belongs to a router as a whole.
func compileRouter(r memo.Reader, name string) Output {
	var o Output
	lr := getRouter(r, name)
	if lr == nil {
		return o
	}
	if p := pinProblem(r, lr); p != "" {
		o.Problems = []model.Problem{{Key: FactKey(lr.Ref()).String(), Reason: p}}
	}
	if !worksHere(r, lr) {
		return o
	}
	compileTranslating(r, &o, lr)
	return o
}

// ownAddress makes a router answer echo requests to one of its addresses and refuse everything else to it.
func ownAddress(o *Output, in of.Match, ip netip.Addr) {
	own := of.Addr(ip)
	if ip.Is4() {
		o.add(
			pipeline.RouterSpoofed.Flow(in.IPv4().Eq(of.IPSrc, own)),
			pipeline.EchoReply.Flow(in.ICMP4().Eq(of.IPDst, own).Eq(of.ICMPType, of.U(icmpEchoRequest)).Eq(of.ICMPCode, of.U(0)),
				bounce(of.CopyField{Src: of.Whole(of.IPSrc), Dst: of.Whole(of.IPDst)}, of.Set(of.IPSrc, own), of.Set(of.ICMPType, of.U(icmpEchoReply)))...),
			pipeline.ForRouter.Flow(in.IPv4().Eq(of.IPDst, own)),
		)
		for _, m := range []of.Match{in.TCP4(), in.UDP4()} {
			o.add(pipeline.PortUnreachable.Flow(m.Eq(of.IPDst, own), pipeline.ToDaemon(pipeline.PuntPortUnreachable)))
		}
		return
	}
	o.add(
		pipeline.RouterSpoofed.Flow(in.IPv6().Eq(of.IPv6Src, own)),
		pipeline.EchoReply.Flow(in.ICMP6().Eq(of.IPv6Dst, own).Eq(of.ICMPv6Type, of.U(icmp6EchoRequest)).Eq(of.ICMPv6Code, of.U(0)),
			bounce(of.CopyField{Src: of.Whole(of.IPv6Src), Dst: of.Whole(of.IPv6Dst)}, of.Set(of.IPv6Src, own), of.Set(of.ICMPv6Type, of.U(icmp6EchoReply)))...),
		pipeline.ForRouter.Flow(in.IPv6().Eq(of.IPv6Dst, own)),
	)
	for _, m := range []of.Match{in.TCP6(), in.UDP6()} {
		o.add(pipeline.PortUnreachable.Flow(m.Eq(of.IPv6Dst, own), pipeline.ToDaemon(pipeline.PuntPortUnreachable)))
	}
}

// bounce sends the packet back to the station that it came from, through the same router port, with a fresh TTL.
func bounce(change ...of.Action) []of.Action {
	return append(change,
		of.Set(of.IPTTL, of.U(64)),
		of.CopyField{Src: of.Whole(of.EthSrc), Dst: of.Whole(of.EthDst)},
		of.CopyField{Src: pipeline.InPort.Sub, Dst: pipeline.OutPort.Sub},
		pipeline.To(pipeline.RouterOut))
}

// compileRouterPort makes the addresses of a port the router's own, on whichever port they are asked for, the way out of the router through
// the port, and the routes to the port's networks.
func compileRouterPort(r memo.Reader, id string) Output {
	var o Output
	rp := getRouterPort(r, id)
	if rp == nil {
		return o
	}
	lr := getRouter(r, rp.Router)
	if lr == nil {
		return o
	}
	problem := func(reason string) Output {
		o.Problems = []model.Problem{{Key: FactKey(rp.Ref()).String(), Reason: reason}}
		return o
	}
	in := pipeline.Datapath.Is(of.Match{}, uint64(lr.ID))
	for _, n := range rp.Networks {
		ownAddress(&o, in, n.Addr())
	}
	ownAddress(&o, in, rp.MAC.LinkLocal())
	if rp.Peer == "" {
		return o // not linked yet
	}
	peer := switchPeer(r, rp)
	if peer == nil {
		return problem(`peer "` + rp.Peer + `" is not a switch port that has this port as its peer`)
	}
	ls := getSwitch(r, peer.Switch)
	if ls == nil {
		return problem(`switch "` + peer.Switch + `" of its peer does not exist`)
	}
	for _, n := range rp.Networks {
		if firstOn(r, rp, n) {
			o.add(connected(in, rp, n.Masked()))
		}
		announce(r, &o, lr, rp, ls, peer, n.Addr())
	}
	resolve(r, &o, lr, rp, peer.Switch)
	askForNeighbours(r, &o, lr, rp, ls, peer)
	if carries(r, lr, rp, peer.Switch) {
		o.rare().Carries = []string{peer.Name}
	}
	leave(&o, pipeline.OutPort.Is(in, uint64(rp.Key)), nextMTU(r, lr, ls), append(forgetConnection(lr),
		of.Set(of.EthSrc, of.MAC(rp.MAC)),
		of.CopyField{Src: pipeline.InPort.Sub, Dst: pipeline.RouterPort.Sub},
		pipeline.LastRouter.Load(uint64(lr.ID)),
		pipeline.Datapath.Load(uint64(ls.VNI)),
		pipeline.InPort.Load(uint64(peer.Key)),
		// A routed packet has lost a hop, so it cannot go round for ever: it may enter a tunnel like one that began here,
		// and go back to the interface that it came from.
		pipeline.FromTunnel.Load(0),
		pipeline.Redirected.Load(0),
		of.Set(of.InPort, of.U(0)),
		pipeline.Again(pipeline.L2Lookup)))
	return o
}

// firstOn tells whether a port is the first by name of its router's linked ports on a network: only one can be the way
// to it. (Static routes name their port, so uplinks with the same network work side by side.)
func firstOn(r memo.Reader, rp *model.LogicalRouterPort, n netip.Prefix) bool {
	for _, k := range r.List(indexNetworks, networkOf(rp.Router, n)) {
		if other := getRouterPort(r, k.ID); other.Name < rp.Name && switchPeer(r, other) != nil {
			return false
		}
	}
	return true
}

func connected(in of.Match, rp *model.LogicalRouterPort, n netip.Prefix) pipeline.Flow {
	hop := of.CopyField{Src: of.Whole(of.IPv6Dst), Dst: pipeline.NextHop6.Sub}
	if n.Addr().Is4() {
		hop = of.CopyField{Src: of.Whole(of.IPDst), Dst: pipeline.NextHop4.Sub}
	}
	return pipeline.Connected.FlowAt(routePriority(n, connectedRank), toPrefix(in, n),
		of.DecTTL{}, pipeline.OutPort.Load(uint64(rp.Key)), hop, pipeline.Routed.Load(1), pipeline.To(pipeline.Neighbour))
}

// neighbour is the MAC of an address on the switch behind a router port.
func neighbour(router, routerPort uint64, ip netip.Addr, mac model.MAC) pipeline.Flow {
	in := pipeline.OutPort.Is(pipeline.Datapath.Is(of.Match{}, router), routerPort)
	return pipeline.NeighbourMAC.Flow(nextHopIs(in, ip), of.Set(of.EthDst, of.MAC(mac)), pipeline.To(pipeline.UnDNAT))
}

// nextHopIs matches packets of the address's family with it as their next hop.
func nextHopIs(m of.Match, ip netip.Addr) of.Match {
	if ip.Is4() {
		return m.IPv4().Eq(of.Reg0, of.Addr(ip))
	}
	return m.IPv6().Eq(of.XXReg0, of.Addr(ip))
}

// worksHere tells whether this node processes a router: all do, unless the router is pinned to a chassis; that one does
// if it is a gateway.
func worksHere(r memo.Reader, lr *model.LogicalRouter) bool {
	node := getNode(r)
	return lr.Chassis == "" || lr.Chassis == node.Chassis && node.Gateway
}

// pinProblem says why a pinned router works nowhere; empty if it works. Of itself a node knows better than what is registered.
func pinProblem(r memo.Reader, lr *model.LogicalRouter) string {
	if lr.Chassis == "" {
		return ""
	}
	if node := getNode(r); lr.Chassis == node.Chassis {
		return lr.PinProblem(&model.Chassis{Gateway: node.Gateway})
	}
	return lr.PinProblem(get[*model.Chassis](r, string(model.KindChassis), lr.Chassis))
}
