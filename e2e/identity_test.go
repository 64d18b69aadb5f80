//go:build integration

package e2e_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tuplenet/e2e/lab"
)

// startBob starts a daemon on bob and returns why it did not start; nil if it did.
func (f *fleet) startBob(args ...string) error {
	f.t.Helper()
	return f.Host("bob").StartDaemonExactly(f.ctx, append(args, "--host", strings.Join(f.Endpoints(), ","))...)
}

// refused checks that a daemon did not start, and that the reason has these words.
func (f *fleet) refused(err error, words ...string) {
	f.t.Helper()
	if err == nil {
		f.t.Fatal("it started")
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			f.t.Errorf("%q is not in the reason: %v", w, err)
		}
	}
}

func TestT03_AnOldOpenVSwitchIsRefused(t *testing.T) {
	f := newBareFleet(t, lab.Config{Name: "h8-old"})
	bob := f.Host("bob")
	f.on(bob, "ovs-vsctl set open_vswitch . ovs_version=2.8.1")
	f.refused(f.startBob("--interface", bob.Bridge()), "2.8.1", "2.10")
	if bridges := f.on(bob, "ovs-vsctl list-br"); strings.Contains(bridges, "br-int") {
		t.Errorf("a refused daemon made a bridge:\n%s", bridges)
	}
	f.on(bob, "ovs-vsctl set open_vswitch . ovs_version=3.1.0")
	f.check(f.startBob("--interface", bob.Bridge()))
}

func TestT04_TheSecondHostWithASystemIDIsRefusedByNameAndTouchesNothing(t *testing.T) {
	f := newBareFleet(t, lab.Config{Name: "h8-twin"})
	alice, bob := f.Hosts()[0], f.Hosts()[1]
	f.daemon(alice)
	f.eventuallyShows("ch show", "alice:") // a daemon is ready, and then registers
	before := f.tpctl("ch show")
	f.on(bob, "ovs-vsctl set open_vswitch . external-ids:system-id=alice")
	f.refused(f.startBob("--interface", bob.Bridge()), "alice", "system-id")
	if after := f.tpctl("ch show"); after != before {
		t.Errorf("the chassis was\n%s\nand is, after the other was refused,\n%s", before, after)
	}
	if flows, err := bob.Ofctl(f.ctx, "dump-flows", "br-int"); err == nil && strings.Contains(flows, "cookie=0x74") {
		t.Errorf("the refused host has our flows:\n%s", flows)
	}
	// The name is free when its holder is gone.
	f.check(alice.KillDaemon(f.ctx))
	f.tpctl("ch del alice")
	f.check(f.startBob("--interface", bob.Bridge()))
	f.eventuallyShows("ch show", listed(f.Host("bob")))
}

func TestT18_T66_ADaemonTakesAListOfInterfacesAnAddressAndItsFolders(t *testing.T) {
	f := newBareFleet(t, lab.Config{Name: "h8-start"})
	bob := f.Host("bob")
	// On the host, /run is a folder of its own; the machine sees it below the lab's.
	inRun := func(name string) string { return filepath.Join(bob.Dir(), "run", name) }
	f.check(f.startBob("TUPLENET_RUNDIR=/run/elsewhere", "TUPLENET_OVSDB_PATH=/run/openvswitch/db.sock",
		"--interface", "none0,"+bob.Bridge(), "-i", "2s", "-l", "/run/logs"))
	f.eventuallyShows("ch show", listed(f.Host("bob")))
	pid, err := os.ReadFile(inRun("elsewhere/tuplenet.pid"))
	if err != nil || strings.TrimSpace(string(pid)) == "" {
		t.Errorf("pid file %q, %v", pid, err)
	}
	log, err := os.ReadFile(inRun("logs/tuplenet.log"))
	if err != nil || !strings.Contains(string(log), "in sync with the store") {
		t.Errorf("log %q, %v", log, err)
	}
	f.on(bob, "kill -HUP "+strings.TrimSpace(string(pid)))
	f.eventually("a word on SIGHUP in the log", func() error {
		if log, err := os.ReadFile(inRun("logs/tuplenet.log")); err != nil || !strings.Contains(string(log), "SIGHUP") {
			return errorf("log %q, %v", log, err)
		}
		return nil
	})
	f.check(bob.StopDaemon(f.ctx))
	if _, err := os.Stat(inRun("elsewhere/tuplenet.pid")); !os.IsNotExist(err) {
		t.Errorf("the pid file stays after a stop: %v", err)
	}
	f.check(f.startBob("--ip", ip(bob)))
	_, err = bob.Exec(f.ctx, filepath.Join(bin, "tuplenet"), "--ip", ip(bob), "--host", f.Endpoints()[0])
	f.refused(err, "another tuplenet", "tuplenet.pid")
	f.check(bob.StopDaemon(f.ctx))
	f.refused(f.startBob("--ip", "192.0.2.77"), "192.0.2.77")
	if out := f.on(bob, filepath.Join(bin, "tuplenet")+" -v"); !strings.HasPrefix(out, "tuplenet ") {
		t.Errorf("version: %q", out)
	}
}

func TestT02_DaemonsOfTwoPrefixesDoNotMeet(t *testing.T) {
	t.Parallel()
	f := newBareFleet(t, lab.Config{Name: "h8-prefix"})
	alice, bob := f.Hosts()[0], f.Hosts()[1]
	f.daemon(alice)
	f.check(f.startBob("--interface", bob.Bridge(), "--prefix", "/other/"))
	for prefix, want := range map[string][2]string{"/tuplenet/": {"alice:", "bob:"}, "/other": {"bob:", "alice:"}} {
		f.eventuallyShows("-p "+prefix+" ch show", want[0])
		if out := f.tpctl("-p " + prefix + " ch show"); strings.Contains(out, want[1]) {
			t.Errorf("chassis below %s:\n%s", prefix, out)
		}
		f.tpctl("-p " + prefix + " ls add LS")
	}
	f.tpctl("lsp add LS p1 10.1.0.1 f2:01:00:00:00:61")
	f.tpctl("-p /other lsp add LS p2 10.1.0.2 f2:01:00:00:00:62")
	a := f.workload(alice, "w1", "p1", "f2:01:00:00:00:61", "", "", "10.1.0.1/24")
	b := f.workload(bob, "w2", "p2", "f2:01:00:00:00:62", "", "", "10.1.0.2/24")
	f.eventuallyShows("lsp show LS p1", "chassis: alice")
	f.eventuallyShows("-p /other lsp show LS p2", "chassis: bob")
	if _, err := f.Tpctl(f.ctx, "lsp", "show", "LS", "p2"); err == nil && strings.Contains(f.tpctl("lsp show LS p2"), "p2") {
		t.Error("a port of the other prefix is listed")
	}
	report, err := a.Ping(f.ctx, b.Addrs()[0], 20*time.Millisecond, 5)
	f.check(err)
	if report.Received > 0 {
		t.Errorf("the same address plan in two deployments: %v", report)
	}
}

func TestT60_ADaemonDoesNotWriteIntoANewerStore(t *testing.T) {
	f := newBareFleet(t, lab.Config{Name: "h8-newer"})
	f.tpctl("ls add LS")
	meta := strings.TrimSpace(f.on(f.Hosts()[0], "etcdctl get --print-value-only /tuplenet/v1/meta"))
	newer := regexp.MustCompile(`"schemaVersion":\d+`).ReplaceAllString(meta, `"schemaVersion":65535`)
	if newer == meta {
		t.Fatalf("no schema version in %s", meta)
	}
	if _, err := f.Hosts()[0].Exec(f.ctx, "etcdctl", "put", "/tuplenet/v1/meta", newer); err != nil {
		t.Fatal(err)
	}
	f.refused(f.startBob("--interface", f.Host("bob").Bridge()), "65535", "higher version")
	if out, err := f.Tpctl(f.ctx, "ch", "show"); err != nil || strings.Contains(out, "bob") {
		t.Errorf("chassis: %v\n%s", err, out)
	}
}

func TestAFlowThatWasDeletedByHandIsPutBack(t *testing.T) {
	f := newBareFleet(t, lab.Config{Name: "h8-audit"})
	for _, h := range f.Hosts() {
		f.daemon(h, "--audit", "1s")
	}
	a, _ := f.routed()
	f.settled()
	alice := f.Hosts()[0]
	before := f.ages(alice)
	f.on(alice, "ovs-ofctl -O OpenFlow15 del-flows br-int arp")
	f.eventually("all flows on alice", func() error {
		if now := f.ages(alice); len(now) != len(before) {
			return errorf("%d flows of %d", len(now), len(before))
		}
		return nil
	})
	f.reach(a, bobIP, bobIP6)
	f.eventually("the repair in the log", func() error { // it is told once it is done
		if log := alice.Daemon().Tail(20); !strings.Contains(log, "healed ") {
			return errorf("it says:\n%s", log)
		}
		return nil
	})
}

func TestADaemonWaitsForEtcdHoweverLongThatTakes(t *testing.T) {
	t.Parallel()
	f := newBareFleet(t, lab.Config{Name: "h8-late", Hosts: []string{"alice"}})
	alice := f.Hosts()[0]
	f.check(f.StopEtcd(f.ctx, unix.SIGTERM))
	f.check(alice.SpawnDaemon())
	f.on(alice, "ping -q -i 0.5 -c 16 127.0.0.1") // 8 s, longer than a request waits for an answer
	if d := alice.Daemon(); !d.Alive() {
		t.Fatalf("it ended:\n%s", d.Tail(5))
	}
	f.check(f.StartEtcd(f.ctx))
	f.eventuallyShows("ch show", "alice:")
}
