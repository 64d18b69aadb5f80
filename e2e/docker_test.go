//go:build integration

package e2e_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tuplenet/e2e/lab"
)

// The tutorial's section 4.
var dockerNetwork = []string{"network", "create", "-d", "tuplenet", "--subnet=10.20.3.0/24", "--gateway=10.20.3.1", "tp-docker-net1"}

func TestT46_T47_T48_T49_T50_T51_ContainersOfDockerOnTwoHosts(t *testing.T) {
	t.Parallel()
	d := newDocked(t, "docker")
	var beside sync.WaitGroup
	defer beside.Wait()
	beside.Go(func() { t.Run("nobody answers", nobodyAnswers) }) // it takes time only
	t.Run("the managed plugin in a swarm", d.sub((*docked).swarm))
	t.Run("global scope with a cluster store", d.sub((*docked).clusterStore))
	t.Run("local scope", d.sub((*docked).local))
	t.Run("the plugin dies", d.sub((*docked).pluginDies))
	t.Run("everything else dies", d.sub((*docked).othersDie))
}

// A crowd has the machine to itself.
func TestT46_T50_FiftyContainersOfDockerAtOnceReachEachOther(t *testing.T) {
	d := newDocked(t, "docker-50")
	d.startLocal()
	d.fifty()
}

// sub is a subtest with the lab of the test.
func (d *docked) sub(do func(d *docked)) func(t *testing.T) {
	return func(t *testing.T) {
		f := *d.fleet
		f.t = t
		e := *d.edged
		e.fleet = &f
		mine := *d
		mine.edged = &e
		do(&mine)
		d.run = mine.run
		if t.Failed() {
			for _, h := range mine.engines() {
				t.Logf("last lines of tpcnm on %s:\n%s", h.Name(), h.Spawned("tpcnm").Tail(30))
				t.Logf("last lines of dockerd on %s:\n%s", h.Name(), h.Spawned("dockerd").Tail(30))
			}
		}
	}
}

// talk checks everything that containers on two hosts have to reach.
func (d *docked) talk(a, b *container) {
	d.t.Helper()
	to := b.addresses()
	a.pings(to...)
	a.pings(aliceIP, d.server.Addrs()[0])
	a.with(func(wa *lab.Workload) {
		b.with(func(wb *lab.Workload) {
			for _, dst := range to {
				d.transfer(wa, wb, dst, 20e6)
			}
		})
		d.transfer(wa, d.edged.a, aliceIP, 2e6)
		d.fetches(wa, d.far.Addrs()[0], snat1)
	})
}

// clusterStore is the tutorial's section 4 as written: a network that is made once is there on both engines.
func (d *docked) clusterStore() {
	alice, bob := d.engines()[0], d.engines()[1]
	_, err := alice.Spawn("etcd-v2", "etcd", "--enable-v2", "--data-dir", alice.Dir()+"/etcd", "--listen-client-urls=http://192.168.1.10:4001", "--advertise-client-urls=http://192.168.1.10:4001", "--listen-peer-urls=http://127.0.0.1:2380")
	d.check(err)
	d.eventually("the cluster store", func() error { // an engine looks for it once, when it starts
		_, err := alice.Exec(d.ctx, "wget", "-q", "-T", "5", "-t", "1", "-O", "/dev/null", "http://192.168.1.10:4001/health")
		return err
	})
	d.fresh()
	d.each(func(h *lab.Host) {
		d.startPlugin(h, nil)
		d.startEngine(h, "--cluster-store=etcd://192.168.1.10:4001", "--cluster-advertise="+h.Addrs()[0].String()+":2376")
	})
	d.calls = d.newBetween(alice)
	d.docker(alice, dockerNetwork...)
	id := d.docker(bob, "network", "inspect", "-f", "{{.Id}} {{.Scope}}", "tp-docker-net1")
	id, scope, _ := strings.Cut(id, " ")
	if listing := d.tpctl("lsp show " + id); scope != "global" || !strings.Contains(listing, "10.20.3.1") {
		d.t.Errorf("the network has scope %s, and on its switch %s are\n%s", scope, id, listing)
	}
	a := d.container(alice, "ca", "tp-docker-net1")
	b := d.container(bob, "cb", "tp-docker-net1", "--mac-address", "02:42:00:00:00:17")
	d.talk(a, b)
	mtu := strconv.Itoa(tunnelMTU(alice.Addrs()[0]))
	for _, c := range []*container{a, b} {
		if link := c.exec("ip", "link", "show", "eth0"); !strings.Contains(link, "mtu "+mtu) { // the container's largest packet crosses, whole
			d.t.Errorf("interface of %s: %s", c.name, link)
		}
		if routes := c.exec("ip", "route"); !strings.HasPrefix(routes, "default via 10.20.3.1 dev eth0") || strings.Contains(routes, "eth1") {
			d.t.Errorf("routes of %s: %s", c.name, routes)
		}
	}
	if link := b.exec("ip", "link", "show", "eth0"); !strings.Contains(link, "02:42:00:00:00:17") {
		d.t.Errorf("the MAC asked for is not that of %s", link)
	}
	d.docker(alice, "network", "create", "-d", "tuplenet", "--ipv6", "--subnet=10.20.6.0/24", "--gateway=10.20.6.1",
		"--subnet=2001:db8:20:6::/64", "--gateway=2001:db8:20:6::1", "-o", "com.docker.network.driver.mtu=1300", "-o", "tuplenet.routes=192.0.2.0/24=10.20.6.9", "six")
	a6, b6 := d.container(alice, "ca6", "six"), d.container(bob, "cb6", "six")
	if to := b6.addresses(); len(to) != 2 || !to[1].Is6() {
		d.t.Errorf("addresses on a network with IPv6: %v", to)
	}
	d.talk(a6, b6)
	a6.pings(b.addresses()...) // by the router, from network to network
	a6.pings(sixGateway)
	if link := a6.exec("ip", "link", "show", "eth0"); !strings.Contains(link, "mtu 1300") {
		d.t.Errorf("interface on a network with an MTU: %s", link)
	}
	if routes := a6.exec("ip", "route"); !strings.Contains(routes, "192.0.2.0/24 via 10.20.6.9 dev eth0") {
		d.t.Errorf("routes on a network with a static one: %s", routes)
	}
	d.lostNetwork(alice)
	for _, c := range []*container{a, a6, b6} {
		c.remove()
	}
	if out, err := d.tryDocker(alice, "network", "rm", "tp-docker-net1"); err == nil {
		d.t.Errorf("a network with a container was deleted: %s", out)
	}
	b.pings(d.edged.a.Addrs()...)
	d.docker(bob, "stop", "cb")
	d.docker(bob, "start", "cb")
	b.pings(aliceIP)
	b.remove()
	d.docker(bob, "network", "rm", "tp-docker-net1", "six")
	d.nothingLeft()
	d.stopAll()
	d.check(alice.End(d.ctx, "etcd-v2", unix.SIGTERM))
}

// lostNetwork deletes a network of scope global, of which the plugin is never told: it is garbage then, others are not.
func (d *docked) lostNetwork(h *lab.Host) {
	d.t.Helper()
	d.docker(h, "network", "create", "-d", "between", "--subnet=10.20.9.0/24", "--gateway=10.20.9.1", "lost")
	id := d.docker(h, "network", "inspect", "-f", "{{.Id}}", "lost")
	d.calls.before(func() bool { return true }, "DeleteNetwork")
	d.docker(h, "network", "rm", "lost")
	if listing := d.tpctl("lsp show " + id); !strings.Contains(listing, "10.20.9.1") {
		d.t.Errorf("there is no garbage to collect: %s", listing)
	}
	if out := d.collect(h); out != "removed network "+id+"\n" {
		d.t.Errorf("tpcnm gc says %q, the network that was lost is %s", out, id)
	}
}

// sixGateway is the router's address on the network six; the tutorial's own networks have no IPv6.
var sixGateway = netip.MustParseAddr("2001:db8:20:6::1")

// stopAll ends engines and plugins on both hosts.
func (d *docked) stopAll() {
	d.t.Helper()
	d.each(func(h *lab.Host) {
		d.stopEngine(h)
		d.check(h.End(d.ctx, "tpcnm", unix.SIGTERM))
	})
}

// sharedNetwork makes a network of scope local on each engine; all are the logical switch web, and the address driver sees to
// it that containers have different addresses.
func (d *docked) sharedNetwork() {
	d.t.Helper()
	for _, h := range d.engines() {
		d.docker(h, "network", "create", "-d", "tuplenet", "-o", "tuplenet.switch=web", "--ipv6", "--ipam-driver", "tuplenet", "--ipam-opt", "tuplenet.switch=web",
			"--subnet=10.20.4.0/24", "--gateway=10.20.4.1", "--subnet=2001:db8:20:4::/64", "--gateway=2001:db8:20:4::1", "web")
	}
}

// dropSharedNetwork undoes sharedNetwork.
func (d *docked) dropSharedNetwork() {
	d.t.Helper()
	for _, h := range d.engines() {
		d.removeNetwork(h, "web")
	}
	d.nothingLeft()
}

// removeNetwork removes a network once the engine has noticed that it has no container any more. When many come or go at once this engine
// miscounts them (it says so at its next start, and corrects it): then it is started anew, as its users have to do.
func (d *docked) removeNetwork(h *lab.Host, name string) {
	d.t.Helper()
	d.eventually("the last container on network "+name+" of "+h.Name()+" to go", func() error {
		containers, err := d.tryDocker(h, "network", "inspect", "-f", "{{.Containers}}", name)
		if err == nil && containers != "map[]" {
			err = fmt.Errorf("on it are %s", containers)
		}
		return err
	})
	ctx, cancel := context.WithTimeout(d.ctx, hang/2)
	defer cancel()
	rm := func() error {
		_, err := d.tryDocker(h, "network", "rm", name)
		return err
	}
	err := lab.WaitFor(ctx, "the end of network "+name+" on "+h.Name(), rm)
	if err == nil {
		return
	}
	d.stopEngine(h)
	d.againEngine(h)
	log, readErr := os.ReadFile(h.Spawned("dockerd").Log)
	d.check(readErr)
	if !strings.Contains(string(log), "Fixing inconsistent endpoint_cnt") {
		d.t.Errorf("%v: not for a reason that the engine tells", err)
	}
	d.check(rm())
}

// local is scope local: networks of engines that do not know each other are one switch.
func (d *docked) local() {
	alice, bob := d.engines()[0], d.engines()[1]
	d.startLocal()
	d.sharedNetwork()
	a, b := d.container(alice, "la", "web"), d.container(bob, "lb", "web")
	if x, y := a.addresses(), b.addresses(); len(x) != 2 || len(y) != 2 || x[0].String() != "10.20.4.2" || y[0].String() != "10.20.4.3" || x[1] == y[1] {
		d.t.Errorf("addresses: %v and %v, the lowest free ones are .2 and .3", x, y)
	}
	d.talk(a, b)
	fixed := d.container(bob, "fixed", "web", "--ip", "10.20.4.200")
	a.pings(fixed.addresses()...)
	if out, err := d.tryDocker(alice, "run", "--rm", "--net", "web", "--ip", "10.20.4.200", "tiny", "/bin/sleep", "0"); err == nil || !strings.Contains(err.Error(), "10.20.4.200 is used by") {
		d.t.Errorf("an address was given twice: %s %v", out, err)
	}
	for _, c := range []*container{a, b, fixed} {
		c.remove()
	}
	d.docker(alice, "network", "rm", "web")
	// The other engine's network has lost its switch, with nobody on it; it makes it again.
	b = d.container(bob, "lb", "web")
	b.pings(aliceIP, d.server.Addrs()[0])
	b.remove()
	d.docker(bob, "network", "rm", "web")
	d.nothingLeft()

	for _, h := range d.engines() { // Docker's own address driver knows nothing of the other engine
		d.docker(h, "network", "create", "-d", "tuplenet", "-o", "tuplenet.switch=web", "--subnet=10.20.4.0/24", "--gateway=10.20.4.1", "web")
	}
	a = d.container(alice, "la", "web")
	if out, err := d.tryDocker(bob, "run", "--rm", "--net", "web", "tiny", "/bin/sleep", "0"); err == nil || !strings.Contains(err.Error(), "--ip-range") {
		d.t.Errorf("an address was given twice: %s %v", out, err)
	}
	a.remove()
	d.dropSharedNetwork()
}

// fifty starts fifty containers at once on two hosts.
func (d *docked) fifty() {
	d.sharedNetwork()
	d.slowness = 2 * time.Minute
	all := make([]*container, 50)
	var wait sync.WaitGroup
	for i := range all {
		wait.Go(func() { all[i] = d.container(d.engines()[i%2], fmt.Sprintf("f%02d", i), "web") })
	}
	wait.Wait()
	if d.t.Failed() {
		d.t.FailNow()
	}
	seen := map[string]string{}
	var addresses []string
	pids := map[*lab.Host][]string{}
	for _, h := range d.engines() {
		for line := range strings.Lines(d.docker(h, slices.Concat([]string{"inspect", "-f",
			"{{.Name}} {{.State.Pid}}{{range .NetworkSettings.Networks}} {{.IPAddress}} {{.GlobalIPv6Address}}{{end}}"}, namesOn(h, all))...)) {
			word := strings.Fields(line)
			pids[h], addresses = append(pids[h], word[1]), append(addresses, word[2:]...)
			for _, a := range word[2:] {
				if seen[a] != "" {
					d.t.Errorf("%s is that of %s and of %s", a, seen[a], word[0])
				}
				seen[a] = word[0]
			}
		}
	}
	if len(seen) != 100 || len(addresses) != 100 {
		d.t.Errorf("%d addresses of 50 containers, %d different ones", len(addresses), len(seen))
	}
	d.everybodyReaches(pids, addresses)
	d.each(func(h *lab.Host) { d.docker(h, append([]string{"rm", "-f"}, namesOn(h, all)...)...) })
	d.slowness = 0
	d.dropSharedNetwork()
}

// namesOn are the containers on a host.
func namesOn(h *lab.Host, all []*container) (names []string) {
	for _, c := range all {
		if c.h == h {
			names = append(names, c.name)
		}
	}
	return names
}

// everybodyReaches pings from all containers, known by a process of each, to all addresses. A few send at a time, and all
// forget their neighbours then: the neighbours of all namespaces of a machine share a table of 1,024 entries for each family
// (arp(7), gc_thresh3), and each pair of containers takes two. On hosts of their own they would not be short of them.
func (d *docked) everybodyReaches(pids map[*lab.Host][]string, addresses []string) {
	d.t.Helper()
	for h, mine := range pids {
		for batch := range slices.Chunk(mine, 5) {
			var wait sync.WaitGroup
			for _, pid := range batch {
				wait.Go(func() {
					// -u: print who does not answer.
					out, err := h.Exec(d.ctx, append([]string{"nsenter", "-t", pid, "-n", "fping", "-u", "-i", "2", "-t", "2000", "-r", "1"}, addresses...)...)
					if err != nil {
						d.t.Errorf("process %s on %s got no answer of %s %v", pid, h.Name(), strings.Join(strings.Fields(out), " "), err)
					}
				})
			}
			wait.Wait()
			d.each(func(h *lab.Host) {
				if out, err := h.Shell(d.ctx, "for p in "+strings.Join(pids[h], " ")+"; do nsenter -t $p -n ip neigh flush all || exit 1; done"); err != nil {
					d.t.Errorf("neighbours are not forgotten: %s %v", out, err)
				}
			})
		}
	}
}

// plainPlugin starts a plugin that is only a socket and of scope global, and returns what checks the engine's words about it.
func (d *docked) plainPlugin(h *lab.Host) (refused func(words string)) {
	d.t.Helper()
	_, err := h.Spawn("plain", filepath.Join(bin, "tpcnm"), "-config", d.configuration(h, nil), "-socket", "/run/docker/plugins/plain.sock")
	d.check(err)
	return func(words string) {
		d.t.Helper()
		d.eventually("what the engine says of a plugin that is only a socket", func() error {
			out, err := d.tryDocker(h, "network", "create", "-d", "plain", "--subnet=10.20.8.0/24", "plain")
			if err == nil || !strings.Contains(err.Error(), words) {
				return fmt.Errorf("%s %w, want %q", out, err, words)
			}
			return nil
		})
	}
}

// swarm is the managed plugin, in one swarm of two engines.
func (d *docked) swarm() {
	alice, bob := d.engines()[0], d.engines()[1]
	folder := filepath.Join(d.t.TempDir(), "plugin")
	if out, err := exec.Command("../scripts/docker-plugin.sh", folder, filepath.Join(bin, "tpcnm")).CombinedOutput(); err != nil {
		d.t.Fatalf("%v\n%s", err, out)
	}
	d.fresh()
	d.each(func(h *lab.Host) {
		d.startEngine(h)
		d.docker(h, "plugin", "create", "tuplenet", folder)
		d.docker(h, "plugin", "set", "tuplenet", "TPCNM_ETCD_CLUSTER="+strings.Join(d.Endpoints(), ","), "TPCNM_EGRESS_ROUTER_NAME=LR-central")
		d.docker(h, "plugin", "enable", "tuplenet")
	})
	plain := d.plainPlugin(alice)
	plain("This node is not a swarm manager")
	d.docker(alice, "swarm", "init", "--advertise-addr", alice.Addrs()[0].String())
	plain("legacy plugin plain of type NetworkDriver is not supported in swarm mode")
	d.check(alice.End(d.ctx, "plain", unix.SIGTERM))
	d.docker(bob, "swarm", "join", "--advertise-addr", bob.Addrs()[0].String(), "--token", d.docker(alice, "swarm", "join-token", "-q", "worker"), alice.Addrs()[0].String()+":2377")
	d.docker(alice, "network", "create", "-d", "tuplenet:latest", "--scope", "swarm", "--attachable", "--subnet=10.20.7.0/24", "--gateway=10.20.7.1", "swarmed")
	a, b := d.container(alice, "sa", "swarmed"), d.container(bob, "sb", "swarmed")
	d.talk(a, b)
	a.remove() // the last one on its node, which deletes its copy of the network
	b.pings(aliceIP, d.server.Addrs()[0])
	b.remove()

	d.docker(alice, "service", "create", "-d", "--name", "web", "--network", "swarmed", "--replicas", "4", "--stop-grace-period", "0s", "--restart-condition", "none", "tiny", "/bin/sleep", "1000")
	d.eventually("four replicas", func() error {
		out, err := d.tryDocker(alice, "service", "ls", "--format", "{{.Replicas}}")
		if err == nil && out != "4/4" {
			tasks, _ := d.tryDocker(alice, "service", "ps", "--no-trunc", "web")
			err = fmt.Errorf("there are %s:\n%s", out, tasks)
		}
		return err
	})
	var replicas []*container
	for _, h := range d.engines() {
		for _, id := range strings.Fields(d.docker(h, "ps", "-q")) {
			replicas = append(replicas, &container{d, h, id})
		}
	}
	for _, r := range replicas {
		r.pings(aliceIP)
		for _, other := range replicas {
			r.pings(other.addresses()...)
		}
	}
	d.docker(alice, "service", "rm", "web")
	for _, h := range d.engines() {
		d.eventually("the end of the replicas on "+h.Name(), func() error {
			ids, err := d.tryDocker(h, "ps", "-aq")
			if err == nil && ids != "" {
				err = fmt.Errorf("there are %s", ids)
			}
			return err
		})
	}
	d.removeNetwork(alice, "swarmed")
	d.nothingLeft()
	d.each(func(h *lab.Host) {
		d.docker(h, "plugin", "disable", "-f", "tuplenet")
		d.stopEngine(h)
	})
}
