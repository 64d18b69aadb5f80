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
	if n.settled > 0 {
		if c.faults.forgetsFirstOfTwoSets {
			c.pending[n.settled-1].before = n.value
		}
		n.value = value
		return
	}
	if c.sameFact(n.value, value) {
		return
	}
	c.pending = append(c.pending, pendingFact{n, n.value})
	n.settled = uint64(len(c.pending))
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
		n.settled = 0
		if c.sameFact(p.before, n.value) {
			c.orphan(n)
			continue
		}
		if p.before == nil {
			c.held++
		} else if n.value == nil {
			c.held--
		}
		for _, ix := range c.indexesOf(n.key.Kind) {
			c.reindex(ix, n, p.before, n.value)
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
	c.pending = reused(c.pending)
}

// index is a configured index.
type index struct {
	name string
	Index
	joins []*join // that are over it
}

func (ix *index) of(key Key, value any) []string {
	if value == nil {
		return nil
	}
	return ix.Entries(key, value)
}

// indexesOf are the indexes that may list facts of a kind.
func (c *core) indexesOf(kind string) []*index {
	some, known := c.kinds[kind]
	if !known {
		for _, ix := range c.indexes {
			if len(ix.Kinds) == 0 || slices.Contains(ix.Kinds, kind) {
				some = append(some, ix)
			}
		}
		c.kinds[kind] = some
	}
	return some
}

// reindex moves a fact from the entries of its old value to those of its new value.
func (c *core) reindex(ix *index, fact *node, before, now any) {
	old, fresh := ix.of(fact.key, before), ix.of(fact.key, now)
	for i, entry := range old {
		if !slices.Contains(fresh, entry) && !slices.Contains(old[:i], entry) && !c.faults.losesIndexDelete {
			c.unlist(Key{ix.name, entry}, fact)
		}
	}
	for i, entry := range fresh {
		if !slices.Contains(old, entry) && !slices.Contains(fresh[:i], entry) && !c.faults.losesIndexAdd {
			c.list(Key{ix.name, entry}, fact)
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

// list puts a fact into an entry.
func (c *core) list(entry Key, fact *node) {
	n := c.entries[entry]
	if n == nil {
		if c.alone[entry] == nil {
			c.alone[entry] = fact
			return
		}
		n = c.entry(entry)
	}
	n.value.(*members).add(fact.key)
	c.changed(n)
}

// unlist takes a fact out of an entry that it is in.
func (c *core) unlist(entry Key, fact *node) {
	if c.alone[entry] == fact {
		delete(c.alone, entry)
		return
	}
	n := c.entry(entry)
	n.value.(*members).remove(fact.key)
	c.changed(n)
	c.orphan(n)
}

// entry returns the node of an entry, making one if there is none.
func (c *core) entry(key Key) *node {
	n := c.entries[key]
	if n == nil {
		m := &members{}
		if fact := c.alone[key]; fact != nil {
			delete(c.alone, key)
			if !c.faults.losesLoneMember {
				m.sorted = []Key{fact.key}
			}
		}
		n = c.add(&node{key: key, kind: entryNode, value: m})
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
		for _, ix := range c.indexesOf(n.key.Kind) {
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
	clear(c.alone)
	for key, m := range fresh {
		if list := m.list(); len(list) == 1 && !c.isJoin(key.Kind) {
			c.alone[key] = c.facts[list[0]]
			continue
		}
		n := c.entry(key)
		n.value = m
		c.changed(n)
	}
}

func (c *core) isJoin(name string) bool {
	return slices.ContainsFunc(c.joins, func(j *join) bool { return j.name == name })
}
