//go:build integration

package e2e_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"tuplenet/e2e/lab"
	"tuplenet/model"
)

// ask asks the daemon of a host through the store.
func ask[T any](f *fleet, h *lab.Host, question ...string) (answer T) {
	f.t.Helper()
	chassis := strings.Trim(strings.TrimSpace(f.on(h, "ovs-vsctl get open_vswitch . external-ids:system-id")), `"`)
	out, err := f.Tpctl(f.ctx, append([]string{"node", chassis}, question...)...)
	f.check(err)
	f.check(json.Unmarshal([]byte(out), &answer))
	return answer
}

// auditPasses waits until whatever is wrong now has been looked at: the pass under way may be past it, the next is not.
func (f *fleet) auditPasses(h *lab.Host) model.NodeAudit {
	f.t.Helper()
	before := ask[model.NodeAudit](f, h, "audit").Passes
	var a model.NodeAudit
	f.eventually("two passes of the audit", func() error {
		if a = ask[model.NodeAudit](f, h, "audit"); a.Passes < before+2 {
			return fmt.Errorf("%d, begun with %d", a.Passes, before)
		}
		return nil
	})
	return a
}

// texts are the findings since there were already some, the oldest first.
func texts(a model.NodeAudit, already int) (out []string) {
	for i := len(a.Last) - already - 1; i >= 0; i-- {
		out = append(out, a.Last[i].Text)
	}
	return out
}

// flowOf is the first flow of alice with this rule.
func flowOf(t *testing.T, flows []model.NodeFlow, rule string) model.NodeFlow {
	t.Helper()
	for _, fl := range flows {
		if fl.Rule == rule {
			return fl
		}
	}
	t.Fatalf("no flow of rule %s", rule)
	return model.NodeFlow{}
}

func TestT68_WhatOthersChangeIsHealedAndNamed(t *testing.T) {
	t.Parallel()
	f := newBareFleet(t, lab.Config{Name: "obs"})
	for _, h := range f.Hosts() {
		f.daemon(h, "--audit", "2s")
	}
	a, _ := f.routed()
	f.settled()
	alice := f.Hosts()[0]
	f.auditPasses(alice)
	if found := ask[model.NodeAudit](f, alice, "audit"); len(found.Last) != 0 || found.Mode != "heal" {
		t.Fatalf("found without a cause: %+v", found)
	}
	before := ask[[]model.NodeFlow](f, alice, "flows")
	lost, altered := flowOf(t, before, "to-remote-port"), flowOf(t, before, "nd-responder")
	groups := ask[[]model.NodeGroup](f, alice, "groups")
	if len(groups) == 0 || groups[0].Owner == "" {
		t.Fatalf("groups %+v", groups)
	}
	ofctl := "ovs-ofctl -O OpenFlow15 "
	f.on(alice, ofctl+"del-flows br-int cookie="+lost.Cookie+"/-1")
	f.on(alice, ofctl+"mod-flows br-int cookie="+altered.Cookie+"/-1,actions=drop")
	f.on(alice, ofctl+"add-flow br-int cookie=0x74000000000000ab,table=200,priority=7,actions=drop")
	f.on(alice, ofctl+"add-flow br-int cookie=0x1234,table=201,priority=7,actions=drop")
	f.on(alice, ofctl+fmt.Sprintf("mod-group br-int group_id=%d,type=all", groups[0].ID))
	if out, err := alice.Exec(f.ctx, strings.Fields(ofctl+"del-tlv-map br-int")...); err == nil {
		t.Errorf("the TLV map can be cleared while flows use it: %s", out)
	}
	found := strings.Join(texts(f.auditPasses(alice), 0), "\n")
	for _, want := range []string{
		"healed flow of ", "removed foreign flow table=200,priority=7 actions=drop", "healed group of ",
	} {
		if !strings.Contains(found, want) {
			t.Errorf("%q is not among what was found:\n%s", want, found)
		}
	}
	log := alice.Daemon().Tail(200)
	for _, text := range strings.Split(found, "\n") {
		if n := strings.Count(log, text); n < 1 || n > strings.Count(found, text) {
			t.Errorf("%q is %d times in the log", text, n)
		}
	}
	untouched(t, before, ask[[]model.NodeFlow](f, alice, "flows"), lost.Cookie, altered.Cookie)
	if out := f.on(alice, ofctl+"dump-flows br-int"); !strings.Contains(out, "cookie=0x1234") {
		t.Error("a flow in the namespace of others was removed")
	}
	if h := ask[model.NodeHealth](f, alice, "health"); h.Foreign != 1 || !h.Ready || h.Behind != "" || h.Refused != 0 {
		t.Errorf("health %+v", h)
	}
	f.reach(a, bobIP, bobIP6)

	already := len(f.auditPasses(alice).Last)
	tunnel := "tuplenet-gnv"
	if vxlan() {
		tunnel = "tuplenet-vxl"
	}
	f.on(alice, "ovs-vsctl del-port "+tunnel)
	f.eventually("the tunnel port", func() error {
		if got := texts(ask[model.NodeAudit](f, alice, "audit"), already); len(got) != 1 || got[0] != "healed port "+tunnel {
			return fmt.Errorf("found %q", got)
		}
		return nil
	})
	f.reach(a, bobIP, bobIP6)

	// Everything, with the TLV map, which the switch lets go of only then: when it has really freed the flows that used it, and no audit
	// has put any back.
	f.eventually("a switch without flows and TLV map", func() error {
		f.on(alice, ofctl+"del-flows br-int")
		_, err := alice.Exec(f.ctx, strings.Fields(ofctl+"del-tlv-map br-int")...)
		return err
	})
	found = strings.Join(texts(f.auditPasses(alice), 0), "\n")
	if !strings.Contains(found, "healed TLV mapping {class=") || !strings.Contains(found, "flows of LS-A/lsp/lsp-alice") {
		t.Errorf("found:\n%s", found)
	}
	f.reach(a, bobIP, bobIP6)
}

// untouched demands that flows are the same as before, and older, but for some.
func untouched(t *testing.T, before, after []model.NodeFlow, but ...string) {
	t.Helper()
	old := map[string]model.NodeFlow{}
	for _, fl := range before {
		old[fl.Cookie] = fl
	}
	for _, fl := range after {
		was, known := old[fl.Cookie]
		delete(old, fl.Cookie)
		switch {
		case !known && fl.Owner == "": // others'
		case !known:
			t.Errorf("new: %+v", fl)
		case fl.Match != was.Match || fl.Actions != was.Actions:
			t.Errorf("changed: %+v, was %+v", fl, was)
		case fl.Seconds <= was.Seconds && fl.Cookie != but[0] && fl.Cookie != but[1]:
			t.Errorf("touched: %+v, was %+v", fl, was)
		}
	}
	for _, fl := range old {
		t.Errorf("lost: %+v", fl)
	}
}

func TestANodeIsAskedOnItsSocketAndFromAfar(t *testing.T) {
	t.Parallel()
	f := newFleet(t, lab.Config{Name: "obs-ask"})
	a, _ := f.routed()
	alice, bob := f.Hosts()[0], f.Hosts()[1]
	h := ask[model.NodeHealth](f, bob, "health")
	if h.Chassis != bob.Name() || !h.Alive || !h.Ready || h.Applied == 0 || h.Present == 0 || h.OVSVersion == "" {
		t.Errorf("health of bob through the store: %+v", h)
	}
	// On the node itself also without etcd.
	f.check(f.StopEtcd(f.ctx, 15))
	out := f.on(alice, "tpctl node "+alice.Name()+" health")
	if !strings.Contains(out, `"chassis": "`+alice.Name()+`"`) {
		t.Errorf("health of alice on her socket:\n%s", out)
	}
	if out := f.on(alice, "tpctl node "+alice.Name()+" ports"); !strings.Contains(out, `"lsp": "lsp-alice"`) {
		t.Errorf("ports of alice:\n%s", out)
	}
	f.check(f.StartEtcd(f.ctx))
	f.reach(a, bobIP)
	flows := ask[[]model.NodeFlow](f, alice, "flows", "owner=LS-A/lsp-alice")
	if len(flows) == 0 {
		t.Error("no flows of lsp-alice")
	}
	for _, fl := range flows {
		if !strings.HasSuffix(fl.Owner, "LS-A/lsp-alice") || fl.Rule == "" {
			t.Errorf("%+v", fl)
		}
	}
	// A forged source address is dropped, and by whom is told.
	f.on(alice, "ip netns exec ns-alice ip addr add 10.20.1.99/32 dev lo")
	_, _ = alice.Exec(f.ctx, strings.Fields("ip netns exec ns-alice ping -c 3 -i 0.1 -W 1 -I 10.20.1.99 10.20.2.10")...)
	f.eventually("the drops", func() error {
		for _, d := range ask[[]model.NodeDrop](f, alice, "drops") {
			if d.Rule == "spoofed-address" && d.Packets >= 3 && strings.HasSuffix(d.Owner, "LS-A/lsp-alice") {
				return nil
			}
		}
		return fmt.Errorf("not counted")
	})
	trace, err := f.Tpctl(f.ctx, "node", alice.Name(), "ofproto-trace", "flow=in_port=LOCAL")
	if err != nil || !strings.Contains(trace, "Datapath actions: drop") {
		t.Errorf("trace: %v\n%s", err, trace)
	}
	if _, err := f.Tpctl(f.ctx, "node", alice.Name(), "nonsense"); exitCode(err) != 1 || !strings.Contains(err.Error(), "unknown command") {
		t.Errorf("nonsense: %v", err)
	}
	f.check(bob.KillDaemon(f.ctx))
	f.eventually("bob to be known as dead", func() error {
		_, err := f.Tpctl(f.ctx, "node", bob.Name(), "health")
		if exitCode(err) != 5 || !strings.Contains(err.Error(), "unreachable") {
			return fmt.Errorf("exit code %d: %v", exitCode(err), err)
		}
		return nil
	})
}

func TestT57_KernelParametersOfUntunnelThatOthersChangeAreSetAgain(t *testing.T) {
	t.Parallel()
	f := newBareFleet(t, lab.Config{Name: "obs-ctl", Hosts: []string{"alice"}})
	alice := f.Hosts()[0]
	f.daemon(alice, "ENABLE_UNTUNNEL=1", "--audit", "1s")
	is := func(parameter, want string) func() error {
		return func() error {
			if out, err := alice.Exec(f.ctx, "cat", "/proc/sys/net/"+parameter); err != nil || strings.TrimSpace(out) != want {
				return fmt.Errorf("it is %q: %v", out, err)
			}
			return nil
		}
	}
	const filter = "ipv4/conf/tuplenet-host/rp_filter" // 0 also before the daemon has looked at it
	f.eventually("the parameter that is set last", is("ipv6/conf/all/forwarding", "1"))
	f.check(is(filter, "0")())
	_, err := alice.Exec(f.ctx, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/tuplenet-host/rp_filter")
	f.check(err)
	f.eventually("the parameter again", is(filter, "0"))
	f.eventually("the repair to be told", func() error { // it is, once it is done
		if got := texts(ask[model.NodeAudit](f, alice, "audit"), 0); len(got) != 1 || got[0] != "healed sysctl net/ipv4/conf/tuplenet-host/rp_filter" {
			return fmt.Errorf("found %q", got)
		}
		return nil
	})
}

// With NAT, equal routes, learnt neighbours and gateways that watch each other, nothing is found where nobody changed anything:
// the audit recognises every kind of flow in the way in which the switch shows it.
func TestT68_AnAuditOfEdgesFindsNothingWithoutACause(t *testing.T) {
	t.Parallel()
	e := withEdges(t, "obs-edge", 2)
	daemons := map[*lab.Host][]string{e.Host("alice"): e.here(lab.TutorialDaemon()), e.Host("bob"): e.here(lab.TutorialDaemon())}
	for n := range 2 {
		daemons[e.edge(n+1)] = e.here(lab.TutorialEdgeDaemon(e.layout))
	}
	for h, args := range daemons {
		e.check(h.KillDaemon(e.ctx))
		e.check(h.StartDaemonExactly(e.ctx, append([]string{"TUPLENET_AUDIT=1s"}, args...)...))
	}
	for h := range daemons {
		a := e.auditPasses(h)
		for _, f := range a.Last {
			t.Errorf("%s: %s: %s", h.Name(), f.Text, f.Name)
		}
	}
	e.reach(e.a, e.server.Addrs()[0], e.far.Addrs()[0])
}
