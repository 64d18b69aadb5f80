//go:build integration

package e2e_test

import (
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"tuplenet/e2e/lab"
)

// Ports of the servers outside.
const (
	webPort  = lab.OutsideWeb
	echoPort = lab.OutsideEcho
)

// edged is the tutorial's fleet with edges and servers outside.
type edged struct {
	*fleet
	a, b        *lab.Workload // ns-alice, ns-bob
	server, far *lab.Workload // on the LAN and behind its router
	layout      lab.Layout
	edgeEnv     []string // more environment of the edges' daemons
}

// calm has an edge's tunnels count as down after 1.5 s of silence. The switches of a machine that several labs share may not run for
// 0.3 s, which is how long the product waits unless it is told otherwise: destinations and connections would change their edge by chance.
// Both ends of a tunnel wait as long as the slower one wants (RFC 5880 section 6.8.4), so telling edges is enough.
const calm = "TUPLENET_BFD_INTERVAL=500ms"

// newEdged types the tutorial's section 1, and starts the servers outside; no edge does anything yet. Edges will be calm.
func newEdged(t *testing.T, name string, layout lab.Layout, edges int) *edged {
	t.Helper()
	f := newBareFleet(t, lab.TutorialEdgesConfig(name, "", layout, edges))
	e := &edged{fleet: f, server: f.Outside().Server, far: f.Outside().Far, layout: layout, edgeEnv: []string{calm}}
	alice, bob := f.Host("alice"), f.Host("bob")
	f.check(alice.Type(f.ctx, nil, lab.TutorialNetwork()...))
	for _, h := range []*lab.Host{alice, bob} {
		f.check(h.StartDaemonExactly(f.ctx, f.here(lab.TutorialDaemon())...))
		f.check(h.Type(f.ctx, nil, append(lab.TutorialWorkload(h.Name()), lab.TutorialTuning(h.Name())...)...))
	}
	var err error
	e.a, err = alice.Adopt("ns-alice")
	f.check(err)
	e.b, err = bob.Adopt("ns-bob")
	f.check(err)
	for _, s := range []*lab.Workload{e.server, e.far} {
		_, err := s.StartWeb(f.ctx, webPort)
		f.check(err)
		_, err = s.StartEcho(f.ctx, echoPort)
		f.check(err)
	}
	return e
}

// withEdges is newEdged with that many edges at work.
func withEdges(t *testing.T, name string, edges int) *edged {
	t.Helper()
	return withLayout(t, name, lab.TwoNIC, edges)
}

// withLayout is withEdges with edges of that layout.
func withLayout(t *testing.T, name string, layout lab.Layout, edges int) *edged {
	t.Helper()
	e := newEdged(t, name, layout, edges)
	e.work(edges)
	return e
}

// quickEdges is withLayout with edges as nervous as the product makes them, for a test that has the machine to itself and looks at what the
// loss of an edge costs.
func quickEdges(t *testing.T, name string, layout lab.Layout, edges int) *edged {
	t.Helper()
	e := newEdged(t, name, layout, edges)
	e.edgeEnv = nil
	e.work(edges)
	return e
}

// work has that many edges begin to work, and returns when everything goes through all of them.
func (e *edged) work(edges int) {
	e.t.Helper()
	for n := range edges {
		e.addEdge(n + 1)
	}
	e.reach(e.a, e.server.Addrs()[0], e.far.Addrs()[0])
	e.reach(e.b, e.server.Addrs()[0], e.far.Addrs()[0])
	e.inUse(edges)
	if edges > 1 {
		e.watched(edges)
	}
}

// watched waits until every host watches all edges, and every edge all hosts, and has seen them up: only what was reachable once
// is reported, and gone round, when it is not any more.
func (f *fleet) watched(edges int) {
	f.t.Helper()
	f.eventually("all watched tunnels to be up", func() error {
		out, err := f.Tpctl(f.ctx, "status")
		for row, want := range map[string]int{
			fmt.Sprintf(`(?m)^\S+ +up .* %d/%[1]d up `, edges):              2,
			fmt.Sprintf(`(?m)^\S+ +up, gateway .* %d/%[1]d up `, 2+edges-1): edges,
		} {
			if n := len(regexp.MustCompile(row).FindAllString(out, -1)); err == nil && n != want {
				err = fmt.Errorf("%d of %d rows like %q in\n%s", n, want, row, out)
			}
		}
		return err
	})
}

// inUse waits until traffic of both workloads goes through that many edges: equal routes use an edge once BFD is up.
func (e *edged) inUse(edges int) {
	e.t.Helper()
	for _, w := range []*lab.Workload{e.a, e.b} {
		e.eventually(fmt.Sprintf("%d edges used by %s", edges, w.Name), func() error {
			seen, err := w.Survey(e.ctx, echoPort, e.Outside().Destinations(32))
			times := map[netip.Addr]int{}
			for _, as := range seen {
				times[as]++
			}
			if err == nil && len(times) != edges {
				err = fmt.Errorf("it is seen as %v", times)
			}
			return err
		})
	}
}

// edge is the host that is the edge of that number, from 1.
func (e *edged) edge(n int) *lab.Host { return e.Host(fmt.Sprintf("edge%d", n)) }

// addEdge types sections 2.1 and 2.2, or 3.1 and 3.2.
func (e *edged) addEdge(n int) {
	e.t.Helper()
	h := e.edge(n)
	e.check(h.Type(e.ctx, nil, lab.TutorialEdgeBridge(e.layout)...))
	e.startEdge(h)
	e.check(h.Type(e.ctx, nil, lab.TutorialEdgePatch(n)...))
	e.check(e.Host("alice").Type(e.ctx, nil, lab.TutorialEdgeNetwork(n)...))
}

// startEdge starts an edge's daemon.
func (e *edged) startEdge(h *lab.Host) {
	e.t.Helper()
	e.check(h.StartDaemonExactly(e.ctx, append(e.edgeEnv, e.here(lab.TutorialEdgeDaemon(e.layout))...)...))
}

// web and echo are the services at an address.
func web(a netip.Addr) netip.AddrPort  { return netip.AddrPortFrom(a, webPort) }
func echo(a netip.Addr) netip.AddrPort { return netip.AddrPortFrom(a, echoPort) }

// fetches gets the document from an address, whose server must see the client as one of those.
func (e *edged) fetches(w *lab.Workload, from netip.Addr, as ...netip.Addr) {
	e.t.Helper()
	seen, err := w.Fetch(e.ctx, web(from))
	e.check(err)
	if !slices.Contains(as, seen) {
		e.t.Errorf("%s saw %s as %s, want %v", from, w.Name, seen, as)
	}
}

// survey asks n destinations outside and returns how many saw the workload as what.
func (e *edged) survey(w *lab.Workload, n int) (seen map[netip.Addr]netip.Addr, times map[netip.Addr]int) {
	e.t.Helper()
	seen, err := w.Survey(e.ctx, echoPort, e.Outside().Destinations(n))
	e.check(err)
	times = map[netip.Addr]int{}
	for _, as := range seen {
		times[as]++
	}
	return seen, times
}

var snat1, snat2 = lab.TutorialSNAT(1), lab.TutorialSNAT(2)

func TestT30_T31_T32_T35_T36_T40_TheTutorialTypedAsWrittenReachesThePhysicalWorld(t *testing.T) {
	t.Parallel()
	for _, layout := range []lab.Layout{lab.TwoNIC, lab.OneNIC} {
		t.Run(string(layout), func(t *testing.T) {
			e := newEdged(t, "tut-"+string(layout), layout, 2)
			e.addEdge(1) // sections 2.1, 2.2
			for _, w := range []*lab.Workload{e.a, e.b} {
				e.outsideWorks(w, snat1)
				out, err := w.Exec(e.ctx, "wget", "-q", "-O", "-", "http://"+e.far.Addrs()[0].String()+"/")
				e.check(err)
				if len(out) != lab.WebBytes {
					t.Errorf("wget got %d bytes", len(out))
				}
			}
			e.addEdge(2) // sections 3.1, 3.2
			e.inUse(2)
			e.watched(2)
			for _, w := range []*lab.Workload{e.a, e.b} {
				e.outsideWorks(w, snat1, snat2)
			}
			e.reach(e.a, bobIP)
			e.transfer(e.a, e.b, bobIP, 1e6)
		})
	}
}

// outsideWorks checks ping, HTTP and UDP to the LAN outside and to the subnet behind its router, which see the workload as one of some
// addresses.
func (e *edged) outsideWorks(w *lab.Workload, as ...netip.Addr) {
	e.t.Helper()
	for _, dst := range []netip.Addr{e.Outside().Router.Addrs()[0], e.server.Addrs()[0], e.far.Addrs()[0]} {
		e.reach(w, dst)
		report, err := w.Ping(e.ctx, dst, pingInterval, 20)
		e.check(err)
		if report.Lost() > 0 {
			e.t.Errorf("ping %s from %s: %v", dst, w.Name, report)
		}
	}
	e.fetches(w, e.server.Addrs()[0], as...)
	e.fetches(w, e.far.Addrs()[0], as...)
	seen, err := w.Ask(e.ctx, netip.AddrPort{}, echo(e.far.Addrs()[0]))
	e.check(err)
	if !slices.Contains(as, seen.Addr()) {
		e.t.Errorf("UDP of %s is seen as %s, want %v", w.Name, seen, as)
	}
}

func TestT27_T42_T44_EqualRoutesUseBothEdgesAndADestinationKeepsItsEdge(t *testing.T) {
	t.Parallel()
	e := withEdges(t, "ecmp", 2)
	flows := func() (all []map[string]float64) {
		for _, h := range e.Hosts() {
			all = append(all, e.ages(h))
		}
		return all
	}
	unused := flows()
	first, times := e.survey(e.a, 256)
	if times[snat1]+times[snat2] != 256 {
		t.Errorf("seen as %v", times)
	}
	for _, n := range times { // five standard deviations of 256 tosses of a coin
		if n < 128-40 || n > 128+40 {
			t.Errorf("of 256 destinations, %v", times)
		}
	}
	again, _ := e.survey(e.a, 256)
	other, _ := e.survey(e.b, 256)
	if !maps.Equal(first, again) || !maps.Equal(first, other) {
		t.Errorf("the destinations saw\n%v, then\n%v, and another workload as\n%v", first, again, other)
	}
	for _, w := range []*lab.Workload{e.a, e.b} {
		e.fetches(w, e.server.Addrs()[0], snat1, snat2)
		e.fetches(w, e.far.Addrs()[0], snat1, snat2)
	}
	for i, used := range flows() {
		for flow := range used {
			learnt := strings.Contains(flow, "table=60, priority=90,") // a station on the LAN itself
			if _, before := unused[i][flow]; !before && !learnt {
				t.Errorf("%s: made by traffic: %s", e.Hosts()[i].Name(), flow)
			}
		}
	}
}

func TestT09_APinnedRouterWorksOnItsEdgeOnly(t *testing.T) {
	t.Parallel()
	e := withEdges(t, "pinned", 2)
	for _, h := range e.Hosts() {
		flows, err := h.Ofctl(e.ctx, "dump-flows", "--no-names", "br-int")
		e.check(err)
		for n := range 2 {
			snat := fmt.Sprintf("nat(src=%s)", lab.TutorialSNAT(n+1))
			if has, own := strings.Contains(flows, snat), h == e.edge(n+1); has != own {
				t.Errorf("%s: %s in its flows: %v, want %v", h.Name(), snat, has, own)
			}
		}
	}
	capture, err := e.Host("alice").CaptureUnderlay(e.ctx, tunnels())
	e.check(err)
	_, err = e.a.Ping(e.ctx, e.far.Addrs()[0], 20*time.Millisecond, 5)
	e.check(err)
	text, err := capture.Stop(e.ctx)
	e.check(err)
	if !strings.Contains(text, "10.20.1.10 > 198.51.100.10: ICMP echo request") {
		t.Errorf("what goes to an edge is not the workload's packet:\n%.1500s", text)
	}
}

func TestT34_TheLongestPrefixWinsAndADeletedRouteGoes(t *testing.T) {
	t.Parallel()
	e := withEdges(t, "prefixes", 2)
	for _, line := range []string{
		"lsr del LR-central to_outside2", // the default leads to edge 1 only
		"lsr add LR-central subnet 198.51.100.0/24 100.10.10.2 LR-central_to_m2",
		"lsr add LR-central host 198.51.100.10/32 100.10.10.2 LR-central_to_m1",
	} {
		e.tpctl(line)
	}
	far, server := e.far.Addrs()[0], e.server.Addrs()[0]
	seenAs := func(dst, want netip.Addr) {
		t.Helper()
		e.eventually(fmt.Sprintf("%s seen as %s", dst, want), func() error {
			seen, err := e.a.Ask(e.ctx, netip.AddrPort{}, echo(dst))
			if err == nil && seen.Addr() != want {
				err = fmt.Errorf("it is %s", seen)
			}
			return err
		})
	}
	seenAs(server, snat1)
	seenAs(far, snat1)
	e.tpctl("lsr del LR-central host")
	seenAs(far, snat2)
	seenAs(server, snat1)
	e.tpctl("lsr del LR-central subnet")
	seenAs(far, snat1)
	e.tpctl("lsr del LR-central to_outside1")
	e.eventually("no way outside", func() error {
		report, err := e.a.Ping(e.ctx, far, 20*time.Millisecond, 3)
		if err == nil && report.Received > 0 {
			err = errStillAnswers
		}
		return err
	})
}

func TestT33_PatchportAddMakesThePairItself(t *testing.T) {
	t.Parallel()
	e := newEdged(t, "patchport", lab.TwoNIC, 1)
	h := e.edge(1)
	e.startEdge(h)
	network := lab.TutorialEdgeNetwork(1)
	for i, line := range network {
		if strings.Contains(line, "lsp add outside1") {
			network[i] = "tpctl patchport add outside1 patchport-outside1 edge1-node br0"
		}
	}
	e.check(e.Host("alice").Type(e.ctx, nil, network...))
	e.check(h.Type(e.ctx, nil, lab.TutorialEdgeBridge(e.layout)...)) // after it was wanted
	e.reach(e.a, e.server.Addrs()[0])
	e.fetches(e.b, e.far.Addrs()[0], snat1)
	ports := func() string { return e.on(h, "ovs-vsctl list-ports br0") }
	if n := len(strings.Fields(ports())); n != 2 {
		t.Errorf("ports of br0: %s", ports())
	}
	e.tpctl("lsp del outside1 patchport-outside1")
	e.eventually("the pair to go", func() error {
		if left := ports(); strings.TrimSpace(left) != "eth1" {
			return fmt.Errorf("br0 has %q", left)
		}
		return nil
	})
}

func TestT37_TheEdgeAnswersForItsAddressesAndAnnouncesThem(t *testing.T) {
	t.Parallel()
	e := newEdged(t, "external", lab.TwoNIC, 1)
	wire, err := e.Outside().Capture(e.ctx, "arp")
	e.check(err)
	e.addEdge(1)
	e.reach(e.a, e.server.Addrs()[0])
	mac := strings.TrimSpace(after(e.tpctl("lrp show LR-edge1 LR-edge1_to_outside1"), "mac"))
	for _, ip := range []string{"192.168.1.20", snat1.String()} {
		e.eventually(ip+" to be at "+mac, func() error {
			_, _ = e.server.Exec(e.ctx, "ping", "-c", "1", "-W", "1", ip) // whether it answers pings or not, it is asked for by ARP
			out, err := e.server.Exec(e.ctx, "ip", "neigh", "show", ip)
			if err == nil && !strings.Contains(out, "lladdr "+mac+" ") {
				err = fmt.Errorf("it is at %q", out)
			}
			return err
		})
	}
	// It is told a moment after the flows are there.
	e.eventually("the announcements", func() error {
		text, err := wire.Text(e.ctx)
		for _, ip := range []string{"192.168.1.20", snat1.String()} {
			if err == nil && (!strings.Contains(text, "who-has "+ip+" ") || !strings.Contains(text, "tell "+ip+",") && !strings.Contains(text, ip+" is-at "+mac)) {
				err = fmt.Errorf("%s was not announced:\n%.2500s", ip, text)
			}
		}
		return err
	})
	_, err = wire.Stop(e.ctx)
	e.check(err)
}

// after is the rest of the line behind "key : " in a plain listing.
func after(listing, key string) string {
	for line := range strings.Lines(listing) {
		name, value, found := strings.Cut(line, ":")
		if found && strings.Trim(name, " -") == key {
			return value
		}
	}
	return ""
}

func TestG21_AFloatingAddressThatMovesIsAnnounced(t *testing.T) {
	t.Parallel()
	e := withEdges(t, "float-moves", 2)
	float := netip.MustParseAddr("192.168.1.40")
	e.tpctl("lnat add LR-edge1 float 10.20.1.10/32 dnat_and_snat 192.168.1.40")
	e.reach(e.server, float)
	wire, err := e.Outside().Capture(e.ctx, "arp")
	e.check(err)
	e.tpctl("lnat del LR-edge1 float")
	e.tpctl("lnat add LR-edge2 float 10.20.1.10/32 dnat_and_snat 192.168.1.40")
	mac := strings.TrimSpace(after(e.tpctl("lrp show LR-edge2 LR-edge2_to_outside2"), "mac"))
	// The server does not ask: its entry is fresh, and nothing is sent to the address meanwhile.
	e.eventually("the server to know that the address has moved", func() error {
		out, err := e.server.Exec(e.ctx, "ip", "neigh", "show", float.String())
		if err == nil && !strings.Contains(out, "lladdr "+mac+" ") {
			err = fmt.Errorf("it has %q", out)
		}
		return err
	})
	e.reach(e.server, float)
	text, err := wire.Stop(e.ctx)
	e.check(err)
	if !strings.Contains(text, mac+" > ff:ff:ff:ff:ff:ff") {
		t.Errorf("no announcement of %s:\n%.2000s", mac, text)
	}
}
