package memo

import "slices"

// members is the content of an index entry: a sorted list, and what was added and removed since somebody asked for the
// list. A list that was handed out is never touched again.
type members struct {
	sorted  []Key
	added   []Key
	removed []Key
}

// maxRemoved bounds what add has to search.
const maxRemoved = 64

// add puts in a key that is not a member.
func (m *members) add(key Key) {
	if len(m.removed) > maxRemoved { // else churn in a list that nobody asks for would be remembered for ever
		m.list()
	}
	if i := slices.Index(m.removed, key); i >= 0 {
		m.removed = slices.Delete(m.removed, i, i+1)
		return
	}
	m.added = append(m.added, key)
}

// remove takes out a key that is a member.
func (m *members) remove(key Key) {
	m.removed = append(m.removed, key)
}

func (m *members) empty() bool { return len(m.sorted)+len(m.added) == len(m.removed) }

// list returns the members sorted by kind and id, each once. What lies between two changes is copied, not compared.
func (m *members) list() []Key {
	if len(m.added)+len(m.removed) == 0 {
		return m.sorted
	}
	slices.SortFunc(m.added, Key.compare)
	slices.SortFunc(m.removed, Key.compare)
	out := make([]Key, 0, max(0, len(m.sorted)+len(m.added)-len(m.removed)))
	old, added, removed := m.sorted, slices.Compact(m.added), m.removed
	for len(added)+len(removed) > 0 {
		if len(removed) == 0 || len(added) > 0 && added[0].compare(removed[0]) < 0 {
			at, _ := slices.BinarySearchFunc(old, added[0], Key.compare)
			out, old = append(append(out, old[:at]...), added[0]), old[at:]
			added = added[1:]
			continue
		}
		if len(added) > 0 && added[0] == removed[0] { // came and went
			added, removed = added[1:], removed[1:]
			continue
		}
		at, found := slices.BinarySearchFunc(old, removed[0], Key.compare)
		out, old = append(out, old[:at]...), old[at:]
		if found {
			old = old[1:]
		}
		removed = removed[1:]
	}
	m.sorted, m.added, m.removed = append(out, old...), nil, nil
	return m.sorted
}
