//go:build bench

package bench

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"tuplenet/e2e/lab"
)

// TestBenchPortAdd adds and deletes single ports with so many in place, by the client of each side that stays. All clocks begin before
// the client is asked: that of the first flow which outputs to the new interface on its own chassis, as the switch itself tells, and that
// of the first reply to a workload on the other chassis, which pings every 5 ms.
func TestBenchPortAdd(t *testing.T) {
	for _, size := range sizes(t) {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			compare(t, "port add", size, map[string]target{
				"flow in the switch, p50":              {ratio: 0.125},
				"CPU per port added and deleted":       {ratio: 0.1},
				"CPU per port, daemons alone":          {},
				"first ping from another chassis":      {},
				"first ping from another chassis, p95": {},
			}, nil, portAdds)
		})
	}
}

// deployed starts two chassis with the workloads of the scale scenario and writes the network. It returns one of each chassis, on the
// same switch.
func deployed(s side, n network) (a, b *lab.Workload) {
	w := s.base()
	s.start(0, 1)
	a, b = w.local(0, 0), w.local(1, 0)
	w.local(0, 1)
	w.local(1, 1)
	s.write(n)
	w.check(a.Reaches(w.ctx, portIP(0, 1)))
	w.check(a.Reaches(w.ctx, portIP(1, 1)))
	w.quiet()
	return a, b
}

// pace is the time between two changes whose processor time is measured: time for the daemons to become idle again.
const pace = 200 * time.Millisecond

func portAdds(s side, r *record) {
	w := s.base()
	n := networkOf(r.run.Size)
	_, pinger := deployed(s, n)
	ip := portIP(0, n.ports+20)
	fresh := w.workload(0, 0, "new", ip, true)
	w.knows(pinger, fresh)
	plug := w.plugger(fresh)
	rounds := envNumber(w.t, "PORTS", "20")

	var written, installed, answered []time.Duration
	for i := range rounds + 1 {
		client, flow, ping := addTimed(s, pinger, plug, ip)
		if i > 0 { // the first one warms up
			written, installed, answered = append(written, client), append(installed, flow), append(answered, ping)
		}
	}
	r.milliseconds("of which the client's program", median(written))
	r.milliseconds("flow in the switch, p50", median(installed))
	r.milliseconds("first ping from another chassis", median(answered))
	r.milliseconds("first ping from another chassis, p95", quantile(answered, 0.95))

	s.rested()
	all, daemons := w.perRound(rounds, func() {
		s.addPort(0, "new", ip)
		plug.in()
		w.pause(pace)
		plug.out()
		s.delPort(0, "new")
		w.pause(pace)
	})
	r.milliseconds("CPU per port added and deleted", all)
	r.milliseconds("CPU per port, daemons alone", daemons)
	all, _ = w.perRound(rounds, func() { // what both sides cannot save
		plug.in()
		w.pause(pace)
		plug.out()
		w.pause(pace)
	})
	r.milliseconds("CPU of plugging alone", all)
}

// perRound is the processor time of daemons and clients together, and of the daemons alone, that a round of something costs beyond what the
// daemons use when idle, which is measured before and after: a daemon may be looking through its switch for the first time.
func (w *world) perRound(rounds int, do func()) (all, daemons time.Duration) {
	w.t.Helper()
	idle := w.idle()
	before, begun := w.used(), time.Now()
	for range rounds {
		do()
	}
	used, took := w.used().since(before), time.Since(begun)
	idle = (idle + w.idle()) / 2
	daemons = used.sum() - time.Duration(float64(idle)*took.Seconds())
	w.t.Logf("%d rounds: %s, of which idle %s", rounds, used, seconds(used.sum()-daemons))
	return (daemons + used.clients) / time.Duration(rounds), daemons / time.Duration(rounds)
}

// addTimed adds a port and its interface, takes the times, and removes both again.
func addTimed(s side, pinger *lab.Workload, plug *plugger, ip netip.Addr) (written, installed, answered time.Duration) {
	w := s.base()
	w.t.Helper()
	m := w.monitor(plug.load.Host)
	ping, err := pinger.StartPing(w.ctx, ip, 5*time.Millisecond, 0)
	w.check(err)
	begun := time.Now()
	s.addPort(0, "new", ip)
	written = time.Since(begun)
	plug.in()
	w.check(ping.Answered(w.ctx))
	answered = time.Since(begun)
	installed = m.added(w, plug.number()).Sub(begun)
	_, err = ping.Stop()
	w.check(err)
	m.stop()
	plug.out()
	s.delPort(0, "new")
	s.settled()
	return written, installed, answered
}

// quantile is the value below which that part of the values is.
func quantile(all []time.Duration, q float64) time.Duration {
	sorted := append([]time.Duration{}, all...)
	for i := range sorted {
		for k := i; k > 0 && sorted[k] < sorted[k-1]; k-- {
			sorted[k], sorted[k-1] = sorted[k-1], sorted[k]
		}
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// flowMonitor follows the changes of br-int's flows as ovs-vswitchd tells them (ovs-ofctl(8), monitor watch), with the time of each.
type flowMonitor struct {
	stop func()

	mu    sync.Mutex
	lines []flowLine
}

type flowLine struct {
	at   time.Time
	text string
}

// monitor begins to follow a host's flows; it returns when the switch has taken the request.
func (w *world) monitor(h *lab.Host) *flowMonitor {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.ctx)
	out, in := io.Pipe()
	m := &flowMonitor{}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = h.ExecWith(ctx, lab.Streams{Out: in, Err: in}, "ovs-ofctl", "-O", "OpenFlow15", "monitor", "br-int", "watch:!initial")
		in.Close()
	}()
	go func() {
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			m.mu.Lock()
			m.lines = append(m.lines, flowLine{time.Now(), lines.Text()})
			m.mu.Unlock()
		}
	}()
	m.stop = func() { cancel(); <-ended }
	w.check(lab.WaitFor(w.ctx, "the flow monitor", func() error {
		m.mu.Lock()
		defer m.mu.Unlock()
		if len(m.lines) == 0 {
			return fmt.Errorf("nothing from it yet")
		}
		return nil
	}))
	return m
}

// added is when the first flow was added that outputs to an OpenFlow port.
func (m *flowMonitor) added(w *world, ofport int) (at time.Time) {
	w.t.Helper()
	output := regexp.MustCompile(fmt.Sprintf(`output:%d\b`, ofport))
	ctx, cancel := context.WithTimeout(w.ctx, 10*time.Second)
	defer cancel()
	w.check(lab.WaitFor(ctx, fmt.Sprintf("a flow that outputs to %d", ofport), func() error {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, l := range m.lines {
			if strings.Contains(l.text, "ADDED") && output.MatchString(l.text) {
				at = l.at
				return nil
			}
		}
		return fmt.Errorf("none of %d changes", len(m.lines))
	}))
	return at
}
