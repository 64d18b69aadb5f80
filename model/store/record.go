package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/v3"

	"tuplenet/model"
)

// Recording notes which objects are written or removed after a revision. It is for one goroutine.
type Recording struct {
	store  *Store
	since  int64
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	watch  clientv3.WatchChan // nil: the store could not be reached
	keys   map[string]bool
}

// Record begins a recording of what comes after a revision. etcd hands out new events at once, but looks only ten times a second for those who
// ask for past ones: a recording that is begun before something is written has it sooner than one that is begun afterwards.
func (s *Store) Record(ctx context.Context, since int64) *Recording {
	r := &Recording{store: s, since: since, keys: map[string]bool{}}
	r.ctx, r.cancel = context.WithCancel(s.ownStream(clientv3.WithRequireLeader(ctx)))
	r.begin()
	return r
}

func (r *Recording) begin() {
	r.watch = nil
	clear(r.keys)
	if c, err := r.store.etcd(); err == nil {
		r.watch = c.Watch(r.ctx, r.store.keys.root, clientv3.WithPrefix(), clientv3.WithRev(r.since+1))
	}
}

// Close ends the recording.
func (r *Recording) Close() { r.cancel() }

// Until is Between from where the recording began.
func (r *Recording) Until(ctx context.Context, to int64) (d Difference, ok bool, err error) {
	refs, err := r.until(ctx, to)
	if errors.Is(err, rpctypes.ErrCompacted) {
		return Difference{}, false, nil
	}
	if err != nil {
		return Difference{}, false, err
	}
	return r.store.Around(ctx, r.since, to, refs)
}

// silence is how long a watch may bring nothing before it is asked how far it is. It is never asked if something of the deployment
// was written at the last revision.
const silence = 50 * time.Millisecond

// until are the objects that were written or removed up to a revision.
func (r *Recording) until(ctx context.Context, to int64) (refs []model.Ref, err error) {
	if to <= r.since {
		return nil, nil
	}
	what := fmt.Sprintf("read what was written between revisions %d and %d", r.since, to)
	err = r.store.call(ctx, what, func(ctx context.Context, c *clientv3.Client, again bool) error {
		if again || r.watch == nil {
			r.begin()
		}
		for {
			select {
			case resp, ok := <-r.watch:
				if err := resp.Err(); err != nil {
					return err
				}
				if !ok {
					return errors.New("the watch ended")
				}
				if r.gather(resp, to) {
					return nil
				}
			case <-time.After(silence):
				if err := c.RequestProgress(r.ctx); err != nil {
					return err
				}
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	for key := range r.keys {
		ref, _ := r.store.keys.ref(key) // one that is no ref is good for showing
		refs = append(refs, ref)
	}
	return refs, err
}

// gather notes the keys of objects that a watch brought, up to a revision; complete tells that it is reached.
func (r *Recording) gather(resp clientv3.WatchResponse, to int64) (complete bool) {
	if resp.IsProgressNotify() {
		return resp.Header.Revision >= to
	}
	for _, e := range resp.Events {
		if e.Kv.ModRevision > to {
			return true
		}
		complete = e.Kv.ModRevision == to // all of a revision comes in one response
		if key := string(e.Kv.Key); r.store.keys.isObject(key) {
			r.keys[key] = true
		}
	}
	return complete || len(r.keys) > fewKeys // then everything is read, whatever else differs
}
