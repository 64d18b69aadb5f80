package walk_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
	"tuplenet/flows/sim"
	"tuplenet/flows/walk"
	"tuplenet/model"
)

// deployment is two hosts and an edge: workloads a on LS-A and b on LS-B, joined by LR, which sends all else to LR-edge; a
// third one, c, is beside a.
func deployment() map[model.Ref]model.Object {
	objects := map[model.Ref]model.Object{}
	put := func(all ...model.Object) {
		for _, o := range all {
			objects[o.Ref()] = o
		}
	}
	addr, net := netip.MustParseAddr, netip.MustParsePrefix
	link := func(router, ls, network string, key model.PortKey) {
		in := net(network)
		put(&model.LogicalRouterPort{Router: router, Name: router + "_to_" + ls, Key: key, MAC: model.DeriveMAC(in.Addr()), Networks: []netip.Prefix{in}, Peer: ls + "_to_" + router},
			&model.LogicalSwitchPort{Switch: ls, Name: ls + "_to_" + router, Key: 100 + key, MAC: model.DeriveMAC(in.Addr()), Type: model.PortRouter, Peer: router + "_to_" + ls})
	}
	vif := func(ls, name, ip, chassis string, key model.PortKey) {
		put(&model.LogicalSwitchPort{Switch: ls, Name: name, Key: key, MAC: model.DeriveMAC(addr(ip)), IPs: []netip.Addr{addr(ip)}, Type: model.PortVIF}, &model.Binding{Port: name, Chassis: chassis})
	}
	for i, ls := range []string{"LS-A", "LS-B", "m", "out"} {
		put(&model.LogicalSwitch{Name: ls, VNI: model.VNI(i + 1)})
	}
	put(&model.LogicalRouter{Name: "LR", ID: 5}, &model.LogicalRouter{Name: "LR-edge", ID: 6, Chassis: "edge"})
	for i, c := range []string{"hv1", "hv2", "edge"} {
		put(&model.Chassis{Name: c, IPs: []netip.Addr{addr(fmt.Sprintf("192.168.1.%d", 10+i))}, Encaps: []model.Encap{model.EncapGeneve}, Gateway: c == "edge"})
	}
	link("LR", "LS-A", "10.1.0.1/24", 1)
	link("LR", "LS-B", "10.2.0.1/24", 2)
	link("LR", "m", "100.64.0.1/24", 3)
	link("LR-edge", "m", "100.64.0.2/24", 1)
	link("LR-edge", "out", "192.168.9.2/24", 2)
	vif("LS-A", "a", "10.1.0.10", "hv1", 1)
	vif("LS-A", "c", "10.1.0.11", "hv2", 2)
	vif("LS-B", "b", "10.2.0.10", "hv2", 1)
	put(&model.LogicalSwitch{Name: "mc", VNI: 0xff01, Type: model.SwitchMulticast})
	vif("mc", "m1", "10.3.0.10", "hv1", 1)
	vif("mc", "m2", "10.3.0.11", "hv1", 2)
	vif("mc", "m3", "10.3.0.12", "hv2", 3)
	put(&model.LogicalSwitchPort{Switch: "out", Name: "patch", Key: 1, Type: model.PortPatch, Chassis: "edge", Bridge: "br0"},
		&model.StaticRoute{Router: "LR", Name: "default", Prefix: net("0.0.0.0/0"), NextHop: addr("100.64.0.2"), OutPort: "LR_to_m"},
		&model.StaticRoute{Router: "LR-edge", Name: "default", Prefix: net("0.0.0.0/0"), NextHop: addr("192.168.9.1"), OutPort: "LR-edge_to_out"},
		&model.StaticRoute{Router: "LR-edge", Name: "back", Prefix: net("10.0.0.0/8"), NextHop: addr("100.64.0.1"), OutPort: "LR-edge_to_m"},
		&model.NATRule{Router: "LR-edge", Name: "snat", Type: model.NATSource, Prefix: net("10.0.0.0/8"), External: addr("192.168.9.2")})
	return objects
}

func trace(t *testing.T, c walk.Config, p walk.Probe) *walk.Report {
	t.Helper()
	if c.Objects == nil {
		c.Objects = deployment()
	}
	d, err := walk.New(c)
	if err != nil {
		t.Fatal(err)
	}
	r, err := d.Trace(p)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func to(from, dst string) walk.Probe { return walk.Probe{From: from, Dst: netip.MustParseAddr(dst)} }

func TestVerdicts(t *testing.T) {
	for _, c := range []struct {
		name string
		cfg  walk.Config
		p    walk.Probe
		want string
	}{
		{"to another host", walk.Config{}, to("a", "10.2.0.10"), "delivered to b on hv2"},
		{"on one host", walk.Config{}, to("c", "10.2.0.10"), "delivered to b on hv2"},
		{"on one switch", walk.Config{}, to("a", "10.1.0.11"), "delivered to c on hv2"},
		{"outside", walk.Config{}, to("b", "8.8.8.8"), "leaves through patch on edge (bridge br0)"},
		{"from outside", walk.Config{}, walk.Probe{From: "patch", Src: netip.MustParseAddr("192.168.9.7"), Dst: netip.MustParseAddr("10.1.0.10"), DstMAC: model.DeriveMAC(netip.MustParseAddr("192.168.9.2"))}, "delivered to a on hv1"},
		{"the router", walk.Config{}, to("a", "10.2.0.1"), "answered for lrp LR/LR_to_LS-B on hv1"},
		{"the edge's router", walk.Config{}, to("a", "192.168.9.2"), "answered for lrp LR-edge/LR-edge_to_out on edge"},
		{"nobody on the switch", walk.Config{}, to("a", "10.1.0.99"), "dropped on hv1 in responder by unknown-arp"},
		{"nobody behind the router", walk.Config{}, to("a", "10.2.0.99"), "handed to the daemon on hv1: no neighbour"},
		{"a chassis is down", walk.Config{Down: []string{"hv2"}}, to("a", "10.2.0.10"), "lost behind hv1: chassis hv2 (192.168.1.11) is not reached from hv1"},
		{"the only edge is down", walk.Config{Down: []string{"edge"}}, to("a", "8.8.8.8"), "lost behind hv1: chassis edge (192.168.1.12) is not reached from hv1"},
		{"on a multicast network, here", walk.Config{}, to("m1", "10.3.0.11"), "delivered to m2 on hv1"},
		{"on a multicast network, elsewhere", walk.Config{}, to("m1", "10.3.0.12"), "leaves through vxlanff01 on hv1 (to the other hosts of the multicast network)"},
		{"on a multicast network, somewhere", walk.Config{}, to("m1", "10.3.0.99"), "leaves through vxlanff01 on hv1 (to the other hosts of the multicast network)"},
		{"too large", walk.Config{UnderlayMTU: 1400}, walk.Probe{From: "a", Dst: netip.MustParseAddr("10.2.0.10"), Size: 1400}, "handed to the daemon on hv1: too big"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := trace(t, c.cfg, c.p)
			if !strings.HasPrefix(r.Verdict, c.want) {
				t.Errorf("got %q, want %q", r.Verdict, c.want)
			}
			if len(r.Defects) > 0 {
				t.Errorf("defects %q", r.Defects)
			}
		})
	}
}

// Of two edges one takes over from the other; with both down, packets go where they would with both up, and the trace says that.
func TestT43_WithoutAnyReachableEdgeAllAreUsed(t *testing.T) {
	objects := deployment()
	put := func(o model.Object) { objects[o.Ref()] = o }
	addr, lan := netip.MustParseAddr, netip.MustParsePrefix("100.64.0.3/24")
	put(&model.Chassis{Name: "edge2", IPs: []netip.Addr{addr("192.168.1.20")}, Encaps: []model.Encap{model.EncapGeneve}, Gateway: true})
	put(&model.LogicalRouter{Name: "LR-edge2", ID: 7, Chassis: "edge2"})
	put(&model.LogicalRouterPort{Router: "LR-edge2", Name: "LR-edge2_to_m", Key: 1, MAC: model.DeriveMAC(lan.Addr()), Networks: []netip.Prefix{lan}, Peer: "m_to_LR-edge2"})
	put(&model.LogicalSwitchPort{Switch: "m", Name: "m_to_LR-edge2", Key: 110, MAC: model.DeriveMAC(lan.Addr()), Type: model.PortRouter, Peer: "LR-edge2_to_m"})
	put(&model.StaticRoute{Router: "LR", Name: "default2", Prefix: netip.MustParsePrefix("0.0.0.0/0"), NextHop: lan.Addr(), OutPort: "LR_to_m"})
	leaves := func(down ...string) (end walk.End, all string) {
		r := trace(t, walk.Config{Objects: objects, Down: down}, to("a", "8.8.8.8"))
		if len(r.Defects) > 0 || len(r.Forward.Ends) != 1 {
			t.Fatalf("down %v: defects %q, ends %+v", down, r.Defects, r.Forward.Ends)
		}
		for _, s := range r.Forward.Hops[0].Stages {
			for _, c := range s.Choices {
				all += fmt.Sprintf("ways %v dead %v ", c.Ways, c.Dead)
			}
			all += strings.Join(s.Notes, ", ")
		}
		return r.Forward.Ends[0], all
	}
	first, _ := leaves()
	other, way := leaves(first.Chassis)
	if other.Chassis == first.Chassis || other.Kind == walk.EndLost || !strings.Contains(way, "dead [100.64.0.") {
		t.Errorf("without %s: %+v, %s", first.Chassis, other, way)
	}
	lost, way := leaves("edge", "edge2")
	if lost.Kind != walk.EndLost || lost.Port != first.Chassis || !strings.Contains(way, "no way is alive: all are used") || !strings.Contains(way, "ways [100.64.0.2 on edge 100.64.0.3 on edge2] dead []") {
		t.Errorf("without any: %+v, %s", lost, way)
	}
}

// The same question has the same answer, in all words.
func TestReportsAreTheSameEveryTime(t *testing.T) {
	text := func() string {
		b, err := json.Marshal(trace(t, walk.Config{}, to("a", "8.8.8.8")))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	first := text()
	for range 5 {
		if again := text(); again != first {
			t.Fatalf("first\n%s\nthen\n%s", first, again)
		}
	}
}

// What chassis would see of a packet on its way is told as that way: stage by stage, and where a chassis saw nothing the packet is
// lost in front of it.
func TestObservedWaysAreToldAsThoseOnPaper(t *testing.T) {
	for _, p := range []walk.Probe{to("a", "10.2.0.10"), to("a", "10.1.0.11"), to("b", "8.8.8.8"), to("a", "10.2.0.1"), to("a", "10.1.0.99"), to("a", "10.2.0.99")} {
		paper := trace(t, walk.Config{}, p)
		nb := walk.Config{Objects: deployment()}
		d, err := walk.New(nb)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Trace(p); err != nil { // learns who is assumed to answer
			t.Fatal(err)
		}
		chassis, frame, err := d.Origin(p)
		if err != nil {
			t.Fatal(err)
		}
		_, w := d.Send(chassis, paper.Forward.Hops[0].Port, frame)
		seen := map[string][]walk.Sighting{}
		for _, h := range w.Hops {
			for _, s := range h.Trace.Steps {
				seen[h.Node] = append(seen[h.Node], walk.Sighting{Table: s.Table, Packet: s.Packet})
			}
		}
		r, err := d.Observe(p.From, chassis, frame, seen)
		if err != nil {
			t.Fatal(err)
		}
		if want, got := stages(paper.Forward), stages(r.Forward); !slices.Equal(want, got) {
			t.Errorf("%s: got\n%s\nwant\n%s", p.Dst, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if r.Verdict != paper.Verdict || len(r.Defects) > 0 || r.Open() {
			t.Errorf("%s: got %q %q, open %v, want %q", p.Dst, r.Verdict, r.Defects, r.Open(), paper.Verdict)
		}
		if len(w.Hops) < 2 {
			continue
		}
		delete(seen, w.Hops[1].Node)
		if r, err = d.Observe(p.From, chassis, frame, seen); err != nil || !strings.Contains(r.Verdict, "sent to chassis "+w.Hops[1].Node+", which did not see it") || !r.Open() {
			t.Errorf("%s: without %s: %q, %v", p.Dst, w.Hops[1].Node, r.Verdict, err)
		}
	}
}

func stages(l walk.Leg) (lines []string) {
	for _, h := range l.Hops {
		for _, s := range h.Stages {
			lines = append(lines, fmt.Sprintf("%s %s %s -> %s %s/%s %s", h.Chassis, s.Device, s.From, s.To, s.Table, s.Rule, s.Owner))
		}
	}
	return lines
}

// Of two objects that want the same thing one is left out, and that is said.
func TestConflictingObjectsAreLeftOut(t *testing.T) {
	objects := deployment()
	twin := &model.LogicalSwitchPort{Switch: "LS-B", Name: "z", Key: 9, MAC: model.DeriveMAC(netip.MustParseAddr("10.2.0.77")), IPs: []netip.Addr{netip.MustParseAddr("10.2.0.10")}, Type: model.PortVIF}
	objects[twin.Ref()] = twin
	r := trace(t, walk.Config{Objects: objects}, to("a", "10.2.0.10"))
	if r.Verdict != "delivered to b on hv2" || !slices.ContainsFunc(r.Assumed, func(a string) bool { return strings.HasPrefix(a, "switchport/LS-B/z is left out, because ip/") }) {
		t.Errorf("got %q, assumed %q", r.Verdict, r.Assumed)
	}
}

// What a chassis says of itself takes the place of what is made up.
func TestFactsOfChassisCount(t *testing.T) {
	plain := trace(t, walk.Config{}, to("a", "8.8.8.8"))
	if plain.Forward.Hops[0].Port != 1001 {
		t.Errorf("port %d is made up", plain.Forward.Hops[0].Port)
	}
	f := walk.Facts{Interfaces: map[string]uint32{"a": 42}}
	f.Node.Chassis, f.Node.IPs, f.Node.TunnelPort = "hv1", []netip.Addr{netip.MustParseAddr("192.168.1.10")}, 7
	f.Node.HostPort, f.Node.HostMAC = 8, model.MAC{2, 0, 0, 0, 0, 9}
	r := trace(t, walk.Config{Facts: map[string]walk.Facts{"hv1": f}}, to("a", "8.8.8.8"))
	if r.Forward.Hops[0].Port != 42 || r.Verdict != "leaves through the host's own stack on hv1" {
		t.Errorf("port %d, %s", r.Forward.Hops[0].Port, r.Verdict)
	}
}

// A chassis that works on demand has the flows that it says; others it makes for the packet, which is said.
func TestT28_FlowsOnDemandAreFollowed(t *testing.T) {
	f := walk.Facts{Interfaces: map[string]uint32{"a": 42}}
	f.Node.Chassis, f.Node.IPs, f.Node.TunnelPort, f.Node.OnDemand = "hv1", []netip.Addr{netip.MustParseAddr("192.168.1.10")}, 7, true
	for dst, port := range map[string]string{"10.1.0.11": "c", "10.2.0.10": "b"} {
		want := trace(t, walk.Config{}, to("a", dst)).Verdict
		made := "hv1 has no flows for " + port + " yet: its daemon makes them and sends the packet on"
		r := trace(t, walk.Config{Facts: map[string]walk.Facts{"hv1": f}}, to("a", dst))
		if r.Verdict != want || !slices.Contains(r.Assumed, made) {
			t.Errorf("%s: %s (%v), want %s", dst, r.Verdict, r.Assumed, want)
		}
		g := f
		g.Wanted = []model.Ref{{Kind: model.KindSwitchPort, Parent: map[string]string{"c": "LS-A", "b": "LS-B"}[port], Name: port}}
		if r := trace(t, walk.Config{Facts: map[string]walk.Facts{"hv1": g}}, to("a", dst)); r.Verdict != want || slices.Contains(r.Assumed, made) {
			t.Errorf("%s, wanted: %s (%v), want %s", dst, r.Verdict, r.Assumed, want)
		}
	}
	for _, dst := range []string{"10.2.0.99", "10.1.0.99"} { // for nobody: asked for in vain, then as with all flows
		want, r := trace(t, walk.Config{}, to("a", dst)), trace(t, walk.Config{Facts: map[string]walk.Facts{"hv1": f}}, to("a", dst))
		if r.Verdict != want.Verdict || len(r.Defects) > 0 || len(r.Assumed) != len(want.Assumed) {
			t.Errorf("%s: %s (%q), want %s", dst, r.Verdict, r.Defects, want.Verdict)
		}
		table := map[string]string{"10.2.0.99": "neighbour/ask-neighbour", "10.1.0.99": "responder/ask-arp"}[dst]
		all := strings.Join(stages(r.Forward), "\n")
		if _, rest, asked := strings.Cut(all, table); !asked || !strings.Contains(rest, "miss/ask-of-port") || strings.Contains(rest, table) {
			t.Errorf("%s: the daemon is not asked once, or not told of:\n%s", dst, all)
		}
		last := r.Forward.Hops[0].Passes
		if len(last) != 2 || last[1].Table == 0 {
			t.Errorf("%s: the passes are %+v", dst, last)
		}
	}
}

// Of a first packet chassis see that it misses, and that it goes on when its flows are there; whether they were asked what flows they
// have before or after it makes no difference.
func TestT28_TheWayOfAFirstPacketIsToldWithTheFlowsThatItMade(t *testing.T) {
	f := walk.Facts{Interfaces: map[string]uint32{"a": 42}}
	f.Node.Chassis, f.Node.IPs, f.Node.TunnelPort, f.Node.OnDemand = "hv1", []netip.Addr{netip.MustParseAddr("192.168.1.10")}, 7, true
	g := f
	g.Wanted = []model.Ref{{Kind: model.KindSwitchPort, Parent: "LS-B", Name: "b"}}
	sent := func(f walk.Facts) (*walk.Deployment, sim.Packet, sim.Walk) {
		d, err := walk.New(walk.Config{Objects: deployment(), Facts: map[string]walk.Facts{"hv1": f}})
		if err != nil {
			t.Fatal(err)
		}
		_, frame, err := d.Origin(to("a", "10.2.0.10"))
		if err != nil {
			t.Fatal(err)
		}
		_, w := d.Send("hv1", 42, frame)
		return d, frame, w
	}
	before, frame, missed := sent(f)
	after, _, whole := sent(g)
	seen, paper := map[string][]walk.Sighting{}, trace(t, walk.Config{Facts: map[string]walk.Facts{"hv1": g}}, to("a", "10.2.0.10"))
	see := func(node string, all []sim.Step) {
		for _, s := range all {
			seen[node] = append(seen[node], walk.Sighting{Table: s.Table, Packet: s.Packet})
		}
	}
	first := missed.Hops[0].Trace.Steps
	see("hv1", first)
	at := len(first) - 2 // where it misses
	again := slices.Clone(whole.Hops[0].Trace.Steps[at:])
	for i := range again {
		asked := pipeline.Asked.Sub
		again[i].Packet.Set(asked.Field, again[i].Packet.Get(asked.Field).Or(of.U(1).Shl(uint(asked.Ofs))))
	}
	see("hv1", again)
	see("hv2", whole.Hops[1].Trace.Steps)
	for name, d := range map[string]*walk.Deployment{"before": before, "after": after} {
		r, err := d.Observe("a", "hv1", frame, seen)
		if err != nil {
			t.Fatal(err)
		}
		got := stages(r.Forward)
		if len(got) < at+2 || !strings.Contains(got[at], "neighbour/ask-neighbour") || !strings.Contains(got[at+1], "miss/ask-of-port") {
			t.Fatalf("asked %s: it does not miss:\n%s", name, strings.Join(got, "\n"))
		}
		if want := stages(paper.Forward); !slices.Equal(slices.Delete(slices.Clone(got), at, at+2), want) || r.Verdict != paper.Verdict || r.Open() {
			t.Errorf("asked %s: got\n%s\n%s\nwant\n%s\n%s", name, strings.Join(got, "\n"), r.Verdict, strings.Join(want, "\n"), paper.Verdict)
		}
		if notes := r.Forward.Hops[0].Stages[at+1].Notes; !slices.Contains(notes, "the daemon makes the flows for b and sends the packet on") {
			t.Errorf("asked %s: what the daemon does is %q", name, notes)
		}
	}
}

func TestProbesThatMakeNoSenseAreRefused(t *testing.T) {
	d, err := walk.New(walk.Config{Objects: deployment()})
	if err != nil {
		t.Fatal(err)
	}
	for want, p := range map[string]walk.Probe{
		"switch port x not found":                       to("x", "10.1.0.1"),
		"switch port LS-A_to_LR leads to a router":      to("LS-A_to_LR", "10.1.0.1"),
		"no destination is given":                       {From: "a"},
		"switch port a has no address of the":           to("a", "2001:db8::1"),
		"source 10.1.0.10 and destination 2001:db8::1 ": {From: "a", Src: netip.MustParseAddr("10.1.0.10"), Dst: netip.MustParseAddr("2001:db8::1")},
	} {
		if _, err := d.Trace(p); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if _, err := walk.New(walk.Config{Objects: deployment(), Via: "mars"}); err == nil {
		t.Error("a chassis that is not there may be wanted")
	}
}

// A trace through a large deployment compiles what the packet visits, and is a matter of a second or two.
func BenchmarkTraceThroughAThousandChassis(b *testing.B) {
	objects := deployment()
	for i := range 1000 {
		c := &model.Chassis{Name: fmt.Sprintf("node%d", i), IPs: []netip.Addr{netip.AddrFrom4([4]byte{172, 16, byte(i >> 8), byte(i)})}, Encaps: []model.Encap{model.EncapGeneve}, Gateway: i%100 == 0}
		objects[c.Ref()] = c
		for n := range 20 {
			ip := netip.AddrFrom4([4]byte{10, 1, byte(10 + i/10), byte(10 + i%10*20 + n)})
			p := &model.LogicalSwitchPort{Switch: "LS-A", Name: fmt.Sprintf("p%d-%d", i, n), Key: model.PortKey(200 + i*20 + n), MAC: model.DeriveMAC(ip), IPs: []netip.Addr{ip}, Type: model.PortVIF}
			bound := &model.Binding{Port: p.Name, Chassis: c.Name}
			objects[p.Ref()], objects[bound.Ref()] = p, bound
		}
	}
	for b.Loop() {
		d, err := walk.New(walk.Config{Objects: objects})
		if err != nil {
			b.Fatal(err)
		}
		if r, err := d.Trace(to("a", "10.2.0.10")); err != nil || !r.Reached {
			b.Fatal(r, err)
		}
	}
}
