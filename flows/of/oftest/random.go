package oftest

import (
	"net/netip"

	"pgregory.net/rapid"

	"tuplenet/flows/of"
)

// Flow draws a valid flow.
func Flow(t *rapid.T) of.Flow {
	m := Match(t)
	as := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) of.Action { return action(t, m, 0) }), 0, 8).Draw(t, "actions")
	if rapid.Bool().Draw(t, "meter") {
		as = append([]of.Action{of.MeterAction{ID: 1}}, as...)
	}
	table := rapid.Uint8Range(0, of.MaxTable).Draw(t, "table")
	if table < of.MaxTable && rapid.Bool().Draw(t, "goto") {
		as = append(as, of.Goto{Table: rapid.Uint8Range(table+1, of.MaxTable).Draw(t, "to")})
	}
	if len(as) == 0 {
		as = nil
	}
	return of.Flow{
		Table:    table,
		Priority: rapid.Uint16().Draw(t, "priority"),
		Match:    m, Actions: as,
	}
}

// Match draws a valid match.
func Match(t *rapid.T) of.Match {
	seed := rapid.SampledFrom(of.AllFields()).Draw(t, "base")
	m := Base(seed)
	for _, f := range rapid.SliceOfNDistinct(rapid.SampledFrom(of.AllFields()), 0, 8, rapid.ID).Draw(t, "fields") {
		term := of.Eq(f, value(t, f))
		if mask, ok := Mask(f); ok && f.Info().Maskable && rapid.Bool().Draw(t, "masked") {
			term = of.Masked(f, value(t, f), mask)
		}
		if _, has := m.Get(f); has {
			continue
		}
		if n := m.With(term); valid(n, nil) {
			m = n
		}
	}
	if len(m) == 0 {
		return nil
	}
	return m
}

func valid(m of.Match, as []of.Action) bool {
	_, err := of.Flow{Match: m, Actions: as}.Pack()
	return err == nil
}

func value(t *rapid.T, f of.Field) of.Value {
	switch f {
	case of.InPort:
		return of.U(uint64(rapid.Uint32Range(1, 0xfeff).Draw(t, "port")))
	case of.VLANTCI: // without the bit that says that there is a tag, OVS forgets the rest
		return of.U(uint64(rapid.Uint16().Draw(t, "tci") | 0x1000))
	case of.IPFrag:
		return of.U(rapid.SampledFrom([]uint64{0, 1, 3}).Draw(t, "frag"))
	case of.ARPOp:
		return of.U(rapid.Uint64Range(0, 255).Draw(t, "op"))
	case of.CTState, of.TCPFlags:
		return of.U(rapid.Uint64Range(0, 255).Draw(t, "flags"))
	}
	v := of.Value{Hi: rapid.Uint64().Draw(t, "hi"), Lo: rapid.Uint64().Draw(t, "lo")}
	return v.And(f.Mask())
}

// subfield draws bits of a field that may be read, or also written.
func subfield(t *rapid.T, m of.Match, write bool) of.Subfield {
	f := rapid.SampledFrom(of.AllFields()).Filter(func(f of.Field) bool {
		s := of.Whole(f)
		if write {
			return valid(m, []of.Action{of.Pop{Dst: s}})
		}
		return valid(m, []of.Action{of.Push{Src: s}})
	}).Draw(t, "field")
	if write && !f.Info().Maskable {
		return of.Whole(f)
	}
	ofs := rapid.Uint8Range(0, uint8(f.Bits()-1)).Draw(t, "ofs")
	return of.Bits(f, ofs, rapid.Uint8Range(1, uint8(f.Bits())-ofs).Draw(t, "bits"))
}

// action draws one that fits the match; Goto and MeterAction have their own places.
func action(t *rapid.T, m of.Match, depth int) of.Action {
	a := drawAction(t, m, depth)
	if !valid(m, []of.Action{a}) {
		return of.Output{Port: 1}
	}
	return a
}

func drawAction(t *rapid.T, m of.Match, depth int) of.Action {
	switch rapid.IntRange(0, 13).Draw(t, "kind") {
	case 0:
		return of.Output{Port: rapid.SampledFrom([]uint32{1, 2, 0xfeff, of.PortInPort, of.PortLocal}).Draw(t, "port")}
	case 1:
		s := subfield(t, m, false)
		s.Bits = min(s.Bits, 32)
		return of.OutputField{Src: s}
	case 2:
		return of.Controller{
			MaxLen: rapid.Uint16().Draw(t, "len"), Reason: rapid.Uint8Range(0, 2).Draw(t, "reason"), ID: rapid.Uint16().Draw(t, "id"),
			MeterID: rapid.SampledFrom([]uint32{0, 1}).Draw(t, "meter"), Userdata: userdata(t)}
	case 3, 4:
		s := subfield(t, m, true)
		if s.Field == of.TunFlags || !s.Field.Info().Maskable {
			return of.Set(s.Field, value(t, s.Field))
		}
		return of.SetField{Field: s.Field, Value: value(t, s.Field).And(s.Mask()), Mask: s.Mask()}
	case 5:
		src, dst := subfield(t, m, false), subfield(t, m, true)
		if dst.Field.Info().Maskable {
			dst.Bits = min(src.Bits, dst.Bits)
		}
		src.Bits = dst.Bits
		return of.CopyField{Src: src, Dst: dst}
	case 6:
		return of.Resubmit{Port: rapid.SampledFrom([]uint16{of.ResubmitInPort, 4}).Draw(t, "port"), Table: rapid.Uint8Range(0, of.MaxTable).Draw(t, "table")}
	case 7:
		return rapid.SampledFrom([]of.Action{of.GroupAction{ID: 5}, of.DecTTL{}, of.CTClear{}}).Draw(t, "simple")
	case 8:
		return ct(t)
	case 9:
		return of.Push{Src: subfield(t, m, false)}
	case 10:
		return of.Pop{Dst: subfield(t, m, true)}
	case 11:
		return of.CheckPktLarger{Bytes: rapid.Uint16().Draw(t, "bytes"), Dst: of.Bits(of.Reg4, rapid.Uint8Range(0, 31).Draw(t, "bit"), 1)}
	case 12:
		return learn(t, m)
	}
	if depth > 2 {
		return of.CTClear{}
	}
	return of.Clone{Actions: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) of.Action { return action(t, m, depth+1) }), 1, 4).Draw(t, "clone")}
}

// learn draws what learns from all fields that the match allows, into all that need nothing.
func learn(t *rapid.T, m of.Match) of.Action {
	a := of.Learn{Table: rapid.Uint8Range(0, of.MaxTable).Draw(t, "table"), Priority: rapid.Uint16().Draw(t, "priority"), Cookie: rapid.Uint64Range(0, 1<<63).Draw(t, "cookie"),
		HardTimeout: rapid.Uint16().Draw(t, "timeout"), Limit: rapid.Uint32Range(1, 1<<20).Draw(t, "limit"),
		Match: []of.LearnTerm{{Dst: of.Whole(of.Metadata), Value: value(t, of.Metadata)}}}
	if from := subfield(t, m, false); from.Bits <= 48 {
		a.Match = append(a.Match, of.LearnTerm{Dst: of.Bits(of.EthDst, 0, from.Bits), Src: from})
	}
	for _, f := range []of.Field{of.Reg3, of.TunIPv6Dst, of.Reg15} {
		s := of.Bits(f, 0, rapid.Uint8Range(1, uint8(f.Bits())).Draw(t, "bits"))
		a.Load = append(a.Load, of.LearnTerm{Dst: s, Value: value(t, f).And(s.Mask())})
	}
	return a
}

func userdata(t *rapid.T) []byte {
	u := rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "userdata")
	if len(u) == 0 {
		return nil
	}
	return u
}

func ct(t *rapid.T) of.Action {
	a := of.CT{Commit: rapid.Bool().Draw(t, "commit"), Zone: rapid.Uint16().Draw(t, "zone")}
	if rapid.Bool().Draw(t, "by field") {
		s := of.Bits(of.Reg5, 16, 16)
		a.Zone, a.ZoneSrc = 0, &s
	}
	if rapid.Bool().Draw(t, "recirculate") {
		table := rapid.Uint8Range(0, of.MaxTable).Draw(t, "table")
		a.Table = &table
	}
	if !a.Commit {
		return a
	}
	a.Force = rapid.Bool().Draw(t, "force")
	if rapid.Bool().Draw(t, "nat") {
		a.NAT = &of.NAT{Type: of.NATSrc, AddrMin: netip.AddrFrom4([4]byte{10, 0, 0, rapid.Byte().Draw(t, "addr")})}
		a.NAT.PortMin = rapid.Uint16().Draw(t, "port")
	}
	if rapid.Bool().Draw(t, "exec") {
		a.Exec = []of.Action{of.Load(of.Bits(of.CTMark, 2, 3), 5)}
	}
	return a
}
