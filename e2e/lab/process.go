package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// marker is the environment variable that every process of a lab carries; its value is the lab's directory.
const marker = "TUPLENET_LAB"

// Process is a process on a node, by its number on the machine and its time of start: numbers are used again.
type Process struct {
	Name  string `json:"name"`
	Node  string `json:"node"`
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks since boot, proc(5) /proc/PID/stat field 22
	Log   string `json:"log,omitempty"`
}

// Fields of /proc/PID/stat behind the name, from 0; see proc(5).
const (
	statState   = 0
	statThreads = 17
	statStart   = 19
)

// stat returns the fields of /proc/PID/stat behind the name; nil if there is no such process.
func stat(pid int) []string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	// The name, in parentheses, may contain anything: fields are counted from its end.
	if f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:])); len(f) > statStart {
		return f
	}
	return nil
}

// startTime returns the start time of a process and whether it exists and has not ended. A zombie has, but not while it has other
// threads: the first one may be done before them, and what they share, such as locked files, ports and devices, goes with the last.
func startTime(pid int) (uint64, bool) {
	f := stat(pid)
	if f == nil || f[statState] == "X" {
		return 0, false
	}
	if threads, err := strconv.Atoi(f[statThreads]); f[statState] == "Z" && (err != nil || threads < 2) {
		return 0, false
	}
	t, err := strconv.ParseUint(f[statStart], 10, 64)
	return t, err == nil
}

// Alive tells whether the process still runs.
func (p Process) Alive() bool {
	t, ok := startTime(p.PID)
	return ok && p.PID != 0 && t == p.Start
}

// Signal sends a signal to the process, if it is still the one that was started.
func (p Process) Signal(sig unix.Signal) error {
	if !p.Alive() {
		return fmt.Errorf("%s on %s: not running", p.Name, p.Node)
	}
	if err := unix.Kill(p.PID, sig); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("signal %s on %s: %w", p.Name, p.Node, err)
	}
	return nil
}

// Wait returns when the process has ended.
func (p Process) Wait(ctx context.Context) error {
	return WaitFor(ctx, fmt.Sprintf("the end of %s on %s (pid %d)", p.Name, p.Node, p.PID), func() error {
		if p.Alive() {
			return errors.New("it runs")
		}
		return nil
	})
}

// Tail returns the last lines of what the process wrote.
func (p Process) Tail(lines int) string {
	b, err := os.ReadFile(p.Log)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// identify makes a Process of a running one.
func identify(name, node string, pid int, log string) (Process, error) {
	t, ok := startTime(pid)
	if !ok {
		return Process{}, fmt.Errorf("%s on %s ended at once", name, node)
	}
	return Process{Name: name, Node: node, PID: pid, Start: t, Log: log}, nil
}

// marked lists the processes that carry the mark of a lab's directory, this one excepted.
func marked(dir string) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	want := []byte(marker + "=" + dir + "\x00")
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err == nil && bytes.Contains(env, want) {
			if _, alive := startTime(pid); alive {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// killMarked ends every process of the lab in dir and waits until they are gone.
func killMarked(ctx context.Context, dir string) error {
	return WaitFor(ctx, "the end of all processes of "+dir, func() error {
		pids := marked(dir)
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL) // may have ended meanwhile
		}
		if len(pids) > 0 {
			return fmt.Errorf("left: %v", pids)
		}
		return nil
	})
}

// WaitFor calls condition until it returns nil, with short pauses, and gives up when ctx ends: the error then says
// what was waited for and what was missing last.
func WaitFor(ctx context.Context, what string, condition func() error) error {
	pause := time.Millisecond
	for {
		err := condition()
		if err == nil {
			return nil
		}
		if errors.As(err, new(endOfWait)) {
			return fmt.Errorf("waiting for %s: %w", what, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w (%w)", what, err, context.Cause(ctx))
		case <-time.After(pause):
		}
		pause = min(2*pause, 50*time.Millisecond)
	}
}
