package controller

// counted is a set that several units of the compiler want parts of: it counts how many want each element.
type counted[T comparable] map[T]int

// replace takes what a unit wants in place of what it wanted, and tells whether the set may have changed.
func (c counted[T]) replace(old, now []T) bool {
	changed := false
	for _, x := range now {
		if c[x]++; c[x] == 1 {
			changed = true
		}
	}
	for _, x := range old {
		if c[x]--; c[x] == 0 {
			delete(c, x)
			changed = true
		}
	}
	return changed
}
