package walk

import (
	"fmt"
	"net/netip"
	"slices"

	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
	"tuplenet/flows/sim"
	"tuplenet/model"
)

// demands notes the port whose flows a chassis makes when it is shown a packet that missed them, and tells whether there is one: then
// the packet has to be followed again.
func (d *Deployment) demands(a sim.Arrival) bool {
	p := d.missed(&a.Packet)
	if p == nil || slices.Contains(d.wanted[a.Node], p.Ref()) {
		return false
	}
	d.wanted[a.Node] = append(d.wanted[a.Node], p.Ref())
	d.assumeAt(a.Node, fmt.Sprintf("%s has no flows for %s yet: its daemon makes them and sends the packet on", a.Node, p.Name))
	return true
}

// missed is the port whose flows a packet missed, nil if it is for nobody.
func (d *Deployment) missed(p *sim.Packet) *model.LogicalSwitchPort {
	field := func(f pipeline.Field) uint64 { return p.Get(f.Sub.Field).Shr(uint(f.Sub.Ofs)).Lo & (1<<f.Sub.Bits - 1) }
	at := d.devices[p.Get(of.Metadata).Lo]
	has := func(ip netip.Addr) func(*model.LogicalSwitchPort) bool {
		return func(o *model.LogicalSwitchPort) bool {
			return slices.Contains(o.IPs, ip) || ip == o.MAC.LinkLocal() && slices.ContainsFunc(o.IPs, netip.Addr.Is6)
		}
	}
	is := func(o *model.LogicalSwitchPort) bool { return of.MAC(o.MAC) == p.Get(of.EthDst) }
	switch field(pipeline.Missed) {
	case pipeline.MissedAnswer:
		if is = has(p.Get(of.NDTarget).Addr6()); p.Has(of.ARPTPA) {
			is = has(p.Get(of.ARPTPA).Addr4())
		}
	case pipeline.MissedNeighbour:
		rp := d.routerPorts[d.portByKey(at, field(pipeline.OutPort))]
		if rp == nil || d.ports[rp.Peer] == nil {
			return nil
		}
		at, is = model.Ref{Kind: model.KindSwitch, Name: d.ports[rp.Peer].Switch}, has(nextHop(p))
	}
	if i := slices.IndexFunc(d.bySwitch[at.Name], is); at.Kind == model.KindSwitch && i >= 0 {
		return d.bySwitch[at.Name][i]
	}
	return nil
}
