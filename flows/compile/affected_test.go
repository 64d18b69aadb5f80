package compile_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tuplenet/flows/compile"
	"tuplenet/flows/memo"
	"tuplenet/model"
)

// Whoever compiles something else after a change is among those that Affected names.
func TestP16_NobodyIsAffectedWhoIsNotNamed(t *testing.T) {
	named, affected := 0, 0
	check(t, topologies, func(t *rapid.T) {
		w := anyEdges(t).world
		if rapid.Bool().Draw(t, "without edges") {
			w = anyWorld(t)
		}
		before := w.objects()
		had := map[string]map[memo.Unit]compile.Output{}
		for _, c := range w.chassis() {
			had[c] = outputs(compileFacts(w.see(c)))
		}
		ref := one(t, "object", slices.SortedFunc(maps.Keys(before), func(a, b model.Ref) int { return strings.Compare(a.String(), b.String()) }))
		if o := anyChange(t, w, before[ref]); o == nil {
			delete(w.facts, compile.FactKey(ref))
		} else {
			w.put(o)
		}
		after := w.objects()
		names := map[string]bool{}
		for _, old := range []bool{false, true} { // an addition is a deletion the other way round
			a, b := compile.Sight{Objects: before}, compile.Sight{Objects: after}
			if old {
				a, b = b, a
			}
			for _, c := range compile.Affected(a, b, []model.Ref{ref}) {
				names[c] = true
			}
		}
		digest := map[string]bool{}
		for _, c := range compile.Affected(w.around(before, ref), w.around(after, ref), []model.Ref{ref}) {
			digest[c] = true
		}
		for _, c := range w.chassis() {
			if ref == (model.Ref{Kind: model.KindChassis, Name: c}) && after[ref] == nil {
				continue // it is gone itself
			}
			if names[c] {
				named++
			}
			if maps.EqualFunc(had[c], outputs(compileFacts(w.see(c))), compile.Output.Equal) {
				continue
			}
			affected++
			if !names[c] || !digest[c] {
				t.Fatalf("%s changed (%+v to %+v), %s compiles something else, and only %v are named, by what is around it %v", ref, before[ref], after[ref], c, names, digest)
			}
		}
	})
	t.Logf("%d named, %d of them compiled something else", named, affected)
	if affected == 0 {
		t.Error("no change changed anything")
	}
}

func (w *world) objects() map[model.Ref]model.Object {
	out := map[model.Ref]model.Object{}
	for _, v := range w.facts {
		if o, ok := v.(model.Object); ok {
			out[o.Ref()] = o
		}
	}
	return out
}

// around is what Between of model/store reads of a state in which an object differs.
func (w *world) around(objects map[model.Ref]model.Object, ref model.Ref) compile.Sight {
	s := compile.Sight{Objects: map[model.Ref]model.Object{}, Present: map[string][]string{}}
	ends := map[string]bool{}
	for r, o := range objects {
		p, end := o.(*model.LogicalRouterPort)
		if end {
			ends[p.Peer] = true
		}
		_, router := o.(*model.LogicalRouter)
		_, chassis := o.(*model.Chassis)
		_, nat := o.(*model.NATRule)
		if end || router || chassis || nat && ref.Kind == model.KindNAT || r == ref || r.Kind == model.KindBinding && ref.Kind == model.KindSwitchPort && r.Name == ref.Name {
			s.Objects[r] = o
		}
	}
	for r, o := range objects {
		p, ok := o.(*model.LogicalSwitchPort)
		if !ok {
			continue
		}
		if ends[p.Name] || ref.Kind == model.KindBinding && p.Name == ref.Name {
			s.Objects[r] = o
		}
		for _, c := range w.chassis() {
			if w.ports[c][p.Name] != 0 {
				s.Present[c] = append(s.Present[c], p.Switch)
			}
		}
	}
	return s
}

// anyChange is the object with another value in a field, or nil: it is deleted.
func anyChange(t *rapid.T, w *world, o model.Object) model.Object {
	if rapid.Bool().Draw(t, "delete") {
		return nil
	}
	switch o := o.(type) {
	case *model.LogicalSwitch:
		c := *o
		c.VNI = 4000
		return &c
	case *model.LogicalRouter:
		c := *o
		c.Chassis = one(t, "pin", append(w.chassis(), ""))
		return &c
	case *model.LogicalRouterPort:
		c := *o
		c.MAC[0] = 0xfe
		return &c
	case *model.LogicalSwitchPort:
		c := *o
		c.NoPortSecurity = !c.NoPortSecurity
		return &c
	case *model.StaticRoute:
		c := *o
		c.NextHop = c.NextHop.Next()
		return &c
	case *model.NATRule:
		c := *o
		c.External = c.External.Next()
		return &c
	case *model.Chassis:
		c := *o
		c.Gateway = !c.Gateway
		return &c
	case *model.Binding:
		c := *o
		c.Chassis = one(t, "to", w.chassis())
		return &c
	}
	return nil
}

func TestP16_AChangeOfAPortConcernsOnlyTheChassisOfItsIsland(t *testing.T) {
	w := parse(t, `
chassis hv1 192.0.2.1
chassis hv2 192.0.2.2
chassis hv3 192.0.2.3
gateway edge 192.0.2.4
switch A 1
switch B 2
switch other 3
switch out 4
router R 10
router E 11 edge
link R A 10.0.0.1/24
link R B 10.0.1.1/24
link R out 10.0.9.1/24
link E out 10.0.9.2/24
link E other 10.0.3.1/24
port A a f2:01:00:00:00:01 10.0.0.9
port B b f2:01:00:00:00:02 10.0.1.9
port other c f2:01:00:00:00:03 10.0.3.9
bind a hv1
bind b hv2
bind c hv3
nat E n 10.0.0.9/32 dnat 192.0.2.200
`)
	objects := w.objects()
	for ref, want := range map[model.Ref]string{
		{Kind: model.KindSwitchPort, Parent: "A", Name: "a"}:     "edge hv1 hv2",
		{Kind: model.KindSwitchPort, Parent: "other", Name: "c"}: "edge hv3",
		{Kind: model.KindBinding, Name: "c"}:                     "edge hv3",
		{Kind: model.KindNAT, Parent: "E", Name: "n"}:            "edge hv1 hv2 hv3",
		{Kind: model.KindChassis, Name: "hv3"}:                   "edge hv1 hv2 hv3",
	} {
		without := maps.Clone(objects)
		delete(without, ref)
		if got := strings.Join(compile.Affected(compile.Sight{Objects: objects}, compile.Sight{Objects: without}, []model.Ref{ref}), " "); got != want {
			t.Errorf("%s: %s, want %s", ref, got, want)
		}
	}
	if got := compile.Affected(compile.Sight{Objects: objects}, compile.Sight{Objects: objects}, nil); len(got) != 0 {
		t.Errorf("nothing changed: %v", got)
	}
}

// Of many new objects those that Alike tells apart name everybody whom all of them concern.
func TestP16_OfNewObjectsOneOfEachKindOfPlaceNamesEverybody(t *testing.T) {
	fewer := 0
	check(t, topologies, func(t *rapid.T) {
		w := anyEdges(t).world
		before, after := w.objects(), w.objects()
		var all []model.Ref
		some := map[string]model.Ref{}
		for _, ref := range slices.SortedFunc(maps.Keys(after), func(a, b model.Ref) int { return strings.Compare(a.String(), b.String()) }) {
			if ref.Kind == model.KindBinding || ref.Kind == model.KindChassis || !rapid.Bool().Draw(t, ref.String()+" is new") {
				continue
			}
			all = append(all, ref)
			some[compile.Alike(after[ref])] = ref
			delete(before, ref)
			delete(before, model.Ref{Kind: model.KindBinding, Name: ref.Name}) // a port that is not there is not bound, and once it is, that is another change
			delete(after, model.Ref{Kind: model.KindBinding, Name: ref.Name})
		}
		if len(some) < len(all) {
			fewer++
		}
		old, now := compile.Sight{Objects: before}, compile.Sight{Objects: after}
		want := compile.Affected(old, now, all)
		if got := compile.Affected(old, now, slices.Collect(maps.Values(some))); !slices.Equal(got, want) {
			t.Fatalf("of %v: %v, of those that are not alike, %v: %v", all, want, some, got)
		}
	})
	if fewer == 0 {
		t.Error("no two objects were alike")
	}
}
