package compile

import (
	"net/netip"

	"tuplenet/flows/memo"
	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
	"tuplenet/model"
)

// KindNeighbour is a neighbour of a pinned router in the physical network, learnt by this node. Its id is what
// Neighbour.ID returns.
const KindNeighbour = "neighbour"

// Neighbour is an address of the physical network behind a router port, and its MAC.
type Neighbour struct {
	Router, Port string
	IP           netip.Addr
	MAC          model.MAC
}

// ID names the neighbour among all of a node.
func (n Neighbour) ID() string { return n.Router + "/" + n.Port + "/" + n.IP.String() }

// neighboursInScope are the learnt neighbours.
func neighboursInScope(r memo.Reader) []string {
	var ids []string
	for _, k := range r.List(indexAll, KindNeighbour) {
		ids = append(ids, k.ID)
	}
	return ids
}

// compileNeighbour makes a learnt neighbour's MAC known to its router. What intent says of the same address wins.
func compileNeighbour(r memo.Reader, id string) Output {
	var o Output
	n := get[Neighbour](r, KindNeighbour, id)
	lr := getRouter(r, n.Router)
	rp := getRouterPort(r, n.Router+"/"+n.Port)
	if lr == nil || rp == nil {
		return o
	}
	in := pipeline.OutPort.Is(pipeline.Datapath.Is(of.Match{}, uint64(lr.ID)), uint64(rp.Key))
	o.add(pipeline.LearntNeighbour.Flow(nextHopIs(in, n.IP), of.Set(of.EthDst, of.MAC(n.MAC)), pipeline.To(pipeline.UnDNAT)))
	return o
}

// resolve makes the daemon find the MAC of a next hop behind a port of a pinned router that leads to a physical
// network; the packet waits there.
func resolve(r memo.Reader, o *Output, lr *model.LogicalRouter, rp *model.LogicalRouterPort, ls string) {
	if lr.Chassis == "" || !hasPatch(r, ls) {
		return
	}
	out := pipeline.OutPort.Is(pipeline.Datapath.Is(of.Match{}, uint64(lr.ID)), uint64(rp.Key))
	for _, ip := range []of.Match{out.IPv4(), out.IPv6()} {
		o.add(pipeline.Resolve.Flow(ip, pipeline.ToDaemon(pipeline.PuntResolve)))
	}
}

func hasPatch(r memo.Reader, ls string) bool {
	for _, k := range r.List(indexOpen, ls) {
		if p := getPort(r, k.ID); p != nil && p.Type == model.PortPatch {
			return true
		}
	}
	return false
}
