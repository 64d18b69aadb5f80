package apply

import (
	"cmp"
	"fmt"
	"slices"
)

// trouble remembers what is wanted and cannot be had, so that each failure is logged once, not at every attempt.
type trouble struct {
	failures map[failureKey]Failure
	news     map[failureKey]struct{} // not logged yet
	resolved bool                    // something was, and was not told yet

	unpacked map[string]int // failures of that kind, by owner

	// What the switch refused; it is not sent again before retry.
	flows  map[uint64]struct{} // by hash
	groups map[uint32]uint64   // id → hash
}

type failureKind uint8

const (
	refusedFailure    failureKind = iota // by the switch
	conflictFailure                      // with another owner
	unpackableFailure                    // cannot be expressed
	settingFailure                       // of the TLV map or a meter
)

// failureKey is what makes a failure the same as before: owner is empty for refused ones.
type failureKey struct {
	kind  failureKind
	group bool
	owner string
	id    uint64 // hash of the flow or id of the group
}

func newTrouble() trouble {
	return trouble{failures: map[failureKey]Failure{}, news: map[failureKey]struct{}{}, unpacked: map[string]int{}, flows: map[uint64]struct{}{}, groups: map[uint32]uint64{}}
}

// report notes a failure; it is news unless the same was noted before.
func (t *trouble) report(k failureKey, f Failure) {
	old, known := t.failures[k]
	t.failures[k] = f
	if !known || old.Err.Error() != f.Err.Error() {
		t.news[k] = struct{}{}
	}
}

func (t *trouble) resolve(k failureKey) {
	_, failed := t.failures[k]
	t.resolved = t.resolved || failed
	delete(t.failures, k)
}

// unpackable notes the groups of an owner that cannot be packed, in place of those before.
func (t *trouble) unpackable(owner string, now []Failure) {
	for i := len(now); i < t.unpacked[owner]; i++ {
		t.resolve(failureKey{kind: unpackableFailure, owner: owner, id: uint64(i)})
	}
	t.unpacked[owner] = len(now)
	if len(now) == 0 {
		delete(t.unpacked, owner)
	}
	for i, f := range now {
		t.report(failureKey{kind: unpackableFailure, owner: owner, id: uint64(i)}, f)
	}
}

// takeNews returns the failures that are news and still hold, and whether others do not hold any more.
func (t *trouble) takeNews() (out []Failure, resolved bool) {
	for k := range t.news {
		if f, ok := t.failures[k]; ok {
			out = append(out, f)
		}
	}
	clear(t.news)
	sortFailures(out)
	resolved, t.resolved = t.resolved, false
	return out, resolved
}

func (t *trouble) list() []Failure {
	out := make([]Failure, 0, len(t.failures))
	for _, f := range t.failures {
		out = append(out, f)
	}
	sortFailures(out)
	return out
}

func sortFailures(fs []Failure) {
	slices.SortFunc(fs, func(a, b Failure) int { return cmp.Or(cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.What, b.What)) })
}

// retry lets everything that was refused be sent again, or be found to be there: an attempt whose answer was lost may have had
// success.
func (t *trouble) retry(d *desired) {
	for k := range t.failures {
		switch {
		case k.kind != refusedFailure:
		case k.group:
			d.touchGroup(uint32(k.id))
		default:
			d.touchFlow(k.id)
		}
	}
	clear(t.flows)
	clear(t.groups)
}

// retryFlows lets the flows that were refused be sent again.
func (t *trouble) retryFlows(d *desired) {
	for h := range t.flows {
		d.touchFlow(h)
	}
	clear(t.flows)
}

func (t *trouble) refuseFlow(c *claim, err error) {
	h := c.flow.Hash()
	t.flows[h] = struct{}{}
	t.report(failureKey{kind: refusedFailure, id: h}, Failure{c.owner.name, flowText(c.flow), err})
}

// settleFlow notes that a flow is in the switch, or not wanted any more.
func (t *trouble) settleFlow(h uint64) {
	delete(t.flows, h)
	t.resolve(failureKey{kind: refusedFailure, id: h})
}

func (t *trouble) refuseGroup(c groupClaim, err error) {
	t.groups[c.group.ID] = c.group.Hash()
	t.report(failureKey{kind: refusedFailure, group: true, id: uint64(c.group.ID)}, Failure{c.owner, fmt.Sprintf("group %d", c.group.ID), err})
}

func (t *trouble) settleGroup(id uint32) {
	delete(t.groups, id)
	t.resolve(failureKey{kind: refusedFailure, group: true, id: uint64(id)})
}
