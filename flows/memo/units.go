package memo

// moveRoots takes over the ids, or groups, of the features whose roots have changed.
func (e *Engine[O]) moveRoots() {
	for _, i := range e.changedRoots {
		f := e.features[i]
		first := f.ids == nil
		old, now := f.ids, f.roots.value.([]string)
		f.ids = now
		if f.Members != nil {
			difference(old, now, func(group string) { e.addGroup(f, i, group) }, func(group string) { e.dropGroup(f, group) })
			continue
		}
		difference(old, now, func(id string) {
			if first || !e.faults.losesRootAdd {
				e.hold(f, i, id)
			}
		}, func(id string) {
			if !e.faults.losesRootDelete {
				e.release(f, id)
			}
		})
	}
	e.changedRoots = e.changedRoots[:0]
}

func (e *Engine[O]) addGroup(f *feature[O], position int32, group string) {
	n := e.add(&node{key: Key{f.Name, group}, kind: groupNode, feature: position, height: unitHeight, value: []string(nil)})
	f.groups[group] = n
	if !e.faults.losesGroupAdd {
		e.markDirty(n)
	}
}

func (e *Engine[O]) dropGroup(f *feature[O], group string) {
	n := f.groups[group]
	delete(f.groups, group)
	for _, id := range n.value.([]string) {
		if !e.faults.losesGroupDelete {
			e.release(f, id)
		}
	}
	if !e.faults.keepsReadsOfGroups {
		e.forgetReads(n)
	}
	e.remove(n)
}

// moveMembers computes the groups that are there and dirty, and takes over their ids. It comes after the groups that are gone
// are dropped, so that Members is never asked about one of those.
func (e *Engine[O]) moveMembers() {
	for _, n := range e.dirtyGroups {
		f := e.features[n.feature]
		if f.groups[n.key.ID] != n {
			continue
		}
		frame := e.begin(n)
		e.stats.DerivedRuns++
		old := n.value.([]string)
		now := normalized(f.Members(frame, n.key.ID), old)
		e.end(frame)
		n.value = now
		same := true
		difference(old, now, func(id string) {
			same = false
			e.hold(f, n.feature, id)
		}, func(id string) {
			same = false
			if !e.faults.losesMemberDelete {
				e.release(f, id)
			}
		})
		if same {
			e.stats.CutOffs++
		}
	}
	clear(e.dirtyGroups)
	e.dirtyGroups = e.dirtyGroups[:0]
}

// hold counts one more who has the id; the first makes its unit.
func (e *Engine[O]) hold(f *feature[O], position int32, id string) {
	u := f.units[id]
	if u == nil {
		n := e.add(&node{key: Key{f.Name, id}, kind: unitNode, feature: position, height: unitHeight})
		u = &unit[O]{node: n, fresh: true}
		f.units[id] = u
		e.markDirty(n)
	}
	u.held++
}

// release counts one less. Whether nobody is left is known when all groups are computed: an id may move from one to another.
func (e *Engine[O]) release(f *feature[O], id string) {
	u := f.units[id]
	u.held--
	if e.faults.forgetsOtherGroups {
		u.held = 0
	}
	if u.held == 0 {
		e.left = append(e.left, u)
	}
}

// dropLeft drops the units that nobody holds any more.
func (e *Engine[O]) dropLeft() (gone []Change[O]) {
	for _, u := range e.left {
		if u.held > 0 && !e.faults.dropsWhoMoves {
			continue
		}
		f := e.features[u.feature]
		delete(f.units, u.key.ID)
		e.forgetReads(u.node)
		e.remove(u.node)
		gone = append(gone, Change[O]{Unit: Unit{f.Name, u.key.ID}, Old: u.output, Gone: true})
	}
	clear(e.left)
	e.left = e.left[:0]
	return gone
}
