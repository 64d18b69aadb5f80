package walk

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
	"tuplenet/flows/sim"
	"tuplenet/model"
)

// demands notes the port whose flows a chassis makes when it is shown a packet that missed them, and tells whether there is one: then
// the packet has to be followed again.
func (d *Deployment) demands(a sim.Arrival) bool {
	p := d.missed(&a.Packet)
	if p == nil || slices.Contains(d.wanted[a.Node], p.Ref()) {
		return false
	}
	d.wanted[a.Node] = append(d.wanted[a.Node], p.Ref())
	d.assumeAt(a.Node, fmt.Sprintf("%s has no flows for %s yet: its daemon makes them and sends the packet on", a.Node, p.Name))
	return true
}

// onward sends packets on that missed though nothing will be made for them, as the daemon does: marked, from where they missed. Marked, a packet
// misses no more in this chassis; should one go round nevertheless, the walk ends as one that loops.
func (d *Deployment) onward(w sim.Walk) sim.Walk {
	for i, sent := 0, 0; i < len(w.Punted) && !errors.Is(w.Err, sim.ErrLoops); i++ {
		a := w.Punted[i]
		if !isMiss(a) {
			continue
		}
		if p := d.missed(&a.Packet); p != nil && !slices.Contains(d.nodes[a.Node].facts.Wanted, p.Ref()) {
			continue
		}
		table, ok := pipeline.MissedIn(fieldOf(&a.Packet, pipeline.Missed))
		if !ok {
			continue
		}
		if len(w.Hops)+sent >= sim.MaxHops {
			w.Err = fmt.Errorf("%w: it was sent on %d times after it had missed", sim.ErrLoops, sent)
			return w
		}
		sent++
		asked := pipeline.Asked.Sub
		p := a.Packet.With(asked.Field, a.Packet.Get(asked.Field).Or(of.U(1).Shl(uint(asked.Ofs))))
		w.Punted = slices.Delete(w.Punted, i, i+1)
		i--
		w = joined(w, a.Hop, d.net.Resume(a.Node, table.ID, p))
	}
	return w
}

func isMiss(a sim.Arrival) bool {
	return len(a.Punt.Userdata) > 0 && pipeline.Punt(a.Punt.Userdata[0]) == pipeline.PuntMiss
}

// joined is a walk that went on in one of its hops: there it is another pass.
func joined(w sim.Walk, hop int, on sim.Walk) sim.Walk {
	if w.Err == nil || errors.Is(on.Err, sim.ErrLoops) {
		w.Err = on.Err
	}
	if len(on.Hops) == 0 {
		return w
	}
	t, first := &w.Hops[hop].Trace, on.Hops[0].Trace
	passes, steps, hops := len(t.Passes), len(t.Steps), len(w.Hops)
	for _, s := range first.Steps {
		s.Pass += passes
		t.Steps = append(t.Steps, s)
	}
	for _, o := range first.Outputs {
		o.Step += steps
		t.Outputs = append(t.Outputs, o)
	}
	t.Passes, t.Final = append(t.Passes, first.Passes...), first.Final
	number := func(h int) int {
		if h == 0 {
			return hop
		}
		return hops + h - 1
	}
	for _, h := range on.Hops[1:] {
		h.From = number(h.From)
		w.Hops = append(w.Hops, h)
	}
	moved := func(all []sim.Arrival) []sim.Arrival {
		for i, a := range all {
			if a.Hop == 0 {
				all[i].Step += steps
			}
			all[i].Hop = number(a.Hop)
		}
		return all
	}
	w.Delivered, w.Punted, w.Lost = append(w.Delivered, moved(on.Delivered)...), append(w.Punted, moved(on.Punted)...), append(w.Lost, moved(on.Lost)...)
	return w
}

// answerToMiss says what the daemon does with a packet that missed.
func (d *Deployment) answerToMiss(p *sim.Packet) string {
	if port := d.missed(p); port != nil {
		return fmt.Sprintf("the daemon makes the flows for %s and sends the packet on", port.Name)
	}
	return "nobody has the address: the daemon sends the packet on as it is"
}

// missedIn are the ports whose flows were missed where a packet was seen.
func (d *Deployment) missedIn(seen []Sighting) (ports []model.Ref) {
	for _, s := range seen {
		if s.Table == pipeline.Miss.ID {
			if p := d.missed(&s.Packet); p != nil {
				ports = append(ports, p.Ref())
			}
		}
	}
	return ports
}

// rewant changes whose flows a chassis has, on demand.
func (n *node) rewant(wanted []model.Ref) {
	if !slices.Equal(wanted, n.facts.Wanted) {
		n.facts.Wanted, n.sw = wanted, nil
	}
}

func fieldOf(p *sim.Packet, f pipeline.Field) uint64 {
	return p.Get(f.Sub.Field).Shr(uint(f.Sub.Ofs)).Lo & (1<<f.Sub.Bits - 1)
}

// missed is the port whose flows a packet missed, nil if it is for nobody.
func (d *Deployment) missed(p *sim.Packet) *model.LogicalSwitchPort {
	at := d.devices[p.Get(of.Metadata).Lo]
	has := func(ip netip.Addr) func(*model.LogicalSwitchPort) bool {
		return func(o *model.LogicalSwitchPort) bool {
			return slices.Contains(o.IPs, ip) || ip == o.MAC.LinkLocal() && slices.ContainsFunc(o.IPs, netip.Addr.Is6)
		}
	}
	is := func(o *model.LogicalSwitchPort) bool { return of.MAC(o.MAC) == p.Get(of.EthDst) }
	switch fieldOf(p, pipeline.Missed) {
	case pipeline.MissedAnswer:
		if is = has(p.Get(of.NDTarget).Addr6()); p.Has(of.ARPTPA) {
			is = has(p.Get(of.ARPTPA).Addr4())
		}
	case pipeline.MissedNeighbour:
		rp := d.routerPorts[d.portByKey(at, fieldOf(p, pipeline.OutPort))]
		if rp == nil || d.ports[rp.Peer] == nil {
			return nil
		}
		at, is = model.Ref{Kind: model.KindSwitch, Name: d.ports[rp.Peer].Switch}, has(nextHop(p))
	}
	if i := slices.IndexFunc(d.bySwitch[at.Name], is); at.Kind == model.KindSwitch && i >= 0 {
		return d.bySwitch[at.Name][i]
	}
	return nil
}
