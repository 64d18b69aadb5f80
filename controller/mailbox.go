package controller

import (
	"maps"
	"slices"
	"sync"
	"time"

	"tuplenet/model"
	"tuplenet/model/store"
)

// mailbox holds what the store delivered and the loop has not read yet, keyed by object: a newer value replaces an
// unread one, so a slow node coalesces instead of queueing. Safe for use from two goroutines.
type mailbox struct {
	mu      sync.Mutex
	reset   bool
	whole   []store.Change // the complete state as delivered, without what changed since
	changes map[model.Ref]store.Change
	waiters map[string]store.Waiter // by id
	gone    map[string]bool
	rev     int64
	since   time.Time     // when the oldest of it was delivered
	ready   chan struct{} // capacity 1
}

func newMailbox() *mailbox {
	return &mailbox{changes: map[model.Ref]store.Change{}, waiters: map[string]store.Waiter{}, gone: map[string]bool{}, ready: make(chan struct{}, 1)}
}

// deliver adds an update. One that only says that waiters are gone is read together with the next one: nothing follows from it, and it comes
// with the request of the next waiter where somebody waits again and again, before the change that that one waits for.
func (m *mailbox) deliver(u store.Update) {
	m.mu.Lock()
	defer m.mu.Unlock()
	urgent := u.Reset || u.Revision > m.rev || len(u.Changes) > 0 || len(u.Waiters) > 0
	if m.since.IsZero() && urgent {
		m.since = time.Now()
	}
	if u.Reset {
		m.reset = true
		m.changes, m.waiters, m.gone = map[model.Ref]store.Change{}, map[string]store.Waiter{}, map[string]bool{}
		m.rev = u.Revision
		m.whole, u.Changes = u.Changes, nil // each object is in it once
	}
	m.rev = max(m.rev, u.Revision)
	for _, c := range u.Changes {
		m.changes[c.Ref] = c
	}
	for _, id := range u.Gone {
		delete(m.waiters, id)
		m.gone[id] = true
	}
	for _, w := range u.Waiters {
		m.waiters[w.ID] = w
	}
	if !urgent {
		return
	}
	select {
	case m.ready <- struct{}{}:
	default:
	}
}

// take empties the mailbox; since is when the oldest of it was delivered. What is gone comes before what is new: a waiter in both has come again.
func (m *mailbox) take() (u store.Update, since time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	u = store.Update{Revision: m.rev, Reset: m.reset, Gone: slices.Sorted(maps.Keys(m.gone)), Changes: m.whole}
	if len(m.whole) > 0 && len(m.changes) > 0 {
		u.Changes = slices.DeleteFunc(m.whole, func(c store.Change) bool { _, newer := m.changes[c.Ref]; return newer })
	}
	u.Changes = slices.Grow(u.Changes, len(m.changes))
	for _, c := range m.changes {
		u.Changes = append(u.Changes, c)
	}
	for _, id := range slices.Sorted(maps.Keys(m.waiters)) {
		u.Waiters = append(u.Waiters, m.waiters[id])
	}
	// New maps: clearing one costs for ever what its largest content cost.
	m.reset, m.whole, m.changes, m.waiters, m.gone = false, nil, map[model.Ref]store.Change{}, map[string]store.Waiter{}, map[string]bool{}
	since, m.since = m.since, time.Time{}
	return u, since
}

// latest hands the newest value of something from one goroutine to another.
type latest[T any] struct {
	mu    sync.Mutex
	value T
	ready chan struct{} // capacity 1
}

func newLatest[T any]() *latest[T] { return &latest[T]{ready: make(chan struct{}, 1)} }

func (l *latest[T]) set(v T) {
	l.mu.Lock()
	l.value = v
	l.mu.Unlock()
	select {
	case l.ready <- struct{}{}:
	default:
	}
}

func (l *latest[T]) get() T {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.value
}
