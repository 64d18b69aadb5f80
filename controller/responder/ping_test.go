package responder

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// aPing is an echo request with correct checksums.
func aPing(t *testing.T, src, dst string, id uint16) []byte {
	t.Helper()
	eth := &layers.Ethernet{SrcMAC: asker[:], DstMAC: owner[:], EthernetType: layers.EthernetTypeIPv4}
	data := gopacket.Payload("what a ping carries")
	var parts []gopacket.SerializableLayer
	if netip.MustParseAddr(src).Is4() {
		ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolICMPv4, SrcIP: net.ParseIP(src), DstIP: net.ParseIP(dst), Flags: layers.IPv4DontFragment}
		parts = append(parts, eth, ip, &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(8, 0), Id: id, Seq: 7}, data)
	} else {
		eth.EthernetType = layers.EthernetTypeIPv6
		ip := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolICMPv6, SrcIP: net.ParseIP(src), DstIP: net.ParseIP(dst)}
		icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(128, 0)}
		if err := icmp.SetNetworkLayerForChecksum(ip); err != nil {
			t.Fatal(err)
		}
		parts = append(parts, eth, ip, icmp, &layers.ICMPv6Echo{Identifier: id, SeqNumber: 7}, data)
	}
	b, err := serialize(parts...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A ping with another identifier is what it would have been had its sender chosen that one, whatever the two are.
func TestAPingGetsAnotherIdentifier(t *testing.T) {
	for _, ends := range [][2]string{{"10.0.0.1", "198.51.100.1"}, {"2001:db8::1", "2001:db8:9::1"}} {
		for _, ids := range [][2]uint16{{1, 2}, {2, 1}, {0, 0xffff}, {0xffff, 0}, {0x1234, 0x1234}, {7, 0xfff8}} {
			p, err := ParsePing(aPing(t, ends[0], ends[1], ids[0]))
			if err != nil || p.ID != ids[0] || p.Src.String() != ends[0] || p.Dst.String() != ends[1] {
				t.Fatalf("read %v, %v", p, err)
			}
			if got, want := p.WithID(ids[1]), aPing(t, ends[0], ends[1], ids[1]); !bytes.Equal(got, want) {
				t.Errorf("%x to %x:\n got %x\nwant %x", ids[0], ids[1], got, want)
			}
		}
	}
}

func TestOnlyWholePingsAreRead(t *testing.T) {
	whole := aPing(t, "10.0.0.1", "198.51.100.1", 1)
	fragment, other := bytes.Clone(whole), bytes.Clone(whole)
	fragment[14+6] |= 0x20
	other[14+20] = 3 // an error
	for name, frame := range map[string][]byte{"fragment": fragment, "error": other, "cut": whole[:14+20+7], "ARP": Ask(asker, netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"))} {
		if p, err := ParsePing(frame); err == nil {
			t.Errorf("%s is read as %v", name, p)
		} else if name != "ARP" && !errors.Is(err, ErrNoPing) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
