package lab

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
)

// Ports of the servers outside, those of HTTP and of the echo protocol (RFC 862).
const (
	OutsideWeb  = 80
	OutsideEcho = 7
)

// StartServers starts a Web and an Echo on Server and on Far, in processes of their own, which outlive this program. The lab needs a
// directory of binaries for that.
func (o *Outside) StartServers(ctx context.Context) error {
	if o.lab.cfg.Bin == "" {
		return errors.New("the lab was made without a directory of binaries")
	}
	for _, s := range []*Workload{o.Server, o.Far} {
		command := s.enter([]string{filepath.Join(o.lab.cfg.Bin, "tpctl"), "sandbox", "serve"})
		if err := o.spawnNotifying(ctx, "servers-"+s.Name, nil, command...); err != nil {
			return err
		}
	}
	return nil
}

// Stations are the router, the server and the host behind the router.
func (o *Outside) Stations() []*Workload { return []*Workload{o.Router, o.Server, o.Far} }

// Serve runs a Web and an Echo in the network namespace of this process until ctx ends. ready is called when both listen.
func Serve(ctx context.Context, log *slog.Logger, ready func() error) error {
	here := func(f func() error) error { return f() }
	web, err := startWeb(ctx, here, OutsideWeb, log)
	if err != nil {
		return err
	}
	echo, err := startEcho(ctx, here, OutsideEcho)
	if err != nil {
		return errors.Join(err, web.Close())
	}
	if err := ready(); err != nil {
		return errors.Join(fmt.Errorf("tell that the servers are ready: %w", err), web.Close(), echo.Close())
	}
	<-ctx.Done()
	return errors.Join(web.Close(), echo.Close())
}
