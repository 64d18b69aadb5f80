// Package apply makes the flow table, the groups, the meters and the TLV map of one switch what they should be, and nothing
// more: what is right already is not touched, so that counters and durations go on.
//
// It owns the comparison of desired with actual, and the order in which differences are sent. Desired is what the owners
// (opaque names; compile units in tuplenet) have Put. Actual is read back from the switch at the beginning of every session,
// as the set of cookies: the cookie of a flow is a namespace of 8 bits and 56 bits of hash over the whole flow, so that two
// flows are the same if their cookies are, whatever the switch made of their text. Flows of other namespaces belong to
// others; they are counted and left alone. Groups, meters and the TLV map have no cookie: all of them on this bridge are ours.
//
// Only package controller calls it. It does not know what flows mean, and it starts no goroutine: Serve runs in that of the
// session's owner. It looks at no clock; slow repetition comes from a channel in the configuration.
package apply

import (
	"fmt"
	"hash/maphash"
	"log/slog"
	"maps"
	"sync"
	"time"

	"tuplenet/flows/of"
)

// DefaultNamespace is the first byte of our cookies: 't'.
const DefaultNamespace = 0x74

// DefaultSlice is the number of messages of one bundle. The switch forwards nothing by itself while it commits one.
const DefaultSlice = 5000

// Flow is a flow with the number of the rule that it comes from, for people who look at dumps.
type Flow struct {
	of.Packed
	Rule uint16
}

// Set is all that one owner wants. A flow that goes to a group must be in the set of an owner who wants the group too, or one
// who outlives it: the switch deletes a group's flows with it.
type Set struct {
	Flows  []Flow
	Groups []of.Group
	// Meters that the flows use, besides those of the configuration. Whoever wants a meter of an id wants the same one.
	Meters []of.Meter
}

// Config says how to apply. The zero value of each field is a sensible default.
type Config struct {
	// Cookie8 is the namespace of our cookies; 0 = DefaultNamespace.
	Cookie8 uint8
	// Meters that the switch must have, besides those that owners want, and no others.
	Meters []of.Meter
	// TLVs are the mappings that the tunnel options need. Mappings of others that do not contradict stay.
	TLVs []TLV
	// Logger gets each new failure once, and a line a round for debugging; nil = none.
	Logger *slog.Logger
	// OnApplied is called by Serve after each round; it must not call Serve, and delays the next round. May be nil.
	OnApplied func(Applied)
	// Slice is the largest number of messages in one bundle; 0 = DefaultSlice.
	Slice int
	// Audit, the channel of a ticker, makes Serve read the switch back a part at a time, repair it, and try again what was
	// refused; nil = that happens only at the beginning of a session. A pass over everything takes Steps ticks; 0 = one. A tick
	// that would read more than Budget flows leaves the rest to the next, and the pass lasts longer; 0 = no limit.
	Audit  <-chan time.Time
	Steps  int
	Budget int
	// ReportOnly makes the audit tell what others changed and leave it so.
	ReportOnly bool
	// OnDrift is called by Serve with what an audit found, the time of its tick; it must not call Serve. May be nil.
	OnDrift func([]Finding, time.Time)
}

// Applied says that everything up to the Commit of Rev is in the switch, acknowledged by a barrier, except what Failed lists.
type Applied struct {
	Rev int64
	// Flows of this round. A flow that takes the place of another with the same table, priority and match is a modified one.
	Added, Removed, Modified int
	// Groups added, changed and removed.
	Groups int
	// Failed is all that is wanted and not in the switch, sorted by owner, also what was reported before.
	Failed []Failure
}

// Failure is something wanted that is not in the switch.
type Failure struct {
	Owner string
	What  string // the flow or group in text
	Err   error
}

func (f Failure) String() string { return fmt.Sprintf("%s: %s: %v", f.Owner, f.What, f.Err) }

// Stats are counts for metrics.
type Stats struct {
	Owners, Flows, Groups int      // wanted
	Present               int      // our flows in the switch, as far as we know
	Foreign               int      // flows of other namespaces, when counted last
	InTable               [256]int // flows of a table, of whatever namespace, when counted last
	Failing               int      // current failures
	Committed, Applied    int64    // revisions
	Rounds                uint64
	Messages              uint64 // sent in bundles
	Resyncs               uint64 // times that the switch was read back at once
	// Flows sent since the start, and how often the switch refused a flow or a group.
	Added, Removed, Modified, Refused uint64
	// Drift counts what audits found that was not made by us, by Kind; Healed how much of it was repaired.
	Drift    [numKinds]uint64
	Healed   uint64
	Passes   uint64    // of the audit, completed
	LastPass time.Time // when the last one ended
}

// Applier is the desired state and the knowledge about the switch. All methods may be called from any goroutine.
type Applier struct {
	cfg     Config
	seed    maphash.Seed
	serving chan struct{} // holds one element while a Serve is running
	wake    chan struct{} // capacity 1: there may be something to do

	mu        sync.Mutex
	staged    map[string]staged
	committed bool // the gate is open
	rev       int64
	want      desired
	have      actual
	strays    []foundFlow // in our namespace and not ours, to be removed
	packets   map[uint16]uint64
	trouble   trouble
	stats     Stats

	// Of Serve.
	audit  audit
	meters []of.Meter // in effect
}

// staged is a Put that waits for its Commit.
type staged struct {
	flows   []Flow
	groups  []of.PackedGroup
	meters  []of.Meter
	refused []Failure // groups that cannot be packed
}

// New makes an Applier without anything desired. It touches nothing before the first Commit.
func New(cfg Config) *Applier {
	if cfg.Cookie8 == 0 {
		cfg.Cookie8 = DefaultNamespace
	}
	if cfg.Slice <= 0 {
		cfg.Slice = DefaultSlice
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.OnDrift == nil {
		cfg.OnDrift = func([]Finding, time.Time) {}
	}
	if cfg.OnApplied == nil {
		cfg.OnApplied = func(Applied) {}
	}
	return &Applier{
		cfg: cfg, seed: maphash.MakeSeed(), serving: make(chan struct{}, 1), wake: make(chan struct{}, 1),
		staged: map[string]staged{}, packets: map[uint16]uint64{}, want: newDesired(), have: newActual(), trouble: newTrouble(),
	}
}

// Put makes set the complete set of owner; nil or an empty one means that the owner wants nothing any more. It takes effect at
// the next Commit. The set belongs to the Applier afterwards.
func (a *Applier) Put(owner string, set *Set) {
	var st staged
	if set != nil {
		st.flows, st.meters = set.Flows, set.Meters
		for _, g := range set.Groups {
			p, err := g.Pack()
			if err != nil {
				st.refused = append(st.refused, Failure{owner, fmt.Sprintf("group %d", g.ID), err})
				continue
			}
			st.groups = append(st.groups, p)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.staged[owner] = st
}

// Commit makes everything that was Put so far the desired state, which is that of revision rev. The first Commit opens the
// gate: before it Serve does not even look at the switch.
func (a *Applier) Commit(rev int64) {
	a.mu.Lock()
	for name, st := range a.staged {
		a.want.set(name, st, &a.trouble)
		a.trouble.unpackable(name, st.refused)
	}
	a.staged = map[string]staged{} // clear would for ever cost what the first Commit cost
	a.rev, a.committed = rev, true
	a.mu.Unlock()
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// Owner tells whose flow has that cookie, and by which rule. ok is false for cookies of others and for flows that are not
// wanted any more. If several owners want the flow, it is the one with the smallest name.
func (a *Applier) Owner(cookie uint64) (owner string, rule uint16, ok bool) {
	if uint8(cookie>>56) != a.cfg.Cookie8 {
		return "", 0, false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.want.flows[cookie&hashMask]
	if c == nil {
		return "", 0, false
	}
	return c.owner.name, c.rule, true
}

// GroupOwner tells who wants a group; empty: nobody does. If several owners do, it is the one with the smallest name.
func (a *Applier) GroupOwner(id uint32) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.want.groups[id]; s != nil {
		return s.first().owner
	}
	return ""
}

// Failures lists what is wanted and not in the switch, sorted by owner, then text.
func (a *Applier) Failures() []Failure {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.trouble.list()
}

// Packets says how many packets met the flows of each rule, as far as audits saw since the start.
func (a *Applier) Packets() map[uint16]uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.packets)
}

// Tables says how many flows of ours are in each table of the switch.
func (a *Applier) Tables() map[uint8]int {
	a.mu.Lock()
	defer a.mu.Unlock()
	counts := map[uint8]int{}
	for _, p := range a.have.flows {
		counts[p.table]++
	}
	return counts
}

// Stats returns the counts as they are now.
func (a *Applier) Stats() Stats {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.stats
	s.Owners, s.Flows, s.Groups = len(a.want.owners), len(a.want.flows), len(a.want.groups)
	s.Present, s.Failing, s.Committed = len(a.have.flows), len(a.trouble.failures), a.rev
	return s
}

// hashMask is the part of a cookie that is not the namespace.
const hashMask = 1<<56 - 1

func (a *Applier) cookie(hash uint64) uint64 { return uint64(a.cfg.Cookie8)<<56 | hash }
