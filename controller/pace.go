package controller

import "time"

// maxPace bounds how long changes of the store wait for others.
const maxPace = 100 * time.Millisecond

// pace lets changes of the store gather while they come faster than they are dealt with. What comes to an idle node is dealt
// with at once; after that the next has to wait for twice as long as it took, so that a node spends a part of its time on
// changes, and the more of them come, the more are dealt with together.
type pace struct {
	rest time.Time // when the next changes may be taken
	due  *time.Timer
}

// newPace makes one; its timer is stopped.
func newPace() *pace {
	p := &pace{due: time.NewTimer(time.Hour)}
	p.due.Stop()
	return p
}

// early tells whether changes that came now have to wait; then due tells when they may be taken.
func (p *pace) early(now time.Time) bool {
	wait := p.rest.Sub(now)
	if wait <= 0 {
		return false
	}
	p.due.Reset(wait)
	return true
}

// worked notes that dealing with changes took from begun until now.
func (p *pace) worked(begun, now time.Time) {
	p.rest = now.Add(min(2*now.Sub(begun), maxPace))
}
