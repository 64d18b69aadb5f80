package controller

import (
	"context"
	"encoding/binary"
	"log/slog"
	"math/bits"
	"sync/atomic"
	"time"

	"tuplenet/controller/facts"
	"tuplenet/controller/metrics"
	"tuplenet/controller/responder"
	"tuplenet/datapath/apply"
	"tuplenet/datapath/host"
	"tuplenet/datapath/ofconn"
	"tuplenet/datapath/ovsdb"
	"tuplenet/flows/compile"
	"tuplenet/flows/memo"
	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
	"tuplenet/model"
)

// demand makes the flows of ports on other chassis wanted when a packet needs them, keeps the packet until the switch has them,
// and gives up those that nobody needs any more. What is wanted is kept nowhere but in the switch: an earlier daemon's flows say
// it. It belongs to the loop, but for what is said to be safe.
type demand struct {
	on    bool
	idle  time.Duration
	facts *facts.Facts

	misses *misses // safe
	out    *outbox // safe

	// Before the switch was read nothing is known of what is wanted. wasRead (safe) tells that it was, found what it has.
	restored bool
	wasRead  atomic.Bool
	found    *latest[[]station]

	fresh []miss // wait for the next commit
	held  []held
	since map[model.Ref]time.Time // when a port became wanted, if this daemon made it so

	looking  bool
	lookNext time.Time
	idleness *latest[map[string]time.Duration] // owner → how long no packet met any of its flows

	sign    *host.Sign
	unsaid  bool // that there is no sign was not told yet
	isAlive bool // the sign is held

	counts demandCounts
}

// signName is the device by which the switch knows that the daemon lives. While it has no carrier misses go to an edge.
const signName = "tuplenet-life"

// demandCounts are for metrics; safe.
type demandCounts struct{ wanted, installed, evicted, unknown, limited atomic.Int64 }

// station is a MAC on a switch.
type station struct {
	vni model.VNI
	mac model.MAC
}

// held is a packet that waits until a commit is acknowledged.
type held struct {
	miss
	commit int64
}

func newDemand(cfg Config, f *facts.Facts) *demand {
	return &demand{on: cfg.OnDemand && !cfg.Gateway, idle: cfg.OnDemandIdle, facts: f, misses: newMisses(), out: newOutbox(), found: newLatest[[]station](),
		since: map[model.Ref]time.Time{}, idleness: newLatest[map[string]time.Duration](), sign: host.NewSign(signName), unsaid: true}
}

// prepare makes the device of the sign, or removes it if there is no use for it.
func (d *demand) prepare(log *slog.Logger) {
	act := d.sign.Remove
	if d.on {
		act = d.sign.Make
	}
	d.tell(log, act())
}

// live shows the switch that the daemon lives: from now on misses are answered.
func (d *demand) live(log *slog.Logger) {
	if d.on && !d.isAlive {
		err := d.sign.Hold()
		d.isAlive = err == nil
		d.tell(log, err)
	}
}

func (d *demand) tell(log *slog.Logger, err error) {
	if err != nil && d.unsaid {
		d.unsaid = false
		log.Warn("the switch cannot notice when the daemon ends: packets that miss are lost then", "err", err)
	}
}

// ports are the OVS ports that the node needs on demand.
func (d *demand) ports() []ovsdb.Port {
	if !d.on {
		return nil
	}
	return []ovsdb.Port{{Name: signName, Owner: "on demand"}}
}

// lifePort is the OpenFlow number of the sign, 0 if the switch does not have it.
func (d *demand) lifePort(f ovsdb.Facts, bridge string) uint32 {
	if i := f.Interfaces[signName]; d.on && i.HasOFPort() && i.Bridge == bridge {
		return uint32(i.OFPort)
	}
	return 0
}

// reading is what metrics show. It may be called by anybody.
func (d *demand) reading() *metrics.OnDemand {
	c := &d.counts
	return &metrics.OnDemand{Ports: int(c.wanted.Load()), Installed: uint64(c.installed.Load()), Evicted: uint64(c.evicted.Load()),
		Unknown: uint64(c.unknown.Load()), OverLimits: uint64(c.limited.Load())}
}

// isReady tells whether it is known what is wanted, so that flows may be compiled.
func (d *demand) isReady() bool { return !d.on || d.restored }

// read asks a switch that was there before this daemon whose flows it has. It is called by the session's goroutine before anything is
// sent.
func (d *demand) read(ctx context.Context, s *ofconn.Session) error {
	if !d.on || d.wasRead.Load() {
		return nil
	}
	var all []station
	err := s.DumpSelected(ctx, ofconn.Selection{Table: pipeline.L2Lookup.ID, Cookie: apply.DefaultNamespace << 56, Mask: 0xff << 56}, func(f ofconn.FlowDesc) {
		m, err := of.DecodeMatch(f.Match)
		if err != nil {
			return
		}
		var at station
		for _, t := range m {
			switch {
			case t.Field == of.Metadata:
				at.vni = model.VNI(t.Value.Uint64())
			case t.Field == of.EthDst && t.Value.MAC()[0]&1 == 0:
				at.mac = model.MAC(t.Value.MAC())
			}
		}
		if !at.mac.IsZero() {
			all = append(all, at)
		}
	})
	if err == nil {
		d.wasRead.Store(true)
		d.found.set(all)
	}
	return err
}

// restore makes wanted what the switch has, once the objects of the store are known.
func (d *demand) restore() {
	for _, at := range d.found.get() {
		if p := d.facts.PortOfMAC(at.vni, at.mac); p != nil {
			d.want(p, time.Time{})
		}
	}
	d.found.set(nil)
	d.restored = true
}

// want makes the flows of a port wanted, and tells whether they were not.
func (d *demand) want(p *model.LogicalSwitchPort, now time.Time) bool {
	if p.Type == model.PortRouter || p.Type == model.PortPatch || !d.facts.Want(p.Ref()) {
		return false
	}
	if !now.IsZero() {
		d.since[p.Ref()] = now
		d.counts.installed.Add(1)
	}
	d.counts.wanted.Store(int64(len(d.facts.Wanted())))
	return true
}

// take makes wanted what the packets that came need, and tells whether that is news. Packets for nobody go on at once: then they meet
// the same rules as with all flows.
func (d *demand) take(now time.Time) (news bool) {
	var lost []ofconn.PacketOut
	for _, m := range d.misses.take(now) {
		p := d.portOf(m.PacketIn)
		if p == nil {
			d.counts.unknown.Add(1)
			lost = append(lost, onward(m.PacketIn))
			continue
		}
		news = d.want(p, now) || news
		d.fresh = append(d.fresh, m)
	}
	d.out.put(lost)
	return news
}

// committed notes the last commit: packets that came before it go on when it is acknowledged.
func (d *demand) committed(commit, acknowledged int64) {
	for _, m := range d.fresh {
		d.held = append(d.held, held{m, commit})
	}
	d.fresh = nil
	d.acknowledged(acknowledged)
}

// acknowledged lets packets go on whose flows are in the switch.
func (d *demand) acknowledged(commit int64) {
	n := 0
	var all []ofconn.PacketOut
	for ; n < len(d.held) && d.held[n].commit <= commit; n++ {
		all = append(all, onward(d.held[n].PacketIn))
	}
	if d.held = d.held[n:]; len(d.held) == 0 {
		d.held = nil
	}
	d.out.put(all)
}

// portOf is the port whose flows a packet missed, nil if there is none.
func (d *demand) portOf(p ofconn.PacketIn) *model.LogicalSwitchPort {
	at := model.VNI(fieldOf(p, of.Metadata))
	if len(p.Data) < 14 {
		return nil
	}
	switch subfieldOf(p, pipeline.Missed) {
	case pipeline.MissedPort:
		return d.facts.PortOfMAC(at, model.MAC(p.Data[:6]))
	case pipeline.MissedAnswer:
		if ip, ok := responder.Target(p.Data); ok {
			return d.facts.PortOfIP(at, ip)
		}
	case pipeline.MissedNeighbour:
		regs := registers(p.Fields)
		return d.facts.PortBehind(at, model.PortKey(regs[15]), nextHop(regs, binary.BigEndian.Uint16(p.Data[12:]) == 0x0800))
	}
	return nil
}

// onward sends a packet on from where it missed, marked, with all that the pipeline knew of it.
func onward(p ofconn.PacketIn) ofconn.PacketOut {
	table, _ := pipeline.MissedIn(subfieldOf(p, pipeline.Missed))
	out := ofconn.PacketOut{InPort: of.PortController, Data: p.Data, Actions: []of.Action{pipeline.Datapath.Load(fieldOf(p, of.Metadata))}}
	for i, v := range registers(p.Fields) {
		if f := of.Reg0 + of.Field(i); v != 0 {
			out.Actions = append(out.Actions, of.Load(of.Whole(f), v))
		}
	}
	out.Actions = append(out.Actions, pipeline.Asked.Load(1), pipeline.Again(table))
	// A frame for everybody must not come back to who sent it.
	if ingress := uint32(fieldOf(p, pipeline.Ingress.Sub.Field)); ingress != 0 && ingress == uint32(fieldOf(p, of.InPort)) {
		out.InPort = ingress
	}
	return out
}

// look asks the switch, from time to time, which flows no packet meets. It does so in a goroutine of its own: the loop goes on.
func (d *demand) look(ctx context.Context, now time.Time, a *apply.Applier, s *ofconn.Session) {
	if !d.on || d.looking || s == nil || now.Before(d.lookNext) {
		return
	}
	d.looking = true
	d.lookNext = now.Add(min(max(d.idle/4, time.Second), 30*time.Second))
	go func() {
		idle, err := idleOwners(ctx, a, s)
		if n, failed := s.MeterDrops(ctx); failed == nil {
			d.counts.limited.Store(int64(pipeline.MissesLimited(n)))
		}
		if err != nil {
			idle = nil
		}
		d.idleness.set(idle)
	}()
}

// lookedAt is how many flows the switch shows at once.
const lookedAt = 2048

// idleOwners tells of the owners of flows in the tables that lead to ports how long no packet met any of their flows.
func idleOwners(ctx context.Context, a *apply.Applier, s *ofconn.Session) (map[string]time.Duration, error) {
	idle, counts := map[string]time.Duration{}, a.Tables()
	for _, table := range []pipeline.Table{pipeline.Responder, pipeline.L2Lookup, pipeline.Neighbour} {
		parts := uint64(1) << bits.Len(uint(max(0, counts[table.ID]-1))/lookedAt)
		for part := range parts {
			sel := ofconn.Selection{Table: table.ID, Cookie: apply.DefaultNamespace<<56 | part, Mask: 0xff<<56 | (parts - 1)}
			err := s.DumpSelected(ctx, sel, func(f ofconn.FlowDesc) {
				if owner, _, ok := a.Owner(f.Cookie); ok {
					if least, seen := idle[owner]; !seen || f.Idle < least {
						idle[owner] = f.Idle
					}
				}
			})
			if err != nil {
				return nil, err
			}
		}
	}
	return idle, nil
}

// evict gives up the ports whose flows no packet met for long, or that are gone, and tells whether there are any. It is told what
// was found; nil = nothing was learnt.
func (d *demand) evict(now time.Time, idle map[string]time.Duration) (news bool) {
	d.looking = false
	if idle == nil {
		return false
	}
	for port := range d.facts.Wanted() {
		least, there := idle[memo.Unit{Feature: "port", ID: compile.FactKey(port).ID}.String()]
		used := there && least < d.idle || now.Sub(d.since[port]) < d.idle
		if used && d.facts.Object(port) != nil {
			continue
		}
		d.facts.Unwant(port)
		delete(d.since, port)
		d.counts.evicted.Add(1)
		news = true
	}
	d.counts.wanted.Store(int64(len(d.facts.Wanted())))
	return news
}
