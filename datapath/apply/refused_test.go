package apply

import (
	"slices"
	"strings"
	"testing"

	"tuplenet/flows/of"
)

func TestARefusedFlowFailsAlone(t *testing.T) {
	for _, when := range []string{"malformed", "failing"} {
		t.Run(when, func(t *testing.T) {
			in(t, Config{}, func(b *bench) {
				var flows []Flow
				for n := range 40 {
					flows = append(flows, fl(0, 1, n, 1))
				}
				refuses := map[string]map[uint64]bool{"malformed": b.sw.malformed, "failing": b.sw.failing}[when]
				for _, n := range []int{3, 4, 39} {
					refuses[flows[n].Hash()] = true
				}
				b.connect()
				b.put("a", flows)
				if len(b.sw.flows) != 37 {
					t.Fatalf("%d flows", len(b.sw.flows))
				}
				d := b.applied[len(b.applied)-1]
				if d.Rev != 1 || d.Added != 37 || len(d.Failed) != 3 || d.Failed[0].Owner != "a" || !strings.Contains(d.Failed[0].What, "table=0") {
					t.Fatalf("applied %+v", d)
				}
				bundles := len(b.sw.bundles)
				if when == "malformed" && bundles != 2 || bundles > 20 {
					t.Fatalf("%d bundles", bundles)
				}
				b.sw.takeSent()
				b.put("b", []Flow{fl(1, 1, 1, 1)}) // the refused ones are not tried again
				b.sent("add 1/1")
				b.tick() // tried again, but logged only the first time
				if d := b.applied[len(b.applied)-1]; len(d.Failed) != 3 || len(b.Failures()) != 3 || b.logged != 3 {
					t.Fatalf("after an audit: %+v, %v, %d logged", d, b.Failures(), b.logged)
				}
				clear(refuses)
				b.tick()
				b.last("rev=2 +3 -0 ~0 groups=0")
				if len(b.sw.flows) != 41 || len(b.Failures()) != 0 {
					t.Fatalf("%d flows, failures %v", len(b.sw.flows), b.Failures())
				}
			})
		})
	}
}

func TestAFlowThatIsThereAfterAllIsNoFailure(t *testing.T) {
	in(t, Config{}, func(b *bench) {
		f := fl(0, 1, 1, 1)
		b.sw.malformed[f.Hash()] = true
		b.connect()
		b.put("a", []Flow{f})
		if len(b.Failures()) != 1 {
			t.Fatalf("failures %v", b.Failures())
		}
		b.sw.flows[f.KeyHash()] = fakeFlow{b.cookie(f.Hash()), 0, 1, f.Packed, 0} // as if a lost session had done it
		b.connect()
		if len(b.Failures()) != 0 {
			t.Fatalf("failures %v", b.Failures())
		}
	})
}

func TestAnAlteredFlowThatCannotBeSetRightGoes(t *testing.T) {
	in(t, Config{}, func(b *bench) {
		f := fl(0, 1, 1, 1)
		b.connect()
		b.put("a", []Flow{f})
		was := b.sw.flows[f.KeyHash()]
		was.priority = 9
		b.sw.flows[f.KeyHash()] = was
		b.sw.malformed[f.Hash()] = true
		b.tick()
		if len(b.sw.flows) != 0 || len(b.Failures()) != 1 {
			t.Fatalf("flows %v, failures %v", b.sw.flows, b.Failures())
		}
	})
}

func TestManyRefusedFlowsAreFoundInFewSteps(t *testing.T) {
	in(t, Config{}, func(b *bench) {
		var flows []Flow
		for n := range 1000 {
			flows = append(flows, fl(0, 1, n, 1))
			b.sw.failing[flows[n].Hash()] = n%5 == 0
		}
		b.connect()
		b.put("a", flows)
		sum := 0
		for _, n := range b.sw.bundles {
			sum += n
		}
		if len(b.Failures()) != 200 || len(b.sw.flows) != 800 || sum > 20_000 {
			t.Fatalf("%d failures, %d flows, %d messages in %d bundles", len(b.Failures()), len(b.sw.flows), sum, len(b.sw.bundles))
		}
	})
}

func TestIfTheNewFlowIsRefusedTheOldOneGoes(t *testing.T) {
	in(t, Config{}, func(b *bench) {
		b.connect()
		b.put("a", []Flow{fl(0, 1, 1, 1)})
		b.sw.failing[fl(0, 1, 1, 2).Hash()] = true
		b.put("a", []Flow{fl(0, 1, 1, 2)})
		b.sent("add 0/1", "del table 0")
		if len(b.sw.flows) != 0 {
			t.Fatalf("left: %v", b.sw.flows)
		}
	})
}

func TestAFlowThatLackedItsGroupIsTriedAgainWithTheGroup(t *testing.T) {
	in(t, Config{}, func(b *bench) {
		b.connect()
		b.put("a", []Flow{viaGroup(0, 1, 7)})
		b.last("rev=1 +0 -0 ~0 groups=0 a: " + flowText(viaGroup(0, 1, 7).Packed) + ": no such group")
		b.put("b", nil, grp(7, 1))
		b.sent("add group 7", "add 0/5")
		if fs := b.Failures(); len(fs) != 0 {
			t.Fatalf("failures %v", fs)
		}
	})
}

func TestARefusedGroupAndItsFlowsAreReportedAndTheRestGoesOn(t *testing.T) {
	in(t, Config{}, func(b *bench) {
		b.sw.badGroups[7] = true
		b.connect()
		b.put("a", []Flow{viaGroup(0, 1, 7), fl(0, 1, 1, 1)}, grp(7, 1), grp(8, 1), of.Group{ID: 9, Type: of.GroupIndirect})
		b.sent("add group 8", "add 0/1")
		var what []string
		for _, f := range b.applied[len(b.applied)-1].Failed {
			what = append(what, f.What)
		}
		if !slices.Equal(what, []string{"group 7", "group 9", flowText(viaGroup(0, 1, 7).Packed)}) {
			t.Fatalf("failed %q", what)
		}
		clear(b.sw.badGroups)
		b.put("a", []Flow{viaGroup(0, 1, 7), fl(0, 1, 1, 1)}, grp(7, 2), grp(8, 1))
		b.sent("add group 7", "add 0/5")
		if fs := b.Failures(); len(fs) != 0 {
			t.Fatalf("failures %v", fs)
		}
	})
}

func TestRefusedSettingsAreReportedAndFlowsGoOn(t *testing.T) {
	in(t, Config{Meters: []of.Meter{{ID: 1, RatePPS: 10, Burst: 10}}}, func(b *bench) {
		b.sw.settings = errRefused
		b.connect()
		b.put("a", []Flow{fl(0, 1, 1, 1)})
		b.last("rev=1 +1 -0 ~0 groups=0 : meter 1: refused")
		b.tick()
		if b.logged != 1 {
			t.Fatalf("%d logged", b.logged)
		}
		b.sw.settings = nil
		b.tick()
		if fs := b.Failures(); len(fs) != 0 || len(b.sw.meters) != 1 {
			t.Fatalf("failures %v meters %v", fs, b.sw.meters)
		}
		b.last("rev=1 +0 -0 ~0 groups=0") // else everybody would go on believing it
	})
}

func TestWhatSomebodyElseSetsRightIsNoFailureAnyMore(t *testing.T) {
	ours, theirs := tlv(0x102, 0x80, 8, 0), tlv(0x103, 1, 4, 0)
	in(t, Config{Meters: []of.Meter{{ID: 1, RatePPS: 10, Burst: 10}}, TLVs: []TLV{ours}}, func(b *bench) {
		b.sw.settings, b.sw.tlvs, b.sw.meters[7] = errRefused, []TLV{theirs}, of.Meter{ID: 7}
		b.connect()
		b.put("a", []Flow{fl(0, 1, 1, 1)})
		b.tick()
		b.last("rev=1 +0 -0 ~0 groups=0 : TLV map: refused : meter 1: refused : removal of TLV mappings that contradict ours: refused : removal of meter 7: refused")
		b.sw.tlvs = nil // what stood in the way is gone
		b.sw.settings = nil
		b.tick()
		b.last("rev=1 +0 -0 ~0 groups=0")
		if !slices.Equal(b.sw.tlvs, []TLV{ours}) {
			t.Fatalf("mappings %v", b.sw.tlvs)
		}
		b.sw.settings, b.sw.tlvs, b.sw.meters = errRefused, nil, map[uint32]of.Meter{7: {ID: 7}}
		b.tick()
		b.sw.tlvs, b.sw.meters = []TLV{ours}, map[uint32]of.Meter{1: {ID: 1, RatePPS: 10, Burst: 10}} // by hand
		b.tick()
		b.last("rev=1 +0 -0 ~0 groups=0")
	})
}
