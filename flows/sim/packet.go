package sim

import (
	"tuplenet/flows/of"
)

// Protocol numbers that decide which fields a packet has.
const (
	ethIPv4 = 0x0800
	ethARP  = 0x0806
	ethIPv6 = 0x86dd

	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58
	protoSCTP   = 132

	ndSolicit   = 135
	ndAdvertise = 136

	fragLater = 2
)

// fieldCount is the number of fields that flows/of knows.
const fieldCount = int(of.CTTpDst) + 1

// Packet is a packet with its metadata: a value for every field, zero for those that it does not have. Registers and
// tunnel fields are fields like the others. It is a value; copies are independent. The zero Packet is an empty frame.
type Packet struct {
	values [fieldCount]of.Value
	// Length is the size of the frame in bytes, with its Ethernet header.
	Length int
	// ICMPID is the identifier of an ICMP query or its reply. No flow can match it; connection tracking tells connections
	// apart by it.
	ICMPID uint16
}

// Get is the value of a field.
func (p *Packet) Get(f of.Field) of.Value {
	if first, n := parts(f); n > 1 {
		var v of.Value
		for i := range n {
			v = v.Shl(32).Or(p.values[int(first)+i])
		}
		return v
	}
	return p.values[f]
}

// Set writes a field, whether the packet has it or not; bits beyond the field's width are left out.
func (p *Packet) Set(f of.Field, v of.Value) {
	if first, n := parts(f); n > 1 {
		for i := n - 1; i >= 0; i-- {
			p.values[int(first)+i] = v.And(of.Ones(32))
			v = v.Shr(32)
		}
		return
	}
	p.values[f] = v.And(f.Mask())
}

// With is the packet with a field changed, for building packets in one expression.
func (p Packet) With(f of.Field, v of.Value) Packet {
	p.Set(f, v)
	return p
}

// parts tells which 32-bit registers a wider register consists of, the most significant first. For any other field n
// is 1.
func parts(f of.Field) (first of.Field, n int) {
	switch {
	case f >= of.XReg0 && f <= of.XReg7:
		return of.Reg0 + 2*(f-of.XReg0), 2
	case f >= of.XXReg0 && f <= of.XXReg3:
		return of.Reg0 + 4*(f-of.XXReg0), 4
	}
	return f, 1
}

// bits reads a run of bits.
func (p *Packet) bits(s of.Subfield) of.Value {
	return p.Get(s.Field).Shr(uint(s.Ofs)).And(of.Ones(int(s.Bits)))
}

// setBits writes a run of bits and leaves the others alone.
func (p *Packet) setBits(s of.Subfield, v of.Value) {
	p.setMasked(s.Field, v.And(of.Ones(int(s.Bits))).Shl(uint(s.Ofs)), s.Mask())
}

func (p *Packet) setMasked(f of.Field, v, mask of.Value) {
	p.Set(f, p.Get(f).And(mask.Not()).Or(v.And(mask)))
}

// Has tells whether the packet has a field, by the field's prerequisites (ovs-fields(7)). Writing a field that a
// packet does not have changes nothing.
func (p *Packet) Has(f of.Field) bool {
	num := func(f of.Field) uint64 { return p.values[f].Lo }
	eth := num(of.EthType)
	ip := eth == ethIPv4 || eth == ethIPv6
	l4 := ip && num(of.IPFrag)&fragLater == 0
	proto := num(of.IPProto)
	icmp6 := l4 && eth == ethIPv6 && proto == protoICMPv6
	nd := func(t uint64) bool { return icmp6 && num(of.ICMPv6Type) == t && num(of.ICMPv6Code) == 0 }
	switch f.Info().Prereq {
	case of.NoPrereq:
		return true
	case of.NeedIPv4:
		return eth == ethIPv4
	case of.NeedIPv6:
		return eth == ethIPv6
	case of.NeedIP:
		return ip
	case of.NeedARP:
		return eth == ethARP
	case of.NeedTCP:
		return l4 && proto == protoTCP
	case of.NeedUDP:
		return l4 && proto == protoUDP
	case of.NeedSCTP:
		return l4 && proto == protoSCTP
	case of.NeedICMP:
		return l4 && eth == ethIPv4 && proto == protoICMP
	case of.NeedICMPv6:
		return icmp6
	case of.NeedND:
		return nd(ndSolicit) || nd(ndAdvertise)
	case of.NeedNDSol:
		return nd(ndSolicit)
	case of.NeedNDAdv:
		return nd(ndAdvertise)
	}
	tracked := num(of.CTState)&of.CTTrk != 0 && num(of.CTState)&of.CTInv == 0
	switch ct := num(of.CTNwProto); f.Info().Prereq {
	case of.NeedCT:
		return tracked
	case of.NeedCTIPv4:
		return tracked && eth == ethIPv4
	case of.NeedCTIPv6:
		return tracked && eth == ethIPv6
	case of.NeedCTPorts:
		return tracked && (ct == protoTCP || ct == protoUDP || ct == protoSCTP)
	}
	return false
}

// clear zeroes what the packet does not have. Fields are in an order in which each comes after those that it needs.
func (p *Packet) clear() {
	for f := range p.values {
		if !p.values[f].IsZero() && !p.Has(of.Field(f)) {
			p.values[f] = of.Value{}
		}
	}
}

// Match is the match of exactly this packet and its metadata: every field that it has and that is not zero, with what
// those need. It is what one gives to a real switch to ask for the same packet.
func (p *Packet) Match() of.Match {
	var terms []of.Term
	for _, f := range of.AllFields() {
		if _, n := parts(f); n > 1 || !p.Has(f) {
			continue
		}
		if v := p.Get(f); !v.IsZero() || needed(f) {
			terms = append(terms, of.Eq(f, v))
		}
	}
	return of.NewMatch(terms...)
}

// needed tells whether a zero says as much as any other value.
func needed(f of.Field) bool {
	switch f {
	case of.EthType, of.ICMPType, of.ICMPCode, of.ICMPv6Type, of.ICMPv6Code:
		return true
	}
	return false
}

// String is the text of Match.
func (p *Packet) String() string { return p.Match().String() }
