//go:build bench

package bench

import (
	"fmt"
	"testing"
	"time"

	"tuplenet/e2e/lab"
)

// TestBenchScale writes ports on switches of 100 behind one router while two chassis follow, with two local ports each, and then lets a
// third chassis join.
func TestBenchScale(t *testing.T) {
	for _, size := range sizes(t) {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			compare(t, "scale", size, map[string]target{
				"first write to both chassis applied": {ratio: 0.1},
				"CPU of all daemons":                  {ratio: 0.125},
				"memory of the node's daemon":         {ratio: 0.25},
				"third chassis joins, first ping":     {ratio: 0.1},
			}, nil, scaleUp)
		})
	}
}

// nodeDaemon is the name of the process that makes flows on each node.
func nodeDaemon(s side) string {
	if _, ok := s.(*ours); ok {
		return "tuplenet"
	}
	return "ovn-controller"
}

func scaleUp(s side, r *record) {
	w := s.base()
	n := networkOf(r.run.Size)
	s.start(0, 1)
	a := w.local(0, 0)
	for _, at := range [][2]int{{0, 1}, {1, 0}, {1, 1}} {
		w.local(at[0], at[1])
	}
	w.quiet()

	profiled := func() {}
	if r.ours {
		profiled = w.profile(w.Hosts()[0], fmt.Sprintf("scale-%d", r.run.Size))
	}
	before, begun := w.used(), time.Now()
	s.write(n)
	r.seconds("first write to both chassis applied", time.Since(begun))
	used := w.used().since(before)
	w.t.Logf("until then %s", used)
	w.check(a.Reaches(w.ctx, portIP(0, 1)))
	w.check(a.Reaches(w.ctx, portIP(1, 1)))
	profiled()
	w.quiet()
	used = w.used().since(before)
	w.t.Logf("until all rest %s", used)
	r.seconds("CPU of all daemons", used.sum())
	r.seconds("CPU of clients", used.clients)
	now, peak := w.atRest(w.process("one", nodeDaemon(s)))
	r.add("memory of the node's daemon", "MB", now)
	r.add("memory of the node's daemon, at most", "MB", peak)
	r.add("memory of all daemons, at most", "MB", w.memoryOfAll())
	r.add("flows of a node", "flows", float64(w.flows(0)))
	third(s, r, a)
}

// third lets a third chassis join, whose workload is plugged in before its daemon starts. Its port is on the switch of a's.
func third(s side, r *record, a *lab.Workload) {
	w := s.base()
	c := w.local(2, 0)
	w.knows(a, c)
	ping, err := a.StartPing(w.ctx, portIP(0, 2), 5*time.Millisecond, 0)
	w.check(err)
	before, begun := w.used(), time.Now()
	s.join(2)
	w.check(ping.Answered(w.ctx))
	r.seconds("third chassis joins, first ping", time.Since(begun))
	_, err = ping.Stop()
	w.check(err)
	w.check(c.Reaches(w.ctx, portIP(1, 1)))
	r.seconds("third chassis joins, routed ping", time.Since(begun))
	w.quiet()
	r.seconds("third chassis joins, CPU of all daemons", w.used().since(before).sum())
}

// memoryOfAll is the sum of what all daemons of the lab held at most, megabytes.
func (w *world) memoryOfAll() (sum float64) {
	for _, p := range append(w.Processes(), w.beside...) {
		_, peak := memory(p.PID)
		sum += peak
	}
	return sum
}

// atRest is the memory of a process once it does not shrink any more, and what it was at most, megabytes.
func (w *world) atRest(p lab.Process) (now, peak float64) {
	w.t.Helper()
	now, _ = memory(p.PID)
	for steady := 0; steady < 6; steady++ {
		w.pause(500 * time.Millisecond)
		m, _ := memory(p.PID)
		if m < now-1 {
			steady = 0
		}
		now = m
	}
	_, peak = memory(p.PID)
	return now, peak
}
