//go:build integration

package lab_test

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"tuplenet/e2e/lab"
)

// onLAN makes a workload on an edge's br0, which is a station of the outside LAN.
func onLAN(t *testing.T, h *lab.Host, layout lab.Layout) *lab.Workload {
	t.Helper()
	if err := h.Type(t.Context(), nil, lab.TutorialEdgeBridge(layout)...); err != nil {
		t.Fatal(err)
	}
	w, err := h.AddWorkload(t.Context(), lab.WorkloadConfig{
		Name: "probe", MTU: 1500, Unplugged: true,
		Addrs:    []netip.Prefix{netip.MustParsePrefix("192.168.1.60/24"), netip.MustParsePrefix("2001:db8:ffff::60/64")},
		Gateways: []netip.Addr{addr("192.168.1.1"), addr("2001:db8:ffff::1")},
	})
	if err != nil {
		t.Fatal(err)
	}
	must(t)(h.Vsctl(t.Context(), "add-port", "br0", "v-probe"))
	return w
}

func TestAnEdgeOfEitherLayoutLeadsToTheOutsideWorld(t *testing.T) {
	for _, layout := range []lab.Layout{lab.TwoNIC, lab.OneNIC} {
		t.Run(string(layout), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			l := start(t, lab.TutorialEdgesConfig(named("lt-"+string(layout)), "", layout, 1))
			h := l.Host("edge1")
			if got := must(t)(h.Vsctl(ctx, "get", "Open_vSwitch", ".", "external_ids:system-id")); strings.Trim(got, "\"\n") != "edge1-node" || h.SystemID() != "edge1-node" {
				t.Errorf("system-id %s and %s", got, h.SystemID())
			}
			must(t)(h.Exec(ctx, "ping", "-c", "3", "-i", "0.05", "192.168.1.11")) // the underlay
			w := onLAN(t, h, layout)
			out := l.Outside()
			capture, err := out.Capture(ctx, "icmp or icmp6")
			if err != nil {
				t.Fatal(err)
			}
			both := append(out.Server.Addrs(), out.Far.Addrs()...)
			for _, dst := range append(both, out.Destinations(1)[0], out.Destinations6(1)[0]) {
				if err := w.Reaches(ctx, dst); err != nil {
					t.Error(err)
				}
			}
			if text := must(t)(capture.Stop(ctx)); !strings.Contains(text, "192.168.1.60 > 198.51.100.10: ICMP echo request") {
				t.Errorf("not in the capture on the LAN:\n%.1500s", text)
			}
			serves(t, ctx, w, out.Server)
			serves(t, ctx, w, out.Far)
			if err := h.CutPower(); err != nil {
				t.Fatal(err)
			}
			if report, err := w.Ping(ctx, out.Server.Addrs()[0], 20*time.Millisecond, 3); err != nil || report.Received > 0 {
				t.Errorf("without power: %v, %v", report, err)
			}
			if err := h.RestorePower(); err != nil {
				t.Fatal(err)
			}
			if err := w.Reaches(ctx, out.Server.Addrs()[0]); err != nil {
				t.Error(err)
			}
		})
	}
}

// serves checks HTTP, TCP and UDP of a station, over both families.
func serves(t *testing.T, ctx context.Context, w, station *lab.Workload) {
	t.Helper()
	web, err := station.StartWeb(ctx, 80)
	if err != nil {
		t.Fatal(err)
	}
	defer web.Close()
	echo, err := station.StartEcho(ctx, 7)
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	for i, to := range station.Addrs() {
		me := w.Addrs()[i]
		if seen, err := w.Fetch(ctx, netip.AddrPortFrom(to, 80)); err != nil || seen != me {
			t.Errorf("HTTP: seen as %v, %v", seen, err)
		}
		local := netip.AddrPortFrom(me, 4444)
		c, err := w.Converse(ctx, local, netip.AddrPortFrom(to, 7))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Say(ctx); err != nil || c.Seen != local {
			t.Errorf("TCP: seen as %v, %v", c.Seen, err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if seen, err := w.Ask(ctx, local, netip.AddrPortFrom(to, 7)); err != nil || seen != local {
			t.Errorf("UDP: seen as %v, %v", seen, err)
		}
	}
	if got := web.Seen(); len(got) != len(station.Addrs()) {
		t.Errorf("the web server saw %v", got)
	}
}

func TestManyDestinationsAnswerASurvey(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	l := start(t, lab.Config{Name: named("lt-survey"), Hosts: []string{"edge"}, Edges: []lab.Edge{{Host: "edge"}}})
	w := onLAN(t, l.Host("edge"), lab.TwoNIC)
	out := l.Outside()
	if _, err := out.Far.StartEcho(ctx, 7); err != nil {
		t.Fatal(err)
	}
	for i, dst := range [][]netip.Addr{out.Destinations(256), out.Destinations6(256)} {
		seen, err := w.Survey(ctx, 7, dst)
		if err != nil || len(seen) != 256 {
			t.Fatalf("%d answers, %v", len(seen), err)
		}
		for d, me := range seen {
			if me != w.Addrs()[i] {
				t.Errorf("%s saw %s", d, me)
			}
		}
	}
}

func TestALabWithEdgesIsOpenedByAnotherProgram(t *testing.T) {
	cfg := lab.TutorialEdgesConfig(named("lt-reopen"), "", lab.TwoNIC, 1)
	l := start(t, cfg)
	again, err := lab.Open("", l.Name())
	if err != nil {
		t.Fatal(err)
	}
	if again.Host("edge1").SystemID() != "edge1-node" || again.Host("edge1").OutsideDevice() != "eth1" || again.Host("alice").OutsideDevice() != "" {
		t.Error("the edge is not what it was")
	}
	if err := again.Outside().Server.Reaches(t.Context(), again.Outside().Far.Addrs()[0]); err != nil {
		t.Error(err)
	}
	for _, bad := range [][]lab.Edge{{{Host: "nobody"}}, {{Host: "edge1"}, {Host: "edge1"}}, {{Host: "edge1", Layout: "three"}}} {
		cfg.Edges = bad
		if _, err := lab.New(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "edge") {
			t.Errorf("edges %v: %v", bad, err)
		}
	}
}
