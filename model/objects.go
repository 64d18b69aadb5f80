// Package model holds the objects that an operator speaks of and that nodes report: logical switches and routers,
// their ports, chassis and bindings. It owns their shape (JSON), their names, defaults and validation, and does no
// I/O and reads no clock. tpctl and the node daemon run the same code, so what one accepts the other understands.
//
// Objects are values that are written once: nobody changes an object after it was handed on.
package model

import "net/netip"

// Kind names a type of object. Its text is the folder of the type in the store.
type Kind string

// The kinds of objects. Spec kinds are intent, written by operators; the others are written by nodes.
const (
	KindSwitch     Kind = "switch"
	KindSwitchPort Kind = "switchport"
	KindRouter     Kind = "router"
	KindRouterPort Kind = "routerport"
	KindRoute      Kind = "route"
	KindNAT        Kind = "nat"
	KindChassis    Kind = "chassis"
	KindBinding    Kind = "binding"
)

// Ref names an object: its kind, the switch or router that it belongs to (ports, routes and NAT rules) and its name.
type Ref struct {
	Kind   Kind
	Parent string
	Name   string
}

// Object is anything that is kept in the store under a Ref.
type Object interface {
	// Ref tells where the object lives in the store; it never fails, also for invalid objects.
	Ref() Ref
	// Validate checks everything that can be said of the object alone; the error is one line.
	Validate() error
}

// LogicalSwitch is a virtual Ethernet segment that spans all chassis.
type LogicalSwitch struct {
	Name string `json:"name"`
	// VNI is the 24-bit network identifier (RFC 8926 section 3.4); switches and routers share the number space.
	VNI VNI `json:"vni"`
	// Type is how frames come from host to host.
	Type SwitchType `json:"type,omitempty"`
	// Device is the network device of each host that a multicast network (SwitchMulticast) uses; empty: the one with the host's
	// tunnel address.
	Device string `json:"device,omitempty"`
	// Subnets of the switch. None: addresses are given by hand, or the switch is pure L2.
	Subnets []netip.Prefix `json:"subnets,omitempty"`
	// Pools say which of the subnets were taken from which pool.
	Pools []SubnetSource `json:"pools,omitempty"`
	// MACPrefix begins the MACs of ports for which none is given; none: model.DerivePortMAC says how they are made.
	MACPrefix MACPrefix `json:"macPrefix,omitempty"`
	// MTU of the workloads' interfaces in bytes; 0 = computed from encapsulation and underlay.
	MTU int `json:"mtu,omitempty"`
	// Hosts is what workloads are told about the network; nil: nothing.
	Hosts *HostConfig `json:"hosts,omitempty"`
	Tags  []string    `json:"tags,omitempty"`
}

// WorkloadMTU is the MTU in bytes of the interfaces of workloads on the switch: its own if it has one, else tunnel, the largest
// IP packet that fits into the tunnels of the deployment (Chassis.TunnelMTU; 0 = not known), or for a multicast network
// into its VXLAN devices (MulticastMTU).
func (o *LogicalSwitch) WorkloadMTU(tunnel int) int {
	if o.MTU != 0 {
		return o.MTU
	}
	return tunnel
}

// PortType tells what is behind a switch port.
type PortType string

// Types of switch ports.
const (
	PortVIF    PortType = "vif"    // a workload's interface, found by external_ids:iface-id
	PortRouter PortType = "router" // the switch's side of a link to a router port (Peer)
	PortPatch  PortType = "patch"  // leads to a physical network: unknown and outer traffic goes there
)

// LogicalSwitchPort is a port of a switch. Its name is the OVS iface-id, unique in the whole deployment.
type LogicalSwitchPort struct {
	Switch string `json:"switch"`
	Name   string `json:"name"`
	// Key numbers the port within its switch: 1 … MaxPortKey.
	Key PortKey `json:"key"`
	// MAC of the port; none for type patch.
	MAC  MAC          `json:"mac,omitzero"`
	IPs  []netip.Addr `json:"ips,omitempty"`
	Type PortType     `json:"type"`
	// Peer is the name of the router port at the other end (type router).
	Peer string `json:"peer,omitempty"`
	// Chassis pins the port to a chassis (type patch).
	Chassis string `json:"chassis,omitempty"`
	// Bridge is the OVS bridge of that chassis that the port leads to (type patch): the chassis makes the pair of patch
	// interfaces. Empty: somebody makes it by hand.
	Bridge string `json:"bridge,omitempty"`
	// NoPortSecurity turns off the check that the port sends from its own addresses only.
	NoPortSecurity bool `json:"noPortSecurity,omitempty"`
	// Hostname is what the workload is told to call itself (type vif); empty: the port's name, if that can be one.
	Hostname string `json:"hostname,omitempty"`
	// NoHostConfig: the workload is told nothing, whatever the switch says (type vif).
	NoHostConfig bool     `json:"noHostConfig,omitempty"`
	Tags         []string `json:"tags,omitempty"`
}

// Learns tells whether any MAC may be behind the port: a workload's port without declared addresses that is not checked either. An
// overlay switch that leads to no physical network learns which ones are.
func (p *LogicalSwitchPort) Learns() bool {
	return p.Type == PortVIF && len(p.IPs) == 0 && p.NoPortSecurity
}

// LogicalRouter routes between the switches that it is linked to, on every chassis.
type LogicalRouter struct {
	Name string `json:"name"`
	// ID comes from the number space of the VNIs.
	ID VNI `json:"id"`
	// Chassis pins the router to one (gateway) chassis; empty: distributed.
	Chassis string   `json:"chassis,omitempty"`
	Tags    []string `json:"tags,omitempty"`
}

// LogicalRouterPort is an interface of a router. It always also has the link-local address of its MAC (LinkLocal).
// Its name is unique in the whole deployment, in one space with switch ports.
type LogicalRouterPort struct {
	Router string  `json:"router"`
	Name   string  `json:"name"`
	Key    PortKey `json:"key"`
	MAC    MAC     `json:"mac"`
	// Networks are interface addresses with their prefix lengths, such as 10.20.1.1/24; not masked.
	Networks []netip.Prefix `json:"networks"`
	// Peer is the name of the switch port (type router) at the other end.
	Peer string   `json:"peer,omitempty"`
	Tags []string `json:"tags,omitempty"`
}

// Chassis is a node, as it describes itself. Name is its OVS system-id.
type Chassis struct {
	Name     string `json:"name"`
	Hostname string `json:"hostname,omitempty"`
	// IPs are its tunnel endpoints, at most one of each family.
	IPs []netip.Addr `json:"ips"`
	// Encaps are the encapsulations that it wants to be sent, the best first; what it sends itself depends on who receives.
	Encaps []Encap `json:"encaps"`
	// UnderlayMTU is that of the device that holds the tunnel endpoint, TunnelMTU the largest IP packet of a workload that the
	// chassis lets into tunnels: what fits on every chassis of the deployment. Both in bytes; 0: not known.
	UnderlayMTU int `json:"underlayMTU,omitempty"`
	TunnelMTU   int `json:"tunnelMTU,omitempty"`
	// Gateway: the chassis may hold pinned routers, patch ports and NAT.
	Gateway bool `json:"gateway,omitempty"`
	// Tick counts the starts of the daemon.
	Tick uint64 `json:"tick,omitempty"`
}

// Binding says on which chassis a switch port is. It is written by the chassis that has the interface.
type Binding struct {
	Port    string `json:"port"`
	Chassis string `json:"chassis"`
}
