package alloc

import (
	"net/netip"
	"slices"
)

// Space is what prefixes of one length are taken from.
type Space struct {
	// Prefixes are of one family and do not overlap; the lowest are looked for in this order.
	Prefixes []netip.Prefix
	Length   int
	// Random: in the order of NewOrder with Seed, in place of the lowest first.
	Random bool
	Seed   uint64
}

// span is a range of addresses, both ends included.
type span struct{ first, last netip.Addr }

// LastOf is the last address of a prefix.
func LastOf(p netip.Prefix) netip.Addr {
	if p.Addr().Is4() {
		b := p.Addr().As4()
		setLow(b[:], p.Bits())
		return netip.AddrFrom4(b)
	}
	b := p.Addr().As16()
	setLow(b[:], p.Bits())
	return netip.AddrFrom16(b)
}

// setLow sets all bits behind the first n.
func setLow(b []byte, n int) {
	for i := n; i < 8*len(b); i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
}

// spans are the ranges that prefixes cover, sorted, none overlapping another.
func spans(prefixes []netip.Prefix) (out []span) {
	sorted := slices.SortedFunc(slices.Values(prefixes), func(a, b netip.Prefix) int { return a.Masked().Addr().Compare(b.Masked().Addr()) })
	for _, p := range sorted {
		s := span{p.Masked().Addr(), LastOf(p)}
		if n := len(out); n > 0 && s.first.Compare(out[n-1].last) <= 0 {
			if out[n-1].last.Less(s.last) {
				out[n-1].last = s.last
			}
			continue
		}
		out = append(out, s)
	}
	return out
}

// within finds the span that has an address in a prefix.
func within(used []span, p netip.Prefix) (span, bool) {
	last := LastOf(p)
	i, _ := slices.BinarySearchFunc(used, p.Addr(), func(s span, a netip.Addr) int { return s.last.Compare(a) })
	if i < len(used) && used[i].first.Compare(last) <= 0 {
		return used[i], true
	}
	return span{}, false
}

// triedAtRandom bounds how many prefixes are tried in a random order before the lowest free one is looked for: then the
// space is nearly full, and looking on would be slow.
const triedAtRandom = 1 << 16

// NextPrefixes are up to n prefixes of a space that overlap none of those that are used, the next one to take first.
func (s Space) NextPrefixes(used []netip.Prefix, n int) []netip.Prefix {
	taken := spans(used)
	if !s.Random {
		return s.lowest(taken, n)
	}
	total := uint64(0)
	for _, p := range s.Prefixes {
		total += s.count(p)
	}
	if total == 0 {
		return nil
	}
	var out []netip.Prefix
	order := NewOrder(total, s.Seed)
	for i := uint64(0); i < min(total, triedAtRandom) && len(out) < n; i++ {
		p := s.nth(order.At(i))
		if _, is := within(taken, p); !is {
			out = append(out, p)
		}
	}
	if len(out) == 0 && total > triedAtRandom {
		return s.lowest(taken, n)
	}
	return out
}

func (s Space) lowest(taken []span, n int) (out []netip.Prefix) {
	for _, p := range s.Prefixes {
		if s.Length < p.Bits() {
			continue
		}
		for a := p.Masked().Addr(); len(out) < n && a.IsValid() && p.Contains(a); {
			c := netip.PrefixFrom(a, s.Length).Masked()
			if c.Addr() != a { // begins within what is used
				a = LastOf(c).Next()
				continue
			}
			if t, is := within(taken, c); is {
				if a = LastOf(c); a.Less(t.last) {
					a = t.last
				}
				a = a.Next()
				continue
			}
			out = append(out, c)
			a = LastOf(c).Next()
		}
	}
	return out
}

// maxCountBits bounds how many prefixes of one prefix are counted, so that the sum fits into 64 bits.
const maxCountBits = 48

// count is how many prefixes of the space are in one of its prefixes; of more than 2⁴⁸ it is the first part.
func (s Space) count(p netip.Prefix) uint64 {
	if s.Length < p.Bits() {
		return 0
	}
	return 1 << min(s.Length-p.Bits(), maxCountBits)
}

// nth is the prefix with a number.
func (s Space) nth(i uint64) netip.Prefix {
	for _, p := range s.Prefixes {
		n := s.count(p)
		if i < n {
			return Subnet(p, s.Length, i)
		}
		i -= n
	}
	return netip.Prefix{}
}

// Subnet is the subnet with a number, from 0, of those of a length in a prefix.
func Subnet(p netip.Prefix, length int, number uint64) netip.Prefix {
	b := p.Masked().Addr().AsSlice()
	for bit := length - 1; bit >= p.Bits() && number > 0; bit-- {
		if number&1 != 0 {
			b[bit/8] |= 0x80 >> (bit % 8)
		}
		number >>= 1
	}
	a, _ := netip.AddrFromSlice(b)
	return netip.PrefixFrom(a, length)
}
