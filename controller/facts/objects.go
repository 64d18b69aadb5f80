package facts

import (
	"hash/maphash"
	"iter"
	"math"

	"tuplenet/model"
)

// objects finds objects by their names. A name is known by its hash, as claims are; the object tells whether it is the one.
type objects struct {
	first map[uint64]*entry    // who came first with that hash
	odd   map[model.Ref]*entry // who came while another one had the hash
	mask  uint64               // of the bits of a hash that count: all, but in tests
}

func newObjects() objects {
	return objects{first: map[uint64]*entry{}, odd: map[model.Ref]*entry{}, mask: math.MaxUint64}
}

func (o *objects) hash(ref model.Ref) uint64 { return maphash.Comparable(seed, ref) & o.mask }

// get is the object of that name, nil if there is none.
func (o *objects) get(ref model.Ref) *entry {
	if e := o.first[o.hash(ref)]; e != nil && e.ref() == ref {
		return e
	}
	return o.odd[ref]
}

// put takes in an object whose name nobody has.
func (o *objects) put(ref model.Ref, e *entry) {
	if h := o.hash(ref); o.first[h] == nil {
		o.first[h] = e
	} else {
		o.odd[ref] = e
	}
}

func (o *objects) remove(e *entry) {
	ref := e.ref()
	if h := o.hash(ref); o.first[h] == e {
		delete(o.first, h)
	} else {
		delete(o.odd, ref)
	}
}

func (o *objects) len() int { return len(o.first) + len(o.odd) }

// all are the names; what is removed meanwhile may be among them.
func (o *objects) all() iter.Seq[model.Ref] {
	return func(yield func(model.Ref) bool) {
		for _, e := range o.first {
			if !yield(e.ref()) {
				return
			}
		}
		for ref := range o.odd {
			if !yield(ref) {
				return
			}
		}
	}
}
