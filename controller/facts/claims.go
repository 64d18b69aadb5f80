package facts

import (
	"hash/maphash"
	"iter"
	"math"
	"slices"

	"tuplenet/model"
)

// claims finds those who claim the same. A claim is known by its hash: it takes an eighth of the memory of its text, and for nearly all claims
// there is one who has it. Where hashes are the same the claims are compared.
type claims struct {
	one     map[uint64]*entry   // who is the only one to have a claim with that hash
	more    map[uint64][]*entry // who have one, where there are several
	touched map[uint64]bool     // of which somebody came or went, beside others
	mask    uint64              // of the bits of a hash that count: all, but in tests

	// room for the claims of one object
	text   []byte
	ends   []int
	hashes []uint64
}

// seed of the hashes. Nothing but places in memory depends on it.
var seed = maphash.MakeSeed()

func newClaims() claims {
	return claims{one: map[uint64]*entry{}, more: map[uint64][]*entry{}, mask: math.MaxUint64}
}

// of are the hashes of the claims of an object, valid until the next call.
func (c *claims) of(o model.Object) []uint64 {
	c.text, c.ends = model.AppendClaims(c.text[:0], c.ends[:0], o)
	c.hashes = c.hashes[:0]
	from := 0
	for _, end := range c.ends {
		c.hashes = append(c.hashes, maphash.Bytes(seed, c.text[from:end])&c.mask)
		from = end
	}
	return c.hashes
}

// who has a claim with a hash, in the order in which they came.
func (c *claims) who(hash uint64) []*entry {
	if e := c.one[hash]; e != nil {
		return []*entry{e}
	}
	return c.more[hash]
}

// add takes in who claims something, and tells whether it may not be alone with that.
func (c *claims) add(e *entry) (contested bool) {
	for _, h := range c.of(e.object) {
		switch first := c.one[h]; {
		case first != nil:
			delete(c.one, h)
			c.more[h] = []*entry{first, e}
		case c.more[h] != nil:
			c.more[h] = append(c.more[h], e)
		default:
			c.one[h] = e
			continue
		}
		contested = true
		c.touch(h)
	}
	return contested
}

func (c *claims) remove(e *entry) {
	for _, h := range c.of(e.object) {
		if c.one[h] == e {
			delete(c.one, h)
			continue
		}
		rest := slices.DeleteFunc(c.more[h], func(o *entry) bool { return o == e })
		switch len(rest) {
		case 0:
			delete(c.more, h)
			continue
		case 1:
			delete(c.more, h)
			c.one[h] = rest[0]
		default:
			c.more[h] = rest
		}
		c.touch(h)
	}
}

func (c *claims) touch(hash uint64) {
	if c.touched == nil {
		c.touched = map[uint64]bool{}
	}
	c.touched[hash] = true
}

func (c *claims) takeTouched() map[uint64]bool {
	t := c.touched
	c.touched = nil
	return t
}

// others are who may claim something that e claims, in the order of its claims. inCommon tells who really does.
func (c *claims) others(e *entry) iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		for _, h := range slices.Clone(c.of(e.object)) {
			for _, other := range c.more[h] {
				if other != e && !yield(other) {
					return
				}
			}
		}
	}
}

// holder is who is in service and has a claim, nil if there is nobody.
func (c *claims) holder(claim string) *entry {
	h := maphash.String(seed, claim) & c.mask
	if e := c.one[h]; e != nil && e.live && c.has(e, claim) {
		return e
	}
	for _, e := range c.more[h] {
		if e.live && c.has(e, claim) {
			return e
		}
	}
	return nil
}

func (c *claims) has(e *entry, claim string) bool {
	c.text, c.ends = model.AppendClaims(c.text[:0], c.ends[:0], e.object)
	from := 0
	for _, end := range c.ends {
		if string(c.text[from:end]) == claim {
			return true
		}
		from = end
	}
	return false
}

// inCommon is the first claim of a that b has, too; empty if there is none.
func inCommon(a, b *entry) string {
	claims := model.Claims(a.object)
	if i := firstOf(claims, b); i >= 0 {
		return claims[i]
	}
	return ""
}

// firstOf is the index of the first claim that e has, -1 if it has none.
func firstOf(claims []string, e *entry) int {
	has := model.Claims(e.object)
	return slices.IndexFunc(claims, func(c string) bool { return slices.Contains(has, c) })
}
