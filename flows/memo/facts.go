package memo

import "slices"

// pendingFact is a fact that was set since the last round.
type pendingFact struct {
	n      *node
	before any // its value in the last round
}

// setFact changes the value at once and remembers the one of the last round for the comparison in applyFacts.
func (c *core) setFact(key Key, value any) {
	c.mustBeIdle()
	n := c.facts[key]
	if n == nil {
		if value == nil {
			return
		}
		n = c.newFact(key)
	}
	if i, ok := c.pendingAt[n]; ok {
		if c.faults.forgetsFirstOfTwoSets {
			c.pending[i].before = n.value
		}
		n.value = value
		return
	}
	if c.sameFact(n.value, value) {
		return
	}
	c.pendingAt[n] = len(c.pending)
	c.pending = append(c.pending, pendingFact{n, n.value})
	n.value = value
}

func (c *core) newFact(key Key) *node {
	n := c.add(&node{key: key, kind: factNode})
	c.facts[key] = n
	return n
}

func (c *core) sameFact(a, b any) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return c.equalFact(a, b)
}

// applyFacts brings the index entries up to date with what was set, and marks the readers of all that changed.
func (c *core) applyFacts() {
	for _, p := range c.pending {
		n := p.n
		if c.sameFact(p.before, n.value) {
			c.orphan(n)
			continue
		}
		if p.before == nil {
			c.held++
		} else if n.value == nil {
			c.held--
		}
		for _, ix := range c.indexes {
			c.reindex(ix, n.key, p.before, n.value)
		}
		for _, j := range c.joins {
			if n.key.Kind == j.Kind && !c.faults.losesJoinOfFact {
				j.touch(n.key.ID)
			}
		}
		c.changed(n)
		c.orphan(n)
	}
	c.rejoin()
	c.pending = c.pending[:0]
	c.pendingAt = map[*node]int{} // clear would for ever cost what the largest round cost
}

// index is a configured index.
type index struct {
	name    string
	entries func(Key, any) []string
	joins   []*join // that are over it
}

func (ix index) of(key Key, value any) []string {
	if value == nil {
		return nil
	}
	return ix.entries(key, value)
}

// reindex moves a fact from the entries of its old value to those of its new value.
func (c *core) reindex(ix index, key Key, before, now any) {
	old, fresh := ix.of(key, before), ix.of(key, now)
	for i, entry := range old {
		if !slices.Contains(fresh, entry) && !slices.Contains(old[:i], entry) && !c.faults.losesIndexDelete {
			n := c.entry(Key{ix.name, entry})
			n.value.(*members).remove(key)
			c.changed(n)
			c.orphan(n)
		}
	}
	for i, entry := range fresh {
		if !slices.Contains(old, entry) && !slices.Contains(fresh[:i], entry) && !c.faults.losesIndexAdd {
			n := c.entry(Key{ix.name, entry})
			n.value.(*members).add(key)
			c.changed(n)
		}
	}
	for _, j := range ix.joins {
		for _, entry := range old {
			j.touch(entry)
		}
		for _, entry := range fresh {
			if !c.faults.losesJoinOfOther {
				j.touch(entry)
			}
		}
	}
}

// entry returns the node of an index entry, making an empty one if there is none.
func (c *core) entry(key Key) *node {
	n := c.entries[key]
	if n == nil {
		n = c.add(&node{key: key, kind: entryNode, value: &members{}})
		c.entries[key] = n
	}
	return n
}

// rebuildIndexes makes all entries anew from the facts and marks the readers of those that turn out to be different,
// which is none unless the engine is broken.
func (c *core) rebuildIndexes() {
	fresh := make(map[Key]*members, len(c.entries))
	list := func(name, entry string, what Key) {
		key := Key{name, entry}
		if fresh[key] == nil {
			fresh[key] = &members{}
		}
		fresh[key].add(what)
	}
	for _, n := range c.facts {
		for _, ix := range c.indexes {
			for _, entry := range ix.of(n.key, n.value) {
				list(ix.name, entry, n.key)
			}
		}
	}
	for _, j := range c.joins {
		j.forget()
		for _, n := range c.facts {
			if n.value == nil || n.key.Kind != j.Kind {
				continue
			}
			if m := fresh[Key{j.Index, n.key.ID}]; m != nil {
				j.hold(n.key.ID, c.pairs(j, n.value, m.list()))
			}
		}
		for l := range j.held {
			list(j.name, l.entry, l.what)
		}
	}
	for key, n := range c.entries {
		m := fresh[key]
		delete(fresh, key)
		if m == nil {
			m = &members{}
		}
		if !slices.Equal(m.list(), n.value.(*members).list()) {
			n.value = m
			c.changed(n)
			c.orphan(n)
		}
	}
	for key, m := range fresh {
		m.list()
		n := c.entry(key)
		n.value = m
		c.changed(n)
	}
}
