package compile_test

import (
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"tuplenet/flows/of"
	"tuplenet/flows/sim"
)

// Two deployments with the same addresses share hosts and edges: the external addresses of the one decide nothing for the
// other. In the first the workload has one at each edge, in the second at the second edge only.
func TestX13_ExternalAddressesOfOneDeploymentAreNothingToTheOther(t *testing.T) {
	ar, err := txtar.ParseFile("testdata/edges.txtar")
	if err != nil {
		t.Fatal(err)
	}
	first := section(ar, "intent") + "nat LR-edge2 float2 10.20.1.11/32 dnat_and_snat 192.168.1.41\n"
	w := parse(t, first+twin(t, first))
	alice := map[string]string{"LS-A": "192.168.1.12", "twin-LS-A": "192.168.1.13"}
	flows, _, groups := flatten(t, compileFacts(w.see("alice")))
	for ls, edge := range alice {
		sw, err := sim.New(sim.Config{Flows: flows, Groups: groups, Tunnels: []uint32{tunnelPort}})
		if err != nil {
			t.Fatal(err)
		}
		_, ofport := w.where(strings.TrimSuffix(ls, "LS-A") + "lsp-float")
		router := w.owner(ls, netip.MustParseAddr("10.20.1.1")).MAC
		for i := range 64 {
			to := netip.AddrFrom4([4]byte{203, 0, 113, byte(i)})
			tr := sw.Run(ping(mac("f2:01:00:00:00:09"), netip.MustParseAddr("10.20.1.11"), router, to), ofport)
			if tr.Err != nil || len(tr.Outputs) != 1 || !tr.Outputs[0].Tunnel {
				t.Fatalf("%s to %s: %+v, %v", ls, to, tr.Outputs, tr.Err)
			}
			if got := tr.Outputs[0].Packet.Get(of.TunDst).Addr4().String(); got != edge {
				t.Fatalf("%s to %s through %s, want %s", ls, to, got, edge)
			}
			if tracked := len(tr.Passes) > 1; tracked != (ls == "LS-A") {
				t.Fatalf("%s: tracked: %v", ls, tracked)
			}
		}
	}
}

// twin is the same deployment once more on the same chassis: other names and ids, but the external address at the first edge.
func twin(t *testing.T, intent string) string {
	t.Helper()
	name := regexp.MustCompile(`\b(LS-A|LR-\w+|m[12]|outside[12]|lsp-\w+|patchport-outside[12])\b`)
	var b strings.Builder
	for line := range strings.Lines(intent) {
		f := strings.Fields(line)
		if len(f) == 0 || strings.Contains("chassis gateway watched", f[0]) || f[0] == "nat" && f[2] == "float1" {
			continue
		}
		for i := 1; i < len(f); i++ {
			f[i] = name.ReplaceAllString(f[i], "twin-$1")
			f[i] = strings.ReplaceAll(f[i], "_to_m", "_to_twin-m")
			f[i] = strings.ReplaceAll(f[i], "_to_outside", "_to_twin-outside")
		}
		if f[0] == "switch" || f[0] == "router" {
			id, err := strconv.Atoi(f[2])
			if err != nil {
				t.Fatal(err)
			}
			f[2] = strconv.Itoa(id + 100)
		}
		b.WriteString(strings.Join(f, " ") + "\n")
	}
	return b.String()
}
