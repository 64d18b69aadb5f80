package controller

import (
	"runtime/debug"
	"testing"
	"time"

	"tuplenet/flows/compile"
	"tuplenet/flows/memo"
)

// TestT67_GarbageMayGatherWhileThereIsMuchWork: more of it while much is compiled, as much as before a second after that; who allows
// more by GOGC is obeyed.
func TestT67_GarbageMayGatherWhileThereIsMuchWork(t *testing.T) {
	percent := func() int { p := debug.SetGCPercent(100); debug.SetGCPercent(p); return p }
	defer debug.SetGCPercent(percent())
	now := time.Now()
	for _, c := range []struct{ usual, busy int }{{50, busyPercent}, {busyPercent + 1, busyPercent + 1}, {-1, -1}} {
		debug.SetGCPercent(c.usual)
		var m memory
		m.used(now, make([]memo.Change[compile.Output], muchWork-1))
		if p := percent(); p != c.usual {
			t.Errorf("%d %%: %d %% after a little work", c.usual, p)
		}
		m.used(now, make([]memo.Change[compile.Output], 1))
		m.tick(now.Add(time.Millisecond))
		if p := percent(); p != c.busy {
			t.Errorf("%d %%: %d %% while there is much work, want %d", c.usual, p, c.busy)
		}
		m.tick(now.Add(2 * time.Second))
		if p := percent(); p != c.usual {
			t.Errorf("%d %%: %d %% afterwards", c.usual, p)
		}
	}
}
