package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/v3"

	"tuplenet/model"
)

// EventType is what happened to an object.
type EventType string

// Types of events.
const (
	EventCreate EventType = "create"
	EventUpdate EventType = "update"
	EventDelete EventType = "delete"
)

// Event is one change of one object, as etcd tells it.
type Event struct {
	Type EventType
	Ref  model.Ref
	// CreateRevision is when the object came into being, ModRevision when this happened; a deleted object has the one it had.
	CreateRevision, ModRevision int64
	// Version counts the changes of the object since it came into being; 0 if it was deleted.
	Version int64
	// Value is the object as JSON; of a deleted one, what it was, unless that is compacted.
	Value []byte
}

// eventsPause is how long it is waited before a broken watch is made again.
const eventsPause = time.Second

// Events hands over the changes of objects whose name (model.Ref.String) begins with prefix, from a revision on, 0: from now.
// What belongs to one revision comes in one call. A kind, such as "switch", is all objects of that kind; "" is all intent.
// started, if not nil, is told the revision before the first one that is watched. It ends when the context does, or with each's error.
// Errors: ErrNotFound if the revision is compacted.
func (s *Store) Events(ctx context.Context, prefix string, from int64, started func(rev int64), each func([]Event) error) error {
	now, err := s.Revision(ctx)
	if err != nil {
		return err
	}
	if from == 0 {
		from = now + 1
	}
	if started != nil {
		started(from - 1)
	}
	for {
		err := s.events(ctx, s.keys.named(prefix), &from, each)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil && !isUnreachable(err) && !errors.Is(err, rpctypes.ErrNoLeader):
			return err
		}
		select {
		case <-time.After(eventsPause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// named is what the keys of the objects begin with whose names begin with a text.
func (l layout) named(prefix string) string {
	kind, rest, _ := strings.Cut(prefix, "/")
	for _, k := range model.Kinds() {
		if string(k) == kind {
			return l.folder(k) + rest
		}
	}
	return l.spec() + prefix
}

// events watches once; next is the revision to begin with, and with which to go on.
func (s *Store) events(ctx context.Context, folder string, next *int64, each func([]Event) error) error {
	c, err := s.etcd()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watch := c.Watch(clientv3.WithRequireLeader(ctx), folder, clientv3.WithPrefix(), clientv3.WithRev(*next), clientv3.WithPrevKV())
	for resp := range watch {
		if resp.CompactRevision > 0 {
			return refuse(ErrNotFound, "revision %d is compacted, the oldest is %d: look at what is there (tpctl export), and watch from its revision on", *next, resp.CompactRevision)
		}
		if err := resp.Err(); err != nil {
			return err
		}
		for rest := resp.Events; len(rest) > 0; {
			rev, n := rest[0].Kv.ModRevision, 1
			for n < len(rest) && rest[n].Kv.ModRevision == rev {
				n++
			}
			var out []Event
			for _, e := range rest[:n] {
				out = append(out, s.event(e))
			}
			if err := each(out); err != nil {
				return err
			}
			*next, rest = rev+1, rest[n:]
		}
	}
	return fmt.Errorf("watch the store: %w", rpctypes.ErrNoLeader)
}

func (s *Store) event(e *clientv3.Event) Event {
	ref, _ := s.keys.ref(string(e.Kv.Key)) // of what is no object, something to show
	out := Event{Type: EventUpdate, Ref: ref, CreateRevision: e.Kv.CreateRevision, ModRevision: e.Kv.ModRevision, Version: e.Kv.Version, Value: e.Kv.Value}
	switch {
	case e.Type == clientv3.EventTypeDelete:
		out.Type, out.Version = EventDelete, 0
		if e.PrevKv != nil {
			out.CreateRevision, out.Value = e.PrevKv.CreateRevision, e.PrevKv.Value
		}
	case e.IsCreate():
		out.Type = EventCreate
	}
	return out
}
