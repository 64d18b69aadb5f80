//go:build integration

package e2e_test

import (
	"context"
	"errors"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"tuplenet/e2e/lab"
)

// maxOutage is how long the destinations of an edge that died may be silent, beyond what the machine makes others wait.
const maxOutage = 400 * time.Millisecond

// edgePings are pings to destinations outside, by the edge that they go through.
type edgePings struct {
	e      *edged
	byEdge map[netip.Addr][]*lab.Pinger
}

// startEdgePings pings as many destinations through each of the edges at an interval of 10 ms, which kernels may round
// up. There must be 256 destinations spread over both.
func (e *edged) startEdgePings(w *lab.Workload, each int) *edgePings {
	e.t.Helper()
	seen, _ := e.survey(w, 256)
	p := &edgePings{e: e, byEdge: map[netip.Addr][]*lab.Pinger{}}
	for _, dst := range e.Outside().Destinations(256) {
		through := seen[dst]
		if len(p.byEdge[through]) == each {
			continue
		}
		pinger, err := w.StartPing(e.ctx, dst, pingInterval, 0)
		e.check(err)
		e.check(pinger.Answered(e.ctx))
		p.byEdge[through] = append(p.byEdge[through], pinger)
	}
	for _, through := range []netip.Addr{snat1, snat2} {
		if n := len(p.byEdge[through]); n != each {
			e.t.Fatalf("only %d destinations are seen as %s", n, through)
		}
	}
	return p
}

// stop ends the pings through an edge and returns the most lost by one of them, and the longest silence.
func (p *edgePings) stop(through netip.Addr) (lost int, gap time.Duration) {
	p.e.t.Helper()
	for _, pinger := range p.byEdge[through] {
		report, err := pinger.Stop()
		p.e.check(err)
		lost, gap = max(lost, report.Lost()), max(gap, report.Gap)
	}
	return lost, gap
}

// during waits while so many pings at 10 ms go to an address that answers.
func (e *edged) during(pings int) {
	e.t.Helper()
	_, err := e.a.Ping(e.ctx, bobIP, pingInterval, pings)
	e.check(err)
}

// What the loss of an edge costs, in each way that an edge can be lost. docs/benchmarks.md has the figures of a run.
func TestT43_T45_TheDestinationsOfADeadEdgeMoveAndNoOthers(t *testing.T) {
	power := func(_ *edged, h *lab.Host) error { return h.CutPower() }
	for _, c := range []struct {
		name   string
		layout lab.Layout
		kill   func(e *edged, h *lab.Host) error
	}{
		{"power", lab.TwoNIC, power},
		{"underlay", lab.TwoNIC, func(_ *edged, h *lab.Host) error { return h.CutUnderlay() }},
		{"switch", lab.TwoNIC, func(e *edged, h *lab.Host) error { return h.KillSwitch(e.ctx) }},
		{"no-daemons", lab.TwoNIC, func(e *edged, h *lab.Host) error {
			e.check(e.Host("alice").KillDaemon(e.ctx))
			return h.CutPower()
		}},
		{"power", lab.OneNIC, power},
	} {
		name := c.name + "-" + string(c.layout)
		t.Run(name, func(t *testing.T) {
			for again, left := true, 2; again; left-- {
				again = false
				t.Run("", func(t *testing.T) {
					e := quickEdges(t, "fail-"+c.name, c.layout, 2)
					again = e.losesEdge(name, func() error { return c.kill(e, e.edge(1)) }, left > 0)
				})
			}
		})
	}
}

// heldUp is how long hosts may be silent to each other for reasons of the machine, and a tunnel between them does still not count as
// down: that takes 300 ms from the last word.
const heldUp = 200 * time.Millisecond

// losesEdge has edge 1 die and judges what that costs. With excuses, it tells whether the machine held up alice or edge 2 meanwhile,
// so that what was lost may not be due to that death: they ping each other past all that is under test.
func (e *edged) losesEdge(name string, kill func() error, excuses bool) (excused bool) {
	t := e.t
	t.Helper()
	control, err := e.Host("alice").StartPing(e.ctx, e.edge(2).Addrs()[0], pingInterval, 0)
	e.check(err)
	e.check(control.Answered(e.ctx))
	p := e.startEdgePings(e.a, 8)
	e.during(50)
	e.check(kill())
	e.during(100)
	lost, stall := p.stop(snat2)
	lostOfDead, gap := p.stop(snat1)
	hosts, err := control.Stop()
	e.check(err)
	t.Logf("%s: through the living edge: %d lost, longest silence %v; between hosts %v", name, lost, stall, hosts.Gap)
	t.Logf("%s: through the dead edge: at most %d pings of one destination lost, longest silence %v", name, lostOfDead, gap)
	if excuses && (lost > 0 || gap > maxOutage+stall) && (hosts.Gap >= heldUp || hosts.Lost() > 0) {
		t.Logf("not judged, and done again: the machine held up the hosts for %v", hosts.Gap)
		return true
	}
	if lost > 0 {
		t.Errorf("through the edge that lives: %d pings of one destination lost", lost)
	}
	if gap > maxOutage+stall {
		t.Errorf("a destination was silent for %v, at most %v are allowed, and %v that others were too", gap, maxOutage, stall)
	}
	if _, times := e.survey(e.a, 256); times[snat2] != 256 {
		t.Errorf("the destinations are seen as %v", times)
	}
	e.fetches(e.a, e.far.Addrs()[0], snat2)
	return false
}

func TestT43_AnEdgeThatComesBackTakesItsDestinationsOnce(t *testing.T) {
	e := quickEdges(t, "fail-back", lab.TwoNIC, 2)
	before, _ := e.survey(e.a, 256)
	edge := e.edge(1)
	for range 3 { // it flaps
		e.check(edge.CutPower())
		e.inUse(1)
		e.check(edge.RestorePower())
		e.inUse(2)
	}
	after, _ := e.survey(e.a, 256)
	for dst, as := range before {
		if after[dst] != as {
			t.Errorf("%s saw %s and, after all, %s", dst, as, after[dst])
		}
	}
}

// BFD may be wrong of all edges at once, as on a machine whose switch did not get to run for a moment, and all edges of that machine: then they
// send to each other as before.
func TestT43_EdgesThatBFDGivesUpAllAtOnceAreUsedAsBefore(t *testing.T) {
	for _, who := range []string{"the host", "the edges"} {
		t.Run(who, func(t *testing.T) {
			e := withEdges(t, "nobfd-"+who[4:5], 2)
			alice, edges := e.Host("alice"), []*lab.Host{e.edge(1), e.edge(2)}
			deaf, mute := []*lab.Host{alice}, edges
			if who == "the edges" {
				deaf, mute = edges, deaf
			}
			before, _ := e.survey(e.a, 64)
			p, err := e.a.StartPing(e.ctx, e.far.Addrs()[0], 20*time.Millisecond, 0)
			e.check(err)
			e.check(p.Answered(e.ctx))
			for _, h := range mute {
				e.check(h.KillDaemon(e.ctx)) // it would watch again
				for _, port := range strings.Fields(e.on(h, "ovs-vsctl --bare --columns=name find interface bfd:enable=true")) {
					e.on(h, "ovs-vsctl set interface "+port+" bfd:enable=false")
				}
			}
			for _, h := range deaf {
				for _, other := range mute {
					e.eventually("BFD on "+h.Name()+" to give up "+other.Name(), func() error {
						state, err := h.Vsctl(e.ctx, "--bare", "--columns=bfd_status", "find", "interface", "bfd:enable=true", "options:remote_ip=\""+ip(other)+"\"")
						if err == nil && !strings.Contains(state, "forwarding=false") {
							err = errors.New(state)
						}
						return err
					})
				}
			}
			e.during(50)
			after, _ := e.survey(e.a, 64)
			for dst, as := range before {
				if after[dst] != as {
					t.Errorf("%s saw %s and, without BFD, %s", dst, as, after[dst])
				}
			}
			report, err := p.Stop()
			e.check(err)
			if report.Lost() > 0 {
				t.Errorf("%v", report)
			}
			if who == "the host" {
				out := e.tpctl("trace --from lsp-alice --to " + e.far.Addrs()[0].String())
				if !strings.Contains(out, "no way is alive: all are used as if they were") {
					t.Error(out)
				}
			}
		})
	}
}

func TestT45_ConnectionsThroughADeadEdgeBreakAndNewOnesWork(t *testing.T) {
	e := quickEdges(t, "break", lab.TwoNIC, 2)
	talks := map[netip.Addr][]*lab.Conversation{}
	to := map[*lab.Conversation]netip.Addr{}
	for _, dst := range e.Outside().Destinations(40) {
		talk, err := e.a.Converse(e.ctx, netip.AddrPort{}, echo(dst))
		e.check(err)
		through := talk.Seen.Addr()
		talks[through], to[talk] = append(talks[through], talk), dst
	}
	e.check(e.edge(1).CutPower())
	e.inUse(1)
	for _, talk := range talks[snat2] {
		e.check(talk.Say(e.ctx))
	}
	if len(talks[snat1]) == 0 {
		t.Fatal("no connection through edge 1")
	}
	short, cancel := context.WithTimeout(e.ctx, 3*time.Second)
	defer cancel()
	if err := talks[snat1][0].Say(short); err == nil {
		t.Error("a connection goes on with another address")
	}
	for _, talk := range talks[snat1] {
		again, err := e.a.Converse(e.ctx, netip.AddrPort{}, echo(to[talk]))
		e.check(err)
		if again.Seen.Addr() != snat2 {
			t.Errorf("a new connection is seen as %s", again.Seen)
		}
		e.check(again.Say(e.ctx))
	}
}

func TestT43_ChassisShowTellsBFD(t *testing.T) {
	t.Parallel()
	e := withEdges(t, "bfd", 2)
	quiet := func() {
		t.Helper()
		e.eventually("nothing to be unreachable", func() error {
			if out := e.tpctl("ch show"); strings.Contains(out, "unreachable") || strings.Contains(out, "BFD") {
				return errors.New(out)
			}
			return nil
		})
	}
	quiet()
	e.check(e.edge(1).CutUnderlay())
	e.eventuallyShows("ch show edge1-node", "unreachable from: alice,bob,edge2-node")
	e.eventuallyShows("ch show alice", "chassis/edge1-node: the tunnel to it does not answer (BFD is down)")
	e.eventuallyShows("ch show edge1-node -o json", `"unreachableFrom"`)
	e.check(e.edge(1).RestoreUnderlay())
	quiet()
}

// routedBack leaves NAT out: the outside has a route to the workloads through edge 1.
func (e *edged) routedBack() {
	e.t.Helper()
	e.tpctl("lnat del LR-edge1 snat_rule1")
	e.tpctl("lnat del LR-edge2 snat_rule2")
	e.check(e.exec(e.server, "ip route add 10.20.0.0/16 via 192.168.1.20"))
	e.reach(e.server, aliceIP, bobIP)
}

func TestT29_AnEdgeThatCannotReachAHostSendsByWayOfTheOther(t *testing.T) {
	t.Parallel()
	e := withEdges(t, "redirect", 2)
	e.routedBack()
	e.check(e.CutBetween(e.ctx, e.edge(1), e.Host("bob")))
	e.reach(e.server, bobIP, aliceIP)
	report, err := e.server.Ping(e.ctx, bobIP, 20*time.Millisecond, 50)
	e.check(err)
	if report.Lost() > 0 {
		t.Errorf("with the way from edge 1 to bob cut: %v", report)
	}
	e.transfer(e.server, e.b, bobIP, 1<<20)

	// With no way at all, nothing turns round between the edges.
	e.check(e.CutBetween(e.ctx, e.edge(2), e.Host("bob")))
	e.eventuallyShows("ch show bob", "unreachable from: edge1-node,edge2-node")
	wire, err := e.edge(1).CaptureUnderlay(e.ctx, tunnels()+" and host "+ip(e.edge(2)))
	e.check(err)
	report, err = e.server.Ping(e.ctx, bobIP, 20*time.Millisecond, 10)
	e.check(err)
	if report.Received > 0 {
		t.Errorf("with no way to bob: %v", report)
	}
	text, err := wire.Stop(e.ctx)
	e.check(err)
	if n := strings.Count(text, "192.168.1.250 > 10.20.2.10: ICMP echo request"); n > 10 {
		t.Errorf("10 pings crossed the way between the edges %d times", n)
	}
	e.check(e.RestoreBetween(e.ctx, e.edge(1), e.Host("bob")))
	e.reach(e.server, bobIP)
}

func TestT29_WithoutRedirectAnEdgeThatCannotReachAHostDropsWhatIsForIt(t *testing.T) {
	t.Parallel()
	e := newEdged(t, "no-redirect", lab.TwoNIC, 2)
	for n := range 2 {
		h := e.edge(n + 1)
		e.check(h.Type(e.ctx, nil, lab.TutorialEdgeBridge(e.layout)...))
		e.check(h.StartDaemonExactly(e.ctx, append([]string{"ENABLE_REDIRECT=0", calm}, e.here(lab.TutorialEdgeDaemon(e.layout))...)...))
		e.check(h.Type(e.ctx, nil, lab.TutorialEdgePatch(n+1)...))
		e.check(e.Host("alice").Type(e.ctx, nil, lab.TutorialEdgeNetwork(n+1)...))
	}
	e.inUse(2)
	e.routedBack()
	e.check(e.CutBetween(e.ctx, e.edge(1), e.Host("bob")))
	e.eventually("bob to be cut off from what comes through edge 1", func() error {
		report, err := e.server.Ping(e.ctx, bobIP, 20*time.Millisecond, 3)
		if err == nil && report.Received > 0 {
			err = errStillAnswers
		}
		return err
	})
	e.reach(e.server, aliceIP)
}

func TestT43_AnEdgeWithoutItsDaemonLosesNothing(t *testing.T) {
	e := quickEdges(t, "fail-daemon", lab.TwoNIC, 2)
	p := e.startEdgePings(e.a, 8)
	e.check(e.edge(1).KillDaemon(e.ctx))
	e.during(100)
	e.startEdge(e.edge(1))
	e.during(100)
	for _, through := range []netip.Addr{snat1, snat2} {
		lost, gap := p.stop(through)
		if lost > 0 {
			t.Errorf("seen as %s: %d pings of one destination lost, longest silence %v", through, lost, gap)
		}
		t.Logf("daemon killed and started again: seen as %s: %d lost, longest silence %v", through, lost, gap)
	}
}

func TestT67_NATedConnectionsSurviveTheEdgesDaemon(t *testing.T) {
	e := withEdges(t, "edge-daemon", 1)
	h := e.edge(1)
	var all []*lab.Conversation
	for range 10 {
		talk, err := e.a.Converse(e.ctx, netip.AddrPort{}, echo(e.far.Addrs()[0]))
		e.check(err)
		all = append(all, talk)
	}
	say := func() {
		t.Helper()
		for _, talk := range all {
			e.check(talk.Say(e.ctx))
		}
	}
	say()
	before, beforeFlows := e.tracked(h), e.ages(h)
	e.check(h.KillDaemon(e.ctx))
	say()
	e.startEdge(h)
	e.tpctl("lsp add LS-A after-restart 10.20.1.99 --wait=60s") // the daemon has settled
	say()
	after := e.tracked(h)
	for entry := range before {
		if !after[entry] {
			t.Errorf("gone from conntrack: %s", entry)
		}
	}
	now := e.ages(h)
	for flow, age := range beforeFlows {
		if now[flow] < age {
			t.Errorf("added anew, or gone: %s", flow)
		}
	}
	e.fetches(e.b, e.far.Addrs()[0], snat1)
}

// tracked are the TCP connections that the host's switch tracks, without their states.
func (e *edged) tracked(h *lab.Host) map[string]bool {
	e.t.Helper()
	out, err := h.Appctl(e.ctx, "dpctl/dump-conntrack", "netdev@ovs-netdev")
	e.check(err)
	all := map[string]bool{}
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "tcp,") {
			all[regexp.MustCompile(`,protoinfo=.*`).ReplaceAllString(strings.TrimSpace(line), "")] = true
		}
	}
	if len(all) == 0 {
		e.t.Errorf("%s tracks no connection:\n%.800s", h.Name(), out)
	}
	return all
}
