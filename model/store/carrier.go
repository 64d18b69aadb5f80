package store

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"go.etcd.io/etcd/client/v3"
)

// carrier sends changes that are made at the same time in one transaction, each as a transaction of its own within that one: it holds or
// does not, whatever becomes of the others. etcd logs, syncs and announces them once, which is most of what a small transaction costs.
//
// Nobody waits for company: a change is sent at once while fewer than carriers requests are under way, and what comes meanwhile goes
// together with the next one. Changes that are made at the same time must not write the same keys; those that do are sent one by one.
// Safe for use by several goroutines.
type carrier struct {
	store *Store

	mu      sync.Mutex
	waiting []*rider
	sending int // goroutines that send
}

const (
	carriers = 2
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

	sent chan struct{} // closed: what follows is set
	rev  int64
	err  error
	// alone: it has to be tried by itself. lost: and may have been carried out.
	alone, lost bool
}

// commit carries out a change that makes no choices. What was sent is seen through, even if ctx ends. Errors: as of Store.commit.
func (c *carrier) commit(ctx context.Context, ch change) (int64, error) {
	if ch.options.waiter == "" {
		r := &rider{ctx: context.WithoutCancel(ctx), change: ch, size: sizeOf(ch.ops), sent: make(chan struct{})}
		c.mu.Lock()
		c.waiting = append(c.waiting, r)
		if c.sending < carriers {
			c.sending++
			go c.send()
		}
		c.mu.Unlock()
		if <-r.sent; !r.alone {
			return r.rev, r.err
		}
		ch.hopeful, ch.lost = false, r.lost // it failed once
	}
	rev, _, err := c.store.commit(ctx, ch)
	return rev, err
}

func sizeOf(ops []clientv3.Op) (n int) {
	for _, o := range ops {
		n += len(o.KeyBytes()) + len(o.ValueBytes())
	}
	return n
}

// send sends what waits until nothing does.
func (c *carrier) send() {
	for {
		riders := c.next()
		switch len(riders) {
		case 0:
			return
		case 1:
			r := riders[0]
			r.rev, _, r.err = c.store.commit(r.ctx, r.change)
		default:
			c.carry(riders)
		}
		for _, r := range riders {
			close(r.sent)
		}
	}
}

// next takes what goes together; nothing: nothing waits, and whoever asked is not expected to send any more.
func (c *carrier) next() []*rider {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, size := 0, 0
	for n < min(len(c.waiting), maxRiders) && (n == 0 || size+c.waiting[n].size <= maxCarried) {
		size += c.waiting[n].size
		n++
	}
	if n == 0 {
		c.sending--
		return nil
	}
	riders := c.waiting[:n:n]
	c.waiting = c.waiting[n:]
	return riders
}

// carry sends several changes in one transaction. Whatever keeps one from being carried out, it is for the change alone to find out what.
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
			r.alone, r.lost = true, lost
		}
	}
}
