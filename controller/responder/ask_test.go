package responder

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

var (
	asker = [6]byte{0xf2, 1, 0, 0, 0, 1}
	owner = [6]byte{0xf2, 1, 0, 0, 0, 2}
)

// A question is as the RFCs draw it, and a station that sends it claims its own address by it (ARP).
func TestQuestions(t *testing.T) {
	f := Ask(asker, netip.MustParseAddr("192.168.1.20"), netip.MustParseAddr("192.168.1.1"))
	p := gopacket.NewPacket(f, layers.LayerTypeEthernet, gopacket.Default)
	arp, ok := p.Layer(layers.LayerTypeARP).(*layers.ARP)
	if !ok || arp.Operation != layers.ARPRequest || !bytes.Equal(arp.DstProtAddress, []byte{192, 168, 1, 1}) || !bytes.Equal(arp.SourceHwAddress, asker[:]) {
		t.Fatalf("not the request: %v", p)
	}
	if ip, mac, ok := Claim(f); !ok || ip.String() != "192.168.1.20" || mac != asker {
		t.Errorf("claims %v at %v", ip, mac)
	}
	f = Ask(asker, netip.MustParseAddr("2001:db8::20"), netip.MustParseAddr("2001:db8::ab:cdef"))
	p = gopacket.NewPacket(f, layers.LayerTypeEthernet, gopacket.Default)
	ns, ok := p.Layer(layers.LayerTypeICMPv6NeighborSolicitation).(*layers.ICMPv6NeighborSolicitation)
	if !ok || ns.TargetAddress.String() != "2001:db8::ab:cdef" || len(ns.Options) != 1 {
		t.Fatalf("not the solicitation: %v", p)
	}
	if ip := p.Layer(layers.LayerTypeIPv6).(*layers.IPv6); ip.DstIP.String() != "ff02::1:ffab:cdef" || ip.HopLimit != 255 {
		t.Errorf("sent to %v with hop limit %d", ip.DstIP, ip.HopLimit)
	}
	if _, _, ok := Claim(f); ok {
		t.Error("a solicitation claims nothing")
	}
	if Ask(asker, netip.MustParseAddr("2001:db8::20"), netip.MustParseAddr("192.168.1.1")) != nil {
		t.Error("the families differ")
	}
}

// Announcements are claims; what nobody can claim is none.
func TestClaims(t *testing.T) {
	for _, ip := range []string{"192.168.1.1", "2001:db8::1"} {
		a := netip.MustParseAddr(ip)
		f := GARP(owner, a)
		if a.Is6() {
			f = UnsolicitedNA(owner, a, false)
		}
		if got, mac, ok := Claim(f); !ok || got != a || mac != owner {
			t.Errorf("%s: %v at %v, %v", ip, got, mac, ok)
		}
	}
	if _, _, ok := Claim(GARP([6]byte{1, 0, 0, 0, 0, 1}, netip.MustParseAddr("192.168.1.1"))); ok {
		t.Error("a group MAC has no address")
	}
	if _, _, ok := Claim(GARP(owner, netip.MustParseAddr("0.0.0.0"))); ok {
		t.Error("nobody has the unspecified address")
	}
}

func FuzzClaim(f *testing.F) {
	f.Add(GARP(owner, netip.MustParseAddr("192.168.1.1")))
	f.Add(UnsolicitedNA(owner, netip.MustParseAddr("2001:db8::1"), true))
	f.Fuzz(func(t *testing.T, b []byte) {
		if ip, mac, ok := Claim(b); ok && (!ip.IsValid() || mac[0]&1 != 0) {
			t.Errorf("%v at %v", ip, mac)
		}
	})
}
