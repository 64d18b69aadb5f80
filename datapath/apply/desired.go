package apply

import (
	"cmp"
	"fmt"
	"slices"

	"tuplenet/flows/of"
)

// desired is what the owners want together. Two owners may want the same flow; it stays until both let go. If two want
// different flows for the same table, priority and match, or different groups of one id, the owner with the smaller name
// gets his, whoever came first: the result must not depend on the order of events.
type desired struct {
	owners map[string]*owner
	flows  map[uint64]*claim     // what is wanted, by hash
	keys   map[uint64]*claim     // all claims on a table, priority and match, by KeyHash, the first of a list
	groups map[uint32]*groupSlot // all claims on a group id
	meters map[uint32]meterWish

	// What may be wanted and not present, or present and not wanted. Without a session nothing is noted: reading the switch back
	// finds all differences, and until then there would be no end to what comes and goes.
	followed    bool
	dirtyFlows  map[uint64]struct{}
	dirtyGroups map[uint32]struct{}
	dirtyMeters bool
}

// follow begins or ends to note what may differ.
func (d *desired) follow(yes bool) {
	d.followed, d.dirtyFlows, d.dirtyGroups = yes, map[uint64]struct{}{}, map[uint32]struct{}{}
}

func (d *desired) touchFlow(hash uint64) {
	if d.followed {
		d.dirtyFlows[hash] = struct{}{}
	}
}

func (d *desired) touchGroup(id uint32) {
	if d.followed {
		d.dirtyGroups[id] = struct{}{}
	}
}

type owner struct {
	name   string
	flows  []*claim // sorted by hash
	groups map[uint32]of.PackedGroup
	meters []of.Meter
}

// claim is one owner's wish for one flow. Those on one key are a list, sorted by owner, then hash: the first gets it, and all
// who want the same flow. It is seldom longer than one.
type claim struct {
	owner *owner
	next  *claim
	flow  of.Packed
	key   uint64
	rule  uint16
	lost  bool // another flow has the key
}

func newDesired() desired {
	return desired{
		owners: map[string]*owner{}, flows: map[uint64]*claim{}, keys: map[uint64]*claim{}, groups: map[uint32]*groupSlot{}, meters: map[uint32]meterWish{},
		dirtyFlows: map[uint64]struct{}{}, dirtyGroups: map[uint32]struct{}{},
	}
}

// set makes these the flows, groups and meters of an owner. What stays the same is not looked at any further.
func (d *desired) set(name string, now staged, t *trouble) {
	o := d.owners[name]
	if o == nil {
		o = &owner{name: name}
		d.owners[name] = o
	}
	gone, fresh := o.want(now.flows)
	for _, c := range gone {
		d.remove(c, t)
	}
	for _, c := range fresh {
		d.add(c, t)
	}
	d.setGroups(o, now.groups, t)
	d.setMeters(o, now.meters)
	if len(o.flows)+len(o.groups)+len(o.meters) == 0 {
		delete(d.owners, name)
	}
}

// want makes these the flows of an owner, and tells which claims are gone and which are new.
func (o *owner) want(flows []Flow) (gone, fresh []*claim) {
	old := o.flows
	flows = slices.Clone(flows) // whoever made them may still look at them
	slices.SortStableFunc(flows, func(a, b Flow) int { return cmp.Compare(a.Hash(), b.Hash()) })
	o.flows = make([]*claim, 0, len(flows))
	for i := range flows {
		f := &flows[i]
		if i > 0 && flows[i-1].Hash() == f.Hash() {
			continue
		}
		for len(old) > 0 && old[0].flow.Hash() < f.Hash() {
			gone, old = append(gone, old[0]), old[1:]
		}
		var c *claim
		if len(old) > 0 && old[0].flow.Hash() == f.Hash() {
			c, old = old[0], old[1:]
			c.rule = f.Rule
		} else {
			c = &claim{owner: o, flow: f.Packed, key: f.KeyHash(), rule: f.Rule}
			fresh = append(fresh, c)
		}
		o.flows = append(o.flows, c)
	}
	return append(gone, old...), fresh
}

func compareClaims(a, b *claim) int {
	if c := cmp.Compare(a.owner.name, b.owner.name); c != 0 {
		return c
	}
	return cmp.Compare(a.flow.Hash(), b.flow.Hash())
}

func (d *desired) add(c *claim, t *trouble) {
	before := d.keys[c.key]
	if before == nil || compareClaims(c, before) < 0 {
		c.next, d.keys[c.key] = before, c
	} else {
		at := before
		for at.next != nil && compareClaims(at.next, c) < 0 {
			at = at.next
		}
		c.next, at.next = at.next, c
	}
	d.decide(c.key, before, c, t)
}

func (d *desired) remove(c *claim, t *trouble) {
	before := d.keys[c.key]
	if c.lost {
		t.resolve(conflictOf(c))
	}
	switch {
	case before != c:
		at := before
		for at.next != c {
			at = at.next
		}
		at.next = c.next
	case c.next != nil:
		d.keys[c.key] = c.next
	default:
		delete(d.keys, c.key)
		d.unwant(c)
		return
	}
	c.next = nil
	d.decide(c.key, before, nil, t)
}

// decide finds the flow that gets a key after a change of the claims; before was the first of them, joined is a new one, or nil.
func (d *desired) decide(key uint64, before, joined *claim, t *trouble) {
	first := d.keys[key]
	if before != nil && before.flow.Hash() == first.flow.Hash() {
		d.flows[first.flow.Hash()] = first
		if joined != nil {
			judge(joined, first, t)
		}
		return
	}
	if before != nil {
		d.unwant(before)
	}
	d.flows[first.flow.Hash()] = first
	d.touchFlow(first.flow.Hash())
	for c := first; c != nil; c = c.next {
		judge(c, first, t)
	}
}

func (d *desired) unwant(c *claim) {
	h := c.flow.Hash()
	if w := d.flows[h]; w != nil && w.key == c.key {
		delete(d.flows, h)
	}
	d.touchFlow(h)
}

// judge notes whether c lost its key, and to whom.
func judge(c, first *claim, t *trouble) {
	lost := c.flow.Hash() != first.flow.Hash()
	if c.lost && !lost {
		t.resolve(conflictOf(c))
	}
	if lost {
		t.report(conflictOf(c), Failure{c.owner.name, flowText(c.flow),
			fmt.Errorf("%s wants another flow with this table, priority and match", first.owner.name)})
	}
	c.lost = lost
}

func conflictOf(c *claim) failureKey {
	return failureKey{kind: conflictFailure, owner: c.owner.name, id: c.flow.Hash()}
}

func flowText(p of.Packed) string {
	f, err := p.Unpack()
	if err != nil {
		return fmt.Sprintf("table=%d, priority=%d, hash %014x", p.Table, p.Priority, p.Hash())
	}
	return f.String()
}
