package apply

import (
	"testing"
	"time"

	"tuplenet/flows/of"
)

// manyFlows are n flows in two tables.
func manyFlows(n int) (flows []Flow) {
	for i := range n {
		flows = append(flows, fl(uint8(1+i%2), 1, i, 1))
	}
	return flows
}

func TestAPassIsSpreadOverItsTicksAndSeesEverything(t *testing.T) {
	in(t, Config{Steps: 10}, func(b *bench) {
		b.connect()
		b.put("a", manyFlows(20_000))
		b.sw.read = 0
		most := 0
		for range 10 {
			before := b.sw.read
			b.tick()
			most = max(most, b.sw.read-before)
		}
		if s := b.Stats(); b.sw.read != 20_000 || most > 4_000 || s.Passes != 1 || s.Healed != 0 {
			t.Fatalf("%d flows were read, at most %d at a tick, stats %+v", b.sw.read, most, s)
		}
	})
}

func TestABudgetMakesThePassLonger(t *testing.T) {
	in(t, Config{Steps: 2, Budget: 3_000}, func(b *bench) {
		b.connect()
		b.put("a", manyFlows(20_000))
		b.sw.read = 0
		ticks := 0
		for b.Stats().Passes == 0 {
			before := b.sw.read
			b.tick()
			if n := b.sw.read - before; n > 3_500 {
				t.Fatalf("%d flows were read at one tick", n)
			}
			ticks++
		}
		if b.sw.read != 20_000 || ticks < 7 {
			t.Fatalf("%d flows in %d ticks", b.sw.read, ticks)
		}
	})
}

func TestAnAuditThatOnlyReportsTellsOnceAndTouchesNothing(t *testing.T) {
	var told []Finding
	meters := []of.Meter{{ID: 1, RatePPS: 10, Burst: 10}}
	in(t, Config{ReportOnly: true, Steps: 3, Meters: meters, OnDrift: func(f []Finding, _ time.Time) { told = append(told, f...) }}, func(b *bench) {
		b.connect()
		lost, altered := fl(0, 1, 1, 1), fl(0, 1, 2, 1)
		b.put("a", []Flow{lost, altered, fl(0, 1, 3, 1)}, grp(7, 1))
		f := b.sw.flows[altered.KeyHash()]
		f.flow = fl(0, 1, 2, 66).Packed
		b.sw.flows[altered.KeyHash()] = f
		delete(b.sw.flows, lost.KeyHash())
		stray := fl(4, 4, 4, 4)
		b.sw.flows[stray.KeyHash()] = fakeFlow{cookie: b.cookie(stray.Hash()), table: 4, priority: 4, flow: stray.Packed}
		delete(b.sw.groups, 7)
		delete(b.sw.meters, 1)
		b.sw.takeSent()
		for range 9 {
			b.tick()
		}
		b.sent()
		if s := b.Stats(); s.Drift != [numKinds]uint64{Missing: 3, Foreign: 1, Altered: 1} || s.Healed != 0 || s.Passes != 3 || len(told) != 5 {
			t.Fatalf("told %v, stats %+v", told, s)
		}
		// Somebody sets it right and does it again: that is news.
		b.sw.flows[lost.KeyHash()] = fakeFlow{cookie: b.cookie(lost.Hash()), flow: lost.Packed, priority: 1}
		for range 3 {
			b.tick()
		}
		delete(b.sw.flows, lost.KeyHash())
		for range 3 {
			b.tick()
		}
		if len(told) != 6 || told[5].Kind != Missing || told[5].Owner != "a" || told[5].Rule != lost.Rule {
			t.Fatalf("told %v", told)
		}
	})
}
