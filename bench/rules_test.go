//go:build bench

package bench

import (
	"fmt"
	"testing"
	"time"
)

// TestBenchRules changes one static route and one NAT rule with so many ports in place: the time from asking the client that stays
// until it answers, which it does when all chassis have applied the change, and the processor time of all daemons and the client.
func TestBenchRules(t *testing.T) {
	for _, size := range sizes(t) {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			compare(t, "one rule", size, map[string]target{
				"route, applied everywhere":           {ratio: 0.1},
				"route, CPU of daemons and client":    {ratio: 0.1},
				"NAT rule, applied everywhere":        {ratio: 0.1},
				"NAT rule, CPU of daemons and client": {ratio: 0.1},
			}, nil, ruleChanges)
		})
	}
}

func ruleChanges(s side, r *record) {
	w := s.base()
	deployed(s, networkOf(r.run.Size))
	s.gateways(1)
	s.settled()
	s.rested()
	rounds := envNumber(w.t, "RULES", "10")
	changes := s.changes()
	for _, what := range []string{"route", "NAT rule"} {
		c := changes[what]
		c.add(1) // the first one warms up
		c.del(1)
		w.pause(pace)
		var took []time.Duration
		k := 1
		all, daemons := w.perRound(rounds, func() {
			k++
			for _, do := range []func(int){c.add, c.del} {
				start := time.Now()
				do(k)
				took = append(took, time.Since(start))
				w.pause(pace)
			}
		})
		r.milliseconds(what+", applied everywhere", median(took))
		r.milliseconds(what+", CPU of daemons and client", all/2)
		r.milliseconds(what+", CPU of daemons alone", daemons/2)
	}
}
