package model

import "net/netip"

// NodeCommandInspect asks a node for what `tpctl check` judges → NodeInspection.
const NodeCommandInspect = "inspect"

// NodeCommandWays asks a node to measure the ways to other chassis; args to: their tunnel addresses, with commas between them →
// []NodeWay. It takes seconds where packets are lost.
const NodeCommandWays = "ways"

// NodeWay is the way from a node to the tunnel endpoint of another chassis.
type NodeWay struct {
	To netip.Addr `json:"to"`
	// MTU is the largest IP packet that gets there in one piece, in bytes; 0: Error says why that is not known.
	MTU   int    `json:"mtu,omitempty"`
	Error string `json:"error,omitempty"`
}

// NodeInspection is what a node sees of its own host.
type NodeInspection struct {
	// ClockMS is the node's clock in milliseconds since 1970.
	ClockMS int64 `json:"clockMilliseconds"`
	// Datapath is the type of the integration bridge, such as netdev.
	Datapath string `json:"datapath"`
	// UnderlayMTU is that of the device that holds the tunnel endpoint; TunnelMTU the largest IP packet of a workload that
	// fits into a tunnel. 0: not known.
	UnderlayMTU int             `json:"underlayMTU"`
	TunnelMTU   int             `json:"tunnelMTU"`
	Interfaces  []NodeInterface `json:"interfaces"`
	// Settings are kernel parameters that are not as they have to be.
	Settings []NodeSetting `json:"settings,omitempty"`
	// Certificates are those that the daemon uses.
	Certificates []NodeCertificate `json:"certificates,omitempty"`
}

// NodeInterface is an interface of a workload, and its other end if it is a veth and that is found.
type NodeInterface struct {
	Name string `json:"name"`
	LSP  string `json:"lsp"`
	MTU  int    `json:"mtu,omitempty"`
	// Peer is the name of the other end; empty: it is not known.
	Peer    string `json:"peer,omitempty"`
	PeerMTU int    `json:"peerMTU,omitempty"`
	// TxOffload: the other end leaves checksums to the device. On a netdev datapath nobody fills them in.
	TxOffload bool   `json:"txOffload,omitempty"`
	Error     string `json:"error,omitempty"` // why the switch cannot use it
}

// NodeSetting is a kernel parameter.
type NodeSetting struct {
	Path string `json:"path"`
	Want string `json:"want"`
}

// NodeCertificate is a file with certificates.
type NodeCertificate struct {
	File string `json:"file"`
	// ExpiresMS is when the first of them ends, in milliseconds since 1970; 0: Error says why that is not known.
	ExpiresMS int64  `json:"expiresMilliseconds,omitempty"`
	Error     string `json:"error,omitempty"`
}
