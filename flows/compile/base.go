package compile

import (
	"net/netip"

	"tuplenet/flows/memo"
	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
)

// compileBase makes what every node has whatever its ports are: the last rule of each table and what holds for every
// router alike.
func compileBase(r memo.Reader, _ string) Output {
	var o Output
	askWho(r, &o)
	any := of.Match{}
	for _, rule := range []*pipeline.Rule{pipeline.UnboundPort, pipeline.UnknownPeer, pipeline.SpoofedMAC, pipeline.NDBroken,
		pipeline.UnknownDestination, pipeline.RouterNotIP, pipeline.NoReturn, pipeline.NotTranslated, pipeline.NoPeer, pipeline.NextUnknown, pipeline.NoTunnel, pipeline.NotHere} {
		o.add(rule.Flow(any))
	}
	const tagged = 0x1000 // OFPVID_PRESENT, ovs-fields(7) vlan_tci
	o.add(
		pipeline.MulticastSource.Flow(any.Masked(of.EthSrc, of.U(1<<40), of.U(1<<40))),
		pipeline.Tagged.Flow(any.Masked(of.VLANTCI, of.U(tagged), of.U(tagged)), pipeline.To(pipeline.L2Lookup)),
		pipeline.NotAsked.Flow(any, pipeline.To(pipeline.L2Lookup)),
		// Duplicate address detection asks from the unspecified address; the answer goes to all nodes, unsolicited.
		pipeline.NDAdvertiseAll.Flow(any.NDAdvertise().Eq(of.IPv6Dst, of.Addr(netip.IPv6Unspecified())),
			of.Set(of.IPv6Dst, of.Addr(allNodes)), of.Set(of.NDReserved, of.U(naOverride)),
			of.CopyField{Src: of.Whole(of.EthSrc), Dst: of.Whole(of.NDTLL)}, of.Output{Port: of.PortInPort}),
		pipeline.NDAdvertise.Flow(any.NDAdvertise(),
			of.CopyField{Src: of.Whole(of.EthSrc), Dst: of.Whole(of.NDTLL)}, of.Output{Port: of.PortInPort}),
		pipeline.RouterTagged.Flow(any.Masked(of.VLANTCI, of.U(tagged), of.U(tagged))),
		pipeline.RouterAccept.Flow(any.IPv4(), pipeline.To(pipeline.UnSNAT)),
		pipeline.RouterAccept.Flow(any.IPv6(), pipeline.To(pipeline.UnSNAT)),
		pipeline.ExternalFits.Flow(any, pipeline.Again(pipeline.UnSNAT)),
		pipeline.NoUnsnat.Flow(any, pipeline.To(pipeline.DNAT)),
		pipeline.NoDnat.Flow(any, pipeline.To(pipeline.RouterLocal)),
		pipeline.NoUndnat.Flow(any, pipeline.To(pipeline.SNAT)),
		pipeline.NoSnat.Flow(any, pipeline.To(pipeline.RouterOut)),
		pipeline.ToRoute.Flow(any, pipeline.To(pipeline.Route)),
		pipeline.NoHairpin.Flow(any, pipeline.To(pipeline.RouterOut)),
		pipeline.IsTranslated.Flow(any.Masked(of.CTState, of.U(of.CTTrk|of.CTSNAT), of.U(of.CTTrk|of.CTSNAT)), pipeline.To(pipeline.RouterOut)),
		pipeline.Renumber.Flow(newPing(any.ICMP4().Eq(of.ICMPType, of.U(icmpEchoRequest))), pipeline.ToDaemon(pipeline.PuntPing)),
		pipeline.Renumber.Flow(newPing(any.ICMP6().Eq(of.ICMPv6Type, of.U(icmp6EchoRequest))), pipeline.ToDaemon(pipeline.PuntPing)),
	)
	for _, ip := range []of.Match{any.IPv4(), any.IPv6()} {
		o.add(
			pipeline.TTLExpired.Flow(ip.Eq(of.IPTTL, of.U(0)), pipeline.ToDaemon(pipeline.PuntTTL)),
			pipeline.TTLExpired.Flow(ip.Eq(of.IPTTL, of.U(1)), pipeline.ToDaemon(pipeline.PuntTTL)),
			pipeline.NoRoute.Flow(ip, pipeline.ToDaemon(pipeline.PuntNoRoute)),
			pipeline.NoNeighbour.Flow(ip, pipeline.ToDaemon(pipeline.PuntNoNeighbour)),
		)
	}
	compileByLearnt(&o)
	for _, p := range []string{"0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4"} {
		prefix := netip.MustParsePrefix(p)
		o.add(pipeline.Martian.Flow(any.IPv4().Prefix(of.IPSrc, prefix)), pipeline.Martian.Flow(any.IPv4().Prefix(of.IPDst, prefix)))
	}
	for _, p := range []string{"::/128", "::1/128", "ff00::/8"} {
		prefix := netip.MustParsePrefix(p)
		o.add(pipeline.Martian.Flow(any.IPv6().Prefix(of.IPv6Src, prefix)), pipeline.Martian.Flow(any.IPv6().Prefix(of.IPv6Dst, prefix)))
	}
	v4, v6 := netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("fe80::/10")
	o.add(
		pipeline.LinkLocal.Flow(any.IPv4().Prefix(of.IPSrc, v4)), pipeline.LinkLocal.Flow(any.IPv4().Prefix(of.IPDst, v4)),
		pipeline.LinkLocal.Flow(any.IPv6().Prefix(of.IPv6Src, v6)), pipeline.LinkLocal.Flow(any.IPv6().Prefix(of.IPv6Dst, v6)),
	)
	return o
}

// newPing matches pings that connection tracking did not find invalid.
func newPing(m of.Match) of.Match {
	return m.Masked(of.CTState, of.U(of.CTTrk), of.U(of.CTTrk|of.CTInv))
}

// ICMPv6 types (RFC 4861 section 4, RFC 4443 section 4, RFC 3810 section 5).
const (
	icmp6EchoRequest = 128
	icmp6EchoReply   = 129
	icmp6MLDReport   = 131
	icmp6MLDDone     = 132
	icmp6RS          = 133
	icmp6NS          = 135
	icmp6NA          = 136
	icmp6MLDv2Report = 143
)

// ICMP types (RFC 792).
const (
	icmpEchoReply    = 0
	icmpUnreachable  = 3
	icmpEchoRequest  = 8
	icmpTimeExceeded = 11
	icmpParameter    = 12
)

// IP protocol numbers.
const (
	protoTCP  = 6
	protoUDP  = 17
	protoSCTP = 132
)

// ARP operations (RFC 826).
const (
	arpRequest = 1
	arpReply   = 2
)
