package alloc

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
)

// Order is the numbers from 0 to n-1 in an order that looks random and depends on n and the seed alone, so that it is the
// same everywhere and needs no memory: a Feistel network (Luby and Rackoff, 1988) of four rounds with SHA-256 on the
// smallest even number of bits that holds n, walked along its cycle until the number is below n (Black and Rogaway,
// "Ciphers with arbitrary finite domains", 2002). A test holds values of it; it never changes.
type Order struct {
	n, seed uint64
	half    int // bits of each half
}

const orderRounds = 4

// NewOrder makes the order of n numbers, n > 0.
func NewOrder(n, seed uint64) Order {
	return Order{n: n, seed: seed, half: max(1, (bits.Len64(n-1)+1)/2)}
}

// At is the i-th number, i < n.
func (o Order) At(i uint64) uint64 {
	for {
		if i = o.shuffle(i); i < o.n {
			return i
		}
	}
}

func (o Order) shuffle(i uint64) uint64 {
	mask := uint64(1)<<o.half - 1
	left, right := i>>o.half&mask, i&mask
	for round := range orderRounds {
		var in [17]byte
		binary.BigEndian.PutUint64(in[:], o.seed)
		in[8] = byte(round)
		binary.BigEndian.PutUint64(in[9:], right)
		h := sha256.Sum256(in[:])
		left, right = right, left^binary.BigEndian.Uint64(h[:])&mask
	}
	return left<<o.half | right
}
