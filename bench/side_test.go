//go:build bench

package bench

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tuplenet/e2e/lab"
	"tuplenet/model"
)

// side is one of the two systems that are compared, in a lab of its own. The labs are equal: the same hosts, switches, networks
// and workloads; what differs is what runs on top of them. Its methods end the test when something fails.
type side interface {
	// base is the lab and what both sides do alike in it.
	base() *world
	// title is the name in tables.
	title() string
	// start starts what is central, and the daemons of these hosts, and waits until they work.
	start(hosts ...int)
	// join starts the daemon of one more host, without waiting.
	join(host int)
	// write writes a network and returns when all chassis have applied it.
	write(n network)
	// addPort and delPort write, without waiting.
	addPort(sw int, name string, ip netip.Addr)
	delPort(sw int, name string)
	// gateways makes hosts the ways to the outside for the network's router, the first one preferred if only one can be; see outsideNet.
	gateways(hosts ...int)
	// changes are the objects that can be changed one at a time: how number k is added and deleted, returning when all chassis have
	// applied it.
	changes() map[string]change
	// settled waits until everybody has applied everything.
	settled()
	// rested waits until nothing is left to do of what a start or a large change brings with it.
	rested()
}

type change struct{ add, del func(k int) }

// world is a lab with what both sides do alike in it.
type world struct {
	*lab.Lab
	t      *testing.T
	ctx    context.Context
	beside []lab.Process // daemons that run beside the lab, for it
}

func (w *world) base() *world { return w }

// newWorld makes a lab of hosts; the last one is an edge if edge says so.
func newWorld(t *testing.T, name string, edges ...string) *world {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	t.Cleanup(cancel)
	c := lab.Config{Name: os.Getenv("TUPLENET_LAB_PREFIX") + name, Hosts: []string{"one", "two", "three"}, Bin: binaries(t), KernelRoutes: true}
	for _, e := range edges {
		c.Edges = append(c.Edges, lab.Edge{Host: e})
	}
	l, err := lab.New(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Down(); err != nil {
			t.Error(err)
		}
	})
	return &world{Lab: l, t: t, ctx: ctx}
}

func (w *world) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// pause lets time pass that belongs to a measurement, such as that between two changes.
func (w *world) pause(d time.Duration) {
	w.t.Helper()
	select {
	case <-time.After(d):
	case <-w.ctx.Done():
		w.t.Fatal(context.Cause(w.ctx))
	}
}

// makeBridges makes br-int on the hosts, so that workloads can be plugged in before a daemon runs.
func (w *world) makeBridges() {
	w.t.Helper()
	for _, h := range w.Hosts() {
		_, err := h.Vsctl(w.ctx, "add-br", "br-int", "--", "set", "bridge", "br-int", "datapath_type=netdev", "fail_mode=secure")
		w.check(err)
	}
}

// outsideBridge makes br0 of a host, with its interface outside if it has one.
func (w *world) outsideBridge(h *lab.Host) {
	w.t.Helper()
	_, err := h.Vsctl(w.ctx, "add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev")
	w.check(err)
	if dev := h.OutsideDevice(); dev != "" {
		_, err := h.Vsctl(w.ctx, "add-port", "br0", dev)
		w.check(err)
	}
}

// macOf is the MAC that a port with this address has: the store's choice, too.
func macOf(ip netip.Addr) model.MAC {
	a := ip.As4()
	return model.MAC{0xf2, 0x01, a[0], a[1], a[2], a[3]}
}

func portIP(sw, i int) netip.Addr    { return port(sw, i, false).IPs[0] }
func gatewayIP(sw int) netip.Addr    { return netip.AddrFrom4([4]byte{10, byte(sw), 0, 1}) }
func portName(sw, i int) string      { return port(sw, i, false).Name }
func switchName(sw int) string       { return fmt.Sprintf("ls%d", sw) }
func netOf(sw int) netip.Prefix      { return netip.PrefixFrom(gatewayIP(sw), 24) }
func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

// workload plugs a port of a switch into a host.
func (w *world) workload(host, sw int, name string, ip netip.Addr, unplugged bool) *lab.Workload {
	w.t.Helper()
	l, err := w.Hosts()[host].AddWorkload(w.ctx, lab.WorkloadConfig{Name: "w" + name, Port: name, MAC: macOf(ip).String(),
		Addrs: []netip.Prefix{netip.PrefixFrom(ip, 24)}, Gateways: []netip.Addr{gatewayIP(sw)}, Unplugged: unplugged})
	w.check(err)
	return l
}

// local plugs the port of a switch that has the host's number into the host.
func (w *world) local(host, sw int) *lab.Workload {
	w.t.Helper()
	return w.workload(host, sw, portName(sw, host), portIP(sw, host), false)
}

// knows gives workloads each other's MAC, so that no address resolution is in a measurement: a kernel repeats it once a second.
func (w *world) knows(a, b *lab.Workload) {
	w.t.Helper()
	for _, p := range [][2]*lab.Workload{{a, b}, {b, a}} {
		ip := p[1].Addrs()[0]
		_, err := p[0].Exec(w.ctx, "ip", "neigh", "replace", ip.String(), "lladdr", macOf(ip).String(), "dev", "eth0", "nud", "permanent")
		w.check(err)
	}
}

// used is processor time: of the lab's daemons by name, and of the clients, which are the finished children of this process and the
// client that stays.
type used struct {
	daemons map[string]time.Duration
	clients time.Duration
}

func (w *world) used() used {
	u := used{daemons: map[string]time.Duration{}, clients: clients()}
	for _, p := range append(w.Processes(), w.beside...) {
		if p.Name == clientName {
			u.clients += cpuOf(p.PID)
		} else {
			u.daemons[p.Name] += cpuOf(p.PID)
		}
	}
	return u
}

// since is what was used after an earlier measurement.
func (u used) since(before used) used {
	d := used{daemons: map[string]time.Duration{}, clients: u.clients - before.clients}
	for name, t := range u.daemons {
		d.daemons[name] = t - before.daemons[name]
	}
	return d
}

func (u used) sum() (all time.Duration) {
	for _, t := range u.daemons {
		all += t
	}
	return all
}

func (u used) String() string {
	names := []string{}
	for name, t := range u.daemons {
		if t >= 10*time.Millisecond {
			names = append(names, fmt.Sprintf("%s %s", name, seconds(t)))
		}
	}
	slices.Sort(names)
	return fmt.Sprintf("daemons %s (%s), clients %s", seconds(u.sum()), strings.Join(names, ", "), seconds(u.clients))
}

// idle is the processor time that the daemons use in a second while nothing happens, beside what they do every few seconds.
func (w *world) idle() time.Duration {
	w.t.Helper()
	const long = 5 * time.Second
	before := w.used()
	w.pause(long)
	return time.Duration(float64(w.used().since(before).sum()) / long.Seconds())
}

// quiet waits until the daemons use less than a tenth of a core for a second.
func (w *world) quiet() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, 2*time.Minute)
	defer cancel()
	w.check(lab.WaitFor(ctx, "the daemons to rest", func() error {
		before := w.used()
		w.pause(time.Second)
		if u := w.used().since(before); u.sum() > 100*time.Millisecond {
			return fmt.Errorf("in a second: %s", u)
		}
		return nil
	}))
}

// clients is the processor time of the finished children of this process.
func clients() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_CHILDREN, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// cpuOf is the processor time that a process has used; 0 if it is gone. The scheduler's figure is exact and forgets threads that have
// ended; that of proc(5), fields 14 and 15 of stat, counts them in ticks of 10 ms: the larger one is nearer.
func cpuOf(pid int) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	ticks := time.Duration(user+system) * 10 * time.Millisecond
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	var exact time.Duration
	for _, task := range tasks {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/schedstat", pid, task.Name()))
		if f := strings.Fields(string(b)); len(f) > 0 {
			ns, _ := strconv.ParseInt(f[0], 10, 64)
			exact += time.Duration(ns)
		}
	}
	return max(ticks, exact)
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

// process is the lab's process of that name on a host.
func (w *world) process(host, name string) lab.Process {
	w.t.Helper()
	for _, p := range w.Processes() {
		if p.Name == name && p.Node == host {
			return p
		}
	}
	w.t.Fatalf("no process %s on %s", name, host)
	return lab.Process{}
}

// flows is how many flows br-int of a host has.
func (w *world) flows(host int) int {
	w.t.Helper()
	out, err := w.Hosts()[host].Ofctl(w.ctx, "dump-aggregate", "br-int")
	w.check(err)
	n, err := strconv.Atoi(strings.TrimSpace(out[strings.LastIndex(out, "flow_count=")+len("flow_count="):]))
	w.check(err)
	return n
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

func median[T ~int64 | ~float64](all []T) T {
	all = slices.Clone(all)
	slices.Sort(all)
	return all[len(all)/2]
}
