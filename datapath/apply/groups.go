package apply

import (
	"cmp"
	"fmt"
	"slices"

	"tuplenet/flows/of"
)

// groupClaim is one owner's wish for the content of a group id.
type groupClaim struct {
	owner string
	group of.PackedGroup
}

// groupSlot holds the claims on one id, sorted by owner. The first gets it.
type groupSlot struct{ claims []groupClaim }

func (s *groupSlot) first() groupClaim { return s.claims[0] }

// setGroups makes these the groups of an owner.
func (d *desired) setGroups(o *owner, groups []of.PackedGroup, t *trouble) {
	old := o.groups
	o.groups = nil
	if len(groups) > 0 {
		o.groups = make(map[uint32]of.PackedGroup, len(groups))
	}
	for _, g := range groups {
		o.groups[g.ID] = g
		if was, ok := old[g.ID]; !ok || was.Hash() != g.Hash() {
			d.claimGroup(o.name, g, t)
		}
		delete(old, g.ID)
	}
	for id := range old {
		d.dropGroup(o.name, id, t)
	}
}

func (s *groupSlot) find(owner string) (int, bool) {
	return slices.BinarySearchFunc(s.claims, owner, func(c groupClaim, o string) int { return cmp.Compare(c.owner, o) })
}

func (d *desired) claimGroup(owner string, g of.PackedGroup, t *trouble) {
	s := d.groups[g.ID]
	if s == nil {
		s = &groupSlot{}
		d.groups[g.ID] = s
	}
	at, found := s.find(owner)
	if found {
		s.claims[at].group = g
	} else {
		s.claims = slices.Insert(s.claims, at, groupClaim{owner, g})
	}
	d.judgeGroups(g.ID, s, t)
}

func (d *desired) dropGroup(owner string, id uint32, t *trouble) {
	s := d.groups[id]
	if at, found := s.find(owner); found {
		s.claims = slices.Delete(s.claims, at, at+1)
	}
	t.resolve(failureKey{kind: conflictFailure, owner: owner, group: true, id: uint64(id)})
	if len(s.claims) == 0 {
		delete(d.groups, id)
	}
	d.judgeGroups(id, s, t)
}

// judgeGroups notes who lost the id to whom.
func (d *desired) judgeGroups(id uint32, s *groupSlot, t *trouble) {
	d.touchGroup(id)
	for _, c := range s.claims {
		k := failureKey{kind: conflictFailure, owner: c.owner, group: true, id: uint64(id)}
		if c.group.Hash() == s.first().group.Hash() {
			t.resolve(k)
			continue
		}
		t.report(k, Failure{c.owner, fmt.Sprintf("group %d", id), fmt.Errorf("%s wants another group with this id", s.first().owner)})
	}
}
