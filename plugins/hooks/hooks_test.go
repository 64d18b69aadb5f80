package hooks

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// write makes a file that can be run.
func write(t *testing.T, path, script string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), mode); err != nil {
		t.Fatal(err)
	}
}

// record collects what a runner tells.
type record struct {
	mu       sync.Mutex
	failures []Failure
	ok       []string
}

func (r *record) runner(path string) *Runner {
	return &Runner{Path: path, Attempts: 4, Pause: time.Millisecond,
		Failed: func(f Failure) { r.mu.Lock(); defer r.mu.Unlock(); r.failures = append(r.failures, f) },
		Succeeded: func(hook string, e Event) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.ok = append(r.ok, hook+" "+e.Object)
		}}
}

var event = Event{Type: "create", Object: "switch/NET", JSON: []byte("{\"type\":\"create\"}\n")}

func TestU03_each_hook_gets_the_event(t *testing.T) {
	dir := t.TempDir()
	script := `read -r event; echo "$event $TUPLENET_EVENT $TUPLENET_OBJECT" > "$0.out"`
	write(t, filepath.Join(dir, "a"), script, 0o755)
	write(t, filepath.Join(dir, "b"), script, 0o755)
	write(t, filepath.Join(dir, ".hidden"), "exit 1", 0o755)
	write(t, filepath.Join(dir, "README"), "exit 1", 0o644)
	var r record
	if err := r.runner(dir).Run(t.Context(), event); err != nil {
		t.Fatal(err)
	}
	slices.Sort(r.ok)
	if want := []string{"a switch/NET", "b switch/NET"}; !slices.Equal(r.ok, want) || len(r.failures) != 0 {
		t.Errorf("%q %+v", r.ok, r.failures)
	}
	for _, name := range []string{"a.out", "b.out"} {
		if text, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(text) != "{\"type\":\"create\"} create switch/NET\n" {
			t.Errorf("%s: %q %v", name, text, err)
		}
	}
	if err := r.runner(filepath.Join(dir, "missing")).Run(t.Context(), event); err == nil {
		t.Error("a directory that is not there")
	}
}

func TestU03_a_hook_that_fails_is_run_again_until_it_is_given_up(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "twice"), `n=$(cat "$0.n" 2>/dev/null | wc -l); echo x >> "$0.n"; [ "$n" -ge 2 ] || { echo "not yet" >&2; exit 3; }`, 0o755)
	write(t, filepath.Join(dir, "never"), `exit 1`, 0o755)
	var r record
	if err := r.runner(dir).Run(t.Context(), event); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(r.ok, []string{"twice switch/NET"}) || len(r.failures) != 6 {
		t.Fatalf("%q %+v", r.ok, r.failures)
	}
	for _, hook := range []string{"twice", "never"} {
		var attempts []int
		var pauses []time.Duration
		for _, f := range r.failures {
			if f.Hook == hook {
				attempts, pauses = append(attempts, f.Attempt), append(pauses, f.Again/time.Millisecond)
			}
		}
		want, wait := []int{1, 2}, []time.Duration{1, 2}
		if hook == "never" {
			want, wait = []int{1, 2, 3, 4}, []time.Duration{1, 2, 4, 0}
		}
		if !slices.Equal(attempts, want) || !slices.Equal(pauses, wait) {
			t.Errorf("%s: attempts %v, pauses %v", hook, attempts, pauses)
		}
	}
	for _, f := range r.failures {
		if f.Hook == "twice" && f.Err.Error() != "exit status 3: not yet" {
			t.Error(f.Err)
		}
	}
}

func TestU03_a_hook_may_leave_something_running(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hook")
	write(t, path, `echo begun; sleep 60 & echo $! > "$0.pid"`, 0o755)
	var r record
	if err := r.runner(path).Run(t.Context(), event); err != nil {
		t.Fatal(err)
	}
	if len(r.failures) != 0 || len(r.ok) != 1 {
		t.Errorf("%q %+v", r.ok, r.failures)
	}
	pid, err := os.ReadFile(path + ".pid")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("kill", strings.TrimSpace(string(pid))).CombinedOutput(); err != nil {
		t.Errorf("what it left is not running: %s", out)
	}
}

func TestU03_a_hook_that_hangs_is_ended(t *testing.T) {
	hook := filepath.Join(t.TempDir(), "hang")
	write(t, hook, "sleep 600 & wait", 0o755)
	var r record
	runner := r.runner(hook)
	runner.Attempts, runner.Timeout = 1, 100*time.Millisecond
	if err := runner.Run(t.Context(), event); err != nil {
		t.Fatal(err)
	}
	if len(r.failures) != 1 || !strings.Contains(r.failures[0].Err.Error(), "did not end within 100ms") {
		t.Errorf("%+v", r.failures)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	runner.Timeout, runner.Failed = 0, nil
	time.AfterFunc(50*time.Millisecond, func() { cancel(stop) })
	if err := runner.Run(ctx, event); !errors.Is(err, stop) {
		t.Error(err)
	}
}
