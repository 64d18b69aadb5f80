package store

import (
	"context"
	"errors"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/v3"
)

// seenTTL is for how long it is known when a chassis was last alive.
const seenTTL = 30 * 24 * time.Hour

// LastSeen tells how long ago a chassis gave a sign of life, to within half the TTL of its lease; 0: it is not known. A
// change of etcd's leader counts as one, since leases begin anew then.
func (s *Store) LastSeen(ctx context.Context, chassis string) (age time.Duration, err error) {
	err = s.call(ctx, "ask when chassis "+chassis+" was alive", func(ctx context.Context, c *clientv3.Client, _ bool) error {
		resp, err := c.Get(ctx, s.keys.seen(chassis))
		if err != nil || len(resp.Kvs) == 0 || resp.Kvs[0].Lease == 0 {
			return err
		}
		lease, err := c.TimeToLive(ctx, clientv3.LeaseID(resp.Kvs[0].Lease))
		if err == nil && lease.TTL > 0 {
			age = time.Duration(max(1, lease.GrantedTTL-lease.TTL)) * time.Second
		}
		return err
	})
	return age, err
}

// seenLease is the lease of the sign of life of a chassis: that of an earlier run goes on.
func (l *Lease) seenLease(ctx context.Context) (lease clientv3.LeaseID, err error) {
	err = l.store.call(ctx, "leave a sign of life", func(ctx context.Context, c *clientv3.Client, _ bool) error {
		resp, err := c.Get(ctx, l.store.keys.seen(l.id.Chassis))
		if err != nil || len(resp.Kvs) == 0 || resp.Kvs[0].Lease == 0 {
			return err
		}
		lease = clientv3.LeaseID(resp.Kvs[0].Lease)
		if _, err = c.KeepAliveOnce(ctx, lease); errors.Is(err, rpctypes.ErrLeaseNotFound) {
			lease, err = 0, nil
		}
		return err
	})
	if err != nil || lease != 0 {
		return lease, err
	}
	return l.store.grant(ctx, seenTTL)
}

// beSeen gives signs of life until ctx ends. Renewing a lease writes nothing, and etcd knows how long ago it was; the key, which
// is put together with the identity, outlives the daemon.
func (l *Lease) beSeen(ctx context.Context) {
	tick := time.NewTicker(l.store.cfg.LeaseTTL / 2)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		l.mu.Lock()
		lease := l.seen
		l.mu.Unlock()
		if c, err := l.store.etcd(); err == nil {
			once, cancel := context.WithTimeout(ctx, l.store.cfg.LeaseTTL)
			_, _ = c.KeepAliveOnce(once, lease) // the next one will do
			cancel()
		}
	}
}
