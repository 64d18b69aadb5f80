//go:build integration

package bench

import (
	"fmt"
	"runtime"
	"testing"

	"tuplenet/controller/facts"
	"tuplenet/flows/compile"
	"tuplenet/flows/memo"
	"tuplenet/model"
	"tuplenet/model/store"
)

func heldMemory() int64 {
	runtime.GC()
	runtime.GC() // the first one only moves what is in pools aside
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Ports that come and go, each with a name, an address and a chassis of its own, leave nothing behind in what a node knows and
// compiles.
func TestMemoryDoesNotGrowOver10000AddDeleteCycles(t *testing.T) {
	f := facts.New()
	var first store.Update
	interfaces := map[string]compile.Interface{}
	deploySome(func(k memo.Key, v any) {
		switch v := v.(type) {
		case compile.Node:
			f.SetNode(v)
		case compile.Interface:
			interfaces[k.ID] = v
		case model.Object:
			first.Changes = append(first.Changes, store.Change{Ref: v.Ref(), Object: v, Revision: 1})
		}
	}, true, 10)
	f.SetInterfaces(interfaces)
	f.Apply(first)
	f.Update()
	cycle := func(i int) {
		p := port(i%10, 150+i%80, true)
		p.Name = fmt.Sprintf("cycle%d", i)
		b := &model.Binding{Port: p.Name, Chassis: fmt.Sprintf("hv%d", i%3)}
		f.Apply(store.Update{Changes: []store.Change{{Ref: p.Ref(), Object: p, Revision: int64(2 * i)}, {Ref: b.Ref(), Object: b, Revision: int64(2 * i)}}})
		if len(f.Update()) == 0 {
			t.Fatal("a new port changed nothing")
		}
		f.Apply(store.Update{Changes: []store.Change{{Ref: p.Ref(), Revision: int64(2*i + 1)}, {Ref: b.Ref(), Revision: int64(2*i + 1)}}})
		f.Update()
	}
	for i := range 1000 {
		cycle(i)
	}
	before, units := heldMemory(), f.Stats()
	for i := range 10_000 {
		cycle(1000 + i)
	}
	after := heldMemory()
	if s := f.Stats(); s.Facts != units.Facts || s.Entries != units.Entries || s.Derived != units.Derived || s.Units != units.Units || s.Edges != units.Edges {
		t.Errorf("the compiler holds %+v, before it held %+v", s, units)
	}
	if grown := after - before; grown > 200_000 {
		t.Errorf("memory grew by %d bytes, from %d to %d", grown, before, after)
	}
	t.Logf("%d bytes held before, %d after", before, after)
	runtime.KeepAlive(f)
}
