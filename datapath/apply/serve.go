package apply

import (
	"context"
	"errors"
	"fmt"
)

// serve makes the switch at the other end what it should be and keeps it so until the session ends; see Serve.
func (a *Applier) serve(ctx context.Context, s session) error {
	select { // the Serve of the session before may still be on its way out
	case a.serving <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-a.serving }()
	defer a.unfollow()
	if err := a.awaitCommit(ctx); err != nil {
		return err
	}
	surplus, err := a.setSettings(ctx, s)
	if err != nil {
		return err
	}
	if err := a.readBack(ctx, s); err != nil {
		return fmt.Errorf("reading the switch: %w", err)
	}
	if err := a.round(ctx, s, true); err != nil {
		return err
	}
	if err := a.dropLast(ctx, s, surplus); err != nil {
		return err
	}
	return a.rounds(ctx, s)
}

// unfollow ends a session: nobody will plan from what is dirty before the switch is read back.
func (a *Applier) unfollow() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.want.follow(false)
}

// awaitCommit waits for the gate to open.
func (a *Applier) awaitCommit(ctx context.Context) error {
	for {
		a.mu.Lock()
		open := a.committed
		a.mu.Unlock()
		if open {
			return nil
		}
		select {
		case <-a.wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// readBack replaces what we know of the switch by what it says, and marks all differences. Cookies are believed for now; whether
// the flows are what they say the audit finds out.
func (a *Applier) readBack(ctx context.Context, s session) error {
	counts, err := s.TableCounts(ctx)
	if err != nil {
		return fmt.Errorf("numbers of flows: %w", err)
	}
	var dump []foundFlow
	for _, sel := range a.parts(counts) { // all at once would stop the switch for as long
		if err := s.DumpFlows(ctx, sel, func(f foundFlow) {
			f.Match, f.Instructions = nil, nil
			dump = append(dump, f)
		}); err != nil {
			return fmt.Errorf("flows: %w", err)
		}
	}
	groups, err := s.DumpGroups(ctx)
	if err != nil {
		return fmt.Errorf("groups: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := newActual()
	for _, f := range dump {
		now.found(f, a.want.flows, &a.have)
	}
	for _, g := range groups {
		now.foundGroup(g, a.want.groups)
	}
	a.have, a.strays = now, nil
	a.stats.Foreign = -len(dump)
	a.stats.InTable = [len(a.stats.InTable)]int{}
	for t, n := range counts {
		a.stats.Foreign += n
		a.stats.InTable[t] = n
	}
	a.stats.Foreign = max(0, a.stats.Foreign)
	a.stats.Resyncs++
	a.want.follow(true)
	a.trouble.retry(&a.want)
	a.markDifferences()
	return nil
}

// markDifferences makes everything dirty that the plan has to look at.
func (a *Applier) markDifferences() {
	for h, c := range a.want.flows {
		if p, ok := a.have.flows[h]; !ok || p.state != right {
			a.want.touchFlow(c.flow.Hash())
		}
	}
	for h := range a.have.flows {
		if a.want.flows[h] == nil {
			a.want.touchFlow(h)
		}
	}
	for id := range a.want.groups {
		a.want.touchGroup(id)
	}
	for id := range a.have.groups {
		a.want.touchGroup(id)
	}
}

// rounds applies what is dirty, again and again, one round at a time, and audits the switch in between, until the session ends.
func (a *Applier) rounds(ctx context.Context, s session) error {
	q := quiet{sent: a.Stats().Messages}
	for {
		select {
		case <-a.wake:
		case now := <-a.cfg.Audit:
			if !q.permits(a.Stats().Messages) {
				continue
			}
			if err := a.auditTick(ctx, s, now); err != nil {
				return err
			}
			continue
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := a.round(ctx, s, false); err != nil {
			return err
		}
	}
}

// quiet tells when there is time for the audit: a switch that is being sent thousands of flows has other things to do than to list
// them. Who never rests is audited now and then all the same.
type quiet struct {
	sent uint64 // messages, up to the last tick
	puts int    // ticks put off in a row
}

const (
	// muchSent is how many messages between two ticks put the audit off.
	muchSent = 1000
	// mostPutOff is how many ticks in a row are put off.
	mostPutOff = 10
)

// permits takes a tick after so many messages and tells whether it is one of the audit.
func (q *quiet) permits(sent uint64) bool {
	busy := sent-q.sent >= muchSent && q.puts < mostPutOff
	q.sent = sent
	if busy {
		q.puts++
	} else {
		q.puts = 0
	}
	return !busy
}

// round sends a plan and reports. What was refused may leave something to do at once, like the deletion of the flow whose place
// was not taken; then another plan follows. first says that the session does not know yet that it is in sync; else a round that
// had no cause is not reported.
func (a *Applier) round(ctx context.Context, s session, first bool) error {
	var done Applied
	sent := 0
	var surplus []uint32 // meters
	for again := true; again; {
		a.mu.Lock()
		p := a.plan()
		meters, changed := a.changedMeters()
		a.mu.Unlock()
		if changed {
			var err error
			if surplus, err = a.setMeters(ctx, s, meters); err != nil {
				return fmt.Errorf("applying revision %d: %w", p.rev, err)
			}
		}
		r := sender{a: a, s: s, done: &done}
		for at := 0; at < len(p.messages); at += a.cfg.Slice {
			if err := r.send(ctx, p.messages[at:min(at+a.cfg.Slice, len(p.messages))], false); err != nil {
				return fmt.Errorf("applying revision %d: %w", p.rev, err)
			}
		}
		done.Rev, again = p.rev, r.refused
		sent += len(p.messages)
	}
	if err := a.dropMeters(ctx, s, surplus); err != nil {
		return fmt.Errorf("applying revision %d: %w", done.Rev, err)
	}
	a.report(&done, sent, first)
	return nil
}

// report tells the world about a round.
func (a *Applier) report(done *Applied, sent int, first bool) {
	a.mu.Lock()
	news, resolved := a.trouble.takeNews()
	if !first && sent == 0 && len(news) == 0 && !resolved && a.stats.Applied == done.Rev {
		a.mu.Unlock()
		return
	}
	done.Failed = a.trouble.list()
	a.stats.Rounds++
	a.stats.Messages += uint64(sent)
	a.stats.Applied = done.Rev
	a.stats.Added += uint64(done.Added)
	a.stats.Removed += uint64(done.Removed)
	a.stats.Modified += uint64(done.Modified)
	a.mu.Unlock()
	log := a.cfg.Logger.With("component", "apply", "rev", done.Rev)
	log.Debug("applied", "flows", fmt.Sprintf("+%d -%d ~%d", done.Added, done.Removed, done.Modified), "groups", done.Groups)
	for _, f := range news {
		log.Error("not applied", "owner", f.Owner, "what", f.What, "error", f.Err)
	}
	a.cfg.OnApplied(*done)
}

// sender sends parts of a plan.
type sender struct {
	a       *Applier
	s       session
	done    *Applied
	refused bool // something was
}

// send does a part of a plan in one bundle. If messages are refused, the others are done without them. The switch names all
// messages that it cannot take at once, but only one of those that fail when they are put into effect; so after the second
// refusal the part is cut into halves.
func (r *sender) send(ctx context.Context, ms []message, again bool) error {
	err := r.s.Bundle(ctx, ms)
	if err == nil {
		r.acknowledge(ms)
		return nil
	}
	var no *refusal
	if !errors.As(err, &no) {
		return err
	}
	if len(ms) == 1 {
		r.refuse(&ms[0], no.of(0))
		return nil
	}
	left := make([]message, 0, len(ms))
	for i := range ms {
		if err := no.each[i]; err != nil {
			r.refuse(&ms[i], err)
		} else {
			left = append(left, ms[i])
		}
	}
	switch {
	case len(left) == 0:
		return nil
	case len(left) == 1 || len(left) < len(ms) && !again:
		return r.send(ctx, left, true)
	}
	if err := r.send(ctx, left[:len(left)/2], true); err != nil {
		return err
	}
	return r.send(ctx, left[len(left)/2:], true)
}

// acknowledge notes that the switch did these.
func (r *sender) acknowledge(ms []message) {
	a := r.a
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range ms {
		m := &ms[i]
		switch m.op {
		case addFlow, replaceFlow:
			a.have.flows[m.hash()] = present{key: m.key, table: m.flow.Table}
			a.trouble.settleFlow(m.hash())
			if m.overwrites != 0 {
				delete(a.have.flows, m.overwrites)
			}
			if m.overwrites != 0 || m.op == replaceFlow || m.again {
				r.done.Modified++
			} else {
				r.done.Added++
			}
		case deleteFlow:
			delete(a.have.flows, m.hash())
			r.done.Removed++
		case removeFlow:
			r.done.Removed++
		case addGroup, modifyGroup:
			a.have.groups[m.id] = m.group.Hash()
			a.trouble.settleGroup(m.id)
			r.done.Groups++
		case deleteGroup:
			delete(a.have.groups, m.id)
			r.done.Groups++
		}
	}
}

// refuse notes that the switch does not take m.
func (r *sender) refuse(m *message, err error) {
	r.refused = true
	a := r.a
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stats.Refused++
	switch m.op {
	case addFlow, replaceFlow:
		if c := a.want.flows[m.hash()]; c != nil {
			a.trouble.refuseFlow(c, err)
		}
		if m.overwrites != 0 { // its place was not taken: the old one must go, too
			a.want.touchFlow(m.overwrites)
		}
		if m.op == replaceFlow || m.again { // what is there under its cookie must go
			a.want.touchFlow(m.hash())
		}
	case deleteFlow: // the next reading will find it again
		delete(a.have.flows, m.hash())
		a.cfg.Logger.Error("the switch refused to delete a flow", "cookie", fmt.Sprintf("%#x", m.cookie), "error", err)
	case removeFlow: // the next pass will find it again
		a.cfg.Logger.Error("the switch refused to delete a flow", "flow", m.stray.text(), "error", err)
	case addGroup, modifyGroup:
		if s := a.want.groups[m.id]; s != nil && s.first().group.Hash() == m.group.Hash() {
			a.trouble.refuseGroup(s.first(), err)
		}
	case deleteGroup:
		delete(a.have.groups, m.id)
		a.cfg.Logger.Error("the switch refused to delete a group", "group", m.id, "error", err)
	}
}
