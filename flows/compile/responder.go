package compile

import (
	"net/netip"

	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
	"tuplenet/model"
)

// Flags of a neighbour advertisement as they stand in its reserved field (RFC 4861 section 4.4).
const (
	naRouter    = 0x80000000
	naSolicited = 0x40000000
	naOverride  = 0x20000000
)

// optionTLL is the type of the target link-layer address option (RFC 4861 section 4.6.1).
const optionTLL = 2

var allNodes = netip.MustParseAddr("ff02::1")

// answer makes the switch answer ARP or ND for an address.
func answer(o *Output, in of.Match, mac model.MAC, ip netip.Addr, router bool) {
	if ip.Is4() {
		o.add(answerARP(in, mac, ip))
		return
	}
	ask := in.NDSolicit().Eq(of.NDTarget, of.Addr(ip))
	flags := uint64(naSolicited | naOverride)
	if router {
		flags |= naRouter
	}
	o.add(answerND(ask, mac, ip, flags))
}

func answerARP(in of.Match, mac model.MAC, ip netip.Addr) pipeline.Flow {
	return pipeline.ARPResponder.Flow(in.ARP().Eq(of.ARPOp, of.U(arpRequest)).Eq(of.ARPTPA, of.Addr(ip)),
		of.CopyField{Src: of.Whole(of.EthSrc), Dst: of.Whole(of.EthDst)},
		of.Set(of.EthSrc, of.MAC(mac)),
		of.Set(of.ARPOp, of.U(arpReply)),
		of.CopyField{Src: of.Whole(of.ARPSHA), Dst: of.Whole(of.ARPTHA)},
		of.CopyField{Src: of.Whole(of.ARPSPA), Dst: of.Whole(of.ARPTPA)},
		of.Set(of.ARPSHA, of.MAC(mac)),
		of.Set(of.ARPSPA, of.Addr(ip)),
		of.Output{Port: of.PortInPort})
}

// answerND turns the solicitation into an advertisement. The type is changed last, because a field may be set only
// while its prerequisites hold; the option's content is written in the next table, where the packet is one.
func answerND(ask of.Match, mac model.MAC, ip netip.Addr, flags uint64) pipeline.Flow {
	return pipeline.NDResponder.Flow(ask,
		of.CopyField{Src: of.Whole(of.EthSrc), Dst: of.Whole(of.EthDst)},
		of.Set(of.EthSrc, of.MAC(mac)),
		of.CopyField{Src: of.Whole(of.IPv6Src), Dst: of.Whole(of.IPv6Dst)},
		of.Set(of.IPv6Src, of.Addr(ip)),
		of.Set(of.NDOptionsType, of.U(optionTLL)),
		of.Set(of.NDReserved, of.U(flags)),
		of.Set(of.ICMPv6Type, of.U(icmp6NA)),
		pipeline.To(pipeline.NDReply))
}
