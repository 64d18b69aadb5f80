package apply

import (
	"errors"
	"testing"

	"tuplenet/flows/of"
)

func TestMetersOfOwnersComeBeforeTheirFlowsAndGoAfterThem(t *testing.T) {
	one, two := of.Meter{ID: 101, RatePPS: 10, Burst: 20}, of.Meter{ID: 102, RatePPS: 10, Burst: 20}
	in(t, Config{Meters: []of.Meter{{ID: 1, RatePPS: 10, Burst: 10}}}, func(b *bench) {
		b.connect()
		b.Put("a", &Set{Flows: []Flow{fl(0, 1, 1, 1)}, Meters: []of.Meter{one}})
		b.commit()
		b.sent("set meter 1", "set meter 101", "add 0/1")
		b.Put("b", &Set{Flows: []Flow{fl(0, 1, 2, 1)}, Meters: []of.Meter{two}})
		b.Put("c", &Set{Flows: []Flow{fl(0, 1, 3, 1)}, Meters: []of.Meter{two}})
		b.commit()
		b.sent("set meter 102", "add 0/1", "add 0/1")
		b.Put("b", nil) // another still wants its meter
		b.commit()
		b.sent("del table 0")
		b.Put("c", nil)
		b.Put("a", &Set{Flows: []Flow{fl(0, 1, 1, 2)}, Meters: []of.Meter{one}})
		b.commit()
		b.sent("add 0/1", "del table 0", "del meter 102")
	})
}

func TestMetersThatAreThereAreNotTouchedByARestartedDaemon(t *testing.T) {
	in(t, Config{}, func(b *bench) {
		b.sw.meters[101], b.sw.meters[102] = of.Meter{ID: 101, RatePPS: 10, Burst: 20}, of.Meter{ID: 102, RatePPS: 10, Burst: 20}
		b.connect()
		b.Put("a", &Set{Flows: []Flow{fl(0, 1, 1, 1)}, Meters: []of.Meter{{ID: 101, RatePPS: 10, Burst: 20}}})
		b.commit()
		b.sent("add 0/1", "del meter 102")
		b.sw.takeSent()
		b.Put("a", &Set{Flows: []Flow{fl(0, 1, 1, 1)}, Meters: []of.Meter{{ID: 101, RatePPS: 5, Burst: 20}}})
		b.commit()
		b.sent("set meter 101")
	})
}

func TestAMeterThatTheSwitchRefusesIsAFailureUntilNobodyWantsIt(t *testing.T) {
	in(t, Config{}, func(b *bench) {
		b.connect()
		b.put("a", []Flow{fl(0, 1, 1, 1)})
		b.sw.settings = errors.New("no more meters")
		b.Put("b", &Set{Meters: []of.Meter{{ID: 101, RatePPS: 10, Burst: 20}}})
		b.commit()
		if f := b.Failures(); len(f) != 1 || f[0].What != "meter 101" {
			t.Fatalf("failures %v", f)
		}
		b.Put("b", nil)
		b.commit()
		if f := b.Failures(); len(f) != 0 {
			t.Fatalf("failures %v of what nobody wants", f)
		}
	})
}
