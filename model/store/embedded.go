package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"google.golang.org/grpc"
)

// DefaultListen is where an embedded server serves unless told otherwise: this host only.
const DefaultListen = "http://127.0.0.1:2379"

// Embedded is an etcd server inside this process.
type Embedded struct {
	server    *embed.Etcd
	endpoints []string
	// serving are its gRPC servers: they are stopped at once, because a graceful stop waits in vain for the watches of
	// clients to end.
	mu      sync.Mutex
	serving []*grpc.Server
}

// EmbeddedConfig tells how to run an etcd server.
type EmbeddedConfig struct {
	// Dir keeps its data; made if it does not exist.
	Dir string
	// Listen are the URLs where clients are served, separated by commas; DefaultListen if empty. Port 0: any free port.
	Listen string
	// CACert, Cert and Key make it serve TLS (https URLs); with CACert, clients need a certificate signed by it.
	CACert, Cert, Key string
	// Peer and Cluster make it a member of a cluster of several: its own URL for the others, and name=URL of each member,
	// its own being called by Name. Empty: it is alone.
	Name, Peer, Cluster string
	// UnsafeNoSync leaves out waiting for the disk: for tests, whose data need not survive a crash of the machine.
	UnsafeNoSync bool
	// Logger gets the server's warnings and errors; nil: they are lost.
	Logger *slog.Logger
}

// StartEmbedded starts an etcd server that keeps its data in dir and serves at the URLs in listen (as in
// EmbeddedConfig.Listen), and returns when it is ready.
func StartEmbedded(dir, listen string, log *slog.Logger) (*Embedded, error) {
	return EmbeddedConfig{Dir: dir, Listen: listen, Logger: log}.Start()
}

// startLimit is how long a server may take to be ready.
const startLimit = 60 * time.Second

// Start starts the server and returns when it is ready to serve.
func (cfg EmbeddedConfig) Start() (*Embedded, error) {
	c, err := cfg.etcd()
	if err != nil {
		return nil, err
	}
	e := new(Embedded)
	c.ServiceRegister = func(s *grpc.Server) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.serving = append(e.serving, s)
	}
	server, err := embed.StartEtcd(c)
	if err != nil {
		return nil, fmt.Errorf("start etcd in %s: %w", cfg.Dir, err)
	}
	select {
	case <-server.Server.ReadyNotify():
	case err = <-server.Err():
	case <-time.After(startLimit):
		err = errors.New("it is not ready in time")
	}
	if err != nil {
		server.Close()
		return nil, fmt.Errorf("start etcd in %s: %w", cfg.Dir, err)
	}
	e.server = server
	for i, l := range server.Clients {
		e.endpoints = append(e.endpoints, c.ListenClientUrls[i].Scheme+"://"+l.Addr().String())
	}
	return e, nil
}

func (cfg EmbeddedConfig) etcd() (*embed.Config, error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("folder of etcd: %w", err)
	}
	listen := cfg.Listen
	if listen == "" {
		listen = DefaultListen
	}
	clients, err := urls(listen)
	if err != nil {
		return nil, err
	}
	c := embed.NewConfig()
	c.Dir = cfg.Dir
	c.ListenClientUrls, c.AdvertiseClientUrls = clients, clients
	// A server that is alone still has a peer address. It serves nobody, so any port of this host will do; what it is
	// called in the cluster stays the same over restarts.
	c.ListenPeerUrls, _ = urls("http://127.0.0.1:0")
	if cfg.Cluster != "" {
		c.Name, c.InitialCluster = cfg.Name, cfg.Cluster
		if c.ListenPeerUrls, err = urls(cfg.Peer); err != nil {
			return nil, err
		}
		c.AdvertisePeerUrls = c.ListenPeerUrls
	}
	if cfg.Cert != "" {
		c.ClientTLSInfo = transport.TLSInfo{CertFile: cfg.Cert, KeyFile: cfg.Key, TrustedCAFile: cfg.CACert, ClientCertAuth: cfg.CACert != ""}
	}
	c.EnableGRPCGateway = false
	c.UnsafeNoFsync = cfg.UnsafeNoSync
	c.AutoCompactionMode, c.AutoCompactionRetention = embed.CompactorModePeriodic, "1h"
	c.QuotaBackendBytes = 4 << 30
	c.TickMs, c.ElectionMs = 50, 500 // alone, it elects itself after one election timeout
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zapTo(cfg.Logger))
	return c, nil
}

func urls(text string) ([]url.URL, error) {
	var out []url.URL
	for _, part := range strings.Split(text, ",") {
		part = strings.TrimSpace(part)
		if !strings.Contains(part, "://") {
			part = "http://" + part
		}
		u, err := url.Parse(part)
		if err != nil || u.Host == "" {
			return nil, fmt.Errorf("address of etcd %q is not a URL", part)
		}
		out = append(out, *u)
	}
	return out, nil
}

// Endpoints are the URLs where it serves clients.
func (e *Embedded) Endpoints() []string { return e.endpoints }

// Close stops the server; its data stay.
func (e *Embedded) Close() error {
	e.mu.Lock()
	serving := e.serving
	e.mu.Unlock()
	for _, s := range serving {
		s.Stop()
	}
	e.server.Close()
	return nil
}

// zapTo is a logger of etcd's kind that hands warnings and errors to slog.
func zapTo(log *slog.Logger) *zap.Logger {
	if log == nil {
		return zap.NewNop()
	}
	return zap.New(&slogCore{log: log.With("component", "etcd")})
}

type slogCore struct {
	log    *slog.Logger
	fields []zapcore.Field
}

func (c *slogCore) Enabled(l zapcore.Level) bool { return l >= zapcore.WarnLevel }

func (c *slogCore) With(fields []zapcore.Field) zapcore.Core {
	return &slogCore{log: c.log, fields: append(c.fields[:len(c.fields):len(c.fields)], fields...)}
}

func (c *slogCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}

func (c *slogCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range append(c.fields[:len(c.fields):len(c.fields)], fields...) {
		f.AddTo(enc)
	}
	level := slog.LevelWarn
	if e.Level > zapcore.WarnLevel {
		level = slog.LevelError
	}
	attrs := make([]any, 0, 2*len(enc.Fields))
	for k, v := range enc.Fields {
		attrs = append(attrs, slog.Any(k, v))
	}
	c.log.Log(context.Background(), level, e.Message, attrs...)
	return nil
}

func (c *slogCore) Sync() error { return nil }
