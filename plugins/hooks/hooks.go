// Package hooks runs executables when something happens: each gets the event as JSON on stdin, and is run again, later and later,
// until it succeeds or was run often enough. It owns that and nothing else: which events there are, and whom failures are told, is its
// caller's business. `tpctl watch --exec` is one.
package hooks

import (
	"bytes"
	"cmp"
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
	"time"
)

// Defaults of Runner.
const (
	DefaultTimeout  = time.Minute
	DefaultAttempts = 8
	DefaultPause    = time.Second
	maxPause        = time.Minute
)

// maxOutput is how much of what a hook prints is kept, bytes: for the reason of a failure.
const maxOutput = 8 << 10

// Event is what a hook is told.
type Event struct {
	Type   string // create, update, delete: TUPLENET_EVENT in the environment
	Object string // such as switch/NET: TUPLENET_OBJECT
	JSON   []byte // on stdin
}

// Failure is one run of a hook that failed.
type Failure struct {
	Hook    string // name of the executable
	Event   Event
	Attempt int
	Err     error
	// Again is how long until the hook is run again; 0: never, it was run often enough.
	Again time.Duration
}

// Runner runs hooks. Its methods are called by one goroutine at a time.
type Runner struct {
	// Path is an executable, or a directory of executables, which is read for every event; each of them is a hook. Files that are hidden
	// or not executable are none.
	Path string
	// Timeout of one run. Attempts is how often a hook is run for one event, Pause the wait before the second time, which doubles up to a
	// minute. 0: the defaults.
	Timeout  time.Duration
	Attempts int
	Pause    time.Duration
	// Failed and Succeeded, if not nil, are told of each run; they are called by several goroutines at the same time.
	Failed    func(Failure)
	Succeeded func(hook string, e Event)
}

// Run runs all hooks for an event, at the same time, and returns when each has succeeded or was given up. So events are in order
// for every hook. The error is that of the directory, or of the context.
func (r *Runner) Run(ctx context.Context, e Event) error {
	paths, err := r.hooks()
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	for _, path := range paths {
		wg.Go(func() { r.until(ctx, path, e) })
	}
	wg.Wait()
	return context.Cause(ctx)
}

// hooks are the executables, sorted by name.
func (r *Runner) hooks() ([]string, error) {
	info, err := os.Stat(r.Path)
	if err != nil {
		return nil, fmt.Errorf("hooks: %w", err)
	}
	if !info.IsDir() {
		return []string{r.Path}, nil
	}
	entries, err := os.ReadDir(r.Path)
	if err != nil {
		return nil, fmt.Errorf("hooks: %w", err)
	}
	var out []string
	for _, f := range entries {
		path := filepath.Join(r.Path, f.Name())
		info, err := os.Stat(path) // of what a link points to
		if err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 && !strings.HasPrefix(f.Name(), ".") {
			out = append(out, path)
		}
	}
	slices.Sort(out)
	return out, nil
}

// until runs one hook until it succeeds.
func (r *Runner) until(ctx context.Context, path string, e Event) {
	pause := cmp.Or(r.Pause, DefaultPause)
	for attempt := 1; ; attempt++ {
		err := r.once(ctx, path, e)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			if r.Succeeded != nil {
				r.Succeeded(filepath.Base(path), e)
			}
			return
		}
		f := Failure{Hook: filepath.Base(path), Event: e, Attempt: attempt, Err: err, Again: pause}
		if attempt >= cmp.Or(r.Attempts, DefaultAttempts) {
			f.Again = 0
		}
		if r.Failed != nil {
			r.Failed(f)
		}
		if f.Again == 0 {
			return
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		pause = min(2*pause, maxPause)
	}
}

// once runs a hook once. The error is one line.
func (r *Runner) once(ctx context.Context, path string, e Event) error {
	timeout := cmp.Or(r.Timeout, DefaultTimeout)
	limit, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cmd := exec.CommandContext(limit, path)
	var out tail
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(e.JSON), &out, &out
	cmd.Env = append(os.Environ(), "TUPLENET_EVENT="+e.Type, "TUPLENET_OBJECT="+e.Object)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // with what it started
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	switch {
	case limit.Err() != nil && ctx.Err() == nil:
		return fmt.Errorf("it did not end within %s", timeout)
	case errors.Is(err, exec.ErrWaitDelay):
		return nil // it ended well, and left something running that holds its output
	case err != nil && out.lastLine() != "":
		return fmt.Errorf("%w: %s", err, out.lastLine())
	}
	return err
}

// tail keeps the last maxOutput bytes that are written to it.
type tail struct{ b []byte }

func (t *tail) Write(b []byte) (int, error) {
	t.b = append(t.b, b...)
	if n := len(t.b) - maxOutput; n > 0 {
		t.b = slices.Delete(t.b, 0, n)
	}
	return len(b), nil
}

func (t *tail) lastLine() string {
	lines := strings.Split(strings.TrimSpace(string(t.b)), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}
