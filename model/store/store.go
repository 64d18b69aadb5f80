package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tuplenet/model"
)

// Config tells where the store is and how to reach it.
type Config struct {
	// Endpoints are host:port or URLs of the members of the etcd cluster. With a CACert or a Cert, those without a scheme
	// are reached by TLS.
	Endpoints []string
	// Prefix of all keys of the deployment, by default /tuplenet; slashes at its ends mean nothing.
	Prefix string
	// CACert is the file of the authorities that sign the servers' certificates. Cert and Key are the files of the client's
	// own certificate; they are read again for each connection, so they may be renewed.
	CACert, Cert, Key string
	// User and Password for etcd's own authentication.
	User, Password string
	// DialTimeout limits how long any request waits for an answer; 5 s by default.
	DialTimeout time.Duration
	// LeaseTTL is how long a dead daemon counts as alive; 10 s by default.
	LeaseTTL time.Duration
	// AllowStoreReset makes Follow take over a store that was replaced or restored from an older state, instead of
	// ending with ErrClusterChanged.
	AllowStoreReset bool
	// Logger gets what Follow and leases have to say; nil: nothing is logged.
	Logger *slog.Logger
	// Decode reads the object that was written under ref at a revision; nil: model.Decode. Whoever has many clients in one process may
	// give them the same object, since objects are never changed.
	Decode func(ref model.Ref, value []byte, revision int64) (model.Object, error)
}

const (
	defaultDialTimeout = 5 * time.Second
	defaultLeaseTTL    = 10 * time.Second
	// pauses between attempts of a request that did not reach the store
	retryMin = 20 * time.Millisecond
	retryMax = 500 * time.Millisecond
)

// Store is a client of one deployment. It is safe for use by several goroutines.
type Store struct {
	cfg  Config
	keys layout
	log  *slog.Logger

	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	mu     sync.Mutex
	client *clientv3.Client     // made at the first request
	meta   *metaRecord          // as last read; nil: not read yet
	waits  map[string]waitLease // by id

	streams atomic.Uint64 // of watches, made so far

	probe time.Duration // how often Follow checks that the store is still the same
	share time.Duration // see shareOfChassis
	feed  feed
}

// Open makes a client. It reads the certificate files, but does not contact etcd: the first request does.
func Open(cfg Config) (*Store, error) {
	if len(cfg.Endpoints) == 0 {
		return nil, errors.New("no endpoints of the store are given")
	}
	if cfg.DialTimeout <= 0 {
		cfg.DialTimeout = defaultDialTimeout
	}
	if cfg.LeaseTTL <= 0 {
		cfg.LeaseTTL = defaultLeaseTTL
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Decode == nil {
		cfg.Decode = func(ref model.Ref, value []byte, _ int64) (model.Object, error) { return model.Decode(ref, value) }
	}
	if (cfg.User == "") != (cfg.Password == "") {
		return nil, errors.New("for the store, a user and a password are given together or not at all")
	}
	if _, err := tlsConfig(cfg); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Store{cfg: cfg, keys: newLayout(cfg.Prefix), log: cfg.Logger.With("component", "store"), ctx: ctx, cancel: cancel,
		waits: map[string]waitLease{}, probe: 5 * time.Second, share: shareOfChassis}, nil
}

// Close ends the connection; requests under way fail. Leases are left to expire.
func (s *Store) Close() error {
	s.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client == nil {
		return nil
	}
	err := s.client.Close()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return err
}

// etcd is the connection, made at the first use. With user and password, making it contacts the store, so it may fail.
func (s *Store) etcd() (*clientv3.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client != nil {
		return s.client, nil
	}
	t, err := tlsConfig(s.cfg)
	if err != nil {
		return nil, err
	}
	endpoints := make([]string, len(s.cfg.Endpoints))
	for i, e := range s.cfg.Endpoints {
		endpoints[i] = strings.TrimSpace(e)
		if t != nil && !strings.Contains(e, "://") {
			endpoints[i] = "https://" + endpoints[i]
		}
	}
	cfg := s.clientConfig()
	cfg.Endpoints, cfg.TLS = endpoints, t
	c, err := clientv3.New(cfg)
	if err != nil {
		return nil, err
	}
	s.client = c
	return c, nil
}

// clientConfig is how the client behaves, whomever it talks to.
func (s *Store) clientConfig() clientv3.Config {
	return clientv3.Config{
		Context: s.ctx, Username: s.cfg.User, Password: s.cfg.Password,
		DialTimeout: s.cfg.DialTimeout, DialKeepAliveTime: 10 * time.Second, DialKeepAliveTimeout: 5 * time.Second,
		// Only while something is under way: etcd ends the connection of an idle client that asks whether it is there.
		PermitWithoutStream: false, MaxUnaryRetries: 1, Logger: zap.NewNop(),
		DialOptions: []grpc.DialOption{grpc.WithInitialWindowSize(window), grpc.WithInitialConnWindowSize(window)},
	}
}

// window is how much etcd may send that was not read yet, in bytes. With one that is given gRPC does not measure the connection, which costs a ping and an
// answer for most messages.
const window = 1 << 20

// call makes a request until it gets an answer, for at most DialTimeout. lost tells the attempts after the first whether
// an earlier one may have been carried out though its answer did not come.
func (s *Store) call(ctx context.Context, what string, request func(ctx context.Context, c *clientv3.Client, lost bool) error) error {
	limit, cancel := context.WithTimeout(ctx, s.cfg.DialTimeout)
	defer cancel()
	lost := false
	var last error
	for pause := retryMin; ; pause = min(2*pause, retryMax) {
		c, err := s.etcd()
		if err == nil {
			err = request(limit, c, lost)
		}
		if err == nil {
			return nil
		}
		if !isUnreachable(err) {
			return s.explain(ctx, what, err)
		}
		if last == nil || !errors.Is(err, context.DeadlineExceeded) && status.Code(err) != codes.DeadlineExceeded {
			last = err
		}
		lost = true
		select {
		case <-limit.Done():
			return s.explain(ctx, what, last)
		case <-s.ctx.Done():
			return fmt.Errorf("%s: the client is closed", what)
		case <-time.After(pause):
		}
	}
}

// isUnreachable reports whether the request may succeed when it is made again: no connection, no leader, no answer.
func isUnreachable(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded:
		return true
	}
	var e rpctypes.EtcdError
	if errors.As(err, &e) {
		return e.Code() == codes.Unavailable || e.Code() == codes.DeadlineExceeded
	}
	return errors.Is(err, context.DeadlineExceeded)
}

// explain makes the one-line error of a failed request. It never contains credentials: etcd's errors do not have them.
func (s *Store) explain(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", what, context.Cause(ctx))
	}
	var r *refusal
	if errors.As(err, &r) {
		return err
	}
	text := oneLine(err)
	switch {
	case isUnreachable(err):
		return refuse(ErrUnreachable, "store unreachable at %s within %s: %s", strings.Join(s.cfg.Endpoints, ","), s.cfg.DialTimeout, text)
	case isDenied(err):
		return refuse(ErrDenied, "%s: the store refused access: %s", what, text)
	}
	return fmt.Errorf("%s: %w", what, err)
}

func isDenied(err error) bool {
	var e rpctypes.EtcdError
	if errors.As(err, &e) {
		return e.Code() == codes.PermissionDenied || e.Code() == codes.Unauthenticated || errors.Is(err, rpctypes.ErrAuthFailed) ||
			errors.Is(err, rpctypes.ErrUserEmpty) || errors.Is(err, rpctypes.ErrAuthNotEnabled)
	}
	c := status.Code(err)
	return c == codes.PermissionDenied || c == codes.Unauthenticated || strings.Contains(err.Error(), "authentication failed")
}

// oneLine is what an error of gRPC says in the end.
func oneLine(err error) string {
	text := err.Error()
	if i := strings.LastIndex(text, "desc = "); i >= 0 {
		text = text[i+len("desc = "):]
	}
	return strings.Trim(strings.ReplaceAll(text, "\n", " "), `"`)
}
