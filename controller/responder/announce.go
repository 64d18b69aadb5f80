package responder

import (
	"net"
	"net/netip"

	"github.com/gopacket/gopacket/layers"
)

// GARP makes the Ethernet frame of a gratuitous ARP request (an "ARP announcement", RFC 5227 §3) which tells all
// neighbours that the IPv4 address ip is at mac. It returns nil if ip is not IPv4.
func GARP(mac [6]byte, ip netip.Addr) []byte {
	if !ip.Is4() {
		return nil
	}
	addr := ip.AsSlice()
	frame, err := serialize(
		&layers.Ethernet{SrcMAC: mac[:], DstMAC: layers.EthernetBroadcast, EthernetType: layers.EthernetTypeARP},
		&layers.ARP{
			AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: layers.ARPRequest,
			SourceHwAddress: mac[:], SourceProtAddress: addr, DstHwAddress: make([]byte, 6), DstProtAddress: addr,
		})
	if err != nil {
		panic("responder: building an ARP announcement: " + err.Error()) // all lengths are fixed above
	}
	return frame
}

// UnsolicitedNA makes the Ethernet frame of an unsolicited neighbour advertisement to all nodes, with the override flag
// (RFC 4861 §7.2.6), which tells all neighbours that the IPv6 address ip is at mac. router sets the router flag. It
// returns nil if ip is not IPv6.
func UnsolicitedNA(mac [6]byte, ip netip.Addr, router bool) []byte {
	if !ip.Is6() || ip.Is4In6() {
		return nil
	}
	const flagRouter, flagOverride = 0x80, 0x20
	flags := uint8(flagOverride)
	if router {
		flags |= flagRouter
	}
	addr := ip.WithZone("").AsSlice()
	header := &layers.IPv6{
		Version: 6, HopLimit: 255, NextHeader: layers.IPProtocolICMPv6, SrcIP: addr, DstIP: net.IPv6linklocalallnodes,
	}
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypeNeighborAdvertisement, 0)}
	err := icmp.SetNetworkLayerForChecksum(header)
	var frame []byte
	if err == nil {
		frame, err = serialize(
			&layers.Ethernet{SrcMAC: mac[:], DstMAC: net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}, EthernetType: layers.EthernetTypeIPv6},
			header, icmp,
			&layers.ICMPv6NeighborAdvertisement{
				Flags: flags, TargetAddress: addr,
				Options: layers.ICMPv6Options{{Type: layers.ICMPv6OptTargetAddress, Data: mac[:]}},
			})
	}
	if err != nil {
		panic("responder: building a neighbour advertisement: " + err.Error()) // all lengths are fixed above
	}
	return frame
}
