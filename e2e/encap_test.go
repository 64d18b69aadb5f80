//go:build integration

package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	"tuplenet/e2e/lab"
)

// ways moves TCP both ways, by both families.
func (f *fleet) ways(a, b *lab.Workload) {
	f.t.Helper()
	f.transfer(a, b, bobIP, 2e6)
	f.transfer(b, a, aliceIP, 2e6)
	f.transfer(a, b, bobIP6, 2e6)
	f.transfer(b, a, aliceIP6, 2e6)
}

// What the matrix of `make test-full` does for every test, here for one in each cell besides Geneve's own (T21): a host that
// offers VXLAN is sent VXLAN, over IPv4 and IPv6, and nothing else crosses; broadcasts reach who is on the switch.
func TestT25_U12_U14_VXLANOverBothFamiliesCarriesBothFamilies(t *testing.T) {
	t.Parallel()
	for underlay, mtu := range map[lab.Underlay]int{lab.UnderlayIPv4: 1450, lab.UnderlayIPv6: 1430} {
		t.Run(string(underlay), func(t *testing.T) {
			f := newBareFleet(t, lab.Config{Name: "vxlan-" + string(underlay), Underlay: underlay})
			for _, h := range f.Hosts() {
				f.daemon(h, "--encap", "vxlan")
			}
			a, b := f.routed()
			f.onlyTunnels(func() { f.ways(a, b) }, true)
			f.eventuallyShows("ch show alice -o json", fmt.Sprintf(`"tunnelMTU": %d`, mtu))
			f.eventuallyShows("ch show bob", "encaps: vxlan (no ")
			for _, h := range f.Hosts() {
				if ports := f.on(h, "ovs-vsctl list-ports br-int"); strings.Contains(ports, "tuplenet-gnv") {
					t.Errorf("%s has a port for Geneve, which nobody wants: %s", h.Name(), ports)
				}
			}
			f.tpctl("ls add WIRE") // nothing is known of addresses on it: ARP crosses the tunnel
			f.tpctl("lsp add WIRE left - f2:01:00:00:00:41")
			f.tpctl("lsp add WIRE right - f2:01:00:00:00:42")
			left := f.workload(f.Hosts()[0], "w-left", "left", "f2:01:00:00:00:41", "", "", "10.9.0.1/24")
			right := f.workload(f.Hosts()[1], "w-right", "right", "f2:01:00:00:00:42", "", "", "10.9.0.2/24")
			f.reach(left, right.Addrs()[0])
			f.transfer(right, left, left.Addrs()[0], 1e6)
		})
	}
}

func TestT25_EachHostIsSentWhatItOffersAndMayChangeItsMind(t *testing.T) {
	f := newBareFleet(t, lab.Config{Name: "vxlan-mixed", Hosts: []string{"alice", "bob", "carol"}, Underlay: lab.UnderlayDual})
	alice, bob, carol := f.Host("alice"), f.Host("bob"), f.Host("carol")
	f.daemon(alice, "--encap", "geneve")
	f.daemon(bob, "--encap", "vxlan")
	f.daemon(carol, "--encap", "vxlan,geneve")
	a, b := f.routed()
	f.tpctl("lsp add LS-A lsp-carol 10.20.1.30,2001:db8:20:1::30 f2:01:00:00:00:05")
	c := f.workload(carol, "ns-carol", "lsp-carol", "f2:01:00:00:00:05", "10.20.1.1", "2001:db8:20:1::1", "10.20.1.30/24", "2001:db8:20:1::30/64")
	f.reach(a, c.Addrs()...)
	f.reach(b, c.Addrs()...)
	f.ways(a, b)
	f.transfer(c, a, aliceIP6, 1e6)
	f.transfer(c, b, bobIP, 1e6)
	for _, h := range []*lab.Host{bob, carol} {
		f.sentBy(alice, h, "4789")
		f.sentBy(h, alice, "6081")
	}

	// First all offer both, then the other one is the best, then it is the only one: nothing is lost.
	f.check(alice.StopDaemon(f.ctx))
	f.daemon(alice, "--encap", "geneve,vxlan")
	f.eventuallyShows("ch show alice -o table", "geneve,vxlan")
	tr := f.startTraffic(b, a, aliceIP, aliceIP6)
	f.check(alice.StopDaemon(f.ctx))
	f.daemon(alice, "--encap", "vxlan,geneve")
	f.eventually("bob to send VXLAN to alice", func() error {
		flows, err := bob.Ofctl(f.ctx, "dump-flows", "--no-names", "br-int", "table=16,dl_dst=f2:01:00:00:00:01")
		if err == nil && !strings.Contains(flows, "0x20/0x20->reg10") {
			err = errorf("his flows are\n%s", flows)
		}
		return err
	})
	f.check(alice.StopDaemon(f.ctx))
	f.daemon(alice, "--encap", "vxlan")
	tr.end("the change from Geneve to VXLAN")
	f.sentBy(bob, alice, "4789")
}

// sentBy tells by which UDP port packets of a host reach another one.
func (f *fleet) sentBy(from, to *lab.Host, port string) {
	f.t.Helper()
	wire, err := to.CaptureUnderlay(f.ctx, "udp and src host "+ip(from))
	f.check(err)
	f.reach(f.Workload("ns-"+from.Name()), f.Workload("ns-" + to.Name()).Addrs()[0])
	text, err := wire.Stop(f.ctx)
	f.check(err)
	if want := fmt.Sprintf("%s.%s: ", ip(to), port); !strings.Contains(text, want) || strings.Count(text, "> "+ip(to)+".") != strings.Count(text, want) {
		f.t.Errorf("%s sends to %s by another port than %s:\n%.1500s", from.Name(), to.Name(), port, text)
	}
}

// A gateway that is sent VXLAN cannot know whether a packet was handed on before, so it hands nothing on: a port that moves, and an edge
// that cannot reach a host, lose what is under way, and nothing goes round.
func TestT25_WhatNeedsFlagsIsLeftOutAndSaid(t *testing.T) {
	t.Parallel()
	f := newBareFleet(t, lab.Config{Name: "vxlan-flags"})
	for _, h := range f.Hosts() {
		f.daemon(h, "--encap", "vxlan")
	}
	f.routed()
	for _, h := range f.Hosts() {
		f.eventuallyShows("ch show "+h.Name(), "encaps: vxlan (no redirect, no forwarding after a port has moved, no return through several edges, no live trace)")
	}
	out := f.tpctl("trace --from lsp-alice --to " + bobIP.String())
	if !strings.Contains(out, "delivered to lsp-bob on bob") {
		t.Errorf("traced on paper:\n%s", out)
	}
	out, _ = f.Tpctl(f.ctx, strings.Fields("trace --live --from lsp-alice --to "+bobIP.String())...)
	if !strings.Contains(out, "by VXLAN, which has no room for the trace's mark") {
		t.Errorf("traced alive:\n%s", out)
	}
}

func TestU13_X18_HostsWhoseDevicesDifferAndEndpointsThatCannotBe(t *testing.T) {
	t.Parallel()
	f := newBareFleet(t, lab.Config{Name: "devices", Underlay: lab.UnderlayIPv6, KernelRoutes: true})
	alice, bob := f.Host("alice"), f.Host("bob")
	own := ip(bob)
	for _, line := range []string{
		"ovs-vsctl del-br " + bob.Bridge(),
		"ovs-vsctl add-br wlan9 -- set bridge wlan9 datapath_type=netdev -- add-port wlan9 wire0",
		"ip link set wlan9 up", "ip -6 addr add " + own + "/64 dev wlan9 nodad",
	} {
		f.on(bob, line)
	}
	f.daemon(alice)
	devices := []string{"--interface", "eth7,wlan9", "--host", f.Endpoints()[0]}
	f.check(bob.StartDaemonExactly(f.ctx, devices...))
	a, b := f.routed()
	f.ways(a, b)
	for _, bad := range [][]string{{"--ip", "fe80::1"}, {"--ip", "fe80::1%wlan9"}} {
		_, err := bob.Exec(f.ctx, append([]string{"tuplenet", "--host", f.Endpoints()[0]}, bad...)...)
		if err == nil || exitCode(err) != 2 || !strings.Contains(err.Error(), "link-local addresses have no meaning beyond one link, give a global or unique local one") {
			t.Errorf("tuplenet %v: %v", bad, err)
		}
	}
}
