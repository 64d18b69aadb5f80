package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"tuplenet/e2e/lab"
)

const (
	demoEdges = 2
	webPort   = lab.OutsideWeb
	echoPort  = lab.OutsideEcho

	// destinations is how many addresses outside are spread over the edges; edgePings how many of each edge are pinged.
	destinations = 256
	edgePings    = 4
)

// edges plays sections 2 and 3: two edges, what the outside sees, and the loss of one.
func (d *demo) edges(ctx context.Context) error {
	out := d.lab.Outside()
	a, b := d.lab.Workload("ns-alice"), d.lab.Workload("ns-bob")
	for _, s := range []*lab.Workload{out.Server, out.Far} {
		if _, err := s.StartWeb(ctx, webPort); err != nil {
			return err
		}
		if _, err := s.StartEcho(ctx, echoPort); err != nil {
			return err
		}
	}
	if err := d.edge(ctx, 1); err != nil {
		return err
	}
	d.outside(ctx, a, b)
	// The second one comes while pings run: nobody notices.
	all := d.lab.Outside().Destinations(edgePings)
	pings, err := startPings(ctx, a, all)
	if err != nil {
		return err
	}
	if err := d.edge(ctx, 2); err != nil {
		return err
	}
	through, err := d.spread(ctx, a, demoEdges)
	if err != nil {
		return err
	}
	d.row("ECMP", len(through) == demoEdges, "%s", shares(through))
	lost, gap, err := stopPings(pings)
	d.row("adding edge2", err == nil && lost == 0, "%s", say(fmt.Sprintf("%d pings of any destination lost, longest silence %v", lost, gap.Round(time.Millisecond)), err))
	return d.failover(ctx, a, through)
}

// edge types the sections of an edge, of the number given.
func (d *demo) edge(ctx context.Context, n int) error {
	d.step(fmt.Sprintf("%d. edge%d: its bridge, tuplenet as a gateway, the patch ports", n+1, n))
	h := d.lab.Host(fmt.Sprintf("edge%d", n))
	if err := h.Type(ctx, d.typed, lab.TutorialEdgeBridge(lab.TwoNIC)...); err != nil {
		return err
	}
	command := lab.TutorialEdgeDaemon(lab.TwoNIC)
	d.typed(h.Name(), strings.Join(command[:2], " ")+" tuplenet "+strings.Join(command[2:], " "))
	if err := h.StartDaemonExactly(ctx, command...); err != nil {
		return err
	}
	if err := h.Type(ctx, d.typed, lab.TutorialEdgePatch(n)...); err != nil {
		return err
	}
	return d.lab.Host("alice").Type(ctx, d.typed, lab.TutorialEdgeNetwork(n)...)
}

// outside checks what both workloads get from the physical network through the first edge.
func (d *demo) outside(ctx context.Context, workloads ...*lab.Workload) {
	d.step("2.2 ping and HTTP to the physical network, and to the subnet behind its router")
	out := d.lab.Outside()
	for _, w := range workloads {
		for _, s := range []*lab.Workload{out.Server, out.Far} {
			addr := s.Addrs()[0]
			d.ping(ctx, w, addr)
			seen, err := w.Fetch(ctx, netip.AddrPortFrom(addr, webPort))
			d.row(fmt.Sprintf("HTTP from %s to %s", w.Name, addr), err == nil && seen == lab.TutorialSNAT(1), "%s",
				say(fmt.Sprintf("1 MiB, SHA-256 equal, the server saw %s", seen), err))
		}
	}
}

// failover pings some destinations through each edge, cuts the power of the first, and says what that cost.
func (d *demo) failover(ctx context.Context, w *lab.Workload, through map[netip.Addr][]netip.Addr) error {
	d.step(fmt.Sprintf("3. %d destinations over two edges: the power of edge1 fails", destinations))
	var pings [demoEdges][]*lab.Pinger
	for n := range pings {
		dst := through[lab.TutorialSNAT(n+1)]
		var err error
		if pings[n], err = startPings(ctx, w, dst[:min(edgePings, len(dst))]); err != nil {
			return err
		}
	}
	if err := d.lab.Host("edge1").CutPower(); err != nil {
		return err
	}
	if _, err := w.Ping(ctx, netip.MustParseAddr("10.20.2.10"), 20*time.Millisecond, 75); err != nil {
		return err
	}
	for n := range pings {
		d.outage(n+1, pings[n])
	}
	through, err := d.spread(ctx, w, demoEdges-1)
	d.row("afterwards", err == nil && len(through[lab.TutorialSNAT(demoEdges)]) == destinations, "%s", say(shares(through), err))
	return nil
}

// outage reports on the pings through an edge, of which the first is dead.
func (d *demo) outage(edge int, pings []*lab.Pinger) {
	lost, gap, err := stopPings(pings)
	what, ok := "outage of edge1's destinations", gap < time.Second
	if edge > 1 {
		what, ok = fmt.Sprintf("outage of edge%d's destinations", edge), lost == 0
	}
	result := fmt.Sprintf("at most %d pings of a destination lost, longest silence %v", lost, gap.Round(time.Millisecond))
	d.row(what, err == nil && ok, "%s", say(result, err))
}

// startPings pings destinations every 10 ms; all have answered once when it returns.
func startPings(ctx context.Context, w *lab.Workload, dst []netip.Addr) (pings []*lab.Pinger, err error) {
	for _, addr := range dst {
		p, err := w.StartPing(ctx, addr, 10*time.Millisecond, 0)
		if err != nil {
			return nil, err
		}
		if err := p.Answered(ctx); err != nil {
			return nil, err
		}
		pings = append(pings, p)
	}
	return pings, nil
}

// stopPings ends pings and returns the most lost by one of them, and the longest silence.
func stopPings(pings []*lab.Pinger) (lost int, gap time.Duration, err error) {
	for _, p := range pings {
		report, failed := p.Stop()
		err = errors.Join(err, failed)
		lost, gap = max(lost, report.Lost()), max(gap, report.Gap)
	}
	return lost, gap, err
}

// spread asks destinations as what they see the workload, until so many edges are in use.
func (d *demo) spread(ctx context.Context, w *lab.Workload, alive int) (through map[netip.Addr][]netip.Addr, err error) {
	all := d.lab.Outside().Destinations(destinations)
	err = lab.WaitFor(ctx, fmt.Sprintf("%d edges in use", alive), func() error {
		seen, err := w.Survey(ctx, echoPort, all)
		through = map[netip.Addr][]netip.Addr{}
		for _, dst := range all {
			through[seen[dst]] = append(through[seen[dst]], dst)
		}
		if err == nil && len(through) != alive {
			err = fmt.Errorf("the destinations saw %s", shares(through))
		}
		return err
	})
	return through, err
}

// shares says how many destinations saw which address.
func shares(through map[netip.Addr][]netip.Addr) string {
	var texts []string
	for n := 1; n <= demoEdges; n++ {
		snat := lab.TutorialSNAT(n)
		texts = append(texts, fmt.Sprintf("%d saw %s", len(through[snat]), snat))
	}
	return strings.Join(texts, ", ")
}
