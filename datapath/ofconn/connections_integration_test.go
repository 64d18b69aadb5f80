//go:build integration

package ofconn_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"tuplenet/datapath/ofconn"
	"tuplenet/datapath/ovstest"
	"tuplenet/flows/of"
)

// Of many translated connections of a zone exactly those of one external address go, and of those with an inside address
// exactly its.
func TestConnectionsOfAnAddressAreFlushed(t *testing.T) {
	l, s := connect(t, ofconn.Config{}, ovstest.Config{Ports: []string{"p1", "p2"}})
	for inside, external := range map[string]string{"10.0.0.0/24": "192.0.2.1", "10.0.1.0/24": "192.0.2.2"} {
		must(t, s.Bundle(soon(t), []ofconn.Mod{add(t, of.Flow{Match: of.Match{}.UDP4().Prefix(of.IPSrc, netip.MustParsePrefix(inside)),
			Actions: []of.Action{of.CT{Commit: true, Zone: 77, NAT: &of.NAT{Type: of.NATSrc, AddrMin: netip.MustParseAddr(external)}}}})}))
	}
	for i := range 600 {
		l.ovs.Appctl("netdev-dummy/receive", "p1", fmt.Sprintf("in_port(1),eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02),eth_type(0x0800),"+
			"ipv4(src=10.0.%d.%d,dst=198.51.100.1,proto=17,tos=0,ttl=64,frag=no),udp(src=%d,dst=80)", i%2, 1+i/2%2, 2000+i))
	}
	count := func(of string) int { return strings.Count(l.ovs.Appctl("dpctl/dump-conntrack"), of) }
	expect := func(when string, first, second int) {
		t.Helper()
		if a, b := count("dst=192.0.2.1,"), count("dst=192.0.2.2,"); a != first || b != second {
			t.Fatalf("%s: %d and %d connections, want %d and %d", when, a, b, first, second)
		}
	}
	eventually(t, "600 connections", func() bool { return count("dst=192.0.2.1,") == 300 && count("dst=192.0.2.2,") == 300 })
	flush := func(c ofconn.Connections) {
		t.Helper()
		err := s.FlushConnections(soon(t), c)
		if e := new(ofconn.Error); errors.As(err, &e) {
			t.Fatalf("the switch refused: %v", e)
		}
		must(t, err)
	}
	flush(ofconn.Connections{Zone: 78, ReplyDst: netip.MustParseAddr("192.0.2.1")})
	flush(ofconn.Connections{Zone: 77, ReplyDst: netip.MustParseAddr("192.0.2.3")})
	flush(ofconn.Connections{Zone: 77, ReplyDst: netip.MustParseAddr("2001:db8::1")})
	expect("after others", 300, 300)
	flush(ofconn.Connections{Zone: 77, OrigSrc: netip.MustParseAddr("10.0.0.1"), ReplyDst: netip.MustParseAddr("192.0.2.1")})
	expect("after one inside address", 150, 300)
	flush(ofconn.Connections{Zone: 77, ReplyDst: netip.MustParseAddr("192.0.2.1")})
	expect("after one external address", 0, 300)
}
