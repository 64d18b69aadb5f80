package compile_test

import (
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"pgregory.net/rapid"

	"tuplenet/flows/compile"
	"tuplenet/flows/memo"
	"tuplenet/flows/of"
	"tuplenet/flows/sim"
	"tuplenet/model"
)

// On random deployments every packet goes exactly where the model says: T21 (same switch, across switches, TTL), T22
// (ARP and ND), T23 (echo replies of routers), X13 (equal addresses on isolated switches).
func TestT21_X13_PacketsGoWhereTheModelSays(t *testing.T) {
	packetsGoWhereTheModelSays(t, func(w *world) {})
}

// packetsGoWhereTheModelSays sends packets of all kinds through random deployments.
func packetsGoWhereTheModelSays(t *testing.T, alter func(*world)) {
	check(t, topologies, func(t *rapid.T) {
		w := anyWorld(t)
		alter(w)
		n := w.build(t)
		targets := n.targets()
		for _, src := range objects[*model.LogicalSwitchPort](n.world) {
			c, _ := n.where(src.Name)
			if c == "" {
				continue
			}
			n.checkFlood(src, c)
			for _, from := range src.IPs {
				for _, to := range targets {
					if from.Is4() == to.Is4() {
						n.checkPair(src, from, to)
					}
				}
			}
			if !src.NoPortSecurity && len(src.IPs) > 0 {
				n.checkSpoofing(src)
			}
		}
	})
}

// What a scenario compiles to makes a whole: no two flows for the same packets that differ, no group or table missing.
func TestScenariosCompileToConsistentFlows(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no scenarios", err)
	}
	for _, file := range files {
		ar, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		parse(t, section(ar, "intent")).build(t)
	}
}

// expect sends a packet and compares its fate.
func (n *network) expect(what, port string, p sim.Packet, want string) sim.Walk {
	n.t.Helper()
	w := n.send(port, p)
	if got := n.fate(w); got != want {
		n.t.Fatalf("%s from %s: got %q, want %q\npacket %s\n%s", what, port, got, want, p.String(), n.story(w))
	}
	return w
}

// checkPair asks who has an address, pings it if somebody on the switch has it, and pings it through every router of
// the switch.
func (n *network) checkPair(src *model.LogicalSwitchPort, from, to netip.Addr) {
	n.t.Helper()
	asked := n.expect("question", src.Name, whoHas(src.MAC, from, to), n.answer(src, to))
	if p := n.owner(src.Switch, to); p != nil && p.Name != src.Name {
		n.checkAnswer(asked, p.MAC, to)
		if p.Type == model.PortRouter {
			n.expect("ping", src.Name, ping(src.MAC, from, p.MAC, to), n.reach(src, from, to, n.routerEnd(p)))
		} else {
			n.checkPing(src, from, p.MAC, to, nil)
		}
	}
	for _, p := range n.portsOf(src.Switch) {
		if p.Type == model.PortRouter && slices.ContainsFunc(p.IPs, func(ip netip.Addr) bool { return ip.Is4() == from.Is4() }) {
			n.checkPing(src, from, p.MAC, to, n.routerEnd(p))
		}
	}
}

// checkAnswer looks at the ARP reply or neighbour advertisement.
func (n *network) checkAnswer(w sim.Walk, mac model.MAC, ip netip.Addr) {
	n.t.Helper()
	p := w.Delivered[0].Packet
	ok := p.Get(of.EthSrc) == of.MAC(mac)
	if ip.Is4() {
		ok = ok && p.Get(of.ARPOp).Lo == 2 && p.Get(of.ARPSHA) == of.MAC(mac) && p.Get(of.ARPSPA) == of.Addr(ip)
	} else {
		ok = ok && p.Get(of.ICMPv6Type).Lo == 136 && p.Get(of.NDTLL) == of.MAC(mac) && p.Get(of.NDTarget) == of.Addr(ip) &&
			p.Get(of.IPv6Src) == of.Addr(ip) && p.Get(of.NDOptionsType).Lo == 2
	}
	if !ok {
		n.t.Fatalf("wrong answer: %s", p.String())
	}
}

// checkPing sends an echo request, and the reply if a workload gets it.
func (n *network) checkPing(src *model.LogicalSwitchPort, from netip.Addr, mac model.MAC, to netip.Addr, via *model.LogicalRouterPort) {
	n.t.Helper()
	w := n.expect("ping", src.Name, ping(src.MAC, from, mac, to), n.reach(src, from, to, via))
	if len(w.Delivered) == 0 {
		return
	}
	d := w.Delivered[0]
	name := n.portAt(d.Node, d.Port)
	dst := fact[*model.LogicalSwitchPort](n.world, model.Ref{Kind: model.KindSwitchPort, Parent: strings.SplitN(name, "-", 2)[0], Name: name})
	if !slices.Contains(dst.IPs, to) {
		return // a router's answer came back
	}
	if d.Packet.Get(of.EthDst) != of.MAC(dst.MAC) {
		n.t.Fatalf("%s got a frame for %x", name, d.Packet.Get(of.EthDst).MAC())
	}
	var back *model.LogicalRouterPort
	for _, p := range n.portsOf(dst.Switch) {
		if p.Type == model.PortRouter && d.Packet.Get(of.EthSrc) == of.MAC(p.MAC) {
			back = n.routerEnd(p)
		}
	}
	n.expect("reply", name, pong(d.Packet), n.reach(dst, to, from, back))
}

// checkFlood sends a broadcast, a multicast, and a frame to a MAC that nobody has.
func (n *network) checkFlood(src *model.LogicalSwitchPort, chassis string) {
	n.t.Helper()
	mac := src.MAC
	if src.Type == model.PortPatch {
		mac = outside
	}
	const experiment = 0x88b5 // IEEE 802, local experimental ethertype
	for _, dst := range []model.MAC{broadcast, {1, 0, 0x5e, 0, 0, 0xfb}} {
		n.expect("broadcast", src.Name, frame(mac, dst, experiment), n.everybody(src, ""))
	}
	if src.Type != model.PortPatch {
		n.expect("frame to nobody", src.Name, frame(mac, nobody, experiment), n.unknownFrom(src, chassis))
	}
}

// checkSpoofing sends what a port may not send.
func (n *network) checkSpoofing(src *model.LogicalSwitchPort) {
	n.t.Helper()
	for _, own := range src.IPs {
		v4, v6 := host(0, 98)
		foreign := v4
		if own.Is6() {
			foreign = v6
		}
		for what, p := range map[string]sim.Packet{
			"spoofed MAC":          ping(nobody, own, broadcast, foreign),
			"spoofed address":      ping(src.MAC, foreign, broadcast, own),
			"spoofed MAC, not IP":  frame(nobody, broadcast, 0x88b5),
			"question of another":  whoHas(src.MAC, foreign, own),
			"question, wrong lla":  whoHas(src.MAC, own, foreign).With(of.NDSLL, of.MAC(nobody)).With(of.ARPSHA, of.MAC(nobody)),
			"announces foreign IP": announce(src.MAC, foreign, src.MAC),
			"announces wrong MAC":  announce(src.MAC, own, nobody),
		} {
			w := n.send(src.Name, p)
			if got := n.fate(w); !strings.HasPrefix(got, "drop spoofed-") {
				n.t.Fatalf("%s from %s: %s\n%s", what, src.Name, got, n.story(w))
			}
		}
	}
}

// announce is a gratuitous ARP reply or an unsolicited neighbour advertisement.
func announce(src model.MAC, ip netip.Addr, mac model.MAC) sim.Packet {
	if ip.Is4() {
		return frame(src, broadcast, 0x0806).With(of.ARPOp, of.U(2)).With(of.ARPSHA, of.MAC(mac)).
			With(of.ARPSPA, of.Addr(ip)).With(of.ARPTPA, of.Addr(ip))
	}
	return frame(src, model.MAC{0x33, 0x33, 0, 0, 0, 1}, 0x86dd).With(of.IPProto, of.U(58)).With(of.IPTTL, of.U(255)).
		With(of.ICMPv6Type, of.U(136)).With(of.IPv6Src, of.Addr(ip)).With(of.IPv6Dst, of.Addr(netip.MustParseAddr("ff02::1"))).
		With(of.NDTarget, of.Addr(ip)).With(of.NDTLL, of.MAC(mac)).With(of.NDOptionsType, of.U(2))
}

// A port moved, and not every chassis knows: the old chassis hands on what still arrives, once, flagged. Of two that point
// at each other, the second gives it to the interface that the port still has there, or drops it. What comes by VXLAN has no flag, so it
// goes to that interface, or nowhere; but it may be handed on by VXLAN.
func TestT20_T25_MovedPortIsHandedOn(t *testing.T) {
	const (
		arrives, lost = "to moving ttl=64", "drop not-here"
		stays         = "to port 200 of b, which is nobody's ttl=64" // the net knows one interface of each port, the new one
		noWay         = "drop unbound-destination"
	)
	for _, c := range []struct{ underlay, encaps, fate, plugged, early string }{
		{"192.0.2.1 192.0.2.2 192.0.2.3", "geneve geneve geneve", arrives, arrives, stays},
		{"fd00::1 fd00::2 fd00::3", "geneve geneve geneve", arrives, arrives, stays},
		{"192.0.2.1 192.0.2.2,fd00::2 fd00::3", "geneve geneve geneve", arrives, arrives, noWay},
		{"192.0.2.1 192.0.2.2 192.0.2.3", "vxlan vxlan vxlan", lost, stays, lost},
		{"fd00::1 fd00::2 fd00::3", "geneve vxlan geneve", lost, stays, stays},
		{"192.0.2.1 192.0.2.2,fd00::2 fd00::3", "vxlan geneve,vxlan vxlan", arrives, arrives, noWay},
	} {
		ips, encaps := strings.Fields(c.underlay), strings.Fields(c.encaps)
		w := parse(t, `
switch S 1
port S far f2:01:00:00:00:01 10.0.0.1
port S moving f2:01:00:00:00:02 10.0.0.2
port S stays-at-b f2:01:00:00:00:03 10.0.0.3
port S stays-at-c f2:01:00:00:00:04 10.0.0.4
chassis a `+ips[0]+` `+encaps[0]+`
chassis b `+ips[1]+` `+encaps[1]+`
chassis c `+ips[2]+` `+encaps[2]+`
bind far a
bind moving b
bind stays-at-b b
bind stays-at-c c`)
		before, beforeAtC := w.see("a"), w.see("c")
		w.bind("moving", "c")
		n := w.build(t) // b knows where the port went
		n.load("a", before)
		hello := ping(model.MAC{0xf2, 1, 0, 0, 0, 1}, netip.MustParseAddr("10.0.0.1"), model.MAC{0xf2, 1, 0, 0, 0, 2}, netip.MustParseAddr("10.0.0.2"))
		n.expect("ping to a port that moved", "far", hello, c.fate)

		bindingAtB := &model.Binding{Port: "moving", Chassis: "b"}
		stale := w.see("c")
		stale[compile.FactKey(bindingAtB.Ref())] = bindingAtB
		n.load("c", stale)
		n.expect("ping to a port whose interface is where it came to, though two chassis see it with each other", "far", hello, c.fate)
		delete(stale, memo.Key{Kind: compile.KindInterface, ID: "moving"})
		n.load("c", stale)
		n.expect("ping to a port that two chassis see with each other", "far", hello, lost)

		leaving := w.see("b")
		leaving[memo.Key{Kind: compile.KindInterface, ID: "moving"}] = compile.Interface{OFPort: 200}
		n.load("b", leaving)
		n.load("c", w.see("c"))
		n.expect("ping to a port that moved and is still plugged where it was", "far", hello, c.plugged)

		// As when the switch of c has not corrected yet what it had cached.
		n.load("a", w.see("a"))
		n.load("c", beforeAtC)
		n.expect("ping to a port that came to a chassis that does not know it yet", "far", hello, c.early)
	}
}
