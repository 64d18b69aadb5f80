package apply

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"tuplenet/flows/of"
)

// The random test: owners come, go and quarrel over few places; the switch refuses, is lost in the middle of a bundle (which it
// did, or not), is restarted, and is tampered with while nobody looks. When the dust has settled it has exactly what is desired,
// what nobody disturbed was never touched, foreign flows are as they were, and a further look sends nothing.

type wish struct {
	key, content int // the place, and what shall be there; content 2 goes to group 1
}

type action struct {
	do     string
	owner  string
	wishes []wish
	groups []int // contents of the groups 1…, 0 = none
	n      int
}

func actions() *rapid.Generator[[]action] {
	kinds := []string{"put", "put", "put", "put", "commit", "commit", "commit", "connect", "disconnect", "cut", "cut unheard",
		"restart switch", "tamper", "tamper", "refuse", "allow", "tick"}
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) action {
		a := action{do: rapid.SampledFrom(kinds).Draw(t, "do"), n: rapid.IntRange(0, 11).Draw(t, "n")}
		if a.do == "put" {
			a.owner = rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "owner")
			a.wishes = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) wish {
				return wish{rapid.IntRange(0, 5).Draw(t, "key"), rapid.IntRange(0, 2).Draw(t, "content")}
			}), 0, 5).Draw(t, "wishes")
			a.groups = []int{1 + rapid.IntRange(0, 1).Draw(t, "group 1"), rapid.IntRange(0, 2).Draw(t, "group 2")}
		}
		return a
	}), 1, 40)
}

func (w wish) flow() Flow {
	table, n := uint8(w.key%3), w.key
	if w.content == 2 {
		return viaGroup(table, n, 1)
	}
	return fl(table, 5, n, 1+w.content)
}

func (a action) set() *Set {
	if len(a.wishes) == 0 {
		return nil
	}
	s := &Set{}
	for _, w := range a.wishes {
		s.Flows = append(s.Flows, w.flow())
	}
	for i, content := range a.groups {
		if content > 0 {
			s.Groups = append(s.Groups, grp(uint32(i+1), content))
		}
	}
	return s
}

// player runs actions and knows what should come of them.
type player struct {
	*bench
	put       map[string]*Set // since the last commit too
	committed map[string]*Set
	foreign   map[uint64]fakeFlow
	born      map[uint64]int // hash → birth of what was there at the last check
	connected bool
	refusing  bool
}

func (p *player) play(a action) {
	sw := p.sw
	switch a.do {
	case "put":
		s := a.set()
		p.put[a.owner] = s
		p.Put(a.owner, s)
		if a.n == 0 {
			p.Put(a.owner, s) // twice is once
		}
	case "commit":
		p.committed = maps.Clone(p.put)
		p.commit()
	case "connect":
		p.connect()
		p.connected = true
	case "disconnect":
		p.end()
		p.connected = false
	case "cut", "cut unheard":
		p.connectWith(&fakeSession{sw: sw, bundlesLeft: a.n % 3, doneUnheard: a.do == "cut unheard"})
		p.connected = false // perhaps not yet, but it is not to be relied on
	case "restart switch":
		p.end()
		p.connected = false
		clear(sw.flows)
		clear(sw.groups)
		clear(p.foreign)
		p.disturbAll()
	case "tamper":
		p.tamper(a.n)
	case "refuse":
		f := wish{a.n % 6, a.n % 3}.flow()
		[]map[uint64]bool{sw.malformed, sw.failing}[a.n%2][f.Hash()] = true
		sw.badGroups[2] = a.n%4 == 0
		p.refusing = true
	case "allow":
		p.allow()
	case "tick":
		if p.connected && p.rev > 0 {
			p.tick()
		}
	}
}

func (p *player) allow() {
	clear(p.sw.malformed)
	clear(p.sw.failing)
	clear(p.sw.badGroups)
	p.refusing = false
}

func (p *player) disturbAll() { clear(p.born) }

// tamper changes the switch behind our back.
func (p *player) tamper(n int) {
	sw := p.sw
	w := wish{n % 6, n % 3}
	ours := w.flow()
	delete(p.born, ours.Hash())
	was, there := sw.flows[ours.KeyHash()]
	if there {
		delete(p.born, was.cookie&hashMask)
	}
	sw.clock++
	switch n % 6 {
	case 0: // gone
		if there && was.cookie>>56 == DefaultNamespace {
			delete(sw.flows, ours.KeyHash())
		}
	case 1: // a stray with our namespace
		sw.flows[ours.KeyHash()] = fakeFlow{p.cookie(ours.Hash()), ours.Table, ours.Priority, ours.Packed, sw.clock}
	case 2: // one of ours twice
		other := fl(ours.Table, 77, n, 9)
		sw.flows[other.KeyHash()] = fakeFlow{p.cookie(ours.Hash()), other.Table, other.Priority, other.Packed, sw.clock}
	case 3: // a foreign flow
		other := fl(9, uint16(n), n, 3)
		f := fakeFlow{cookie: uint64(n), table: 9, priority: uint16(n), flow: other.Packed, born: sw.clock}
		sw.flows[other.KeyHash()], p.foreign[other.KeyHash()] = f, f
	case 4: // groups
		if n%2 == 0 {
			g, _ := grp(uint32(n), 5).Pack()
			sw.groups[uint32(n)] = g
		} else {
			_ = sw.do(message{op: deleteGroup, id: 1})
			p.disturbAll()
		}
	case 5: // other actions under the same cookie
		if there && was.cookie>>56 == DefaultNamespace {
			was.flow, was.born = fl(was.table, was.priority, w.key, 99).Packed, sw.clock
			sw.flows[ours.KeyHash()] = was
		}
	}
}

// wanted computes the desired state in the dumbest way.
func (p *player) wanted() (flows map[uint64]Flow, groups map[uint32]of.PackedGroup) {
	flows, groups = map[uint64]Flow{}, map[uint32]of.PackedGroup{}
	for _, owner := range slices.Sorted(maps.Keys(p.committed)) {
		s := p.committed[owner]
		if s == nil {
			continue
		}
		mine := slices.SortedFunc(slices.Values(s.Flows), func(a, b Flow) int { return int(int64(a.Hash()>>1) - int64(b.Hash()>>1)) })
		for _, f := range mine {
			if _, taken := flows[f.KeyHash()]; !taken {
				flows[f.KeyHash()] = f
			}
		}
		for _, g := range s.Groups {
			if _, taken := groups[g.ID]; !taken {
				groups[g.ID], _ = g.Pack()
			}
		}
	}
	return flows, groups
}

// check demands that everything is as it should be.
func (p *player) check() error {
	flows, groups := p.wanted()
	for key, f := range p.foreign {
		if got, ok := p.sw.flows[key]; !ok || got != f {
			return fmt.Errorf("foreign flow %v became %v", f, got)
		}
	}
	if len(p.sw.flows) != len(flows)+len(p.foreign) {
		return fmt.Errorf("%d flows and %d foreign, wanted %d", len(p.sw.flows)-len(p.foreign), len(p.foreign), len(flows))
	}
	for key, f := range flows {
		got := p.sw.flows[key]
		if got.flow != f.Packed || got.cookie != p.cookie(f.Hash()) {
			return fmt.Errorf("wanted %s, have %s", flowText(f.Packed), flowText(got.flow))
		}
		if born, ok := p.born[f.Hash()]; ok && born != got.born {
			return fmt.Errorf("%s was touched for nothing", flowText(f.Packed))
		}
	}
	if !maps.Equal(p.sw.groups, groups) {
		return fmt.Errorf("groups %v, wanted %v", p.sw.groups, groups)
	}
	if s := p.Stats(); s.Present != len(flows) || s.Foreign != len(p.foreign) || s.Applied != p.rev {
		return fmt.Errorf("stats %+v at revision %d, wanted %d flows, %d foreign", s, p.rev, len(flows), len(p.foreign))
	}
	// What fails is what somebody else got the place of.
	lost := 0
	for _, s := range p.committed {
		hashes, ids := map[uint64]bool{}, map[uint64]bool{}
		if s == nil {
			continue
		}
		for _, f := range s.Flows {
			if w := flows[f.KeyHash()]; w.Hash() != f.Hash() {
				hashes[f.Hash()] = true
			}
		}
		for _, g := range s.Groups {
			g, _ := g.Pack()
			if w := groups[g.ID]; w.Hash() != g.Hash() {
				ids[uint64(g.ID)] = true
			}
		}
		lost += len(hashes) + len(ids)
	}
	if fs := p.Failures(); len(fs) != lost {
		return fmt.Errorf("failures %v, wanted %d", fs, lost)
	}
	p.born = map[uint64]int{}
	for _, f := range p.sw.flows {
		p.born[f.cookie&hashMask] = f.born
	}
	return nil
}

// settle brings a healthy switch to rest, checks, and looks again.
func (p *player) settle() error {
	p.allow()
	p.committed = maps.Clone(p.put)
	p.commit()
	if !p.connected {
		p.connect()
		p.connected = true
	}
	p.pass()
	p.pass()
	if err := p.check(); err != nil {
		return err
	}
	p.sw.takeSent()
	p.commit()
	p.connect()
	p.pass()
	if sent := p.sw.takeSent(); len(sent) > 0 {
		return fmt.Errorf("sent %q although nothing had changed", sent)
	}
	return p.check()
}

// pass is the whole of an audit.
func (p *player) pass() {
	for range max(1, p.cfg.Steps) {
		p.tick()
	}
}

func playActions(t *testing.T, slice, steps int, script []action) (err error) {
	synctest.Test(t, func(t *testing.T) {
		p := &player{bench: newBench(t, Config{Slice: slice, Steps: steps}), put: map[string]*Set{}, committed: map[string]*Set{},
			foreign: map[uint64]fakeFlow{}, born: map[uint64]int{}}
		defer func() { p.end() }()
		for i, a := range script {
			p.play(a)
			// What is not wanted any more may come back as new.
			flows, _ := p.wanted()
			for h := range p.born {
				if !slices.ContainsFunc(slices.Collect(maps.Values(flows)), func(f Flow) bool { return f.Hash() == h }) {
					delete(p.born, h)
				}
			}
			if p.refusing {
				p.disturbAll()
			}
			if i%10 == 9 {
				if err = p.settle(); err != nil {
					err = fmt.Errorf("after action %d: %w", i, err)
					return
				}
			}
		}
		err = p.settle()
	})
	return err
}

func TestWhateverHappensTheSwitchEndsUpRight(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		slice := rapid.SampledFrom([]int{1, 2, 3, 100}).Draw(rt, "slice")
		steps := rapid.IntRange(0, 4).Draw(rt, "steps")
		if err := playActions(t, slice, steps, actions().Draw(rt, "actions")); err != nil {
			rt.Fatal(err)
		}
	})
}
