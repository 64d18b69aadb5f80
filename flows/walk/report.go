package walk

import "slices"

// Report is what became of a packet, and of the answer to it.
type Report struct {
	// Verdict says in one line where the packet ended, or why it did not get there.
	Verdict string `json:"verdict"`
	// Reached tells that the packet got somewhere: to a workload, out of the deployment, or to whoever answers it.
	Reached bool `json:"reached"`
	Forward Leg  `json:"forward"`
	// Reply is the way of the answer, if there is one that leaves another port.
	Reply *Leg `json:"reply,omitempty"`
	// Assumed lists what is not known from the store alone.
	Assumed []string `json:"assumed,omitempty"`
	// Defects are what should not be: flows that contend, tables without a last rule, limits of the switch.
	Defects []string `json:"defects,omitempty"`
}

// Leg is one way of one packet.
type Leg struct {
	From    string `json:"from"`
	Chassis string `json:"chassis"`
	Packet  string `json:"packet"`
	Hops    []Hop  `json:"hops"`
	Ends    []End  `json:"ends"`
}

// Hop is one chassis that the packet, or a copy of it, crossed.
type Hop struct {
	Chassis string `json:"chassis"`
	// From is the index of the hop that sent it here, -1 for the first.
	From int `json:"from"`
	// Port is the OpenFlow port by which it came in.
	Port uint32 `json:"port"`
	// MTU is the largest IP packet that the chassis' tunnels carry, in bytes, if the packet left by one; 0 otherwise.
	MTU    int     `json:"mtu,omitempty"`
	Stages []Stage `json:"stages"`
	// Passes are the packets that go into the flows: first as it came in, then as connection tracking gave it back.
	Passes []Pass `json:"passes"`
}

// Pass is one run through the flows of a chassis, in the terms of the switch.
type Pass struct {
	Table  uint8  `json:"table"`
	Packet string `json:"packet"`
	Length int    `json:"length"`
	// Outputs are the ports by which it leaves: numbers, or "controller", or the address that a tunnel leads to.
	Outputs []string `json:"outputs,omitempty"`
}

// Kinds of devices.
const (
	DeviceSwitch  = "LS"
	DeviceRouter  = "LR"
	DeviceChassis = "chassis" // before the packet belongs to a switch
)

// Stage is one lookup in one table.
type Stage struct {
	// Type and Device name the switch or router that the packet is in.
	Type   string `json:"type"`
	Device string `json:"device"`
	// From and To are the ports of the device by which the packet entered and leaves; empty: not known (yet).
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
	// Table, Rule and Owner: the table's name, the rule that acted and the object because of which it is there.
	Table string `json:"table"`
	Rule  string `json:"rule,omitempty"`
	Owner string `json:"owner,omitempty"`
	Doc   string `json:"doc,omitempty"`
	// Match and Actions are those of the flow, with names in place of numbers.
	Match   string `json:"match,omitempty"`
	Actions string `json:"actions,omitempty"`
	// Changes are what became of addresses, ports and TTL.
	Changes []string `json:"changes,omitempty"`
	Choices []Choice `json:"choices,omitempty"`
	Notes   []string `json:"notes,omitempty"`
	// Drop says why the packet ended here; WhyNot are rules of the table that it missed by one field.
	Drop   string   `json:"drop,omitempty"`
	WhyNot []Missed `json:"whyNot,omitempty"`
	Pass   int      `json:"pass"` // index of the pass of the hop
	// Flow is the flow as Open vSwitch writes it, Cookie its cookie in the switch.
	Flow   string `json:"flow,omitempty"`
	Cookie uint64 `json:"cookie"`
}

// Choice is one of several ways, taken by a group.
type Choice struct {
	// Ways are those that are alive, Dead the others.
	Ways  []string `json:"ways"`
	Dead  []string `json:"dead,omitempty"`
	Taken string   `json:"taken"`
	// By says how: the fields of the hash, or that the first live one is taken.
	By string `json:"by"`
	// Predicted tells that the switches choose the same way; else it is one of those possible.
	Predicted bool `json:"predicted"`
}

// Missed is a rule that the packet missed by one field.
type Missed struct {
	Rule  string `json:"rule"`
	Owner string `json:"owner"`
	Wants string `json:"wants"`
	Has   string `json:"has"`
}

// Kinds of ends.
const (
	EndDelivered = "delivered" // to a workload
	EndAnswered  = "answered"  // the network itself sent an answer back to where the packet came from; Why says for whom
	EndOutside   = "outside"   // left through a patch port, or to the other hosts of a multicast network
	EndHost      = "host"      // left through the host's own stack (untunnel)
	EndDaemon    = "daemon"    // went to the daemon, which may answer
	EndDropped   = "dropped"
	EndLost      = "lost"  // sent to a chassis that is not reached
	EndLoops     = "loops" // went round until it was followed no further
)

// End is where a copy of the packet ended.
type End struct {
	Kind    string `json:"kind"`
	Chassis string `json:"chassis"`
	Hop     int    `json:"hop"`
	// Port is the switch port, or the chassis of a packet that is lost.
	Port string `json:"port,omitempty"`
	// Table and Rule are those of a packet that ended in them, Why says why.
	Table  string `json:"table,omitempty"`
	Rule   string `json:"rule,omitempty"`
	Why    string `json:"why,omitempty"`
	Packet string `json:"packet,omitempty"`
	ofport uint32
	open   bool // observed: it went on from there, and was not seen any more up to now
}

// Open tells of what was observed whether a copy of the packet may still be on its way: it went on from where it was seen last.
func (r *Report) Open() bool {
	return slices.ContainsFunc(r.Forward.Ends, func(e End) bool { return e.open })
}
