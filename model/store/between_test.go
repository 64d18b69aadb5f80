package store

import (
	"slices"
	"testing"

	"tuplenet/model"
)

func TestWhatLiesBetweenTwoRevisions(t *testing.T) {
	s := newStore(t)
	mustSwitch(t, s, "stays")
	mustSwitch(t, s, "goes")
	from, err := s.Revision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.DeleteSwitch(t.Context(), "goes", false); err != nil {
		t.Fatal(err)
	}
	mustSwitch(t, s, "comes")
	to, err := s.Bind(t.Context(), "p", "hv1", 0)
	if err != nil {
		t.Fatal(err)
	}
	mustSwitch(t, s, "later")
	d, ok, err := s.Between(t.Context(), from, to)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	sw := func(name string) model.Ref { return model.Ref{Kind: model.KindSwitch, Name: name} }
	bound := model.Ref{Kind: model.KindBinding, Name: "p"}
	slices.SortFunc(d.Differ, compareRefs)
	if want := []model.Ref{bound, sw("comes"), sw("goes")}; !slices.Equal(d.Differ, want) {
		t.Errorf("differ: %v", d.Differ)
	}
	if len(d.Old) != 2 || d.Old[sw("goes")] == nil || d.Old[sw("stays")] == nil {
		t.Errorf("before: %v", d.Old)
	}
	if len(d.New) != 3 || d.New[sw("comes")] == nil || d.New[bound] == nil || d.New[sw("stays")] != d.Old[sw("stays")] {
		t.Errorf("afterwards: %v", d.New)
	}
	if _, err := raw(t, s).Compact(t.Context(), to); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := s.Between(t.Context(), from, to); ok || err != nil {
		t.Errorf("the history is gone: %v %v", ok, err)
	}
}
