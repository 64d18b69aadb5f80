package controller

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"sync"

	"tuplenet/controller/admin"
	"tuplenet/model"
	"tuplenet/model/store"
)

// serveAdmin answers questions: on the socket in the run folder and through the store always, at addresses as configured. That
// nobody can ask is no reason not to forward packets, so only what cannot work as configured (certificates) is an error.
func (n *Node) serveAdmin(ctx context.Context, wg *sync.WaitGroup, l *loop, db *store.Store) error {
	registry := admin.New(l.chassis, n.log)
	answers{l}.register(registry)
	l.metered.feed = db.Feed
	probes := admin.Probes{Alive: l.vital.alive, Ready: l.vital.ready, Metrics: l.metered.Handler()}
	serve := func(what string, listen func() (net.Listener, error), h http.Handler) {
		socket, err := listen()
		if err != nil {
			n.log.Error("cannot serve", "what", what, "err", err)
			return
		}
		n.log.Info("serving", "what", what, "address", socket.Addr().String())
		wg.Go(func() {
			if err := admin.Serve(ctx, socket, h); err != nil {
				n.log.Error("serving ended", "what", what, "err", err)
			}
		})
	}
	wg.Go(func() { _ = db.FollowAsks(ctx, l.chassis, registry.Answer) })
	serve("admin socket", func() (net.Listener, error) {
		return admin.ListenUnix(filepath.Join(n.cfg.RunDir, model.AdminSocket))
	}, admin.WithProfiles(registry.Handler(probes)))
	if addr := n.cfg.MetricsListen; addr != "" {
		serve("metrics", func() (net.Listener, error) { return net.Listen("tcp", addr) }, probes.Handler())
	}
	if addr := n.cfg.APIListen; addr != "" {
		secure, err := admin.MutualTLS(n.cfg.APICert, n.cfg.APIKey, n.cfg.APICA)
		if err != nil {
			return fmt.Errorf("api-listen: %w", err)
		}
		serve("API", func() (net.Listener, error) { return admin.ListenTLS(addr, secure) }, registry.Handler(probes))
	}
	return nil
}
