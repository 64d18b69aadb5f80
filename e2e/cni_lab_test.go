//go:build integration

package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/types/create"

	"tuplenet/e2e/lab"
)

// Runtimes in these tests are the real cnitool, built from the version in go.mod, with the reference plugins of the
// distribution beside tpcni in CNI_PATH.

// referencePlugins is where Debian's package containernetworking-plugins puts them.
const referencePlugins = "/usr/lib/cni"

// cniFleet is a fleet whose hosts have cnitool, and a network for containers: switch LS-A with the router LR-central, as in the
// tutorial, and a namespace workload on the last host's LS-B to talk to.
type cniFleet struct {
	*fleet
	tool string // cnitool
	dir  string // <dir>/<host>/net.d are the network configurations
	mu   sync.Mutex
	n    int // containers so far
}

// The networks of the containers, beside those of the tutorial.
const (
	podSubnet  = "10.20.1.1/24"
	podSubnet6 = "2001:db8:20:1::1/64"
)

func newCNIFleet(t *testing.T, cfg lab.Config) *cniFleet {
	t.Helper()
	c := &cniFleet{fleet: newBareFleet(t, cfg), dir: t.TempDir()}
	c.tool = buildTool(t, "github.com/containernetworking/cni/cnitool")
	for _, h := range c.Hosts() {
		// What cnitool and the reference plugins remember belongs to the host, not to the machine.
		c.on(h, "mount -t tmpfs tmpfs /var/lib")
		c.check(os.MkdirAll(c.netDir(h), 0o755))
	}
	for _, line := range []string{
		"ls add LS-A", "ls add LS-B", "lr add LR-central",
		"lr link LR-central LS-A " + podSubnet + "," + podSubnet6,
		"lr link LR-central LS-B 10.20.2.1/24,2001:db8:20:2::1/64",
	} {
		c.tpctl(line)
	}
	return c
}

// start starts the daemons and a workload on the last host, reached from everywhere.
func (c *cniFleet) start(args ...string) (peer *lab.Workload) {
	c.t.Helper()
	for _, h := range c.Hosts() {
		c.daemon(h, args...)
	}
	for _, h := range c.Hosts() {
		c.eventuallyShows("ch show", h.SystemID()+":") // ready is earlier; the MTU of containers follows from who is registered
	}
	c.tpctl("lsp add LS-B lsp-bob 10.20.2.10,2001:db8:20:2::10 f2:01:00:00:00:02")
	peer = c.workload(c.Hosts()[len(c.Hosts())-1], "ns-bob", "lsp-bob", "f2:01:00:00:00:02", "10.20.2.1", "2001:db8:20:2::1", "10.20.2.10/24", "2001:db8:20:2::10/64")
	c.reach(peer, netip.MustParseAddr("10.20.2.1"))
	c.eventuallyShows("lsp show LS-B lsp-bob", "chassis: "+peer.Host.Name()) // before that a first ping from elsewhere has nowhere to go
	return peer
}

// buildTool builds a program of a module in go.mod into a folder of the test.
func buildTool(t *testing.T, path string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), filepath.Base(path))
	build := exec.Command("go", "build", "-buildvcs=false", "-o", out, path)
	build.Dir = ".."
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", path, err, text)
	}
	return out
}

func (c *cniFleet) netDir(h *lab.Host) string { return filepath.Join(c.dir, h.Name(), "net.d") }

// object is JSON.
type object = map[string]any

// conf is a configuration of tpcni as in the tutorial, with more keys or others.
func (c *cniFleet) conf(more object) object {
	o := object{"type": "tpcni", "switchname": "LS-A", "subnet": podSubnet, "etcd_cluster": strings.Join(c.Endpoints(), ","), "log_file": c.dir + "/tpcni.log"}
	maps.Copy(o, more)
	return o
}

// install writes a network configuration on all hosts: a list of plugins, or the configuration of a single one.
func (c *cniFleet) install(network, version string, plugins ...object) {
	c.t.Helper()
	file, content := network+".conflist", object{"cniVersion": version, "name": network, "plugins": plugins}
	if len(plugins) == 1 && plugins[0]["single"] == true {
		file, content = network+".conf", object{"cniVersion": version, "name": network}
		for k, v := range plugins[0] {
			if k != "single" {
				content[k] = v
			}
		}
	}
	text, err := json.MarshalIndent(content, "", "\t")
	c.check(err)
	for _, h := range c.Hosts() {
		c.check(os.WriteFile(filepath.Join(c.netDir(h), file), text, 0o644))
	}
}

// pod is a container as far as its network goes: a namespace.
type pod struct {
	c   *cniFleet
	h   *lab.Host
	ns  string
	env []string // for cnitool: CAP_ARGS=…, CNI_ARGS=…
}

// pod makes a namespace. Its name is unique among the hosts: cnitool makes the container's id of it.
func (c *cniFleet) pod(h *lab.Host, env ...string) *pod {
	c.t.Helper()
	c.mu.Lock()
	c.n++
	p := &pod{c: c, h: h, ns: fmt.Sprintf("pod%d", c.n), env: env}
	c.mu.Unlock()
	c.on(h, "ip netns add "+p.ns)
	return p
}

func (p *pod) path() string { return "/run/netns/" + p.ns }

// tool runs cnitool for the pod and returns what it printed.
func (p *pod) tool(verb, network string) (string, error) {
	args := append([]string{"env", "CNI_PATH=" + bin + ":" + referencePlugins, "NETCONFPATH=" + p.c.netDir(p.h)}, p.env...)
	return p.h.Exec(p.c.ctx, append(args, p.c.tool, verb, network, p.path())...)
}

// add runs ADD, which must succeed, and returns the result.
func (p *pod) add(network string) *current.Result {
	p.c.t.Helper()
	out, err := p.tool("add", network)
	if err != nil {
		p.c.t.Fatalf("%v\n%s", err, out)
	}
	return p.c.result(out)
}

// result reads a result of any version by the types of libcni, strictly.
func (c *cniFleet) result(out string) *current.Result {
	c.t.Helper()
	r, err := create.CreateFromBytes([]byte(out))
	c.check(err)
	if again, err := json.MarshalIndent(r, "", "    "); err != nil || !sameJSON(c.t, again, []byte(out)) {
		c.t.Errorf("the result has what libcni's type of version %s does not: %v\n%s\nread as\n%s", r.Version(), err, out, again)
	}
	newest, err := current.NewResultFromResult(r)
	c.check(err)
	if len(newest.IPs) == 0 || len(newest.Interfaces) < 2 {
		c.t.Fatalf("a result without addresses, or without both ends of an interface:\n%s", out)
	}
	return newest
}

func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return false
	}
	p, _ := json.Marshal(x)
	q, _ := json.Marshal(y)
	return bytes.Equal(p, q)
}

// run runs a command of cnitool, which must succeed.
func (p *pod) run(verb, network string) {
	p.c.t.Helper()
	if out, err := p.tool(verb, network); err != nil {
		p.c.t.Fatalf("%v\n%s", err, out)
	}
}

// fails runs a command of cnitool, which must fail with all of the words.
func (p *pod) fails(verb, network string, words ...string) {
	p.c.t.Helper()
	out, err := p.tool(verb, network)
	if err == nil {
		p.c.t.Fatalf("cnitool %s succeeded:\n%s", verb, out)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			p.c.t.Errorf("cnitool %s: no %q in %v", verb, w, err)
		}
	}
}

// plugin runs tpcni itself, with a configuration, and returns what it wrote to its standard output and error.
func (p *pod) plugin(command string, conf object, env ...string) (stdout, stderr string, err error) {
	return p.c.pluginOn(p.h, command, conf, append([]string{"CNI_CONTAINERID=" + p.ns, "CNI_IFNAME=eth0", "CNI_NETNS=" + p.path()}, env...)...)
}

func (c *cniFleet) pluginOn(h *lab.Host, command string, conf object, env ...string) (stdout, stderr string, err error) {
	c.t.Helper()
	input, err := json.Marshal(conf)
	c.check(err)
	var out, complaint bytes.Buffer
	args := append([]string{"env", "CNI_PATH=" + bin, "CNI_COMMAND=" + command}, env...)
	err = h.ExecWith(c.ctx, lab.Streams{In: bytes.NewReader(input), Out: &out, Err: &complaint}, append(args, filepath.Join(bin, "tpcni"))...)
	return out.String(), complaint.String(), err
}

// refusal is the error of the specification in what a plugin printed.
func (c *cniFleet) refusal(stdout string, err error) types.Error {
	c.t.Helper()
	var e types.Error
	if err == nil || json.Unmarshal([]byte(stdout), &e) != nil || e.Msg == "" {
		c.t.Fatalf("not refused as the specification says: %v\n%s", err, stdout)
	}
	return e
}

// workload is the pod as a workload of the lab.
func (p *pod) workload() *lab.Workload {
	p.c.t.Helper()
	w, err := p.h.Adopt(p.ns)
	p.c.check(err)
	return w
}

// onePing is for how many seconds the answer to a single ping may be under way: it may not be lost, but on a busy machine be late.
const onePing = "10"

// firstPing sends one ping, which must be answered.
func (p *pod) firstPing(dst ...netip.Addr) {
	p.c.t.Helper()
	for _, d := range dst {
		if out, err := p.workload().Exec(p.c.ctx, "ping", "-n", "-c", "1", "-W", onePing, d.String()); err != nil {
			p.c.t.Errorf("the first ping of %s to %s: %v: %s", p.ns, d, err, out)
		}
	}
}

// addresses are those of a result.
func addresses(r *current.Result) (out []netip.Addr) {
	for _, ip := range r.IPs {
		if a, ok := netip.AddrFromSlice(ip.Address.IP); ok {
			out = append(out, a.Unmap())
		}
	}
	return out
}

// nothingLeft waits until no container has left anything: in the store, in the switches, in the kernel.
func (c *cniFleet) nothingLeft() {
	c.t.Helper()
	c.eventually("no trace of containers", func() error {
		listing, err := c.Tpctl(c.ctx, "lsp", "show")
		if err != nil {
			return err
		}
		if strings.Contains(listing, "lsp-eth") {
			return fmt.Errorf("ports in the store:\n%s", listing)
		}
		for _, h := range c.Hosts() {
			if left, err := c.trace(h); err != nil || left != "" {
				return fmt.Errorf("on %s: %s %v", h.Name(), left, err)
			}
		}
		return c.keysLeft()
	})
}

// keysLeft are the keys of containers in etcd.
func (c *cniFleet) keysLeft() error {
	keys, err := c.Hosts()[0].Exec(c.ctx, "etcdctl", "get", "--prefix", "--keys-only", "/")
	for line := range strings.Lines(keys) {
		address := strings.Contains(line, "unique/ip/switch/LS-A/") && !strings.Contains(line, "010.020.001.001") && !strings.Contains(line, ":0000:0001\n")
		if strings.Contains(line, "lsp-eth") || address {
			return fmt.Errorf("left in etcd: %s", line)
		}
	}
	return err
}

// trace is what containers have left in the switch and the kernel of a host.
func (c *cniFleet) trace(h *lab.Host) (string, error) {
	ports, err := h.Vsctl(c.ctx, "--columns=name", "--bare", "find", "Interface", "external_ids:tuplenet-plugin=cni")
	if err != nil {
		return "", err
	}
	links, err := h.Exec(c.ctx, "ip", "-o", "link", "show", "type", "veth")
	if err != nil {
		return "", err
	}
	var left []string
	for line := range strings.Lines(links) {
		if f := strings.Fields(line); strings.HasPrefix(f[1], "tp") || strings.HasPrefix(f[1], "qp") {
			left = append(left, f[1])
		}
	}
	return strings.TrimSpace(ports + " " + strings.Join(left, " ")), nil
}

// vanish takes a container's namespace away, as when its host loses power, and waits until the kernel and Open vSwitch know of the end of
// its veth: a container is gone when both say so.
func (p *pod) vanish() {
	p.c.t.Helper()
	ends := func() (names []string) {
		for line := range strings.Lines(p.c.on(p.h, "ip -o link show type veth")) {
			if name, _, _ := strings.Cut(strings.Fields(line)[1], "@"); strings.HasPrefix(name, "tp") {
				names = append(names, name)
			}
		}
		return names
	}
	before := len(ends())
	p.c.on(p.h, "ip netns del "+p.ns)
	p.c.eventually("the veth of a container that is gone to go", func() error {
		left := ends()
		up := strings.Fields(p.c.on(p.h, "ovs-vsctl --bare --columns=name find Interface external_ids:tuplenet-plugin=cni link_state=up"))
		if len(left) >= before || slices.ContainsFunc(up, func(name string) bool { return !slices.Contains(left, name) }) {
			return fmt.Errorf("there are %v, of %d, and up are %v", left, before, up)
		}
		return nil
	})
}

// everyone runs something for all pods at once.
func everyone(pods []*pod, do func(i int, p *pod)) {
	var all sync.WaitGroup
	for i, p := range pods {
		all.Go(func() { do(i, p) })
	}
	all.Wait()
}
