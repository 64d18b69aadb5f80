package controller

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tuplenet/model/store"
)

// fakeRegistry answers after some attempts that do not reach the store.
type fakeRegistry struct {
	away  atomic.Int32 // requests that fail before one succeeds
	live  map[string]store.Identity
	hold  error
	asked atomic.Int32
}

func (f *fakeRegistry) request() error {
	f.asked.Add(1)
	if f.away.Add(-1) >= 0 {
		return store.ErrUnreachable
	}
	return nil
}

func (f *fakeRegistry) Live(context.Context) (map[string]store.Identity, error) {
	return f.live, f.request()
}

func (f *fakeRegistry) HoldIdentity(context.Context, store.Identity) (*store.Lease, error) {
	if err := f.request(); err != nil {
		return nil, err
	}
	if f.hold != nil {
		return nil, f.hold
	}
	return &store.Lease{}, nil
}

// claim runs holdIdentity until it returns or is waiting, and tells what it did.
func claim(t *testing.T, f *fakeRegistry) (cleared, held bool, err error, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var c, h atomic.Bool
	done := make(chan error, 1)
	id := store.Identity{Chassis: "me", Hostname: "here", MachineID: "m1", BootID: "b2", Instance: "/db.sock"}
	go func() {
		done <- holdIdentity(ctx, f, id, slog.New(slog.DiscardHandler), func() { c.Store(true) }, func(*store.Lease) { h.Store(true) })
	}()
	time.Sleep(time.Minute) // of the bubble
	synctest.Wait()
	select {
	case err = <-done:
	default:
	}
	return c.Load(), h.Load(), err, cancel
}

func TestT04_ANameThatAnotherLiveHostHasIsRefusedByNameBeforeAnythingIsDone(t *testing.T) {
	for name, other := range map[string]store.Identity{
		"another machine":               {Chassis: "me", Hostname: "there", MachineID: "m2", BootID: "b2", Instance: "/db.sock"},
		"another switch of the machine": {Chassis: "me", Hostname: "there", MachineID: "m1", BootID: "b2", Instance: "/other.sock"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cleared, held, err, stop := claim(t, &fakeRegistry{live: map[string]store.Identity{"me": other}})
				defer stop()
				var taken *store.ErrHeld
				if cleared || held || !errors.As(err, &taken) || !strings.Contains(err.Error(), "there") {
					t.Errorf("cleared %v, held %v, error %v", cleared, held, err)
				}
			})
		})
	}
}

func TestAnEarlierBootOfTheSameMachineDoesNotKeepTheSwitchWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeRegistry{live: map[string]store.Identity{"me": {Chassis: "me", MachineID: "m1", BootID: "b1", Instance: "/db.sock"}}}
		cleared, held, err, stop := claim(t, f)
		defer stop()
		if !cleared || !held || err != nil {
			t.Errorf("cleared %v, held %v, error %v", cleared, held, err)
		}
	})
}

func TestWhileTheStoreIsAwayTheIdentityIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeRegistry{}
		f.away.Store(20)
		cleared, held, err, stop := claim(t, f)
		defer stop()
		if !cleared || !held || err != nil {
			t.Errorf("cleared %v, held %v, error %v", cleared, held, err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		f := &fakeRegistry{}
		f.away.Store(1 << 30)
		cleared, held, err, stop := claim(t, f)
		if cleared || held || err != nil {
			t.Errorf("cleared %v, held %v, error %v", cleared, held, err)
		}
		if n := f.asked.Load(); n > 200 {
			t.Errorf("asked %d times in a minute", n)
		}
		stop()
	})
}

func TestAStoreThatRefusesEndsTheDaemon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, held, err, stop := claim(t, &fakeRegistry{hold: store.ErrNewerSchema})
		defer stop()
		if held || !errors.Is(err, store.ErrNewerSchema) {
			t.Errorf("held %v, error %v", held, err)
		}
	})
}

func TestTheIdentityTellsMachineBootAndSwitchApart(t *testing.T) {
	id := identity("me", "run/db.sock")
	if id.Chassis != "me" || id.MachineID == "" || id.BootID == "" || !strings.HasPrefix(id.Instance, "/") || !strings.HasSuffix(id.Instance, "/run/db.sock") {
		t.Errorf("identity %+v", id)
	}
	dir := t.TempDir()
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "db.sock"), nil, 0o600), os.Symlink(dir, filepath.Join(dir, "link"))); err != nil {
		t.Fatal(err)
	}
	if one, other := identity("me", filepath.Join(dir, "db.sock")), identity("me", filepath.Join(dir, "link", "db.sock")); one != other {
		t.Errorf("two ways to one socket make %+v and %+v", one, other)
	}
}
