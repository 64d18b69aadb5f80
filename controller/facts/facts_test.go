package facts_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tuplenet/controller/facts"
	"tuplenet/flows/compile"
	"tuplenet/flows/pipeline"
	"tuplenet/model"
	"tuplenet/model/store"
)

// world applies changes one after the other, each with the next revision.
type world struct {
	t testing.TB
	*facts.Facts
	rev int64
}

func newWorld(t testing.TB) *world { return &world{t: t, Facts: facts.New(), rev: 10} }

// put writes objects, all at one revision.
func (w *world) put(objects ...model.Object) {
	w.rev++
	u := store.Update{Revision: w.rev}
	for _, o := range objects {
		u.Changes = append(u.Changes, store.Change{Ref: o.Ref(), Object: o, Revision: w.rev})
	}
	w.Apply(u)
}

func (w *world) remove(ref model.Ref) {
	w.rev++
	w.Apply(store.Update{Revision: w.rev, Changes: []store.Change{{Ref: ref, Revision: w.rev}}})
}

func (w *world) spoil(ref model.Ref, why string) {
	w.rev++
	w.Apply(store.Update{Revision: w.rev, Changes: []store.Change{{Ref: ref, Revision: w.rev, Problem: why}}})
}

// expect compares the problems, each as "key: reason".
func (w *world) expect(when string, want ...string) {
	w.t.Helper()
	w.Update()
	if got := texts(w.Problems()); !slices.Equal(got, want) {
		w.t.Errorf("%s: problems\n  %s\nwant\n  %s", when, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func texts(problems []model.Problem) (out []string) {
	for _, p := range problems {
		out = append(out, p.Key+": "+p.Reason)
	}
	return out
}

func (w *world) inService(ref model.Ref) bool { return w.Object(ref) != nil }

func lswitch(name string, vni model.VNI) *model.LogicalSwitch {
	return &model.LogicalSwitch{Name: name, VNI: vni}
}

func vif(ls, name string, key model.PortKey, ip string) *model.LogicalSwitchPort {
	p := &model.LogicalSwitchPort{Switch: ls, Name: name, Key: key, Type: model.PortVIF, MAC: model.MAC{0xf2, 1, 0, 0, byte(key >> 8), byte(key)}}
	if ip != "" {
		p.IPs = []netip.Addr{netip.MustParseAddr(ip)}
	}
	return p
}

// link is the pair of ports that joins a router to a switch.
func link(lr, ls string, key model.PortKey, network string) (*model.LogicalRouterPort, *model.LogicalSwitchPort) {
	n := netip.MustParsePrefix(network)
	mac := model.MAC{0xf2, 2, 0, 0, 0, byte(key)}
	rp := &model.LogicalRouterPort{Router: lr, Name: lr + "_to_" + ls, Key: key, MAC: mac, Networks: []netip.Prefix{n}, Peer: ls + "_to_" + lr}
	sp := &model.LogicalSwitchPort{Switch: ls, Name: ls + "_to_" + lr, Key: key, MAC: mac, IPs: []netip.Addr{n.Addr()}, Type: model.PortRouter, Peer: rp.Name}
	return rp, sp
}

func TestTheObjectWrittenEarlierKeepsWhatTwoClaim(t *testing.T) {
	w := newWorld(t)
	w.put(lswitch("first", 7))
	w.put(lswitch("twin", 7))
	w.expect("with a twin", "switch/twin: vni/000007 is already held by switch/first")
	if !w.inService(lswitch("first", 0).Ref()) || w.inService(lswitch("twin", 0).Ref()) {
		t.Error("not the first is in service, or the twin is")
	}
	if got := w.Holder(model.ClaimVNI(7)); got == nil || got.Ref().Name != "first" {
		t.Errorf("the VNI is held by %v", got)
	}
}

func TestALoserComesBackWhenTheClaimIsFree(t *testing.T) {
	for name, free := range map[string]func(*world){
		"the holder is deleted":      func(w *world) { w.remove(lswitch("first", 0).Ref()) },
		"the holder is renumbered":   func(w *world) { w.put(lswitch("first", 8)) },
		"the loser is renumbered":    func(w *world) { w.put(lswitch("twin", 9)) },
		"the holder becomes invalid": func(w *world) { w.spoil(lswitch("first", 0).Ref(), "broken") },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.put(lswitch("first", 7))
			w.put(lswitch("twin", 7))
			free(w)
			if !w.inService(lswitch("twin", 0).Ref()) {
				t.Error("it does not come back")
			}
			for _, p := range w.Problems() {
				if p.Key == "switch/twin" {
					t.Errorf("still listed: %v", p)
				}
			}
		})
	}
}

func TestWhoIsOutOfServiceTakesNothingFromOthers(t *testing.T) {
	w := newWorld(t)
	w.put(lswitch("LS", 1))
	w.put(vif("LS", "a", 1, "10.0.0.1"))
	b := vif("LS", "b", 2, "10.0.0.1") // loses its address to a
	b.IPs = append(b.IPs, netip.MustParseAddr("10.0.0.2"))
	w.put(b)
	c := vif("LS", "c", 3, "10.0.0.2") // which b would have
	w.put(c)
	w.expect("a chain", "switchport/LS/b: ip/switch/LS/10.0.0.1 is already held by switchport/LS/a")
	w.remove(vif("LS", "a", 0, "").Ref())
	w.expect("the end of the chain is gone", "switchport/LS/c: ip/switch/LS/10.0.0.2 is already held by switchport/LS/b")
}

func TestInvalidObjectsAreListedUntilTheyAreValidOrGone(t *testing.T) {
	w := newWorld(t)
	w.spoil(model.Ref{Kind: model.KindSwitch, Name: "a"}, "not JSON")
	w.spoil(model.Ref{Kind: model.KindSwitch, Name: "b"}, `unknown field "colour"`)
	w.expect("two broken", "switch/a: not JSON", `switch/b: unknown field "colour"`)
	w.put(lswitch("a", 1))
	w.expect("one repaired", `switch/b: unknown field "colour"`)
	w.remove(model.Ref{Kind: model.KindSwitch, Name: "b"})
	w.expect("the other removed")
	w.spoil(model.Ref{Kind: model.KindSwitch, Name: "a"}, "broken again")
	w.expect("a valid one broken", "switch/a: broken again")
	if w.inService(lswitch("a", 0).Ref()) {
		t.Error("a broken object is in service")
	}
}

func TestACompleteStateForgetsEverythingElse(t *testing.T) {
	w := newWorld(t)
	w.put(lswitch("first", 7))
	w.put(lswitch("twin", 7), vif("first", "p", 1, "10.0.0.1"))
	w.spoil(model.Ref{Kind: model.KindSwitch, Name: "broken"}, "not JSON")
	w.Apply(store.Update{Reset: true, Revision: 99, Changes: []store.Change{{Ref: lswitch("twin", 7).Ref(), Object: lswitch("twin", 7), Revision: 12}}})
	w.expect("after the reset")
	if w.inService(lswitch("first", 0).Ref()) || !w.inService(lswitch("twin", 0).Ref()) {
		t.Error("the reset was not taken as the complete state")
	}
}

func TestOnlyWhatRefersToNothingDanglesAndOnlyCausesAreListed(t *testing.T) {
	fresh := func(t *testing.T) *world {
		w := newWorld(t)
		rp, sp := link("LR", "LS", 1, "10.0.0.254/24")
		w.put(lswitch("LS", 1), &model.LogicalRouter{Name: "LR", ID: 2}, rp, sp, vif("LS", "p", 5, "10.0.0.5"))
		w.expect("a whole network")
		return w
	}
	rp, sp := link("LR", "LS", 1, "10.0.0.254/24")
	for _, c := range []struct {
		name string
		do   func(*world)
		want []string
	}{
		{"a router port whose peer does not exist", func(w *world) {
			w.put(&model.LogicalRouterPort{Router: "LR", Name: "dangling", Key: 40, MAC: model.MAC{2, 0, 0, 0, 0, 9}, Networks: rp.Networks[:0], Peer: "nobody"})
		}, []string{`routerport/LR/dangling: peer "nobody" is not a switch port that has this port as its peer`}},
		{"a port of a switch that does not exist", func(w *world) { w.put(vif("nowhere", "q", 1, "10.0.0.7")) },
			[]string{`switchport/nowhere/q: switch "nowhere" does not exist`}},
		{"one side of a link deleted", func(w *world) { w.remove(rp.Ref()) },
			[]string{`switchport/LS/LS_to_LR: peer "LR_to_LS" is not a router port that has this port as its peer`}},
		{"one side of a link broken", func(w *world) { w.spoil(rp.Ref(), "not JSON") }, []string{"routerport/LR/LR_to_LS: not JSON"}},
		{"the other side of a link broken", func(w *world) { w.spoil(sp.Ref(), "not JSON") }, []string{"switchport/LS/LS_to_LR: not JSON"}},
		{"a switch with ports broken", func(w *world) { w.spoil(lswitch("LS", 0).Ref(), "not JSON") }, []string{"switch/LS: not JSON"}},
		{"a router with ports broken", func(w *world) { w.spoil(model.Ref{Kind: model.KindRouter, Name: "LR"}, "not JSON") }, []string{"router/LR: not JSON"}},
		{"a twin with ports", func(w *world) { w.put(lswitch("twin", 1)); w.put(vif("twin", "t", 1, "10.0.0.5")) },
			[]string{"switch/twin: vni/000001 is already held by switch/LS"}},
		{"a route through a port that does not exist", func(w *world) {
			w.put(&model.StaticRoute{Router: "LR", Name: "r", Prefix: netip.MustParsePrefix("0.0.0.0/0"), NextHop: netip.MustParseAddr("10.0.0.1"), OutPort: "nobody"})
		}, []string{`route/LR/r: out-port "nobody" does not exist on router "LR"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			// In scope, so that the compiler has its say too, and out of scope.
			for _, local := range []bool{false, true} {
				w := fresh(t)
				w.SetNode(compile.Node{Chassis: "me", IPs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, TunnelPort: 1})
				if local {
					w.SetInterfaces(map[string]compile.Interface{"p": {OFPort: 7}})
				}
				c.do(w)
				w.expect(fmt.Sprintf("local port %v", local), c.want...)
			}
		})
	}
}

func TestPortsDangleWhileTheirSwitchIsAwayWheneverTheyCame(t *testing.T) {
	w := newWorld(t)
	lost := func(ports ...string) (want []string) {
		for _, p := range ports {
			want = append(want, `switchport/LS/`+p+`: switch "LS" does not exist`)
		}
		return want
	}
	w.put(lswitch("LS", 1), vif("LS", "p1", 1, ""))
	w.expect("a switch with a port")
	w.put(vif("LS", "p2", 2, ""))
	w.put(vif("LS", "p3", 3, ""), vif("LS", "p4", 4, ""))
	w.expect("with more")
	w.remove(vif("LS", "p3", 3, "").Ref())
	w.remove(lswitch("LS", 1).Ref())
	w.expect("the switch is gone", lost("p1", "p2", "p4")...)
	w.put(vif("LS", "p5", 5, ""))
	w.remove(vif("LS", "p1", 1, "").Ref())
	w.expect("ports come and go", lost("p2", "p4", "p5")...)
	w.put(vif("LS", "p6", 6, ""))
	w.put(lswitch("LS", 1))
	w.put(vif("LS", "p7", 7, ""))
	w.expect("the switch is back")
	w.spoil(lswitch("LS", 1).Ref(), "not JSON")
	w.expect("the switch is broken", "switch/LS: not JSON")
	w.remove(lswitch("LS", 1).Ref())
	w.expect("the switch is gone again", lost("p2", "p4", "p5", "p6", "p7")...)
}

func TestWhatDanglesLeavesTheListWhenTheOtherEndComes(t *testing.T) {
	w := newWorld(t)
	rp, sp := link("LR", "LS", 1, "10.0.0.254/24")
	w.put(sp)
	w.put(rp)
	w.expect("ports without parents", `routerport/LR/LR_to_LS: router "LR" does not exist`, `switchport/LS/LS_to_LR: switch "LS" does not exist`)
	w.put(lswitch("LS", 1))
	w.put(&model.LogicalRouter{Name: "LR", ID: 2})
	w.expect("all there")
}

func TestInterfacesAreACompleteSet(t *testing.T) {
	w := newWorld(t)
	w.SetNode(compile.Node{Chassis: "me", TunnelPort: 1})
	w.put(lswitch("LS", 1), vif("LS", "a", 1, "10.0.0.1"), vif("LS", "b", 2, "10.0.0.2"))
	local := func() (names []string) {
		for _, c := range w.Update() {
			if c.Unit.Feature == "local" && !c.Gone {
				names = append(names, c.Unit.ID)
			}
		}
		return names
	}
	w.SetInterfaces(map[string]compile.Interface{"a": {OFPort: 1}, "b": {OFPort: 2}})
	if got := local(); !slices.Equal(got, []string{"LS/a", "LS/b"}) {
		t.Errorf("units of local ports: %v", got)
	}
	w.SetInterfaces(map[string]compile.Interface{"b": {OFPort: 2}})
	for _, c := range w.Update() {
		if c.Unit.ID == "LS/b" && c.Unit.Feature == "local" {
			t.Error("an interface that stays is compiled again")
		}
		if c.Unit.ID == "LS/a" && c.Unit.Feature == "local" && !c.Gone {
			t.Error("an interface that left is not gone")
		}
	}
}

// A port whose interface came here is here before its binding says so, until the store says anything else than it did then.
func TestAClaimedPortIsHereUntilTheStoreSaysOtherwise(t *testing.T) {
	ref := model.Ref{Kind: model.KindBinding, Name: "a"}
	at := func(chassis string) *model.Binding { return &model.Binding{Port: "a", Chassis: chassis} }
	for _, c := range []struct {
		name string
		then func(w *world)
		want bool
	}{
		{"nothing is said", func(*world) {}, true},
		{"the binding is written", func(w *world) { w.put(at("me")) }, true},
		{"another took the port meanwhile", func(w *world) { w.put(at("c")) }, false},
		{"the chassis that had it took it back", func(w *world) { w.put(at("b")) }, false},
		{"the binding is written and then another's", func(w *world) { w.put(at("me")); w.put(at("c")) }, false},
		{"the binding is deleted", func(w *world) { w.remove(ref) }, true},
		{"the binding is spoilt", func(w *world) { w.spoil(ref, "not JSON") }, true},
		{"the store is read again as it is", func(w *world) {
			w.Apply(store.Update{Reset: true, Revision: w.rev, Changes: []store.Change{{Ref: lswitch("LS", 1).Ref(), Object: lswitch("LS", 1), Revision: 11},
				{Ref: vif("LS", "a", 1, "").Ref(), Object: vif("LS", "a", 1, "10.0.0.1"), Revision: 11}, {Ref: ref, Object: at("b"), Revision: w.rev}}})
		}, true},
		{"the store is replaced by an older one", func(w *world) {
			w.Apply(store.Update{Reset: true, Revision: 8, Changes: []store.Change{{Ref: lswitch("LS", 1).Ref(), Object: lswitch("LS", 1), Revision: 5},
				{Ref: vif("LS", "a", 1, "").Ref(), Object: vif("LS", "a", 1, "10.0.0.1"), Revision: 5}, {Ref: ref, Object: at("b"), Revision: 6}}})
		}, false},
		{"the interface left", func(w *world) { w.Unclaim("a") }, false},
		{"the interface left after the binding was written", func(w *world) { w.put(at("me")); w.Unclaim("a"); w.put(at("b")) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.SetNode(compile.Node{Chassis: "me", TunnelPort: 1})
			w.put(lswitch("LS", 1), vif("LS", "a", 1, "10.0.0.1"))
			w.put(at("b"))
			w.SetInterfaces(map[string]compile.Interface{"a": {OFPort: 5}})
			here := false
			update := func() {
				for _, c := range w.Update() {
					if c.Unit.Feature == "port" {
						here = slices.ContainsFunc(c.New.Flows, func(f pipeline.Flow) bool { return f.Rule == pipeline.ToLocalPort.ID })
					}
				}
			}
			if update(); here {
				t.Fatal("a port that another chassis has is here by its interface alone")
			}
			w.Claim("a")
			if update(); !here {
				t.Fatal("a claimed port is not here")
			}
			c.then(w)
			if update(); here != c.want {
				t.Errorf("the port is here: %v", here)
			}
			if changes := w.Recompute(); len(changes) > 0 {
				t.Errorf("incremental compilation missed %v", changes)
			}
		})
	}
}

// What is in service depends on the contents of the store alone.
func TestTheOrderOfChangesDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		final := map[model.Ref]store.Change{}
		var history []store.Change
		for rev := int64(1); rev <= int64(rapid.IntRange(1, 25).Draw(rt, "changes")); rev++ {
			c := randomChange(rt)
			c.Revision = rev
			history = append(history, c)
			final[c.Ref] = c
			if c.Object == nil && c.Problem == "" {
				delete(final, c.Ref)
			}
		}
		step := facts.New()
		for _, c := range history {
			step.Apply(store.Update{Revision: c.Revision, Changes: []store.Change{c}})
			if rapid.Bool().Draw(rt, "compile") {
				step.Update()
			}
		}
		list := slices.Collect(maps.Values(final))
		slices.SortFunc(list, func(a, b store.Change) int { return strings.Compare(a.Ref.String(), b.Ref.String()) })
		shuffled := rapid.Permutation(list).Draw(rt, "order")
		atOnce, oneByOne, colliding := facts.New(), facts.New(), facts.NewColliding()
		atOnce.Apply(store.Update{Reset: true, Changes: shuffled})
		for _, c := range shuffled {
			oneByOne.Apply(store.Update{Changes: []store.Change{c}})
		}
		for _, c := range history {
			colliding.Apply(store.Update{Changes: []store.Change{c}})
		}
		for _, f := range []*facts.Facts{step, atOnce, oneByOne, colliding} {
			f.Update()
			if changes := f.Recompute(); len(changes) > 0 {
				rt.Fatalf("incremental compilation missed %v", changes)
			}
		}
		want := describe(atOnce, final)
		for name, f := range map[string]*facts.Facts{"as it happened": step, "one by one": oneByOne, "with equal hashes": colliding} {
			if got := describe(f, final); got != want {
				rt.Fatalf("%s:\n%s\nat once:\n%s", name, got, want)
			}
		}
	})
}

// describe is who is in service, and the problems.
func describe(f *facts.Facts, all map[model.Ref]store.Change) string {
	var lines []string
	for ref := range all {
		lines = append(lines, fmt.Sprintf("%s in service: %v", ref, f.Object(ref) != nil))
	}
	for _, c := range all {
		if c.Object == nil {
			continue
		}
		for _, claim := range model.Claims(c.Object) {
			if o := f.Holder(claim); o != nil {
				lines = append(lines, fmt.Sprintf("%s holds %s", o.Ref(), claim))
			}
		}
	}
	slices.Sort(lines)
	return strings.Join(append(lines, texts(f.Problems())...), "\n")
}

// randomChange makes one of few objects, with claims that collide often.
func randomChange(rt *rapid.T) store.Change {
	number := func(what string) int { return rapid.IntRange(1, 3).Draw(rt, what) }
	var o model.Object
	switch rapid.IntRange(0, 3).Draw(rt, "kind") {
	case 0:
		o = lswitch(fmt.Sprint("LS", number("name")), model.VNI(number("vni")))
	case 1:
		o = &model.LogicalRouter{Name: fmt.Sprint("LR", number("name")), ID: model.VNI(number("id"))}
	case 2:
		o = vif(fmt.Sprint("LS", number("switch")), fmt.Sprint("p", number("name")), model.PortKey(number("key")), fmt.Sprint("10.0.0.", number("ip")))
	default:
		rp, sp := link(fmt.Sprint("LR", number("router")), fmt.Sprint("LS", number("switch")), model.PortKey(number("key")), "10.0.0.9/24")
		o = rp
		if rapid.Bool().Draw(rt, "side") {
			o = sp
		}
	}
	c := store.Change{Ref: o.Ref()}
	switch rapid.IntRange(0, 5).Draw(rt, "what") {
	case 0:
	case 1:
		c.Problem = "not JSON"
	default:
		c.Object = o
	}
	return c
}
