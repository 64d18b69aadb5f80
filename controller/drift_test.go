package controller

import (
	"log/slog"
	"slices"
	"testing"
	"time"

	"tuplenet/datapath/apply"
	"tuplenet/datapath/ovsdb"
	"tuplenet/flows/pipeline"
	"tuplenet/model"
)

func TestWhatAnAuditFoundReadsWell(t *testing.T) {
	l := newLedger(Config{Audit: time.Minute, AuditMode: auditHeal}, slog.New(slog.DiscardHandler))
	rule := pipeline.UnknownDestination.ID
	flow := func(kind apply.Kind, owner string, healed bool) apply.Finding {
		return apply.Finding{What: apply.WhatFlow, Kind: kind, Owner: owner, Rule: rule, Name: "table=1 actions=drop", Healed: healed}
	}
	now := time.UnixMilli(77)
	l.switchDrift([]apply.Finding{
		flow(apply.Missing, "nat/LR-edge1/snat_rule1", true), flow(apply.Missing, "nat/LR-edge1/snat_rule1", true), flow(apply.Missing, "nat/LR-edge1/snat_rule1", true),
		flow(apply.Altered, "port/LS-1/lsp-1", true), flow(apply.Altered, "switch/LS-1", false), flow(apply.Missing, "base/", true),
	}, now)
	l.switchDrift([]apply.Finding{
		{What: apply.WhatFlow, Kind: apply.Foreign, Name: "table=5 actions=drop", Healed: true},
		{What: apply.WhatGroup, Kind: apply.Altered, Owner: "switch/LS-1", Name: "group 7", Healed: true},
		{What: apply.WhatMeter, Kind: apply.Missing, Name: "meter 1", Healed: true},
		{What: apply.WhatTLV, Kind: apply.Missing, Name: "TLV mapping {class=0xffee}", Healed: true},
	}, now)
	l.portDrift([]ovsdb.Drift{{Name: "tuplenet-gnv", What: "port", Kind: "missing", Owner: "tunnel", Healed: true}, {Name: "x", What: "port", Kind: "foreign"}}, now)
	l.sysctlDrift([]string{"net/ipv4/conf/all/rp_filter"}, true, now)
	a := l.audit(apply.Stats{Passes: 3, LastPass: now})
	var texts []string
	for _, f := range slices.Backward(a.Last) {
		texts = append(texts, f.Text)
	}
	want := []string{
		"healed 3 flows of LR-edge1/lnat/snat_rule1",
		"healed flow of LS-1/lsp/lsp-1",
		"found altered: flow of LS-1",
		"healed flow of base",
		"removed foreign flow table=5 actions=drop",
		"healed group of LS-1",
		"healed meter 1",
		"healed TLV mapping {class=0xffee}",
		"healed port tuplenet-gnv",
		"found foreign: port x",
		"healed sysctl net/ipv4/conf/all/rp_filter",
	}
	if !slices.Equal(texts, want) {
		t.Errorf("%q", texts)
	}
	if a.Drift["missing"] != 7 || a.Drift["foreign"] != 2 || a.Drift["altered"] != 4 || a.Passes != 3 || a.LastMS != 77 || a.Mode != "heal" || a.IntervalMS != 60000 {
		t.Errorf("%+v", a)
	}
	if a.Last[len(a.Last)-1].Rule != "unknown-destination" || a.Last[len(a.Last)-1].Count != 3 {
		t.Errorf("%+v", a.Last[len(a.Last)-1])
	}
	for range 2 * keptFindings {
		l.switchDrift([]apply.Finding{flow(apply.Missing, "base/", true)}, now)
	}
	last := l.audit(apply.Stats{}).Last
	if !slices.ContainsFunc(last, func(f model.NodeFinding) bool { return f.What == apply.WhatTLV }) || last[0].What != apply.WhatFlow || len(last) != keptFindings {
		t.Errorf("flows hide what else was found: %d findings, the newest %+v", len(last), last[0])
	}
	for range 2 * keptFindings {
		l.sysctlDrift([]string{"p"}, true, now)
	}
	if n := len(l.audit(apply.Stats{}).Last); n != keptFindings {
		t.Errorf("%d findings kept", n)
	}
}
