package pipeline

import (
	"encoding/binary"

	"tuplenet/flows/of"
)

// Registers. The datapath (switch or router) that a packet is in is the whole of metadata.
var (
	Datapath    = Field{"datapath", of.Whole(of.Metadata), "VNI of the switch, or id of the router, that the packet is in"}
	NextHop4    = Field{"next_hop4", of.Whole(of.Reg0), "IPv4 next hop"}
	NextHop6    = Field{"next_hop6", of.Whole(of.XXReg0), "IPv6 next hop"}
	Detour      = Field{"detour", of.Whole(of.Reg4), "the chassis, by its group, that the packet is for while another gateway is to hand it on; 0 = it goes there itself"}
	RouterPort  = Field{"router_in_port", of.Whole(of.Reg8), "key of the port through which the packet entered the last router"}
	LastRouter  = Field{"last_router", of.Whole(of.Reg9), "id of the last router that the packet crossed"}
	FromTunnel  = Field{"from_tunnel", of.Bits(of.Reg10, 0, 1), "the packet came from another chassis"}
	Redirected  = Field{"redirected", of.Bits(of.Reg10, 1, 1), "the packet was already handed on by a chassis that was not its destination"}
	Routed      = Field{"routed", of.Bits(of.Reg10, 2, 1), "the packet crossed a router on this chassis"}
	TooBig      = Field{"too_big", of.Bits(of.Reg10, 3, 1), "the packet does not fit into the tunnel, or the network behind the router's port"}
	FromVXLAN   = Field{"from_vxlan", of.Bits(of.Reg10, 4, 1), "the packet came through a VXLAN tunnel, which carries no port keys and flags"}
	ToVXLAN     = Field{"to_vxlan", of.Bits(of.Reg10, 5, 1), "the chassis that the packet is sent to wants VXLAN"}
	Learnt      = Field{"learnt", of.Bits(of.Reg10, 6, 2), "where the destination MAC was learnt: 0 nowhere, 1 on this chassis, 2 on another one"}
	Asked       = Field{"asked", of.Bits(of.Reg10, 8, 1), "on demand: the daemon has seen the packet"}
	Missed      = Field{"missed", of.Bits(of.Reg10, 9, 2), "on demand: what missed: 1 responder, 2 l2_lookup, 3 neighbour"}
	SourceSeen  = Field{"source_seen", of.Bits(of.Reg10, 11, 1), "the packet, from another chassis, was in the table of sources"}
	FromEdge    = Field{"from_edge", of.Bits(of.Reg10, 16, 12), "number of the edge router that translated the destination, for inside addresses that have external ones at several edges; 0 = none"}
	PingID      = Field{"ping_id", of.Bits(of.Reg11, 0, 16), "identifier that the sender of a renumbered ping gave it"}
	Renumbered  = Field{"renumbered", of.Bits(of.Reg11, 16, 1), "the daemon gave the ping another identifier"}
	Restored    = Field{"restored", of.Bits(of.Reg11, 17, 1), "the daemon gave the answer to a renumbered ping its identifier back"}
	Tries       = Field{"tries", of.Bits(of.Reg11, 20, 4), "how many identifiers of a ping were tried"}
	Ingress     = Field{"ingress", of.Whole(of.Reg12), "on demand: OpenFlow port of the workload that sent the packet, 0 = it is of another chassis"}
	InPort      = Field{"in_port_key", of.Whole(of.Reg14), "port key by which the packet entered the present switch or router"}
	OutPort     = Field{"out_port_key", of.Whole(of.Reg15), "port key by which it leaves"}
	OptionSrc   = Field{"option_src", of.Bits(of.TunMetadata0, 48, 16), "tunnel option: source port key"}
	OptionDst   = Field{"option_dst", of.Bits(of.TunMetadata0, 32, 16), "tunnel option: destination port key, 0xffff = everybody on the switch"}
	OptionRedir = Field{"option_redirected", of.Bits(of.TunMetadata0, 16, 1), "tunnel option, flags: redirected"}
	OptionEdge  = Field{"option_from_edge", of.Bits(of.TunMetadata0, 20, 12), "tunnel option, flags: from_edge"}
	OptionTrace = Field{"option_trace", of.Bits(of.TunMetadata0, 0, 16), "tunnel option: trace id, 0 = none"}
	TraceID     = Field{"trace_id", of.Bits(of.Reg13, 0, 16), "id of the live trace that the packet is sent for, 0 = none"}
	TraceColour = Field{"trace_colour", of.Bits(of.Reg13, 16, 2), "which kind of table reported a traced packet last"}
)

// Fields lists every field.
var Fields = []Field{Datapath, NextHop4, NextHop6, Detour, RouterPort, LastRouter, FromTunnel, Redirected, Routed, TooBig,
	FromVXLAN, ToVXLAN, Learnt, Asked, Missed, SourceSeen, FromEdge,
	PingID, Renumbered, Restored, Tries, Ingress, InPort, OutPort, OptionSrc, OptionDst, OptionRedir, OptionEdge, OptionTrace, TraceID, TraceColour}

// Marks of connections. A router's zone for connections from inside marks renumbered pings: the identifier that their sender
// knows, and a bit that says so. A switch's zone marks connections with the edge that they came in through.
var (
	MarkPingID     = of.Bits(of.CTMark, 0, 16)
	MarkRenumbered = of.Bits(of.CTMark, 16, 1)
	MarkEdge       = of.Bits(of.CTMark, 0, 12)
)

// EdgeNumber is the number, never 0, by which hosts remember an edge router of an id. Routers whose ids are equal modulo 4095
// have the same.
func EdgeNumber(id uint64) uint64 { return id%4095 + 1 }

// The Geneve option (RFC 8926 section 3.5) that carries port keys and flags.
const (
	OptionClass = 0xffee
	OptionType  = 0x80
	OptionLen   = 8
	OptionIndex = 0
)

// FloodKey is the destination port key of a packet for everybody on a switch.
const FloodKey = 0xffff

// MulticastKey is the destination port key of a packet for the other hosts of a multicast network.
const MulticastKey = 0xfffe

// The meters limit what the switch sends to the daemon: packets to answer with ICMP errors, and packets and answers of
// the resolution of neighbours in the physical network, and pings that need another identifier.
const (
	MeterICMP      = 1
	MeterNeighbour = 2
	MeterPing      = 3
	MeterTrace     = 4
)

// Meters lists the meters that every switch has. Those of PortMeter come and go with ports.
var Meters = []of.Meter{{ID: MeterICMP, RatePPS: 200, Burst: 100}, {ID: MeterNeighbour, RatePPS: 500, Burst: 500},
	{ID: MeterPing, RatePPS: 1000, Burst: 500}, {ID: MeterTrace, RatePPS: 1000, Burst: 500}}

// The kinds of groups, in the top four bits of a group's id. The next four number the parts of a group that would be
// too large for one message; the low 24 bits are a VNI. A group refers to such with smaller ids only (of.Group).
const (
	GroupFlood        = 0x1 // every port of a switch: local ports, and one copy for each other chassis with ports
	GroupFloodLocal   = 0x2 // the local ports only, for packets from a tunnel
	GroupUnknown      = 0x6 // the ports of a switch behind which any MAC may be, here and elsewhere
	GroupUnknownLocal = 0x7 // those here
	groupReturn       = 0x5 // the ways of packets that have to leave through one edge; the low 28 bits are a hash
	groupChassis      = 0x4 // the ways of a gateway to a chassis; the low 28 bits are a hash of its name
	groupAsk          = 0x8 // on demand: packets for MACs of a switch that are not here, to the daemon, or without it to an edge; the low 28 bits are a VNI
	groupAskNext      = 0x9 // the same for next hops behind a router port; the low 28 bits are a hash of its name
	groupAskWho       = 0xa // the same for ARP and ND questions, without the daemon to everybody on the switch; one for all
	groupRoute        = 0x3 // the ways of a static route, as far as they are reachable; the low 28 bits are a hash of router and prefix
	groupRouteAll     = 0xb // the same ways, reachable or not
	groupRouteChoice  = 0xc // the one or, when no way is reachable, the other
)

// Limits of groups for everybody on a switch.
const (
	GroupPart  = 800 // buckets of one part
	GroupParts = 16
)

// GroupID is the fixed id of a part of a group of a kind on a switch.
func GroupID(kind, part uint8, vni uint32) uint32 {
	return uint32(kind)<<28 | uint32(part)<<24 | vni
}

// RouteGroupID is the id of the group of a static route, from a hash of its router and prefix.
func RouteGroupID(hash uint64) uint32 { return groupRoute<<28 | uint32(hash)&0x0fffffff }

// RouteAllGroupID is the id of the group of all ways of a static route, whether they are reachable or not.
func RouteAllGroupID(hash uint64) uint32 { return groupRouteAll<<28 | uint32(hash)&0x0fffffff }

// RouteChoiceGroupID is the id of the group that chooses between those two.
func RouteChoiceGroupID(hash uint64) uint32 { return groupRouteChoice<<28 | uint32(hash)&0x0fffffff }

// ChassisGroupID is the id of the group of the ways to a chassis, from a hash of its name.
func ChassisGroupID(hash uint64) uint32 { return groupChassis<<28 | uint32(hash)&0x0fffffff }

// ReturnGroupID is the id of the group of ways that prefer one edge, from a hash of route and edge.
func ReturnGroupID(hash uint64) uint32 { return groupReturn<<28 | uint32(hash)&0x0fffffff }

// AskGroupID is the id of the group of packets for MACs of a switch that are not here.
func AskGroupID(vni uint32) uint32 { return groupAsk<<28 | vni }

// AskNextGroupID is the id of the group of packets for next hops behind a router port that are not here, from a hash of its name.
func AskNextGroupID(hash uint64) uint32 { return groupAskNext<<28 | uint32(hash)&0x0fffffff }

// AskWhoGroupID is the id of the group of questions for addresses that are not here.
const AskWhoGroupID = groupAskWho << 28

// Punt is the reason why a packet is sent to the daemon: the first byte of the controller action's userdata.
type Punt uint8

// Reasons to punt.
const (
	PuntTTL             Punt = 1
	PuntNoRoute         Punt = 2
	PuntNoNeighbour     Punt = 3
	PuntPortUnreachable Punt = 4
	PuntTooBig          Punt = 5
	PuntResolve         Punt = 6
	PuntLearn           Punt = 7
	PuntPing            Punt = 8
	PuntPingReply       Punt = 9
	PuntTrace           Punt = 10
	PuntDHCPv4          Punt = 11
	PuntDHCPv6          Punt = 12
	PuntSolicit         Punt = 13 // router solicitation
	PuntNextTooBig      Punt = 20
	PuntMiss            Punt = 30
)

// TooBigToDaemon is ToDaemon for a packet that is larger than an MTU, which goes along: what is answered is what was compared.
func TooBigToDaemon(why Punt, mtu int) of.Action {
	c := ToDaemon(why).(of.Controller)
	c.Userdata = binary.BigEndian.AppendUint16(c.Userdata, uint16(mtu))
	return c
}

// TooBigMTU is the MTU that went along with a packet, in bytes; 0 if none did.
func TooBigMTU(userdata []byte) int {
	if len(userdata) < 3 {
		return 0
	}
	return int(binary.BigEndian.Uint16(userdata[1:]))
}

// meterPort is where the ids of the meters of ports begin.
const meterPort = 1 << 16

// PortMeter limits what one port may ask the daemon for: no client needs more, and no port can keep others from their
// answers.
func PortMeter(ofport uint32) of.Meter {
	return of.Meter{ID: meterPort + ofport&0xffff, RatePPS: 10, Burst: 20}
}

// meterStorm is where the ids of the meters of what ports flood begin.
const meterStorm = 2 << 16

// StormMeter limits what one port sends to everybody on a switch where not all addresses are declared: broadcast, multicast, and
// frames for unknown MACs. It is far above what networks need to find each other.
func StormMeter(ofport uint32) of.Meter {
	return of.Meter{ID: meterStorm + ofport&0xffff, RatePPS: 1000, Burst: 1000}
}

// Bounds of what is learnt: MACs that are not seen for so many seconds are forgotten, and no port, and no other chassis on one
// switch, teaches more than so many.
const (
	LearntSeconds   = 300
	LearntOfPort    = 1024
	LearntOfChassis = 4096
)

// LearntNamespace is the first byte of the cookies of flows that Open vSwitch has learnt: 'm'. Nobody but the switch adds or removes them.
const LearntNamespace = 0x6d

// LearntCookie is the cookie of what is learnt from a port or chassis, from a hash of that.
func LearntCookie(hash uint64) uint64 { return LearntNamespace<<56 | hash>>8 }

// learntPriority is that of the flows in LearntMAC.
const learntPriority = 100

// LearnMAC makes Open vSwitch remember the source MAC of a packet on the switch of that VNI: packets for it are to be written these
// numbers into fields.
func LearnMAC(vni uint32, cookie uint64, limit uint32, load ...of.LearnTerm) of.Action {
	return of.Learn{Table: LearntMAC.ID, Priority: learntPriority, Cookie: cookie, HardTimeout: LearntSeconds, Limit: limit,
		Match: []of.LearnTerm{{Dst: Datapath.Sub, Value: of.U(uint64(vni))}, {Dst: of.Whole(of.EthDst), Src: of.Whole(of.EthSrc)}}, Load: load}
}

// ToDaemonFrom is ToDaemon for what one port asks, under the meter of that port.
func ToDaemonFrom(why Punt, ofport uint32) of.Action {
	return of.Controller{MaxLen: 0xffff, Userdata: []byte{byte(why)}, MeterID: PortMeter(ofport).ID, Reason: of.ReasonAction}
}

// ToDaemon is the metered action that sends a packet to the daemon.
func ToDaemon(why Punt) of.Action {
	meter := uint32(MeterICMP)
	switch why {
	case PuntResolve, PuntLearn:
		meter = MeterNeighbour
	case PuntPing, PuntPingReply:
		meter = MeterPing
	case PuntTrace:
		meter = MeterTrace
	}
	return of.Controller{MaxLen: 0xffff, Userdata: []byte{byte(why)}, MeterID: meter, Reason: of.ReasonAction}
}
