// Package memo is a generic incremental engine: it keeps the outputs of pure functions up to date while the
// facts they read change, and runs again only the functions that read something that changed.
//
// It works by recording reads. A function sees the facts only through a Reader, and the engine notes everything
// it asks for: a fact, the absence of a fact, the members of an index entry (also when there are none), a derived
// value. When a fact changes, exactly the functions that read it are run again. Nobody writes change handlers, so
// nobody forgets one.
//
// The pieces:
//   - a fact is a value under a Key; facts are set from outside;
//   - an index entry is the sorted list of the keys of the facts that an index function puts into it. Every entry
//     is tracked on its own: a change of one entry concerns only those who listed that entry. The entries of a join
//     list what follows from pairs of facts;
//   - a derived value is computed from facts, entries and other derived values, and shared between its readers. It
//     is computed only while somebody reads it, and when it comes out equal to before, its readers do not notice;
//   - a unit is one output: a Feature applied to one id. The ids that a feature has now are computed values, too: of the
//     whole feature at once, or group by group.
//
// The package owns nothing but memory. It knows no networking, no clock, no I/O, no log, and starts no goroutine: one
// goroutine owns an Engine and calls all of its methods. In tuplenet that is the goroutine of the node daemon which
// owns the facts (package controller); flows/compile supplies the functions.
package memo

// Key names a fact. Kind separates namespaces (say "port"), ID names the object within one.
type Key struct{ Kind, ID string }

func (k Key) String() string { return k.Kind + "/" + k.ID }

// compare orders keys by kind, then id.
func (k Key) compare(o Key) int {
	if c := compareStrings(k.Kind, o.Kind); c != 0 {
		return c
	}
	return compareStrings(k.ID, o.ID)
}

func compareStrings(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// Reader is the only way in which functions may look at the world; everything read is recorded for the function that
// got the Reader. A Reader is valid until that function returns. What it hands out is shared and must not be modified.
type Reader interface {
	// Get returns the fact under key, nil if there is none.
	Get(key Key) any
	// List returns the keys that the named index has in entry, sorted by kind and id. The members themselves are not
	// read by this: a change inside a member that leaves it in the entry does not concern the reader. The slice stays
	// as it is for ever; a later change makes a new one. An index that was not configured is a programming error (panic).
	List(index, entry string) []Key
	// Derived returns the derived value of that kind for id, computing it if nobody read it yet. A kind that was not
	// configured and a value that needs itself are programming errors (panic; the latter with the path).
	Derived(kind, id string) any
}

// Config declares everything that an engine computes. All functions must be pure: the result depends on what they read
// through the Reader (or on their arguments) and on nothing else, and they keep no reference to what they may modify.
type Config[O any] struct {
	Indexes map[string]Index
	// Joins are indexes over pairs of facts, read with List like the others; names are of one space with those of Indexes.
	Joins map[string]Join
	// Derived values by kind.
	Derived map[string]Derived
	// Features in the order in which Update reports their changes.
	Features []Feature[O]
	// EqualFact tells whether a fact did not change; nil means reflect.DeepEqual.
	EqualFact func(a, b any) bool
	// EqualOutput tells whether a unit's output did not change; nil means reflect.DeepEqual.
	EqualOutput func(a, b O) bool
}

// Index declares the entries of an index in which a fact is listed.
type Index struct {
	// Kinds of the facts that may be listed; none: any.
	Kinds []string
	// Entries that list a fact. Duplicates are counted once.
	Entries func(key Key, value any) []string
}

// Join declares an index over pairs: a fact of one kind, and a fact that an index lists in the entry named by the first one's ID. What
// follows from where two facts meet is then kept at the cost of the pairs that a change touches; whoever lists an entry does not look at its pairs.
type Join struct {
	Kind, Index string
	// Entry of the join in which a pair is listed, and as what: any key. It is listed once however many pairs put it there. ok is false for
	// a pair that is listed nowhere.
	Entry func(fact, with any) (entry string, listed Key, ok bool)
}

// Derived declares one kind of derived value.
type Derived struct {
	// Compute must cope with everything absent: those who read the value may be about to vanish with the fact that it is
	// about, but that turns out only after the derived values.
	Compute func(r Reader, id string) any
	// Equal tells whether the readers need not care; nil means reflect.DeepEqual.
	Equal func(a, b any) bool
}

// Feature declares one kind of unit.
type Feature[O any] struct {
	Name string
	// Roots returns the ids that have a unit now, in any order, duplicates counted once. Tracked like any other read. The
	// slice belongs to the engine afterwards.
	Roots func(r Reader) []string
	// Members, if set, makes what Roots returns the names of groups: the ids that have a unit are those that Members
	// returns for any of them, under the same rules as Roots. An id may be in several groups. Where there are many ids, this
	// makes one more cost a look at its group instead of a look at all of them.
	Members func(r Reader, group string) []string
	// Compile returns the complete output of the unit.
	Compile func(r Reader, id string) O
}

// Unit names one output.
type Unit struct{ Feature, ID string }

func (u Unit) String() string { return u.Feature + "/" + u.ID }

// Change says that the output of a unit is different from before. A fresh unit is always reported, also with an empty
// output; Old is then the zero value. A unit that is gone has a zero New.
type Change[O any] struct {
	Unit        Unit
	Old, New    O
	Gone, Fresh bool
}

// Stats counts what the engine holds and what it did since it was made.
type Stats struct {
	Facts, Entries, Derived, Units int // held now
	Edges                          int // reads recorded now

	Updates     uint64 // calls of Update and Recompute
	DerivedRuns uint64 // calls of Derived.Compute, Feature.Roots and Feature.Members
	UnitRuns    uint64 // calls of Feature.Compile
	CutOffs     uint64 // runs of either kind whose result was equal to the one before
}
