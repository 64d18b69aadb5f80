package cnm

import (
	"context"
	"net/netip"
	"testing"
)

// testPublication is one without ports: what is opened is not looked at here.
func testPublication() published {
	return published{Chassis: "h", Namespace: "/proc/self/ns/net", Addresses: []netip.Addr{netip.MustParseAddr("10.20.4.2")}}
}

func (d *Driver) doorNotesLeft(t *testing.T) int {
	t.Helper()
	notes, err := d.store.Notes(t.Context(), doorNotes)
	if err != nil {
		t.Fatal(err)
	}
	return len(notes)
}

// The note of revoked ports would open them again after a restart.
func TestWhatIsRevokedWhileTheStoreIsAwayIsForgottenLater(t *testing.T) {
	d, _ := newDriver(t)
	if err := d.noteAndOpen(t.Context(), "e", testPublication()); err != nil {
		t.Fatal(err)
	}
	revoke := func(ctx context.Context) error { return d.revoke(ctx, "e") }
	away, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.remove(away, "ports of e", revoke); err == nil || d.doorNotesLeft(t) != 1 {
		t.Fatalf("revoked without the store: %v", err)
	}
	d.settleDebts(t.Context())
	if n := d.doorNotesLeft(t); n != 0 || d.doors["e"] != nil {
		t.Errorf("%d notes are left, door %v", n, d.doors["e"])
	}
}

func TestPortsThatArePublishedAgainAreNotClosedByAnOldDebt(t *testing.T) {
	d, _ := newDriver(t)
	if err := d.noteAndOpen(t.Context(), "e", testPublication()); err != nil {
		t.Fatal(err)
	}
	old := d.doors["e"]
	d.debts.owe("ports of e", func(ctx context.Context) error { return d.revoke(ctx, "e") })
	if err := d.noteAndOpen(t.Context(), "e", testPublication()); err != nil {
		t.Fatal(err)
	}
	d.settleDebts(t.Context())
	now := d.doors["e"]
	if now == nil || now == old || now.ctx.Err() != nil || old.ctx.Err() == nil || d.doorNotesLeft(t) != 1 {
		t.Errorf("old door %v, new door %v, %d notes", old, now, d.doorNotesLeft(t))
	}
	now.close()
}
