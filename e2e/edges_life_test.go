//go:build integration

package e2e_test

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"tuplenet/e2e/lab"
)

// Edges that come, go, or are not allowed to be any.

func TestT26_WithoutGatewayModeANodeOwnsNoPinnedRouter(t *testing.T) {
	t.Parallel()
	e := newEdged(t, "no-gateway", lab.TwoNIC, 1)
	h := e.edge(1)
	e.check(h.Type(e.ctx, nil, lab.TutorialEdgeBridge(e.layout)...))
	e.check(h.StartDaemonExactly(e.ctx, e.here(lab.TutorialDaemon())...))
	e.check(h.Type(e.ctx, nil, lab.TutorialEdgePatch(1)...))
	e.check(e.Host("alice").Type(e.ctx, nil, lab.TutorialEdgeNetwork(1)...))
	const why = "which is not a gateway (start its daemon with GATEWAY=1)"
	for _, command := range []string{"lr show LR-edge1", "lr show LR-edge1 -o json", "ch show alice", "ch show edge1-node"} {
		e.eventuallyShows(command, why)
	}
	report, err := e.a.Ping(e.ctx, e.server.Addrs()[0], 50*time.Millisecond, 5)
	e.check(err)
	if report.Received > 0 {
		t.Error("a node that is no gateway leads outside")
	}
	flows, err := h.Ofctl(e.ctx, "dump-flows", "--no-names", "br-int")
	e.check(err)
	if strings.Contains(flows, "nat(") {
		t.Errorf("it has flows that translate:\n%.1500s", flows)
	}
	e.check(h.StopDaemon(e.ctx))
	e.startEdge(h)
	e.reach(e.a, e.server.Addrs()[0], e.far.Addrs()[0])
	e.fetches(e.b, e.far.Addrs()[0], snat1)
	for _, command := range []string{"lr show LR-edge1", "ch show alice"} {
		e.eventually("no problem in "+command, func() error {
			if out := e.tpctl(command); strings.Contains(out, "problem") {
				return errors.New(out)
			}
			return nil
		})
	}
}

// pingAll pings many destinations outside; the function that it returns ends that, and nothing may have been lost.
func (e *edged) pingAll(w *lab.Workload, n int) (end func(during string)) {
	e.t.Helper()
	var pings []*lab.Pinger
	for _, dst := range e.Outside().Destinations(n) {
		p, err := w.StartPing(e.ctx, dst, pingInterval, 0)
		e.check(err)
		e.check(p.Answered(e.ctx))
		pings = append(pings, p)
	}
	return func(during string) {
		e.t.Helper()
		for _, p := range pings {
			report, err := p.Stop()
			e.check(err)
			if report.Lost() > 0 {
				e.t.Errorf("during %s: %v, longest silence %v", during, report, report.Gap)
			}
		}
	}
}

// In the tutorial's order, the route to the second edge comes before the edge's own routes, its patch port and its NAT rule.
func TestT41_ASecondEdgeIsAddedUnderTrafficWithoutLoss(t *testing.T) {
	e := newEdged(t, "second", lab.TwoNIC, 2)
	e.edgeEnv = nil // alone on the machine
	e.addEdge(1)
	e.reach(e.a, e.far.Addrs()[0])
	end := e.pingAll(e.a, 16)
	e.addEdge(2)
	e.inUse(2)
	e.during(100)
	end("the making of a second edge")

	// Away with it and back, slowly: at each step there is time for packets to get lost.
	for _, line := range []string{"lsr del LR-central to_outside2", "lnat del LR-edge2 snat_rule2", "lsr del LR-edge2 to_ext_world2", "lsp del outside2 patchport-outside2"} {
		e.tpctl(line)
	}
	e.inUse(1)
	end = e.pingAll(e.b, 16)
	for _, line := range lab.TutorialEdgeNetwork(2) {
		for _, missing := range []string{"to_outside2", "to_ext_world2", "patchport", "snat_rule2"} {
			if strings.Contains(line, "add ") && strings.Contains(line, missing) {
				e.check(e.Host("alice").Type(e.ctx, nil, line))
				e.during(20)
				break
			}
		}
	}
	e.inUse(2)
	e.during(100)
	end("the making of a second edge, slowly")
	e.eventuallyShows("lsp show m2 m2_to_LR-edge2", "chassis: edge2-node")
}

func TestT58_AChassisThatIsDeletedIsNoLongerWatched(t *testing.T) {
	t.Parallel()
	e := withEdges(t, "ch-del", 2)
	others := []*lab.Host{e.Host("alice"), e.Host("bob"), e.edge(1)}
	// Whom a host watches, and whom it sends to.
	knows := func(h *lab.Host) string {
		ports, err := h.Vsctl(e.ctx, "--bare", "--columns=options", "list", "Interface")
		e.check(err)
		flows, err := h.Ofctl(e.ctx, "dump-flows", "--no-names", "br-int")
		e.check(err)
		groups, err := h.Ofctl(e.ctx, "dump-groups", "br-int")
		e.check(err)
		return ports + flows + groups
	}
	address := regexp.MustCompile(regexp.QuoteMeta(ip(e.edge(2))) + `\b|0xc0a8010d\b`)
	// Groups that choose among edges; on demand there are others, which watch the daemon.
	ways := regexp.MustCompile(`type=select.*`)
	watching := func() (n int) {
		for _, group := range ways.FindAllString(knows(e.Host("alice")), -1) {
			n += strings.Count(group, "watch_port:")
		}
		return n
	}
	for _, h := range others {
		if !address.MatchString(knows(h)) {
			t.Errorf("%s does not know edge 2", h.Name())
		}
	}
	if n := watching(); n != 2 {
		t.Errorf("alice watches in %d buckets", n)
	}
	e.check(e.edge(2).StopDaemon(e.ctx))
	e.tpctl("ch del " + ip(e.edge(2)))
	for _, h := range others {
		e.eventually(h.Name()+" to forget edge 2", func() error {
			if left := address.FindString(knows(h)); left != "" {
				return fmt.Errorf("it still has %s", left)
			}
			return nil
		})
	}
	e.inUse(1)
	e.eventually("alice to watch in no bucket", func() error {
		if watching() > 0 {
			return errStillThere
		}
		return nil
	})
	if out := e.tpctl("ch show"); strings.Contains(out, "edge2-node:") {
		t.Errorf("it is still listed:\n%s", out)
	}
	if out := e.tpctl("lsp show"); strings.Contains(out, "edge2-node") {
		t.Errorf("it still has ports:\n%s", out)
	}
	e.startEdge(e.edge(2))
	e.inUse(2)
}

// edgeCommand is the one command for an edge of that number.
func edgeCommand(verb string, n int) string {
	return fmt.Sprintf("edge %s --chassis edge%d-node --phy-br br0 --vip 192.168.1.%d/24 --ext-gw 192.168.1.1 --snat %s --virt 10.20.0.0/16 --inner 100.10.%d.0/24",
		verb, n, 19+n, lab.TutorialSNAT(n), n)
}

func TestT63_OneCommandMakesAnEdgeAndOneDrainsAndRemovesIt(t *testing.T) {
	e := newEdged(t, "edge-cmd", lab.TwoNIC, 2)
	e.edgeEnv = nil // alone on the machine
	for n := range 2 {
		h := e.edge(n + 1)
		e.check(h.Type(e.ctx, nil, lab.TutorialEdgeBridge(e.layout)...))
		e.startEdge(h)
	}
	e.tpctl(edgeCommand("init", 1))
	e.reach(e.a, e.far.Addrs()[0])
	end := e.pingAll(e.a, 16)
	e.tpctl(edgeCommand("add", 2))
	e.inUse(2)
	e.during(50)
	end("edge add")
	for _, w := range []*lab.Workload{e.a, e.b} {
		e.fetches(w, e.server.Addrs()[0], snat1, snat2)
		e.fetches(w, e.far.Addrs()[0], snat1, snat2)
	}
	end = e.pingAll(e.a, 16)
	e.tpctl("edge remove --name edge1 --yes")
	e.inUse(1)
	e.during(50)
	end("edge remove")
	if _, times := e.survey(e.b, 64); times[snat2] != 64 {
		t.Errorf("seen as %v", times)
	}
	if left := e.tpctl("lr show") + e.tpctl("ls show"); strings.Contains(left, "edge1") || strings.Contains(left, "outside1") {
		t.Errorf("left of edge 1:\n%s", left)
	}
	e.eventually("the patch pair to go", func() error {
		if left := strings.TrimSpace(e.on(e.edge(1), "ovs-vsctl list-ports br0")); left != "eth1" {
			return fmt.Errorf("br0 has %q", left)
		}
		return nil
	})
}
