package model

import "encoding/json"

// A node answers questions about its own truth: what its switch really holds and counts. The values here are the words of
// that conversation, the same on the daemon's socket and through the store.

// AdminSocket is the name of the daemon's socket in its run folder. It speaks HTTP: POST /v1/<command> with a NodeRequest.
const AdminSocket = "admin.sock"

// DefaultRunDir is the daemon's run folder unless it was told another.
const DefaultRunDir = "/run/tuplenet"

// Commands of a node; the daemon's package controller/admin lists what each takes and returns.
const (
	NodeCommandFlows  = "flows"         // args table, owner, rule filter → []NodeFlow
	NodeCommandDrops  = "drops"         // → []NodeDrop
	NodeCommandGroups = "groups"        // → []NodeGroup
	NodeCommandPorts  = "ports"         // → []NodePort
	NodeCommandTrace  = "ofproto-trace" // args bridge (default: the integration bridge), flow, packet, actions (in place of the first table) → string
	NodeCommandHealth = "health"        // → NodeHealth
	NodeCommandAudit  = "audit"         // → NodeAudit

	NodeCommandTraceFacts = "trace-facts" // → walk.Facts, what the node knows beside the store

	// A live trace, by its id: the switch reports its packet for some seconds; a frame is sent from a port; what was reported; the end.
	NodeCommandTraceArm    = "trace-arm"    // args id, seconds → number of flows
	NodeCommandTraceInject = "trace-inject" // args id, port, frame in hexadecimal → OpenFlow port
	NodeCommandTraceSeen   = "trace-seen"   // args id → NodeSightings
	NodeCommandTraceDisarm = "trace-disarm" // args id
)

// NodeRequest is a question to a node.
type NodeRequest struct {
	// Command is one of the NodeCommand constants.
	Command string            `json:"command"`
	Args    map[string]string `json:"args,omitempty"`
	// Chassis that is meant; a daemon that is another refuses. Empty: whoever is asked.
	Chassis string `json:"chassis,omitempty"`
}

// NodeAnswer is what a node says. Either Error or Body is set.
type NodeAnswer struct {
	Chassis string          `json:"chassis"`
	Error   string          `json:"error,omitempty"`
	Body    json.RawMessage `json:"body,omitempty"`
}

// NodeFlow is a flow in the switch of a node, with what caused it and how often it was met.
type NodeFlow struct {
	// Table and Rule by name; a table that is not ours is a number, the rule of a flow that is not wanted is empty.
	Table string `json:"table"`
	Rule  string `json:"rule,omitempty"`
	// Owner is the feature and object that want the flow, as feature/object; empty: nobody does.
	Owner    string `json:"owner,omitempty"`
	Priority uint16 `json:"priority"`
	// Match and Actions as Open vSwitch writes them.
	Match   string `json:"match"`
	Actions string `json:"actions"`
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
	// Cookie in hexadecimal, as ovs-ofctl prints it.
	Cookie string `json:"cookie"`
	// Seconds since the flow was put into the switch.
	Seconds float64 `json:"seconds"`
}

// NodeSightings is what a node saw of the packet of a live trace, in order.
type NodeSightings struct {
	Seen []NodeSighting `json:"seen"`
	// Lost is how many more there were.
	Lost int `json:"lost,omitempty"`
}

// NodeSighting is a packet as it came to a table.
type NodeSighting struct {
	Table uint8 `json:"table"`
	// Fields are metadata, registers and tunnel fields as Open vSwitch writes them, Frame the packet in hexadecimal.
	Fields string `json:"fields"`
	Frame  string `json:"frame"`
}

// NodeDrop says how many packets a rule dropped, for one owner.
type NodeDrop struct {
	Rule  string `json:"rule"`
	Table string `json:"table"`
	// Reason in words, of the pipeline's declaration.
	Reason  string `json:"reason"`
	Owner   string `json:"owner"`
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// NodeGroup is a group in the switch of a node.
type NodeGroup struct {
	ID uint32 `json:"id"`
	// Owner is the feature and object that want it; empty: nobody does.
	Owner string `json:"owner,omitempty"`
	// Group is the whole of it as Open vSwitch writes it.
	Group string `json:"group"`
}

// NodePort is an interface of the node's Open vSwitch.
type NodePort struct {
	Name   string `json:"name"`
	Bridge string `json:"bridge"`
	Type   string `json:"type,omitempty"`
	// OFPort is 0 while the switch has not looked at the interface, -1 if it could not open it; Error says why.
	OFPort int    `json:"ofport"`
	Error  string `json:"error,omitempty"`
	// LSP is the logical switch port that the interface claims to be.
	LSP string `json:"lsp,omitempty"`
	Up  bool   `json:"up"`
	MAC string `json:"mac,omitempty"`
	MTU int    `json:"mtu,omitempty"`
	// Remote is the other end of a tunnel.
	Remote string `json:"remote,omitempty"`
	// BFD is the state of the watched tunnel, such as up or down; empty if it is not watched.
	BFD string `json:"bfd,omitempty"`
	// Flaps counts how often the state changed between reachable and not.
	Flaps int `json:"flaps,omitempty"`
	// Ours: the daemon made it and keeps it.
	Ours bool `json:"ours,omitempty"`
}

// NodeHealth says how the daemon of a node does.
type NodeHealth struct {
	Chassis string `json:"chassis"`
	Version string `json:"version,omitempty"`
	// OVSVersion is that of the local Open vSwitch.
	OVSVersion string `json:"ovsVersion,omitempty"`
	// Alive: the daemon's event loop turns.
	Alive bool `json:"alive"`
	// Ready: all that was read from the store is in the switch, and the switch said so.
	Ready bool `json:"ready"`
	// Behind says why it is not ready.
	Behind string `json:"behind,omitempty"`
	// Revisions of the store: read, and acknowledged by the switch.
	Observed int64 `json:"observedRevision"`
	Applied  int64 `json:"appliedRevision"`
	// Flows and Groups that are wanted, Present flows of ours in the switch, Foreign ones of other namespaces.
	Flows   int `json:"flows"`
	Groups  int `json:"groups"`
	Present int `json:"presentFlows"`
	Foreign int `json:"foreignFlows"`
	// Refused are flows and groups that the switch does not take.
	Refused  int       `json:"refused"`
	Problems []Problem `json:"problems,omitempty"`
	Audit    NodeAudit `json:"audit"`
	// StartedMS is when the daemon began, ClockMS when this was said, both in milliseconds since 1970 by the node's clock.
	StartedMS int64 `json:"startedMilliseconds"`
	ClockMS   int64 `json:"clockMilliseconds"`
}

// NodeAudit says what reading back the switch found.
type NodeAudit struct {
	// Mode is heal, report or off.
	Mode string `json:"mode"`
	// IntervalMS is how often everything is read back, in milliseconds.
	IntervalMS int64 `json:"intervalMilliseconds"`
	// Passes since the daemon began; LastMS is when the last one ended, in milliseconds since 1970.
	Passes uint64 `json:"passes"`
	LastMS int64  `json:"lastMilliseconds,omitempty"`
	// Drift counts what was found since the daemon began, by kind: missing, foreign, altered.
	Drift map[string]uint64 `json:"drift"`
	// Last are the newest findings, the newest first.
	Last []NodeFinding `json:"last,omitempty"`
}

// NodeFinding is one thing, or several of one owner and rule, that somebody else changed.
type NodeFinding struct {
	AtMS int64 `json:"atMilliseconds"`
	// What it is: flow, group, meter, tlv, port, bridge or sysctl. Kind is missing, foreign or altered.
	What  string `json:"what"`
	Kind  string `json:"kind"`
	Count int    `json:"count"`
	Owner string `json:"owner,omitempty"`
	Rule  string `json:"rule,omitempty"`
	Name  string `json:"name,omitempty"`
	// Text is one line for the operator, such as "healed 3 flows of LR-edge1/lnat/snat_rule1".
	Text string `json:"text"`
	// Healed: it is right again.
	Healed bool `json:"healed"`
}
