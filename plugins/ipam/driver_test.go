package ipam

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tuplenet/model"
)

// driver writes an executable and returns its pool and the directory.
func driver(t *testing.T, script string) (*model.Pool, string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "d"), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	return &model.Pool{Name: "p", Driver: "d", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, dir
}

func TestU21_whatever_a_driver_does_is_one_line(t *testing.T) {
	for name, c := range map[string]struct{ script, want string }{
		"an error in the answer":     {`printf '%s' '{"error":"no\nroom"}'`, "driver d: no room"},
		"and an exit code":           {`echo '{"error":"no room"}'; exit 3`, "driver d: no room"},
		"an exit code and a word":    {`echo a >&2; echo 'it broke' >&2; exit 1`, "driver d: it broke"},
		"an exit code and no word":   {`exit 7`, "driver d: exit status 7"},
		"no answer":                  {`true`, "driver d: its answer is not what the protocol says"},
		"more than an answer":        {`echo '{"subnet":"10.0.0.0/24"} {}'`, "something follows"},
		"a field that is not known":  {`echo '{"subnets":[]}'`, "unknown field"},
		"an answer without a subnet": {`echo '{}'`, "driver d: its answer has no subnet"},
		"an answer without an end":   {`yes '{' | head -c 300000`, "not what the protocol says"},
	} {
		pool, dir := driver(t, c.script)
		_, err := (&Drivers{Dir: dir}).Allocate(t.Context(), pool, "switch/x", 24, netip.Prefix{})
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestU21_a_driver_may_leave_something_running(t *testing.T) {
	pool, dir := driver(t, `echo '{"subnet":"10.1.2.0/24"}'; sleep 60 & echo $! > "$0.pid"`)
	got, err := (&Drivers{Dir: dir}).Allocate(t.Context(), pool, "switch/x", 24, netip.Prefix{})
	if err != nil || got.String() != "10.1.2.0/24" {
		t.Errorf("%s, %v", got, err)
	}
	pid, err := os.ReadFile(filepath.Join(dir, "d.pid"))
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("kill", strings.TrimSpace(string(pid))).CombinedOutput(); err != nil {
		t.Errorf("what it left is not running: %s", out)
	}
}

func TestU21_a_driver_that_hangs_is_given_up(t *testing.T) {
	pool, dir := driver(t, `exec sleep 600`)
	_, err := (&Drivers{Dir: dir, Timeout: 50 * time.Millisecond}).Allocate(t.Context(), pool, "switch/x", 24, netip.Prefix{})
	if err == nil || err.Error() != "driver d did not answer within 50ms" {
		t.Fatal(err)
	}
}

func TestU21_a_driver_is_ended_with_what_it_started(t *testing.T) {
	pool, dir := driver(t, `sh -c 'echo $$ > "$0.new"; mv "$0.new" "$0.child"; exec sleep 600' "$0" & wait`)
	limit, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	ctx, cancel := context.WithCancel(limit)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := (&Drivers{Dir: dir, Timeout: time.Hour}).Allocate(ctx, pool, "switch/x", 24, netip.Prefix{})
		done <- err
	}()
	var child []byte
	eventually(t, limit, "the driver to start something", func() (ok bool) {
		var err error
		child, err = os.ReadFile(filepath.Join(dir, "d.child"))
		return err == nil
	})
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	eventually(t, limit, "what the driver started to end", func() bool {
		stat, err := os.ReadFile("/proc/" + strings.TrimSpace(string(child)) + "/stat")
		return err != nil || strings.Contains(string(stat), ") Z ")
	})
}

// eventually waits for a condition.
func eventually(t *testing.T, limit context.Context, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-limit.Done():
			t.Fatalf("waited for %s", what)
		}
	}
}

func TestU21_a_driver_reads_the_request_and_is_believed(t *testing.T) {
	pool, dir := driver(t, `read -r r; case $r in
*'"version":1,"operation":"allocate","pool":"p","prefixes":["10.0.0.0/8"],"owner":"switch/x","length":24'*) echo '{"subnet":"10.1.2.0/24"}';;
*'"operation":"release"'*'"subnet":"10.1.2.0/24"'*) echo '{}';;
*) echo "unexpected $r" >&2; exit 1;; esac`)
	d := &Drivers{Dir: dir}
	p, err := d.Allocate(t.Context(), pool, "switch/x", 24, netip.Prefix{})
	if err != nil || p.String() != "10.1.2.0/24" {
		t.Fatal(p, err)
	}
	if err := d.Release(t.Context(), pool, "switch/x", p); err != nil {
		t.Fatal(err)
	}
}
