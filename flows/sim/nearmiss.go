package sim

import (
	"cmp"
	"math/bits"
	"slices"

	"tuplenet/flows/of"
)

// NearMiss is a flow that a packet would have met but for one field.
type NearMiss struct {
	Flow *of.Flow
	// Wants is the term that the packet does not meet, Has the packet's value of that field.
	Wants of.Term
	Has   of.Value
}

// NearMisses are the flows of a table that would have acted, because of a priority at least as high, were it not for one
// field of the packet; at most limit of them, those first of which the packet differs in the fewest bits. What a packet does not have at all (another
// protocol's ports) is not a near miss.
func (s *Switch) NearMisses(id uint8, p Packet, limit int) []NearMiss {
	t := s.tables[id]
	if t == nil {
		return nil
	}
	met, _ := t.lookup(&p)
	var all []NearMiss
	for _, u := range t.tuples {
		if met != nil && u.top < met.Priority {
			continue
		}
		for _, flows := range u.flows {
			for _, f := range flows {
				if f == met || met != nil && f.Priority < met.Priority {
					continue
				}
				if wants, ok := onlyMiss(f.Match, &p); ok {
					all = append(all, NearMiss{Flow: f, Wants: wants, Has: p.Get(wants.Field)})
				}
			}
		}
	}
	slices.SortFunc(all, func(a, b NearMiss) int {
		return cmp.Or(cmp.Compare(a.distance(), b.distance()), cmp.Compare(b.Flow.Priority, a.Flow.Priority), cmp.Compare(a.Flow.String(), b.Flow.String()))
	})
	return all[:min(len(all), limit)]
}

// onlyMiss is the one term of a match that a packet does not meet, if it is one and the packet has the field.
func onlyMiss(m of.Match, p *Packet) (miss of.Term, ok bool) {
	n := 0
	for _, t := range m {
		if p.Get(t.Field).And(t.Mask) != t.Value {
			miss = t
			n++
		}
	}
	return miss, n == 1 && p.Has(miss.Field)
}

// distance is how many bits of the packet are not as the flow wants them.
func (m NearMiss) distance() int {
	hi, lo := m.Wants.Value.Hi^m.Has.Hi, m.Wants.Value.Lo^m.Has.Lo
	return bits.OnesCount64(hi&m.Wants.Mask.Hi) + bits.OnesCount64(lo&m.Wants.Mask.Lo)
}
