//go:build bench

package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tuplenet/controller/facts"
	"tuplenet/flows/compile"
	"tuplenet/model"
	"tuplenet/model/store"
)

// The fleet: simulated nodes in a few processes follow one etcd in a process of its own. A node has what a daemon has from the
// store's client to the compiled outputs; its switch is a map. TUPLENET_FLEET_NODES, _RATE and _SECONDS change the size;
// _CHASSIS is how many nodes believe that there are, _ONDEMAND=0 has them compile all flows, _GOGC is how much garbage their processes let gather.

func setting(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv("TUPLENET_FLEET_" + name)); err == nil {
		return n
	}
	return otherwise
}

// Environment of the processes that the test starts from its own binary.
const (
	fleetNodes = "TUPLENET_BENCH_FLEET" // endpoint first-number count
	fleetEtcd  = "TUPLENET_BENCH_ETCD"  // directory
)

func TestMain(m *testing.M) {
	switch args := strings.Fields(os.Getenv(fleetNodes)); {
	case len(args) > 0:
		runNodes(args)
	case os.Getenv(fleetEtcd) != "":
		runEtcd(os.Getenv(fleetEtcd))
	default:
		os.Exit(m.Run())
	}
}

// profiled takes a profile of this process if TUPLENET_BENCH_PROFILE names a folder, until what it returns is called.
func profiled(name string) (end func()) {
	dir := env("PROFILE", "")
	if dir == "" {
		return func() {}
	}
	f, err := os.Create(filepath.Join(dir, name+"-cpu.prof"))
	if err == nil {
		err = pprof.StartCPUProfile(f)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return func() {
		pprof.StopCPUProfile()
		f.Close()
	}
}

// runEtcd serves until its input ends; a line before that tells that the nodes are in sync.
func runEtcd(dir string) {
	e, err := store.StartEmbedded(dir, "http://127.0.0.1:0", nil)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(strings.Join(e.Endpoints(), ","))
	in := bufio.NewReader(os.Stdin)
	_, _ = in.ReadString('\n') // all nodes are in sync
	end := profiled("fleet-etcd")
	_, _ = in.ReadString('\n')
	end()
	e.Close()
}

// delays is a histogram of latencies: bucket i holds those up to 2^(i/4) ms / 16.
type delays [80]int64

func (d *delays) add(t time.Duration) {
	i := 0
	if ms := float64(t) / float64(time.Millisecond) * 16; ms > 1 {
		i = min(len(d)-1, int(math.Ceil(4*math.Log2(ms))))
	}
	atomic.AddInt64(&d[i], 1)
}

func (d *delays) count() (n int64) {
	for i := range d {
		n += atomic.LoadInt64(&d[i])
	}
	return n
}

// quantile is an upper bound of the latency of a part of the samples, at most 19 % too high.
func (d *delays) quantile(q float64) time.Duration {
	rest := int64(math.Ceil(q * float64(d.count())))
	for i := range d {
		if rest -= atomic.LoadInt64(&d[i]); rest <= 0 {
			return time.Duration(math.Exp2(float64(i)/4) / 16 * float64(time.Millisecond))
		}
	}
	return 0
}

// simulated is one node. Follow delivers to pending; its goroutine takes all that is pending at once, as the daemon's mailbox does.
type simulated struct {
	mu      sync.Mutex
	pending []store.Update
	wake    chan struct{}

	facts    *facts.Facts
	flows    map[string]int // the switch: flows by owner
	measured *[2]delays     // by half of the changes that are timed
	synced   *atomic.Int64
}

func (n *simulated) deliver(u store.Update) {
	n.mu.Lock()
	n.pending = append(n.pending, u)
	n.mu.Unlock()
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// timed is the time in the name of a port that was written to be timed, and in which half of its series it is.
func timed(name string) (at time.Time, half int, ok bool) {
	first, second, ok := strings.Cut(strings.TrimPrefix(name, "t"), "-")
	half, err := strconv.Atoi(first)
	nanos, err2 := strconv.ParseInt(second, 10, 64)
	return time.Unix(0, nanos), half, ok && err == nil && err2 == nil
}

func (n *simulated) run() {
	for range n.wake {
		begun := time.Now()
		n.mu.Lock()
		batch := n.pending
		n.pending = nil
		n.mu.Unlock()
		var names []string
		loaded := false
		for _, u := range batch {
			n.facts.Apply(u)
			for _, c := range u.Changes {
				if c.Object != nil && c.Ref.Kind == model.KindSwitchPort {
					names = append(names, c.Ref.Name)
				}
			}
			loaded = loaded || u.Reset
		}
		for _, c := range n.facts.Update() {
			if c.Gone {
				delete(n.flows, c.Unit.String())
			} else {
				n.flows[c.Unit.String()] = len(c.New.Flows)
			}
		}
		n.facts.Problems() // as for a report
		if loaded {
			n.synced.Add(1)
		}
		now := time.Now()
		for _, name := range names {
			if at, half, ok := timed(name); ok {
				n.measured[half].add(now.Sub(at))
			}
		}
		time.Sleep(min(2*now.Sub(begun), 100*time.Millisecond)) // the daemon's pace
	}
}

// decoded are objects by their keys, as they were written last: the nodes of a process read each once. Real nodes are alone in theirs.
type decoded struct {
	mu      sync.Mutex
	objects map[model.Ref]read
}

type read struct {
	revision int64
	object   model.Object
	err      error
}

func (d *decoded) decode(ref model.Ref, value []byte, revision int64) (model.Object, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r, ok := d.objects[ref]
	if !ok || r.revision != revision {
		r = read{revision: revision}
		r.object, r.err = model.Decode(ref, value)
		d.objects[ref] = r
	}
	return r.object, r.err
}

// runNodes is a process of the fleet: it prints "synced" when all its nodes have the state, and for each line on its input a
// report since the one before.
func runNodes(args []string) {
	first, _ := strconv.Atoi(args[1])
	count, _ := strconv.Atoi(args[2])
	_ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, 5) // etcd has a machine of its own elsewhere
	debug.SetGCPercent(setting("GOGC", 100))
	var synced atomic.Int64
	measured := new([2]delays)
	shared := &decoded{objects: map[model.Ref]read{}}
	onDemand := setting("ONDEMAND", 1) != 0
	for i := range count {
		st, err := store.Open(store.Config{Endpoints: []string{args[0]}, DialTimeout: time.Minute, Decode: shared.decode})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		n := &simulated{wake: make(chan struct{}, 1), facts: facts.New(), flows: map[string]int{}, measured: measured, synced: &synced}
		name := fmt.Sprintf("hv%d", first+i)
		n.facts.SetNode(compile.Node{Chassis: name, IPs: []netip.Addr{chassisIP(first + i)}, TunnelPort: 1, TunnelMTU: 1438, OnDemand: onDemand})
		n.facts.SetInterfaces(map[string]compile.Interface{fmt.Sprintf("local%d", (first+i)%fleetPorts): {OFPort: 10}})
		go n.run()
		go func() { _ = st.Follow(context.Background(), n.deliver) }()
	}
	for synced.Load() < int64(count) {
		time.Sleep(20 * time.Millisecond)
	}
	fmt.Println("synced")
	defer profiled("fleet-nodes-" + args[1])()
	in := bufio.NewReader(os.Stdin)
	for {
		if _, err := in.ReadString('\n'); err != nil {
			return
		}
		var since [2]delays
		for h := range measured {
			for i := range measured[h] {
				since[h][i] = atomic.SwapInt64(&measured[h][i], 0)
			}
		}
		b, _ := json.Marshal(since)
		fmt.Println(string(b))
	}
}

const fleetPorts = 100 // that the network has before, on a switch each

func chassisIP(i int) netip.Addr { return netip.AddrFrom4([4]byte{172, 16, byte(i >> 8), byte(i)}) }

// child is a process of the test's own binary.
type child struct {
	cmd *exec.Cmd
	in  interface{ Write([]byte) (int, error) }
	out *bufio.Reader
}

func spawn(t *testing.T, env string) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), env)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close() // it ends, and writes its profile if there is to be one
		kill := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		defer kill.Stop()
		_ = cmd.Wait()
	})
	return &child{cmd, in, bufio.NewReader(out)}
}

func (c *child) line(t *testing.T) string {
	t.Helper()
	text, err := c.out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(text)
}

// fleet is the processes and a client that writes.
type fleet struct {
	etcd  *child
	nodes []*child
	count int64
	st    *store.Store
}

func newFleet(t *testing.T, r *record, nodes int) *fleet {
	t.Helper()
	f := &fleet{etcd: spawn(t, fleetEtcd+"="+t.TempDir()), count: int64(nodes)}
	endpoint := f.etcd.line(t)
	st, err := store.Open(store.Config{Endpoints: []string{endpoint}, DialTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	f.st = st
	f.network(t)
	const perProcess = 500
	begun := time.Now()
	for first := 1; first <= nodes; first += perProcess {
		f.nodes = append(f.nodes, spawn(t, fmt.Sprintf("%s=%s %d %d", fleetNodes, endpoint, first, min(perProcess, nodes-first+1))))
	}
	for _, n := range f.nodes {
		if got := n.line(t); got != "synced" {
			t.Fatal(got)
		}
	}
	fmt.Fprintln(f.etcd.in)
	now, _ := memory(f.etcd.cmd.Process.Pid)
	r.seconds("all nodes start at once and are in sync", time.Since(begun))
	r.add("memory of etcd", "MB", now)
	r.add("memory of a simulated node", "MB", f.nodesMemory()/float64(nodes))
	return f
}

// network writes the network that is there before: a router, switches with a port each, and chassis.
func (f *fleet) network(t *testing.T) {
	t.Helper()
	b := f.st.Bulk()
	add := func(objects ...model.Object) {
		a, err := b.Prepare(t.Context(), objects)
		if err == nil {
			err = a.Send(t.Context())
		}
		if err == nil {
			_, _, err = a.Result()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	add(&model.LogicalRouter{Name: "lr"})
	for i := range fleetPorts {
		ls := fmt.Sprintf("ls%d", i)
		rp, sp := model.NewLink("lr", ls, []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i), 0, 1}), 16)})
		add(&model.LogicalSwitch{Name: ls}, rp, sp,
			&model.LogicalSwitchPort{Switch: ls, Name: fmt.Sprintf("local%d", i), Type: model.PortVIF, IPs: []netip.Addr{netip.AddrFrom4([4]byte{10, byte(i), 0, 2})}})
	}
	var all sync.WaitGroup
	var next atomic.Int64
	chassis := setting("CHASSIS", max(int(f.count), fleetPorts)) // each costs each node 1 to 2 kB, and all nodes are on this machine
	for range 16 {
		all.Go(func() {
			for i := int(next.Add(1)); i <= chassis; i = int(next.Add(1)) {
				c := &model.Chassis{Name: fmt.Sprintf("hv%d", i), IPs: []netip.Addr{chassisIP(i)}, Encaps: []model.Encap{model.EncapGeneve}}
				if _, err := f.st.PutChassis(t.Context(), c); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

// reports adds up what the nodes measured since the last time.
func (f *fleet) reports(t *testing.T) (sum [2]delays) {
	t.Helper()
	for _, n := range f.nodes {
		fmt.Fprintln(n.in)
		var part [2]delays
		if err := json.Unmarshal([]byte(n.line(t)), &part); err != nil {
			t.Fatal(err)
		}
		for h := range part {
			for i := range part[h] {
				sum[h][i] += part[h][i]
			}
		}
	}
	return sum
}

// series writes so many changes, evenly spread over a time, and returns what all nodes measured of the two halves of them.
func (f *fleet) series(t *testing.T, changes int, over time.Duration) [2]delays {
	t.Helper()
	f.reports(t)
	var writing delays
	defer func() {
		t.Logf("writing a change took p50 %v, p99 %v of that", writing.quantile(0.5).Round(time.Millisecond), writing.quantile(0.99).Round(time.Millisecond))
	}()
	var all sync.WaitGroup
	begun := time.Now()
	for i := range changes {
		if wait := time.Until(begun.Add(time.Duration(i) * over / time.Duration(changes))); wait > 0 {
			time.Sleep(wait)
		}
		ls := i % fleetPorts
		all.Go(func() {
			p := &model.LogicalSwitchPort{Switch: fmt.Sprintf("ls%d", ls), Name: fmt.Sprintf("t%d-%d", 2*i/changes, time.Now().UnixNano()), Type: model.PortVIF,
				IPs: []netip.Addr{netip.AddrFrom4([4]byte{10, byte(ls), byte(1 + i/fleetPorts%250), byte(1 + begun.Unix()%250)})}}
			begun := time.Now()
			if _, _, err := f.st.AddSwitchPort(t.Context(), p); err != nil {
				t.Error(err)
			}
			writing.add(time.Since(begun))
		})
	}
	all.Wait()
	var sum [2]delays
	for deadline := time.Now().Add(60 * time.Second); ; {
		for h, part := range f.reports(t) {
			for i := range part {
				sum[h][i] += part[i]
			}
		}
		if sum[0].count()+sum[1].count() >= int64(changes)*f.count {
			return sum
		}
		if time.Now().After(deadline) {
			t.Logf("%d of %d arrived within a minute after the last", sum[0].count()+sum[1].count(), int64(changes)*f.count)
			return sum
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// TestBenchFleet measures, in a fleet, how long one change takes to be compiled on every node, alone and at several rates.
func TestBenchFleet(t *testing.T) {
	nodes := setting("NODES", 2000)
	r := &record{t, newRun(t, "fleet", nodes, ""), true, map[string]target{"one change a second, p99": {limit: 1000}}}
	f := newFleet(t, r, nodes)
	one := f.series(t, 20, 20*time.Second)
	for i := range one[0] {
		one[0][i] += one[1][i]
	}
	r.milliseconds("one change a second, p50", one[0].quantile(0.5))
	r.milliseconds("one change a second, p99", one[0].quantile(0.99))
	r.milliseconds("one change a second, the last node of all", one[0].quantile(1))
	seconds := setting("SECONDS", 20)
	rates := []int{5, 100}
	if only := setting("RATE", 0); only > 0 {
		rates = []int{only}
	}
	for _, rate := range rates {
		etcd, nodes := cpuOf(f.etcd.cmd.Process.Pid), f.nodesCPU()
		s := f.series(t, rate*seconds, time.Duration(seconds)*time.Second)
		name := fmt.Sprintf("%d changes a second, ", rate)
		for half, d := range s {
			r.milliseconds(name+[]string{"first half p50", "second half p50"}[half], d.quantile(0.5))
			r.milliseconds(name+[]string{"first half p99", "second half p99"}[half], d.quantile(0.99))
		}
		etcd, nodes = cpuOf(f.etcd.cmd.Process.Pid)-etcd, f.nodesCPU()-nodes
		r.seconds(name+"CPU of etcd", etcd)
		r.seconds(name+"CPU of all nodes", nodes)
		told := float64(rate*seconds) * float64(f.count)
		r.add(name+"CPU of etcd, a change and node", "µs", etcd.Seconds()*1e6/told)
		r.add(name+"CPU of a node, a change", "µs", nodes.Seconds()*1e6/told)
	}
	r.add("memory of a simulated node, afterwards", "MB", f.nodesMemory()/float64(f.count))
	_, peak := memory(f.etcd.cmd.Process.Pid)
	r.add("memory of etcd, at most", "MB", peak)
	write(t, r.run)
}

func (f *fleet) nodesMemory() (sum float64) {
	for _, n := range f.nodes {
		now, _ := memory(n.cmd.Process.Pid)
		sum += now
	}
	return sum
}

func (f *fleet) nodesCPU() (sum time.Duration) {
	for _, n := range f.nodes {
		sum += cpuOf(n.cmd.Process.Pid)
	}
	return sum
}
