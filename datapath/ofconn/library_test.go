package ofconn

import (
	"bytes"
	"net"
	"strings"
	"testing"

	"antrea.io/libOpenflow/openflow15"

	"tuplenet/flows/of"
	"tuplenet/flows/of/oftest"
)

// raw is a value or mask for a field of the library.
type raw []byte

func (r raw) Len() uint16                    { return uint16(len(r)) }
func (r raw) MarshalBinary() ([]byte, error) { return r, nil }
func (r raw) UnmarshalBinary([]byte) error   { return nil }

func rawValue(f of.Field, v of.Value) raw {
	var b []byte
	for i := int(f.Info().Bytes) - 1; i >= 0; i-- {
		b = append(b, byte(v.Shr(uint(8*i)).Lo))
	}
	return b
}

// libraryNames are the names of the library where the name of OVS is that of another header for the same field.
var libraryNames = map[of.Field]string{
	of.TunID: "OXM_OF_TUNNEL_ID", of.EthSrc: "OXM_OF_ETH_SRC", of.EthDst: "OXM_OF_ETH_DST", of.EthType: "OXM_OF_ETH_TYPE",
	of.IPProto: "OXM_OF_IP_PROTO", of.IPECN: "OXM_OF_IP_ECN", of.IPSrc: "OXM_OF_IPV4_SRC", of.IPDst: "OXM_OF_IPV4_DST",
	of.IPv6Src: "OXM_OF_IPV6_SRC", of.IPv6Dst: "OXM_OF_IPV6_DST", of.IPv6Label: "OXM_OF_IPV6_FLABEL", of.ARPOp: "OXM_OF_ARP_OP",
	of.ARPSPA: "OXM_OF_ARP_SPA", of.ARPTPA: "OXM_OF_ARP_TPA", of.ARPSHA: "OXM_OF_ARP_SHA", of.ARPTHA: "OXM_OF_ARP_THA",
	of.TCPSrc: "OXM_OF_TCP_SRC", of.TCPDst: "OXM_OF_TCP_DST", of.UDPSrc: "OXM_OF_UDP_SRC", of.UDPDst: "OXM_OF_UDP_DST",
	of.ICMPType: "OXM_OF_ICMPV4_TYPE", of.ICMPCode: "OXM_OF_ICMPV4_CODE", of.ICMPv6Type: "OXM_OF_ICMPV6_TYPE", of.ICMPv6Code: "OXM_OF_ICMPV6_CODE",
	of.NDTarget: "OXM_OF_IPV6_ND_TARGET", of.NDSLL: "OXM_OF_IPV6_ND_SLL", of.NDTLL: "OXM_OF_IPV6_ND_TLL",
}

// libraryHeader is the library's header of a field; false for the fields that it does not know.
func libraryHeader(f of.Field) (openflow15.MatchField, bool) {
	if f == of.TCPFlags {
		h := openflow15.NewTcpFlagsField(0, nil)
		return openflow15.MatchField{Class: h.Class, Field: h.Field, Length: 2}, true
	}
	name, ok := libraryNames[f]
	if !ok {
		name = f.Info().Long
	}
	h, err := openflow15.FindFieldHeaderByName(name, false)
	if err != nil {
		return openflow15.MatchField{}, false
	}
	if f == of.TunMetadata0 {
		h.Length = 8 // that of the option
	}
	return *h, true
}

func libraryField(f of.Field, v, mask of.Value) (openflow15.MatchField, bool) {
	h, ok := libraryHeader(f)
	h.Value = rawValue(f, v)
	if mask != f.Mask() {
		h.HasMask, h.Mask = true, rawValue(f, mask)
		h.Length *= 2
	}
	return h, ok
}

func libraryID(s of.Subfield) (openflow15.OxmId, bool) {
	h, ok := libraryHeader(s.Field)
	return openflow15.OxmId{Class: h.Class, Field: h.Field, Length: h.Length}, ok
}

// libraryAction translates an action; false for what the library can not encode, or not as OVS does: the clone, stack,
// ct_clear and check_pkt_larger actions, and controller properties of two bytes, whose length it does not round up.
func libraryAction(a of.Action) (openflow15.Action, bool) {
	switch a := a.(type) {
	case of.Output:
		o := openflow15.NewActionOutput(a.Port)
		o.MaxLen = 0 // means something for the controller only; OVS itself writes 0
		return o, true
	case of.OutputField:
		h, ok := libraryHeader(a.Src.Field)
		return openflow15.NewOutputFromField(&h, openflow15.NewNXRangeByOfsNBits(int(a.Src.Ofs), int(a.Src.Bits)).ToOfsBits()), ok
	case of.Controller:
		c := openflow15.NewNXActionController2()
		if a.Reason != of.ReasonAction {
			c.AddReason(a.Reason)
		}
		if len(a.Userdata) > 0 {
			c.AddUserdata(a.Userdata)
		}
		if a.MeterID != 0 {
			c.AddMeterID(a.MeterID)
		}
		return c, a.MaxLen == 0xffff && a.ID == 0
	case of.SetField:
		h, ok := libraryField(a.Field, a.Value, a.Mask)
		if a.Field == of.InPort { // OVS wants the form of 16 bits
			in, _ := openflow15.FindFieldHeaderByName("NXM_OF_IN_PORT", false)
			h = *in
			h.Value = raw{byte(a.Value.Lo >> 8), byte(a.Value.Lo)}
		}
		return openflow15.NewActionSetField(h), ok
	case of.CopyField:
		src, ok1 := libraryID(a.Src)
		dst, ok2 := libraryID(a.Dst)
		return openflow15.NewActionCopyField(uint16(a.Src.Bits), uint16(a.Src.Ofs), uint16(a.Dst.Ofs), src, dst), ok1 && ok2
	case of.Resubmit:
		return openflow15.NewNXActionResubmitTableAction(a.Port, a.Table), true
	case of.GroupAction:
		return openflow15.NewActionGroup(a.ID), true
	case of.MeterAction:
		return openflow15.NewActionMeter(a.ID), true
	case of.DecTTL:
		return openflow15.NewActionDecNwTtl(), true
	case of.CT:
		return libraryCT(a)
	}
	return nil, false
}

func libraryCT(a of.CT) (openflow15.Action, bool) {
	c := openflow15.NewNXActionConnTrack()
	if a.Commit {
		c.Commit()
	}
	if a.Force {
		c.Force()
	}
	if a.Table != nil {
		c.Table(*a.Table)
	}
	if a.ZoneSrc != nil {
		h, ok := libraryHeader(a.ZoneSrc.Field)
		if !ok {
			return nil, false
		}
		c.ZoneRange(&h, openflow15.NewNXRangeByOfsNBits(int(a.ZoneSrc.Ofs), int(a.ZoneSrc.Bits)))
	} else {
		c.ZoneImm(a.Zone)
	}
	c.Alg = a.ALG
	if a.NAT != nil {
		n, ok := libraryNAT(a.NAT)
		if !ok {
			return nil, false
		}
		c.AddAction(n)
	}
	for _, e := range a.Exec {
		x, ok := libraryAction(e)
		if !ok {
			return nil, false
		}
		c.AddAction(x)
	}
	return c, true
}

// libraryNAT leaves out a single port, with which the library panics.
func libraryNAT(n *of.NAT) (openflow15.Action, bool) {
	if n.PortMin != 0 && n.PortMax == 0 {
		return nil, false
	}
	x := openflow15.NewNXActionCTNAT()
	switch n.Type {
	case of.NATSrc:
		_ = x.SetSNAT()
	case of.NATDst:
		_ = x.SetDNAT()
	}
	if n.Hash {
		_ = x.SetProtoHash()
	}
	if n.Random {
		_ = x.SetRandom()
	}
	if n.Persistent {
		_ = x.SetPersistent()
	}
	lo, hi := net.IP(n.AddrMin.AsSlice()), net.IP(n.AddrMax.AsSlice())
	switch {
	case n.AddrMin.Is4():
		x.SetRangeIPv4Min(lo)
	case n.AddrMin.Is6():
		x.SetRangeIPv6Min(lo)
	}
	switch {
	case n.AddrMax.Is4():
		x.SetRangeIPv4Max(hi)
	case n.AddrMax.Is6():
		x.SetRangeIPv6Max(hi)
	}
	if n.PortMin != 0 {
		x.SetRangeProtoMin(&n.PortMin)
		x.SetRangeProtoMax(&n.PortMax)
	}
	return x, true
}

// libraryFlow is the library's message for a flow; false if it can not encode it.
func libraryFlow(f of.Flow, cookie uint64) (*openflow15.FlowMod, bool) {
	m := openflow15.NewFlowMod()
	m.Xid, m.Cookie, m.TableId, m.Priority = 9, cookie, f.Table, f.Priority
	for _, t := range f.Match {
		h, ok := libraryField(t.Field, t.Value, t.Mask)
		if !ok {
			return nil, false
		}
		m.Match.AddField(h)
	}
	apply := openflow15.NewInstrApplyActions()
	for _, a := range f.Actions {
		if g, ok := a.(of.Goto); ok {
			defer m.AddInstruction(openflow15.NewInstrGotoTable(g.Table))
			continue
		}
		x, ok := libraryAction(a)
		if !ok {
			return nil, false
		}
		if err := apply.AddAction(x, false); err != nil {
			return nil, false
		}
	}
	if len(apply.Actions) > 0 {
		m.AddInstruction(apply)
	}
	return m, true
}

func TestFlowsHaveTheBytesOfLibOpenflow(t *testing.T) {
	compared := 0
	kinds := map[string]bool{}
	// Every field and action in a flow of its own, so that one that the library lacks does not hide others.
	for _, whole := range oftest.Samples() {
		flows := []of.Flow{{Priority: whole.Priority, Match: whole.Match}, whole}
		for _, a := range whole.Actions {
			flows = append(flows, of.Flow{Table: 7, Match: whole.Match, Actions: []of.Action{a}})
		}
		for _, f := range flows {
			p, err := f.Pack()
			if err != nil {
				continue // an early goto_table of a sample in table 0
			}
			m, ok := libraryFlow(f, p.Hash())
			if !ok {
				continue
			}
			want, err := m.MarshalBinary()
			if err != nil {
				t.Fatalf("%s: %v", f, err)
			}
			got := AddFlow{Packed: p, Cookie: p.Hash()}.append(nil)
			seal(got, 9)
			if !bytes.Equal(got, want) {
				t.Errorf("%s\ngot  %x\nwant %x", f, got, want)
			}
			compared++
			for _, term := range f.Match {
				kinds[term.Field.String()] = true
			}
			for _, w := range strings.FieldsFunc(of.ActionsString(f.Actions), func(r rune) bool { return !(r >= 'a' && r <= 'z' || r == '_') }) {
				kinds["action "+w] = true
			}
		}
	}
	if compared < 300 {
		t.Errorf("only %d flows were compared", compared)
	}
	for _, f := range of.AllFields() {
		if _, known := libraryHeader(f); known != kinds[f.String()] {
			t.Errorf("%s: known to the library: %v, compared: %v", f, known, kinds[f.String()])
		}
	}
	for _, a := range []string{"output", "controller", "set_field", "move", "resubmit", "goto_table", "group", "meter", "dec_ttl", "ct", "nat", "exec", "drop"} {
		if !kinds["action "+a] {
			t.Errorf("action %s was not compared", a)
		}
	}
}

func TestGroupsHaveTheBytesOfLibOpenflow(t *testing.T) {
	fields := []of.Field{of.EthSrc, of.IPSrc, of.IPDst, of.TCPDst}
	g := of.Group{ID: 77, Type: of.GroupSelect, Hash: &of.HashSelection{Method: of.MethodHash, Fields: fields}, Buckets: []of.Bucket{
		{ID: 3, Weight: 100, WatchPort: 5, Actions: []of.Action{of.SetReg(of.Reg1, 7), of.Output{Port: 2}}},
		{ID: 9, Weight: 1, Actions: []of.Action{of.ResubmitTable(4)}},
	}}
	m := openflow15.NewGroupMod()
	m.Xid, m.Command, m.Type, m.GroupId, m.CommandBucketId = 9, openflow15.OFPGC_ADD, openflow15.GT_SELECT, g.ID, 0xffffffff
	for _, b := range g.Buckets {
		k := openflow15.NewBucket(b.ID)
		for _, a := range b.Actions {
			x, _ := libraryAction(a)
			k.AddAction(x)
		}
		k.AddProperty(openflow15.NewGroupBucketPropWeight(b.Weight))
		if b.WatchPort != 0 {
			k.AddProperty(openflow15.NewGroupBucketPropWatchPort(b.WatchPort))
		}
		m.AddBucket(*k)
	}
	var hashed []openflow15.MatchField
	for _, f := range fields {
		h, _ := libraryField(f, f.Mask(), f.Mask())
		hashed = append(hashed, h)
	}
	m.Properties = append(m.Properties, openflow15.NewNTRSelectionMethod("hash", 0, hashed...))
	want, err := m.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	p, err := g.Pack()
	if err != nil {
		t.Fatal(err)
	}
	got := AddGroup{PackedGroup: p}.append(nil)
	seal(got, 9)
	if !bytes.Equal(got, want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
}

func BenchmarkAppendFlow(b *testing.B) {
	f := of.Flow{Table: 10, Priority: 100, Match: of.Match{}.IPv4().Eq(of.Metadata, of.U(7)).Eq(of.Reg14, of.U(3)).Eq(of.IPDst, of.U(77)),
		Actions: []of.Action{of.SetReg(of.Reg0, 1), of.DecTTL{}, of.ResubmitTable(4), of.ResubmitTable(5)}}
	p, err := f.Pack()
	if err != nil {
		b.Fatal(err)
	}
	room := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		room = AddFlow{Packed: p, Cookie: p.Hash()}.append(room[:0])
	}
}

// BenchmarkLibraryFlow is what the same message costs through the library.
func BenchmarkLibraryFlow(b *testing.B) {
	f := of.Flow{Table: 10, Priority: 100, Match: of.Match{}.IPv4().Eq(of.Metadata, of.U(7)).Eq(of.Reg14, of.U(3)).Eq(of.IPDst, of.U(77)),
		Actions: []of.Action{of.SetReg(of.Reg0, 1), of.DecTTL{}, of.ResubmitTable(4), of.ResubmitTable(5)}}
	m, ok := libraryFlow(f, 1)
	if !ok {
		b.Fatal("the library can not encode it")
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.MarshalBinary(); err != nil {
			b.Fatal(err)
		}
	}
}
