//go:build integration

package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tuplenet/e2e/lab"
)

func TestT56_TenPacketsAreCountedByARealCollector(t *testing.T) {
	t.Parallel()
	f := newBareFleet(t, lab.Config{Name: "ipfix"})
	alice, bob := f.Hosts()[0], f.Hosts()[1]
	flows := filepath.Join(alice.Dir(), "flows")
	f.check(os.Mkdir(flows, 0o755))
	f.eventually("the collector", func() error {
		if !alice.Spawned("nfcapd").Alive() { // once in some dozen starts it ends by itself
			if _, err := alice.Spawn("nfcapd", "nfcapd", "-w", flows, "-b", "127.0.0.1", "-p", "4739", "-t", "2"); err != nil {
				return err
			}
		}
		found, _ := filepath.Glob(filepath.Join(flows, "nfcapd.current*"))
		listens, err := alice.Exec(f.ctx, "ss", "-Hlnu", "sport = 4739") // an earlier one may have left its file
		if err == nil && (len(found) == 0 || !strings.Contains(listens, ":4739")) {
			err = fmt.Errorf("no file yet, or nobody listens: %v, %q: %s", found, listens, alice.Spawned("nfcapd").Tail(5))
		}
		return err
	})
	f.daemon(alice, "IPFIX_COLLECTOR=127.0.0.1:4739", "IPFIX_SAMPLING_RATE=1", "--metrics-listen", "127.0.0.1:9476")
	f.daemon(bob)
	f.routed()
	f.eventually("the switch to have a collector", func() error {
		if strings.TrimSpace(f.on(alice, "ovs-vsctl --bare --columns=ipfix list bridge br-int")) == "" {
			return fmt.Errorf("it has none")
		}
		return nil
	})
	f.on(alice, "ip netns exec ns-alice ping -q -c 10 -i 0.05 10.20.1.1")
	// Without a cache the switch sends a record for each packet that it samples, so records are counted: nfdump shows as the packets
	// of a record those since the beginning, which Open vSwitch sends along.
	f.eventually("ten packets at the collector", func() error {
		out, err := alice.Exec(f.ctx, "nfdump", "-R", flows, "-q", "-o", "fmt:%sa %da %pr", "src ip 10.20.1.10 and dst ip 10.20.1.1 and proto icmp")
		if err != nil {
			return err
		}
		if n := strings.Count(out, "10.20.1.10"); n != 10 {
			return fmt.Errorf("it counted %d:\n%s", n, out)
		}
		return nil
	})
	var shown []struct {
		Name              string
		ObservationDomain uint32
	}
	f.check(json.Unmarshal([]byte(f.tpctl("ch show alice -o json")), &shown))
	if got := strings.TrimSpace(f.on(alice, "ovs-vsctl get ipfix . obs_domain_id")); len(shown) != 1 || got != fmt.Sprint(shown[0].ObservationDomain) || got == "0" {
		t.Errorf("observation domain %s, ch show says %+v", got, shown)
	}
	page := f.on(alice, "wget -q -O - http://127.0.0.1:9476/metrics")
	for _, want := range []string{"tuplenet_ready 1\n", "tuplenet_etcd_connected 1\n", `tuplenet_flows{table="classify"} `, `tuplenet_ports{state="ready"} 1` + "\n"} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q on the page of metrics:\n%s", want, page)
		}
	}
	if out := f.on(alice, "wget -q -O - http://127.0.0.1:9476/readyz"); out != "ok\n" {
		t.Errorf("readyz says %q", out)
	}
	if out, err := alice.Exec(f.ctx, strings.Fields("wget -q -O - --post-data={} http://127.0.0.1:9476/v1/health")...); err == nil {
		t.Errorf("commands are served without a certificate: %s", out)
	}

	f.check(alice.StopDaemon(f.ctx))
	f.daemon(alice)
	f.eventually("no IPFIX without a collector", func() error {
		if out := f.on(alice, "ovs-vsctl list ipfix"); strings.TrimSpace(out) != "" {
			return fmt.Errorf("still there: %s", out)
		}
		return nil
	})
	f.check(alice.End(f.ctx, "nfcapd", unix.SIGTERM))
}
