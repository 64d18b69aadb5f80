//go:build bench

package bench

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"tuplenet/e2e/lab"
)

// profile takes profiles of a host's daemon if TUPLENET_BENCH_PROFILE names a folder: begin takes one of the processor time of the next
// ten seconds, end waits for it and takes one of the memory.
func (w *world) profile(h *lab.Host, name string) (end func()) {
	w.t.Helper()
	dir := env("PROFILE", "")
	if dir == "" {
		return func() {}
	}
	w.check(os.MkdirAll(dir, 0o755))
	taken := make(chan error, 1)
	go func() { taken <- fetch(w.ctx, h, "profile?seconds=10", filepath.Join(dir, name+"-cpu.prof")) }()
	return func() {
		w.t.Helper()
		w.check(<-taken)
		w.check(fetch(w.ctx, h, "heap?gc=1", filepath.Join(dir, name+"-heap.prof")))
		w.t.Logf("profiles %s-*.prof are in %s", name, dir)
	}
}

// fetch asks the daemon's socket for a profile.
func fetch(ctx context.Context, h *lab.Host, what, file string) error {
	c := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(h.Dir(), "run/tuplenet/admin.sock"))
	}}}
	defer c.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://node/debug/pprof/"+what, nil)
	if err != nil {
		return err
	}
	answer, err := c.Do(req)
	if err != nil {
		return fmt.Errorf("profile of %s: %w", h.Name(), err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("profile of %s: %s: %s", h.Name(), answer.Status, b)
	}
	if err != nil {
		return err
	}
	return os.WriteFile(file, b, 0o644)
}
