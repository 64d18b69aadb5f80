package admin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"
)

// Probes are what supervisors and monitoring ask. A nil error is a yes; the text of another is shown.
type Probes struct {
	// Alive: the daemon works. Ready: what the store says is in the switch, and the switch acknowledged it.
	Alive, Ready func() error
	// Metrics is the page of metrics; nil: there is none.
	Metrics http.Handler
}

// Handler serves /healthz, /readyz and /metrics, for everybody who may see numbers.
func (p Probes) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", probe(p.Alive))
	mux.HandleFunc("GET /readyz", probe(p.Ready))
	if p.Metrics != nil {
		mux.Handle("GET /metrics", p.Metrics)
	}
	return mux
}

func probe(ok func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		if err := ok(); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintln(w, err)
			return
		}
		fmt.Fprintln(w, "ok")
	}
}

// Handler serves the commands and the probes: for the node's administrator.
func (r *Registry) Handler(p Probes) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", p.Handler())
	mux.HandleFunc("POST /v1/{command}", r.serveCommand)
	return mux
}

// ListenUnix makes the daemon's socket, for its user only. One that a dead daemon left is replaced: who may use the folder is
// settled by the lock of the pid file.
func ListenUnix(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	return l, nil
}

// closing is how long answers under way may take when the daemon ends.
const closing = time.Second

// Serve serves until ctx ends and closes the listener. It returns nil then, or why it could not go on.
func Serve(ctx context.Context, l net.Listener, h http.Handler) error {
	working, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute,
		BaseContext: func(net.Listener) context.Context { return working }}
	failed := make(chan error, 1)
	go func() { failed <- s.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	patience, cancel := context.WithTimeout(working, closing)
	defer cancel()
	if s.Shutdown(patience) != nil {
		s.Close()
	}
	<-failed
	return nil
}
