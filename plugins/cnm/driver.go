package cnm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"tuplenet/model/store"
	"tuplenet/plugins/plug"
)

// Budget is how long a call of the engine may take, and work is the part of it in which it may still succeed: the rest is
// for undoing. An engine that waits for a plugin waits with locks held.
const (
	Budget = 5 * time.Second
	work   = 4 * time.Second
)

// retry is the pause before what could not be undone or removed is tried again.
const retry = 2 * time.Second

// name is that of the plugin in records of plugged ports, in tags and in notes.
const name = "cnm"

// Driver answers the engine. It is safe for use by several goroutines: an engine starts many containers at once.
type Driver struct {
	cfg   Config
	log   *slog.Logger
	store *store.Store

	opened chan struct{} // closed when the switch of this host answers
	host   *plug.Host    // valid then
	debts  *debts        // what is to be removed, and could not be yet
	doubts chan struct{} // has one when something may have to be removed, and nobody could say what

	mu       sync.Mutex
	networks map[string]*engineNetwork // those that this process made, or its engine knows, in case a note is gone

	lost      time.Time         // when the store was unreachable last
	sandboxes map[string]string // namespaces of the containers, by endpoint; as far as this process has been told
	doors     map[string]*door  // published ports, by endpoint
}

// New makes the driver. Neither the store nor Open vSwitch have to be there yet.
func New(cfg Config, log *slog.Logger) (*Driver, error) {
	st, err := cfg.open()
	if err != nil {
		return nil, err
	}
	log = log.With("component", "cnm")
	return &Driver{
		cfg: cfg, log: log, store: st, opened: make(chan struct{}), debts: newDebts(log), doubts: make(chan struct{}, 1),
		networks:  map[string]*engineNetwork{},
		sandboxes: map[string]string{}, doors: map[string]*door{},
	}, nil
}

// Run connects to Open vSwitch and carries out what is owed until ctx ends. Garbage of earlier runs is collected once it can
// be told from what is just being made: quiet later.
func (d *Driver) Run(ctx context.Context, quiet time.Duration) {
	defer d.store.Close()
	if !d.connect(ctx) {
		return
	}
	defer d.host.Close()
	defer d.closeDoors()
	d.debts.owe("published ports", d.reopen) // as soon as the store answers
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() { d.collectAlways(ctx, quiet) })
	for {
		d.settleDebts(ctx)
		select {
		case <-ctx.Done():
			return
		case <-time.After(retry):
		}
	}
}

// connect waits for the database of Open vSwitch.
func (d *Driver) connect(ctx context.Context) bool {
	for said := false; ; {
		limit, cancel := context.WithTimeout(ctx, work)
		h, err := plug.Open(limit, plug.Config{Socket: d.cfg.OVSDB, Bridge: d.cfg.Bridge, Undo: Budget - work, Logger: d.log})
		cancel()
		switch {
		case err == nil:
			d.host = h
			close(d.opened)
			return true
		case ctx.Err() != nil:
			return false
		case !said:
			d.log.Warn("waiting for Open vSwitch", "err", err)
			said = true
		}
	}
}

// ready is this host's switch and its chassis, once they are there.
func (d *Driver) ready(ctx context.Context) (*plug.Host, string, error) {
	select {
	case <-d.opened:
	case <-ctx.Done():
		return nil, "", fmt.Errorf("%w: no answer from the Open vSwitch database: is Open vSwitch running?", plug.ErrNotReady)
	}
	chassis, err := d.host.Ready(ctx)
	return d.host, chassis, err
}

// settleDebts tries everything that is owed.
func (d *Driver) settleDebts(ctx context.Context) {
	d.debts.settle(func(do func(context.Context) error) error {
		limit, cancel := context.WithTimeout(ctx, Budget)
		defer cancel()
		return d.try(limit, do)
	})
}

// undo removes what a failed call made, within what is left of the budget; what cannot be is owed.
func (d *Driver) undo(ctx context.Context, key string, do func(context.Context) error) {
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), Budget-work)
	defer cancel()
	if err := do(limit); err != nil {
		d.log.Warn("could not be undone yet", "what", key, "err", err)
		d.debts.owe(key, do)
	}
}

// remove does something that the engine will not ask for again, whatever it is told.
func (d *Driver) remove(ctx context.Context, key string, do func(context.Context) error) error {
	err := d.try(ctx, do)
	if err != nil {
		d.debts.owe(key, do)
		return fmt.Errorf("%w; it will be tried again", err)
	}
	d.debts.forget(key)
	return nil
}

// try does something, and remembers it if the store was unreachable.
func (d *Driver) try(ctx context.Context, do func(context.Context) error) error {
	err := do(ctx)
	if errors.Is(err, store.ErrUnreachable) {
		d.mu.Lock()
		d.lost = time.Now()
		d.mu.Unlock()
	}
	return err
}

// errLost says that the store was unreachable a moment ago.
var errLost = errors.New("the store was unreachable a moment ago")

// reachable is errLost if the store was not a moment ago: the engine asks several times for what it removes, and every answer that has to wait for
// a store that is not there makes its user wait.
func (d *Driver) reachable() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if time.Since(d.lost) < retry {
		return errLost
	}
	return nil
}

func ignoreNotFound(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}
