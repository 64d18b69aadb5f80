//go:build integration

package lab_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tuplenet/e2e/lab"
)

// patience is how long a test may take; it ends what hangs.
const patience = 5 * time.Minute

// start makes a lab for a test, and checks when the test ends that nothing is left of it.
func start(t *testing.T, cfg lab.Config) *lab.Lab {
	t.Helper()
	before := namespaces(t)
	l, err := lab.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Down(); err != nil {
			t.Error(err)
		}
		for _, left := range lab.Leftovers("", cfg.Name) {
			t.Errorf("left behind: %s", left)
		}
		if after := namespaces(t); after != before {
			t.Errorf("named network namespaces before: %s, after: %s", before, after)
		}
	})
	return l
}

// named is the name of a lab, with what keeps the tests of several people on one machine apart.
func named(name string) string { return os.Getenv("TUPLENET_LAB_PREFIX") + name }

func namespaces(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("ip", "netns", "list").Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// join makes br-int on every host with a Geneve port for all others, and plugs in one workload a host; the flows are
// typed by hand.
func join(t *testing.T, l *lab.Lab) []*lab.Workload {
	t.Helper()
	var all []*lab.Workload
	for i, h := range l.Hosts() {
		must(t)(h.Vsctl(t.Context(), "add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=netdev", "fail_mode=secure",
			"--", "add-port", "br-int", "gnv", "--", "set", "Interface", "gnv", "type=geneve", "options:remote_ip=flow", "options:key=flow", "ofport_request=100"))
		w, err := h.AddWorkload(t.Context(), lab.WorkloadConfig{
			Name: fmt.Sprintf("w%d", i), MAC: fmt.Sprintf("f2:01:00:00:00:0%d", i+1),
			Addrs: []netip.Prefix{
				netip.MustParsePrefix(fmt.Sprintf("10.20.1.%d/24", i+1)), netip.MustParsePrefix(fmt.Sprintf("2001:db8:20::%d/64", i+1)),
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, w)
	}
	for i, h := range l.Hosts() {
		port, err := all[i].OFPort(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		peer := l.Hosts()[1-i].Addrs()[0]
		field := "tun_dst"
		if peer.Is6() {
			field = "tun_ipv6_dst"
		}
		must(t)(h.Ofctl(t.Context(), "add-flow", "br-int", fmt.Sprintf("in_port=%d,actions=set_field:7->tun_id,set_field:%s->%s,output:100", port, peer, field)))
		must(t)(h.Ofctl(t.Context(), "add-flow", "br-int", fmt.Sprintf("in_port=100,tun_id=7,actions=output:%d", port)))
	}
	return all
}

// must returns a function that fails the test on an error and passes the value on otherwise.
func must(t *testing.T) func(string, error) string {
	t.Helper()
	return func(s string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func TestWorkloadsOnTwoHostsPingAndMoveTCPOverEveryUnderlay(t *testing.T) {
	for _, underlay := range []lab.Underlay{lab.UnderlayIPv4, lab.UnderlayIPv6} {
		t.Run("underlay "+string(underlay), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			l := start(t, lab.Config{Name: named("lt-" + string(underlay)), Underlay: underlay})
			w := join(t, l)
			for _, dst := range []netip.Addr{addr("10.20.1.2"), addr("2001:db8:20::2")} {
				if err := w[0].Reaches(ctx, dst); err != nil {
					t.Fatal(err)
				}
				report, err := w[0].Ping(ctx, dst, 5*time.Millisecond, 100)
				if err != nil || report.Received == 0 || report.Lost() != 0 || report.TTL != 64 {
					t.Errorf("ping %s: %v, ttl %d, %v", dst, report, report.TTL, err)
				}
				moved, err := w[0].Transfer(ctx, w[1], dst, lab.TransferOptions{Bytes: 20e6})
				if err != nil || moved.Bytes != 20e6 {
					t.Errorf("transfer of 20 MB: %d arrived, %v", moved.Bytes, err)
				}
				t.Logf("%s: %v; TCP %.0f Mbit/s", dst, report, moved.Rate())
			}
			if _, err := w[1].Transfer(ctx, w[0], addr("10.20.1.1"), lab.TransferOptions{Bytes: 1e6}); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestFaultsAreSeenAndRepaired(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	l := start(t, lab.Config{Name: named("lt-faults")})
	w := join(t, l)
	dst := addr("10.20.1.2")
	if err := w[0].Reaches(ctx, dst); err != nil {
		t.Fatal(err)
	}

	if err := l.Hosts()[1].CutUnderlay(); err != nil {
		t.Fatal(err)
	}
	report, err := w[0].Ping(ctx, dst, 5*time.Millisecond, 20)
	if err != nil || report.Received != 0 || len(report.Missing) != 20 {
		t.Errorf("with the underlay cut: %v, %v", report, err)
	}
	if err := l.Hosts()[1].RestoreUnderlay(); err != nil {
		t.Fatal(err)
	}
	if err := w[0].Reaches(ctx, dst); err != nil {
		t.Errorf("after the underlay came back: %v", err)
	}

	// Flows go with the switch; addresses and bridges come back with it.
	bob := l.Hosts()[1]
	if err := bob.KillSwitch(ctx); err != nil {
		t.Fatal(err)
	}
	if err := bob.StartSwitch(ctx); err != nil {
		t.Fatal(err)
	}
	if flows := must(t)(bob.Ofctl(ctx, "dump-flows", "br-int")); strings.Contains(flows, "tun_id=0x7") {
		t.Errorf("flows survived the switch: %s", flows)
	}
	if err := bob.KillOVSDB(ctx); err != nil {
		t.Fatal(err)
	}
	if err := bob.StartOVSDB(ctx); err != nil {
		t.Fatal(err)
	}
	if got := must(t)(bob.Vsctl(ctx, "get", "Open_vSwitch", ".", "external_ids:system-id")); strings.TrimSpace(got) != "bob" {
		t.Errorf("system-id after the restart: %s", got)
	}
	if err := bob.Kill(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := bob.Exec(ctx, "true"); err == nil {
		t.Error("a killed host runs commands")
	}
}

func TestHostsLookLikeHosts(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	l := start(t, lab.Config{Name: named("lt-look"), Bridge: "eth0", Etcd: lab.EtcdFirstHost})
	alice, bob := l.Hosts()[0], l.Hosts()[1]
	if got := must(t)(alice.Shell(ctx, "hostname; ps -e | wc -l")); !strings.HasPrefix(got, "alice\n") {
		t.Errorf("host name: %s", got)
	}
	if a, b := must(t)(alice.Exec(ctx, "cat", "/etc/machine-id")), must(t)(bob.Exec(ctx, "cat", "/etc/machine-id")); a == b {
		t.Errorf("both have machine id %s", a)
	}
	if got := must(t)(bob.Exec(ctx, "ip", "-o", "-4", "addr", "show", "dev", "eth0")); !strings.Contains(got, "192.168.1.11/24") {
		t.Errorf("address of eth0: %s", got)
	}
	if got := must(t)(bob.Exec(ctx, "ping", "-c", "1", "-W", "5", "192.168.1.10")); !strings.Contains(got, " 1 received") {
		t.Errorf("bob pings alice: %s", got)
	}
	must(t)(alice.Shell(ctx, "ip netns add ns-x && ip netns exec ns-x true"))
	if got := must(t)(bob.Exec(ctx, "ip", "netns", "list")); strings.Contains(got, "ns-x") {
		t.Errorf("bob sees the namespaces of alice: %s", got)
	}
	_, err := alice.Shell(ctx, "echo no >&2; exit 3")
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 || !strings.Contains(err.Error(), "no") {
		t.Errorf("a failing command: %v", err)
	}
}

func TestACaptureShowsWhatCrossesTheUnderlay(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	l := start(t, lab.Config{Name: named("lt-capture")})
	w := join(t, l)
	if err := w[0].Reaches(ctx, addr("10.20.1.2")); err != nil {
		t.Fatal(err)
	}
	c, err := l.Hosts()[0].CaptureUnderlay(ctx, "udp port 6081")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w[0].Ping(ctx, addr("10.20.1.2"), 5*time.Millisecond, 3); err != nil {
		t.Fatal(err)
	}
	text, err := c.Stop(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"192.168.1.10", "192.168.1.11", "vni 0x7", "10.20.1.1 > 10.20.1.2: ICMP echo request"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in the capture:\n%s", want, text)
		}
	}
}

func TestLabsRunSideBySideAndANameIsUsedOnce(t *testing.T) {
	a := start(t, lab.Config{Name: named("lt-side-a"), Hosts: []string{"h1"}})
	start(t, lab.Config{Name: named("lt-side-b"), Hosts: []string{"h1"}})
	if _, err := lab.New(t.Context(), lab.Config{Name: named("lt-side-a")}); !errors.Is(err, lab.ErrInUse) {
		t.Errorf("a second lab of the same name: %v", err)
	}
	again, err := lab.Open("", a.Name())
	if err != nil {
		t.Fatal(err)
	}
	if got := must(t)(again.Host("h1").Exec(t.Context(), "hostname")); got != "h1\n" {
		t.Errorf("the opened lab runs commands on %q", got)
	}
	if removed, err := lab.Sweep(t.Context(), ""); err != nil || strings.Contains(fmt.Sprint(removed), named("lt-side")) {
		t.Errorf("sweep removed %v, %v", removed, err)
	}
	must(t)(a.Hosts()[0].Exec(t.Context(), "true"))
}

// headless is the variable that makes this program one whose first thread ends and that goes on.
const headless = "LAB_TEST_HEADLESS"

func init() {
	if os.Getenv(headless) != "" {
		runtime.LockOSThread() // main runs on the first thread
	}
}

// TestMain lets this program be the owner that TestALabWhoseOwnerWasKilled kills, and one whose first thread ends.
func TestMain(m *testing.M) {
	if os.Getenv(headless) != "" {
		runtime.GOMAXPROCS(4)
		go func() { time.Sleep(time.Hour) }()
		_, _, _ = unix.RawSyscall(unix.SYS_EXIT, 0, 0, 0) // of this thread
	}
	if name := os.Getenv("LAB_TEST_OWNER"); name != "" {
		_, err := lab.New(context.Background(), lab.Config{Name: name})
		fmt.Println("up", err)
		select {}
	}
	os.Exit(m.Run())
}

func TestALabWhoseOwnerWasKilledIsRemovedAtTheNextStart(t *testing.T) {
	name := named("lt-killed")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	owner := exec.Command(self)
	owner.Env = append(os.Environ(), "LAB_TEST_OWNER="+name)
	out, err := owner.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lab.Remove(context.Background(), "", name) })
	line := make([]byte, 100)
	n, _ := out.Read(line)
	if got := string(line[:n]); got != "up <nil>\n" {
		t.Fatalf("owner says %q", got)
	}
	if err := owner.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = owner.Wait()
	old := lab.Leftovers("", name)
	if len(old) < 8 { // first process, ovsdb-server and ovs-vswitchd of two hosts, the wire, a directory
		t.Fatalf("the killed lab left only %v", old)
	}
	l := start(t, lab.Config{Name: name, Hosts: []string{"h1"}})
	must(t)(l.Hosts()[0].Exec(t.Context(), "true"))
	left := lab.Leftovers("", name)
	for _, o := range old {
		if strings.HasPrefix(o, "process ") && slices.Contains(left, o) { // its number may be another's now
			t.Errorf("still there: %s", o)
		}
	}
	if _, err := os.Stat(filepath.Join(l.Dir(), "bob")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("files of the old lab: %v", err)
	}
}

func TestAProcessRunsAsLongAsItHasThreads(t *testing.T) {
	h := start(t, lab.Config{Name: named("lt-threads"), Hosts: []string{"h1"}}).Hosts()[0]
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p, err := h.Spawn("headless", headless+"=1", self)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err = lab.WaitFor(ctx, "the end of its first thread", func() error {
		if status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID)); !strings.Contains(string(status), "State:\tZ") {
			return fmt.Errorf("its status is\n%s", status)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if !p.Alive() {
		t.Error("it counts as ended, though it may hold locks and ports")
	}
	if err := h.End(ctx, "headless", unix.SIGKILL); err != nil {
		t.Error(err)
	}
}

func TestALabThatCannotBeMadeLeavesNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := lab.New(ctx, lab.Config{Name: named("lt-cancel")}); err == nil {
		t.Error("a lab was made though its context had ended")
	}
	if left := lab.Leftovers("", named("lt-cancel")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
