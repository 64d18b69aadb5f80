package sim_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"tuplenet/flows/of"
	"tuplenet/flows/sim"
)

// build makes a switch whose port 1 is a tunnel from the text of flows, one a line.
func build(t *testing.T, groups []of.Group, text string) *sim.Switch {
	t.Helper()
	s, err := sim.New(sim.Config{Flows: parse(t, text), Groups: groups, Tunnels: []uint32{1}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func parse(t *testing.T, text string) []of.Flow {
	t.Helper()
	var flows []of.Flow
	for line := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
		f, err := of.ParseFlow(strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		flows = append(flows, f)
	}
	return flows
}

// packet builds a packet from the text of a match.
func packet(t *testing.T, text string) sim.Packet {
	t.Helper()
	m, err := of.ParseMatch(text)
	if err != nil {
		t.Fatal(err)
	}
	p := sim.Packet{Length: 98}
	for _, term := range m {
		p.Set(term.Field, term.Value)
	}
	return p
}

// verdict renders outputs: port numbers, and what is asked for of each copy.
func verdict(tr sim.Trace, show ...of.Field) string {
	if tr.Err != nil {
		return "error: " + tr.Err.Error()
	}
	var out []string
	for _, o := range tr.Outputs {
		s := fmt.Sprint(o.Port)
		if o.Port == of.PortController {
			s = fmt.Sprintf("controller(%x)", o.Punt.Userdata)
		}
		for _, f := range show {
			s += "," + of.Eq(f, o.Packet.Get(f)).String()
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

const icmp = "icmp,ip_src=10.0.0.1,ip_dst=10.0.0.2,nw_ttl=64,icmp_type=8"

// What each kind of action does to a packet. The verdicts were checked with ofproto/trace of Open vSwitch 3.1.
func TestActions(t *testing.T) {
	for _, c := range []struct {
		name, flows, packet string
		show                []of.Field
		want                string
	}{
		{"the highest priority wins", "table=0,priority=1 actions=output:5\ntable=0,priority=2,ip actions=output:6", icmp, nil, "6"},
		{"a flow without actions drops", "table=0,priority=1 actions=output:5\ntable=0,priority=2,ip actions=drop", icmp, nil, ""},
		{"a table without a flow for the packet drops", "table=0,arp actions=output:5", icmp, nil, ""},
		{"never out of the in-port", "table=0 actions=output:9,output:5", icmp, nil, "5"},
		{"out of the in-port when asked for", "table=0 actions=IN_PORT", icmp, nil, "9"},
		{"out of the in-port once in_port is overwritten", "table=0 actions=set_field:0->in_port,output:9,IN_PORT", icmp, nil, "9"},
		{"set_field of some bits", "table=0 actions=set_field:0xff/0xf0->reg3,output:5", icmp, []of.Field{of.Reg3}, "5,reg3=0xf0"},
		{"set_field that the packet has no place for", "table=0,udp actions=set_field:7->udp_dst,output:5", "udp,ip_frag=later", []of.Field{of.UDPDst}, "5,udp_dst=0"},
		{"a later fragment has no ports", "table=0,priority=1,udp,udp_dst=53 actions=output:5\ntable=0,priority=0 actions=output:6", "udp,ip_frag=later,udp_dst=53", nil, "6"},
		{"a lookup finds no ports in a first fragment either", "table=0,priority=1,udp,udp_dst=53 actions=output:5\ntable=0,priority=0,udp actions=set_field:54->udp_dst,output:6", "udp,ip_frag=first,udp_dst=53", []of.Field{of.UDPDst}, "6,udp_dst=54"},
		{"registers overlap", "table=0 actions=set_field:0x1122334455667788->xreg1,output:5", icmp, []of.Field{of.Reg2, of.Reg3, of.XXReg0}, "5,reg2=0x11223344,reg3=0x55667788,xxreg0=0x1122334455667788"},
		{"copy_field", "table=0,ip actions=move:NXM_OF_IP_SRC[]->NXM_NX_REG0[],output:5", icmp, []of.Field{of.Reg0}, "5,reg0=0xa000001"},
		{"changes outlive a resubmit", "table=0 actions=resubmit(,2),output:5\ntable=2 actions=set_field:3->reg1", icmp, []of.Field{of.Reg1}, "5,reg1=0x3"},
		{"a resubmit's in-port is for the lookup only", "table=0 actions=resubmit(7,2)\ntable=2,in_port=7 actions=IN_PORT", icmp, nil, "9"},
		{"goto", "table=0 actions=output:4,goto_table:2\ntable=2 actions=output:5", icmp, nil, "4 5"},
		{"dec_ttl", "table=0,ip actions=dec_ttl,output:5", icmp, []of.Field{of.IPTTL}, "5,nw_ttl=63"},
		{"dec_ttl of the last hop ends the list", "table=0,ip actions=set_field:1->nw_ttl,dec_ttl,output:5", icmp, nil, ""},
		{"push and pop", "table=0 actions=set_field:5->reg0,push:NXM_NX_REG0[],set_field:6->reg0,pop:NXM_NX_REG1[],output:5", icmp, []of.Field{of.Reg0, of.Reg1}, "5,reg0=0x6,reg1=0x5"},
		{"clone leaves no trace", "table=0 actions=clone(set_field:5->reg0,output:4),output:5", icmp, []of.Field{of.Reg0}, "4,reg0=0x5 5,reg0=0x0"},
		{"a packet that is larger", "table=0 actions=check_pkt_larger(97)->reg0[0],output:5", icmp, []of.Field{of.Reg0}, "5,reg0=0x1"},
		{"a packet that fits", "table=0 actions=check_pkt_larger(98)->reg0[0],output:5", icmp, []of.Field{of.Reg0}, "5,reg0=0x0"},
		{"to the controller", "table=0 actions=controller(userdata=02,max_len=65535)", icmp, nil, "controller(02)"},
		{"into a tunnel", "table=0 actions=set_field:1.2.3.4->tun_dst,set_field:5->tun_id,output:1", icmp, []of.Field{of.TunDst, of.TunID}, "1,tun_dst=1.2.3.4,tun_id=0x5"},
		{"into a tunnel that leads nowhere", "table=0 actions=output:1", icmp, nil, ""},
		{"into a tunnel that leads back here", "table=0 actions=output:1", "tun_dst=1.2.3.4," + icmp, nil, ""},
		{"endless resubmits", "table=0 actions=resubmit(,0),output:5", icmp, nil, "error: table 0: more than 64 nested lookups"},
		{"a bomb of resubmits", "table=0 actions=resubmit(,1),resubmit(,1)\n" + bomb(1, 14), icmp, nil, "error: table 14: more than 4096 lookups"},
		{"a tracked copy goes on after everything else, the packet itself untracked", "table=0,ip actions=set_field:3->reg1,ct(table=1,zone=7),set_field:4->reg1,output:5\ntable=1 actions=output:6", icmp, []of.Field{of.Reg1, of.CTState, of.CTZone}, "5,reg1=0x4,ct_state=0x0,ct_zone=0x0 6,reg1=0x3,ct_state=0x21,ct_zone=0x7"},
		{"ct_clear", "table=0,ip actions=ct(table=1,zone=7)\ntable=1 actions=ct_clear,output:6", icmp, []of.Field{of.CTState, of.CTZone}, "6,ct_state=0x0,ct_zone=0x0"},
		{"a reply to nothing is invalid", "table=0,ip actions=ct(table=1,nat)\ntable=1 actions=output:6", "icmp,icmp_type=0", []of.Field{of.CTState}, "6,ct_state=0x30"},
		{"a query that nobody remembers changes nothing", "table=0,ip actions=ct(table=1,nat)\ntable=1 actions=ct(table=2,commit,nat(src=1.1.1.1))\ntable=2 actions=output:6", icmp, []of.Field{of.IPSrc}, "6,ip_src=1.1.1.1"},
		{"endless recirculation", "table=0,ip actions=ct(table=0)", icmp, nil, "error: table 0: more than 6 recirculations"},
		{"fragments are not tracked", "table=0,ip actions=ct(table=1)\ntable=1 actions=drop", "udp,ip_frag=first", nil, "error: table 0: connection tracking of fragments is not simulated"},
		{"ICMP errors are not tracked", "table=0,ip actions=ct(table=1)\ntable=1 actions=drop", "icmp,icmp_type=3", nil, "error: table 0: connection tracking of ICMP errors is not simulated"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := build(t, nil, c.flows).Run(packet(t, c.packet), 9)
			if got := verdict(tr, c.show...); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// bomb doubles the lookups with every table.
func bomb(first, last int) string {
	var lines []string
	for i := first; i < last; i++ {
		lines = append(lines, fmt.Sprintf("table=%d actions=resubmit(,%d),resubmit(,%d)", i, i+1, i+1))
	}
	return strings.Join(append(lines, fmt.Sprintf("table=%d actions=drop", last)), "\n")
}

// Buckets are action sets on copies of the packet: fields first, then only one of the actions that finish its way.
func TestGroupAll(t *testing.T) {
	g := of.Group{ID: 1, Type: of.GroupAll, Buckets: []of.Bucket{
		{Actions: []of.Action{of.Output{Port: 4}, of.SetReg(of.Reg0, 1), of.Output{Port: 5}}},
		{Actions: []of.Action{of.SetReg(of.Reg1, 2), of.ResubmitTable(3)}},
	}}
	sw := build(t, []of.Group{g}, "table=0 actions=group:1,output:7\ntable=3 actions=output:6")
	tr := sw.Run(packet(t, icmp), 9)
	if got, want := verdict(tr, of.Reg0, of.Reg1), "5,reg0=0x1,reg1=0x0 6,reg0=0x0,reg1=0x2 7,reg0=0x0,reg1=0x0"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A select group sends the same packet the same way, spreads different ones by weight, and moves nothing but what went
// to a bucket that died.
func TestGroupSelect(t *testing.T) {
	g := of.Group{ID: 1, Type: of.GroupSelect, Hash: &of.HashSelection{Method: of.MethodHash, Fields: []of.Field{of.IPDst}}}
	for i := uint32(1); i <= 3; i++ {
		g.Buckets = append(g.Buckets, of.Bucket{ID: i, Weight: 1, WatchPort: 10 + i, Actions: []of.Action{of.Output{Port: 20 + i}}})
	}
	flows := parse(t, "table=0 actions=group:1")
	choices := func(down ...uint32) (ports []uint32) {
		sw, err := sim.New(sim.Config{Flows: flows, Groups: []of.Group{g}, Down: down})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 300 {
			p := packet(t, icmp).With(of.IPDst, of.U(uint64(i)))
			for range 2 {
				tr := sw.Run(p, 9)
				if len(tr.Outputs) != 1 {
					t.Fatalf("%d outputs", len(tr.Outputs))
				}
				ports = append(ports, tr.Outputs[0].Port)
			}
			if n := len(ports); ports[n-1] != ports[n-2] {
				t.Fatal("the same packet took two ways")
			}
		}
		return ports
	}
	before, after := choices(), choices(12)
	count := map[uint32]int{}
	for i, p := range before {
		count[p]++
		if p != 22 && after[i] != p || after[i] == 22 {
			t.Fatalf("packet %d went to %d, and to %d after bucket 22 died", i/2, p, after[i])
		}
	}
	for p := uint32(21); p <= 23; p++ {
		if count[p] < 120 || count[p] > 280 {
			t.Errorf("bucket %d got %d of 600", p, count[p])
		}
	}
}

// A bucket that watches a group is alive as long as one of that group is; so all ways are used when none is alive, each destination the
// same one as when all were.
func TestGroupsThatWatchGroups(t *testing.T) {
	group := func(id uint32, watch bool) of.Group {
		g := of.Group{ID: id, Type: of.GroupSelect, Hash: &of.HashSelection{Method: of.MethodHash, Fields: []of.Field{of.IPDst}}}
		for i := uint32(1); i <= 3; i++ {
			b := of.Bucket{ID: i, Weight: 1, Actions: []of.Action{of.Output{Port: 20 + i}}}
			if watch {
				b.WatchPort = 10 + i
			}
			g.Buckets = append(g.Buckets, b)
		}
		return g
	}
	to := func(id uint32) of.Bucket {
		return of.Bucket{WatchGroup: id, Actions: []of.Action{of.GroupAction{ID: id}}}
	}
	groups := []of.Group{group(1, true), group(2, false), {ID: 3, Type: of.GroupFastFailover, Buckets: []of.Bucket{to(1), to(2)}}}
	flows := parse(t, "table=0 actions=group:3")
	ways := func(down ...uint32) (ports []uint32) {
		sw, err := sim.New(sim.Config{Flows: flows, Groups: groups, Down: down})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 30 {
			tr := sw.Run(packet(t, icmp).With(of.IPDst, of.U(uint64(i))), 9)
			if len(tr.Outputs) != 1 {
				t.Fatalf("down %v: %d outputs", down, len(tr.Outputs))
			}
			ports = append(ports, tr.Outputs[0].Port)
		}
		return ports
	}
	all := ways()
	if got := ways(11, 12, 13); !slices.Equal(got, all) {
		t.Errorf("with none alive %v, with all %v", got, all)
	}
	if got := ways(12); slices.Contains(got, 22) || !slices.Contains(all, 22) {
		t.Errorf("one is down, and used: %v", got)
	}
	if _, err := sim.New(sim.Config{Flows: flows, Groups: groups[1:]}); err == nil || !strings.Contains(err.Error(), "group 0x1 does not exist") {
		t.Errorf("without the group that is watched: %v", err)
	}
}

// What a real switch refuses is refused, and flows of the same priority that disagree are pointed out.
func TestDefectsOfFlowSets(t *testing.T) {
	for want, flows := range map[string]string{
		"two flows for the same packets": "table=0,ip actions=drop\ntable=0,ip actions=output:1",
		"table 7 has no flows":           "table=0 actions=goto_table:7",
		"group 0x5 does not exist":       "table=0 actions=group:5",
	} {
		if _, err := sim.New(sim.Config{Flows: parse(t, flows)}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	for flows, ambiguous := range map[string]bool{
		"table=0,ip actions=output:3\ntable=0,eth_src=00:00:00:00:00:00 actions=output:4":                                               true,
		"table=0,ip actions=output:3\ntable=0,eth_src=00:00:00:00:00:00 actions=output:3":                                               false,
		"table=0,ip actions=output:3\ntable=0,eth_src=00:00:00:00:00:00 actions=output:4\ntable=0,priority=40000,icmp actions=output:3": false,
	} {
		tr := build(t, nil, flows).Run(packet(t, icmp), 9)
		if got := tr.Last().Other != nil; got != ambiguous {
			t.Errorf("ambiguous is %t for\n%s", got, flows)
		}
	}
}

// A packet crosses the underlay with what is on the wire and nothing else.
func TestNetCarriesPacketsBetweenNodes(t *testing.T) {
	a := build(t, nil, "table=0,in_port=9 actions=set_field:5->tun_id,set_field:6->reg0,set_field:7->metadata,set_field:10.0.0.2->tun_dst,output:1")
	b := build(t, nil, "table=0,in_port=1,tun_src=10.0.0.1,tun_id=0x5,reg0=0,metadata=0 actions=output:8,set_field:0->in_port,set_field:10.0.0.3->tun_dst,output:1")
	net := sim.Net{
		"a": {Switch: a, Tunnel: 1, IPs: []netip.Addr{netip.MustParseAddr("10.0.0.1")}},
		"b": {Switch: b, Tunnel: 1, IPs: []netip.Addr{netip.MustParseAddr("2001:db8::2"), netip.MustParseAddr("10.0.0.2")}},
	}
	w := net.Send("a", 9, packet(t, icmp))
	if w.Err != nil || len(w.Hops) != 2 || len(w.Delivered) != 1 || len(w.Lost) != 1 {
		t.Fatalf("got %+v", w)
	}
	if d := w.Delivered[0]; d.Node != "b" || d.Port != 8 || w.Hops[d.Hop].From != 0 {
		t.Errorf("delivered to %s port %d", d.Node, d.Port)
	}
	// Two nodes that throw a packet to and fro are noticed.
	ping := func(dst string) *sim.Switch {
		return build(t, nil, "table=0 actions=set_field:0->in_port,set_field:"+dst+"->tun_dst,output:1")
	}
	net["a"] = sim.Node{Switch: ping("10.0.0.2"), Tunnel: 1, IPs: net["a"].IPs}
	net["b"] = sim.Node{Switch: ping("10.0.0.1"), Tunnel: 1, IPs: net["b"].IPs}
	if w := net.Send("a", 9, packet(t, icmp)); w.Err == nil || !strings.Contains(w.Err.Error(), "loops") {
		t.Errorf("got %v", w.Err)
	}
}

// The match of a packet says all of it, and nothing that it does not have.
func TestPacketMatch(t *testing.T) {
	const text = "arp,in_port=3,metadata=0x7,arp_op=1,arp_spa=10.0.0.1,eth_src=f2:01:00:00:00:01"
	p := packet(t, text+",reg1=0x5")
	p.Set(of.TCPDst, of.U(80)) // an ARP packet has no port
	got := strings.Split(p.Match().String(), ",")
	want := strings.Split("arp,in_port=3,metadata=0x7,reg1=0x5,eth_src=f2:01:00:00:00:01,arp_op=1,arp_spa=10.0.0.1", ",")
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// What a packet misses by one field is told, the nearest first; flows below the one that acts, and flows about what the
// packet does not have, are no misses.
func TestNearMisses(t *testing.T) {
	sw := build(t, nil, `table=0,priority=10,ip,metadata=0x1,ip_dst=10.0.0.9 actions=output:1
table=0,priority=10,ip,metadata=0x1,ip_dst=10.0.0.2 actions=output:2
table=0,priority=10,ip,metadata=0x2,ip_dst=10.0.0.2 actions=output:3
table=0,priority=10,tcp,metadata=0x1,tcp_dst=80 actions=output:4
table=0,priority=1,ip,metadata=0x7 actions=output:5
table=0,priority=2 actions=drop`)
	p := packet(t, "icmp,metadata=0x1,ip_src=10.0.0.1,ip_dst=10.0.0.3,icmp_type=8")
	var got []string
	for _, m := range sw.NearMisses(0, p, 9) {
		got = append(got, fmt.Sprintf("%s %s", m.Flow.Match, m.Wants))
	}
	want := []string{"ip,metadata=0x1,ip_dst=10.0.0.2 ip_dst=10.0.0.2", "ip,metadata=0x1,ip_dst=10.0.0.9 ip_dst=10.0.0.9"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if n := len(sw.NearMisses(0, p, 1)); n != 1 {
		t.Errorf("%d misses, one was asked for", n)
	}
}

// What the learn action does to later packets; datapath/ofconn has the same against Open vSwitch.
func TestLearn(t *testing.T) {
	const learns = `table=0,in_port=9 actions=learn(table=2,priority=7,delete_learned,cookie=0x1,limit=2,metadata=0x0,eth_dst[]=eth_src[],load:0x9->reg1[0..15]),resubmit(,2),output:reg1[0..15]
table=0,in_port=8 actions=learn(table=2,priority=7,delete_learned,cookie=0x2,limit=2,metadata=0x0,eth_dst[]=eth_src[],load:0x8->reg1[0..15]),resubmit(,2),output:reg1[0..15]
table=2,priority=0 actions=set_field:7->reg1`
	steps := []struct {
		port uint32
		macs string
		want string
	}{
		{9, "eth_src=00:00:00:00:00:01,eth_dst=00:00:00:00:00:02", "7"},
		{8, "eth_src=00:00:00:00:00:02,eth_dst=00:00:00:00:00:01", "9"},
		{9, "eth_src=00:00:00:00:00:01,eth_dst=00:00:00:00:00:02", "8"},
		{8, "eth_src=00:00:00:00:00:01,eth_dst=00:00:00:00:00:05", "7"}, // moves
		{9, "eth_src=00:00:00:00:00:03,eth_dst=00:00:00:00:00:01", "8"},
		{8, "eth_src=00:00:00:00:00:04,eth_dst=00:00:00:00:00:03", "9"}, // is one too many
		{9, "eth_src=00:00:00:00:00:03,eth_dst=00:00:00:00:00:04", "7"},
	}
	sw := build(t, nil, learns)
	for i, s := range steps {
		if got := verdict(sw.Run(packet(t, s.macs), s.port)); got != s.want {
			t.Errorf("packet %d: got %q, want %q", i, got, s.want)
		}
	}
	static, err := sim.New(sim.Config{Flows: parse(t, learns), Static: true})
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range steps {
		if got := verdict(static.Run(packet(t, s.macs), s.port)); got != "7" {
			t.Errorf("packet %d, nothing learnt: got %q", i, got)
		}
	}
}
