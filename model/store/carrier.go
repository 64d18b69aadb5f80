package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"go.etcd.io/etcd/client/v3"
)

// carrier sends changes that are made at the same time in one transaction, each as a transaction of its own within that one: it holds or
// does not, whatever becomes of the others. etcd logs, syncs and announces them once, which is most of what a small transaction costs.
//
// Nobody waits for company: a change is sent at once if nothing is under way, and what comes meanwhile goes together when that has come
// back. What needs something that an earlier one makes goes behind it, so nobody has to wait for that. Changes that are made at the same
// time must not write the same keys; those that do are sent one by one. Safe for use by several goroutines.
type carrier struct {
	store *Store

	mu      sync.Mutex
	waiting []*rider
	sending bool // a goroutine does
}

const (
	// maxRiders is how many changes go together; each is an operation of the outer transaction, and etcd adds that to those of the inner one.
	maxRiders = 24
	// maxCarried bounds their size, bytes of keys and values that are written; etcd refuses requests of 1.5 MB.
	maxCarried = 512 << 10
)

// rider is a change that waits to be sent, and what became of it.
type rider struct {
	ctx    context.Context
	change change
	size   int

	done chan struct{} // closed: what follows is set
	rev  int64
	err  error
}

// send sends a change that makes no choices, behind those that were sent before.
func (c *carrier) send(ctx context.Context, ch change) *rider {
	r := &rider{ctx: ctx, change: ch, size: sizeOf(ch.ops), done: make(chan struct{})}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = append(c.waiting, r)
	if !c.sending {
		c.sending = true
		go c.run()
	}
	return r
}

// wait waits until the change is carried out. Errors: as of Store.commit.
func (r *rider) wait() (int64, error) {
	<-r.done
	return r.rev, r.err
}

func sizeOf(ops []clientv3.Op) (n int) {
	for _, o := range ops {
		n += len(o.KeyBytes()) + len(o.ValueBytes())
	}
	return n
}

// run sends what waits until nothing does.
func (c *carrier) run() {
	for {
		riders := c.next()
		switch len(riders) {
		case 0:
			return
		case 1: // or one with the request of a waiter
			r := riders[0]
			r.rev, _, r.err = c.store.commit(r.ctx, r.change)
		default:
			c.carry(riders)
		}
		for _, r := range riders {
			close(r.done)
		}
	}
}

// next takes what goes together; nothing: nothing waits, and whoever asked is not expected to send any more.
func (c *carrier) next() []*rider {
	c.mu.Lock()
	defer c.mu.Unlock()
	var riders, left []*rider
	size, made := 0, map[string]bool{} // by those before
	for _, r := range c.waiting {
		fits := len(riders) == 0 || len(riders) < maxRiders && size+r.size <= maxCarried && r.change.options.waiter == "" && riders[0].change.options.waiter == ""
		if fits && !slices.ContainsFunc(r.change.guards, func(g guard) bool { return made[g.key] }) {
			riders, size = append(riders, r), size+r.size
		} else {
			left = append(left, r)
		}
		for _, key := range r.change.makes {
			made[key] = true
		}
	}
	c.waiting, c.sending = left, len(riders) > 0
	return riders
}

// carry sends several changes in one transaction. What was not carried out is tried by itself, which finds out why.
func (c *carrier) carry(riders []*rider) {
	s, ctx := c.store, riders[0].ctx
	lost, err := false, errors.New("the schema version is to be written first")
	var resp *clientv3.TxnResponse
	if meta, e := s.currentMeta(ctx, false); e == nil {
		if cmp, writes, e := meta.guard(s.keys.meta()); e == nil && len(writes) == 0 {
			ops := make([]clientv3.Op, len(riders))
			for i, r := range riders {
				ops[i] = clientv3.OpTxn(runs(r.change.guards), r.change.ops, nil)
			}
			err = s.call(ctx, fmt.Sprintf("%s and %d more changes", riders[0].change.what, len(riders)-1), func(ctx context.Context, c *clientv3.Client, again bool) (err error) {
				lost = again
				resp, err = c.Txn(ctx).If(cmp).Then(ops...).Commit()
				return err
			})
		}
	}
	for i, r := range riders {
		switch {
		case err == nil && resp.Succeeded && resp.Responses[i].GetResponseTxn().GetSucceeded():
			r.rev = resp.Header.Revision
		case errors.Is(err, ErrUnreachable), errors.Is(err, ErrDenied):
			r.err = err
		default:
			r.change.hopeful, r.change.lost = false, lost
			r.rev, _, r.err = s.commit(r.ctx, r.change)
		}
	}
}
