//go:build integration

package e2e_test

import (
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"tuplenet/e2e/lab"
)

// footprint is what a host has of networks: its devices, and the flows of br-int by their text without counters.
func (f *fleet) footprint(h *lab.Host) (out []string) {
	f.t.Helper()
	for line := range strings.Lines(f.on(h, "ip -o link")) {
		if field := strings.Fields(line); len(field) > 1 {
			out = append(out, "device "+field[1])
		}
	}
	out = append(out, slices.Collect(maps.Keys(f.ages(h)))...)
	slices.Sort(out)
	return out
}

func TestU15_ANetworkThatNobodyUsesTouchesNoHost(t *testing.T) {
	t.Parallel()
	f := newFleet(t, lab.Config{Name: "unused"})
	before := map[string][]string{}
	for i, h := range f.Hosts() {
		peer := f.Hosts()[1-i].Addrs()[0].String()
		f.eventually(h.Name()+" to know its peer", func() error {
			if before[h.Name()] = f.footprint(h); !strings.Contains(strings.Join(before[h.Name()], "\n"), peer) {
				return errors.New("no flow names it")
			}
			return nil
		})
	}
	for _, line := range []string{"pool add v6 2001:db8:20::/48", "pool add v4 10.20.0.0/16", "ls add NET --pool v6 --pool v4", "subnet add NET --next 64",
		"lr add LR", "lr link LR NET 10.20.0.1/24,2001:db8:20::1/64", "lsp add NET w", "init --main-network"} {
		f.tpctl(line + " --wait=60s")
	}
	for _, h := range f.Hosts() {
		if after := f.footprint(h); !slices.Equal(before[h.Name()], after) {
			t.Errorf("%s had\n%s\nand has\n%s", h.Name(), strings.Join(before[h.Name()], "\n"), strings.Join(after, "\n"))
		}
	}
	// Its first port on a host makes that the host's business.
	port := f.tpctl("lsp show NET w -o json")
	mac := port[strings.Index(port, `"mac": "`)+len(`"mac": "`):]
	w := f.workload(f.Hosts()[0], "w", "w", mac[:17], "10.20.0.1", "", "10.20.0.2/24")
	f.reach(w, netip.MustParseAddr("10.20.0.1"))
	if after := f.footprint(f.Hosts()[1]); !slices.Equal(before[f.Hosts()[1].Name()], after) {
		t.Errorf("%s has no port of it, and has\n%s", f.Hosts()[1].Name(), strings.Join(after, "\n"))
	}
}
