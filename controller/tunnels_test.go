package controller

import (
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"tuplenet/datapath/ovsdb"
	"tuplenet/flows/compile"
	"tuplenet/flows/memo"
	"tuplenet/model"
)

// A node has a tunnel port for each encapsulation that it offers or that somebody else wants, and no more.
func TestT25_TunnelPortsFollowWhatChassisOffer(t *testing.T) {
	geneve, vxlan := model.EncapGeneve, model.EncapVXLAN
	for _, c := range []struct {
		offers   []string
		port     uint16
		others   []model.Encap
		want     string
		dstPorts []string
	}{
		{[]string{"geneve"}, 4789, nil, "tuplenet-gnv", []string{""}},
		{[]string{"vxlan"}, 4789, []model.Encap{vxlan}, "tuplenet-vxl", []string{""}},
		{[]string{"geneve"}, 4790, []model.Encap{vxlan}, "tuplenet-gnv tuplenet-vxl", []string{"", "4790"}},
		{[]string{"vxlan"}, 4789, []model.Encap{geneve}, "tuplenet-gnv tuplenet-vxl", []string{"", ""}},
		{[]string{"vxlan", "geneve"}, 4789, nil, "tuplenet-gnv tuplenet-vxl", []string{"", ""}},
	} {
		cfg := Config{Encaps: c.offers, VXLANPort: c.port, BFDInterval: time.Second}
		e := edge{encaps: counted[model.Encap]{}, watch: counted[compile.Watch]{}, translations: newTranslations(t.TempDir(), slog.New(slog.DiscardHandler))}
		changed := e.take(memo.Change[compile.Output]{New: compile.Output{Tunnels: c.others}})
		if changed != (len(c.others) > 0) {
			t.Errorf("%v with %v: ports changed is %v", c.offers, c.others, changed)
		}
		var names, dst []string
		for _, p := range e.ports(&cfg) {
			names, dst = append(names, p.Name), append(dst, p.Options["dst_port"])
		}
		if got := strings.Join(names, " "); got != c.want || !slices.Equal(dst, c.dstPorts) {
			t.Errorf("%v with %v: ports %s with UDP ports %q, want %s with %q", c.offers, c.others, got, dst, c.want, c.dstPorts)
		}
	}
}

// A watched chassis' port has the encapsulation that both ends use, and what comes by it is taken for that.
func TestAWatchedPortIsOfTheEncapsulationOfItsTunnel(t *testing.T) {
	cfg := Config{VXLANPort: 4789, BFDInterval: time.Second}
	e := edge{watch: counted[compile.Watch]{{Chassis: "hv", IP: netip.MustParseAddr("2001:db8::1"), Encap: model.EncapVXLAN}: 1}}
	i := slices.IndexFunc(e.ports(&cfg), func(p ovsdb.Port) bool { return p.Owner == watchedBy+"hv" })
	p := e.ports(&cfg)[i]
	if p.Type != "vxlan" || !maps.Equal(p.Options, map[string]string{"remote_ip": "2001:db8::1", "key": "flow"}) {
		t.Errorf("the port is %+v", p)
	}
	found := e.watched(rows(&ovsdb.Interface{Name: p.Name, Type: p.Type, Owner: p.Owner, Bridge: "br-int", OFPort: 7}), "br-int")
	if want := (compile.Watched{OFPort: 7, New: true, Encap: model.EncapVXLAN}); found["hv"] != want {
		t.Errorf("found as %+v, want %+v", found["hv"], want)
	}
}

// A node is not ready before others can send to it.
func TestANodeWaitsForTheTunnelsThatItOffers(t *testing.T) {
	l := &loop{cfg: Config{Encaps: []string{"vxlan", "geneve"}}}
	for _, step := range []struct {
		tunnel, vxlan uint32
		want          string
	}{{0, 0, "tuplenet-vxl"}, {1, 0, "tuplenet-vxl"}, {0, 2, "tuplenet-gnv"}, {1, 2, ""}} {
		if l.tunnel, l.vxlan = step.tunnel, step.vxlan; l.missingTunnel() != step.want {
			t.Errorf("with Geneve port %d and VXLAN port %d: %q is missing, want %q", step.tunnel, step.vxlan, l.missingTunnel(), step.want)
		}
	}
}
