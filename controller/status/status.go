// Package status tells the deployment about a node: that it exists (chassis), which ports it has (bindings), what is applied
// and what is wrong (status). It is the reconciler of those keys: it is given the whole of what should be true and what was
// last seen in the store, and writes the difference, with back-off while the store is away. Nothing is written before the node
// holds its identity, and nothing about ports before the switch has acknowledged them. Package controller calls it; it may not
// know flows or the switch.
package status

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"tuplenet/model"
	"tuplenet/model/store"
)

// Store is what the reporter needs of the store.
type Store interface {
	PutChassis(ctx context.Context, c *model.Chassis) (int64, error)
	Bind(ctx context.Context, port, chassis string, seen int64) (int64, error)
	Unbind(ctx context.Context, port, chassis string) error
	PutPresence(ctx context.Context, chassis string, switches []string) error
	PutStatus(ctx context.Context, lease *store.Lease, s *model.Status) error
	Live(ctx context.Context) (map[string]store.Identity, error)
}

// Seen is a binding as last read from the store. An empty Chassis means that there was none at that revision.
type Seen struct {
	Chassis string
	Rev     int64
}

// State is the whole of what the reporter works toward. It is replaced, never changed.
type State struct {
	// Chassis is how this node should be registered; nil while it is not ready: then only Status is published.
	Chassis *model.Chassis
	// Registered is the registration last seen in the store, nil if there was none, at revision RegisteredRev.
	Registered    *model.Chassis
	RegisteredRev int64
	// Ready are ports whose interface was here when their flows were acknowledged. The value is the number of the appearance of
	// that interface: a higher number is a new claim.
	Ready map[string]uint64
	// Present are ports that have an interface here, ready or not.
	Present map[string]bool
	// Switches are those of the ports in Present, sorted.
	Switches []string
	// Bindings are the bindings last seen of ports in Ready, and all that name this chassis.
	Bindings map[string]Seen
	// Initial is the claim number up to which interfaces were there when the daemon started: no new claims.
	Initial uint64
	// Answers counts the answers to waiters in Status, so that one that does not change its text is seen to be new.
	Answers uint64
	// Status to publish when somebody waits or problems change.
	Status model.Status
	// Readings counts how often the store was read as a whole. It may be another store each time, or an older state of it, so what
	// was written before counts only as far as it is seen.
	Readings uint64
}

// Reporter is the reconciler. Set and SetLease may be called from any goroutine.
type Reporter struct {
	store   Store
	chassis string
	log     *slog.Logger

	mu    sync.Mutex
	state State
	lease *store.Lease
	wake  chan struct{} // capacity 1

	// Of the goroutine of Run.
	registered registration
	attended   bool              // Switches were said since the daemon started
	switches   []string          // as said last
	written    map[string]Seen   // bindings written and not seen yet
	claimed    map[string]uint64 // claims already made
	released   map[string]int64  // revisions of bindings given up and still seen
	lost       map[string]string // port → chassis that keeps it though its interface is here, too
	published  model.Status
	answers    uint64 // of published
	everOut    bool
	readings   uint64 // of the store for which all this is remembered
}

// registration is what was written and perhaps not seen yet.
type registration struct {
	chassis *model.Chassis
	rev     int64
}

// New makes a reporter for a chassis.
func New(s Store, chassis string, log *slog.Logger) *Reporter {
	return &Reporter{store: s, chassis: chassis, log: log.With("component", "status"), wake: make(chan struct{}, 1),
		written: map[string]Seen{}, claimed: map[string]uint64{}, released: map[string]int64{}, lost: map[string]string{}}
}

// Set replaces what should be true.
func (r *Reporter) Set(s State) {
	r.mu.Lock()
	r.state = s
	r.mu.Unlock()
	r.kick()
}

// SetLease gives the lease under which the node holds its identity. Before it nothing is written.
func (r *Reporter) SetLease(l *store.Lease) {
	r.mu.Lock()
	r.lease = l
	r.mu.Unlock()
	r.kick()
}

func (r *Reporter) kick() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Pauses after a failed write, and between looks at conflicting claims of chassis that may have died.
const (
	retryMin = 100 * time.Millisecond
	retryMax = 2 * time.Second
	recheck  = 30 * time.Second
)

// Run writes until ctx ends. After a failure it does not write more often than its back-off says, whatever changes.
func (r *Reporter) Run(ctx context.Context) {
	pause, failing := retryMin, false
	timer := time.NewTimer(recheck)
	defer timer.Stop()
	for {
		wake := r.wake
		if failing {
			wake = nil
		}
		select {
		case <-ctx.Done():
			return
		case <-wake:
		case <-timer.C:
		}
		err := r.reconcile(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			if failing {
				r.log.Info("reporting to the store again")
			}
			pause, failing = retryMin, false
			timer.Reset(recheck)
		default:
			if !failing {
				r.log.Warn("cannot report to the store, trying on", "err", oneLine(err))
			}
			failing = true
			timer.Reset(pause)
			pause = min(2*pause, retryMax)
		}
	}
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// reconcile writes what differs. Items fail independently, but for bindings to a chassis that is not registered: those help
// nobody.
func (r *Reporter) reconcile(ctx context.Context) error {
	r.mu.Lock()
	s, lease := r.state, r.lease
	r.mu.Unlock()
	if lease == nil {
		return nil
	}
	if s.Readings != r.readings {
		r.readings = s.Readings
		r.registered, r.attended, r.everOut = registration{}, false, false
		clear(r.written)
		clear(r.released)
	}
	var errs []error
	if s.Chassis != nil {
		if err := r.register(ctx, s); err != nil {
			errs = append(errs, err)
		} else {
			errs = append(errs, r.bind(ctx, s)...)
			errs = append(errs, r.unbind(ctx, s)...)
			r.forget(s)
		}
	}
	if s.Status.Chassis != "" {
		errs = append(errs, r.publish(ctx, s, lease))
	}
	return errors.Join(errs...)
}

// register says what the node is, if the store does not say it yet.
func (r *Reporter) register(ctx context.Context, s State) error {
	there := s.Registered
	if r.registered.rev > s.RegisteredRev {
		there = r.registered.chassis
	}
	known := sameChassis(there, s.Chassis)
	if err := r.attend(ctx, s, there == nil); err != nil || known {
		return err
	}
	rev, err := r.store.PutChassis(ctx, s.Chassis)
	if err == nil {
		r.registered = registration{s.Chassis, rev}
	}
	return err
}

// attend says of which switches the node has ports, if that was not said: before it registers, and before it binds a port. Whoever
// deleted the registration deleted that, too, so it is said anew with each.
func (r *Reporter) attend(ctx context.Context, s State, anew bool) error {
	if r.attended && !anew && slices.Equal(r.switches, s.Switches) {
		return nil
	}
	err := r.store.PutPresence(ctx, r.chassis, s.Switches)
	if err == nil {
		r.attended, r.switches = true, s.Switches
	}
	return err
}

func sameChassis(a, b *model.Chassis) bool {
	return a != nil && b != nil && a.Name == b.Name && a.Hostname == b.Hostname && slices.Equal(a.IPs, b.IPs) &&
		slices.Equal(a.Encaps, b.Encaps) && a.UnderlayMTU == b.UnderlayMTU && a.TunnelMTU == b.TunnelMTU && a.Gateway == b.Gateway && a.Tick == b.Tick
}

// publish writes the status if anybody may miss it: with an answer to a waiter that was not published, or with other problems.
// So nodes do not write at every revision.
func (r *Reporter) publish(ctx context.Context, s State, lease *store.Lease) error {
	now := s.Status
	now.Problems = r.withConflicts(now.Problems)
	if r.everOut && s.Answers == r.answers && now.Behind == r.published.Behind && maps.Equal(now.Serves, r.published.Serves) && slices.Equal(now.Problems, r.published.Problems) {
		return nil
	}
	if err := r.store.PutStatus(ctx, lease, &now); err != nil {
		return err
	}
	r.published, r.answers, r.everOut = now, s.Answers, true
	return nil
}

// withConflicts adds the ports that are here, but belong to another chassis.
func (r *Reporter) withConflicts(problems []model.Problem) []model.Problem {
	if len(r.lost) == 0 {
		return problems
	}
	all := slices.Clone(problems)
	for port, chassis := range r.lost {
		all = append(all, model.Problem{Key: model.Ref{Kind: model.KindBinding, Name: port}.String(),
			Reason: "the port has an interface here, but it is bound to chassis " + chassis + ", where it appeared later"})
	}
	slices.SortFunc(all, func(a, b model.Problem) int {
		if c := strings.Compare(a.Key, b.Key); c != 0 {
			return c
		}
		return strings.Compare(a.Reason, b.Reason)
	})
	return all
}

// bind claims the ports that are ready here and that nobody else has claimed since.
func (r *Reporter) bind(ctx context.Context, s State) []error {
	var errs []error
	var live map[string]store.Identity
	lost := map[string]string{}
	for _, port := range slices.Sorted(maps.Keys(s.Ready)) {
		claim, seen := s.Ready[port], r.seen(s, port)
		if !s.Present[port] {
			continue // it left, and the switch has not acknowledged that yet
		}
		if seen.Chassis == r.chassis {
			r.claimed[port] = claim
			continue
		}
		if seen.Chassis != "" && (claim <= s.Initial || r.claimed[port] == claim) {
			// Somebody else holds the port, and our interface is not newer. Only the dead lose their claim.
			if live == nil {
				var err error
				if live, err = r.store.Live(ctx); err != nil {
					return append(errs, err)
				}
			}
			if _, alive := live[seen.Chassis]; alive {
				lost[port] = seen.Chassis
				if r.lost[port] != seen.Chassis {
					r.log.Warn("another chassis has the port, the interface here is not its own", "port", port, "bound_to", seen.Chassis)
				}
				continue
			}
		}
		if err := r.claim(ctx, port, claim, seen); err != nil {
			errs = append(errs, err)
		}
	}
	r.lost = lost
	return errs
}

// seen is the latest that is known of the binding of a port: from the store, or written and not seen there yet.
func (r *Reporter) seen(s State, port string) Seen {
	seen := s.Bindings[port]
	if w, ok := r.written[port]; ok && w.Rev > seen.Rev {
		return w
	}
	delete(r.written, port)
	return seen
}

// claim binds a port to this chassis, if its binding is still what was seen.
func (r *Reporter) claim(ctx context.Context, port string, claim uint64, seen Seen) error {
	expect := seen.Rev
	if seen.Chassis == "" {
		expect = 0
	}
	rev, err := r.store.Bind(ctx, port, r.chassis, expect)
	if errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound) {
		delete(r.written, port)
		return nil // changed, or deleted with its port, meanwhile: the watch will say how
	}
	if err != nil {
		return err
	}
	r.written[port], r.claimed[port] = Seen{r.chassis, rev}, claim
	r.log.Info("port bound", "port", port, "was", seen.Chassis)
	return nil
}

// unbind gives up the ports whose interface is gone.
func (r *Reporter) unbind(ctx context.Context, s State) []error {
	var errs []error
	for _, port := range slices.Sorted(maps.Keys(s.Bindings)) {
		seen := s.Bindings[port]
		if seen.Chassis != r.chassis || s.Present[port] || r.released[port] == seen.Rev {
			continue
		}
		switch err := r.store.Unbind(ctx, port, r.chassis); {
		case errors.Is(err, store.ErrConflict): // another chassis has it already
		case err != nil:
			errs = append(errs, err)
		default:
			r.released[port] = seen.Rev
			r.log.Info("port unbound", "port", port)
		}
	}
	return errs
}

// forget drops what is remembered of ports that have no interface here any more.
func (r *Reporter) forget(s State) {
	maps.DeleteFunc(r.written, func(port string, _ Seen) bool { return !s.Present[port] })
	maps.DeleteFunc(r.released, func(port string, rev int64) bool { return s.Bindings[port].Rev != rev })
	maps.DeleteFunc(r.claimed, func(port string, _ uint64) bool { return !s.Present[port] })
}
