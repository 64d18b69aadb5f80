package compile_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"tuplenet/flows/compile"
	"tuplenet/flows/memo"
	"tuplenet/model"
)

// edgesUsed are the edges that the default route of LR-central leads to on alice.
func (w *world) edgesUsed() string {
	var edges []string
	for n := 1; n <= 2; n++ {
		port := w.facts[compile.FactKey(model.Ref{Kind: model.KindRouterPort, Parent: "LR-central", Name: fmt.Sprintf("LR-central_to_m%d", n)})]
		if port == nil {
			continue
		}
		out := fmt.Sprintf("set_field:%#x->reg15,set_field:0x640a0a02->reg0", port.(*model.LogicalRouterPort).Key)
		if slices.ContainsFunc(compiled(w.engine("alice")), func(l string) bool {
			return strings.Contains(l, out) && !strings.Contains(l, "symmetric") && !w.isReturn(l)
		}) {
			edges = append(edges, fmt.Sprintf("edge%d", n))
		}
	}
	return strings.Join(edges, " ")
}

// isReturn tells whether a line is a group of symmetric return, which knows all ways.
func (w *world) isReturn(line string) bool { return strings.Contains(line, "type=ff") }

// engine compiles what a chassis knows.
func (w *world) engine(chassis string, more ...map[memo.Key]any) *memo.Engine[compile.Output] {
	e := compile.New()
	for _, facts := range append([]map[memo.Key]any{w.see(chassis)}, more...) {
		for k, v := range facts {
			e.Set(k, v)
		}
	}
	e.Update()
	return e
}

// carried are the ports that a chassis would bind for its routers.
func (w *world) carried(chassis string) string {
	var ports []string
	w.engine(chassis).Outputs(func(_ memo.Unit, o compile.Output) { ports = append(ports, o.Seldom().Carries...) })
	slices.Sort(ports)
	return strings.Join(ports, " ")
}

// bindCarried writes the bindings as the edges do.
func (w *world) bindCarried() {
	for _, edge := range []string{"edge1", "edge2"} {
		for _, port := range strings.Fields(w.carried(edge)) {
			w.put(&model.Binding{Port: port, Chassis: edge})
		}
	}
}

// The tutorial writes the route to the second edge before the edge's own routes, its patch port and its NAT rule.
func TestT41_TrafficGoesToASecondEdgeOnlyWhenThatIsFinished(t *testing.T) {
	ar, err := txtar.ParseFile("testdata/edges.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var first, second []string
	for line := range strings.Lines(section(ar, "intent")) {
		if strings.Contains(line, "float") && !strings.HasPrefix(line, "bind") && !strings.HasPrefix(line, "port") {
			continue
		}
		if strings.Contains(line, "m2") || strings.Contains(line, "side2") || strings.Contains(line, "edge2 ") && !strings.HasPrefix(line, "gateway") && !strings.HasPrefix(line, "watched") || strings.Contains(line, "router LR-edge2") {
			second = append(second, line)
		} else {
			first = append(first, line)
		}
	}
	for name, order := range map[string][]string{"as written": second, "the route last": later(second, "to_outside2"), "NAT first, where it can be": later(later(second, "outside2"), "patchport")} {
		w := parse(t, strings.Join(first, ""))
		for i, line := range order {
			w.do(t, line)
			w.bindCarried()
			want := "edge1"
			if i == len(order)-1 {
				want = "edge1 edge2"
			}
			if got := w.edgesUsed(); got != want {
				t.Errorf("%s: after %q alice sends to %s, want %s", name, strings.TrimSpace(line), got, want)
			}
		}
		if got := w.carried("edge2"); got != "m2_to_LR-edge2" {
			t.Errorf("%s: edge 2 carries %q", name, got)
		}
		// It is taken back as it came: without a rule of its own it is no way beside one that translates.
		delete(w.facts, compile.FactKey(model.Ref{Kind: model.KindNAT, Parent: "LR-edge2", Name: "snat_rule2"}))
		if got := w.edgesUsed(); got != "edge1" {
			t.Errorf("%s: without NAT at edge 2 alice sends to %s", name, got)
		}
		delete(w.facts, compile.FactKey(model.Ref{Kind: model.KindNAT, Parent: "LR-edge1", Name: "snat_rule1"}))
		if got := w.edgesUsed(); got != "edge1 edge2" {
			t.Errorf("%s: without any NAT alice sends to %s", name, got)
		}
	}
}

// do executes one line.
func (w *world) do(t *testing.T, line string) {
	t.Helper()
	if err := w.command(strings.Fields(line)); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
}

// later moves the lines with a word to the end.
func later(lines []string, word string) []string {
	var head, tail []string
	for _, l := range lines {
		if strings.Contains(l, word) {
			tail = append(tail, l)
		} else {
			head = append(head, l)
		}
	}
	return append(head, tail...)
}

func TestUntilAnyEdgeWasReachableTheFirstIsUsed(t *testing.T) {
	ar, err := txtar.ParseFile("testdata/edges.txtar")
	if err != nil {
		t.Fatal(err)
	}
	w := parse(t, section(ar, "intent"))
	watched := func(edge string, port uint32, isNew bool) map[memo.Key]any {
		return map[memo.Key]any{{Kind: compile.KindWatched, ID: edge}: compile.Watched{OFPort: port, New: isNew}}
	}
	selects := func(facts ...map[memo.Key]any) (lines []string) {
		for _, l := range compiled(w.engine("alice", facts...)) {
			if strings.Contains(l, "type=select") {
				lines = append(lines, l)
			}
		}
		return lines
	}
	if got := selects(watched("edge1", 11, true), watched("edge2", 12, true)); len(got) != 0 {
		t.Errorf("nobody was reachable yet, and packets are spread: %q", got)
	}
	got := selects(watched("edge1", 11, false), watched("edge2", 12, true))
	got = slices.DeleteFunc(got, func(l string) bool { return !strings.Contains(l, "watch_port") })
	if len(got) != 1 || !strings.Contains(got[0], "watch_port:11") || !strings.Contains(got[0], "watch_port:12") {
		t.Errorf("one was reachable: %q", got)
	}
}

func TestT26_ARouterPinnedToAChassisThatIsNoGatewayIsAProblemThereAndForThoseWhoWouldSend(t *testing.T) {
	ar, err := txtar.ParseFile("testdata/edges.txtar")
	if err != nil {
		t.Fatal(err)
	}
	w := parse(t, strings.ReplaceAll(section(ar, "intent"), "gateway edge1", "chassis edge1"))
	for _, chassis := range []string{"edge1", "alice", "edge2"} {
		lines := compiled(w.engine(chassis))
		if !slices.Contains(lines, `problem router/LR-edge1: pinned to chassis "edge1", which is not a gateway (start its daemon with GATEWAY=1)`) {
			t.Errorf("%s says nothing of it", chassis)
		}
		if slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, "192.168.1.30") && strings.Contains(l, "nat(") }) {
			t.Errorf("%s translates for it", chassis)
		}
	}
}
