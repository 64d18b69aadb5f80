package controller

import (
	"net/netip"
	"testing"
	"time"

	"tuplenet/controller/facts"
	"tuplenet/controller/responder"
	"tuplenet/datapath/ofconn"
	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
	"tuplenet/model"
	"tuplenet/model/store"
)

var (
	near = &model.LogicalSwitchPort{Switch: "S", Name: "near", Key: 1, MAC: model.MAC{2, 0, 0, 0, 0, 1}, IPs: []netip.Addr{netip.MustParseAddr("10.0.0.1")}}
	far  = &model.LogicalSwitchPort{Switch: "S", Name: "far", Key: 2, MAC: model.MAC{2, 0, 0, 0, 0, 2},
		IPs: []netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("2001:db8::2")}}
)

func testDemand() *demand {
	f := facts.New()
	rp := &model.LogicalRouterPort{Router: "R", Name: "r", Key: 3, Peer: "s", MAC: model.MAC{2, 0, 0, 0, 0, 3}}
	sp := &model.LogicalSwitchPort{Switch: "S", Name: "s", Key: 3, Type: model.PortRouter, Peer: "r", MAC: rp.MAC, IPs: []netip.Addr{netip.MustParseAddr("10.0.0.254")}}
	u := store.Update{Revision: 1}
	for _, o := range []model.Object{&model.LogicalSwitch{Name: "S", VNI: 7}, &model.LogicalRouter{Name: "R", ID: 8}, near, far, rp, sp} {
		u.Changes = append(u.Changes, store.Change{Ref: o.Ref(), Object: o, Revision: 1})
	}
	f.Apply(u)
	return newDemand(Config{OnDemand: true, OnDemandIdle: time.Minute}, f)
}

// missing is a packet that missed in a switch or router.
func missing(at uint64, missed uint64, frame []byte, regs ...of.Term) ofconn.PacketIn {
	f := pipeline.Missed.Sub
	return ofconn.PacketIn{Userdata: []byte{byte(pipeline.PuntMiss)}, Data: frame,
		Fields: append(regs, of.Term{Field: of.Metadata, Value: of.U(at)}, of.Term{Field: f.Field, Value: of.U(missed << f.Ofs)})}
}

func to(mac model.MAC, ethType uint16) []byte {
	return append(append(append(mac[:], near.MAC[:]...), byte(ethType>>8), byte(ethType)), make([]byte, 40)...)
}

func TestT28_WhoseFlowsAPacketMissed(t *testing.T) {
	d := testDemand()
	asks := func(ip string) []byte {
		return responder.Ask(near.MAC, map[bool]netip.Addr{true: near.IPs[0], false: near.MAC.LinkLocal()}[netip.MustParseAddr(ip).Is4()], netip.MustParseAddr(ip))
	}
	out := of.Term{Field: of.Reg15, Value: of.U(3)}
	for name, c := range map[string]struct {
		packet ofconn.PacketIn
		want   string
	}{
		"a MAC":                       {missing(7, pipeline.MissedPort, to(far.MAC, 0x88b5)), "far"},
		"a MAC of nobody":             {missing(7, pipeline.MissedPort, to(model.MAC{2, 9}, 0x88b5)), ""},
		"a MAC on no switch":          {missing(9, pipeline.MissedPort, to(far.MAC, 0x88b5)), ""},
		"a frame that ends too early": {missing(7, pipeline.MissedPort, far.MAC[:]), ""},
		"ARP":                         {missing(7, pipeline.MissedAnswer, asks("10.0.0.2")), "far"},
		"ARP for nobody":              {missing(7, pipeline.MissedAnswer, asks("10.0.0.9")), ""},
		"ND":                          {missing(7, pipeline.MissedAnswer, asks("2001:db8::2")), "far"},
		"ND for a link-local address": {missing(7, pipeline.MissedAnswer, asks(far.MAC.LinkLocal().String())), "far"},
		"no question":                 {missing(7, pipeline.MissedAnswer, to(far.MAC, 0x0806)), ""},
		"a next hop":                  {missing(8, pipeline.MissedNeighbour, to(far.MAC, 0x0800), out, of.Term{Field: of.Reg0, Value: of.Addr(far.IPs[0])}), "far"},
		"a next hop, IPv6":            {missing(8, pipeline.MissedNeighbour, to(far.MAC, 0x86dd), out, of.Term{Field: of.XXReg0, Value: of.Addr(far.IPs[1])}), "far"},
		"a next hop of nobody":        {missing(8, pipeline.MissedNeighbour, to(far.MAC, 0x0800), out, of.Term{Field: of.Reg0, Value: of.U(5)}), ""},
		"behind no port":              {missing(8, pipeline.MissedNeighbour, to(far.MAC, 0x0800), of.Term{Field: of.Reg0, Value: of.Addr(far.IPs[0])}), ""},
		"nothing that we know":        {missing(7, 0, to(far.MAC, 0x0800)), ""},
	} {
		got := ""
		if p := d.portOf(c.packet); p != nil {
			got = p.Name
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestT28_APacketWaitsUntilItsFlowsAreAcknowledged(t *testing.T) {
	d := testDemand()
	now := time.Now()
	d.misses.put(missing(7, pipeline.MissedPort, to(far.MAC, 0x88b5)), now)
	d.misses.put(missing(7, pipeline.MissedPort, to(model.MAC{2, 9}, 0x88b5)), now)
	if !d.take(now) || len(d.out.packets) != 1 {
		t.Fatalf("%d packets went on, want the one for nobody", len(d.out.packets))
	}
	d.committed(5, 4)
	d.misses.put(missing(7, pipeline.MissedPort, to(far.MAC, 0x88b5)), now)
	if d.take(now) {
		t.Error("a port that is wanted already is news")
	}
	d.committed(5, 4)
	if len(d.out.packets) != 1 {
		t.Fatal("a packet went on before its flows were acknowledged")
	}
	d.acknowledged(5)
	if len(d.out.packets) != 3 || len(d.held) != 0 {
		t.Fatalf("%d packets went on, %d wait", len(d.out.packets), len(d.held))
	}
	late := testDemand()
	late.misses.put(missing(7, pipeline.MissedPort, to(far.MAC, 0x88b5)), now)
	if late.take(now.Add(2 * missAge)) {
		t.Error("a packet that nobody waits for any more makes flows")
	}
	for range keptMisses {
		if !late.misses.put(ofconn.PacketIn{}, now) {
			t.Fatal("no room")
		}
	}
	if late.misses.put(ofconn.PacketIn{}, now) {
		t.Error("room without end")
	}
}

func TestT28_APacketGoesOnAsItWas(t *testing.T) {
	p := missing(7, pipeline.MissedNeighbour, to(far.MAC, 0x0800), of.Term{Field: of.InPort, Value: of.U(4)},
		of.Term{Field: pipeline.Ingress.Sub.Field, Value: of.U(4)}, of.Term{Field: of.XXReg0, Value: of.Addr(far.IPs[1])})
	got := onward(p)
	if text := of.ActionsString(got.Actions); got.InPort != 4 || text != "set_field:0x7->metadata,set_field:0x20010db8->reg0,set_field:0x2->reg3,set_field:0x600->reg10,set_field:0x4->reg12,set_field:0x100/0x100->reg10,resubmit(,60)" {
		t.Errorf("from port %d: %s", got.InPort, text)
	}
	if got := onward(missing(7, pipeline.MissedPort, to(far.MAC, 0x0800), of.Term{Field: of.InPort, Value: of.U(4)})); got.InPort != of.PortController {
		t.Errorf("a packet of another chassis comes from port %d", got.InPort)
	}
}

func TestT28_WhatIsIdleOrGoneIsGivenUp(t *testing.T) {
	d := testDemand()
	now := time.Now()
	d.found.set([]station{{7, far.MAC}, {7, model.MAC{2, 9}}, {9, far.MAC}})
	d.restore()
	if !d.isReady() || len(d.facts.Wanted()) != 1 {
		t.Fatalf("restored: %v", d.facts.Wanted())
	}
	const owner = "port/S/far"
	for _, step := range []struct {
		idle map[string]time.Duration
		left int
	}{{nil, 1}, {map[string]time.Duration{owner: time.Second}, 1}, {map[string]time.Duration{owner: time.Hour}, 0}} {
		if gone := d.evict(now, step.idle); gone != (step.left == 0) || len(d.facts.Wanted()) != step.left {
			t.Errorf("idle %v: %v", step.idle, d.facts.Wanted())
		}
	}
	d.want(far, now)
	if d.evict(now.Add(time.Second), map[string]time.Duration{owner: time.Hour}) {
		t.Error("what was just wanted is given up")
	}
	d.facts.Apply(store.Update{Revision: 2, Changes: []store.Change{{Ref: far.Ref(), Revision: 2}}})
	if !d.evict(now.Add(time.Second), map[string]time.Duration{owner: 0}) {
		t.Error("a port that is gone stays wanted")
	}
	if d.want(&model.LogicalSwitchPort{Switch: "S", Name: "s", Type: model.PortRouter}, now) {
		t.Error("the link of a router is wanted")
	}
}
