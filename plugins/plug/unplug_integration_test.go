//go:build integration

package plug

import (
	"testing"

	"tuplenet/datapath/ovsdb"
	"tuplenet/datapath/ovstest"
)

// Whoever plugs a port anew unplugs it first: what the database says has to have come here by then.
func TestAnUnpluggedPortIsNotFoundAnyMore(t *testing.T) {
	s := ovstest.Start(t, ovstest.Config{Bridge: "br-int"})
	h, err := Open(t.Context(), Config{Socket: s.DB()})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	r := Record{Plugin: "cnm", Container: "c", Port: "lsp-unplugged"}
	port := ovsdb.Port{Name: deviceName(r.Port, 0), Bridge: "br-int", ExternalIDs: r.externalIDs()}
	for range 20 {
		if err := h.session.AddPort(t.Context(), port); err != nil {
			t.Fatal(err)
		}
		found := func(f *ovsdb.Facts) bool { return f.Interfaces[port.Name] != nil }
		if _, err := h.await(t.Context(), found); err != nil {
			t.Fatal(err)
		}
		if err := h.Unplug(t.Context(), r.Port); err != nil {
			t.Fatal(err)
		}
		if r, still := h.Find(r.Port); still {
			t.Fatalf("found as %s", r.Device)
		}
	}
}
