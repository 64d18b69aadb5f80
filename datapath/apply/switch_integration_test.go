//go:build integration

package apply

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tuplenet/datapath/ofconn"
	"tuplenet/datapath/ovstest"
	"tuplenet/flows/of"
)

// patience is how long anything may take on a busy machine. No switch hangs here, so one that is silent for less counts as alive:
// else what a round did would be spread over two sessions.
const patience = 2 * time.Minute

// rig is an Applier on a real switch.
type rig struct {
	t       *testing.T
	sw      *ovstest.Switch
	a       *Applier
	audit   chan time.Time
	applied chan Applied
	session chan *ofconn.Session // the latest one
	stop    func()
	rev     int64
}

func newRig(t *testing.T, cfg Config) *rig {
	r := &rig{t: t, sw: ovstest.Start(t, ovstest.Config{Ports: []string{"p1", "p2", "p3"}}), stop: func() {}}
	t.Cleanup(func() { r.stop() })
	r.restart(cfg)
	return r
}

// restart is what a restart of the daemon is: nobody remembers anything but the switch.
func (r *rig) restart(cfg Config) {
	r.stop()
	r.audit, r.applied, r.session = make(chan time.Time), make(chan Applied, 1000), make(chan *ofconn.Session, 100)
	applied := r.applied
	cfg.Audit, cfg.OnApplied = r.audit, func(d Applied) { applied <- d }
	a := New(cfg)
	r.a = a
	session := r.session
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = ofconn.Run(ctx, ofconn.Config{Socket: r.sw.Mgmt(), Echo: patience, OnUp: func(ctx context.Context, s *ofconn.Session) {
			session <- s
			_ = a.Serve(ctx, s)
		}})
	}()
	r.stop = func() { cancel(); <-done }
}

// commit puts one owner's set and returns what came of it.
func (r *rig) commit(flows []Flow, groups ...of.Group) Applied {
	r.t.Helper()
	r.rev++
	r.a.Put("a", &Set{Flows: flows, Groups: groups})
	r.a.Commit(r.rev)
	return r.await(r.rev)
}

// await returns the next round of that revision.
func (r *rig) await(rev int64) Applied {
	r.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case d := <-r.applied:
			if d.Rev == rev {
				return d
			}
		case <-deadline:
			r.t.Fatalf("revision %d was not applied within %s: %+v, failures %v", rev, patience, r.a.Stats(), r.a.Failures())
		}
	}
}

// durations reads back for how long each of our flows has been there.
func (r *rig) durations() map[uint64]time.Duration {
	r.t.Helper()
	out := map[uint64]time.Duration{}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s := <-r.session
	r.session <- s
	if err := s.DumpFlows(ctx, func(f ofconn.FlowDesc) { out[f.Cookie] = f.Duration }); err != nil {
		r.t.Fatal(err)
	}
	return out
}

func TestT67_TwentyThousandFlowsSurviveARestartOfTheDaemonUntouched(t *testing.T) {
	flows := make([]Flow, 20_000)
	for n := range flows {
		flows[n] = fl(uint8(n%20), 10, n, 1+n%3)
	}
	groups := everyGroup()
	cfg := Config{Meters: []of.Meter{{ID: 1, RatePPS: 100, Burst: 50}}, TLVs: []TLV{tlv(0xffee, 0x80, 8, 0)}}
	r := newRig(t, cfg)
	if d := r.commit(flows, groups...); d.Added != len(flows) || d.Groups != len(groups) || len(d.Failed) != 0 {
		t.Fatalf("applied %d flows, %d groups, failed %v", d.Added, d.Groups, d.Failed)
	}
	before := r.durations()
	if len(before) != len(flows) {
		t.Fatalf("the switch has %d flows", len(before))
	}
	r.restart(cfg)
	flows = flows[:len(flows)-1]
	if d := r.commit(flows, groups...); d.Added+d.Modified+d.Groups != 0 || d.Removed != 1 || len(d.Failed) != 0 {
		t.Fatalf("after a restart: %+v", d)
	}
	after := r.durations()
	for _, f := range flows {
		if c := r.a.cookie(f.Hash()); after[c] <= before[c] {
			t.Fatalf("%s is there for %s, before it was %s", flowText(f.Packed), after[c], before[c])
		}
	}
	if m := r.sw.Ofctl("dump-meters"); strings.Count(m, "meter=1") != 1 {
		t.Fatalf("meters: %s", m)
	}
}

// everyGroup is a group of each kind that the switch might show otherwise than we send it.
func everyGroup() []of.Group {
	out := func(p int) []of.Action { return []of.Action{of.Output{Port: uint32(p)}} }
	tunnel := []of.Action{of.Set(of.TunID, of.U(7)), of.SetReg(of.Reg6, 3), of.Resubmit{Port: 0xfff8, Table: 40}}
	return []of.Group{
		grp(1), grp(2, 1), grp(3, 1, 2, 3),
		{ID: 4, Type: of.GroupAll, Buckets: []of.Bucket{{Actions: tunnel}, {Actions: out(1)}}},
		{ID: 5, Type: of.GroupSelect, Buckets: []of.Bucket{{Weight: 1, Actions: out(1)}, {Weight: 5, WatchPort: 2, Actions: out(2)}}},
		{ID: 6, Type: of.GroupSelect, Buckets: []of.Bucket{{ID: 9, Actions: out(1)}, {ID: 4, WatchPort: 2, Actions: tunnel}},
			Hash: &of.HashSelection{Method: of.MethodHash, Fields: []of.Field{of.IPDst, of.IPSrc}}},
		{ID: 7, Type: of.GroupSelect, Buckets: []of.Bucket{{Actions: out(1)}}, Hash: &of.HashSelection{Method: of.MethodDPHash}},
		{ID: 8, Type: of.GroupIndirect, Buckets: []of.Bucket{{Actions: out(3)}}},
		{ID: 9, Type: of.GroupFastFailover, Buckets: []of.Bucket{{WatchPort: 1, Actions: out(1)}, {WatchPort: 2, Actions: out(2)}}},
		{ID: 10, Type: of.GroupFastFailover, Buckets: []of.Bucket{{WatchGroup: 5, Actions: []of.Action{of.GroupAction{ID: 5}}}, {WatchGroup: 6, Actions: []of.Action{of.GroupAction{ID: 6}}}}},
	}
}

func TestARestartedVswitchdGetsEverythingAgain(t *testing.T) {
	r := newRig(t, Config{Meters: []of.Meter{{ID: 1, RatePPS: 100, Burst: 50}}, TLVs: []TLV{tlv(0xffee, 0x80, 8, 0)}})
	r.commit([]Flow{fl(0, 1, 1, 1), viaGroup(0, 2, 3)}, grp(3, 1, 2))
	r.sw.KillVswitchd()
	r.sw.StartVswitchd()
	if d := r.await(r.rev); d.Added != 2 || d.Groups != 1 || len(d.Failed) != 0 {
		t.Fatalf("applied %+v", d)
	}
	if out := r.sw.Ofctl("dump-tlv-map"); !strings.Contains(out, "0xffee") {
		t.Fatalf("TLV map: %s", out)
	}
}

func TestARealSwitchRefusesAlone(t *testing.T) {
	r := newRig(t, Config{})
	var flows []Flow
	for n := range 50 {
		flows = append(flows, fl(0, 1, n, 1))
	}
	flows = append(flows, viaGroup(1, 1, 77), viaGroup(1, 2, 78)) // found out only when they are put into effect
	meterless := of.Flow{Table: 2, Priority: 1, Actions: []of.Action{of.MeterAction{ID: 99}}}
	flows = append(flows, pack(meterless))
	d := r.commit(flows)
	if d.Added != 50 || len(d.Failed) != 3 {
		t.Fatalf("applied %+v", d)
	}
	for _, f := range d.Failed {
		if !strings.Contains(f.Err.Error(), "BAD_OUT_GROUP") && !strings.Contains(f.Err.Error(), "METER") {
			t.Errorf("failure %s", f)
		}
	}
	if d = r.commit(flows, grp(77, 1)); d.Added != 1 || len(d.Failed) != 2 {
		t.Fatalf("with one of the groups: %+v", d)
	}
}

func TestT68_AnAuditOfARealSwitchHealsOursAndLeavesForeignFlowsAlone(t *testing.T) {
	drift := make(chan []Finding, 100)
	r := newRig(t, Config{Meters: []of.Meter{{ID: 1, RatePPS: 100, Burst: 50}}, TLVs: []TLV{tlv(0xffee, 0x80, 8, 0)}, Steps: 3,
		OnDrift: func(f []Finding, _ time.Time) { drift <- f }})
	// Things that the switch shows otherwise than we send them.
	awkward := pack(of.Flow{Table: 3, Priority: 7, Match: of.Match{}.IPv4().Eq(of.Reg14, of.U(1)).Eq(of.Reg15, of.U(2)).Eq(of.Metadata, of.U(5)),
		Actions: []of.Action{of.SetReg(of.Reg15, 4), of.Set(of.XXReg1, of.Value{Hi: 1, Lo: 2}), of.CTClear{}, of.Resubmit{Port: 0xfff8, Table: 9}}})
	flows := []Flow{fl(0, 1, 1, 1), fl(0, 1, 2, 1), fl(0, 1, 3, 1), fl(0, 1, 4, 1), fl(0, 1, 5, 1), fl(0, 1, 6, 1), viaGroup(1, 1, 3), awkward}
	r.commit(flows, grp(3, 1, 2), grp(4, 1))
	audit := func() (found []string) {
		before := r.a.Stats().Passes
		for range 3 { // the steps of a pass
			r.audit <- time.Now()
		}
		for limit := time.Now().Add(patience); r.a.Stats().Passes == before; runtime.Gosched() {
			if time.Now().After(limit) {
				t.Fatalf("the pass does not end: %+v", r.a.Stats())
			}
		}
		for {
			select {
			case fs := <-drift:
				for _, f := range fs {
					found = append(found, fmt.Sprintf("%s %s %s healed=%v", f.What, f.Kind, f.Name, f.Healed))
				}
			default:
				return found
			}
		}
	}
	cookie := func(n int) string { return fmt.Sprintf("cookie=%#x", r.a.cookie(flows[n].Hash())) }
	// Before we looked at any of them.
	r.sw.Ofctl("mod-flows", "table=0,metadata=0x4,actions=drop") // keeps the cookie
	if found := audit(); len(found) != 1 || !strings.HasPrefix(found[0], "flow altered table=0,priority=1,metadata=0x4 ") {
		t.Fatalf("found %q", found)
	}
	if found := audit(); len(found) != 0 {
		t.Fatalf("nothing had changed: %q", found)
	}
	before := r.durations()
	r.sw.Ofctl("del-flows", "table=0,metadata=0x1")
	r.sw.Ofctl("mod-flows", "table=0,metadata=0x2,actions=drop")
	r.sw.Ofctl("add-flow", cookie(4)+",table=0,priority=1,metadata=5,idle_timeout=60,actions=output:1") // would go by itself
	r.sw.Ofctl("add-flow", "cookie=0x7400000000001234,table=0,priority=1,metadata=6,actions=output:2")  // in the place of ours
	r.sw.Ofctl("add-flow", cookie(2)+",table=7,priority=1,metadata=3,actions=output:1")                 // a stolen cookie
	r.sw.Ofctl("add-flow", "table=5,priority=3,cookie=0x74000000000000ff,actions=drop")
	r.sw.Ofctl("add-flow", "table=6,priority=3,cookie=0x12,actions=drop")
	r.sw.Ofctl("mod-group", "group_id=3,type=all")
	r.sw.Ofctl("del-groups", "group_id=4")
	r.sw.Ofctl("add-group", "group_id=99,type=all,bucket=output:3")
	r.sw.Ofctl("mod-meter", "meter=1,pktps,band=type=drop,rate=7")
	r.sw.Ofctl("add-meter", "meter=2,pktps,band=type=drop,rate=7")
	r.sw.Ofctl("del-tlv-map")
	found := audit()
	slices.Sort(found)
	want := []string{
		"TLV mapping missing TLV mapping {class=0xffee,type=0x80,len=8}->tun_metadata0 healed=true",
		"flow altered table=0,priority=1,metadata=0x2 actions=output:1 healed=true",
		"flow altered table=0,priority=1,metadata=0x5 actions=output:1 healed=true",
		"flow foreign table=0,priority=1,metadata=0x6 actions=output:2 healed=true",
		"flow foreign table=5,priority=3 actions=drop healed=true",
		"flow foreign table=7,priority=1,metadata=0x3 actions=output:1 healed=true",
		"flow missing table=0,priority=1,metadata=0x1 actions=output:1 healed=true",
		"flow missing table=0,priority=1,metadata=0x6 actions=output:1 healed=true",
		"group altered group 3 healed=true",
		"group foreign group 99 healed=true",
		"group missing group 4 healed=true",
		"meter altered meter 1 healed=true",
		"meter foreign meter 2 healed=true",
	}
	if !slices.Equal(found, want) {
		t.Errorf("found\n%s\nwant\n%s", strings.Join(found, "\n"), strings.Join(want, "\n"))
	}
	if found := audit(); len(found) != 0 {
		t.Fatalf("found again %q", found)
	}
	after := r.durations()
	for _, f := range []Flow{flows[2], flows[3], flows[6], awkward} {
		if c := r.a.cookie(f.Hash()); after[c] <= before[c] {
			t.Errorf("%s was touched: %s, was %s", flowText(f.Packed), after[c], before[c])
		}
	}
	if out := r.sw.Ofctl("dump-flows"); !strings.Contains(out, "table=6") || strings.Contains(out, "table=5") || strings.Contains(out, "timeout") || len(after) != 9 {
		t.Errorf("flows:\n%s", out)
	}
	if out := r.sw.Ofctl("dump-meters"); strings.Contains(out, "meter=2") || strings.Contains(out, "rate=7") {
		t.Errorf("meters:\n%s", out)
	}
	if out := r.sw.Ofctl("dump-tlv-map"); !strings.Contains(out, "0xffee") {
		t.Errorf("TLV map:\n%s", out)
	}
	if s := r.a.Stats(); s.Foreign != 1 || s.Healed != uint64(len(want)+1) || s.Drift != [numKinds]uint64{Missing: 4, Foreign: 5, Altered: 5} {
		t.Errorf("stats %+v", s)
	}
}

// What the fake switch of the unit tests does with a bundle, the real one does, too: the same result, the same refusals.
func TestTheFakeSwitchBehavesLikeARealOne(t *testing.T) {
	r := newRig(t, Config{})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s := <-r.session
	real, fake := connection{s: s, seed: r.a.seed}, &fakeSession{sw: newFakeSwitch(), bundlesLeft: -1}
	gen := bundles()
	refused := 0
	for n := range 300 {
		ms := gen.Example(n)
		// In the order of a plan. Open vSwitch 3.1 does not survive others: it aborts when it takes back the deletion of a group
		// that flows used, because a later message of the bundle failed. In a plan nothing that can fail comes after those.
		slices.SortStableFunc(ms, func(a, b message) int { return cmp.Compare(a.op, b.op) })
		got, want := real.Bundle(ctx, ms), fake.Bundle(ctx, ms)
		if positions(got) != positions(want) {
			t.Fatalf("bundle %d %s:\nthe switch: %v\nthe fake:   %v", n, texts(ms), got, want)
		}
		if got != nil {
			refused++
		}
		if a, b := contents(t, ctx, real), contents(t, ctx, fake); !slices.Equal(a, b) {
			t.Fatalf("after bundle %d %s:\nthe switch has\n%s\nthe fake\n%s", n, texts(ms), strings.Join(a, "\n"), strings.Join(b, "\n"))
		}
	}
	if refused < 30 || refused > 270 {
		t.Fatalf("%d of 300 bundles were refused: these tell little", refused)
	}
}

func bundles() *rapid.Generator[[]message] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) message {
		f := wish{rapid.IntRange(0, 3).Draw(t, "key"), rapid.IntRange(0, 2).Draw(t, "content")}.flow()
		id := uint32(rapid.IntRange(1, 2).Draw(t, "group"))
		g, _ := grp(id, rapid.IntRange(1, 2).Draw(t, "port")).Pack()
		m := message{op: operation(rapid.IntRange(int(addGroup), int(deleteGroup)).Draw(t, "op")), id: id, group: &g, stray: &foundFlow{},
			flow: f.Packed, cookie: DefaultNamespace<<56 | f.Hash(), table: f.Table}
		if rapid.Bool().Draw(t, "all tables") {
			m.table = allTables
		}
		return m
	}), 1, 5)
}

// positions tells which messages were refused.
func positions(err error) string {
	var no *refusal
	if !errors.As(err, &no) {
		return fmt.Sprint(err)
	}
	return fmt.Sprint(slices.Sorted(maps.Keys(no.each)))
}

func texts(ms []message) string {
	var out []string
	for _, m := range ms {
		out = append(out, fmt.Sprintf("op %d table %d group %d %s", m.op, m.table, m.id, flowText(m.flow)))
	}
	return strings.Join(out, "; ")
}

// contents is what a session shows, as text.
func contents(t *testing.T, ctx context.Context, s session) (out []string) {
	t.Helper()
	if err := s.DumpFlows(ctx, selection{Table: allTables}, func(f foundFlow) { out = append(out, fmt.Sprintf("flow %d %d %#x", f.Table, f.Priority, f.Cookie)) }); err != nil {
		t.Fatal(err)
	}
	groups, err := s.DumpGroups(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range groups {
		out = append(out, fmt.Sprintf("group %d %s %x", g.ID, g.Type, g.Body))
	}
	slices.Sort(out)
	return out
}
