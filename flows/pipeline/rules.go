package pipeline

import "tuplenet/flows/of"

// The rules. Ids are fixed; a rule that goes leaves its id unused.
var (
	MulticastSource = &Rule{ID: 1, Name: "multicast-source", Table: Classify, Priority: 120, Match: fields(of.EthSrc), Drop: "source MAC is multicast",
		Doc: "No station sends from a group address (IEEE 802)."}
	LocalPort = &Rule{ID: 2, Name: "local-port", Table: Classify, Priority: 100, Match: fields(of.InPort), Next: tables(PortSecurity),
		Doc: "A workload's interface on this chassis."}
	TunnelPort = &Rule{ID: 3, Name: "tunnel-port", Table: Classify, Priority: 100, Match: fields(of.InPort), Next: tables(TunnelIn),
		Doc: "A Geneve tunnel port."}
	VXLANPort = &Rule{ID: 5, Name: "vxlan-port", Table: Classify, Priority: 100, Match: fields(of.InPort), Next: tables(TunnelIn),
		Doc: "A VXLAN tunnel port."}
	MulticastPort = &Rule{ID: 263, Name: "multicast-port", Table: Classify, Priority: 100, Match: fields(of.InPort), Next: tables(L2Lookup),
		Doc: "The way to the VXLAN device of a multicast network: what comes in by it is for ports of that network here."}
	UnboundPort = &Rule{ID: 4, Name: "unbound-port", Table: Classify, Drop: "in-port belongs to no logical port",
		Doc: "An interface without a known iface-id."}

	PeerChassis = &Rule{ID: 10, Name: "peer-chassis", Table: TunnelIn, Priority: 100, Match: fields(of.TunSrc, of.TunIPv6Src), Next: tables(L2Lookup),
		Doc: "A packet from a known chassis: network id, port keys and flags are taken over."}
	PeerVXLAN = &Rule{ID: 12, Name: "peer-vxlan", Table: TunnelIn, Priority: 110, Match: fields(of.TunSrc, of.TunIPv6Src, of.Reg10), Next: tables(L2Lookup),
		Doc: "As peer-chassis, by VXLAN, which has the network id only. Nothing tells whether the packet was handed on before, so it counts as if."}
	UnknownPeer = &Rule{ID: 11, Name: "unknown-peer", Table: TunnelIn, Drop: "tunnel packet from an address of no chassis",
		Doc: "Only chassis of the deployment may inject packets."}

	Unchecked = &Rule{ID: 20, Name: "unchecked-port", Table: PortSecurity, Priority: 100, Match: fields(of.Metadata, of.Reg14), Next: tables(Source, Responder),
		Doc: "Port security is off. What comes from a port without declared addresses is learnt."}
	OwnARP = &Rule{ID: 21, Name: "own-arp", Table: PortSecurity, Priority: 90, Match: fields(of.Metadata, of.Reg14, of.EthSrc, of.EthType, of.ARPSHA, of.ARPSPA), Next: tables(Responder),
		Doc: "ARP from the port's MAC and one of its addresses, or a probe (RFC 5227)."}
	OwnIPv4 = &Rule{ID: 22, Name: "own-ipv4", Table: PortSecurity, Priority: 90, Match: fields(of.Metadata, of.Reg14, of.EthSrc, of.EthType, of.IPSrc), Next: tables(Responder),
		Doc: "IPv4 from one of the port's addresses."}
	DHCPRequest = &Rule{ID: 23, Name: "dhcp-request", Table: PortSecurity, Priority: 90,
		Match: fields(of.Metadata, of.Reg14, of.EthSrc, of.EthType, of.IPSrc, of.IPDst, of.IPProto, of.UDPSrc, of.UDPDst), Next: tables(Responder),
		Doc: "DHCP from a port that has no address yet (RFC 2131 section 4.1)."}
	OwnND = &Rule{ID: 24, Name: "own-nd", Table: PortSecurity, Priority: 95,
		Match: fields(of.Metadata, of.Reg14, of.EthSrc, of.EthType, of.IPProto, of.ICMPv6Type, of.ICMPv6Code, of.IPv6Src, of.NDTarget, of.NDSLL, of.NDTLL), Next: tables(Responder),
		Doc: "Neighbour solicitations and advertisements that claim only the port's own addresses and MAC (RFC 4861)."}
	SpoofedND = &Rule{ID: 25, Name: "spoofed-nd", Table: PortSecurity, Priority: 92,
		Match: fields(of.Metadata, of.Reg14, of.EthType, of.IPProto, of.ICMPv6Type), Drop: "ND claims another's address or MAC",
		Doc: "Any other solicitation or advertisement of the port."}
	OwnIPv6 = &Rule{ID: 26, Name: "own-ipv6", Table: PortSecurity, Priority: 90, Match: fields(of.Metadata, of.Reg14, of.EthSrc, of.EthType, of.IPv6Src), Next: tables(Responder),
		Doc: "IPv6 from one of the port's addresses or its link-local address."}
	UnspecifiedIPv6 = &Rule{ID: 27, Name: "unspecified-ipv6", Table: PortSecurity, Priority: 90,
		Match: fields(of.Metadata, of.Reg14, of.EthSrc, of.EthType, of.IPProto, of.IPv6Src, of.ICMPv6Type), Next: tables(Responder),
		Doc: "Router solicitation and multicast listener reports before the port has an address (RFC 4861, RFC 3810)."}
	SpoofedAddress = &Rule{ID: 28, Name: "spoofed-address", Table: PortSecurity, Priority: 50, Match: fields(of.Metadata, of.Reg14, of.EthType), Drop: "source address is not the port's",
		Doc: "ARP, IPv4 or IPv6 from an address that is not the port's."}
	OwnMAC = &Rule{ID: 29, Name: "own-mac", Table: PortSecurity, Priority: 30, Match: fields(of.Metadata, of.Reg14, of.EthSrc), Next: tables(Responder),
		Doc: "Anything else from the port's MAC."}
	SpoofedMAC = &Rule{ID: 30, Name: "spoofed-mac", Table: PortSecurity, Drop: "source MAC is not the port's",
		Doc: "A frame from a MAC that is not the port's."}

	OwnSource = &Rule{ID: 270, Name: "own-source", Table: Source, Priority: 110, Match: fields(of.Metadata, of.Reg10, of.Reg14, of.EthSrc), Next: tables(Responder),
		Doc: "The port's own MAC: where that is, is known."}
	DeclaredElsewhere = &Rule{ID: 271, Name: "declared-elsewhere", Table: Source, Priority: 100, Match: fields(of.Metadata, of.Reg10, of.EthSrc), Next: tables(L2Lookup),
		Doc: "From another chassis, and the MAC of a port: where that is, is known."}
	DeclaredSource = &Rule{ID: 272, Name: "declared-source", Table: Source, Priority: 100, Match: fields(of.Metadata, of.Reg10, of.EthSrc), Drop: "source MAC is another port's",
		Doc: "A port without declared addresses may send from any MAC but those of others."}
	LearnHere = &Rule{ID: 273, Name: "learn-here", Table: Source, Priority: 50, Match: fields(of.Metadata, of.Reg10, of.Reg14), Next: tables(Responder, LearntMAC),
		Doc: "The MAC is behind this port, until it is seen behind another one."}
	LearnThere = &Rule{ID: 274, Name: "learn-there", Table: Source, Priority: 50, Match: fields(of.Metadata, of.Reg10, of.TunSrc, of.TunIPv6Src), Next: tables(L2Lookup, LearntMAC),
		Doc: "The MAC is on the chassis that the packet came from."}
	NotToLearn = &Rule{ID: 275, Name: "not-to-learn", Table: Source, Next: tables(L2Lookup),
		Doc: "From a chassis without such ports."}

	Tagged = &Rule{ID: 40, Name: "tagged", Table: Responder, Priority: 200, Match: fields(of.VLANTCI), Next: tables(L2Lookup),
		Doc: "Frames with a VLAN tag are switched, never answered."}
	OwnAddressAsked = &Rule{ID: 41, Name: "own-address-asked", Table: Responder, Priority: 150,
		Match: fields(of.Metadata, of.Reg14, of.EthType, of.ARPOp, of.ARPTPA, of.IPProto, of.ICMPv6Type, of.NDTarget), Drop: "port asks for its own address",
		Doc: "A probe or announcement of the port's own address needs no answer: uniqueness is known from intent (RFC 5227, RFC 4862)."}
	RogueServer = &Rule{ID: 260, Name: "rogue-server", Table: Responder, Priority: 140,
		Match: fields(of.Metadata, of.Reg14, of.EthType, of.IPProto, of.UDPSrc, of.UDPDst, of.ICMPv6Type, of.ICMPv6Code), Drop: "workload poses as the DHCP server or router of its switch",
		Doc: "What only the nodes may say on a switch for which they do: answers of DHCP, router advertisements (RFC 7610, RFC 6105)."}
	AskHostConfig = &Rule{ID: 261, Name: "ask-host-config", Table: Responder, Priority: 130, Punt: true,
		Match: fields(of.Metadata, of.Reg14, of.EthSrc, of.EthType, of.IPProto, of.UDPSrc, of.UDPDst, of.IPv6Dst, of.ICMPv6Type, of.ICMPv6Code),
		Doc:   "DHCP and router solicitations of a port, from its own MAC: the daemon answers, from intent."}
	StrangeClient = &Rule{ID: 262, Name: "strange-client", Table: Responder, Priority: 120,
		Match: fields(of.Metadata, of.Reg14, of.EthType, of.IPProto, of.UDPSrc, of.UDPDst, of.IPv6Dst, of.ICMPv6Type, of.ICMPv6Code), Drop: "DHCP or router solicitation from a MAC that is not the port's",
		Doc: "Where port security is off: as ask-host-config, from another MAC. It gets no answer, and nobody else is asked."}
	ARPResponder = &Rule{ID: 42, Name: "arp-responder", Table: Responder, Priority: 100, Match: fields(of.Metadata, of.EthType, of.ARPOp, of.ARPTPA),
		Doc: "The ARP request is turned into its reply (RFC 826)."}
	NDResponder = &Rule{ID: 43, Name: "nd-responder", Table: Responder, Priority: 100, Match: fields(of.Metadata, of.EthType, of.IPProto, of.ICMPv6Type, of.ICMPv6Code, of.NDTarget), Next: tables(NDReply),
		Doc: "The solicitation is turned into an advertisement (RFC 4861 section 7.2.4)."}
	Learn = &Rule{ID: 47, Name: "learn", Table: Responder, Priority: 60, Span: 1, Punt: true,
		Match: fields(of.Metadata, of.Reg14, of.EthType, of.ARPOp, of.IPProto, of.ICMPv6Type, of.ICMPv6Code), Next: tables(L2Lookup),
		Doc: "What the physical network says of its own addresses is shown to the daemon and goes on."}
	AskARP = &Rule{ID: 240, Name: "ask-arp", Table: Responder, Priority: 55, Group: true, Match: fields(of.Metadata, of.Reg10, of.EthType, of.ARPOp), Buckets: tables(Miss, L2Lookup), Next: tables(Miss),
		Doc: "On demand: the address of the request may be of a port whose flows are not here; the daemon knows."}
	AskND = &Rule{ID: 241, Name: "ask-nd", Table: Responder, Priority: 55, Group: true, Match: fields(of.Metadata, of.Reg10, of.EthType, of.IPProto, of.ICMPv6Type, of.ICMPv6Code), Buckets: tables(Miss, L2Lookup), Next: tables(Miss),
		Doc: "As ask-arp, for IPv6."}
	UnknownARP = &Rule{ID: 44, Name: "unknown-arp", Table: Responder, Priority: 50, Match: fields(of.Metadata, of.EthType, of.ARPOp), Drop: "ARP request for an address that nobody has",
		Doc: "Every address of the switch is known from intent, so nothing is flooded."}
	UnknownND = &Rule{ID: 45, Name: "unknown-nd", Table: Responder, Priority: 50, Match: fields(of.Metadata, of.EthType, of.IPProto, of.ICMPv6Type, of.ICMPv6Code), Drop: "solicitation for an address that nobody has",
		Doc: "As unknown-arp, for IPv6."}
	NotAsked = &Rule{ID: 46, Name: "not-a-question", Table: Responder, Next: tables(L2Lookup),
		Doc: "Everything else is switched."}

	NDAdvertise = &Rule{ID: 50, Name: "nd-advertise", Table: NDReply, Priority: 100, Match: fields(of.EthType, of.IPProto, of.ICMPv6Type, of.ICMPv6Code),
		Doc: "The link-layer address option is written and the advertisement goes back."}
	NDAdvertiseAll = &Rule{ID: 52, Name: "nd-advertise-all", Table: NDReply, Priority: 110, Match: fields(of.EthType, of.IPProto, of.ICMPv6Type, of.ICMPv6Code, of.IPv6Dst),
		Doc: "Asked from the unspecified address (duplicate address detection), the advertisement goes to all nodes (RFC 4861 section 7.2.4)."}
	NDBroken = &Rule{ID: 51, Name: "nd-broken", Table: NDReply, Drop: "not an advertisement",
		Doc: "Nothing else comes here."}

	ToLocalPort = &Rule{ID: 60, Name: "to-local-port", Table: L2Lookup, Priority: 100, Match: fields(of.Metadata, of.EthDst), Next: tables(Deliver),
		Doc: "The MAC is of a port on this chassis."}
	ToRemotePort = &Rule{ID: 61, Name: "to-remote-port", Table: L2Lookup, Priority: 100, Match: fields(of.Metadata, of.EthDst), Next: tables(TunnelOut),
		Doc: "The MAC is of a port on another chassis: its tunnel address is set."}
	ToRouter = &Rule{ID: 62, Name: "to-router", Table: L2Lookup, Priority: 100, Match: fields(of.Metadata, of.EthDst), Next: tables(RouterIn),
		Doc: "The MAC is of a router port: the packet enters the router."}
	FloodFromTunnel = &Rule{ID: 63, Name: "flood-from-tunnel", Table: L2Lookup, Group: true, Priority: 90, Match: fields(of.Metadata, of.EthDst, of.Reg10),
		Doc: "Broadcast and multicast from another chassis: to local ports only."}
	Flood = &Rule{ID: 64, Name: "flood", Table: L2Lookup, Group: true, Priority: 80, Match: fields(of.Metadata, of.EthDst),
		Doc: "Broadcast and multicast of a local port: to local ports, and one copy to every other chassis with ports of the switch."}
	FromMulticast = &Rule{ID: 264, Name: "from-multicast", Table: L2Lookup, Priority: 25, Match: fields(of.Metadata, of.Reg10), Drop: "MAC of nobody here, from a multicast network",
		Doc: "Who does not know yet where a MAC is sends to all hosts of the network (RFC 7348 section 4.1)."}
	ToMulticast = &Rule{ID: 265, Name: "to-multicast", Table: L2Lookup, Priority: 20, Match: fields(of.Metadata), Next: tables(Deliver),
		Doc: "Any other MAC of a multicast network is with another host: its VXLAN device knows or finds out which."}
	UnboundDestination = &Rule{ID: 65, Name: "unbound-destination", Table: L2Lookup, Priority: 100, Match: fields(of.Metadata, of.EthDst), Drop: "destination port is on no chassis",
		Doc: "The port is known, but nobody has its interface."}
	ToPatch = &Rule{ID: 67, Name: "to-patch", Table: L2Lookup, Priority: 20, Match: fields(of.Metadata), Next: tables(Deliver, TunnelOut),
		Doc: "Any other MAC is looked for in the physical network."}
	ByGateway = &Rule{ID: 68, Name: "by-gateway", Table: L2Lookup, Priority: 100, Group: true, Match: fields(of.Metadata, of.EthDst),
		Doc: "On a gateway: the MAC is of a port on another chassis; the chassis' group sends there, or by way of another gateway while it is unreachable."}
	PatchByGateway = &Rule{ID: 69, Name: "patch-by-gateway", Table: L2Lookup, Priority: 20, Group: true, Match: fields(of.Metadata),
		Doc: "As to-patch, where the patch port is on another chassis and this is a gateway."}
	FromPatch = &Rule{ID: 188, Name: "from-patch", Table: L2Lookup, Priority: 25, Match: fields(of.Metadata, of.Reg14), Drop: "MAC of nobody on the switch, from the physical network",
		Doc: "A frame of the physical network for a MAC that no port of the switch has: it does not go back to where it came from."}
	Remember = &Rule{ID: 189, Name: "remember-edge", Table: L2Lookup, Priority: 110, Match: fields(of.Metadata, of.EthDst, of.EthType, of.IPDst, of.IPv6Dst, of.Reg10), Next: tables(Deliver),
		Doc: "A connection from outside to an address of this chassis that has external ones at several edges: connection tracking remembers the edge."}
	AskPort = &Rule{ID: 242, Name: "ask-port", Table: L2Lookup, Priority: 30, Group: true, Match: fields(of.Metadata, of.Reg10), Buckets: tables(Miss, TunnelOut), Next: tables(Miss),
		Doc: "On demand: the MAC may be of a port whose flows are not here; the daemon knows. Without a daemon an edge does, which has all flows."}
	AskSource = &Rule{ID: 276, Name: "ask-source", Table: L2Lookup, Priority: 150, Match: fields(of.Metadata, of.Reg10), Next: tables(Source),
		Doc: "From another chassis, on a switch that learns: where the sender is, is learnt first."}
	FloodOf = &Rule{ID: 277, Name: "flood-of", Table: L2Lookup, Group: true, Priority: 85, Match: fields(of.Metadata, of.EthDst, of.Reg14),
		Doc: "As flood, on a switch with ports without declared addresses: so much a second of each port, so that no loop or broken station fills all chassis."}
	SearchLearnt = &Rule{ID: 278, Name: "search-learnt", Table: L2Lookup, Priority: 20, Match: fields(of.Metadata), Next: tables(LearntMAC, ByLearnt),
		Doc: "Any other MAC of a switch that learns may have been learnt."}
	UnknownDestination = &Rule{ID: 66, Name: "unknown-destination", Table: L2Lookup, Drop: "destination MAC is unknown on the switch",
		Doc: "No port of the switch has this MAC."}

	NotLearnt = &Rule{ID: 279, Name: "not-learnt", Table: LearntMAC, Next: tables(ByLearnt),
		Doc: "Nobody has sent from this MAC for a while."}
	LearntHere = &Rule{ID: 280, Name: "learnt-here", Table: ByLearnt, Priority: 100, Match: fields(of.Reg10), Next: tables(Deliver),
		Doc: "The MAC is behind a port of this chassis."}
	LearntThere = &Rule{ID: 281, Name: "learnt-there", Table: ByLearnt, Priority: 100, Match: fields(of.Reg10), Next: tables(TunnelOut),
		Doc: "The MAC is on another chassis."}
	UnknownFromTunnel = &Rule{ID: 282, Name: "unknown-from-tunnel", Table: ByLearnt, Group: true, Priority: 90, Match: fields(of.Metadata, of.Reg10),
		Doc: "From another chassis, and not known here: to the ports here behind which it may be, never back into a tunnel."}
	UnknownOf = &Rule{ID: 283, Name: "unknown-of", Table: ByLearnt, Group: true, Priority: 80, Match: fields(of.Metadata, of.Reg14),
		Doc: "From a port here: to all ports behind which the MAC may be, here and elsewhere, so much a second."}
	NobodyHasIt = &Rule{ID: 284, Name: "nobody-has-it", Table: ByLearnt, Drop: "destination MAC is unknown on the switch",
		Doc: "From a router, which knows MACs from intent only."}

	RouterTagged = &Rule{ID: 80, Name: "router-tagged", Table: RouterIn, Priority: 110, Match: fields(of.VLANTCI), Drop: "VLAN-tagged frame sent to a router",
		Doc: "Routers take untagged frames only."}
	Martian = &Rule{ID: 81, Name: "martian", Table: RouterIn, Priority: 100, Match: fields(of.EthType, of.IPSrc, of.IPDst, of.IPv6Src, of.IPv6Dst), Drop: "address may not be routed",
		Doc: "Loopback, multicast, broadcast or unspecified addresses where a router must not see them (RFC 1812 section 5.3.7, RFC 4291 section 2.5)."}
	RouterSpoofed = &Rule{ID: 82, Name: "router-spoofed", Table: RouterIn, Priority: 90, Match: fields(of.Metadata, of.EthType, of.IPSrc, of.IPv6Src), Drop: "packet claims to be from the router",
		Doc: "The router's own address as source can only be forged."}
	CheckExternal = &Rule{ID: 206, Name: "check-external", Table: RouterIn, Priority: 20, Match: fields(of.Metadata, of.EthType, of.IPDst, of.IPv6Dst), Next: tables(ExternalSize),
		Doc: "A packet for an external address, which will go inside, is compared with what fits there."}
	RouterAccept = &Rule{ID: 83, Name: "router-accept", Table: RouterIn, Priority: 10, Match: fields(of.EthType), Next: tables(UnSNAT),
		Doc: "IPv4 and IPv6 enter the router."}
	RouterNotIP = &Rule{ID: 84, Name: "router-not-ip", Table: RouterIn, Drop: "not IP",
		Doc: "Routers forward IPv4 and IPv6 only."}

	Unsnat = &Rule{ID: 85, Name: "unsnat", Table: UnSNAT, Priority: 100, Match: fields(of.Metadata, of.EthType, of.IPSrc, of.IPDst, of.IPv6Src, of.IPv6Dst), Next: tables(DNAT),
		Doc: "A packet to an address that connections from inside leave with: if it belongs to one, the translation is undone."}
	NoUnsnat = &Rule{ID: 86, Name: "no-unsnat", Table: UnSNAT, Next: tables(DNAT),
		Doc: "Not to such an address: no connection tracking."}
	Dnat = &Rule{ID: 87, Name: "dnat", Table: DNAT, Priority: 100, Match: fields(of.Metadata, of.EthType, of.IPDst, of.IPv6Dst), Next: tables(RouterLocal),
		Doc: "A packet to an external address of an inside one: the destination is translated, the connection remembered."}
	PingReply = &Rule{ID: 182, Name: "ping-reply", Table: DNAT, Priority: 200, Punt: true, Match: fields(of.Metadata, of.EthType, of.IPProto, of.ICMPType, of.ICMPv6Type, of.CTMark),
		Doc: "The answer to a ping that got another identifier: the daemon gives it its own one back."}
	NoDnat = &Rule{ID: 88, Name: "no-dnat", Table: DNAT, Next: tables(RouterLocal),
		Doc: "Not to such an address."}

	ExternalExceeded = &Rule{ID: 207, Name: "external-exceeded", Table: ExternalSize, Priority: 100, Match: fields(of.Metadata, of.Reg10, of.EthType), Punt: true, Drop: "larger than what fits inside",
		Doc: "The daemon answers fragmentation needed (RFC 1191) or packet too big (RFC 8201)."}
	ExternalFits = &Rule{ID: 208, Name: "external-fits", Table: ExternalSize, Next: tables(UnSNAT),
		Doc: "It fits."}

	EchoReply = &Rule{ID: 90, Name: "echo-reply", Table: RouterLocal, Priority: 100, Match: fields(of.Metadata, of.EthType, of.IPProto, of.IPDst, of.IPv6Dst, of.ICMPType, of.ICMPCode, of.ICMPv6Type, of.ICMPv6Code, of.IPFrag), Next: tables(RouterOut),
		Doc: "An echo request to one of the router's addresses is answered through the port that it came from (RFC 792, RFC 4443 section 4.2)."}
	PortUnreachable = &Rule{ID: 91, Name: "port-unreachable", Table: RouterLocal, Priority: 90, Match: fields(of.Metadata, of.EthType, of.IPProto, of.IPDst, of.IPv6Dst), Punt: true,
		Doc: "TCP and UDP to the router itself: the daemon answers port unreachable, so that a traceroute to the router ends."}
	ForRouter = &Rule{ID: 92, Name: "for-router", Table: RouterLocal, Priority: 80, Match: fields(of.Metadata, of.EthType, of.IPDst, of.IPv6Dst), Drop: "for the router itself",
		Doc: "Everything else to the router's addresses."}
	ForExternal = &Rule{ID: 183, Name: "for-external", Table: RouterLocal, Priority: 70, Match: fields(of.Metadata, of.EthType, of.IPDst, of.IPv6Dst), Drop: "belongs to no connection of the external address",
		Doc: "A packet to an external address that neither belongs to a connection from inside nor begins one from outside."}
	TTLExpired = &Rule{ID: 93, Name: "ttl-expired", Table: RouterLocal, Priority: 50, Match: fields(of.EthType, of.IPTTL), Punt: true, Drop: "TTL expired",
		Doc: "The daemon answers time exceeded, so that traceroute shows the hop."}
	LinkLocal = &Rule{ID: 94, Name: "link-local", Table: RouterLocal, Priority: 40, Match: fields(of.EthType, of.IPSrc, of.IPDst, of.IPv6Src, of.IPv6Dst), Drop: "link-local address may not be routed",
		Doc: "Link-local packets stay on their link (RFC 4291 section 2.5.6, RFC 3927 section 7)."}
	ToRoute = &Rule{ID: 95, Name: "to-route", Table: RouterLocal, Next: tables(Route),
		Doc: "Everything else is routed."}

	Connected = &Rule{ID: 100, Name: "connected", Table: Route, Priority: 100, Span: 600, Match: fields(of.Metadata, of.EthType, of.IPDst, of.IPv6Dst), Next: tables(Neighbour),
		Doc: "The destination is on a network of one of the router's ports: the next hop is the destination. Longer prefixes have higher priority."}
	Static = &Rule{ID: 102, Name: "static", Table: Route, Group: true, Priority: 100, Span: 600, Match: fields(of.Metadata, of.EthType, of.IPDst, of.IPv6Dst), Next: tables(Neighbour),
		Doc: "A static route: its next hop, or a group that spreads over several by a hash and leaves out those whose chassis is unreachable, unless all are."}
	ReturnFixed = &Rule{ID: 103, Name: "symmetric-return", Table: Route, Priority: 100, Span: 600, Group: true, Match: fields(of.Metadata, of.EthType, of.IPSrc, of.IPDst, of.IPv6Src, of.IPv6Dst),
		Doc: "Packets of an inside address that has an external one at an edge leave through that edge, whose connection tracking knows them; through others only while it is unreachable."}
	AskEdge = &Rule{ID: 184, Name: "ask-edge", Table: Route, Priority: 100, Span: 600, Match: fields(of.Metadata, of.EthType, of.IPSrc, of.IPDst, of.IPv6Src, of.IPv6Dst), Next: tables(Return),
		Doc: "As symmetric-return, for an inside address with external ones at several edges: connection tracking is asked through which one the connection came in."}
	Untunnel = &Rule{ID: 104, Name: "untunnel", Table: Route, Priority: 100, Span: 600, Match: fields(of.Metadata, of.EthType, of.IPDst, of.IPv6Dst),
		Doc: "A static route that leads to edges only, on a node in untunnel mode: the packet goes to the host's own stack."}
	NoRoute = &Rule{ID: 101, Name: "no-route", Table: Route, Punt: true, Match: fields(of.EthType), Drop: "no route to the destination",
		Doc: "The daemon answers network unreachable."}

	ReturnBy = &Rule{ID: 185, Name: "return-by", Table: Return, Priority: 100, Span: 600, Group: true, Match: fields(of.Metadata, of.EthType, of.IPDst, of.IPv6Dst, of.CTMark),
		Doc: "A packet of a connection that came in through an edge leaves through it; through others only while it is unreachable."}
	ReturnAny = &Rule{ID: 186, Name: "return-any", Table: Return, Priority: 100, Span: 600, Group: true, Match: fields(of.Metadata, of.EthType, of.IPSrc, of.IPDst, of.IPv6Src, of.IPv6Dst),
		Doc: "Connections from inside leave through the edge of the first rule."}
	NoReturn = &Rule{ID: 187, Name: "no-return", Table: Return, Drop: "no way to an edge",
		Doc: "Never met: whoever asks for the edge has a way for every answer."}

	NeighbourMAC = &Rule{ID: 110, Name: "neighbour", Table: Neighbour, Priority: 100, Match: fields(of.Metadata, of.EthType, of.Reg15, of.Reg0, of.XXReg0), Next: tables(UnDNAT),
		Doc: "The next hop's MAC, from intent."}
	LearntNeighbour = &Rule{ID: 112, Name: "learnt-neighbour", Table: Neighbour, Priority: 90, Match: fields(of.Metadata, of.EthType, of.Reg15, of.Reg0, of.XXReg0), Next: tables(UnDNAT),
		Doc: "The next hop's MAC, learnt from the physical network."}
	Resolve = &Rule{ID: 113, Name: "resolve", Table: Neighbour, Priority: 50, Punt: true, Match: fields(of.Metadata, of.EthType, of.Reg15),
		Doc: "The daemon asks the physical network for the next hop; the packet waits for the answer."}
	AskNeighbour = &Rule{ID: 243, Name: "ask-neighbour", Table: Neighbour, Priority: 60, Group: true, Match: fields(of.Metadata, of.Reg10, of.EthType, of.Reg15), Buckets: tables(Miss, TunnelOut), Next: tables(Miss),
		Doc: "On demand: the next hop may be a port whose flows are not here; the daemon knows. Without a daemon the packet goes to the same router on an edge, which has all flows."}
	NoNeighbour = &Rule{ID: 111, Name: "no-neighbour", Table: Neighbour, Punt: true, Match: fields(of.EthType), Drop: "nobody has the next hop's address",
		Doc: "The daemon answers host unreachable."}

	Undnat = &Rule{ID: 115, Name: "undnat", Table: UnDNAT, Priority: 100, Match: fields(of.Metadata, of.EthType, of.IPSrc, of.IPv6Src), Next: tables(SNAT),
		Doc: "A packet of an inside address that connections from outside go to: if it belongs to one, its source becomes the external address."}
	UndnatError = &Rule{ID: 204, Name: "undnat-error", Table: UnDNAT, Priority: 120, Match: fields(of.Metadata, of.EthType, of.IPProto, of.ICMPType), Next: tables(SNAT),
		Doc: "An ICMP error of a router inside, or of this one: if it is about a packet of a connection from outside, the packet that it quotes gets its external address back, so that its sender knows it."}
	NoUndnat = &Rule{ID: 116, Name: "no-undnat", Table: UnDNAT, Next: tables(SNAT),
		Doc: "Not from such an address: no connection tracking."}
	Answer = &Rule{ID: 119, Name: "answer", Table: SNAT, Priority: 700, Match: fields(of.Metadata, of.CTState), Next: tables(RouterOut),
		Doc: "An answer of a connection that was translated has got its addresses back already: it is no connection from inside, whatever its source is now."}
	RestoredPing = &Rule{ID: 170, Name: "restored-ping", Table: SNAT, Priority: 700, Match: fields(of.Metadata, of.Reg11), Next: tables(RouterOut),
		Doc: "As answer, for the answer to a ping that the daemon has given its identifier back."}
	RouterError = &Rule{ID: 205, Name: "router-error", Table: SNAT, Priority: 660, Match: fields(of.Metadata, of.EthType, of.IPSrc, of.IPProto, of.ICMPType), Next: tables(RouterOut),
		Doc: "An ICMP error of the router itself: if it is about an answer to a connection from inside, the packet that it quotes gets its external address back."}
	RouterSays = &Rule{ID: 171, Name: "router-says", Table: SNAT, Priority: 650, Match: fields(of.Metadata, of.EthType, of.IPSrc, of.IPv6Src), Next: tables(RouterOut),
		Doc: "What the router itself says (ICMP errors) is not translated."}
	RenumberedPing = &Rule{ID: 172, Name: "renumbered-ping", Table: SNAT, Priority: 500, Span: 128, Match: fields(of.Metadata, of.EthType, of.Reg11, of.IPSrc, of.IPv6Src), Next: tables(Translated),
		Doc: "As snat, for a ping that got another identifier: the connection remembers which one its sender knows."}
	RenumberedOther = &Rule{ID: 191, Name: "renumbered-other", Table: SNAT, Priority: 450, Match: fields(of.Metadata, of.Reg11), Next: tables(Hairpin),
		Doc: "A ping that got another identifier, of an address that no rule translates: it was one of a hairpin."}
	Snat = &Rule{ID: 117, Name: "snat", Table: SNAT, Priority: 300, Span: 128, Match: fields(of.Metadata, of.EthType, of.IPSrc, of.IPv6Src), Next: tables(Translated),
		Doc: "A packet from an inside network: its source becomes the external address. Longer prefixes come first."}
	WayBack = &Rule{ID: 173, Name: "way-back", Table: SNAT, Priority: 20, Span: 257, Match: fields(of.Metadata, of.CTState, of.EthType, of.IPSrc, of.IPv6Src, of.Reg15), Next: tables(Hairpin, RouterOut),
		Doc: "A connection to an external address whose sender's own route is through the port that it leaves by now: without another source it would be answered past this router. One flow says so for each route and port, one of lower priority that it is none for other ports."}
	NoSnat = &Rule{ID: 118, Name: "no-snat", Table: SNAT, Next: tables(RouterOut),
		Doc: "Not from such a network: no connection tracking."}

	HairpinSnat = &Rule{ID: 175, Name: "hairpin-snat", Table: Hairpin, Priority: 100, Match: fields(of.Metadata, of.EthType, of.CTState, of.CTNwDst, of.CTIPv6Dst), Next: tables(Translated),
		Doc: "Its source becomes the external address that it was sent to."}
	RenumberedHairpin = &Rule{ID: 190, Name: "renumbered-hairpin", Table: Hairpin, Priority: 90, Match: fields(of.Metadata, of.EthType, of.Reg11, of.IPDst, of.IPv6Dst), Next: tables(Translated),
		Doc: "As hairpin-snat, for a ping that got another identifier: the connection remembers which one its sender knows."}
	RenumberedLost = &Rule{ID: 176, Name: "renumbered-lost", Table: Hairpin, Priority: 50, Match: fields(of.Metadata, of.Reg11), Drop: "no translation for a ping with another identifier",
		Doc: "The rule that the daemon gave the ping another identifier for is gone."}
	NoHairpin = &Rule{ID: 177, Name: "no-hairpin", Table: Hairpin, Next: tables(RouterOut),
		Doc: "The address is not of a rule (any more)."}

	IsTranslated = &Rule{ID: 178, Name: "is-translated", Table: Translated, Priority: 500, Match: fields(of.CTState), Next: tables(RouterOut),
		Doc: "The packet has its external address."}
	Renumber = &Rule{ID: 179, Name: "renumber-ping", Table: Translated, Priority: 400, Punt: true, Match: fields(of.CTState, of.EthType, of.IPProto, of.ICMPType, of.ICMPv6Type),
		Doc: "A ping whose identifier another inside address uses to the same destination: Open vSwitch's own connection tracking can not change it, so the daemon does."}
	Untranslated = &Rule{ID: 180, Name: "untranslated", Table: Translated, Priority: 100, Span: 128, Match: fields(of.Metadata, of.EthType, of.IPSrc, of.IPv6Src), Drop: "connection tracking has no translation for it",
		Doc: "A packet of this rule's inside addresses that belongs to no connection and can not begin one, or no external port is left."}
	NotTranslated = &Rule{ID: 181, Name: "not-translated", Table: Translated, Drop: "no translation",
		Doc: "As untranslated, for hairpins."}

	LeaveRouter = &Rule{ID: 120, Name: "leave-router", Table: RouterOut, Priority: 100, Match: fields(of.Metadata, of.Reg15), Next: tables(L2Lookup),
		Doc: "Into the switch behind the port; its MAC becomes the source."}
	CheckNext = &Rule{ID: 200, Name: "check-next", Table: RouterOut, Priority: 110, Match: fields(of.Metadata, of.Reg15, of.EthType), Next: tables(NextSize),
		Doc: "The network behind the port has an MTU that the packet is compared with."}
	NextExceeded = &Rule{ID: 201, Name: "next-exceeded", Table: NextSize, Priority: 110, Match: fields(of.Metadata, of.Reg15, of.Reg10, of.EthType), Punt: true, Drop: "larger than the MTU of the next network",
		Doc: "The daemon answers fragmentation needed (RFC 1191) or packet too big (RFC 8201)."}
	NextFits = &Rule{ID: 202, Name: "next-fits", Table: NextSize, Priority: 100, Match: fields(of.Metadata, of.Reg15), Next: tables(L2Lookup),
		Doc: "It fits: as leave-router."}
	NextUnknown = &Rule{ID: 203, Name: "next-unknown", Table: NextSize, Drop: "router port leads nowhere",
		Doc: "Never met: whoever compares has a way for what fits."}
	NoPeer = &Rule{ID: 121, Name: "no-peer", Table: RouterOut, Drop: "router port leads nowhere",
		Doc: "The router port has no peer."}

	AskOfPort = &Rule{ID: 244, Name: "ask-of-port", Table: Miss, Priority: 100, Punt: true, Match: fields(of.Reg12),
		Doc: "On demand: a packet of a port here whose destination has no flows here waits with the daemon until it has. A meter bounds what a port may ask."}
	AskOfOthers = &Rule{ID: 245, Name: "ask-of-others", Table: Miss, Punt: true,
		Doc: "As ask-of-port, for packets of other chassis (to ports that have left this one)."}

	Straight = &Rule{ID: 134, Name: "straight", Table: TunnelOut, Priority: 95, Match: fields(of.Reg10, of.Reg4), Next: tables(Encap),
		Doc: "On a gateway: another one handed the packet over because it does not reach the chassis. Though this one does not either, it sends there: BFD may be wrong, as when the switch of that chassis did not get to run."}
	NoFurther = &Rule{ID: 130, Name: "no-further", Table: TunnelOut, Priority: 100, Match: fields(of.Reg10), Next: tables(Deliver),
		Doc: "A packet from a tunnel goes back into one once at most. Then an interface that its port still has here takes it, as on the host that a port is about to leave."}
	HandOn = &Rule{ID: 131, Name: "hand-on", Table: TunnelOut, Priority: 90, Match: fields(of.Reg10), Next: tables(Encap),
		Doc: "A packet that arrived here although its port has moved: handed on once, flagged."}
	CheckSize = &Rule{ID: 132, Name: "check-size", Table: TunnelOut, Priority: 50, Match: fields(of.EthType), Next: tables(TunnelSize),
		Doc: "An IP packet is compared with what fits into the tunnel."}
	ToEncap = &Rule{ID: 133, Name: "to-encap", Table: TunnelOut, Next: tables(Encap),
		Doc: "A frame that nobody could be told about."}

	SizeExceeded = &Rule{ID: 140, Name: "size-exceeded", Table: TunnelSize, Priority: 100, Match: fields(of.Reg10, of.EthType), Punt: true, Drop: "larger than the MTU of the tunnel",
		Doc: "The daemon answers fragmentation needed (RFC 1191) or packet too big (RFC 8201): from the router that the packet crossed, or, if it crossed none, from the address that it is for."}
	SizeFits = &Rule{ID: 141, Name: "size-fits", Table: TunnelSize, Next: tables(Encap),
		Doc: "It fits."}

	Encapsulate = &Rule{ID: 150, Name: "encapsulate", Table: Encap, Priority: 100, Match: fields(of.Reg10),
		Doc: "Network id and option are written; the packet leaves through the Geneve port."}
	EncapsulateVXLAN = &Rule{ID: 152, Name: "encapsulate-vxlan", Table: Encap, Priority: 100, Match: fields(of.Reg10),
		Doc: "The receiver wants VXLAN: the network id is written; the packet leaves through the VXLAN port."}
	NoTunnel = &Rule{ID: 151, Name: "no-tunnel", Table: Encap, Drop: "tunnel port is not ready",
		Doc: "No tunnel port yet."}

	Output = &Rule{ID: 160, Name: "output", Table: Deliver, Priority: 100, Match: fields(of.Metadata, of.Reg15),
		Doc: "To the workload's interface, or to the VXLAN device of a multicast network."}
	NotHere = &Rule{ID: 161, Name: "not-here", Table: Deliver, Drop: "port is not on this chassis",
		Doc: "The port has just left, or a packet that was handed on already is for a port elsewhere."}
)

// Rules lists every rule, ordered by table and falling priority.
var Rules = []*Rule{
	MulticastSource, LocalPort, TunnelPort, VXLANPort, MulticastPort, UnboundPort,
	PeerVXLAN, PeerChassis, UnknownPeer,
	Unchecked, OwnND, SpoofedND, OwnARP, OwnIPv4, DHCPRequest, OwnIPv6, UnspecifiedIPv6, SpoofedAddress, OwnMAC, SpoofedMAC,
	OwnSource, DeclaredElsewhere, DeclaredSource, LearnHere, LearnThere, NotToLearn,
	Tagged, OwnAddressAsked, RogueServer, AskHostConfig, StrangeClient, ARPResponder, NDResponder, Learn, AskARP, AskND, UnknownARP, UnknownND, NotAsked,
	NDAdvertiseAll, NDAdvertise, NDBroken,
	AskSource, Remember, ToLocalPort, ToRemotePort, ByGateway, ToRouter, UnboundDestination, FloodFromTunnel, FloodOf, Flood, AskPort, FromPatch, FromMulticast, ToPatch, PatchByGateway, ToMulticast, SearchLearnt, UnknownDestination,
	NotLearnt,
	LearntHere, LearntThere, UnknownFromTunnel, UnknownOf, NobodyHasIt,
	RouterTagged, Martian, RouterSpoofed, CheckExternal, RouterAccept, RouterNotIP,
	Unsnat, NoUnsnat,
	PingReply, Dnat, NoDnat,
	ExternalExceeded, ExternalFits,
	EchoReply, PortUnreachable, ForRouter, ForExternal, TTLExpired, LinkLocal, ToRoute,
	Connected, ReturnFixed, AskEdge, Static, Untunnel, NoRoute,
	ReturnBy, ReturnAny, NoReturn,
	NeighbourMAC, LearntNeighbour, AskNeighbour, Resolve, NoNeighbour,
	UndnatError, Undnat, NoUndnat,
	Answer, RestoredPing, RouterError, RouterSays, RenumberedPing, RenumberedOther, Snat, WayBack, NoSnat,
	HairpinSnat, RenumberedHairpin, RenumberedLost, NoHairpin,
	IsTranslated, Renumber, Untranslated, NotTranslated,
	CheckNext, LeaveRouter, NoPeer,
	NextExceeded, NextFits, NextUnknown,
	AskOfPort, AskOfOthers,
	NoFurther, Straight, HandOn, CheckSize, ToEncap,
	SizeExceeded, SizeFits,
	Encapsulate, EncapsulateVXLAN, NoTunnel,
	Output, NotHere,
}

func fields(f ...of.Field) []of.Field { return f }
func tables(t ...Table) []Table       { return t }
