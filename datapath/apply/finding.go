package apply

import (
	"fmt"

	"tuplenet/flows/of"
)

// Kind says in which way something is other than we left it.
type Kind uint8

// The kinds.
const (
	Missing Kind = iota // it is gone
	Foreign             // it is in our namespace, and not from us
	Altered             // it is there, but not as it should be
	numKinds
)

func (k Kind) String() string { return [...]string{"missing", "foreign", "altered"}[k] }

// What can be found by an audit.
const (
	WhatFlow  = "flow"
	WhatGroup = "group"
	WhatMeter = "meter"
	WhatTLV   = "TLV mapping"
)

// Finding is one thing that somebody else changed.
type Finding struct {
	What string
	Kind Kind
	// Owner and Rule of the flow or group that ought to be there; empty for foreign things and for settings.
	Owner string
	Rule  uint16
	// Name is the thing in text.
	Name string
	// Healed: it is as it should be again.
	Healed bool

	id    uint64 // hash of the flow, id of the group or meter
	shown uint64
}

// reportKey is what makes a finding the same as one before.
type reportKey struct {
	what      string
	kind      Kind
	id, shown uint64
}

func (f *Finding) key() reportKey { return reportKey{f.What, f.Kind, f.id, f.shown} }

// judgement collects what is wrong while a part of the switch is looked at. The caller holds a.mu.
type judgement struct {
	a     *Applier
	found []Finding
}

// heals tells whether what is found is to be repaired.
func (j *judgement) heals() bool { return !j.a.cfg.ReportOnly }

// odd judges a flow that does not look as it did before, or that we never looked at since we sent it. seen gets the hashes of
// flows that are there in their place.
func (j *judgement) odd(f foundFlow, seen map[uint64]bool) {
	a, h := j.a, f.Cookie&hashMask
	c := a.want.flows[h]
	was, on := a.have.flows[h]
	if c == nil {
		if on { // not wanted any more: it is about to be deleted
			seen[h] = true
			return
		}
		j.foreign(f)
		return
	}
	want, err := c.flow.Unpack()
	if err != nil {
		return // Pack made it
	}
	match, err := of.DecodeMatch(f.Match)
	if err != nil || f.Table != want.Table || f.Priority != want.Priority || !match.Same(want.Match) {
		j.foreign(f) // it stole the cookie
		return
	}
	seen[h] = true
	actions, err := of.DecodeInstructions(f.Instructions)
	if err == nil && f.Settings == 0 && of.SameActions(actions, want.Actions) {
		was.key, was.table, was.shown, was.state = c.key, f.Table, f.Shown, right
		a.have.flows[h] = was
		return
	}
	j.found = append(j.found, Finding{What: WhatFlow, Kind: Altered, Owner: c.owner.name, Rule: c.rule, Name: flowText(c.flow), id: h, shown: f.Shown})
	if j.heals() {
		was.key, was.table, was.state = c.key, f.Table, altered
		a.have.flows[h] = was
		a.want.touchFlow(h)
	}
}

// foreign judges a flow of our namespace that is not ours. If it stands in the place of one of ours, that one is missing.
func (j *judgement) foreign(f foundFlow) {
	a := j.a
	j.found = append(j.found, Finding{What: WhatFlow, Kind: Foreign, Name: f.text(), id: f.Cookie & hashMask, shown: f.Shown})
	if !j.heals() {
		return
	}
	if c := a.holder(f); c != nil {
		if _, believed := a.have.flows[c.flow.Hash()]; believed {
			j.missing(c.flow.Hash())
			return // adding it takes the place back
		}
	}
	a.strays = append(a.strays, f)
}

// missing judges a flow that is not there.
func (j *judgement) missing(h uint64) {
	a := j.a
	c := a.want.flows[h]
	if c == nil { // it had to go anyway
		delete(a.have.flows, h)
		return
	}
	j.found = append(j.found, Finding{What: WhatFlow, Kind: Missing, Owner: c.owner.name, Rule: c.rule, Name: flowText(c.flow), id: h})
	if j.heals() {
		delete(a.have.flows, h)
		a.want.touchFlow(h)
	}
}

// holder is the flow that ought to have the place of f; nil if none, or if the switch writes its match in a way that we would not.
func (a *Applier) holder(f foundFlow) *claim {
	match, err := of.DecodeMatch(f.Match)
	if err != nil {
		return nil
	}
	for _, m := range []of.Match{match, match.Plain()} {
		p, err := of.Flow{Table: f.Table, Priority: f.Priority, Match: m}.Pack()
		if err != nil {
			continue
		}
		if c := a.want.keys[p.KeyHash()]; c != nil {
			return c
		}
	}
	return nil
}

// text is the flow for people.
func (f foundFlow) text() string {
	m, err := of.DecodeMatch(f.Match)
	if err != nil {
		return fmt.Sprintf("table=%d, priority=%d, cookie 0x%x", f.Table, f.Priority, f.Cookie)
	}
	as, err := of.DecodeInstructions(f.Instructions)
	if err != nil {
		return fmt.Sprintf("table=%d, priority=%d, %s", f.Table, f.Priority, m)
	}
	return of.Flow{Table: f.Table, Priority: f.Priority, Match: m, Actions: as}.String()
}
