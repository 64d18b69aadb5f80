package pipeline

// The tables, in the order that packets cross them. A switch is tables 0 to 19, a router 40 to 79, leaving the
// chassis 90 to 99, delivery to a local port 100.
var (
	Classify     = Table{0, "classify", "Which logical port is this? Local in-ports become (switch, port key); tunnel packets go on to tunnel_in."}
	TunnelIn     = Table{4, "tunnel_in", "Tunnel packets: only from known chassis; the VNI becomes the switch, the option of Geneve becomes port keys and flags."}
	PortSecurity = Table{8, "port_security", "A port with declared addresses sends from its own MAC and addresses only."}
	Source       = Table{10, "source", "Switches with ports that have no declared addresses: which MACs are behind those is learnt; nobody takes a declared one."}
	Responder    = Table{12, "responder", "ARP and ND for addresses known from intent are answered here, on the sender's own node."}
	NDReply      = Table{14, "nd_reply", "Second half of the ND responder: the advertisement's link-layer option can only be written once the packet is an advertisement."}
	L2Lookup     = Table{16, "l2_lookup", "Destination MAC to port, with its place: local, another chassis, or a router."}
	LearntMAC    = Table{17, "learnt_mac", "The MACs that were learnt, each with its place. Open vSwitch fills it by itself; nothing is declared here but that a MAC is not there."}
	ByLearnt     = Table{18, "by_learnt", "To where the MAC was learnt; else to all ports behind which it may be."}
	RouterIn     = Table{40, "router_in", "Sanity of what enters a router."}
	UnSNAT       = Table{41, "unsnat", "Replies to connections that left with an external address get their inside address back."}
	DNAT         = Table{42, "dnat", "Connections to an external address go to the one inside."}
	ExternalSize = Table{43, "external_size", "Packets for an external address that would not fit inside are answered before they are translated, so that their sender knows what is quoted."}
	RouterLocal  = Table{44, "router_local", "Packets for the router itself: echo is answered, the rest is refused; expired TTL."}
	Route        = Table{56, "route", "Longest prefix match: out-port and next hop."}
	Return       = Table{57, "return", "Replies of addresses that have external ones at several edges: back to the edge that the connection came in through."}
	Neighbour    = Table{60, "neighbour", "Next hop to MAC, from intent."}
	UnDNAT       = Table{64, "undnat", "Replies of inside addresses to connections from outside get the external address as their source."}
	SNAT         = Table{66, "snat", "Connections from inside get an external address as their source."}
	Hairpin      = Table{67, "hairpin", "Connections that came to an external address and go back to where they came from get that address as their source, so that the answer comes here."}
	Translated   = Table{68, "translated", "What connection tracking could not translate goes no further: inside addresses do not leak."}
	RouterOut    = Table{72, "router_out", "Leaving a router through one of its ports into the switch behind it."}
	NextSize     = Table{74, "next_size", "Packets that do not fit into the network behind the port are answered with its MTU."}
	Miss         = Table{84, "miss", "On demand: packets for endpoints whose flows are not here wait with the daemon, so many a second of each port at most."}
	TunnelOut    = Table{90, "tunnel_out", "Leaving for another chassis: loop guard and size check."}
	TunnelSize   = Table{92, "tunnel_size", "Packets that do not fit into the tunnel are answered with the MTU."}
	Encap        = Table{94, "encap", "Network id, port keys and flags are written into the tunnel header."}
	Deliver      = Table{100, "deliver", "(switch, port key) to the OpenFlow port: the only place where ofports of workloads stand."}
)

// Tables lists every table.
var Tables = []Table{Classify, TunnelIn, PortSecurity, Source, Responder, NDReply, L2Lookup, LearntMAC, ByLearnt, RouterIn, UnSNAT, DNAT, ExternalSize, RouterLocal, Route, Return, Neighbour,
	UnDNAT, SNAT, Hairpin, Translated, RouterOut, NextSize, Miss, TunnelOut, TunnelSize, Encap, Deliver}
