package memo

import "slices"

// frame is a computation in progress; it is the Reader that the function got.
type frame struct {
	c     *core
	n     *node
	base  int    // where its part of core.notes begins
	stamp uint64 // of the nodes that it read already
}

// begin starts a computation of n.
func (c *core) begin(n *node) *frame {
	c.stamp++
	f := &frame{c: c, n: n, base: len(c.notes), stamp: c.stamp}
	c.stack = append(c.stack, f)
	n.active = true
	return f
}

// end records what the computation read in place of what the one before read.
func (c *core) end(f *frame) {
	n := f.n
	c.stack = c.stack[:len(c.stack)-1]
	n.active, n.dirty = false, false
	c.replaceReads(n, c.notes[f.base:])
	c.notes = c.notes[:f.base]
	f.c = nil // the Reader ends with its function
	if n.height == unitHeight {
		return
	}
	height := int32(0)
	for _, x := range n.reads {
		height = max(height, c.nodes[c.edges[x].source].height)
	}
	n.height = height + 1
	n.settled = c.round
	c.raiseReaders(n)
}

// replaceReads makes sources the recorded reads of n. Reads at the beginning and at the end that are the same as before
// keep their edges: a value that lists thousands of things, one of which is new, costs one edge.
func (c *core) replaceReads(n *node, sources []int32) {
	old := n.reads
	if c.faults.keepsOldReads && old != nil {
		return
	}
	if c.faults.losesTailOfReads && old != nil {
		sources = sources[:min(len(old), len(sources))]
	}
	same := 0
	for same < len(old) && same < len(sources) && c.edges[old[same]].source == sources[same] {
		same++
	}
	if same == len(old) && same == len(sources) {
		return
	}
	tail := 0
	for tail < len(old)-same && tail < len(sources)-same &&
		c.edges[old[len(old)-1-tail]].source == sources[len(sources)-1-tail] {
		tail++
	}
	reads := old
	if len(sources) != len(old) {
		reads = make([]int32, len(sources))
		copy(reads, old[:same])
	}
	gone := slices.Clone(old[same : len(old)-tail])
	copy(reads[len(sources)-tail:], old[len(old)-tail:])
	for i := same; i < len(sources)-tail; i++ {
		reads[i] = c.connect(c.nodes[sources[i]], n)
	}
	n.reads = reads
	if c.faults.keepsGoneReads {
		return
	}
	for _, x := range gone { // after connecting: what is still read must not look orphaned
		c.orphan(c.disconnect(x))
	}
}

// raiseReaders restores the rule that a reader is higher than what it reads.
func (c *core) raiseReaders(n *node) {
	low := []*node{n}
	for len(low) > 0 && !c.faults.losesRaise {
		n := low[len(low)-1]
		low = low[:len(low)-1]
		for x := n.readers; x != 0; x = c.edges[x].next {
			if r := c.nodes[c.edges[x].reader]; r.height <= n.height {
				r.height = n.height + 1
				low = append(low, r)
			}
		}
	}
}

// note records that the computation read n.
func (f *frame) note(n *node) {
	if n.mark != f.stamp {
		n.mark = f.stamp
		f.c.notes = append(f.c.notes, n.id)
	}
}

func (f *frame) mustBeRunning() {
	if f.c == nil || f.c.stack[len(f.c.stack)-1] != f {
		panic("memo: a Reader was used outside of the function that got it")
	}
}

func (f *frame) Get(key Key) any {
	f.mustBeRunning()
	n := f.c.facts[key]
	if n == nil {
		n = f.c.newFact(key)
		f.c.orphan(n)
	}
	if !(f.c.faults.ignoresMiss && n.value == nil || f.c.faults.ignoresGet && n.value != nil) {
		f.note(n)
	}
	return n.value
}

func (f *frame) List(index, entry string) []Key {
	f.mustBeRunning()
	c := f.c
	if !c.lists[index] {
		panic("memo: no index " + index)
	}
	n := c.entry(Key{index, entry})
	c.orphan(n)
	m := n.value.(*members)
	if !(c.faults.ignoresList && !m.empty() || c.faults.ignoresEmptyList && m.empty()) {
		f.note(n)
	}
	return m.list()
}

func (f *frame) Derived(kind, id string) any {
	f.mustBeRunning()
	c := f.c
	key := Key{kind, id}
	n := c.derived[key]
	if n == nil {
		if _, ok := c.known[kind]; !ok {
			panic("memo: no derived value " + kind)
		}
		n = c.add(&node{key: key, kind: derivedNode, dirty: true})
		c.derived[key] = n
		c.orphan(n)
	}
	c.final(n)
	if !c.faults.ignoresDerived {
		f.note(n)
	}
	return n.value
}
