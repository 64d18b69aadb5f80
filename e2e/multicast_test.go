//go:build integration

package e2e_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"tuplenet/e2e/lab"
)

// member is a port of the multicast network: its host, name, MAC and addresses.
type member struct {
	host      *lab.Host
	name, mac string
	ip4, ip6  netip.Addr
	namespace string
	prefixes  []string
}

func (f *fleet) member(h *lab.Host, name string, number int) member {
	s := member{host: h, name: name, namespace: "w-" + name, mac: fmt.Sprintf("f2:01:00:00:00:%02x", number),
		ip4: netip.AddrFrom4([4]byte{10, 77, 0, byte(number)}), ip6: netip.MustParseAddr(fmt.Sprintf("2001:db8:77::%x", number))}
	s.prefixes = []string{s.ip4.String() + "/24", s.ip6.String() + "/64"}
	return s
}

// plug makes the workload of a member.
func (f *fleet) plug(s member) *lab.Workload {
	f.t.Helper()
	return f.workload(s.host, s.namespace, s.name, s.mac, "", "", s.prefixes...)
}

// has waits until a host has exactly these of the devices whose names end with some digits.
func (f *fleet) has(h *lab.Host, digits string, want ...string) {
	f.t.Helper()
	f.eventually(fmt.Sprintf("devices %v on %s", want, h.Name()), func() error {
		out, err := h.Exec(f.ctx, "ls", "/sys/class/net")
		if err != nil {
			return err
		}
		got := slices.DeleteFunc(strings.Fields(out), func(d string) bool {
			name, is := strings.CutSuffix(d, digits)
			return !is || !slices.Contains([]string{"vxlan", "br", "tnm-", "tnn-", "tno-"}, name)
		})
		if !slices.Equal(got, want) {
			return errorf("it has %v", got)
		}
		return nil
	})
}

// plainLinux makes a host without tuplenet and without Open vSwitch of one of the lab, and has it run what an operator types to take
// part in network 0xff01, with a namespace in the place of a virtual machine.
func (f *fleet) plainLinux(h *lab.Host, name string, number int) *lab.Workload {
	f.t.Helper()
	for _, line := range []string{
		"ovs-vsctl del-br " + h.Bridge(), "ip link set wire0 up", "ip -6 addr add " + ip(h) + "/64 dev wire0 nodad",
		"ethtool -K wire0 tx off", // what a network card does, nobody does between namespaces
		"ip -6 link add vxlanff01 type vxlan id 65281 dstport 4789 group ff05::ff01 dev wire0 ttl 5",
		"ip link add brff01 type bridge", "ip link set vxlanff01 master brff01", "ip link set vxlanff01 up", "ip link set brff01 up",
	} {
		f.on(h, line)
	}
	s := f.member(h, name, number)
	c := lab.WorkloadConfig{Name: s.namespace, MAC: s.mac, Unplugged: true}
	for _, p := range s.prefixes {
		c.Addrs = append(c.Addrs, netip.MustParsePrefix(p))
	}
	w, err := h.AddWorkload(f.ctx, c)
	f.check(err)
	f.on(h, "ip link set v-"+s.namespace+" master brff01")
	return w
}

// until waits until the text of a running capture contains all of some words in one line.
func (f *fleet) until(h *lab.Host, c *lab.Capture, what string, words ...string) {
	f.t.Helper()
	f.eventually(what, func() error {
		out, err := h.Exec(f.ctx, "tcpdump", "-e", "-n", "-v", "-t", "-r", c.File)
		if err != nil && out == "" {
			return err // the last packet is half written
		}
		for line := range strings.Lines(strings.ReplaceAll(out, "\n    ", " ")) {
			if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
				return nil
			}
		}
		return errorf("no line with %q in\n%.3000s", words, out)
	})
}

// Two hosts of tuplenet and one that ran the commands of the time before it are one Ethernet. All of it is IPv6 outside.
func TestU01_U07_U08_U09_U12_AMulticastNetworkIsOneEthernetWithPlainLinux(t *testing.T) {
	t.Parallel()
	f := newBareFleet(t, lab.Config{Name: "mcast", Hosts: []string{"alice", "bob", "plain"}, Underlay: lab.UnderlayIPv6})
	alice, bob, plain := f.Host("alice"), f.Host("bob"), f.Host("plain")
	f.daemon(alice, "--encap", "geneve")
	f.daemon(bob, "--encap", "geneve")
	p := f.plainLinux(plain, "plain", 0x13)

	out := f.tpctl("ls add NET --type vxlan-multicast --vni 0xff01 --subnet 10.77.0.0/24 --subnet 2001:db8:77::/64")
	if shown := f.tpctl("ls show NET"); out != "switch NET created\n" || !strings.Contains(shown, ": 65281") || !strings.Contains(shown, ": 0xff01") || !strings.Contains(shown, "ff05::ff01") {
		t.Errorf("%s%s", out, shown)
	}
	a, a2, b := f.member(alice, "a", 0x10), f.member(alice, "a2", 0x11), f.member(bob, "b", 0x12)
	for _, s := range []member{a, a2, b} {
		f.tpctl(fmt.Sprintf("lsp add NET %s %s,%s %s --wait", s.name, s.ip4, s.ip6, s.mac))
	}
	f.has(alice, "ff01") // a network that nobody uses is no work for a host
	f.has(bob, "ff01")

	reports, err := alice.Capture(f.ctx, alice.Bridge(), "ip6 proto 0") // hop-by-hop options: MLD
	f.check(err)
	frames, err := plain.Capture(f.ctx, "wire0", "udp port 4789")
	f.check(err)
	wa := f.plug(a)
	f.has(alice, "ff01", "brff01", "tnm-ff01", "tnn-ff01", "vxlanff01")
	f.has(bob, "ff01")
	f.eventuallyShows("lsp show NET a", "chassis: alice")
	about := f.on(alice, "ip -d link show vxlanff01")
	for _, want := range []string{"vxlan id 65281 group ff05::ff01 dev " + alice.Bridge(), "dstport 4789", "ttl 5 ", "mtu 1430 ", "master brff01"} {
		if !strings.Contains(about, want) {
			t.Errorf("no %q in\n%s", want, about)
		}
	}
	if groups := f.on(alice, "ip -6 maddr show dev "+alice.Bridge()); !strings.Contains(groups, "ff05::ff01") {
		t.Errorf("alice has not joined:\n%s", groups)
	}
	f.until(alice, reports, "alice's report (MLD) that she listens", "multicast listener report", "ff05::ff01")
	_, err = reports.Stop(f.ctx)
	f.check(err)

	wa2, wb := f.plug(a2), f.plug(b)
	f.has(bob, "ff01", "brff01", "tnm-ff01", "tnn-ff01", "vxlanff01")
	all := []*lab.Workload{wa, wa2, wb, p}
	for _, from := range all {
		for _, to := range all {
			if from != to {
				f.reach(from, to.Addrs()...)
			}
		}
	}
	for _, way := range [][2]*lab.Workload{{wa, p}, {p, wa}, {wb, p}, {p, wb}, {wa, wb}, {wb, wa}} {
		f.transfer(way[0], way[1], way[1].Addrs()[0], 1e6)
		f.transfer(way[0], way[1], way[1].Addrs()[1], 1e6)
	}
	// Questions for addresses go to the group, the answers to who asked.
	f.until(plain, frames, "a question by ARP from alice to the group", ip(alice)+".", "> ff05::ff01.4789", "VXLAN", "vni 65281")
	text, err := frames.Stop(f.ctx)
	f.check(err)
	text = whole(strings.ReplaceAll(text, "\n    ", " "))
	for what, words := range map[string][]string{
		"ARP by multicast, to an Ethernet group": {"33:33:00:00:ff:01", "> ff05::ff01.4789", "vni 65281", "Request who-has"},
		"ND by multicast":                        {"> ff05::ff01.4789", "vni 65281", "neighbor solicitation"},
		"TCP by unicast":                         {ip(alice) + ".", "> " + ip(plain) + ".4789", "vni 65281", "Flags ["},
	} {
		found := false
		for line := range strings.Lines(text) {
			found = found || !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) })
		}
		if !found {
			t.Errorf("no %s in what passed the plain host:\n%.4000s", what, text)
		}
	}
	// Addresses that intent does not know are found, too.
	f.on(plain, "ip netns exec w-plain ip addr add 10.77.0.99/24 dev eth0")
	f.reach(wb, netip.MustParseAddr("10.77.0.99"))

	f.eventually("nothing to be wrong", func() error {
		if out, err := f.Tpctl(f.ctx, "check", "--strict"); err != nil || !strings.Contains(out, "looks good!") {
			return errorf("%v: %s", err, out)
		}
		return nil
	})

	// The last port takes the devices along; the others go on.
	f.check(wa.Remove(f.ctx))
	f.reach(wa2, wb.Addrs()...)
	f.has(alice, "ff01", "brff01", "tnm-ff01", "tnn-ff01", "vxlanff01")
	f.check(wa2.Remove(f.ctx))
	f.has(alice, "ff01")
	f.reach(wb, p.Addrs()...)
	if groups := f.on(alice, "ip -6 maddr show dev "+alice.Bridge()); strings.Contains(groups, "ff05::ff01") {
		t.Errorf("alice listens still:\n%s", groups)
	}
	// It comes back, on another host.
	moved := f.plug(f.member(bob, "a", 0x10))
	for _, from := range []*lab.Workload{wb, p} {
		f.reach(from, moved.Addrs()...)
	}
	f.transfer(p, moved, a.ip4, 1e6)
	f.transfer(moved, p, p.Addrs()[1], 1e6)
}

// Link-local addresses are all the IPv6 that there is between these hosts. A restarted daemon finds the devices, one that was killed leaves them to the next, what is in the way is said and not touched.
func TestU09_U10_U11_DevicesOfMulticastNetworksOutliveDaemonsAndAreCleanedUp(t *testing.T) {
	t.Parallel()
	f := newBareFleet(t, lab.Config{Name: "mcast-life", Underlay: lab.UnderlayIPv4})
	alice, bob := f.Host("alice"), f.Host("bob")
	f.daemon(alice, "--encap", "geneve")
	f.daemon(bob, "--encap", "geneve")
	f.tpctl("ls add WIDE --type vxlan-multicast --vni 0xffffff --dev " + alice.Bridge())
	f.tpctl("ls add LOW --type vxlan-multicast --vni 9")
	if _, err := f.Tpctl(f.ctx, strings.Fields("ls add MORE --type vxlan-multicast --vni 0x1000000")...); err == nil || !strings.Contains(err.Error(), "16777215 (0xffffff)") {
		t.Errorf("too large a VNI: %v", err)
	}
	f.tpctl("lr add LR")
	if _, err := f.Tpctl(f.ctx, strings.Fields("lr link LR WIDE 10.77.0.1/24")...); err == nil || !strings.Contains(err.Error(), "ports of workloads only") {
		t.Errorf("a router on it: %v", err)
	}
	a, b, c, d := f.member(alice, "a", 0x10), f.member(bob, "b", 0x11), f.member(bob, "c", 0x12), f.member(alice, "d", 0x13)
	for net, ports := range map[string][]member{"WIDE": {a, b}, "LOW": {c, d}} {
		for _, s := range ports {
			f.tpctl(fmt.Sprintf("lsp add %s %s %s,%s %s", net, s.name, s.ip4, s.ip6, s.mac))
		}
	}
	f.on(bob, "ip link add vxlan9 type bridge") // not ours
	wa, wb, wc, wd := f.plug(a), f.plug(b), f.plug(c), f.plug(d)
	f.reach(wa, wb.Addrs()...)
	f.transfer(wa, wb, b.ip4, 1e6)
	f.transfer(wb, wa, a.ip6, 1e6)
	f.eventuallyProblems("bob", map[string]string{"switch/LOW": "device vxlan9 is in the way: it was not made by tuplenet, remove it (ip link del vxlan9)"})
	f.has(bob, "9", "vxlan9")
	f.on(bob, "ip link del vxlan9")
	f.reach(wc, wd.Addrs()...)
	f.eventuallyProblems("bob", map[string]string{})

	// The only port of a host goes and is back at once, and again.
	for range 4 {
		f.check(wc.Remove(f.ctx))
		wc = f.plug(c)
		f.reach(wd, wc.Addrs()...)
	}

	// A restart makes nothing anew.
	number := func() string {
		return f.on(alice, "cat /sys/class/net/vxlanffffff/ifindex /sys/class/net/tnm-ffffff/ifindex")
	}
	before := number()
	f.check(alice.KillDaemon(f.ctx))
	f.reach(wb, wa.Addrs()...)
	f.daemon(alice, "--encap", "geneve")
	f.reach(wa, wb.Addrs()...)
	f.transfer(wa, wb, b.ip6, 1e6)
	if after := number(); after != before {
		t.Errorf("the devices were made anew: numbers %q and %q", before, after)
	}
	// What somebody removed comes back, also what Open vSwitch has as a port.
	f.on(alice, "ip link del tnm-ffffff")
	f.has(alice, "ffffff", "brffffff", "tnn-ffffff", "tno-ffffff", "vxlanffffff")
	f.reach(wa, wb.Addrs()...)
	f.on(bob, "ip link del brffffff")
	f.reach(wb, wa.Addrs()...)
	f.transfer(wb, wa, a.ip4, 1e6)

	// What a killed daemon left goes with the next, and what somebody removed comes back.
	f.check(alice.KillDaemon(f.ctx))
	f.check(wd.Remove(f.ctx))
	f.on(alice, "ip link del vxlanffffff")
	f.daemon(alice, "--encap", "geneve")
	f.has(alice, "9")
	f.has(alice, "ffffff", "brffffff", "tnn-ffffff", "tno-ffffff", "vxlanffffff")
	f.reach(wa, wb.Addrs()...)
	f.tpctl("ls del WIDE -r --yes")
	f.has(alice, "ffffff")
	f.has(bob, "ffffff")
}

// Tunnels by VXLAN and multicast networks need different UDP ports: where they share one, it is said.
func TestU08_T25_TunnelsAndMulticastNetworksTakeDifferentPorts(t *testing.T) {
	t.Parallel()
	f := newBareFleet(t, lab.Config{Name: "mcast-port", Underlay: lab.UnderlayIPv6})
	alice, bob := f.Host("alice"), f.Host("bob")
	for _, h := range f.Hosts() {
		f.daemon(h, "--encap", "vxlan")
	}
	f.tpctl("ls add NET --type vxlan-multicast")
	a, b := f.member(alice, "a", 0x10), f.member(bob, "b", 0x11)
	for _, s := range []member{a, b} {
		f.tpctl(fmt.Sprintf("lsp add NET %s %s,%s %s", s.name, s.ip4, s.ip6, s.mac))
	}
	wa, wb := f.plug(a), f.plug(b)
	for _, h := range f.Hosts() {
		f.eventuallyProblems(h.Name(), map[string]string{"switch/NET": "UDP port 4789 is also that of the tunnels of this deployment"})
	}
	for _, h := range f.Hosts() {
		f.check(h.StopDaemon(f.ctx))
		f.daemon(h, "--encap", "vxlan", "--vxlan-port", "4790")
	}
	for _, h := range f.Hosts() {
		f.eventuallyProblems(h.Name(), map[string]string{})
	}
	ra, rb := f.routed()
	f.reach(wa, wb.Addrs()...)
	f.transfer(wa, wb, b.ip4, 1e6)
	f.transfer(wb, wa, a.ip6, 1e6)
	f.transfer(ra, rb, bobIP, 1e6)
	f.transfer(rb, ra, aliceIP6, 1e6)
}
