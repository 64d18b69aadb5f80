package model

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

func TestG28_what_hosts_are_told_is_refused_if_no_client_could_take_it(t *testing.T) {
	tell := func(change func(*HostConfig)) Object {
		return with("switch", func(o *LogicalSwitch) {
			o.Hosts = &HostConfig{DHCPv4: true}
			change(o.Hosts)
		})
	}
	many := addrs("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.7")
	route := func(prefix, via string) HostRoute {
		return HostRoute{Prefix: netip.MustParsePrefix(prefix), Via: netip.MustParseAddr(via)}
	}
	for _, c := range []struct {
		o     Object
		words string
	}{
		{tell(func(*HostConfig) {}), ""},
		{tell(func(c *HostConfig) { c.DHCPv6 = "always" }), `invalid DHCPv6 mode "always"`},
		{tell(func(c *HostConfig) { c.Lease = 59 }), "the limits are 60 and 31536000"},
		{tell(func(c *HostConfig) { c.Lease = -1 }), "invalid lease"},
		{tell(func(c *HostConfig) { c.RouterLifetime = 1799 }), "the limits are 1800 and 65535"},
		{tell(func(c *HostConfig) { c.DNS = many }), "invalid DNS servers: 7 are more than 6"},
		{tell(func(c *HostConfig) { c.DNS = addrs("10.0.0.1", "10.0.0.1") }), "10.0.0.1 is there twice"},
		{tell(func(c *HostConfig) { c.DNS = addrs("224.0.0.1") }), "multicast"},
		{tell(func(c *HostConfig) { c.NTP = many[:5] }), "invalid NTP servers: 5 are more than 4"},
		{tell(func(c *HostConfig) { c.Domain = "a..b" }), `invalid domain "a..b"`},
		{tell(func(c *HostConfig) { c.Domain = "-a.org" }), "letters, digits and hyphens"},
		{tell(func(c *HostConfig) { c.Search = []string{"exa mple.org"} }), "invalid domain"},
		{tell(func(c *HostConfig) { c.Search = []string{"a", "b", "c", "d", "e", "f", "g"} }), "invalid search domains: 7"},
		{tell(func(c *HostConfig) {
			c.Search = []string{strings.Repeat(strings.Repeat("a", 60)+".", 2) + "x", strings.Repeat(strings.Repeat("b", 60)+".", 2) + "y"}
		}), "more than 6 of 240"},
		{tell(func(c *HostConfig) { c.Routes = []HostRoute{route("10.0.0.1/8", "10.0.0.2")} }), "invalid CIDR address"},
		{tell(func(c *HostConfig) { c.Routes = []HostRoute{route("2001:db8::/32", "10.0.0.2")} }), "an IPv4 network"},
		{tell(func(c *HostConfig) { c.Routes = []HostRoute{route("10.0.0.0/8", "fe80::1")} }), "an IPv4 address of a router"},
		{tell(func(c *HostConfig) {
			c.Routes = []HostRoute{route("10.0.0.0/8", "10.0.0.2"), route("10.0.0.0/8", "10.0.0.3")}
		}), "10.0.0.0/8 is there twice"},
		{tell(func(c *HostConfig) { c.Routes = make([]HostRoute, 17) }), "17 are more than 16"},
		{with("vif", func(o *LogicalSwitchPort) { o.Hostname = "a.b" }), "invalid hostname"},
		{with("patch", func(o *LogicalSwitchPort) { o.Hostname = "a" }), "only a workload's port"},
		{with("router side", func(o *LogicalSwitchPort) { o.NoHostConfig = true }), "only a workload's port"},
	} {
		check(t, c.words, c.o.Validate(), c.words)
	}
}

// Every field counts when two of them are compared, so that no change goes unnoticed.
func TestG28_configurations_and_guests_that_differ_in_any_field_are_not_equal(t *testing.T) {
	full := samples()["telling"].(*LogicalSwitch).Hosts
	if !full.Equal(full) || full.Equal(nil) || !(*HostConfig)(nil).Equal(nil) {
		t.Error("one is not equal to itself, or equal to none")
	}
	for i := range reflect.TypeFor[HostConfig]().NumField() {
		other := *full
		f := reflect.ValueOf(&other).Elem().Field(i)
		if f.IsZero() {
			t.Errorf("the sample says nothing of %s", reflect.TypeFor[HostConfig]().Field(i).Name)
		}
		f.SetZero()
		if other.Equal(full) || full.Equal(&other) {
			t.Errorf("%s does not count", reflect.TypeFor[HostConfig]().Field(i).Name)
		}
	}
	mac := MAC{2, 0, 0, 0, 0, 1}
	g := Guest{Port: "p", Switch: "LS", VNI: 1, Key: 1, MAC: mac, Server: mac, HasIPv4: true, HasIPv6: true, Config: *full, Hostname: "h", MTU: 1400,
		IPv4: netip.MustParsePrefix("10.0.0.1/24"), Router: netip.MustParseAddr("10.0.0.254"), IPv6: addrs("2001:db8::1"),
		Routers: []AdvertisedRouter{{Port: "rp", MAC: mac, Prefixes: []AdvertisedPrefix{{Prefix: netip.MustParsePrefix("2001:db8::/64")}}}}}
	for i := range reflect.TypeFor[Guest]().NumField() {
		other := g
		f := reflect.ValueOf(&other).Elem().Field(i)
		if f.IsZero() {
			t.Errorf("the sample says nothing of %s", reflect.TypeFor[Guest]().Field(i).Name)
		}
		f.SetZero()
		if other.Equal(g) || !other.Equal(other) {
			t.Errorf("%s does not count", reflect.TypeFor[Guest]().Field(i).Name)
		}
	}
}

func TestG28_hostnames_are_the_ports_names_where_those_can_be_one(t *testing.T) {
	for name, want := range map[string]string{"web-1": "web-1", "a_b": "", "web.1": "", "-x": "", strings.Repeat("a", 64): ""} {
		if got := (&LogicalSwitchPort{Name: name}).HostName(); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got := (&LogicalSwitchPort{Name: "a_b", Hostname: "ab"}).HostName(); got != "ab" {
		t.Error(got)
	}
}
