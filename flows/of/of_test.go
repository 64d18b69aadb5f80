package of_test

import (
	"encoding/hex"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tuplenet/flows/of"
	"tuplenet/flows/of/oftest"
)

func pack(t testing.TB, f of.Flow) of.Packed {
	t.Helper()
	p, err := f.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestEverySampleSurvivesWireAndText(t *testing.T) {
	for _, f := range oftest.Samples() {
		checkRoundTrips(t, f)
	}
}

func TestRandomFlowsSurviveWireAndText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { checkRoundTrips(t, oftest.Flow(t)) })
}

type tester interface {
	Helper()
	Fatalf(string, ...any)
}

func checkRoundTrips(t tester, f of.Flow) {
	t.Helper()
	p, err := f.Pack()
	if err != nil {
		t.Fatalf("%v", err)
	}
	back, err := p.Unpack()
	if err != nil {
		t.Fatalf("%s: unpack: %v", f, err)
	}
	if back.String() != f.String() {
		t.Fatalf("unpacked\n %s\nwant\n %s", back, f)
	}
	if len(f.Match) > 0 && !reflect.DeepEqual(back.Match, f.Match) {
		t.Fatalf("unpacked match %#v\nwant %#v", back.Match, f.Match)
	}
	parsed, err := of.ParseFlow(f.String())
	if err != nil {
		t.Fatalf("parse: %v", err)
	}
	q, err := parsed.Pack()
	if err != nil {
		t.Fatalf("parsed: %v", err)
	}
	if q != p {
		t.Fatalf("text of\n %s\nreads as\n %s", f, parsed)
	}
}

// The bytes below were made by ovs-ofctl of OVS 3.1 from the same text.
func TestActionsHaveTheBytesOfOvsOfctl(t *testing.T) {
	for text, want := range map[string]string{
		"check_pkt_larger(1500)->reg3[7]":                                              "00040020 00000000 ffff0018 00002320 003105dc 00070001 06040000 00000000",
		"controller(reason=invalid_ttl,max_len=100,id=9,userdata=01.02.03,meter_id=5)": "00040040 00000000 ffff0038 00002320 00250000 00000000 00000008 00640000 00010008 00090000 00020005 02000000 00030007 01020300 00050008 00000005",
		"clone(output:1,output:2)":                                                     "00040038 00000000 ffff0030 00002320 002a0000 00000000 00000010 00000001 00000000 00000000 00000010 00000002 00000000 00000000",
		"meter:1,output:reg1[2..5],resubmit(,5),output:1":                              "00040048 00000000 001d0008 00000001 ffff0018 00002320 000f0083 00010204 ffff0000 00000000 ffff0010 00002320 000efff8 05000000 00000010 00000001 00000000 00000000",
		"move:reg0[1..3]->reg1[5..7],group:4":                                          "00040028 00000000 001c0018 00030001 00050000 00010004 00010204 00000000 00160008 00000004",
		"set_field:7->in_port,goto_table:5":                                            "00040018 00000000 00190010 00000002 00070000 00000000 00010008 05000000",
		"drop":                                                                         "",
	} {
		as, err := of.ParseActions(text)
		if err != nil {
			t.Fatal(err)
		}
		p := pack(t, of.Flow{Actions: as})
		got := hex.EncodeToString([]byte(p.Body()[8:]))
		if want = strings.ReplaceAll(want, " ", ""); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", text, got, want)
		}
	}
}

func TestHashChangesWithEveryPartOfAFlow(t *testing.T) {
	base := of.Flow{Table: 1, Priority: 2, Match: of.Match{}.Eq(of.Reg0, of.U(5)), Actions: []of.Action{of.Output{Port: 1}}}
	seen := map[uint64]string{pack(t, base).Hash(): "base"}
	keys := map[uint64]bool{pack(t, base).KeyHash(): true}
	for what, change := range map[string]func(*of.Flow){
		"table":    func(f *of.Flow) { f.Table++ },
		"priority": func(f *of.Flow) { f.Priority++ },
		"match":    func(f *of.Flow) { f.Match = f.Match.Eq(of.Reg0, of.U(6)) },
		"actions":  func(f *of.Flow) { f.Actions = nil },
	} {
		f := base
		change(&f)
		p := pack(t, f)
		if other, ok := seen[p.Hash()]; ok {
			t.Errorf("%s and %s have the same hash", what, other)
		}
		if p.Hash()>>56 != 0 {
			t.Errorf("hash %x has more than 56 bits", p.Hash())
		}
		seen[p.Hash()] = what
		if same := keys[p.KeyHash()]; same != (what == "actions") {
			t.Errorf("change of %s: key hash the same: %v", what, same)
		}
	}
}

func TestPackRefusesWhatTheSwitchWouldRefuse(t *testing.T) {
	m := of.Match{}
	out := []of.Action{of.Output{Port: 1}}
	zone := of.Bits(of.Reg0, 0, 8)
	a4, a6 := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")
	for want, f := range map[string]of.Flow{
		"table 254 does not exist":            {Table: 254},
		"ip_src needs IPv4":                   {Match: m.Eq(of.IPSrc, of.U(1))},
		"tcp_dst needs TCP":                   {Match: m.UDP4().Eq(of.TCPDst, of.U(1))},
		"nd_sll needs a neighbour solicit":    {Match: m.NDAdvertise().Eq(of.NDSLL, of.U(1))},
		"nd_target needs a neighbour":         {Match: m.ICMP6().With(of.Eq(of.ICMPv6Type, of.U(135)), of.Eq(of.ICMPv6Code, of.U(1)), of.Eq(of.NDTarget, of.U(1)))},
		"ct_nw_src needs a connection":        {Match: m.IPv4().Masked(of.CTState, of.U(of.CTTrk), of.U(of.CTTrk)).Eq(of.CTNwSrc, of.U(1))},
		"ct_tp_src needs a connection":        {Match: m.IPv4().Masked(of.CTState, of.U(of.CTNew), of.U(of.CTNew)).Eq(of.CTTpSrc, of.U(1))},
		"bits outside of the mask":            {Match: of.Match{{Field: of.Reg0, Value: of.U(3), Mask: of.U(1)}}},
		"mask is wider than 32":               {Match: of.Match{{Field: of.Reg0, Value: of.U(3), Mask: of.U(1 << 33)}}},
		"eth_type can not be matched or set":  {Match: m.Masked(of.EthType, of.U(1), of.U(1))},
		"not sorted":                          {Match: of.Match{of.Eq(of.Reg1, of.U(0)), of.Eq(of.Reg0, of.U(0))}},
		"xreg0 overlaps":                      {Match: m.Eq(of.Reg1, of.U(0)).Eq(of.XReg0, of.U(0))},
		"has no name in OVS":                  {Match: m.IPv4().Masked(of.IPFrag, of.U(2), of.U(2))},
		"goto_table must be the last":         {Actions: []of.Action{of.Goto{Table: 1}, of.DecTTL{}}},
		"does not lead to a later table":      {Table: 3, Actions: []of.Action{of.Goto{Table: 3}}},
		"learn needs a limit":                 {Actions: []of.Action{of.Learn{Table: 2, Match: []of.LearnTerm{{Dst: of.Whole(of.EthDst), Src: of.Whole(of.EthSrc)}}}}},
		"learn needs something to match":      {Actions: []of.Action{of.Learn{Table: 2, Limit: 1}}},
		"learn: 16 bits into 48":              {Actions: []of.Action{of.Learn{Limit: 1, Match: []of.LearnTerm{{Dst: of.Whole(of.EthDst), Src: of.Bits(of.Reg0, 0, 16)}}}}},
		"learn: tcp_dst needs TCP":            {Actions: []of.Action{of.Learn{Limit: 1, Match: []of.LearnTerm{{Dst: of.Whole(of.TCPDst), Value: of.U(1)}}}}},
		"learn: 0x10 has more than 4 bits":    {Actions: []of.Action{of.Learn{Limit: 1, Match: []of.LearnTerm{{Dst: of.Bits(of.Reg0, 0, 4), Value: of.U(16)}}}}},
		"meter must be the first":             {Actions: append(out, of.MeterAction{ID: 1})},
		"dec_ttl needs IPv4 or IPv6":          {Actions: []of.Action{of.DecTTL{}}},
		"ct needs IPv4 or IPv6":               {Actions: []of.Action{of.CT{}}},
		"set_field: ip_src: empty mask":       {Match: m.IPv4(), Actions: []of.Action{of.SetField{Field: of.IPSrc}}},
		"ip_dst needs IPv4":                   {Actions: []of.Action{of.Set(of.IPDst, of.U(1))}},
		"eth_type can not be written":         {Actions: []of.Action{of.Set(of.EthType, of.U(1))}},
		"nw_ttl can not be written in part":   {Match: m.IPv4(), Actions: []of.Action{of.CopyField{Src: of.Bits(of.Reg0, 0, 4), Dst: of.Bits(of.IPTTL, 0, 4)}}},
		"copy of 32 bits into 64":             {Actions: []of.Action{of.CopyField{Src: of.Whole(of.Reg0), Dst: of.Whole(of.XReg3)}}},
		"are not inside of reg0":              {Actions: []of.Action{of.Push{Src: of.Bits(of.Reg0, 20, 20)}}},
		"needs one bit of a register":         {Actions: []of.Action{of.CheckPktLarger{Dst: of.Bits(of.Metadata, 0, 1)}}},
		"use Controller":                      {Actions: []of.Action{of.Output{Port: of.PortController}}},
		"ct_mark can only be written by":      {Actions: []of.Action{of.Set(of.CTMark, of.U(1))}},
		"arp_op is above":                     {Match: m.ARP().Eq(of.ARPOp, of.U(256))},
		"port 0 does not exist":               {Actions: []of.Action{of.Output{}}},
		"zone is a number or 16 bits":         {Match: m.IPv4(), Actions: []of.Action{of.CT{ZoneSrc: &zone}}},
		"exec without commit":                 {Match: m.IPv4(), Actions: []of.Action{of.CT{Exec: out}}},
		"of.Output is not allowed":            {Match: m.IPv4(), Actions: []of.Action{of.CT{Commit: true, Exec: out}}},
		"reg0 does not belong":                {Match: m.IPv4(), Actions: []of.Action{of.CT{Commit: true, Exec: []of.Action{of.SetReg(of.Reg0, 1)}}}},
		"src and dst need commit":             {Match: m.IPv4(), Actions: []of.Action{of.CT{NAT: &of.NAT{Type: of.NATSrc, AddrMin: a4}}}},
		"not of the family":                   {Match: m.IPv4(), Actions: []of.Action{of.CT{Commit: true, NAT: &of.NAT{Type: of.NATSrc, AddrMin: a6}}}},
		"is no range":                         {Match: m.IPv4(), Actions: []of.Action{of.CT{Commit: true, NAT: &of.NAT{Type: of.NATSrc, AddrMin: a4, AddrMax: a4}}}},
		"alg 21 needs its transport protocol": {Match: m.UDP4(), Actions: []of.Action{of.CT{Commit: true, ALG: 21}}},
		"do not fit":                          {Actions: []of.Action{of.Controller{Userdata: make([]byte, 65000)}, of.Controller{Userdata: make([]byte, 65000)}}},
	} {
		_, err := f.Pack()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", f, err, want)
		}
	}
}

func TestMatchMethodsLeaveTheReceiverAlone(t *testing.T) {
	base := of.Match{}.IPv4().Eq(of.Reg3, of.U(1))
	before := base.String()
	a := base.Eq(of.Reg0, of.U(1))
	b := base.Eq(of.Reg0, of.U(2)).Eq(of.Reg3, of.U(9))
	if base.String() != before || a.String() != "ip,reg0=0x1,reg3=0x1" || b.String() != "ip,reg0=0x2,reg3=0x9" {
		t.Errorf("base %s, a %s, b %s", base, a, b)
	}
	if m := base.Prefix(of.IPDst, netip.MustParsePrefix("0.0.0.0/0")); m.String() != before {
		t.Errorf("prefix of length 0 gives %s", m)
	}
	if m := base.Prefix(of.IPDst, netip.MustParsePrefix("10.1.2.3/24")); m.String() != before+",ip_dst=10.1.2.0/24" {
		t.Errorf("prefix gives %s", m)
	}
	if m := base.Subfield(of.Bits(of.Reg5, 0, 4), 3).Subfield(of.Bits(of.Reg5, 8, 4), 5); m.String() != before+",reg5=0x503/0xf0f" {
		t.Errorf("subfields give %s", m)
	}
}

func TestDumpsOfOvsOfctlCanBeRead(t *testing.T) {
	for dump, want := range map[string]string{
		" cookie=0x74, duration=1.5s, table=3, n_packets=0, n_bytes=0, idle_age=1, priority=5,ip,nw_tos=20,nw_ecn=2,nw_ttl=3,nw_frag=later actions=goto_table:3": "table=3,priority=5,ip,nw_ttl=3,ip_frag=later,ip_dscp=5,nw_ecn=2 actions=goto_table:3",
		" cookie=0x0, duration=1s, table=0, n_packets=0, n_bytes=0, tcp6,tp_dst=0x50/0xfff0,tcp_flags=+syn-ack actions=CONTROLLER:65535":                         "table=0,priority=32768,tcp6,tcp_dst=0x50/0xfff0,tcp_flags=+syn-ack actions=controller()",
		"priority=5,ct_state=-new+trk,ip actions=ct(commit,zone=NXM_NX_REG3[0..15],exec(move:NXM_NX_REG0[]->NXM_NX_CT_LABEL[0..31])),IN_PORT":                    "table=0,priority=5,ip,ct_state=-new+trk actions=ct(commit,zone=reg3[0..15],exec(move:reg0[]->ct_label[0..31])),IN_PORT",
		"priority=5,icmp6,icmp_type=135,nd_target=fd00::1 actions=set_field:oam->tun_flags,move:NXM_NX_ND_SLL[]->NXM_OF_ETH_DST[]":                               "table=0,priority=5,icmp6,icmpv6_type=135,nd_target=fd00::1 actions=set_field:0x1->tun_flags,move:nd_sll[]->eth_dst[]",
		"priority=5,dl_type=0x88cc,dl_src=01:00:00:00:00:00/01:00:00:00:00:00,in_port=LOCAL actions=drop":                                                        "table=0,priority=5,in_port=LOCAL,eth_src=01:00:00:00:00:00/01:00:00:00:00:00,eth_type=0x88cc actions=drop",
		"priority=5,tcp,dl_vlan=100,dl_vlan_pcp=1,tcp_flags=psh|ns|[200]|[400] actions=drop":                                                                     "table=0,priority=5,tcp,vlan_tci=0x3064,tcp_flags=0x708 actions=drop",
	} {
		f, err := of.ParseFlow(dump)
		if err != nil {
			t.Error(err)
		} else if f.String() != want {
			t.Errorf("%s\nreads as %s\nwant     %s", dump, f, want)
		}
	}
}

func TestParseRefusesNonsense(t *testing.T) {
	for _, text := range []string{
		"", "priority=1", "priority=70000 actions=drop", "foo actions=drop", "foo=1 actions=drop", "reg0=0x100000000 actions=drop",
		"ip,ip_src=::1 actions=drop", "actions=fly", "actions=output:x", "actions=set_field:1->reg99", "actions=move:reg0[]",
		"actions=move:reg0[0..40]->reg1[]", "actions=resubmit(1)", "actions=ct(foo)", "actions=clone(output:1", "actions=push:in_port[]",
		"tp_dst=5 actions=drop", "eth_src=1:2:3 actions=drop", "actions=controller(userdata=1)", "actions=ct(commit,nat(src=x))",
	} {
		if f, err := of.ParseFlow(text); err == nil {
			t.Errorf("%q reads as %s", text, f)
		}
	}
}

func TestUnknownFieldsAreReportedButNotInTheWay(t *testing.T) {
	// mpls_label (basic 34), an experimenter field, then reg0.
	b, _ := hex.DecodeString("80004404" + "00000001" + "ffff5406" + "4f4e4600" + "0002" + "00010004" + "00000005")
	m, err := of.DecodeMatch(b)
	if !errors.Is(err, of.ErrUnknownField) || m.String() != "reg0=0x5" {
		t.Errorf("match %s, error %v", m, err)
	}
}

func TestInPortIsReadInBothWidths(t *testing.T) {
	b, _ := hex.DecodeString("00000002" + "fff8")
	m, err := of.DecodeMatch(b)
	if err != nil || m.String() != "in_port=IN_PORT" {
		t.Errorf("match %s, error %v", m, err)
	}
}

func TestShortenedTunnelMetadataIsRead(t *testing.T) {
	b, _ := hex.DecodeString("00015001" + "05")
	m, err := of.DecodeMatch(b)
	if err != nil || m.String() != "tun_metadata0=0x5" {
		t.Errorf("match %s, error %v", m, err)
	}
}

func FuzzDecodeMatch(f *testing.F) {
	for _, s := range oftest.Samples() {
		f.Add([]byte(pack(f, s).MatchBytes()))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := of.DecodeMatch(b)
		if err == nil && len(m) > 0 {
			_ = m.String()
		}
	})
}

func FuzzDecodeActions(f *testing.F) {
	for _, s := range oftest.Samples() {
		b, err := of.AppendActions(nil, s.Actions)
		if err == nil {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if as, err := of.DecodeActions(b); err == nil {
			_ = of.ActionsString(as)
		}
		_, _ = of.DecodeInstructions(b)
		_, _ = of.DecodeGroup(1, of.GroupSelect, b, b)
	})
}

func FuzzParseFlow(f *testing.F) {
	for _, s := range oftest.Samples() {
		f.Add(s.String())
	}
	f.Fuzz(func(t *testing.T, text string) {
		flow, err := of.ParseFlow(text)
		if err != nil {
			return
		}
		p, err := flow.Pack()
		if err != nil {
			return
		}
		again, err := of.ParseFlow(flow.String())
		if err != nil {
			t.Fatal(err)
		}
		if q := pack(t, again); q != p {
			t.Errorf("%q\n%s\n%s", text, flow, again)
		}
	})
}

// exampleFlow is the flow that the design's figures are for: five terms, seven actions.
func exampleFlow() of.Flow {
	return of.Flow{Table: 10, Priority: 100,
		Match: of.Match{}.IPv4().With(of.Eq(of.Metadata, of.U(7)), of.Eq(of.Reg14, of.U(3)), of.Eq(of.EthDst, of.U(9)), of.Eq(of.IPDst, of.U(77))),
		Actions: []of.Action{of.SetReg(of.Reg0, 1), of.SetReg(of.Reg1, 2), of.Set(of.EthSrc, of.U(3)), of.DecTTL{},
			of.Set(of.EthDst, of.U(4)), of.ResubmitTable(4), of.ResubmitTable(5)}}
}

func TestPackAllocatesOnlyItsResult(t *testing.T) {
	f := exampleFlow()
	if n := testing.AllocsPerRun(100, func() { _, _ = f.Pack() }); n > 1 {
		t.Errorf("%v allocations a flow", n)
	}
}

func TestClonesNestOnlySoDeep(t *testing.T) {
	var a of.Action = of.CTClear{}
	for range 16 {
		a = of.Clone{Actions: []of.Action{a}}
	}
	checkRoundTrips(t, of.Flow{Actions: []of.Action{a}})
	if _, err := (of.Flow{Actions: []of.Action{of.Clone{Actions: []of.Action{a}}}}).Pack(); err == nil {
		t.Error("17 clones are packed")
	}
}

func BenchmarkPack(b *testing.B) {
	f := exampleFlow()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.Pack(); err != nil {
			b.Fatal(err)
		}
	}
}
