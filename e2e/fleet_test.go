//go:build integration

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"tuplenet/e2e/lab"
)

// bin is the directory of the programs under test.
var bin string

// TestMain builds the programs, unless TUPLENET_BIN says where they are, and clears what killed runs left.
func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	if len(os.Args) > 1 && os.Args[1] == machineCommand {
		fmt.Fprintln(os.Stderr, runMachine(os.Args[2:]))
		return 1
	}
	if _, err := lab.Sweep(context.Background(), ""); err != nil {
		fmt.Fprintln(os.Stderr, "leftovers of killed labs:", err)
		return 1
	}
	// Go finds out once whether there is IPv6, where a process listens first. That must not be a namespace without a loopback device.
	if l, err := net.Listen("tcp", ":0"); err == nil {
		l.Close()
	}
	if bin = os.Getenv("TUPLENET_BIN"); bin != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "tn-bin-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	bin = dir
	build := exec.Command("go", "build", "-buildvcs=false", "-o", dir, "./cmd/...")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// fleet is a lab with etcd and daemons, in a test.
type fleet struct {
	*lab.Lab
	t   *testing.T
	ctx context.Context
}

// newFleet makes a lab with etcd running and daemons on all hosts. The lab is taken down when the test ends, and
// nothing may be left of it. If the test failed, the ends of the daemons' logs are shown, and what the switches dropped.
func newFleet(t *testing.T, cfg lab.Config) *fleet {
	t.Helper()
	f := newBareFleet(t, cfg)
	for _, h := range f.Hosts() {
		f.daemon(h)
	}
	return f
}

// newBareFleet is newFleet without daemons.
func newBareFleet(t *testing.T, cfg lab.Config) *fleet {
	t.Helper()
	return newFleetWithin(t, cfg, patience)
}

// patience is how long a test with a lab may take, whatever else the machine is busy with. It ends what hangs; servers of the lab
// end with it too, so a test that comes near it fails in strange ways.
const patience = 10 * time.Minute

// newFleetWithin is newBareFleet for a test that may take so long.
func newFleetWithin(t *testing.T, cfg lab.Config, limit time.Duration) *fleet {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	cfg.Bin = bin
	if len(cfg.EtcdCommand) == 0 { // tests survive no crash of the machine; its disk may be busy for seconds
		cfg.EtcdCommand = []string{"tpctl", "sandbox", "etcd", "--no-sync"}
	}
	cfg.Name = os.Getenv("TUPLENET_LAB_PREFIX") + cfg.Name // keeps tests of several people on one machine apart
	l, err := lab.New(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{Lab: l, t: t, ctx: ctx}
	t.Cleanup(func() {
		if t.Failed() {
			f.showLogs()
		}
		if err := l.Down(); err != nil {
			t.Error(err)
		}
		for _, left := range lab.Leftovers("", cfg.Name) {
			t.Errorf("left behind: %s", left)
		}
	})
	if err := l.StartEtcd(ctx); err != nil {
		t.Fatal(err)
	}
	return f
}

// showLogs is short, for what CI shows of a failed test may be cut.
func (f *fleet) showLogs() {
	for _, h := range f.Hosts() {
		if p := h.Daemon(); p.PID != 0 {
			f.t.Logf("last lines of tuplenet on %s:\n%s", h.Name(), p.Tail(10))
		}
		f.showDrops(h)
	}
}

// showDrops tells what a host's switch and its interfaces dropped, and what went through the ports, for a test that lost a packet.
func (f *fleet) showDrops(h *lab.Host) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(f.ctx), 5*time.Second)
	defer cancel()
	var said []string
	run := func(line string) string {
		out, err := h.Exec(ctx, strings.Fields(line)...)
		if err != nil {
			said = append(said, err.Error())
		}
		return out
	}
	for line := range strings.Lines(run("ovs-appctl coverage/show")) {
		if words := strings.Fields(line); strings.Contains(line, "drop") && len(words) > 1 {
			said = append(said, words[0]+" "+words[len(words)-1])
		}
	}
	for line := range strings.Lines(run("ovs-appctl dpctl/show -s")) {
		switch line = strings.TrimSpace(line); {
		case strings.HasPrefix(line, "lookups:"), strings.HasPrefix(line, "port "):
			said = append(said, line)
		case strings.HasPrefix(line, "RX packets:"), strings.HasPrefix(line, "TX packets:"):
			said[len(said)-1] += " " + packetCounts.ReplaceAllString(line, "$1 $2 dropped $3")
		}
	}
	f.t.Logf("%s counted: %s", h.Name(), strings.Join(said, "; "))
}

// packetCounts is a line of `ovs-appctl dpctl/show -s`.
var packetCounts = regexp.MustCompile(`^(.X) packets:(\S+) errors:\S+ dropped:(\S+).*`)

// daemon starts tuplenet on a host.
func (f *fleet) daemon(h *lab.Host, args ...string) {
	f.t.Helper()
	if err := h.StartDaemon(f.ctx, args...); err != nil {
		f.t.Fatal(err)
	}
}

// tpctl runs one command line, which must succeed, and returns what it printed.
func (f *fleet) tpctl(line string) string {
	f.t.Helper()
	out, err := f.Tpctl(f.ctx, strings.Fields(line)...)
	if err != nil {
		f.t.Fatal(err)
	}
	return out
}

// check fails the test on an error.
func (f *fleet) check(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// on runs one command line on a host, which must succeed.
func (f *fleet) on(h *lab.Host, line string) string {
	f.t.Helper()
	out, err := h.Exec(f.ctx, strings.Fields(line)...)
	if err != nil {
		f.t.Fatal(err)
	}
	return out
}

// settle is how long anything in a lab may take that happens by itself, whatever else the machine is busy with.
const settle = time.Minute

// eventually waits for a condition, at most the time that anything in a lab may take.
func (f *fleet) eventually(what string, condition func() error) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.ctx, settle)
	defer cancel()
	f.check(lab.WaitFor(ctx, what, condition))
}

// eventuallyShows waits until a listing contains a text.
func (f *fleet) eventuallyShows(command, want string) {
	f.t.Helper()
	f.eventually(fmt.Sprintf("%q in `tpctl %s`", want, command), func() error {
		out, err := f.Tpctl(f.ctx, strings.Fields(command)...)
		if err == nil && !strings.Contains(out, want) {
			err = fmt.Errorf("it says:\n%s", out)
		}
		return err
	})
}

// The addresses of routed.
var (
	aliceIP  = netip.MustParseAddr("10.20.1.10")
	aliceIP6 = netip.MustParseAddr("2001:db8:20:1::10")
	bobIP    = netip.MustParseAddr("10.20.2.10")
	bobIP6   = netip.MustParseAddr("2001:db8:20:2::10")
)

// routed makes the tutorial's network with both families on each port, and a workload on alice and one on bob; it
// returns when they reach each other.
func (f *fleet) routed() (alice, bob *lab.Workload) {
	f.t.Helper()
	for _, line := range []string{
		"ls add LS-A", "ls add LS-B", "lr add LR-central",
		"lsp add LS-A lsp-alice 10.20.1.10,2001:db8:20:1::10 f2:01:00:00:00:01",
		"lsp add LS-B lsp-bob 10.20.2.10,2001:db8:20:2::10 f2:01:00:00:00:02",
		"lr link LR-central LS-A 10.20.1.1/24,2001:db8:20:1::1/64",
		"lr link LR-central LS-B 10.20.2.1/24,2001:db8:20:2::1/64",
	} {
		f.tpctl(line)
	}
	alice = f.workload(f.Hosts()[0], "ns-alice", "lsp-alice", "f2:01:00:00:00:01", "10.20.1.1", "2001:db8:20:1::1", "10.20.1.10/24", "2001:db8:20:1::10/64")
	bob = f.workload(f.Hosts()[1], "ns-bob", "lsp-bob", "f2:01:00:00:00:02", "10.20.2.1", "2001:db8:20:2::1", "10.20.2.10/24", "2001:db8:20:2::10/64")
	f.reach(alice, bobIP, bobIP6)
	f.reach(bob, aliceIP, aliceIP6)
	return alice, bob
}

// workload makes a workload; gateways without a colon are IPv4, empty ones none.
func (f *fleet) workload(h *lab.Host, name, port, mac, gateway4, gateway6 string, addrs ...string) *lab.Workload {
	f.t.Helper()
	c := lab.WorkloadConfig{Name: name, Port: port, MAC: mac}
	for _, g := range []string{gateway4, gateway6} {
		if g != "" {
			c.Gateways = append(c.Gateways, netip.MustParseAddr(g))
		}
	}
	for _, a := range addrs {
		c.Addrs = append(c.Addrs, netip.MustParsePrefix(a))
	}
	w, err := h.AddWorkload(f.ctx, c)
	f.check(err)
	return w
}

// reach waits until the workload reaches all addresses.
func (f *fleet) reach(w *lab.Workload, dst ...netip.Addr) {
	f.t.Helper()
	for _, d := range dst {
		f.check(w.Reaches(f.ctx, d))
	}
}

// transfer moves bytes by TCP, with equal checksums.
func (f *fleet) transfer(from, to *lab.Workload, addr netip.Addr, bytes int64) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.ctx, settle)
	defer cancel()
	_, err := from.Transfer(ctx, to, addr, lab.TransferOptions{Bytes: bytes})
	f.check(err)
}

// traffic is a ping and a TCP stream that run while something else happens.
type traffic struct {
	f        *fleet
	pingers  []*lab.Pinger
	stop     chan struct{}
	streamed chan error
}

// The traffic is light, so that what is lost is not lost to a full buffer of a busy machine: in the lab a switch that
// does not run for a third of a second must still find room for all that came meanwhile.
const (
	pingInterval = 10 * time.Millisecond
	streamPace   = 64 << 10 // bytes a second
)

// startTraffic pings the addresses of a workload from another one, and streams TCP to the first of them.
func (f *fleet) startTraffic(from, to *lab.Workload, addrs ...netip.Addr) *traffic {
	f.t.Helper()
	tr := &traffic{f: f, stop: make(chan struct{}), streamed: make(chan error, 1)}
	for _, a := range addrs {
		p, err := from.StartPing(f.ctx, a, pingInterval, 0)
		f.check(err)
		f.check(p.Answered(f.ctx))
		tr.pingers = append(tr.pingers, p)
	}
	go func() {
		_, err := from.Transfer(f.ctx, to, addrs[0], lab.TransferOptions{Stop: tr.stop, Pace: streamPace})
		tr.streamed <- err
	}()
	return tr
}

// end stops the traffic; no ping may have been lost, and the stream must have arrived as it was sent.
func (tr *traffic) end(during string) {
	tr.f.t.Helper()
	close(tr.stop)
	for _, p := range tr.pingers {
		report, err := p.Stop()
		tr.f.check(err)
		if report.Lost() > 0 {
			tr.f.t.Errorf("during %s: ping: %v", during, report)
		}
		tr.f.t.Logf("during %s: ping: %v, longest gap %v", during, report, report.Gap)
	}
	if err := <-tr.streamed; err != nil {
		tr.f.t.Errorf("during %s: %v", during, err)
	}
}

// exitCode is the code that a command ended with, from its error; -1 if it did not run to its end.
func exitCode(err error) int {
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		return ended.ExitCode()
	}
	return -1
}
