package controller

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"tuplenet/datapath/ovsdb"
	"tuplenet/flows/compile"
)

// A device that is not there yet is no reason to send packets into nothing, and is tried again: the failure stays known until it is over.
func TestWithoutItsDeviceAHostTakesNoPacketsOfUntunnelMode(t *testing.T) {
	var log bytes.Buffer
	u := newUntunnel(Config{Untunnel: true, RunDir: t.TempDir()}, slog.New(slog.NewTextHandler(&log, nil)))
	port := ovsdb.Facts{Interfaces: map[string]*ovsdb.Interface{untunnelName: {OFPort: 7, MAC: "02:00:00:00:00:07"}}}
	for range 2 {
		var n compile.Node
		u.prepare(port, &n)
		if n.HostPort != 0 || u.failed == "" {
			t.Fatalf("the compiler is told of port %d; failed is %q", n.HostPort, u.failed)
		}
	}
	if !u.do("do something", func() error { return nil }) || u.failed != "" {
		t.Errorf("after something worked failed is %q", u.failed)
	}
	u.prepare(port, &compile.Node{})
	if n := strings.Count(log.String(), "cannot prepare the host"); n != 2 {
		t.Errorf("said %d times, want once for each time that it began to fail:\n%s", n, log.String())
	}
}
