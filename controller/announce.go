package controller

import (
	"slices"
	"time"

	"tuplenet/controller/responder"
	"tuplenet/flows/compile"
)

// announcer makes addresses known in the physical network when this node begins to answer for them: gratuitous ARP or
// unsolicited neighbour advertisements, repeated, because nobody confirms them (RFC 5227 section 2.3, RFC 4861 section
// 7.2.6). It belongs to the loop.
type announcer struct {
	wanted map[compile.Announcement]*announced
}

// announced is how far the announcement of an address is.
type announced struct {
	sent int
	next time.Time
}

// announceAfter are the pauses before each announcement of an address.
var announceAfter = []time.Duration{0, time.Second, 3 * time.Second}

// set replaces the addresses that this node answers for. New ones are announced from now on.
func (a *announcer) set(now time.Time, all counted[compile.Announcement]) {
	before := a.wanted
	a.wanted = make(map[compile.Announcement]*announced, len(all))
	for x := range all {
		if a.wanted[x] = before[x]; a.wanted[x] == nil {
			a.wanted[x] = &announced{next: now.Add(announceAfter[0])}
		}
	}
}

// due returns what has to be announced now.
func (a *announcer) due(now time.Time) []compile.Announcement {
	var out []compile.Announcement
	for x, s := range a.wanted {
		if s.sent == len(announceAfter) || now.Before(s.next) {
			continue
		}
		if s.sent++; s.sent < len(announceAfter) {
			s.next = now.Add(announceAfter[s.sent])
		}
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b compile.Announcement) int { return a.IP.Compare(b.IP) })
	return out
}

// announcementFrame is the frame that announces an address.
func announcementFrame(a compile.Announcement) []byte {
	if a.IP.Is4() {
		return responder.GARP(a.MAC, a.IP)
	}
	return responder.UnsolicitedNA(a.MAC, a.IP, a.Router)
}
