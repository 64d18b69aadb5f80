//go:build integration

package ovsdb

import (
	"errors"
	"strings"
	"testing"
)

func TestPortsOfPluginsComeAndGoBesideThoseOfTheDaemon(t *testing.T) {
	s := newServer(t)
	f := s.follow()
	plugin := Port{Name: "tp1", Bridge: "br-int", Type: "internal", ExternalIDs: map[string]string{"iface-id": "lsp1", "mine": "yes"}}
	if err := f.AddPort(t.Context(), plugin); !errors.Is(err, ErrNoBridge) {
		t.Fatalf("without the bridge: %v", err)
	}
	f.Set(desired(geneve()))
	f.until("the daemon's port", hasInterface("tn-geneve", nil))
	if err := f.AddPort(t.Context(), plugin); err != nil {
		t.Fatal(err)
	}
	f.until("the port", hasInterface("tp1", func(i *Interface) bool {
		return i.Bridge == "br-int" && i.IfaceID == "lsp1" && i.Owner == "" && i.ExternalIDs["mine"] == "yes"
	}))
	if err := f.AddPort(t.Context(), plugin); !errors.Is(err, ErrPortExists) {
		t.Fatalf("the same once more: %v", err)
	}
	f.Set(desired()) // the daemon takes its own away
	f.until("the daemon's port gone", func(facts Facts) string {
		if facts.Interfaces["tn-geneve"] != nil {
			return "still there"
		}
		return ""
	})
	if err := f.DeletePort(t.Context(), "tp1", func(ids map[string]string) bool { return ids["mine"] == "no" }); err != nil {
		t.Fatal(err)
	}
	if got := s.vsctl("list-ports", "br-int"); !strings.Contains(got, "tp1") {
		t.Fatalf("a port of somebody else was deleted, or that of a plugin by the daemon: %q", got)
	}
	mine := func(ids map[string]string) bool { return ids["iface-id"] == "lsp1" }
	for range 2 {
		if err := f.DeletePort(t.Context(), "tp1", mine); err != nil {
			t.Fatal(err)
		}
		f.until("the port gone", func(facts Facts) string {
			if facts.Interfaces["tp1"] != nil {
				return "still there"
			}
			return ""
		})
	}
	if got := s.vsctl("list-ports", "br-int"); strings.Contains(got, "tp1") {
		t.Fatalf("ports: %q", got)
	}
}
