package tpctl

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"tuplenet/flows/of"
	"tuplenet/flows/sim"
	"tuplenet/model"
)

// encodeFrame writes a packet on paper as the bytes of a frame.
func encodeFrame(p sim.Packet) ([]byte, error) {
	num := func(f of.Field) uint64 { return p.Get(f).Lo }
	mac := func(f of.Field) net.HardwareAddr { a := p.Get(f).MAC(); return a[:] }
	all := []gopacket.SerializableLayer{&layers.Ethernet{SrcMAC: mac(of.EthSrc), DstMAC: mac(of.EthDst), EthernetType: layers.EthernetType(num(of.EthType))}}
	var ip gopacket.NetworkLayer
	proto := layers.IPProtocol(num(of.IPProto))
	switch {
	case p.Has(of.ARPOp):
		v4 := func(f of.Field) []byte { return p.Get(f).Addr4().AsSlice() }
		all = append(all, &layers.ARP{AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: uint16(num(of.ARPOp)),
			SourceHwAddress: mac(of.ARPSHA), SourceProtAddress: v4(of.ARPSPA), DstHwAddress: mac(of.ARPTHA), DstProtAddress: v4(of.ARPTPA)})
	case p.Has(of.IPSrc):
		h := &layers.IPv4{Version: 4, TTL: uint8(num(of.IPTTL)), Protocol: proto, Flags: layers.IPv4DontFragment, SrcIP: p.Get(of.IPSrc).Addr4().AsSlice(), DstIP: p.Get(of.IPDst).Addr4().AsSlice()}
		all, ip = append(all, h), h
	case p.Has(of.IPv6Src):
		h := &layers.IPv6{Version: 6, HopLimit: uint8(num(of.IPTTL)), NextHeader: proto, SrcIP: p.Get(of.IPv6Src).Addr6().AsSlice(), DstIP: p.Get(of.IPv6Dst).Addr6().AsSlice()}
		all, ip = append(all, h), h
	default:
		return nil, fmt.Errorf("a packet of type %#x cannot be sent", num(of.EthType))
	}
	if ip != nil {
		upper, err := encodeTransport(p, ip)
		if err != nil {
			return nil, err
		}
		all = append(all, upper...)
	}
	b := gopacket.NewSerializeBuffer()
	options := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(b, options, all...); err != nil {
		return nil, fmt.Errorf("write the packet: %w", err)
	}
	if missing := p.Length - len(b.Bytes()); missing > 0 && ip != nil { // once more, as long as wanted
		if err := gopacket.SerializeLayers(b, options, append(all, gopacket.Payload(make([]byte, missing)))...); err != nil {
			return nil, fmt.Errorf("write the packet: %w", err)
		}
	}
	return b.Bytes(), nil
}

// encodeTransport are the layers above IP.
func encodeTransport(p sim.Packet, ip gopacket.NetworkLayer) ([]gopacket.SerializableLayer, error) {
	num := func(f of.Field) uint64 { return p.Get(f).Lo }
	switch {
	case p.Has(of.TCPSrc):
		tcp := &layers.TCP{SrcPort: layers.TCPPort(num(of.TCPSrc)), DstPort: layers.TCPPort(num(of.TCPDst)), SYN: true, Window: 65535}
		return []gopacket.SerializableLayer{tcp}, tcp.SetNetworkLayerForChecksum(ip)
	case p.Has(of.UDPSrc):
		udp := &layers.UDP{SrcPort: layers.UDPPort(num(of.UDPSrc)), DstPort: layers.UDPPort(num(of.UDPDst))}
		return []gopacket.SerializableLayer{udp}, udp.SetNetworkLayerForChecksum(ip)
	case p.Has(of.ICMPType):
		return []gopacket.SerializableLayer{&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(uint8(num(of.ICMPType)), 0), Id: p.ICMPID}}, nil
	}
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(uint8(num(of.ICMPv6Type)), 0)}
	var body gopacket.SerializableLayer = &layers.ICMPv6Echo{Identifier: p.ICMPID}
	if p.Has(of.NDTarget) {
		sll := p.Get(of.NDSLL).MAC()
		body = &layers.ICMPv6NeighborSolicitation{TargetAddress: p.Get(of.NDTarget).Addr6().AsSlice(),
			Options: layers.ICMPv6Options{{Type: layers.ICMPv6OptSourceAddress, Data: sll[:]}}}
	}
	return []gopacket.SerializableLayer{icmp, body}, icmp.SetNetworkLayerForChecksum(ip)
}

// readSighting makes a packet of what a node saw: the frame, and the fields that are not in it.
func readSighting(s model.NodeSighting) (p sim.Packet, err error) {
	b, err := hex.DecodeString(s.Frame)
	if err != nil {
		return p, fmt.Errorf("read a frame: %w", err)
	}
	decodeFrame(b, &p)
	m, err := of.ParseMatch(s.Fields)
	if err != nil {
		return p, fmt.Errorf("read the fields of a frame: %w", err)
	}
	for _, t := range m {
		if t.Field < of.EthSrc {
			p.Set(t.Field, t.Value)
		}
	}
	return p, nil
}

// decodeFrame reads what flows can match of a frame.
func decodeFrame(b []byte, p *sim.Packet) {
	p.Length = len(b)
	num := func(f of.Field, v uint64) { p.Set(f, of.U(v)) }
	addr := func(f of.Field, ip []byte) {
		if a, ok := netip.AddrFromSlice(ip); ok {
			p.Set(f, of.Addr(a))
		}
	}
	for _, l := range gopacket.NewPacket(b, layers.LayerTypeEthernet, gopacket.Default).Layers() {
		switch l := l.(type) {
		case *layers.Ethernet:
			p.Set(of.EthSrc, of.MAC([6]byte(l.SrcMAC)))
			p.Set(of.EthDst, of.MAC([6]byte(l.DstMAC)))
			num(of.EthType, uint64(l.EthernetType))
		case *layers.ARP:
			num(of.ARPOp, uint64(l.Operation))
			addr(of.ARPSPA, l.SourceProtAddress)
			addr(of.ARPTPA, l.DstProtAddress)
			p.Set(of.ARPSHA, of.MAC([6]byte(l.SourceHwAddress)))
			p.Set(of.ARPTHA, of.MAC([6]byte(l.DstHwAddress)))
		case *layers.IPv4:
			num(of.IPProto, uint64(l.Protocol))
			num(of.IPTTL, uint64(l.TTL))
			addr(of.IPSrc, l.SrcIP.To4())
			addr(of.IPDst, l.DstIP.To4())
		case *layers.IPv6:
			num(of.IPProto, uint64(l.NextHeader))
			num(of.IPTTL, uint64(l.HopLimit))
			addr(of.IPv6Src, l.SrcIP)
			addr(of.IPv6Dst, l.DstIP)
		case *layers.TCP:
			num(of.TCPSrc, uint64(l.SrcPort))
			num(of.TCPDst, uint64(l.DstPort))
		case *layers.UDP:
			num(of.UDPSrc, uint64(l.SrcPort))
			num(of.UDPDst, uint64(l.DstPort))
		case *layers.ICMPv4:
			num(of.ICMPType, uint64(l.TypeCode.Type()))
			num(of.ICMPCode, uint64(l.TypeCode.Code()))
		case *layers.ICMPv6:
			num(of.ICMPv6Type, uint64(l.TypeCode.Type()))
			num(of.ICMPv6Code, uint64(l.TypeCode.Code()))
		case *layers.ICMPv6NeighborSolicitation:
			addr(of.NDTarget, l.TargetAddress)
		case *layers.ICMPv6NeighborAdvertisement:
			addr(of.NDTarget, l.TargetAddress)
		}
	}
}
