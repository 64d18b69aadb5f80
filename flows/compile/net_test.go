package compile_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"tuplenet/flows/compile"
	"tuplenet/flows/memo"
	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
	"tuplenet/flows/sim"
	"tuplenet/model"
)

// The port numbers of the tunnels on every chassis of a world.
const (
	tunnelPort = 1
	vxlanPort  = 2
)

// failer is what a test and a property have in common.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// network is a world compiled on each chassis, in the simulator.
type network struct {
	*world
	t     failer
	nodes sim.Net
	rules map[*of.Flow]*pipeline.Rule
	// down are ports that a chassis finds dead when it is loaded.
	down []uint32
	// learns has switches learn MACs from one packet to the next, which traces of a real one do not.
	learns bool
}

// build compiles what each chassis sees of the world.
func (w *world) build(t failer) *network {
	t.Helper()
	n := &network{world: w, t: t}
	n.reload()
	return n
}

// reload compiles everything anew.
func (n *network) reload() {
	n.nodes, n.rules = sim.Net{}, map[*of.Flow]*pipeline.Rule{}
	for _, chassis := range n.chassis() {
		n.load(chassis, n.see(chassis))
	}
}

// load gives a chassis the flows that it compiles from facts.
func (n *network) load(chassis string, facts map[memo.Key]any) {
	n.t.Helper()
	flows, rules, groups := flatten(n.t, compileFacts(facts))
	sw, err := sim.New(sim.Config{Flows: flows, Groups: groups, Tunnels: []uint32{tunnelPort, vxlanPort}, Down: n.down, Static: !n.learns})
	if err != nil {
		n.t.Fatalf("%s: %v", chassis, err)
	}
	for i := range flows {
		n.rules[&flows[i]] = rules[i]
	}
	n.nodes[chassis] = sim.Node{Switch: sw, Tunnel: tunnelPort, VXLAN: n.node(chassis).VXLANPort, IPs: n.node(chassis).IPs}
}

func compileFacts(facts map[memo.Key]any) *memo.Engine[compile.Output] {
	e := compile.New()
	for k, v := range facts {
		e.Set(k, v)
	}
	e.Update()
	return e
}

// flatten joins all outputs as a switch sees them. Two owners may want the same flow or group, but no two flows may be
// for the same packets and differ, nor two groups have the same id.
func flatten(t failer, e *memo.Engine[compile.Output]) (flows []of.Flow, rules []*pipeline.Rule, groups []of.Group) {
	t.Helper()
	type place struct {
		table    uint8
		priority uint16
		match    string
	}
	seen, texts := map[place]uint64{}, map[uint32]string{}
	e.Outputs(func(u memo.Unit, o compile.Output) {
		for _, g := range o.Groups {
			switch texts[g.ID] {
			case "":
				texts[g.ID] = g.String()
				groups = append(groups, g)
			case g.String():
			default:
				t.Fatalf("%s: another group differs from %s", u, g)
			}
		}
		for _, p := range o.Flows {
			at := place{p.Table, p.Priority, p.MatchBytes()}
			f, err := p.Unpack()
			if err != nil {
				t.Fatalf("%s: %v", u, err)
			}
			if hash, twice := seen[at]; twice {
				if hash != p.Hash() {
					t.Fatalf("%s: another flow differs from %s", u, f)
				}
				continue
			}
			seen[at] = p.Hash()
			rule, _ := pipeline.RuleByID(p.Rule)
			flows, rules = append(flows, f), append(rules, rule)
		}
	})
	return flows, rules, groups
}

// send sends a packet from a bound port and checks what holds for every packet: no loop, every table has a last rule,
// no two flows contend, a packet that leaves nowhere ends in a rule that says why, nothing is lost in the underlay.
func (n *network) send(port string, p sim.Packet) sim.Walk {
	n.t.Helper()
	chassis, ofport := n.where(port)
	return n.onDemand(n.checked(n.nodes.Send(chassis, ofport, p)))
}

// resume goes on with a packet in a table of a chassis, as the daemon has it.
func (n *network) resume(chassis string, table pipeline.Table, p sim.Packet) sim.Walk {
	n.t.Helper()
	return n.checked(n.nodes.Resume(chassis, table.ID, p))
}

func (n *network) checked(w sim.Walk) sim.Walk {
	n.t.Helper()
	if w.Err != nil {
		n.t.Fatalf("%v\n%s", w.Err, n.story(w))
	}
	if len(w.Lost) > 0 {
		n.t.Fatalf("sent to nobody's tunnel address\n%s", n.story(w))
	}
	for _, h := range w.Hops {
		for _, s := range h.Trace.Steps {
			if s.Flow == nil || s.Other != nil {
				n.t.Fatalf("table %d on %s: no flow, or several (%v and %v)\n%s", s.Table, h.Node, s.Flow, s.Other, n.story(w))
			}
		}
		if r := n.rules[h.Trace.Last().Flow]; len(h.Trace.Outputs) == 0 && r.Drop == "" && !n.flooded(h) {
			n.t.Fatalf("%s drops in rule %s, which is no drop\n%s", h.Node, r.Name, n.story(w))
		}
	}
	return w
}

// flooded tells whether a group for everybody ran, which may be nobody.
func (n *network) flooded(h sim.Hop) bool {
	return slices.ContainsFunc(h.Trace.Steps, func(s sim.Step) bool {
		r := n.rules[s.Flow]
		return slices.Contains([]*pipeline.Rule{pipeline.Flood, pipeline.FloodFromTunnel, pipeline.FloodOf, pipeline.UnknownOf, pipeline.UnknownFromTunnel}, r)
	})
}

// where finds a port: its chassis and number there, empty if it is bound nowhere.
func (w *world) where(port string) (chassis string, ofport uint32) {
	for c, ports := range w.ports {
		if n := ports[port]; n != 0 {
			return c, n
		}
	}
	return "", 0
}

// fate says in one line what became of a packet: "to PORT ttl=N" for each copy, "punt REASON", "drop RULE", or "nobody"
// for a frame to everybody that found none.
func (n *network) fate(w sim.Walk) string {
	var parts []string
	for _, d := range w.Delivered {
		s := "to " + n.portAt(d.Node, d.Port)
		if d.Packet.Has(of.IPTTL) {
			s += fmt.Sprintf(" ttl=%d", d.Packet.Get(of.IPTTL).Lo)
		}
		parts = append(parts, s)
	}
	for _, p := range w.Punted {
		parts = append(parts, fmt.Sprintf("punt %d", p.Punt.Userdata[0]))
	}
	if len(parts) == 0 {
		h := w.Hops[len(w.Hops)-1]
		if n.flooded(h) {
			return "nobody"
		}
		parts = append(parts, "drop "+n.rules[h.Trace.Last().Flow].Name)
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

func (n *network) portAt(chassis string, ofport uint32) string {
	for name, p := range n.ports[chassis] {
		if p == ofport {
			return name
		}
	}
	return fmt.Sprintf("port %d of %s, which is nobody's", ofport, chassis)
}

// story tells a packet's way, for failures.
func (n *network) story(w sim.Walk) string {
	var b strings.Builder
	for i, h := range w.Hops {
		fmt.Fprintf(&b, "hop %d: %s (from hop %d)\n", i, h.Node, h.From)
		for _, s := range h.Trace.Steps {
			fmt.Fprintf(&b, "  %s\n", s.Packet.String())
			if r := n.rules[s.Flow]; r != nil {
				fmt.Fprintf(&b, "    %s: %s\n", r.Name, s.Flow)
			} else if s.Flow != nil {
				fmt.Fprintf(&b, "    learnt: %s\n", s.Flow)
			}
			for _, note := range s.Notes {
				fmt.Fprintf(&b, "    (%s)\n", note)
			}
		}
		for _, o := range h.Trace.Outputs {
			fmt.Fprintf(&b, "  -> %d %s\n", o.Port, o.Packet.String())
		}
	}
	return b.String()
}

// The objects of a world, by kind and in a fixed order.

func objects[T any](w *world) []T {
	var keys []memo.Key
	for k, v := range w.facts {
		if _, ok := v.(T); ok {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b memo.Key) int { return strings.Compare(a.String(), b.String()) })
	all := make([]T, len(keys))
	for i, k := range keys {
		all[i] = w.facts[k].(T)
	}
	return all
}

func fact[T model.Object](w *world, r model.Ref) T { v, _ := w.facts[compile.FactKey(r)].(T); return v }

// portsOf are the ports of a switch.
func (w *world) portsOf(sw string) []*model.LogicalSwitchPort {
	return slices.DeleteFunc(objects[*model.LogicalSwitchPort](w), func(p *model.LogicalSwitchPort) bool { return p.Switch != sw })
}

// routerPorts are the ports of a router.
func (w *world) routerPorts(lr string) []*model.LogicalRouterPort {
	return slices.DeleteFunc(objects[*model.LogicalRouterPort](w), func(p *model.LogicalRouterPort) bool { return p.Router != lr })
}

// routerEnd is the router port behind a switch port of type router.
func (w *world) routerEnd(p *model.LogicalSwitchPort) *model.LogicalRouterPort {
	for _, rp := range objects[*model.LogicalRouterPort](w) {
		if rp.Name == p.Peer {
			return rp
		}
	}
	return nil
}

// switchEnd is the switch port in front of a router port.
func (w *world) switchEnd(rp *model.LogicalRouterPort) *model.LogicalSwitchPort {
	for _, p := range objects[*model.LogicalSwitchPort](w) {
		if p.Name == rp.Peer {
			return p
		}
	}
	return nil
}

// Packets.

func frame(src, dst model.MAC, ethType uint64) sim.Packet {
	return sim.Packet{Length: 98}.With(of.EthSrc, of.MAC(src)).With(of.EthDst, of.MAC(dst)).With(of.EthType, of.U(ethType))
}

var (
	broadcast = model.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	nobody    = model.MAC{0xf2, 0xee, 0, 0, 0, 1}
)

// ping is an echo request.
func ping(src model.MAC, from netip.Addr, dst model.MAC, to netip.Addr) sim.Packet {
	if to.Is4() {
		return frame(src, dst, 0x0800).With(of.IPSrc, of.Addr(from)).With(of.IPDst, of.Addr(to)).
			With(of.IPProto, of.U(1)).With(of.IPTTL, of.U(64)).With(of.ICMPType, of.U(8))
	}
	return frame(src, dst, 0x86dd).With(of.IPv6Src, of.Addr(from)).With(of.IPv6Dst, of.Addr(to)).
		With(of.IPProto, of.U(58)).With(of.IPTTL, of.U(64)).With(of.ICMPv6Type, of.U(128))
}

// pong is the reply that a workload makes of a request that it received.
func pong(p sim.Packet) sim.Packet {
	r := sim.Packet{Length: p.Length}
	swap := func(a, b of.Field) { r.Set(a, p.Get(b)); r.Set(b, p.Get(a)) }
	swap(of.EthSrc, of.EthDst)
	for _, f := range []of.Field{of.EthType, of.IPProto} {
		r.Set(f, p.Get(f))
	}
	r.Set(of.IPTTL, of.U(64))
	if p.Get(of.EthType).Lo == 0x0800 {
		swap(of.IPSrc, of.IPDst)
		return r // icmp_type 0
	}
	swap(of.IPv6Src, of.IPv6Dst)
	return r.With(of.ICMPv6Type, of.U(129))
}

// whoHas is the ARP request or neighbour solicitation for an address.
func whoHas(src model.MAC, from, target netip.Addr) sim.Packet {
	if target.Is4() {
		return frame(src, broadcast, 0x0806).With(of.ARPOp, of.U(1)).With(of.ARPSHA, of.MAC(src)).
			With(of.ARPSPA, of.Addr(from)).With(of.ARPTPA, of.Addr(target))
	}
	b := target.As16()
	group := [16]byte{0: 0xff, 1: 2, 11: 1, 12: 0xff, 13: b[13], 14: b[14], 15: b[15]}
	p := frame(src, model.MAC{0x33, 0x33, 0xff, b[13], b[14], b[15]}, 0x86dd).With(of.IPProto, of.U(58)).
		With(of.IPTTL, of.U(255)).With(of.ICMPv6Type, of.U(135)).With(of.IPv6Src, of.Addr(from)).
		With(of.IPv6Dst, of.Addr(netip.AddrFrom16(group))).With(of.NDTarget, of.Addr(target))
	if !from.IsUnspecified() {
		p.Set(of.NDSLL, of.MAC(src))
		p.Set(of.NDOptionsType, of.U(1))
	}
	return p
}
