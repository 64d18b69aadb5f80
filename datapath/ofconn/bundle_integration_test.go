//go:build integration

package ofconn_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tuplenet/datapath/ofconn"
	"tuplenet/datapath/ovstest"
	"tuplenet/flows/of"
	"tuplenet/flows/of/oftest"
)

// numbered makes flows that differ in a register.
func numbered(t *testing.T, n int) []ofconn.Mod {
	t.Helper()
	mods := make([]ofconn.Mod, n)
	for i := range mods {
		mods[i] = add(t, of.Flow{Priority: 7, Match: of.Match{}.Eq(of.Reg1, of.U(uint64(i))), Actions: []of.Action{of.Output{Port: 1}}})
	}
	return mods
}

func TestOneRefusedFlowMeansThatNoneIsInstalled(t *testing.T) {
	_, s := connect(t, ofconn.Config{}, ovstest.Config{})
	for range 20 {
		mods := numbered(t, 30)
		// Passes our own checks: which meters and groups exist is known to the switch alone.
		mods[17] = add(t, of.Flow{Match: of.Match{}.Eq(of.Reg1, of.U(1717)), Actions: []of.Action{of.MeterAction{ID: 4711}}})
		mods[23] = add(t, of.Flow{Actions: []of.Action{of.GroupAction{ID: 4711}}})
		err := s.Bundle(soon(t), mods)
		var be *ofconn.BundleError
		if !errors.As(err, &be) {
			t.Fatalf("error %v", err)
		}
		i, first, ok := be.First()
		if !ok || i != 17 || !strings.Contains(first.Error(), "METER") {
			t.Fatalf("first refused message: %d %v, of %v", i, first, err)
		}
		if n := len(flows(t, s)); n != 0 {
			t.Fatalf("%d flows were installed", n)
		}
	}
}

func TestAFlowRefusedAtCommitIsNamed(t *testing.T) {
	_, s := connect(t, ofconn.Config{}, ovstest.Config{})
	mods := numbered(t, 30)
	mods[23] = add(t, of.Flow{Actions: []of.Action{of.GroupAction{ID: 4711}}})
	err := s.Bundle(soon(t), mods)
	var be *ofconn.BundleError
	if !errors.As(err, &be) {
		t.Fatalf("error %v", err)
	}
	if i, first, ok := be.First(); !ok || i != 23 || !strings.Contains(first.Error(), "OFPBAC_BAD_OUT_GROUP") {
		t.Fatalf("first refused message: %d %v, of %v", i, first, err)
	}
	if n := len(flows(t, s)); n != 0 {
		t.Fatalf("%d flows were installed", n)
	}
	must(t, s.Bundle(soon(t), numbered(t, 30))) // and the session goes on
}

func TestALargeDumpIsComplete(t *testing.T) {
	_, s := connect(t, ofconn.Config{}, ovstest.Config{})
	const n = 5000
	must(t, s.Bundle(soon(t), numbered(t, n)))
	have := flows(t, s)
	if len(have) != n {
		t.Errorf("%d flows of %d", len(have), n)
	}
	for _, d := range have {
		if d.Duration <= 0 || d.Priority != 7 {
			t.Fatalf("flow %+v", d)
		}
	}
}

func TestAPartOfTheFlowsIsReadBackWithCountersAndSettings(t *testing.T) {
	l, s := connect(t, ofconn.Config{}, ovstest.Config{Ports: []string{"p1", "p2"}})
	var mods []ofconn.Mod
	for n := range 64 {
		f := packed(t, of.Flow{Table: uint8(n % 2), Priority: 7, Match: of.Match{}.Eq(of.Metadata, of.U(uint64(n+1)))})
		mods = append(mods, ofconn.AddFlow{Packed: f, Cookie: 0x7400000000000000 | uint64(n)})
	}
	must(t, s.Bundle(soon(t), mods))
	l.ovs.Ofctl("add-flow", "table=1,priority=9,cookie=0x7500000000000003,idle_timeout=77,actions=drop")
	l.ovs.Ofctl("add-flow", "table=0,priority=1,cookie=0x10,actions=drop")
	l.ovs.Receive("p1", make([]byte, 60))
	counts, err := s.TableCounts(soon(t))
	if err != nil || len(counts) != 2 || counts[0] != 33 || counts[1] != 33 {
		t.Fatalf("%v %v", counts, err)
	}
	dump := func(sel ofconn.Selection) (found []ofconn.FlowDesc) {
		must(t, s.DumpSelected(soon(t), sel, func(d ofconn.FlowDesc) { found = append(found, d) }))
		return found
	}
	if n := len(dump(ofconn.Selection{Table: ofconn.AllTables, Cookie: 0x74 << 56, Mask: 0xff << 56})); n != 64 {
		t.Errorf("%d flows of the namespace", n)
	}
	part := dump(ofconn.Selection{Table: 1, Cookie: 0x74<<56 | 3, Mask: 0xff<<56 | 0xf})
	if len(part) != 4 {
		t.Errorf("%d flows of a sixteenth of a table", len(part))
	}
	for _, d := range part {
		if d.Table != 1 || d.Cookie>>56 != 0x74 || d.Cookie&0xf != 3 || d.Settings != 0 {
			t.Errorf("%+v", d)
		}
	}
	if d := dump(ofconn.Selection{Table: 1, Cookie: 0x75 << 56, Mask: 0xff << 56}); len(d) != 1 || d[0].Settings>>48 != 77 {
		t.Errorf("%+v", d)
	}
	eventually(t, "counted packet", func() bool { // the switch adds up what it forwarded now and then
		d := dump(ofconn.Selection{Table: 0, Cookie: 0x10, Mask: ^uint64(0)})
		return len(d) == 1 && d[0].Packets == 1 && d[0].Bytes == 60
	})
}

func TestFlowsAreReplacedAndDeletedByCookieAndByMatch(t *testing.T) {
	_, s := connect(t, ofconn.Config{}, ovstest.Config{})
	a := packed(t, of.Flow{Table: 3, Priority: 7, Match: of.Match{}.Eq(of.Reg1, of.U(1))})
	b := packed(t, of.Flow{Table: 3, Priority: 7, Match: of.Match{}.Eq(of.Reg1, of.U(1)), Actions: []of.Action{of.Output{Port: 1}}})
	c := packed(t, of.Flow{Table: 4, Priority: 7, Match: of.Match{}.Eq(of.XReg0, of.U(2))})
	must(t, s.Bundle(soon(t), []ofconn.Mod{ofconn.AddFlow{Packed: a, Cookie: 1}, ofconn.AddFlow{Packed: c, Cookie: 3}}))
	must(t, s.Bundle(soon(t), []ofconn.Mod{ofconn.AddFlow{Packed: b, Cookie: 2}}))
	if have := flows(t, s); len(have) != 2 || have[2].Table != 3 || have[3].Table != 4 {
		t.Fatalf("flows %v", have)
	}
	must(t, s.Bundle(soon(t), []ofconn.Mod{ofconn.DeleteCookie{Table: 0xff, Cookie: 2}, ofconn.DeleteCookie{Table: 3, Cookie: 3}}))
	if have := flows(t, s); len(have) != 1 || have[3].Table != 4 {
		t.Fatalf("flows %v", have)
	}
	must(t, s.Bundle(soon(t), []ofconn.Mod{ofconn.DeleteStrict{Table: 4, Priority: 7, MatchBytes: c.MatchBytes()}}))
	if have := flows(t, s); len(have) != 0 {
		t.Fatalf("flows %v", have)
	}
}

func TestAFlowWithATimeIsRemovedByTheSwitch(t *testing.T) {
	_, s := connect(t, ofconn.Config{}, ovstest.Config{})
	short := packed(t, of.Flow{Table: 3, Priority: 7, Match: of.Match{}.Eq(of.Reg1, of.U(1))})
	long := packed(t, of.Flow{Table: 4, Priority: 7})
	must(t, s.Bundle(soon(t), []ofconn.Mod{ofconn.AddFlow{Packed: short, Cookie: 1, Seconds: 600}, ofconn.AddFlow{Packed: long, Cookie: 2}}))
	if have := flows(t, s); len(have) != 2 || have[1].Settings>>32&0xffff != 600 || have[2].Settings != 0 {
		t.Fatalf("flows %+v", have)
	}
	must(t, s.Bundle(soon(t), []ofconn.Mod{ofconn.AddFlow{Packed: short, Cookie: 1, Seconds: 1}})) // in its place
	eventually(t, "one flow to go", func() bool { have := flows(t, s); return len(have) == 1 && have[2].Table == 4 })
}

func TestRandomFlowsAreAcceptedAndReadBack(t *testing.T) {
	_, s := connect(t, ofconn.Config{}, ovstest.Config{Ports: []string{"p1", "p2"}})
	equip(t, s)
	rapid.Check(t, func(rt *rapid.T) {
		f := oftest.Flow(rt)
		p, err := f.Pack()
		if err != nil {
			rt.Fatal(err)
		}
		if err := s.Bundle(soon(t), []ofconn.Mod{ofconn.AddFlow{Packed: p, Cookie: p.Hash()}}); err != nil {
			rt.Fatalf("%s: %v", f, err)
		}
		d, ok := flows(t, s)[p.Hash()]
		if !ok {
			rt.Fatalf("not in the switch: %s", f)
		}
		got, err := d.Flow()
		if err != nil {
			rt.Fatalf("%s: %v", f, err)
		}
		if a, b := f.Match.Plain().String(), got.Match.Plain().String(); a != b || !f.Match.Same(got.Match) {
			rt.Fatalf("sent %s\ngot  %s", a, b)
		}
		if a, b := of.ActionsString(f.Actions), of.ActionsString(got.Actions); a != b {
			rt.Fatalf("sent %s\ngot  %s", a, b)
		}
		if err := s.Bundle(soon(t), []ofconn.Mod{ofconn.DeleteCookie{Table: 0xff, Cookie: p.Hash()}}); err != nil {
			rt.Fatal(err)
		}
	})
}

func TestGroupsComeBackAsTheyWereSent(t *testing.T) {
	_, s := connect(t, ofconn.Config{}, ovstest.Config{Ports: []string{"p1", "p2"}})
	out := func(id uint32, port uint32) of.Bucket {
		return of.Bucket{ID: id, Actions: []of.Action{of.SetReg(of.Reg0, 5), of.Output{Port: port}}}
	}
	watching := func(id uint32, port uint32, weight uint16) of.Bucket {
		b := out(id, port)
		b.WatchPort, b.Weight = port, weight
		return b
	}
	hash := &of.HashSelection{Method: of.MethodHash, Fields: []of.Field{of.IPSrc, of.IPDst, of.IPv6Src, of.IPv6Dst, of.IPProto, of.TCPSrc, of.TCPDst}}
	want := map[uint32]of.Group{
		1: {ID: 1, Type: of.GroupAll, Buckets: []of.Bucket{out(0, 1), out(1, 2)}},
		2: {ID: 2, Type: of.GroupAll},
		3: {ID: 3, Type: of.GroupSelect, Hash: hash, Buckets: []of.Bucket{watching(7, 1, 100), watching(9, 2, 50)}},
		4: {ID: 4, Type: of.GroupSelect, Hash: &of.HashSelection{Method: of.MethodDPHash}, Buckets: []of.Bucket{out(0, 1)}},
		5: {ID: 5, Type: of.GroupFastFailover, Buckets: []of.Bucket{watching(1, 1, 0), watching(2, 2, 0)}},
		6: {ID: 6, Type: of.GroupIndirect, Buckets: []of.Bucket{out(0, 1)}},
	}
	var mods []ofconn.Mod
	for _, g := range want {
		mods = append(mods, ofconn.AddGroup{PackedGroup: packedGroup(t, g)})
	}
	must(t, s.Bundle(soon(t), mods))
	checkGroups(t, s, want)

	g := want[3]
	g.Buckets = g.Buckets[:1]
	want[3] = g
	delete(want, 1)
	must(t, s.Bundle(soon(t), []ofconn.Mod{ofconn.ModifyGroup{PackedGroup: packedGroup(t, g)}, ofconn.DeleteGroup{ID: 1}, ofconn.DeleteGroup{ID: 99}}))
	checkGroups(t, s, want)
}

func checkGroups(t *testing.T, s *ofconn.Session, want map[uint32]of.Group) {
	t.Helper()
	have, err := s.DumpGroups(soon(t))
	must(t, err)
	if len(have) != len(want) {
		t.Errorf("%d groups, want %d", len(have), len(want))
	}
	for _, d := range have {
		g, err := d.Group()
		must(t, err)
		if a, b := packedGroup(t, g), packedGroup(t, want[d.ID]); a != b {
			t.Errorf("sent %s\ngot  %s", b, a)
		}
	}
}

func TestGroupsThatAreManyOrLargeComeBackWhole(t *testing.T) {
	_, s := connect(t, ofconn.Config{}, ovstest.Config{})
	var mods []ofconn.Mod
	want := map[uint32]of.Group{}
	for id := range uint32(40) {
		g := of.Group{ID: id + 1}
		for i := range uint32(500) {
			g.Buckets = append(g.Buckets, of.Bucket{Actions: []of.Action{
				of.Set(of.TunDst, of.U(uint64(id<<16|i))), of.SetReg(of.TunID, uint64(i)), of.Output{Port: 1}}})
		}
		want[g.ID] = g
		mods = append(mods, ofconn.AddGroup{PackedGroup: packedGroup(t, g)})
	}
	must(t, s.Bundle(soon(t), mods))
	checkGroups(t, s, want)
}

func TestATypeOfGroupThatExistsIsRefusedByName(t *testing.T) {
	_, s := connect(t, ofconn.Config{}, ovstest.Config{})
	g := ofconn.AddGroup{PackedGroup: packedGroup(t, of.Group{ID: 1})}
	must(t, s.Bundle(soon(t), []ofconn.Mod{g}))
	err := s.Bundle(soon(t), []ofconn.Mod{g})
	if err == nil || !strings.Contains(err.Error(), "OFPGMFC_GROUP_EXISTS") || !strings.Contains(err.Error(), "number 0") {
		t.Error(fmt.Errorf("error %w", err))
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(patience); !cond(); {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("no %s within %s", what, patience)
		}
	}
}
