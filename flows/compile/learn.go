package compile

import (
	"slices"

	"tuplenet/flows/memo"
	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
	"tuplenet/model"
)

// Behind a port without declared addresses, where nothing is checked either (model.LogicalSwitchPort.Learns), may be any MAC: which
// ones is learnt by Open vSwitch itself, so it needs no daemon, follows a station that moves with its first frame, and is
// as good an hour after the daemon died. What intent says of a MAC wins always: learnt ones are looked for last, and
// nobody may send from one that is declared. On a switch with a patch port nothing is learnt: what is unknown there is in the
// physical network.

// computeLearns tells whether the MACs behind some ports of a switch are learnt.
func computeLearns(r memo.Reader, ls string) any {
	return len(r.List(indexLoose, ls)) > 0 && !hasPatch(r, ls)
}

func learns(r memo.Reader, ls *model.LogicalSwitch) bool {
	return !isMulticast(ls) && r.Derived(derivedLearns, ls.Name).(bool)
}

// Values of pipeline.Learnt.
const (
	learntHere  = 1
	learntThere = 2
)

// compileLearning makes what a switch does with MACs that nobody has declared, and bounds what its ports flood. toAll are the actions
// of a frame for everybody.
func compileLearning(r memo.Reader, o *Output, in of.Match, ls *model.LogicalSwitch, toAll []of.Action) {
	learning := learns(r, ls)
	isVIF := func(k memo.Key) bool { p := getPort(r, k.ID); return p != nil && p.Type == model.PortVIF }
	if !slices.ContainsFunc(r.List(indexOpen, ls.Name), isVIF) {
		return
	}
	var toUnknown []of.Action
	if learning {
		toUnknown = compileUnknown(r, o, in, ls)
	}
	everybody := in.Masked(of.EthDst, of.U(1<<40), of.U(1<<40))
	for _, id := range r.Derived(derivedLocalOf, ls.Name).([]string) {
		p := getPort(r, id)
		pl := placeOf(r, p)
		if p.Type != model.PortVIF || !pl.Here {
			continue
		}
		storm := pipeline.StormMeter(pl.OFPort)
		o.rare().Meters = append(o.rare().Meters, storm)
		metered := []of.Action{of.MeterAction{ID: storm.ID}}
		o.add(pipeline.FloodOf.Flow(pipeline.InPort.Is(everybody, uint64(p.Key)), append(metered, toAll...)...))
		if learning {
			o.add(pipeline.UnknownOf.Flow(pipeline.InPort.Is(in, uint64(p.Key)), append(metered[:1:1], toUnknown...)...))
		}
	}
}

// compileUnknown makes how a MAC is looked for among learnt ones, what is learnt from other chassis, and where a frame goes whose MAC is
// known nowhere; it returns the actions for one of a port here.
func compileUnknown(r memo.Reader, o *Output, in of.Match, ls *model.LogicalSwitch) []of.Action {
	var here, away []of.Bucket
	elsewhere := map[string]bool{}
	for _, k := range r.List(indexLoose, ls.Name) {
		p := getPort(r, k.ID)
		switch pl := placeOf(r, p); {
		case pl.Here:
			here = append(here, of.Bucket{Actions: []of.Action{pipeline.OutPort.Load(uint64(p.Key)), pipeline.Again(pipeline.Deliver)}})
		case pl.Chassis != "" && !elsewhere[pl.Chassis]:
			elsewhere[pl.Chassis] = true
			away = append(away, learnFromChassis(r, o, in, ls, pl.Chassis)...)
		}
	}
	fromTunnel := pipeline.FromTunnel.Is(in, 1)
	o.add(
		pipeline.AskSource.Flow(pipeline.SourceSeen.Is(fromTunnel, 0), pipeline.SourceSeen.Load(1), pipeline.Again(pipeline.Source)),
		pipeline.SearchLearnt.Flow(in, pipeline.OutPort.Load(0), pipeline.Again(pipeline.LearntMAC), pipeline.To(pipeline.ByLearnt)),
		pipeline.UnknownFromTunnel.Flow(fromTunnel, flood(o, ls, pipeline.GroupUnknownLocal, here)...),
	)
	return flood(o, ls, pipeline.GroupUnknown, append(here[:len(here):len(here)], away...))
}

// learnFromChassis learns from the frames of a chassis with such ports that their senders are there; it returns the bucket of a copy
// for it.
func learnFromChassis(r memo.Reader, o *Output, in of.Match, ls *model.LogicalSwitch, chassis string) []of.Bucket {
	c := get[*model.Chassis](r, string(model.KindChassis), chassis)
	p, ok := pathTo(r, chassis)
	if !ok {
		return nil
	}
	o.Endpoints = append(o.Endpoints, p.IP)
	encap := uint64(0)
	if p.Encap == model.EncapVXLAN {
		encap = 1
	}
	load := []of.LearnTerm{{Dst: pipeline.Learnt.Sub, Value: of.U(learntThere)}, {Dst: pipeline.ToVXLAN.Sub, Value: of.U(encap)}}
	if p.IP.Is4() {
		load = append(load, of.LearnTerm{Dst: of.Whole(of.TunDst), Value: of.Addr(p.IP)})
	} else {
		load = append(load, of.LearnTerm{Dst: of.Whole(of.TunDst)}, of.LearnTerm{Dst: of.Whole(of.TunIPv6Dst), Value: of.Addr(p.IP)})
	}
	cookie := pipeline.LearntCookie(hash(ls.Name + "/" + chassis + "/" + p.IP.String() + "/" + string(p.Encap)))
	for _, ip := range c.IPs {
		f := of.TunSrc
		if ip.Is6() {
			f = of.TunIPv6Src
		}
		o.add(pipeline.LearnThere.Flow(pipeline.FromTunnel.Is(in, 1).Eq(f, of.Addr(ip)),
			pipeline.LearnMAC(uint32(ls.VNI), cookie, pipeline.LearntOfChassis, load...), pipeline.To(pipeline.L2Lookup)))
	}
	return []of.Bucket{{Actions: append([]of.Action{pipeline.OutPort.Load(pipeline.FloodKey)}, tunnelTo(p, pipeline.Again(pipeline.Encap))...)}}
}

// learnFromPort learns from the frames of a port here that their senders are behind it.
func learnFromPort(o *Output, from of.Match, p *model.LogicalSwitchPort, ls *model.LogicalSwitch) {
	from = pipeline.FromTunnel.Is(from, 0)
	load := []of.LearnTerm{{Dst: pipeline.Learnt.Sub, Value: of.U(learntHere)}, {Dst: pipeline.OutPort.Sub, Value: of.U(uint64(p.Key))}}
	cookie := pipeline.LearntCookie(hash(ls.Name + "/" + p.Name))
	o.add(
		pipeline.OwnSource.Flow(from.Eq(of.EthSrc, of.MAC(p.MAC)), pipeline.To(pipeline.Responder)),
		pipeline.LearnHere.Flow(from, pipeline.LearnMAC(uint32(ls.VNI), cookie, pipeline.LearntOfPort, load...), pipeline.To(pipeline.Responder)),
	)
}

// declare keeps the MAC of a port from being learnt, or used by others.
func declare(r memo.Reader, o *Output, in of.Match, ls *model.LogicalSwitch, mac model.MAC) {
	if !learns(r, ls) {
		return
	}
	mine := in.Eq(of.EthSrc, of.MAC(mac))
	o.add(
		pipeline.DeclaredElsewhere.Flow(pipeline.FromTunnel.Is(mine, 1), pipeline.To(pipeline.L2Lookup)),
		pipeline.DeclaredSource.Flow(pipeline.FromTunnel.Is(mine, 0)),
	)
}

// compileByLearnt makes what is the same for all switches that learn.
func compileByLearnt(o *Output) {
	any := of.Match{}
	o.add(
		pipeline.NotToLearn.Flow(any, pipeline.To(pipeline.L2Lookup)),
		pipeline.NotLearnt.Flow(any, pipeline.Learnt.Load(0)),
		pipeline.LearntHere.Flow(pipeline.Learnt.Is(any, learntHere), pipeline.To(pipeline.Deliver)),
		pipeline.LearntThere.Flow(pipeline.FromTunnel.Is(pipeline.Learnt.Is(any, learntThere), 0), pipeline.To(pipeline.TunnelOut)),
		pipeline.NobodyHasIt.Flow(any),
	)
}
