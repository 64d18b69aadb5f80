//go:build integration

package e2e_test

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tuplenet/e2e/lab"
)

var errStillAnswers = errors.New("it still answers")

// ages reads how long each flow of br-int is installed, by its text without counters.
func (f *fleet) ages(h *lab.Host) map[string]float64 {
	f.t.Helper()
	out, err := h.Ofctl(f.ctx, "dump-flows", "--no-names", "br-int")
	f.check(err)
	ages := map[string]float64{}
	for line := range strings.Lines(out) {
		m := regexp.MustCompile(`duration=([0-9.]+)s`).FindStringSubmatch(line)
		if m == nil {
			continue
		}
		age, err := strconv.ParseFloat(m[1], 64)
		f.check(err)
		key := regexp.MustCompile(`(duration|n_packets|n_bytes|idle_age|hard_age)=[^ ,]*,? ?`).ReplaceAllString(strings.TrimSpace(line), "")
		ages[key] = age
	}
	return ages
}

// settled returns when all daemons have applied everything up to now, also what they did not have to have for pings to be answered, and no
// datapath has anything cached of before, such as that a packet goes to the daemon, which may be killed next.
func (f *fleet) settled() {
	f.t.Helper()
	f.tpctl("lsp add LS-A mark --wait=1m")
	f.tpctl("lsp del LS-A mark --wait=1m")
	for _, h := range f.Hosts() {
		f.check(h.Revalidated(f.ctx))
	}
}

// untouched checks that all flows of before are still there and were not added anew.
func (f *fleet) untouched(h *lab.Host, before map[string]float64) {
	f.t.Helper()
	if len(before) == 0 {
		f.t.Errorf("%s had no flows at all", h.Name())
	}
	after := f.ages(h)
	for flow, age := range before {
		now, there := after[flow]
		switch {
		case !there:
			f.t.Errorf("%s: gone: %s", h.Name(), flow)
		case now < age:
			f.t.Errorf("%s: added anew (%.1f s, was %.1f s): %s", h.Name(), now, age, flow)
		}
	}
	for flow := range after {
		if _, there := before[flow]; !there {
			f.t.Errorf("%s: new: %s", h.Name(), flow)
		}
	}
}

func TestT67_ADaemonThatIsKilledAndStartedAgainLosesNoPacketAndTouchesNoFlow(t *testing.T) {
	f := newFleet(t, lab.Config{Name: "kill-daemon"})
	a, b := f.routed()
	f.settled()
	tr := f.startTraffic(a, b, bobIP, bobIP6)
	for _, h := range f.Hosts() {
		before := f.ages(h)
		f.check(h.KillDaemon(f.ctx))
		f.daemon(h)
		f.untouched(h, before)
		if _, err := a.Ping(f.ctx, bobIP, pingInterval, 200); err != nil { // what goes wrong later counts, too
			t.Fatal(err)
		}
		f.untouched(h, before)
	}
	tr.end("kill -9 and restart of both daemons")
	f.tpctl("lsp add LS-A lsp-new 10.20.1.77 f2:01:00:00:00:77")
	c := f.workload(f.Hosts()[1], "ns-new", "lsp-new", "f2:01:00:00:00:77", "10.20.1.1", "", "10.20.1.77/24")
	f.reach(c, aliceIP, bobIP)
}

func TestT19_ForwardingGoesOnWithoutDaemonsAndAGracefulStopLeavesIt(t *testing.T) {
	f := newFleet(t, lab.Config{Name: "no-daemon"})
	a, b := f.routed()
	f.settled()
	tr := f.startTraffic(a, b, bobIP, bobIP6)
	before := f.ages(f.Hosts()[0])
	f.check(f.Hosts()[0].StopDaemon(f.ctx))
	f.check(f.Hosts()[1].KillDaemon(f.ctx))
	f.untouched(f.Hosts()[0], before)
	if _, err := b.Ping(f.ctx, aliceIP, 20*time.Millisecond, 100); err != nil {
		t.Fatal(err)
	}
	tr.end("a time without daemons")
	f.transfer(b, a, aliceIP, 5e6)
}

func TestT67_EtcdAwayForHalfAMinuteLosesNothingAndALaterChangeIsApplied(t *testing.T) {
	f := newFleet(t, lab.Config{Name: "no-etcd"})
	a, b := f.routed()
	f.settled()
	tr := f.startTraffic(a, b, bobIP, bobIP6)
	before := f.ages(f.Hosts()[0])
	f.check(f.StopEtcd(f.ctx, unix.SIGKILL))
	// 30 s by ping's own clock.
	if _, err := a.Ping(f.ctx, bobIP, 200*time.Millisecond, 150); err != nil {
		t.Fatal(err)
	}
	f.check(f.StartEtcd(f.ctx))
	f.untouched(f.Hosts()[0], before)
	f.tpctl("lsp add LS-B lsp-new 10.20.2.77 f2:01:00:00:00:77")
	c := f.workload(f.Hosts()[0], "ns-new", "lsp-new", "f2:01:00:00:00:77", "10.20.2.1", "", "10.20.2.77/24")
	f.reach(c, bobIP, aliceIP)
	tr.end("30 s without etcd")
}

func TestT67_ADaemonStartedWithoutEtcdLeavesTheSwitchAsItIs(t *testing.T) {
	f := newFleet(t, lab.Config{Name: "start-no-etcd"})
	a, b := f.routed()
	f.settled()
	tr := f.startTraffic(a, b, bobIP)
	alice := f.Hosts()[0]
	before := f.ages(alice)
	f.check(f.StopEtcd(f.ctx, unix.SIGTERM))
	f.check(alice.KillDaemon(f.ctx))
	if err := alice.SpawnDaemon(); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Ping(f.ctx, bobIP, 100*time.Millisecond, 30); err != nil {
		t.Fatal(err)
	}
	f.untouched(alice, before)
	f.check(f.StartEtcd(f.ctx))
	f.tpctl("lsp add LS-A lsp-new 10.20.1.77 f2:01:00:00:00:77")
	c := f.workload(alice, "ns-new", "lsp-new", "f2:01:00:00:00:77", "10.20.1.1", "", "10.20.1.77/24")
	f.reach(c, bobIP)
	tr.end("a start without etcd")
}

func TestFlowsAreBackAfterTheSwitchRestarts(t *testing.T) {
	t.Parallel()
	f := newFleet(t, lab.Config{Name: "kill-switch"})
	a, b := f.routed()
	f.settled()
	alice := f.Hosts()[0]
	before := f.ages(alice)
	f.check(alice.KillSwitch(f.ctx))
	f.check(alice.StartSwitch(f.ctx))
	start := time.Now()
	f.eventually("the flows on alice", func() error {
		if now := f.ages(alice); len(now) < len(before) {
			return fmt.Errorf("%d flows of %d", len(now), len(before))
		}
		return nil
	})
	t.Logf("%d flows back %v after the switch took connections", len(before), time.Since(start))
	f.reach(a, bobIP, bobIP6)
	f.transfer(b, a, aliceIP, 5e6)
}

func TestForwardingSurvivesARestartOfOVSDB(t *testing.T) {
	f := newFleet(t, lab.Config{Name: "kill-ovsdb"})
	a, b := f.routed()
	f.settled()
	tr := f.startTraffic(a, b, bobIP)
	alice := f.Hosts()[0]
	before := f.ages(alice)
	f.check(alice.KillOVSDB(f.ctx))
	f.check(alice.StartOVSDB(f.ctx))
	f.tpctl("lsp add LS-A lsp-new 10.20.1.77 f2:01:00:00:00:77")
	c := f.workload(alice, "ns-new", "lsp-new", "f2:01:00:00:00:77", "10.20.1.1", "", "10.20.1.77/24")
	f.reach(c, bobIP)
	tr.end("a restart of ovsdb-server")
	for flow, age := range f.ages(alice) {
		if old, there := before[flow]; there && age < old {
			t.Errorf("added anew: %s", flow)
		}
	}
}
