package controller

import (
	"runtime/debug"
	"runtime/metrics"
	"time"

	"tuplenet/flows/compile"
	"tuplenet/flows/memo"
)

const (
	// muchWork is how many changed outputs of the compiler are worth tidying up after at once.
	muchWork = 2000
	// busyPercent is how much garbage may gather while there is much work, in percent of what is in use: a collection costs as much as
	// what is in use, which grows meanwhile, and what is held for that is given back afterwards.
	busyPercent = 300
	// tidyPause is the least time between two looks at memory.
	tidyPause = 30 * time.Second
	// spareMemory may lie unused, in bytes; beside an eighth of what is used.
	spareMemory = 16 << 20
)

// memory gives what is not used back to the system, after much work and now and then. The collector would keep it until it is
// short of memory again, which on a compute node is the workloads' memory.
type memory struct {
	changed int       // outputs since the last time
	last    time.Time // when outputs changed last
	looked  time.Time
	busy    bool // more garbage is allowed than usual
	usual   int  // percent of garbage that is allowed else
}

// used notes changes of outputs.
func (m *memory) used(now time.Time, changes []memo.Change[compile.Output]) {
	if len(changes) > 0 {
		m.changed += len(changes)
		m.last = now
	}
	if m.changed >= muchWork && !m.busy {
		m.busy, m.usual = true, debug.SetGCPercent(busyPercent)
		if m.usual < 0 || m.usual > busyPercent { // who runs the daemon allows more
			debug.SetGCPercent(m.usual)
		}
	}
}

// tick gives memory back when much was done and nothing for a second, or when much lies unused.
func (m *memory) tick(now time.Time) {
	if now.Sub(m.last) < time.Second || m.changed < muchWork && now.Sub(m.looked) < tidyPause {
		return
	}
	if m.busy {
		m.busy = false
		debug.SetGCPercent(m.usual)
	}
	if m.changed >= muchWork || unusedMemory() {
		go debug.FreeOSMemory() // a collection that the loop need not wait for
	}
	m.changed, m.looked = 0, now
}

// unusedMemory tells whether much of the memory that the process holds is garbage or free.
func unusedMemory() bool {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/free:bytes"}, {Name: "/memory/classes/heap/unused:bytes"}}
	metrics.Read(s)
	live, held := s[0].Value.Uint64(), uint64(0)
	for _, m := range s[1:] {
		held += m.Value.Uint64()
	}
	return held > live+live/8+spareMemory
}
