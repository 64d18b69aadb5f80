package compile

import (
	"tuplenet/flows/memo"
	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
	"tuplenet/model"
)

// A multicast network (model.SwitchMulticast) is known to the switch as the ports here, and one port that leads to the VXLAN device of
// the host, its uplink: who is elsewhere is the device's business, and questions for addresses there are asked there. A port of
// it works once the uplink does.

// KindUplink is the way to the VXLAN device of a multicast network; its id is the name of the device.
const KindUplink = "uplink"

// Uplink is a port on the integration bridge behind which the VXLAN device of a multicast network is.
type Uplink struct{ OFPort uint32 }

// Multicast is a multicast network that this node has ports of, and the device that leads to the other hosts; empty: the one with
// the tunnel address.
type Multicast struct {
	Switch string
	VNI    model.VNI
	Device string
}

func isMulticast(ls *model.LogicalSwitch) bool { return ls.Type == model.SwitchMulticast }

// uplinkOf is the OpenFlow port that leads to the VXLAN device of a network, 0 while there is none.
func uplinkOf(r memo.Reader, ls *model.LogicalSwitch) uint32 {
	return get[Uplink](r, KindUplink, ls.VNI.MulticastDevice()).OFPort
}

// compileMulticast makes a multicast network as far as this node has part in it.
func compileMulticast(r memo.Reader, ls *model.LogicalSwitch) Output {
	var o Output
	var here []of.Bucket
	local := r.Derived(derivedLocalOf, ls.Name).([]string)
	for _, id := range local {
		if p := getPort(r, id); ls.Admits(p) == nil && placeOf(r, p).Here {
			here = append(here, of.Bucket{Actions: []of.Action{pipeline.OutPort.Load(uint64(p.Key)), pipeline.Again(pipeline.Deliver)}})
		}
	}
	if len(local) == 0 {
		return o
	}
	o.rare().Multicast = []Multicast{{Switch: ls.Name, VNI: ls.VNI, Device: ls.Device}}
	uplink := uplinkOf(r, ls)
	if uplink == 0 {
		return o
	}
	in := pipeline.Datapath.Is(of.Match{}, uint64(ls.VNI))
	out := of.Bucket{Actions: []of.Action{pipeline.OutPort.Load(pipeline.MulticastKey), pipeline.Again(pipeline.Deliver)}}
	everybody := in.Masked(of.EthDst, of.U(1<<40), of.U(1<<40))
	o.add(
		pipeline.MulticastPort.Flow(of.Match{}.Eq(of.InPort, of.U(uint64(uplink))),
			pipeline.Datapath.Load(uint64(ls.VNI)), pipeline.FromTunnel.Load(1), pipeline.To(pipeline.L2Lookup)),
		pipeline.FloodFromTunnel.Flow(pipeline.FromTunnel.Is(everybody, 1), flood(&o, ls, pipeline.GroupFloodLocal, here)...),
		pipeline.Flood.Flow(everybody, flood(&o, ls, pipeline.GroupFlood, append(here[:len(here):len(here)], out))...),
		pipeline.FromMulticast.Flow(pipeline.FromTunnel.Is(in, 1)),
		pipeline.ToMulticast.Flow(in, pipeline.OutPort.Load(pipeline.MulticastKey), pipeline.To(pipeline.Deliver)),
		pipeline.Output.Flow(pipeline.OutPort.Is(in, pipeline.MulticastKey), of.Output{Port: uplink}),
	)
	return o
}

// compileMulticastPort makes what others on this node need to reach a port of a multicast network.
func compileMulticastPort(r memo.Reader, ls *model.LogicalSwitch, p *model.LogicalSwitchPort) Output {
	var o Output
	if err := ls.Admits(p); err != nil {
		o.Problems = []model.Problem{{Key: FactKey(p.Ref()).String(), Reason: err.Error()}}
		return o
	}
	if uplinkOf(r, ls) == 0 || !placeOf(r, p).Here {
		return o
	}
	in := pipeline.Datapath.Is(of.Match{}, uint64(ls.VNI))
	o.add(toPort(r, in, p))
	for _, ip := range addresses(p) {
		answer(&o, in, p.MAC, ip, false)
		o.rare().Announce = append(o.rare().Announce, Announcement{VNI: ls.VNI, Port: p.Key, MAC: p.MAC, IP: ip})
	}
	return o
}
