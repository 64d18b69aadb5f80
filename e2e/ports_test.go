//go:build integration

package e2e_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"tuplenet/e2e/lab"
)

func TestT20_APortMovesBetweenHostsAndTrafficFollows(t *testing.T) {
	t.Parallel()
	f := newFleet(t, lab.Config{Name: "move"})
	a, _ := f.routed()
	f.tpctl("lsp add LS-B lsp-roam 10.20.2.50 f2:01:00:00:00:50")
	home := f.workload(f.Hosts()[1], "roam-b", "lsp-roam", "f2:01:00:00:00:50", "10.20.2.1", "", "10.20.2.50/24")
	roam := home.Addrs()[0]
	f.reach(a, roam)
	f.eventuallyShows("lsp show LS-B lsp-roam", "chassis: bob")
	f.check(home.Remove(f.ctx))
	away := f.workload(f.Hosts()[0], "roam-a", "lsp-roam", "f2:01:00:00:00:50", "10.20.2.1", "", "10.20.2.50/24")
	f.reach(a, roam)
	f.reach(away, bobIP)
	f.eventuallyShows("lsp show LS-B lsp-roam", "chassis: alice")
	f.transfer(a, away, roam, 2e6)
}

func TestT69_APortOnTwoHostsIsWhereItCameLast(t *testing.T) {
	t.Parallel()
	f := newFleet(t, lab.Config{Name: "twice"})
	a, b := f.routed()
	f.tpctl("lsp add LS-B lsp-roam 10.20.2.50 f2:01:00:00:00:50")
	old := f.workload(f.Hosts()[1], "roam-b", "lsp-roam", "f2:01:00:00:00:50", "10.20.2.1", "", "10.20.2.50/24")
	f.reach(a, old.Addrs()[0])
	f.eventuallyShows("lsp show LS-B lsp-roam", "chassis: bob")
	f.reach(b, old.Addrs()[0])
	now := old
	const moves = 5
	for i := range moves { // as a machine that is migrated: it is on both hosts for a while, and answers on both
		if i > 0 {
			f.check(old.Remove(f.ctx))
			// What is cached names interfaces by number, and the next one gets the lowest that is free: what it sends would meet what was
			// cached for this one.
			f.check(old.Host.Revalidated(f.ctx))
			old = now
		}
		pings, err := b.StartPing(f.ctx, old.Addrs()[0], 5*time.Millisecond, 0)
		f.check(err)
		f.check(pings.Answered(f.ctx))
		to := f.Hosts()[i%2]
		now = f.workload(to, "roam-"+strconv.Itoa(i), "lsp-roam", "f2:01:00:00:00:50", "10.20.2.1", "", "10.20.2.50/24")
		f.eventuallyShows("lsp show LS-B lsp-roam", "chassis: "+to.Name())
		f.tpctl("lsp add LS-B mark" + strconv.Itoa(i) + " --wait=60s")
		f.check(pings.Answered(f.ctx))
		report, err := pings.Stop()
		f.check(err)
		if report.Lost() > 0 {
			t.Errorf("while the port came to %s: %v", to.Name(), report)
		}
	}
	f.tpctl("lsp add LS-B later 10.20.2.51 --wait=60s") // bob has applied what came before, too, and the old workload refuses no connection
	f.transfer(b, now, now.Addrs()[0], 2e6)
}

// A host that has no connection to etcd when a port comes to it knows where the port is, though it cannot tell the others.
func TestT20_AHostKnowsOfAPortThatCameToItBeforeTheStoreDoes(t *testing.T) {
	t.Parallel()
	f := newFleet(t, lab.Config{Name: "ownport"})
	a, b := f.routed()
	f.tpctl("lsp add LS-B lsp-roam 10.20.2.50 f2:01:00:00:00:50")
	home := f.workload(f.Hosts()[1], "roam-b", "lsp-roam", "f2:01:00:00:00:50", "10.20.2.1", "", "10.20.2.50/24")
	f.reach(a, home.Addrs()[0])
	f.check(f.Hosts()[0].CutManagement())
	f.check(home.Remove(f.ctx))
	away := f.workload(f.Hosts()[0], "roam-a", "lsp-roam", "f2:01:00:00:00:50", "10.20.2.1", "", "10.20.2.50/24")
	f.reach(a, away.Addrs()[0])
	f.check(f.Hosts()[0].RestoreManagement())
	f.eventuallyShows("lsp show LS-B lsp-roam", "chassis: alice")
	f.reach(b, away.Addrs()[0])
	f.reach(away, bobIP)
}

func TestT17_ADeletedPortIsCutOffAndItsAddressIsFree(t *testing.T) {
	t.Parallel()
	f := newFleet(t, lab.Config{Name: "delete"})
	a, _ := f.routed()
	f.tpctl("lsp del LS-B lsp-bob")
	f.eventually("silence of the deleted port", func() error {
		report, err := a.Ping(f.ctx, bobIP, 20*time.Millisecond, 3)
		if err == nil && report.Received > 0 {
			err = errStillAnswers
		}
		return err
	})
	f.tpctl("lsp add LS-B lsp-bob 10.20.2.10,2001:db8:20:2::10 f2:01:00:00:00:02")
	f.reach(a, bobIP, bobIP6)
}

func TestT07_NothingIsLeftOfADeletedNetwork(t *testing.T) {
	f := newFleet(t, lab.Config{Name: "empty"})
	var before map[string]float64
	f.eventually("alice to know of bob", func() error {
		before = f.ages(f.Hosts()[0])
		if !strings.Contains(fmt.Sprint(before), "_src="+ip(f.Hosts()[1])) {
			return errors.New("no flow names his address")
		}
		return nil
	})
	a, b := f.routed()
	f.check(a.Remove(f.ctx))
	f.check(b.Remove(f.ctx))
	for _, line := range []string{"ls del LS-A -r --yes", "ls del LS-B -r --yes", "lr del LR-central -r --yes"} {
		f.tpctl(line)
	}
	f.eventually("the flows of the empty deployment", func() error {
		now := f.ages(f.Hosts()[0])
		for flow := range now {
			if _, there := before[flow]; !there {
				return errorf("still there: %s", flow)
			}
		}
		return nil
	})
	if keys := f.on(f.Hosts()[0], "etcdctl get --prefix --keys-only /tuplenet/v1/unique"); strings.TrimSpace(keys) != "" {
		t.Errorf("keys left in etcd:\n%s", keys)
	}
	if keys := f.on(f.Hosts()[0], "etcdctl get --prefix --keys-only /tuplenet/v1/spec"); strings.TrimSpace(keys) != "" {
		t.Errorf("keys left in etcd:\n%s", keys)
	}
}
