package compile

import (
	"slices"

	"tuplenet/flows/memo"
	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
	"tuplenet/model"
)

// compileTunnel makes the way into and out of the tunnel ports.
func compileTunnel(r memo.Reader, _ string) Output {
	var o Output
	any := of.Match{}
	node := getNode(r)
	o.add(
		pipeline.NoFurther.Flow(pipeline.Redirected.Is(pipeline.FromTunnel.Is(any, 1), 1), pipeline.To(pipeline.Deliver)),
		pipeline.HandOn.Flow(pipeline.Redirected.Is(pipeline.FromTunnel.Is(any, 1), 0), pipeline.Redirected.Load(1),
			of.Set(of.InPort, of.U(0)), // it leaves through the port that it came from
			pipeline.To(pipeline.Encap)),
		pipeline.ToEncap.Flow(any, pipeline.To(pipeline.Encap)),
		pipeline.SizeFits.Flow(any, pipeline.To(pipeline.Encap)),
	)
	for _, ip := range []of.Match{any.IPv4(), any.IPv6()} {
		if node.TunnelMTU > 0 {
			o.add(
				pipeline.CheckSize.Flow(ip, larger(node.TunnelMTU), pipeline.To(pipeline.TunnelSize)),
				pipeline.SizeExceeded.Flow(pipeline.TooBig.Is(ip, 1), pipeline.TooBigToDaemon(pipeline.PuntTooBig, node.TunnelMTU)))
		}
	}
	if node.TunnelPort != 0 {
		o.add(
			fromTunnel(node.TunnelPort, model.EncapGeneve),
			pipeline.Encapsulate.Flow(pipeline.ToVXLAN.Is(any, 0),
				of.CopyField{Src: of.Whole(of.Metadata), Dst: of.Whole(of.TunID)},
				of.CopyField{Src: of.Bits(of.Reg14, 0, 16), Dst: pipeline.OptionSrc.Sub},
				of.CopyField{Src: of.Bits(of.Reg15, 0, 16), Dst: pipeline.OptionDst.Sub},
				of.CopyField{Src: pipeline.Redirected.Sub, Dst: pipeline.OptionRedir.Sub},
				of.CopyField{Src: pipeline.FromEdge.Sub, Dst: pipeline.OptionEdge.Sub},
				of.Output{Port: node.TunnelPort}),
		)
	}
	if node.VXLANPort != 0 {
		o.add(
			fromTunnel(node.VXLANPort, model.EncapVXLAN),
			pipeline.EncapsulateVXLAN.Flow(pipeline.ToVXLAN.Is(any, 1),
				of.CopyField{Src: of.Whole(of.Metadata), Dst: of.Whole(of.TunID)},
				of.Output{Port: node.VXLANPort}),
		)
	}
	return o
}

// fromTunnel takes in what comes from a tunnel port.
func fromTunnel(port uint32, encap model.Encap) pipeline.Flow {
	in := of.Match{}.Eq(of.InPort, of.U(uint64(port)))
	if encap == model.EncapVXLAN {
		return pipeline.VXLANPort.Flow(in, pipeline.FromVXLAN.Load(1), pipeline.To(pipeline.TunnelIn))
	}
	return pipeline.TunnelPort.Flow(in, pipeline.To(pipeline.TunnelIn))
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

// compilePeer accepts tunnel packets of one chassis and takes over what their header says. It asks for the tunnel that the
// chassis wants.
func compilePeer(r memo.Reader, chassis string) Output {
	var o Output
	c := get[*model.Chassis](r, string(model.KindChassis), chassis)
	if c == nil {
		return o
	}
	node := getNode(r)
	for _, ip := range c.IPs {
		f := of.TunSrc
		if ip.Is6() {
			f = of.TunIPv6Src
		}
		from := of.Match{}.Eq(f, of.Addr(ip))
		o.add(pipeline.PeerChassis.Flow(from,
			of.CopyField{Src: of.Whole(of.TunID), Dst: of.Whole(of.Metadata)},
			of.CopyField{Src: pipeline.OptionSrc.Sub, Dst: of.Bits(of.Reg14, 0, 16)},
			of.CopyField{Src: pipeline.OptionRedir.Sub, Dst: pipeline.Redirected.Sub},
			of.CopyField{Src: pipeline.OptionEdge.Sub, Dst: pipeline.FromEdge.Sub},
			pipeline.FromTunnel.Load(1),
			pipeline.To(pipeline.L2Lookup)))
		if node.VXLANPort != 0 {
			o.add(pipeline.PeerVXLAN.Flow(pipeline.FromVXLAN.Is(from, 1),
				of.CopyField{Src: of.Whole(of.TunID), Dst: of.Whole(of.Metadata)},
				pipeline.FromTunnel.Load(1),
				pipeline.Redirected.Load(1),
				pipeline.To(pipeline.L2Lookup)))
		}
	}
	p, ok := pathTo(r, chassis)
	if !ok {
		return o
	}
	o.Tunnels = c.Encaps
	// Gateways and everybody else watch each other. Both ends must: a session with one end is down.
	if node.Gateway || c.Gateway {
		o.rare().Watch = append(o.rare().Watch, Watch{Chassis: chassis, IP: p.IP, Encap: model.WatchEncap(node.Encaps, c.Encaps)})
	}
	redirect(r, &o, chassis)
	return o
}

// watched are the chassis that have a port of their own.
func watched(r memo.Reader) []string {
	var ids []string
	for _, k := range r.List(indexAll, KindWatched) {
		ids = append(ids, k.ID)
	}
	return ids
}

// compileWatched takes in the packets of a chassis that has a port of its own, by which they come.
func compileWatched(r memo.Reader, chassis string) (o Output) {
	if w := get[Watched](r, KindWatched, chassis); w.OFPort != 0 {
		o.add(fromTunnel(w.OFPort, w.Encap))
	}
	return o
}

// tunnelTo sets where the tunnel leads and its encapsulation, and what follows. A packet that came through an IPv4 tunnel still
// has its IPv4 destination, this node, which would win over an IPv6 one.
func tunnelTo(p path, next of.Action) []of.Action {
	var actions []of.Action
	if p.Encap == model.EncapVXLAN {
		actions = append(actions, pipeline.ToVXLAN.Load(1))
	}
	if p.IP.Is4() {
		return append(actions, of.Set(of.TunDst, of.Addr(p.IP)), next)
	}
	return append(actions, of.Set(of.TunDst, of.U(0)), of.Set(of.TunIPv6Dst, of.Addr(p.IP)), next)
}

// tellsEdges tells whether what other chassis send to this node says through which edge a connection came: VXLAN has no room for that.
func tellsEdges(node Node) bool {
	return len(node.Encaps) == 0 || !slices.Contains(node.Encaps[:1], model.EncapVXLAN)
}
