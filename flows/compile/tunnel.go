package compile

import (
	"net/netip"

	"tuplenet/flows/memo"
	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
	"tuplenet/model"
)

// ethernetHeader is what check_pkt_larger counts besides the IP packet: routed frames are untagged.
const ethernetHeader = 14

// compileTunnel makes the way into and out of the tunnel port.
func compileTunnel(r memo.Reader, _ string) Output {
	var o Output
	any := of.Match{}
	node := getNode(r)
	o.add(
		pipeline.TunnelLoop.Flow(pipeline.Redirected.Is(pipeline.FromTunnel.Is(any, 1), 1)),
		pipeline.HandOn.Flow(pipeline.Redirected.Is(pipeline.FromTunnel.Is(any, 1), 0), pipeline.Redirected.Load(1),
			of.Set(of.InPort, of.U(0)), // it leaves through the port that it came from
			pipeline.To(pipeline.Encap)),
		pipeline.ToEncap.Flow(any, pipeline.To(pipeline.Encap)),
		pipeline.SizeFits.Flow(any, pipeline.To(pipeline.Encap)),
	)
	for _, ip := range []of.Match{any.IPv4(), any.IPv6()} {
		o.add(pipeline.SizeExceeded.Flow(pipeline.TooBig.Is(ip, 1), pipeline.ToDaemon(pipeline.PuntTooBig)))
	}
	if node.TunnelMTU > 0 {
		o.add(pipeline.CheckSize.Flow(pipeline.Routed.Is(any, 1),
			of.CheckPktLarger{Bytes: uint16(node.TunnelMTU + ethernetHeader), Dst: pipeline.TooBig.Sub}, pipeline.To(pipeline.TunnelSize)))
	}
	if node.TunnelPort != 0 {
		o.add(
			pipeline.TunnelPort.Flow(any.Eq(of.InPort, of.U(uint64(node.TunnelPort))), pipeline.To(pipeline.TunnelIn)),
			pipeline.Encapsulate.Flow(any,
				of.CopyField{Src: of.Whole(of.Metadata), Dst: of.Whole(of.TunID)},
				of.CopyField{Src: of.Bits(of.Reg14, 0, 16), Dst: pipeline.OptionSrc.Sub},
				of.CopyField{Src: of.Bits(of.Reg15, 0, 16), Dst: pipeline.OptionDst.Sub},
				of.CopyField{Src: pipeline.Redirected.Sub, Dst: pipeline.OptionRedir.Sub},
				of.CopyField{Src: pipeline.FromEdge.Sub, Dst: pipeline.OptionEdge.Sub},
				of.Output{Port: node.TunnelPort}),
		)
	}
	return o
}

// peers are the chassis from which tunnel packets are accepted: all but this one.
func peers(r memo.Reader) []string {
	var ids []string
	self := getNode(r).Chassis
	for _, k := range r.List(indexAll, string(model.KindChassis)) {
		if k.ID != self {
			ids = append(ids, k.ID)
		}
	}
	return ids
}

// compilePeer accepts tunnel packets of one chassis and takes over what their header says.
func compilePeer(r memo.Reader, chassis string) Output {
	var o Output
	c := get[*model.Chassis](r, string(model.KindChassis), chassis)
	if c == nil {
		return o
	}
	for _, ip := range c.IPs {
		f := of.TunSrc
		if ip.Is6() {
			f = of.TunIPv6Src
		}
		o.add(pipeline.PeerChassis.Flow(of.Match{}.Eq(f, of.Addr(ip)),
			of.CopyField{Src: of.Whole(of.TunID), Dst: of.Whole(of.Metadata)},
			of.CopyField{Src: pipeline.OptionSrc.Sub, Dst: of.Bits(of.Reg14, 0, 16)},
			of.CopyField{Src: pipeline.OptionRedir.Sub, Dst: pipeline.Redirected.Sub},
			of.CopyField{Src: pipeline.OptionEdge.Sub, Dst: pipeline.FromEdge.Sub},
			pipeline.FromTunnel.Load(1),
			pipeline.To(pipeline.L2Lookup)))
	}
	if w := get[Watched](r, KindWatched, chassis); w.OFPort != 0 {
		// Packets of a chassis that has a port of its own come in by that.
		o.add(pipeline.TunnelPort.Flow(of.Match{}.Eq(of.InPort, of.U(uint64(w.OFPort))), pipeline.To(pipeline.TunnelIn)))
	}
	// Gateways and everybody else watch each other. Both ends must: a session with one end is down.
	if getNode(r).Gateway || c.Gateway {
		o.watch(r, chassis)
	}
	redirect(r, &o, chassis)
	return o
}

// watch asks for another chassis to be watched.
func (o *Output) watch(r memo.Reader, chassis string) {
	if ip := endpoint(r, chassis); ip.IsValid() {
		o.Watch = append(o.Watch, Watch{Chassis: chassis, IP: ip})
	}
}

// tunnelTo sets the tunnel's destination, and what follows. A packet that came through an IPv4 tunnel still has its IPv4
// destination, this node, which would win over an IPv6 one.
func tunnelTo(ip netip.Addr, next of.Action) []of.Action {
	if ip.Is4() {
		return []of.Action{of.Set(of.TunDst, of.Addr(ip)), next}
	}
	return []of.Action{of.Set(of.TunDst, of.U(0)), of.Set(of.TunIPv6Dst, of.Addr(ip)), next}
}
