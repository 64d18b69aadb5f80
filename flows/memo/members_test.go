package memo

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestMembersAreASortedSetWhoseListsNeverChange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var m members
		set := map[Key]bool{}
		type handed struct{ list, copy []Key }
		var all []handed
		for range rapid.IntRange(1, 400).Draw(t, "steps") {
			key := Key{"k", fmt.Sprint(rapid.IntRange(0, 150).Draw(t, "id"))}
			if set[key] {
				m.remove(key)
				delete(set, key)
			} else {
				m.add(key)
				set[key] = true
			}
			if m.empty() != (len(set) == 0) {
				t.Fatalf("empty = %v with %d members", m.empty(), len(set))
			}
			if rapid.IntRange(0, 99).Draw(t, "look") == 0 {
				l := m.list()
				if !slices.Equal(l, slices.SortedFunc(maps.Keys(set), Key.compare)) {
					t.Fatalf("list %v, set %v", l, set)
				}
				all = append(all, handed{l, slices.Clone(l)})
			}
		}
		for _, h := range all {
			if !slices.Equal(h.list, h.copy) {
				t.Fatalf("a list that was handed out has changed")
			}
		}
	})
}

func TestChurnInAListThatNobodyAsksForIsNotRemembered(t *testing.T) {
	var m members
	for i := range 10_000 {
		m.add(Key{"k", fmt.Sprint(i)})
		m.remove(Key{"k", fmt.Sprint(i)})
	}
	if held := len(m.added) + len(m.removed); held > 3*maxRemoved {
		t.Fatalf("%d changes held", held)
	}
}

func TestNormalizedIDsAreSortedAndUnique(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ids := rapid.SliceOf(rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f"}))
		sorted := func(edit []string) []string {
			s := slices.Clone(edit)
			slices.Sort(s)
			return slices.Compact(s)
		}
		old := sorted(ids.Draw(t, "old"))
		now := ids.Draw(t, "now")
		if rapid.Bool().Draw(t, "mostly the same") && len(old) > 0 {
			now = slices.Insert(slices.Clone(old), rapid.IntRange(0, len(old)).Draw(t, "at"), rapid.SampledFrom([]string{"a", "c", "x"}).Draw(t, "id"))
		}
		if got, want := normalized(slices.Clone(now), old), sorted(now); !slices.Equal(got, want) {
			t.Fatalf("normalized(%v, %v) = %v, want %v", now, old, got, want)
		}
	})
}
