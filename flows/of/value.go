package of

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// Value is a field's content or mask of up to 128 bits as one big-endian number: Lo holds the least significant bits.
type Value struct{ Hi, Lo uint64 }

// U is the value of a number.
func U(v uint64) Value { return Value{Lo: v} }

// Addr is the value of an address: 32 bits for IPv4 (also when mapped into IPv6), 128 bits for IPv6.
func Addr(a netip.Addr) Value {
	if a.Is4() || a.Is4In6() {
		b := a.As4()
		return Value{Lo: uint64(binary.BigEndian.Uint32(b[:]))}
	}
	b := a.As16()
	return Value{Hi: binary.BigEndian.Uint64(b[:8]), Lo: binary.BigEndian.Uint64(b[8:])}
}

// MAC is the value of an Ethernet address.
func MAC(m [6]byte) Value {
	return Value{Lo: uint64(binary.BigEndian.Uint16(m[:]))<<32 | uint64(binary.BigEndian.Uint32(m[2:]))}
}

// Ones is a value whose n least significant bits are set.
func Ones(n int) Value {
	switch {
	case n <= 0:
		return Value{}
	case n < 64:
		return Value{Lo: 1<<n - 1}
	case n < 128:
		return Value{Hi: 1<<(n-64) - 1, Lo: ^uint64(0)}
	}
	return Value{Hi: ^uint64(0), Lo: ^uint64(0)}
}

// Uint64 is the value as a number; bits above 64 are left out.
func (v Value) Uint64() uint64 { return v.Lo }

// Addr4 is the value as an IPv4 address.
func (v Value) Addr4() netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(v.Lo))
	return netip.AddrFrom4(b)
}

// Addr6 is the value as an IPv6 address.
func (v Value) Addr6() netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], v.Hi)
	binary.BigEndian.PutUint64(b[8:], v.Lo)
	return netip.AddrFrom16(b)
}

// MAC is the value as an Ethernet address.
func (v Value) MAC() [6]byte {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], v.Lo)
	return [6]byte(b[2:])
}

// IsZero tells whether no bit is set.
func (v Value) IsZero() bool { return v.Hi == 0 && v.Lo == 0 }

// And, Or, Xor and Not work bit by bit on all 128 bits.
func (v Value) And(w Value) Value { return Value{v.Hi & w.Hi, v.Lo & w.Lo} }

// Or joins the bits of both.
func (v Value) Or(w Value) Value { return Value{v.Hi | w.Hi, v.Lo | w.Lo} }

// Xor keeps the bits that differ.
func (v Value) Xor(w Value) Value { return Value{v.Hi ^ w.Hi, v.Lo ^ w.Lo} }

// Not flips all 128 bits; And with a field's Mask brings the result back to its width.
func (v Value) Not() Value { return Value{^v.Hi, ^v.Lo} }

// Shl shifts left by n bits, 0 ≤ n ≤ 128.
func (v Value) Shl(n uint) Value {
	if n >= 64 {
		return Value{Hi: v.Lo << (n - 64)}
	}
	return Value{Hi: v.Hi<<n | v.Lo>>(64-n), Lo: v.Lo << n}
}

// Shr shifts right by n bits, 0 ≤ n ≤ 128.
func (v Value) Shr(n uint) Value {
	if n >= 64 {
		return Value{Lo: v.Hi >> (n - 64)}
	}
	return Value{Hi: v.Hi >> n, Lo: v.Lo>>n | v.Hi<<(64-n)}
}

// Less orders values as numbers.
func (v Value) Less(w Value) bool { return v.Hi < w.Hi || v.Hi == w.Hi && v.Lo < w.Lo }

// onesCount is the number of bits set.
func (v Value) onesCount() int { return bits.OnesCount64(v.Hi) + bits.OnesCount64(v.Lo) }

// append writes the n least significant bytes, big-endian.
func (v Value) append(b []byte, n int) []byte {
	switch n {
	case 1:
		return append(b, byte(v.Lo))
	case 2:
		return binary.BigEndian.AppendUint16(b, uint16(v.Lo))
	case 4:
		return binary.BigEndian.AppendUint32(b, uint32(v.Lo))
	case 6:
		return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(b, uint16(v.Lo>>32)), uint32(v.Lo))
	case 8:
		return binary.BigEndian.AppendUint64(b, v.Lo)
	}
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, v.Hi), v.Lo)
}

// readValue reads up to 16 bytes, big-endian.
func readValue(b []byte) Value {
	var v Value
	for _, c := range b {
		v.Hi = v.Hi<<8 | v.Lo>>56
		v.Lo = v.Lo<<8 | uint64(c)
	}
	return v
}
