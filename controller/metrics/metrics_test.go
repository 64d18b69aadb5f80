package metrics

import (
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

// page is what a scrape of these numbers gives.
func page(t *testing.T, r Reading) string {
	t.Helper()
	m := New("v1", func() Reading { return r })
	m.Compiled(Incremental, time.Millisecond)
	m.Compiled(Full, time.Second)
	m.Applied(time.Millisecond)
	m.Converged(2 * time.Millisecond)
	m.Punted("icmp", "taken")
	m.HostTold("dhcpv4", "ack")
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	b, err := io.ReadAll(w.Result().Body)
	if err != nil || w.Code != 200 {
		t.Fatal(w.Code, err)
	}
	return string(b)
}

// everything has a value for each metric.
func everything() Reading {
	return Reading{Ready: true, EtcdConnected: true, SwitchConnected: true, Observed: 7, Compiled: 7, Applied: 6, Problems: 1,
		Flows: map[string]int{"classify": 3}, Groups: 2, Foreign: 4, Learnt: 12, Refused: 1, FlowOps: map[string]uint64{"add": 5, "refused": 1},
		Drift: map[string]uint64{"missing": 2}, AuditPasses: 9, AuditLast: time.UnixMilli(1500), Ports: map[string]int{"bound": 1},
		Peers: map[string]Peer{"hv2": {Up: true, Transitions: 3}}, Drops: map[string]uint64{"spoofed-mac": 8},
		Relists: map[string]uint64{"compacted": 1}, OnDemand: &OnDemand{Ports: 4, Installed: 6, Evicted: 2, Unknown: 1, OverLimits: 5}}
}

func TestThePageHasNoFindingsOfPromlint(t *testing.T) {
	for _, r := range []Reading{{}, everything()} {
		problems, err := promlint.New(strings.NewReader(page(t, r))).Lint()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

func TestThePageShowsWhatIsRead(t *testing.T) {
	got := page(t, everything())
	for _, want := range []string{
		"tuplenet_ready 1\n", "tuplenet_learnt_macs 12\n", "tuplenet_etcd_connected 1\n", "tuplenet_switch_connected 1\n", `tuplenet_revision{kind="applied"} 6` + "\n",
		`tuplenet_flows{table="classify"} 3` + "\n", `tuplenet_flow_ops_total{op="add",result="ok"} 5` + "\n",
		`tuplenet_flow_ops_total{op="add",result="refused"} 1` + "\n", `tuplenet_flow_audit_drift_total{kind="missing"} 2` + "\n",
		"tuplenet_flow_audit_last_pass_timestamp_seconds 1.5\n", `tuplenet_bfd_up{peer="hv2"} 1` + "\n", `tuplenet_bfd_transitions_total{peer="hv2"} 3` + "\n",
		`tuplenet_drops_total{reason="spoofed-mac"} 8` + "\n", `tuplenet_compile_duration_seconds_count{scope="full"} 1` + "\n",
		"tuplenet_ondemand_ports 4\n", `tuplenet_ondemand_changes_total{op="evict"} 2` + "\n", "tuplenet_ondemand_limited_packets_total 5\n",
		"tuplenet_convergence_seconds_count 1\n", `tuplenet_punt_packets_total{result="taken",service="icmp"} 1` + "\n", `version="v1"} 1` + "\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}
