package model

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestT34_T35_T36_invalid_routes_and_NAT_rules_are_refused_with_the_words_that_operators_know(t *testing.T) {
	type SR = *StaticRoute
	type NAT = *NATRule
	pfx, addr := netip.MustParsePrefix, netip.MustParseAddr
	for _, c := range []struct {
		o     Object
		words string
	}{
		{with("route", func(o SR) { o.Router = "" }), "router: a name is empty"},
		{with("route", func(o SR) { o.Name = "  " }), "static route: name \"  \" contains only spaces"},
		{with("route", func(o SR) { o.OutPort = "a/b" }), `outport: invalid name "a/b": "/" is not allowed`},
		{with("route", func(o SR) { o.Prefix = netip.Prefix{} }), "invalid CIDR address"},
		{with("route", func(o SR) { o.Prefix = pfx("10.20.0.1/16") }), "the network is 10.20.0.0/16"},
		{with("route", func(o SR) { o.Prefix = pfx("224.0.0.0/4") }), "invalid CIDR address"},
		{with("route", func(o SR) { o.Prefix = pfx("::ffff:0.0.0.0/96") }), "invalid CIDR address"},
		{with("route", func(o SR) { o.NextHop = netip.Addr{} }), "invalid next_hop"},
		{with("route", func(o SR) { o.NextHop = addr("0.0.0.0") }), "invalid next_hop"},
		{with("route", func(o SR) { o.NextHop = addr("224.0.0.9") }), "multicast"},
		{with("route", func(o SR) { o.NextHop = addr("2001:db8::1") }), `invalid next_hop "2001:db8::1": it is not of the family of 0.0.0.0/0`},
		{with("route6", func(o SR) { o.NextHop = addr("10.0.0.1") }), "invalid next_hop"},
		{with("route6", func(o SR) { o.NextHop = addr("fe80::1%eth0") }), "zone"},
		{with("snat", func(o NAT) { o.Router = " " }), "contains only spaces"},
		{with("snat", func(o NAT) { o.Name = "" }), "NAT: a name is empty"},
		{with("snat", func(o NAT) { o.Type = "masquerade" }), `invalid translate type "masquerade": it is snat, dnat or dnat_and_snat`},
		{with("snat", func(o NAT) { o.Prefix = pfx("10.20.0.1/16") }), "invalid CIDR address"},
		{with("snat", func(o NAT) { o.External = netip.Addr{} }), "invalid translate IP"},
		{with("snat", func(o NAT) { o.External = addr("255.255.255.255") }), "broadcast"},
		{with("snat", func(o NAT) { o.External = addr("2001:db8::1") }), "not of the family of 10.20.0.0/16"},
		{with("snat", func(o NAT) { o.Prefix = pfx("0.0.0.0/0") }), ""},
		{with("dnat", func(o NAT) { o.Prefix = pfx("10.20.1.0/24") }), "with prefix length 32"},
		{with("dnat", func(o NAT) { o.Prefix = pfx("127.0.0.1/32") }), "invalid CIDR address"},
		{with("dnat", func(o NAT) { o.External = addr("10.20.1.10") }), "it is the address to translate"},
		{with("floating", func(o NAT) { o.Prefix = pfx("2001:db8:1::/64") }), "with prefix length 128"},
		{with("floating", func(o NAT) { o.External = addr("fe80::1") }), "link-local"},
		{with("floating", func(o NAT) { o.External = addr("192.168.1.40") }), "invalid translate IP"},
	} {
		check(t, c.o.Ref().String(), c.o.Validate(), c.words)
	}
}

func TestT33_only_a_patch_port_of_a_chassis_leads_to_a_bridge(t *testing.T) {
	for _, c := range []struct {
		change func(*LogicalSwitchPort)
		words  string
	}{
		{func(*LogicalSwitchPort) {}, ""},
		{func(o *LogicalSwitchPort) { o.Chassis = "" }, "say on which chassis it is"},
		{func(o *LogicalSwitchPort) { o.Bridge = "br 0" }, "invalid bridge"},
		{func(o *LogicalSwitchPort) { o.Bridge = strings.Repeat("b", 16) }, "at most 15"},
		{func(o *LogicalSwitchPort) { o.Bridge = "a/b" }, `"/" is not allowed`},
		{func(o *LogicalSwitchPort) { o.Type, o.MAC, o.Chassis = PortVIF, MAC{2}, "" }, "only a patch port leads to one"},
	} {
		o := with("bridged", c.change)
		check(t, c.words, o.Validate(), c.words)
	}
}

func TestRoutes_and_translations_are_read_as_they_are_typed(t *testing.T) {
	for text, words := range map[string]string{"100.10.10.2": "", "fe80::1": "", "::ffff:10.0.0.1": "", "100.10.10": `invalid next_hop "100.10.10"`, "": "invalid next_hop", "0.0.0.0": "invalid next_hop"} {
		_, err := ParseNextHop(text)
		check(t, text, err, words)
	}
	for text, words := range map[string]string{"192.168.1.30": "", "2001:db8::1": "", "192.168.1.30/24": "invalid translate IP", "x": "invalid translate IP", "::1": "invalid translate IP"} {
		_, err := ParseExternal(text)
		check(t, text, err, words)
	}
	for text, words := range map[string]string{"snat": "", "dnat": "", "dnat_and_snat": "", "SNAT": "invalid translate type", "": "invalid translate type"} {
		_, err := ParseNATType(text)
		check(t, text, err, words)
	}
	for text, words := range map[string]string{"0.0.0.0/0": "", "::/0": "", "10.20.0.0/16": "", "10.20.0.1/32": "", "10.20.0.1/16": "invalid CIDR address", "10.20.0.0": "invalid CIDR address",
		"1.2.3.4/0": "invalid CIDR address", "::ffff:0.0.0.0/0": "invalid CIDR address"} {
		_, err := ParseRoutePrefix(text)
		check(t, text, err, words)
	}
}

// meet reports whether two objects claim the same thing.
func meet(a, b Object) bool {
	return slices.ContainsFunc(Claims(a), func(c string) bool { return slices.Contains(Claims(b), c) })
}

func TestNAT_rules_conflict_where_a_translation_would_be_ambiguous(t *testing.T) {
	rule := func(router string, kind NATType, prefix, external string) *NATRule {
		return &NATRule{Router: router, Name: string(kind), Type: kind, Prefix: netip.MustParsePrefix(prefix), External: netip.MustParseAddr(external)}
	}
	for _, c := range []struct {
		name string
		a, b *NATRule
		want bool
	}{
		{"two sources for one prefix", rule("LR", NATSource, "10.0.0.0/8", "1.1.1.1"), rule("LR", NATSource, "10.0.0.0/8", "1.1.1.2"), true},
		{"a floating address beside a wider snat", rule("LR", NATSource, "10.0.0.0/8", "1.1.1.1"), rule("LR", NATFloating, "10.0.0.1/32", "1.1.1.2"), false},
		{"a floating address beside a snat of the same address", rule("LR", NATSource, "10.0.0.1/32", "1.1.1.1"), rule("LR", NATFloating, "10.0.0.1/32", "1.1.1.2"), true},
		{"one external address for two inside", rule("LR", NATDestination, "10.0.0.1/32", "1.1.1.1"), rule("LR", NATFloating, "10.0.0.2/32", "1.1.1.1"), true},
		{"two external addresses for one inside", rule("LR", NATDestination, "10.0.0.1/32", "1.1.1.1"), rule("LR", NATDestination, "10.0.0.1/32", "1.1.1.2"), false},
		{"one external address for snat and dnat", rule("LR", NATSource, "10.0.0.0/8", "1.1.1.1"), rule("LR", NATDestination, "10.0.0.1/32", "1.1.1.1"), false},
		{"the same on two routers", rule("LR", NATSource, "10.0.0.0/8", "1.1.1.1"), rule("LR2", NATSource, "10.0.0.0/8", "1.1.1.1"), false},
	} {
		if got := meet(c.a, c.b); got != c.want {
			t.Errorf("%s: conflict %v", c.name, got)
		}
	}
}

func TestRoutes_of_one_prefix_do_not_conflict_and_are_listed_under_their_port(t *testing.T) {
	a := samples()["route"].(*StaticRoute)
	b := with("route", func(o *StaticRoute) { o.Name = "to_outside2" })
	if meet(a, b) {
		t.Error("two ways to one prefix conflict")
	}
	if got, want := Claims(a), []string{OutPortClaims("LR", "LR_to_m1") + "to_outside"}; !reflect.DeepEqual(got, want) || got[0] != "outport/router/LR/LR_to_m1/to_outside" {
		t.Errorf("%q", got)
	}
}
