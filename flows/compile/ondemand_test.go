package compile_test

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tuplenet/flows/compile"
	"tuplenet/flows/memo"
	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
	"tuplenet/flows/sim"
	"tuplenet/model"
)

// lifePort is the port that tells that the daemon of a chassis lives.
const lifePort = 90

// want makes a chassis have the flows of a port, and tells whether it did not.
func (w *world) want(chassis, ls, port string) bool {
	if w.wanted[chassis] == nil {
		w.wanted[chassis] = map[memo.Key]compile.Wanted{}
	}
	k := memo.Key{Kind: compile.KindWanted, ID: ls + "/" + port}
	_, had := w.wanted[chassis][k]
	w.wanted[chassis][k] = compile.Wanted{Switch: ls}
	return !had
}

// onDemand does for packets that missed what the daemon does, and adds what becomes of them.
func (n *network) onDemand(w sim.Walk) sim.Walk {
	n.t.Helper()
	for i := 0; i < len(w.Punted); i++ {
		a := w.Punted[i]
		if pipeline.Punt(a.Punt.Userdata[0]) != pipeline.PuntMiss {
			continue
		}
		w.Punted = slices.Delete(w.Punted, i, i+1)
		i--
		if p := n.missed(a.Packet); p != nil && n.want(a.Node, p.Switch, p.Name) {
			n.load(a.Node, n.see(a.Node))
		}
		p := a.Packet
		field := func(f pipeline.Field) uint64 { return p.Get(f.Sub.Field).Shr(uint(f.Sub.Ofs)).Lo & (1<<f.Sub.Bits - 1) }
		if field(pipeline.Asked) != 0 {
			n.t.Fatalf("a packet misses twice\n%s", n.story(w))
		}
		table, ok := pipeline.MissedIn(field(pipeline.Missed))
		if !ok {
			n.t.Fatalf("nobody knows what missed\n%s", n.story(w))
		}
		p.Set(pipeline.Asked.Sub.Field, p.Get(pipeline.Asked.Sub.Field).Or(of.U(1).Shl(uint(pipeline.Asked.Sub.Ofs))))
		w = joined(w, n.resume(a.Node, table, p))
	}
	return w
}

// joined is a walk, and how it went on.
func joined(a, b sim.Walk) sim.Walk {
	at := len(a.Hops)
	move := func(all []sim.Arrival) []sim.Arrival {
		for i := range all {
			all[i].Hop += at
		}
		return all
	}
	a.Hops = append(a.Hops, b.Hops...)
	a.Delivered = append(a.Delivered, move(b.Delivered)...)
	a.Punted = append(a.Punted, move(b.Punted)...)
	return a
}

// missed is the port that a packet needs the flows of, nil if there is none.
func (n *network) missed(p sim.Packet) *model.LogicalSwitchPort {
	field := func(f pipeline.Field) uint64 { return p.Get(f.Sub.Field).Shr(uint(f.Sub.Ofs)).Lo & (1<<f.Sub.Bits - 1) }
	at := model.VNI(p.Get(of.Metadata).Lo)
	inSwitch := func(is func(*model.LogicalSwitchPort) bool) *model.LogicalSwitchPort {
		for _, ls := range objects[*model.LogicalSwitch](n.world) {
			if i := slices.IndexFunc(n.portsOf(ls.Name), is); ls.VNI == at && i >= 0 {
				return n.portsOf(ls.Name)[i]
			}
		}
		return nil
	}
	switch field(pipeline.Missed) {
	case pipeline.MissedPort:
		return inSwitch(func(o *model.LogicalSwitchPort) bool { return of.MAC(o.MAC) == p.Get(of.EthDst) })
	case pipeline.MissedAnswer:
		return inSwitch(func(o *model.LogicalSwitchPort) bool {
			has := func(ip netip.Addr) bool {
				return of.Addr(ip) == p.Get(of.ARPTPA) && ip.Is4() && p.Get(of.EthType).Lo == 0x0806 || of.Addr(ip) == p.Get(of.NDTarget) && ip.Is6() && p.Get(of.EthType).Lo == 0x86dd
			}
			return slices.ContainsFunc(o.IPs, has) || slices.ContainsFunc(o.IPs, netip.Addr.Is6) && has(o.MAC.LinkLocal())
		})
	}
	hop := p.Get(of.XXReg0).Addr6()
	if p.Get(of.EthType).Lo == 0x0800 {
		hop = p.Get(of.Reg0).Addr4()
	}
	for _, rp := range objects[*model.LogicalRouterPort](n.world) {
		lr := fact[*model.LogicalRouter](n.world, model.Ref{Kind: model.KindRouter, Name: rp.Router})
		if lr.ID == at && rp.Key == model.PortKey(field(pipeline.OutPort)) {
			return n.owner(n.switchEnd(rp).Switch, hop)
		}
	}
	return nil
}

// On demand packets go where they go with all flows: none is lost, none goes elsewhere, none misses twice.
func TestT28_OnDemandPacketsGoWhereTheModelSays(t *testing.T) {
	packetsGoWhereTheModelSays(t, func(w *world) { w.onDemand = true })
}

// If everything is wanted a node has the flows that it has with ONDEMAND=0, and those that ask. If nothing is, it has
// none of ports elsewhere.
func TestT27_T28_WhatIsWantedMakesUpAllFlows(t *testing.T) {
	asks := map[*pipeline.Rule]bool{pipeline.AskARP: true, pipeline.AskND: true, pipeline.AskPort: true, pipeline.AskNeighbour: true,
		pipeline.AskOfPort: true, pipeline.AskOfOthers: true, pipeline.LocalPort: true}
	lines := func(w *world, chassis string) []string {
		return slices.DeleteFunc(compiled(compileFacts(w.see(chassis))), func(l string) bool {
			for r := range asks {
				if strings.Contains(l, " "+r.Name+" ") {
					return true
				}
			}
			return false
		})
	}
	check(t, topologies, func(t *rapid.T) {
		w := anyWorld(t)
		if rapid.Bool().Draw(t, "edges") {
			w = anyEdges(t).world
		}
		for _, chassis := range w.chassis() {
			w.onDemand = false
			full := lines(w, chassis)
			w.onDemand = true
			if none := lines(w, chassis); !subset(none, full) {
				t.Fatalf("%s: what is there unasked is not there with ONDEMAND=0", chassis)
			}
			for _, p := range objects[*model.LogicalSwitchPort](w) {
				w.want(chassis, p.Switch, p.Name)
			}
			if all := lines(w, chassis); !slices.Equal(all, full) {
				t.Fatalf("%s: %s", chassis, firstDifference(strings.Join(full, "\n"), strings.Join(all, "\n")))
			}
		}
	})
}

func subset(part, whole []string) bool {
	there := map[string]bool{}
	for _, l := range whole {
		there[l] = true
	}
	return !slices.ContainsFunc(part, func(l string) bool { return !there[l] })
}

// A node compiles nothing for a port that it does not want: neither a unit for it, nor another look at anything when it changes.
func TestT28_WhatNobodyWantsIsNotCompiled(t *testing.T) {
	w := parse(t, `
ondemand
switch S 1
chassis a 192.0.2.1
chassis b 192.0.2.2
port S here f2:01:00:00:00:01 10.0.0.1
port S there f2:01:00:00:00:02 10.0.0.2
port S other f2:01:00:00:00:03 10.0.0.3
bind here a
bind there b
bind other b
wanted a S there`)
	e := compileFacts(w.see("a"))
	units := map[string]bool{}
	e.Outputs(func(u memo.Unit, _ compile.Output) { units[u.String()] = true })
	if !units["port/S/here"] || !units["port/S/there"] || units["port/S/other"] {
		t.Errorf("units: %v", slices.Sorted(maps.Keys(units)))
	}
	before := e.Stats().UnitRuns
	other := *fact[*model.LogicalSwitchPort](w, model.Ref{Kind: model.KindSwitchPort, Parent: "S", Name: "other"})
	other.MAC[5] = 9
	e.Set(compile.FactKey(other.Ref()), &other)
	if changes := e.Update(); len(changes) > 0 || e.Stats().UnitRuns != before {
		t.Errorf("%d changes, %d units compiled", len(changes), e.Stats().UnitRuns-before)
	}
}

// While the daemon is down misses go to an edge that is reachable, which sends them to where they belong: questions are
// asked of everybody.
func TestT28_WithoutADaemonAnEdgeKnows(t *testing.T) {
	w := parse(t, `
ondemand
switch A 1
switch B 2
switch out 3
router R 10
chassis a 192.0.2.1
chassis b 192.0.2.2
gateway e1 192.0.2.3
gateway e2 192.0.2.4
router E1 11 e1
router E2 12 e2
link R A 10.0.0.1/24,2001:db8::1/64
link R B 10.0.1.1/24,2001:db8:1::1/64
link R out 10.0.9.1/24
link E1 out 10.0.9.2/24
link E2 out 10.0.9.3/24
port A here f2:01:00:00:00:01 10.0.0.9,2001:db8::9
port A there f2:01:00:00:00:02 10.0.0.10,2001:db8::10
port B far f2:01:00:00:00:03 10.0.1.9,2001:db8:1::9
bind here a
bind there b
bind far b
watched a e1 21
watched a e2 22`)
	src, there := model.MAC{0xf2, 1, 0, 0, 0, 1}, model.MAC{0xf2, 1, 0, 0, 0, 2}
	gate := fact[*model.LogicalRouterPort](w, model.Ref{Kind: model.KindRouterPort, Parent: "R", Name: "R_to_A"}).MAC
	for _, down := range [][]uint32{{lifePort}, {lifePort, 21}} {
		n := w.build(t)
		n.down = down
		n.load("a", n.see("a"))
		through := map[int]string{1: "e1", 2: "e2"}[len(down)]
		for _, ip := range [][3]string{{"10.0.0.9", "10.0.0.10", "10.0.1.9"}, {"2001:db8::9", "2001:db8::10", "2001:db8:1::9"}} {
			from, near, far := netip.MustParseAddr(ip[0]), netip.MustParseAddr(ip[1]), netip.MustParseAddr(ip[2])
			walk := n.expect("ping on the switch", "here", ping(src, from, there, near), "to there ttl=64")
			if at := walk.Hops[1].Node; at != through {
				t.Errorf("on the switch it went by %s, want %s", at, through)
			}
			walk = n.expect("ping through the router", "here", ping(src, from, gate, far), "to far ttl=62")
			if at := walk.Hops[1].Node; at != through {
				t.Errorf("through the router it went by %s, want %s", at, through)
			}
		}
		n.expect("question", "here", whoHas(src, netip.MustParseAddr("10.0.0.9"), netip.MustParseAddr("10.0.0.10")), "to there")
	}
}
