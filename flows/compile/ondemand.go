package compile

import (
	"maps"
	"slices"

	"tuplenet/flows/memo"
	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
	"tuplenet/model"
)

// On demand a node has the flows of its own ports, of routers and of the ports on other chassis that its ports speak to
// (wanted ones); what misses them is shown to the daemon, which makes a port wanted. Nothing else reads the ports that nobody
// wants, so they cost nothing but their place in the broadcast groups.

// KindWanted is a port elsewhere that somebody here speaks to; its id is that of the port's own fact.
const KindWanted = "wanted"

// Wanted is the fact that a port of a switch is wanted.
type Wanted struct{ Switch string }

// isEager tells whether a node has the flows of all ports of a switch beforehand: not on demand, or where unknown MACs leave
// for a physical network or are looked for, so that misses would not end.
func isEager(r memo.Reader, ls string) bool { return r.Derived(derivedEager, ls).(bool) }

func computeEager(r memo.Reader, ls string) any {
	return !getNode(r).OnDemand || hasPatch(r, ls) || r.Derived(derivedLearns, ls).(bool)
}

// portsToCompile are the ports of a switch whose flows the node has.
func portsToCompile(r memo.Reader, ls string) []string {
	if sw := getSwitch(r, ls); sw != nil && isMulticast(sw) {
		ids := slices.Clone(r.Derived(derivedLocalOf, ls).([]string))
		for _, k := range r.List(indexLinks, ls) { // only to be refused
			ids = append(ids, k.ID)
		}
		return ids
	}
	if isEager(r, ls) {
		return listed(indexPorts)(r, ls)
	}
	ids := slices.Clone(r.Derived(derivedLocalOf, ls).([]string))
	for _, k := range r.List(indexLinks, ls) {
		ids = append(ids, k.ID)
	}
	for _, k := range r.List(indexWanted, ls) {
		ids = append(ids, k.ID)
	}
	return ids
}

// computeLocal sorts the ports with an interface here by their switches.
func computeLocal(r memo.Reader, _ string) any {
	by := map[string][]string{}
	for _, id := range localPorts(r) {
		ls := getPort(r, id).Switch
		by[ls] = append(by[ls], id)
	}
	return by
}

func computeLocalOf(r memo.Reader, ls string) any {
	return r.Derived(derivedLocal, "").(map[string][]string)[ls]
}

// computeEdges finds for each switch in scope the gateways that have all flows of the switches that distributed routers connect it
// with: those with a pinned router on one of them.
func computeEdges(r memo.Reader, _ string) any {
	islands, found := groups{}, map[model.Ref]map[string]bool{}
	s := r.Derived(derivedScope, "").(scope)
	for _, ls := range s.Switches {
		for _, l := range r.Derived(derivedLinks, ls).([]link) {
			if l.Elsewhere == "" {
				islands.join(switchRef(ls), routerRef(l.Router))
			}
		}
	}
	for _, ls := range s.Switches {
		for _, l := range r.Derived(derivedLinks, ls).([]link) {
			if lr := getRouter(r, l.Router); l.Elsewhere != "" && pinProblem(r, lr) == "" {
				at := islands.of(switchRef(ls))
				if found[at] == nil {
					found[at] = map[string]bool{}
				}
				found[at][l.Elsewhere] = true
			}
		}
	}
	by := map[string][]string{}
	for _, ls := range s.Switches {
		if all := found[islands.of(switchRef(ls))]; all != nil {
			by[ls] = slices.Sorted(maps.Keys(all))
		}
	}
	return by
}

func computeEdgesOf(r memo.Reader, ls string) any {
	return r.Derived(derivedEdges, "").(map[string][]string)[ls]
}

// ask is what happens to a packet that misses: it goes to the daemon while that lives, else to the first edge that is
// reachable. toEdge are the actions that bring it there, but for the tunnel's address. Without an edge there is no choice.
func (o *Output) ask(r memo.Reader, missed uint64, ls string, group uint32, toEdge ...of.Action) []of.Action {
	node := getNode(r)
	begin := pipeline.Missed.Load(missed)
	g := of.Group{ID: group, Type: of.GroupFastFailover}
	if node.LifePort != 0 && node.anyTunnel() != 0 {
		for _, chassis := range r.Derived(derivedEdgesOf, ls).([]string) {
			// What comes by VXLAN an edge does not hand on.
			p, ok := pathTo(r, chassis)
			if watch := get[Watched](r, KindWatched, chassis).OFPort; ok && p.Encap == model.EncapGeneve && watch != 0 {
				g.Buckets = append(g.Buckets, of.Bucket{WatchPort: watch, Actions: append(slices.Clone(toEdge), tunnelTo(p, pipeline.Again(pipeline.TunnelOut))...)})
			}
		}
	}
	if len(g.Buckets) == 0 {
		return []of.Action{begin, pipeline.To(pipeline.Miss)}
	}
	g.Buckets = slices.Insert(g.Buckets, 0, of.Bucket{WatchPort: node.LifePort, Actions: []of.Action{pipeline.Again(pipeline.Miss)}})
	o.Groups = append(o.Groups, g)
	return []of.Action{begin, of.GroupAction{ID: group}}
}

// askInSwitch makes the daemon know of packets for ports of a switch that are not here.
func askInSwitch(r memo.Reader, o *Output, in of.Match, ls *model.LogicalSwitch) {
	if isEager(r, ls.Name) {
		return
	}
	unseen := pipeline.Asked.Is(in, 0)
	who := []of.Action{pipeline.Missed.Load(pipeline.MissedAnswer), pipeline.To(pipeline.Miss)}
	if node := getNode(r); node.LifePort != 0 && node.anyTunnel() != 0 {
		who = []of.Action{pipeline.Missed.Load(pipeline.MissedAnswer), of.GroupAction{ID: pipeline.AskWhoGroupID}}
	}
	o.add(
		pipeline.AskARP.Flow(unseen.ARP().Eq(of.ARPOp, of.U(arpRequest)), who...),
		pipeline.AskND.Flow(unseen.NDSolicit(), who...),
		pipeline.AskPort.Flow(unseen, o.ask(r, pipeline.MissedPort, ls.Name, pipeline.AskGroupID(uint32(ls.VNI)), pipeline.OutPort.Load(0))...),
	)
}

// askForNeighbours makes the daemon know of packets for next hops behind a router port that are not here. An edge gets them as if
// they had come to it from the switch behind the port.
func askForNeighbours(r memo.Reader, o *Output, lr *model.LogicalRouter, rp *model.LogicalRouterPort, ls *model.LogicalSwitch, peer *model.LogicalSwitchPort) {
	if isEager(r, ls.Name) {
		return
	}
	out := pipeline.Asked.Is(pipeline.OutPort.Is(pipeline.Datapath.Is(of.Match{}, uint64(lr.ID)), uint64(rp.Key)), 0)
	ask := o.ask(r, pipeline.MissedNeighbour, ls.Name, pipeline.AskNextGroupID(hash(rp.Router+"/"+rp.Name)),
		pipeline.Datapath.Load(uint64(ls.VNI)), pipeline.InPort.Load(uint64(peer.Key)), pipeline.OutPort.Load(0),
		pipeline.FromTunnel.Load(0), pipeline.Redirected.Load(0), of.Set(of.EthDst, of.MAC(rp.MAC)))
	for _, ip := range []of.Match{out.IPv4(), out.IPv6()} {
		o.add(pipeline.AskNeighbour.Flow(ip, ask...))
	}
}

// askWho is what questions do that nobody answers here: without the daemon everybody on the switch is asked.
func askWho(r memo.Reader, o *Output) {
	node := getNode(r)
	if !node.OnDemand {
		return
	}
	o.add(pipeline.AskOfOthers.Flow(of.Match{}, pipeline.AskDaemon(0)))
	if node.LifePort == 0 || node.anyTunnel() == 0 {
		return
	}
	o.Groups = append(o.Groups, of.Group{ID: pipeline.AskWhoGroupID, Type: of.GroupFastFailover, Buckets: []of.Bucket{
		{WatchPort: node.LifePort, Actions: []of.Action{pipeline.Again(pipeline.Miss)}},
		{WatchPort: node.anyTunnel(), Actions: []of.Action{pipeline.Again(pipeline.L2Lookup)}},
	}})
}
