package apply

import (
	"cmp"
	"slices"
)

// plan is an ordered list of messages that makes actual what is desired.
type plan struct {
	rev      int64
	messages []message
}

// plan takes what is dirty and compares it. The caller holds a.mu.
//
// The order is such that a switch that stops anywhere in between forwards nothing in a wrong way: groups before the flows that
// use them; new and changed flows before deletions, later tables before those that lead there, high priorities before the
// general rules below them; deletions after that; at the very end the groups that no flow uses any more. Nothing that can fail
// may follow those in a bundle: Open vSwitch 3.1 aborts when it has to take back the deletion of a group that flows used.
func (a *Applier) plan() plan {
	p := plan{rev: a.rev}
	groups, gone := a.planGroups()
	if len(groups) > 0 {
		a.trouble.retryFlows(&a.want) // they may have been refused for the lack of a group
	}
	adds, deletes := a.planFlows()
	p.messages = slices.Concat(a.planStrays(), groups, adds, deletes, gone)
	return p
}

// planStrays removes what others put into our namespace. It comes first: one of our own flows may be about to take its place.
func (a *Applier) planStrays() (removals []message) {
	for i := range a.strays {
		removals = append(removals, message{op: removeFlow, stray: &a.strays[i]})
	}
	a.strays = nil
	return removals
}

func (a *Applier) planGroups() (set, gone []message) {
	for id := range a.want.dirtyGroups {
		s := a.want.groups[id]
		hash, present := a.have.groups[id]
		if s == nil {
			a.trouble.settleGroup(id)
			if present {
				gone = append(gone, message{op: deleteGroup, id: id})
			}
			continue
		}
		g := s.first().group
		if refused, ok := a.trouble.groups[id]; ok && refused == g.Hash() {
			continue
		}
		if present && hash == g.Hash() {
			a.trouble.settleGroup(id)
			continue
		}
		m := message{op: addGroup, id: id, group: &g}
		if present {
			m.op = modifyGroup
		}
		set = append(set, m)
	}
	a.want.dirtyGroups = map[uint32]struct{}{} // not clear, which would cost what the largest round ever cost
	// Groups refer to such with smaller ids.
	slices.SortFunc(set, func(x, y message) int { return cmp.Compare(x.id, y.id) })
	slices.SortFunc(gone, func(x, y message) int { return cmp.Compare(y.id, x.id) })
	return set, gone
}

func (a *Applier) planFlows() (adds, deletes []message) {
	added := make(map[uint64]int, len(a.want.dirtyFlows)) // KeyHash → position in adds
	adds = make([]message, 0, len(a.want.dirtyFlows))
	for h := range a.want.dirtyFlows {
		c := a.want.flows[h]
		p, on := a.have.flows[h]
		_, refused := a.trouble.flows[h]
		switch {
		case c == nil:
			a.trouble.settleFlow(h)
			if on {
				deletes = append(deletes, message{op: deleteFlow, cookie: a.cookie(h), table: p.table, key: p.key})
			}
		case refused && on: // altered, and cannot be set right
			deletes = append(deletes, message{op: deleteFlow, cookie: a.cookie(h), table: allTables})
		case refused:
		case !on:
			added[c.key] = len(adds)
			adds = append(adds, message{op: addFlow, cookie: a.cookie(h), flow: c.flow, key: c.key})
		case p.state == altered: // its place is taken by what we add
			adds = append(adds, message{op: addFlow, cookie: a.cookie(h), flow: c.flow, key: c.key, again: true})
		case p.state == misplaced:
			adds = append(adds, message{op: replaceFlow, cookie: a.cookie(h), table: allTables, flow: c.flow, key: c.key})
		default:
			a.trouble.settleFlow(h)
		}
	}
	a.want.dirtyFlows = map[uint64]struct{}{}
	// A flow whose place is taken needs no deletion. Those that were there before us have no key; deleting them after their
	// place was taken finds nothing.
	deletes = slices.DeleteFunc(deletes, func(m message) bool {
		at, ok := added[m.key]
		if ok = ok && m.key != 0; ok {
			adds[at].overwrites = m.hash()
		}
		return ok
	})
	slices.SortFunc(adds, func(x, y message) int {
		return cmp.Or(cmp.Compare(y.flow.Table, x.flow.Table), cmp.Compare(y.flow.Priority, x.flow.Priority), cmp.Compare(x.cookie, y.cookie))
	})
	slices.SortFunc(deletes, func(x, y message) int {
		return cmp.Or(cmp.Compare(x.table, y.table), cmp.Compare(x.cookie, y.cookie))
	})
	return adds, deletes
}
