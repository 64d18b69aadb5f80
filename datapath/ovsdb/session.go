package ovsdb

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/ovn-kubernetes/libovsdb/client"
)

// Config is how to reach the database and whom to tell.
type Config struct {
	// Socket is the path of the database socket, as in /var/run/openvswitch/db.sock.
	Socket string
	// Echo is after how long without an answer the server counts as hung and the session is renewed; 0 means 5 s.
	Echo time.Duration
	// Logger gets one line for a connection gained or lost and for every write; nil discards.
	Logger *slog.Logger
	// OnFacts is called with the latest state: first when the initial snapshot is complete, then after changes, several
	// changes coalesced into one call. All calls come from the goroutine of Run; while it has not returned, nothing else
	// is read or written. It may call Set. May be nil.
	OnFacts func(Facts)
	// OnDrift is called, from the same goroutine, with what somebody else did to desired ports, or put among ours. May be nil.
	OnDrift func([]Drift)
	// ReportOnly leaves it so.
	ReportOnly bool
}

// Session keeps the Facts current and the Desired in place, over any number of connections. Set may be called from any
// goroutine, before, while and after Run runs.
type Session struct {
	cfg Config
	log *slog.Logger

	mu      sync.Mutex
	desired *Desired       // nil until the first Set: nothing is written before
	fresh   bool           // desired was not planned for yet
	dirty   map[rowID]bool // rows to read again
	wake    chan struct{}  // capacity 1: fresh or dirty was set
	client  client.Client  // of the present connection, nil until its snapshot is complete
	changed chan struct{}  // closed and replaced when client changes

	// Of the goroutine of Run.
	view     *view
	told     bool               // OnFacts was called at least once
	failures map[string]failure // by name of the bridge or port
	drift    drift
}

// failure is a step that the database refused.
type failure struct {
	reason string
	pause  time.Duration
	until  time.Time // not tried again before, unless Set is called
}

// The pauses between attempts: to connect, and to write what the database refused.
const (
	connectPauseMin, connectPauseMax = 50 * time.Millisecond, time.Second
	refusedPauseMin, refusedPauseMax = 100 * time.Millisecond, 30 * time.Second
)

// New makes a Session that does nothing before Run.
func New(cfg Config) *Session {
	if cfg.Echo == 0 {
		cfg.Echo = 5 * time.Second
	}
	log := cfg.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if cfg.OnFacts == nil {
		cfg.OnFacts = func(Facts) {}
	}
	return &Session{
		cfg: cfg, log: log.With("component", "ovsdb"), wake: make(chan struct{}, 1), changed: make(chan struct{}),
		dirty: map[rowID]bool{}, view: newView(), failures: map[string]failure{},
	}
}

// Set replaces the desired state. It returns at once; what comes of it is seen in later Facts (Interfaces, Failures).
func (s *Session) Set(d Desired) {
	s.mu.Lock()
	s.desired, s.fresh = &d, true
	s.mu.Unlock()
	s.wakeUp()
}

// Connected reports whether there is a session with the server, with a complete snapshot. Without one the Facts stay as they were.
func (s *Session) Connected() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.client != nil
}

// setClient notes the client of the connection, nil when it ended.
func (s *Session) setClient(c client.Client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.client = c
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Session) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// touch notes that a row has to be read again. Called from the goroutine of libovsdb's cache: it must not do more.
func (s *Session) touch(table, uuid string) {
	s.mu.Lock()
	s.dirty[rowID{table, uuid}] = true
	s.mu.Unlock()
	s.wakeUp()
}

// take hands the noted changes over.
func (s *Session) take() (dirty map[rowID]bool, desired *Desired, fresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	dirty, desired, fresh = s.dirty, s.desired, s.fresh
	s.dirty, s.fresh = map[rowID]bool{}, false
	return dirty, desired, fresh
}

// Run connects, and reconnects with back-off, until ctx ends; it returns ctx.Err() then. It is called once.
func (s *Session) Run(ctx context.Context) error {
	pause := connectPauseMin
	down := false // and said so
	for ctx.Err() == nil {
		up, err := s.connection(ctx, func() {
			if down {
				s.log.Info("connected to the Open vSwitch database again")
			}
			down, pause = false, connectPauseMin
		})
		if ctx.Err() != nil {
			break
		}
		if up || !down {
			s.log.Warn("no connection to the Open vSwitch database", "socket", s.cfg.Socket, "err", err)
			down = true
		}
		wait(ctx, pause)
		pause = min(2*pause, connectPauseMax)
	}
	return ctx.Err()
}

// errHung is why a session is ended whose server does not answer.
var errHung = errors.New("the server does not answer")

// wait returns when d is over or ctx ends.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
