package compile

import (
	"tuplenet/flows/memo"
	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
	"tuplenet/model"
)

// compilePatch makes a switch's way to the physical network: frames for MACs that nobody on the switch has leave
// through a patch port, and what the physical network tells of its own addresses is shown to the daemon.
func compilePatch(r memo.Reader, o *Output, in of.Match, ls string) {
	var out *model.LogicalSwitchPort
	var at place
	for _, k := range r.List(indexOpen, ls) {
		p := getPort(r, k.ID)
		if p == nil || p.Type != model.PortPatch {
			continue
		}
		pl := placeOf(r, p)
		if pl.Here {
			learnFrom(o, pipeline.InPort.Is(in, uint64(p.Key)))
		}
		// One on this chassis comes first, then the first by name that is on any.
		if pl.Here && !at.Here || out == nil && pl.Chassis != "" {
			out, at = p, pl
		}
	}
	switch {
	case out == nil:
	case at.Here:
		o.add(
			pipeline.FromPatch.Flow(pipeline.InPort.Is(in, uint64(out.Key))),
			pipeline.ToPatch.Flow(in, pipeline.OutPort.Load(uint64(out.Key)), pipeline.To(pipeline.Deliver)))
	default:
		if f, ok := towards(r, at.Chassis, in, out.Key, pipeline.ToPatch, pipeline.PatchByGateway); ok {
			o.add(f)
		}
	}
}

// learnFrom shows the daemon ARP replies and announcements, and neighbour advertisements, of the physical network; they
// go on to whom they are for.
func learnFrom(o *Output, from of.Match) {
	look := []of.Action{pipeline.ToDaemon(pipeline.PuntLearn), pipeline.To(pipeline.L2Lookup)}
	o.add(
		pipeline.Learn.FlowAt(1, from.ARP().Eq(of.ARPOp, of.U(arpReply)), look...),
		pipeline.Learn.FlowAt(1, from.NDAdvertise(), look...),
		pipeline.Learn.Flow(from.ARP().Eq(of.ARPOp, of.U(arpRequest)), look...),
	)
}

// patchesHere are the patch ports whose pair this node makes. Only gateways make any.
func patchesHere(r memo.Reader) []string {
	node := getNode(r)
	if !node.Gateway {
		return nil
	}
	var ids []string
	for _, k := range r.List(indexPatchAt, node.Chassis) {
		ids = append(ids, k.ID)
	}
	return ids
}

func compilePatchPair(r memo.Reader, id string) Output {
	p := getPort(r, id)
	if p == nil {
		return Output{}
	}
	return Output{}.With(Seldom{Patches: []Patch{{Port: p.Name, Bridge: p.Bridge}}})
}
