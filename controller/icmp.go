package controller

import (
	"context"
	"net/netip"
	"time"

	"tuplenet/controller/responder"
	"tuplenet/datapath/ofconn"
	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
	"tuplenet/model"
)

// errorFor is the ICMP error that answers a packet, by why the switch punted it; ok is false if none does.
func errorFor(why pipeline.Punt) (kind responder.Kind, ok bool) {
	switch why {
	case pipeline.PuntTTL:
		return responder.TTLExceeded, true
	case pipeline.PuntNoRoute:
		return responder.NetUnreachable, true
	case pipeline.PuntNoNeighbour:
		return responder.HostUnreachable, true
	case pipeline.PuntPortUnreachable:
		return responder.PortUnreachable, true
	case pipeline.PuntTooBig, pipeline.PuntNextTooBig:
		return responder.TooBig, true
	}
	return 0, false
}

// packetIn takes a packet from the session; it never blocks: under pressure packets are not answered.
func (l *loop) packetIn(p ofconn.PacketIn) {
	if l.traces.take(p) {
		return
	}
	if isMiss(p) {
		l.metered.punted(p, l.demand.misses.put(p, time.Now()))
		return
	}
	select {
	case l.packets <- p:
		l.metered.punted(p, true)
	default:
		l.metered.punted(p, false)
	}
}

// sender is who answers a punted packet, and where the answer begins its way.
type sender struct {
	from    netip.Addr
	actions []of.Action
}

// senderOf is the router that could not handle a packet: the answer takes the router's own routes. A packet that was only
// switched is answered in the name of the address that it is for, as Linux does for its tunnels: there is nobody else on the way.
func (l *loop) senderOf(why pipeline.Punt, p ofconn.PacketIn) sender {
	datapath, key := fieldOf(p, of.Metadata), fieldOf(p, of.Reg14)
	if why == pipeline.PuntTooBig {
		if fieldOf(p, pipeline.Routed.Sub.Field)&pipeline.Routed.Sub.Mask().Lo == 0 {
			return sender{responder.Destination(p.Data), []of.Action{pipeline.Datapath.Load(datapath), pipeline.Again(pipeline.L2Lookup)}}
		}
		datapath, key = fieldOf(p, of.Reg9), fieldOf(p, of.Reg8) // it has left the router already
	}
	return sender{l.routerAddress(model.VNI(datapath), model.PortKey(key), responder.Source(p.Data)),
		[]of.Action{pipeline.Datapath.Load(datapath), pipeline.InPort.Load(key), pipeline.Again(pipeline.Route)}}
}

// answer sends the ICMP error for a punted packet.
func (l *loop) answer(ctx context.Context, p ofconn.PacketIn) {
	if len(p.Userdata) == 0 {
		return
	}
	why := pipeline.Punt(p.Userdata[0])
	kind, ok := errorFor(why)
	if !ok {
		return
	}
	s := l.senderOf(why, p)
	if !s.from.IsValid() {
		return
	}
	reply, err := responder.ICMPError(p.Data, kind, s.from, pipeline.TooBigMTU(p.Userdata)-responder.TagBytes(p.Data))
	if err != nil {
		l.log.Debug("no ICMP error sent", "kind", kind, "why", err)
		return
	}
	session := l.session.Load()
	if session == nil {
		return
	}
	err = session.PacketOut(ctx, ofconn.PacketOut{InPort: of.PortController, Data: reply, Actions: s.actions})
	if err != nil && ctx.Err() == nil {
		l.log.Debug("packet-out failed", "err", err)
	}
}

// fieldOf is the value of a pipeline field of a punted packet, 0 if the switch did not send it. Open vSwitch sends a
// register as part of the 64-bit one that it belongs to, whose upper half is the even register (OpenFlow 1.5.1 section
// 7.2.3.9).
func fieldOf(p ofconn.PacketIn, f of.Field) uint64 {
	for _, t := range p.Fields {
		switch {
		case t.Field == f:
			return t.Value.Uint64()
		case f >= of.Reg0 && f <= of.Reg15 && t.Field == of.XReg0+(f-of.Reg0)/2:
			if (f-of.Reg0)%2 == 0 {
				return t.Value.Uint64() >> 32
			}
			return t.Value.Uint64() & 0xffffffff
		}
	}
	return 0
}

// routerAddress is the address from which a router speaks to a host behind one of its ports: the one on the host's
// network, else the port's first of the family. Invalid if the port has none.
func (l *loop) routerAddress(router model.VNI, key model.PortKey, to netip.Addr) netip.Addr {
	lr, ok := l.facts.Holder(model.ClaimVNI(router)).(*model.LogicalRouter)
	if !ok {
		return netip.Addr{}
	}
	rp, ok := l.facts.Holder(model.ClaimKey(lr.Ref(), key)).(*model.LogicalRouterPort)
	if !ok {
		return netip.Addr{}
	}
	var from netip.Addr
	for _, n := range rp.Networks {
		if n.Addr().Is4() != to.Is4() {
			continue
		}
		if n.Contains(to) {
			return n.Addr()
		}
		if !from.IsValid() {
			from = n.Addr()
		}
	}
	return from
}
