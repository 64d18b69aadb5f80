//go:build bench

package bench

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"tuplenet/bench/report"
)

// What the environment says of the runs:
//
//	TUPLENET_BENCH_RESULTS  folder of the results, default ../tmp/bench
//	TUPLENET_BENCH_SIZES    ports in place, default 200,1000,5000,20000
//	TUPLENET_BENCH_ROUNDS   runs of each side, at most; default 3
//	TUPLENET_BENCH_BUDGET   no further run begins that would end after so many seconds; default 150
//	TUPLENET_BENCH_PROFILE  folder for profiles of the daemons
func env(name, otherwise string) string {
	if v := os.Getenv("TUPLENET_BENCH_" + name); v != "" {
		return v
	}
	return otherwise
}

func envNumber(t *testing.T, name, otherwise string) int {
	t.Helper()
	n, err := strconv.Atoi(env(name, otherwise))
	if err != nil {
		t.Fatalf("TUPLENET_BENCH_%s: %v", name, err)
	}
	return n
}

func sizes(t *testing.T) (all []int) {
	t.Helper()
	for _, s := range strings.Split(env("SIZES", "200,1000,5000,20000"), ",") {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("TUPLENET_BENCH_SIZES: %v", err)
		}
		all = append(all, n)
	}
	return all
}

// target is what a figure should be: Ratio and Limit as in report.Figure.
type target struct {
	ratio, limit float64
	more         bool
}

// record takes the figures of one run of one side.
type record struct {
	t       *testing.T
	run     *report.Run
	ours    bool
	targets map[string]target
}

func (r *record) add(name, unit string, value float64) {
	r.t.Helper()
	f := r.run.Figure(name, unit)
	w := r.targets[name]
	f.Ratio, f.Limit, f.MoreIsBetter = w.ratio, w.limit, w.more
	if r.ours {
		f.Ours = append(f.Ours, value)
	} else {
		f.Peer = append(f.Peer, value)
	}
	r.t.Logf("%s: %.4g %s", name, value, unit)
}

// duration and milliseconds add a time.
func (r *record) seconds(name string, d time.Duration) { r.t.Helper(); r.add(name, "s", d.Seconds()) }

func (r *record) milliseconds(name string, d time.Duration) {
	r.t.Helper()
	r.add(name, "ms", float64(d)/float64(time.Millisecond))
}

// machine describes where this runs.
func machine(t *testing.T) report.Machine {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ovs-vswitchd", "--version").Output()
	if err != nil {
		t.Fatalf("Open vSwitch is missing (scripts/deps.sh): %v", err)
	}
	first, _, _ := strings.Cut(string(out), "\n")
	return report.ThisMachine("Open vSwitch " + first[strings.LastIndexByte(first, ' ')+1:])
}

func newRun(t *testing.T, scenario string, size int, peer string) *report.Run {
	t.Helper()
	return report.New(scenario, size, peer, machine(t))
}

func write(t *testing.T, r *report.Run) {
	t.Helper()
	dir := env("RESULTS", "../tmp/bench")
	if err := r.Write(dir); err != nil {
		t.Fatal(err)
	}
	t.Logf("results are in %s\n%s", dir, report.Table([]*report.Run{r}))
}

// compare runs a scenario on both sides in turn, each time in new labs, as often as the budget allows, and writes what came of it. The side
// that begins changes.
func compare(t *testing.T, scenario string, size int, targets map[string]target, edges []string, measure func(side, *record)) {
	t.Helper()
	tree, noPeer := findOVN()
	peer := ""
	if noPeer != nil {
		t.Logf("measured without the peer: %v", noPeer)
	} else {
		var err error
		if peer, err = tree.version(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	run := newRun(t, scenario, size, peer)
	name := strings.ReplaceAll(scenario, " ", "")
	begun, budget := time.Now(), time.Duration(envNumber(t, "BUDGET", "150"))*time.Second
	for round := range envNumber(t, "ROUNDS", "3") {
		if passed := time.Since(begun); round > 0 && passed+passed/time.Duration(round) > budget {
			break
		}
		for k := range 2 {
			if ours := (round+k)%2 == 0; ours {
				t.Run(fmt.Sprintf("%d-tuplenet", round+1), func(t *testing.T) {
					measure(newOurs(t, name, edges...), &record{t, run, true, targets})
				})
			} else if noPeer == nil {
				t.Run(fmt.Sprintf("%d-ovn", round+1), func(t *testing.T) {
					measure(newOVN(t, tree, name, edges...), &record{t, run, false, targets})
				})
			}
		}
		if t.Failed() {
			return
		}
	}
	write(t, run)
}
