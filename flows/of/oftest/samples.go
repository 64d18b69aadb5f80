// Package oftest makes flows for tests: a fixed list that has every field and action of flows/of once, and random ones.
// Tests of any package may use it; nothing else may. It only builds values.
package oftest

import (
	"net/netip"

	"tuplenet/flows/of"
)

// Samples are valid flows that together match, write and copy every field, and contain every action. They stand in
// table 0 with different priorities. Groups and meters that they refer to are those of Groups and Meters.
func Samples() []of.Flow {
	var fs []of.Flow
	for _, f := range of.AllFields() {
		base := Base(f)
		t := of.Eq(f, Value(f))
		fs = append(fs, of.Flow{Match: base.With(t), Actions: []of.Action{of.Output{Port: 1}}})
		info := f.Info()
		if info.Maskable {
			if m, ok := Mask(f); ok {
				fs = append(fs, of.Flow{Match: base.With(of.Masked(f, m, m)), Actions: []of.Action{of.Output{Port: 2}}})
			}
		}
		fs = append(fs, fieldActions(f, base)...)
	}
	for _, as := range actionLists() {
		fs = append(fs, of.Flow{Match: of.Match{}.TCP4(), Actions: as})
	}
	v6 := netip.MustParseAddr("fd00::1")
	fs = append(fs,
		of.Flow{},
		of.Flow{Match: of.Match{}.IPv6(), Actions: []of.Action{of.CT{Commit: true, NAT: &of.NAT{Type: of.NATDst, AddrMin: v6, PortMin: 80}}}},
		of.Flow{Match: of.Match{}.IPv6(), Actions: []of.Action{of.CT{Commit: true, NAT: &of.NAT{Type: of.NATSrc, AddrMin: v6, AddrMax: v6.Next()}}}},
		of.Flow{Match: of.Match{}.IPv6(), Actions: []of.Action{of.CT{Commit: true,
			NAT: &of.NAT{Type: of.NATSrc, AddrMin: v6, AddrMax: v6.Next(), PortMin: 80, PortMax: 90, Hash: true}}}},
		of.Flow{Match: of.Match{}.UDP6(), Actions: []of.Action{of.CT{Commit: true, ALG: 69}}},
	)
	for _, frag := range [][2]uint64{{0, 3}, {1, 3}, {3, 3}, {1, 1}, {0, 2}} {
		fs = append(fs, of.Flow{Match: of.Match{}.IPv4().Masked(of.IPFrag, of.U(frag[0]), of.U(frag[1]))})
	}
	for i := range fs {
		fs[i].Priority = uint16(i)
	}
	return fs
}

// Groups are those that Samples refer to.
func Groups() []of.Group { return []of.Group{{ID: 5, Type: of.GroupAll}} }

// Meters are those that Samples refer to.
func Meters() []of.Meter {
	return []of.Meter{{ID: 1, RatePPS: 1000, Burst: 100}, {ID: 5, RatePPS: 5}}
}

// fieldActions write a field, whole and in part, and copy it from and to where that is allowed.
func fieldActions(f of.Field, base of.Match) []of.Flow {
	info := f.Info()
	other := of.XXReg3
	if f == of.XXReg3 {
		other = of.XXReg2
	}
	n := uint8(f.Bits())
	as := []of.Action{of.CopyField{Src: of.Whole(f), Dst: of.Bits(other, 0, n)}, of.Push{Src: of.Whole(f)}}
	if f == of.CTMark || f == of.CTLabel {
		exec := []of.Action{of.Set(f, Value(f)), of.CopyField{Src: of.Bits(other, 0, n), Dst: of.Whole(f)}}
		as = append(as, of.CT{Commit: true, Exec: exec})
		base = base.IPv4()
	} else if info.Writable {
		as = append(as, of.Set(f, Value(f)), of.CopyField{Src: of.Bits(other, 0, n), Dst: of.Whole(f)}, of.Pop{Dst: of.Whole(f)})
		if m, ok := Mask(f); ok && info.Maskable {
			as = append(as, of.SetField{Field: f, Value: m, Mask: m})
		}
	}
	if n > 3 {
		as = append(as, of.CopyField{Src: of.Bits(f, 1, 2), Dst: of.Bits(of.Reg15, 30, 2)})
	}
	return []of.Flow{{Match: base, Actions: as}}
}

// actionLists have every action, for TCP over IPv4.
func actionLists() [][]of.Action {
	table := uint8(4)
	zone := of.Bits(of.Reg3, 0, 16)
	v4 := netip.MustParseAddr("10.0.0.1")
	return [][]of.Action{
		{of.Output{Port: of.PortInPort}, of.Output{Port: of.PortLocal}, of.Output{Port: of.PortNormal}, of.Output{Port: 0xfeff}},
		{of.Output{Port: of.PortFlood}, of.Output{Port: of.PortAll}},
		{of.OutputField{Src: of.Whole(of.Reg15)}, of.OutputField{Src: of.Bits(of.Reg15, 3, 16)}},
		{of.Controller{MaxLen: 0xffff, Reason: of.ReasonAction, Userdata: []byte{1}}},
		{of.Controller{MaxLen: 128, Reason: of.ReasonInvalidTTL, Userdata: []byte{1, 2, 3, 4, 5, 6, 7, 8, 9}, MeterID: 5, ID: 0}},
		{of.Controller{MaxLen: 0xffff, Reason: of.ReasonNoMatch}},
		{of.Controller{MaxLen: 0xffff, Reason: of.ReasonAction, ID: 7}},
		{of.ResubmitTable(9), of.Resubmit{Port: 3, Table: 8}, of.GroupAction{ID: 5}, of.DecTTL{}, of.CTClear{}},
		{of.MeterAction{ID: 1}, of.Output{Port: 1}, of.Goto{Table: 6}},
		{of.Goto{Table: 253}},
		{of.CheckPktLarger{Bytes: 1500, Dst: of.Bits(of.Reg0, 3, 1)}, of.CheckPktLarger{Bytes: 1, Dst: of.Bits(of.XXReg1, 77, 1)}},
		{of.Clone{Actions: []of.Action{of.SetReg(of.Reg0, 5), of.ResubmitTable(4), of.Clone{Actions: []of.Action{of.DecTTL{}}}}}, of.Output{Port: 1}},
		{of.Learn{Table: 17, Priority: 100, Cookie: 0x6d00000000000001, HardTimeout: 300, Limit: 1000,
			Match: []of.LearnTerm{{Dst: of.Whole(of.Metadata), Value: of.U(5)}, {Dst: of.Whole(of.EthDst), Src: of.Whole(of.EthSrc)}},
			Load: []of.LearnTerm{{Dst: of.Bits(of.Reg10, 6, 2), Value: of.U(2)}, {Dst: of.Whole(of.TunDst), Value: of.Addr(v4)},
				{Dst: of.Whole(of.TunIPv6Dst), Value: of.Addr(netip.MustParseAddr("fd00::1"))}, {Dst: of.Whole(of.Reg15), Src: of.Whole(of.Reg14)}}}},
		{of.CT{}, of.CT{Table: &table, ZoneSrc: &zone}, of.CT{NAT: &of.NAT{}, Zone: 65535, Table: &table}},
		{of.CT{Commit: true, Force: true, Zone: 5, ALG: 21, NAT: &of.NAT{Type: of.NATDst, AddrMin: v4, PortMin: 80}}},
		{of.CT{Commit: true, Table: &table, ZoneSrc: &zone,
			NAT:  &of.NAT{Type: of.NATSrc, AddrMin: v4, AddrMax: v4.Next(), PortMin: 1000, PortMax: 2000, Random: true, Persistent: true},
			Exec: []of.Action{of.Load(of.Bits(of.CTMark, 0, 1), 1), of.CopyField{Src: of.Whole(of.Reg0), Dst: of.Bits(of.CTLabel, 0, 32)}}}},
		{of.CT{Commit: true, NAT: &of.NAT{Type: of.NATSrc}}},
		{of.SetReg(of.InPort, 0), of.Set(of.InPort, of.U(uint64(of.PortAny))), of.Set(of.InPort, of.U(uint64(of.PortLocal)))},
	}
}

// Base is the smallest match that allows a field.
func Base(f of.Field) of.Match {
	m := of.Match{}
	switch f.Info().Prereq {
	case of.NeedIPv4, of.NeedIP:
		return m.IPv4()
	case of.NeedIPv6:
		return m.IPv6()
	case of.NeedARP:
		return m.ARP()
	case of.NeedTCP:
		return m.TCP4()
	case of.NeedUDP:
		return m.UDP6()
	case of.NeedSCTP:
		return m.SCTP4()
	case of.NeedICMP:
		return m.ICMP4()
	case of.NeedICMPv6:
		return m.ICMP6()
	case of.NeedND, of.NeedNDSol:
		return m.NDSolicit()
	case of.NeedNDAdv:
		return m.NDAdvertise()
	case of.NeedCT:
		return m.IPv4().Masked(of.CTState, of.U(of.CTTrk|of.CTEst), of.U(of.CTTrk|of.CTEst))
	case of.NeedCTIPv4:
		return m.IPv4().Masked(of.CTState, of.U(of.CTTrk), of.U(of.CTTrk|of.CTInv))
	case of.NeedCTIPv6:
		return m.IPv6().Masked(of.CTState, of.U(of.CTNew), of.U(of.CTNew))
	case of.NeedCTPorts:
		return m.IPv4().Masked(of.CTState, of.U(of.CTRpl), of.U(of.CTRpl)).Eq(of.CTNwProto, of.U(6))
	}
	return m
}

// Value is a valid value of a field in which no byte is zero where that is possible.
func Value(f of.Field) of.Value {
	switch f {
	case of.InPort:
		return of.U(7)
	case of.EthType:
		return of.U(0x88cc)
	case of.IPProto:
		return of.U(89)
	case of.IPFrag:
		return of.U(1)
	case of.CTState:
		return of.U(of.CTTrk | of.CTEst)
	case of.VLANTCI:
		return of.U(0x1064)
	case of.ICMPv6Type:
		return of.U(128)
	case of.CTNwProto:
		return of.U(17)
	case of.ARPOp:
		return of.U(2)
	}
	return of.Value{Hi: 0xfd12_3456_789a_bcde, Lo: 0x1122_3344_5566_7788}.And(f.Mask())
}

// Mask has some bits of a field, such that OVS has a text for it; false for fields that have no such mask.
func Mask(f of.Field) (of.Value, bool) {
	switch f {
	case of.TunFlags, of.IPFrag:
		return of.Value{}, false
	case of.CTState:
		return of.U(of.CTTrk | of.CTNew), true
	case of.TCPFlags:
		return of.U(0x12), true
	case of.VLANTCI:
		return of.U(0x1000), true
	}
	return f.Mask().And(of.Value{Hi: 0xff00_ff00_0000_0000, Lo: 0x00f0_00f0_ff00_00f1}), true
}
