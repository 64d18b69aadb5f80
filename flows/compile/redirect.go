package compile

import (
	"slices"

	"tuplenet/flows/memo"
	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
	"tuplenet/model"
)

// towards builds the flow that sends frames for a port to another chassis, by one of two rules: a gateway that may send by
// way of another one leaves the choice to the chassis' group. ok is false if the chassis has no address that this node
// can use.
func towards(r memo.Reader, chassis string, to of.Match, key model.PortKey, direct, byGateway *pipeline.Rule) (f pipeline.Flow, ok bool) {
	p, ok := pathTo(r, chassis)
	if !ok {
		return f, false
	}
	port := pipeline.OutPort.Load(uint64(key))
	if len(helpers(r, chassis)) > 0 {
		return byGateway.Flow(to, port, of.GroupAction{ID: pipeline.ChassisGroupID(hash(chassis))}), true
	}
	return direct.Flow(to, append([]of.Action{port}, tunnelTo(p, pipeline.To(pipeline.TunnelOut))...)...), true
}

// helpers are the other gateways that this one may hand frames for a chassis to, sorted. A gateway that gets them by VXLAN cannot
// know whether they were handed on before, so it is none.
func helpers(r memo.Reader, chassis string) []string {
	node := getNode(r)
	if !node.Gateway || !node.Redirect || node.anyTunnel() == 0 {
		return nil
	}
	var names []string
	for _, k := range r.List(indexGateways, "") {
		// One without routers of its own knows only the switches of its ports.
		p, ok := pathTo(r, k.ID)
		if k.ID != node.Chassis && k.ID != chassis && ok && p.Encap == model.EncapGeneve && len(r.List(indexPinned, k.ID)) > 0 {
			names = append(names, k.ID)
		}
	}
	return names
}

// redirect makes the group by which a gateway sends to a chassis: directly while it is reachable, else by way of the
// first reachable other gateway, which hands the frame on, flagged, so that it cannot come back. What another gateway handed over goes
// there directly, reachable or not.
func redirect(r memo.Reader, o *Output, chassis string) {
	others := helpers(r, chassis)
	if len(others) == 0 || !endpoint(r, chassis).IsValid() {
		return
	}
	g := of.Group{ID: pipeline.ChassisGroupID(hash(chassis)), Type: of.GroupFastFailover}
	by := func(watch uint32, through string) {
		p, ok := pathTo(r, through)
		if !ok || watch == 0 {
			return
		}
		to := tunnelTo(p, pipeline.Again(pipeline.TunnelOut))
		if through != chassis {
			to = slices.Insert(to, 0, of.Action(pipeline.Detour.Load(uint64(g.ID))))
		}
		g.Buckets = append(g.Buckets, of.Bucket{WatchPort: watch, Actions: to})
	}
	// Who was never reachable may just not have been asked yet: no detour for that.
	if watched := get[Watched](r, KindWatched, chassis); watched.OFPort != 0 && !watched.New {
		by(watched.OFPort, chassis)
		for _, other := range others {
			by(get[Watched](r, KindWatched, other).OFPort, other)
		}
		straight(r, o, chassis, g.ID)
	}
	// The last way is the direct one: without BFD, or when it says that nobody is reachable. A bucket must watch
	// something; a flow-based tunnel port is always up.
	by(getNode(r).anyTunnel(), chassis)
	o.Groups = append(o.Groups, g)
}

// straight sends what came from a tunnel, and would make a detour to a chassis, there directly. Else gateways that all lost a chassis, as when
// its switch did not get to run, would throw its packets to each other until their sessions are back.
func straight(r memo.Reader, o *Output, chassis string, detour uint32) {
	if p, ok := pathTo(r, chassis); ok {
		o.add(pipeline.Straight.Flow(pipeline.Detour.Is(pipeline.Redirected.Is(pipeline.FromTunnel.Is(of.Match{}, 1), 0), uint64(detour)),
			append([]of.Action{pipeline.Redirected.Load(1), of.Set(of.InPort, of.U(0))}, tunnelTo(p, pipeline.To(pipeline.Encap))...)...))
	}
}
