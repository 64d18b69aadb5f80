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
	keys   map[uint64]*slot      // all claims on a table, priority and match, by KeyHash
	groups map[uint32]*groupSlot // all claims on a group id

	// What may be wanted and not present, or present and not wanted.
	dirtyFlows  map[uint64]struct{}
	dirtyGroups map[uint32]struct{}
}

type owner struct {
	name   string
	flows  map[uint64]*claim // by hash
	groups map[uint32]of.PackedGroup
}

// claim is one owner's wish for one flow.
type claim struct {
	owner *owner
	flow  of.Packed
	key   uint64
	rule  uint16
	lost  bool // another flow has the key
}

// slot holds the claims on one key, sorted by owner, then hash. The first gets it, and all who want the same flow.
type slot struct{ claims []*claim }

func newDesired() desired {
	return desired{
		owners: map[string]*owner{}, flows: map[uint64]*claim{}, keys: map[uint64]*slot{}, groups: map[uint32]*groupSlot{},
		dirtyFlows: map[uint64]struct{}{}, dirtyGroups: map[uint32]struct{}{},
	}
}

// set makes these the flows and groups of an owner. What stays the same is not looked at any further.
func (d *desired) set(name string, flows []Flow, groups []of.PackedGroup, t *trouble) {
	o := d.owners[name]
	if o == nil {
		o = &owner{name: name}
		d.owners[name] = o
	}
	old := o.flows
	o.flows = make(map[uint64]*claim, len(flows))
	var fresh []*claim
	for i := range flows {
		f := &flows[i]
		h := f.Hash()
		if o.flows[h] != nil {
			continue
		}
		c := old[h]
		if c != nil {
			delete(old, h)
			c.rule = f.Rule
		} else {
			c = &claim{owner: o, flow: f.Packed, key: f.KeyHash(), rule: f.Rule}
			fresh = append(fresh, c)
		}
		o.flows[h] = c
	}
	for _, c := range old {
		d.remove(c, t)
	}
	for _, c := range fresh {
		d.add(c, t)
	}
	d.setGroups(o, groups, t)
	if len(o.flows)+len(o.groups) == 0 {
		delete(d.owners, name)
	}
}

func compareClaims(a, b *claim) int {
	if c := cmp.Compare(a.owner.name, b.owner.name); c != 0 {
		return c
	}
	return cmp.Compare(a.flow.Hash(), b.flow.Hash())
}

func (d *desired) add(c *claim, t *trouble) {
	s := d.keys[c.key]
	if s == nil {
		s = &slot{}
		d.keys[c.key] = s
	}
	var before *claim
	if len(s.claims) > 0 {
		before = s.claims[0]
	}
	at, _ := slices.BinarySearchFunc(s.claims, c, compareClaims)
	s.claims = slices.Insert(s.claims, at, c)
	d.decide(s, before, c, t)
}

func (d *desired) remove(c *claim, t *trouble) {
	s := d.keys[c.key]
	before := s.claims[0]
	at, _ := slices.BinarySearchFunc(s.claims, c, compareClaims)
	s.claims = slices.Delete(s.claims, at, at+1)
	if c.lost {
		t.resolve(conflictOf(c))
	}
	if len(s.claims) > 0 {
		d.decide(s, before, nil, t)
		return
	}
	delete(d.keys, c.key)
	d.unwant(c)
}

// decide finds the flow that gets the key after a change of the claims; joined is a new one among them, or nil.
func (d *desired) decide(s *slot, before, joined *claim, t *trouble) {
	first := s.claims[0]
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
	d.dirtyFlows[first.flow.Hash()] = struct{}{}
	for _, c := range s.claims {
		judge(c, first, t)
	}
}

func (d *desired) unwant(c *claim) {
	h := c.flow.Hash()
	if w := d.flows[h]; w != nil && w.key == c.key {
		delete(d.flows, h)
	}
	d.dirtyFlows[h] = struct{}{}
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
