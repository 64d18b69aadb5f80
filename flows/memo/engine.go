package memo

import (
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Engine computes and keeps the outputs of a Config. It must be used by one goroutine. After a panic out of one of the
// configured functions the engine is in an undefined state and must be thrown away.
type Engine[O any] struct {
	core
	features []*feature[O]
	order    map[string]int // positions of features by name
	equal    func(a, b O) bool
	left     []*unit[O] // units that were let go in this round
}

type feature[O any] struct {
	Feature[O]
	roots  *node
	ids    []string         // the value of roots in the last round
	groups map[string]*node // if ids are groups
	units  map[string]*unit[O]
}

type unit[O any] struct {
	*node
	output O
	fresh  bool  // not compiled yet
	held   int32 // by how many groups, or by the roots
}

func deepEqual(a, b any) bool { return reflect.DeepEqual(a, b) }

// New makes an engine without facts. Nothing is computed before the first Update.
func New[O any](cfg Config[O]) *Engine[O] {
	e := &Engine[O]{core: newCore(), order: map[string]int{}, equal: cfg.EqualOutput}
	e.equalFact = cfg.EqualFact
	if e.equalFact == nil {
		e.equalFact = deepEqual
	}
	if e.equal == nil {
		e.equal = func(a, b O) bool { return reflect.DeepEqual(a, b) }
	}
	e.configure(cfg.Indexes, cfg.Joins, cfg.Derived)
	e.core.roots = e.rootsOf
	for i, f := range cfg.Features {
		if slices.ContainsFunc(cfg.Features[:i], func(o Feature[O]) bool { return o.Name == f.Name }) {
			panic("memo: two features " + f.Name)
		}
		n := e.add(&node{key: Key{f.Name, "roots"}, kind: rootsNode, feature: int32(i)})
		e.features = append(e.features, &feature[O]{Feature: f, roots: n, groups: map[string]*node{}, units: map[string]*unit[O]{}})
		e.order[f.Name] = i
		e.markDirty(n)
	}
	return e
}

func (e *Engine[O]) rootsOf(r Reader, feature int32) []string {
	return normalized(e.features[feature].Roots(r), e.features[feature].ids)
}

// Set makes value the fact under key; nil deletes it. The value is shared with every reader from now on and must not be
// modified. Nothing is computed before Update: several Sets of one key count as the last of them, and setting what is
// already there counts as nothing.
func (e *Engine[O]) Set(key Key, value any) { e.setFact(key, value) }

// Delete removes the fact under key, if there is one.
func (e *Engine[O]) Delete(key Key) { e.setFact(key, nil) }

// Update brings all outputs up to date with the facts and returns what is different from before, sorted by the order of
// the features, then by id.
func (e *Engine[O]) Update() []Change[O] {
	e.start()
	e.applyFacts()
	return e.finish()
}

// Recompute does what Update does, but takes everything for changed: it lists the facts in the indexes anew and runs every
// function. It returns only what really is different, which is nothing right after Update, unless a function is not pure or
// the engine is broken. It is the oracle for Update.
func (e *Engine[O]) Recompute() []Change[O] {
	e.start()
	e.applyFacts()
	e.rebuildIndexes()
	for _, n := range e.derived {
		if !e.faults.recomputesLess {
			e.markDirty(n)
		}
	}
	for _, f := range e.features {
		e.markDirty(f.roots)
		for _, g := range f.groups {
			if !e.faults.recomputesNoGroups {
				e.markDirty(g)
			}
		}
		for _, u := range f.units {
			e.markDirty(u.node)
		}
	}
	return e.finish()
}

func (e *Engine[O]) start() {
	e.mustBeIdle()
	e.busy = true
	e.round++
	e.stats.Updates++
	e.floor = 0
}

func (e *Engine[O]) finish() []Change[O] {
	e.settle()
	e.moveRoots()
	e.moveMembers()
	changes := e.dropLeft()
	for _, n := range e.dirtyUnits {
		if u := e.features[n.feature].units[n.key.ID]; u != nil && u.node == n {
			if ch, ok := e.compile(u); ok {
				changes = append(changes, ch)
			}
		}
	}
	clear(e.dirtyUnits)
	e.dirtyUnits = e.dirtyUnits[:0]
	e.collect()
	e.floor = 0
	e.busy = false
	slices.SortFunc(changes, func(a, b Change[O]) int {
		if a.Unit.Feature != b.Unit.Feature {
			return e.order[a.Unit.Feature] - e.order[b.Unit.Feature]
		}
		return strings.Compare(a.Unit.ID, b.Unit.ID)
	})
	return changes
}

// compile runs the feature of a unit. It returns false if the output is the same as before.
func (e *Engine[O]) compile(u *unit[O]) (Change[O], bool) {
	f := e.features[u.feature]
	frame := e.begin(u.node)
	e.stats.UnitRuns++
	output := f.Compile(frame, u.key.ID)
	e.end(frame)
	if !u.fresh && e.equal(u.output, output) {
		e.stats.CutOffs++
		return Change[O]{}, false
	}
	ch := Change[O]{Unit: Unit{f.Name, u.key.ID}, Old: u.output, New: output, Fresh: u.fresh}
	u.output, u.fresh = output, false
	return ch, true
}

// Outputs calls fn for every unit with its output as of the last round, sorted by the order of the features, then by id.
// fn must not call the engine.
func (e *Engine[O]) Outputs(fn func(Unit, O)) {
	for _, f := range e.features {
		for _, id := range slices.Sorted(maps.Keys(f.units)) {
			fn(Unit{f.Name, id}, f.units[id].output)
		}
	}
}
