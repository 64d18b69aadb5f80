// Package neighbours keeps what an edge node knows of the physical network behind its routers: which MAC has an
// address that packets are to be sent to. It is the state machine of ARP and neighbour discovery for next hops (RFC 826,
// RFC 4861 section 7.3), with the packets that wait for an answer. It sends nothing and has no clock: the controller
// tells it what happened and when, and does what it answers. It is bounded in neighbours and in waiting packets, so
// nobody who scans through an edge can fill it.
//
// One goroutine owns a Table.
package neighbours

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Limits and times. A neighbour is asked ProbeCount times, ProbeEvery apart; a known one is asked again after
// RefreshAfter, and forgotten when it does not answer.
const (
	MaxNeighbours = 2048
	MaxWaiting    = 16 // packets for one neighbour; older ones go first
	ProbeCount    = 3
	ProbeEvery    = time.Second
	RefreshAfter  = 60 * time.Second
)

// ID is an address behind a router's port.
type ID struct {
	Router, Port string
	IP           netip.Addr
}

// Known is a neighbour whose MAC is known.
type Known struct {
	ID
	MAC [6]byte
}

// Packet is a packet that waits for its next hop; its bytes are the caller's business.
type Packet struct{ Frame []byte }

// Table is the neighbours of one node.
type Table struct {
	entries map[ID]*entry
	changed bool
}

type entry struct {
	mac     [6]byte
	known   bool
	probes  int       // sent since the last answer
	next    time.Time // when to ask (again)
	used    time.Time // last miss or answer
	waiting []Packet
}

// New makes an empty table.
func New() *Table { return &Table{entries: map[ID]*entry{}} }

// Miss says that a packet needs a neighbour that the switch does not know. It returns whether to ask for it now, and,
// if it is known here after all, its MAC.
func (t *Table) Miss(now time.Time, id ID, p Packet) (mac [6]byte, known, ask bool) {
	e := t.entries[id]
	if e == nil {
		t.makeRoom()
		e = &entry{}
		t.entries[id] = e
	}
	e.used = now
	if e.known {
		return e.mac, true, false
	}
	if e.waiting = append(e.waiting, p); len(e.waiting) > MaxWaiting {
		e.waiting = slices.Delete(e.waiting, 0, len(e.waiting)-MaxWaiting)
	}
	if e.probes > 0 {
		return mac, false, false // asked already
	}
	e.probes, e.next = 1, now.Add(ProbeEvery)
	return mac, false, true
}

// makeRoom forgets the neighbour that was used longest ago when the table is full; unknown ones go first.
func (t *Table) makeRoom() {
	if len(t.entries) < MaxNeighbours {
		return
	}
	var oldest ID
	var found *entry
	for id, e := range t.entries {
		if found == nil || !e.known && found.known || e.known == found.known && e.used.Before(found.used) {
			oldest, found = id, e
		}
	}
	delete(t.entries, oldest)
	t.changed = t.changed || found.known
}

// Heard says that an address behind a port has a MAC, in an answer or an announcement. Only addresses that somebody
// asked for are taken in. It returns the packets that waited.
func (t *Table) Heard(now time.Time, id ID, mac [6]byte) []Packet {
	e := t.entries[id]
	if e == nil {
		return nil
	}
	t.changed = t.changed || !e.known || e.mac != mac
	waiting := e.waiting
	*e = entry{mac: mac, known: true, used: now, next: now.Add(RefreshAfter)}
	return waiting
}

// Asked returns the ports behind which an address is known or asked for, sorted.
func (t *Table) Asked(ip netip.Addr) []ID {
	var ids []ID
	for id := range t.entries {
		if id.IP == ip {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, compare)
	return ids
}

// Restore puts back a neighbour of an earlier life; it is asked again soon.
func (t *Table) Restore(now time.Time, k Known) {
	if len(t.entries) < MaxNeighbours {
		t.entries[k.ID] = &entry{mac: k.MAC, known: true, used: now, next: now}
		t.changed = true
	}
}

// Keep forgets every neighbour that keep does not want: its router or port is gone.
func (t *Table) Keep(keep func(ID) bool) {
	for id, e := range t.entries {
		if !keep(id) {
			delete(t.entries, id)
			t.changed = t.changed || e.known
		}
	}
}

// Tick returns the neighbours to ask now, and those that were given up: their waiting packets are undeliverable.
func (t *Table) Tick(now time.Time) (ask []ID, lost map[ID][]Packet) {
	for id, e := range t.entries {
		if now.Before(e.next) {
			continue
		}
		if e.probes >= ProbeCount {
			delete(t.entries, id)
			t.changed = t.changed || e.known
			if len(e.waiting) > 0 {
				if lost == nil {
					lost = map[ID][]Packet{}
				}
				lost[id] = e.waiting
			}
			continue
		}
		e.probes++
		e.next = now.Add(ProbeEvery)
		ask = append(ask, id)
	}
	slices.SortFunc(ask, compare)
	return ask, lost
}

// Changed returns the known neighbours, sorted, if they are others than at the last call.
func (t *Table) Changed() (all []Known, changed bool) {
	if !t.changed {
		return nil, false
	}
	t.changed = false
	for id, e := range t.entries {
		if e.known {
			all = append(all, Known{ID: id, MAC: e.mac})
		}
	}
	slices.SortFunc(all, func(a, b Known) int { return compare(a.ID, b.ID) })
	return all, true
}

func compare(a, b ID) int {
	if c := strings.Compare(a.Router, b.Router); c != 0 {
		return c
	}
	if c := strings.Compare(a.Port, b.Port); c != 0 {
		return c
	}
	return a.IP.Compare(b.IP)
}
