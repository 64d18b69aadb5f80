package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"tuplenet/datapath/ofconn"
	"tuplenet/flows/compile"
	"tuplenet/model"
)

// forgetful notes what it was asked to forget.
type forgetful struct {
	asked []string
	err   error // of FlushConnections
}

func (f *forgetful) FlushZone(_ context.Context, zone uint16) error {
	f.asked = append(f.asked, fmt.Sprint("zone ", zone))
	return nil
}

func (f *forgetful) FlushConnections(_ context.Context, c ofconn.Connections) error {
	if f.err == nil {
		f.asked = append(f.asked, fmt.Sprintf("%d: %v>%v, %v>%v", c.Zone, c.OrigSrc, c.OrigDst, c.ReplySrc, c.ReplyDst))
	}
	return f.err
}

// A daemon's life with translations: what its rules are, commit by commit, and what it has the switch forget.
type natLife struct {
	t      *testing.T
	tr     *translations
	sw     *forgetful
	commit int64
	now    time.Time
}

func (n *natLife) rules(now ...compile.Translation) {
	var old []compile.Translation
	for x := range n.tr.wanted {
		old = append(old, x)
	}
	n.tr.wanted.replace(old, now)
	n.commit++
	n.tr.note(n.commit)
}

// forgets looks at what is forgotten at once, and that the same is forgotten once more later, and then no more.
func (n *natLife) forgets(when string, acknowledged int64, want ...string) {
	n.t.Helper()
	synctest.Test(n.t, func(t *testing.T) {
		settle := func() []string {
			n.sw.asked = nil
			n.now = n.now.Add(forgetAgain / 2)
			n.tr.settle(t.Context(), n.now, acknowledged, n.sw)
			synctest.Wait()
			return n.sw.asked
		}
		for i, want := range [][]string{want, nil, nil, want, nil, nil, nil} {
			if got := settle(); !slices.Equal(got, want) {
				n.t.Errorf("%s, at look %d: forgets %q, want %q", when, i, got, want)
			}
		}
	})
}

func TestConnectionsGoWithTheirRuleAndWithNoOther(t *testing.T) {
	snat := compile.Translation{Type: model.NATSource, Inside: netip.MustParsePrefix("10.20.0.0/16"), External: netip.MustParseAddr("192.0.2.30"), InZone: 8, OutZone: 9}
	float := compile.Translation{Type: model.NATFloating, Inside: netip.MustParsePrefix("10.20.1.10/32"), External: netip.MustParseAddr("192.0.2.40"), InZone: 8, OutZone: 9}
	other := compile.Translation{Type: model.NATSource, Inside: netip.MustParsePrefix("10.20.0.0/16"), External: netip.MustParseAddr("192.0.2.31"), InZone: 14, OutZone: 15}
	dir := t.TempDir()
	start := func() *natLife {
		return &natLife{t: t, tr: newTranslations(dir, slog.New(slog.DiscardHandler)), sw: &forgetful{}, now: time.Unix(1e9, 0)}
	}
	none, ofFloat := "invalid IP", []string{
		"9: 10.20.1.10>invalid IP, invalid IP>192.0.2.40",
		"8: invalid IP>192.0.2.40, 10.20.1.10>invalid IP",
		"9: invalid IP>10.20.1.10, invalid IP>192.0.2.40"}

	n := start()
	n.forgets("nothing is known", 0)
	n.rules(snat, float, other)
	n.forgets("all is wanted", 1)
	n.rules(snat, other)
	n.forgets("the rule's flows are still there", 1)
	n.rules(snat, float, other)
	n.forgets("the rule is back", 3)
	n.rules(snat, other)
	n.forgets("the rule's flows are gone", 4, ofFloat...)
	n.forgets("it is forgotten", 4)
	n.rules(snat)
	n.forgets("the last rule of a router goes", 5, "zone 15")
	n.rules(snat, float)

	n = start() // while no daemon ran, the rule went
	n.forgets("before the first commit", 0)
	n.rules(snat)
	n.forgets("after it", 1, ofFloat...)
	changed := snat
	changed.External = netip.MustParseAddr("192.0.2.35")
	n.rules(changed)
	n.forgets("changed", 2, "9: "+none+">"+none+", "+none+">192.0.2.30")

	n.rules(changed, float)
	n.rules(changed)
	n.sw.err = errors.New("the session ended")
	n.forgets("not done", 4)
	n = start()
	n.rules(changed)
	n.sw.err = &ofconn.Error{Type: 1, Code: 2}
	n.forgets("the next daemon does it; an old switch knows zones only", 1, "zone 9", "zone 8")
	n = start()
	n.rules(changed)
	n.forgets("done", 1)
}
