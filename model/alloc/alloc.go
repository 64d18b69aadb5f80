// Package alloc holds the rules by which numbers and addresses are given out: the lowest free one. It is pure: the
// store asks it which candidates to try, and lets a transaction decide.
package alloc

import (
	"encoding/binary"
	"net/netip"
)

// Lowest are the n lowest numbers from first to last that are not taken. taken is sorted ascending and lies within
// first … last. Fewer than n are returned when there are no more.
func Lowest(taken []uint32, first, last uint32, n int) []uint32 {
	var out []uint32
	next := uint64(first)
	for _, t := range taken {
		for ; next < uint64(t) && len(out) < n; next++ {
			out = append(out, uint32(next))
		}
		next = max(next, uint64(t)+1)
	}
	for ; next <= uint64(last) && len(out) < n; next++ {
		out = append(out, uint32(next))
	}
	return out
}

// Block is a range of numbers, both ends included.
type Block struct{ First, Last uint32 }

// Size is the number of numbers in the block.
func (b Block) Size() int64 { return int64(b.Last) - int64(b.First) + 1 }

// Split cuts a block into at most n blocks of nearly the same size, in order.
func Split(b Block, n int) []Block {
	step := (b.Size() + int64(n) - 1) / int64(n)
	var out []Block
	for first := int64(b.First); first <= int64(b.Last); first += step {
		out = append(out, Block{uint32(first), uint32(min(first+step-1, int64(b.Last)))})
	}
	return out
}

// FirstWithRoom is the first block in which fewer numbers are taken than there are; taken[i] counts those of blocks[i].
func FirstWithRoom(blocks []Block, taken []int64) (Block, bool) {
	for i, b := range blocks {
		if taken[i] < b.Size() {
			return b, true
		}
	}
	return Block{}, false
}

// Pool is the part of a subnet from which addresses are given out, both ends included. Two addresses at the start are
// not: that of the network (in IPv6 the subnet-router anycast address, RFC 4291 section 2.6.1) and the first behind it,
// which is where a router is expected; and of IPv4 the last one, broadcast. Subnets with two addresses (RFC 3021,
// RFC 6164) or one are given out whole. Of a subnet with more than 2³² addresses it is the first part.
func Pool(subnet netip.Prefix) (first, last netip.Addr) {
	first = subnet.Masked().Addr()
	bits := first.BitLen() - subnet.Bits()
	size := uint32(1)<<min(bits, 31) - 1
	if bits >= 32 {
		size = 1<<32 - 1
	}
	switch {
	case bits < 2:
		return first, Offset(first, size)
	case first.Is4():
		return Offset(first, 2), Offset(first, size-1)
	}
	return Offset(first, 2), Offset(first, size)
}

// Hosts is all of a subnet but the address of the network (in IPv6 the subnet-router anycast address) and the
// broadcast address of IPv4, both ends included; for those who say themselves where the router is. Otherwise as Pool.
func Hosts(subnet netip.Prefix) (first, last netip.Addr) {
	first, last = Pool(subnet)
	if first.BitLen()-subnet.Bits() < 2 {
		return first, last
	}
	return Offset(subnet.Masked().Addr(), 1), last
}

// Offset is the address n behind a.
func Offset(a netip.Addr, n uint32) netip.Addr {
	b := a.As16()
	low := binary.BigEndian.Uint64(b[8:])
	sum := low + uint64(n)
	binary.BigEndian.PutUint64(b[8:], sum)
	if sum < low {
		binary.BigEndian.PutUint64(b[:8], binary.BigEndian.Uint64(b[:8])+1)
	}
	if a.Is4() {
		return netip.AddrFrom16(b).Unmap()
	}
	return netip.AddrFrom16(b)
}

// Distance is how far b is behind a; they are less than 2³² apart.
func Distance(a, b netip.Addr) uint32 {
	x, y := a.As16(), b.As16()
	return uint32(binary.BigEndian.Uint64(y[8:]) - binary.BigEndian.Uint64(x[8:]))
}
