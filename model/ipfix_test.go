package model

import (
	"net/netip"
	"testing"
)

func TestT56_TheObservationDomainIsTheNodesAddress(t *testing.T) {
	for _, c := range []struct {
		ips  []string
		want uint32
	}{
		{[]string{"10.0.0.1"}, 0x0a000001},
		{[]string{"2001:db8::1:2"}, 0x00010002},
		{[]string{"2001:db8::1", "192.0.2.7"}, 0xc0000207},
		{nil, 0},
	} {
		var addrs []netip.Addr
		for _, ip := range c.ips {
			addrs = append(addrs, netip.MustParseAddr(ip))
		}
		if got := ObservationDomain(addrs); got != c.want {
			t.Errorf("%v: %#x, want %#x", c.ips, got, c.want)
		}
	}
}
