package controller

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestWhatComesToAnIdleNodeIsDealtWithAtOnce(t *testing.T) {
	synctest.Test(t, func(*testing.T) {
		p := newPace()
		if p.early(time.Now()) {
			t.Fatal("the first changes have to wait")
		}
		begun := time.Now()
		time.Sleep(2 * time.Millisecond)
		p.worked(begun, time.Now())
		time.Sleep(4 * time.Millisecond)
		if p.early(time.Now()) {
			t.Fatal("4 ms after work of 2 ms changes have to wait")
		}
	})
}

func TestUnderPressureChangesWaitTwiceAsLongAsTheLastOnesTookButNotLong(t *testing.T) {
	synctest.Test(t, func(*testing.T) {
		p := newPace()
		for _, took := range []time.Duration{time.Millisecond, 10 * time.Millisecond, time.Second} {
			begun := time.Now()
			time.Sleep(took)
			p.worked(begun, time.Now())
			ended := time.Now()
			if !p.early(ended) {
				t.Fatal("changes that came meanwhile need not wait")
			}
			<-p.due.C
			if waited := time.Since(ended); waited != min(2*took, 100*time.Millisecond) {
				t.Fatalf("after work of %v they waited %v", took, waited)
			}
			if p.early(time.Now()) {
				t.Fatal("they have to wait again")
			}
		}
	})
}
