package memo

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// A small world: ports stand in rooms, a room has a label. A port's unit says its own colour and the label of its room; a
// room's unit lists the names of its ports without reading them.
type port struct{ room, colour string }

type world struct {
	*Engine[string]
	compiled []string // names of what ran, in order
}

func newWorld() *world {
	w := &world{}
	ran := func(name string) { w.compiled = append(w.compiled, name) }
	w.Engine = New(Config[string]{
		Indexes: map[string]Index{
			"portsOf": {Entries: func(k Key, v any) []string {
				if p, ok := v.(port); ok {
					return []string{p.room}
				}
				return nil
			}},
			"kind": {Entries: func(k Key, _ any) []string { return []string{k.Kind} }},
		},
		Derived: map[string]Derived{
			"initial": {Compute: func(r Reader, room string) any {
				ran("initial/" + room)
				label, _ := r.Get(Key{"label", room}).(string)
				return label[:min(1, len(label))]
			}},
		},
		Features: []Feature[string]{
			{
				Name:  "room",
				Roots: func(r Reader) []string { return ids(r.List("kind", "label")) },
				Compile: func(r Reader, id string) string {
					ran("room/" + id)
					return strings.Join(ids(r.List("portsOf", id)), ",")
				},
			},
			{
				Name:  "port",
				Roots: func(r Reader) []string { return ids(r.List("kind", "port")) },
				Compile: func(r Reader, id string) string {
					ran("port/" + id)
					p := r.Get(Key{"port", id}).(port)
					return p.colour + " in " + r.Derived("initial", p.room).(string)
				},
			},
		},
	})
	return w
}

func ids(keys []Key) []string {
	var out []string
	for _, k := range keys {
		out = append(out, k.ID)
	}
	return out
}

// update runs Update and renders the changes; what ran is in w.compiled.
func (w *world) update() []string {
	w.compiled = nil
	return render(w.Update())
}

func render(changes []Change[string]) []string {
	var out []string
	for _, c := range changes {
		switch {
		case c.Fresh:
			out = append(out, fmt.Sprintf("+%s %q", c.Unit, c.New))
		case c.Gone:
			out = append(out, fmt.Sprintf("-%s %q", c.Unit, c.Old))
		default:
			out = append(out, fmt.Sprintf("~%s %q→%q", c.Unit, c.Old, c.New))
		}
	}
	return out
}

func want(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("%s:\n got %q\nwant %q", what, got, want)
	}
}

func filled() *world {
	w := newWorld()
	w.Set(Key{"label", "a"}, "Attic")
	w.Set(Key{"label", "b"}, "Barn")
	w.Set(Key{"port", "p1"}, port{"a", "red"})
	w.Set(Key{"port", "p2"}, port{"a", "blue"})
	w.Set(Key{"port", "p3"}, port{"b", "green"})
	w.update()
	return w
}

func TestChangesComeInTheOrderOfFeaturesThenIDs(t *testing.T) {
	w := newWorld()
	w.Set(Key{"port", "p2"}, port{"a", "blue"})
	w.Set(Key{"label", "b"}, "Barn")
	w.Set(Key{"port", "p1"}, port{"a", "red"})
	w.Set(Key{"label", "a"}, "Attic")
	want(t, "changes", w.update(), `+room/a "p1,p2"`, `+room/b ""`, `+port/p1 "red in A"`, `+port/p2 "blue in A"`)
	w.Delete(Key{"port", "p1"})
	w.Delete(Key{"label", "b"})
	want(t, "changes", w.update(), `~room/a "p1,p2"→"p2"`, `-room/b ""`, `-port/p1 "red in A"`)
}

func TestOnlyReadersOfWhatChangedRun(t *testing.T) {
	w := filled()
	w.Set(Key{"port", "p1"}, port{"a", "pink"})
	want(t, "changes", w.update(), `~port/p1 "red in A"→"pink in A"`)
	want(t, "ran", w.compiled, "port/p1") // not room/a: it lists p1, but does not read it
}

func TestMoveBetweenEntriesConcernsBothAndNoOther(t *testing.T) {
	w := filled()
	w.Set(Key{"label", "c"}, "Cellar")
	w.update()
	w.Set(Key{"port", "p1"}, port{"b", "red"})
	want(t, "changes", w.update(), `~room/a "p1,p2"→"p2"`, `~room/b "p3"→"p1,p3"`, `~port/p1 "red in A"→"red in B"`)
	slices.Sort(w.compiled)
	want(t, "ran", w.compiled, "port/p1", "room/a", "room/b")
}

func TestEqualDerivedValueCutsOff(t *testing.T) {
	w := filled()
	w.Set(Key{"label", "a"}, "Armoury")
	want(t, "changes", w.update())
	want(t, "ran", w.compiled, "initial/a") // and neither p1 nor p2
	w.Set(Key{"label", "a"}, "Office")
	want(t, "changes", w.update(), `~port/p1 "red in A"→"red in O"`, `~port/p2 "blue in A"→"blue in O"`)
}

func TestMissIsARead(t *testing.T) {
	w := newWorld()
	w.Set(Key{"port", "p"}, port{"z", "red"})
	want(t, "changes", w.update(), `+port/p "red in "`)
	w.Set(Key{"label", "z"}, "Zoo")
	want(t, "changes", w.update(), `+room/z "p"`, `~port/p "red in "→"red in Z"`)
}

func TestSettingWhatIsThereIsNothing(t *testing.T) {
	w := filled()
	w.Set(Key{"port", "p1"}, port{"a", "red"})
	w.Delete(Key{"port", "never"})
	want(t, "changes", w.update())
	want(t, "ran", w.compiled)
}

func TestSeveralSetsCountAsTheLast(t *testing.T) {
	w := filled()
	w.Set(Key{"port", "p1"}, port{"b", "black"})
	w.Set(Key{"port", "p1"}, port{"a", "red"}) // back
	w.Delete(Key{"port", "p2"})
	w.Set(Key{"port", "p2"}, port{"a", "blue"}) // back
	w.Set(Key{"port", "p9"}, port{"a", "new"})
	w.Delete(Key{"port", "p9"}) // never was
	want(t, "changes", w.update())
	want(t, "ran", w.compiled)
}

func TestRecomputeRunsEverythingAndFindsNothing(t *testing.T) {
	w := filled()
	w.compiled = nil
	want(t, "changes", render(w.Recompute()))
	slices.Sort(w.compiled)
	want(t, "ran", w.compiled, "initial/a", "initial/b", "port/p1", "port/p2", "port/p3", "room/a", "room/b")
	w.Set(Key{"port", "p1"}, port{"a", "pink"})
	want(t, "changes with a pending fact", render(w.Recompute()), `~port/p1 "red in A"→"pink in A"`)
}

func TestOutputsAreSorted(t *testing.T) {
	w := filled()
	var got []string
	w.Outputs(func(u Unit, o string) { got = append(got, u.String()+" "+o) })
	want(t, "outputs", got, "room/a p1,p2", "room/b p3", "port/p1 red in A", "port/p2 blue in A", "port/p3 green in B")
}

func TestExplainListsWhatAUnitRead(t *testing.T) {
	w := filled()
	want(t, "port", w.Explain(Unit{"port", "p1"}), "fact port/p1", "derived initial/a", "  fact label/a")
	want(t, "room", w.Explain(Unit{"room", "a"}), "list portsOf/a (2)")
	want(t, "unknown unit", w.Explain(Unit{"port", "nobody"}))
	w.Set(Key{"port", "p1"}, port{"z", "red"})
	w.Update()
	want(t, "after a move", w.Explain(Unit{"port", "p1"}), "fact port/p1", "derived initial/z", "  fact label/z (absent)")
}

func TestWhatNobodyReadsIsForgotten(t *testing.T) {
	w := filled()
	w.Set(Key{"port", "p1"}, port{"z", "red"}) // reads an absent label, an entry of its own, a derived value
	w.Update()
	for _, k := range []Key{{"label", "a"}, {"label", "b"}, {"port", "p1"}, {"port", "p2"}, {"port", "p3"}} {
		w.Delete(k)
	}
	w.Update()
	s := w.Stats()
	// What is left: the two entries that the roots list, empty.
	if s.Facts != 0 || s.Derived != 0 || s.Units != 0 || s.Entries != 2 || s.Edges != 2 || len(w.facts) != 0 {
		t.Fatalf("left over: %+v, %d facts", s, len(w.facts))
	}
}

func TestAValueSeesOnlyFinalValues(t *testing.T) {
	// sum reads x directly and through double; whoever sees half a change would get something that is not 3x.
	var seen []int
	e := New(Config[int]{
		Derived: map[string]Derived{
			"copy":   {Compute: func(r Reader, _ string) any { return r.Get(Key{"n", "x"}) }},
			"double": {Compute: func(r Reader, _ string) any { return 2 * r.Derived("copy", "").(int) }},
			"sum": {Compute: func(r Reader, _ string) any {
				s := r.Get(Key{"n", "x"}).(int) + r.Derived("double", "").(int)
				seen = append(seen, s)
				return s
			}},
		},
		Features: []Feature[int]{{
			Name:    "sum",
			Roots:   func(Reader) []string { return []string{""} },
			Compile: func(r Reader, _ string) int { return r.Derived("sum", "").(int) },
		}},
	})
	for i := range 3 {
		e.Set(Key{"n", "x"}, i+1)
		e.Update()
	}
	if !slices.Equal(seen, []int{3, 6, 9}) {
		t.Fatalf("saw %v", seen)
	}
}

func TestProgrammingErrorsPanic(t *testing.T) {
	compile := func(f func(r Reader) int) func() {
		return func() {
			New(Config[int]{
				Derived: map[string]Derived{
					"hen": {Compute: func(r Reader, _ string) any { return r.Derived("egg", "1") }},
					"egg": {Compute: func(r Reader, _ string) any { return r.Derived("hen", "1") }},
				},
				Features: []Feature[int]{{Name: "f", Roots: func(Reader) []string { return []string{"1"} },
					Compile: func(r Reader, _ string) int { return f(r) }}},
			}).Update()
		}
	}
	var kept Reader
	var e *Engine[int]
	e = New(Config[int]{Features: []Feature[int]{{Name: "f", Roots: func(Reader) []string { e.Set(Key{"a", "b"}, 1); return nil }}}})
	for _, c := range []struct {
		name, text string
		run        func()
	}{
		{"a value that needs itself", "derived values need each other: hen/1 → egg/1 → hen/1", compile(func(r Reader) int { r.Derived("hen", "1"); return 0 })},
		{"an unknown index", "no index nothing", compile(func(r Reader) int { r.List("nothing", ""); return 0 })},
		{"an unknown derived kind", "no derived value nothing", compile(func(r Reader) int { r.Derived("nothing", ""); return 0 })},
		{"a panic in a function", "boom", compile(func(Reader) int { panic("boom") })},
		{"a call from inside", "called by a function that it is running", func() { e.Update() }},
		{"a reader kept", "used outside", func() {
			compile(func(r Reader) int { kept = r; return 0 })()
			kept.Get(Key{"a", "b"})
		}},
		{"two features of one name", "two features f", func() { New(Config[int]{Features: []Feature[int]{{Name: "f"}, {Name: "f"}}}) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.Contains(got, c.text) {
					t.Fatalf("panic %q, want %q", got, c.text)
				}
			}()
			c.run()
		})
	}
}

// Rooms that are open have units for their ports.
func openRooms(ran *[]string) *Engine[string] {
	return New(Config[string]{
		Indexes: map[string]Index{
			"portsOf": {Entries: func(k Key, v any) []string {
				if p, ok := v.(port); ok {
					return []string{p.room}
				}
				return nil
			}},
			"kind": {Entries: func(k Key, _ any) []string { return []string{k.Kind} }},
		},
		Features: []Feature[string]{{
			Name:  "port",
			Roots: func(r Reader) []string { return ids(r.List("kind", "open")) },
			Members: func(r Reader, room string) []string {
				*ran = append(*ran, room)
				return ids(r.List("portsOf", room))
			},
			Compile: func(r Reader, id string) string { return r.Get(Key{"port", id}).(port).colour },
		}},
	})
}

func TestAMemberMoreConcernsItsGroupAlone(t *testing.T) {
	var ran []string
	e := openRooms(&ran)
	e.Set(Key{"open", "a"}, true)
	e.Set(Key{"open", "b"}, true)
	e.Set(Key{"port", "p1"}, port{"a", "red"})
	e.Set(Key{"port", "p2"}, port{"b", "blue"})
	want(t, "changes", render(e.Update()), `+port/p1 "red"`, `+port/p2 "blue"`)
	ran = nil
	e.Set(Key{"port", "p3"}, port{"b", "green"})
	want(t, "changes", render(e.Update()), `+port/p3 "green"`)
	want(t, "ran", ran, "b")
}

func TestAMemberThatChangesItsGroupIsNotANewUnit(t *testing.T) {
	var ran []string
	e := openRooms(&ran)
	e.Set(Key{"open", "a"}, true)
	e.Set(Key{"open", "b"}, true)
	e.Set(Key{"port", "p"}, port{"a", "red"})
	e.Update()
	e.Set(Key{"port", "p"}, port{"b", "pink"})
	want(t, "changes", render(e.Update()), `~port/p "red"→"pink"`)
	ran = nil
	e.Delete(Key{"open", "a"})
	want(t, "changes", render(e.Update()))
	want(t, "ran", ran) // nobody asks for the members of a group that is gone
	e.Delete(Key{"open", "b"})
	want(t, "changes", render(e.Update()), `-port/p "pink"`)
}
