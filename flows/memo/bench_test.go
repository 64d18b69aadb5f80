package memo

import (
	"fmt"
	"runtime"
	"testing"
)

// The load of a big network: 20,000 objects in 200 groups, three units each with about eight reads, some of them shared
// derived values, one that all units read.
const (
	benchObjects = 20_000
	benchGroups  = 200
)

type object struct{ group, place, colour string }

var colours = Key{"colours", "all"}

func benchKey(i int) Key { return Key{"object", fmt.Sprintf("o%05d", i)} }

func benchObject(i int) *object {
	return &object{fmt.Sprintf("g%03d", i%benchGroups), fmt.Sprintf("place%02d", i%50), "red"}
}

func benchEngine(grouped bool) *Engine[string] {
	same := func(a, b any) bool { return a == b }
	get := func(r Reader, id string) *object {
		if o, ok := r.Get(Key{"object", id}).(*object); ok {
			return o
		}
		return &object{}
	}
	unit := func(r Reader, id string) string {
		o := get(r, id)
		r.Get(Key{"group", o.group})
		r.Get(Key{"absent", id})
		r.Get(Key{"place", o.place})
		r.List("at", o.place)
		return o.colour + r.Derived("where", o.place).(string) + r.Derived("name", id).(string) + r.Derived("all", "").(string)
	}
	roots := func(r Reader) []string {
		members := r.List("kind", "object")
		out := make([]string, len(members))
		for i, k := range members {
			out[i] = k.ID
		}
		return out
	}
	feature := func(name string) Feature[string] {
		if !grouped {
			return Feature[string]{Name: name, Roots: roots, Compile: unit}
		}
		return Feature[string]{Name: name, Compile: unit, Roots: func(r Reader) []string { return ids(r.List("kind", "group")) },
			Members: func(r Reader, g string) []string { return ids(r.List("in", g)) }}
	}
	return New(Config[string]{
		EqualFact:   same,
		EqualOutput: func(a, b string) bool { return a == b },
		Indexes: map[string]Index{
			"kind": {Entries: func(k Key, _ any) []string { return []string{k.Kind} }},
			"in": {Entries: func(k Key, v any) []string {
				if o, ok := v.(*object); ok {
					return []string{o.group}
				}
				return nil
			}},
			"at": {Entries: func(k Key, v any) []string {
				if o, ok := v.(*object); ok {
					return []string{o.place}
				}
				return nil
			}},
		},
		Derived: map[string]Derived{
			"name":  {Equal: same, Compute: func(r Reader, id string) any { return get(r, id).group + id }},
			"where": {Equal: same, Compute: func(r Reader, id string) any { r.Get(Key{"place", id}); return id }},
			"all":   {Equal: same, Compute: func(r Reader, _ string) any { s, _ := r.Get(colours).(string); return s[:min(1, len(s))] }},
		},
		Features: []Feature[string]{feature("one"), feature("two"), feature("three")},
	})
}

func filledBench(grouped bool) *Engine[string] {
	e := benchEngine(grouped)
	for i := range benchGroups {
		e.Set(Key{"group", fmt.Sprintf("g%03d", i)}, true)
	}
	for i := range benchObjects {
		e.Set(benchKey(i), benchObject(i))
	}
	e.Update()
	return e
}

func BenchmarkFull(b *testing.B) {
	b.ReportAllocs()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var e *Engine[string]
	for b.Loop() {
		e = filledBench(false)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	s := e.Stats()
	b.ReportMetric(float64(s.Edges), "edges")
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(s.Edges), "heapB/edge")
}

func BenchmarkRecompute(b *testing.B) {
	e := filledBench(false)
	b.ReportAllocs()
	for b.Loop() {
		if ch := e.Recompute(); len(ch) != 0 {
			b.Fatal(ch[0])
		}
	}
}

// One object changes, and stays where it is.
func BenchmarkChangeOne(b *testing.B) {
	e := filledBench(false)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		o := benchObject(77)
		o.colour = fmt.Sprint(i)
		e.Set(benchKey(77), o)
		if ch := e.Update(); len(ch) != 3 {
			b.Fatal(len(ch))
		}
	}
}

// One object, in a place of its own, comes and goes, so that the list of all of them, and the roots of three features, change;
// or, with groups, the list of its group.
func BenchmarkAddAndDeleteOne(b *testing.B) {
	for _, grouped := range []bool{false, true} {
		b.Run(map[bool]string{false: "among-all", true: "in-a-group"}[grouped], func(b *testing.B) {
			e := filledBench(grouped)
			alone := &object{"g001", "elsewhere", "red"}
			b.ReportAllocs()
			for b.Loop() {
				e.Set(Key{"object", "o07777b"}, alone)
				if ch := e.Update(); len(ch) != 3 {
					b.Fatal(len(ch))
				}
				e.Delete(Key{"object", "o07777b"})
				if ch := e.Update(); len(ch) != 3 {
					b.Fatal(len(ch))
				}
			}
		})
	}
}

// A derived value with 60,000 readers is computed and comes out equal.
func BenchmarkCutOffBeforeManyReaders(b *testing.B) {
	e := filledBench(false)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		e.Set(colours, fmt.Sprint("x", i))
		ch := e.Update()
		if i > 0 && len(ch) != 0 {
			b.Fatal(len(ch))
		}
	}
}
