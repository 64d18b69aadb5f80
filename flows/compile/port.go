package compile

import (
	"net/netip"

	"tuplenet/flows/memo"
	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
	"tuplenet/model"
)

// compilePort makes what others need to reach a switch port: the one L2 flow with its place, the answers to ARP and
// ND for its addresses, and its MAC for the routers on its switch.
func compilePort(r memo.Reader, id string) Output {
	var o Output
	p := getPort(r, id)
	if p == nil {
		return o
	}
	ls := getSwitch(r, p.Switch)
	if ls == nil {
		return o
	}
	if isMulticast(ls) {
		return compileMulticastPort(r, ls, p)
	}
	in := pipeline.Datapath.Is(of.Match{}, uint64(ls.VNI))
	switch p.Type {
	case model.PortRouter:
		compileRouterSide(r, &o, in, p)
	case model.PortPatch:
		// Its way is the switch's: compilePatch.
	default:
		o.add(toPort(r, in, p))
		declare(r, &o, in, ls, p.MAC)
		for _, ip := range p.IPs {
			answer(&o, in, p.MAC, ip, false)
		}
		if hasIPv6(p.IPs) {
			answer(&o, in, p.MAC, p.MAC.LinkLocal(), false)
		}
		links := r.Derived(derivedLinks, p.Switch).([]link)
		for _, l := range links {
			if l.Elsewhere != "" {
				continue
			}
			for _, ip := range p.IPs {
				o.add(neighbour(uint64(l.RouterID), uint64(l.RouterPortKey), ip, p.MAC))
			}
		}
	}
	return o
}

// toPort is the one flow that knows where a port is.
func toPort(r memo.Reader, in of.Match, p *model.LogicalSwitchPort) pipeline.Flow {
	to := in.Eq(of.EthDst, of.MAC(p.MAC))
	switch pl := placeOf(r, p); {
	case pl.Here:
		return pipeline.ToLocalPort.Flow(to, pipeline.OutPort.Load(uint64(p.Key)), pipeline.To(pipeline.Deliver))
	case pl.Chassis != "":
		if f, ok := towards(r, pl.Chassis, to, p.Key, pipeline.ToRemotePort, pipeline.ByGateway); ok {
			return f
		}
	}
	return pipeline.UnboundDestination.Flow(to)
}

// compileRouterSide makes the switch's side of a link: the router's addresses are answered on the switch, its MAC
// leads into the router, or to the chassis that a pinned router lives on; and routers on the same switch know it.
func compileRouterSide(r memo.Reader, o *Output, in of.Match, p *model.LogicalSwitchPort) {
	rp := routerPeer(r, p)
	if rp == nil {
		o.Problems = append(o.Problems, model.Problem{Key: FactKey(p.Ref()).String(), Reason: `peer "` + p.Peer + `" is not a router port that has this port as its peer`})
		return
	}
	for _, n := range rp.Networks {
		answer(o, in, rp.MAC, n.Addr(), true)
	}
	answer(o, in, rp.MAC, rp.MAC.LinkLocal(), true)
	var self *link
	links := r.Derived(derivedLinks, p.Switch).([]link)
	for i, l := range links {
		if l.Port == p.Name {
			self = &links[i]
			continue
		}
		if l.Elsewhere != "" {
			continue
		}
		for _, n := range rp.Networks {
			o.add(neighbour(uint64(l.RouterID), uint64(l.RouterPortKey), n.Addr(), rp.MAC))
		}
	}
	if ls := getSwitch(r, p.Switch); ls != nil {
		declare(r, o, in, ls, rp.MAC)
	}
	to := in.Eq(of.EthDst, of.MAC(rp.MAC))
	switch {
	case self == nil:
		o.Problems = append(o.Problems, model.Problem{Key: FactKey(p.Ref()).String(), Reason: `router "` + rp.Router + `" does not exist`})
	case self.Elsewhere == "":
		o.add(pipeline.ToRouter.Flow(to, pipeline.Datapath.Load(uint64(self.RouterID)), pipeline.InPort.Load(uint64(rp.Key)), pipeline.To(pipeline.RouterIn)))
	default:
		// A router that is pinned to a chassis that cannot hold it works nowhere; compileRouter says so.
		lr := getRouter(r, rp.Router)
		f, ok := towards(r, self.Elsewhere, to, p.Key, pipeline.ToRemotePort, pipeline.ByGateway)
		if ok && lr != nil && pinProblem(r, lr) == "" {
			o.Endpoints = append(o.Endpoints, endpoint(r, self.Elsewhere))
			o.add(f)
			return
		}
		o.add(pipeline.UnboundDestination.Flow(to))
	}
}

func hasIPv6(ips []netip.Addr) bool {
	for _, ip := range ips {
		if ip.Is6() {
			return true
		}
	}
	return false
}
