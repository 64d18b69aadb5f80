//go:build integration

package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"tuplenet/e2e/lab"
	"tuplenet/flows/of"
)

// traceView is what the tests read of `tpctl trace -o json`.
type traceView struct {
	Verdict string  `json:"verdict"`
	Reached bool    `json:"reached"`
	Forward legView `json:"forward"`
	Defects []string
	Assumed []string
}

type legView struct {
	Packet string
	Hops   []struct {
		Chassis string
		Stages  []struct{ Table, Rule, Device, Owner string }
	}
	Ends []struct{ Kind, Chassis, Port, Why, Packet string }
}

// station is a place that packets come from and go to.
type station struct {
	w    *lab.Workload
	port string // switch port that its frames come in by
	mac  string
	ips  []netip.Addr
}

// tracedLab is the lab of the trace tests: two hosts with workloads of both families, two edges with everything.
type tracedLab struct {
	*fleet
	stations map[string]station // by switch port
	outside  map[string]station // server and router on the LAN
	random   *rand.Rand
	n        int            // frames sent
	agreed   int            // of them
	kinds    map[string]int // how they ended
	between  int            // how many went from edge to edge
}

// tracedEdge makes the edge of that number with both families, and a floating address on each.
func tracedEdge(n int) []string {
	fill := strings.NewReplacer("#", fmt.Sprint(n), "BACK", fmt.Sprintf("100.10.%d.1", n), "OWN", fmt.Sprintf("192.168.1.%d", 19+n), "SNAT", fmt.Sprintf("192.168.1.%d", 29+n), "FLOAT", fmt.Sprintf("192.168.1.%d", 39+n))
	lines := []string{
		"lr add LR-edge# edge#-node", "ls add m#", "ls add outside#",
		"lr link LR-central m# BACK/24,2001:db8:100:#::1/64",
		"lr link LR-edge# m# 100.10.#.2/24,2001:db8:100:#::2/64",
		"lr link LR-edge# outside# OWN/24,2001:db8:ffff::2#/64",
		"lsr add LR-edge# back# 10.20.0.0/16 BACK LR-edge#_to_m#", "lsr add LR-edge# back6# 2001:db8:20::/48 2001:db8:100:#::1 LR-edge#_to_m#",
		"lsr add LR-edge# out# 0.0.0.0/0 192.168.1.1 LR-edge#_to_outside#", "lsr add LR-edge# out6# ::/0 2001:db8:ffff::1 LR-edge#_to_outside#",
		"lsp add outside# patchport-outside# 255.255.255.255 ff:ff:ff:ff:ff:ee",
		"lnat add LR-edge# snat# 10.20.0.0/16 snat SNAT", "lnat add LR-edge# snat6# 2001:db8:20::/48 snat 2001:db8:ffff::3#",
		"lnat add LR-edge# float# 10.20.#.11/32 dnat_and_snat FLOAT",
		"lsr add LR-central to_outside# 0.0.0.0/0 100.10.#.2 LR-central_to_m#", "lsr add LR-central to_outside6# ::/0 2001:db8:100:#::2 LR-central_to_m#",
	}
	for i, line := range lines {
		lines[i] = fill.Replace(line)
	}
	return lines
}

func newTracedLab(t *testing.T, name string) *tracedLab {
	t.Helper()
	cfg := lab.TutorialEdgesConfig(name, "", lab.TwoNIC, 2)
	cfg.Etcd = lab.EtcdManagement
	cfg.Edges[1].Layout = lab.OneNIC // so that the underlay is on the LAN, and hosts reach it
	f := newBareFleet(t, cfg)
	l := &tracedLab{fleet: f, stations: map[string]station{}, outside: map[string]station{}, kinds: map[string]int{}, random: rand.New(rand.NewPCG(4, 2))}
	for n, ls := range []string{"LS-A", "LS-B"} {
		f.tpctl("ls add " + ls)
		if n == 0 {
			f.tpctl("lr add LR-central")
		}
		f.tpctl(fmt.Sprintf("lr link LR-central %s 10.20.%d.1/24,2001:db8:20:%d::1/64", ls, n+1, n+1))
	}
	for _, h := range []string{"alice", "bob"} {
		f.daemon(f.Host(h), "--audit", "0") // nobody puts right what a test changes by hand
	}
	for n := range 2 {
		h := f.Host(fmt.Sprintf("edge%d", n+1))
		f.check(h.Type(f.ctx, nil, lab.TutorialEdgeBridge(cfg.Edges[n].Layout)...))
		f.daemon(h, "GATEWAY=1", calm)
		f.check(h.Type(f.ctx, nil, lab.TutorialEdgePatch(n+1)...))
		for _, line := range tracedEdge(n + 1) {
			f.tpctl(line)
		}
	}
	for i, host := range []string{"alice", "bob", "alice", "bob"} {
		l.add(f.Host(host), []string{"LS-A", "LS-A", "LS-B", "LS-B"}[i], i/2+1, 10+i%2, fmt.Sprintf("lsp-%d", i))
	}
	f.tpctl("lsp add LS-B lsp-unbound 10.20.2.99,2001:db8:20:2::99")
	out := f.Outside()
	for name, w := range map[string]*lab.Workload{"server": out.Server, "router": out.Router} {
		text, err := w.Exec(f.ctx, "cat", "/sys/class/net/eth0/address")
		f.check(err)
		l.outside[name] = station{w: w, mac: strings.TrimSpace(text), ips: w.Addrs()}
	}
	f.watched(2) // an edge that is not up yet is not used, and does not come to know its neighbours
	for _, s := range l.stations {
		f.reach(s.w, out.Server.Addrs()...)
		f.reach(s.w, out.Far.Addrs()...)
	}
	for _, many := range [][]netip.Addr{out.Destinations(40), out.Destinations6(40)} { // so that both edges know their neighbours
		l.reach(l.stations["lsp-0"].w, many...)
	}
	for _, float := range []string{"192.168.1.40", "192.168.1.41"} {
		f.reach(out.Server, netip.MustParseAddr(float))
	}
	return l
}

// add makes a switch port and its workload.
func (l *tracedLab) add(h *lab.Host, ls string, subnet, no int, port string) {
	l.t.Helper()
	mac := fmt.Sprintf("f2:01:00:00:%02d:%02d", subnet, no)
	v4, v6 := fmt.Sprintf("10.20.%d.%d", subnet, no), fmt.Sprintf("2001:db8:20:%d::%d", subnet, no)
	l.tpctl(fmt.Sprintf("lsp add %s %s %s,%s %s", ls, port, v4, v6, mac))
	c := lab.WorkloadConfig{Name: "w-" + port, Port: port, MAC: mac, MTU: 1500}
	for _, a := range []string{v4 + "/24", v6 + "/64"} {
		c.Addrs = append(c.Addrs, netip.MustParsePrefix(a))
	}
	for _, g := range []string{fmt.Sprintf("10.20.%d.1", subnet), fmt.Sprintf("2001:db8:20:%d::1", subnet)} {
		c.Gateways = append(c.Gateways, netip.MustParseAddr(g))
	}
	w, err := h.AddWorkload(l.ctx, c)
	l.check(err)
	l.stations[port] = station{w: w, port: port, mac: mac, ips: w.Addrs()}
}

// shot is one packet of the agreement test.
type shot struct {
	n     int
	args  []string
	told  traceView
	from  station
	frame []byte
}

// pick draws one of several.
func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

// What the packets of a round are for.
const (
	everything  = iota
	aroundACut  // between an edge and bob
	byTheHost   // untunnel on alice
	kindsOfShot = 14
)

// draw makes up the command line of a random packet.
func (l *tracedLab) draw(round int) (from station, args []string, size int) {
	r := l.random
	ports := []string{"lsp-0", "lsp-1", "lsp-2", "lsp-3"}
	from = l.stations[pick(r, ports...)]
	kind, family := r.IntN(kindsOfShot), r.IntN(2)
	switch round {
	case aroundACut:
		kind = pick(r, 4, 4, 12, 12, 12, kind)
	case byTheHost: // the host has a way outside with IPv4 only
		kind, family = pick(r, 4, 4, 4, kind), 0
		from = l.stations[pick(r, "lsp-0", "lsp-2", "lsp-1")]
	}
	proto := pick(r, "icmp", "icmp", "udp/53", "tcp/443", fmt.Sprintf("udp/%d", 1+r.IntN(60000)))
	to := l.stations[pick(r, ports...)].ips[family]
	size = 100
	var more []string
	switch kind {
	case 0, 1, 2:
	case 3: // the router itself, near and far
		to = netip.MustParseAddr(pick(r, [2]string{"10.20.1.1", "2001:db8:20:1::1"}, [2]string{"10.20.2.1", "2001:db8:20:2::1"}, [2]string{"100.10.1.1", "2001:db8:100:1::1"}, [2]string{"192.168.1.20", "2001:db8:ffff::21"})[family])
	case 4, 5, 6: // outside, by either edge
		to = pick(r, append([]netip.Addr{l.Outside().Server.Addrs()[family], l.Outside().Far.Addrs()[family]}, [][]netip.Addr{l.Outside().Destinations(40), l.Outside().Destinations6(40)}[family]...)...)
	case 7: // spoofed
		more = [][]string{{"--src", []string{"10.20.1.77", "2001:db8:20:1::77"}[family]}, {"--src-mac", "f2:01:00:00:00:77"}}[r.IntN(2)]
	case 8: // nobody, or nowhere
		to = netip.MustParseAddr(pick(r, [2]string{"10.20.2.99", "2001:db8:20:2::99"}, [2]string{"10.20.2.98", "2001:db8:20:2::98"}, [2]string{"169.254.1.1", "fec0::1"}, [2]string{"127.0.0.9", "::1"}, [2]string{"192.168.1.99", "2001:db8:ffff::99"})[family])
	case 9:
		more = []string{"--ttl", pick(r, "1", "2", "3")}
		to = pick(r, to, l.Outside().Far.Addrs()[family])
	case 10: // everybody on the switch
		more = []string{"--dst-mac", pick(r, "ff:ff:ff:ff:ff:ff", "33:33:00:00:00:01")}
	case 11:
		size = pick(r, 1400, 1438, 1439, 1490)
	case 12, 13: // from outside, to what has an address there and what has not
		to = netip.MustParseAddr(pick(r, "192.168.1.40", "192.168.1.40", "192.168.1.41", "192.168.1.30", "192.168.1.20", "10.20.1.10"))
		from = l.outside[pick(r, "server", "router")]
		from.port = "patchport-outside1"
		if to.String() == "192.168.1.41" {
			from.port = "patchport-outside2"
		}
		family = 0
		more = []string{"--src", from.ips[0].String(), "--src-mac", from.mac}
		if to.String() == "10.20.1.10" {
			more = append(more, "--dst-mac", "f2:01:c0:a8:01:14")
		}
	}
	args = append([]string{"trace", "--from", from.port, "--to", to.String(), proto, "--size", fmt.Sprint(size), "--src-port", fmt.Sprint(20000 + l.n)}, more...)
	if !slices.Contains(args, "--src") {
		args = append(args, "--src", from.ips[family].String())
	}
	return from, args, size
}

// shoot traces a random packet and sends it.
func (l *tracedLab) shoot(round int) shot {
	l.t.Helper()
	l.n++
	s := shot{n: l.n}
	var size int
	s.from, s.args, size = l.draw(round)
	text, err := l.Tpctl(l.ctx, append(s.args, "--ovs", "-o", "json")...)
	if code := exitCode(err); err != nil && code != 1 {
		l.t.Fatalf("tpctl %v: %v", s.args, err)
	}
	if err := json.Unmarshal([]byte(text), &s.told); err != nil {
		l.t.Fatalf("tpctl %v: %v\n%s", s.args, err, text)
	}
	for _, d := range s.told.Defects {
		l.t.Errorf("tpctl %s: %s", strings.Join(s.args, " "), d)
	}
	if !strings.HasPrefix(s.told.Forward.Packet, "arp") && !strings.Contains(s.told.Forward.Packet, "nd_target") {
		s.frame = frame(l.t, s.told.Forward.Packet, s.n, size)
		l.check(transmit(s.from.w, s.frame))
	}
	return s
}

// expected are the sightings that a trace foretells.
func (l *tracedLab) expected(s shot) (want []seen) {
	for _, e := range s.told.Forward.Ends {
		switch e.Kind {
		case "delivered", "answered":
			header := describedHeaders(l.t, e.Packet)
			want = append(want, seen{e.Port, header, strings.HasSuffix(header, "icmp_type=0") || strings.HasSuffix(header, "icmpv6_type=129")})
		case "outside":
			for name, o := range l.outside {
				if strings.Contains(e.Packet, "eth_dst="+o.mac) {
					want = append(want, seen{name, describedHeaders(l.t, e.Packet), false})
				}
			}
		case "host":
			want = append(want, l.routedByTheHost(e.Packet)...)
		}
	}
	return want
}

// places are all where frames can be seen, by the names of ends.
func (l *tracedLab) places() map[string]*lab.Workload {
	all := map[string]*lab.Workload{}
	for port, s := range l.stations {
		all[port] = s.w
	}
	for name, s := range l.outside {
		all[name] = s.w
	}
	return all
}

// routedByTheHost is where a packet is seen that the host's stack has got: at the server, or at the router for all others, a hop
// later; none for other stations of the LAN. The host's and the next station's MACs take the place of those before.
func (l *tracedLab) routedByTheHost(packet string) []seen {
	m, err := of.ParseMatch(packet)
	l.check(err)
	dst, _ := m.Get(of.IPDst)
	ttl, _ := m.Get(of.IPTTL)
	to := "router"
	switch a := dst.Value.Addr4(); {
	case a == l.outside["server"].ips[0]:
		to = "server"
	case netip.MustParsePrefix("192.168.1.0/24").Contains(a) && a != l.outside["router"].ips[0]:
		return nil
	}
	host, err := net.ParseMAC(strings.TrimSpace(l.on(l.Host("alice"), "cat /sys/class/net/"+l.Host("alice").Bridge()+"/address")))
	l.check(err)
	next, err := net.ParseMAC(l.outside[to].mac)
	l.check(err)
	m = m.Eq(of.IPTTL, of.U(ttl.Value.Lo-1)).Eq(of.EthSrc, of.MAC([6]byte(host))).Eq(of.EthDst, of.MAC([6]byte(next)))
	return []seen{{to, describedHeaders(l.t, m.String()), false}}
}

// compareShots sends packets and compares what became of them with what was foretold.
func (l *tracedLab) compareShots(round, count int) {
	l.t.Helper()
	w, err := watchAll(l.ctx, l.places())
	l.check(err)
	var shots []shot
	for range count {
		shots = append(shots, l.shoot(round))
	}
	l.awaitArrivals(w, shots)
	for _, s := range l.stations { // whatever was on its way before has arrived, too
		l.reach(s.w, aliceIP, netip.MustParseAddr("10.20.1.11"))
	}
	l.check(w.stop(l.ctx))
	all, err := w.seen()
	l.check(err)
	for _, s := range shots {
		for _, e := range s.told.Forward.Ends {
			l.kinds[e.Kind]++
		}
		if h := s.told.Forward.Hops; len(h) > 2 && strings.HasPrefix(h[0].Chassis, "edge") && strings.HasPrefix(h[1].Chassis, "edge") {
			l.between++
		}
		if why := l.difference(s, all[s.n]); why != "" {
			l.t.Errorf("tpctl %s\nsays: %s\n%s", strings.Join(s.args, " "), s.told.Verdict, why)
			continue
		}
		l.agreed++
	}
}

// awaitArrivals waits until everything that is expected was seen; should something never be, compareShots tells it.
func (l *tracedLab) awaitArrivals(w *watchers, shots []shot) {
	ctx, cancel := context.WithTimeout(l.ctx, 20*time.Second)
	defer cancel()
	err := lab.WaitFor(ctx, "every packet at its end", func() error {
		all, err := w.seen()
		if err != nil {
			return err
		}
		for _, s := range shots {
			for _, want := range l.expected(s) {
				if !slices.Contains(all[s.n], want) {
					return fmt.Errorf("%d is not yet at %v, it is at %v", s.n, want, all[s.n])
				}
			}
		}
		return nil
	})
	if err != nil {
		l.t.Log(err)
	}
}

// difference says where a packet was that it should not have been, or was not.
func (l *tracedLab) difference(s shot, all []seen) string {
	want := l.expected(s)
	answered := slices.ContainsFunc(want, func(w seen) bool { return w.answer })
	sent, _, _ := headersOf(s.frame)
	var got []seen
	for _, g := range all {
		if l.places()[g.where] == s.from.w && g.header == sent || g.answer && !answered {
			continue // as it was sent, or the answer of a station to it
		}
		got = append(got, g)
	}
	order := func(a, b seen) int { return strings.Compare(a.where+a.header, b.where+b.header) }
	slices.SortFunc(want, order)
	slices.SortFunc(got, order)
	if slices.Equal(want, got) {
		return ""
	}
	return fmt.Sprintf("expected %v\nwas at   %v", want, got)
}

func TestT61_TracesAgreeWithTheSwitchesAndWithWhereRealPacketsGo(t *testing.T) {
	t.Parallel()
	l := newTracedLab(t, "trace")
	l.compareShots(everything, 120)

	l.check(l.CutBetween(l.ctx, l.Host("edge1"), l.Host("bob")))
	l.eventually("edge 1 to send to bob by way of edge 2", func() error {
		text, err := l.Tpctl(l.ctx, strings.Fields("trace --from patchport-outside1 --to 192.168.1.40 --src 192.168.1.250 -o plain")...)
		if exitCode(err) == 1 || err == nil { // whether edge 2 knows where to send the answer is not the question
			err = nil
			if !strings.Contains(text, "chassis:edge2-node") {
				err = errors.New(text)
			}
		}
		return err
	})
	l.compareShots(aroundACut, 40)
	l.check(l.RestoreBetween(l.ctx, l.Host("edge1"), l.Host("bob")))
	l.watched(2)
	l.reach(l.stations["lsp-1"].w, l.Outside().Destinations(32)...)

	alice := l.Host("alice")
	for _, network := range []string{"198.51.100.0/24", "198.18.0.0/15"} {
		l.on(alice, "ip route add "+network+" via 192.168.1.1")
	}
	l.check(alice.StopDaemon(l.ctx))
	l.daemon(alice, "ENABLE_UNTUNNEL=1")
	l.eventually("alice to send through its own stack", func() error {
		if text := l.tpctl("trace --from lsp-0 --to 192.168.1.250"); !strings.Contains(text, "=> leaves through the host's own stack") {
			return errors.New(text)
		}
		return nil
	})
	l.compareShots(byTheHost, 40)

	t.Logf("%d of %d agree: %v, %d from edge to edge", l.agreed, l.n, l.kinds, l.between)
	if l.n != 200 || l.agreed != l.n {
		t.Errorf("%d of %d agree", l.agreed, l.n)
	}
	for _, kind := range []string{"delivered", "answered", "outside", "host", "daemon", "dropped"} {
		if l.kinds[kind] == 0 {
			t.Errorf("no packet was %s", kind)
		}
	}
	if l.between == 0 {
		t.Error("no packet went from edge to edge")
	}
}

// stagesOf are the stages of a leg, a line each.
func stagesOf(l legView) (lines []string) {
	for _, h := range l.Hops {
		for _, s := range h.Stages {
			lines = append(lines, fmt.Sprintf("%s %s %s/%s (%s)", h.Chassis, s.Device, s.Table, s.Rule, s.Owner))
		}
	}
	return lines
}

// withoutMisses are the stages without those by which the daemon is asked for flows: live, the first packet to a destination shows
// them; on paper, only one for nobody.
func withoutMisses(l legView) []string {
	return slices.DeleteFunc(stagesOf(l), func(line string) bool {
		return strings.Contains(line, " miss/ask-of-") || askingStage.MatchString(line)
	})
}

var askingStage = regexp.MustCompile(` (responder/ask-(arp|nd)|l2_lookup/ask-port|neighbour/ask-neighbour) `)

// trace runs tpctl trace, which may say that the packet does not arrive.
func (l *tracedLab) trace(args string) (v traceView) {
	l.t.Helper()
	text, err := l.Tpctl(l.ctx, append([]string{"trace", "-o", "json"}, strings.Fields(args)...)...)
	if code := exitCode(err); err != nil && code != 1 {
		l.t.Fatalf("tpctl trace %s: %v", args, err)
	}
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		l.t.Fatalf("tpctl trace %s: %v\n%s", args, err, text)
	}
	for _, d := range v.Defects {
		l.t.Errorf("tpctl trace %s: %s", args, d)
	}
	return v
}

// noTapsLeft fails if a switch has flows of a live trace.
func (l *tracedLab) noTapsLeft() error {
	for _, h := range l.Hosts() {
		flows, err := h.Ofctl(l.ctx, "dump-flows", "--no-names", "br-int", "cookie=0x5400000000000000/0xff00000000000000")
		if err != nil {
			return err
		}
		if strings.Contains(flows, "cookie=") {
			return fmt.Errorf("%s has\n%.300s", h.Name(), flows)
		}
	}
	return nil
}

func TestT61_ALiveTraceShowsEveryStageInOrder(t *testing.T) {
	t.Parallel()
	l := newTracedLab(t, "live")
	for _, args := range []string{
		"--from lsp-0 --to 10.20.2.11",                                                   // from host to host
		"--from lsp-0 --to 10.20.1.11 udp/53",                                            // on one switch
		"--from lsp-0 --to 2001:db8:20:2::10",                                            // on one host
		"--from lsp-0 --to 192.168.1.250 tcp/80",                                         // outside, by NAT
		"--from lsp-1 --to 2001:db8:fffe::10",                                            // the same with IPv6
		"--from patchport-outside1 --to 192.168.1.40 --src 192.168.1.250 udp/7",          // and back in
		"--from lsp-0 --to 10.20.1.1",                                                    // the router answers
		"--from lsp-0 --to 10.20.1.1 arp",                                                // the switch does
		"--from lsp-0 --to 10.20.2.99",                                                   // dropped
		"--from lsp-0 --to 10.20.2.11 --src 10.20.1.77",                                  // spoofed
		"--from lsp-2 --to 10.20.1.11 --ttl 1",                                           // expires
		"--from lsp-0 --to 10.20.1.11 --dst-mac ff:ff:ff:ff:ff:ff --src-port 4000 udp/9", // everybody
	} {
		paper, live := l.trace(args), l.trace(args+" --live")
		want, got := withoutMisses(paper.Forward), withoutMisses(live.Forward)
		if !slices.Equal(want, got) {
			t.Errorf("trace %s\nis seen at\n%s\non paper it is at\n%s", args, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if paper.Verdict != live.Verdict || paper.Reached != live.Reached {
			t.Errorf("trace %s: seen: %s, on paper: %s", args, live.Verdict, paper.Verdict)
		}
		l.check(l.noTapsLeft())
	}

	// One link of the underlay is cut: the packet is seen last where it goes into the tunnel.
	l.check(l.Host("bob").CutUnderlay())
	v := l.trace("--from lsp-0 --to 10.20.2.11 --live")
	if want := "lost behind alice: sent to chassis bob, which did not see it"; v.Verdict != want || v.Reached {
		t.Errorf("with bob cut off: %s, want %s", v.Verdict, want)
	}
	if stages := stagesOf(v.Forward); len(stages) == 0 || !strings.HasPrefix(stages[len(stages)-1], "alice LS-B encap/encapsulate") {
		t.Errorf("with bob cut off, the last of the stages is another one: %q", stages)
	}
	l.check(l.Host("bob").RestoreUnderlay())

	// Somebody changes flows by hand, keeping their cookies: the switch does not do any more what it should.
	l.on(l.Host("bob"), "ovs-ofctl -O OpenFlow15 mod-flows br-int table=100,actions=drop")
	text, err := l.Tpctl(l.ctx, strings.Fields("trace --from lsp-0 --to 10.20.2.11 --ovs")...)
	if exitCode(err) != 1 || !strings.Contains(text, "DEFECT: the switch of bob does something else") {
		t.Errorf("flows altered by hand are not noticed: %v\n%s", err, text)
	}

	// A daemon that dies in the middle leaves nothing for long: the switch removes the flows by itself.
	l.tpctl("node alice trace-arm id=77 seconds=8")
	if l.noTapsLeft() == nil {
		t.Error("an armed switch has no flows for it")
	}
	l.check(l.Host("alice").KillDaemon(l.ctx))
	l.eventually("the flows to go", l.noTapsLeft)
	l.reach(l.stations["lsp-0"].w, netip.MustParseAddr("10.20.2.10"))
}
