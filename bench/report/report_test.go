package report

import (
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// some is a folder's worth of runs: one figure at two sizes with a target for the ratio, one with a limit, one without a peer.
func some() []*Run {
	var runs []*Run
	for size, ours := range map[int]float64{200: 10, 20000: 12} {
		r := New("port add", size, "OVN 25.03", Machine{CPU: "some <CPU>", Cores: 2})
		f := r.Figure("first ping, p50", "ms")
		f.Ratio, f.Ours, f.Peer = 0.125, []float64{ours, 3 * ours, ours - 1}, []float64{100, 90, 1000}
		g := r.Figure("throughput", "Mbit/s")
		g.MoreIsBetter, g.Limit, g.Ours = true, 500, []float64{400}
		r.Figure("alone", "s").Ours = []float64{1234.5}
		runs = append(runs, r)
	}
	return runs
}

func TestMedianOfAnEvenNumberIsTheMiddleOfTheTwo(t *testing.T) {
	if m := Median([]float64{4, 1, 3, 2}); m != 2.5 {
		t.Errorf("median %v, want 2.5", m)
	}
}

func TestTableTellsRatioTargetAndWhetherItIsMet(t *testing.T) {
	dir := t.TempDir()
	for _, r := range some() {
		if err := r.Write(dir); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "table.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| port add, 20,000 | first ping, p50 | 12.0 ms | 100 ms (OVN 25.03) | 0.12 | ≤ 0.125 | yes | 3 |",
		"| port add, 200 | throughput | 400 Mbit/s |  |  | ≥ 500 Mbit/s | **no** | 1 |",
		"| port add, 200 | alone | 1,235 s |  |  |  |  | 1 |",
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no line %q in:\n%s", want, b)
		}
	}
}

func TestPlotsAreWellFormed(t *testing.T) {
	plots := Plots(some())
	for _, name := range []string{"port-add-ratios", "port-add-first-ping--p50", "port-add-alone"} {
		d := xml.NewDecoder(strings.NewReader(plots[name]))
		tokens := 0
		for {
			_, err := d.Token()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			tokens++
		}
		if tokens < 20 {
			t.Errorf("%s has only %d pieces", name, tokens)
		}
	}
}
