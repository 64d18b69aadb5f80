package responder

import (
	"net"
	"net/netip"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// Ask makes the frame by which a station with mac and ip asks who has target: an ARP request (RFC 826) or a neighbour
// solicitation to the solicited-node group (RFC 4861 §4.3). It returns nil if the families differ.
func Ask(mac [6]byte, ip, target netip.Addr) []byte {
	switch {
	case ip.Is4() && target.Is4():
		return askARP(mac, ip, target)
	case ip.Is6() && target.Is6() && !ip.Is4In6() && !target.Is4In6():
		return askND(mac, ip.WithZone(""), target.WithZone(""))
	}
	return nil
}

func askARP(mac [6]byte, ip, target netip.Addr) []byte {
	frame, err := serialize(
		&layers.Ethernet{SrcMAC: mac[:], DstMAC: layers.EthernetBroadcast, EthernetType: layers.EthernetTypeARP},
		&layers.ARP{
			AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: layers.ARPRequest,
			SourceHwAddress: mac[:], SourceProtAddress: ip.AsSlice(), DstHwAddress: make([]byte, 6), DstProtAddress: target.AsSlice(),
		})
	if err != nil {
		panic("responder: building an ARP request: " + err.Error()) // all lengths are fixed above
	}
	return frame
}

func askND(mac [6]byte, ip, target netip.Addr) []byte {
	t := target.As16()
	group := netip.MustParseAddr("ff02::1:ff00:0").As16()
	copy(group[13:], t[13:])
	header := &layers.IPv6{Version: 6, HopLimit: 255, NextHeader: layers.IPProtocolICMPv6, SrcIP: ip.AsSlice(), DstIP: group[:]}
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypeNeighborSolicitation, 0)}
	err := icmp.SetNetworkLayerForChecksum(header)
	var frame []byte
	if err == nil {
		frame, err = serialize(
			&layers.Ethernet{SrcMAC: mac[:], DstMAC: net.HardwareAddr{0x33, 0x33, 0xff, t[13], t[14], t[15]}, EthernetType: layers.EthernetTypeIPv6},
			header, icmp,
			&layers.ICMPv6NeighborSolicitation{TargetAddress: t[:], Options: layers.ICMPv6Options{{Type: layers.ICMPv6OptSourceAddress, Data: mac[:]}}})
	}
	if err != nil {
		panic("responder: building a neighbour solicitation: " + err.Error()) // all lengths are fixed above
	}
	return frame
}

// Claim reads who has which address out of an ARP packet or a neighbour advertisement; ok is false for anything else and
// for claims that nobody can make (group addresses, the unspecified address).
func Claim(frame []byte) (ip netip.Addr, mac [6]byte, ok bool) {
	var eth layers.Ethernet
	if eth.DecodeFromBytes(frame, gopacket.NilDecodeFeedback) != nil || len(frame) < 14 {
		return ip, mac, false
	}
	switch eth.EthernetType {
	case layers.EthernetTypeARP:
		ip, mac, ok = claimARP(frame[14:])
	case layers.EthernetTypeIPv6:
		ip, mac, ok = claimND(frame[14:], eth.SrcMAC)
	}
	ok = ok && ip.IsValid() && !ip.IsUnspecified() && !ip.IsMulticast() && mac[0]&1 == 0 && mac != [6]byte{}
	return ip, mac, ok
}

func claimARP(b []byte) (ip netip.Addr, mac [6]byte, ok bool) {
	var arp layers.ARP
	if arp.DecodeFromBytes(b, gopacket.NilDecodeFeedback) != nil || arp.HwAddressSize != 6 || arp.ProtAddressSize != 4 {
		return ip, mac, false
	}
	ip, ok = netip.AddrFromSlice(arp.SourceProtAddress)
	return ip, [6]byte(arp.SourceHwAddress), ok
}

// claimND reads a neighbour advertisement (RFC 4861 §4.4): hop limit 255, the target and its link-layer address.
func claimND(b []byte, from net.HardwareAddr) (ip netip.Addr, mac [6]byte, ok bool) {
	const header, fixed = 40, 24
	if len(b) < header+fixed || b[6] != 58 || b[7] != 255 || b[header] != 136 {
		return ip, mac, false
	}
	na := b[header:]
	ip = netip.AddrFrom16([16]byte(na[8:24]))
	mac = [6]byte(from)
	for o := na[fixed:]; len(o) >= 8 && o[1] != 0 && int(o[1])*8 <= len(o); o = o[int(o[1])*8:] {
		if o[0] == 2 {
			mac = [6]byte(o[2:8])
		}
	}
	return ip, mac, true
}
