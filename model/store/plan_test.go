package store

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"tuplenet/model"
)

// documents reads objects written as a person would.
func documents(t *testing.T, text string) []model.Object {
	t.Helper()
	var b strings.Builder
	for line := range strings.Lines(text) {
		if f := strings.SplitN(strings.TrimSpace(line), " ", 3); len(f) == 3 {
			fmt.Fprintf(&b, "---\napiVersion: tuplenet/v1\nkind: %s\nmetadata: %s\nspec: %s\n", f[0], f[1], f[2])
		}
	}
	out, err := model.ReadDocuments(strings.NewReader(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func planText(p *Plan) string {
	var lines []string
	for _, s := range p.Steps {
		line := string(s.Verb) + " " + s.Ref.String()
		if s.Verb == VerbUpdate {
			for _, f := range s.Fields() {
				line += fmt.Sprintf(" %s:%s>%s", f.Field, f.Old, f.New)
			}
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func apply(t *testing.T, s *Store, text string, prune func(model.Object) bool) string {
	t.Helper()
	p, err := s.Plan(t.Context(), documents(t, text), prune)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Carry(t.Context(), p, nil); err != nil {
		t.Fatalf("%v\n%s", err, planText(p))
	}
	return planText(p)
}

func exported(t *testing.T, s *Store) string {
	t.Helper()
	snap, err := s.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var objects []model.Object
	for _, o := range snap.Objects {
		objects = append(objects, o)
	}
	var b bytes.Buffer
	if err := model.WriteDocuments(&b, 0, objects); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

const aNetwork = `
LogicalSwitch {"name":"A"} {"subnets":["10.0.0.0/24"]}
LogicalSwitch {"name":"B"} {}
LogicalRouter {"name":"R"} {}
LogicalRouterPort {"name":"R_to_A","router":"R"} {"networks":["10.0.0.1/24"],"peer":"A_to_R"}
LogicalSwitchPort {"name":"A_to_R","switch":"A"} {"type":"router","ips":["10.0.0.1"],"peer":"R_to_A"}
LogicalSwitchPort {"name":"p","switch":"A","tags":["red"]} {"ips":["10.0.0.9"]}
LogicalSwitchPort {"name":"q","switch":"A"} {"ips":["10.0.0.10"],"mac":"f2:01:0a:00:00:63"}
LogicalSwitchPort {"name":"auto","switch":"A"} {}
StaticRoute {"name":"d","router":"R"} {"prefix":"0.0.0.0/0","nextHop":"10.0.0.254","outPort":"R_to_A"}
NATRule {"name":"n","router":"R"} {"type":"snat","prefix":"10.0.0.0/24","external":"192.0.2.1"}
`

func TestT64_WhatIsAppliedAgainChangesNothing(t *testing.T) {
	s := newStore(t)
	if got := apply(t, s, aNetwork, nil); strings.Count(got, "create") != 10 || strings.Contains(got, "update") {
		t.Errorf("the first time:\n%s", got)
	}
	snap, err := s.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p := snap.Objects[model.Ref{Kind: model.KindSwitchPort, Parent: "A", Name: "auto"}].(*model.LogicalSwitchPort)
	if len(p.IPs) != 1 || p.IPs[0] != netip.MustParseAddr("10.0.0.2") {
		t.Errorf("automatic address: %v", p.IPs)
	}
	before := exported(t, s)
	everything := func(model.Object) bool { return true }
	if got := apply(t, s, aNetwork, everything); got != "" {
		t.Errorf("the second time:\n%s", got)
	}
	objects, err := model.ReadDocuments(strings.NewReader(before))
	if err != nil {
		t.Fatal(err)
	}
	if plan, err := s.Plan(t.Context(), objects, everything); err != nil || len(plan.Steps) != 0 {
		t.Errorf("what was exported: %v\n%s", err, planText(plan))
	}
}

func TestT64_AWipedStoreIsTheSameAfterApplyingItsExport(t *testing.T) {
	s := newStore(t)
	apply(t, s, aNetwork, nil)
	if _, err := s.DeleteSwitch(t.Context(), "B", false); err != nil { // leaves a gap in the numbers
		t.Fatal(err)
	}
	if _, err := s.PutChassis(t.Context(), &model.Chassis{Name: "hv1", IPs: addrs("192.0.2.9"), Encaps: []model.Encap{model.EncapGeneve}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Bind(t.Context(), "p", "hv1", 0); err != nil {
		t.Fatal(err)
	}
	before, keys := exported(t, s), strings.Join(keysOf(t, s), "\n")
	objects, err := model.ReadDocuments(strings.NewReader(before))
	if err != nil {
		t.Fatal(err)
	}
	fresh := newStore(t)
	plan, err := fresh.Plan(t.Context(), objects, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fresh.Carry(t.Context(), plan, nil); err != nil {
		t.Fatal(err)
	}
	if got := exported(t, fresh); got != before {
		t.Errorf("got\n%s\nwant\n%s", got, before)
	}
	if got := strings.Join(keysOf(t, fresh), "\n"); got != keys {
		t.Errorf("keys, claims among them:\n%s\nwant\n%s", got, keys)
	}
}

func TestObjectsThatExchangeAddressesAreUpdatedTogether(t *testing.T) {
	s := newStore(t)
	apply(t, s, aNetwork, nil)
	got := apply(t, s, `
LogicalSwitchPort {"name":"p","switch":"A","tags":["red"]} {"ips":["10.0.0.10"]}
LogicalSwitchPort {"name":"q","switch":"A"} {"ips":["10.0.0.9"],"mac":"f2:01:0a:00:00:63"}
`, nil)
	if want := `update switchport/A/p ips:["10.0.0.9"]>["10.0.0.10"]
update switchport/A/q ips:["10.0.0.10"]>["10.0.0.9"]`; got != want {
		t.Errorf("%s", got)
	}
	// Their claims follow: the old addresses are taken by the other one, a third is free.
	if _, _, err := s.AddSwitchPort(t.Context(), &model.LogicalSwitchPort{Switch: "A", Name: "r", IPs: addrs("10.0.0.9")}); err == nil ||
		!strings.Contains(err.Error(), "is used by switchport/A/q") {
		t.Errorf("%v", err)
	}
	apply(t, s, `LogicalSwitchPort {"name":"q","switch":"A"} {"ips":["10.0.0.77"],"mac":"f2:01:0a:00:00:63"}`, nil)
	if _, _, err := s.AddSwitchPort(t.Context(), &model.LogicalSwitchPort{Switch: "A", Name: "r", IPs: addrs("10.0.0.9")}); err != nil {
		t.Errorf("its former address: %v", err)
	}
}

func TestPruningDeletesWhatIsNotWantedChildrenFirst(t *testing.T) {
	s := newStore(t)
	apply(t, s, aNetwork, nil)
	red := func(o model.Object) bool {
		p, ok := o.(*model.LogicalSwitchPort)
		return ok && len(p.Tags) > 0 && p.Tags[0] == "red"
	}
	if got := apply(t, s, "", red); got != "delete switchport/A/p" {
		t.Errorf("%s", got)
	}
	// A route moves to another port, and the one that it led through goes: renamed, with the same addresses.
	got := apply(t, s, `
LogicalSwitch {"name":"C"} {}
LogicalRouter {"name":"R"} {}
LogicalRouterPort {"name":"new","router":"R"} {"networks":["10.0.9.1/24"]}
StaticRoute {"name":"d","router":"R"} {"prefix":"0.0.0.0/0","nextHop":"10.0.9.254","outPort":"new"}
`, func(model.Object) bool { return true })
	snap, err := s.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(snap.Objects) != 4 {
		t.Errorf("%d objects are left after\n%s", len(snap.Objects), got)
	}
	if keys := strings.Join(keysOf(t, s), " "); strings.Contains(keys, "10.0.0") || strings.Contains(keys, "R_to_A") {
		t.Errorf("claims are left: %s", keys)
	}
}

func TestAPlanThatIsOutOfDateIsRefused(t *testing.T) {
	s := newStore(t)
	apply(t, s, aNetwork, nil)
	wanted := documents(t, `LogicalSwitch {"name":"B"} {"mtu":1400}`)
	old, err := s.Plan(t.Context(), wanted, nil)
	if err != nil {
		t.Fatal(err)
	}
	apply(t, s, `LogicalSwitch {"name":"B"} {"mtu":1300}`, nil)
	_, err = s.Carry(t.Context(), old, nil)
	refused(t, err, ErrConflict, "switch/B or another object was changed meanwhile: plan again")
}

func TestAnUnusableObjectIsWrittenAnew(t *testing.T) {
	s := newStore(t)
	apply(t, s, aNetwork, nil)
	if _, err := raw(t, s).Put(t.Context(), s.keys.object(model.Ref{Kind: model.KindSwitchPort, Parent: "A", Name: "p"}), "{broken"); err != nil {
		t.Fatal(err)
	}
	apply(t, s, `LogicalSwitchPort {"name":"p","switch":"A"} {"ips":["10.0.0.50"]}`, nil)
	p, _, err := s.AddSwitchPort(t.Context(), &model.LogicalSwitchPort{Switch: "A", Name: "r", IPs: addrs("10.0.0.9")})
	if err != nil || p == nil {
		t.Errorf("the address that it had: %v", err)
	}
	_, _, err = s.AddSwitchPort(t.Context(), &model.LogicalSwitchPort{Switch: "A", Name: "x", IPs: addrs("10.0.0.50")})
	refused(t, err, ErrConflict, "conflict with other IP: 10.0.0.50 is used by switchport/A/p")
}
