//go:build integration

package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tuplenet/e2e/lab"
	"tuplenet/flows/pipeline"
)

// late runs a command that waits, which must end with code 5 within the limit and name who is late.
func (f *fleet) late(limit time.Duration, line string, want ...string) {
	f.t.Helper()
	began := time.Now()
	_, err := f.Tpctl(f.ctx, strings.Fields(line)...)
	if took := time.Since(began); took > limit {
		f.t.Errorf("%s took %s", line, took)
	}
	if exitCode(err) != 5 {
		f.t.Fatalf("%s: code %d: %v", line, exitCode(err), err)
	}
	for _, w := range want {
		if !regexp.MustCompile(w).MatchString(err.Error()) {
			f.t.Errorf("%s: %v\ndoes not say %s", line, err, w)
		}
	}
}

// full makes a table of a host's switch refuse further flows.
func (f *fleet) full(h *lab.Host, t pipeline.Table) {
	f.t.Helper()
	out, err := h.Ofctl(f.ctx, "-O", "OpenFlow15", "dump-flows", "br-int", fmt.Sprintf("table=%d", t.ID))
	f.check(err)
	_, err = h.Vsctl(f.ctx, "--id=@t", "create", "Flow_Table", fmt.Sprintf("flow_limit=%d", strings.Count(out, "cookie=")), "overflow_policy=refuse",
		"--", "set", "Bridge", "br-int", fmt.Sprintf("flow_tables:%d=@t", t.ID))
	f.check(err)
}

func TestU24_ReceiptsNameTheStoppedTheDeadAndTheRefusedAndWaitForNobodyElse(t *testing.T) {
	t.Parallel()
	f := newBareFleet(t, lab.Config{Name: "rc", Hosts: []string{"stopped", "dead", "full", "far"}})
	for _, h := range f.Hosts() {
		f.daemon(h, "ONDEMAND=0") // a port elsewhere makes flows, which may be refused
	}
	f.tpctl("ls add LS-A")
	f.tpctl("ls add LS-far")
	for i, h := range f.Hosts() {
		ls := "LS-A"
		if h.Name() == "far" {
			ls = "LS-far"
		}
		f.tpctl(fmt.Sprintf("lsp add %s p-%s 10.0.0.%d", ls, h.Name(), 10+i))
		f.on(h, fmt.Sprintf("ovs-vsctl add-port br-int p%d -- set Interface p%d type=internal external_ids:iface-id=p-%s", i, i, h.Name()))
		f.eventuallyShows("lsp show "+ls+" p-"+h.Name()+" -o json", `"chassis": "`+h.Name()+`"`)
	}
	stopped, dead, full, far := f.Hosts()[0], f.Hosts()[1], f.Hosts()[2], f.Hosts()[3]
	f.check(far.Daemon().Signal(unix.SIGSTOP)) // not concerned by anything that follows
	defer func() { f.check(far.Daemon().Signal(unix.SIGCONT)) }()
	if out := f.tpctl("lsp add LS-A one 10.0.0.51 --wait=1m"); !regexp.MustCompile(`\napplied on 3/3 affected chassis in \d+ ms\n$`).MatchString(out) {
		t.Errorf("all is well: %s", out)
	}

	f.check(dead.KillDaemon(f.ctx))
	f.eventuallyShows("ch show dead -o json", `"state": "down"`)
	f.full(full, pipeline.L2Lookup)
	f.check(stopped.Daemon().Signal(unix.SIGSTOP))
	f.late(10*time.Second, "lsp add LS-A two 10.0.0.52 --wait=4s",
		`applied on 0/3 affected chassis in [4-9]\d\d\d ms`,
		`dead unreachable \(last seen \d+ s ago\)`,
		`full at revision \d+.*: refused port/LS-A/two: table l2_lookup, rule [a-z-]+: OFPFMFC_TABLE_FULL`,
		`stopped at revision \d+, reported \d+s ago: no answer`)
	// One that stays stopped counts as dead after its lease; then nobody is waited for any more.
	f.late(time.Minute, "lsp del LS-A one --wait=2m", `dead unreachable \(last seen`, `stopped unreachable \(last seen \d+ s ago\)`)

	f.check(stopped.Daemon().Signal(unix.SIGCONT))
	f.on(full, "ovs-vsctl clear Bridge br-int flow_tables")
	f.daemon(dead)
	f.eventually("all that was missing", func() error {
		out, err := f.Tpctl(f.ctx, "lsp", "add", "LS-A", fmt.Sprintf("more-%d", time.Now().UnixNano()), "--wait=5s")
		if err == nil && !strings.Contains(out, "applied on 3/3") {
			err = errorf("%s", out)
		}
		return err
	})
	if out := f.tpctl("ls add LS-nobody --wait=1m"); !strings.Contains(out, "applied on 0/0") {
		t.Errorf("nobody is concerned: %s", out)
	}
}

// missing are the lines of a text that another one has not.
func missing(text, in string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		if !strings.Contains(in, line) {
			out.WriteString(line)
		}
	}
	return out.String()
}

func TestT64_AStoreThatWasWipedAndRestoredGivesTheSameFlows(t *testing.T) {
	t.Parallel()
	f := newFleet(t, lab.Config{Name: "bk"})
	f.tpctl("ls add LS-gap")
	a, _ := f.routed()
	f.tpctl("ls del LS-gap") // the numbers that are given out next would be others
	f.tpctl("lsr add LR-central dflt 0.0.0.0/0 10.20.2.10 LR-central_to_LS-B --wait=1m")
	flows := func() string {
		var all []string
		for _, h := range f.Hosts() {
			out, err := h.Ofctl(f.ctx, "-O", "OpenFlow15", "--no-stats", "--no-names", "--sort", "dump-flows", "br-int")
			f.check(err)
			groups, err := h.Ofctl(f.ctx, "-O", "OpenFlow15", "dump-groups", "br-int")
			f.check(err)
			all = append(all, slices.Sorted(strings.Lines(out+groups))...) // groups come in any order
		}
		return strings.Join(all, "")
	}
	before, backup := flows(), f.tpctl("export")
	file := filepath.Join(f.Dir(), "backup.yaml")
	f.check(os.WriteFile(file, []byte(backup), 0o600))

	f.on(f.Hosts()[0], "etcdctl del --prefix /tuplenet/v1/spec/")
	f.on(f.Hosts()[0], "etcdctl del --prefix /tuplenet/v1/unique/")
	f.on(f.Hosts()[0], "etcdctl del --prefix /tuplenet/v1/binding/")
	f.on(f.Hosts()[0], "etcdctl del --prefix /tuplenet/v1/chassis/")
	f.eventually("no flows of the network", func() error {
		if now := flows(); strings.Count(now, "\n") > strings.Count(before, "\n")/2 {
			return errorf("there are %d lines", strings.Count(now, "\n"))
		}
		return nil
	})
	f.tpctl("apply -f " + file + " --wait=1m")
	f.eventually("the flows of before", func() error {
		if now := flows(); now != before {
			return errorf("only now: %s\nonly before: %s", missing(now, before), missing(before, now))
		}
		return nil
	})
	f.reach(a, bobIP, bobIP6)
	if out := f.tpctl("apply -f " + file + " --prune --all"); out != "nothing to change\n" {
		t.Errorf("again: %s", out)
	}
}
