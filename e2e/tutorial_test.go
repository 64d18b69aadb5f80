//go:build integration

package e2e_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"tuplenet/e2e/lab"
)

func TestT21_TheTutorialTypedAsWrittenJoinsTwoHosts(t *testing.T) {
	f := newBareFleet(t, lab.TutorialConfig("tutorial", "", []string{"alice", "bob"}))
	alice, bob := f.Host("alice"), f.Host("bob")
	f.check(alice.Type(f.ctx, nil, lab.TutorialNetwork()...))
	for _, h := range f.Hosts() {
		f.check(h.StartDaemonExactly(f.ctx, f.here(lab.TutorialDaemon())...))
		f.check(h.Type(f.ctx, nil, append(lab.TutorialWorkload(h.Name()), lab.TutorialTuning(h.Name())...)...))
	}
	a, err := alice.Adopt("ns-alice")
	f.check(err)
	b, err := bob.Adopt("ns-bob")
	f.check(err)
	for _, c := range []struct {
		from, to *lab.Workload
		dst      netip.Addr
	}{{a, b, bobIP}, {b, a, aliceIP}} {
		f.reach(c.from, c.dst)
		report, err := c.from.Ping(f.ctx, c.dst, 20*time.Millisecond, 25)
		f.check(err)
		if report.Lost() != 0 || report.TTL != 63 {
			t.Errorf("ping from %s: %v with ttl %d, want no loss and one hop less than 64", c.from.Name, report, report.TTL)
		}
		f.transfer(c.from, c.to, c.dst, 20e6)
	}
	f.eventuallyShows("lsp show LS-A lsp-alice", "chassis: alice")
	f.eventuallyShows("lsp show LS-B", "chassis: bob")
	for command, want := range map[string][]string{
		"ch show":  {"alice:", listed(alice), "bob:", listed(bob)},
		"lrp show": {"LR-central_to_LS-A", "LR-central_to_LS-B"},
		"lsp show": {"lsp-alice", "lsp-bob", "LS-A_to_LR-central", "f2:01:00:00:00:02"},
	} {
		out := f.tpctl(command)
		for _, w := range want {
			if !strings.Contains(out, w) {
				t.Errorf("tpctl %s: no %q in\n%s", command, w, out)
			}
		}
	}
}

func TestT21_BothFamiliesCrossEveryUnderlay(t *testing.T) {
	t.Parallel()
	for _, underlay := range []lab.Underlay{lab.UnderlayIPv4, lab.UnderlayIPv6, lab.UnderlayDual} {
		t.Run(string(underlay), func(t *testing.T) {
			f := newFleet(t, lab.Config{Name: "underlay-" + string(underlay), Underlay: underlay})
			a, b := f.routed()
			f.transfer(a, b, bobIP, 5e6)
			f.transfer(b, a, aliceIP, 5e6)
			f.transfer(a, b, bobIP6, 5e6)
			f.transfer(b, a, aliceIP6, 5e6)
		})
	}
}

func TestX16_AThirdHostNeedsNothingButItsDaemon(t *testing.T) {
	f := newBareFleet(t, lab.Config{Name: "third", Hosts: []string{"alice", "bob", "carol"}})
	f.daemon(f.Host("alice"))
	f.daemon(f.Host("bob"))
	a, b := f.routed()
	f.tpctl("lsp add LS-A lsp-carol 10.20.1.30 f2:01:00:00:00:05")
	tr := f.startTraffic(a, b, bobIP)
	f.daemon(f.Host("carol"))
	c := f.workload(f.Host("carol"), "ns-carol", "lsp-carol", "f2:01:00:00:00:05", "10.20.1.1", "", "10.20.1.30/24")
	f.reach(c, aliceIP, bobIP)
	tr.end("the arrival of a third host")
	f.transfer(c, a, aliceIP, 5e6)
	f.transfer(c, b, bobIP, 5e6)
}
