//go:build bench

package bench

import (
	"fmt"
	"testing"
	"time"

	"tuplenet/e2e/lab"
)

// TestBenchRestart kills a daemon whose switch is full, with IPv4 and with both families, and starts it anew.
func TestBenchRestart(t *testing.T) {
	for _, size := range sizes(t) {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			run := newRun(t, "restart", size, "")
			for _, dual := range []bool{false, true} {
				name := map[bool]string{false: "ipv4", true: "dual"}[dual]
				t.Run(name, func(t *testing.T) { restart(newOurs(t, "restart"), &record{t, run, true, nil}, dual, name+", ") })
			}
			if !t.Failed() {
				write(t, run)
			}
		})
	}
}

func restart(o *ours, r *record, dual bool, family string) {
	n := networkOf(r.run.Size)
	n.dual = dual
	o.start(0)
	o.local(0, 0)
	before, begun := o.used(), time.Now()
	o.write(n)
	r.seconds(family+"first write to chassis applied", time.Since(begun))
	r.seconds(family+"CPU of all daemons", o.used().since(before).sum())
	r.add(family+"flows", "flows", float64(o.flows(0)))
	o.quiet()
	h := o.Hosts()[0]
	now, peak := o.atRest(h.Daemon())
	r.add(family+"memory", "MB", now)
	r.add(family+"memory, at most", "MB", peak)
	o.check(h.KillDaemon(o.ctx))
	begun = time.Now()
	o.check(lab.WaitFor(o.ctx, "the daemon to start again", func() error { return h.StartDaemon(o.ctx, daemonEnv...) })) // the killed one still goes
	r.seconds(family+"started anew, in sync", time.Since(begun))
	r.seconds(family+"started anew, CPU of the daemon", cpuOf(h.Daemon().PID))
	_, peak = o.atRest(h.Daemon())
	r.add(family+"started anew, memory at most", "MB", peak)
}
