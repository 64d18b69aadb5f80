package compile

import (
	"tuplenet/flows/memo"
	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
	"tuplenet/model"
)

// compileSwitch makes what belongs to a switch as a whole: the groups for everybody, and that nothing is flooded to
// find an address which intent does not know.
func compileSwitch(r memo.Reader, name string) Output {
	var o Output
	ls := getSwitch(r, name)
	if ls == nil {
		return o
	}
	if isMulticast(ls) {
		return compileMulticast(r, ls)
	}
	in := pipeline.Datapath.Is(of.Match{}, uint64(ls.VNI))
	m := r.Derived(derivedMembers, name).(members)

	var here, away []of.Bucket
	for _, key := range m.Local {
		here = append(here, of.Bucket{Actions: []of.Action{pipeline.OutPort.Load(uint64(key)), pipeline.Again(pipeline.Deliver)}})
	}
	for _, chassis := range m.Remote {
		p, ok := pathTo(r, chassis)
		if !ok {
			continue
		}
		o.Endpoints = append(o.Endpoints, p.IP)
		away = append(away, of.Bucket{Actions: append([]of.Action{pipeline.OutPort.Load(pipeline.FloodKey)}, tunnelTo(p, pipeline.Again(pipeline.Encap))...)})
	}
	everybody := in.Masked(of.EthDst, of.U(1<<40), of.U(1<<40))
	local := flood(&o, ls, pipeline.GroupFloodLocal, here)
	all := flood(&o, ls, pipeline.GroupFlood, append(here[:len(here):len(here)], away...))
	o.add(
		pipeline.FloodFromTunnel.Flow(pipeline.FromTunnel.Is(everybody, 1), local...),
		pipeline.Flood.Flow(everybody, all...),
	)
	compileLearning(r, &o, in, ls, all)
	compilePatch(r, &o, in, name)
	askInSwitch(r, &o, in, ls)
	if len(r.List(indexOpen, name)) == 0 {
		o.add(
			pipeline.UnknownARP.Flow(in.ARP().Eq(of.ARPOp, of.U(arpRequest))),
			pipeline.UnknownND.Flow(in.NDSolicit()),
		)
	}
	return o
}

// flood makes the groups that give a copy to every bucket, and returns the actions that run them.
func flood(o *Output, ls *model.LogicalSwitch, kind uint8, buckets []of.Bucket) []of.Action {
	var run []of.Action
	for part := uint8(0); part == 0 || len(buckets) > 0; part++ {
		if part == pipeline.GroupParts {
			o.Problems = append(o.Problems, model.Problem{Key: FactKey(ls.Ref()).String(),
				Reason: "too many members: broadcast does not reach all of them"})
			break
		}
		n := min(len(buckets), pipeline.GroupPart)
		g := of.Group{ID: pipeline.GroupID(kind, part, uint32(ls.VNI)), Type: of.GroupAll, Buckets: buckets[:n:n]}
		buckets = buckets[n:]
		o.Groups = append(o.Groups, g)
		run = append(run, of.GroupAction{ID: g.ID})
	}
	return run
}
