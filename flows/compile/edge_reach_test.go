package compile_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
	"tuplenet/flows/sim"
	"tuplenet/model"
)

// What ought to happen at the edges, said of the model alone.

// source is what a new packet's source becomes at an edge.
func (e *edges) source(lr string, src netip.Addr) netip.Addr {
	best, became := -1, src
	for _, r := range objects[*model.NATRule](e.world) {
		if r.Router == lr && r.Type != model.NATDestination && r.Prefix.Contains(src) && r.Prefix.Bits() > best {
			best, became = r.Prefix.Bits(), r.External
		}
	}
	return became
}

// target is the edge that translates an external address for connections from outside, and the address inside.
func (e *edges) target(external netip.Addr) (lr string, inside netip.Addr) {
	for _, r := range objects[*model.NATRule](e.world) {
		if r.FromOutside() && r.External == external {
			return r.Router, r.Prefix.Addr()
		}
	}
	return "", netip.Addr{}
}

// home is the edge by which connections of a workload with external addresses leave.
func (e *edges) home(src netip.Addr) string {
	for _, r := range objects[*model.NATRule](e.world) {
		if r.FromOutside() && r.Prefix.Addr() == src {
			return r.Router
		}
	}
	return ""
}

// fate is what becomes of the first packet of a connection.
type fate struct {
	who      string
	src, dst netip.Addr
	edges    []string
	ttl      int
}

func (f fate) String() string {
	return fmt.Sprintf("%s, from %s to %s, ttl %d, through %v", f.who, f.src, f.dst, f.ttl, f.edges)
}

// fate says it of a packet of a workload, or of outside (nil); first is the edge by which it leaves if it does.
func (e *edges) fate(origin *model.LogicalSwitchPort, src, dst netip.Addr, first string) fate {
	f := fate{src: src, dst: dst, ttl: 64}
	if p := e.owns(dst); p != nil {
		f.who = p.Name
		if origin == nil || origin.Switch != p.Switch {
			f.ttl--
		}
		return f
	}
	cross := func(lr string) {
		f.edges, f.ttl = append(f.edges, lr), f.ttl-1
		asked, sender := f.dst, f.src
		if at, inside := e.target(f.dst); at == lr {
			f.dst = inside
		}
		f.src = e.source(lr, f.src)
		if asked != f.dst && f.src == sender && insideNet[family(sender)].Contains(sender) {
			f.src = asked // it would be answered past the edge
		}
	}
	at, _ := e.target(dst)
	if origin != nil {
		f.ttl-- // LR
		cross(first)
	}
	if at != "" && f.dst == dst {
		cross(at)
	}
	if p := e.owns(f.dst); p != nil {
		f.who, f.ttl = p.Name, f.ttl-1
		return f
	}
	f.who = "outside"
	return f
}

// anyConversation is the first packet of a conversation: a ping, with one of three identifiers, or UDP or TCP from one of two
// ports, so that they collide.
func anyConversation(t *rapid.T, id uint16, src model.MAC, from netip.Addr, dst model.MAC, to netip.Addr) sim.Packet {
	p := ping(src, from, dst, to)
	p.ICMPID = id % 3
	proto := one(t, "protocol", []uint64{1, 6, 17})
	if proto == 1 {
		return p
	}
	for _, f := range []of.Field{of.ICMPType, of.ICMPv6Type} {
		p.Set(f, of.U(0))
	}
	p.Set(of.IPProto, of.U(proto))
	ports := [2]of.Field{of.TCPSrc, of.TCPDst}
	if proto == 17 {
		ports = [2]of.Field{of.UDPSrc, of.UDPDst}
	}
	p.Set(ports[0], of.U(uint64(rapid.IntRange(5000, 5001).Draw(t, "source port"))))
	return p.With(ports[1], of.U(80))
}

// back is what a station answers, to where the packet came from.
func back(p sim.Packet) sim.Packet {
	r := pong(p)
	r.ICMPID = p.ICMPID
	for _, f := range [][2]of.Field{{of.TCPSrc, of.TCPDst}, {of.UDPSrc, of.UDPDst}} {
		if p.Has(f[0]) {
			r.Set(of.ICMPType, of.U(0))
			r.Set(of.ICMPv6Type, of.U(0))
			r.Set(f[0], p.Get(f[1]))
			r.Set(f[1], p.Get(f[0]))
		}
	}
	return r
}

func ends(p sim.Packet) (src, dst netip.Addr) {
	if p.Get(of.EthType).Lo == 0x0800 {
		return p.Get(of.IPSrc).Addr4(), p.Get(of.IPDst).Addr4()
	}
	return p.Get(of.IPv6Src).Addr6(), p.Get(of.IPv6Dst).Addr6()
}

// conversation tells conversations apart.
func conversation(p sim.Packet) string {
	src, dst := ends(p)
	return fmt.Sprint(" ", src, " to ", dst, " ", transport(p))
}

// transport is what tells connections between the same two addresses apart.
func transport(p sim.Packet) [3]uint64 {
	for _, f := range [][2]of.Field{{of.TCPSrc, of.TCPDst}, {of.UDPSrc, of.UDPDst}} {
		if p.Has(f[0]) {
			return [3]uint64{p.Get(of.IPProto).Lo, p.Get(f[0]).Lo, p.Get(f[1]).Lo}
		}
	}
	return [3]uint64{p.Get(of.IPProto).Lo, uint64(p.ICMPID), uint64(p.ICMPID)}
}

// On random deployments with edges, what goes out, comes in, or does both, arrives with the addresses that the model
// says, through the edges that it says, no two conversations look the same to whom they reach, and every answer comes
// back as from whom was asked.
func TestPacketsCrossEdgesAsTheModelSays(t *testing.T) {
	check(t, deployments, func(t *rapid.T) {
		e := anyEdges(t)
		n := e.build(t)
		looks := map[string]string{} // of whom it reached → as it was asked
		type answer struct {
			from   *model.LogicalSwitchPort // nil: outside
			asked  sim.Packet
			want   fate
			became journey
		}
		askedTo := map[string]netip.Addr{} // of whom it reached → the address that was asked
		var answers []answer
		for id := range uint16(rapid.IntRange(4, 14).Draw(t, "conversations")) {
			var a answer
			var port string
			a.from, port, a.asked = e.anyWay(t, id)
			a.became = e.travel(n, port, a.asked)
			a.want = e.compareFate(n, a.from, a.asked, a.became)
			asked, look := conversation(a.asked), a.became.who+conversation(a.became.packet)
			_, to := ends(a.asked)
			if looks[look] == "" {
				looks[look] = asked
			}
			if other := askedTo[look]; other.IsValid() && e.twoWays(other, to) {
				return // nothing tells the workload that these are two conversations
			}
			askedTo[look] = to
			if looks[look] != asked && e.owns(a.want.src) == nil {
				t.Fatalf("%s and %s look the same: %s\n%s", looks[look], asked, look, e.tell(n, a.became))
			}
			answers = append(answers, a)
		}
		for _, a := range answers {
			e.checkAnswered(n, a.from, a.asked, a.want, a.became)
		}
	})
}

// twoWays tells whether two external addresses are of one workload at two edges.
func (e *edges) twoWays(a, b netip.Addr) bool {
	at, one := e.target(a)
	by, other := e.target(b)
	return at != "" && by != "" && at != by && one == other
}

// anyWay draws a first packet, and where it enters: from a workload to another one, an external address, or the world;
// from outside to an external address.
func (e *edges) anyWay(t *rapid.T, id uint16) (src *model.LogicalSwitchPort, port string, p sim.Packet) {
	src = one(t, "source", e.inside)
	from := one(t, "source address", src.IPs)
	f := family(from)
	targets := []netip.Addr{lanHost[f], far(f, rapid.IntRange(1, 20).Draw(t, "far"))}
	var external []netip.Addr
	for _, r := range objects[*model.NATRule](e.world) {
		if r.FromOutside() && family(r.External) == f {
			external = append(external, r.External)
		}
	}
	if len(external) > 0 && rapid.IntRange(0, 2).Draw(t, "from outside") == 0 {
		dst := one(t, "external", external)
		lr, _ := e.target(dst)
		return nil, "o" + lr[2:] + "-patch", anyConversation(t, id, lanMACs[1], far(f, int(id)+100), e.outside(lr).MAC, dst)
	}
	for _, p := range e.inside {
		if p != src {
			targets = append(targets, p.IPs[slices.IndexFunc(p.IPs, func(ip netip.Addr) bool { return family(ip) == f })])
		}
	}
	dst := one(t, "to", append(targets, external...))
	mac := e.gatewayMAC(src)
	if p := e.owns(dst); p != nil && p.Switch == src.Switch {
		mac = p.MAC
	}
	return src, src.Name, anyConversation(t, id, src.MAC, from, mac, dst)
}

// compareFate compares where a first packet of a workload, or of outside (nil), went, and how, with what the model says;
// and that connection tracking was asked only where addresses are translated.
func (e *edges) compareFate(n *network, origin *model.LogicalSwitchPort, p sim.Packet, j journey) fate {
	n.t.Helper()
	from, to := ends(p)
	first := ""
	if len(j.edges) > 0 {
		first = j.edges[0]
	}
	if home := e.home(from); origin != nil && home != "" && first != "" && first != home {
		n.t.Fatalf("%s leaves through %s, want %s\n%s", from, first, home, e.tell(n, j))
	}
	want := e.fate(origin, from, to, first)
	src, dst := ends(j.packet)
	got := fate{who: j.who, src: src, dst: dst, edges: j.edges, ttl: int(j.packet.Get(of.IPTTL).Lo)}
	if got.String() != want.String() {
		n.t.Fatalf("got %v, want %v\npacket %s\n%s", got, want, p.String(), e.tell(n, j))
	}
	if len(want.edges) == 0 && j.passes > 0 {
		n.t.Fatalf("a packet that crosses no edge is tracked %d times\n%s", j.passes, e.tell(n, j))
	}
	if from == src && to == dst && e.home(from) == "" && j.passes > 0 {
		n.t.Fatalf("a packet that nothing translates is tracked %d times\n%s", j.passes, e.tell(n, j))
	}
	return want
}

// checkAnswered answers a packet. The answer arrives as from whom was asked.
func (e *edges) checkAnswered(n *network, from *model.LogicalSwitchPort, asked sim.Packet, want fate, j journey) {
	n.t.Helper()
	port := j.who
	if port == "outside" {
		port = "o" + want.edges[len(want.edges)-1][2:] + "-patch"
	}
	r := e.travel(n, port, back(j.packet))
	who := "outside"
	if from != nil {
		who = from.Name
	}
	src, dst := ends(r.packet)
	self, to := ends(asked)
	ports := transport(asked)
	ports[1], ports[2] = ports[2], ports[1]
	if r.who != who || src != to || dst != self || transport(r.packet) != ports {
		n.t.Fatalf("the answer reached %s from %s to %s %v, want %s from %s to %s %v\npacket %s\n%s\nanswer\n%s", r.who, src, dst, transport(r.packet), who, to, self, ports,
			asked.String(), e.tell(n, j), e.tell(n, r))
	}
	if who == "outside" && !slices.Equal(r.edges, want.edges) {
		n.t.Fatalf("came in through %v, went out through %v\n%s", want.edges, r.edges, e.tell(n, r))
	}
}

// A packet that may live no longer is answered by the daemon where it is: by the first router, or at the edge.
func TestPacketsExpireAtEdges(t *testing.T) {
	check(t, deployments/4, func(t *rapid.T) {
		e := anyEdges(t)
		n := e.build(t)
		for id := range uint16(6) {
			src, port, p := e.anyWay(t, id)
			whole := e.travel(n, port, p)
			hops := 64 - int(whole.packet.Get(of.IPTTL).Lo)
			for ttl := 1; ttl <= hops; ttl++ {
				p.Set(of.IPTTL, of.U(uint64(ttl)))
				j := e.travel(n, port, p)
				if want := fmt.Sprintf("punt %d", pipeline.PuntTTL); j.who != want {
					t.Fatalf("TTL %d of %d: %s, want %s\n%s", ttl, hops, j.who, want, e.tell(n, j))
				}
				if src != nil && ttl == 1 && len(j.edges) > 0 {
					t.Fatalf("expired beyond the first router\n%s", e.tell(n, j))
				}
			}
		}
	})
}

// Destinations keep their edge, many use all edges, and while one edge is down only its own move.
func TestEqualRoutesSpreadOverEdges(t *testing.T) {
	check(t, deployments/4, func(t *rapid.T) {
		e := anyEdges(t)
		n := e.build(t)
		src := one(t, "source", e.inside)
		from := one(t, "source address", src.IPs)
		home := e.home(from)
		chassis, _ := n.where(src.Name)
		ways := func() (edges []string) {
			for i := range 128 {
				j := e.travel(n, src.Name, ping(src.MAC, from, e.gatewayMAC(src), far(family(from), i)))
				if j.who != "outside" || len(j.edges) != 1 || home != "" && len(n.down) == 0 && j.edges[0] != home {
					t.Fatalf("%s through %v\n%s", j.who, j.edges, e.tell(n, j))
				}
				edges = append(edges, j.edges[0])
			}
			return edges
		}
		before := ways()
		if !slices.Equal(before, ways()) {
			t.Fatal("destinations change their edge")
		}
		for i := 1; i <= e.count; i++ {
			lr, port := fmt.Sprintf("LR%d", i), e.watched[chassis][fmt.Sprintf("edge%d", i)]
			if home == "" && !slices.Contains(before, lr) {
				t.Fatalf("nothing goes through %s", lr)
			}
			if port == 0 || e.count == 1 {
				continue // it is this one, or there is no other
			}
			n.down = []uint32{port}
			n.load(chassis, e.see(chassis))
			for d, now := range ways() {
				if now == lr || now != before[d] && before[d] != lr {
					t.Fatalf("destination %d: through %s, and %s while %s is down", d, before[d], now, lr)
				}
			}
			n.down = nil
			n.load(chassis, e.see(chassis))
		}
	})
}
