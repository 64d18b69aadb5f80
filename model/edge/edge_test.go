package edge

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"tuplenet/model"
)

func prefixes(list ...string) (out []netip.Prefix) {
	for _, p := range list {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

func addrs(list ...string) (out []netip.Addr) {
	for _, a := range list {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

// tutorial is edge n of the tutorial: sections 2.2 (1) and 3.2 (2).
func tutorial(n int) *Path {
	return &Path{
		Name: fmt.Sprintf("edge%d", n), Chassis: fmt.Sprintf("edge%d-node", n), Central: "LR-central", MakeCentral: n == 1,
		VIP: prefixes(fmt.Sprintf("192.168.1.%d/24", 19+n)), Virt: prefixes("10.20.0.0/16"), Inner: prefixes("100.10.10.0/24"),
		Gateway: addrs("192.168.1.1"), SNAT: addrs(fmt.Sprintf("192.168.1.%d", 29+n)),
	}
}

// add is what the store does, without numbers.
func add(t *testing.T, have map[model.Ref]model.Object, p *Path) []model.Object {
	t.Helper()
	missing, _, err := p.Plan(have)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range missing {
		have[o.Ref()] = o
	}
	return missing
}

func describe(o model.Object) string {
	switch o := o.(type) {
	case *model.LogicalRouter:
		return strings.TrimSpace("router " + o.Name + " " + o.Chassis)
	case *model.LogicalSwitch:
		return "switch " + o.Name
	case *model.LogicalRouterPort:
		return fmt.Sprintf("lrp %s %s %v %s", o.Router, o.Name, o.Networks, o.Peer)
	case *model.LogicalSwitchPort:
		return strings.TrimSpace(fmt.Sprintf("lsp %s %s %v %s %s %s %s", o.Switch, o.Name, o.IPs, o.Type, o.Peer, o.Chassis, o.Bridge))
	case *model.StaticRoute:
		return fmt.Sprintf("lsr %s %s %s %s %s", o.Router, o.Name, o.Prefix, o.NextHop, o.OutPort)
	case *model.NATRule:
		return fmt.Sprintf("lnat %s %s %s %s %s", o.Router, o.Name, o.Prefix, o.Type, o.External)
	}
	return "?"
}

func equal(t *testing.T, objects []model.Object, want string) {
	t.Helper()
	var got []string
	for _, o := range objects {
		got = append(got, describe(o))
	}
	if text := strings.Join(got, "\n"); text != strings.TrimSpace(want) {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
}

func TestT63_the_objects_are_those_that_the_tutorial_makes_by_hand(t *testing.T) {
	have := map[model.Ref]model.Object{}
	equal(t, add(t, have, tutorial(1)), `
router LR-central
router LR-edge1 edge1-node
switch m1
switch outside1
lrp LR-central LR-central_to_m1 [100.10.10.1/24] m1_to_LR-central
lsp m1 m1_to_LR-central [100.10.10.1] router LR-central_to_m1
lrp LR-edge1 LR-edge1_to_m1 [100.10.10.2/24] m1_to_LR-edge1
lsp m1 m1_to_LR-edge1 [100.10.10.2] router LR-edge1_to_m1
lrp LR-edge1 LR-edge1_to_outside1 [192.168.1.20/24] outside1_to_LR-edge1
lsp outside1 outside1_to_LR-edge1 [192.168.1.20] router LR-edge1_to_outside1
lsp outside1 patchport-outside1 [] patch
lsr LR-central to_outside1 0.0.0.0/0 100.10.10.2 LR-central_to_m1
lsr LR-edge1 to_virt1 10.20.0.0/16 100.10.10.1 LR-edge1_to_m1
lsr LR-edge1 to_ext_world1 0.0.0.0/0 192.168.1.1 LR-edge1_to_outside1
lnat LR-edge1 snat_rule1 10.20.0.0/16 snat 192.168.1.30`)
	equal(t, add(t, have, tutorial(2)), `
router LR-edge2 edge2-node
switch m2
switch outside2
lrp LR-central LR-central_to_m2 [100.10.10.3/24] m2_to_LR-central
lsp m2 m2_to_LR-central [100.10.10.3] router LR-central_to_m2
lrp LR-edge2 LR-edge2_to_m2 [100.10.10.2/24] m2_to_LR-edge2
lsp m2 m2_to_LR-edge2 [100.10.10.2] router LR-edge2_to_m2
lrp LR-edge2 LR-edge2_to_outside2 [192.168.1.21/24] outside2_to_LR-edge2
lsp outside2 outside2_to_LR-edge2 [192.168.1.21] router LR-edge2_to_outside2
lsp outside2 patchport-outside2 [] patch
lsr LR-central to_outside2 0.0.0.0/0 100.10.10.2 LR-central_to_m2
lsr LR-edge2 to_virt2 10.20.0.0/16 100.10.10.3 LR-edge2_to_m2
lsr LR-edge2 to_ext_world2 0.0.0.0/0 192.168.1.1 LR-edge2_to_outside2
lnat LR-edge2 snat_rule2 10.20.0.0/16 snat 192.168.1.31`)
}

func TestT63_both_families_and_the_bridge(t *testing.T) {
	p := &Path{
		Name: "paris", Chassis: "c", Central: "LR", MakeCentral: true, VIP: prefixes("2001:db8:9::20/64", "192.168.1.20/24"), Bridge: "br0",
		Virt:  prefixes("2001:db8:1::/48", "10.20.0.0/16", "10.30.0.0/16"),
		Inner: prefixes("fd00:10::/64", "100.10.10.0/24"), Gateway: addrs("fe80::1", "192.168.1.1"), SNAT: addrs("192.168.1.30"),
	}
	have := map[model.Ref]model.Object{}
	equal(t, add(t, have, p)[4:], `
lrp LR LR_to_m-paris [fd00:10::1/64 100.10.10.1/24] m-paris_to_LR
lsp m-paris m-paris_to_LR [fd00:10::1 100.10.10.1] router LR_to_m-paris
lrp LR-paris LR-paris_to_m-paris [fd00:10::2/64 100.10.10.2/24] m-paris_to_LR-paris
lsp m-paris m-paris_to_LR-paris [fd00:10::2 100.10.10.2] router LR-paris_to_m-paris
lrp LR-paris LR-paris_to_outside-paris [2001:db8:9::20/64 192.168.1.20/24] outside-paris_to_LR-paris
lsp outside-paris outside-paris_to_LR-paris [2001:db8:9::20 192.168.1.20] router LR-paris_to_outside-paris
lsp outside-paris patchport-outside-paris [] patch  c br0
lsr LR to_outside-paris ::/0 fd00:10::2 LR_to_m-paris
lsr LR to_outside-paris_2 0.0.0.0/0 100.10.10.2 LR_to_m-paris
lsr LR-paris to_virt-paris 2001:db8:1::/48 fd00:10::1 LR-paris_to_m-paris
lsr LR-paris to_virt-paris_2 10.20.0.0/16 100.10.10.1 LR-paris_to_m-paris
lsr LR-paris to_virt-paris_3 10.30.0.0/16 100.10.10.1 LR-paris_to_m-paris
lsr LR-paris to_ext_world-paris ::/0 fe80::1 LR-paris_to_outside-paris
lsr LR-paris to_ext_world-paris_2 0.0.0.0/0 192.168.1.1 LR-paris_to_outside-paris
lnat LR-paris snat_rule-paris 10.20.0.0/16 snat 192.168.1.30
lnat LR-paris snat_rule-paris_2 10.30.0.0/16 snat 192.168.1.30`)
	for _, o := range have {
		fill(o)
		if err := o.Validate(); err != nil {
			t.Errorf("%s: %v", describe(o), err)
		}
	}
}

// fill gives an object what the store would.
func fill(o model.Object) {
	switch o := o.(type) {
	case *model.LogicalRouter:
		o.ID = 1
	case *model.LogicalSwitch:
		o.VNI = 1
	case *model.LogicalRouterPort:
		o.Key, o.MAC = 1, model.MAC{2}
	case *model.LogicalSwitchPort:
		if o.Key = 1; o.Type != model.PortPatch {
			o.MAC = model.MAC{2}
		}
	}
}

func TestT63_a_repeated_plan_adds_only_what_is_missing(t *testing.T) {
	have := map[model.Ref]model.Object{}
	add(t, have, tutorial(1))
	add(t, have, tutorial(2))
	delete(have, model.Ref{Kind: model.KindRoute, Parent: "LR-central", Name: "to_outside2"})
	equal(t, add(t, have, tutorial(2)), "lsr LR-central to_outside2 0.0.0.0/0 100.10.10.2 LR-central_to_m2")
	if missing := add(t, have, tutorial(2)); len(missing) > 0 {
		t.Errorf("missing: %v", missing)
	}
	wider := tutorial(1)
	wider.Virt = prefixes("10.20.0.0/16", "10.30.0.0/16")
	equal(t, add(t, have, wider), "lsr LR-edge1 to_virt1_2 10.30.0.0/16 100.10.10.1 LR-edge1_to_m1\nlnat LR-edge1 snat_rule1_2 10.30.0.0/16 snat 192.168.1.30")
}

func TestT63_plans_that_cannot_be_are_refused(t *testing.T) {
	have := map[model.Ref]model.Object{}
	add(t, have, tutorial(1))
	for _, c := range []struct {
		change func(*Path)
		reason error
		words  string
	}{
		{func(p *Path) { p.Name = "a/b" }, ErrInvalid, `"/" is not allowed`},
		{func(p *Path) { p.VIP = nil }, ErrInvalid, "invalid vip"},
		{func(p *Path) { p.VIP = prefixes("192.168.1.20/24", "192.168.2.20/24") }, ErrInvalid, "invalid vip"},
		{func(p *Path) { p.Virt = nil }, ErrInvalid, "invalid virt"},
		{func(p *Path) { p.Virt = make([]netip.Prefix, 9) }, ErrInvalid, "1 to 8 virtual networks"},
		{func(p *Path) { p.Virt = prefixes("2001:db8::/64") }, ErrInvalid, "no vip of this family"},
		{func(p *Path) { p.Inner = nil }, ErrInvalid, "invalid inner"},
		{func(p *Path) { p.Inner = prefixes("100.10.10.1/24") }, ErrInvalid, "the network is 100.10.10.0/24"},
		{func(p *Path) { p.Inner = prefixes("fd00::/64") }, ErrInvalid, "one network of each family"},
		{func(p *Path) { p.Inner = prefixes("100.10.10.0/31") }, ErrInvalid, "two routers do not fit"},
		{func(p *Path) { p.Gateway = nil }, ErrInvalid, "invalid ext-gw"},
		{func(p *Path) { p.Gateway = addrs("192.168.2.1") }, ErrInvalid, "not in the network of the vip"},
		{func(p *Path) { p.Gateway = addrs("192.168.1.20") }, ErrInvalid, "it is the vip"},
		{func(p *Path) { p.Gateway = addrs("fe80::1") }, ErrInvalid, "one of each family"},
		{func(p *Path) { p.SNAT = addrs("2001:db8::1") }, ErrInvalid, "invalid snat"},
		{func(p *Path) { p.SNAT = addrs("192.168.1.30", "192.168.1.31") }, ErrInvalid, "invalid snat"},
		{func(p *Path) { p.Central, p.MakeCentral = "other", false }, ErrNotFound, `router other not found: "edge init" makes`},
		{func(p *Path) { p.Central = "LR-edge1" }, ErrConflict, "router LR-edge1 is pinned"},
		{func(p *Path) { p.Chassis = "elsewhere" }, ErrConflict, "router LR-edge1 exists and is not that of edge edge1"},
		{func(p *Path) { p.SNAT = addrs("192.168.1.33") }, ErrConflict, "NAT snat_rule1 exists"},
		{func(p *Path) { p.Bridge = "br0" }, ErrConflict, "port patchport-outside1 exists"},
		{func(p *Path) { p.Inner = prefixes("100.10.11.0/24") }, ErrConflict, "port LR-central_to_m1 exists and is not in 100.10.11.0/24"},
	} {
		p := tutorial(1)
		c.change(p)
		_, _, err := p.Plan(have)
		if !errors.Is(err, c.reason) || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%q: %v", c.words, err)
		}
	}
	small, second := tutorial(1), tutorial(2)
	small.Inner, second.Inner = prefixes("100.10.10.0/30"), prefixes("100.10.10.0/30")
	have = map[model.Ref]model.Object{}
	add(t, have, small)
	if _, _, err := second.Plan(have); !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), "no address is left in 100.10.10.0/30") {
		t.Error(err)
	}
}

func TestT63_an_edge_is_found_by_name_chassis_or_address(t *testing.T) {
	have := map[model.Ref]model.Object{}
	if got := NameFor(have, "edge1-node", prefixes("192.168.1.20/24")); got != "edge1" {
		t.Error(got)
	}
	add(t, have, tutorial(1))
	add(t, have, tutorial(2))
	for _, c := range []struct{ chassis, vip, want string }{
		{"edge2-node", "192.168.1.21/24", "edge2"}, {"edge2-node", "192.168.1.22/24", "edge3"}, {"edge3-node", "192.168.1.21/24", "edge3"},
	} {
		if got := NameFor(have, c.chassis, prefixes(c.vip)); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
	have[model.Ref{Kind: model.KindSwitch, Name: "m3"}] = &model.LogicalSwitch{Name: "m3"}
	if got := NameFor(have, "edge3-node", prefixes("192.168.1.22/24")); got != "edge4" {
		t.Error(got)
	}
	if got, err := Find(have, "edge2-node", netip.Addr{}); got != "edge2" || err != nil {
		t.Error(got, err)
	}
	if got, err := Find(have, "", netip.MustParseAddr("192.168.1.20")); got != "edge1" || err != nil {
		t.Error(got, err)
	}
	if _, err := Find(have, "", netip.Addr{}); !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), "edge1, edge2") {
		t.Error(err)
	}
	if _, err := Find(have, "edge1-node", netip.MustParseAddr("192.168.1.21")); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

func TestT63_removal_drains_first_and_leaves_nothing_but_the_central_router(t *testing.T) {
	have := map[model.Ref]model.Object{}
	add(t, have, tutorial(1))
	first := len(have)
	add(t, have, tutorial(2))
	own := &model.StaticRoute{Router: "LR-central", Name: "own", Prefix: prefixes("172.16.0.0/12")[0], NextHop: addrs("100.10.10.2")[0], OutPort: "LR-central_to_m2"}
	have[own.Ref()] = own
	r, err := Remove(have, "edge2")
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(r.Drain); got != "[route/LR-central/own route/LR-central/to_outside2]" {
		t.Error(got)
	}
	want := `nat/LR-edge2/snat_rule2 route/LR-edge2/to_ext_world2 route/LR-edge2/to_virt2
switchport/m2/m2_to_LR-central switchport/m2/m2_to_LR-edge2 switchport/outside2/outside2_to_LR-edge2 switchport/outside2/patchport-outside2
routerport/LR-central/LR-central_to_m2 routerport/LR-edge2/LR-edge2_to_m2 routerport/LR-edge2/LR-edge2_to_outside2
router/LR-edge2 switch/m2 switch/outside2`
	if got := strings.Trim(fmt.Sprint(r.Rest), "[]"); got != strings.Join(strings.Fields(want), " ") {
		t.Errorf("%s", got)
	}
	for _, ref := range slices.Concat(r.Drain, r.Rest) {
		delete(have, ref)
	}
	if len(have) != first {
		t.Errorf("left: %v", have)
	}
	// What is left of an edge after an interruption goes as well.
	delete(have, model.Ref{Kind: model.KindRouter, Name: "LR-edge1"})
	if r, err := Remove(have, "edge1"); err != nil || len(r.Rest) < 10 {
		t.Error(r, err)
	}
	if _, err := Remove(have, "edge2"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if _, err := Remove(have, "central"); !errors.Is(err, ErrConflict) {
		t.Error(err)
	}
}

func TestT63_an_edge_whose_switches_others_use_is_not_removed(t *testing.T) {
	for _, stranger := range []string{"m1", "outside1"} {
		have := map[model.Ref]model.Object{}
		add(t, have, tutorial(1))
		vif := &model.LogicalSwitchPort{Switch: stranger, Name: "vm", Type: model.PortVIF}
		have[vif.Ref()] = vif
		if _, err := Remove(have, "edge1"); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "failed to delete "+stranger+": there are remaining ports: vm") {
			t.Error(err)
		}
		delete(have, vif.Ref())
		// Another edge is linked to it.
		add(t, have, tutorial(2))
		lrp, lsp := model.NewLink("LR-edge2", stranger, prefixes("100.10.10.7/24"))
		have[lrp.Ref()], have[lsp.Ref()] = lrp, lsp
		if _, err := Remove(have, "edge1"); !errors.Is(err, ErrInUse) {
			t.Error(err)
		}
	}
}
