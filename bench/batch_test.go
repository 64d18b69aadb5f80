package bench

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"tuplenet/model/store"
	"tuplenet/tpctl"
)

// networkFile writes the deployment of the scale scenario as a file of commands.
func networkFile(t testing.TB, dual bool) string {
	name := filepath.Join(t.TempDir(), "network.txt")
	if err := os.WriteFile(name, network{switches, portsPerSwitch, dual}.commands(), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

var transactions = regexp.MustCompile(`(\d+) lines done in [0-9.]+ s, (\d+) transactions`)

// BenchmarkBatch writes 20,000 ports on 200 switches with tpctl batch to an etcd in this process that syncs to disk.
func BenchmarkBatch(b *testing.B) {
	for _, dual := range []bool{false, true} {
		b.Run(map[bool]string{false: "ipv4", true: "dual"}[dual], func(b *testing.B) {
			file := networkFile(b, dual)
			etcd, err := store.StartEmbedded(b.TempDir(), "http://127.0.0.1:0", nil)
			if err != nil {
				b.Fatal(err)
			}
			defer etcd.Close()
			var lines, txns float64
			for i := 0; b.Loop(); i++ {
				out := tpctlRun(b, etcd, "-p", fmt.Sprintf("/bench%d", i), "batch", "-f", file)
				found := transactions.FindStringSubmatch(out)
				if found == nil {
					b.Fatal(out)
				}
				n, _ := strconv.Atoi(found[1])
				m, _ := strconv.Atoi(found[2])
				lines, txns = lines+float64(n), txns+float64(m)
			}
			b.ReportMetric(lines/b.Elapsed().Seconds(), "lines/s")
			b.ReportMetric(txns/b.Elapsed().Seconds(), "txns/s")
		})
	}
}

// tpctlRun runs tpctl in this process and returns what it prints.
func tpctlRun(t testing.TB, etcd *store.Embedded, args ...string) string {
	var out, errs bytes.Buffer
	code := tpctl.Main(t.Context(), tpctl.Env{Args: append([]string{"-e", strings.Join(etcd.Endpoints(), ","), "--timeout", "60s"}, args...),
		Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Getenv: func(string) string { return "" }})
	if code != tpctl.ExitOK {
		t.Fatalf("tpctl %s: exit code %d: %s", strings.Join(args, " "), code, errs.String())
	}
	return out.String()
}
