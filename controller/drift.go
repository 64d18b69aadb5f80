package controller

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"tuplenet/datapath/apply"
	"tuplenet/datapath/ovsdb"
	"tuplenet/model"
)

// keptFindings is how many findings the ledger remembers.
const keptFindings = 100

// ledger remembers what audits found. It is safe for use by several goroutines; those that find things are the sessions with
// the switch and the database, and the loop.
type ledger struct {
	log      *slog.Logger
	mode     string
	interval time.Duration

	mu     sync.Mutex
	counts map[string]uint64 // by kind
	last   []model.NodeFinding
}

// Modes of the audit.
const (
	auditHeal   = "heal"
	auditReport = "report"
	auditOff    = "off"
)

func newLedger(cfg Config, log *slog.Logger) *ledger {
	l := &ledger{log: log.With("component", "audit"), mode: cfg.AuditMode, interval: cfg.Audit, counts: map[string]uint64{}}
	if cfg.Audit == 0 {
		l.mode = auditOff
	}
	for k := range driftKinds {
		l.counts[apply.Kind(k).String()] = 0
	}
	return l
}

// driftKinds is how many kinds of findings there are.
const driftKinds = int(apply.Altered) + 1

// add takes findings: each is logged, counted and remembered.
func (l *ledger) add(found ...model.NodeFinding) {
	for i := range found {
		f := &found[i]
		f.Text = findingText(*f)
		l.log.Warn(f.Text, "kind", f.Kind, "what", f.What, "owner", f.Owner, "rule", f.Rule, "name", f.Name)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range found {
		l.counts[f.Kind] += uint64(f.Count)
		l.last = append(l.last, f)
	}
	l.forget(func(f model.NodeFinding) bool { return f.What == apply.WhatFlow })
	l.forget(func(model.NodeFinding) bool { return true })
}

// forget drops the oldest of some findings while there are too many. Those of flows go first: a switch that lost everything has hundreds, which
// must not hide that it lost a setting, too.
func (l *ledger) forget(some func(model.NodeFinding) bool) {
	n := len(l.last) - keptFindings
	l.last = slices.DeleteFunc(l.last, func(f model.NodeFinding) bool {
		if n <= 0 || !some(f) {
			return false
		}
		n--
		return true
	})
}

// switchDrift takes what was found in the switch; things of one owner and rule are told together.
func (l *ledger) switchDrift(found []apply.Finding, now time.Time) {
	var sums []model.NodeFinding
	at := map[model.NodeFinding]int{}
	for _, f := range found {
		n := model.NodeFinding{AtMS: now.UnixMilli(), What: f.What, Kind: f.Kind.String(), Owner: f.Owner, Healed: f.Healed}
		if f.Owner == "" {
			n.Name = f.Name
		} else if f.What == apply.WhatFlow {
			n.Rule = ruleName(f.Rule)
		}
		i, known := at[n]
		if !known {
			i = len(sums)
			at[n] = i
			first := n
			first.Name = f.Name
			sums = append(sums, first)
		}
		sums[i].Count++
	}
	l.add(sums...)
}

// portDrift takes what was found in the database.
func (l *ledger) portDrift(found []ovsdb.Drift, now time.Time) {
	for _, f := range found {
		l.add(model.NodeFinding{AtMS: now.UnixMilli(), What: f.What, Kind: f.Kind, Count: 1, Owner: f.Owner, Name: f.Name, Healed: f.Healed})
	}
}

// sysctlDrift takes kernel parameters that had another value.
func (l *ledger) sysctlDrift(paths []string, healed bool, now time.Time) {
	for _, p := range paths {
		l.add(model.NodeFinding{AtMS: now.UnixMilli(), What: "sysctl", Kind: apply.Altered.String(), Count: 1, Owner: "untunnel", Name: p, Healed: healed})
	}
}

// audit is the whole, with the passes of the switch's audit.
func (l *ledger) audit(s apply.Stats) model.NodeAudit {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := model.NodeAudit{Mode: l.mode, IntervalMS: l.interval.Milliseconds(), Passes: s.Passes, Drift: map[string]uint64{}}
	if !s.LastPass.IsZero() {
		a.LastMS = s.LastPass.UnixMilli()
	}
	for k, n := range l.counts {
		a.Drift[k] = n
	}
	a.Last = slices.Clone(l.last)
	slices.Reverse(a.Last)
	return a
}

// findingText is such as "healed 3 flows of LR-edge1/lnat/snat_rule1".
func findingText(f model.NodeFinding) string {
	did := "healed"
	switch {
	case !f.Healed:
		did = "found " + f.Kind + ":"
	case f.Kind == apply.Foreign.String():
		did = "removed foreign"
	}
	many := f.What
	if f.Count != 1 {
		many += "s"
	}
	of := ""
	switch {
	case f.What == apply.WhatFlow && f.Owner != "":
		of = " of " + subject(f.Owner)
	case f.What == apply.WhatGroup && f.Owner != "":
		of = " of " + subject(f.Owner)
	case strings.HasPrefix(f.Name, f.What+" "): // "meter 1", "group 7"
		return fmt.Sprintf("%s %s", did, f.Name)
	default:
		of = " " + f.Name
	}
	if f.Count == 1 {
		return fmt.Sprintf("%s %s%s", did, f.What, of)
	}
	return fmt.Sprintf("%s %d %s%s", did, f.Count, many, of)
}

// nouns are the words of tpctl for the objects of features whose ids are parent/name.
var nouns = map[string]string{"port": "lsp", "local": "lsp", "patch": "lsp", "routerport": "lrp", "route": "lsr", "nat": "lnat"}

// subject is the object that an owner, feature/id, stands for, in the words of tpctl: LR-edge1/lnat/snat_rule1.
func subject(owner string) string {
	feature, id, _ := strings.Cut(owner, "/")
	parent, name, child := strings.Cut(id, "/")
	switch {
	case id == "":
		return feature
	case child && nouns[feature] != "":
		return parent + "/" + nouns[feature] + "/" + name
	case feature == "peer" || feature == "watched":
		return "chassis " + id
	}
	return id
}
