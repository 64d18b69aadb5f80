package walk

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"tuplenet/flows/compile"
	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
	"tuplenet/flows/sim"
	"tuplenet/model"
)

// maxAsked bounds how many stations of the physical network are assumed to answer on one way, and how many chassis make flows on demand.
const maxAsked = 16

// Trace follows a probe and the answer to it, as if no connection was known before.
func (d *Deployment) Trace(p Probe) (*Report, error) {
	p, err := d.complete(p)
	if err != nil {
		return nil, err
	}
	frame, err := p.packet()
	if err != nil {
		return nil, err
	}
	chassis, port := d.where(p.From)
	if port == 0 {
		return nil, fmt.Errorf("switch port %s is on no chassis", p.From)
	}
	for range maxAsked {
		d.forget()
		r := &Report{}
		w := d.follow(r, &r.Forward, p.From, chassis, port, frame)
		if d.asks(w) {
			continue
		}
		if end := r.Forward.final(); end.replies() {
			reply, again := d.reply(r, end, w)
			if again {
				continue
			}
			r.Reply = reply
		}
		r.judge()
		r.Assumed = d.assumptions(r)
		return r, nil
	}
	return nil, fmt.Errorf("more than %d stations of the physical network would have to be asked", maxAsked)
}

// Send follows a frame into a port of a chassis, and keeps what the switches know of connections.
func (d *Deployment) Send(chassis string, port uint32, frame sim.Packet) (*Report, sim.Walk) {
	r := &Report{}
	w := d.follow(r, &r.Forward, d.portAt(chassis, port), chassis, port, frame)
	r.judge()
	r.Assumed = d.assumptions(r)
	return r, w
}

// follow runs a packet and writes down its way.
func (d *Deployment) follow(r *Report, leg *Leg, from, chassis string, port uint32, frame sim.Packet) sim.Walk {
	w := d.onward(d.net.Send(chassis, port, frame))
	leg.From, leg.Chassis, leg.Packet = from, chassis, frame.String()
	if w.Err != nil {
		r.Defects = append(r.Defects, w.Err.Error())
	}
	for _, h := range w.Hops {
		leg.Hops = append(leg.Hops, d.hop(r, h))
	}
	d.ends(leg, w)
	return w
}

// assumptions are those that concern the chassis of a report.
func (d *Deployment) assumptions(r *Report) (out []string) {
	visited := map[string]bool{"": true}
	for _, leg := range []*Leg{&r.Forward, r.Reply} {
		if leg == nil {
			continue
		}
		for _, h := range leg.Hops {
			visited[h.Chassis] = true
			if _, asked := d.facts[h.Chassis]; !asked && h.MTU > 0 {
				d.assumeAt(h.Chassis, fmt.Sprintf("the MTU of the network between the chassis is %d bytes", d.underlayMTU))
			}
		}
	}
	for _, a := range d.assumed {
		if visited[a.chassis] && !slices.Contains(out, a.text) {
			out = append(out, a.text)
		}
	}
	return out
}

// asks notes stations of the physical network whose MAC a made-up chassis does not know, and tells whether there are any:
// then the packet has to be followed again.
func (d *Deployment) asks(w sim.Walk) bool {
	found := false
	for _, a := range w.Punted {
		if isMiss(a) {
			found = d.demands(a) || found
			continue
		}
		if len(a.Punt.Userdata) == 0 || pipeline.Punt(a.Punt.Userdata[0]) != pipeline.PuntResolve {
			continue
		}
		if _, asked := d.facts[a.Node]; asked {
			continue // it is known what it knows
		}
		lr := d.devices[a.Packet.Get(of.Metadata).Lo]
		rp := d.routerPorts[d.portByKey(lr, a.Packet.Get(of.Reg15).Lo)]
		if rp == nil {
			continue
		}
		nb := compile.Neighbour{Router: lr.Name, Port: rp.Name, IP: nextHop(&a.Packet), MAC: outsideMAC}
		if slices.Contains(d.neighbours[a.Node], nb) {
			continue
		}
		d.neighbours[a.Node] = append(d.neighbours[a.Node], nb)
		d.assumeAt(a.Node, fmt.Sprintf("%s answers in the physical network behind %s", nb.IP, rp.Name))
		found = true
	}
	return found
}

func nextHop(p *sim.Packet) netip.Addr {
	if p.Has(of.IPSrc) {
		return p.Get(of.Reg0).Addr4()
	}
	return p.Get(of.XXReg0).Addr6()
}

// reply follows the answer of whoever got the packet. Again tells that the whole trace has to be made again.
func (d *Deployment) reply(r *Report, end End, w sim.Walk) (leg *Leg, again bool) {
	i := slices.IndexFunc(w.Delivered, func(a sim.Arrival) bool { return a.Node == end.Chassis && a.Port == end.ofport })
	if i < 0 {
		return nil, false
	}
	back, ok := answer(w.Delivered[i].Packet)
	if !ok {
		return nil, false
	}
	if lsp := d.Port(end.Port); lsp != nil && lsp.Type == model.PortVIF {
		src, dst := ends(&back)
		back.Set(of.EthSrc, of.MAC(lsp.MAC))
		if mac := d.nextStation(lsp, src, dst); !mac.IsZero() {
			back.Set(of.EthDst, of.MAC(mac))
		}
	}
	leg = &Leg{}
	again = d.asks(d.follow(r, leg, end.Port, end.Chassis, end.ofport, back))
	return leg, again
}

func ends(p *sim.Packet) (src, dst netip.Addr) {
	if p.Has(of.IPSrc) {
		return p.Get(of.IPSrc).Addr4(), p.Get(of.IPDst).Addr4()
	}
	return p.Get(of.IPv6Src).Addr6(), p.Get(of.IPv6Dst).Addr6()
}

// ends lists where the copies of a packet ended.
func (d *Deployment) ends(leg *Leg, w sim.Walk) {
	done := map[int]bool{}
	for _, a := range w.Delivered {
		done[a.Hop] = true
		e := End{Chassis: a.Node, Hop: a.Hop, Port: d.portAt(a.Node, a.Port), Packet: a.Packet.String(), ofport: a.Port}
		d.classify(&e, leg, isAnswer(&w.Hops[0].Trace.Passes[0].Packet, &a.Packet))
		leg.Ends = append(leg.Ends, e)
	}
	for _, a := range w.Lost {
		done[a.Hop] = true
		leg.Ends = append(leg.Ends, d.lost(a))
	}
	for _, a := range w.Punted {
		if len(a.Punt.Userdata) > 0 && pipeline.Punt(a.Punt.Userdata[0]) == pipeline.PuntLearn {
			continue // a copy, the packet goes on
		}
		done[a.Hop] = true
		s := leg.Hops[a.Hop].Stages[a.Step]
		leg.Ends = append(leg.Ends, End{Kind: EndDaemon, Chassis: a.Node, Hop: a.Hop, Table: s.Table, Rule: s.Rule, Why: puntText(a.Punt), Packet: a.Packet.String()})
	}
	if last := len(leg.Hops) - 1; errors.Is(w.Err, sim.ErrLoops) {
		leg.Ends = append(leg.Ends, End{Kind: EndLoops, Chassis: leg.Hops[last].Chassis, Hop: last, Why: w.Err.Error()})
		return // what went on from the other hops was not followed
	}
	sent := map[int]bool{}
	for _, h := range leg.Hops {
		if h.From >= 0 {
			sent[h.From] = true
		}
	}
	for i, h := range leg.Hops {
		if done[i] || sent[i] || len(h.Stages) == 0 {
			continue
		}
		s := &h.Stages[len(h.Stages)-1]
		if s.Drop == "" {
			s.Drop = "no copy leaves"
			if n := len(s.Notes); n > 0 {
				s.Drop = s.Notes[n-1]
			}
		}
		leg.Ends = append(leg.Ends, End{Kind: EndDropped, Chassis: h.Chassis, Hop: i, Table: s.Table, Rule: s.Rule, Why: s.Drop})
	}
}

// classify tells what kind of end an output to a port is.
func (d *Deployment) classify(e *End, leg *Leg, answer bool) {
	lsp := d.Port(e.Port)
	e.Kind = EndDelivered
	switch {
	case e.ofport == d.nodes[e.Chassis].facts.Node.HostPort && e.ofport != 0:
		e.Kind, e.Why = EndHost, "the host routes it on; what answers comes back through an edge"
	case e.Port == leg.From && e.Chassis == leg.Chassis && answer:
		e.Kind, e.Why = EndAnswered, answerer(leg, e.Hop)
	case d.nodes[e.Chassis].facts.Uplinks[e.Port] == e.ofport && e.ofport != 0:
		e.Kind, e.Why = EndOutside, "to the other hosts of the multicast network"
	case lsp != nil && lsp.Type == model.PortPatch:
		e.Kind = EndOutside
		if lsp.Bridge != "" {
			e.Why = "bridge " + lsp.Bridge
		}
	}
}

// isAnswer tells whether the network made an answer out of a packet: an echo reply, or one to the question for a MAC.
func isAnswer(sent, got *sim.Packet) bool {
	for _, f := range []of.Field{of.ICMPType, of.ICMPv6Type, of.ARPOp} {
		if sent.Has(f) && got.Has(f) && sent.Get(f) != got.Get(f) {
			return true
		}
	}
	return false
}

// answerer is the object that answers a packet, on the way to a hop.
func answerer(leg *Leg, hop int) string {
	for i := hop; i >= 0; i = leg.Hops[i].From {
		for _, s := range leg.Hops[i].Stages {
			switch s.Rule {
			case pipeline.EchoReply.Name, pipeline.ARPResponder.Name, pipeline.NDResponder.Name:
				return fmt.Sprintf("%s on %s", s.Owner, leg.Hops[i].Chassis)
			}
		}
	}
	return ""
}

// lost says to whom a tunnel packet was sent that nobody got.
func (d *Deployment) lost(a sim.Arrival) End {
	dst := tunnelDestination(&a.Packet)
	e := End{Kind: EndLost, Chassis: a.Node, Hop: a.Hop, Port: dst.String(), Why: "no chassis has the tunnel address " + dst.String(), Packet: a.Packet.String()}
	if name := d.chassisAt(dst); name != "" {
		e.Port, e.Why = name, fmt.Sprintf("chassis %s (%s) is not reached from %s", name, dst, a.Node)
	}
	return e
}

func (d *Deployment) chassisAt(ip netip.Addr) string { return d.endpoints[ip] }

// portAt is the switch port behind an OpenFlow port.
func (d *Deployment) portAt(chassis string, ofport uint32) string {
	f := d.nodes[chassis].facts
	for name, p := range f.Interfaces {
		if p == ofport {
			return name
		}
	}
	for device, p := range f.Uplinks {
		if p == ofport {
			return device
		}
	}
	switch ofport {
	case f.Node.TunnelPort, f.Node.VXLANPort:
		return "the tunnel"
	case f.Node.HostPort:
		return "the host's stack"
	}
	for other, w := range f.Watched {
		if w.OFPort == ofport {
			return "the tunnel to " + other
		}
	}
	return fmt.Sprintf("port %d", ofport)
}

// replies tells whether somebody there answers.
func (e End) replies() bool { return e.Kind == EndDelivered || e.Kind == EndOutside }

// final is the end that matters: a loop, whatever else copies did, then one that got somewhere.
func (l *Leg) final() End {
	for _, kind := range []string{EndLoops, EndAnswered, EndDelivered, EndOutside, EndHost, EndDaemon, EndLost, EndDropped} {
		for _, e := range l.Ends {
			if e.Kind == kind {
				return e
			}
		}
	}
	return End{Kind: EndDropped, Why: "nothing leaves"}
}

// judge sums up.
func (r *Report) judge() {
	e := r.Forward.final()
	r.Reached = slices.Contains([]string{EndAnswered, EndDelivered, EndOutside, EndHost}, e.Kind)
	r.Verdict = e.String()
	if n := r.Forward.count(e.Kind); n > 1 {
		r.Verdict = fmt.Sprintf("%s, and to %d more", r.Verdict, n-1)
	}
	if r.Reply == nil {
		return
	}
	if back := r.Reply.final(); back.Kind != EndDelivered || back.Port != r.Forward.From {
		if back.Kind != EndOutside {
			r.Reached = false
		}
		if back.Port != r.Forward.From {
			r.Verdict += "; the answer is " + back.String()
		}
	}
}

func (l *Leg) count(kind string) (n int) {
	for _, e := range l.Ends {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

func (e End) String() string {
	at := " on " + e.Chassis
	switch e.Kind {
	case EndDelivered:
		return "delivered to " + e.Port + at
	case EndAnswered:
		return "answered for " + e.Why
	case EndOutside:
		return strings.TrimSpace("leaves through " + e.Port + at + " " + bracket(e.Why))
	case EndHost:
		return "leaves through the host's own stack" + at
	case EndDaemon:
		return "handed to the daemon" + at + ": " + e.Why
	case EndLost:
		return "lost behind " + e.Chassis + ": " + e.Why
	case EndLoops:
		return e.Why + ", and was last seen" + at
	}
	return fmt.Sprintf("dropped%s in %s by %s: %s", at, e.Table, e.Rule, e.Why)
}

func bracket(text string) string {
	if text == "" {
		return ""
	}
	return "(" + text + ")"
}
