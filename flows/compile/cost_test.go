package compile_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"tuplenet/flows/compile"
	"tuplenet/flows/memo"
	"tuplenet/model"
)

// twoTenants is a network of two tenants that share nothing, each with so many ports on two switches behind a router. Host hv1 has
// ports of the first one, hv2 has the others and those of the second one.
func twoTenants(t *testing.T, first, second int) *world {
	t.Helper()
	var b strings.Builder
	b.WriteString("chassis hv1 192.0.2.1\nchassis hv2 192.0.2.2\n")
	for tenant, ports := range []int{first, second} {
		fmt.Fprintf(&b, "router R%d %d\n", tenant, 10+tenant)
		for side := range 2 {
			ls := fmt.Sprintf("S%d%d", tenant, side)
			fmt.Fprintf(&b, "switch %s %d\nlink R%d %s 10.%d.0.1/16\n", ls, 1+2*tenant+side, tenant, ls, side)
			for i := range ports {
				fmt.Fprintf(&b, "port %s p-%s-%d f2:01:0%d:0%d:%02x:%02x 10.%d.1.%d\n", ls, ls, i, tenant, side, i>>8, i&255, side, i)
				host := "hv2"
				if tenant == 0 && i == 0 {
					host = "hv1"
				}
				fmt.Fprintf(&b, "bind p-%s-%d %s\n", ls, i, host)
			}
		}
	}
	return parse(t, b.String())
}

// edit gives a port another address, and tells what that cost an engine: how many functions ran, and how many outputs are different.
func edit(w *world, e *memo.Engine[compile.Output], ls, port string) (runs uint64, changes int) {
	p := *fact[*model.LogicalSwitchPort](w, model.Ref{Kind: model.KindSwitchPort, Parent: ls, Name: port})
	p.IPs = append(p.IPs[:0:0], p.IPs[0].Prev())
	before := e.Stats()
	e.Set(compile.FactKey(p.Ref()), &p)
	changes = len(e.Update())
	after := e.Stats()
	return after.DerivedRuns + after.UnitRuns - before.DerivedRuns - before.UnitRuns, changes
}

// Nobody compiles for others: what a host compiles is what its own ports can reach, and a change costs it what the change is about.
func TestP01_AHostCompilesWhatItsPortsReachAndAChangeCostsWhatItTouches(t *testing.T) {
	small := compileFacts(twoTenants(t, 5, 5).see("hv1"))
	w := twoTenants(t, 5, 200)
	beside := compileFacts(w.see("hv1"))
	if a, b := small.Stats(), beside.Stats(); a.Units != b.Units || a.Derived != b.Derived {
		t.Errorf("with 10 ports of somebody else the host compiles %d outputs of %d values, with 400 %d of %d", a.Units, a.Derived, b.Units, b.Derived)
	}
	if runs, changes := edit(w, beside, "S10", "p-S10-7"); runs != 0 || changes != 0 {
		t.Errorf("a change of somebody else's port made the host run %d functions and change %d outputs", runs, changes)
	}
	fewRuns, few := edit(w, beside, "S00", "p-S00-3")
	large := twoTenants(t, 200, 5)
	manyRuns, many := edit(large, compileFacts(large.see("hv1")), "S00", "p-S00-3")
	if few == 0 || few != many || fewRuns != manyRuns {
		t.Errorf("a port's other address changed %d outputs by %d functions among 10 ports, %d by %d among 400", few, fewRuns, many, manyRuns)
	}
}

// With flows on demand a port elsewhere concerns a host by the chassis that is on the switch because of it, if it is the first there, or was the last.
func TestP01_AHostComputesNothingForAPortThatBringsNoChassisToASwitch(t *testing.T) {
	w := twoTenants(t, 5, 5)
	e := compileFacts(w.see("hv1"))
	node := compile.Node{Chassis: "hv1", IPs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, TunnelPort: 1, OnDemand: true}
	e.Set(memo.Key{Kind: compile.KindNode}, node)
	c := &model.Chassis{Name: "hv3", IPs: []netip.Addr{netip.MustParseAddr("192.0.2.3")}}
	e.Set(compile.FactKey(c.Ref()), c)
	e.Update()
	at := model.Ref{Kind: model.KindSwitchPort, Parent: "S00", Name: "p-S00-3"}
	p := *fact[*model.LogicalSwitchPort](w, at)
	p.Name, p.Key, p.MAC = "new", 900, model.MAC{2, 0, 0, 0, 9, 0}
	p.IPs = []netip.Addr{netip.MustParseAddr("10.0.9.0")}
	bind := func(chassis string) memo.Key {
		b := &model.Binding{Port: p.Name, Chassis: chassis}
		e.Set(compile.FactKey(b.Ref()), b)
		return compile.FactKey(b.Ref())
	}
	for _, s := range []struct {
		what    string
		do      func()
		touches bool
	}{
		{"a port that is nowhere", func() { e.Set(compile.FactKey(p.Ref()), &p) }, false},
		{"its binding to a chassis that is on the switch", func() { bind("hv2") }, false},
		{"its move to one that is not", func() { bind("hv3") }, true},
		{"its move back", func() { bind("hv2") }, true},
		{"the end of the binding", func() { e.Delete(bind("hv2")) }, false},
		{"the end of the port", func() { e.Delete(compile.FactKey(p.Ref())) }, false},
	} {
		before := e.Stats()
		s.do()
		changes := e.Update()
		after := e.Stats()
		runs := after.DerivedRuns + after.UnitRuns - before.DerivedRuns - before.UnitRuns
		if touched := len(changes) > 0; touched != s.touches || !s.touches && runs > 0 {
			t.Errorf("%s made the host run %d functions and change %d outputs", s.what, runs, len(changes))
		}
	}
	if ch := e.Recompute(); len(ch) > 0 {
		t.Errorf("compiling anew changed %v", ch[0].Unit)
	}
}
