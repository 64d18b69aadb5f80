package bench

import (
	"fmt"
	"runtime"
	"testing"

	"tuplenet/flows/compile"
	"tuplenet/flows/memo"
)

// BenchmarkOnDemand compiles the 20,000 ports on a node that works on demand: from nothing, nobody wanted; then one port more and
// less is wanted, as for a first packet.
func BenchmarkOnDemand(b *testing.B) {
	var e *memo.Engine[compile.Output]
	start := func() {
		e = compile.New()
		deploy(func(k memo.Key, v any) {
			if n, is := v.(compile.Node); is {
				n.OnDemand = true
				v = n
			}
			e.Set(k, v)
		}, true)
		e.Update()
	}
	b.Run("full", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			start()
		}
		b.ReportMetric(float64(countFlows(e)), "flows")
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		b.ReportMetric(float64(m.HeapAlloc)/1e6, "heapMB")
	})
	b.Run("want", func(b *testing.B) {
		start()
		for i := 0; b.Loop(); i++ {
			k := memo.Key{Kind: compile.KindWanted, ID: fmt.Sprintf("ls7/p7-%d", i%100)}
			e.Set(k, compile.Wanted{Switch: "ls7"})
			if len(e.Update()) == 0 {
				b.Fatal("nothing changed")
			}
			e.Delete(k)
			e.Update()
		}
	})
}
