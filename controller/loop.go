package controller

import (
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"reflect"
	"sync/atomic"
	"time"

	"tuplenet/controller/facts"
	"tuplenet/controller/metrics"
	"tuplenet/controller/status"
	"tuplenet/datapath/apply"
	"tuplenet/datapath/host"
	"tuplenet/datapath/ofconn"
	"tuplenet/datapath/ovsdb"
	"tuplenet/flows/compile"
	"tuplenet/flows/memo"
	"tuplenet/model"
	"tuplenet/model/store"
)

// loop is the goroutine that owns what the node knows. Its fields belong to run, but for the mailboxes.
type loop struct {
	cfg     Config
	log     *slog.Logger
	chassis string
	addrs   []netip.Addr
	mtu     int    // of the device that holds the tunnel endpoint, bytes
	device  string // the one that holds the tunnel endpoint of IPv6, or of IPv4
	lostIP  string // why the endpoints are not those of the device any more; empty: they are

	facts      *facts.Facts
	applier    *apply.Applier
	reporter   *status.Reporter
	neighbours *host.Neighbours
	supervisor supervisor
	vital      *vital
	found      *ledger
	demand     *demand
	metered    metered
	setPorts   func(ovsdb.Desired) // of the OVSDB session
	session    atomic.Pointer[ofconn.Session]
	filled     atomic.Pointer[ofconn.Session] // the last one that a round was done in

	mail        *mailbox
	pace        *pace
	memory      memory
	ovsFacts    *latest[ovsdb.Facts]
	hostChanged *latest[struct{}]
	connection  *latest[struct{}] // session was set or unset
	applied     *latest[apply.Applied]
	cleared     *latest[struct{}] // the identity is not another host's
	packets     chan ofconn.PacketIn
	calls       chan func() // to be run in the loop
	traces      liveTraces

	storeSynced, isCleared bool
	rev                    int64 // of intent in the store, as far as it is in facts
	nodes                  int64 // highest revision of chassis and bindings in facts that is in no commit
	own                    status.Seen
	bindings               map[string]status.Seen
	underlays              underlays       // of the other chassis
	readings               uint64          // of the whole state of the store
	asOf                   int64           // revision of the last complete state: what is not in bindings was not there then
	mine                   map[string]bool // ports whose binding names this chassis

	ports    localPorts
	appeared appearances
	claimed  map[string]uint64 // port → the appearance that made it count as here
	desired  ovsdb.Desired
	tunnel   uint32 // OpenFlow port of the Geneve tunnel, 0 while there is none
	vxlan    uint32 // the same of VXLAN

	endpoints counted[netip.Addr]
	edge      edge
	untunnel  *untunnel
	networks  *networks
	hosts     *hosts
	failures  map[string]apply.Failure // owner → the first of what was refused
	progress  progress
	slow      bool // the switch takes long to acknowledge
	tick      uint64
	ready     bool // acknowledged once, and systemd told
}

// oracle is how often everything is compiled again to prove that incremental compilation missed nothing.
const oracle = 10 * time.Minute

// patience is after how long without acknowledgement the switch counts as behind.
const patience = 2 * time.Second

// timers make the loop turn by themselves.
type timers struct {
	check    *time.Ticker     // compile everything again
	waiting  *time.Ticker     // tell the supervisor that the start takes longer
	edge     *time.Ticker     // what edges do by the clock
	watchdog <-chan time.Time // tell the supervisor that the loop turns
	host     <-chan time.Time // audit of the host's parameters
	late     *time.Timer      // the switch has not acknowledged in time
	armed    bool             // late runs
	stops    []func()
}

func newTimers(audit time.Duration) *timers {
	t := &timers{
		check:   time.NewTicker(oracle),
		waiting: time.NewTicker(startExtension / 3),
		edge:    time.NewTicker(edgePause),
		late:    time.NewTimer(patience),
		armed:   true,
	}
	var stopWatchdog, stopHost func()
	t.watchdog, stopWatchdog = ticker(watchdogPause())
	t.host, stopHost = ticker(audit)
	t.stops = []func(){t.check.Stop, t.waiting.Stop, t.edge.Stop, func() { t.late.Stop() }, stopWatchdog, stopHost}
	return t
}

func (t *timers) stop() {
	for _, stop := range t.stops {
		stop()
	}
}

// event is what a turn of the loop dealt with.
type event int

const (
	alone event = iota // nothing that is compiled
	news               // something that is compiled
	mail               // changes of the store, which wait to be taken
)

// run handles events until ctx ends.
func (l *loop) run(ctx context.Context) {
	t := newTimers(l.cfg.Audit)
	defer t.stop()
	l.edge.external = newExternal(l.facts, l.cfg.RunDir, l.packetOut(ctx), l.log)
	_, hadBridge := l.ovsFacts.get().Bridges[l.cfg.Bridge]
	l.demand.restored = !hadBridge
	l.demand.prepare(l.log)
	l.hosts.send = l.packetOut(ctx)
	l.takeInterfaces(l.ovsFacts.get())
	for ctx.Err() == nil {
		l.vital.turn()
		switch l.turn(ctx, t) {
		case alone:
			continue
		case mail:
			begun := time.Now()
			l.takeMail()
			l.sync()
			l.pace.worked(begun, time.Now())
		case news:
			l.sync()
		}
		t.armed = l.watchProgress(t.late, t.armed)
	}
}

// turn waits for one event and deals with it, but for compiling.
func (l *loop) turn(ctx context.Context, t *timers) event {
	select {
	case <-ctx.Done():
		return alone
	case <-l.mail.ready:
		if l.pace.early(time.Now()) {
			return alone
		}
		return mail
	case <-l.pace.due.C:
		return mail
	case <-l.cleared.ready:
		l.isCleared = true
	case <-l.ovsFacts.ready:
		l.takeInterfaces(l.ovsFacts.get())
	case <-l.hostChanged.ready:
		return newsIf(l.hostMoved())
	case <-l.connection.ready:
	case <-l.networks.states.ready:
		l.wantPorts(l.ovsFacts.get())
	case f := <-l.calls:
		f()
		return alone
	case <-l.applied.ready:
		before := l.progress.acked.seq
		l.acknowledge(l.applied.get())
		t.armed = t.armed && l.progress.acked.seq == before // patience begins anew with what is acknowledged
	case <-t.late.C:
		t.armed, l.slow = false, l.progress.outstanding()
	case <-t.check.C:
		l.recompute()
	case now := <-t.edge.C:
		l.memory.tick(now)
		return newsIf(l.edgeTick(ctx, now))
	case p := <-l.packets:
		return newsIf(l.take(ctx, p))
	case <-l.demand.misses.ready:
		return newsIf(l.isSynced() && (l.demand.take(time.Now()) || len(l.demand.fresh) > 0))
	case <-l.demand.found.ready:
	case <-l.demand.idleness.ready:
		return newsIf(l.demand.evict(time.Now(), l.demand.idleness.get()))
	case now := <-t.host:
		l.untunnel.audit(l.found, l.cfg.AuditMode == auditHeal, now)
		return newsIf(l.untunnel.failed != "")
	case <-t.watchdog:
		l.supervisor.alive()
		return alone
	case <-t.waiting.C:
		l.tellWaiting(t.waiting)
		return alone
	}
	return news
}

// newsIf is news if there may be something to compile.
func newsIf(compile bool) event {
	if compile {
		return news
	}
	return alone
}

// take handles a packet that the switch punted, and tells whether there may be something to compile because of it.
func (l *loop) take(ctx context.Context, p ofconn.PacketIn) bool {
	if l.hosts.punted(p) {
		return false
	}
	if !l.edge.external.punted(time.Now(), p) {
		l.answer(ctx, p)
		return false
	}
	return true
}

// tellWaiting tells the supervisor that the start takes longer, until it is over.
func (l *loop) tellWaiting(t *time.Ticker) {
	if l.ready {
		t.Stop()
	} else {
		l.supervisor.waiting()
	}
}

// watchProgress starts the timer after which the switch counts as slow when something is outstanding, and stops it when
// nothing is. It returns whether the timer runs.
func (l *loop) watchProgress(late *time.Timer, armed bool) bool {
	switch {
	case !l.progress.outstanding():
		late.Stop()
		return false
	case !armed && !l.slow:
		late.Reset(patience)
		return true
	}
	return armed
}

// ticker is a time.Ticker that never ticks if the pause is 0.
func ticker(pause time.Duration) (ticks <-chan time.Time, stop func()) {
	if pause <= 0 {
		return nil, func() {}
	}
	t := time.NewTicker(pause)
	return t.C, t.Stop
}

// takeMail takes what the store delivered.
func (l *loop) takeMail() {
	u, since := l.mail.take()
	if l.metered.arrived.IsZero() {
		l.metered.arrived = since
	}
	l.takeStore(u)
}

// takeStore brings the facts up to what the store delivered.
func (l *loop) takeStore(u store.Update) {
	if u.Reset {
		clear(l.bindings)
		clear(l.mine)
		l.underlays.reset()
		l.readings++
		l.asOf, l.own = u.Revision, status.Seen{Rev: u.Revision}
		if u.Revision < l.rev {
			l.log.Warn("the store went back, its state is taken as it is now", "from", l.rev, "to", u.Revision)
			l.progress.restart()
		}
	}
	l.facts.Apply(u)
	for _, c := range u.Changes {
		switch c.Ref.Kind {
		case model.KindBinding:
			l.takeBinding(c)
		case model.KindChassis:
			if c.Ref.Name == l.chassis {
				l.own.Rev = c.Revision
			} else {
				registered, _ := c.Object.(*model.Chassis)
				l.underlays.take(c.Ref.Name, registered)
			}
		default:
			continue
		}
		l.nodes = max(l.nodes, c.Revision)
	}
	l.rev = u.Revision
	l.progress.wait(u)
	l.storeSynced = true
}

// takeBinding notes where a port is. That a port of this node is not bound any more is noted, too, with the revision.
func (l *loop) takeBinding(c store.Change) {
	port, was := c.Ref.Name, l.mine[c.Ref.Name]
	delete(l.mine, port)
	delete(l.bindings, port)
	if b, ok := c.Object.(*model.Binding); ok {
		l.bindings[port] = status.Seen{Chassis: b.Chassis, Rev: c.Revision}
		if b.Chassis == l.chassis {
			l.mine[port] = true
		} else if p, ok := l.facts.Holder(model.ClaimPort(port)).(*model.LogicalSwitchPort); ok && was && l.demand.on {
			l.demand.want(p, time.Now()) // others still send here what belongs there
		}
	} else if l.holds(port) {
		l.bindings[port] = status.Seen{Rev: c.Revision}
	}
}

// holds tells whether a port is here: its interface, or the router behind it.
func (l *loop) holds(port string) bool {
	_, here := l.ports.present[port]
	return here || l.edge.carries[port] > 0
}

// binding is what was last seen of the binding of a port.
func (l *loop) binding(port string) status.Seen {
	if b, ok := l.bindings[port]; ok {
		return b
	}
	return status.Seen{Rev: l.asOf}
}

// sync compiles what changed and hands it to the reconcilers. Until the store's state is there and the identity is not in
// doubt, the switch stays as it is.
func (l *loop) sync() {
	if l.storeSynced && l.demand.wasRead.Load() && !l.demand.restored {
		l.demand.restore()
	}
	if !l.isSynced() {
		l.supervisor.status(l.behind())
		l.say(l.behind(), nil)
		return
	}
	l.demand.take(time.Now())
	l.facts.SetNode(l.compileNode())
	l.claim()
	begun := time.Now()
	changes := l.facts.Update()
	if len(changes) > 0 {
		l.metered.Compiled(metrics.Incremental, time.Since(begun))
	}
	l.publish(changes)
	l.demand.committed(l.progress.seq, l.progress.acked.seq)
}

// isSynced tells whether the switch may be touched.
func (l *loop) isSynced() bool { return l.storeSynced && l.isCleared && l.demand.isReady() }

// compileNode is what the compiler is told about the node.
func (l *loop) compileNode() compile.Node {
	n := compile.Node{Chassis: l.chassis, IPs: l.addrs, Encaps: l.encaps(), TunnelPort: l.tunnel, VXLANPort: l.vxlan, TunnelMTU: l.tunnelMTU(), MulticastMTU: l.multicastMTU(), Gateway: l.cfg.Gateway, HashFunction: l.cfg.HashFunction, Redirect: l.cfg.Redirect,
		OnDemand: l.demand.on, LifePort: l.demand.lifePort(l.ovsFacts.get(), l.cfg.Bridge)}
	l.untunnel.prepare(l.ovsFacts.get(), &n)
	return n
}

// publish hands over new outputs of the compiler.
func (l *loop) publish(changes []memo.Change[compile.Output]) {
	l.memory.used(time.Now(), changes)
	moved, ports := false, l.progress.seq == 0
	for _, c := range changes {
		owner := c.Unit.String()
		if c.Gone {
			l.applier.Put(owner, nil)
		} else {
			l.applier.Put(owner, flowSet(c.New))
		}
		moved = l.endpoints.replace(c.Old.Endpoints, c.New.Endpoints) || moved
		ports = l.edge.take(c) || ports
		ports = l.networks.take(c) || ports
		l.takeHosts(time.Now(), c.Old, c.New)
	}
	if moved {
		l.neighbours.Set(keys(l.endpoints))
	}
	here := l.bindable()
	if last := l.progress.last(); l.progress.seq == 0 || len(changes) > 0 || last.rev != l.rev || !maps.Equal(last.ports, here) {
		l.edge.translations.note(l.progress.seq + 1)
		l.metered.handOver(l.progress.seq+1, time.Now())
		l.applier.Commit(l.progress.record(commit{rev: l.rev, nodes: l.nodes, changed: ownersOf(changes), ports: here, tunnel: l.missingTunnel() == "",
			serves: l.hosts.serves(l.facts.Revision)}))
		l.nodes = 0
	}
	if ports {
		l.wantPorts(l.ovsFacts.get())
	}
	l.keepNetworks()
	l.progress.compiled()
	l.report()
}

// ownersOf are the owners of some of the changes, for receipts.
func ownersOf(changes []memo.Change[compile.Output]) (owners []string) {
	for _, c := range changes[:min(len(changes), keptOwners)] {
		owners = append(owners, c.Unit.String())
	}
	return owners
}

// bindable are the ports whose interface here is ready and that exist in the store, and those in front of routers that work here.
func (l *loop) bindable() map[string]uint64 {
	ports := make(map[string]uint64, len(l.ports.ready))
	for name := range l.ports.ready {
		if l.exists(name) && l.works(name) {
			ports[name] = l.ports.present[name]
		}
	}
	for name := range l.edge.carries {
		ports[name] = 0 // no interface appeared: nobody's port is taken away
	}
	return ports
}

// exists tells whether an interface can be that of a port of this name.
func (l *loop) exists(port string) bool {
	p, ok := l.facts.Holder(model.ClaimPort(port)).(*model.LogicalSwitchPort)
	return ok && p.Type != model.PortRouter
}

// works tells whether a port that exists can be bound: it has a way to the others.
func (l *loop) works(port string) bool {
	p, ok := l.facts.Holder(model.ClaimPort(port)).(*model.LogicalSwitchPort)
	return ok && l.connected(p)
}

// flowSet is the part of an output that goes to the switch.
func flowSet(o compile.Output) *apply.Set {
	s := &apply.Set{Groups: o.Groups, Meters: o.Seldom().Meters, Flows: make([]apply.Flow, len(o.Flows))}
	for i, f := range o.Flows {
		s.Flows[i] = apply.Flow{Packed: f.Packed, Rule: f.Rule}
	}
	return s
}

// acknowledge takes a round that the switch has confirmed.
func (l *loop) acknowledge(a apply.Applied) {
	l.failures, l.progress.refused = map[string]apply.Failure{}, map[string]model.Problem{}
	for _, f := range a.Failed {
		if _, there := l.failures[f.Owner]; !there {
			l.failures[f.Owner] = f
			l.progress.refused[f.Owner] = refusal(f)
		}
	}
	l.progress.acknowledge(a.Rev)
	l.demand.acknowledged(l.progress.acked.seq)
	l.metered.acknowledge(a.Rev, time.Now())
	l.slow = l.slow && l.progress.outstanding()
	rev := l.progress.acked.rev
	if a.Added+a.Removed+a.Modified > 0 {
		l.log.Info("applied", "rev", rev, "added", a.Added, "removed", a.Removed, "modified", a.Modified, "refused", len(a.Failed))
	}
	if !l.ready && l.progress.acked.seq > 0 && l.progress.acked.tunnel {
		l.ready = true
		l.tick = 1
		if c := l.registered(); c != nil {
			l.tick = c.Tick + 1
		}
		l.demand.live(l.log)
		l.log.Info("in sync with the store and acknowledged by the switch", "rev", rev)
		l.supervisor.ready() // whoever waits for that finds the log written
	}
}

// registered is how the store says that this node is; nil if it does not.
func (l *loop) registered() *model.Chassis {
	c, _ := l.facts.Object(model.Ref{Kind: model.KindChassis, Name: l.chassis}).(*model.Chassis)
	return c
}

// recompute compiles everything again. A difference means a defect in the compiler; it is healed and said.
func (l *loop) recompute() {
	if !l.isSynced() {
		return
	}
	begun := time.Now()
	changes := l.facts.Recompute()
	l.metered.Compiled(metrics.Full, time.Since(begun))
	for _, c := range changes {
		l.log.Error("incremental compilation had missed a change", "owner", c.Unit.String())
	}
	l.publish(changes)
}

// readAgain is the pause after a switch refused to say what it has.
const readAgain = time.Second

// serve is called for every new OpenFlow session.
func (l *loop) serve(ctx context.Context, s *ofconn.Session) {
	l.session.Store(s)
	l.connection.set(struct{}{})
	defer func() {
		l.session.CompareAndSwap(s, nil)
		l.connection.set(struct{}{})
	}()
	for l.demand.read(ctx, s) != nil {
		select {
		case <-ctx.Done(): // with the session
			return
		case <-time.After(readAgain):
		}
	}
	l.neighbours.Refresh()      // a restarted switch has forgotten what it learnt
	_ = l.applier.Serve(ctx, s) // it ends with the session, which says why
}

// roundDone is called for every round that the switch has confirmed, by the goroutine of the session.
func (l *loop) roundDone(a apply.Applied) {
	l.filled.Store(l.session.Load())
	l.applied.set(a)
}

// working is the session with a switch that does what this node says; nil if there is none, or if a switch that came back, perhaps
// empty, is still being filled. Without one, that nobody answers and that flows meet no packets means nothing.
func (l *loop) working() *ofconn.Session {
	if s := l.session.Load(); s == l.filled.Load() {
		return s
	}
	return nil
}

// want asks for ports and their bridge. Asking again for the same would make failed writes be tried again too soon.
func (l *loop) want(d ovsdb.Desired) {
	if !reflect.DeepEqual(d, l.desired) {
		l.desired = d
		l.setPorts(d)
	}
}
