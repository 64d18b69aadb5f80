//go:build integration

package e2e_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tuplenet/e2e/lab"
)

// perQuestion is how long this engine asks a plugin that does not answer, again and again with pauses of 1, 2, 4 and 8 seconds; what a
// command has to ask comes one after the other.
const perQuestion = 15 * time.Second

// asked are commands of docker that ask the plugin, each about something of its own, and how many questions of each come to nothing if
// there is no plugin.
type asked struct {
	what      string
	questions int
	args      []string
}

// questions makes what the commands are about, on a network of the driver. Its containers have published ports, or not.
func (d *docked) questions(h *lab.Host, network, suffix string) []asked {
	d.t.Helper()
	for i, name := range []string{"removed", "stopped"} {
		d.container(h, name+suffix, network)
		d.docker(h, "network", "create", "-d", "tuplenet", fmt.Sprintf("--subnet=10.30.%d.0/24", 2*len(suffix)+i), fmt.Sprint("spare", i, suffix))
	}
	return []asked{
		{"docker run", 1, []string{"run", "--rm", "--net", network, "tiny", "/bin/sleep", "0"}},
		{"docker rm -f", 3, []string{"rm", "-f", "removed" + suffix}},
		{"docker stop", 3, []string{"stop", "stopped" + suffix}},
		{"docker network create", 1, []string{"network", "create", "-d", "tuplenet", fmt.Sprintf("--subnet=10.31.%d.0/24", len(suffix)), "new" + suffix}},
		{"docker network rm", 1, []string{"network", "rm", "spare0" + suffix}},
		{"docker network ls", 0, []string{"network", "ls"}},
		{"docker ps", 0, []string{"ps"}},
	}
}

// measure runs commands at once, and checks how long each takes at most. It returns their errors.
func (d *docked) measure(h *lab.Host, all []asked, limit func(a asked) time.Duration) map[string]error {
	d.t.Helper()
	var wait sync.WaitGroup
	var mu sync.Mutex
	failed := map[string]error{}
	for _, a := range all {
		wait.Go(func() {
			begin := time.Now()
			_, err := h.Exec(d.ctx, append([]string{dockerCLI}, a.args...)...)
			took := time.Since(begin)
			d.t.Logf("%s: %v %v", a.what, took.Round(10*time.Millisecond), err)
			if took > limit(a) {
				d.t.Errorf("%s took %v, at most %v was expected", a.what, took, limit(a))
			}
			mu.Lock()
			defer mu.Unlock()
			failed[a.what] = err
		})
	}
	wait.Wait()
	return failed
}

// refused measures commands of which some have to be refused, in those words, and the others succeed. None has to wait.
func (d *docked) refused(h *lab.Host, all []asked, words map[string]string) {
	d.t.Helper()
	for what, err := range d.measure(h, all, quick) {
		if word := words[what]; word == "" && err != nil || word != "" && (err == nil || !strings.Contains(err.Error(), word)) {
			d.t.Errorf("%s: %v, want %q", what, err, word)
		}
	}
}

// quick is the limit of a command that does not have to wait for a plugin that is gone for good.
func quick(asked) time.Duration { return hang }

// supervised starts tpcnm as the systemd units do: the socket is opened by somebody else, who keeps it, and tpcnm is started again
// whenever it ends. kill ends it, once it runs, with SIGKILL; then it is another one.
func (d *docked) supervised(h *lab.Host) (kill func()) {
	d.t.Helper()
	const pidFile = "/run/tpcnm.pid"
	command := fmt.Sprintf("echo $$ >%s; LISTEN_PID=$$ exec %s -config %s -quiet 1s", pidFile, filepath.Join(bin, "tpcnm"), d.configuration(h, localScope))
	script := `trap 'kill $pid; wait; exit' TERM; while :; do sh -c '` + command + `' & pid=$!; wait $pid; sleep 0.1; done`
	d.on(h, "mkdir -p /run/docker/plugins")
	_, err := h.Spawn("tpcnm", "systemd-socket-activate", "-l", "/run/docker/plugins/tuplenet.sock", "/bin/sh", "-c", script)
	d.check(err)
	d.eventually("the plugin's socket", func() error {
		_, err := os.Stat(filepath.Join(h.Dir(), "run/docker/plugins/tuplenet.sock"))
		return err
	})
	last := ""
	return func() {
		d.t.Helper()
		d.eventually("tpcnm to be started again", func() error {
			pid, err := h.Exec(d.ctx, "cat", pidFile)
			if err == nil && pid == last {
				err = fmt.Errorf("it is %s still", pid)
			}
			if err == nil {
				_, err = h.Exec(d.ctx, "kill", "-9", strings.TrimSpace(pid))
			}
			if err == nil {
				last = pid
			}
			return err
		})
	}
}

// nobodyAnswers measures how long commands of docker wait for a plugin that is killed again and again, and for one that stays away. It has a
// lab of its own, since that takes its time, in which nothing is done.
func nobodyAnswers(t *testing.T) {
	var d *docked
	t.Cleanup(func() { // after the lab has gone
		if d != nil {
			d.removeCgroups(t)
		}
	})
	f := newFleet(t, lab.Config{Name: "docker-down", Hosts: []string{"alice"}})
	d = &docked{edged: &edged{fleet: f}}
	d.tpctl("lr add LR-central")
	d.equip()
	alice := d.Host("alice")
	kill := d.supervised(alice)
	d.startEngine(alice)
	d.docker(alice, "network", "create", "-d", "tuplenet", "--subnet=10.20.5.0/24", "--gateway=10.20.5.1", "net")
	all := d.questions(alice, "net", "-a")
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for range 5 {
			kill()
			select {
			case <-stop:
				return
			case <-time.After(200 * time.Millisecond): // so that some questions are answered, and others not
			}
		}
	}()
	d.measure(alice, all, quick)
	close(stop)
	<-stopped
	// A question that broke off is repeated without content by this engine; what it should have removed is garbage then.
	traceless := func() error {
		left, err := d.trace(alice)
		if err == nil && left != "" {
			err = fmt.Errorf("there is %s", left)
		}
		return err
	}
	d.eventually("what was removed while the plugin was killed to go", traceless)

	all = d.questions(alice, "net", "-down")
	d.check(alice.End(d.ctx, "tpcnm", unix.SIGTERM))
	failed := d.measure(alice, all, func(a asked) time.Duration { return time.Duration(a.questions)*perQuestion + hang/2 })
	for _, a := range all {
		if refused := failed[a.what] != nil; refused != strings.HasPrefix(a.what, "docker run") && a.what != "docker network create" {
			t.Errorf("%s without a plugin: %v", a.what, failed[a.what])
		}
	}
	d.startPlugin(alice, localScope, "-quiet", "1s")
	d.eventually("what was removed without a plugin to go", traceless)
	ctx, cancel := context.WithTimeout(d.ctx, hang)
	defer cancel()
	d.check(lab.WaitFor(ctx, "the end of networks", func() error {
		_, _ = d.tryDocker(alice, "network", "prune", "-f")
		keys, err := alice.Exec(d.ctx, "etcdctl", "get", "--prefix", "/")
		if err == nil && strings.Contains(keys, "v1/note") {
			err = fmt.Errorf("there are notes:\n%s", keys)
		}
		return err
	}))
	d.nothingLeft()
}
