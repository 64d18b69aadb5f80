package sim

import (
	"fmt"

	"tuplenet/flows/of"
)

// Limits of Open vSwitch for one packet (ovs-actions(7), "resubmit"): nested lookups and lookups altogether.
const (
	maxDepth   = 64
	maxLookups = 4096
)

// maxRecirculations is how often the userspace datapath takes a packet up again (MAX_RECIRC_DEPTH in
// lib/dpif-netdev.c); it drops the packet at one more.
const maxRecirculations = 6

// Step is one lookup.
type Step struct {
	// Depth is how many resubmits and groups the lookup is nested in.
	Depth int
	// Pass is the index of the pass that the lookup belongs to.
	Pass  int
	Table uint8
	// Packet is what was looked up, with its metadata.
	Packet Packet
	// Flow is the flow that acted; nil: the table has no flow for the packet, which is dropped.
	Flow *of.Flow
	// Other is a second flow of the same priority that matches too and does something else. OpenFlow leaves open which of
	// them acts, so this is a defect of whoever made the flows.
	Other *of.Flow
	// Choices are those of the groups that the flow ran, in their order.
	Choices []Choice
	// Notes say what actions did that their text does not tell, such as an output that was left out.
	Notes []string
}

// Output is a copy of the packet that leaves the switch.
type Output struct {
	// Port is where: of.PortController for a copy to the controller.
	Port uint32
	// Packet is the copy; for a tunnel its tunnel fields say where it goes.
	Packet Packet
	// Tunnel tells that the port is a tunnel.
	Tunnel bool
	// Punt is the action that sent it to the controller.
	Punt *of.Controller
	// Step is the index of the step whose flow sent it.
	Step int
}

// Pass is what a switch does with a packet between two visits to connection tracking, which gives the packet back
// to a table that an action names (recirculation). A packet that is not tracked has one.
type Pass struct {
	// Table and Packet are where it begins, and with what.
	Table  uint8
	Packet Packet
	// Final is the packet after the last action of the pass.
	Final Packet
}

// Trace is everything that happened to one packet in one switch.
type Trace struct {
	Steps   []Step
	Passes  []Pass
	Outputs []Output
	// Final is the packet after the last action, as later actions would have found it.
	Final Packet
	// Err tells why the interpretation ended: what sim does not know, or a limit of the switch. As in a switch that gives
	// up, no copy leaves then.
	Err error
}

// Last is the last step, the one to blame for a packet that went nowhere; nil before the first.
func (t *Trace) Last() *Step {
	if len(t.Steps) == 0 {
		return nil
	}
	return &t.Steps[len(t.Steps)-1]
}

// Run sends a packet into a port. The packet's in_port is set to it; fields that the packet does not have, such as the
// ports of a later fragment, read as zero.
func (s *Switch) Run(p Packet, inPort uint32) Trace {
	p.clear()
	p.Set(of.InPort, of.U(uint64(inPort)))
	r := run{sw: s, tunDst: p.Get(of.TunDst), tunDst6: p.Get(of.TunIPv6Dst), queue: []pass{{p: p}}}
	return r.finish()
}

// finish runs the passes that wait.
func (r *run) finish() Trace {
	for len(r.queue) > 0 && r.trace.Err == nil {
		next := r.queue[0]
		r.queue = r.queue[1:]
		r.pass(next)
	}
	r.trace.Final = r.p
	if r.trace.Err != nil {
		r.trace.Outputs = nil
	}
	return r.trace
}

// Resume goes on with a packet in a table, with the metadata and registers that it has, as after a packet-out of the controller
// that sets them and resubmits; without an in-port it seems to come from the controller. It is not tracked.
func (s *Switch) Resume(table uint8, p Packet) Trace {
	if p.Get(of.InPort).Lo == 0 {
		p.Set(of.InPort, of.U(uint64(of.PortController)))
	}
	r := run{sw: s, tunDst: p.Get(of.TunDst), tunDst6: p.Get(of.TunIPv6Dst), queue: []pass{{table: table, p: p}}}
	return r.finish()
}

// Do gives a packet to a list of actions, as a packet-out does. What the list itself puts out has step -1.
func (s *Switch) Do(p Packet, inPort uint32, actions []of.Action) Trace {
	p.clear()
	p.Set(of.InPort, of.U(uint64(inPort)))
	r := run{sw: s, p: p, step: -1, tunDst: p.Get(of.TunDst), tunDst6: p.Get(of.TunIPv6Dst)}
	r.trace.Passes = []Pass{{Packet: p}}
	r.actions(actions)
	r.trace.Passes[0].Final = r.p
	return r.finish()
}

// pass runs what begins in a table.
func (r *run) pass(next pass) {
	if len(r.trace.Passes) > maxRecirculations {
		r.fail("table %d: more than %d recirculations", next.table, maxRecirculations)
		return
	}
	r.trace.Passes = append(r.trace.Passes, Pass{Table: next.table, Packet: next.p})
	r.p, r.stack, r.conn, r.zone = next.p, next.stack, next.conn, next.zone
	r.lookups, r.depth, r.step = 0, 0, -1
	r.lookup(next.table, uint32(r.p.Get(of.InPort).Lo))
	r.trace.Passes[len(r.trace.Passes)-1].Final = r.p
}

// pass is a copy of the packet that waits to go on in a table.
type pass struct {
	table uint8
	p     Packet
	stack []of.Value
	conn  tracked
	zone  uint16
}

// run is the state of one packet.
type run struct {
	sw      *Switch
	p       Packet
	stack   []of.Value
	trace   Trace
	lookups int
	depth   int
	step    int // the step whose actions run
	table   uint8
	queue   []pass
	// conn is the connection that the packet was found to belong to, in zone.
	conn tracked
	zone uint16
	// tunDst is the address at which a packet from a tunnel arrived.
	tunDst, tunDst6 of.Value
}

func (r *run) fail(format string, args ...any) {
	if r.trace.Err == nil {
		r.trace.Err = fmt.Errorf(format, args...)
	}
}

func (r *run) note(format string, args ...any) {
	if r.step >= 0 {
		s := &r.trace.Steps[r.step]
		s.Notes = append(s.Notes, fmt.Sprintf(format, args...))
	}
}

// lookup runs the flow of a table that matches while the in-port reads inPort.
func (r *run) lookup(id uint8, inPort uint32) {
	if r.depth >= maxDepth {
		r.fail("table %d: more than %d nested lookups", id, maxDepth)
		return
	}
	if r.lookups++; r.lookups > maxLookups {
		r.fail("table %d: more than %d lookups", id, maxLookups)
		return
	}
	f, other := r.sw.tables[id].lookup(r.seen(inPort))
	r.trace.Steps = append(r.trace.Steps, Step{Depth: r.depth, Pass: len(r.trace.Passes) - 1, Table: id, Packet: r.p, Flow: f, Other: other})
	if f == nil {
		return
	}
	step, table := r.step, r.table
	r.step, r.table = len(r.trace.Steps)-1, id
	r.actions(f.Actions)
	r.step, r.table = step, table
}

// seen is the packet as a lookup sees it. Open vSwitch, in its default fragment handling, pretends that no fragment has
// transport ports or ICMP type and code, the first one neither (ovs-ofctl(8), "set-frags").
func (r *run) seen(inPort uint32) *Packet {
	p := r.p
	p.Set(of.InPort, of.U(uint64(inPort)))
	if !p.Get(of.IPFrag).IsZero() {
		for _, f := range []of.Field{of.TCPSrc, of.TCPDst, of.UDPSrc, of.UDPDst, of.SCTPSrc, of.SCTPDst,
			of.ICMPType, of.ICMPCode, of.ICMPv6Type, of.ICMPv6Code} {
			p.Set(f, of.Value{})
		}
	}
	return &p
}

// actions runs a list. It ends early at a TTL that expires.
func (r *run) actions(as []of.Action) {
	for _, a := range as {
		if r.trace.Err != nil || !r.action(a) {
			return
		}
	}
}

// action runs one action; false ends the list that it is in.
func (r *run) action(a of.Action) bool {
	switch a := a.(type) {
	case of.Output:
		r.output(a.Port)
	case of.OutputField:
		r.output(widePort(uint32(r.p.bits(a.Src).Lo)))
	case of.Controller:
		r.trace.Outputs = append(r.trace.Outputs, Output{Port: of.PortController, Packet: r.p, Punt: &a, Step: r.step})
	case of.SetField:
		r.setField(a)
	case of.CopyField:
		r.copyField(a)
	case of.Resubmit:
		in := uint32(r.p.Get(of.InPort).Lo)
		if a.Port != of.ResubmitInPort {
			in = widePort(uint32(a.Port))
		}
		r.nested(a.Table, in)
	case of.Goto:
		r.nested(a.Table, uint32(r.p.Get(of.InPort).Lo))
	case of.GroupAction:
		r.group(a.ID)
	case of.MeterAction: // every packet conforms
	case of.CTClear:
		r.untrack()
	case of.DecTTL:
		return r.decTTL()
	case of.Push:
		r.stack = append(r.stack, r.p.bits(a.Src))
	case of.Pop:
		r.pop(a)
	case of.CheckPktLarger:
		larger := of.U(0)
		if r.p.Length > int(a.Bytes) {
			larger = of.U(1)
		}
		r.p.setBits(a.Dst, larger)
	case of.Clone:
		r.copied(func() { r.actions(a.Actions) })
	case of.CT:
		r.track(a)
	case of.Learn:
		r.learn(a)
	default:
		r.fail("table %d: unknown action %T", r.table, a)
	}
	return true
}

// nested looks up another table. Only a lookup that does not go forward counts as nested, as in Open vSwitch.
func (r *run) nested(id uint8, inPort uint32) {
	if id <= r.table {
		r.depth++
		defer func() { r.depth-- }()
	}
	r.lookup(id, inPort)
}

// copied runs something on a copy of packet, metadata and stack.
func (r *run) copied(do func()) {
	p, stack := r.p, append([]of.Value(nil), r.stack...)
	r.depth++
	do()
	r.depth--
	r.p, r.stack = p, stack
}

// widePort gives the reserved ports of 16 bits their 32-bit numbers.
func widePort(p uint32) uint32 {
	if p >= 0xff00 && p <= 0xffff {
		return p | 0xffff0000
	}
	return p
}

func (r *run) setField(a of.SetField) {
	if !r.p.Has(a.Field) {
		r.note("set_field left out: the packet has no %s", a.Field)
		return
	}
	r.p.setMasked(a.Field, a.Value, a.Mask)
}

func (r *run) copyField(a of.CopyField) {
	for _, f := range []of.Field{a.Src.Field, a.Dst.Field} {
		if !r.p.Has(f) {
			r.note("copy_field left out: the packet has no %s", f)
			return
		}
	}
	r.p.setBits(a.Dst, r.p.bits(a.Src))
}

// decTTL ends the list of actions for a packet that may live no longer.
func (r *run) decTTL() bool {
	if !r.p.Has(of.IPTTL) {
		return true
	}
	ttl := r.p.Get(of.IPTTL).Lo
	if ttl <= 1 {
		r.note("TTL expired in dec_ttl")
		return false
	}
	r.p.Set(of.IPTTL, of.U(ttl-1))
	return true
}

func (r *run) pop(a of.Pop) {
	n := len(r.stack)
	if n == 0 {
		r.note("pop left out: the stack is empty")
		return
	}
	v := r.stack[n-1]
	r.stack = r.stack[:n-1]
	if !r.p.Has(a.Dst.Field) {
		r.note("pop left out: the packet has no %s", a.Dst.Field)
		return
	}
	r.p.setBits(a.Dst, v)
}

// output sends a copy out of a port. Never to where it came from, unless it says so (IN_PORT) or in_port was
// overwritten; never into a tunnel without destination, nor to the address at which the packet itself arrived.
func (r *run) output(port uint32) {
	in := uint32(r.p.Get(of.InPort).Lo)
	switch {
	case port == of.PortInPort:
		port = in
	case port == in:
		r.note("output to port %d left out: it is the in-port", port)
		return
	case port == of.PortController:
		r.trace.Outputs = append(r.trace.Outputs, Output{Port: port, Packet: r.p, Punt: &of.Controller{MaxLen: 0xffff}, Step: r.step})
		return
	}
	switch {
	case port == 0 || port == of.PortAny:
		r.note("output left out: there is no in-port")
		return
	case port > 0xffff && port != of.PortLocal:
		r.fail("table %d: output to port %#x is not simulated", r.table, port)
		return
	}
	tunnel := r.sw.tunnels[port]
	if tunnel {
		to, to6 := r.p.Get(of.TunDst), r.p.Get(of.TunIPv6Dst)
		switch {
		case to.IsZero() && to6.IsZero():
			r.note("output to tunnel port %d left out: no tunnel destination", port)
			return
		case !to.IsZero() && to == r.tunDst, to.IsZero() && to6 == r.tunDst6:
			r.note("output to tunnel port %d left out: the destination is this switch", port)
			return
		}
	}
	r.trace.Outputs = append(r.trace.Outputs, Output{Port: port, Packet: r.p, Tunnel: tunnel, Step: r.step})
}
