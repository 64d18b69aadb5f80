//go:build bench

package bench

import (
	"testing"
	"time"

	"tuplenet/e2e/lab"
)

// TestBenchFailover cuts the power of one of two ways outside under pings to eight destinations, one each 5 ms, and gives it back. BFD
// sends every 100 ms and gives up after three, on both sides.
func TestBenchFailover(t *testing.T) {
	compare(t, "failover", 0, map[string]target{
		"outage, p95":          {limit: 400},
		"lost when it is back": {limit: 0.5},
	}, []string{"two", "three"}, failover)
}

func failover(s side, r *record) {
	w := s.base()
	s.start(0, 1, 2)
	a := w.local(0, 0)
	s.write(network{switches: 2, ports: 4})
	s.gateways(1, 2)
	s.settled()
	var outages []time.Duration
	lost, worst := 0, time.Duration(0)
	for range envNumber(w.t, "FAULTS", "5") {
		w.pings(a, time.Second, nil) // everything is resolved and up
		w.quiet()
		_, gap := w.pings(a, 3*time.Second, w.Hosts()[1].CutPower)
		outages = append(outages, gap)
		l, gap := w.pings(a, 5*time.Second, w.Hosts()[1].RestorePower)
		lost, worst = max(lost, l), max(worst, gap)
	}
	r.milliseconds("outage", median(outages))
	r.milliseconds("outage, p95", quantile(outages, 0.95))
	r.add("lost when it is back", "pings", float64(lost))
	r.milliseconds("longest silence when it is back", worst)
}

// pings pings eight destinations for a second, does something, goes on for a time, and returns what the worst of them lost: pings and the
// longest time without a reply.
func (w *world) pings(from *lab.Workload, after time.Duration, do func() error) (lost int, gap time.Duration) {
	w.t.Helper()
	var all []*lab.Pinger
	for _, dst := range w.Outside().Destinations(8) {
		p, err := from.StartPing(w.ctx, dst, 5*time.Millisecond, 0)
		w.check(err)
		all = append(all, p)
	}
	for _, p := range all {
		w.check(p.Answered(w.ctx))
	}
	w.pause(time.Second)
	if do != nil {
		w.check(do())
	}
	w.pause(after)
	for _, p := range all {
		report, err := p.Stop()
		w.check(err)
		lost, gap = max(lost, report.Lost()), max(gap, report.Gap)
	}
	return lost, gap
}
