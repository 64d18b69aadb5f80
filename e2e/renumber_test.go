//go:build integration

package e2e_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tuplenet/e2e/lab"
)

// maxRenumbering is how long traffic may stop after the address of a node has changed, beyond what the machine makes others wait.
const maxRenumbering = 2 * time.Second

func TestX15_NodesWhoseAddressesAreGivenByTheNetworkAreFollowedWhenItIsRenumbered(t *testing.T) {
	f := newBareFleet(t, lab.Config{Name: "slaac", Underlay: lab.UnderlayIPv6, KernelRoutes: true})
	owner := f.underlayOwner()
	first, second, third := netip.MustParsePrefix("2001:db8:a::/64"), netip.MustParsePrefix("2001:db8:b::/64"), netip.MustParsePrefix("2001:db8:c::/64")
	owner.advertise(map[netip.Prefix]bool{first: true})
	f.nodesHave(first)
	for _, h := range f.Hosts() {
		f.daemon(h)
	}
	f.eventuallyShows("ch show", "2001:db8:a:")
	a, b := f.routed()
	f.transfer(a, b, bobIP, 2e6)

	// The old prefix is not preferred any more (RFC 4862 section 5.5.4): nodes have both addresses for a while.
	f.outage("a new prefix beside the old one", a, b, func() {
		owner.advertise(map[netip.Prefix]bool{first: false, second: true})
		f.nodesHave(second)
		f.registeredIn(second)
	})
	// Then it is gone from one moment to the next.
	f.outage("the end of the old prefix", a, b, func() { f.dropAddresses(first) })
	// And once more, without a time with both.
	f.outage("another prefix at once", a, b, func() {
		for i, h := range f.Hosts() {
			f.on(h, fmt.Sprintf("ip -6 addr add 2001:db8:c::%x/64 dev %s nodad", 0x10+i, h.Bridge()))
		}
		f.dropAddresses(second)
		f.registeredIn(third)
	})
	f.transfer(a, b, bobIP, 2e6)
	f.transfer(b, a, aliceIP6, 2e6)
}

// outage does something to the addresses of nodes under traffic, and measures for how long that stops. When nodes do not get to run,
// a workload's pings to its router on its own host stop, too: that time is no outage.
func (f *fleet) outage(during string, a, b *lab.Workload, change func()) {
	f.t.Helper()
	var all []*lab.Pinger
	for _, dst := range []struct {
		from *lab.Workload
		to   string
	}{{a, "10.20.1.1"}, {b, "10.20.2.1"}, {a, bobIP.String()}, {b, aliceIP6.String()}} {
		p, err := dst.from.StartPing(f.ctx, netip.MustParseAddr(dst.to), pingInterval, 0)
		f.check(err)
		f.check(p.Answered(f.ctx))
		all = append(all, p)
	}
	change()
	f.reach(a, bobIP, bobIP6)
	f.reach(b, aliceIP, aliceIP6)
	var stall, gap time.Duration
	lost := 0
	for i, p := range all {
		report, err := p.Stop()
		f.check(err)
		if i < 2 {
			stall = max(stall, report.Gap)
		} else {
			gap, lost = max(gap, report.Gap), max(lost, report.Lost())
		}
	}
	f.t.Logf("during %s: longest silence %v, %d pings of a flow lost; within a host %v", during, gap, lost, stall)
	if gap > maxRenumbering+stall {
		f.t.Errorf("during %s: silent for %v, at most %v are allowed, and %v that others were too", during, gap, maxRenumbering, stall)
	}
}

// advertiser is the router of who owns the underlay: a real radvd.
type advertiser struct {
	f    *fleet
	host *lab.Host
	conf string // on the machine
}

// underlayOwner makes the router, and has the nodes take their addresses from it instead of those that labs give them.
func (f *fleet) underlayOwner() *advertiser {
	f.t.Helper()
	bob := f.Host("bob")
	_, err := bob.AddWorkload(f.ctx, lab.WorkloadConfig{Name: "owner", Unplugged: true, MTU: 1500})
	f.check(err)
	f.on(bob, "ovs-vsctl add-port "+bob.Bridge()+" v-owner") // the underlay, as bob is connected to it
	f.on(bob, "ip netns exec owner sysctl -qw net.ipv6.conf.all.forwarding=1")
	for _, h := range f.Hosts() {
		conf := "/proc/sys/net/ipv6/conf/" + h.Bridge()
		_, err := h.Shell(f.ctx, fmt.Sprintf("echo 2 >%[1]s/accept_ra && echo 1 >%[1]s/autoconf && ip -6 addr flush dev %[2]s scope global", conf, h.Bridge()))
		f.check(err)
	}
	return &advertiser{f: f, host: bob, conf: filepath.Join(bob.Dir(), "radvd.conf")}
}

// advertise has the router announce these prefixes, preferred or not, and nothing else.
func (a *advertiser) advertise(prefixes map[netip.Prefix]bool) {
	a.f.t.Helper()
	var b strings.Builder
	b.WriteString("interface eth0 { AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; AdvDefaultLifetime 0;\n")
	for p, preferred := range prefixes {
		lifetime := 0
		if preferred {
			lifetime = 3600
		}
		fmt.Fprintf(&b, "  prefix %s { AdvOnLink on; AdvAutonomous on; AdvValidLifetime 7200; AdvPreferredLifetime %d; };\n", p, lifetime)
	}
	b.WriteString("};\n")
	a.f.check(os.WriteFile(a.conf, []byte(b.String()), 0o644))
	pid := filepath.Join(a.host.Dir(), "radvd.pid")
	if _, err := os.Stat(pid); err == nil {
		_, err := a.host.Shell(a.f.ctx, "kill -HUP $(cat "+pid+")")
		a.f.check(err)
		return
	}
	_, err := a.host.Spawn("radvd", "ip", "netns", "exec", "owner", "radvd", "--nodaemon", "--config", a.conf, "--pidfile", pid, "--logmethod", "stderr")
	a.f.check(err)
}

// nodesHave waits until every host has made itself an address of a prefix.
func (f *fleet) nodesHave(prefix netip.Prefix) {
	f.t.Helper()
	for _, h := range f.Hosts() {
		f.eventually("an address of "+prefix.String()+" on "+h.Name(), func() error {
			out, err := h.Exec(f.ctx, "ip", "-6", "-o", "addr", "show", "dev", h.Bridge(), "to", prefix.String(), "-tentative")
			if err == nil && !strings.Contains(out, "inet6") {
				err = errorf("it has %q", out)
			}
			return err
		})
	}
}

// registeredIn waits until all nodes are registered with addresses of a prefix.
func (f *fleet) registeredIn(prefix netip.Prefix) {
	f.t.Helper()
	stem := strings.TrimSuffix(prefix.Addr().String(), ":")
	f.eventually("nodes with addresses of "+prefix.String(), func() error {
		out, err := f.Tpctl(f.ctx, "ch", "show")
		if err == nil && (strings.Count(out, stem) != len(f.Hosts()) || strings.Count(out, "2001:db8:") != len(f.Hosts())) {
			err = errorf("it says:\n%s", out)
		}
		return err
	})
}

// dropAddresses takes the addresses of a prefix away from all nodes.
func (f *fleet) dropAddresses(prefix netip.Prefix) {
	f.t.Helper()
	for _, h := range f.Hosts() {
		_, err := h.Shell(f.ctx, "ip -6 -o addr show dev "+h.Bridge()+" to "+prefix.String()+" | while read -r _ _ _ a _; do ip -6 addr del $a dev "+h.Bridge()+"; done")
		f.check(err)
	}
}
