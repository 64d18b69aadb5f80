// Package metrics is the page of numbers of a node daemon for Prometheus (text exposition format). It owns the names, the help
// texts and the histograms; what it shows otherwise it reads, when it is asked, from the Reading that package controller gives.
// A metric is here only if something feeds it. It may not know where a number comes from.
package metrics

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Reading is the state of the daemon at one moment.
type Reading struct {
	Ready, EtcdConnected, SwitchConnected bool
	// Revisions of the store: read, compiled, acknowledged by the switch.
	Observed, Compiled, Applied int64
	Problems                    int
	// Flows of ours in the switch by table, wanted groups, flows of others, MACs that the switch has learnt by itself, flows and groups
	// that it refuses.
	Flows                    map[string]int
	Groups                   int
	Foreign, Learnt, Refused int
	// FlowOps counts flows added, modified, removed and refused since the start.
	FlowOps map[string]uint64
	// Drift counts what audits found, by kind.
	Drift map[string]uint64
	// AuditPasses of the switch, completed; AuditLast is when the last one ended, zero if none did.
	AuditPasses uint64
	AuditLast   time.Time
	// Ports are the logical ports with an interface here, by state.
	Ports map[string]int
	// Peers are the chassis that are watched by BFD.
	Peers map[string]Peer
	// Drops counts packets that rules dropped, by the name of the rule.
	Drops map[string]uint64
	// Relists of the store, by cause.
	Relists map[string]uint64
	// OnDemand is what a node that works on demand does; nil if it does not.
	OnDemand *OnDemand
	// Certificates in use: files by what they are for.
	Certificates map[string]string
}

// OnDemand counts the ports of other chassis whose flows are here now, those installed and given up, and packets that missed: for
// nobody, and beyond the limit of their port.
type OnDemand struct {
	Ports                                   int
	Installed, Evicted, Unknown, OverLimits uint64
}

// Peer is a chassis that is watched.
type Peer struct {
	Up          bool
	Transitions uint64
}

// Metrics are the numbers. It is safe for use by several goroutines.
type Metrics struct {
	registry *prometheus.Registry
	read     func() Reading
	build    prometheus.Gauge

	compile  *prometheus.HistogramVec
	apply    prometheus.Histogram
	converge prometheus.Histogram
	punts    *prometheus.CounterVec
	told     *prometheus.CounterVec
}

// New makes the metrics of a daemon of that version. read is called for every scrape, from any goroutine.
func New(version string, read func() Reading) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), read: read,
		build: prometheus.NewGauge(prometheus.GaugeOpts{Name: "tuplenet_build_info", Help: "Always 1; the labels tell the build.",
			ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()}}),
		compile: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "tuplenet_compile_duration_seconds",
			Help: "Time to compile what changed (incremental) or everything (full).", Buckets: prometheus.ExponentialBuckets(0.0001, 4, 9)}, []string{"scope"}),
		apply: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "tuplenet_apply_duration_seconds",
			Help: "Time from handing flows over until the switch acknowledged them.", Buckets: prometheus.ExponentialBuckets(0.001, 3, 10)}),
		converge: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "tuplenet_convergence_seconds",
			Help: "Time from the arrival of a change of the store until the switch acknowledged it.", Buckets: prometheus.ExponentialBuckets(0.001, 3, 10)}),
		punts: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tuplenet_punt_packets_total",
			Help: "Packets that the switch sent to the daemon, by why and whether they were taken."}, []string{"service", "result"}),
		told: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tuplenet_host_config_total",
			Help: "What workloads were told by DHCP and router advertisements, or why they were told nothing."}, []string{"service", "result"}),
	}
	m.build.Set(1)
	m.registry.MustRegister(m.build, m.compile, m.apply, m.converge, m.punts, m.told, state{m},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Scopes of a compilation.
const (
	Incremental = "incremental"
	Full        = "full"
)

// Compiled notes that compiling took that long.
func (m *Metrics) Compiled(scope string, took time.Duration) {
	m.compile.WithLabelValues(scope).Observe(took.Seconds())
}

// Applied notes that the switch acknowledged something that long after it was handed over.
func (m *Metrics) Applied(took time.Duration) { m.apply.Observe(took.Seconds()) }

// Converged notes that a change of the store was acknowledged that long after it arrived.
func (m *Metrics) Converged(took time.Duration) { m.converge.Observe(took.Seconds()) }

// Punted counts a packet that the switch sent.
func (m *Metrics) Punted(service, result string) { m.punts.WithLabelValues(service, result).Inc() }

// HostTold counts what a workload was told by a service (dhcpv4, dhcpv6, ra), in a word, or why it was told nothing.
func (m *Metrics) HostTold(service, result string) { m.told.WithLabelValues(service, result).Inc() }

// Handler serves the page.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
}

// expiry is when the first certificate of a PEM file ends.
func expiry(file string) (time.Time, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return time.Time{}, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return time.Time{}, fmt.Errorf("%s holds no PEM block", file)
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return time.Time{}, fmt.Errorf("%s: %w", file, err)
	}
	return c.NotAfter, nil
}
