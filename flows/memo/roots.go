package memo

import "slices"

// normalized returns ids sorted and each once. What is the same as in old, which is normalized, at the beginning and at
// the end need not be looked at closely: of thousands of ids mostly one changes.
func normalized(ids, old []string) []string {
	head, tail := sameEnds(old, ids)
	for i := max(head, 1); i <= len(ids)-tail && i < len(ids); i++ {
		if ids[i-1] >= ids[i] {
			ids = slices.Clone(ids)
			slices.Sort(ids)
			return slices.Compact(ids)
		}
	}
	return ids
}

// sameEnds returns how many elements at the beginning and, beyond them, at the end of a and b are the same.
func sameEnds(a, b []string) (head, tail int) {
	shorter := min(len(a), len(b))
	for head < shorter && a[head] == b[head] {
		head++
	}
	for tail < shorter-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	return head, tail
}

// difference calls added and gone for what is in only one of two normalized lists.
func difference(old, now []string, added, gone func(string)) {
	head, tail := sameEnds(old, now)
	old, now = old[head:len(old)-tail], now[head:len(now)-tail]
	for len(old)+len(now) > 0 {
		switch {
		case len(old) > 0 && len(now) > 0 && old[0] == now[0]:
			old, now = old[1:], now[1:]
		case len(old) == 0 || len(now) > 0 && now[0] < old[0]:
			added(now[0])
			now = now[1:]
		default:
			gone(old[0])
			old = old[1:]
		}
	}
}
