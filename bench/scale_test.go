//go:build bench

package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tuplenet/e2e/lab"
)

// scale is a lab of three hosts with the deployment of the scale scenario in its store.
type scale struct {
	*lab.Lab
	t   *testing.T
	ctx context.Context
}

// binaries builds the programs, unless TUPLENET_BIN says where they are.
func binaries(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("TUPLENET_BIN"); dir != "" {
		return dir
	}
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", dir, "./cmd/...")
	cmd.Dir = ".."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return dir
}

func newScale(t *testing.T) *scale {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	l, err := lab.New(ctx, lab.Config{Name: os.Getenv("TUPLENET_LAB_PREFIX") + "scale", Hosts: []string{"one", "two", "three"}, Bin: binaries(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Down(); err != nil {
			t.Error(err)
		}
	})
	s := &scale{Lab: l, t: t, ctx: ctx}
	s.check(l.StartEtcd(ctx))
	return s
}

func (s *scale) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *scale) tpctl(args ...string) string {
	s.t.Helper()
	out, err := s.Tpctl(s.ctx, args...)
	s.check(err)
	return out
}

// workload plugs in the first port of switch number n.
func (s *scale) workload(host, n int) *lab.Workload {
	s.t.Helper()
	p := port(n, 0, false)
	w, err := s.Hosts()[host].AddWorkload(s.ctx, lab.WorkloadConfig{Name: "w" + p.Name, Port: p.Name, MAC: s.mac(p.Name),
		Addrs: []netip.Prefix{netip.PrefixFrom(p.IPs[0], 24)}, Gateways: []netip.Addr{netip.AddrFrom4([4]byte{10, byte(n), 0, 1})}})
	s.check(err)
	return w
}

// mac is that of a port as the store chose it.
func (s *scale) mac(port string) string {
	s.t.Helper()
	var found []struct{ Name, MAC string }
	s.check(json.Unmarshal([]byte(s.tpctl("lsp", "show", "-j", "ls"+strings.TrimPrefix(strings.Split(port, "-")[0], "p"), port)), &found))
	return found[0].MAC
}

// cpu is the processor time of the lab's processes of these names, and of the finished children of this one.
func (s *scale) cpu(names ...string) (sum time.Duration) {
	for _, p := range s.Processes() {
		if slices.Contains(names, p.Name) {
			sum += cpuOf(p.PID)
		}
	}
	return sum
}

var daemons = []string{"tuplenet", "etcd", "ovs-vswitchd", "ovsdb-server"}

// clients is the processor time of the finished children of this process.
func clients() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_CHILDREN, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// cpuOf is the processor time that a process has used; 0 if it is gone. See proc(5): fields 14 and 15 of stat, in ticks of 10 ms.
func cpuOf(pid int) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// memory is what a process holds now and held at most, megabytes.
func memory(pid int) (now, peak float64) {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		kb, _ := strconv.ParseFloat(f[1], 64)
		switch f[0] {
		case "VmRSS:":
			now = kb / 1000
		case "VmHWM:":
			peak = kb / 1000
		}
	}
	return now, peak
}

// atRest is the memory of a host's daemon once it does not shrink any more, and what it was at most.
func (s *scale) atRest(h *lab.Host) (now, peak float64) {
	s.t.Helper()
	now, _ = memory(h.Daemon().PID)
	for steady := 0; steady < 12; steady++ {
		select {
		case <-s.ctx.Done():
			s.t.Fatal(s.ctx.Err())
		case <-time.After(500 * time.Millisecond):
		}
		m, _ := memory(h.Daemon().PID)
		if m < now-1 {
			steady = 0
		}
		now = m
	}
	_, peak = memory(h.Daemon().PID)
	return now, peak
}

// TestScale writes 20,000 ports on 200 switches behind a router while two daemons follow, then starts one of them anew, lets a
// third chassis join, and adds and deletes single ports.
func TestScale(t *testing.T) {
	t.Run("ipv4", func(t *testing.T) { scaleUp(t, false) })
	t.Run("dual", func(t *testing.T) { scaleUp(t, true) })
}

func scaleUp(t *testing.T, dual bool) {
	s := newScale(t)
	file := networkFile(t, dual, "ls add ls0\n", "ls add ls1\n", "lsp add ls0 p0-0 ", "lsp add ls1 p1-0 ")
	one, two, three := s.Hosts()[0], s.Hosts()[1], s.Hosts()[2]
	s.check(one.StartDaemon(s.ctx))
	s.check(two.StartDaemon(s.ctx))
	s.tpctl("ls", "add", "warm", "--wait=10s")
	s.tpctl("ls", "del", "warm")
	a := addFirst(s, dual)

	begun, used, client := time.Now(), s.cpu(daemons...), clients()
	t.Logf("write: %s", strings.TrimSpace(s.tpctl("batch", "-f", file, "--wait=120s")))
	t.Logf("scale: first write → both chassis applied %.1f s, CPU of daemons %.1f s, of the client %.1f s", time.Since(begun).Seconds(),
		(s.cpu(daemons...) - used).Seconds(), (clients() - client).Seconds())
	for _, name := range daemons {
		t.Logf("CPU of %s: %.1f s", name, s.cpu(name).Seconds())
	}
	now, peak := s.atRest(one)
	t.Logf("memory of tuplenet: %.0f MB at rest, %.0f MB at most; flows %s", now, peak, flowCount(s, one))

	s.check(a.Reaches(s.ctx, port(1, 0, false).IPs[0]))

	s.check(one.KillDaemon(s.ctx))
	begun = time.Now()
	s.check(lab.WaitFor(s.ctx, "the daemon to start again", func() error { return one.StartDaemon(s.ctx) })) // the killed one still goes
	took := time.Since(begun)
	now, peak = s.atRest(one)
	t.Logf("restart on a full switch: in sync after %.2f s, CPU %.2f s, %.0f MB at rest, %.0f MB at most", took.Seconds(), cpuOf(one.Daemon().PID).Seconds(), now, peak)

	_, err := three.Vsctl(s.ctx, "add-br", "br-int", "--", "set", "bridge", "br-int", "datapath_type=netdev", "fail_mode=secure")
	s.check(err)
	s.workload(2, 2)
	ping, err := a.StartPing(s.ctx, port(2, 0, false).IPs[0], 20*time.Millisecond, 0)
	s.check(err)
	begun = time.Now()
	s.check(three.SpawnDaemon())
	s.check(ping.Answered(s.ctx))
	took = time.Since(begun)
	_, err = ping.Stop()
	s.check(err)
	now, peak = s.atRest(three)
	t.Logf("third chassis joins: first ping %.2f s, CPU %.2f s, %.0f MB at rest, %.0f MB at most", took.Seconds(), cpuOf(three.Daemon().PID).Seconds(), now, peak)

	s.portAdds(30)
	now, peak = s.atRest(one)
	t.Logf("memory in the end: %.0f MB at rest, %.0f MB at most", now, peak)
}

// addFirst makes the two switches whose ports are on the hosts before everything else, so that both chassis need all of it
// from the first write on.
func addFirst(s *scale, dual bool) (first *lab.Workload) {
	for n := range 2 {
		s.tpctl("ls", "add", fmt.Sprintf("ls%d", n))
		s.tpctl("lsp", "add", fmt.Sprintf("ls%d", n), fmt.Sprintf("p%d-0", n), addressesOf(n, 0, dual))
		if w := s.workload(n, n); first == nil {
			first = w
		}
	}
	return first
}

func addressesOf(sw, i int, dual bool) string {
	var ips []string
	for _, ip := range port(sw, i, dual).IPs {
		ips = append(ips, ip.String())
	}
	return strings.Join(ips, ",")
}

// portAdds adds and deletes single ports: first with --wait, for the time until all chassis have applied it, then without it, for
// what it costs.
func (s *scale) portAdds(n int) {
	s.t.Helper()
	var receipts []time.Duration
	name := func(i int) string { return fmt.Sprintf("extra%d", i) }
	ip := func(i int) string { return fmt.Sprintf("10.7.0.%d", 150+i) }
	used, client := s.cpu(daemons...), clients()
	for i := range n {
		var answer struct {
			Receipt struct{ ElapsedMilliseconds int64 }
		}
		out := s.tpctl("-j", "lsp", "add", "ls7", name(i), ip(i), "--wait=20s")
		s.check(json.Unmarshal([]byte(out), &answer))
		receipts = append(receipts, time.Duration(answer.Receipt.ElapsedMilliseconds)*time.Millisecond)
		s.tpctl("lsp", "del", "ls7", name(i), "--wait=20s")
	}
	s.t.Logf("one port: applied everywhere %d ms after the write (median of %d); CPU per add and delete with --wait: daemons %d ms, client %d ms", median(receipts).Milliseconds(), n,
		(s.cpu(daemons...)-used).Milliseconds()/int64(n), (clients()-client).Milliseconds()/int64(n))
	used, client = s.cpu(daemons...), clients()
	for i := range n {
		s.tpctl("lsp", "add", "ls7", name(i), ip(i))
		s.tpctl("lsp", "del", "ls7", name(i))
	}
	s.tpctl("lsp", "add", "ls7", "last", "10.7.0.149", "--wait=20s")
	s.t.Logf("CPU per add and delete without --wait: daemons %d ms, client %d ms", (s.cpu(daemons...)-used).Milliseconds()/int64(n), (clients()-client).Milliseconds()/int64(n))
}

func flowCount(s *scale, h *lab.Host) string {
	out, err := h.Ofctl(s.ctx, "dump-aggregate", "br-int")
	s.check(err)
	return out[strings.LastIndex(out, "flow_count="):]
}

// TestCycles adds and deletes a port 10,000 times while a daemon follows, and measures its memory.
func TestCycles(t *testing.T) {
	s := newScale(t)
	one := s.Hosts()[0]
	s.check(one.StartDaemon(s.ctx))
	s.tpctl("ls", "add", "ls0")
	s.tpctl("lsp", "add", "ls0", "p0-0", addressesOf(0, 0, true))
	s.workload(0, 0)
	cycles := func(first, n int) {
		var text strings.Builder
		for i := first; i < first+n; i++ {
			fmt.Fprintf(&text, "lsp add ls0 c%d 10.0.1.%d\nlsp del ls0 c%d\n", i, i%250, i)
		}
		file := filepath.Join(t.TempDir(), "cycles.txt")
		s.check(os.WriteFile(file, []byte(text.String()), 0o600))
		s.tpctl("batch", "-f", file)
	}
	cycles(0, 1000)
	before, _ := s.atRest(one)
	cycles(1000, 10_000)
	after, peak := s.atRest(one)
	t.Logf("memory of tuplenet after 1,000 cycles %.1f MB, after 11,000 %.1f MB, at most %.1f MB; flows %s", before, after, peak, flowCount(s, one))
}
