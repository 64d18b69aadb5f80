package apply

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tuplenet/flows/of"
)

// fl is flow number n of a table and priority: its match is by n, its action by to.
func fl(table uint8, priority uint16, n, to int) Flow {
	return pack(of.Flow{Table: table, Priority: priority, Match: of.Match{}.Eq(of.Metadata, of.U(uint64(n))),
		Actions: []of.Action{of.Output{Port: uint32(to)}}})
}

// viaGroup is like fl, but goes to a group.
func viaGroup(table uint8, n int, group uint32) Flow {
	return pack(of.Flow{Table: table, Priority: 5, Match: of.Match{}.Eq(of.Metadata, of.U(uint64(n))),
		Actions: []of.Action{of.GroupAction{ID: group}}})
}

func pack(f of.Flow) Flow {
	p, err := f.Pack()
	if err != nil {
		panic(err)
	}
	return Flow{Packed: p, Rule: uint16(f.Priority)}
}

func tlv(class uint16, typ, length uint8, index uint16) TLV {
	return TLV{Class: class, Type: typ, Len: length, Index: index}
}

// grp is a group with an output to each of the ports.
func grp(id uint32, ports ...int) of.Group {
	g := of.Group{ID: id, Type: of.GroupAll}
	for _, p := range ports {
		g.Buckets = append(g.Buckets, of.Bucket{Actions: []of.Action{of.Output{Port: uint32(p)}}})
	}
	return g
}

// bench is an Applier with a switch, in a bubble of synctest.
type bench struct {
	t *testing.T
	*Applier
	sw      *fakeSwitch
	audit   chan time.Time
	applied []Applied
	logged  int    // errors
	end     func() // of the session
	rev     int64
}

func newBench(t *testing.T, cfg Config) *bench {
	b := &bench{t: t, sw: newFakeSwitch(), audit: make(chan time.Time), end: func() {}}
	cfg.Audit = b.audit
	cfg.Logger = slog.New(errorCounter{slog.DiscardHandler, &b.logged})
	cfg.OnApplied = func(d Applied) { b.applied = append(b.applied, d) }
	b.Applier = New(cfg)
	return b
}

// errorCounter counts what is logged as an error.
type errorCounter struct {
	slog.Handler
	n *int
}

func (e errorCounter) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelError }
func (e errorCounter) Handle(context.Context, slog.Record) error    { *e.n++; return nil }
func (e errorCounter) WithAttrs([]slog.Attr) slog.Handler           { return e }

// connect begins a session and waits until it has nothing to do.
func (b *bench) connect() *fakeSession {
	s := &fakeSession{sw: b.sw, bundlesLeft: -1}
	b.connectWith(s)
	return s
}

func (b *bench) connectWith(s session) {
	b.end()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = b.serve(ctx, s) }()
	b.end = func() { cancel(); <-done }
	synctest.Wait()
}

// put commits one owner's set and waits until there is nothing more to do.
func (b *bench) put(owner string, flows []Flow, groups ...of.Group) {
	b.Put(owner, &Set{Flows: flows, Groups: groups})
	b.commit()
}

func (b *bench) commit() {
	b.rev++
	b.Commit(b.rev)
	synctest.Wait()
}

func (b *bench) tick() {
	b.audit <- time.Now()
	synctest.Wait()
}

// sent demands what the switch was told since the last call.
func (b *bench) sent(want ...string) {
	b.t.Helper()
	if got := b.sw.takeSent(); !slices.Equal(got, want) {
		b.t.Fatalf("sent %q, want %q", got, want)
	}
}

// last demands the last Applied, in short.
func (b *bench) last(want string) {
	b.t.Helper()
	if len(b.applied) == 0 {
		b.t.Fatalf("nothing applied, want %s", want)
	}
	d := b.applied[len(b.applied)-1]
	got := fmt.Sprintf("rev=%d +%d -%d ~%d groups=%d", d.Rev, d.Added, d.Removed, d.Modified, d.Groups)
	for _, f := range d.Failed {
		got += " " + f.String()
	}
	if got != want {
		b.t.Fatalf("applied %q, want %q", got, want)
	}
}

// in runs a test in a bubble.
func in(t *testing.T, cfg Config, test func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, cfg)
		defer func() { b.end() }()
		test(b)
	})
}

func TestNothingIsTouchedBeforeTheFirstCommit(t *testing.T) {
	in(t, Config{Meters: []of.Meter{{ID: 1, RatePPS: 10, Burst: 10}}}, func(b *bench) {
		stale := fl(1, 5, 1, 1)
		b.sw.flows[stale.KeyHash()] = fakeFlow{cookie: b.cookie(stale.Hash()), table: 1, priority: 5, flow: stale.Packed}
		b.Put("a", &Set{Flows: []Flow{fl(0, 1, 1, 1)}})
		b.connect()
		b.sent()
		b.commit()
		b.sent("set meter 1", "add 0/1", "del table 1")
		b.last("rev=1 +1 -1 ~0 groups=0")
	})
}

func TestOnlyDifferencesAreSent(t *testing.T) {
	in(t, Config{}, func(b *bench) {
		b.connect()
		b.put("a", []Flow{fl(0, 1, 1, 1), fl(0, 1, 2, 1)})
		b.sent("add 0/1", "add 0/1")
		b.last("rev=1 +2 -0 ~0 groups=0")
		b.put("a", []Flow{fl(0, 1, 2, 1), fl(3, 9, 3, 1)})
		b.sent("add 3/9", "del table 0")
		b.last("rev=2 +1 -1 ~0 groups=0")
		b.put("a", nil)
		b.sent("del table 0", "del table 3")
		if len(b.sw.flows) != 0 {
			t.Fatalf("left: %v", b.sw.flows)
		}
	})
}

func TestARevisionThatChangesNothingIsAppliedAtOnce(t *testing.T) {
	in(t, Config{}, func(b *bench) {
		b.connect()
		b.put("a", []Flow{fl(0, 1, 1, 1)})
		b.sent("add 0/1")
		b.put("a", []Flow{fl(0, 1, 1, 1)})
		b.sent()
		b.last("rev=2 +0 -0 ~0 groups=0")
	})
}

func TestAChangedFlowIsOneAddAndNoDelete(t *testing.T) {
	in(t, Config{}, func(b *bench) {
		b.connect()
		b.put("a", []Flow{fl(0, 1, 1, 1)})
		b.sent("add 0/1")
		b.put("a", []Flow{fl(0, 1, 1, 2)})
		b.sent("add 0/1")
		b.last("rev=2 +0 -0 ~1 groups=0")
		b.put("a", []Flow{fl(0, 1, 1, 1)}) // and back
		b.sent("add 0/1")
		b.last("rev=3 +0 -0 ~1 groups=0")
	})
}

func TestThePlaceOfAFlowFromBeforeUsIsTakenBeforeItIsDeleted(t *testing.T) {
	in(t, Config{}, func(b *bench) {
		old := fl(0, 1, 1, 1)
		b.sw.flows[old.KeyHash()] = fakeFlow{cookie: b.cookie(old.Hash()), table: 0, priority: 1, flow: old.Packed}
		b.sw.afterBundle = func() {
			if len(b.sw.flows) != 1 {
				t.Errorf("the place is empty: %v", b.sw.flows)
			}
		}
		b.Applier.cfg.Slice = 1 // one message a bundle, so that every step can be seen
		b.connect()
		b.put("a", []Flow{fl(0, 1, 1, 2)})
		b.sent("add 0/1", "del table 0")
	})
}

func TestOrderOfARound(t *testing.T) {
	in(t, Config{}, func(b *bench) {
		b.connect()
		b.put("a", []Flow{fl(7, 1, 1, 1), viaGroup(3, 3, 9)}, grp(9, 1), grp(8, 1))
		b.sent("add group 8", "add group 9", "add 7/1", "add 3/5")
		b.put("a", []Flow{fl(5, 1, 1, 1), fl(5, 9, 1, 1), fl(6, 1, 1, 1)}, grp(8, 1, 2), grp(10, 3))
		b.sent("mod group 8", "add group 10", "add 6/1", "add 5/9", "add 5/1", "del table 3", "del table 7", "del group 9")
		b.last("rev=2 +3 -2 ~0 groups=3")
	})
}

func TestAWantedFlowOfTwoOwnersStaysUntilBothLetGo(t *testing.T) {
	in(t, Config{}, func(b *bench) {
		b.connect()
		f := fl(0, 1, 1, 1)
		b.put("b", []Flow{f})
		b.put("a", []Flow{f})
		b.sent("add 0/1")
		if o, rule, ok := b.Owner(b.cookie(f.Hash())); o != "a" || rule != 1 || !ok {
			t.Fatalf("owner %s rule %d %v", o, rule, ok)
		}
		b.put("a", nil)
		b.sent()
		if o, _, _ := b.Owner(b.cookie(f.Hash())); o != "b" {
			t.Fatalf("owner %s", o)
		}
		b.put("b", nil)
		b.sent("del table 0")
		if _, _, ok := b.Owner(b.cookie(f.Hash())); ok {
			t.Fatal("a flow that nobody wants has an owner")
		}
	})
}

func TestOfTwoWhoWantOnePlaceTheSmallerNameGetsItWhateverTheOrder(t *testing.T) {
	for _, order := range [][]string{{"a", "b"}, {"b", "a"}} {
		in(t, Config{}, func(b *bench) {
			b.connect()
			flows := map[string]Flow{"a": fl(0, 1, 1, 1), "b": fl(0, 1, 1, 2)}
			for _, o := range order {
				b.put(o, []Flow{flows[o]})
			}
			if f := b.sw.flows[flows["a"].KeyHash()]; f.flow != flows["a"].Packed || len(b.sw.flows) != 1 {
				t.Fatalf("order %v: the switch has %v", order, b.sw.flows)
			}
			if fs := b.Failures(); len(fs) != 1 || fs[0].Owner != "b" || !strings.Contains(fs[0].Err.Error(), "a wants another flow") {
				t.Fatalf("failures %v", fs)
			}
			b.put("a", nil)
			if f := b.sw.flows[flows["b"].KeyHash()]; f.flow != flows["b"].Packed || len(b.Failures()) != 0 {
				t.Fatalf("after a left: %v, %v", b.sw.flows, b.Failures())
			}
		})
	}
}

func TestOfTwoGroupsWithOneIDTheSmallerNameGetsIt(t *testing.T) {
	in(t, Config{}, func(b *bench) {
		b.connect()
		b.put("b", nil, grp(1, 2))
		b.put("a", nil, grp(1, 1))
		b.sent("add group 1", "mod group 1")
		if fs := b.Failures(); len(fs) != 1 || fs[0].Owner != "b" {
			t.Fatalf("failures %v", fs)
		}
		b.put("a", nil)
		b.sent("mod group 1")
		b.put("b", nil)
		b.sent("del group 1")
		if fs := b.Failures(); len(fs) != 0 {
			t.Fatalf("failures %v", fs)
		}
	})
}

func TestLargeRoundsGoInSlicesDeletionsLast(t *testing.T) {
	in(t, Config{Slice: 10}, func(b *bench) {
		b.connect()
		var before, after []Flow
		for n := range 25 {
			before, after = append(before, fl(1, 1, n, 1)), append(after, fl(2, 1, n, 1))
		}
		b.put("a", before)
		if !slices.Equal(b.sw.bundles, []int{10, 10, 5}) {
			t.Fatalf("bundles %v", b.sw.bundles)
		}
		b.sw.takeSent()
		b.sw.afterBundle = func() {
			gone := 0
			for _, f := range before {
				if _, ok := b.sw.flows[f.KeyHash()]; !ok {
					gone++
				}
			}
			if gone > 0 && len(b.sw.flows)+gone != 50 {
				t.Errorf("%d old flows gone, %d flows there", gone, len(b.sw.flows))
			}
		}
		b.put("a", after)
		b.last("rev=2 +25 -25 ~0 groups=0")
	})
}

func TestCommitsDuringARoundCoalesce(t *testing.T) {
	in(t, Config{}, func(b *bench) {
		s := &fakeSession{sw: b.sw, bundlesLeft: -1, hang: make(chan struct{})}
		b.connectWith(s)
		for n := range 5 {
			b.put("a", []Flow{fl(0, 1, n, 1)})
		}
		s.hang <- struct{}{} // the round of revision 1
		synctest.Wait()
		s.hang <- struct{}{} // one for all of the others
		synctest.Wait()
		b.sent("add 0/1", "add 0/1", "del table 0")
		b.last("rev=5 +1 -1 ~0 groups=0")
		if len(b.applied) != 2 {
			t.Fatalf("applied %+v", b.applied)
		}
	})
}

func TestReconnectTouchesNothingThatIsRight(t *testing.T) {
	in(t, Config{Meters: []of.Meter{{ID: 1, RatePPS: 10, Burst: 10}}, TLVs: []TLV{tlv(1, 2, 8, 0)}}, func(b *bench) {
		b.connect()
		b.put("a", []Flow{fl(0, 1, 1, 1), viaGroup(0, 2, 7)}, grp(7, 1, 2))
		b.sent("add TLVs", "set meter 1", "add group 7", "add 0/5", "add 0/1")
		b.connect()
		b.sent()
		b.last("rev=1 +0 -0 ~0 groups=0")
		other := New(Config{Meters: b.cfg.Meters, TLVs: b.cfg.TLVs}) // a restarted daemon
		other.Put("a", &Set{Flows: []Flow{fl(0, 1, 1, 1), viaGroup(0, 2, 7)}, Groups: []of.Group{grp(7, 1, 2)}})
		other.Commit(1)
		b.Applier = other
		b.connect()
		b.sent()
	})
}

func TestARestartedSwitchIsFilledAgain(t *testing.T) {
	in(t, Config{Meters: []of.Meter{{ID: 1, RatePPS: 10, Burst: 10}}, TLVs: []TLV{tlv(1, 2, 8, 0)}}, func(b *bench) {
		b.connect()
		b.put("a", []Flow{viaGroup(0, 2, 7)}, grp(7, 1, 2))
		b.end()
		b.sw = newFakeSwitch()
		b.connect()
		b.sent("add TLVs", "set meter 1", "add group 7", "add 0/5")
	})
}

func TestForeignFlowsAreCountedAndLeftAlone(t *testing.T) {
	in(t, Config{}, func(b *bench) {
		f := fl(0, 1, 1, 1)
		b.sw.flows[1] = fakeFlow{cookie: 0, table: 0, priority: 3, flow: f.Packed}
		b.sw.flows[2] = fakeFlow{cookie: 0x75<<56 | f.Hash(), table: 0, priority: 3, flow: f.Packed}
		b.connect()
		b.put("a", nil)
		b.sent()
		if s := b.Stats(); s.Foreign != 2 || s.Present != 0 {
			t.Fatalf("stats %+v", s)
		}
		if _, _, ok := b.Owner(0x75<<56 | f.Hash()); ok {
			t.Fatal("a foreign cookie has an owner")
		}
	})
}

func TestAnAuditRepairsAndCountsWhatOthersDid(t *testing.T) {
	in(t, Config{}, func(b *bench) {
		b.connect()
		keep, lost, moved, altered := fl(0, 1, 1, 1), fl(0, 1, 2, 1), fl(0, 1, 3, 1), fl(0, 1, 4, 1)
		b.put("a", []Flow{keep, lost, moved, altered}, grp(7, 1), grp(8, 1))
		b.tick() // has a first look
		born := b.sw.flows[keep.KeyHash()].born
		b.sw.takeSent()
		delete(b.sw.flows, lost.KeyHash())
		f := b.sw.flows[moved.KeyHash()]
		delete(b.sw.flows, moved.KeyHash())
		f.priority = 9 // the same cookie on another flow
		b.sw.flows[99] = f
		f = b.sw.flows[altered.KeyHash()]
		f.flow = fl(0, 1, 4, 66).Packed // other actions under the same cookie
		b.sw.flows[altered.KeyHash()] = f
		stray := fl(4, 4, 4, 4)
		b.sw.flows[stray.KeyHash()] = fakeFlow{cookie: b.cookie(stray.Hash()), table: 4, priority: 4, flow: stray.Packed}
		g, _ := grp(7, 2).Pack()
		b.sw.groups[7] = g
		delete(b.sw.groups, 8)
		b.tick()
		b.last("rev=1 +2 -2 ~1 groups=2")
		if s := b.Stats(); s.Healed != 7 || s.Drift != [numKinds]uint64{Missing: 3, Foreign: 2, Altered: 2} || len(b.sw.flows) != 4 || b.sw.flows[keep.KeyHash()].born != born {
			t.Fatalf("stats %+v, flows %v", s, b.sw.flows)
		}
		b.sw.takeSent()
		b.tick()
		b.sent()
	})
}

func TestSettingsThatContradictAreReplacedAndSurplusMetersGoLast(t *testing.T) {
	in(t, Config{Meters: []of.Meter{{ID: 1, RatePPS: 10, Burst: 10}}, TLVs: []TLV{tlv(1, 2, 8, 0)}}, func(b *bench) {
		b.sw.tlvs = []TLV{tlv(1, 2, 4, 5), tlv(9, 9, 4, 6)}
		b.sw.meters[1], b.sw.meters[5] = of.Meter{ID: 1, RatePPS: 3}, of.Meter{ID: 5}
		b.connect()
		b.put("a", []Flow{fl(0, 1, 1, 1)})
		b.sent("del TLVs", "add TLVs", "set meter 1", "add 0/1", "del meter 5")
		if !slices.Equal(b.sw.tlvs, []TLV{tlv(9, 9, 4, 6), tlv(1, 2, 8, 0)}) || len(b.sw.meters) != 1 {
			t.Fatalf("TLVs %v meters %v", b.sw.tlvs, b.sw.meters)
		}
	})
}

func TestWhatComesAndGoesWithoutASwitchIsNotRemembered(t *testing.T) {
	in(t, Config{}, func(b *bench) {
		churn := func() {
			for n := range 1000 {
				b.put("a", []Flow{fl(0, 1, 1, 1), fl(0, 1, n%250+2, n+1)}, grp(7, n+1))
			}
			if n := len(b.want.dirtyFlows) + len(b.want.dirtyGroups); n > 0 {
				t.Errorf("%d flows and groups are remembered", n)
			}
		}
		churn()
		b.connect()
		if len(b.sw.flows) != 2 || len(b.sw.groups) != 1 {
			t.Fatalf("flows %v, groups %v", b.sw.flows, b.sw.groups)
		}
		b.end()
		churn()
		b.put("a", []Flow{fl(0, 1, 5, 5)})
		b.sw.takeSent()
		b.connect()
		b.last("rev=2001 +1 -2 ~0 groups=1")
		if len(b.sw.flows) != 1 || len(b.sw.groups) != 0 {
			t.Fatalf("flows %v, groups %v", b.sw.flows, b.sw.groups)
		}
	})
}

func TestALostSessionEndsServeAndTheNextOneContinues(t *testing.T) {
	for _, heard := range []bool{true, false} {
		in(t, Config{Slice: 2}, func(b *bench) {
			b.connectWith(&fakeSession{sw: b.sw, bundlesLeft: 1, doneUnheard: !heard})
			b.put("a", []Flow{fl(0, 1, 1, 1), fl(0, 1, 2, 1), fl(0, 1, 3, 1)})
			if len(b.applied) != 0 {
				t.Fatalf("applied %+v without a barrier", b.applied)
			}
			b.connect()
			if len(b.sw.flows) != 3 {
				t.Fatalf("flows %v", b.sw.flows)
			}
		})
	}
}
