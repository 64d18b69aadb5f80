//go:build integration

package ovsdb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tuplenet/datapath/ovstest"
)

// server is a private ovsdb-server, with a vswitchd on demand, in a short directory of its own.
type server struct {
	t    *testing.T
	dir  string
	cmds map[string]*exec.Cmd
}

func newServer(t *testing.T) *server {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "tno")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, dir: dir, cmds: map[string]*exec.Cmd{}}
	t.Cleanup(func() {
		for name := range s.cmds {
			s.stop(name, syscall.SIGKILL)
		}
		os.RemoveAll(dir)
	})
	s.run("ovsdb-tool", "create", s.path("conf.db"), "/usr/share/openvswitch/vswitch.ovsschema")
	s.start(s.sock())
	s.vsctl("init")
	return s
}

func (s *server) path(name string) string { return filepath.Join(s.dir, name) }
func (s *server) sock() string            { return s.path("db.sock") }

func (s *server) env() []string {
	return append(os.Environ(), "OVS_RUNDIR="+s.dir, "OVS_LOGDIR="+s.dir, "OVS_DBDIR="+s.dir)
}

func (s *server) run(name string, args ...string) string {
	s.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = s.env()
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// spawn starts a daemon which dies with the test process.
func (s *server) spawn(name string, args ...string) {
	s.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = s.env()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.cmds[name] = cmd
}

func (s *server) stop(name string, sig os.Signal) {
	if cmd := s.cmds[name]; cmd != nil {
		_ = cmd.Process.Signal(sig)
		_ = cmd.Wait()
		delete(s.cmds, name)
	}
}

func (s *server) start(socket string) {
	s.t.Helper()
	s.spawn("ovsdb-server", s.path("conf.db"), "--remote=punix:"+socket, "--no-chdir", "-vconsole:off")
	s.eventually("ovsdb-server", func() error { return ovstest.Accepts(socket) })
}

func (s *server) vsctl(args ...string) string {
	s.t.Helper()
	return s.run("ovs-vsctl", append([]string{"--no-wait", "--db=unix:" + s.sock()}, args...)...)
}

// patience is how long anything may take on a busy machine.
const patience = time.Minute

// eventually waits for a condition, and fails with what was missing.
func (s *server) eventually(what string, cond func() error) {
	s.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := cond()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(5 * time.Millisecond) // pause of a poll with a deadline
	}
}

// follower runs a Session and holds the latest Facts.
type follower struct {
	*Session
	s     *server
	mu    sync.Mutex
	facts Facts
	calls int
	drift []string // what others did, as "kind what name owner"
}

// drifted waits until that has been told, in any order, and nothing else.
func (f *follower) drifted(want ...string) {
	f.s.t.Helper()
	f.s.eventually("drift "+strings.Join(want, ", "), func() error {
		f.mu.Lock()
		defer f.mu.Unlock()
		if slices.Sort(f.drift); !slices.Equal(f.drift, want) {
			return fmt.Errorf("told %q", f.drift)
		}
		f.drift = nil
		return nil
	})
}

func (s *server) follow() *follower { return s.followWith(Config{}) }

func (s *server) followWith(cfg Config) *follower {
	s.t.Helper()
	f := &follower{s: s}
	cfg.Socket = s.sock()
	if cfg.Echo == 0 {
		cfg.Echo = patience // only some tests are about a server that hangs
	}
	cfg.OnDrift = func(found []Drift) {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, d := range found {
			f.drift = append(f.drift, strings.TrimSpace(fmt.Sprintf("%s %s %s healed=%v %s", d.Kind, d.What, d.Name, d.Healed, d.Owner)))
		}
	}
	cfg.OnFacts = func(facts Facts) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.facts, f.calls = facts, f.calls+1
	}
	f.Session = New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := f.Run(ctx); !errors.Is(err, context.Canceled) {
			s.t.Errorf("Run ended with %v", err)
		}
	}()
	s.t.Cleanup(func() { cancel(); <-done })
	s.eventually("the first facts", func() error {
		if f.latest().Interfaces == nil {
			return errors.New("none yet")
		}
		return nil
	})
	return f
}

func (f *follower) latest() Facts {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.facts
}

// until waits for facts of which cond finds nothing to say.
func (f *follower) until(what string, cond func(Facts) string) Facts {
	f.s.t.Helper()
	f.s.eventually(what, func() error {
		if missing := cond(f.latest()); missing != "" {
			return errors.New(missing)
		}
		return nil
	})
	return f.latest()
}

func hasInterface(name string, check func(*Interface) bool) func(Facts) string {
	return func(f Facts) string {
		i := f.Interfaces[name]
		if i == nil {
			return fmt.Sprintf("no interface %s; failures %v", name, f.Failures)
		}
		if i.Bridge == "" { // its port is still to be read
			return fmt.Sprintf("interface %s is of no bridge yet", name)
		}
		if check != nil && !check(i) {
			return fmt.Sprintf("interface %s is %+v", name, i)
		}
		return ""
	}
}

func lacksInterface(name string) func(Facts) string {
	return func(f Facts) string {
		if f.Interfaces[name] != nil {
			return "interface " + name + " is still there"
		}
		return ""
	}
}
