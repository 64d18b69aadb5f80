// Package controller is the node daemon, assembled: it follows the store and the local Open vSwitch, keeps what it
// knows in controller/facts, hands what the compiler makes of it to the reconcilers, and reports what is applied. Only
// the wiring, the event loop and the daemon's configuration are here; what flows there are is decided by
// flows/compile, how they get into the switch by datapath/apply. It is called by cmd/tuplenet alone.
//
// One goroutine, the loop, owns facts and compiler; every session (store, OVSDB, OpenFlow) has its own and talks to
// the loop through mailboxes that keep only the newest. Nothing on the switch is touched before both the store's and
// OVSDB's snapshots are there and it is known that no other live host has the same system-id. When the daemon stops, the switch goes on forwarding as it is.
package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"sync"
	"time"

	"tuplenet/controller/facts"
	"tuplenet/controller/metrics"
	"tuplenet/controller/status"
	"tuplenet/datapath/apply"
	"tuplenet/datapath/host"
	"tuplenet/datapath/ofconn"
	"tuplenet/datapath/ovsdb"
	"tuplenet/flows/compile"
	"tuplenet/flows/pipeline"
	"tuplenet/model"
	"tuplenet/model/store"
)

// Node is a daemon. Run it once.
type Node struct {
	cfg Config
	log *slog.Logger
}

// New makes a daemon from a complete configuration.
func New(cfg Config, log *slog.Logger) *Node { return &Node{cfg: cfg, log: log} }

// Run runs the daemon until ctx ends, which is a clean stop and no error, or until something makes going on
// impossible; the error says what, in one line. The switch goes on as it is in either case.
func (n *Node) Run(ctx context.Context) error {
	unlock, err := lockPidFile(n.cfg.RunDir)
	if err != nil {
		return err
	}
	defer unlock()
	if n.cfg.EmbeddedEtcd != "" {
		etcd, err := store.StartEmbedded(n.cfg.EmbeddedEtcd, n.cfg.EmbeddedListen, n.log)
		if err != nil {
			return fmt.Errorf("embedded etcd: %w", err)
		}
		defer etcd.Close()
		n.cfg.Endpoints = etcd.Endpoints()
		n.log.Info("embedded etcd is serving", "endpoints", etcd.Endpoints())
	}
	db, err := store.Open(n.cfg.Store(n.log))
	if err != nil {
		return err
	}
	defer db.Close()
	return n.work(ctx, db)
}

// work runs the sessions and the loop, and ends when all of them have.
func (n *Node) work(ctx context.Context, db *store.Store) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel(nil)

	ovsFacts := newLatest[ovsdb.Facts]()
	found := newLedger(n.cfg, n.log)
	ovs := ovsdb.New(ovsdb.Config{Socket: n.cfg.OVSDB, Logger: n.log, OnFacts: ovsFacts.set, ReportOnly: n.cfg.AuditMode == auditReport,
		OnDrift: func(d []ovsdb.Drift) { found.portDrift(d, time.Now()) }})
	wg.Go(func() { _ = ovs.Run(ctx) })
	first, err := n.firstFacts(ctx, ovsFacts)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	l, err := newLoop(n.cfg, n.log.With("chassis", first.SystemID), first.SystemID, db)
	if err != nil {
		return err
	}
	l.ovsFacts, l.setPorts, l.found = ovsFacts, ovs.Set, found
	audit, stop := ticker(n.cfg.Audit / auditSteps)
	defer stop()
	l.applier = newApplier(l, audit)
	fail := func(err error) {
		if err != nil && ctx.Err() == nil {
			cancel(err)
		}
	}
	wg.Go(func() { fail(db.Follow(ctx, l.mail.deliver)) })
	wg.Go(func() {
		id := identity(first.SystemID, n.cfg.OVSDB)
		fail(holdIdentity(ctx, db, id, l.log, func() { l.cleared.set(struct{}{}) }, l.reporter.SetLease))
	})
	wg.Go(func() { l.reporter.Run(ctx) })
	wg.Go(func() {
		l.demand.out.run(ctx, l.session.Load, func(err error) { l.log.Debug("packet-out failed", "err", err) })
	})
	wg.Go(func() { _ = l.neighbours.Run(ctx) })
	wg.Go(func() {
		_ = host.Follow(ctx, l.log, func() { l.hostChanged.set(struct{}{}); l.networks.keeper.Look() })
	})
	wg.Go(func() { l.networks.keeper.Run(ctx) })
	wg.Go(func() {
		_ = ofconn.Run(ctx, ofconn.Config{Socket: l.socket(), Logger: n.log, OnUp: l.serve, OnPacketIn: l.packetIn})
	})
	if err := n.serveAdmin(ctx, &wg, l, db); err != nil {
		return err
	}
	l.run(ctx)
	l.supervisor.stopping()
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// firstFacts waits for the database's snapshot with the switch's version, and checks what no daemon can do without.
func (n *Node) firstFacts(ctx context.Context, ovsFacts *latest[ovsdb.Facts]) (ovsdb.Facts, error) {
	var systemd supervisor
	patience := time.NewTicker(startExtension / 3)
	defer patience.Stop()
	systemd.status("waiting for the Open vSwitch database at " + n.cfg.OVSDB)
	for {
		select {
		case <-ctx.Done():
			return ovsdb.Facts{}, ctx.Err()
		case <-patience.C:
			systemd.waiting()
			continue
		case <-ovsFacts.ready:
		}
		f := ovsFacts.get()
		if f.SystemID == "" {
			return f, errors.New(`Open vSwitch has no system-id, which names this chassis: set it with "ovs-vsctl set open_vswitch . external-ids:system-id=NAME"`)
		}
		if err := model.ValidateName(f.SystemID); err != nil {
			return f, fmt.Errorf("system-id %q of Open vSwitch: %w", f.SystemID, err)
		}
		err := ovsdb.CheckVersion(f.OVSVersion)
		if errors.Is(err, ovsdb.ErrVersionUnknown) {
			n.log.Warn("the version of Open vSwitch cannot be checked", "why", err)
			err = nil
		}
		return f, err
	}
}

// newLoop makes the loop of a node, all but what needs sessions with the switch. It fails if the host has no tunnel endpoint.
func newLoop(cfg Config, log *slog.Logger, chassis string, db status.Store) (*loop, error) {
	l := &loop{
		cfg: cfg, log: log, chassis: chassis,
		vital: newVital(cfg.Version), found: newLedger(cfg, log), facts: facts.New(), reporter: status.New(db, chassis, log), neighbours: host.NewNeighbours(log),
		mail: newMailbox(), pace: newPace(), ovsFacts: newLatest[ovsdb.Facts](), hostChanged: newLatest[struct{}](), connection: newLatest[struct{}](),
		applied: newLatest[apply.Applied](), cleared: newLatest[struct{}](), packets: make(chan ofconn.PacketIn, 256), calls: make(chan func()),
		bindings: map[string]status.Seen{}, mine: map[string]bool{}, claimed: map[string]uint64{}, endpoints: counted[netip.Addr]{},
		progress: progress{chassis: chassis},
		untunnel: newUntunnel(cfg, log), networks: newNetworks(log),
		edge: edge{watch: counted[compile.Watch]{}, encaps: counted[model.Encap]{}, patches: counted[compile.Patch]{}, announce: counted[compile.Announcement]{}, carries: counted[string]{}, translations: newTranslations(cfg.RunDir, log)},
	}
	l.demand = newDemand(cfg, l.facts)
	l.metered.Metrics = metrics.New(cfg.Version, l.reading)
	l.hosts = newHosts(l.metered.HostTold, log)
	return l, l.readHost()
}

// auditSteps is into how many steps a reading of the switch is divided.
const auditSteps = 50

// newApplier makes the reconciler of the switch's flows.
func newApplier(l *loop, audit <-chan time.Time) *apply.Applier {
	meters := pipeline.Meters
	if l.demand.on {
		meters = append(meters[:len(meters):len(meters)], pipeline.MissMeters()...)
	}
	return apply.New(apply.Config{
		Meters: meters, Logger: l.log, OnApplied: l.roundDone,
		Audit: audit, Steps: auditSteps, Budget: max(1, int(float64(l.cfg.AuditRate)*(l.cfg.Audit/auditSteps).Seconds())),
		ReportOnly: l.cfg.AuditMode == auditReport, OnDrift: l.found.switchDrift,
		TLVs: []apply.TLV{{Class: pipeline.OptionClass, Type: pipeline.OptionType, Len: pipeline.OptionLen, Index: pipeline.OptionIndex}},
	})
}

// socket is where the integration bridge takes OpenFlow connections.
func (l *loop) socket() string { return filepath.Join(l.cfg.OpenFlowDir, l.cfg.Bridge+".mgmt") }
