package cnm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
)

func TestT50_WhatIsMadeAgainIsNotRemovedByAnOldDebt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDebts(slog.New(slog.DiscardHandler))
		var done []string
		begun, goOn := make(chan struct{}), make(chan struct{})
		d.owe("network a", func(context.Context) error {
			close(begun)
			<-goOn
			done = append(done, "a removed")
			return nil
		})
		d.owe("network b", func(context.Context) error { done = append(done, "b removed"); return nil })
		pay := func(do func(context.Context) error) error { return do(t.Context()) }
		go d.settle(pay)
		<-begun
		// Both are made again: one while it is being removed, the other before.
		d.cancel(t.Context(), "network b")
		made := make(chan struct{})
		go func() {
			d.cancel(t.Context(), "network a")
			done = append(done, "a made")
			close(made)
		}()
		synctest.Wait()
		if len(done) > 0 {
			t.Errorf("it was not waited for the removal: %v", done)
		}
		close(goOn)
		<-made
		synctest.Wait()
		if got := fmt.Sprint(done); got != "[a removed a made]" {
			t.Errorf("in this order: %s", got)
		}
		over, cancel := context.WithCancel(t.Context())
		cancel()
		d.paying, d.paid = "network c", make(chan struct{})
		d.cancel(over, "network c") // returns
	})
}

func TestT50_ADebtIsTriedUntilItIsPaidAndANewerOneIsNotLost(t *testing.T) {
	d := newDebts(slog.New(slog.DiscardHandler))
	tried, newer := 0, 0
	d.owe("x", func(context.Context) error {
		if tried++; tried < 3 {
			return errors.New("not yet")
		}
		d.owe("x", func(context.Context) error { newer++; return nil }) // by a call, meanwhile
		return nil
	})
	for range 6 {
		d.settle(func(do func(context.Context) error) error { return do(t.Context()) })
	}
	if tried != 3 || newer != 1 || len(d.owed) != 0 {
		t.Errorf("tried %d times, the newer one %d times, owed still: %v", tried, newer, d.owed)
	}
	d.owe("y", func(context.Context) error { t.Error("it was forgotten"); return nil })
	d.forget("y")
	d.settle(func(do func(context.Context) error) error { return do(t.Context()) })
}
