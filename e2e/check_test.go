//go:build integration

package e2e_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"tuplenet/e2e/lab"
)

// says runs a command line whose exit code and output must be as said.
func (f *fleet) says(code int, line string, want ...string) {
	f.t.Helper()
	out, err := f.Hosts()[0].Shell(f.ctx, "tpctl "+line+"; echo code $?")
	f.check(err)
	if !strings.HasSuffix(out, fmt.Sprintf("code %d\n", code)) {
		f.t.Errorf("tpctl %s: want code %d:\n%s", line, code, out)
	}
	for _, w := range want {
		if !regexp.MustCompile("(?m)" + w).MatchString(out) {
			f.t.Errorf("tpctl %s does not say %s:\n%s", line, w, out)
		}
	}
}

func TestP05_WhatIsWrongOnAHostIsFoundAndWhatIsDroppedIsNamed(t *testing.T) {
	t.Parallel()
	f := newFleet(t, lab.Config{Name: "ck"})
	alice, _ := f.routed()
	f.settled()
	f.says(0, "check --strict", `^looks good!$`)
	f.says(0, "status", `^revision \d+: 2 switches, 1 routers, 4 ports \(0 unbound\)`, `^alice +up +0 +\d+ +1 +- +0$`, `^bob +up +0 `)
	f.says(0, "status -o json", `"problems": \[\]`)
	f.says(0, "flows lsp-alice --rule local-port", `owner +: local/LS-A/lsp-alice`)
	f.says(0, "flows LS-B --chassis bob -o table", `^l2_lookup +\d+ +\S+ +port/LS-B/lsp-bob`)

	// Drops have names: the port sends from an address that is not its own.
	_, err := alice.Exec(f.ctx, "ip", "addr", "add", "10.20.1.99/24", "dev", "eth0")
	f.check(err)
	_, _ = alice.Exec(f.ctx, "ping", "-c", "3", "-i", "0.2", "-W", "1", "-I", "10.20.1.99", "10.20.2.10") // it is lost, as it should be
	f.says(0, "why-drop lsp-alice --interval 100ms", `^ +- owner  : \S+/LS-A/lsp-alice$`, `^ +- packets: [1-9]`)

	// The interface of a workload as containers have it.
	_, err = alice.Exec(f.ctx, "ethtool", "-K", "eth0", "tx", "on")
	f.check(err)
	_, err = alice.Exec(f.ctx, "ip", "link", "set", "dev", "eth0", "mtu", "1500")
	f.check(err)
	f.says(1, "check", `^error: chassis/alice/interface/\S+: \S+ leaves checksums to the device`, `inside the workload: ethtool -K \S+ tx off$`,
		`^warning: chassis/alice/interface/\S+: its MTU is 1500, but only packets of 14\d\d bytes fit into the tunnels$`)

	// A daemon that is gone.
	f.check(f.Hosts()[1].StopDaemon(f.ctx))
	f.eventuallyShows("ch show bob -o json", `"state": "down"`)
	f.says(1, "check", `^error: chassis/bob: it is down \(last seen \d+s ago\)$`, `tpctl ch del bob$`)
	out, err := f.Hosts()[0].Ofctl(f.ctx, "-O", "OpenFlow15", "dump-flows", "br-int")
	f.check(err)
	decoded, err := f.Hosts()[0].Shell(f.ctx, "ovs-ofctl -O OpenFlow15 dump-flows br-int | tpctl decode")
	f.check(err)
	if n := strings.Count(decoded, " rule="); n < strings.Count(out, "cookie=")*9/10 {
		t.Errorf("%d of %d flows are decoded", n, strings.Count(out, "cookie="))
	}
	var g struct{ Nodes, Edges []any }
	if err := json.Unmarshal([]byte(f.tpctl("topology -o json")), &g); err != nil || len(g.Nodes) != 8 || len(g.Edges) != 8 {
		t.Errorf("topology: %v, %d nodes, %d edges", err, len(g.Nodes), len(g.Edges))
	}
}

func TestP05_NothingIsFoundWhereAllIsWell(t *testing.T) {
	t.Parallel()
	e := withEdges(t, "ck-edge", 2)
	e.eventually("a check that finds nothing", func() error {
		out, err := e.Hosts()[0].Shell(e.ctx, "tpctl check --strict; echo code $?")
		if err == nil && out != "looks good!\ncode 0\n" {
			err = errorf("%s", out)
		}
		return err
	})
	e.says(0, "status", `^\S+ +up, gateway +0 +\d+ +\d+ +([1-9])/\d up +0$`)
	// One tunnel is cut: the ends of it say so.
	e.check(e.edge(2).CutUnderlay())
	e.eventually("that the tunnels are down", func() error {
		out, err := e.Hosts()[0].Shell(e.ctx, "tpctl check; echo code $?")
		if err == nil && (!strings.Contains(out, "the watched tunnel to") || !strings.Contains(out, "code 1\n")) {
			err = errorf("%s", out)
		}
		return err
	})
	e.check(e.edge(2).RestoreUnderlay())
}
