package controller

import (
	"maps"
	"testing"

	"tuplenet/model"
	"tuplenet/model/store"
)

// round records a commit and returns its number.
func round(p *progress, rev int64, changed bool) int64 {
	c := commit{rev: rev}
	if changed {
		c.changed = []string{"port/LS/p"}
	}
	n := p.record(c)
	p.compiled()
	return n
}

// arrive is that of waiters who ask everybody, whether affected or not.
func arrive(p *progress, waiters ...store.Waiter) {
	for i := range waiters {
		waiters[i].Since, waiters[i].Everybody = waiters[i].Revision-1, true
	}
	p.wait(store.Update{Waiters: waiters})
}

func receipts(t *testing.T, p *progress, when string, want map[string]bool) {
	t.Helper()
	got := map[string]bool{}
	for id, a := range p.receipts {
		got[id] = a.Affected
	}
	if !maps.Equal(got, want) {
		t.Errorf("%s: receipts %v, want %v", when, got, want)
	}
}

func TestAWaiterIsAnsweredOnceItsChangeIsAcknowledged(t *testing.T) {
	var p progress
	p.acknowledge(round(&p, 10, true))
	arrive(&p, store.Waiter{ID: "w", Revision: 11})
	n := round(&p, 11, true)
	receipts(t, &p, "handed over", nil)
	p.acknowledge(n - 1)
	receipts(t, &p, "an older round acknowledged", nil)
	p.acknowledge(n)
	receipts(t, &p, "acknowledged", map[string]bool{"w": true})
	p.acknowledge(n)
	if p.given != 1 {
		t.Errorf("answered %d times", p.given)
	}
}

func TestAReceiptSaysWhetherThisNodeHadToDoAnything(t *testing.T) {
	var p progress
	p.acknowledge(round(&p, 10, true))
	arrive(&p, store.Waiter{ID: "elsewhere", Revision: 11})
	p.acknowledge(round(&p, 11, false))
	receipts(t, &p, "nothing to do", map[string]bool{"elsewhere": false})
	arrive(&p, store.Waiter{ID: "here", Revision: 12})
	p.acknowledge(round(&p, 12, true))
	receipts(t, &p, "something to do", map[string]bool{"elsewhere": false, "here": true})
}

func TestAWaiterForAChangeOfBindingsWaitsUntilThatIsCompiled(t *testing.T) {
	var p progress
	p.acknowledge(round(&p, 20, true)) // intent is ahead of the bindings
	arrive(&p, store.Waiter{ID: "w", Revision: 15})
	p.acknowledge(1)
	receipts(t, &p, "delivered, not compiled", nil)
	n := p.record(commit{rev: 20, nodes: 15, changed: []string{"port/LS/p"}})
	p.compiled()
	receipts(t, &p, "compiled", nil)
	p.acknowledge(n)
	receipts(t, &p, "acknowledged", map[string]bool{"w": true})
}

func TestAWaiterWhoseChangeWasDeliveredBeforeItIsAnsweredAtOnce(t *testing.T) {
	var p progress
	p.acknowledge(round(&p, 10, true))
	p.acknowledge(round(&p, 11, false))
	arrive(&p, store.Waiter{ID: "w", Revision: 11})
	p.compiled() // nothing new to hand over
	receipts(t, &p, "late question", map[string]bool{"w": false})
}

func TestAnAnswerLeavesWithItsWaiter(t *testing.T) {
	var p progress
	arrive(&p, store.Waiter{ID: "a", Revision: 5}, store.Waiter{ID: "b", Revision: 5})
	p.acknowledge(round(&p, 5, true))
	published := p.receipts
	p.wait(store.Update{Gone: []string{"a"}})
	receipts(t, &p, "one is gone", map[string]bool{"b": true})
	if len(published) != 2 {
		t.Errorf("what was handed out was changed: %v", published)
	}
	p.wait(store.Update{Reset: true, Waiters: []store.Waiter{{ID: "c", Revision: 6}}})
	receipts(t, &p, "a complete state without it", map[string]bool{})
	p.wait(store.Update{Gone: []string{"c"}})
	p.acknowledge(round(&p, 6, true))
	receipts(t, &p, "gone before it was answered", map[string]bool{})
}

func TestAWaiterThatComesAgainIsAnsweredAgain(t *testing.T) {
	var p progress
	arrive(&p, store.Waiter{ID: "w", Revision: 5})
	p.acknowledge(round(&p, 5, true))
	arrive(&p, store.Waiter{ID: "w", Revision: 6})
	n := round(&p, 6, false)
	if p.given != 1 {
		t.Fatalf("%d answers before the second change is acknowledged", p.given)
	}
	p.acknowledge(n)
	receipts(t, &p, "both changes", map[string]bool{"w": true})
	if p.given != 2 {
		t.Errorf("%d answers", p.given)
	}
}

func TestRoundsThatAreSkippedAreAcknowledgedTogether(t *testing.T) {
	var p progress
	for rev := int64(1); rev <= 3*keptCommits; rev++ {
		arrive(&p, store.Waiter{ID: "w", Revision: rev})
		round(&p, rev, rev == 3)
	}
	if len(p.commits) > 2*keptCommits {
		t.Errorf("%d rounds are kept", len(p.commits))
	}
	p.acknowledge(p.seq)
	if p.acked.rev != 3*keptCommits || p.outstanding() {
		t.Errorf("acknowledged revision %d", p.acked.rev)
	}
}

func TestAReplacedStoreBeginsItsRevisionsAnew(t *testing.T) {
	var p progress
	p.acknowledge(round(&p, 1000, true))
	p.restart()
	if p.acked.rev != 0 {
		t.Errorf("revision %d of the other store counts as applied", p.acked.rev)
	}
	arrive(&p, store.Waiter{ID: "w", Revision: 7})
	n := round(&p, 7, true)
	receipts(t, &p, "handed over", nil)
	p.acknowledge(n)
	receipts(t, &p, "acknowledged", map[string]bool{"w": true})
}

func TestP16_ANodeThatHasNothingToDoAnswersOnlyIfItIsAskedByName(t *testing.T) {
	p := progress{chassis: "me"}
	p.acknowledge(round(&p, 10, true))
	p.wait(store.Update{Waiters: []store.Waiter{{ID: "w", Revision: 11, Since: 10}}})
	p.acknowledge(round(&p, 11, false))
	receipts(t, &p, "not asked", nil)
	p.wait(store.Update{Waiters: []store.Waiter{{ID: "w", Revision: 11, Since: 10, Asked: []string{"other"}}}})
	p.compiled()
	receipts(t, &p, "somebody else is asked", nil)
	if p.given != 0 || len(p.waiters) != 0 {
		t.Errorf("%d answers, %d waiters are kept", p.given, len(p.waiters))
	}
	p.wait(store.Update{Waiters: []store.Waiter{{ID: "w", Revision: 11, Since: 10, Asked: []string{"me", "other"}}}})
	p.compiled()
	receipts(t, &p, "asked by name", map[string]bool{"w": false})
}

func TestP16_AChangeOfSeveralTransactionsIsJudgedAsAWhole(t *testing.T) {
	var p progress
	p.acknowledge(round(&p, 10, true))
	p.acknowledge(round(&p, 11, true))
	p.acknowledge(round(&p, 12, false))
	p.wait(store.Update{Waiters: []store.Waiter{{ID: "last", Revision: 12, Since: 11}, {ID: "whole", Revision: 12, Since: 10}}})
	p.compiled()
	receipts(t, &p, "the first transaction changed something", map[string]bool{"whole": true})
}

func TestP16_AnAnswerNamesWhatTheSwitchRefusedOfTheChange(t *testing.T) {
	var p progress
	p.refused = map[string]model.Problem{
		"port/LS/p":     {Key: "port/LS/p", Reason: "table full"},
		"port/LS/other": {Key: "port/LS/other", Reason: "table full"},
	}
	arrive(&p, store.Waiter{ID: "w", Revision: 5})
	p.acknowledge(round(&p, 5, true))
	if got := p.receipts["w"].Refused; len(got) != 1 || got[0].Key != "port/LS/p" {
		t.Errorf("refused %v, want only what the change is about", got)
	}
}
