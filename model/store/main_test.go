package store

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/client/v3"

	"tuplenet/model"
)

// server is the etcd that the tests of this package share; each test has a prefix of its own.
var server *Embedded

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "tn-store")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if server, err = (EmbeddedConfig{Dir: dir, Listen: "http://127.0.0.1:0", UnsafeNoSync: true}).Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer server.Close()
	return m.Run()
}

var prefixes atomic.Int64

// ownAddress is an address of the loopback device that only this process uses: no connection comes from it by itself, and no other
// process is given a port of it, so a port that was free stays free, and one that was given up can be had again.
func ownAddress() string {
	pid := os.Getpid()
	return fmt.Sprintf("127.%d.%d.%d", 64+pid>>14&63, pid>>7&127, 1+pid&127)
}

// newStore is a store with an empty deployment of its own.
func newStore(t *testing.T) *Store {
	return openAt(t, Config{Prefix: fmt.Sprintf("/t%d", prefixes.Add(1))})
}

func openAt(t *testing.T, cfg Config) *Store {
	t.Helper()
	if cfg.Endpoints == nil {
		cfg.Endpoints = server.Endpoints()
	}
	if cfg.DialTimeout == 0 { // on a busy machine, with hundreds of requests at once
		cfg.DialTimeout = time.Minute
	}
	if cfg.LeaseTTL == 0 {
		cfg.LeaseTTL = time.Minute
	}
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// another client of the same deployment.
func (s *Store) another(t *testing.T) *Store {
	return openAt(t, Config{Prefix: s.cfg.Prefix, LeaseTTL: s.cfg.LeaseTTL})
}

func raw(t *testing.T, s *Store) *clientv3.Client {
	t.Helper()
	c, err := s.etcd()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// put writes a key by hand, below <prefix>/v1/.
func put(t *testing.T, s *Store, key, value string) int64 {
	t.Helper()
	resp, err := raw(t, s).Put(t.Context(), s.keys.root+key, value)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Header.Revision
}

// keysOf are all keys of the deployment below <prefix>/v1/, without meta.
func keysOf(t *testing.T, s *Store) []string {
	t.Helper()
	resp, err := raw(t, s).Get(t.Context(), s.keys.root, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, kv := range resp.Kvs {
		if k := strings.TrimPrefix(string(kv.Key), s.keys.root); k != "meta" {
			out = append(out, k)
		}
	}
	return out
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func mustSwitch(t *testing.T, s *Store, name string) *model.LogicalSwitch {
	t.Helper()
	made, _, err := s.AddSwitch(t.Context(), &model.LogicalSwitch{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// mustPort makes a port of a switch that exists.
func mustPort(t *testing.T, s *Store, ls, name string) {
	t.Helper()
	if _, _, err := s.AddSwitchPort(t.Context(), &model.LogicalSwitchPort{Switch: ls, Name: name}); err != nil {
		t.Fatal(err)
	}
}

func mustRouter(t *testing.T, s *Store, name string) *model.LogicalRouter {
	t.Helper()
	made, _, err := s.AddRouter(t.Context(), &model.LogicalRouter{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return made
}
