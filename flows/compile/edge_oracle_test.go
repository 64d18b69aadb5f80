//go:build integration

package compile_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
	"tuplenet/flows/sim"
	"tuplenet/model"
)

// edgeRules are the rules that packets across edges must have met.
var edgeRules = []*pipeline.Rule{pipeline.Unsnat, pipeline.Dnat, pipeline.Undnat, pipeline.Snat, pipeline.Answer, pipeline.Static, pipeline.ReturnFixed,
	pipeline.ByGateway, pipeline.ToPatch, pipeline.LearntNeighbour, pipeline.Resolve, pipeline.Learn, pipeline.TTLExpired,
	pipeline.Remember, pipeline.AskEdge, pipeline.ReturnBy, pipeline.ReturnAny, pipeline.WayBack, pipeline.HairpinSnat, pipeline.IsTranslated,
	pipeline.Renumber, pipeline.Untranslated, pipeline.ForExternal, pipeline.FromPatch,
	pipeline.PatchByGateway, pipeline.RenumberedPing, pipeline.PingReply, pipeline.RestoredPing, pipeline.RenumberedOther, pipeline.RenumberedHairpin,
	pipeline.CheckExternal, pipeline.ExternalFits, pipeline.CheckNext, pipeline.NextFits}

// The simulator and Open vSwitch agree on packets that cross edges. A trace knows no connections, so each pass is traced
// for itself: up to connection tracking, and on from there with what the simulator's gave back. That this is what the
// real one gives back is tested in flows/sim.
func TestSimulatorAgreesWithOpenVSwitchAboutEdges(t *testing.T) {
	o := newOracle(t)
	met := map[*pipeline.Rule]bool{}
	missing := func() (names []string) {
		for _, r := range edgeRules {
			if !met[r] {
				names = append(names, r.Name)
			}
		}
		return names
	}
	const rounds = 6 // at most; one does nearly always
	for round := 0; round == 0 || round < rounds && len(missing()) > 0; round++ {
		check(t, oracleDeployments, func(t *rapid.T) {
			e := anyEdges(t)
			n := e.build(t)
			hops := e.anyHops(t, n)
			for _, chassis := range e.chassis() {
				if rapid.IntRange(0, 2).Draw(t, "load") > 0 && !strings.HasPrefix(chassis, "edge") {
					continue
				}
				o.load(t, compileFacts(e.see(chassis)))
				o.compareHops(t, n, slices.DeleteFunc(slices.Clone(hops), func(h sim.Hop) bool { return h.Node != chassis }), met)
			}
		})
		t.Logf("round %d: no packet has met %v", round+1, missing())
	}
	if names := missing(); len(names) > 0 {
		t.Errorf("no packet met the rules %v", names)
	}
}

// anyHops sends conversations and their answers, packets that expire and that nobody awaits, and what the LAN tells of
// itself, and returns every switch that they crossed.
func (e *edges) anyHops(t *rapid.T, n *network) (hops []sim.Hop) {
	keep := func(j journey) journey {
		for _, w := range j.walks {
			hops = append(hops, w.Hops...)
		}
		return j
	}
	for id := range uint16(8) {
		_, port, p := e.anyWay(t, id)
		j := keep(e.travel(n, port, p))
		at := j.who
		if at == "outside" {
			at = "o" + j.edges[len(j.edges)-1][2:] + "-patch"
		}
		keep(e.travel(n, at, back(j.packet)))
		keep(e.travel(n, port, p.With(of.IPTTL, of.U(uint64(rapid.IntRange(1, 3).Draw(t, "ttl"))))))
	}
	if e.count == 3 {
		f := e.families()[0]
		keep(journey{walks: []sim.Walk{n.send("on-lan", ping(model.MAC{0xf2, 1, 0, 0, 0, 0x99}, lanIP(f, 150), lanMACs[0], lanHost[f]))}})
	}
	for i := 1; i <= e.count; i++ {
		patch, mac := fmt.Sprintf("o%d-patch", i), e.outside(fmt.Sprintf("LR%d", i)).MAC
		for _, f := range e.families() {
			keep(journey{walks: []sim.Walk{n.send(patch, announce(lanMACs[0], lanHost[f], lanMACs[0])), n.send(patch, whoHas(lanMACs[0], lanHost[f], lanIP(f, 20+i))),
				n.send(patch, whoHas(lanMACs[0], lanHost[f], lanIP(f, 40))), n.send(patch, ping(lanMACs[0], lanHost[f], mac, lanIP(f, 30+i)))}})
			p := e.inside[0]
			from := p.IPs[slices.IndexFunc(p.IPs, func(ip netip.Addr) bool { return family(ip) == f })]
			keep(e.travel(n, p.Name, ping(p.MAC, from, e.gatewayMAC(p), lanIP(f, 200)))) // nobody has learnt it
			keep(journey{walks: []sim.Walk{n.send(patch, ping(lanMACs[0], lanHost[f], model.MAC{2, 9, 9, 9, 9, 9}, lanIP(f, 30+i)))}})
			for _, r := range objects[*model.NATRule](e.world) { // all with one identifier, to what may lead back inside
				if !r.FromOutside() || family(r.External) != f {
					continue
				}
				for _, p := range e.inside {
					from := p.IPs[slices.IndexFunc(p.IPs, func(ip netip.Addr) bool { return family(ip) == f })]
					keep(e.travel(n, p.Name, ping(p.MAC, from, e.gatewayMAC(p), r.External)))
				}
			}
			for _, p := range e.inside { // all with one identifier, and one that nobody awaits
				from := p.IPs[slices.IndexFunc(p.IPs, func(ip netip.Addr) bool { return family(ip) == f })]
				asks := ping(p.MAC, from, e.gatewayMAC(p), far(f, 30))
				if j := keep(e.travel(n, p.Name, asks)); j.who == "outside" { // with another identifier, if another was there with its own
					keep(e.travel(n, "o"+j.edges[len(j.edges)-1][2:]+"-patch", back(j.packet)))
				}
				answers := pong(asks)
				answers.Set(of.EthSrc, of.MAC(p.MAC))
				answers.Set(of.EthDst, of.MAC(e.gatewayMAC(p)))
				src, dst := ends(asks)
				for field, ip := range map[[2]of.Field]netip.Addr{{of.IPSrc, of.IPv6Src}: src, {of.IPDst, of.IPv6Dst}: dst} {
					answers.Set(field[f], of.Addr(ip))
				}
				keep(e.travel(n, p.Name, answers))
			}
		}
	}
	return hops
}

// pass is one pass of a packet through a switch, and what the real one makes of it.
type pass struct {
	hop  sim.Hop
	n    int
	text string
	err  error
}

// compareHops compares every pass of packets through the switch that is loaded. It answers one command each time round its main loop
// and connection, so it is asked through several at once.
func (o *oracle) compareHops(t *rapid.T, n *network, hops []sim.Hop, met map[*pipeline.Rule]bool) {
	t.Helper()
	var all []*pass
	for _, h := range hops {
		for i := range h.Trace.Passes {
			all = append(all, &pass{hop: h, n: i})
		}
	}
	work := make(chan *pass)
	var asking sync.WaitGroup
	for range 16 {
		asking.Go(func() {
			for p := range work {
				at := p.hop.Trace.Passes[p.n]
				command, args := "ofproto/trace", []string{"br-int", at.Packet.String()}
				if at.Table > 0 {
					command, args = "ofproto/trace-packet-out", append(args, fmt.Sprintf("resubmit(,%d)", at.Table))
				}
				p.text, p.err = o.sw.TryAppctl(command, args...)
			}
		})
	}
	for _, p := range all {
		work <- p
	}
	close(work)
	asking.Wait()
	for _, p := range all {
		o.comparePass(t, n, p, met)
	}
}

func (o *oracle) comparePass(t *rapid.T, n *network, p *pass, met map[*pipeline.Rule]bool) {
	t.Helper()
	if p.err != nil {
		t.Fatal(p.err)
	}
	told, packet := passOf(p.hop.Trace, p.n), p.hop.Trace.Passes[p.n].Packet
	tr, err := readTrace(p.text, packet.Length, o.ports)
	if err != nil {
		t.Fatalf("%v in\n%s", err, p.text)
	}
	why := tr.disagree(told, packet, func(f *of.Flow) uint64 {
		packed, err := f.Pack()
		if err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		return cookie(packed)
	})
	if why != "" {
		t.Fatalf("pass %d: %s\n%s\n%s", p.n, why, n.story(sim.Walk{Hops: []sim.Hop{p.hop}}), p.text)
	}
	for _, s := range told.Steps {
		met[n.rules[s.Flow]] = true
	}
}

// passOf is one pass of a trace, as a trace.
func passOf(tr sim.Trace, pass int) (one sim.Trace) {
	one.Passes = tr.Passes[pass : pass+1]
	one.Final = tr.Passes[pass].Final
	at := map[int]int{}
	for i, s := range tr.Steps {
		if s.Pass == pass {
			at[i] = len(one.Steps)
			one.Steps = append(one.Steps, s)
		}
	}
	for _, o := range tr.Outputs {
		if to, ok := at[o.Step]; ok {
			o.Step = to
			one.Outputs = append(one.Outputs, o)
		}
	}
	return one
}
