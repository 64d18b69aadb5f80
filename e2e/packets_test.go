//go:build integration

package e2e_test

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"tuplenet/e2e/lab"
)

func TestT22_AddressesAreResolvedOnTheHostItself(t *testing.T) {
	t.Parallel()
	f := newFleet(t, lab.Config{Name: "arp"})
	for _, line := range []string{
		"ls add LS", "lsp add LS p1 10.1.0.1,2001:db8:1::1 f2:01:00:00:00:11", "lsp add LS p2 10.1.0.2,2001:db8:1::2 f2:01:00:00:00:12",
	} {
		f.tpctl(line)
	}
	a := f.workload(f.Hosts()[0], "w1", "p1", "f2:01:00:00:00:11", "", "", "10.1.0.1/24", "2001:db8:1::1/64")
	b := f.workload(f.Hosts()[1], "w2", "p2", "f2:01:00:00:00:12", "", "", "10.1.0.2/24", "2001:db8:1::2/64")
	wire, err := f.Hosts()[0].CaptureUnderlay(f.ctx, tunnels())
	f.check(err)
	f.reach(a, netip.MustParseAddr("10.1.0.2"), netip.MustParseAddr("2001:db8:1::2"))
	f.transfer(a, b, netip.MustParseAddr("10.1.0.2"), 1e6)
	for _, nobody := range []string{"10.1.0.99", "2001:db8:1::99"} {
		report, err := a.Ping(f.ctx, netip.MustParseAddr(nobody), 50*time.Millisecond, 3)
		f.check(err)
		if report.Received != 0 {
			t.Errorf("%s, which nobody has, answers", nobody)
		}
	}
	text, err := wire.Stop(f.ctx)
	f.check(err)
	if !strings.Contains(text, "10.1.0.1 > 10.1.0.2: ICMP echo request") {
		t.Errorf("the ping is not in the capture:\n%.2000s", text)
	}
	for _, never := range []string{"Request who-has 10.1.0.", "who has 2001:db8:1::", "neighbor solicitation"} {
		if strings.Contains(text, never) {
			t.Errorf("%q crossed the underlay", never)
		}
	}
}

func TestT23_TheRouterAnswersAndShowsInTraceroute(t *testing.T) {
	t.Parallel()
	f := newFleet(t, lab.Config{Name: "hops"})
	a, _ := f.routed()
	f.reach(a, netip.MustParseAddr("10.20.1.1"), netip.MustParseAddr("2001:db8:20:1::1"), netip.MustParseAddr("10.20.2.1"), netip.MustParseAddr("2001:db8:20:2::1"))
	for _, c := range []struct{ family, dst, hop string }{
		{"-4", "10.20.2.10", "10.20.1.1"}, {"-6", "2001:db8:20:2::10", "2001:db8:20:1::1"},
	} {
		out, err := a.Exec(f.ctx, "traceroute", c.family, "-n", "-q", "1", "-w", hopWait, "-m", "5", c.dst)
		f.check(err)
		var hops []string
		for _, m := range regexp.MustCompile(`(?m)^ *\d+ +(\S+)`).FindAllStringSubmatch(out, -1) {
			hops = append(hops, m[1])
		}
		if strings.Join(hops, " ") != c.hop+" "+c.dst {
			t.Errorf("traceroute %s: hops %v, want %s and %s\n%s", c.dst, hops, c.hop, c.dst, out)
		}
	}
}

func TestT24_T25_X14_OnlyTunnelsBetweenHostsCrossTheUnderlay(t *testing.T) {
	f := newFleet(t, lab.Config{Name: "wire"})
	a, b := f.routed()
	f.onlyTunnels(func() {
		f.transfer(a, b, bobIP, 1e5)
		f.transfer(a, b, bobIP6, 1e5)
	}, vxlan())
}

// onlyTunnels captures everything on the underlay of the first host meanwhile: between the addresses of hosts there are packets of
// the one encapsulation, and nothing else.
func (f *fleet) onlyTunnels(meanwhile func(), byVXLAN bool) {
	f.t.Helper()
	wire, err := f.Hosts()[0].CaptureUnderlay(f.ctx, "not arp and not icmp6 and not (ip6 and ip6[6] = 0)") // MLD is behind a hop-by-hop header
	f.check(err)
	meanwhile()
	text, err := wire.Stop(f.ctx)
	f.check(err)
	header, port := `Geneve.*options \[class .*\(0xffee\).*type 0x80.* len 12`, "6081"
	if byVXLAN {
		header, port = `VXLAN, flags \[I\] \(0x08\), vni \d+`, "4789"
	}
	if !regexp.MustCompile(header).MatchString(text) {
		f.t.Errorf("no header %q in the capture:\n%.1500s", header, text)
	}
	ours := map[string]bool{}
	for _, h := range f.Hosts() {
		for _, a := range h.Addrs() {
			ours[a.String()] = true
		}
	}
	v6only := f.Config().Underlay == lab.UnderlayIPv6
	// Packets begin at the left margin with their Ethernet addresses. What a tunnel carries has some, too, indented only in Geneve.
	text = whole(text)
	ends := regexp.MustCompile(`([0-9a-f.:]+)\.(\d+) > ([0-9a-f.:]+)\.(\d+): `)
	packets := regexp.MustCompile(`(?m)^[0-9a-f:]{17} > [0-9a-f:]{17}`).Split(text, -1)[1:]
	for _, p := range packets {
		outer, _, _ := strings.Cut(p, header[:5])
		m := ends.FindStringSubmatch(outer)
		if m == nil || !ours[m[1]] || !ours[m[3]] || m[4] != port || v6only && !strings.Contains(p, "ethertype IPv6") {
			f.t.Fatalf("a packet that is no tunnel's between hosts: %.400s", p)
		}
		if strings.Contains(outer, "f2:01:00:00:00:0") || v6only && strings.Contains(outer, "ethertype IPv4") {
			f.t.Fatalf("a workload's address, or IPv4, in clear on the underlay: %.400s", p)
		}
	}
	if len(packets) == 0 {
		f.t.Error("no packet was captured")
	}
}

func TestX13_TheSameAddressesOnTwoSwitchesDoNotMeet(t *testing.T) {
	t.Parallel()
	f := newFleet(t, lab.Config{Name: "twins"})
	var from, to []*lab.Workload
	for _, ls := range []string{"red", "blue"} {
		f.tpctl("ls add " + ls)
		f.tpctl("lsp add " + ls + " " + ls + "1 172.16.0.1 f2:01:00:00:00:21")
		f.tpctl("lsp add " + ls + " " + ls + "2 172.16.0.100 f2:01:00:00:00:22")
		from = append(from, f.workload(f.Hosts()[0], "w-"+ls+"1", ls+"1", "f2:01:00:00:00:21", "", "", "172.16.0.1/24"))
		to = append(to, f.workload(f.Hosts()[1], "w-"+ls+"2", ls+"2", "f2:01:00:00:00:22", "", "", "172.16.0.100/24"))
	}
	target := netip.MustParseAddr("172.16.0.100")
	for i := range from {
		f.reach(from[i], target)
		// Every stream has contents of its own: a packet of the other switch would break the checksum.
		f.transfer(from[i], to[i], target, 2e6)
	}
	f.check(to[0].Unplug(f.ctx))
	f.eventually("red to be silent", func() error {
		report, err := from[0].Ping(f.ctx, target, 20*time.Millisecond, 3)
		if err == nil && report.Received > 0 {
			err = errStillAnswers
		}
		return err
	})
	f.reach(from[1], target)
}
