package of

import (
	"cmp"
	"net/netip"
	"slices"
)

// Numbers of protocols that the shorthands of Match use.
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
)

// Term is one condition of a match: the bits of the field that are set in Mask equal those of Value. An exact match
// has a mask of all ones of the field's width. Value has no bits outside Mask.
type Term struct {
	Field       Field
	Value, Mask Value
}

// Match is a conjunction of terms, at most one a field, sorted by field. The empty match matches everything.
// Its methods return a new match and leave the receiver alone, so a common prefix can be shared.
type Match []Term

// NewMatch sorts terms into a match; terms with an empty mask say nothing and are left out, the last of several terms
// for one field wins. It costs one allocation, where a chain of Eq costs one a call.
func NewMatch(terms ...Term) Match {
	m := make(Match, 0, len(terms))
	for _, t := range terms {
		m = m.insert(t)
	}
	return m
}

// Eq is the term of an exact value.
func Eq(f Field, v Value) Term { return Term{Field: f, Value: v, Mask: f.Mask()} }

// Masked is the term of some bits; bits of v outside mask are cleared.
func Masked(f Field, v, mask Value) Term { return Term{Field: f, Value: v.And(mask), Mask: mask} }

// InPrefix is the term of an address prefix; a prefix of length 0 has an empty mask.
func InPrefix(f Field, p netip.Prefix) Term {
	width := f.Bits()
	return Masked(f, Addr(p.Addr()), Ones(p.Bits()).Shl(uint(width-p.Bits())))
}

// insert puts a term in place, in the receiver's own memory if there is room.
func (m Match) insert(t Term) Match {
	i, found := slices.BinarySearchFunc(m, t.Field, func(e Term, f Field) int { return cmp.Compare(e.Field, f) })
	switch {
	case found && t.Mask.IsZero():
		return slices.Delete(m, i, i+1)
	case found:
		m[i] = t
		return m
	case t.Mask.IsZero():
		return m
	}
	return slices.Insert(m, i, t)
}

// With returns the match with further terms; a term replaces an earlier one for its field.
func (m Match) With(terms ...Term) Match {
	n := make(Match, len(m), len(m)+len(terms))
	copy(n, m)
	for _, t := range terms {
		n = n.insert(t)
	}
	return n
}

// Eq adds an exact value.
func (m Match) Eq(f Field, v Value) Match { return m.With(Eq(f, v)) }

// Masked adds some bits of a field.
func (m Match) Masked(f Field, v, mask Value) Match { return m.With(Masked(f, v, mask)) }

// Prefix adds an address prefix; a prefix of length 0 adds nothing.
func (m Match) Prefix(f Field, p netip.Prefix) Match { return m.With(InPrefix(f, p)) }

// Subfield adds a value for a run of bits, keeping what the match says about other bits of the field.
func (m Match) Subfield(s Subfield, v uint64) Match {
	return m.With().join(Masked(s.Field, U(v).Shl(uint(s.Ofs)), s.Mask()))
}

// join adds a term to what is known of its field, in the receiver's own memory.
func (m Match) join(t Term) Match {
	if old, ok := m.Get(t.Field); ok {
		t.Value = t.Value.Or(old.Value.And(t.Mask.Not()))
		t.Mask = t.Mask.Or(old.Mask)
	}
	return m.insert(t)
}

// IPv4 adds eth_type=0x0800.
func (m Match) IPv4() Match { return m.Eq(EthType, U(ethIPv4)) }

// IPv6 adds eth_type=0x86dd.
func (m Match) IPv6() Match { return m.Eq(EthType, U(ethIPv6)) }

// ARP adds eth_type=0x0806.
func (m Match) ARP() Match { return m.Eq(EthType, U(ethARP)) }

// ICMP4 adds ICMP over IPv4.
func (m Match) ICMP4() Match { return m.l4(ethIPv4, protoICMP) }

// ICMP6 adds ICMPv6 over IPv6.
func (m Match) ICMP6() Match { return m.l4(ethIPv6, protoICMPv6) }

// TCP4 adds TCP over IPv4.
func (m Match) TCP4() Match { return m.l4(ethIPv4, protoTCP) }

// TCP6 adds TCP over IPv6.
func (m Match) TCP6() Match { return m.l4(ethIPv6, protoTCP) }

// UDP4 adds UDP over IPv4.
func (m Match) UDP4() Match { return m.l4(ethIPv4, protoUDP) }

// UDP6 adds UDP over IPv6.
func (m Match) UDP6() Match { return m.l4(ethIPv6, protoUDP) }

// SCTP4 adds SCTP over IPv4.
func (m Match) SCTP4() Match { return m.l4(ethIPv4, protoSCTP) }

// SCTP6 adds SCTP over IPv6.
func (m Match) SCTP6() Match { return m.l4(ethIPv6, protoSCTP) }

// NDSolicit adds ICMPv6 neighbour solicitation (RFC 4861 section 4.3).
func (m Match) NDSolicit() Match {
	return m.ICMP6().With(Eq(ICMPv6Type, U(ndSolicit)), Eq(ICMPv6Code, U(0)))
}

// NDAdvertise adds ICMPv6 neighbour advertisement (RFC 4861 section 4.4).
func (m Match) NDAdvertise() Match {
	return m.ICMP6().With(Eq(ICMPv6Type, U(ndAdvertise)), Eq(ICMPv6Code, U(0)))
}

func (m Match) l4(ethType, proto uint64) Match {
	return m.With(Eq(EthType, U(ethType)), Eq(IPProto, U(proto)))
}

// Get finds the term of a field.
func (m Match) Get(f Field) (Term, bool) {
	for _, t := range m {
		if t.Field == f {
			return t, true
		}
	}
	return Term{}, false
}

// exact is the value of a field that is matched in full.
func (m Match) exact(f Field) (uint64, bool) {
	t, ok := m.Get(f)
	if !ok || t.Mask != f.Mask() {
		return 0, false
	}
	return t.Value.Lo, true
}
