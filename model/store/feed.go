package store

import (
	"errors"
	"sync/atomic"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// Feed says how following the store goes.
type Feed struct {
	// Connected: the store answered when it was asked last. Without a connection it takes up to some seconds to be noticed.
	Connected bool
	// Compacted counts how often the history was gone and all was read again, Interrupted the other interruptions.
	Compacted, Interrupted uint64
}

// Feed returns the numbers of Follow. Safe for concurrent use.
func (s *Store) Feed() Feed {
	return Feed{s.feed.connected.Load(), s.feed.compacted.Load(), s.feed.disconnected.Load()}
}

// feed is what Follow counts.
type feed struct {
	connected               atomic.Bool
	compacted, disconnected atomic.Uint64
}

// interrupted notes why a follower stopped.
func (f *feed) interrupted(err error) {
	if errors.Is(err, rpctypes.ErrCompacted) {
		f.compacted.Add(1)
		return
	}
	f.connected.Store(false)
	f.disconnected.Add(1)
}
