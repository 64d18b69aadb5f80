package apply

import (
	"context"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"time"

	"tuplenet/flows/of"
)

// The audit reads the switch back in passes. A pass is divided into portions, so that neither we nor the switch, which does
// nothing else while it answers, are busy for long: the settings, the groups, and parts of each table, chosen by bits of the
// cookies, which are hashes and so divide a table evenly. A tick of Config.Audit takes so many portions that the pass ends
// with its last tick.
//
// What looks as it did before is right: the switch writes a flow always in the same way. What looks otherwise, or was not looked
// at since it was sent, is decoded and compared with what is wanted.

// portionFlows is how many flows of ours and of others a portion has, about.
const portionFlows = 2048

// audit is the state of the passes. It belongs to Serve, of which only one runs.
type audit struct {
	queue []portion // of the pass under way
	ticks int       // that the pass has left
	read  int       // flows, about, at this tick
	// What was found and not repaired, in this pass and before.
	reported, again map[reportKey]bool
}

// portion is a part of the switch.
type portion struct {
	what     portionKind
	sel      selection
	flows    int      // about, of ours
	believed []uint64 // hashes of the flows that we think it has
}

type portionKind uint8

const (
	settingsPortion portionKind = iota
	groupsPortion
	flowsPortion
)

// auditTick does the part of a pass that is due at now, and repairs what it finds.
func (a *Applier) auditTick(ctx context.Context, s session, now time.Time) error {
	d := &a.audit
	if len(d.queue) == 0 && d.ticks == 0 {
		if err := a.beginPass(ctx, s); err != nil {
			return err
		}
	}
	found, err := a.takePortions(ctx, s, 0)
	if err == nil {
		found, err = a.hurry(ctx, s, found)
	}
	if err == nil {
		found, err = a.withSettings(ctx, s, found)
	}
	if err == nil {
		err = a.heal(ctx, s, found)
	}
	if err != nil {
		*d = audit{reported: d.reported} // the next session begins anew
		return fmt.Errorf("audit: %w", err)
	}
	a.tell(found, now)
	if d.ticks = max(0, d.ticks-1); len(d.queue) == 0 && d.ticks == 0 {
		d.reported, d.again = d.again, nil
		a.mu.Lock()
		a.stats.Passes++
		a.stats.LastPass = now
		a.mu.Unlock()
	}
	return nil
}

// hurry looks at the rest of the pass at once when something was found: one who deletes a flow by hand seldom deletes only one.
// What the budget does not allow comes with the next ticks.
func (a *Applier) hurry(ctx context.Context, s session, found []Finding) ([]Finding, error) {
	if len(found) == 0 || a.cfg.ReportOnly {
		return found, nil
	}
	a.audit.ticks = 1
	more, err := a.takePortions(ctx, s, a.audit.read)
	return append(found, more...), err
}

// withSettings adds what is wrong with the settings to what was found otherwise: they will be set right before flows are sent,
// so this is the time to tell.
func (a *Applier) withSettings(ctx context.Context, s session, found []Finding) ([]Finding, error) {
	isSetting := func(f Finding) bool { return f.What == WhatTLV || f.What == WhatMeter }
	if len(found) == 0 || slices.ContainsFunc(found, isSetting) {
		return found, nil
	}
	more, err := a.checkSettings(ctx, s)
	return append(found, more...), err
}

// beginPass divides the switch into portions.
func (a *Applier) beginPass(ctx context.Context, s session) error {
	counts, err := s.TableCounts(ctx)
	if err != nil {
		return fmt.Errorf("numbers of flows: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.trouble.retry(&a.want)
	a.audit.ticks, a.audit.again = max(1, a.cfg.Steps), map[reportKey]bool{}
	a.audit.queue = append([]portion{{what: settingsPortion}, {what: groupsPortion}}, a.divide(counts)...)
	total := 0
	a.stats.InTable = [len(a.stats.InTable)]int{}
	for t, n := range counts {
		total += n
		a.stats.InTable[t] = n
	}
	a.stats.Foreign = max(0, total-len(a.have.flows))
	return nil
}

// divide makes the portions of the tables. The caller holds a.mu.
func (a *Applier) divide(counts map[uint8]int) []portion {
	ours := map[uint8]int{}
	for _, p := range a.have.flows {
		ours[p.table]++
	}
	most := map[uint8]int{}
	for t := range allTables {
		if n := max(counts[uint8(t)], ours[uint8(t)]); n > 0 {
			most[uint8(t)] = n
		}
	}
	var all []portion
	first := map[uint8]int{} // position of a table's first portion
	mask := map[uint8]uint64{}
	for i, sel := range a.parts(most) {
		if _, began := first[sel.Table]; !began {
			first[sel.Table], mask[sel.Table] = i, sel.Mask&hashMask
		}
		all = append(all, portion{what: flowsPortion, flows: ours[sel.Table] / int(mask[sel.Table]+1), sel: sel})
	}
	for h, p := range a.have.flows {
		if p.table != allTables {
			into := &all[first[p.table]+int(h&mask[p.table])]
			into.believed = append(into.believed, h)
		}
	}
	return all
}

// parts selects our flows in tables with so many flows, in parts of portionFlows at most, about.
func (a *Applier) parts(counts map[uint8]int) (all []selection) {
	for _, table := range slices.Sorted(maps.Keys(counts)) {
		parts := 1 << bits.Len(uint(max(0, counts[table]-1))/portionFlows)
		for part := range parts {
			all = append(all, selection{Table: table, Cookie: a.cookie(uint64(part)), Mask: 0xff<<56 | uint64(parts-1)})
		}
	}
	return all
}

// takePortions looks at the portions that are due; read is what the tick read of its budget already.
func (a *Applier) takePortions(ctx context.Context, s session, read int) (found []Finding, err error) {
	d := &a.audit
	defer func() { d.read = read }()
	for due := (len(d.queue) + max(1, d.ticks) - 1) / max(1, d.ticks); due > 0 && len(d.queue) > 0; due-- {
		p := d.queue[0]
		if a.cfg.Budget > 0 && read > 0 && read+p.flows > a.cfg.Budget {
			break // the rest waits for the next tick, the pass lasts longer
		}
		read += p.flows
		var more []Finding
		switch p.what {
		case settingsPortion:
			more, err = a.checkSettings(ctx, s)
		case groupsPortion:
			more, err = a.checkGroups(ctx, s)
		case flowsPortion:
			more, err = a.checkFlows(ctx, s, p)
		}
		if err != nil {
			return nil, err
		}
		d.queue = d.queue[1:]
		found = append(found, more...)
	}
	return found, nil
}

// checkFlows looks at a part of a table.
func (a *Applier) checkFlows(ctx context.Context, s session, p portion) ([]Finding, error) {
	seen := make(map[uint64]bool, len(p.believed))
	var odd []foundFlow
	err := s.DumpFlows(ctx, p.sel, func(f foundFlow) {
		h := f.Cookie & hashMask
		a.mu.Lock()
		was, on := a.have.flows[h]
		if on && was.table == f.Table && was.packets != f.Packets {
			a.count(h, was, f.Packets)
		}
		a.mu.Unlock()
		if on && was.shown == f.Shown && was.table == f.Table {
			seen[h] = true
			return
		}
		odd = append(odd, f.keep())
	})
	if err != nil {
		return nil, fmt.Errorf("flows: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	j := judgement{a: a}
	for _, f := range odd {
		j.odd(f, seen)
	}
	for _, h := range p.believed {
		if was, on := a.have.flows[h]; on && was.table == p.sel.Table && !seen[h] {
			j.missing(h)
		}
	}
	return j.found, nil
}

// count notes how many packets a flow met since it was read last. The caller holds a.mu.
func (a *Applier) count(h uint64, p present, packets uint64) {
	if c := a.want.flows[h]; c != nil {
		if more := packets - p.packets; packets >= p.packets {
			a.packets[c.rule] += more
		} else { // it was added anew
			a.packets[c.rule] += packets
		}
	}
	p.packets = packets
	a.have.flows[h] = p
}

// checkGroups looks at all groups.
func (a *Applier) checkGroups(ctx context.Context, s session) ([]Finding, error) {
	dump, err := s.DumpGroups(ctx)
	if err != nil {
		return nil, fmt.Errorf("groups: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := newActual()
	for _, g := range dump {
		now.foundGroup(g, a.want.groups)
	}
	ids := map[uint32]struct{}{}
	for id := range now.groups {
		ids[id] = struct{}{}
	}
	for id := range a.have.groups {
		ids[id] = struct{}{}
	}
	j := judgement{a: a}
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		if _, changing := a.want.dirtyGroups[id]; !changing {
			j.group(id, now.groups)
		}
	}
	return j.found, nil
}

// group judges a group.
func (j *judgement) group(id uint32, now map[uint32]uint64) {
	a := j.a
	was, believed := a.have.groups[id]
	is, there := now[id]
	if believed == there && was == is {
		return
	}
	f := Finding{What: WhatGroup, Kind: Altered, Name: fmt.Sprintf("group %d", id), id: uint64(id), shown: is}
	switch {
	case !there:
		f.Kind = Missing
	case !believed && a.want.groups[id] == nil:
		f.Kind = Foreign
	}
	if s := a.want.groups[id]; s != nil {
		f.Owner = s.first().owner
	}
	j.found = append(j.found, f)
	if !j.heals() {
		return
	}
	delete(a.have.groups, id)
	if there {
		a.have.groups[id] = is
	}
	a.want.dirtyGroups[id] = struct{}{}
}

// checkSettings looks at the TLV map and the meters.
func (a *Applier) checkSettings(ctx context.Context, s session) (found []Finding, err error) {
	if len(a.cfg.TLVs) > 0 {
		missing, _, err := a.compareTLVs(ctx, s)
		if err != nil {
			return nil, err
		}
		for i, t := range a.cfg.TLVs {
			if slices.Contains(missing, t) {
				found = append(found, Finding{What: WhatTLV, Kind: Missing, id: uint64(i),
					Name: fmt.Sprintf("TLV mapping {class=%#x,type=%#x,len=%d}->tun_metadata%d", t.Class, t.Type, t.Len, t.Index)})
			}
		}
	}
	meters, err := s.DumpMeters(ctx)
	if err != nil {
		return nil, fmt.Errorf("meters: %w", err)
	}
	a.settledMeters(byID(meters), byID(a.meters))
	return append(found, compareMeters(a.meters, meters)...), nil
}

func compareMeters(want, have []of.Meter) (found []Finding) {
	add := func(id uint32, kind Kind) {
		found = append(found, Finding{What: WhatMeter, Kind: kind, Name: fmt.Sprintf("meter %d", id), id: uint64(id)})
	}
	for _, m := range want {
		switch at := slices.IndexFunc(have, func(h of.Meter) bool { return h.ID == m.ID }); {
		case at < 0:
			add(m.ID, Missing)
		case have[at] != m:
			add(m.ID, Altered)
		}
	}
	for _, h := range have {
		if !slices.ContainsFunc(want, func(m of.Meter) bool { return m.ID == h.ID }) {
			add(h.ID, Foreign)
		}
	}
	return found
}

// heal repairs what was found; nothing found is fine, too: what was refused before is tried again then. A changed setting may
// be why flows look otherwise, so the settings come first.
func (a *Applier) heal(ctx context.Context, s session, found []Finding) error {
	if a.cfg.ReportOnly || len(found) == 0 {
		return a.round(ctx, s, false)
	}
	surplus, err := a.setSettings(ctx, s)
	if err == nil {
		err = a.round(ctx, s, false)
	}
	if err == nil {
		err = a.dropLast(ctx, s, surplus)
	}
	if err == nil {
		err = a.lookAgain(ctx, s, found)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range found {
		found[i].Healed = a.isRight(&found[i])
	}
	return err
}

// maxLooks bounds how many flows are looked at one by one.
const maxLooks = 1000

// lookAgain notes how the switch shows the flows that were altered and sent anew. Should the switch ever write a flow in a way
// that we cannot recognise as what we sent, this keeps us from sending it again in every pass.
func (a *Applier) lookAgain(ctx context.Context, s session, found []Finding) error {
	looks := 0
	for _, f := range found {
		if f.What != WhatFlow || f.Kind != Altered {
			continue
		}
		if looks++; looks > maxLooks {
			break
		}
		var now []foundFlow
		sel := selection{Table: allTables, Cookie: a.cookie(f.id), Mask: ^uint64(0)}
		if err := s.DumpFlows(ctx, sel, func(f foundFlow) { now = append(now, f.keep()) }); err != nil {
			return fmt.Errorf("flows: %w", err)
		}
		a.mu.Lock()
		if p, on := a.have.flows[f.id]; on && len(now) == 1 && p.table == now[0].Table {
			p.shown = now[0].Shown
			a.have.flows[f.id] = p
		}
		a.mu.Unlock()
	}
	return nil
}

// isRight tells whether what was found to be wrong is right now. The caller holds a.mu.
func (a *Applier) isRight(f *Finding) bool {
	switch {
	case f.What == WhatFlow && f.Kind != Foreign:
		p, on := a.have.flows[f.id]
		return on == (a.want.flows[f.id] != nil) && p.state == right
	case f.What == WhatGroup:
		want, have := a.want.groups[uint32(f.id)], a.have.groups[uint32(f.id)]
		return want == nil && have == 0 || want != nil && want.first().group.Hash() == have
	}
	return true
}

// tell counts what was found and hands it over. What is only reported is told once, as long as it stays.
func (a *Applier) tell(found []Finding, now time.Time) {
	news := found
	if a.cfg.ReportOnly {
		news = nil
		for _, f := range found {
			k := f.key()
			if !a.audit.reported[k] && !a.audit.again[k] {
				news = append(news, f)
			}
			a.audit.again[k] = true
		}
	}
	if len(news) == 0 {
		return
	}
	a.mu.Lock()
	for _, f := range news {
		a.stats.Drift[f.Kind]++
		if f.Healed {
			a.stats.Healed++
		}
	}
	a.mu.Unlock()
	a.cfg.OnDrift(news, now)
}
