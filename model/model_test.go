package model

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	for name, words := range map[string]string{
		"":                       "empty",
		"   ":                    "contains only spaces",
		"a/b":                    `"/" is not allowed`,
		"a\tb":                   "not printable",
		"a\u202eb":               "not printable",
		"\xff":                   "not UTF-8",
		strings.Repeat("ä", 254): "at most 253",
		strings.Repeat("ä", 253): "",
		"LS-A":                   "",
		"eth 0":                  "",
	} {
		check(t, name, ValidateName(name), words)
	}
}

// check asserts the words of an error; no words: no error.
func check(t *testing.T, what string, err error, words string) {
	t.Helper()
	switch {
	case words == "" && err != nil:
		t.Errorf("%s: %v", what, err)
	case words != "" && (err == nil || !strings.Contains(err.Error(), words) || strings.Contains(err.Error(), "\n")):
		t.Errorf("%s: got %v, want one line with %q", what, err, words)
	}
}

func TestU11_VNIs_are_read_in_decimal_and_hexadecimal_within_24_bits(t *testing.T) {
	for text, want := range map[string]VNI{"1": 1, "65281": 65281, "0xff01": 0xff01, "0XFFFFFF": 0xffffff, "16777215": 16777215} {
		if v, err := ParseVNI(text); err != nil || v != want {
			t.Errorf("%s: %v %v", text, v, err)
		}
	}
	for text, words := range map[string]string{"0": "the limits are 1 and 16777215", "0x1000000": "the limits are 1 and 16777215 (0xffffff)",
		"33554431": "16777215", "99999999999999999999": "not a number from 1", "-1": "not a number", "ff01": "not a number", "": "not a number", "0x": "not a number"} {
		_, err := ParseVNI(text)
		check(t, text, err, words)
	}
	if v := VNI(65281); v.String() != "65281" || v.Hex() != "0xff01" {
		t.Error(v.String(), v.Hex())
	}
}

func TestMACs(t *testing.T) {
	for _, text := range []string{"f2:01:0a:14:01:0a", "F2-01-0A-14-01-0A"} {
		if m, err := ParseMAC(text); err != nil || m.String() != "f2:01:0a:14:01:0a" {
			t.Errorf("%s: %v %v", text, m, err)
		}
	}
	for _, text := range []string{"", "f2:01:0a:14:01", "f2:01:0a:14:01:0g", "f2010a14010a", "f2:01:0a:14:01:0a:00:00", "f2:01-0a:14:01:0a", "f2:1:0a:14:01:0a:"} {
		_, err := ParseMAC(text)
		check(t, text, err, "invalid MAC address")
	}
	m, _ := ParseMAC("00:11:22:33:44:55")
	if got := m.LinkLocal().String(); got != "fe80::211:22ff:fe33:4455" {
		t.Error(got)
	}
	if got, ok := m.EUI64(netip.MustParsePrefix("2001:db8::/64")); !ok || got.String() != "2001:db8::211:22ff:fe33:4455" {
		t.Error(got, ok)
	}
	for _, p := range []string{"10.0.0.0/8", "2001:db8::/65"} {
		if _, ok := m.EUI64(netip.MustParsePrefix(p)); ok {
			t.Errorf("%s has an EUI-64 address", p)
		}
	}
}

func TestT12_derived_MACs_are_unicast_and_local_and_differ_by_network_and_attempt(t *testing.T) {
	v4, v6 := netip.MustParseAddr("10.20.1.10"), netip.MustParseAddr("2001:db8::a")
	if m := DerivePortMAC("LS", "p", []netip.Addr{v6, v4}, 0); m.String() != "f2:01:0a:14:01:0a" || m != DeriveMAC(v4) {
		t.Error(m)
	}
	seen := map[MAC]string{}
	for what, m := range map[string]MAC{
		"v6":              DerivePortMAC("LS", "p", []netip.Addr{v6}, 0),
		"v6, other net":   DerivePortMAC("LS2", "p", []netip.Addr{v6}, 0),
		"v6, again":       DerivePortMAC("LS", "p", []netip.Addr{v6}, 1),
		"v4, again":       DerivePortMAC("LS", "p", []netip.Addr{v4}, 1),
		"none":            DerivePortMAC("LS", "p", nil, 0),
		"none, other":     DerivePortMAC("LS", "q", nil, 0),
		"address alone":   DeriveMAC(v6),
		"of IPv4 address": DeriveMAC(v4),
	} {
		if other, ok := seen[m]; ok {
			t.Errorf("%s and %s are both %s", what, other, m)
		}
		seen[m] = what
		if m.IsMulticast() || m[0]&2 == 0 || m.validate() != nil {
			t.Errorf("%s: %s", what, m)
		}
	}
	// The rule is stored data's: it does not change between versions.
	if m := DerivePortMAC("LS", "p", []netip.Addr{v6}, 0); m.String() != "f6:b6:61:d8:e0:fd" {
		t.Errorf("the rule has changed: %s", m)
	}
	// A /64 full of ports: all MACs differ.
	in64 := map[MAC]bool{}
	a := netip.MustParseAddr("2001:db8::1")
	for range 20000 {
		in64[DerivePortMAC("LS", "p", []netip.Addr{a}, 0)] = true
		a = a.Next()
	}
	if len(in64) != 20000 {
		t.Errorf("%d of 20000 MACs differ", len(in64))
	}
}

func TestAddresses_are_read_strictly(t *testing.T) {
	for text, words := range map[string]string{
		"10.0.0.1": "", "2001:db8::1": "", "::ffff:10.0.0.1": "", "fe80::1": "",
		"": "invalid IP", "10.0.0": "invalid IP", "10.0.0.1/24": "invalid IP", "0.0.0.0": "unspecified", "::": "unspecified", "224.0.0.1": "multicast",
		"ff02::1": "multicast", "255.255.255.255": "broadcast", "127.0.0.1": "loopback", "::1": "loopback", "fe80::1%eth0": "zone",
	} {
		a, err := ParseIP(text)
		check(t, text, err, words)
		if a.Is4In6() {
			t.Errorf("%s is left in its IPv6 form", text)
		}
	}
	for text, words := range map[string]string{
		"10.20.1.1/24": "", "10.0.0.0/31": "", "10.0.0.0/32": "", "2001:db8::1/64": "", "2001:db8::/127": "",
		"10.20.1.0/24": "address of the network", "10.20.1.255/24": "broadcast", "2001:db8::/64": "address of the network",
		"10.20.1.1": "invalid CIDR address", "10.20.1.1/33": "invalid CIDR address", "224.0.0.1/24": "multicast", "10.0.0.1/0": "prefix length is 0",
		"::ffff:10.0.0.1/120": "IPv4 address written as IPv6",
	} {
		_, err := ParseInterfaceCIDR(text)
		check(t, text, err, words)
	}
	for text, words := range map[string]string{
		"10.20.1.0/24": "", "2001:db8::/64": "", "10.20.1.1/24": "the network is 10.20.1.0/24", "0.0.0.0/0": "not the prefix of a network", "x": "invalid CIDR address",
	} {
		_, err := ParseSubnet(text)
		check(t, text, err, words)
	}
}

func TestThe_syntax_of_patch_ports(t *testing.T) {
	for _, c := range []struct {
		ip, mac string
		patch   bool
		words   string
	}{
		{"255.255.255.255", "ff:ff:ff:ff:ff:ee", true, ""},
		{"255.255.255.255", "FF:FF:FF:FF:FF:EE", true, ""},
		{"255.255.255.255", "", true, ""},
		{"10.0.0.1", "", false, ""},
		{"", "", false, ""},
		{"255.255.255.255", "f2:01:00:00:00:01", false, "invalid IP"},
		{"10.0.0.1", "ff:ff:ff:ff:ff:ee", false, "invalid MAC address"},
	} {
		patch, err := ParsePatchMagic(c.ip, c.mac)
		check(t, c.ip+" "+c.mac, err, c.words)
		if patch != c.patch {
			t.Errorf("%s %s: %v", c.ip, c.mac, patch)
		}
	}
}

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

// samples are valid objects of every kind.
func samples() map[string]Object {
	mac := MAC{2, 0, 0, 0, 0, 1}
	return map[string]Object{
		"switch": &LogicalSwitch{Name: "LS", VNI: 0xffffff, Subnets: prefixes("10.0.0.0/24", "2001:db8::/64"), MTU: 1400, Tags: []string{"a"}},
		"pooled": &LogicalSwitch{Name: "LS", VNI: 2, Subnets: prefixes("10.0.0.0/26", "2001:db8:1::/64"), MACPrefix: "02:42",
			Pools: []SubnetSource{{Pool: "v4", Length: 26, Subnet: netip.MustParsePrefix("10.0.0.0/26")}, {Pool: "v6", Subnet: netip.MustParsePrefix("2001:db8:1::/64")}}},
		"pool":  samplePool(),
		"plain": &LogicalSwitch{Name: "LS", VNI: 1},
		"vif":   &LogicalSwitchPort{Switch: "LS", Name: "p", Key: 1, MAC: mac, IPs: addrs("10.0.0.1", "2001:db8::1"), Type: PortVIF, NoPortSecurity: true, Tags: []string{"x"}},
		"told":  &LogicalSwitchPort{Switch: "LS", Name: "p", Key: 1, MAC: mac, Type: PortVIF, Hostname: "web-1", NoHostConfig: true},
		"telling": &LogicalSwitch{Name: "LS", VNI: 1, Hosts: &HostConfig{DHCPv4: true, RA: true, DHCPv6: DHCPv6Stateful, DNS: addrs("10.0.0.53", "2001:db8::53"),
			Domain: "example.org", Search: []string{"a.example.org"}, NTP: addrs("10.0.0.123"), NoDefaultRoute: true, Lease: 3600, RouterLifetime: 1800,
			Routes: []HostRoute{{Prefix: netip.MustParsePrefix("10.0.0.0/8"), Via: netip.MustParseAddr("10.0.0.2")}}}},
		"pure L2":     &LogicalSwitchPort{Switch: "LS", Name: "p", Key: MaxPortKey, MAC: mac, Type: PortVIF},
		"patch":       &LogicalSwitchPort{Switch: "LS", Name: "p", Key: 2, Type: PortPatch, Chassis: "edge"},
		"router side": &LogicalSwitchPort{Switch: "LS", Name: "p", Key: 3, MAC: mac, Type: PortRouter, Peer: "rp"},
		"router":      &LogicalRouter{Name: "LR", ID: 5, Chassis: "edge"},
		"routerport":  &LogicalRouterPort{Router: "LR", Name: "rp", Key: 1, MAC: mac, Networks: prefixes("10.0.0.1/24", "2001:db8::1/64"), Peer: "p"},
		"bridged":     &LogicalSwitchPort{Switch: "LS", Name: "p", Key: 2, Type: PortPatch, Chassis: "edge", Bridge: "br0"},
		"route":       &StaticRoute{Router: "LR", Name: "to_outside", Prefix: netip.MustParsePrefix("0.0.0.0/0"), NextHop: netip.MustParseAddr("100.10.10.2"), OutPort: "LR_to_m1", Weight: 3},
		"route6":      &StaticRoute{Router: "LR", Name: "to_outside6", Prefix: netip.MustParsePrefix("::/0"), NextHop: netip.MustParseAddr("fe80::1"), OutPort: "LR_to_m1"},
		"snat":        &NATRule{Router: "LR", Name: "snat_rule1", Type: NATSource, Prefix: netip.MustParsePrefix("10.20.0.0/16"), External: netip.MustParseAddr("192.168.1.30")},
		"dnat":        &NATRule{Router: "LR", Name: "web", Type: NATDestination, Prefix: netip.MustParsePrefix("10.20.1.10/32"), External: netip.MustParseAddr("192.168.1.40")},
		"floating":    &NATRule{Router: "LR", Name: "fip", Type: NATFloating, Prefix: netip.MustParsePrefix("2001:db8:1::a/128"), External: netip.MustParseAddr("2001:db8:9::a")},
		"chassis":     &Chassis{Name: "ch", Hostname: "h", IPs: addrs("192.0.2.1", "2001:db8::1"), Encaps: []Encap{EncapGeneve, EncapVXLAN}, UnderlayMTU: 1500, TunnelMTU: 1418, Gateway: true, Tick: 3},
		"binding":     &Binding{Port: "p", Chassis: "ch"},
	}
}

func samplePool() *Pool {
	quarantine := int64(60)
	return &Pool{Name: "v4", Prefixes: prefixes("172.16.0.0/12", "10.0.0.0/16"), Length: 26, Reserved: prefixes("172.16.0.0/24"), Strategy: StrategyRandom, Seed: 7,
		Quarantine: &quarantine, IPv6Template: netip.MustParseAddr("1000::1:0.0.0.0"), Driver: "netbox", Tags: []string{"t"}}
}

func TestObjects_survive_being_written_and_read(t *testing.T) {
	for name, o := range samples() {
		b, err := Encode(o)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, err := Decode(o.Ref(), b); err != nil || !reflect.DeepEqual(got, o) {
			t.Errorf("%s: %s\nread as %+v, %v", name, b, got, err)
		}
		if ref, err := ParseRef(o.Ref().String()); err != nil || ref != o.Ref() {
			t.Errorf("%s: %v %v", name, ref, err)
		}
	}
	if len(Kinds()) != 9 {
		t.Errorf("kinds: %v", Kinds())
	}
	b, _ := Encode(samples()["patch"])
	if string(b) != `{"switch":"LS","name":"p","key":2,"type":"patch","chassis":"edge"}` {
		t.Errorf("%s", b)
	}
}

// with changes a sample.
func with[T Object](name string, change func(T)) Object {
	o := samples()[name].(T)
	change(o)
	return o
}

func TestInvalid_objects_are_refused_with_the_words_that_operators_know(t *testing.T) {
	type LS = *LogicalSwitch
	type LSP = *LogicalSwitchPort
	type LRP = *LogicalRouterPort
	type CH = *Chassis
	type POOL = *Pool
	long := int64(MaxQuarantine + 1)
	for _, c := range []struct {
		o     Object
		words string
	}{
		{with("switch", func(o LS) { o.Name = " " }), "contains only spaces"},
		{with("switch", func(o LS) { o.VNI = 0 }), "invalid VNI 0"},
		{with("switch", func(o LS) { o.VNI = 0x1000000 }), "the limits are 1 and 16777215"},
		{with("switch", func(o LS) { o.Subnets = prefixes("10.0.0.1/24") }), "invalid CIDR address"},
		{with("switch", func(o LS) { o.Subnets = prefixes("10.0.0.0/8", "10.1.0.0/16") }), "overlaps"},
		{with("switch", func(o LS) { o.Subnets = make([]netip.Prefix, 1) }), "invalid CIDR address"},
		{with("switch", func(o LS) { o.MTU = 100 }), "invalid MTU"},
		{with("switch", func(o LS) { o.Tags = []string{"a/b"} }), `"/" is not allowed`},
		{with("pooled", func(o LS) { o.Pools[0].Pool = "a/b" }), "pool: invalid name"},
		{with("pooled", func(o LS) { o.Pools[0].Subnet = netip.Prefix{} }), "is not a subnet of the switch"},
		{with("pooled", func(o LS) { o.Subnets = o.Subnets[1:] }), "10.0.0.0/26 is not a subnet of the switch"},
		{with("pooled", func(o LS) { o.Pools[1].Subnet = o.Pools[0].Subnet }), "two pools are given for it"},
		{with("pooled", func(o LS) { o.Pools[1].Length = 129 }), "invalid prefix length 129"},
		{with("pooled", func(o LS) { o.MACPrefix = "02:42:AC" }), "invalid MAC prefix"},
		{with("pooled", func(o LS) { o.MACPrefix = "03" }), "it is multicast"},
		{with("pooled", func(o LS) { o.MACPrefix = "02:00:00:00" }), "one to three octets"},
		{with("pool", func(o POOL) { o.Name = "" }), "pool: a name is empty"},
		{with("pool", func(o POOL) { o.Prefixes = nil }), "a pool has 1 to 64"},
		{with("pool", func(o POOL) { o.Prefixes = prefixes("10.0.0.1/8") }), "bits are set behind the prefix"},
		{with("pool", func(o POOL) { o.Prefixes = prefixes("10.0.0.0/8", "2001:db8::/32") }), "of one family"},
		{with("pool", func(o POOL) { o.Prefixes = prefixes("10.0.0.0/8", "10.1.0.0/16") }), "overlaps"},
		{with("pool", func(o POOL) { o.Length = 33 }), "gives out /12 to /32"},
		{with("pool", func(o POOL) { o.Length = 11 }), "gives out /12 to /32"},
		{with("pool", func(o POOL) { o.Reserved = prefixes("192.0.2.0/24") }), "it is not in the pool"},
		{with("pool", func(o POOL) { o.Reserved = make([]netip.Prefix, 65) }), "65 prefixes are more than 64"},
		{with("pool", func(o POOL) { o.Strategy = "best" }), "invalid strategy"},
		{with("pool", func(o POOL) { o.Strategy = StrategyLowest }), "invalid seed 7"},
		{with("pool", func(o POOL) { o.Quarantine = &long }), "invalid quarantine"},
		{with("pool", func(o POOL) { o.IPv6Template = netip.MustParseAddr("ff02::1") }), "invalid IPv6 template"},
		{with("pool", func(o POOL) { o.Prefixes, o.Reserved, o.Length = prefixes("2001:db8::/32"), nil, 0 }), "only a pool of IPv4"},
		{with("pool", func(o POOL) { o.Driver = "../sh" }), "invalid driver"},
		{with("pool", func(o POOL) { o.Tags = []string{""} }), "tag: a name is empty"},
		{with("vif", func(o LSP) { o.Switch = "" }), "switch: a name is empty"},
		{with("vif", func(o LSP) { o.Name = "a/b" }), `"/" is not allowed`},
		{with("vif", func(o LSP) { o.Key = 0 }), "invalid port key"},
		{with("vif", func(o LSP) { o.Key = 0xffff }), "invalid port key"},
		{with("vif", func(o LSP) { o.MAC = MAC{} }), "invalid MAC address"},
		{with("vif", func(o LSP) { o.MAC = MAC{1} }), "multicast"},
		{with("vif", func(o LSP) { o.IPs = addrs("224.0.0.1") }), "invalid IP"},
		{with("vif", func(o LSP) { o.IPs = addrs("::ffff:10.0.0.1") }), "IPv4 address written as IPv6"},
		{with("vif", func(o LSP) { o.IPs = addrs("10.0.0.1", "10.0.0.1") }), "given twice"},
		{with("vif", func(o LSP) { o.IPs = make([]netip.Addr, 33) }), "33 are more than 32"},
		{with("vif", func(o LSP) { o.Type = "" }), "invalid type"},
		{with("vif", func(o LSP) { o.Peer = "x" }), "invalid peer"},
		{with("vif", func(o LSP) { o.Chassis = "x" }), "invalid chassis"},
		{with("patch", func(o LSP) { o.MAC = MAC{2} }), "invalid patch port"},
		{with("patch", func(o LSP) { o.Chassis = " " }), "contains only spaces"},
		{with("router side", func(o LSP) { o.Peer = "" }), "peer: a name is empty"},
		{&LogicalRouter{Name: "LR"}, "invalid id 0"},
		{&LogicalRouter{Name: "LR", ID: 1, Chassis: "a/b"}, "chassis: "},
		{with("routerport", func(o LRP) { o.Networks = nil }), "a router port has 1 to 32"},
		{with("routerport", func(o LRP) { o.Networks = prefixes("10.0.0.1/24", "10.0.0.2/24") }), "overlaps"},
		{with("routerport", func(o LRP) { o.MAC = MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff} }), "broadcast"},
		{with("routerport", func(o LRP) { o.Peer = " " }), "contains only spaces"},
		{with("chassis", func(o CH) { o.IPs = nil }), "invalid IPs"},
		{with("chassis", func(o CH) { o.IPs = addrs("192.0.2.1", "192.0.2.2") }), "one tunnel endpoint of each family"},
		{with("chassis", func(o CH) { o.IPs = addrs("fe80::1") }), "link-local"},
		{with("chassis", func(o CH) { o.Encaps = nil }), "encapsulations"},
		{with("chassis", func(o CH) { o.Encaps = []Encap{"gre"} }), "invalid encapsulation"},
		{with("chassis", func(o CH) { o.UnderlayMTU = 65536 }), "invalid underlay MTU 65536"},
		{with("chassis", func(o CH) { o.TunnelMTU = -1 }), "invalid tunnel MTU -1"},
		{with("chassis", func(o CH) { o.Encaps = []Encap{EncapVXLAN, EncapVXLAN} }), "named twice"},
		{&Binding{Port: "p"}, "chassis: a name is empty"},
	} {
		check(t, c.o.Ref().String(), c.o.Validate(), c.words)
		_, err := Encode(c.o)
		check(t, c.o.Ref().String(), err, c.words)
	}
}

func TestReading_is_strict(t *testing.T) {
	ls := Ref{Kind: KindSwitch, Name: "LS"}
	for value, words := range map[string]string{
		`{"name":"LS","vni":1}`:                 "",
		` {"vni":1,"name":"LS"} `:               "",
		`{"name":"LS","vni":1,"x":1}`:           `unknown field "x"`,
		`{"name":"LS","vni":1`:                  "invalid JSON",
		`{"name":"LS","vni":1}{}`:               "something follows",
		`{"name":"LS","vni":"1"}`:               "invalid JSON",
		`{"name":"LS","vni":-1}`:                "invalid JSON",
		`{"name":"LS","vni":1,"subnets":["x"]}`: "invalid JSON",
		`null`:                                  "not an object",
		``:                                      "not an object",
		`[]`:                                    "not an object",
		`{"name":"other","vni":1}`:              "it says that it is switch/other",
		`{"name":"LS"}`:                         "invalid VNI 0",
	} {
		_, err := Decode(ls, []byte(value))
		check(t, value, err, words)
	}
	_, err := Decode(Ref{Kind: "wormhole", Name: "x"}, []byte("{}"))
	check(t, "unknown kind", err, "unknown kind of object")
}

func TestRefs(t *testing.T) {
	for text, words := range map[string]string{"switch/a": "", "switchport/a/b": "", "switch/a/b": "two parts", "switch/": "two parts", "switch": "two parts",
		"switchport/a": "three parts", "switchport/a/": "three parts", "switchport//b": "three parts", "routerport/a/b/c": "three parts",
		"route/LR/r": "", "nat/LR/n": "", "route/r": "three parts", "nat/n": "three parts", "x/y": "unknown kind"} {
		ref, err := ParseRef(text)
		check(t, text, err, words)
		if err == nil && ref.String() != text {
			t.Errorf("%s became %s", text, ref)
		}
	}
}

func TestClaims_of_different_objects_meet_where_they_conflict(t *testing.T) {
	vif, side := samples()["vif"], samples()["router side"]
	want := []string{"port/p", "key/switch/LS/00001", "mac/switch/LS/02:00:00:00:00:01", "ip/switch/LS/10.0.0.1", "ip/switch/LS/2001:db8::1"}
	if got := Claims(vif); !reflect.DeepEqual(got, want) {
		t.Errorf("%q", got)
	}
	if got := Claims(side); got[0] != "port/p" || got[2] != want[2] {
		t.Errorf("%q", got)
	}
	if got := Claims(samples()["routerport"]); got[3] != "ip/router/LR/10.0.0.1" {
		t.Errorf("%q", got)
	}
	if a, b := Claims(&LogicalSwitch{VNI: 9}), Claims(&LogicalRouter{ID: 9}); a[0] != b[0] || a[0] != "vni/000009" {
		t.Error(a, b)
	}
	if len(Claims(&Chassis{}))+len(Claims(&Binding{})) != 0 {
		t.Error("chassis and bindings claim nothing")
	}
}

func TestStatus_of_other_versions_is_read(t *testing.T) {
	s, err := DecodeStatus([]byte(`{"chassis":"ch","applied":7,"new":1,"problems":[{"key":"switch/LS","reason":"r"}]}`))
	if err != nil || s.Applied != 7 || len(s.Problems) != 1 {
		t.Errorf("%+v %v", s, err)
	}
	_, err = DecodeStatus([]byte("{"))
	check(t, "broken status", err, "invalid status")
}

// FuzzDecode: what is read is valid, and reads the same again after being written.
func FuzzDecode(f *testing.F) {
	for _, o := range samples() {
		b, err := json.Marshal(o)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(o.Ref().String(), b)
	}
	f.Add("switch/LS", []byte(`{"name":"LS","vni":1,"vni":2,"NAME":"LS"}`))
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		ref, err := ParseRef(key)
		if err != nil {
			return
		}
		o, err := Decode(ref, value)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("an error of several lines: %q", err)
			}
			return
		}
		b, err := Encode(o)
		if err != nil {
			t.Fatalf("read, but not written: %v", err)
		}
		again, err := Decode(ref, b)
		if err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		if b2, err := Encode(again); err != nil || string(b2) != string(b) {
			t.Fatalf("%s became %s (%v)", b, b2, err)
		}
	})
}
