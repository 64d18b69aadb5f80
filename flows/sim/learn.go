package sim

import (
	"slices"

	"tuplenet/flows/of"
)

// learn does the learn action: the flow that it describes comes into its table, or takes the place of the one that was there,
// unless too many of its cookie are there already. No time passes, so nothing is forgotten.
func (r *run) learn(a of.Learn) {
	if r.sw.static {
		r.note("learn left out")
		return
	}
	f := &of.Flow{Table: a.Table, Priority: a.Priority}
	value := func(t of.LearnTerm) of.Value {
		if t.Src.Bits == 0 {
			return t.Value
		}
		return r.p.bits(t.Src)
	}
	for _, t := range a.Match {
		f.Match = f.Match.With(of.Masked(t.Dst.Field, value(t).Shl(uint(t.Dst.Ofs)), t.Dst.Mask()))
	}
	for _, t := range a.Load {
		f.Actions = append(f.Actions, of.SetField{Field: t.Dst.Field, Value: value(t).Shl(uint(t.Dst.Ofs)), Mask: t.Dst.Mask()})
	}
	s := r.sw
	if s.tables[f.Table] == nil {
		s.tables[f.Table] = &table{}
	}
	old := s.tables[f.Table].same(f)
	if old != nil && s.learnt[old] == a.Cookie && sameActions(old, f) {
		return
	}
	n := 0
	for _, cookie := range s.learnt {
		if cookie == a.Cookie {
			n++
		}
	}
	if n >= int(a.Limit) {
		r.note("learn left out: there are %d flows with cookie %#x", n, a.Cookie)
		return
	}
	if old != nil {
		delete(s.learnt, old)
		s.tables[f.Table].remove(old)
	}
	s.tables[f.Table].add(f)
	s.tables[f.Table].sort()
	s.learnt[f] = a.Cookie
	r.note("learnt %s", f)
}

// same is the flow of a table with the match and priority of another one; nil if there is none.
func (t *table) same(f *of.Flow) *of.Flow {
	u := t.tuple(f.Match)
	for _, old := range u.flows[string(u.key(nil, func(i int) of.Value { return f.Match[i].Value }))] {
		if old.Priority == f.Priority {
			return old
		}
	}
	return nil
}

func (t *table) remove(f *of.Flow) {
	u := t.tuple(f.Match)
	k := string(u.key(nil, func(i int) of.Value { return f.Match[i].Value }))
	u.flows[k] = slices.DeleteFunc(u.flows[k], func(g *of.Flow) bool { return g == f })
}
