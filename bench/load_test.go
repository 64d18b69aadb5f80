//go:build bench

package bench

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"tuplenet/datapath/apply"
	"tuplenet/datapath/ofconn"
	"tuplenet/datapath/ovstest"
	"tuplenet/flows/compile"
	"tuplenet/flows/memo"
	"tuplenet/flows/pipeline"
)

const loadFlows = 100_000

// loadSets compiles the dual-stack deployment and returns the sets of its owners up to so many flows, and the same flows
// as text for ovs-ofctl. Flows that need a group are left out: ovs-ofctl would need the groups first.
func loadSets(n int) (map[string]*apply.Set, []byte) {
	e := compile.New()
	deploy(e.Set, true)
	e.Update()
	sets, text, count := map[string]*apply.Set{}, bytes.Buffer{}, 0
	seen := map[uint64]bool{}
	e.Outputs(func(u memo.Unit, o compile.Output) {
		if len(o.Groups) > 0 || u.Feature == "base" {
			return
		}
		s := &apply.Set{}
		for _, f := range o.Flows {
			if count == n || seen[f.KeyHash()] {
				continue
			}
			flow, err := f.Unpack()
			if err != nil {
				panic(err)
			}
			seen[f.KeyHash()] = true
			count++
			s.Flows = append(s.Flows, apply.Flow{Packed: f.Packed, Rule: f.Rule})
			fmt.Fprintln(&text, flow.String())
		}
		if len(s.Flows) > 0 {
			sets[u.String()] = s
		}
	})
	if count < n {
		panic(fmt.Sprint("only ", count, " flows"))
	}
	return sets, text.Bytes()
}

// TestBenchLoading compares how long the daemon's reconciler takes to fill an empty switch, from connecting to the barrier, with ovs-ofctl
// --bundle add-flows of the same flows, and with ofnet, which gets them ready to send.
func TestBenchLoading(t *testing.T) {
	sets, text := loadSets(loadFlows)
	file := filepath.Join(t.TempDir(), "flows.txt")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	sw := ovstest.Start(t, ovstest.Config{Ports: []string{"p1", "p2"}})
	mods := filepath.Join(t.TempDir(), "flow-mods")
	recordMods(t, sw, sets, mods) // ovs-ofctl needs the TLV mapping that this leaves
	ofnet := buildOfnet(t)
	run := newRun(t, "loading", loadFlows, "ovs-ofctl --bundle")
	ours := &record{t, run, true, map[string]target{"connect to barrier": {ratio: 1}}}
	peer := &record{t, run, false, ours.targets}
	for range envNumber(t, "ROUNDS", "3") {
		sw.Ofctl("del-flows")
		begun, used := time.Now(), clients()
		execute(t, "ovs-ofctl", "-O", "OpenFlow15", "--bundle", "add-flows", "unix:"+sw.Mgmt(), file)
		peer.seconds("connect to barrier", time.Since(begun))
		peer.seconds("CPU of the one that loads", clients()-used)
		sw.Ofctl("del-flows")
		used = own()
		ours.seconds("connect to barrier", fill(t, sw.Mgmt(), sets))
		ours.seconds("CPU of the one that loads", own()-used)
		if ofnet == "" {
			continue
		}
		sw.Ofctl("del-flows")
		ms, err := strconv.Atoi(strings.TrimSpace(execute(t, ofnet, sw.Mgmt(), mods)))
		if err != nil {
			t.Fatal(err)
		}
		peer.seconds("the same by ofnet", time.Duration(ms)*time.Millisecond)
		if out := sw.Ofctl("dump-aggregate"); !strings.Contains(out, fmt.Sprintf("flow_count=%d", loadFlows)) {
			t.Fatalf("ofnet left %s", out)
		}
	}
	write(t, run)
}

// buildOfnet builds the contestant, a module of its own; without it the benchmark says so and goes on.
func buildOfnet(t *testing.T) (program string) {
	t.Helper()
	program = filepath.Join(t.TempDir(), "ofnet")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".")
	cmd.Dir = "ofnet"
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Logf("measured without ofnet, which cannot be built: %v: %s", err, out)
		return ""
	}
	return program
}

var tlvs = []apply.TLV{{Class: pipeline.OptionClass, Type: pipeline.OptionType, Len: pipeline.OptionLen, Index: pipeline.OptionIndex}}

// fill applies the sets to the empty switch behind a socket.
func fill(t *testing.T, socket string, sets map[string]*apply.Set) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	done := make(chan apply.Applied, 1)
	a := apply.New(apply.Config{TLVs: tlvs, OnApplied: func(d apply.Applied) {
		select {
		case done <- d:
		default:
		}
	}})
	for owner, set := range sets {
		a.Put(owner, set)
	}
	a.Commit(1)
	begun := time.Now()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = ofconn.Run(ctx, ofconn.Config{Socket: socket, OnUp: func(ctx context.Context, s *ofconn.Session) { _ = a.Serve(ctx, s) }})
	}()
	var d apply.Applied
	select {
	case d = <-done:
	case <-ctx.Done():
		t.Fatal("not applied within a minute")
	}
	took := time.Since(begun)
	if d.Added != loadFlows || len(d.Failed) > 0 {
		t.Fatalf("%d flows added, failures: %v", d.Added, d.Failed[:min(3, len(d.Failed))])
	}
	cancel()
	<-ended
	return took
}

func execute(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v: %s", name, err, complaint.Bytes()[max(0, complaint.Len()-1000):])
	}
	return out.String()
}
