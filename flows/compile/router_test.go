package compile_test

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"tuplenet/flows/of"
	"tuplenet/flows/sim"
	"tuplenet/model"
)

// What a router does not forward it sends to the daemon with the reason: expired TTL (T23), too large for the tunnel,
// TCP and UDP to itself. A packet that just fits passes.
func TestT23_RouterPuntsWhatTheDaemonAnswers(t *testing.T) {
	n := parse(t, `
switch A 1
switch B 2
router R 3
port A alice f2:01:00:00:00:01 10.0.0.10,2001:db8:0:0::10
port A bob f2:01:00:00:00:02 10.0.0.11,2001:db8:0:0::11
port B carol f2:01:00:00:00:03 10.0.1.10,2001:db8:0:1::10
port B dave f2:01:00:00:00:04 10.0.1.11,2001:db8:0:1::11
link R A 10.0.0.1/24,2001:db8:0:0::1/64
link R B 10.0.1.1/24,2001:db8:0:1::1/64
chassis hv1 192.0.2.1
chassis hv2 192.0.2.2
bind alice hv1
bind dave hv1
bind bob hv2
bind carol hv2`).build(t)
	alice, bob := model.MAC{0xf2, 1, 0, 0, 0, 1}, model.MAC{0xf2, 1, 0, 0, 0, 2}
	router := n.owner("A", netip.MustParseAddr("10.0.0.1")).MAC
	fits := 1438 + 14 // what node says, and the Ethernet header
	for _, net := range []string{"10.0.0.10 10.0.1.10 10.0.1.11 10.0.1.1 10.0.0.11", "2001:db8::10 2001:db8:0:1::10 2001:db8:0:1::11 2001:db8:0:1::1 2001:db8::11"} {
		ips := addrs(net)
		from, far, near, self, same := ips[0], ips[1], ips[2], ips[3], ips[4]
		proto := func(p sim.Packet, n uint64) sim.Packet { return p.With(of.IPProto, of.U(n)) }
		for what, c := range map[string]struct {
			p    sim.Packet
			want string
		}{
			"TTL 2":                           {ping(alice, from, router, far).With(of.IPTTL, of.U(2)), "to carol ttl=1"},
			"TTL 1":                           {ping(alice, from, router, far).With(of.IPTTL, of.U(1)), "punt 1"},
			"TTL 0":                           {ping(alice, from, router, far).With(of.IPTTL, of.U(0)), "punt 1"},
			"TTL 1 to the router itself":      {ping(alice, from, router, self).With(of.IPTTL, of.U(1)), "to alice ttl=64"},
			"as large as the tunnel":          {long(ping(alice, from, router, far), fits), "to carol ttl=63"},
			"larger than the tunnel":          {long(ping(alice, from, router, far), fits+1), "punt 5"},
			"large, but not into the tunnel":  {long(ping(alice, from, router, near), 9000), "to dave ttl=63"},
			"large, switched into the tunnel": {long(ping(alice, from, bob, same), fits+1), "punt 5"},
			"switched, and just fits":         {long(ping(alice, from, bob, same), fits), "to bob ttl=64"},
			"TCP to the router":               {proto(ping(alice, from, router, self), 6), "punt 4"},
			"UDP to the router":               {proto(ping(alice, from, router, self), 17), "punt 4"},
			"SCTP to the router":              {proto(ping(alice, from, router, self), 132), "drop for-router"},
		} {
			n.expect(what, "alice", c.p, c.want)
		}
	}
}

func long(p sim.Packet, n int) sim.Packet {
	p.Length = n
	return p
}

// A network with an MTU of its own gets no larger packets from any router; what is switched in it is nobody's business. A
// pinned router measures what it sends inside against the tunnel, for it alone knows how to answer those outside.
func TestT39_RoutersRefuseWhatTheNextNetworkDoesNotTake(t *testing.T) {
	n := parse(t, `
switch A 1
switch B 2 1300
switch OUT 4
switch IN 5
router R 3
router E 6 hv1
port A alice f2:01:00:00:00:01 10.0.0.10,2001:db8:0:0::10
port B carol f2:01:00:00:00:03 10.0.1.10,2001:db8:0:1::10
port B dave f2:01:00:00:00:04 10.0.1.11,2001:db8:0:1::11
port OUT eve f2:01:00:00:00:05 10.0.4.10,2001:db8:0:4::10
port IN inn f2:01:00:00:00:06 10.0.5.10,2001:db8:0:5::10
link R A 10.0.0.1/24,2001:db8:0:0::1/64
link R B 10.0.1.1/24,2001:db8:0:1::1/64
link E OUT 10.0.4.1/24,2001:db8:0:4::1/64
link E IN 10.0.5.1/24,2001:db8:0:5::1/64
gateway hv1 192.0.2.1
bind alice hv1
bind carol hv1
bind dave hv1
bind eve hv1
bind inn hv1`).build(t)
	alice, dave, eve := model.MAC{0xf2, 1, 0, 0, 0, 1}, model.MAC{0xf2, 1, 0, 0, 0, 4}, model.MAC{0xf2, 1, 0, 0, 0, 5}
	r, e := n.owner("A", netip.MustParseAddr("10.0.0.1")).MAC, n.owner("OUT", netip.MustParseAddr("10.0.4.1")).MAC
	for _, net := range []string{"10.0.0.10 10.0.1.10 10.0.1.11 10.0.4.10 10.0.5.10", "2001:db8::10 2001:db8:0:1::10 2001:db8:0:1::11 2001:db8:0:4::10 2001:db8:0:5::10"} {
		ips := addrs(net)
		for what, c := range map[string]struct {
			from string
			p    sim.Packet
			want string
		}{
			"as large as the network":     {"alice", long(ping(alice, ips[0], r, ips[1]), 1314), "to carol ttl=63"},
			"larger than the network":     {"alice", long(ping(alice, ips[0], r, ips[1]), 1315), "punt 20"},
			"back, into one without":      {"dave", long(ping(dave, ips[2], n.owner("B", netip.MustParseAddr("10.0.1.1")).MAC, ips[0]), 9000), "to alice ttl=63"},
			"switched in it":              {"dave", long(ping(dave, ips[2], model.MAC{0xf2, 1, 0, 0, 0, 3}, ips[1]), 9000), "to carol ttl=64"},
			"inside, as large as tunnels": {"eve", long(ping(eve, ips[3], e, ips[4]), 1452), "to inn ttl=63"},
			"inside, larger":              {"eve", long(ping(eve, ips[3], e, ips[4]), 1453), "punt 20"},
		} {
			n.expect(what, c.from, c.p, c.want)
		}
	}
}

// Packets to different destinations spread over equal routes; when a chassis is unreachable, all take the other, and
// those that were there already stay.
func TestEqualRoutesSpreadAndFailOver(t *testing.T) {
	ar, err := txtar.ParseFile("testdata/edges.txtar")
	if err != nil {
		t.Fatal(err)
	}
	w := parse(t, section(ar, "intent"))
	flows, _, groups := flatten(t, compileFacts(w.see("alice")))
	edges := func(down ...uint32) map[netip.Addr]netip.Addr {
		sw, err := sim.New(sim.Config{Flows: flows, Groups: groups, Tunnels: []uint32{tunnelPort}, Down: down})
		if err != nil {
			t.Fatal(err)
		}
		ways := map[netip.Addr]netip.Addr{}
		for i := range 64 {
			to := netip.AddrFrom4([4]byte{203, 0, 113, byte(i)})
			_, ofport := w.where("lsp-alice")
			tr := sw.Run(ping(mac("f2:01:00:00:00:01"), netip.MustParseAddr("10.20.1.10"), w.owner("LS-A", netip.MustParseAddr("10.20.1.1")).MAC, to), ofport)
			if tr.Err != nil || len(tr.Outputs) != 1 || !tr.Outputs[0].Tunnel {
				t.Fatalf("%s: %+v, %v", to, tr.Outputs, tr.Err)
			}
			ways[to] = tr.Outputs[0].Packet.Get(of.TunDst).Addr4()
		}
		return ways
	}
	edge2 := netip.MustParseAddr("192.168.1.13")
	before, after := edges(), edges(w.watched["alice"]["edge1"])
	moved := 0
	for to, way := range before {
		if after[to] != edge2 {
			t.Errorf("%s goes to %s, which is unreachable", to, after[to])
		}
		if way != edge2 {
			moved++
		}
	}
	if moved < 16 || moved > 48 {
		t.Errorf("%d of 64 destinations were on the first edge", moved)
	}
	if none := edges(w.watched["alice"]["edge1"], w.watched["alice"]["edge2"]); !maps.Equal(none, before) {
		t.Errorf("with no edge reachable %v, before %v", none, before)
	}
}

// A gateway that does not reach a chassis sends by way of another one; if that does not either, it sends there all the same.
func TestT29_AChassisThatNoGatewayReachesIsSentTo(t *testing.T) {
	ar, err := txtar.ParseFile("testdata/edges.txtar")
	if err != nil {
		t.Fatal(err)
	}
	n := parse(t, section(ar, "intent")+"\nwatched edge2 alice 31\nwatched edge2 edge1 32\n").build(t)
	to := n.owner("outside1", netip.MustParseAddr("192.168.1.20")).MAC
	for _, c := range []struct {
		down []uint32
		way  []string
	}{
		{nil, []string{"edge1", "alice"}},
		{[]uint32{21}, []string{"edge1", "edge2", "alice"}},
		{[]uint32{21, 31}, []string{"edge1", "edge2", "alice"}},
		{[]uint32{21, 22}, []string{"edge1", "alice"}},
	} {
		n.down = c.down
		n.reload()
		w := n.send("patchport-outside1", ping(mac("02:00:00:00:00:01"), netip.MustParseAddr("203.0.113.7"), to, netip.MustParseAddr("192.168.1.40")))
		var way []string
		for _, h := range w.Hops {
			way = append(way, h.Node)
		}
		if got := n.fate(w); got != "to lsp-float ttl=62" || !slices.Equal(way, c.way) {
			t.Errorf("down %v: %s over %v, want %v\n%s", c.down, got, way, c.way, n.story(w))
		}
	}
}

func addrs(text string) (all []netip.Addr) {
	for _, s := range strings.Fields(text) {
		all = append(all, netip.MustParseAddr(s))
	}
	return all
}

// Packets of a workload with a floating address at an edge leave through that edge, wherever they go, and through the
// other one only while it is unreachable; those of other workloads spread as before.
func TestReplyLeavesThroughTheEdgeOfTheFloatingAddress(t *testing.T) {
	ar, err := txtar.ParseFile("testdata/edges.txtar")
	if err != nil {
		t.Fatal(err)
	}
	w := parse(t, section(ar, "intent"))
	flows, _, groups := flatten(t, compileFacts(w.see("alice")))
	for _, c := range []struct {
		down []uint32
		edge string
	}{{nil, "192.168.1.12"}, {[]uint32{w.watched["alice"]["edge1"]}, "192.168.1.13"},
		{[]uint32{w.watched["alice"]["edge1"], w.watched["alice"]["edge2"]}, "192.168.1.12"}} {
		sw, err := sim.New(sim.Config{Flows: flows, Groups: groups, Tunnels: []uint32{tunnelPort}, Down: c.down})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 64 {
			to := netip.AddrFrom4([4]byte{203, 0, 113, byte(i)})
			_, ofport := w.where("lsp-float")
			tr := sw.Run(ping(mac("f2:01:00:00:00:09"), netip.MustParseAddr("10.20.1.11"), w.owner("LS-A", netip.MustParseAddr("10.20.1.1")).MAC, to), ofport)
			if tr.Err != nil || len(tr.Outputs) != 1 || !tr.Outputs[0].Tunnel {
				t.Fatalf("%s: %+v, %v", to, tr.Outputs, tr.Err)
			}
			if got := tr.Outputs[0].Packet.Get(of.TunDst).Addr4().String(); got != c.edge {
				t.Errorf("down %v: to %s through %s, want %s", c.down, to, got, c.edge)
			}
		}
	}
}

// A gateway sends by way of another one only if that one is told whether a packet was handed on before, which VXLAN does not.
func TestT29_T25_NobodySendsByWayOfAGatewayThatIsSentVXLAN(t *testing.T) {
	ar, err := txtar.ParseFile("testdata/edges.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for encaps, want := range map[string]int{"geneve": 3, "geneve,vxlan": 3, "vxlan": 0, "vxlan,geneve": 0} {
		w := parse(t, section(ar, "intent")+"\ngateway edge2 192.168.1.13 "+encaps+"\nwatched edge1 alice 13\nwatched edge1 edge2 12\n")
		_, _, groups := flatten(t, compileFacts(w.see("edge1")))
		ways := 0 // to alice
		for _, g := range groups {
			if strings.Contains(g.String(), "192.168.1.10->tun_dst") && g.Type == of.GroupFastFailover {
				ways = len(g.Buckets)
			}
		}
		if ways != want {
			t.Errorf("with edge2 offering %s, edge1 has %d ways to alice, want %d", encaps, ways, want)
		}
	}
}
