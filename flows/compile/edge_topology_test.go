package compile_test

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"tuplenet/flows/compile"
	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
	"tuplenet/flows/sim"
	"tuplenet/model"
)

// edges is a world with a way to the physical network: workloads on switches behind one distributed router, "LR", and
// behind that edge routers, each pinned to a gateway of the same number, that lead to one LAN outside.
type edges struct {
	*world
	inside []*model.LogicalSwitchPort
	// count is how many edges there are, numbered from 1.
	count int
	v4    bool
	v6    bool
}

// Stations on the LAN: a host, and the router that everything else is behind.
var (
	lanHost   = [2]netip.Addr{netip.MustParseAddr("192.168.1.99"), netip.MustParseAddr("2001:db8:ffff::99")}
	lanRouter = [2]netip.Addr{netip.MustParseAddr("192.168.1.1"), netip.MustParseAddr("2001:db8:ffff::1")}
	insideNet = [2]netip.Prefix{netip.MustParsePrefix("10.20.0.0/16"), netip.MustParsePrefix("2001:db8:20::/48")}
	anywhere  = [2]netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
)

var lanMACs = []model.MAC{{2, 0, 0, 0, 0, 0x99}, {2, 0, 0, 0, 0, 1}}

// families are the indexes of the address families of the world: 0 is IPv4.
func (e *edges) families() (f []int) {
	if e.v4 {
		f = append(f, 0)
	}
	if e.v6 {
		f = append(f, 1)
	}
	return f
}

func family(ip netip.Addr) int {
	if ip.Is4() {
		return 0
	}
	return 1
}

// lanIP is the address number n on the LAN.
func lanIP(family, n int) netip.Addr {
	if family == 0 {
		return netip.AddrFrom4([4]byte{192, 168, 1, byte(n)})
	}
	a := lanHost[1].As16()
	a[14], a[15] = 0, byte(n)
	return netip.AddrFrom16(a)
}

// far are addresses behind the LAN's router.
func far(family, n int) netip.Addr {
	if family == 0 {
		return netip.AddrFrom4([4]byte{203, 0, 113, byte(n)})
	}
	return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0xaa, 15: byte(n)})
}

// networks joins the networks of those families that the world has.
func (e *edges) networks(v4, v6 string) string {
	var n []string
	if e.v4 {
		n = append(n, v4)
	}
	if e.v6 {
		n = append(n, v6)
	}
	return strings.Join(n, ",")
}

// anyEdges draws a deployment with one to three edges, IPv4, IPv6 or both; workloads on hosts and on gateways; source
// translation of everything, of everything inside, of one network, or none; floating and destination-only addresses of some workloads.
func anyEdges(t *rapid.T) *edges {
	e := &edges{world: newWorld(), count: rapid.IntRange(1, 3).Draw(t, "edges")}
	families := rapid.IntRange(1, 3).Draw(t, "families")
	e.v4, e.v6 = families&1 != 0, families&2 != 0
	e.must("router LR 2")
	var hosts []string
	for i := range rapid.IntRange(1, 3).Draw(t, "hosts") {
		hosts = append(hosts, fmt.Sprintf("hv%d", i))
		e.must(fmt.Sprintf("chassis hv%d 192.0.2.%d", i, i+1))
	}
	for i := 1; i <= e.count; i++ {
		e.must(fmt.Sprintf("gateway edge%d 192.0.2.%d", i, 3+i))
	}
	sameTransit := rapid.Bool().Draw(t, "one transit network")
	switches := rapid.IntRange(1, 2).Draw(t, "switches")
	for i := range switches {
		e.must(fmt.Sprintf("switch S%d %d", i, 10+i), fmt.Sprintf("link LR S%d %s", i, e.networks(fmt.Sprintf("10.20.%d.1/24", i), fmt.Sprintf("2001:db8:20:%d::1/64", i))))
	}
	for i := 1; i <= e.count; i++ {
		e.anyEdge(t, i, sameTransit)
		hosts = append(hosts, fmt.Sprintf("edge%d", i))
	}
	for n := range rapid.IntRange(2, 5).Draw(t, "workloads") {
		sw, name := rapid.IntRange(0, switches-1).Draw(t, "switch"), fmt.Sprintf("p%d", n)
		ips := e.networks(fmt.Sprintf("10.20.%d.%d", sw, 10+n), fmt.Sprintf("2001:db8:20:%d::%x", sw, 10+n))
		e.must(fmt.Sprintf("port S%d %s f2:01:00:00:00:%02x %s", sw, name, 10+n, ips), "bind "+name+" "+one(t, "on", hosts))
		p := fact[*model.LogicalSwitchPort](e.world, model.Ref{Kind: model.KindSwitchPort, Parent: fmt.Sprintf("S%d", sw), Name: name})
		e.inside = append(e.inside, p)
		e.anyExternal(t, n, p)
	}
	if e.count == 3 { // a workload right on the LAN, on another edge than the one that leads there
		e.must("port o1 on-lan f2:01:00:00:00:99", "bind on-lan edge2")
	}
	e.anyEncaps(t)
	e.meet()
	return e
}

func (e *edges) must(lines ...string) {
	for _, l := range lines {
		if err := e.command(strings.Fields(l)); err != nil {
			panic(fmt.Sprintf("%q: %v", l, err))
		}
	}
}

// anyEdge adds the way through edge i, with or without source translation.
func (e *edges) anyEdge(t *rapid.T, i int, sameTransit bool) {
	transit := i
	if sameTransit {
		transit = 0
	}
	lr, m, o := fmt.Sprintf("LR%d", i), fmt.Sprintf("m%d", i), fmt.Sprintf("o%d", i)
	e.must(
		fmt.Sprintf("router %s %d edge%d", lr, 100+i, i),
		fmt.Sprintf("switch %s %d", m, 20+i), fmt.Sprintf("switch %s %d", o, 30+i),
		fmt.Sprintf("link LR %s %s", m, e.networks(fmt.Sprintf("100.64.%d.%d/24", transit, 100+i), fmt.Sprintf("fd64:%d::%d/64", transit, 100+i))),
		fmt.Sprintf("link %s %s %s", lr, m, e.networks(fmt.Sprintf("100.64.%d.2/24", transit), fmt.Sprintf("fd64:%d::2/64", transit))),
		fmt.Sprintf("link %s %s %s", lr, o, e.networks(fmt.Sprintf("192.168.1.%d/24", 20+i), fmt.Sprintf("2001:db8:ffff::%x/64", 20+i))),
		fmt.Sprintf("port %s %s-patch ff:ff:ff:ff:ff:ee patch", o, o),
		fmt.Sprintf("bind %s-patch edge%d", o, i),
	)
	for _, f := range e.families() {
		hop, back := fmt.Sprintf("100.64.%d.2", transit), fmt.Sprintf("100.64.%d.%d", transit, 100+i)
		if f == 1 {
			hop, back = fmt.Sprintf("fd64:%d::2", transit), fmt.Sprintf("fd64:%d::%d", transit, 100+i)
		}
		e.must(
			fmt.Sprintf("route LR out%d-%d %s %s LR_to_%s", i, f, anywhere[f], hop, m),
			fmt.Sprintf("route %s in-%d %s %s %s_to_%s", lr, f, insideNet[f], back, lr, m),
			fmt.Sprintf("route %s out-%d %s %s %s_to_%s", lr, f, anywhere[f], lanRouter[f], lr, o),
		)
		of := insideNet[f]
		switch rapid.IntRange(0, 4).Draw(t, "source translation") {
		case 0:
			continue
		case 2:
			of = anywhere[f]
		case 1:
			of = netip.PrefixFrom(of.Addr(), [2]int{24, 64}[f])
		}
		e.must(fmt.Sprintf("nat %s snat-%d %s snat %s", lr, f, of, lanIP(f, 30+i)))
	}
}

// anyExternal gives a workload addresses outside, at up to two edges a family.
func (e *edges) anyExternal(t *rapid.T, n int, p *model.LogicalSwitchPort) {
	for _, ip := range p.IPs {
		for i, at := range rapid.SliceOfNDistinct(rapid.IntRange(1, e.count), 0, min(2, e.count), rapid.ID).Draw(t, "external at") {
			e.put(&model.NATRule{Router: fmt.Sprintf("LR%d", at), Name: fmt.Sprintf("%s-%d", p.Name, family(ip)),
				Type:   one(t, "external", []model.NATType{model.NATFloating, model.NATDestination}),
				Prefix: netip.PrefixFrom(ip, ip.BitLen()), External: lanIP(family(ip), 40+20*i+n)})
		}
	}
}

// anyEncaps lets some chassis be sent VXLAN: any but those with a workload that has external addresses at several edges, where
// connections could not be told apart.
func (e *edges) anyEncaps(t *rapid.T) {
	several := map[string]bool{}
	for _, p := range e.inside {
		for _, ip := range p.IPs {
			at := map[string]bool{}
			for _, n := range objects[*model.NATRule](e.world) {
				if n.FromOutside() && n.Prefix.Addr() == ip {
					at[n.Router] = true
				}
			}
			if chassis, _ := e.where(p.Name); len(at) > 1 {
				several[chassis] = true
			}
		}
	}
	for _, name := range e.chassis() {
		if encaps := one(t, "encaps", someEncaps); !several[name] {
			c := *e.chassisOf(name)
			c.Encaps = encaps
			e.put(&c)
		}
	}
}

// meet lets everybody on the LAN know everybody else, and every chassis watch the gateways.
func (e *edges) meet() {
	for i := 1; i <= e.count; i++ {
		at, lr := fmt.Sprintf("edge%d", i), fmt.Sprintf("LR%d", i)
		learn := func(ip netip.Addr, mac model.MAC) {
			e.learnt[at] = append(e.learnt[at], compile.Neighbour{Router: lr, Port: fmt.Sprintf("%s_to_o%d", lr, i), IP: ip, MAC: mac})
		}
		for _, f := range e.families() {
			learn(lanHost[f], lanMACs[0])
			learn(lanRouter[f], lanMACs[1])
		}
		for _, n := range objects[*model.NATRule](e.world) {
			if n.Router != lr {
				learn(n.External, e.outside(n.Router).MAC)
			}
		}
		for _, c := range e.chassis() {
			if c != at {
				e.must(fmt.Sprintf("watched %s %s %d", c, at, e.watchPort(at)), fmt.Sprintf("watched %s %s %d", at, c, e.watchPort(c)))
			}
		}
	}
}

// watchPort is the port by which others watch a chassis.
func (e *edges) watchPort(chassis string) int { return 110 + slices.Index(e.chassis(), chassis) }

// outside is the port of an edge router on the LAN.
func (e *edges) outside(lr string) *model.LogicalRouterPort {
	name := lr + "_to_o" + strings.TrimPrefix(lr, "LR")
	return fact[*model.LogicalRouterPort](e.world, model.Ref{Kind: model.KindRouterPort, Parent: lr, Name: name})
}

// gatewayMAC is where a workload sends what is not on its switch.
func (e *edges) gatewayMAC(p *model.LogicalSwitchPort) model.MAC {
	return fact[*model.LogicalRouterPort](e.world, model.Ref{Kind: model.KindRouterPort, Parent: "LR", Name: "LR_to_" + p.Switch}).MAC
}

// owns is the workload with an address.
func (e *edges) owns(ip netip.Addr) *model.LogicalSwitchPort {
	for _, p := range e.inside {
		if slices.Contains(p.IPs, ip) {
			return p
		}
	}
	return nil
}

// journey is what became of a packet when it, or what it was translated to, stopped.
type journey struct {
	who    string // workload, "outside", or what the switch did
	packet sim.Packet
	edges  []string // the edge routers on its way
	passes int      // visits to connection tracking
	walks  []sim.Walk
}

// travel sends a packet from a port and carries it over the LAN, until somebody has it.
func (e *edges) travel(n *network, port string, p sim.Packet) journey {
	n.t.Helper()
	var j journey
	for range 4 {
		w := n.send(port, p)
		j.note(w)
		for again, ok := e.renumber(n, w); ok; again, ok = e.renumber(n, w) {
			w = again
			j.note(w)
		}
		if len(w.Delivered) != 1 || len(w.Punted) > 0 {
			j.who = n.fate(w)
			return j
		}
		d := w.Delivered[0]
		j.who, j.packet = n.portAt(d.Node, d.Port), d.Packet
		if !strings.HasSuffix(j.who, "-patch") {
			return j
		}
		port, p = "", onTheLAN(d.Packet)
		for i := 1; i <= e.count; i++ {
			if e.outside(fmt.Sprintf("LR%d", i)).MAC == model.MAC(p.Get(of.EthDst).MAC()) {
				port = fmt.Sprintf("o%d-patch", i)
			}
		}
		if port == "" {
			j.who = "outside"
			return j
		}
	}
	n.t.Fatalf("the packet does not leave the LAN\n%s", e.tell(n, j))
	return j
}

// note keeps a walk of the packet.
func (j *journey) note(w sim.Walk) {
	j.walks = append(j.walks, w)
	for _, h := range w.Hops {
		j.passes += len(h.Trace.Passes) - 1
		for _, s := range h.Trace.Steps {
			if at := s.Packet.Get(of.Metadata).Lo; s.Table == pipeline.RouterIn.ID && at > 100 {
				j.edges = append(j.edges, fmt.Sprintf("LR%d", at-100))
			}
		}
	}
}

// renumber is what the daemon does with a ping that needs another identifier, or its own one back.
func (e *edges) renumber(n *network, w sim.Walk) (again sim.Walk, ok bool) {
	if len(w.Punted) != 1 || len(w.Delivered) > 0 {
		return again, false
	}
	a := w.Punted[0]
	field := func(f pipeline.Field) uint64 {
		return a.Packet.Get(f.Sub.Field).Shr(uint(f.Sub.Ofs)).Lo & (1<<f.Sub.Bits - 1)
	}
	q := onTheLAN(a.Packet)
	set := func(f pipeline.Field, v uint64) {
		q.Set(f.Sub.Field, q.Get(f.Sub.Field).Or(of.U(v).Shl(uint(f.Sub.Ofs))))
	}
	set(pipeline.Datapath, field(pipeline.Datapath))
	switch pipeline.Punt(a.Punt.Userdata[0]) {
	case pipeline.PuntPing:
		own, tries := uint64(q.ICMPID), field(pipeline.Tries)+1
		if tries > 1 {
			own = field(pipeline.PingID)
		}
		src, _ := ends(q)
		b := src.AsSlice()
		q.ICMPID = uint16(own+1000*tries) + uint16(b[len(b)-1])%2*10000 // so that the first try fails now and then
		for f, v := range map[pipeline.Field]uint64{pipeline.OutPort: field(pipeline.OutPort), pipeline.Routed: 1,
			pipeline.FromEdge: field(pipeline.FromEdge), pipeline.PingID: own, pipeline.Renumbered: 1, pipeline.Tries: tries} {
			set(f, v)
		}
		return n.resume(a.Node, pipeline.SNAT, q), true
	case pipeline.PuntPingReply:
		q.ICMPID = uint16(field(pipeline.PingID))
		set(pipeline.InPort, field(pipeline.InPort))
		set(pipeline.Restored, 1)
		return n.resume(a.Node, pipeline.DNAT, q), true
	}
	return again, false
}

// onTheLAN is what of a packet is on the wire.
func onTheLAN(p sim.Packet) sim.Packet {
	q := sim.Packet{Length: p.Length, ICMPID: p.ICMPID}
	for f := of.EthSrc; f < of.CTNwProto; f++ {
		q.Set(f, p.Get(f))
	}
	return q
}

func (e *edges) tell(n *network, j journey) string {
	var b strings.Builder
	rules := objects[*model.NATRule](e.world)
	slices.SortFunc(rules, func(a, b *model.NATRule) int { return cmp.Compare(a.Router, b.Router) })
	for _, r := range rules {
		fmt.Fprintf(&b, "%s: %s %s %s\n", r.Router, r.Type, r.Prefix, r.External)
	}
	for _, w := range j.walks {
		b.WriteString(n.story(w))
	}
	return b.String()
}
