//go:build integration

package compile_test

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
	"pgregory.net/rapid"

	"tuplenet/datapath/ofconn"
	"tuplenet/datapath/ovstest"
	"tuplenet/flows/compile"
	"tuplenet/flows/memo"
	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
	"tuplenet/flows/sim"
	"tuplenet/model"
)

// oracle is a real switch that plays one chassis after the other.
type oracle struct {
	t       *testing.T
	sw      *ovstest.Switch
	session *ofconn.Session
	ctx     context.Context
	ports   map[string]uint32 // datapath port number → OpenFlow port of the integration bridge
}

const maxPorts = 16 // workload ports 101, 102, … as world numbers them

func newOracle(t *testing.T) *oracle {
	t.Helper()
	o := &oracle{t: t, sw: ovstest.Start(t, ovstest.Config{Bridge: "br-int", Tunnels: true}), ports: map[string]uint32{}}
	o.underlay()
	args := []string{"--", "add-port", "br-int", "tun", "--", "set", "interface", "tun", "type=geneve", "options:remote_ip=flow", "options:key=flow", fmt.Sprintf("ofport_request=%d", tunnelPort),
		"--", "add-port", "br-int", "vx", "--", "set", "interface", "vx", "type=vxlan", "options:remote_ip=flow", "options:key=flow", fmt.Sprintf("ofport_request=%d", vxlanPort)}
	for i := 1; i <= maxPorts; i++ {
		name := fmt.Sprintf("w%d", i)
		args = append(args, "--", "add-port", "br-int", name, "--", "set", "interface", name, "type=dummy", fmt.Sprintf("ofport_request=%d", 100+i))
	}
	o.sw.Vsctl(args...)
	o.numbers()
	o.connect()
	for _, m := range append(pipeline.MissMeters(), pipeline.Meters...) {
		o.must(o.session.SetMeter(o.ctx, m))
	}
	for i := uint32(1); i <= maxPorts; i++ {
		o.must(o.session.SetMeter(o.ctx, pipeline.PortMeter(100+i)))
		o.must(o.session.SetMeter(o.ctx, pipeline.StormMeter(100+i)))
	}
	o.must(o.session.AddTLV(o.ctx, []ofconn.TLV{{Class: pipeline.OptionClass, Type: pipeline.OptionType, Len: pipeline.OptionLen, Index: pipeline.OptionIndex}}))
	return o
}

func (o *oracle) must(err error) {
	o.t.Helper()
	if err != nil {
		o.t.Fatal(err)
	}
}

// underlay is a second bridge with routes and neighbours to the tunnel addresses of anyWorld and anyEdges.
func (o *oracle) underlay() {
	o.sw.Vsctl("add-br", "br-phy", "--", "set", "bridge", "br-phy", "datapath_type=dummy", "--", "add-port", "br-phy", "phy", "--", "set", "interface", "phy", "type=dummy")
	o.sw.Appctl("netdev-dummy/ip4addr", "br-phy", "192.0.2.200/24")
	o.sw.Appctl("netdev-dummy/ip6addr", "br-phy", "fd00::c8/64")
	o.sw.Appctl("ovs/route/add", "192.0.2.0/24", "br-phy")
	o.sw.Appctl("ovs/route/add", "fd00::/64", "br-phy")
	for i := 1; i <= 6; i++ {
		for _, ip := range []string{fmt.Sprintf("192.0.2.%d", i), fmt.Sprintf("fd00::%d", i)} {
			o.sw.Appctl("tnl/neigh/set", "br-phy", ip, fmt.Sprintf("aa:aa:aa:00:00:%02x", i))
		}
	}
}

var portLine = regexp.MustCompile(`^    (\S+) (\d+)/(\d+): `)

// numbers reads which number the datapath gave to the ports of the integration bridge.
func (o *oracle) numbers() {
	bridge := ""
	for line := range strings.Lines(o.sw.Appctl("dpif/show")) {
		if m := portLine.FindStringSubmatch(line); m != nil && bridge == "br-int" {
			var port uint32
			fmt.Sscan(m[2], &port)
			o.ports[m[3]] = port
		} else if name, ok := strings.CutSuffix(strings.TrimSpace(line), ":"); ok {
			bridge = name
		}
	}
	if len(o.ports) != maxPorts+3 {
		o.t.Fatalf("the datapath has ports %v", o.ports)
	}
}

func (o *oracle) connect() {
	ctx, cancel := context.WithCancel(context.Background())
	up, done := make(chan *ofconn.Session, 1), make(chan struct{})
	go func() {
		defer close(done)
		_ = ofconn.Run(ctx, ofconn.Config{Socket: o.sw.Mgmt(), Echo: 2 * time.Minute, OnUp: func(ctx context.Context, s *ofconn.Session) {
			up <- s
			<-ctx.Done()
		}}) // it ends with ctx
	}()
	o.t.Cleanup(func() { cancel(); <-done })
	o.ctx = ctx
	select {
	case o.session = <-up:
	case <-time.After(time.Minute):
		o.t.Fatal("no OpenFlow session in a minute")
	}
}

func cookie(p of.Packed) uint64 { return 't'<<56 | p.Hash() }

// load makes the switch have exactly what was compiled, in one bundle, and reads it back: every flow under its cookie,
// with the same content; every group.
func (o *oracle) load(t failer, e *memo.Engine[compile.Output]) {
	t.Helper()
	o.sw.Ofctl("del-flows")
	o.sw.Ofctl("del-groups")
	var mods []ofconn.Mod
	flows, groups := map[uint64]of.Packed{}, map[uint32]string{}
	e.Outputs(func(_ memo.Unit, out compile.Output) {
		for _, g := range out.Groups {
			p, err := g.Pack()
			if err != nil {
				t.Fatalf("%s: %v", g, err)
			}
			if groups[g.ID] != "" {
				continue // another owner wants it too
			}
			groups[g.ID] = g.String()
			mods = append(mods, ofconn.AddGroup{PackedGroup: p})
		}
	})
	e.Outputs(func(_ memo.Unit, out compile.Output) {
		for _, f := range out.Flows {
			if c := cookie(f.Packed); flows[c].IsZero() {
				flows[c] = f.Packed
				mods = append(mods, ofconn.AddFlow{Packed: f.Packed, Cookie: c})
			}
		}
	})
	if err := o.session.Bundle(o.ctx, mods); err != nil {
		t.Fatalf("refused: %v", err)
	}
	o.readBack(t, flows, groups)
}

func (o *oracle) readBack(t failer, flows map[uint64]of.Packed, groups map[uint32]string) {
	t.Helper()
	n := 0
	err := o.session.DumpFlows(o.ctx, func(d ofconn.FlowDesc) {
		n++
		f, err := d.Flow()
		if err != nil {
			t.Fatalf("flow %#x: %v", d.Cookie, err)
		}
		sent, err := flows[d.Cookie].Unpack()
		if err != nil || narrow(sent).String() != narrow(f).String() {
			t.Fatalf("flow %#x: sent %s, read back %s (%v)", d.Cookie, sent, f, err)
		}
	})
	if err != nil || n != len(flows) {
		t.Fatalf("sent %d flows, read back %d: %v", len(flows), n, err)
	}
	back, err := o.session.DumpGroups(o.ctx)
	if err != nil || len(back) != len(groups) {
		t.Fatalf("sent %d groups, read back %d: %v", len(groups), len(back), err)
	}
	for _, d := range back {
		if g, err := d.Group(); err != nil || g.String() != groups[d.ID] {
			t.Fatalf("group %#x: sent %s, read back %s (%v)", d.ID, groups[d.ID], g, err)
		}
	}
}

// narrow writes what a match says of wide registers in 32-bit ones: the switch joins neighbours that are matched.
func narrow(f of.Flow) of.Flow {
	var m of.Match
	for _, t := range f.Match {
		first, n := t.Field, 1
		switch {
		case t.Field >= of.XReg0 && t.Field <= of.XReg7:
			first, n = of.Reg0+2*(t.Field-of.XReg0), 2
		case t.Field >= of.XXReg0 && t.Field <= of.XXReg3:
			first, n = of.Reg0+4*(t.Field-of.XXReg0), 4
		default:
			m = m.With(t)
			continue
		}
		for i := range n {
			shift := uint(32 * (n - 1 - i))
			m = m.With(of.Masked(first+of.Field(i), t.Value.Shr(shift).And(of.Ones(32)), t.Mask.Shr(shift).And(of.Ones(32))))
		}
	}
	f.Match = m
	return f
}

// Open vSwitch takes every flow and group of every scenario, and gives back what was sent.
func TestOpenVSwitchTakesEveryScenario(t *testing.T) {
	o := newOracle(t)
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no scenarios", err)
	}
	for _, file := range files {
		ar, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		w := parse(t, section(ar, "intent"))
		for _, chassis := range w.chassis() {
			o.load(t, compileFacts(w.see(chassis)))
		}
	}
}

// neverMet are the rules for what a complete and ready deployment does not have, and for what random packets hardly ever are: too
// large for the next network, or errors of routers (TestT39_RoutersRefuseWhatTheNextNetworkDoesNotTake has those).
var neverMet = map[*pipeline.Rule]bool{pipeline.NDBroken: true, pipeline.NoPeer: true, pipeline.NoTunnel: true, pipeline.NotHere: true,
	pipeline.NoReturn: true, pipeline.NextUnknown: true,
	pipeline.NextExceeded: true, pipeline.ExternalExceeded: true, pipeline.UndnatError: true, pipeline.RouterError: true,
	pipeline.NotTranslated: true, pipeline.NoHairpin: true,
	pipeline.LearntHere: true, pipeline.LearntThere: true, pipeline.NobodyHasIt: true} // a trace does not learn

// The simulator and Open vSwitch agree on what becomes of random packets: every output, where tunnels lead and with
// which header, which flow punted, and how the headers changed. The packets meet every rule that the
// deployments have; those of edges are for TestSimulatorAgreesWithOpenVSwitchAboutEdges.
func TestSimulatorAgreesWithOpenVSwitch(t *testing.T) {
	o := newOracle(t)
	met, installed := map[*pipeline.Rule]bool{}, map[*pipeline.Rule]bool{}
	missing := func() (names []string) {
		for _, r := range pipeline.Rules {
			if installed[r] && !met[r] && !neverMet[r] && !slices.Contains(edgeRules, r) {
				names = append(names, r.Name)
			}
		}
		return names
	}
	const rounds = 8 // at most; some rules are met by few packets
	for round := 0; round == 0 || round < rounds && len(missing()) > 0; round++ {
		check(t, oracleTopologies, func(t *rapid.T) {
			w := anyWorld(t)
			chassis := one(t, "chassis", w.chassis())
			n := w.build(t)
			o.load(t, compileFacts(w.see(chassis)))
			for _, r := range n.rules {
				installed[r] = true
			}
			for range 25 {
				port, p := anyPacket(t, n, chassis)
				for _, s := range o.compare(t, n, chassis, port, p).Steps {
					met[n.rules[s.Flow]] = true
				}
			}
			for _, k := range knocks(n, chassis) {
				for _, s := range o.compare(t, n, chassis, k.port, k.packet).Steps {
					met[n.rules[s.Flow]] = true
				}
			}
		})
		t.Logf("round %d: no packet has met %v", round+1, missing())
	}
	if names := missing(); len(names) > 0 {
		t.Errorf("no packet met the rules %v", names)
	}
}

func (o *oracle) compare(t *rapid.T, n *network, chassis string, port uint32, p sim.Packet) sim.Trace {
	t.Helper()
	p.Set(of.InPort, of.U(uint64(port)))
	told := n.nodes[chassis].Switch.Run(p, port)
	if told.Err != nil {
		t.Fatalf("%v", told.Err)
	}
	text := o.sw.Trace(p.String())
	tr, err := readTrace(text, p.Length, o.ports)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	why := tr.disagree(told, p, func(f *of.Flow) uint64 {
		packed, err := f.Pack()
		if err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		return cookie(packed)
	})
	if why != "" {
		t.Fatalf("%s\n%s\n%s", why, n.story(sim.Walk{Hops: []sim.Hop{{Node: chassis, From: -1, Trace: told}}}), text)
	}
	return told
}

// anyPacket draws a packet that meets many flows: between addresses that exist or nearly do, from workloads or tunnels,
// of every kind that the pipeline tells apart.
func anyPacket(t *rapid.T, n *network, chassis string) (port uint32, p sim.Packet) {
	sw := one(t, "switch", objects[*model.LogicalSwitch](n.world))
	src, ip := nobody, one(t, "source", n.targets())
	for _, lsp := range n.portsOf(sw.Name) {
		if n.ports[chassis][lsp.Name] != 0 && (port == 0 || rapid.Bool().Draw(t, "next")) {
			port, src = n.ports[chassis][lsp.Name], lsp.MAC
			if lsp.Type == model.PortPatch {
				src = outside
			}
			if len(lsp.IPs) > 0 {
				ip = one(t, "own IP", lsp.IPs)
			}
		}
	}
	fromTunnel := port == 0 || rapid.IntRange(0, 3).Draw(t, "from tunnel") == 0
	if rapid.IntRange(0, 9).Draw(t, "unbound") == 0 {
		return 100 + maxPorts, anyPayload(t, n, chassis, src, ip, nobody)
	}
	macs := []model.MAC{broadcast, nobody, {0x33, 0x33, 0, 0, 0, 1}}
	for _, lsp := range n.portsOf(sw.Name) {
		if lsp.Type != model.PortPatch {
			macs = append(macs, lsp.MAC, lsp.MAC, lsp.MAC)
		}
	}
	dst := one(t, "dst", macs)
	switch rapid.IntRange(0, 9).Draw(t, "spoof") {
	case 0:
		src = one(t, "src", append(macs, src))
	case 1:
		ip = one(t, "source", n.targets())
	}
	p = anyPayload(t, n, chassis, src, ip, dst)
	if fromTunnel {
		return anyTunnel(t, n, chassis, sw.VNI, p)
	}
	if rapid.IntRange(0, 3).Draw(t, "far") == 0 {
		p = anyFar(t, n, chassis, sw.Name, src, ip, p)
	}
	return port, p
}

// anyFar is a ping through a router of the switch to a port that is not here, else another packet: few others get so far.
func anyFar(t *rapid.T, n *network, chassis, sw string, src model.MAC, from netip.Addr, other sim.Packet) sim.Packet {
	var gates []model.MAC
	for _, lsp := range n.portsOf(sw) {
		if lsp.Type == model.PortRouter {
			gates = append(gates, lsp.MAC)
		}
	}
	var far []netip.Addr
	for _, lsp := range objects[*model.LogicalSwitchPort](n.world) {
		for _, ip := range lsp.IPs {
			if lsp.Type == model.PortVIF && lsp.Switch != sw && n.ports[chassis][lsp.Name] == 0 && ip.Is4() == from.Is4() {
				far = append(far, ip)
			}
		}
	}
	if len(gates) == 0 || len(far) == 0 {
		return other
	}
	p := ping(src, from, one(t, "gate", gates), one(t, "far target", far))
	p.Length = one(t, "length", []int{98, 1452, 1453, 1600})
	return p
}

// knock is a packet from a workload's port.
type knock struct {
	port   uint32
	packet sim.Packet
}

// knocks are packets that random ones are hardly ever like: to a router itself, to link-local addresses through it, and questions
// about the network from another MAC than the workload's.
func knocks(n *network, chassis string) (list []knock) {
	for _, w := range objects[*model.LogicalSwitchPort](n.world) {
		port := n.ports[chassis][w.Name]
		if port == 0 || w.Type != model.PortVIF {
			continue
		}
		for _, from := range w.IPs {
			asks := frame(nobody, broadcast, 0x0800).With(of.IPSrc, of.Addr(from)).With(of.IPDst, of.U(0xffffffff)).
				With(of.IPProto, of.U(17)).With(of.UDPSrc, of.U(68)).With(of.UDPDst, of.U(67))
			linkLocal := netip.MustParseAddr("169.254.1.1")
			if from.Is6() {
				asks = frame(nobody, model.MAC{0x33, 0x33, 0, 0, 0, 2}, 0x86dd).With(of.IPv6Src, of.Addr(from)).
					With(of.IPv6Dst, of.Addr(netip.MustParseAddr("ff02::2"))).With(of.IPTTL, of.U(255)).With(of.IPProto, of.U(58)).With(of.ICMPv6Type, of.U(133))
				linkLocal = netip.MustParseAddr("fe80::1")
			}
			list = append(list, knock{port, asks})
			for _, gate := range n.portsOf(w.Switch) {
				for _, r := range objects[*model.LogicalRouterPort](n.world) {
					if gate.Type != model.PortRouter || gate.Peer != r.Name || r.Peer != gate.Name {
						continue
					}
					list = append(list, knock{port, ping(w.MAC, from, gate.MAC, linkLocal)})
					for _, own := range r.Networks {
						if own.Addr().Is4() != from.Is4() {
							continue
						}
						p := ping(w.MAC, from, gate.MAC, own.Addr())
						p.Set(of.ICMPType, of.U(0))
						p.Set(of.ICMPv6Type, of.U(0))
						list = append(list, knock{port, p.With(of.IPProto, of.U(132))}, knock{port, p.With(of.IPProto, of.U(17)).With(of.UDPDst, of.U(33434))})
					}
				}
			}
		}
	}
	return list
}

// anyHostTalk is what passes between a workload and who tells it about its network, in either direction.
func anyHostTalk(t *rapid.T, src model.MAC, from netip.Addr) sim.Packet {
	if rapid.IntRange(0, 2).Draw(t, "another MAC") == 0 {
		src = nobody
	}
	client, server, answer := uint64(68), uint64(67), rapid.Bool().Draw(t, "answer")
	if from.Is4() {
		p := frame(src, broadcast, 0x0800).With(of.IPSrc, of.Addr(from)).With(of.IPDst, of.U(0xffffffff)).With(of.IPProto, of.U(17))
		if answer {
			client, server = server, client
		}
		return p.With(of.UDPSrc, of.U(client)).With(of.UDPDst, of.U(server))
	}
	p := frame(src, model.MAC{0x33, 0x33, 0, 1, 0, 2}, 0x86dd).With(of.IPv6Src, of.Addr(from)).With(of.IPTTL, of.U(255))
	if rapid.Bool().Draw(t, "router") {
		kind := uint64(133)
		if answer {
			kind = 134
		}
		return p.With(of.IPProto, of.U(58)).With(of.ICMPv6Type, of.U(kind)).With(of.IPv6Dst, of.Addr(netip.MustParseAddr("ff02::2")))
	}
	p = p.With(of.IPProto, of.U(17)).With(of.IPv6Dst, of.Addr(netip.MustParseAddr("ff02::1:2")))
	if answer {
		return p.With(of.UDPSrc, of.U(547)).With(of.UDPDst, of.U(546))
	}
	return p.With(of.UDPSrc, of.U(546)).With(of.UDPDst, of.U(547))
}

// anyTunnel wraps a packet as another chassis, or a stranger, would send it here.
func anyTunnel(t *rapid.T, n *network, chassis string, vni model.VNI, p sim.Packet) (uint32, sim.Packet) {
	p.Set(of.TunID, of.U(uint64(vni)+uint64(rapid.IntRange(0, 5).Draw(t, "odd vni")/5)))
	p.Set(of.TunMetadata0, of.U(uint64(rapid.IntRange(1, 4).Draw(t, "source key"))<<48|uint64(rapid.IntRange(0, 1).Draw(t, "redirected"))<<16))
	here := one(t, "to", n.node(chassis).IPs)
	i := rapid.IntRange(1, 5).Draw(t, "sender")
	if here.Is4() {
		p.Set(of.TunDst, of.Addr(here))
		p.Set(of.TunSrc, of.Addr(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})))
	} else {
		p.Set(of.TunIPv6Dst, of.Addr(here))
		p.Set(of.TunIPv6Src, of.Addr(netip.AddrFrom16([16]byte{0: 0xfd, 15: byte(i)})))
	}
	if n.node(chassis).VXLANPort != 0 && rapid.Bool().Draw(t, "by VXLAN") {
		p.Set(of.TunMetadata0, of.Value{})
		return vxlanPort, p
	}
	return tunnelPort, p
}

func anyPayload(t *rapid.T, n *network, chassis string, src model.MAC, from netip.Addr, dst model.MAC) sim.Packet {
	same := n.targets()
	for _, l := range n.learnt[chassis] {
		for range 5 {
			same = append(same, l.IP)
		}
	}
	same = slices.DeleteFunc(same, func(ip netip.Addr) bool { return ip.Is4() != from.Is4() })
	to := one(t, "target", same)
	if rapid.IntRange(0, 5).Draw(t, "other target") == 0 {
		to = one(t, "odd target", []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("169.254.1.1"), netip.MustParseAddr("224.0.0.5"),
			netip.MustParseAddr("ff02::5"), netip.MustParseAddr("fe80::1"), netip.MustParseAddr("::1"), dst.LinkLocal()})
		if to.Is4() != from.Is4() {
			from = netip.IPv6Unspecified()
			if to.Is4() {
				from = netip.IPv4Unspecified()
			}
		}
	}
	p := ping(src, from, dst, to)
	switch kind := rapid.IntRange(0, 14).Draw(t, "kind"); kind {
	case 0, 1:
		p = whoHas(src, from, to)
	case 2:
		p = announce(src, from, src)
	case 6:
		p = frame(src, broadcast, 0x0800).With(of.IPDst, of.U(0xffffffff)).With(of.IPProto, of.U(17)).With(of.UDPSrc, of.U(68)).With(of.UDPDst, of.U(67))
	case 7:
		p = frame(src, model.MAC{0x33, 0x33, 0, 0, 0, 2}, 0x86dd).With(of.IPProto, of.U(58)).With(of.ICMPv6Type, of.U(one(t, "type", []uint64{131, 133, 135, 143})))
	case 8: // duplicate address detection
		six := slices.DeleteFunc(n.targets(), netip.Addr.Is4)
		p = whoHas(src, netip.IPv6Unspecified(), one(t, "tentative", six))
	case 3:
		proto, port := of.U(6), of.TCPDst
		if rapid.Bool().Draw(t, "udp") {
			proto, port = of.U(17), of.UDPDst
		}
		p.Set(of.IPProto, proto)
		p.Set(port, of.U(uint64(rapid.IntRange(60, 70).Draw(t, "destination port"))))
	case 4:
		p.Set(of.IPFrag, of.U(uint64(one(t, "fragment", []int{1, 3}))))
	case 5:
		p = frame(src, dst, 0x88b5)
	case 9, 10:
		p = anyHostTalk(t, src, from)
	}
	if p.Has(of.IPTTL) && rapid.IntRange(0, 4).Draw(t, "low TTL") == 0 {
		p.Set(of.IPTTL, of.U(uint64(rapid.IntRange(0, 2).Draw(t, "TTL"))))
	}
	if rapid.IntRange(0, 9).Draw(t, "tagged") == 0 {
		p.Set(of.VLANTCI, of.U(0x1005))
	}
	p.Length = one(t, "length", []int{98, 1452, 1453, 1600})
	return p
}
