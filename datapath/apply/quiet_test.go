package apply

import "testing"

// TestT68_TheAuditWaitsWhileMuchIsSentButNotForEver has the ticks that are put off.
func TestT68_TheAuditWaitsWhileMuchIsSentButNotForEver(t *testing.T) {
	var q quiet
	sent := uint64(0)
	tick := func(messages uint64) bool { sent += messages; return q.permits(sent) }
	if !tick(muchSent - 1) {
		t.Error("put off after a few messages")
	}
	off := 0
	for !tick(muchSent) {
		if off++; off > mostPutOff {
			t.Fatalf("put off %d times in a row", off)
		}
	}
	if off != mostPutOff {
		t.Errorf("put off %d times while much was sent, want %d", off, mostPutOff)
	}
	if tick(muchSent) {
		t.Error("not put off after it had its turn")
	}
	if !tick(0) {
		t.Error("put off while nothing was sent")
	}
}
