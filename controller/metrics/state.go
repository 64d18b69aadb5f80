package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
)

// state shows a Reading. The metrics of each scrape are made anew, so what is gone leaves no number behind.
type state struct{ m *Metrics }

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("tuplenet_"+name, help, labels, nil)
}

// descriptions of what is read at a scrape.
type descriptions struct {
	ready, etcd, ovs, problems, revision, flows, groups, foreign, learnt, refused, ops, drift, passes, lastPass,
	ports, bfd, transitions, drops, relists, certificates, wanted, changed, unknown, overLimit *prometheus.Desc
}

func described() descriptions {
	return descriptions{
		ready:        describe("ready", "Whether what the store says is in the switch, acknowledged (1), or not (0)."),
		etcd:         describe("etcd_connected", "Whether the store answers."),
		ovs:          describe("switch_connected", "Whether there is an OpenFlow session with the switch."),
		problems:     describe("problems", "Objects and settings that are out of service on this node."),
		revision:     describe("revision", "Revision of the store that was read (observed), compiled, and acknowledged by the switch (applied).", "kind"),
		flows:        describe("flows", "Flows of tuplenet in the switch.", "table"),
		groups:       describe("groups", "Groups that the switch should have."),
		foreign:      describe("foreign_flows", "Flows in the integration bridge that are not tuplenet's."),
		learnt:       describe("learnt_macs", "MACs that the switch learnt behind ports without declared addresses."),
		refused:      describe("refused_flows", "Flows and groups that are wanted and that the switch refuses now."),
		ops:          describe("flow_ops_total", "Flows sent to the switch.", "op", "result"),
		drift:        describe("flow_audit_drift_total", "Things in the switch that somebody else changed.", "kind"),
		passes:       describe("flow_audit_passes_total", "Complete readings of the switch by the audit."),
		lastPass:     describe("flow_audit_last_pass_timestamp_seconds", "When the audit last completed a reading of the switch."),
		ports:        describe("ports", "Logical ports with an interface on this node.", "state"),
		bfd:          describe("bfd_up", "Whether a watched chassis is reachable.", "peer"),
		transitions:  describe("bfd_transitions_total", "How often a watched chassis became reachable or unreachable.", "peer"),
		drops:        describe("drops_total", "Packets that a rule dropped, as counted by the audit.", "reason"),
		relists:      describe("watch_relists_total", "Times that following the store was interrupted or began anew.", "cause"),
		wanted:       describe("ondemand_ports", "Ports of other chassis whose flows are here because they are used."),
		changed:      describe("ondemand_changes_total", "Ports of other chassis whose flows were made on first use, or given up.", "op"),
		unknown:      describe("ondemand_unknown_packets_total", "Packets that missed and that are for nobody."),
		overLimit:    describe("ondemand_limited_packets_total", "Packets that missed and were dropped because their port asked too often."),
		certificates: describe("cert_expiry_timestamp_seconds", "When a certificate in use ends.", "name"),
	}
}

// Describe implements prometheus.Collector.
func (s state) Describe(ch chan<- *prometheus.Desc) {
	d := described()
	for _, x := range []*prometheus.Desc{d.ready, d.etcd, d.ovs, d.problems, d.revision, d.flows, d.groups, d.foreign, d.learnt, d.refused, d.ops, d.drift, d.passes,
		d.lastPass, d.ports, d.bfd, d.transitions, d.drops, d.relists, d.certificates, d.wanted, d.changed, d.unknown, d.overLimit} {
		ch <- x
	}
}

// Collect implements prometheus.Collector.
func (s state) Collect(ch chan<- prometheus.Metric) {
	d, r := described(), s.m.read()
	gauge := func(x *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(x, prometheus.GaugeValue, v, labels...)
	}
	counter := func(x *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(x, prometheus.CounterValue, float64(v), labels...)
	}
	gauge(d.ready, truth(r.Ready))
	gauge(d.etcd, truth(r.EtcdConnected))
	gauge(d.ovs, truth(r.SwitchConnected))
	gauge(d.problems, float64(r.Problems))
	gauge(d.revision, float64(r.Observed), "observed")
	gauge(d.revision, float64(r.Compiled), "compiled")
	gauge(d.revision, float64(r.Applied), "applied")
	gauge(d.groups, float64(r.Groups))
	gauge(d.foreign, float64(r.Foreign))
	gauge(d.learnt, float64(r.Learnt))
	gauge(d.refused, float64(r.Refused))
	counter(d.passes, r.AuditPasses)
	if !r.AuditLast.IsZero() {
		gauge(d.lastPass, float64(r.AuditLast.UnixMilli())/1000)
	}
	if o := r.OnDemand; o != nil {
		gauge(d.wanted, float64(o.Ports))
		counter(d.changed, o.Installed, "install")
		counter(d.changed, o.Evicted, "evict")
		counter(d.unknown, o.Unknown)
		counter(d.overLimit, o.OverLimits)
	}
	each(r.Flows, func(k string, n int) { gauge(d.flows, float64(n), k) })
	each(r.Ports, func(k string, n int) { gauge(d.ports, float64(n), k) })
	each(r.FlowOps, func(k string, n uint64) {
		if k == "refused" {
			counter(d.ops, n, "add", "refused")
			return
		}
		counter(d.ops, n, k, "ok")
	})
	each(r.Drift, func(k string, n uint64) { counter(d.drift, n, k) })
	each(r.Drops, func(k string, n uint64) { counter(d.drops, n, k) })
	each(r.Relists, func(k string, n uint64) { counter(d.relists, n, k) })
	each(r.Peers, func(k string, p Peer) {
		gauge(d.bfd, truth(p.Up), k)
		counter(d.transitions, p.Transitions, k)
	})
	each(r.Certificates, func(k, file string) {
		if t, err := expiry(file); err == nil {
			gauge(d.certificates, float64(t.Unix()), k)
		}
	})
}

func each[V any](m map[string]V, fn func(string, V)) {
	for k, v := range m {
		fn(k, v)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
