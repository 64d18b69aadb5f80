package model

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestU20_pools_say_what_they_give_out(t *testing.T) {
	for _, c := range []struct {
		prefixes []netip.Prefix
		length   int
		want     int
	}{
		{prefixes("2a0a:e5c0::/29"), 0, 64},
		{prefixes("2001:db8::/80"), 0, 80},
		{prefixes("10.0.0.0/8"), 0, 24},
		{prefixes("10.0.0.0/8", "192.0.2.0/26"), 0, 26},
		{prefixes("10.0.0.0/8"), 28, 28},
	} {
		p := Pool{Name: "p", Prefixes: c.prefixes, Length: c.length}
		if got := p.DefaultLength(); got != c.want {
			t.Errorf("%v: /%d, want /%d", c.prefixes, got, c.want)
		}
	}
	p := Pool{Prefixes: prefixes("10.0.0.0/8")}
	if p.QuarantineSeconds() != DefaultQuarantine || !p.Contains(netip.MustParsePrefix("10.1.0.0/16")) || p.Contains(netip.MustParsePrefix("0.0.0.0/1")) {
		t.Error("quarantine or extent of a pool")
	}
}

func TestU20_claims_of_prefixes_sort_as_prefixes_do(t *testing.T) {
	var claims []string
	for _, p := range prefixes("2.0.0.0/8", "2.0.0.0/24", "2.0.1.0/24", "10.0.0.0/24", "100.0.0.0/9") {
		c := ClaimPrefix("v4", p)
		if pool, got, ok := ParsePrefixClaim(c); !ok || pool != "v4" || got != p {
			t.Errorf("%s is read as %s of %s", c, got, pool)
		}
		claims = append(claims, c)
	}
	if !slices.IsSorted(claims) || claims[0] != "prefix/v4/002.000.000.000/008" {
		t.Errorf("%q", claims)
	}
	for _, bad := range []string{"prefix/v4/x/024", "prefix/v4/10.0.0.0", "ip/switch/LS/10.0.0.1", "prefix/v4/10.0.0.0/x"} {
		if _, _, ok := ParsePrefixClaim(bad); ok {
			t.Errorf("%s was read", bad)
		}
	}
}

func TestX05_templates_of_addresses(t *testing.T) {
	for text, want := range map[string]string{
		"172.16.0.0/16/24": "172.16.0.0/16 24", "192.168.1.0/24": "192.168.1.0/24 24", "2001:db8::/32/64": "2001:db8::/32 64",
	} {
		net, length, err := ParseTemplate(text)
		if got := net.String() + " " + VNI(length).String(); err != nil || got != want {
			t.Errorf("%s: %s %v", text, got, err)
		}
	}
	for text, words := range map[string]string{
		"172.16.0.0": "invalid CIDR address", "172.16.0.0/16/8": "from 16 to 32", "172.16.0.0/16/x": "from 16 to 32", "172.16.0.0/16/33": "from 16 to 32", "172.16.0.1/16/24": "bits are set",
	} {
		if _, _, err := ParseTemplate(text); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestU20_what_is_taken_of_a_pool_is_typed_in_three_ways(t *testing.T) {
	for text, want := range map[string]SubnetSource{
		"v6": {Pool: "v6"}, "v4/26": {Pool: "v4", Length: 26}, "v4=10.0.0.0/24": {Pool: "v4", Subnet: netip.MustParsePrefix("10.0.0.0/24")},
	} {
		if got, err := ParseSubnetSource(text); err != nil || got != want {
			t.Errorf("%s: %+v %v", text, got, err)
		}
	}
	for _, bad := range []string{"", "v4/", "v4/0", "v4/129", "v4=x", "=10.0.0.0/24"} {
		if s, err := ParseSubnetSource(bad); err == nil {
			t.Errorf("%q: %+v", bad, s)
		}
	}
}

func TestU29_MACs_of_a_switch_begin_with_its_prefix(t *testing.T) {
	p, err := ParseMACPrefix("02:42:AC")
	if err != nil || p != "02:42:ac" {
		t.Fatal(p, err)
	}
	seen := map[MAC]bool{}
	for attempt := range 100 {
		m := p.PortMAC("LS", "p", nil, attempt)
		if !strings.HasPrefix(m.String(), "02:42:ac:") || m.validate() != nil {
			t.Fatal(m)
		}
		seen[m] = true
	}
	if len(seen) != 100 {
		t.Errorf("100 attempts gave %d addresses", len(seen))
	}
	if a, b := p.PortMAC("LS", "p", nil, 0), p.PortMAC("LS", "p", addrs("10.0.0.1"), 0); a != b {
		t.Error("the MAC depends on the address, which may be made from it")
	}
	if m := MACPrefix("").PortMAC("LS", "p", addrs("10.0.0.1"), 0); m != DeriveMAC(netip.MustParseAddr("10.0.0.1")) {
		t.Error(m)
	}
	for _, bad := range []string{"", "2", "02:42:ac:00", "xx", "01", "02-42"} {
		if _, err := ParseMACPrefix(bad); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}
