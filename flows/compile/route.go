package compile

import (
	"hash/fnv"
	"net/netip"
	"slices"
	"strings"

	"tuplenet/flows/memo"
	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
	"tuplenet/model"
)

// way is one of the ways of a static route.
type way struct {
	name   string
	port   *model.LogicalRouterPort
	hop    netip.Addr
	weight uint16
	// pinned is the pinned router that the next hop is an address of, peer the switch port in front of it, ls its switch; nil
	// if it is none.
	pinned   *model.LogicalRouter
	peer, ls string
	// chassis is where the next hop lives, if it is a pinned router on another chassis; a way is used only while that
	// chassis is reachable.
	chassis string
}

// routesOf are the prefixes of the static routes of a router, each as ROUTER/PREFIX.
func routesOf(r memo.Reader, lr string) []string {
	var ids []string
	for _, k := range r.List(indexRoutes, lr) {
		if s := getRoute(r, k.ID); s != nil {
			ids = append(ids, routeGroup(s))
		}
	}
	return ids
}

// routeGroup names the routes of a router that are ways of one route: those with the same prefix.
func routeGroup(s *model.StaticRoute) string { return s.Router + "/" + s.Prefix.String() }

func getRoute(r memo.Reader, id string) *model.StaticRoute {
	return get[*model.StaticRoute](r, string(model.KindRoute), id)
}

// compileRoute makes the route of a router for one prefix: a next hop, or a group that spreads over several.
func compileRoute(r memo.Reader, id string) Output {
	var o Output
	name, text, _ := strings.Cut(id, "/")
	prefix, err := netip.ParsePrefix(text)
	lr := getRouter(r, name)
	if err != nil || lr == nil {
		return o
	}
	ways := waysOf(r, &o, id)
	if len(ways) == 0 {
		return o
	}
	in := pipeline.Datapath.Is(of.Match{}, uint64(lr.ID))
	if node := getNode(r); node.HostPort != 0 && allOutside(ways) {
		o.add(untunnel(node, routePriority(prefix, staticRank), toPrefix(in, prefix)))
		return o
	}
	if ways = watchedOnes(r, finished(r, ways, prefix)); len(ways) == 1 {
		o.add(pipeline.Static.FlowAt(routePriority(prefix, staticRank), toPrefix(in, prefix),
			append([]of.Action{of.DecTTL{}, pipeline.Routed.Load(1)}, ways[0].actions(pipeline.To(pipeline.Neighbour))...)...))
		return o
	}
	g := of.Group{ID: pipeline.RouteGroupID(hash(id)), Type: of.GroupSelect, Hash: selection(getNode(r).HashFunction, prefix.Addr().Is4())}
	for _, w := range ways {
		b := of.Bucket{ID: uint32(hash(w.name)>>8) & bucketIDs, Weight: max(w.weight, 1), Actions: w.actions(pipeline.Again(pipeline.Neighbour))}
		if w.chassis != "" {
			b.WatchPort = get[Watched](r, KindWatched, w.chassis).OFPort
		}
		g.Buckets = append(g.Buckets, b)
	}
	o.Groups = orAll(g, hash(id))
	o.add(pipeline.Static.FlowAt(routePriority(prefix, staticRank), toPrefix(in, prefix),
		of.DecTTL{}, pipeline.Routed.Load(1), of.GroupAction{ID: o.Groups[len(o.Groups)-1].ID}))
	return o
}

// orAll adds to the group of the ways of a route what happens while BFD calls them all unreachable: then they all are used, as if all were
// reachable. For it may be BFD that is wrong, when this node's own switch did not get to run, and a destination then keeps its
// edge. The last group is the one to go to.
func orAll(g of.Group, h uint64) []of.Group {
	if slices.ContainsFunc(g.Buckets, func(b of.Bucket) bool { return b.WatchPort == 0 }) {
		return []of.Group{g}
	}
	all := g
	all.ID, all.Buckets = pipeline.RouteAllGroupID(h), slices.Clone(g.Buckets)
	for i := range all.Buckets {
		all.Buckets[i].WatchPort = 0
	}
	choice := of.Group{ID: pipeline.RouteChoiceGroupID(h), Type: of.GroupFastFailover}
	for _, id := range []uint32{g.ID, all.ID} {
		choice.Buckets = append(choice.Buckets, of.Bucket{WatchGroup: id, Actions: []of.Action{of.GroupAction{ID: id}}})
	}
	return []of.Group{g, all, choice}
}

// allOutside tells whether every way of a route leads to an edge on another chassis.
func allOutside(ways []way) bool {
	return !slices.ContainsFunc(ways, func(w way) bool { return w.chassis == "" })
}

// untunnel hands packets that would go to an edge to the host's own stack; the replies come back through the edge.
func untunnel(node Node, extra uint16, to of.Match) pipeline.Flow {
	return pipeline.Untunnel.FlowAt(extra, to, of.DecTTL{}, of.Set(of.EthDst, of.MAC(node.HostMAC)), of.Output{Port: node.HostPort})
}

// bucketIDs keeps ids of buckets below the reserved ones (OpenFlow 1.5.1 section 7.3.4.4).
const bucketIDs = 0x0fffffff

func hash(s string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s))
	return h.Sum64()
}

// actions set next hop and out-port, and go on.
func (w way) actions(next of.Action) []of.Action {
	hop := of.Set(of.XXReg0, of.Addr(w.hop))
	if w.hop.Is4() {
		hop = of.Set(of.Reg0, of.Addr(w.hop))
	}
	return []of.Action{pipeline.OutPort.Load(uint64(w.port.Key)), hop, next}
}

// waysOf are the usable ways of a route, sorted by name; the others are problems.
func waysOf(r memo.Reader, o *Output, group string) []way {
	var ways []way
	for _, k := range r.List(indexRouteGroup, group) {
		s := getRoute(r, k.ID)
		if s == nil {
			continue
		}
		rp := getRouterPort(r, s.Router+"/"+s.OutPort)
		if rp == nil {
			o.Problems = append(o.Problems, model.Problem{Key: k.String(), Reason: `out-port "` + s.OutPort + `" does not exist on router "` + s.Router + `"`})
			continue
		}
		peer := switchPeer(r, rp)
		if peer == nil {
			o.Problems = append(o.Problems, model.Problem{Key: k.String(), Reason: `out-port "` + s.OutPort + `" leads to no switch`})
			continue
		}
		w := way{name: s.Name, port: rp, hop: s.NextHop, weight: s.Weight}
		if l, ok := hopOwner(r, peer.Switch, s.NextHop); ok {
			if lr := getRouter(r, l.Router); lr != nil && lr.Chassis != "" {
				w.pinned, w.peer, w.ls, w.chassis = lr, l.Port, peer.Switch, l.Elsewhere
			}
		}
		if w.chassis != "" && !endpoint(r, w.chassis).IsValid() {
			o.Problems = append(o.Problems, model.Problem{Key: k.String(), Reason: `its next hop lives on chassis "` + w.chassis + `", which cannot be reached from here`})
			continue
		}
		ways = append(ways, w)
	}
	slices.SortFunc(ways, func(a, b way) int { return strings.Compare(a.name, b.name) })
	return ways
}

// watchedOnes leaves one way if it is not known of any yet whether its chassis can be reached: a session of BFD takes a second or two
// to come up, and all ways would count as down until then.
func watchedOnes(r memo.Reader, ways []way) []way {
	if slices.ContainsFunc(ways, func(w way) bool { return w.chassis == "" || !get[Watched](r, KindWatched, w.chassis).New }) {
		return ways
	}
	return ways[:1]
}

// Ranks of routes with the same prefix.
const (
	staticRank    = 1
	returnRank    = 2
	connectedRank = 3
	perPrefixBit  = 4
)

func routePriority(p netip.Prefix, rank int) uint16 { return uint16(p.Bits()*perPrefixBit + rank) }

func toPrefix(in of.Match, p netip.Prefix) of.Match {
	if p.Addr().Is4() {
		return in.IPv4().Prefix(of.IPDst, p)
	}
	return in.IPv6().Prefix(of.IPv6Dst, p)
}

// Hash functions by which packets are spread over equal routes, by the names that operators know (ovs-actions(7),
// multipath).
var hashFields = map[string]struct{ v4, v6 []of.Field }{
	"nw_dst":             {[]of.Field{of.IPDst}, []of.Field{of.IPv6Dst}},
	"nw_src":             {[]of.Field{of.IPSrc}, []of.Field{of.IPv6Src}},
	"eth_src":            {[]of.Field{of.EthSrc}, []of.Field{of.EthSrc}},
	"symmetric_l4":       {l4Fields(of.IPSrc, of.IPDst), l4Fields(of.IPv6Src, of.IPv6Dst)},
	"symmetric_l3l4":     {l4Fields(of.IPSrc, of.IPDst), l4Fields(of.IPv6Src, of.IPv6Dst)},
	"symmetric_l3l4+udp": {append(l4Fields(of.IPSrc, of.IPDst), of.UDPSrc, of.UDPDst), append(l4Fields(of.IPv6Src, of.IPv6Dst), of.UDPSrc, of.UDPDst)},
}

func l4Fields(src, dst of.Field) []of.Field {
	return []of.Field{src, dst, of.IPProto, of.TCPSrc, of.TCPDst}
}

// DefaultHash is the hash function unless the node is told otherwise: one destination keeps its way.
const DefaultHash = "nw_dst"

// ValidHash tells whether there is a hash function of this name.
func ValidHash(name string) bool { _, ok := hashFields[name]; return ok }

// HashNames lists the hash functions.
func HashNames() []string {
	var names []string
	for n := range hashFields {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

func selection(name string, v4 bool) *of.HashSelection {
	f, ok := hashFields[name]
	if !ok {
		f = hashFields[DefaultHash]
	}
	if v4 {
		return &of.HashSelection{Method: of.MethodHash, Fields: f.v4}
	}
	return &of.HashSelection{Method: of.MethodHash, Fields: f.v6}
}
