package memo

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The random world. All facts are small numbers, so that they collide, repeat and come back.
//
//	num/I    a number, listed in the index "has" under its value, and under "even" if it is
//	link/I   another item: I follows it, but only upwards in rank, so nothing ever needs itself, while the direction of
//	rank/I   a dependency turns round when ranks change
//	on/I     I has units
//
// A link meets the numbers that have its own item as their value.
//
// Every function goes through a recorder, which knows what each function read the last time and which functions ran.
const items = 6

var factKinds = []string{"num", "link", "rank", "on"}

type op struct {
	key   Key
	value int // -1 = delete
}

type step struct {
	ops       []op
	recompute bool
}

func steps(n int) *rapid.Generator[[]step] {
	one := rapid.Custom(func(t *rapid.T) op {
		return op{
			key:   Key{rapid.SampledFrom(factKinds).Draw(t, "kind"), strconv.Itoa(rapid.IntRange(0, items-1).Draw(t, "item"))},
			value: rapid.IntRange(-1, items-1).Draw(t, "value"),
		}
	})
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
		return step{rapid.SliceOfN(one, 1, 6).Draw(t, "ops"), rapid.IntRange(0, 9).Draw(t, "recompute") == 0}
	}), n, n)
}

// observed is one read with its result in text.
type observed struct {
	what   string // get, list, derived
	key    Key
	result string
}

type recorder struct {
	reads  map[string][]observed // by function, of its last run
	ran    map[string]int        // since the last reset
	values map[Key]string        // last result of the derived values
}

type recordingReader struct {
	Reader
	seen *[]observed
}

func (r recordingReader) add(what string, key Key, result any) {
	*r.seen = append(*r.seen, observed{what, key, fmt.Sprint(result)})
}

func (r recordingReader) Get(key Key) any {
	v := r.Reader.Get(key)
	r.add("get", key, v)
	return v
}

func (r recordingReader) List(index, entry string) []Key {
	v := r.Reader.List(index, entry)
	r.add("list", Key{index, entry}, v)
	return v
}

func (r recordingReader) Derived(kind, id string) any {
	v := r.Reader.Derived(kind, id)
	r.add("derived", Key{kind, id}, v)
	return v
}

// run wraps the run of a function that is named name.
func (rec *recorder) run(name string, r Reader, fn func(Reader) string) string {
	var seen []observed
	out := fn(recordingReader{r, &seen})
	rec.reads[name] = seen
	rec.ran[name]++
	return out
}

func number(v any) int {
	if n, ok := v.(int); ok {
		return n
	}
	return -1
}

func hasIndex(k Key, v any) []string {
	if k.Kind != "num" {
		return nil
	}
	return []string{strconv.Itoa(number(v)), strconv.Itoa(number(v)), "any"}
}

func evenIndex(k Key, v any) []string {
	if k.Kind == "num" && number(v)%2 == 0 {
		return []string{"even"}
	}
	return nil
}

func onIndex(k Key, v any) []string {
	if k.Kind == "on" {
		return []string{strconv.Itoa(number(v) % 2)}
	}
	return nil
}

// meets lists the ends of links, of which several are alike, by the half that they are in.
func meets(link, num any) (string, Key, bool) {
	to := number(link)
	return strconv.Itoa(to % 2), Key{"end", strconv.Itoa(to / 2)}, to != number(num)
}

// rank is by the number of the item, the smallest the highest, where no fact says otherwise.
func rank(r Reader, id string) int {
	if n, ok := r.Get(Key{"rank", id}).(int); ok {
		return n
	}
	n, _ := strconv.Atoi(id)
	return -n // small numbers are drawn more often: this makes long chains
}

// chain follows the links upwards in rank and adds up the numbers.
func chain(r Reader, id string) string {
	sum := number(r.Get(Key{"num", id}))
	next, ok := r.Get(Key{"link", id}).(int)
	if !ok {
		return strconv.Itoa(sum)
	}
	to := strconv.Itoa(next)
	if rank(r, to) <= rank(r, id) {
		return strconv.Itoa(sum)
	}
	return strconv.Itoa(sum) + "+" + r.Derived("chain", to).(string)
}

func randomWorld(rec *recorder) *Engine[string] {
	derived := func(kind string, fn func(r Reader, id string) string) Derived {
		return Derived{Compute: func(r Reader, id string) any {
			v := rec.run("derived "+kind+"/"+id, r, func(r Reader) string { return fn(r, id) })
			rec.values[Key{kind, id}] = v
			return v
		}}
	}
	feature := func(name string, roots func(r Reader) []string, fn func(r Reader, id string) string) Feature[string] {
		return Feature[string]{
			Name: name,
			Roots: func(r Reader) (ids []string) {
				rec.run("roots "+name, r, func(r Reader) string { ids = roots(r); return "" })
				return ids
			},
			Compile: func(r Reader, id string) string {
				return rec.run("unit "+name+"/"+id, r, func(r Reader) string { return fn(r, id) })
			},
		}
	}
	grouped := func(name string, roots func(r Reader) []string, members func(r Reader, group string) []string, fn func(r Reader, id string) string) Feature[string] {
		f := feature(name, roots, fn)
		f.Members = func(r Reader, group string) (ids []string) {
			rec.run("group "+name+"/"+group, r, func(r Reader) string { ids = members(r, group); return "" })
			return ids
		}
		return f
	}
	return New(Config[string]{
		Indexes: map[string]Index{"has": {Entries: hasIndex}, "even": {Kinds: []string{"num"}, Entries: evenIndex}, "on": {Kinds: []string{"num", "on"}, Entries: onIndex}},
		Joins:   map[string]Join{"meets": {Kind: "link", Index: "has", Entry: meets}},
		Derived: map[string]Derived{
			"chain": derived("chain", chain),
			"length": derived("length", func(r Reader, id string) string {
				return strconv.Itoa(strings.Count(r.Derived("chain", id).(string), "+"))
			}),
			// linked is often equal while what is below it gets deeper, and title also reads a fact of its own: a change of both
			// must wait for the depth.
			"linked": derived("linked", func(r Reader, id string) string { return strconv.FormatBool(r.Derived("length", id) != "0") }),
			"label":  derived("label", func(r Reader, id string) string { return "linked: " + r.Derived("linked", id).(string) }),
			"title": derived("title", func(r Reader, id string) string {
				return fmt.Sprint(r.Get(Key{"on", id}), " ", r.Derived("label", id))
			}),
			"evens": derived("evens", func(r Reader, _ string) string { // many reads behind a list
				out := ""
				for _, k := range r.List("even", "even") {
					out += fmt.Sprint(k.ID, r.Get(Key{"link", k.ID}), " ")
				}
				return out
			}),
		},
		Features: []Feature[string]{
			feature("list", func(Reader) []string { return []string{"0", "1", "2", "any"} },
				func(r Reader, id string) string { return fmt.Sprint(r.List("has", id)) }), // reads no member
			feature("item", func(r Reader) []string { return append(ids(r.List("on", "1")), ids(r.List("on", "1"))...) },
				func(r Reader, id string) string {
					return r.Derived("length", id).(string) + " " + r.Derived("chain", id).(string) + fmt.Sprint(r.Get(Key{"rank", id}))
				}),
			feature("ends", func(Reader) []string { return []string{"0", "1"} },
				func(r Reader, id string) string { return fmt.Sprint(r.List("meets", id)) }),
			feature("title", func(Reader) []string { return []string{"0", "1", "2", "3"} },
				func(r Reader, id string) string { return r.Derived("title", id).(string) }),
			feature("long", func(r Reader) []string { // roots that depend on derived values
				var out []string
				for i := items - 1; i >= 0; i-- {
					if id := strconv.Itoa(i); r.Derived("length", id).(string) > "1" {
						out = append(out, id)
					}
				}
				return out
			}, func(r Reader, id string) string {
				return r.Derived("evens", "").(string) + r.Derived("chain", id).(string)
			}),
			// Groups come and go, share ids, and hand them over; an item is in the group of its number, and linked ones are in
			// all groups of long chains.
			grouped("group", func(r Reader) []string { return append(ids(r.List("on", "0")), "0") },
				func(r Reader, group string) []string {
					out := append(ids(r.List("has", group)), ids(r.List("has", group))...)
					if r.Derived("length", group) != "0" {
						out = append(out, ids(r.List("on", "1"))...)
					}
					return out
				},
				func(r Reader, id string) string { return fmt.Sprint(id, r.Get(Key{"num", id})) }),
		},
	})
}

// play runs the steps on an engine with the given faults and returns what is wrong with it. After every so many steps, and at
// the end, it compares with a fresh engine.
func play(script []step, f faults, every int) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	rec := &recorder{map[string][]observed{}, map[string]int{}, map[Key]string{}}
	e := randomWorld(rec)
	e.faults = f
	facts := map[Key]int{}
	shown := map[Unit]string{} // what one knows who follows the changes
	for i, s := range append(script, emptied(script)) {
		for _, o := range s.ops {
			if o.value < 0 {
				e.Delete(o.key)
				delete(facts, o.key)
			} else {
				e.Set(o.key, o.value)
				facts[o.key] = o.value
			}
		}
		if err := round(e, rec, shown, s.recompute); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
		if i%every != 0 && i < len(script) {
			continue
		}
		if err := compareWithFresh(e, facts, shown); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
	}
	if ch := e.Recompute(); len(ch) > 0 {
		return fmt.Errorf("recompute found %q", render(ch))
	}
	return checkLeftovers(e)
}

// emptied is the step that deletes everything.
func emptied(script []step) step {
	var s step
	for _, st := range script {
		for _, o := range st.ops {
			s.ops = append(s.ops, op{o.key, -1})
		}
	}
	return s
}

// checkLeftovers demands that the engine holds only what somebody reads.
func checkLeftovers(e *Engine[string]) error {
	for _, nodes := range []map[Key]*node{e.facts, e.entries, e.derived} {
		for key, n := range nodes {
			if n.readers == 0 {
				return fmt.Errorf("%s is kept, but nobody reads it", key)
			}
		}
	}
	if len(e.alone) > 0 {
		return fmt.Errorf("facts that are gone are kept in entries: %v", e.alone)
	}
	for _, j := range e.joins {
		if len(j.at)+len(j.held) > 0 {
			return fmt.Errorf("pairs of facts that are gone are kept: %v, %v", j.at, j.held)
		}
	}
	return nil
}

// round does one Update (or Recompute), follows its changes, and checks that just the right functions ran.
func round(e *Engine[string], rec *recorder, shown map[Unit]string, recompute bool) error {
	clear(rec.ran)
	before := maps.Clone(rec.reads)
	existed := map[string]bool{}
	for key := range e.derived {
		existed["derived "+key.String()] = true
	}
	for u := range shown {
		existed["unit "+u.String()] = true
	}
	for _, f := range e.features {
		for group := range f.groups {
			existed["group "+f.Name+"/"+group] = true
		}
	}
	var changes []Change[string]
	if recompute {
		changes = e.Recompute()
		for name := range existed {
			_, unit := strings.CutPrefix(name, "unit ")
			if rec.ran[name] == 0 && (!unit || e.Explain(parseUnit(name)) != nil) && (unit || stillThere(e, name)) {
				return fmt.Errorf("recompute did not run %s", name)
			}
		}
	} else {
		changes = e.Update()
	}
	for name, times := range rec.ran {
		if times > 1 {
			return fmt.Errorf("%s ran %d times", name, times)
		}
		if !recompute && existed[name] && unchanged(e, rec, before[name]) {
			return fmt.Errorf("%s ran, but nothing that it read has changed: %v", name, before[name])
		}
	}
	return follow(changes, shown)
}

func parseUnit(name string) Unit {
	feature, id, _ := strings.Cut(strings.TrimPrefix(name, "unit "), "/")
	return Unit{feature, id}
}

func stillThere(e *Engine[string], name string) bool {
	if group, ok := strings.CutPrefix(name, "group "); ok {
		name, id, _ := strings.Cut(group, "/")
		return slices.ContainsFunc(e.features, func(f *feature[string]) bool { return f.Name == name && f.groups[id] != nil })
	}
	kind, id, _ := strings.Cut(strings.TrimPrefix(name, "derived "), "/")
	return e.derived[Key{kind, id}] != nil
}

// unchanged tells whether all these reads would have the same results now.
func unchanged(e *Engine[string], rec *recorder, reads []observed) bool {
	for _, o := range reads {
		var now string
		switch o.what {
		case "get":
			var v any
			if n := e.facts[o.key]; n != nil {
				v = n.value
			}
			now = fmt.Sprint(v)
		case "list":
			if n := e.entries[o.key]; n != nil {
				now = fmt.Sprint(n.value.(*members).list())
			} else {
				now = "[]"
			}
		case "derived":
			now = rec.values[o.key]
		}
		if now != o.result {
			return false
		}
	}
	return true
}

// follow applies the changes to what is shown, and finds changes that do not fit.
func follow(changes []Change[string], shown map[Unit]string) error {
	for _, ch := range changes {
		old, had := shown[ch.Unit]
		switch {
		case ch.Fresh == had || ch.Old != old:
			return fmt.Errorf("change %+v, but shown was %q (%v)", ch, old, had)
		case ch.Gone:
			delete(shown, ch.Unit)
			continue
		case !ch.Fresh && ch.Old == ch.New:
			return fmt.Errorf("change %+v is none", ch)
		}
		shown[ch.Unit] = ch.New
	}
	return nil
}

// compareWithFresh compares the outputs, and what the changes showed, with those of a new engine with these facts.
func compareWithFresh(e *Engine[string], facts map[Key]int, shown map[Unit]string) error {
	fresh := randomWorld(&recorder{map[string][]observed{}, map[string]int{}, map[Key]string{}})
	for _, key := range slices.SortedFunc(maps.Keys(facts), Key.compare) {
		fresh.Set(key, facts[key])
	}
	wanted := render(fresh.Update())
	var got []string
	e.Outputs(func(u Unit, o string) { got = append(got, fmt.Sprintf("+%s %q", u, o)) })
	if !slices.Equal(got, wanted) {
		return fmt.Errorf("outputs\n %q, a fresh engine has\n %q", got, wanted)
	}
	if len(shown) != len(wanted) {
		return fmt.Errorf("changes left %v, a fresh engine has %q", shown, wanted)
	}
	for u, o := range shown {
		if !slices.Contains(wanted, fmt.Sprintf("+%s %q", u, o)) {
			return fmt.Errorf("changes left %s %q, a fresh engine has %q", u, o, wanted)
		}
	}
	return nil
}

func TestIncrementalEqualsFreshEqualsRecompute(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		if err := play(steps(25).Draw(t, "steps"), faults{}, 1); err != nil {
			t.Fatal(err)
		}
	})
}

func TestThreeHundredLongHistories(t *testing.T) {
	gen := steps(100)
	for seed := range 300 {
		if err := play(gen.Example(seed), faults{}, 10); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}
