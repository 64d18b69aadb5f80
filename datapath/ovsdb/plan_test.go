package ovsdb

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// viewOf makes a view of one bridge with the given ports; a name with a * carries our owner key.
func viewOf(bridge *bridgeRow, ports ...string) *view {
	v := newView()
	rows := map[rowID]any{{tableRoot, "root"}: &rootRow{UUID: "root", Bridges: []string{bridge.UUID}}}
	for _, name := range ports {
		name, ours := strings.CutSuffix(name, "*")
		p := &portRow{UUID: "p-" + name, Name: name, Interfaces: []string{"i-" + name}}
		i := &ifaceRow{UUID: "i-" + name, Name: name}
		if ours {
			p.ExternalIDs = map[string]string{OwnerKey: defaultOwner}
			i.ExternalIDs = map[string]string{OwnerKey: defaultOwner}
		}
		bridge.Ports = append(bridge.Ports, p.UUID)
		rows[rowID{tablePort, p.UUID}], rows[rowID{tableInterface, i.UUID}] = p, i
	}
	rows[rowID{tableBridge, bridge.UUID}] = bridge
	v.update(rows)
	return v
}

func goodBridge() *bridgeRow {
	b := newBridge(&Desired{Bridge: "br-int", DatapathType: "netdev"})
	b.UUID = "b"
	return &b
}

func describe(steps []step) string {
	var out []string
	for _, st := range steps {
		out = append(out, fmt.Sprintf("%s %s", st.action, st.name))
	}
	return strings.Join(out, ", ")
}

func TestThePlanMakesOnlyTheDifference(t *testing.T) {
	standalone := goodBridge()
	standalone.FailMode = nil
	bond := viewOf(goodBridge(), "a*")
	bond.ports["p-a"].Interfaces = []string{"i-a", "i-b"}
	bond.update(map[rowID]any{{tableInterface, "i-b"}: &ifaceRow{UUID: "i-b", Name: "b"}})
	both := func(name string, ports ...string) *view {
		v := viewOf(&bridgeRow{UUID: "o", Name: name}, ports...)
		v.update(map[rowID]any{{tableBridge, "b"}: goodBridge()})
		return v
	}
	other := viewOf(&bridgeRow{UUID: "o", Name: "br-other"}, "a*")
	for name, c := range map[string]struct {
		view    *view
		want    []Port
		steps   string
		refused []string
	}{
		"nothing to do": {viewOf(goodBridge(), "a*", "vm"), []Port{{Name: "a"}}, "", nil},
		"a missing bridge comes before its ports":     {newView(), []Port{{Name: "a"}}, "create bridge br-int", nil},
		"a bridge that lets go when we are away":      {viewOf(standalone), nil, "correct bridge br-int", nil},
		"a missing port":                              {viewOf(goodBridge(), "b*"), []Port{{Name: "a"}, {Name: "b"}}, "create port a", nil},
		"a port of other type":                        {viewOf(goodBridge(), "a*"), []Port{{Name: "a", Type: "geneve"}}, "correct port a", nil},
		"a port with another number":                  {viewOf(goodBridge(), "a*"), []Port{{Name: "a", OFPortRequest: 3}}, "correct port a", nil},
		"a port no longer wanted, among foreign ones": {viewOf(goodBridge(), "a*", "vm", "eth0"), nil, "delete port a", nil},
		"our port on another bridge is moved":         {other, []Port{{Name: "a"}}, "create bridge br-int, delete port a", nil},
		"our port made a bond is made anew":           {bond, []Port{{Name: "a"}}, "delete port a", nil},
		"a foreign port of that name":                 {viewOf(goodBridge(), "a"), []Port{{Name: "a"}, {Name: "b"}}, "create port b", []string{"a"}},
		"the same name twice":                         {viewOf(goodBridge()), []Port{{Name: "a"}, {Name: "a"}}, "create port a", []string{"a"}},
		"a port on a bridge of the operator":          {both("outer"), []Port{{Name: "a", Bridge: "outer"}, {Name: "b"}}, "create port a, create port b", nil},
		"a port that is there on such a bridge":       {both("outer", "a*"), []Port{{Name: "a", Bridge: "outer"}}, "", nil},
		"a port no longer wanted on such a bridge":    {both("outer", "a*", "eth1"), nil, "delete port a", nil},
		"a port that is to change its bridge":         {both("outer", "a*"), []Port{{Name: "a"}}, "delete port a", nil},
		"a bridge that the operator has not made":     {viewOf(goodBridge()), []Port{{Name: "a", Bridge: "outer"}, {Name: "b"}}, "create port b", []string{"a"}},
		"our port's bridge is missing, it is astray":  {viewOf(goodBridge(), "a*"), []Port{{Name: "a", Bridge: "outer"}}, "delete port a", nil},
		"a foreign port of that name, elsewhere":      {both("outer", "a"), []Port{{Name: "a"}}, "", []string{"a"}},
		"the integration bridge by its name":          {viewOf(goodBridge(), "a*"), []Port{{Name: "a", Bridge: "br-int"}}, "", nil},
		"the name of the operator's bridge":           {both("outer", "outer"), []Port{{Name: "outer", Bridge: "outer"}}, "", []string{"outer"}},
		"the name of the bridge":                      {viewOf(goodBridge()), []Port{{Name: "br-int"}}, "", []string{"br-int"}},
	} {
		t.Run(name, func(t *testing.T) {
			steps, refused := c.view.plan(&Desired{Bridge: "br-int", DatapathType: "netdev", Ports: c.want})
			if got := describe(steps); got != c.steps {
				t.Errorf("steps: %q, want %q", got, c.steps)
			}
			if got := slices.Sorted(maps.Keys(refused)); !slices.Equal(got, c.refused) {
				t.Errorf("refused: %v, want %v", refused, c.refused)
			}
		})
	}
}

// The rows of one transaction are not always read at once. Neither half may be taken for what somebody wants to have.
func TestAPortOfWhichHalfTheRowsAreReadIsWaitedFor(t *testing.T) {
	d := &Desired{Bridge: "br-int", DatapathType: "netdev", Ports: []Port{{Name: "a"}}}
	expect := func(v *view, when, want string) {
		t.Helper()
		if steps, refused := v.plan(d); describe(steps) != want || len(refused) != 0 || !v.replan {
			t.Errorf("%s: steps %q, refused %v, planned for %v; want %q", when, describe(steps), refused, v.replan, want)
		}
		v.replan = false
	}
	v := viewOf(goodBridge(), "a*")
	expect(v, "as it is", "")
	port, iface := v.ports["p-a"], v.ifaces["i-a"]
	v.update(map[rowID]any{{tableBridge, "b"}: goodBridge(), {tablePort, "p-a"}: nil})
	expect(v, "its port went", "")
	v.update(map[rowID]any{{tableInterface, "i-a"}: nil})
	expect(v, "its interface, too", "create port a")
	with := goodBridge()
	with.Ports = []string{"p-a"}
	v.update(map[rowID]any{{tableBridge, "b"}: with, {tablePort, "p-a"}: port})
	expect(v, "its port came", "")
	v.update(map[rowID]any{{tableInterface, "i-a"}: iface})
	expect(v, "its interface, too", "")
}

func TestAChangeOfOneInterfaceLeavesTheOthersPointersAndOldFactsAlone(t *testing.T) {
	v := viewOf(goodBridge(), "a*", "vm1", "vm2")
	before := v.facts
	port := 5
	changed := v.update(map[rowID]any{{tableInterface, "i-vm1"}: &ifaceRow{UUID: "i-vm1", Name: "vm1", OFPort: &port}})
	if !changed || v.facts.Interfaces["vm1"].OFPort != 5 || v.facts.Interfaces["vm2"] != before.Interfaces["vm2"] {
		t.Errorf("changed %v, %+v", changed, v.facts.Interfaces["vm1"])
	}
	if before.Interfaces["vm1"].OFPort != OFPortUnknown {
		t.Error("facts handed out before have changed")
	}
	if v.update(map[rowID]any{{tableInterface, "i-vm1"}: &ifaceRow{UUID: "i-vm1", Name: "vm1", OFPort: &port}}) {
		t.Error("a row that is the same counts as a change")
	}
	for uuid := range v.ifaces {
		v.update(map[rowID]any{{tableInterface, uuid}: nil})
	}
	if len(v.facts.Interfaces) != 0 {
		t.Errorf("interfaces left: %v", v.facts.Interfaces)
	}
}

func TestAnInterfaceMadeAgainUnderItsNameSurvivesTheEndOfItsOldRow(t *testing.T) {
	v := viewOf(goodBridge(), "vm1")
	v.update(map[rowID]any{{tableInterface, "new"}: &ifaceRow{UUID: "new", Name: "vm1", Type: "internal"}})
	v.update(map[rowID]any{{tableInterface, "i-vm1"}: nil})
	if i := v.facts.Interfaces["vm1"]; i == nil || i.Type != "internal" {
		t.Errorf("interface = %+v", i)
	}
}

func BenchmarkOneInterfaceOfAThousandChanges(b *testing.B) {
	names := make([]string, 1000)
	for i := range names {
		names[i] = fmt.Sprint("vm", i)
	}
	v := viewOf(goodBridge(), names...)
	port := 0
	b.ReportAllocs()
	for b.Loop() {
		port++
		p := port
		v.update(map[rowID]any{{tableInterface, "i-vm7"}: &ifaceRow{UUID: "i-vm7", Name: "vm7", OFPort: &p}})
	}
}
