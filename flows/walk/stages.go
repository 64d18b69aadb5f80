package walk

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"tuplenet/flows/decode"
	"tuplenet/flows/memo"
	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
	"tuplenet/flows/sim"
	"tuplenet/model"
)

// namespace is that of the daemon's flows in the highest byte of their cookies.
const namespace = 't'

// maxMissed is how many rules a drop lists that the packet missed by one field.
const maxMissed = 5

// hop describes what one chassis did.
func (d *Deployment) hop(r *Report, h sim.Hop) Hop {
	n := d.nodes[h.Node]
	out := Hop{Chassis: h.Node, From: h.From, Port: h.Port}
	steps := h.Trace.Steps
	for i, s := range steps {
		out.Stages = append(out.Stages, d.stage(r, h.Node, n, steps, i))
		if s.Other != nil {
			r.Defects = append(r.Defects, fmt.Sprintf("%s: two flows of one priority contend: %s and %s", h.Node, s.Flow, s.Other))
		}
	}
	for i, p := range h.Trace.Passes {
		one := Pass{Table: p.Table, Packet: p.Packet.String(), Length: p.Packet.Length}
		for _, o := range h.Trace.Outputs {
			if o.Step >= 0 && steps[o.Step].Pass == i {
				one.Outputs = append(one.Outputs, outputText(o))
			}
		}
		out.Passes = append(out.Passes, one)
	}
	for _, o := range h.Trace.Outputs {
		if o.Tunnel {
			out.MTU = n.facts.Node.TunnelMTU
		}
	}
	return out
}

func outputText(o sim.Output) string {
	switch {
	case o.Port == of.PortController:
		return "controller"
	case o.Tunnel:
		return tunnelDestination(&o.Packet).String()
	}
	return fmt.Sprint(o.Port)
}

// stage describes one lookup.
func (d *Deployment) stage(r *Report, chassis string, n *node, steps []sim.Step, i int) Stage {
	s := steps[i]
	after := s.Packet
	followed := i+1 < len(steps) && (steps[i+1].Pass == s.Pass || steps[i+1].Pass == s.Pass+1)
	if followed {
		after = steps[i+1].Packet
	}
	out := Stage{Table: decode.Table(s.Table), Notes: s.Notes, Pass: s.Pass}
	d.place(&out, chassis, n, s, after)
	if s.Flow == nil {
		out.Drop = "the table has no flow for the packet"
		r.Defects = append(r.Defects, fmt.Sprintf("%s: table %s has no flow for %s", chassis, out.Table, s.Packet.String()))
		return out
	}
	if s.Table == pipeline.Miss.ID {
		out.Notes = append(slices.Clone(out.Notes), d.answerToMiss(&s.Packet))
	}
	from := n.origins[s.Flow]
	out.Match, out.Actions = decode.Match(s.Flow.Match), decode.Actions(s.Flow.Actions)
	out.Owner, out.Flow = Owner(from.owner), s.Flow.String()
	if p, err := s.Flow.Pack(); err == nil {
		out.Cookie = namespace<<56 | p.Hash()
	}
	if from.rule != nil {
		out.Rule, out.Doc = from.rule.Name, from.rule.Doc
		if from.rule.Drop != "" {
			out.Drop = from.rule.Drop
			out.WhyNot = n.missed(s)
		}
	}
	if followed {
		out.Changes = changes(s.Packet, after)
	}
	var unreachable of.Group
	for _, c := range s.Choices {
		if c.Bucket >= 0 && c.Group.Buckets[c.Bucket].WatchGroup != 0 { // the choice is that of the group behind it
			if c.Bucket > 0 {
				out.Notes = append(slices.Clone(out.Notes), "no way is alive: all are used as if they were")
				if n.sw != nil { // else it is being compiled anew (rewant)
					unreachable = n.sw.Group(c.Group.Buckets[0].WatchGroup)
				}
			}
			continue
		}
		if len(unreachable.Buckets) > 0 { // the same ways, and it knows their chassis
			c.Group = unreachable
		}
		one := d.choice(n, c)
		if out.Choices = append(out.Choices, one); one.Taken == "" {
			out.Drop = "no way is alive: " + strings.Join(one.Dead, ", ")
			out.Notes = nil
		}
	}
	return out
}

// place names the device that the packet is in and its ports.
func (d *Deployment) place(out *Stage, chassis string, n *node, s sim.Step, after sim.Packet) {
	at := s.Packet
	if at.Get(of.Metadata).IsZero() { // it comes in: the switch is what the rule says
		at = after
	}
	ref, known := d.devices[at.Get(of.Metadata).Lo]
	if !known {
		out.Type, out.Device, out.From = DeviceChassis, chassis, d.portAt(chassis, uint32(s.Packet.Get(of.InPort).Lo))
		return
	}
	out.Type, out.Device = DeviceSwitch, ref.Name
	if ref.Kind == model.KindRouter {
		out.Type = DeviceRouter
	}
	out.From = d.portByKey(ref, at.Get(of.Reg14).Lo)
	switch {
	case after.Get(of.Metadata) != at.Get(of.Metadata):
		next := d.devices[after.Get(of.Metadata).Lo]
		out.To = d.peerOf(next, after.Get(of.Reg14).Lo)
	case s.Table == pipeline.L2Lookup.ID, s.Table == pipeline.RouterLocal.ID, s.Table >= pipeline.Route.ID:
		out.To = d.portByKey(ref, after.Get(of.Reg15).Lo)
	}
}

// portByKey is the name of a port of a switch or router.
func (d *Deployment) portByKey(in model.Ref, key uint64) string {
	if key == pipeline.FloodKey {
		return "everybody"
	}
	return d.keys[portKey{in, model.PortKey(key)}]
}

// peerOf is the port at the other end of a port, by which a packet that entered the one left.
func (d *Deployment) peerOf(in model.Ref, key uint64) string {
	name := d.portByKey(in, key)
	if rp := d.routerPorts[name]; rp != nil && in.Kind == model.KindRouter {
		return rp.Peer
	}
	if p := d.ports[name]; p != nil {
		return p.Peer
	}
	return ""
}

// missed are the rules that a packet missed by one field in the table where it was dropped.
func (n *node) missed(s sim.Step) (out []Missed) {
	met := n.origins[s.Flow].rule
	for _, m := range n.sw.NearMisses(s.Table, s.Packet, 2*maxMissed) {
		from := n.origins[m.Flow]
		if from.rule == met || isAsking(from.rule) || len(out) == maxMissed { // the same again tells nothing
			continue
		}
		one := Missed{Owner: Owner(from.owner), Wants: decode.Match(of.Match{m.Wants}), Has: decode.Match(of.Match{of.Masked(m.Wants.Field, m.Has, m.Wants.Mask)})}
		if from.rule != nil {
			one.Rule = from.rule.Name
		}
		out = append(out, one)
	}
	return out
}

// isAsking tells whether a rule shows the daemon a packet that misses: whoever comes behind it was asked about already.
func isAsking(r *pipeline.Rule) bool {
	return slices.Contains([]*pipeline.Rule{pipeline.AskARP, pipeline.AskND, pipeline.AskPort, pipeline.AskNeighbour}, r)
}

// choice describes the decision of a group.
func (d *Deployment) choice(n *node, c sim.Choice) Choice {
	out := Choice{Predicted: c.Predicted, By: "the first that is alive"}
	if c.Group.Type == of.GroupSelect {
		out.By = "a hash that the datapath makes"
		if c.Group.Hash != nil && c.Group.Hash.Method == of.MethodHash {
			var names []string
			for _, f := range c.Group.Hash.Fields {
				names = append(names, f.String())
			}
			out.By = "hash of " + strings.Join(names, ", ")
		}
	}
	for i, b := range c.Group.Buckets {
		way := d.way(n, b)
		switch alive := slices.Contains(c.Alive, i); {
		case alive && !slices.Contains(out.Ways, way):
			out.Ways = append(out.Ways, way)
		case !alive && !slices.Contains(out.Dead, way):
			out.Dead = append(out.Dead, way)
		}
	}
	if c.Bucket >= 0 {
		out.Taken = d.way(n, c.Group.Buckets[c.Bucket])
	}
	return out
}

// way says where a bucket leads: to a next hop, or to a chassis.
func (d *Deployment) way(n *node, b of.Bucket) string {
	text := ""
	for _, a := range b.Actions {
		set, ok := a.(of.SetField)
		if !ok || set.Value.IsZero() {
			continue
		}
		switch set.Field {
		case of.Reg0:
			text = set.Value.Addr4().String()
		case of.XXReg0:
			text = set.Value.Addr6().String()
		case of.TunDst:
			text = d.tunnelEnd(set.Value.Addr4())
		case of.TunIPv6Dst:
			text = d.tunnelEnd(set.Value.Addr6())
		}
	}
	for chassis, w := range n.facts.Watched {
		if b.WatchPort != 0 && w.OFPort == b.WatchPort && chassis != text {
			return text + " on " + chassis
		}
	}
	return text
}

func (d *Deployment) tunnelEnd(ip netip.Addr) string {
	if name := d.chassisAt(ip); name != "" {
		return name
	}
	return ip.String()
}

// rewritten are the fields whose changes are told.
var rewritten = []of.Field{of.EthSrc, of.EthDst, of.IPTTL, of.IPSrc, of.IPDst, of.IPv6Src, of.IPv6Dst, of.TCPSrc, of.TCPDst, of.UDPSrc, of.UDPDst, of.ICMPType, of.ICMPv6Type, of.ARPOp}

// changes are what differs between two packets on the wire.
func changes(before, after sim.Packet) (out []string) {
	for _, f := range rewritten {
		if !before.Has(f) || !after.Has(f) || before.Get(f) == after.Get(f) {
			continue
		}
		_, was, _ := strings.Cut(of.Eq(f, before.Get(f)).String(), "=")
		_, is, _ := strings.Cut(of.Eq(f, after.Get(f)).String(), "=")
		out = append(out, fmt.Sprintf("%s %s -> %s", f, was, is))
	}
	return out
}

func puntText(c *of.Controller) string {
	_, why, _ := strings.Cut(decode.Actions([]of.Action{*c}), "(")
	return strings.TrimSuffix(why, ")")
}

// Owner names the object that a unit of the compiler is about, such as "lsp LS-A/lsp-alice".
func Owner(u memo.Unit) string {
	word := map[string]string{"router": "lr", "routerport": "lrp", "route": "route of", "nat": "lnat", "switch": "ls", "port": "lsp",
		"patch": "patch port", "local": "lsp", "hosts": "lsp", "neighbour": "learnt neighbour", "peer": "chassis", "watched": "chassis"}[u.Feature]
	switch {
	case word == "":
		return u.Feature
	case u.ID == "":
		return word
	}
	return word + " " + u.ID
}
