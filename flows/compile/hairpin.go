package compile

import (
	"net/netip"

	"tuplenet/flows/memo"
	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
)

// hairpins finds, on a router that leads connections inside, those whose answers would not come back through it: a connection
// to an external address whose sender's own route is out of the port that the packet leaves through. Such a connection gets
// the external address as its source, unless a rule gives it another one.
func hairpins(r memo.Reader, o *Output, in of.Match, router string) {
	said := map[netip.Prefix]bool{}
	wayBack := func(to netip.Prefix, port uint64) {
		from, at := fromPrefix(dnatted(in), to), uint16(2*to.Bits())
		o.add(pipeline.WayBack.FlowAt(at+1, pipeline.OutPort.Is(from, port), pipeline.To(pipeline.Hairpin)))
		if !said[to] {
			said[to] = true
			o.add(pipeline.WayBack.FlowAt(at, from, pipeline.To(pipeline.RouterOut)))
		}
	}
	for _, k := range r.List(indexRouterPorts, router) {
		if rp := getRouterPort(r, k.ID); rp != nil && switchPeer(r, rp) != nil {
			for _, n := range rp.Networks {
				if firstOn(r, rp, n) {
					wayBack(n.Masked(), uint64(rp.Key))
				}
			}
		}
	}
	for _, k := range r.List(indexRoutes, router) {
		s := getRoute(r, k.ID)
		if s == nil || connectedTo(r, router, s.Prefix) {
			continue
		}
		if rp := getRouterPort(r, router+"/"+s.OutPort); rp != nil && switchPeer(r, rp) != nil {
			wayBack(s.Prefix, uint64(rp.Key))
		}
	}
}

// connectedTo tells whether a network is one of a router's ports: that route wins over static ones.
func connectedTo(r memo.Reader, router string, n netip.Prefix) bool {
	for _, k := range r.List(indexNetworks, networkOf(router, n)) {
		if rp := getRouterPort(r, k.ID); rp != nil && switchPeer(r, rp) != nil {
			return true
		}
	}
	return false
}

// dnatted matches packets of connections whose destination was translated, on their way there.
func dnatted(m of.Match) of.Match {
	return m.Masked(of.CTState, of.U(of.CTTrk|of.CTDNAT), of.U(of.CTTrk|of.CTDNAT|of.CTRpl))
}

// sentTo matches packets of connections that were begun to an address.
func sentTo(m of.Match, ip netip.Addr) of.Match {
	if ip.Is4() {
		return m.IPv4().Eq(of.CTNwDst, of.Addr(ip))
	}
	return m.IPv6().Eq(of.CTIPv6Dst, of.Addr(ip))
}
