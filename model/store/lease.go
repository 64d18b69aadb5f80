package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/client/v3"

	"tuplenet/model"
)

// Identity tells a node from others that claim the same chassis name.
type Identity struct {
	Chassis  string `json:"chassis"`
	Hostname string `json:"hostname"`
	// MachineID (machine-id(5)) and BootID (/proc/sys/kernel/random/boot_id) of the host.
	MachineID string `json:"machineID"`
	BootID    string `json:"bootID"`
	// Instance tells apart several Open vSwitches on one machine.
	Instance string `json:"instance"`
}

// sameNode reports whether two identities are those of the same node in the same boot: then a restarted daemon takes
// over at once.
func (i Identity) sameNode(o Identity) bool { return i.sameMachine(o) && i.BootID == o.BootID }

// sameMachine reports whether they are those of the same node, perhaps before and after a boot, or of clones of it.
func (i Identity) sameMachine(o Identity) bool {
	return i.Chassis == o.Chassis && i.MachineID == o.MachineID && i.Instance == o.Instance
}

// Lease holds the identity of a chassis: as long as it lasts the chassis counts as alive. It renews itself, and takes
// the identity again after an outage of the store. It is safe for use by several goroutines.
type Lease struct {
	store  *Store
	id     Identity
	cancel context.CancelFunc
	done   chan struct{}

	// putting is held while something is written under the lease: a report that is under way when the identity is taken again would
	// stay under the old lease, and go with it, or be overwritten by the one before it.
	putting sync.Mutex

	mu     sync.Mutex
	lease  clientv3.LeaseID
	seen   clientv3.LeaseID // of the sign of life
	status string           // as last put; empty: none
	err    error
}

// Done is closed when the identity is lost for good: another host or another daemon holds it, or the lease was closed.
func (l *Lease) Done() <-chan struct{} { return l.done }

// Err says why Done is closed: ErrHeld, or nil after Close and at the end of the context.
func (l *Lease) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Close gives the identity up: the chassis does not count as alive any more, and its status goes.
func (l *Lease) Close(ctx context.Context) error {
	l.cancel()
	<-l.done
	return l.store.call(ctx, "give up chassis "+l.id.Chassis, func(ctx context.Context, c *clientv3.Client, _ bool) error {
		_, err := c.Revoke(ctx, l.current())
		if err != nil && strings.Contains(err.Error(), "lease not found") {
			return nil
		}
		return err
	})
}

func (l *Lease) current() clientv3.LeaseID {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lease
}

// expiring is how much later than its time a lease may end: etcd looks for those that are over every half second, and a busy one
// takes its time to remove them.
const expiring = 5 * time.Second

// HoldIdentity makes the chassis count as alive until ctx ends or the lease is closed, and keeps other hosts from using
// its name. A daemon that was restarted on the same node takes over at once. After a reboot of the node it waits until
// the previous boot's lease has expired. Errors: ErrHeld when another host is alive under this name.
func (s *Store) HoldIdentity(ctx context.Context, id Identity) (*Lease, error) {
	if err := model.ValidateName(id.Chassis); err != nil {
		return nil, refuse(ErrInvalid, "chassis: %s", err)
	}
	run, cancel := context.WithCancel(ctx)
	l := &Lease{store: s, id: id, cancel: cancel, done: make(chan struct{})}
	if err := l.acquire(ctx, time.Now().Add(s.cfg.LeaseTTL+expiring)); err != nil {
		cancel()
		return nil, err
	}
	go l.keep(run)
	return l, nil
}

// acquire takes the identity. While an earlier boot of the same machine seems to hold it, it waits until the deadline.
func (l *Lease) acquire(ctx context.Context, deadline time.Time) error {
	s := l.store
	value, err := json.Marshal(l.id)
	if err != nil {
		return fmt.Errorf("write the identity as JSON: %w", err)
	}
	key := s.keys.live(l.id.Chassis)
	for {
		now, err := s.holder(ctx, key)
		if err != nil {
			return err
		}
		if now.rev != 0 && !now.id.sameNode(l.id) {
			if !now.id.sameMachine(l.id) || !time.Now().Before(deadline) {
				return &ErrHeld{By: now.id}
			}
			if err := s.untilChanged(ctx, key, now.at, deadline); err != nil {
				return err
			}
			continue
		}
		lease, err := s.grant(ctx, s.cfg.LeaseTTL)
		if err != nil {
			return err
		}
		seen, err := l.seenLease(ctx)
		if err != nil {
			return err
		}
		l.mu.Lock()
		l.seen = seen
		l.mu.Unlock()
		if err = l.take(ctx, unchanged(key, now.rev), key, string(value), lease); !errors.Is(err, errRaced) {
			return err
		}
	}
}

// take writes the identity, with the status that was put last, under a lease, which is that of the chassis from then on.
func (l *Lease) take(ctx context.Context, still guard, key, value string, lease clientv3.LeaseID) error {
	l.putting.Lock()
	defer l.putting.Unlock()
	_, _, err := l.store.commit(ctx, change{what: "hold chassis " + l.id.Chassis, guards: []guard{still}, ops: l.writes(key, value, lease)})
	if err == nil {
		l.mu.Lock()
		l.lease = lease
		l.mu.Unlock()
	}
	return err
}

// grant makes a lease.
func (s *Store) grant(ctx context.Context, ttl time.Duration) (lease clientv3.LeaseID, err error) {
	err = s.call(ctx, "get a lease", func(ctx context.Context, c *clientv3.Client, _ bool) error {
		resp, err := c.Grant(ctx, int64((ttl+time.Second-1)/time.Second))
		if err == nil {
			lease = resp.ID
		}
		return err
	})
	return lease, err
}

// writes are the identity and the status that was put last, under a lease.
func (l *Lease) writes(key, value string, lease clientv3.LeaseID) []clientv3.Op {
	l.mu.Lock()
	defer l.mu.Unlock()
	ops := []clientv3.Op{clientv3.OpPut(key, value, clientv3.WithLease(lease)),
		clientv3.OpPut(l.store.keys.seen(l.id.Chassis), "", clientv3.WithLease(l.seen))}
	if l.status != "" {
		ops = append(ops, clientv3.OpPut(l.store.keys.status(l.id.Chassis), l.status, clientv3.WithLease(lease)))
	}
	return ops
}

// holding is what is at the key of a chassis.
type holding struct {
	id    Identity
	rev   int64 // of the key; 0: nobody holds the chassis
	lease clientv3.LeaseID
	at    int64 // the revision at which this was read
}

// holder reads who holds a chassis.
func (s *Store) holder(ctx context.Context, key string) (h holding, err error) {
	err = s.call(ctx, "read who holds the chassis", func(ctx context.Context, c *clientv3.Client, _ bool) error {
		resp, err := c.Get(ctx, key)
		if err != nil {
			return err
		}
		h = holding{at: resp.Header.Revision}
		if len(resp.Kvs) > 0 {
			kv := resp.Kvs[0]
			h.id, h.rev, h.lease = parseIdentity(key, kv.Value), kv.ModRevision, clientv3.LeaseID(kv.Lease)
		}
		return nil
	})
	return h, err
}

// parseIdentity reads what is at a key of live/; of a broken value only the chassis is known.
func parseIdentity(key string, value []byte) Identity {
	var id Identity
	if json.Unmarshal(value, &id) != nil {
		id = Identity{}
	}
	id.Chassis = key[strings.LastIndexByte(key, '/')+1:]
	return id
}

// untilChanged returns when the key changed after the revision, or at the deadline.
func (s *Store) untilChanged(ctx context.Context, key string, rev int64, deadline time.Time) error {
	c, err := s.etcd()
	if err != nil {
		return err
	}
	wait, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	<-c.Watch(wait, key, clientv3.WithRev(rev+1))
	return context.Cause(ctx)
}

// keep renews the lease until ctx ends or the identity is lost.
func (l *Lease) keep(ctx context.Context) {
	defer close(l.done)
	var sign sync.WaitGroup
	defer sign.Wait()
	defer l.cancel()
	sign.Go(func() { l.beSeen(ctx) })
	for {
		err := l.hold(ctx)
		for pause := retryMin; errors.Is(err, errLeaseGone); pause = min(2*pause, retryMax) {
			l.store.log.Warn("the lease of this chassis expired, taking it again", "chassis", l.id.Chassis)
			if err = l.acquire(ctx, time.Now()); err == nil {
				break
			}
			var held *ErrHeld
			if !errors.As(err, &held) && ctx.Err() == nil {
				err = errLeaseGone // the store is away
				select {
				case <-ctx.Done():
				case <-time.After(pause):
				}
			}
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			l.mu.Lock()
			l.err = err
			l.mu.Unlock()
			return
		}
	}
}

// errLeaseGone says that the lease has expired or its key was removed.
var errLeaseGone = errors.New("the lease is gone")

// hold renews the lease and watches that the key stays under it. It returns errLeaseGone, ErrHeld or at the end of ctx.
func (l *Lease) hold(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c, err := l.store.etcd()
	if err != nil {
		return errLeaseGone
	}
	mine := l.current()
	alive, err := c.KeepAlive(ctx, mine)
	if err != nil {
		return errLeaseGone
	}
	key := l.store.keys.live(l.id.Chassis)
	for {
		now, err := l.store.holder(ctx, key)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			select { // the store is away; the lease may outlive that
			case _, ok := <-alive:
				if !ok {
					return errLeaseGone
				}
			case <-time.After(retryMax):
			}
			continue
		}
		switch {
		case now.rev == 0:
			return errLeaseGone
		case now.lease != mine:
			return &ErrHeld{By: now.id}
		}
		if again, err := l.guard(ctx, c, now.at, mine, alive); !again {
			return err
		}
	}
}

// guard watches the key after a revision until its state is in doubt (again) or clear.
func (l *Lease) guard(ctx context.Context, c *clientv3.Client, rev int64, mine clientv3.LeaseID, alive <-chan *clientv3.LeaseKeepAliveResponse) (again bool, err error) {
	watched, stop := context.WithCancel(ctx)
	defer stop()
	key := l.store.keys.live(l.id.Chassis)
	events := c.Watch(clientv3.WithRequireLeader(watched), key, clientv3.WithRev(rev+1))
	for {
		select {
		case <-ctx.Done():
			return false, nil
		case _, ok := <-alive:
			if !ok {
				return false, errLeaseGone
			}
		case resp, ok := <-events:
			if !ok || resp.Err() != nil {
				select {
				case <-ctx.Done():
				case <-time.After(retryMax):
				}
				return true, nil
			}
			for _, e := range resp.Events {
				if e.Type == mvccpb.DELETE {
					return false, errLeaseGone
				}
				if clientv3.LeaseID(e.Kv.Lease) != mine {
					return false, &ErrHeld{By: parseIdentity(key, e.Kv.Value)}
				}
			}
		}
	}
}

// PutStatus publishes the status of the chassis; it goes when the lease does. Reported is set to now if it is 0.
func (s *Store) PutStatus(ctx context.Context, l *Lease, st *model.Status) error {
	report := *st
	report.Chassis = l.id.Chassis
	if report.Reported == 0 {
		report.Reported = time.Now().UnixMilli()
	}
	b, err := json.Marshal(report)
	if err != nil {
		return fmt.Errorf("write the status as JSON: %w", err)
	}
	l.putting.Lock()
	defer l.putting.Unlock()
	l.mu.Lock()
	l.status = string(b)
	lease := l.lease
	l.mu.Unlock()
	_, _, err = s.commit(ctx, change{what: "report the status of chassis " + l.id.Chassis,
		ops: []clientv3.Op{clientv3.OpPut(s.keys.status(l.id.Chassis), string(b), clientv3.WithLease(lease))}})
	return err
}

// Live are the chassis whose daemons are alive.
func (s *Store) Live(ctx context.Context) (map[string]Identity, error) {
	_, kvs, err := s.list(ctx, []keyRange{prefixRange(s.keys.live(""))})
	out := make(map[string]Identity, len(kvs))
	for _, kv := range kvs {
		id := parseIdentity(string(kv.Key), kv.Value)
		out[id.Chassis] = id
	}
	return out, err
}

// Status is what the live chassis have reported. A report that cannot be read has that as its only problem.
func (s *Store) Status(ctx context.Context) (map[string]*model.Status, error) {
	_, kvs, err := s.list(ctx, []keyRange{prefixRange(s.keys.status(""))})
	out := make(map[string]*model.Status, len(kvs))
	for _, kv := range kvs {
		name := strings.TrimPrefix(string(kv.Key), s.keys.status(""))
		st, err := model.DecodeStatus(kv.Value)
		if err != nil {
			st = &model.Status{Chassis: name, Problems: []model.Problem{{Key: "status/" + name, Reason: err.Error()}}}
		}
		out[name] = st
	}
	return out, err
}
