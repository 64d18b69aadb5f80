// Package compile turns intent into what a node must have: pure functions from one logical object, and what it reads,
// to the complete desired set for that object. A function here never sends, deletes, logs, keeps time or remembers;
// flows/memo records what it reads and calls it again when that changes. The controller feeds the facts and hands the
// outputs to the reconcilers.
//
// One file a feature; Features is the ordered list of them.
package compile

import (
	"net/netip"
	"slices"

	"tuplenet/flows/memo"
	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
	"tuplenet/model"
)

// Kinds of facts beside those of the model. A fact's key is FactKey(ref) for objects, and the name for the others.
const (
	// KindInterface is a local OVS interface that carries a port's iface-id; its id is the port's name.
	KindInterface = "interface"
	// KindNode is what the node knows of itself; its only id is empty.
	KindNode = "node"
	// KindWatched is the port through which another chassis is watched; its id is the chassis' name.
	KindWatched = "watched"
)

// Interface is a workload's or patch interface on this node's integration bridge that has its OpenFlow port number.
type Interface struct {
	OFPort uint32
}

// Watched is a tunnel port to one chassis that runs BFD: it is up while the chassis is reachable.
type Watched struct {
	OFPort uint32
	// New says that the chassis was not reachable yet since the port is there.
	New bool
	// Encap is that of the port.
	Encap model.Encap
}

// Watch is another chassis to be watched, its tunnel endpoint, and the encapsulation that both ends use for that.
type Watch struct {
	Chassis string
	IP      netip.Addr
	Encap   model.Encap
}

// Patch is a pair of patch ports that leads from a switch port to an OVS bridge of the operator.
type Patch struct{ Port, Bridge string }

// Announcement is an address on a switch that leads to a physical network or is a multicast network, its MAC, and the key of the switch port that
// it is behind.
type Announcement struct {
	VNI  model.VNI
	Port model.PortKey
	MAC  model.MAC
	IP   netip.Addr
	// Router: it is the address of a router.
	Router bool
}

// Translation is a translation of addresses that this node does, and the zones where connection tracking keeps its connections:
// those to the external address and those from inside.
type Translation struct {
	Type            model.NATType
	Inside          netip.Prefix
	External        netip.Addr
	InZone, OutZone uint16
}

// Node is what the node knows of itself.
type Node struct {
	Chassis string
	// IPs are the node's own tunnel endpoints.
	IPs []netip.Addr
	// Encaps are the encapsulations that the node offers to others, the best first.
	Encaps []model.Encap
	// TunnelPort and VXLANPort are the OpenFlow ports of the flow-based tunnels by Geneve and by VXLAN, 0 while there is none.
	TunnelPort, VXLANPort uint32
	// TunnelMTU is the largest IP packet that fits into the tunnels, in bytes; 0 = not known, nothing is checked.
	TunnelMTU int
	// MulticastMTU is the largest IP packet that fits into the VXLAN devices of multicast networks, in bytes; 0 = not known.
	MulticastMTU int
	// Gateway allows pinned routers and patch ports here.
	Gateway bool
	// HostPort is the internal port to the host's own stack, and HostMAC its address. With it, what routers would send to an
	// edge leaves through the host (untunnel); 0 = there is none.
	HostPort uint32
	HostMAC  model.MAC
	// OnDemand makes the node have the flows of ports on other chassis only once they are wanted. LifePort is an OpenFlow port
	// that is up while the daemon answers packets that miss; 0 = there is none, and without the daemon they are lost.
	OnDemand bool
	LifePort uint32
	// Redirect lets a gateway send by way of another one to a chassis that it cannot reach itself.
	Redirect bool
	// HashFunction spreads packets over equal routes; empty = DefaultHash.
	HashFunction string
}

// Output is the complete desired set for one object.
type Output struct {
	Flows  []pipeline.Flow
	Groups []of.Group
	// Endpoints are tunnel addresses of other chassis that packets of this object may be sent to.
	Endpoints []netip.Addr
	// Tunnels are the encapsulations by which other chassis want to be sent packets.
	Tunnels []model.Encap
	// Problems say why the object, or another one that it needs, is out of service.
	Problems []model.Problem

	seldom *Seldom
}

// Seldom is the part of an output that few objects have. It is apart because a node holds an output for each port that it knows flows of.
type Seldom struct {
	// Meters that the flows use, besides those that every switch has.
	Meters []of.Meter
	// Guests are the workloads here that are told about their network, and what.
	Guests []model.Guest
	// Watch are other chassis whose reachability must be watched (BFD).
	Watch []Watch
	// Carries are switch ports in front of routers that are pinned to this node, to which traffic may be sent once the flows are there.
	Carries []string
	// Patches are the pairs of patch ports that this node makes.
	Patches []Patch
	// Announce are addresses that this node answers for in a physical network, and has to announce when it begins to.
	Announce []Announcement
	// Translations are those of this node's routers: once one of them goes, its connections have to.
	Translations []Translation
	// Multicast are the multicast networks that this node takes part in.
	Multicast []Multicast
}

// Seldom is what the output has of it.
func (o Output) Seldom() Seldom {
	if o.seldom == nil {
		return Seldom{}
	}
	return *o.seldom
}

// With is the output with another such part.
func (o Output) With(s Seldom) Output {
	o.seldom = &s
	return o
}

// rare is where to put what few outputs have.
func (o *Output) rare() *Seldom {
	if o.seldom == nil {
		o.seldom = &Seldom{}
	}
	return o.seldom
}

// Equal tells whether two outputs ask for the same.
func (o Output) Equal(p Output) bool {
	return slices.EqualFunc(o.Flows, p.Flows, func(a, b pipeline.Flow) bool { return a.Rule == b.Rule && a.Hash() == b.Hash() }) &&
		slices.EqualFunc(o.Groups, p.Groups, sameGroup) && slices.Equal(o.Endpoints, p.Endpoints) && slices.Equal(o.Tunnels, p.Tunnels) &&
		slices.Equal(o.Problems, p.Problems) && (o.seldom == p.seldom || o.Seldom().equal(p.Seldom()))
}

func (s Seldom) equal(t Seldom) bool {
	return slices.Equal(s.Meters, t.Meters) && slices.EqualFunc(s.Guests, t.Guests, model.Guest.Equal) && slices.Equal(s.Watch, t.Watch) &&
		slices.Equal(s.Carries, t.Carries) && slices.Equal(s.Patches, t.Patches) && slices.Equal(s.Announce, t.Announce) &&
		slices.Equal(s.Translations, t.Translations) && slices.Equal(s.Multicast, t.Multicast)
}

func sameGroup(a, b of.Group) bool { return a.String() == b.String() }

func (o *Output) add(flows ...pipeline.Flow) { o.Flows = append(o.Flows, flows...) }

// New makes the engine that compiles for one node.
func New() *memo.Engine[Output] {
	return memo.New(memo.Config[Output]{
		Indexes:     indexes(),
		Joins:       joins(),
		Derived:     derived(),
		Features:    Features(),
		EqualOutput: Output.Equal,
	})
}

// Features lists what is compiled, in the order in which outputs are reported.
func Features() []memo.Feature[Output] {
	return []memo.Feature[Output]{
		{Name: "base", Roots: once, Compile: compileBase},
		{Name: "tunnel", Roots: once, Compile: compileTunnel},
		{Name: "peer", Roots: peers, Compile: compilePeer},
		{Name: "watched", Roots: watched, Compile: compileWatched},
		{Name: "router", Roots: routersInSight, Compile: compileRouter},
		{Name: "routerport", Roots: routersInScope, Members: listed(indexRouterPorts), Compile: compileRouterPort},
		{Name: "route", Roots: routersInScope, Members: routesOf, Compile: compileRoute},
		{Name: "nat", Roots: routersNear, Members: listed(indexNAT), Compile: compileNAT},
		{Name: "switch", Roots: switchesInScope, Compile: compileSwitch},
		{Name: "port", Roots: switchesInScope, Members: portsToCompile, Compile: compilePort},
		{Name: "patch", Roots: patchesHere, Compile: compilePatchPair},
		{Name: "neighbour", Roots: neighboursInScope, Compile: compileNeighbour},
		{Name: "local", Roots: localPorts, Compile: compileLocal},
		{Name: "hosts", Roots: localPorts, Compile: compileHosts},
	}
}

func once(memo.Reader) []string { return []string{""} }
