//go:build integration

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"tuplenet/e2e/lab"
)

// between is a driver by itself for the engine of a host, "between", which hands all calls on to tpcnm: so a test can do something
// right before a certain call.
type between struct {
	mu   sync.Mutex
	hook map[string]func() bool // by call; true: tpcnm does not get it, and the engine sees it fail
}

// before has something done before the next calls of that name, once each.
func (b *between) before(do func() bool, calls ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range calls {
		b.hook["/NetworkDriver."+c] = do
	}
}

// take is the hook of a call, which then has none any more.
func (b *between) take(path string) func() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	do := b.hook[path]
	delete(b.hook, path)
	return do
}

// newBetween serves on a host until the test ends.
func (d *docked) newBetween(h *lab.Host) *between {
	d.t.Helper()
	b := &between{hook: map[string]func() bool{}}
	folder := filepath.Join(h.Dir(), "run/docker/plugins")
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "tpcnm"})
	proxy.Transport = &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, "unix", filepath.Join(folder, "tuplenet.sock"))
	}}
	l, err := net.Listen("unix", filepath.Join(folder, "between.sock"))
	d.check(err)
	server := &http.Server{ReadHeaderTimeout: hang, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if do := b.take(r.URL.Path); do != nil && do() {
			http.Error(w, `{"Err":"the plugin is gone"}`, http.StatusInternalServerError)
			return
		}
		proxy.ServeHTTP(w, r)
	})}
	go server.Serve(l) //nolint:errcheck // ends with Close
	d.t.Cleanup(func() { server.Close() })
	return b
}

// killPlugin ends tpcnm with SIGKILL.
func (d *docked) killPlugin(h *lab.Host) {
	d.t.Helper()
	d.check(h.End(d.ctx, "tpcnm", unix.SIGKILL))
	d.eventually("the end of all its threads", func() error {
		c, err := net.Dial("unix", filepath.Join(h.Dir(), "run/docker/plugins/tuplenet.sock"))
		if err != nil {
			return nil
		}
		return errors.Join(errors.New("its socket is open"), c.Close())
	})
}

// killEngine ends dockerd with SIGKILL, and waits for the end of its containerd, which goes with it: a dockerd that is started while that
// dies takes it for one that lives.
func (d *docked) killEngine(h *lab.Host) {
	d.t.Helper()
	d.check(h.End(d.ctx, "dockerd", unix.SIGKILL))
	d.eventually("the end of containerd on "+h.Name(), func() error {
		if _, err := h.Shell(d.ctx, "kill -0 $(cat /run/docker/containerd/containerd.pid)"); err == nil {
			return errors.New("it runs")
		}
		return nil
	})
}

// localScope is the configuration of these tests.
var localScope = object{"scope": "local"}

// pluginDies is tpcnm killed at every moment of a container's life.
func (d *docked) pluginDies() {
	alice, bob := d.engines()[0], d.engines()[1]
	d.sharedNetwork()
	b := d.container(bob, "pb", "web")
	d.calls = d.newBetween(alice)
	calls := d.calls
	d.docker(alice, "network", "create", "-d", "between", "-o", "tuplenet.switch=web", "--subnet=10.20.4.0/24", "--ip-range=10.20.4.128/26", "--gateway=10.20.4.1", "half")
	again := func() bool {
		d.killPlugin(alice)
		d.startPlugin(alice, localScope)
		return false
	}
	calls.before(again, "Join")
	a := d.container(alice, "pa", "half")
	a.pings(b.addresses()[0], aliceIP)
	a.remove()
	a = d.container(alice, "pa", "half", "-p", "8080:80", "-p", "127.0.0.1:5353:53/udp")
	hush := a.echo(80, 53)
	d.published(alice)
	d.killPlugin(alice) // containers do not need it
	a.pings(b.addresses()[0])
	d.startPlugin(alice, localScope)
	d.published(alice)
	hush()
	calls.before(again, "Leave")
	a.remove()
	if left, err := d.trace(alice); err != nil || left != "" {
		d.t.Errorf("left after a container is gone: %s %v", left, err)
	}

	d.garbage(calls, b)
	b.pings(aliceIP)
	b.remove()
	d.removeNetwork(alice, "half")
	d.dropSharedNetwork()
}

// garbage is what is left when calls never come, and how it goes: by `tpcnm gc` and by the plugin's start. alive is a container that
// stays.
func (d *docked) garbage(calls *between, alive *container) {
	d.t.Helper()
	alice := d.engines()[0]
	// The calls that remove a container never come: the engine has forgotten it, the store and the switch have not.
	lose := func() bool { return true }
	for _, by := range []string{"the command", "the start", "the start before the engine's"} {
		a := d.container(alice, "pa", "half")
		calls.before(lose, "Leave", "DeleteEndpoint")
		a.remove()
		if left, err := d.trace(alice); err != nil || left == "" {
			d.t.Fatalf("there is no garbage to collect: %v", err)
		}
		switch by {
		case "the command":
			if out := d.collect(alice); !strings.HasPrefix(out, "removed endpoint ") {
				d.t.Errorf("tpcnm gc says %q", out)
			}
		case "the start":
			d.killPlugin(alice)
			d.startPlugin(alice, localScope, "-quiet", "1s")
		default: // as when the host starts
			d.stopEngine(alice)
			d.killPlugin(alice)
			d.startPlugin(alice, localScope, "-quiet", "1s")
			d.againEngine(alice)
		}
		d.eventually("garbage collected by "+by, func() error { return d.onlyLeft(alive) })
	}

	// The port of a container that was never joined, as the engine forgets it when it dies then itself.
	calls.before(lose, "Join", "DeleteEndpoint")
	if out, err := d.tryDocker(alice, "run", "--rm", "--net", "half", "tiny", "/bin/sleep", "0"); err == nil {
		d.t.Errorf("a container runs whose Join failed: %s", out)
	}
	d.collect(alice)
	d.eventually("only what lives to be left", func() error { return d.onlyLeft(alive) }) // the plugin may be collecting at the same time
}

// collect runs `tpcnm gc` on a host and returns what it says.
func (d *docked) collect(h *lab.Host) string {
	d.t.Helper()
	return d.on(h, filepath.Join(bin, "tpcnm")+" gc -quiet 1s -config "+filepath.Join(h.Dir(), "etc", "tpcnm.json"))
}

// echo sends back, in the container, what comes to a port of TCP and to one of UDP, until hush is called.
func (c *container) echo(tcp, udp int) (hush func()) {
	c.d.t.Helper()
	var l net.Listener
	var pc net.PacketConn
	c.with(func(w *lab.Workload) {
		c.d.check(w.InNet(func() (err error) {
			if l, err = net.Listen("tcp", fmt.Sprint(":", tcp)); err == nil {
				pc, err = net.ListenPacket("udp", fmt.Sprint(":", udp))
			}
			return err
		}))
	})
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.Copy(conn, conn) // one after the other
			_ = conn.Close()
		}
	})
	all.Go(func() {
		buffer := make([]byte, 1500)
		for {
			n, from, err := pc.ReadFrom(buffer)
			if err != nil {
				return
			}
			_, _ = pc.WriteTo(buffer[:n], from)
		}
	})
	return func() { // sockets keep the container's namespace alive
		_, _ = l.Close(), pc.Close()
		all.Wait()
	}
}

// published asks the published ports of a container, which echoes.
func (d *docked) published(h *lab.Host) {
	d.t.Helper()
	for _, port := range []string{"tcp/192.168.1.10/8080", "udp/127.0.0.1/5353"} {
		d.eventually("an answer from "+port, func() error {
			out, err := h.Exec(d.ctx, "timeout", "2", "bash", "-c", "exec 3<>/dev/"+port+" && echo hello >&3 && head -n 1 <&3")
			if err == nil && out != "hello\n" {
				err = fmt.Errorf("it is %q", out)
			}
			return err
		})
	}
}

// othersDie is everything but tpcnm going away: the node's daemon, etcd, the engine.
func (d *docked) othersDie() {
	alice, bob := d.engines()[0], d.engines()[1]
	d.each(d.stopEngine)
	d.fresh()
	d.startEngine(alice, "--live-restore")
	d.startEngine(bob)
	d.sharedNetwork()
	a, b := d.container(alice, "oa", "web"), d.container(bob, "ob", "web")
	asked := d.questions(alice, "web", "-daemon")
	if vxlan() { // no edge makes up for the daemon there: only destinations that are in use go on
		a.pings(b.addresses()...)
	}
	d.check(alice.KillDaemon(d.ctx))
	a.pings(b.addresses()...)
	d.refused(alice, asked, map[string]string{"docker run": "is its daemon (tuplenet) running?"})
	gone := d.container(bob, "gone", "web")
	gone.remove()
	d.daemon(alice)
	d.docker(alice, "network", "rm", "new-daemon", "spare1-daemon")

	asked = d.questions(alice, "web", "-etcd")
	d.check(d.StopEtcd(d.ctx, unix.SIGKILL))
	a.pings(b.addresses()...)
	d.refused(alice, asked, map[string]string{"docker run": "store unreachable at", "docker network create": "store unreachable at"})
	b.remove() // its port in the store is deleted when there is a store again
	d.check(d.StartEtcd(d.ctx))
	d.eventually("the ports of containers that went without etcd to go", func() error { return d.onlyLeft(a) })
	d.docker(alice, "network", "rm", "spare1-etcd")

	b = d.container(bob, "ob", "web")
	to := b.addresses()[0]
	a.with(func(wa *lab.Workload) {
		b.with(func(wb *lab.Workload) {
			d.each(d.killEngine)
			d.reach(wa, to)
			d.transfer(wa, wb, to, 2e6)
		})
		d.againEngine(alice, "--live-restore")
		d.againEngine(bob)
		d.reach(wa, aliceIP)
	})
	a.pings(aliceIP) // it outlived its engine; the other one did not
	if state := b.inspect("{{.State.Running}}"); state != "false" {
		d.t.Errorf("is the container of an engine without --live-restore running? %s", state)
	}
	d.docker(bob, "start", "ob")
	b.pings(a.addresses()...)
	a.remove()
	b.remove()
	d.dropSharedNetwork()
	d.stopAll()
}

// onlyLeft is an error if there is anything of another container than that one: an interface, a port in the store.
func (d *docked) onlyLeft(c *container) error {
	for _, h := range d.engines() {
		left, err := d.trace(h)
		if err != nil {
			return err
		}
		if n := len(strings.Fields(left)); n > 1 || n == 1 && h != c.h {
			return fmt.Errorf("on %s: %s", h.Name(), left)
		}
	}
	listing, err := d.Tpctl(d.ctx, "lsp", "show", "web")
	if n := strings.Count(listing, "docker-"); err == nil && n != 1 {
		err = fmt.Errorf("%d ports of containers:\n%s", n, listing)
	}
	return err
}
