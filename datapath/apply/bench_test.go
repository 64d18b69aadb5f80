package apply

import (
	"context"
	"fmt"
	"runtime"
	"testing"
)

const benchFlows = 60_000

// benchSets is what 20,000 owners want: three flows each.
func benchSets() map[string][]Flow {
	out := map[string][]Flow{}
	for n := range benchFlows {
		owner := fmt.Sprintf("port/%05d", n/3)
		out[owner] = append(out[owner], fl(uint8(n%3), 10, n, 1))
	}
	return out
}

func BenchmarkFirstCommit(b *testing.B) {
	sets := benchSets()
	b.ReportAllocs()
	for b.Loop() {
		a := New(Config{})
		for owner, flows := range sets {
			a.Put(owner, &Set{Flows: flows})
		}
		a.Commit(1)
	}
}

// An empty switch is filled: what is held afterwards, beside the flows themselves, and what it takes for a while.
func BenchmarkFirstRound(b *testing.B) {
	sets := benchSets()
	b.ReportAllocs()
	var a *Applier
	heap := func() float64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	before := heap()
	for b.Loop() {
		a = New(Config{})
		for owner, flows := range sets {
			a.Put(owner, &Set{Flows: flows})
		}
		a.Commit(1)
		s := silentSession{}
		if err := a.readBack(context.Background(), s); err != nil {
			b.Fatal(err)
		}
		if err := a.round(context.Background(), s, true); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric((heap()-before)/benchFlows, "heldB/flow")
	runtime.KeepAlive(a)
}

// A switch that has everything is read back and found to be right.
func BenchmarkReadBackWithoutDifference(b *testing.B) {
	a := New(Config{})
	sw := newFakeSwitch()
	for owner, flows := range benchSets() {
		a.Put(owner, &Set{Flows: flows})
		for _, f := range flows {
			sw.flows[f.KeyHash()] = fakeFlow{a.cookie(f.Hash()), f.Table, f.Priority, f.Packed, 0}
		}
	}
	a.Commit(1)
	s := &fakeSession{sw: sw, bundlesLeft: -1}
	b.ReportAllocs()
	for b.Loop() {
		if err := a.readBack(context.Background(), s); err != nil {
			b.Fatal(err)
		}
		if err := a.round(context.Background(), s, true); err != nil {
			b.Fatal(err)
		}
	}
	if len(sw.sent) > 0 {
		b.Fatal(sw.sent)
	}
}

// One owner changes one of his flows: what it costs apart from the switch.
func BenchmarkOneChange(b *testing.B) {
	a := New(Config{})
	for owner, flows := range benchSets() {
		a.Put(owner, &Set{Flows: flows})
	}
	a.want.follow(true)
	a.Commit(1)
	s := silentSession{}
	if err := a.round(context.Background(), s, true); err != nil {
		b.Fatal(err)
	}
	versions := [][]Flow{{fl(0, 10, 1, 1), fl(1, 10, 2, 1), fl(2, 10, 3, 1)}, {fl(0, 10, 1, 1), fl(1, 10, 2, 1), fl(2, 10, 3, 2)}}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		a.Put("port/one", &Set{Flows: versions[i%2]})
		a.Commit(int64(i))
		if err := a.round(context.Background(), s, false); err != nil {
			b.Fatal(err)
		}
	}
}

// silentSession says yes to everything.
type silentSession struct{ session }

func (silentSession) TableCounts(context.Context) (map[uint8]int, error)          { return nil, nil }
func (silentSession) DumpFlows(context.Context, selection, func(foundFlow)) error { return nil }
func (silentSession) DumpGroups(context.Context) ([]foundGroup, error)            { return nil, nil }
func (silentSession) Bundle(context.Context, []message) error                     { return nil }
func (silentSession) Barrier(context.Context) error                               { return nil }
