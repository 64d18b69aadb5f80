package walk

import (
	"maps"
	"net/netip"
	"slices"

	"tuplenet/flows/compile"
	"tuplenet/model"
)

// Facts are what a chassis knows beside the objects of the store.
type Facts struct {
	Node compile.Node `json:"node"`
	// Interfaces are the OpenFlow ports of local switch ports, by name.
	Interfaces map[string]uint32 `json:"interfaces,omitempty"`
	// Watched are the ports through which other chassis are watched (BFD), by the chassis' name.
	Watched map[string]compile.Watched `json:"watched,omitempty"`
	// Uplinks are the ports that lead to the VXLAN devices of multicast networks, by the device's name.
	Uplinks map[string]uint32 `json:"uplinks,omitempty"`
	// Down are the ports that are not alive.
	Down []uint32 `json:"down,omitempty"`
	// Wanted are the ports of other chassis whose flows are there, on demand.
	Wanted []model.Ref `json:"wanted,omitempty"`
	// Neighbours were learnt from the physical network.
	Neighbours []compile.Neighbour `json:"neighbours,omitempty"`
}

// Numbers of ports that are made up. Open vSwitch counts from 1, so those of a report look like the real ones.
const (
	madeTunnel    = 1
	madeWatched   = 2
	madeInterface = 1001
	madeVXLAN     = 65000 // above all others
	madeUplink    = 60001
)

// Bytes that Geneve with its one option adds to an IP packet: outer IP, UDP, Geneve, option header and option, inner
// Ethernet header (RFC 8926 section 3.4). VXLAN (RFC 7348) has no option.
const (
	overheadIPv4 = 20 + 8 + 8 + 4 + 8 + 14
	overheadIPv6 = 40 + 8 + 8 + 4 + 8 + 14
	optionBytes  = 4 + 8
)

// defaultUnderlayMTU is that of Ethernet.
const defaultUnderlayMTU = 1500

// makeUp invents the facts of a chassis that was not asked: its ports numbered by name, everything reachable, the
// settings of its daemon those by default.
func (d *Deployment) makeUp(c *model.Chassis) Facts {
	f := Facts{Interfaces: map[string]uint32{}, Watched: map[string]compile.Watched{}, Uplinks: map[string]uint32{}}
	f.Node = compile.Node{Chassis: c.Name, IPs: c.IPs, Encaps: c.Encaps, TunnelPort: madeTunnel, Gateway: c.Gateway, Redirect: true}
	overhead := overheadIPv6
	if len(c.IPs) > 0 && c.IPs[0].Is4() {
		overhead = overheadIPv4
	}
	if d.offered[model.EncapVXLAN] {
		f.Node.VXLANPort = madeVXLAN
		if !d.offered[model.EncapGeneve] {
			overhead -= optionBytes
		}
	}
	f.Node.TunnelMTU = max(0, d.underlayMTU-overhead)
	for i, port := range d.bound[c.Name] {
		f.Interfaces[port] = madeInterface + uint32(i)
		if ls := d.multicastOf(d.Port(port)); ls != nil && f.Uplinks[ls.VNI.MulticastDevice()] == 0 {
			f.Uplinks[ls.VNI.MulticastDevice()] = madeUplink + uint32(len(f.Uplinks))
		}
	}
	others := d.gateways
	if c.Gateway {
		others = d.chassis
	}
	for i, other := range others {
		if o := d.chassisOf(other); other != c.Name && sharesFamily(c.IPs, o.IPs) {
			f.Watched[other] = compile.Watched{OFPort: madeWatched + uint32(i), Encap: model.WatchEncap(c.Encaps, o.Encaps)}
		}
	}
	return f
}

// multicastOf is the switch of a port if it is a multicast network, else nil.
func (d *Deployment) multicastOf(p *model.LogicalSwitchPort) *model.LogicalSwitch {
	if p == nil {
		return nil
	}
	if ls := object[*model.LogicalSwitch](d, model.Ref{Kind: model.KindSwitch, Name: p.Switch}); ls != nil && ls.Type == model.SwitchMulticast {
		return ls
	}
	return nil
}

func sharesFamily(a, b []netip.Addr) bool {
	return slices.ContainsFunc(a, func(x netip.Addr) bool {
		return slices.ContainsFunc(b, func(y netip.Addr) bool { return x.Is4() == y.Is4() })
	})
}

// isolate marks the ports that are dead because chassis are down.
func (f *Facts) isolate(down map[string]bool) {
	for _, chassis := range slices.Sorted(maps.Keys(f.Watched)) {
		if down[chassis] || down[f.Node.Chassis] {
			f.Down = append(f.Down, f.Watched[chassis].OFPort)
		}
	}
}
