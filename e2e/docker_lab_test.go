//go:build integration

package e2e_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tuplenet/e2e/lab"
)

// Engines in these tests are the real dockerd of the distribution, one on each of two hosts, in the hosts' namespaces, with an
// image made of a static busybox. Control groups belong to the machine: those of a lab are below one of its own.

// dockerCLI is that of the same package as dockerd; another one may come first in the PATH.
const dockerCLI = "/usr/bin/docker"

// hang is how long a command of docker may take, whatever is down.
const hang = 30 * time.Second

// docked is the tutorial's fleet with one edge, and engines on alice and bob.
type docked struct {
	*edged
	image string   // a tar file
	run   int      // counts the starts of engines: each has its own data
	calls *between // of the engine on alice, for networks of that driver
	// slowness is how long a command of docker may take, if it is not hang: while a machine is busy with fifty of them.
	slowness time.Duration
}

// cgroup is the name of the lab's control group.
func (d *docked) cgroup() string { return "tn-" + d.Name() }

// controllers are the hierarchies of version 1 that runc wants.
const controllers = "cpu cpuacct cpuset memory devices freezer blkio pids"

func newDocked(t *testing.T, name string) *docked {
	t.Helper()
	var d *docked
	t.Cleanup(func() { // after the lab has gone
		if d != nil {
			d.removeCgroups(t)
		}
	})
	d = &docked{edged: withEdges(t, name, 1)}
	d.equip()
	return d
}

// equip prepares the hosts for engines, which end with the test.
func (d *docked) equip() {
	t := d.t
	t.Helper()
	d.makeImage()
	for _, h := range d.engines() {
		script := `set -e
mount -t tmpfs tmpfs /var/lib
mkdir -p /var/lib/docker
mount -t tmpfs cgroup /sys/fs/cgroup
for c in ` + controllers + `; do mkdir /sys/fs/cgroup/$c; mount -t cgroup -o $c cgroup /sys/fs/cgroup/$c; done
mkdir /sys/fs/cgroup/systemd
mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd`
		if _, err := h.Shell(d.ctx, script); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, h := range d.engines() {
				t.Logf("last lines of tpcnm on %s:\n%s", h.Name(), h.Spawned("tpcnm").Tail(30))
				t.Logf("last lines of dockerd on %s:\n%s", h.Name(), h.Spawned("dockerd").Tail(30))
			}
		}
		d.each(d.stopEngine)
	})
}

// engines are the hosts with an engine.
func (d *docked) engines() (hosts []*lab.Host) {
	for _, name := range []string{"alice", "bob"} {
		if h := d.Host(name); h != nil {
			hosts = append(hosts, h)
		}
	}
	return hosts
}

// removeCgroups removes the control groups that dockerd and runc have left: they do not remove the parent they are given.
func (d *docked) removeCgroups(t *testing.T) {
	for _, c := range append(strings.Fields(controllers), "systemd") {
		top := filepath.Join("/sys/fs/cgroup", c, d.cgroup())
		var dirs []string
		_ = filepath.WalkDir(top, func(path string, e os.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		slices.Reverse(dirs) // children first
		for _, dir := range dirs {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			err := lab.WaitFor(ctx, "an empty "+dir, func() error { return os.Remove(dir) })
			cancel()
			if err != nil {
				t.Error(err)
			}
		}
	}
}

// makeImage makes the file system of the containers.
func (d *docked) makeImage() {
	d.t.Helper()
	root := filepath.Join(d.t.TempDir(), "root")
	d.check(os.MkdirAll(filepath.Join(root, "bin"), 0o755))
	program, err := exec.LookPath("busybox")
	d.check(err)
	text, err := os.ReadFile(program)
	d.check(err)
	d.check(os.WriteFile(filepath.Join(root, "bin", "busybox"), text, 0o755))
	for _, name := range []string{"sh", "sleep", "ping", "ip", "nc", "wget", "cat"} {
		d.check(os.Symlink("busybox", filepath.Join(root, "bin", name)))
	}
	d.image = root + ".tar"
	out, err := exec.Command("tar", "-C", root, "-cf", d.image, ".").CombinedOutput()
	if err != nil {
		d.t.Fatalf("image: %v\n%s", err, out)
	}
}

// fresh makes the engines that are started from now on begin anew.
func (d *docked) fresh() { d.run++ }

// each does something for all engines at once.
func (d *docked) each(do func(h *lab.Host)) {
	var all sync.WaitGroup
	for _, h := range d.engines() {
		all.Go(func() { do(h) })
	}
	all.Wait()
}

// startLocal starts engines, each of which knows its own networks only, and their plugins.
func (d *docked) startLocal() {
	d.fresh()
	d.each(func(h *lab.Host) {
		d.startPlugin(h, localScope)
		d.startEngine(h)
	})
}

// startEngine starts dockerd on a host that has begun anew, and gives it the image.
func (d *docked) startEngine(h *lab.Host, args ...string) {
	d.t.Helper()
	d.againEngine(h, args...)
	d.docker(h, "import", d.image, "tiny")
}

// againEngine starts dockerd on a host with the data that it had.
func (d *docked) againEngine(h *lab.Host, args ...string) {
	d.t.Helper()
	// Where containerd writes its stacks if the engine, restarting it, asks for them.
	command := []string{"TMPDIR=" + h.Dir(), "dockerd", "--data-root", filepath.Join(h.Dir(), fmt.Sprint("docker", d.run)), "--cgroup-parent", "/" + d.cgroup(),
		"--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false"}
	_, err := h.Spawn("dockerd", append(command, args...)...)
	d.check(err)
	d.eventually("dockerd on "+h.Name(), func() error {
		_, err := h.Exec(d.ctx, dockerCLI, "version")
		return err
	})
}

// stopEngine ends dockerd, if it runs, and all its containers.
func (d *docked) stopEngine(h *lab.Host) {
	if h.Spawned("dockerd").Alive() {
		ctx, cancel := context.WithTimeout(context.Background(), hang)
		defer cancel()
		if err := h.End(ctx, "dockerd", unix.SIGTERM); err != nil {
			d.t.Error(err)
		}
	}
}

// configuration writes that of tpcnm on a host: the tutorial's, with more keys.
func (d *docked) configuration(h *lab.Host, more object) string {
	d.t.Helper()
	o := object{"etcd_cluster": strings.Join(d.Endpoints(), ","), "data_store_prefix": "/tuplenet", "docker_unix_sock": "/var/run/docker.sock", "egress_router_name": "LR-central"}
	for k, v := range more {
		o[k] = v
	}
	text, err := json.Marshal(o)
	d.check(err)
	file := filepath.Join(h.Dir(), "etc", "tpcnm.json")
	d.check(os.WriteFile(file, text, 0o644))
	return file
}

// startPlugin starts tpcnm on a host.
func (d *docked) startPlugin(h *lab.Host, more object, args ...string) {
	d.t.Helper()
	command := []string{filepath.Join(bin, "tpcnm"), "-config", d.configuration(h, more), "-log-level", "debug"}
	_, err := h.Spawn("tpcnm", append(command, args...)...)
	d.check(err)
	d.eventually("tpcnm on "+h.Name(), func() error { // the socket of a killed one is there, and refuses
		c, err := net.Dial("unix", filepath.Join(h.Dir(), "run/docker/plugins/tuplenet.sock"))
		if err == nil {
			err = c.Close()
		}
		return err
	})
}

// tryDocker runs a command of docker, which may fail, but may not hang.
func (d *docked) tryDocker(h *lab.Host, args ...string) (string, error) {
	d.t.Helper()
	limit := cmp.Or(d.slowness, hang)
	ctx, cancel := context.WithTimeout(d.ctx, limit)
	defer cancel()
	out, err := h.Exec(ctx, append([]string{dockerCLI}, args...)...)
	if ctx.Err() != nil && d.ctx.Err() == nil {
		d.t.Errorf("on %s, docker %s hung for %v", h.Name(), strings.Join(args, " "), limit)
	}
	return strings.TrimSpace(out), err
}

// docker runs a command of docker, which must succeed.
func (d *docked) docker(h *lab.Host, args ...string) string {
	d.t.Helper()
	out, err := d.tryDocker(h, args...)
	if err != nil {
		d.t.Fatal(err)
	}
	return out
}

// container is a container on a host.
type container struct {
	d    *docked
	h    *lab.Host
	name string
}

// container starts a container that does nothing.
func (d *docked) container(h *lab.Host, name, network string, args ...string) *container {
	d.t.Helper()
	d.docker(h, slices.Concat([]string{"run", "-d", "--stop-timeout", "0", "--name", name, "--net", network}, args, []string{"tiny", "/bin/sleep", "1000"})...)
	return &container{d, h, name}
}

// inspect prints something of the container.
func (c *container) inspect(format string) string {
	c.d.t.Helper()
	return c.d.docker(c.h, "inspect", "-f", format, c.name)
}

// addresses are those that the engine says the container has; it must have one.
func (c *container) addresses() (out []netip.Addr) {
	c.d.t.Helper()
	for _, text := range strings.Fields(c.inspect("{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.GlobalIPv6Address}} {{end}}")) {
		a, err := netip.ParseAddr(text)
		c.d.check(err)
		out = append(out, a)
	}
	if len(out) == 0 {
		c.d.t.Fatalf("container %s on %s has no address; its state is %s", c.name, c.h.Name(), c.inspect("{{json .State}}"))
	}
	return out
}

// with runs something for the container as a workload of the lab. It has the name of its namespace only meanwhile: a
// namespace that has a name outlives its container.
func (c *container) with(do func(w *lab.Workload)) {
	c.d.t.Helper()
	c.d.on(c.h, "ip netns attach "+c.name+" "+c.inspect("{{.State.Pid}}"))
	defer c.d.on(c.h, "ip netns del "+c.name)
	w, err := c.h.Adopt(c.name)
	c.d.check(err)
	do(w)
}

// exec runs a command in the container.
func (c *container) exec(args ...string) string {
	c.d.t.Helper()
	return c.d.docker(c.h, append([]string{"exec", c.name}, args...)...)
}

// pings sends a ping from the container, by its own program, which must be answered.
func (c *container) pings(dst ...netip.Addr) {
	c.d.t.Helper()
	for _, a := range dst {
		c.exec("ping", "-c", "1", "-W", onePing, a.String())
	}
}

// remove removes the container.
func (c *container) remove() {
	c.d.t.Helper()
	c.d.docker(c.h, "rm", "-f", c.name)
}

// nothingLeft waits until no container and no network has left anything: in the store, in the switches, in the kernel.
func (d *docked) nothingLeft() {
	d.t.Helper()
	d.eventually("no trace of Docker", func() error {
		keys, err := d.Hosts()[0].Exec(d.ctx, "etcdctl", "get", "--prefix", "/")
		if err != nil {
			return err
		}
		for _, word := range []string{"docker-", "cnm", "v1/note"} {
			if strings.Contains(keys, word) {
				return fmt.Errorf("%q is in etcd:\n%s", word, keys)
			}
		}
		for _, h := range d.engines() {
			if left, err := d.trace(h); err != nil || left != "" {
				return fmt.Errorf("on %s: %s %v", h.Name(), left, err)
			}
		}
		return nil
	})
}

// trace is what containers have left in the switch and the kernel of a host.
func (d *docked) trace(h *lab.Host) (string, error) {
	ports, err := h.Vsctl(d.ctx, "--columns=name", "--bare", "find", "Interface", "external_ids:tuplenet-plugin=cnm")
	if err != nil {
		return "", err
	}
	links, err := h.Exec(d.ctx, "ip", "-o", "link", "show", "type", "veth")
	if err != nil {
		return "", err
	}
	left := strings.Fields(ports)
	for line := range strings.Lines(links) {
		name, _, _ := strings.Cut(strings.Fields(line)[1], "@")
		if (strings.HasPrefix(name, "tp") || strings.HasPrefix(name, "qp")) && !slices.Contains(left, name) {
			left = append(left, name)
		}
	}
	return strings.Join(left, " "), nil
}
