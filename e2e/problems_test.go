//go:build integration

package e2e_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"tuplenet/e2e/lab"
)

// problems are what `tpctl ch show -o json` lists of a chassis: reasons by key.
func (f *fleet) problems(chassis string) (map[string]string, error) {
	out, err := f.Tpctl(f.ctx, "ch", "show", chassis, "-o", "json")
	if err != nil {
		return nil, err
	}
	var list []struct {
		Name     string
		Problems []struct{ Key, Reason string }
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return nil, errorf("%v in %s", err, out)
	}
	found := map[string]string{}
	for _, c := range list {
		for _, p := range c.Problems {
			found[p.Key] += p.Reason
		}
	}
	return found, nil
}

// eventuallyProblems waits until exactly these are listed of a chassis: keys with a word of the reason.
func (f *fleet) eventuallyProblems(chassis string, want map[string]string) {
	f.t.Helper()
	f.eventually("the problems of "+chassis, func() error {
		found, err := f.problems(chassis)
		if err != nil {
			return err
		}
		for key, word := range want {
			if !strings.Contains(found[key], word) {
				return errorf("%s: %q, which does not say %q", key, found[key], word)
			}
		}
		if len(found) != len(want) {
			return errorf("%v are listed, not %v", found, slices.Sorted(maps.Keys(want)))
		}
		return nil
	})
}

func TestExactlyTheObjectsThatWereDamagedByHandAreListed(t *testing.T) {
	f := newFleet(t, lab.Config{Name: "h8-damage"})
	f.tpctl("ls add LS-far")
	f.tpctl("lsp add LS-far far 10.77.0.1")
	a, _ := f.routed()
	h := f.Hosts()[0]
	put := func(key, value string) {
		t.Helper()
		if _, err := h.Exec(f.ctx, "etcdctl", "put", "/tuplenet/v1/spec/"+key, value); err != nil {
			t.Fatal(err)
		}
	}
	del := func(key string) { f.on(h, "etcdctl del /tuplenet/v1/spec/"+key) }
	put("switch/broken", `{"name":`)
	put("switch/newer", `{"name":"newer","vni":900,"colour":"green"}`)
	put("routerport/LR-central/dangling", `{"router":"LR-central","name":"dangling","key":40,"mac":"f2:01:00:00:00:99","networks":["10.99.0.1/24"],"peer":"nobody"}`)
	put("switchport/nowhere/lost", `{"switch":"nowhere","name":"lost","key":1,"mac":"f2:01:00:00:00:98","type":"vif"}`)
	put("switch/twin", `{"name":"twin","vni":1}`)
	put("switchport/LS-far/double", `{"switch":"LS-far","name":"double","key":9,"mac":"f2:01:00:00:00:97","ips":["10.77.0.1"],"type":"vif"}`)
	all := map[string]string{
		"switch/broken": "JSON", "switch/newer": "colour", "routerport/LR-central/dangling": "nobody", "switchport/nowhere/lost": "nowhere",
		"switch/twin": "already held by switch/", "switchport/LS-far/double": "10.77.0.1",
	}
	for _, host := range f.Hosts() {
		f.eventuallyProblems(host.Name(), all)
	}
	f.reach(a, bobIP, bobIP6)
	// What depends on a broken object is not listed beside it.
	switchB := strings.TrimSpace(f.on(h, "etcdctl get --print-value-only /tuplenet/v1/spec/switch/LS-B"))
	put("switch/LS-B", "broken, too")
	all["switch/LS-B"] = "JSON"
	f.eventuallyProblems("alice", all)
	put("switch/LS-B", switchB)
	for _, key := range []string{"switch/broken", "switch/newer", "routerport/LR-central/dangling", "switchport/nowhere/lost", "switch/twin", "switchport/LS-far/double"} {
		del(key)
	}
	for _, host := range f.Hosts() {
		f.eventuallyProblems(host.Name(), nil)
	}
	f.reach(a, bobIP, bobIP6)
}

func TestT69_TheHostThatLostAPortAndAnInterfaceThatIsNotUsedAreListed(t *testing.T) {
	t.Parallel()
	f := newFleet(t, lab.Config{Name: "h8-loser"})
	f.tpctl("ls add LS")
	f.tpctl("lsp add LS roam 10.1.0.1 f2:01:00:00:00:51")
	alice, bob := f.Hosts()[0], f.Hosts()[1]
	old := f.workload(bob, "w-old", "roam", "f2:01:00:00:00:51", "", "", "10.1.0.1/24")
	f.eventuallyShows("lsp show LS roam", "chassis: bob")
	f.eventuallyProblems("bob", nil)
	f.workload(alice, "w-new", "roam", "f2:01:00:00:00:51", "", "", "10.1.0.1/24")
	f.eventuallyShows("lsp show LS roam", "chassis: alice")
	f.eventuallyProblems("bob", map[string]string{"binding/roam": "bound to chassis alice"})
	f.eventuallyProblems("alice", nil)
	// A restart of the loser does not bring the port back to it.
	f.check(bob.KillDaemon(f.ctx))
	f.daemon(bob)
	f.eventuallyProblems("bob", map[string]string{"binding/roam": "bound to chassis alice"})
	f.eventuallyShows("lsp show LS roam", "chassis: alice")
	f.check(old.Remove(f.ctx))
	f.eventuallyProblems("bob", nil)

	f.workload(alice, "w-second", "roam", "f2:01:00:00:00:51", "", "", "10.1.0.1/24")
	f.on(alice, "ovs-vsctl add-port br-int missing0 -- set Interface missing0 external_ids:iface-id=absent")
	f.eventuallyProblems("alice", map[string]string{"interface/v-w-second": "w-new", "interface/missing0": "missing0"})
}
