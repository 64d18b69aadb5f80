package controller

import (
	"maps"
	"slices"

	"tuplenet/model"
	"tuplenet/model/store"
)

// progress relates revisions of the store to rounds of the switch: what was handed over, what is acknowledged, and who waits
// for that. It belongs to the loop.
type progress struct {
	commits  []commit // not acknowledged, and some acknowledged ones, oldest first
	seq      int64
	acked    commit
	chassis  string // this node
	waiters  []waiting
	receipts map[string]model.Answer  // replaced, never changed
	given    uint64                   // counts receipts
	refused  map[string]model.Problem // by owner: what the switch does not take
}

// commit is what one round of the switch stands for.
type commit struct {
	seq     int64
	rev     int64    // of intent in the store
	nodes   int64    // highest revision of the chassis and bindings that were new in it
	changed []string // the owners of what it changed on this node, at most keptOwners of them
	ports   map[string]uint64
	tunnel  bool
	serves  map[string]int64 // switches whose workloads here are told about their network, at which revision of the switch
}

// waiting is a waiter whose change is in the facts.
type waiting struct {
	store.Waiter
	commit int64 // the one that contains its change; 0: the facts are not compiled yet
}

// keptCommits bounds how far back a late question for a receipt can be answered exactly.
const keptCommits = 512

// keptOwners bounds what is remembered of a commit. What the switch refuses of a larger one counts as its part whoever it is of.
const keptOwners = 1000

// last is the commit that was recorded last.
func (p *progress) last() commit {
	if len(p.commits) == 0 {
		return p.acked
	}
	return p.commits[len(p.commits)-1]
}

// record notes the next commit and returns its number.
func (p *progress) record(c commit) int64 {
	p.seq++
	c.seq = p.seq
	p.commits = append(p.commits, c)
	if len(p.commits) > 2*keptCommits {
		p.commits = slices.Clone(p.commits[len(p.commits)-keptCommits:])
	}
	return c.seq
}

// acknowledge notes that the switch has done everything up to a commit.
func (p *progress) acknowledge(seq int64) {
	for _, c := range p.commits {
		if c.seq <= seq && c.seq > p.acked.seq {
			p.acked = c
		}
	}
	p.answer()
}

// outstanding tells whether there is something that the switch has not acknowledged.
func (p *progress) outstanding() bool { return p.acked.seq < p.seq }

// wait takes new waiters, and drops those that are gone. A waiter that comes again waits for a later revision.
func (p *progress) wait(u store.Update) {
	if u.Reset {
		here := map[string]bool{}
		for _, w := range u.Waiters {
			here[w.ID] = true
		}
		p.drop(func(id string) bool { return !here[id] })
	}
	p.drop(func(id string) bool { return slices.Contains(u.Gone, id) })
	for _, w := range u.Waiters {
		p.waiters = slices.DeleteFunc(p.waiters, func(o waiting) bool { return o.ID == w.ID })
		p.waiters = append(p.waiters, waiting{Waiter: w})
	}
}

// compiled notes that all that was delivered so far is in the last commit.
func (p *progress) compiled() {
	for i := range p.waiters {
		if p.waiters[i].commit == 0 {
			p.waiters[i].commit = p.seq
		}
	}
	p.answer()
}

func (p *progress) drop(gone func(id string) bool) {
	p.waiters = slices.DeleteFunc(p.waiters, func(w waiting) bool { return gone(w.ID) })
	for id := range p.receipts {
		if gone(id) {
			p.receipts = maps.Clone(p.receipts)
			maps.DeleteFunc(p.receipts, func(id string, _ model.Answer) bool { return gone(id) })
			return
		}
	}
}

// restart forgets the revisions: the store was replaced by another, whose revisions mean something else.
func (p *progress) restart() {
	p.commits, p.waiters, p.receipts = nil, nil, nil
	p.acked.rev, p.acked.nodes = 0, 0
}

// answer gives receipts to the waiters whose commit is acknowledged: whether this node had to do anything, and what the switch
// did not take of it. A node that had nothing to do answers only if it is asked by name: a thousand nodes that have nothing to
// do write nothing.
func (p *progress) answer() {
	kept := p.waiters[:0]
	for _, w := range p.waiters {
		if w.commit == 0 || w.commit > p.acked.seq {
			kept = append(kept, w)
			continue
		}
		answer := p.judge(w)
		if !answer.Affected && !w.Asks(p.chassis) {
			continue
		}
		receipts := maps.Clone(p.receipts)
		if receipts == nil {
			receipts = map[string]model.Answer{}
		}
		answer.Affected = answer.Affected || receipts[w.ID].Affected
		receipts[w.ID] = answer
		p.receipts = receipts
		p.given++
	}
	p.waiters = kept
}

// judge tells whether the change of a waiter changed anything here, and what of that the switch refuses. The change is in the
// commits from the first behind the revision before it to that of the waiter.
func (p *progress) judge(w waiting) (a model.Answer) {
	first := slices.IndexFunc(p.commits, func(c commit) bool { return max(c.rev, c.nodes) > w.Since })
	if first < 0 || first == 0 && p.commits[0].seq > 1 {
		return model.Answer{Affected: true, Refused: p.refusals(nil)} // too long ago to know
	}
	owners := map[string]bool{}
	for _, c := range p.commits[first:] {
		if c.seq > w.commit || len(c.changed) == 0 {
			continue
		}
		a.Affected = true
		for _, o := range c.changed {
			owners[o] = true
		}
		if len(c.changed) == keptOwners {
			owners = nil
			break
		}
	}
	if a.Affected {
		a.Refused = p.refusals(owners)
	}
	return a
}

// maxRefused bounds the refusals in an answer; the status lists them all.
const maxRefused = 8

// refusals is what the switch refuses of some owners, or of all for nil.
func (p *progress) refusals(owners map[string]bool) (out []model.Problem) {
	for _, owner := range slices.Sorted(maps.Keys(p.refused)) {
		if (owners == nil || owners[owner]) && len(out) < maxRefused {
			out = append(out, p.refused[owner])
		}
	}
	return out
}
