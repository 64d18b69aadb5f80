//go:build bench

package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tuplenet/e2e/lab"
)

// cniRounds is how many containers each plugin gets.
const cniRounds = 100

// TestBenchCNIAdd measures how long ADD takes: ours, which returns when the port works on every host, and the reference plugin bridge
// with host-local addresses, which knows of one host only. Both plugins are run in turn, as a runtime runs them.
func TestBenchCNIAdd(t *testing.T) {
	if _, err := os.Stat("/usr/lib/cni/bridge"); err != nil {
		t.Fatal("the reference plugins are missing (apt-get install containernetworking-plugins):", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	bin := binaries(t)
	l, err := lab.New(ctx, lab.Config{Name: os.Getenv("TUPLENET_LAB_PREFIX") + "cniadd", Bin: bin})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Down(); err != nil {
			t.Error(err)
		}
	}()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(l.StartEtcd(ctx))
	for _, h := range l.Hosts() {
		check(h.StartDaemon(ctx))
	}
	for _, line := range []string{"ls add LS-A", "ls add LS-B", "lr add LR", "lr link LR LS-A 10.20.1.1/24", "lr link LR LS-B 10.20.2.1/24"} {
		_, err := l.Tpctl(ctx, strings.Fields(line)...)
		check(err)
	}
	h := l.Hosts()[0]
	_, err = h.Exec(ctx, "mount", "-t", "tmpfs", "tmpfs", "/var/lib") // where host-local keeps its addresses
	check(err)
	_, err = h.Exec(ctx, "ip", "netns", "add", "pod")
	check(err)
	plugins := []cniPlugin{
		{"tpcni", filepath.Join(bin, "tpcni"), map[string]any{"type": "tpcni", "switchname": "LS-A", "subnet": "10.20.1.1/24", "etcd_cluster": strings.Join(l.Endpoints(), ",")}},
		{"bridge + host-local", "/usr/lib/cni/bridge", map[string]any{"type": "bridge", "bridge": "cni0", "isDefaultGateway": true, "ipam": map[string]any{"type": "host-local", "subnet": "10.99.0.0/16"}}},
	}
	took := make([][]time.Duration, len(plugins))
	for round := range cniRounds {
		for i, p := range plugins {
			d, err := p.run(ctx, h, "ADD", round)
			check(err)
			took[i] = append(took[i], d)
			_, err = p.run(ctx, h, "DEL", round)
			check(err)
		}
	}
	run := newRun(t, "container", 0, plugins[1].name)
	for i := range plugins {
		r := &record{t, run, i == 0, nil}
		r.milliseconds("ADD, p50", median(took[i]))
		r.milliseconds("ADD, p95", quantile(took[i], 0.95))
	}
	write(t, run)
}

// cniPlugin is a plugin with its configuration.
type cniPlugin struct {
	name, program string
	conf          map[string]any
}

// run runs a command of the plugin on a host and tells how long it took, with the start of the process.
func (p cniPlugin) run(ctx context.Context, h *lab.Host, command string, round int) (time.Duration, error) {
	conf := map[string]any{"cniVersion": "1.0.0", "name": "pods"}
	for k, v := range p.conf {
		conf[k] = v
	}
	input, err := json.Marshal(conf)
	if err != nil {
		return 0, err
	}
	var out bytes.Buffer
	start := time.Now()
	err = h.ExecWith(ctx, lab.Streams{In: bytes.NewReader(input), Out: &out, Err: &out}, "env", "CNI_PATH=/usr/lib/cni", "CNI_COMMAND="+command,
		fmt.Sprintf("CNI_CONTAINERID=c%d", round), "CNI_IFNAME=eth0", "CNI_NETNS=/run/netns/pod", p.program)
	took := time.Since(start)
	if err != nil {
		return 0, fmt.Errorf("%s %s: %w: %s", p.name, command, err, out.String())
	}
	return took, nil
}
