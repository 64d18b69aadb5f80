package walk

import (
	"fmt"
	"net/netip"
	"slices"

	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
	"tuplenet/flows/sim"
	"tuplenet/model"
)

// Sighting is a packet as it came to a table of a chassis.
type Sighting struct {
	Table  uint8
	Packet sim.Packet
}

// Origin completes a probe and tells the frame, and where it begins its way.
func (d *Deployment) Origin(p Probe) (chassis string, frame sim.Packet, err error) {
	if p, err = d.complete(p); err != nil {
		return "", frame, err
	}
	if frame, err = p.packet(); err != nil {
		return "", frame, err
	}
	chassis, port := d.where(p.From)
	if port == 0 {
		return "", frame, fmt.Errorf("switch port %s is on no chassis", p.From)
	}
	return chassis, frame, nil
}

// Observe tells the way of a frame from what chassis saw of it, each in its order. The rules are those that the frame meets on paper
// in the tables where it was seen.
func (d *Deployment) Observe(from, chassis string, frame sim.Packet, seen map[string][]Sighting) (*Report, error) {
	r := &Report{Forward: Leg{From: from, Chassis: chassis, Packet: frame.String()}}
	arrivals := arrivalsOf(seen)
	type entry struct {
		chassis string
		from    int
		seen    []Sighting
	}
	var todo []entry
	take := func(name string, from int, is func(Sighting) bool) bool {
		i := slices.IndexFunc(arrivals[name], func(s []Sighting) bool { return is(s[0]) })
		if i < 0 {
			return false
		}
		todo = append(todo, entry{name, from, arrivals[name][i]})
		arrivals[name] = slices.Delete(arrivals[name], i, i+1)
		return true
	}
	if !take(chassis, -1, func(Sighting) bool { return true }) {
		r.Forward.Ends = []End{{Kind: EndLost, Chassis: chassis, Why: "the switch did not report it at all", open: true}}
	}
	for ; len(todo) > 0; todo = todo[1:] {
		e := todo[0]
		steps, err := d.look(e.chassis, e.seen)
		if err != nil {
			return nil, err
		}
		at := len(r.Forward.Hops)
		r.Forward.Hops = append(r.Forward.Hops, d.observed(r, e.chassis, e.from, steps))
		sent := false
		for _, s := range steps {
			if s.Table != pipeline.Encap.ID {
				continue
			}
			sent = true
			a := sim.Arrival{Node: e.chassis, Hop: at, Output: sim.Output{Packet: s.Packet}}
			next := d.chassisAt(tunnelDestination(&s.Packet))
			if next == "" || !take(next, at, func(first Sighting) bool { return d.sentBy(e.chassis, &first.Packet) }) {
				lost := d.lost(a)
				lost.Why, lost.open = fmt.Sprintf("sent to chassis %s, which did not see it", lost.Port), true
				if vxlan := pipeline.ToVXLAN.Sub; !s.Packet.Get(vxlan.Field).And(vxlan.Mask()).IsZero() {
					lost.open = false
					lost.Why = fmt.Sprintf("sent to chassis %s by VXLAN, which has no room for the trace's mark: what becomes of it there is not seen", lost.Port)
				}
				r.Forward.Ends = append(r.Forward.Ends, lost)
			}
		}
		d.observedEnds(&r.Forward, at, &frame, steps, sent)
	}
	for _, name := range d.chassis {
		if len(arrivals[name]) > 0 {
			r.Defects = append(r.Defects, fmt.Sprintf("chassis %s saw the packet, too, but nobody is known to have sent it there", name))
		}
	}
	r.judge()
	r.Assumed = d.assumptions(r)
	return r, nil
}

// arrivalsOf divides what chassis saw: one list for each time that the packet came in.
func arrivalsOf(seen map[string][]Sighting) map[string][][]Sighting {
	arrivals := map[string][][]Sighting{}
	for name, all := range seen {
		for _, s := range all {
			if n := len(arrivals[name]); s.Table == pipeline.Classify.ID || n == 0 {
				arrivals[name] = append(arrivals[name], []Sighting{s})
			} else {
				arrivals[name][n-1] = append(arrivals[name][n-1], s)
			}
		}
	}
	return arrivals
}

// look finds the flows that a packet met where it was seen: on demand those that it made itself only after it had missed them.
func (d *Deployment) look(chassis string, seen []Sighting) (steps []sim.Step, err error) {
	n := d.nodes[chassis]
	if n == nil {
		return nil, fmt.Errorf("chassis %s not found", chassis)
	}
	made := d.missedIn(seen)
	n.rewant(slices.DeleteFunc(slices.Clone(n.facts.Wanted), func(port model.Ref) bool { return slices.Contains(made, port) }))
	for i, s := range seen {
		if missed := d.missedIn(seen[max(0, i-1):i]); len(missed) > 0 {
			n.rewant(append(slices.Clone(n.facts.Wanted), missed...))
		}
		sw, err := d.open(n)
		if err != nil {
			return nil, err
		}
		steps = append(steps, sim.Step{Table: s.Table, Packet: s.Packet, Flow: sw.Lookup(s.Table, s.Packet)})
	}
	return steps, nil
}

// observed describes a hop that was seen.
func (d *Deployment) observed(r *Report, chassis string, from int, steps []sim.Step) Hop {
	n := d.nodes[chassis]
	h := Hop{Chassis: chassis, From: from, Port: uint32(steps[0].Packet.Get(of.InPort).Lo)}
	for i, s := range steps {
		h.Stages = append(h.Stages, d.stage(r, chassis, n, steps, i))
		if s.Table == pipeline.Encap.ID {
			h.MTU = n.facts.Node.TunnelMTU
		}
	}
	return h
}

// observedEnds adds where copies of a packet ended on a chassis: where the flows that they met sent them out, or to the daemon, or where
// they were seen last.
func (d *Deployment) observedEnds(leg *Leg, hop int, frame *sim.Packet, steps []sim.Step, sent bool) {
	h, ended := leg.Hops[hop], sent
	facts := d.nodes[h.Chassis].facts
	for i, s := range steps {
		if s.Flow == nil {
			continue
		}
		for _, a := range s.Flow.Actions {
			switch a := a.(type) {
			case of.Output:
				port, in := a.Port, uint32(s.Packet.Get(of.InPort).Lo)
				if port == facts.Node.TunnelPort || port == facts.Node.VXLANPort || port == in { // told already; never back to where it came from
					continue
				}
				if port == of.PortInPort {
					port = in
				}
				ended = true
				e := End{Chassis: h.Chassis, Hop: hop, Port: d.portAt(h.Chassis, port), Packet: s.Packet.String(), ofport: port}
				d.classify(&e, leg, a.Port == of.PortInPort || isAnswer(frame, &s.Packet))
				leg.Ends = append(leg.Ends, e)
			case of.Controller:
				if len(a.Userdata) == 0 || pipeline.Punt(a.Userdata[0]) == pipeline.PuntLearn || pipeline.Punt(a.Userdata[0]) == pipeline.PuntMiss { // it goes on
					continue
				}
				ended = true
				leg.Ends = append(leg.Ends, End{Kind: EndDaemon, Chassis: h.Chassis, Hop: hop, Table: h.Stages[i].Table, Rule: h.Stages[i].Rule, Why: puntText(&a), Packet: s.Packet.String()})
			}
		}
	}
	if last := h.Stages[len(h.Stages)-1]; !ended {
		why := last.Drop
		if why == "" {
			why = "it was not seen any more"
		}
		leg.Ends = append(leg.Ends, End{Kind: EndDropped, Chassis: h.Chassis, Hop: hop, Table: last.Table, Rule: last.Rule, Why: why, open: last.Drop == ""})
	}
}

// sentBy tells whether a packet came through a tunnel from a chassis.
func (d *Deployment) sentBy(chassis string, p *sim.Packet) bool {
	src := p.Get(of.TunSrc).Addr4()
	if p.Get(of.TunSrc).IsZero() {
		src = p.Get(of.TunIPv6Src).Addr6()
	}
	return slices.Contains(d.nodes[chassis].facts.Node.IPs, src)
}

func tunnelDestination(p *sim.Packet) netip.Addr {
	if dst := p.Get(of.TunDst); !dst.IsZero() {
		return dst.Addr4()
	}
	return p.Get(of.TunIPv6Dst).Addr6()
}
