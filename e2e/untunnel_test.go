//go:build integration

package e2e_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"tuplenet/e2e/lab"
)

var errStillThere = errors.New("it is still there")

// hostPort is the internal port of br-int to the host's own stack.
const hostPort = "tuplenet-host"

// outing is a workload on alice, what it reaches outside, and how.
type outing struct {
	from *lab.Workload
	ip   netip.Addr // of the workload
	to   *lab.Workload
	dst  netip.Addr
	args []string // of alice's daemon; nil: those of the lab
}

// Section 7 of the tutorial. What leaves has the workload's own address, so the edge does not translate, and the physical
// network has a route to the workloads through it.
func TestT57_C04_UntunnelLeavesThroughTheHostAndReturnsThroughTheEdge(t *testing.T) {
	t.Parallel()
	e := newEdged(t, "untunnel", lab.OneNIC, 1)
	e.addEdge(1)
	e.reach(e.a, e.server.Addrs()[0])
	e.tpctl("lnat del LR-edge1 snat_rule1")
	for _, s := range []*lab.Workload{e.server, e.Outside().Router} {
		e.check(e.exec(s, "ip route add 10.20.0.0/16 via 192.168.1.20"))
	}
	e.reach(e.a, e.server.Addrs()[0])
	// The host has a way to the far subnet, as the tutorial's hosts have.
	e.on(e.Host("alice"), "ip route add default via 192.168.1.1")
	e.untunneled(outing{from: e.a, ip: aliceIP, to: e.server, dst: e.server.Addrs()[0], args: e.here(lab.TutorialDaemon())}, e.far)
	e.reach(e.a, bobIP)
	e.transfer(e.a, e.b, bobIP, 1<<20)
}

func TestT57_C04_UntunnelWithIPv6(t *testing.T) {
	t.Parallel()
	cfg := lab.TutorialEdgesConfig("untunnel6", "", lab.OneNIC, 1)
	cfg.Etcd, cfg.Underlay = lab.EtcdManagement, lab.UnderlayDual
	f := newBareFleet(t, cfg)
	e := &edged{fleet: f, server: f.Outside().Server, far: f.Outside().Far, layout: lab.OneNIC}
	for _, s := range []*lab.Workload{e.server, e.far} {
		_, err := s.StartWeb(f.ctx, webPort)
		f.check(err)
	}
	alice, edge := f.Host("alice"), f.Host("edge1")
	f.daemon(alice)
	f.daemon(edge, "ONDEMAND=0", "GATEWAY=1")
	f.tpctl("lr add LR-central")
	for _, line := range lab.TutorialNetworkIPv6() {
		f.on(alice, line)
	}
	var err error
	e.a, err = alice.AddWorkload(f.ctx, lab.TutorialIPv6("alice"))
	f.check(err)
	f.check(edge.Type(f.ctx, nil, lab.TutorialEdgePatch(1)...))
	f.check(alice.Type(f.ctx, nil, tutorial6(1)...))
	e.reach(e.a, e.server.Addrs()[1])
	e.tpctl("lnat del LR-edge1 snat_rule1")
	for _, s := range []*lab.Workload{e.server, e.Outside().Router} {
		e.check(e.exec(s, "ip route add 2001:db8:20::/47 via 2001:db8:ffff::20"))
	}
	e.on(alice, "ip addr add 2001:db8:ffff::a/64 dev eth0 nodad")
	e.on(alice, "ip route add default via 2001:db8:ffff::1")
	e.reach(e.a, e.server.Addrs()[1])
	e.untunneled(outing{from: e.a, ip: aliceIP6, to: e.server, dst: e.server.Addrs()[1]}, e.far)
}

// untunneled switches untunnel mode on and off on alice and looks where packets go.
func (e *edged) untunneled(o outing, far *lab.Workload) {
	e.t.Helper()
	alice := e.Host("alice")
	settings := "sysctl net.ipv4.ip_forward net.ipv6.conf.all.forwarding net.ipv4.conf.all.rp_filter net.ipv6.conf.all.accept_ra net.ipv6.conf.default.forwarding"
	before := e.on(alice, settings)
	restart := func(env ...string) {
		e.t.Helper()
		e.check(alice.StopDaemon(e.ctx))
		if o.args == nil {
			e.daemon(alice, env...)
			return
		}
		e.check(alice.StartDaemonExactly(e.ctx, append(env, o.args...)...))
	}
	e.passes(o, far, false)
	restart("ENABLE_UNTUNNEL=1")
	e.eventually("the internal port", func() error {
		_, err := alice.Exec(e.ctx, "ip", "link", "show", hostPort)
		return err
	})
	e.leavesInClear(o) // which it does some time after the port has come
	e.passes(o, far, true)
	restart()
	e.eventually("the port to go", func() error {
		if _, err := alice.Exec(e.ctx, "ip", "link", "show", hostPort); err == nil {
			return errStillThere
		}
		return nil
	})
	e.reach(o.from, o.dst)
	e.passes(o, far, false)
	if now := e.on(alice, settings); now != before {
		e.t.Errorf("settings of the kernel were\n%s\nand are\n%s", before, now)
	}
}

// leavesInClear waits until a ping of the workload leaves its host without a tunnel.
func (e *edged) leavesInClear(o outing) {
	e.t.Helper()
	e.eventually(o.from.Name+"'s packets to leave in clear", func() error {
		wire, err := e.Host("alice").CaptureUnderlay(e.ctx, "host "+o.ip.String()) // inside a tunnel's packets it does not look
		e.check(err)
		e.reach(o.from, o.dst)
		text, err := wire.Stop(e.ctx)
		if err == nil && strings.TrimSpace(text) == "" {
			err = errors.New("none did")
		}
		return err
	})
}

// passes moves data to the outside and looks whether packets of the workload leave its host in clear, or else in a tunnel; what comes
// back is in one always.
func (e *edged) passes(o outing, far *lab.Workload, inClear bool) {
	e.t.Helper()
	wire, err := e.Host("alice").CaptureUnderlay(e.ctx, "ip or ip6")
	e.check(err)
	e.transfer(o.from, o.to, o.dst, 1<<18)
	for _, s := range []*lab.Workload{o.to, far} { // by HTTP, a document of 1 MiB, each compared by its digest
		for _, dst := range s.Addrs() {
			if dst.Is4() == o.dst.Is4() {
				e.fetches(o.from, dst, o.ip)
			}
		}
	}
	text, err := wire.Stop(e.ctx)
	e.check(err)
	text = whole(text)
	tunnel := false // the packet shown last was a tunnel's, and what is indented below is within it
	var clear, tunnelled, back bool
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, " ") && !strings.HasPrefix(line, "\t") {
			tunnel = false
		}
		tunnel = tunnel || strings.Contains(line, "Geneve") || strings.Contains(line, "VXLAN")
		if strings.Contains(line, o.ip.String()+".") && strings.Contains(line, "> "+o.dst.String()+".") {
			clear, tunnelled = clear || !tunnel, tunnelled || tunnel
		}
		back = back || tunnel && strings.Contains(line, o.dst.String()+".") && strings.Contains(line, "> "+o.ip.String()+".")
	}
	if clear != inClear || tunnelled == inClear || !back {
		e.t.Errorf("packets of the workload leave in clear: %v, in a tunnel: %v; answers come in a tunnel: %v\n%.2500s", clear, tunnelled, back, text)
	}
}
