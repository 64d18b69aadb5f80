//go:build bench

package bench

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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

// TestLoading100000Flows compares how long the daemon's reconciler takes to fill an empty switch, from connecting to the
// barrier, with ovs-ofctl --bundle add-flows of the same flows.
func TestLoading100000Flows(t *testing.T) {
	sets, text := loadSets(loadFlows)
	file := filepath.Join(t.TempDir(), "flows.txt")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	sw := ovstest.Start(t, ovstest.Config{Ports: []string{"p1", "p2"}})
	fill(t, sw, sets) // ovs-ofctl needs the TLV mapping
	var ours, ofctl []time.Duration
	for range 3 {
		sw.Ofctl("del-flows")
		begun := time.Now()
		run(t, "ovs-ofctl", "-O", "OpenFlow15", "--bundle", "add-flows", "unix:"+sw.Mgmt(), file)
		ofctl = append(ofctl, time.Since(begun))

		sw.Ofctl("del-flows")
		ours = append(ours, fill(t, sw, sets))
	}
	a, b := median(ours), median(ofctl)
	t.Logf("%d flows: daemon %.2f s, ovs-ofctl --bundle %.2f s (median of %d), ratio %.2f", loadFlows, a.Seconds(), b.Seconds(), len(ours), a.Seconds()/b.Seconds())
}

var tlvs = []apply.TLV{{Class: pipeline.OptionClass, Type: pipeline.OptionType, Len: pipeline.OptionLen, Index: pipeline.OptionIndex}}

// fill applies the sets to an empty switch.
func fill(t *testing.T, sw *ovstest.Switch, sets map[string]*apply.Set) time.Duration {
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
		_ = ofconn.Run(ctx, ofconn.Config{Socket: sw.Mgmt(), OnUp: func(ctx context.Context, s *ofconn.Session) { _ = a.Serve(ctx, s) }})
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

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
}
