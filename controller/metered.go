package controller

import (
	"strconv"
	"strings"
	"time"

	"tuplenet/controller/metrics"
	"tuplenet/datapath/apply"
	"tuplenet/datapath/ofconn"
	"tuplenet/flows/pipeline"
	"tuplenet/model/store"
)

// metered takes the times of the loop: when changes arrived, were handed over, and were acknowledged.
type metered struct {
	*metrics.Metrics
	feed func() store.Feed // of the store; nil in tests

	arrived time.Time // the oldest change of the store that is in no commit
	open    []handed
}

// handed is a commit that the switch has not acknowledged.
type handed struct {
	seq         int64
	arrived, at time.Time // arrived is zero for commits that no change of the store caused
}

// keptHanded bounds how many commits are timed at once. While the switch is away they come all the same, and it will acknowledge
// them together: those beyond count as one.
const keptHanded = 1024

// handOver notes a commit.
func (m *metered) handOver(seq int64, now time.Time) {
	if n := len(m.open); n == keptHanded {
		m.open[n-1].seq, m.arrived = seq, time.Time{}
		return
	}
	m.open = append(m.open, handed{seq, m.arrived, now})
	m.arrived = time.Time{}
}

// acknowledge takes the commits up to seq as done.
func (m *metered) acknowledge(seq int64, now time.Time) {
	for len(m.open) > 0 && m.open[0].seq <= seq {
		h := m.open[0]
		m.open = m.open[1:]
		m.Applied(now.Sub(h.at))
		if !h.arrived.IsZero() {
			m.Converged(now.Sub(h.arrived))
		}
	}
}

// punted counts a packet of the switch.
func (m *metered) punted(p ofconn.PacketIn, taken bool) {
	service, result := "unknown", "taken"
	if len(p.Userdata) > 0 {
		service = serviceOf(pipeline.Punt(p.Userdata[0]))
	}
	if !taken {
		result = "queue_full"
	}
	m.Punted(service, result)
}

// serviceOf is which of the daemon's services a packet is for.
func serviceOf(why pipeline.Punt) string {
	switch why {
	case pipeline.PuntTTL, pipeline.PuntNoRoute, pipeline.PuntNoNeighbour, pipeline.PuntPortUnreachable, pipeline.PuntTooBig, pipeline.PuntNextTooBig:
		return "icmp"
	case pipeline.PuntResolve, pipeline.PuntLearn:
		return "neighbour"
	case pipeline.PuntPing, pipeline.PuntPingReply:
		return "ping"
	case pipeline.PuntMiss:
		return "ondemand"
	case pipeline.PuntDHCPv4, pipeline.PuntDHCPv6, pipeline.PuntSolicit:
		return answeredBy(why)
	}
	return "unknown"
}

// learntMACs is how many MACs the switch had learnt by itself when its flows were counted last.
func (l *loop) learntMACs(counted apply.Stats) int {
	return max(0, counted.InTable[pipeline.LearntMAC.ID]-l.applier.Tables()[pipeline.LearntMAC.ID])
}

// reading is what the page of metrics shows. It is called by who serves it.
func (l *loop) reading() metrics.Reading {
	said, applied := l.vital.said.Load(), l.applier.Stats()
	audit, learnt := l.found.audit(applied), l.learntMACs(applied)
	r := metrics.Reading{
		Ready: l.vital.ready() == nil, SwitchConnected: l.session.Load() != nil, Observed: said.observed, Compiled: said.compiled, Applied: said.applied,
		Problems: len(said.problems), Flows: map[string]int{}, Groups: applied.Groups, Foreign: max(0, applied.Foreign-learnt), Learnt: learnt, Refused: applied.Failing,
		FlowOps: map[string]uint64{"add": applied.Added, "modify": applied.Modified, "delete": applied.Removed, "refused": applied.Refused},
		Drift:   audit.Drift, AuditPasses: applied.Passes, AuditLast: applied.LastPass, Ports: said.ports, Peers: map[string]metrics.Peer{},
		Drops: map[string]uint64{}, Certificates: map[string]string{},
	}
	for table, n := range l.applier.Tables() {
		r.Flows[tableName(table)] = n
	}
	packets := l.applier.Packets()
	for _, rule := range pipeline.Rules {
		if rule.Drop != "" {
			r.Drops[rule.Name] = packets[rule.ID]
		}
	}
	for _, i := range l.ovsFacts.get().Interfaces {
		if chassis, ok := strings.CutPrefix(i.Owner, watchedBy); ok {
			flaps, _ := strconv.ParseUint(i.BFD["flap_count"], 10, 64)
			r.Peers[chassis] = metrics.Peer{Up: i.BFD["state"] == "up", Transitions: flaps}
		}
	}
	if l.demand.on {
		r.OnDemand = l.demand.reading()
	}
	if l.metered.feed != nil {
		f := l.metered.feed()
		r.EtcdConnected, r.Relists = f.Connected, map[string]uint64{"compacted": f.Compacted, "disconnect": f.Interrupted}
	}
	for name, file := range map[string]string{"etcd": l.cfg.Cert, "api": l.cfg.APICert} {
		if file != "" {
			r.Certificates[name] = file
		}
	}
	return r
}
