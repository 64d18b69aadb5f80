//go:build integration && soak

package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tuplenet/e2e/lab"
)

// soak is a fleet under random edits and faults, with pings between ports that none of them is about. Everything random comes
// from one seed, so a run that failed can be walked again.
type soak struct {
	*fleet
	seed   uint64
	rnd    *rand.Rand
	began  time.Time
	steps  []string // what was done, in order
	judged int      // rounds in which every loss counted
	world  soakWorld
	steady []*lab.Workload // on each host one
	roam   [roamers]*lab.Workload
	down   map[int]bool // hosts whose daemon was killed
}

// checkEvery is after how many rounds the switches are compared with what a new daemon makes of the store.
const checkEvery = 8

// TestSoak runs as long as SOAK says (20m), from SOAK_SEED if that is given.
func TestSoak(t *testing.T) {
	length := 20 * time.Minute
	if text := os.Getenv("SOAK"); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil || length <= 0 {
			t.Fatalf("SOAK is %q, not a time such as 20m", text)
		}
	}
	s := newSoak(t, length)
	s.round() // what comes once and stays, such as watched tunnels, is there afterwards
	s.tidy()
	s.watched()
	flows := s.switches()
	before := s.usage()
	end := time.Now().Add(length)
	rounds := 1
	for ; rounds == 1 || time.Now().Before(end); rounds++ {
		s.round()
		if rounds%checkEvery == 0 {
			s.recomputed(s.Hosts()[1:])
		}
	}
	s.tidy()
	s.same("what it had before the first step", flows)
	s.auditsFoundNothing()
	s.nothingLeaked(before)
	s.recomputed(s.Hosts())
	t.Logf("%d rounds, %d of them without an excuse, %d steps, seed %d", rounds, s.judged, len(s.steps), s.seed)
	if 2*s.judged < rounds {
		t.Errorf("only %d of %d rounds were judged without excuses: this machine is too busy to say anything", s.judged, rounds)
	}
}

func newSoak(t *testing.T, length time.Duration) *soak {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("SOAK_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("SOAK_SEED is %q, not a number", text)
		}
	}
	s := &soak{seed: seed, rnd: rand.New(rand.NewPCG(seed, 0)), down: map[int]bool{}, world: newSoakWorld()}
	t.Logf("SOAK_SEED=%d", seed)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("SOAK_SEED=%d walks this again:\n%s", s.seed, strings.Join(s.steps, "\n"))
		}
	})
	s.fleet = newFleetWithin(t, lab.Config{Name: "soak", Hosts: []string{"one", "two", "three"}}, length+10*time.Minute)
	for i := range s.Hosts() {
		s.start(i)
	}
	s.began = time.Now()
	s.build()
	return s
}

// start starts the daemon of a host. The first one is never killed: what it holds in the end is compared with the beginning.
func (s *soak) start(i int) {
	s.t.Helper()
	s.daemon(s.Hosts()[i], "ONDEMAND=0", "GATEWAY=1", "--metrics-listen", "127.0.0.1:9476", "--audit", "5s")
	delete(s.down, i)
}

// build makes the part of the network that no step touches.
func (s *soak) build() {
	s.t.Helper()
	chassis := strings.Trim(strings.TrimSpace(s.on(s.Hosts()[2], "ovs-vsctl get open_vswitch . external-ids:system-id")), `"`)
	for _, line := range []string{
		"ls add LS-A", "ls add LS-B", "lr add LR-central", "lr add LR-edge " + chassis, "ls add LS-out",
		"lr link LR-central LS-A 10.20.1.1/24,2001:db8:20:1::1/64", "lr link LR-central LS-B 10.20.2.1/24,2001:db8:20:2::1/64",
		"lr link LR-edge LS-out 192.0.2.1/24", "lr link LR-edge LS-A 10.20.1.2/24",
	} {
		s.tpctl(line)
	}
	for i, h := range s.Hosts() {
		ls, net := "LS-A", 1
		if i == 1 {
			ls, net = "LS-B", 2
		}
		mac := fmt.Sprintf("f2:01:00:00:00:%02x", i+1)
		addr4, addr6 := fmt.Sprintf("10.20.%d.%d", net, 10+i), fmt.Sprintf("2001:db8:20:%d::%d", net, 10+i)
		s.tpctl(fmt.Sprintf("lsp add %s steady%d %s,%s %s", ls, i, addr4, addr6, mac))
		s.steady = append(s.steady, s.workload(h, fmt.Sprintf("steady%d", i), fmt.Sprintf("steady%d", i), mac,
			fmt.Sprintf("10.20.%d.1", net), fmt.Sprintf("2001:db8:20:%d::1", net), addr4+"/24", addr6+"/64"))
	}
	for i := range s.roam {
		s.tpctl(fmt.Sprintf("lsp add LS-B %s %s %s", roamer(i), roamerIP(i), roamerMAC(i)))
	}
	s.reachable()
}

// reachable waits until the steady workloads reach each other, and the roaming ones that are plugged in.
func (s *soak) reachable() {
	s.t.Helper()
	for i, w := range s.steady {
		s.reach(w, s.steady[(i+1)%len(s.steady)].Addrs()...)
	}
	for i, w := range s.roam {
		if w != nil {
			s.reach(s.steady[0], roamerIP(i))
			s.reach(w, s.steady[0].Addrs()[0])
		}
	}
}

// round takes some steps under pings, waits until all nodes have them, and judges the pings.
func (s *soak) round() {
	s.t.Helper()
	p := s.startPings()
	for range 3 + s.rnd.IntN(5) {
		s.step()
	}
	for i := range s.Hosts() {
		if s.down[i] {
			s.log("start the daemon of host %d", i)
			s.start(i)
		}
	}
	s.tpctl("lsp add LS-A mark --wait=60s")
	s.reachable()
	s.tpctl("lsp del LS-A mark --wait=60s")
	p.judge()
}

func (s *soak) log(format string, args ...any) {
	s.steps = append(s.steps, fmt.Sprintf("%8.3f s  ", time.Since(s.began).Seconds())+fmt.Sprintf(format, args...))
}

// soakPings are pings between the steady workloads, and between their hosts: those use the same links and processors, but
// nothing of ours.
type soakPings struct {
	s            *soak
	began        time.Time
	steady, bare []*lab.Pinger
}

func (s *soak) startPings() *soakPings {
	s.t.Helper()
	p := &soakPings{s: s, began: time.Now()}
	for i, h := range s.Hosts() {
		next := (i + 1) % len(s.steady)
		for _, a := range s.steady[next].Addrs() {
			ping, err := s.steady[i].StartPing(s.ctx, a, soakInterval, 0)
			s.check(err)
			p.steady = append(p.steady, ping)
		}
		ping, err := h.StartPing(s.ctx, s.host(next).Addrs()[0], soakInterval, 0)
		s.check(err)
		p.bare = append(p.bare, ping)
	}
	for _, ping := range append(p.steady, p.bare...) {
		s.check(ping.Answered(s.ctx))
	}
	return p
}

const soakInterval = 20 * time.Millisecond

// held is how far from a ping that hosts lost among themselves the loss of another one may be the machine's, too.
const held = time.Second

// judge fails the test if a ping between steady workloads was lost, unless hosts lost pings among themselves at the same time: then
// the machine had no time for its switches.
func (p *soakPings) judge() {
	p.s.t.Helper()
	var busy []time.Time // when hosts lost pings
	for _, ping := range p.bare {
		r, err := ping.Stop()
		p.s.check(err)
		busy = append(busy, r.After...)
	}
	excused := 0
	var lost []string
	for _, ping := range p.steady {
		r, err := ping.Stop()
		p.s.check(err)
		for i, at := range r.After {
			if slices.ContainsFunc(busy, func(b time.Time) bool { return at.Sub(b).Abs() <= held }) {
				excused++
				continue
			}
			lost = append(lost, fmt.Sprintf("%v, number %d after %.3f s", r, r.Missing[i], at.Sub(p.s.began).Seconds()))
		}
	}
	from := p.began.Sub(p.s.began).Seconds()
	if len(lost) > 0 {
		p.s.t.Fatalf("in the round from %.3f s %d pings between ports that no step touched were lost (hosts lost %d among themselves):\n%s",
			from, len(lost), len(busy), strings.Join(lost[:min(len(lost), 20)], "\n"))
	}
	if len(busy) == 0 {
		p.s.judged++
		return
	}
	p.s.t.Logf("in the round from %.3f s the hosts themselves lost %d pings; %d between steady workloads within %v of those do not count", from, len(busy), excused, held)
}

func roamer(i int) string       { return fmt.Sprintf("roam%d", i) }
func roamerMAC(i int) string    { return fmt.Sprintf("f2:01:00:00:01:%02x", i) }
func roamerIP(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 20, 2, byte(50 + i)}) }

// host is the one of that number.
func (s *soak) host(i int) *lab.Host { return s.Hosts()[i] }
