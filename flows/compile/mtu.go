package compile

import (
	"tuplenet/flows/memo"
	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
	"tuplenet/model"
)

// ethernetHeader is what check_pkt_larger counts besides the IP packet.
const ethernetHeader = 14

// maxIP is the largest IP packet (RFC 791): nothing is larger than that.
const maxIP = 65535

// larger compares a packet with an MTU.
func larger(mtu int) of.Action {
	return of.CheckPktLarger{Bytes: uint16(mtu + ethernetHeader), Dst: pipeline.TooBig.Sub}
}

// nextMTU is the largest IP packet that a router may send into a switch; 0: any. The MTU that the switch was given counts for every
// router. A router that is pinned here knows how packets reach it from outside, and others inside, or on other edges, do not:
// so it refuses itself what would not fit into the tunnel behind it.
func nextMTU(r memo.Reader, lr *model.LogicalRouter, ls *model.LogicalSwitch) int {
	mtu := ls.MTU
	if tunnel := getNode(r).TunnelMTU; tunnel > 0 && (mtu == 0 || tunnel < mtu) && lr.Chassis != "" && !hasPatch(r, ls.Name) {
		mtu = tunnel
	}
	if mtu+ethernetHeader > maxIP {
		return 0
	}
	return mtu
}

// leave makes the way out of a router through a port, for packets that fit into the network behind it.
func leave(o *Output, out of.Match, mtu int, actions []of.Action) {
	if mtu == 0 {
		o.add(pipeline.LeaveRouter.Flow(out, actions...))
		return
	}
	for _, ip := range []of.Match{out.IPv4(), out.IPv6()} {
		o.add(
			pipeline.CheckNext.Flow(ip, larger(mtu), pipeline.To(pipeline.NextSize)),
			pipeline.NextExceeded.Flow(pipeline.TooBig.Is(ip, 1), pipeline.TooBigToDaemon(pipeline.PuntNextTooBig, mtu)))
	}
	o.add(pipeline.NextFits.Flow(out, actions...))
}

// insideMTU is what fits into every network behind a pinned router that is no physical one; 0: anything.
func insideMTU(r memo.Reader, lr *model.LogicalRouter) int {
	smallest := 0
	for _, k := range r.List(indexRouterPorts, lr.Name) {
		rp := getRouterPort(r, k.ID)
		if rp == nil {
			continue
		}
		peer := switchPeer(r, rp)
		if peer == nil || hasPatch(r, peer.Switch) {
			continue
		}
		if ls := getSwitch(r, peer.Switch); ls != nil {
			if mtu := nextMTU(r, lr, ls); smallest == 0 || mtu > 0 && mtu < smallest {
				smallest = mtu
			}
		}
	}
	return smallest
}

// exceeded answers packets for the external addresses of a router that do not fit inside.
func exceeded(o *Output, in of.Match, mtu int) {
	if mtu == 0 {
		return
	}
	for _, ip := range []of.Match{in.IPv4(), in.IPv6()} {
		o.add(pipeline.ExternalExceeded.Flow(pipeline.TooBig.Is(ip, 1), pipeline.TooBigToDaemon(pipeline.PuntNextTooBig, mtu)))
	}
}
