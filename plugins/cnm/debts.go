package cnm

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
)

// debts are what could not be done, such as a removal, and is tried again and again until it is. They are known by what
// they are about: a newer debt takes the place of an older one. Safe for use by several goroutines.
type debts struct {
	log *slog.Logger

	mu     sync.Mutex
	owed   map[string]*debt
	paying string        // what is just being tried
	paid   chan struct{} // closed when that is over
}

type debt struct{ do func(context.Context) error }

func newDebts(log *slog.Logger) *debts { return &debts{log: log, owed: map[string]*debt{}} }

// owe has something done later.
func (d *debts) owe(key string, do func(context.Context) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.owed[key] = &debt{do}
}

// forget drops a debt: it has been paid by somebody else.
func (d *debts) forget(key string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.owed, key)
}

// cancel drops a debt that must not be paid any more, as what it is about is made again. If that is just being tried, it
// waits for the end, or for that of ctx: what is made must not be removed right away.
func (d *debts) cancel(ctx context.Context, key string) {
	for {
		d.mu.Lock()
		delete(d.owed, key)
		busy, paid := d.paying == key, d.paid
		d.mu.Unlock()
		if !busy {
			return
		}
		select {
		case <-paid:
		case <-ctx.Done():
			return
		}
	}
}

// settle tries all debts once, by pay. One goroutine at a time may call it.
func (d *debts) settle(pay func(do func(context.Context) error) error) {
	d.mu.Lock()
	keys := slices.Sorted(maps.Keys(d.owed))
	d.mu.Unlock()
	for _, key := range keys {
		d.mu.Lock()
		owed, paid := d.owed[key], make(chan struct{})
		if owed != nil {
			d.paying, d.paid = key, paid
		}
		d.mu.Unlock()
		if owed == nil {
			continue
		}
		err := pay(owed.do)
		d.mu.Lock()
		if d.paying = ""; err == nil && d.owed[key] == owed {
			delete(d.owed, key)
		}
		d.mu.Unlock()
		close(paid)
		if err == nil {
			d.log.Info("done at last", "what", key)
		}
	}
}
