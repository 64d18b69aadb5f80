package apply

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"tuplenet/flows/of"
)

// fakeSwitch does with messages what Open vSwitch does (a test holds it against the real one): a bundle is done in order, as
// a whole or not at all; an add takes the place of the flow with the same table, priority and match; deletion of a group
// deletes the flows that use it; messages that cannot be understood are all named, of those that fail when they are put into
// effect only the first.
type fakeSwitch struct {
	mu     sync.Mutex
	flows  map[uint64]fakeFlow // by table, priority and match
	groups map[uint32]of.PackedGroup
	meters map[uint32]of.Meter
	tlvs   []TLV
	clock  int // counts messages; the time of birth of flows
	read   int // flows that were dumped

	malformed map[uint64]bool // hashes of flows that it does not understand
	failing   map[uint64]bool // hashes of flows that fail in effect
	badGroups map[uint32]bool
	settings  error    // refuses settings if not nil
	sent      []string // what bundles did, in short
	bundles   []int    // their sizes, also of refused ones

	afterBundle func() // called with mu held, after each bundle that was done
}

type fakeFlow struct {
	cookie   uint64
	table    uint8
	priority uint16
	flow     of.Packed
	born     int
}

func newFakeSwitch() *fakeSwitch {
	return &fakeSwitch{
		flows: map[uint64]fakeFlow{}, groups: map[uint32]of.PackedGroup{}, meters: map[uint32]of.Meter{},
		malformed: map[uint64]bool{}, failing: map[uint64]bool{}, badGroups: map[uint32]bool{},
	}
}

var (
	errLost      = errors.New("connection lost")
	errMalformed = errors.New("malformed")
	errNoGroup   = errors.New("no such group")
	errRefused   = errors.New("refused")
)

// fakeSession is one connection to a fakeSwitch.
type fakeSession struct {
	sw *fakeSwitch
	// bundlesLeft is how many bundles go through before the connection is lost; then the next one is done (or not) without
	// an answer. Negative = for ever.
	bundlesLeft int
	doneUnheard bool
	lost        bool
	hang        chan struct{} // if not nil, a bundle waits for an element before it is done
}

func (s *fakeSession) Bundle(ctx context.Context, ms []message) error {
	if s.hang != nil {
		select {
		case <-s.hang:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.sw.mu.Lock()
	defer s.sw.mu.Unlock()
	if s.lost || ctx.Err() != nil {
		return errLost
	}
	if s.bundlesLeft == 0 {
		s.lost = true
		if s.doneUnheard {
			_ = s.sw.bundle(ms)
		}
		return errLost
	}
	s.bundlesLeft--
	return s.sw.bundle(ms)
}

// bundle does ms or returns a *refusal. The caller holds mu.
func (sw *fakeSwitch) bundle(ms []message) error {
	sw.bundles = append(sw.bundles, len(ms))
	no := &refusal{each: map[int]error{}, err: errors.New("bundle failed")}
	for i, m := range ms {
		if (m.op == addFlow || m.op == replaceFlow) && sw.malformed[m.flow.Hash()] {
			no.each[i] = errMalformed
		}
	}
	if len(no.each) > 0 {
		return no
	}
	flows, groups := map[uint64]fakeFlow{}, map[uint32]of.PackedGroup{}
	for k, f := range sw.flows {
		flows[k] = f
	}
	for id, g := range sw.groups {
		groups[id] = g
	}
	sent := len(sw.sent)
	for i, m := range ms {
		if err := sw.do(m); err != nil {
			sw.flows, sw.groups, sw.sent = flows, groups, sw.sent[:sent]
			no.each[i] = err
			return no
		}
	}
	if sw.afterBundle != nil {
		sw.afterBundle()
	}
	return nil
}

func (sw *fakeSwitch) do(m message) error {
	sw.clock++
	switch m.op {
	case addFlow, replaceFlow:
		if m.op == replaceFlow {
			sw.deleteFlows(m.table, m.cookie)
		}
		if g := groupOf(m.flow); g != 0 && sw.groups[g].Hash() == 0 {
			return errNoGroup
		}
		if sw.failing[m.flow.Hash()] {
			return errRefused
		}
		sw.flows[m.flow.KeyHash()] = fakeFlow{m.cookie, m.flow.Table, m.flow.Priority, m.flow, sw.clock}
		sw.sent = append(sw.sent, fmt.Sprintf("add %d/%d", m.flow.Table, m.flow.Priority))
	case deleteFlow:
		sw.deleteFlows(m.table, m.cookie)
		sw.sent = append(sw.sent, fmt.Sprintf("del table %d", m.table))
	case removeFlow:
		for k, f := range sw.flows {
			if f.table == m.stray.Table && f.priority == m.stray.Priority && f.flow.MatchBytes() == string(m.stray.Match) {
				delete(sw.flows, k)
			}
		}
		sw.sent = append(sw.sent, fmt.Sprintf("del stray %d/%d", m.stray.Table, m.stray.Priority))
	case addGroup, modifyGroup:
		if _, there := sw.groups[m.id]; there != (m.op == modifyGroup) || sw.badGroups[m.id] {
			return errRefused
		}
		sw.groups[m.id] = *m.group
		sw.sent = append(sw.sent, fmt.Sprintf("%s group %d", map[operation]string{addGroup: "add", modifyGroup: "mod"}[m.op], m.id))
	case deleteGroup:
		delete(sw.groups, m.id)
		for k, f := range sw.flows {
			if groupOf(f.flow) == m.id {
				delete(sw.flows, k)
			}
		}
		sw.sent = append(sw.sent, fmt.Sprintf("del group %d", m.id))
	}
	return nil
}

func (sw *fakeSwitch) deleteFlows(table uint8, cookie uint64) {
	for k, f := range sw.flows {
		if f.cookie == cookie && (table == allTables || table == f.table) {
			delete(sw.flows, k)
		}
	}
}

// groupOf returns the group that a flow goes to, 0 if none.
func groupOf(p of.Packed) uint32 {
	f, err := p.Unpack()
	if err != nil {
		return 0
	}
	for _, a := range f.Actions {
		if g, ok := a.(of.GroupAction); ok {
			return g.ID
		}
	}
	return 0
}

func (s *fakeSession) check(ctx context.Context) error {
	if s.lost || ctx.Err() != nil {
		return errLost
	}
	return nil
}

func (s *fakeSession) Barrier(ctx context.Context) error { return s.check(ctx) }

func (s *fakeSession) DumpFlows(ctx context.Context, sel selection, fn func(foundFlow)) error {
	s.sw.mu.Lock()
	defer s.sw.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(s.sw.flows)) {
		f := s.sw.flows[key]
		if (sel.Table == allTables || sel.Table == f.table) && (f.cookie^sel.Cookie)&sel.Mask == 0 {
			s.sw.read++
			body := []byte(f.flow.Body())
			match := len(f.flow.MatchBytes())
			fn(foundFlow{Table: f.table, Priority: f.priority, Cookie: f.cookie, Shown: f.flow.Hash() + f.flow.KeyHash() + uint64(f.priority)<<40,
				Match: body[4 : 4+match], Instructions: body[(match+4+7)/8*8:]})
		}
	}
	return s.check(ctx)
}

func (s *fakeSession) TableCounts(ctx context.Context) (map[uint8]int, error) {
	s.sw.mu.Lock()
	defer s.sw.mu.Unlock()
	counts := map[uint8]int{}
	for _, f := range s.sw.flows {
		counts[f.table]++
	}
	return counts, s.check(ctx)
}

func (s *fakeSession) DumpGroups(ctx context.Context) (out []foundGroup, err error) {
	s.sw.mu.Lock()
	defer s.sw.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(s.sw.groups)) {
		g := s.sw.groups[id]
		out = append(out, foundGroup{id, g.Type, g.Buckets() + g.Properties()})
	}
	return out, s.check(ctx)
}

func (s *fakeSession) DumpMeters(ctx context.Context) (out []of.Meter, err error) {
	s.sw.mu.Lock()
	defer s.sw.mu.Unlock()
	for _, m := range s.sw.meters {
		out = append(out, m)
	}
	return out, s.check(ctx)
}

// setting notes what was set, or refuses.
func (s *fakeSession) setting(what string, do func()) error {
	s.sw.mu.Lock()
	defer s.sw.mu.Unlock()
	if s.sw.settings != nil {
		return &refusal{err: s.sw.settings}
	}
	do()
	s.sw.sent = append(s.sw.sent, what)
	return nil
}

func (s *fakeSession) SetMeter(_ context.Context, m of.Meter) error {
	return s.setting(fmt.Sprintf("set meter %d", m.ID), func() { s.sw.meters[m.ID] = m })
}

func (s *fakeSession) DeleteMeter(_ context.Context, id uint32) error {
	return s.setting(fmt.Sprintf("del meter %d", id), func() { delete(s.sw.meters, id) })
}

func (s *fakeSession) TLVMap(ctx context.Context) ([]TLV, error) {
	return slices.Clone(s.sw.tlvs), s.check(ctx)
}

func (s *fakeSession) AddTLV(_ context.Context, tlvs []TLV) error {
	return s.setting("add TLVs", func() { s.sw.tlvs = append(s.sw.tlvs, tlvs...) })
}

func (s *fakeSession) DeleteTLV(_ context.Context, tlvs []TLV) error {
	return s.setting("del TLVs", func() {
		s.sw.tlvs = slices.DeleteFunc(s.sw.tlvs, func(t TLV) bool { return slices.Contains(tlvs, t) })
	})
}

// takeSent returns what was sent since the last call.
func (sw *fakeSwitch) takeSent() []string {
	sw.mu.Lock()
	defer sw.mu.Unlock()
	out := sw.sent
	sw.sent, sw.bundles = nil, nil
	return out
}
