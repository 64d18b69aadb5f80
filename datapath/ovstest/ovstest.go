// Package ovstest runs a private Open vSwitch for a test: an ovsdb-server and an ovs-vswitchd of their own, with dummy
// ports and a dummy datapath, in a directory of their own. It needs no privileges and no kernel module, touches nothing
// outside of its directory, and ends with the test, also when that is killed. Only tests may import it.
package ovstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Config is what to start.
type Config struct {
	// Bridge that is created, with fail_mode=secure and OpenFlow 1.5 only; empty means "br0".
	Bridge string
	// Ports of the bridge, dummy interfaces with OpenFlow port numbers 1, 2, …
	Ports []string
	// Tunnels keeps tunnel ports real, instead of replacing them by dummies too (ovs-vswitchd's --enable-dummy=system).
	Tunnels bool
}

// Switch is a running Open vSwitch. Its methods end the test when something fails; they may be used from any goroutine
// that may call t.Fatal.
type Switch struct {
	t       testing.TB
	dir     string
	cfg     Config
	vswitch *process
	ovsdb   *process
}

// patience is how long starting and single commands may take on a loaded machine.
const patience = 60 * time.Second

// directories are named after the test process, so that the next one finds what a killed one left.
const dirPrefix = "tnovs"

var started atomic.Uint32

// Start starts a switch for the time of the test.
func Start(t testing.TB, cfg Config) *Switch {
	t.Helper()
	if cfg.Bridge == "" {
		cfg.Bridge = "br0"
	}
	sweep()
	s := &Switch{t: t, cfg: cfg, dir: filepath.Join(os.TempDir(), fmt.Sprintf("%s-%d-%d", dirPrefix, os.Getpid(), started.Add(1)))}
	if err := os.Mkdir(s.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("end of the log of ovs-vswitchd:\n%s", s.logTail())
		}
		s.stop()
	})
	s.command("ovsdb-tool", "create", s.path("conf.db"))
	s.ovsdb = s.start("ovsdb-server", s.path("conf.db"), "--remote=punix:"+s.DB(), "--unixctl="+s.path("d.ctl"), "--log-file="+s.path("d.log"))
	s.waitFor("ovsdb-server", func() error { return Accepts(s.DB()) })
	s.Vsctl("--no-wait", "init")
	s.StartVswitchd()
	args := []string{"add-br", cfg.Bridge, "--", "set", "bridge", cfg.Bridge, "datapath_type=dummy", "fail_mode=secure", "protocols=OpenFlow15"}
	for i, p := range cfg.Ports {
		args = append(args, "--", "add-port", cfg.Bridge, p, "--", "set", "interface", p, "type=dummy", fmt.Sprintf("ofport_request=%d", i+1))
	}
	s.Vsctl(args...)
	return s
}

// sweep removes what killed test processes have left. Their switches are gone: the kernel ends them with their parent.
func sweep() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), dirPrefix+"-*-*"))
	for _, d := range dirs {
		parts := strings.Split(filepath.Base(d), "-")
		if pid, err := strconv.Atoi(parts[1]); err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			_ = os.RemoveAll(d)
		}
	}
}

func (s *Switch) path(name string) string { return filepath.Join(s.dir, name) }

// Dir is the run directory.
func (s *Switch) Dir() string { return s.dir }

// DB is the path of the OVSDB socket.
func (s *Switch) DB() string { return s.path("db.sock") }

// Bridge is the name of the bridge.
func (s *Switch) Bridge() string { return s.cfg.Bridge }

// Mgmt is the path of the bridge's OpenFlow management socket.
func (s *Switch) Mgmt() string { return s.path(s.cfg.Bridge + ".mgmt") }

// StartVswitchd starts ovs-vswitchd, after KillVswitchd.
func (s *Switch) StartVswitchd() {
	s.t.Helper()
	dummy := "--enable-dummy=override"
	if s.cfg.Tunnels {
		dummy = "--enable-dummy=system"
	}
	s.vswitch = s.start("ovs-vswitchd", "unix:"+s.DB(), dummy, "--disable-system", "--disable-system-route",
		"--unixctl="+s.path("v.ctl"), "--log-file="+s.path("v.log"))
	s.waitFor("control socket of ovs-vswitchd", func() error {
		_, err := s.TryAppctl("version")
		return err
	})
}

// VswitchdPID is the process id of ovs-vswitchd, to measure what it costs.
func (s *Switch) VswitchdPID() int { return s.vswitch.cmd.Process.Pid }

// KillVswitchd kills ovs-vswitchd without a chance to clean up.
func (s *Switch) KillVswitchd() {
	s.vswitch.kill()
	_ = os.Remove(s.path("v.ctl"))
}

// PauseVswitchd stops ovs-vswitchd as if it hung, until ResumeVswitchd.
func (s *Switch) PauseVswitchd() { s.signal(syscall.SIGSTOP) }

// ResumeVswitchd ends PauseVswitchd.
func (s *Switch) ResumeVswitchd() { s.signal(syscall.SIGCONT) }

func (s *Switch) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.vswitch.cmd.Process.Signal(sig); err != nil {
		s.t.Fatalf("ovs-vswitchd: %v", err)
	}
}

// Vsctl runs ovs-vsctl on the switch's database and returns what it prints.
func (s *Switch) Vsctl(args ...string) string {
	s.t.Helper()
	return s.command("ovs-vsctl", append([]string{"--db=unix:" + s.DB()}, args...)...)
}

// Ofctl runs an ovs-ofctl command with the bridge as its first argument, and returns what it prints.
func (s *Switch) Ofctl(command string, args ...string) string {
	s.t.Helper()
	out, err := s.TryOfctl(command, args...)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

// TryOfctl is Ofctl for a command that may fail; the error has what it printed.
func (s *Switch) TryOfctl(command string, args ...string) (string, error) {
	return s.run("ovs-ofctl", append([]string{"-O", "OpenFlow15", "--no-names", command, "unix:" + s.Mgmt()}, args...)...)
}

func (s *Switch) command(name string, args ...string) string {
	s.t.Helper()
	out, err := s.run(name, args...)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

func (s *Switch) run(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = s.environment()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s%s", name, strings.Join(args, " "), err, out, stderr.Bytes())
	}
	return string(out), nil
}

func (s *Switch) environment() []string {
	return append(os.Environ(), "OVS_RUNDIR="+s.dir, "OVS_LOGDIR="+s.dir, "OVS_DBDIR="+s.dir)
}

// Accepts tells whether a server takes connections at a Unix socket. That the socket is there says less: a server makes
// it with bind(2), and refuses connections until listen(2).
func Accepts(socket string) error {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	return c.Close()
}

// waitFor tries until there is no error.
func (s *Switch) waitFor(what string, try func() error) {
	s.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("no %s after %s: %v", what, patience, err)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func (s *Switch) stop() {
	for _, p := range []*process{s.vswitch, s.ovsdb} {
		if p != nil {
			p.kill()
		}
	}
	_ = os.RemoveAll(s.dir)
}

func (s *Switch) logTail() string {
	b, err := os.ReadFile(s.path("v.log"))
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-4000):])
}

// process is a child that does not outlive us.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
}

func (s *Switch) start(name string, args ...string) *process {
	s.t.Helper()
	p := &process{cmd: exec.Command(name, append(args, "--no-chdir", "-vconsole:off")...), done: make(chan struct{})}
	p.cmd.Env = s.environment()
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		s.t.Fatalf("%s: %v", name, err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	return p
}

// kill also ends a process that is stopped.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}
