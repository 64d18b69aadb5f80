//go:build integration

package store

import (
	"net"
	"slices"
	"testing"
)

// A server that was given its port is found by it.
func TestMembersSayTheirPorts(t *testing.T) {
	l, err := net.Listen("tcp", net.JoinHostPort(ownAddress(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	server, err := EmbeddedConfig{Dir: t.TempDir(), Listen: "http://" + at, UnsafeNoSync: true}.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	if found, err := openAt(t, Config{Endpoints: []string{at}}).Members(t.Context()); err != nil || !slices.Equal(found, []string{at}) {
		t.Errorf("members %v, %v, want %s", found, err, at)
	}
}
