package memo

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// core is the part of the engine that does not depend on the type of the outputs: facts, entries and derived values.
type core struct {
	graph
	facts     map[Key]*node
	entries   map[Key]*node
	alone     map[Key]*node // the fact in entries that have one member and that nobody read yet: they have no node
	derived   map[Key]*node
	indexes   []*index            // by name
	kinds     map[string][]*index // those that may list facts of a kind
	joins     []*join             // by name
	lists     map[string]bool     // the names of both
	known     map[string]Derived
	equalFact func(a, b any) bool
	roots     func(r Reader, feature int32) []string // sorted, each once

	pending []pendingFact

	queue        [][]*node // dirty derived values and roots, by height
	floor        int32     // everything lower is final in this round
	changedRoots []int32   // features whose ids are others than in the last round
	dirtyGroups  []*node
	dirtyUnits   []*node
	orphans      []*node // what may have lost its last reader

	stack []*frame // computations in progress, innermost last
	notes []int32  // what they read, as ids of nodes; each frame has its part
	stamp uint64   // of the last computation begun
	round uint64
	busy  bool // in a round
	held  int  // facts that are there
	stats Stats

	faults faults
}

// unitHeight is higher than any derived value gets: that of units, and of groups, which nobody reads either.
const unitHeight = int32(1) << 30

func newCore() core {
	return core{
		graph: newGraph(), facts: map[Key]*node{}, entries: map[Key]*node{}, alone: map[Key]*node{}, derived: map[Key]*node{},
		known: map[string]Derived{}, lists: map[string]bool{}, kinds: map[string][]*index{},
	}
}

func (c *core) configure(indexes map[string]Index, joins map[string]Join, known map[string]Derived) {
	for _, name := range slices.Sorted(maps.Keys(indexes)) {
		c.lists[name] = true
		c.indexes = append(c.indexes, &index{name: name, Index: indexes[name]})
	}
	for _, name := range slices.Sorted(maps.Keys(joins)) {
		at := slices.IndexFunc(c.indexes, func(ix *index) bool { return ix.name == joins[name].Index })
		if at < 0 || c.lists[name] {
			panic("memo: join " + name + " is of no index, or has the name of one")
		}
		c.lists[name] = true
		j := newJoin(name, joins[name])
		c.joins = append(c.joins, j)
		c.indexes[at].joins = append(c.indexes[at].joins, j)
	}
	for kind, d := range known {
		if d.Equal == nil {
			d.Equal = deepEqual
		}
		c.known[kind] = d
	}
}

func (c *core) mustBeIdle() {
	if c.busy {
		panic("memo: the engine was called by a function that it is running")
	}
}

// changed marks all who read n.
func (c *core) changed(n *node) {
	for x := n.readers; x != 0; x = c.edges[x].next {
		c.markDirty(c.nodes[c.edges[x].reader])
	}
}

func (c *core) markDirty(n *node) {
	if n.dirty {
		return
	}
	n.dirty = true
	switch n.kind {
	case unitNode:
		c.dirtyUnits = append(c.dirtyUnits, n)
	case groupNode:
		c.dirtyGroups = append(c.dirtyGroups, n)
	default:
		c.enqueue(n)
	}
}

func (c *core) enqueue(n *node) {
	if n.queued {
		return
	}
	if c.floor == unitHeight {
		panic("memo: internal error: " + n.key.String() + " changed after all derived values were final")
	}
	n.queued = true
	at := int(max(n.height, c.floor))
	for len(c.queue) <= at {
		c.queue = append(c.queue, nil)
	}
	c.queue[at] = append(c.queue[at], n)
}

// settle computes what is dirty among derived values and roots. It goes by height, so that nothing is computed before
// everything that it read the last time is final: each value is computed at most once a round and never sees half a change.
func (c *core) settle() {
	for c.floor = 0; int(c.floor) < len(c.queue); c.floor++ {
		for len(c.queue[c.floor]) > 0 {
			bucket := c.queue[c.floor]
			n := bucket[len(bucket)-1]
			bucket[len(bucket)-1] = nil
			c.queue[c.floor] = bucket[:len(bucket)-1]
			n.queued = false
			switch {
			case !n.dirty: // computed already, because a computation asked for it
			case n.height > c.floor:
				c.enqueue(n)
			case n.kind == derivedNode && n.readers == 0:
				c.orphan(n) // stays dirty: whoever asks for it in this round gets it computed
			default:
				c.compute(n)
			}
		}
	}
	c.floor = unitHeight
}

// compute runs the function of a derived value or of roots, and marks the readers if the result is a new one.
func (c *core) compute(n *node) {
	before, first := n.value, n.height == 0
	f := c.begin(n)
	c.stats.DerivedRuns++
	var equal bool
	if n.kind == rootsNode {
		ids := c.roots(f, n.feature)
		old, _ := before.([]string)
		equal = slices.Equal(old, ids)
		n.value = ids
	} else {
		d := c.known[n.key.Kind]
		n.value = d.Compute(f, n.key.ID)
		equal = !first && d.Equal(before, n.value)
	}
	c.end(f)
	if c.faults.cutsOffNever {
		equal = false
	}
	switch {
	case equal:
		n.value = before // so that equal values are the same value to whoever compares pointers
		if !first {
			c.stats.CutOffs++
		}
	case n.kind == rootsNode:
		c.changedRoots = append(c.changedRoots, n.feature)
	case !first && !c.faults.cutsOffAlways:
		c.changed(n)
	}
}

// final computes n if it is not what it would be when computed now: because something that it read has changed, or
// something that something it read read, and so on. It asks only where the order of settle does not answer already.
func (c *core) final(n *node) {
	if n.active {
		c.panicCycle(n)
	}
	if !n.dirty {
		if n.height < c.floor || n.settled == c.round || c.faults.forgetsHeights {
			return
		}
		// In the order of reading: as long as all earlier reads are what they were, the function would get as far as
		// this one, so it really needs it.
		c.stack = append(c.stack, &frame{n: n})
		n.active = true
		for i := 0; i < len(n.reads) && !n.dirty; i++ {
			if source := c.nodes[c.edges[n.reads[i]].source]; source.kind == derivedNode {
				c.final(source) // marks n dirty if it changes
			}
		}
		n.active = false
		c.stack = c.stack[:len(c.stack)-1]
	}
	if n.dirty {
		c.compute(n)
	}
	n.settled = c.round
}

func (c *core) panicCycle(n *node) {
	var path []string
	for _, f := range c.stack {
		if len(path) > 0 || f.n == n {
			path = append(path, f.n.key.String())
		}
	}
	panic(fmt.Sprintf("memo: derived values need each other: %s → %s", strings.Join(path, " → "), n.key))
}

// orphan notes a node that may have become useless; collect decides at the end of the round.
func (c *core) orphan(n *node) {
	if n.readers == 0 && !n.orphaned && !c.faults.collectsNothing {
		n.orphaned = true
		c.orphans = append(c.orphans, n)
	}
}

// collect forgets derived values that nobody reads any more, and absent facts and empty entries that nobody asked for.
func (c *core) collect() {
	for len(c.orphans) > 0 {
		last := len(c.orphans) - 1
		n := c.orphans[last]
		c.orphans = c.orphans[:last]
		n.orphaned = false
		if n.readers != 0 {
			continue
		}
		switch n.kind {
		case factNode:
			if n.value != nil {
				continue
			}
			delete(c.facts, n.key)
		case entryNode:
			if !n.value.(*members).empty() {
				continue
			}
			delete(c.entries, n.key)
		case derivedNode:
			delete(c.derived, n.key)
			c.forgetReads(n)
		default:
			continue
		}
		c.remove(n)
	}
}

func (c *core) forgetReads(n *node) {
	for _, x := range n.reads {
		c.orphan(c.disconnect(x))
	}
	n.reads = nil
}
