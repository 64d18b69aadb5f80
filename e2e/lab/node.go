package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// node is a set of namespaces (network, processes, mounts, host name) held by its first process: all hosts are nodes,
// and the wire between them is one. Whatever runs on the node ends with the first process.
type node struct {
	lab   *Lab
	name  string
	dir   string // <lab>/<name>: run is mounted at the node's /run; log, db
	first Process
}

// firstProcess sets the node up from within and then waits for ever. A switch in user space takes copies of the frames of its
// interfaces, the kernel gets them, too, and would answer ARP for the bridge's address with the MAC of the interface below it, beside
// the bridge: whoever believes that answer sends its tunnel packets to nobody, for up to 20 seconds. Hence arp_ignore.
// Orphans are given to the first process of a process
// namespace: the shell buries whatever ends while it waits. (dash cannot ignore SIGCHLD, which would do it, too.)
const firstProcess = `set -e
dir=$1 name=$2
mount --make-rprivate /
mount -t proc proc /proc
mount -t sysfs sysfs /sys
if [ -e /etc/machine-id ]; then mount --bind "$dir/machine-id" /etc/machine-id; fi
if [ -d /etc/tuplenet ]; then mount --bind "$dir/etc" /etc/tuplenet; fi
mount --bind "$dir/run" /run
echo "$name" >/proc/sys/kernel/hostname
echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad
echo 0 >/proc/sys/net/ipv6/conf/all/disable_ipv6
echo 0 >/proc/sys/net/ipv6/conf/default/disable_ipv6
echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore
ip link set lo up
echo ready >&3
exec 3>&-
while :; do
	sleep infinity &
	wait $!
done
`

// newNode makes the namespaces of a node and its directories.
func newNode(ctx context.Context, l *Lab, name string) (*node, error) {
	n := &node{lab: l, name: name, dir: filepath.Join(l.dir, name)}
	for _, d := range []string{"run/netns", "run/openvswitch", "run/tuplenet", "run/lock", "log", "db", "etc"} {
		if err := os.MkdirAll(filepath.Join(n.dir, d), 0o755); err != nil {
			return nil, fmt.Errorf("directories of %s: %w", name, err)
		}
	}
	if err := os.WriteFile(filepath.Join(n.dir, "machine-id"), []byte(machineID(l.cfg.Name, name)+"\n"), 0o444); err != nil {
		return nil, fmt.Errorf("machine id of %s: %w", name, err)
	}
	ready, child, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer ready.Close()
	cmd := exec.Command("/bin/sh", "-c", firstProcess, "sh", n.dir, name)
	var complaint bytes.Buffer
	log, err := os.OpenFile(filepath.Join(n.dir, "log", "first.log"), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr, cmd.Dir, cmd.Env = log, log, "/", n.environ()
	cmd.ExtraFiles = []*os.File{child}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid:     true,
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS,
	}
	err = cmd.Start()
	child.Close()
	if err != nil {
		return nil, fmt.Errorf("namespaces of %s: %w", name, err)
	}
	l.adopt(cmd)
	if n.first, err = identify("first process", name, cmd.Process.Pid, log.Name()); err == nil {
		_ = ready.SetReadDeadline(deadline(ctx))
		_, err = io.Copy(&complaint, ready)
	}
	if err != nil || complaint.String() != "ready\n" {
		_ = cmd.Process.Kill()
		return nil, fmt.Errorf("set up namespaces of %s: %w", name, errors.Join(err, errors.New(Process{Log: log.Name()}.Tail(3))))
	}
	return n, nil
}

// deadline is that of ctx, but not later than what anything local may take.
func deadline(ctx context.Context) time.Time {
	t := time.Now().Add(settle)
	if d, ok := ctx.Deadline(); ok && d.Before(t) {
		return d
	}
	return t
}

// Name is the node's name, which is also its host name.
func (n *node) Name() string { return n.name }

// Dir is the node's directory on the machine; Dir()/run is the node's /run.
func (n *node) Dir() string { return n.dir }

// PID is the number, on the machine, of the node's first process; its namespaces are under /proc/PID/ns.
func (n *node) PID() int { return n.first.PID }

// environ is the environment of what runs on the node. Open vSwitch's tools find the node's own switch, tpctl the
// lab's etcd.
func (n *node) environ() []string {
	path := "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	if n.lab.cfg.Bin != "" {
		path = n.lab.cfg.Bin + ":" + path
	}
	env := []string{
		marker + "=" + n.lab.dir, "PATH=" + path, "HOME=/root", "LC_ALL=C",
		"OVS_RUNDIR=/run/openvswitch", "OVS_LOGDIR=" + n.dir + "/log", "OVS_DBDIR=" + n.dir + "/db", "OVS_SYSCONFDIR=" + n.dir + "/db",
		"TPCTL_ENDPOINTS=" + strings.Join(n.lab.Endpoints(), ","), "TPCTL_PREFIX=" + n.lab.cfg.Prefix,
		"ETCDCTL_API=3", "ETCDCTL_ENDPOINTS=" + strings.Join(n.lab.Endpoints(), ","),
	}
	for _, v := range []string{"TERM", "GOCOVERDIR", EncapVariable, "ONDEMAND"} {
		if s := os.Getenv(v); s != "" {
			env = append(env, v+"="+s)
		}
	}
	return env
}

// netPath is the file of a network namespace: the node's own, or that of a namespace made on the node by its name.
func (n *node) netPath(workload string) string {
	if workload == "" {
		return fmt.Sprintf("/proc/%d/ns/net", n.first.PID)
	}
	return fmt.Sprintf("/proc/%d/root/run/netns/%s", n.first.PID, workload)
}

// inNet runs f on a thread in the network namespace of the node or of one of its workloads. Sockets that f opens
// belong to that namespace and may be used elsewhere.
func (n *node) inNet(workload string, f func() error) error {
	if !n.first.Alive() {
		return fmt.Errorf("host %s is down", n.name)
	}
	return onOwnThread(func() error {
		if err := enter(n.netPath(workload), unix.CLONE_NEWNET); err != nil {
			return err
		}
		return f()
	})
}

// start starts cmd in all namespaces of the node.
func (n *node) start(cmd *exec.Cmd) error {
	if !n.first.Alive() {
		return fmt.Errorf("host %s is down", n.name)
	}
	return onOwnThread(func() error {
		// The root and working directory are shared by the threads of a process; a mount namespace is only
		// entered by a thread that has its own.
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return fmt.Errorf("unshare: %w", err)
		}
		ns := fmt.Sprintf("/proc/%d/ns/", n.first.PID)
		pid, err := os.Open(ns + "pid") // before the mounts, hence /proc, are the node's
		if err != nil {
			return fmt.Errorf("namespaces of %s: %w", n.name, err)
		}
		defer pid.Close()
		mnt, err := os.Open(ns + "mnt")
		if err != nil {
			return fmt.Errorf("namespaces of %s: %w", n.name, err)
		}
		defer mnt.Close()
		if err := enter(ns+"net", unix.CLONE_NEWNET); err != nil {
			return err
		}
		if err := enter(ns+"uts", unix.CLONE_NEWUTS); err != nil {
			return err
		}
		if err := unix.Setns(int(pid.Fd()), unix.CLONE_NEWPID); err != nil {
			return fmt.Errorf("enter processes of %s: %w", n.name, err)
		}
		if err := unix.Setns(int(mnt.Fd()), unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("enter mounts of %s: %w", n.name, err)
		}
		return cmd.Start()
	})
}

// command prepares a command for start, ended by SIGKILL when ctx ends.
func (n *node) command(ctx context.Context, args []string) *exec.Cmd {
	name := args[0]
	if !strings.Contains(name, "/") && n.lab.cfg.Bin != "" {
		if own := filepath.Join(n.lab.cfg.Bin, name); isProgram(own) {
			name = own // before the machine's PATH, as in the node's environment
		}
	}
	cmd := exec.CommandContext(ctx, name, args[1:]...)
	if cmd.Err != nil {
		for _, d := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} { // sudo and cron leave these out
			if p := filepath.Join(d, name); isProgram(p) {
				cmd = exec.CommandContext(ctx, p, args[1:]...)
			}
		}
	}
	cmd.Env, cmd.Dir = n.environ(), "/"
	return cmd
}

func isProgram(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0
}

// Exec runs a command on the node and returns what it wrote to its standard output. An error holds what it wrote to
// its standard error, and is an *exec.ExitError when it ended with another code than 0. What the command left running is not
// waited for.
func (n *node) Exec(ctx context.Context, args ...string) (string, error) {
	out, err := newOutput()
	if err != nil {
		return "", err
	}
	defer out.file.Close()
	complaint, err := newOutput()
	if err != nil {
		return "", err
	}
	defer complaint.file.Close()
	cmd := n.command(ctx, args)
	cmd.Stdout, cmd.Stderr = out.file, complaint.file
	if err = n.start(cmd); err == nil {
		err = cmd.Wait()
	}
	n.lab.cfg.Logger.Debug("exec", "host", n.name, "args", args, "err", err)
	if err != nil {
		if ctx.Err() != nil {
			err = errors.Join(err, context.Cause(ctx))
		}
		return out.text(), fmt.Errorf("%s: %s: %w: %s", n.name, strings.Join(args, " "), err, strings.TrimSpace(complaint.text()))
	}
	return out.text(), nil
}

// output is where a command writes: a file in memory. A pipe would be at its end only when every process that is being started at the
// same time has closed what it inherited of it, and what the command left running has ended.
type output struct{ file *os.File }

func newOutput() (output, error) {
	fd, err := unix.MemfdCreate("output", unix.MFD_CLOEXEC)
	if err != nil {
		return output{}, fmt.Errorf("file for the output of a command: %w", err)
	}
	return output{os.NewFile(uintptr(fd), "output")}, nil
}

// text is what was written so far.
func (o output) text() string {
	var b strings.Builder
	_, _ = io.Copy(&b, io.NewSectionReader(o.file, 0, math.MaxInt64)) // it is in memory
	return b.String()
}

// Streams are the standard streams of an interactive command; nil stands for /dev/null.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	// Dir is the working directory; default /.
	Dir string
}

// ExecWith runs a command on the node with the streams given; the code it ends with is in the *exec.ExitError. When
// ctx ends it is asked to end, by SIGTERM.
func (n *node) ExecWith(ctx context.Context, s Streams, args ...string) error {
	cmd := n.command(ctx, args)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.In, s.Out, s.Err
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	if s.Dir != "" {
		cmd.Dir = s.Dir
	}
	if err := n.start(cmd); err != nil {
		return err
	}
	return cmd.Wait()
}

// Shell runs a line of shell on the node, as an operator types it.
func (n *node) Shell(ctx context.Context, line string) (string, error) {
	return n.Exec(ctx, "/bin/sh", "-c", line)
}

// spawn starts a long-running process on the node that outlives this program unless it is ended. Its output goes to a
// log file; env is added to the node's environment.
func (n *node) spawn(name string, env []string, args ...string) (Process, error) {
	log := filepath.Join(n.dir, "log", name+".out")
	f, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return Process{}, fmt.Errorf("log of %s on %s: %w", name, n.name, err)
	}
	defer f.Close()
	cmd := n.command(context.Background(), args)
	cmd.Cancel = nil
	cmd.Env = append(cmd.Env, env...)
	cmd.Stdout, cmd.Stderr = f, f
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := n.start(cmd); err != nil {
		return Process{}, fmt.Errorf("start %s on %s: %w", name, n.name, err)
	}
	n.lab.adopt(cmd)
	p, err := identify(name, n.name, cmd.Process.Pid, log)
	if err != nil {
		return p, fmt.Errorf("%w: %s", err, Process{Log: log}.Tail(5))
	}
	return p, n.lab.record(p)
}
