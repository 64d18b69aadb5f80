package controller

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tuplenet/controller/metrics"
	"tuplenet/controller/neighbours"
	"tuplenet/datapath/apply"
	"tuplenet/datapath/ofconn"
	"tuplenet/datapath/ovsdb"
	"tuplenet/model"
	"tuplenet/model/store"
)

// notes is a store that keeps what the node says.
type notes struct {
	mu      sync.Mutex
	chassis *model.Chassis
	bound   []string
	unbound []string
	status  *model.Status
	writes  int // of the status

	switches []string // of the presence
}

func (n *notes) PutChassis(_ context.Context, c *model.Chassis) (int64, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.chassis = c
	return 1000, nil
}

func (n *notes) PutPresence(_ context.Context, _ string, switches []string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.switches = switches
	return nil
}

func (n *notes) Bind(_ context.Context, port, chassis string, _ int64) (int64, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.bound = append(n.bound, port)
	return 1000, nil
}

func (n *notes) Unbind(_ context.Context, port, _ string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.unbound = append(n.unbound, port)
	return nil
}

func (n *notes) PutStatus(_ context.Context, _ *store.Lease, s *model.Status) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.status = s
	n.writes++
	return nil
}

func (n *notes) Live(context.Context) (map[string]store.Identity, error) {
	return map[string]store.Identity{}, nil
}

// rig is a loop with its reporter, without a switch: the test is OVSDB, the store and the switch.
type rig struct {
	t *testing.T
	l *loop
	n *notes
}

// newRig starts a loop in a bubble of testing/synctest.
func newRig(t *testing.T) *rig {
	t.Helper()
	n := &notes{}
	cfg := Config{Bridge: "br-int", RunDir: t.TempDir(), OpenFlowDir: "/nowhere", BFDInterval: 100 * time.Millisecond, HashFunction: "nw_dst"}
	l, _ := newLoop(cfg, slog.New(slog.DiscardHandler), "me", n) // this host need not have the address
	l.addrs, l.mtu = []netip.Addr{netip.MustParseAddr("192.0.2.1")}, 1500
	l.applier = newApplier(l, nil)
	l.setPorts = func(ovsdb.Desired) {}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	r := &rig{t, l, n}
	r.ports(row("tap", "p", 5))
	go l.run(ctx)
	go l.reporter.Run(ctx)
	l.reporter.SetLease(&store.Lease{})
	synctest.Wait()
	return r
}

// ports is what OVSDB says, beside the tunnel.
func (r *rig) ports(list ...*ovsdb.Interface) {
	f := rows(append(list, row(tunnelName, "", 1))...)
	f.Bridges = map[string]*ovsdb.Bridge{"br-int": {Name: "br-int", DatapathType: "netdev"}}
	r.l.ovsFacts.set(f)
	synctest.Wait()
}

// connect is a session with the switch.
func (r *rig) connect(up bool) {
	r.l.session.Store(nil)
	if up {
		r.l.session.Store(new(ofconn.Session))
	}
	r.l.connection.set(struct{}{})
	synctest.Wait()
}

func (r *rig) clear() { r.l.cleared.set(struct{}{}); synctest.Wait() }

func (r *rig) deliver(u store.Update) { r.l.mail.deliver(u); synctest.Wait() }

// acknowledge is the switch, with what it refused.
func (r *rig) acknowledge(refused ...apply.Failure) {
	r.l.roundDone(apply.Applied{Rev: r.l.progress.seq, Failed: refused})
	synctest.Wait()
}

func (r *rig) load(rev int64) {
	r.deliver(store.Update{Reset: true, Revision: rev, Changes: []store.Change{
		{Ref: model.Ref{Kind: model.KindSwitch, Name: "LS"}, Revision: 3, Object: &model.LogicalSwitch{Name: "LS", VNI: 1}},
		{Ref: model.Ref{Kind: model.KindSwitchPort, Parent: "LS", Name: "p"}, Revision: 4, Object: &model.LogicalSwitchPort{Switch: "LS", Name: "p",
			Key: 1, Type: model.PortVIF, MAC: model.MAC{2, 0, 0, 0, 0, 1}, IPs: []netip.Addr{netip.MustParseAddr("10.0.0.1")}}},
	}})
}

// up is a node in sync.
func up(t *testing.T) *rig {
	r := newRig(t)
	r.connect(true)
	r.clear()
	r.load(10)
	r.acknowledge()
	return r
}

func (r *rig) behind(when, want string) {
	r.t.Helper()
	r.n.mu.Lock()
	defer r.n.mu.Unlock()
	if r.n.status == nil {
		r.t.Errorf("%s: no status", when)
	} else if got := r.n.status.Behind; want == "" && got != "" || !strings.Contains(got, want) {
		r.t.Errorf("%s: behind because %q, want %q", when, got, want)
	}
}

func TestT19_TheNodeRegistersAfterTheSwitchHasAcknowledgedAndNothingIsHandedOverBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.connect(true)
		r.load(10)
		if n := r.l.applier.Stats().Committed; n != 0 {
			t.Fatalf("round %d is handed over while another host may have the name", n)
		}
		r.clear()
		if r.l.applier.Stats().Committed == 0 {
			t.Fatal("nothing is handed over")
		}
		if r.n.chassis != nil || r.n.bound != nil {
			t.Fatalf("registered %v, bound %v before the switch acknowledged", r.n.chassis, r.n.bound)
		}
		r.behind("before", "filled for the first time")
		r.acknowledge()
		if r.n.chassis == nil || !slices.Equal(r.n.bound, []string{"p"}) {
			t.Errorf("registered %v, bound %v", r.n.chassis, r.n.bound)
		}
		r.behind("after", "")
		if r.n.status.Applied != 10 {
			t.Errorf("applied revision %d", r.n.status.Applied)
		}
	})
}

func TestNothingIsHandedOverBeforeTheStoreIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.connect(true)
		r.clear()
		time.Sleep(time.Hour) // of the bubble: every ticker has ticked
		synctest.Wait()
		if n := r.l.applier.Stats().Committed; n != 0 {
			t.Errorf("round %d is handed over", n)
		}
	})
}

func TestT20_APortIsBoundWhenItExistsAndItsFlowsAreAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := up(t)
		r.ports(row("tap", "p", 5), row("tap2", "q", 6))
		r.acknowledge()
		if slices.Contains(r.n.bound, "q") {
			t.Fatal("a port that does not exist is bound")
		}
		r.deliver(store.Update{Revision: 11, Changes: []store.Change{{Ref: model.Ref{Kind: model.KindSwitchPort, Parent: "LS", Name: "q"}, Revision: 11,
			Object: &model.LogicalSwitchPort{Switch: "LS", Name: "q", Key: 2, Type: model.PortVIF, MAC: model.MAC{2, 0, 0, 0, 0, 2}}}}})
		if slices.Contains(r.n.bound, "q") {
			t.Fatal("bound before its flows are acknowledged")
		}
		r.acknowledge()
		if !slices.Contains(r.n.bound, "q") {
			t.Errorf("bound: %v", r.n.bound)
		}
	})
}

func TestANodeTellsAStoreThatWasRestoredToAnOlderStateAllOfItselfAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := up(t)
		r.deliver(store.Update{Revision: 1001, Changes: []store.Change{
			{Ref: model.Ref{Kind: model.KindChassis, Name: "me"}, Revision: 1000, Object: r.n.chassis},
			{Ref: model.Ref{Kind: model.KindBinding, Name: "p"}, Revision: 1001, Object: &model.Binding{Port: "p", Chassis: "me"}}}})
		r.acknowledge()
		r.n.mu.Lock()
		if r.n.chassis == nil || !slices.Equal(r.n.bound, []string{"p"}) || r.n.status == nil {
			t.Fatalf("before: registered %v, bound %v, status %v", r.n.chassis, r.n.bound, r.n.status)
		}
		r.n.chassis, r.n.bound, r.n.status, r.n.switches = nil, nil, nil, nil
		r.n.mu.Unlock()
		r.load(900) // as it was before the node came
		r.acknowledge()
		r.n.mu.Lock()
		defer r.n.mu.Unlock()
		if r.n.chassis == nil || !slices.Equal(r.n.bound, []string{"p"}) || r.n.status == nil || !slices.Equal(r.n.switches, []string{"LS"}) {
			t.Errorf("afterwards: registered %v with ports of %v, bound %v, status %v", r.n.chassis, r.n.switches, r.n.bound, r.n.status)
		}
	})
}

func TestT17_ADeletedPortIsUnbound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := up(t)
		r.deliver(store.Update{Revision: 10, Changes: []store.Change{{Ref: model.Ref{Kind: model.KindBinding, Name: "p"}, Revision: 1000, Object: &model.Binding{Port: "p", Chassis: "me"}}}})
		r.deliver(store.Update{Revision: 1001, Changes: []store.Change{{Ref: model.Ref{Kind: model.KindSwitchPort, Parent: "LS", Name: "p"}, Revision: 1001}}})
		r.acknowledge()
		if !slices.Equal(r.n.unbound, []string{"p"}) {
			t.Errorf("unbound: %v", r.n.unbound)
		}
	})
}

func TestAWaiterGetsItsAnswerInTheStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := up(t)
		r.deliver(store.Update{Revision: 11, Changes: []store.Change{changed("other", 11, 9)}, Waiters: []store.Waiter{{ID: "w", Revision: 11, Since: 10, Everybody: true}}})
		if len(r.n.status.Answered) != 0 {
			t.Fatalf("answered before the switch acknowledged: %v", r.n.status.Answered)
		}
		r.acknowledge()
		if answer, answered := r.n.status.Answered["w"]; !answered || answer.Affected || r.n.status.Applied != 11 {
			t.Errorf("status %+v, want revision 11 and that it did not concern this node", r.n.status)
		}
		r.deliver(store.Update{Revision: 11, Gone: []string{"w"}})
		r.deliver(store.Update{Revision: 12, Waiters: []store.Waiter{{ID: "x", Revision: 12, Since: 11, Everybody: true}}})
		r.acknowledge()
		if _, still := r.n.status.Answered["w"]; still || len(r.n.status.Answered) != 1 {
			t.Errorf("answers %v", r.n.status.Answered)
		}
	})
}

func TestTheStatusSaysWhyTheNodeIsBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := up(t)
		r.connect(false)
		r.behind("without a session", "no connection to the switch at /nowhere/br-int.mgmt")
		r.connect(true)
		r.behind("with one", "")
		r.deliver(store.Update{Revision: 11, Changes: []store.Change{changed("a", 11, 9)}})
		r.behind("a round is under way", "")
		time.Sleep(patience + time.Second) // of the bubble
		synctest.Wait()
		r.behind("no acknowledgement", "has not acknowledged revision 11")
		r.acknowledge()
		r.behind("acknowledged", "")
	})
}

func TestASwitchThatAcknowledgesOneCommitAfterTheOtherIsNotBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := up(t)
		for rev := int64(11); rev < 31; rev++ { // the next is handed over before the last is acknowledged
			r.deliver(store.Update{Revision: rev, Changes: []store.Change{changed("a", rev, model.VNI(rev))}})
			time.Sleep(patience / 4) // of the bubble
			r.behind("busy", "")
			r.l.roundDone(apply.Applied{Rev: r.l.progress.seq - 1})
			synctest.Wait()
		}
		time.Sleep(patience + time.Second)
		synctest.Wait()
		r.behind("no acknowledgement", "has not acknowledged revision 30")
	})
}

func TestCommitsThatASwitchNeverAcknowledgesDoNotPileUp(t *testing.T) {
	m := metered{Metrics: metrics.New("test", nil)}
	now := time.Now()
	for seq := range int64(5 * keptHanded) {
		m.handOver(seq, now)
	}
	if len(m.open) != keptHanded {
		t.Errorf("%d are kept", len(m.open))
	}
	m.acknowledge(5*keptHanded-1, now)
	if len(m.open) != 0 {
		t.Errorf("%d are left after all were acknowledged", len(m.open))
	}
}

func TestWhatTheSwitchRefusedIsListedUntilItIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := up(t)
		r.acknowledge(apply.Failure{Owner: "port/LS/p", What: "a flow", Err: errors.New("table full")}, apply.Failure{What: "meter 1", Err: errors.New("no meters")})
		want := []model.Problem{{Key: "port/LS/p", Reason: "a flow: table full"}, {Key: "switch", Reason: "meter 1: no meters"}}
		if !slices.Equal(r.n.status.Problems, want) {
			t.Errorf("problems %v", r.n.status.Problems)
		}
		r.acknowledge()
		if len(r.n.status.Problems) != 0 {
			t.Errorf("still listed: %v", r.n.status.Problems)
		}
	})
}

func TestInterfaceProblemsAreListed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := up(t)
		r.ports(row("tap", "p", 5), row("tap2", "p", 6))
		if got := r.n.status.Problems; len(got) != 1 || got[0].Key != "interface/tap2" {
			t.Errorf("problems %v", got)
		}
	})
}

func TestAReplacedStoreIsTakenAsItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := up(t)
		r.deliver(store.Update{Reset: true, Revision: 4, Waiters: []store.Waiter{{ID: "w", Revision: 4, Since: 3, Everybody: true}}})
		r.acknowledge()
		if r.n.status.Applied != 4 || len(r.n.status.Answered) != 1 {
			t.Errorf("status %+v", r.n.status)
		}
	})
}

func TestT58_ADeletedLivingChassisComesBackWithTheSameTick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := up(t)
		tick := r.n.chassis.Tick
		self := *r.n.chassis
		r.deliver(store.Update{Revision: 10, Changes: []store.Change{{Ref: self.Ref(), Object: &self, Revision: 1000}}})
		r.n.mu.Lock()
		r.n.chassis = nil
		r.n.mu.Unlock()
		r.deliver(store.Update{Revision: 10, Changes: []store.Change{{Ref: self.Ref(), Revision: 1001}}})
		if r.n.chassis == nil || r.n.chassis.Tick != tick {
			t.Errorf("registered as %+v", r.n.chassis)
		}
	})
}

func TestARestartedNodeCountsItsTickOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.connect(true)
		r.clear()
		before := &model.Chassis{Name: "me", IPs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Encaps: []model.Encap{model.EncapGeneve}, Tick: 41}
		r.deliver(store.Update{Reset: true, Revision: 9, Changes: []store.Change{{Ref: before.Ref(), Object: before, Revision: 8}}})
		r.acknowledge()
		if r.n.chassis == nil || r.n.chassis.Tick != 42 {
			t.Errorf("registered as %+v", r.n.chassis)
		}
	})
}

func TestOVSDBIsNotAskedAgainForTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		asked := 0
		r.l.setPorts = func(ovsdb.Desired) { asked++ }
		for n := range 10 {
			r.ports(row("tap", "p", 5+n))
		}
		if asked != 0 {
			t.Errorf("asked %d times for what was asked for already", asked)
		}
	})
}

func TestNeighboursAreNotGivenUpWhileTheSwitchIsAwayOrBeingFilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := up(t)
		rp := &model.LogicalRouterPort{Router: "R", Name: "r", Peer: "s", Key: 3, MAC: model.MAC{2, 0, 0, 0, 0, 3},
			Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}}
		sp := &model.LogicalSwitchPort{Switch: "LS", Name: "s", Key: 3, Type: model.PortRouter, Peer: "r", MAC: rp.MAC}
		u := store.Update{Revision: 11}
		for _, o := range []model.Object{&model.LogicalRouter{Name: "R", ID: 8}, rp, sp} {
			u.Changes = append(u.Changes, store.Change{Ref: o.Ref(), Object: o, Revision: 11})
		}
		r.deliver(u)
		id := neighbours.ID{Router: "R", Port: "r", IP: netip.MustParseAddr("192.0.2.9")}
		asked, known := 0, func() bool { return len(r.l.edge.external.table.Asked(id.IP)) == 1 }
		later := func(when string, wantAsked, wantKnown bool) {
			t.Helper()
			time.Sleep(10 * time.Second) // of the bubble
			if err := r.l.inLoop(t.Context(), func() {
				if asked > 0 != wantAsked || known() != wantKnown {
					t.Errorf("%s: asked %d times, known %v, want %v and %v", when, asked, known(), wantAsked, wantKnown)
				}
				asked = 0
			}); err != nil {
				t.Fatal(err)
			}
		}
		r.connect(false)
		if err := r.l.inLoop(t.Context(), func() {
			r.l.edge.external.send = func(ofconn.PacketOut) { asked++ }
			r.l.edge.external.table.Restore(time.Now(), neighbours.Known{ID: id, MAC: [6]byte{2, 9}})
		}); err != nil {
			t.Fatal(err)
		}
		later("without a session", false, true)
		r.connect(true)
		later("before the first round", false, true)
		r.acknowledge()
		later("afterwards, and nobody answers", true, false)
	})
}

func TestTheObservationDomainFollowsTheTunnelEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := up(t)
		var domain uint32
		moved := netip.MustParseAddr("198.51.100.1")
		if err := r.l.inLoop(t.Context(), func() {
			r.l.cfg.IPFIXCollector = "192.0.2.200:4739"
			r.l.setPorts = func(d ovsdb.Desired) { domain = d.IPFIX.Domain }
			was := r.l.addrs
			r.l.addrs = []netip.Addr{moved}
			r.l.endpointsChanged(was)
		}); err != nil {
			t.Fatal(err)
		}
		if want := model.ObservationDomain([]netip.Addr{moved}); domain != want {
			t.Errorf("domain %d, want %d", domain, want)
		}
	})
}

func TestT41_ThePortsInFrontOfARouterHereAreBoundWhenItsFlowsAreAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := up(t)
		r.l.edge.carries["m_to_LR"] = 1
		r.deliver(store.Update{Revision: 11})
		if slices.Contains(r.n.bound, "m_to_LR") {
			t.Fatal("bound before the switch acknowledged")
		}
		r.acknowledge()
		if !slices.Contains(r.n.bound, "m_to_LR") {
			t.Fatalf("bound: %v", r.n.bound)
		}
		ref := model.Ref{Kind: model.KindBinding, Name: "m_to_LR"}
		r.deliver(store.Update{Revision: 12, Changes: []store.Change{{Ref: ref, Revision: 12, Object: &model.Binding{Port: "m_to_LR", Chassis: "me"}}}})
		r.deliver(store.Update{Revision: 2000, Changes: []store.Change{{Ref: ref, Revision: 2000}}}) // somebody deletes it
		r.acknowledge()
		if n := len(slices.DeleteFunc(slices.Clone(r.n.bound), func(p string) bool { return p != "m_to_LR" })); n < 2 {
			t.Errorf("not bound again: %v", r.n.bound)
		}
	})
}

// A port that comes to another host is carried there before others are told to send to it.
func TestT20_TheFlowsOfAPortThatComesAreThereBeforeItsBinding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := up(t)
		binding := func(rev int64, chassis string) {
			r.deliver(store.Update{Revision: rev, Changes: []store.Change{{Ref: model.Ref{Kind: model.KindBinding, Name: "p"}, Revision: rev, Object: &model.Binding{Port: "p", Chassis: chassis}}}})
			r.acknowledge()
		}
		r.deliver(store.Update{Revision: 11, Changes: []store.Change{{Ref: model.Ref{Kind: model.KindChassis, Name: "other"}, Revision: 11,
			Object: &model.Chassis{Name: "other", IPs: []netip.Addr{netip.MustParseAddr("192.0.2.2")}, Encaps: []model.Encap{model.EncapGeneve}, UnderlayMTU: 1500}}}})
		carried := func(when string, want bool) { // else the other host's tunnel endpoint is needed, to send to the port
			t.Helper()
			if got := len(r.l.endpoints) == 0; got != want {
				t.Errorf("%s: the port is here: %v", when, got)
			}
		}
		taken := func() (n int) {
			for _, p := range r.n.bound {
				if p == "p" {
					n++
				}
			}
			return n
		}
		binding(1001, "other")
		carried("the interface was there before, the binding is another's", false)
		r.ports()
		r.acknowledge()
		before := taken()
		r.ports(row("tap", "p", 5))
		carried("the interface came, nothing is acknowledged", true)
		if taken() != before {
			t.Error("bound before the switch acknowledged")
		}
		r.acknowledge()
		if taken() != before+1 {
			t.Errorf("bound: %v", r.n.bound)
		}
		binding(1002, "me")
		carried("the binding is here", true)
		binding(1003, "other")
		carried("the port appeared elsewhere", false)
		r.ports(row("tap", "p", 0)) // the switch restarts: that is no new interface
		r.ports(row("tap", "p", 6))
		r.acknowledge()
		carried("the interface has another number", false)
	})
}
