package apply

// actual is what we know of the switch.
type actual struct {
	flows  map[uint64]present // of our namespace, by hash
	groups map[uint32]uint64  // id → hash, 0 = not what we want
}

// present is a flow in the switch.
type present struct {
	key     uint64 // KeyHash; 0 = not known, because it was there before us and is not wanted
	shown   uint64 // how the switch shows it; 0 = not looked at since we sent it
	packets uint64 // that met it, when it was read last
	table   uint8  // allTables if its cookie was seen in several
	state   state
}

// state of a flow in the switch.
type state uint8

const (
	right     state = iota
	misplaced       // its cookie is in the wrong place, or in several: all of them have to go
	altered         // in its place there is something else
)

func newActual() actual {
	return actual{flows: map[uint64]present{}, groups: map[uint32]uint64{}}
}

// found takes in one flow of a dump. Ours is wrong if it is not in the table or of the priority that its hash stands for, if
// there are two of them, or if the switch shows it otherwise than before: so nobody has to understand the switch's text, which
// is not that which we sent.
func (h *actual) found(f foundFlow, want map[uint64]*claim, before *actual) {
	hash := f.Cookie & hashMask
	p := present{table: f.Table, shown: f.Shown, packets: f.Packets}
	if c := want[hash]; c != nil {
		p.key = c.key
		if c.flow.Table != f.Table || c.flow.Priority != f.Priority {
			p.state = misplaced
		}
	}
	if twin, twice := h.flows[hash]; twice {
		p.state = misplaced
		if twin.table != p.table {
			p.table = allTables
		}
	}
	was := before.flows[hash].shown
	if was != 0 && was != f.Shown && p.state == right {
		p.state = altered
	}
	p.shown = was // what we have not compared with what is wanted, the audit will look at
	h.flows[hash] = p
}

// foundGroup takes in one group of a dump. The bytes in which the switch shows a group are those in which we send it (a test
// holds flows/of against a switch), so there is nothing to parse. Where a switch thinks otherwise the group is sent again
// each time that we read it back, which disturbs no packet, but begins its counters anew.
func (h *actual) foundGroup(g foundGroup, want map[uint32]*groupSlot) {
	h.groups[g.ID] = 0
	if s := want[g.ID]; s != nil {
		if w := s.first().group; w.Type == g.Type && w.Buckets()+w.Properties() == g.Body {
			h.groups[g.ID] = w.Hash()
		}
	}
}
