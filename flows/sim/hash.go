package sim

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"slices"

	"tuplenet/flows/of"
)

// The choice of a select group with selection method "hash" (ovs-ofctl(8), "selection_method"), made as Open vSwitch makes
// it (pick_hash_fields_select_group in ofproto/ofproto-dpif-xlate.c): the values of the group's fields are hashed one after
// the other; of each live bucket the id is hashed with that, its low 16 bits times the weight are the score, and the
// highest score wins, the later bucket on a tie.
//
// The hash is MurmurHash3 for words of 32 bits (lib/hash.h), as in every build that the compiler does not allow CRC32
// instructions, which are those of distributions for x86-64; it reads memory as little-endian words. Other builds choose
// other buckets, though always the same one for the same packet.

// fieldOrder lists what groups hash by in the order in which Open vSwitch takes them (enum mf_field_id); the value's width
// in bytes is that of its field.
var fieldOrder = []of.Field{of.EthSrc, of.EthDst, of.EthType, of.IPSrc, of.IPDst, of.IPv6Src, of.IPv6Dst, of.IPv6Label, of.IPProto,
	of.TCPSrc, of.TCPDst, of.UDPSrc, of.UDPDst, of.SCTPSrc, of.SCTPDst}

// byFields tells whether a group chooses by the values of fields alone.
func byFields(g of.Group) bool {
	if g.Hash == nil || g.Hash.Method != of.MethodHash {
		return false
	}
	return !slices.ContainsFunc(g.Hash.Fields, func(f of.Field) bool { return !slices.Contains(fieldOrder, f) })
}

// selected is the index of the bucket of a group that a packet takes, among those of the indexes. For dp_hash, whose hash
// only the datapath knows, it is one that stays the same for a connection.
func selected(g of.Group, among []int, p *Packet) int {
	fields := fieldOrder
	if g.Hash != nil && g.Hash.Method == of.MethodHash && len(g.Hash.Fields) > 0 {
		fields = slices.Clone(g.Hash.Fields)
		slices.SortStableFunc(fields, func(a, b of.Field) int {
			return cmp.Compare(slices.Index(fieldOrder, a), slices.Index(fieldOrder, b))
		})
	}
	basis := hashWords(0, 0) // of the selection method's parameter, 64 bits that are zero
	for _, f := range fields {
		if p.Has(f) {
			basis = hashBytes(bytesOf(p.Get(f), (f.Bits()+7)/8), basis)
		}
	}
	best, top := -1, uint64(0)
	for _, i := range among {
		b := g.Buckets[i]
		id := b.ID
		if id == 0 {
			id = uint32(i)
		}
		if score := uint64(hashWords(id, basis)&0xffff) * uint64(max(b.Weight, 1)); best < 0 || score >= top {
			best, top = i, score
		}
	}
	return best
}

// bytesOf is a value of n bytes as it is on the wire.
func bytesOf(v of.Value, n int) []byte {
	b := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, v.Hi), v.Lo)
	return b[len(b)-n:]
}

func hashAdd(hash, data uint32) uint32 {
	data = bits.RotateLeft32(data*0xcc9e2d51, 15) * 0x1b873593
	return bits.RotateLeft32(hash^data, 13)*5 + 0xe6546b64
}

func hashFinish(hash uint32) uint32 {
	hash ^= hash >> 16
	hash *= 0x85ebca6b
	hash ^= hash >> 13
	hash *= 0xc2b2ae35
	return hash ^ hash>>16
}

func hashWords(x, y uint32) uint32 { return hashFinish(hashAdd(hashAdd(x, 0), y) ^ 8) }

func hashBytes(b []byte, basis uint32) uint32 {
	hash, n := basis, uint32(len(b))
	for ; len(b) >= 4; b = b[4:] {
		hash = hashAdd(hash, binary.LittleEndian.Uint32(b))
	}
	if len(b) > 0 {
		var word [4]byte
		copy(word[:], b)
		hash = hashAdd(hash, binary.LittleEndian.Uint32(word[:]))
	}
	return hashFinish(hash ^ n)
}
