//go:build integration

package e2e_test

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"tuplenet/e2e/lab"
)

// IPv6 addresses of the workloads' networks, and as what the outside sees them.
var (
	snat61, snat62 = netip.MustParseAddr("2001:db8:ffff::30"), netip.MustParseAddr("2001:db8:ffff::31")
)

// floats talks to a workload by its external addresses from many clients, so that equal routes back would use both edges.
func floats(f *fleet, w *lab.Workload, out *lab.Outside, externals ...netip.Addr) {
	f.t.Helper()
	_, err := w.StartEcho(f.ctx, echoPort)
	f.check(err)
	f.reach(out.Far, externals...)
	for i, client := range out.Destinations6(12) {
		_, err := out.Far.Exec(f.ctx, "ip", "-6", "address", "replace", client.String()+"/128", "dev", "lo", "nodad") // to send from it
		f.check(err)
		for j, to := range externals {
			local := netip.AddrPortFrom(client, uint16(52000+2*i+j))
			talk, err := out.Far.Converse(f.ctx, local, echo(to))
			f.check(err)
			if talk.Seen != local {
				f.t.Errorf("%s to %s is seen as %s", local, to, talk.Seen)
			}
			f.check(errors.Join(talk.Say(f.ctx), talk.Close()))
		}
	}
}

// noIPv4 tells of every IPv4 address in the flows of the overlay: all that is not of the underlay, or true of every network.
func noIPv4(f *fleet) {
	f.t.Helper()
	general := regexp.MustCompile(`(tun_src|tun_dst|nw_(src|dst)=(0\.0\.0\.0/8|127\.0\.0\.0/8|224\.0\.0\.0/4|240\.0\.0\.0/4|169\.254\.0\.0/16))`)
	address := regexp.MustCompile(`\b(10|100|192|198|203)\.\d+\.\d+\.\d+`)
	for _, h := range f.Hosts() {
		flows, err := h.Ofctl(f.ctx, "dump-flows", "--no-names", "br-int")
		f.check(err)
		for line := range strings.Lines(flows) {
			if address.MatchString(line) && !general.MatchString(line) {
				f.t.Errorf("%s has the flow %s", h.Name(), line)
			}
		}
	}
	if out := f.tpctl("lsp show") + f.tpctl("lrp show") + f.tpctl("lsr show LR-central") + f.tpctl("lsr show LR-edge1") + f.tpctl("lnat show LR-edge1"); address.MatchString(out) {
		f.t.Errorf("listed:\n%s", out)
	}
}

// tutorial6 is section 2.2 or 3.2 with IPv6 in place of IPv4.
func tutorial6(n int) []string {
	to4 := map[string]string{
		"100.10.10.1/24": "2001:db8:100:#::1/64", "100.10.10.2/24": "2001:db8:100:#::2/64", "100.10.10.3/24": "2001:db8:100:#::1/64",
		"192.168.1.20/24": "2001:db8:ffff::20/64", "192.168.1.21/24": "2001:db8:ffff::21/64",
		"0.0.0.0/0": "::/0", "10.20.0.0/16": "2001:db8:20::/47",
		"100.10.10.1": "2001:db8:100:#::1", "100.10.10.2": "2001:db8:100:#::2", "100.10.10.3": "2001:db8:100:#::1",
		"192.168.1.1": "2001:db8:ffff::1", "192.168.1.30": snat61.String(), "192.168.1.31": snat62.String(),
	}
	lines := lab.TutorialEdgeNetwork(n)
	for i, line := range lines {
		words := strings.Fields(line)
		for j, w := range words {
			if v6, ok := to4[w]; ok {
				words[j] = strings.ReplaceAll(v6, "#", fmt.Sprint(n))
			}
		}
		lines[i] = strings.Join(words, " ")
	}
	return lines
}

func TestT36_T40_TheWholeOfSection2WithoutAnyIPv4Address(t *testing.T) {
	t.Parallel()
	for _, underlay := range []lab.Underlay{lab.UnderlayIPv4, lab.UnderlayIPv6} {
		t.Run("underlay-"+string(underlay), func(t *testing.T) {
			cfg := lab.TutorialEdgesConfig("six-"+string(underlay), "", lab.TwoNIC, 2)
			cfg.Etcd, cfg.Underlay = lab.EtcdManagement, underlay
			f := newBareFleet(t, cfg)
			alice := f.Host("alice")
			for _, line := range append([]string{"tpctl lr add LR-central"}, lab.TutorialNetworkIPv6()...) {
				f.on(alice, line)
			}
			var w []*lab.Workload
			for _, h := range []*lab.Host{alice, f.Host("bob")} {
				f.daemon(h)
				one, err := h.AddWorkload(f.ctx, lab.TutorialIPv6(h.Name()))
				f.check(err)
				w = append(w, one)
			}
			for n, h := range f.Hosts()[2:] {
				f.check(h.Type(f.ctx, nil, lab.TutorialEdgeBridge(lab.TwoNIC)...))
				f.daemon(h, "ONDEMAND=0", "GATEWAY=1", calm)
				f.check(h.Type(f.ctx, nil, lab.TutorialEdgePatch(n+1)...))
				f.check(alice.Type(f.ctx, nil, tutorial6(n+1)...))
			}
			out := f.Outside()
			for _, s := range []*lab.Workload{out.Server, out.Far} {
				_, err := s.StartWeb(f.ctx, webPort)
				f.check(err)
				_, err = s.StartEcho(f.ctx, echoPort)
				f.check(err)
				for _, from := range w {
					f.reach(from, s.Addrs()[1])
				}
			}
			for _, from := range w {
				f.eventually("both edges in use by "+from.Name, func() error {
					seen, err := from.Survey(f.ctx, echoPort, out.Destinations6(64))
					times := map[netip.Addr]int{}
					for _, as := range seen {
						times[as]++
					}
					if err == nil && (times[snat61] == 0 || times[snat62] == 0) {
						err = fmt.Errorf("seen as %v", times)
					}
					return err
				})
			}
			f.watched(2) // an edge that comes into use takes its destinations, with the connections that are under way
			for _, s := range []*lab.Workload{out.Server, out.Far} {
				for _, from := range w {
					seen, err := from.Fetch(f.ctx, web(s.Addrs()[1]))
					f.check(err)
					if seen != snat61 && seen != snat62 {
						t.Errorf("seen as %s", seen)
					}
				}
			}
			report, err := w[1].Ping(f.ctx, out.Far.Addrs()[1], 20*time.Millisecond, 25)
			f.check(err)
			if report.Lost() > 0 {
				t.Errorf("ping: %v", report)
			}
			for name, n := range pingAll(f, out.Far.Addrs()[1], 4711, 5, w...) {
				if n != 5 {
					t.Errorf("%s, whose pings have the identifier of another's, got %d of 5 answers", name, n)
				}
			}
			f.tpctl("lnat add LR-edge1 float 2001:db8:20:2::10/128 dnat_and_snat 2001:db8:ffff::40")
			f.tpctl("lnat add LR-edge2 float 2001:db8:20:2::10/128 dnat_and_snat 2001:db8:ffff::41")
			first, second := netip.MustParseAddr("2001:db8:ffff::40"), netip.MustParseAddr("2001:db8:ffff::41")
			if vxlan() { // it does not tell edges apart: only the first address works, which is said
				floats(f, w[1], out, first)
				f.eventuallyShows("ch show bob", "connections to "+second.String()+" are answered as from "+first.String())
			} else {
				floats(f, w[1], out, first, second)
			}
			noIPv4(f)
		})
	}
}
