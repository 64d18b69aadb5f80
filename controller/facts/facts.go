// Package facts is what a node knows: it takes objects from the store and interfaces from OVSDB, decides which of them
// count, and feeds those to the incremental compiler. It owns the compiler's engine; nobody else sets facts. Package controller
// calls it.
//
// Hand-edited stores may hold two objects that claim the same thing (a VNI, a port key, an address). The one written earlier
// (lower revision) keeps it; the other is out of service and reported, and comes back by itself when the claim is free. What is
// in service depends on what the store holds alone, not on the order in which it came.
//
// A port whose interface here is newer than its binding is here before the store says so (Claim).
//
// One goroutine owns a Facts; nothing here blocks or does I/O.
package facts

import (
	"cmp"
	"container/heap"
	"fmt"
	"slices"

	"tuplenet/flows/compile"
	"tuplenet/flows/memo"
	"tuplenet/model"
	"tuplenet/model/store"
)

// Facts holds the present state of the world as one node sees it.
type Facts struct {
	engine  *memo.Engine[compile.Output]
	objects objects
	claims  claims
	losers  map[*entry]bool // who does not hold everything that it claims
	needs   needs
	invalid map[model.Ref]string
	ifaces  map[string]compile.Interface
	node    compile.Node
	broken  map[memo.Unit][]model.Problem // problems that the compiler found

	neighbours map[string]compile.Neighbour // learnt from the physical network, by id
	watched    map[string]compile.Watched   // by chassis
	uplinks    map[string]compile.Uplink    // by VXLAN device
	wanted     map[model.Ref]bool           // ports of other chassis
	claimed    map[model.Ref]int64          // bindings that count as this chassis' own → the revision of what they say instead
}

// entry is an object and the revision at which it was last written.
type entry struct {
	object model.Object
	rev    int64
	live   bool // it holds everything that it claims, so it is a fact

	prev, next *entry // of those that belong to the same switch or router
}

func (e *entry) ref() model.Ref { return e.object.Ref() }

// New makes an empty Facts.
func New() *Facts {
	return &Facts{
		engine:  compile.New(),
		objects: newObjects(),
		claims:  newClaims(),
		losers:  map[*entry]bool{},
		needs:   newNeeds(),
		invalid: map[model.Ref]string{},
		ifaces:  map[string]compile.Interface{},
		broken:  map[memo.Unit][]model.Problem{},
		wanted:  map[model.Ref]bool{},
		claimed: map[model.Ref]int64{},
	}
}

// Apply takes a batch of changes from the store.
func (f *Facts) Apply(u store.Update) {
	if u.Reset && f.objects.len()+len(f.invalid) > 0 {
		f.forgetOthers(u.Changes)
	}
	for _, c := range u.Changes {
		delete(f.invalid, c.Ref)
		if c.Problem != "" {
			f.invalid[c.Ref] = c.Problem
		}
		f.replace(c.Ref, c.Object, c.Revision)
	}
	f.settle()
}

// forgetOthers removes every object that a complete new state does not list.
func (f *Facts) forgetOthers(changes []store.Change) {
	listed := make(map[model.Ref]bool, len(changes))
	for _, c := range changes {
		listed[c.Ref] = true
	}
	for ref := range f.objects.all() {
		if !listed[ref] {
			f.replace(ref, nil, 0)
		}
	}
	for ref := range f.invalid {
		if !listed[ref] {
			delete(f.invalid, ref)
		}
	}
}

// replace takes the new state of one object, nil if there is none. Whether it is in service is decided by settle.
func (f *Facts) replace(ref model.Ref, object model.Object, rev int64) {
	old := f.objects.get(ref)
	f.needs.changed(ref)
	if instead, ok := f.claimed[ref]; ok && (object == nil || rev != instead) {
		delete(f.claimed, ref)
	}
	if old != nil {
		f.release(old)
	}
	if object == nil {
		if old != nil && old.live {
			f.engine.Delete(compile.FactKey(ref))
		}
		return
	}
	e := &entry{object: object, rev: rev}
	f.objects.put(ref, e)
	f.needs.add(e)
	contested := f.claims.add(e) // else there is nothing to settle
	if !contested || old != nil && old.live {
		e.live = true
		f.serve(e)
	}
}

// serve tells the compiler of an object in service.
func (f *Facts) serve(e *entry) {
	o := e.object
	if _, ok := f.claimed[e.ref()]; ok {
		o = &model.Binding{Port: e.ref().Name, Chassis: f.node.Chassis}
	}
	f.engine.Set(compile.FactKey(e.ref()), o)
}

// release takes an object out of everything but the engine.
func (f *Facts) release(e *entry) {
	f.claims.remove(e)
	f.needs.remove(e)
	f.objects.remove(e)
	delete(f.losers, e)
}

// settle decides again who holds each claim that changed, and who is in service because of it. Whether an object is in service
// depends on older ones only, so the oldest is decided first; who comes into or goes out of service touches the younger ones
// with a claim in common.
func (f *Facts) settle() {
	touched := f.claims.takeTouched()
	if len(touched) == 0 {
		return
	}
	var due queue
	queued := map[*entry]bool{}
	push := func(e *entry) {
		if !queued[e] {
			queued[e] = true
			heap.Push(&due, e)
		}
	}
	for hash := range touched {
		for _, e := range f.claims.who(hash) {
			push(e)
		}
	}
	for due.Len() > 0 {
		e := heap.Pop(&due).(*entry)
		holds := f.rival(e) == nil
		if holds {
			delete(f.losers, e)
		} else {
			f.losers[e] = true
		}
		if holds == e.live {
			continue
		}
		if e.live = holds; holds {
			f.serve(e)
		} else {
			f.engine.Delete(compile.FactKey(e.ref()))
		}
		f.needs.changed(e.ref())
		for other := range f.claims.others(e) {
			if older(e, other) {
				push(other)
			}
		}
	}
}

// rival is an older object in service that has something that e claims, nil if there is none; of several it is that with the first of the claims
// of e, of which each is had by one at most.
func (f *Facts) rival(e *entry) (rival *entry) {
	var claims []string
	for other := range f.claims.others(e) {
		if !other.live || !older(other, e) {
			continue
		}
		if claims == nil {
			claims = model.Claims(e.object)
		}
		if i := firstOf(claims, other); i >= 0 {
			claims, rival = claims[:i], other
		}
	}
	return rival
}

func older(a, b *entry) bool {
	if a.rev != b.rev {
		return a.rev < b.rev
	}
	return a.ref().String() < b.ref().String()
}

// queue gives the oldest entry first.
type queue []*entry

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return older(q[i], q[j]) }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(e any)        { *q = append(*q, e.(*entry)) }
func (q *queue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

// SetNode takes what the node knows of itself.
func (f *Facts) SetNode(n compile.Node) {
	f.node = n
	f.engine.Set(memo.Key{Kind: compile.KindNode}, n)
}

// Node returns what was set last.
func (f *Facts) Node() compile.Node { return f.node }

// SetInterfaces takes the complete set of local interfaces that are ready, by the name of their port.
func (f *Facts) SetInterfaces(ifaces map[string]compile.Interface) {
	replace(f, compile.KindInterface, f.ifaces, ifaces)
	f.ifaces = ifaces
}

// replace tells the compiler the complete set of facts of a kind, by name, in place of those that were.
func replace[V any](f *Facts, kind string, was, now map[string]V) {
	for name := range was {
		if _, ok := now[name]; !ok {
			f.engine.Delete(memo.Key{Kind: kind, ID: name})
		}
	}
	for name, v := range now {
		f.engine.Set(memo.Key{Kind: kind, ID: name}, v)
	}
}

// Update compiles what changed and returns the units whose output is different.
func (f *Facts) Update() []memo.Change[compile.Output] { return f.note(f.engine.Update()) }

// Recompute compiles everything again; a correct engine returns no change.
func (f *Facts) Recompute() []memo.Change[compile.Output] { return f.note(f.engine.Recompute()) }

func (f *Facts) note(changes []memo.Change[compile.Output]) []memo.Change[compile.Output] {
	for _, c := range changes {
		if len(c.New.Problems) > 0 {
			f.broken[c.Unit] = c.New.Problems
		} else {
			delete(f.broken, c.Unit)
		}
	}
	return changes
}

// Problems lists the objects that are out of service, each with its reason, sorted by key.
func (f *Facts) Problems() []model.Problem {
	var all []model.Problem
	for ref, why := range f.invalid {
		all = append(all, model.Problem{Key: ref.String(), Reason: why})
	}
	for e := range f.losers {
		if r := f.rival(e); r != nil {
			all = append(all, model.Problem{Key: e.ref().String(), Reason: conflict(e, r)})
		}
	}
	all = append(all, f.dangling()...)
	for _, problems := range f.broken {
		all = append(all, slices.DeleteFunc(slices.Clone(problems), f.consequence)...)
	}
	slices.SortFunc(all, func(a, b model.Problem) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Reason, b.Reason))
	})
	return slices.Compact(all)
}

// consequence tells whether a problem that the compiler found comes from an object that is listed itself.
func (f *Facts) consequence(p model.Problem) bool {
	ref, err := model.ParseRef(p.Key)
	if err != nil {
		return false
	}
	e := f.objects.get(ref)
	return e != nil && ref.Kind.HasParent() && f.excused(e.object)
}

// conflict names what e claims and the rival has.
func conflict(e, rival *entry) string {
	return fmt.Sprintf("%s is already held by %s", inCommon(e, rival), rival.ref())
}

// Object returns an object that is in service, nil if there is none.
func (f *Facts) Object(ref model.Ref) model.Object {
	if e := f.objects.get(ref); e != nil && e.live {
		return e.object
	}
	return nil
}

// Revision is that at which an object in service was last written, 0 if there is none.
func (f *Facts) Revision(ref model.Ref) int64 {
	if e := f.objects.get(ref); e != nil && e.live {
		return e.rev
	}
	return 0
}

// Claim lets a port be on this chassis (SetNode) though its binding names another: its interface here is newer, and the binding is about to be written.
// It holds for the binding as it is now. Whatever else the store says of it, and Unclaim, ends it.
func (f *Facts) Claim(port string) {
	e := f.objects.get(model.Ref{Kind: model.KindBinding, Name: port})
	if e == nil || !e.live || e.object.(*model.Binding).Chassis == f.node.Chassis {
		return
	}
	f.claimed[e.ref()] = e.rev
	f.serve(e)
}

// Unclaim lets the binding of a port count as it is.
func (f *Facts) Unclaim(port string) {
	ref := model.Ref{Kind: model.KindBinding, Name: port}
	if _, ok := f.claimed[ref]; ok {
		delete(f.claimed, ref)
		f.serve(f.objects.get(ref))
	}
}

// Holder returns the object in service that holds a claim, nil if there is none.
func (f *Facts) Holder(claim string) model.Object {
	if e := f.claims.holder(claim); e != nil {
		return e.object
	}
	return nil
}

// Explain lists what a unit read.
func (f *Facts) Explain(u memo.Unit) []string { return f.engine.Explain(u) }

// Stats tells how much the compiler holds and did.
func (f *Facts) Stats() memo.Stats { return f.engine.Stats() }
