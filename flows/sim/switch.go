package sim

import (
	"encoding/binary"
	"fmt"
	"slices"

	"tuplenet/flows/of"
)

// Switch is the flow tables and groups of one switch, and the connections that it has seen. It is not safe for
// concurrent use: a packet may be the first one of a connection.
type Switch struct {
	tables  map[uint8]*table
	groups  map[uint32]of.Group
	tunnels map[uint32]bool
	down    map[uint32]bool
	conns   conntrack
	static  bool
	learnt  map[*of.Flow]uint64 // the flows that the learn action made, with their cookies
	prefer  func(of.Group, of.Bucket) bool
}

// Config is what a Switch is made of.
type Config struct {
	Flows  []of.Flow
	Groups []of.Group
	// Tunnels are the flow-based tunnel ports: what is sent there needs a tunnel destination. Every other port number is
	// taken for an ordinary port that exists.
	Tunnels []uint32
	// Down are the ports whose watched buckets are not alive.
	Down []uint32
	// Prefer, if not nil, narrows the choice of select groups to the live buckets that it likes, if there are any.
	Prefer func(of.Group, of.Bucket) bool
	// Static leaves out the learn action, as a trace of the real switch does.
	Static bool
}

// New builds a switch. Two flows with the same table, priority and match, two groups with one id, a group without which
// some action refers to, or a goto or resubmit into a table without flows are errors: a real switch would refuse or
// silently lose packets there.
func New(c Config) (*Switch, error) {
	s := &Switch{tables: map[uint8]*table{}, groups: map[uint32]of.Group{}, tunnels: map[uint32]bool{}, down: map[uint32]bool{}, conns: conntrack{}, learnt: map[*of.Flow]uint64{}, static: c.Static, prefer: c.Prefer}
	for _, p := range c.Tunnels {
		s.tunnels[p] = true
	}
	for _, p := range c.Down {
		s.down[p] = true
	}
	for _, g := range c.Groups {
		if _, twice := s.groups[g.ID]; twice {
			return nil, fmt.Errorf("group %#x is there twice", g.ID)
		}
		s.groups[g.ID] = g
	}
	for i := range c.Flows {
		f := &c.Flows[i]
		if s.tables[f.Table] == nil {
			s.tables[f.Table] = &table{}
		}
		if old := s.tables[f.Table].add(f); old != nil {
			return nil, fmt.Errorf("two flows for the same packets: %s and %s", old, f)
		}
	}
	for _, t := range s.tables {
		t.sort()
	}
	for _, f := range c.Flows {
		if err := s.check(f.Actions); err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
	}
	for _, g := range c.Groups {
		for _, b := range g.Buckets {
			if _, ok := s.groups[b.WatchGroup]; !ok && b.WatchGroup != 0 || b.WatchGroup >= g.ID {
				return nil, fmt.Errorf("%s: group %#x does not exist, or has no smaller id", g, b.WatchGroup)
			}
			if err := s.check(b.Actions); err != nil {
				return nil, fmt.Errorf("%s: %w", g, err)
			}
		}
	}
	return s, nil
}

// check tells which action refers to what is not there.
func (s *Switch) check(as []of.Action) error {
	for _, a := range as {
		var next uint8
		switch a := a.(type) {
		case of.Goto:
			next = a.Table
		case of.Resubmit:
			next = a.Table
		case of.CT:
			if a.Table == nil {
				continue
			}
			next = *a.Table
		case of.GroupAction:
			if _, ok := s.groups[a.ID]; !ok {
				return fmt.Errorf("group %#x does not exist", a.ID)
			}
			continue
		case of.Clone:
			if err := s.check(a.Actions); err != nil {
				return err
			}
			continue
		default:
			continue
		}
		if s.tables[next] == nil {
			return fmt.Errorf("table %d has no flows", next)
		}
	}
	return nil
}

// table finds flows by tuple space search: one hash table for each set of masks.
type table struct{ tuples []*tuple }

// tuple is all flows of a table that match on the same bits.
type tuple struct {
	masks of.Match // values are unused
	flows map[string][]*of.Flow
	top   uint16 // highest priority
}

// add puts a flow into its tuple; it returns the flow that is in its place already.
func (t *table) add(f *of.Flow) *of.Flow {
	u := t.tuple(f.Match)
	k := string(u.key(nil, func(i int) of.Value { return f.Match[i].Value }))
	for _, old := range u.flows[k] {
		if old.Priority == f.Priority {
			return old
		}
	}
	u.flows[k] = append(u.flows[k], f)
	u.top = max(u.top, f.Priority)
	return nil
}

func (t *table) tuple(m of.Match) *tuple {
	for _, u := range t.tuples {
		if slices.EqualFunc(u.masks, m, func(a, b of.Term) bool { return a.Field == b.Field && a.Mask == b.Mask }) {
			return u
		}
	}
	u := &tuple{masks: m, flows: map[string][]*of.Flow{}}
	t.tuples = append(t.tuples, u)
	return u
}

func (t *table) sort() {
	slices.SortStableFunc(t.tuples, func(a, b *tuple) int { return int(b.top) - int(a.top) })
	for _, u := range t.tuples {
		for _, flows := range u.flows {
			slices.SortFunc(flows, func(a, b *of.Flow) int { return int(b.Priority) - int(a.Priority) })
		}
	}
}

func (u *tuple) key(b []byte, value func(i int) of.Value) []byte {
	for i := range u.masks {
		v := value(i).And(u.masks[i].Mask)
		b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, v.Hi), v.Lo)
	}
	return b
}

// lookup finds the flow with the highest priority that matches. Should another flow of the same priority match and do
// something else, OpenFlow leaves open which one acts: it is returned as other.
func (t *table) lookup(p *Packet) (best, other *of.Flow) {
	if t == nil {
		return nil, nil
	}
	var room [256]byte
	for _, u := range t.tuples {
		if best != nil && u.top < best.Priority {
			break
		}
		flows := u.flows[string(u.key(room[:0], func(i int) of.Value { return p.Get(u.masks[i].Field) }))]
		if len(flows) == 0 {
			continue
		}
		switch f := flows[0]; {
		case best == nil || f.Priority > best.Priority:
			best, other = f, nil
		case f.Priority == best.Priority && !sameActions(f, best):
			other = f
		}
	}
	return best, other
}

// Lookup is the flow that a packet meets in a table, nil if there is none. The packet goes nowhere.
func (s *Switch) Lookup(id uint8, p Packet) *of.Flow {
	r := run{sw: s, p: p}
	f, _ := s.tables[id].lookup(r.seen(uint32(p.Get(of.InPort).Lo)))
	return f
}

func sameActions(a, b *of.Flow) bool {
	x, y := of.Flow{Actions: a.Actions}, of.Flow{Actions: b.Actions}
	return x.String() == y.String()
}
