package responder

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// maxTags is how many VLAN tags are understood.
const maxTags = 2

// parseLink takes the Ethernet header and VLAN tags of a frame off. link is the header of a frame back to the sender.
func parseLink(frame []byte) (link []gopacket.SerializableLayer, network layers.EthernetType, payload []byte, err error) {
	var eth layers.Ethernet
	if err := eth.DecodeFromBytes(frame, gopacket.NilDecodeFeedback); err != nil {
		return nil, 0, nil, fmt.Errorf("not an Ethernet frame: %w", err)
	}
	if isGroup(eth.DstMAC) {
		return nil, 0, nil, fmt.Errorf("%w to a frame for all or many: %s", ErrNoAnswer, eth.DstMAC)
	}
	if isGroup(eth.SrcMAC) {
		return nil, 0, nil, fmt.Errorf("%w to a frame from a group address: %s", ErrNoAnswer, eth.SrcMAC)
	}
	network, payload = eth.EthernetType, frame[14:]
	link = append(link, &layers.Ethernet{SrcMAC: eth.DstMAC, DstMAC: eth.SrcMAC, EthernetType: network})
	for range maxTags {
		if network != layers.EthernetTypeDot1Q && network != layers.EthernetTypeQinQ {
			break
		}
		var tag layers.Dot1Q
		if err := tag.DecodeFromBytes(payload, gopacket.NilDecodeFeedback); err != nil {
			return nil, 0, nil, fmt.Errorf("not a VLAN tag: %w", err)
		}
		network, payload = tag.Type, payload[4:]
		link = append(link, &layers.Dot1Q{Priority: tag.Priority, DropEligible: tag.DropEligible, VLANIdentifier: tag.VLANIdentifier, Type: tag.Type})
	}
	return link, network, payload, nil
}

func isGroup(mac []byte) bool { return mac[0]&1 != 0 }

// packet is what the rules need to know of an IP packet.
type packet struct {
	src, dst netip.Addr
	bytes    []byte // the packet from its IP header on, without padding of the frame
	fragment bool   // a fragment other than the first
	icmp     bool   // ICMP, or ICMPv6 in IPv6
	query    bool   // an ICMP message of a type that is known to be no error and no redirect
}

var errTruncated = errors.New("not a complete IP header")

// parseV4 reads an IPv4 header and, for ICMP, the type.
func parseV4(b []byte) (packet, error) {
	var ip layers.IPv4
	if err := ip.DecodeFromBytes(b, gopacket.NilDecodeFeedback); err != nil {
		return packet{}, fmt.Errorf("not an IPv4 packet: %w", err)
	}
	header := int(ip.IHL) * 4
	if ip.Version != 4 || header < 20 || header > len(b) {
		return packet{}, errTruncated
	}
	p := packet{src: netip.AddrFrom4([4]byte(b[12:16])), dst: netip.AddrFrom4([4]byte(b[16:20])), fragment: ip.FragOffset != 0}
	p.bytes = b[:min(len(b), max(int(ip.Length), header))]
	p.icmp = ip.Protocol == layers.IPProtocolICMPv4
	if p.icmp && len(p.bytes) > header {
		p.query = isQueryV4(p.bytes[header])
	}
	return p, nil
}

// isQueryV4 knows the types of ICMP that are neither errors nor redirect: echo, router discovery, timestamp, information, mask.
func isQueryV4(t byte) bool { return t == 0 || t >= 8 && t <= 10 || t >= 13 && t <= 18 }

// parseV6 reads an IPv6 header and walks over extension headers to the fragment header and the ICMPv6 type.
func parseV6(b []byte) (packet, error) {
	if len(b) < 40 || b[0]>>4 != 6 {
		return packet{}, errTruncated
	}
	length := 40 + int(b[4])<<8 + int(b[5])
	p := packet{src: netip.AddrFrom16([16]byte(b[8:24])), dst: netip.AddrFrom16([16]byte(b[24:40])), bytes: b[:min(len(b), length)]}
	next, rest := layers.IPProtocol(b[6]), p.bytes[40:]
	for {
		size := 0
		switch next {
		case layers.IPProtocolIPv6HopByHop, layers.IPProtocolIPv6Routing, layers.IPProtocolIPv6Destination:
			if len(rest) >= 2 {
				size = 8 + 8*int(rest[1])
			}
		case layers.IPProtocolAH:
			if len(rest) >= 2 {
				size = 8 + 4*int(rest[1])
			}
		case layers.IPProtocolIPv6Fragment:
			if len(rest) >= 8 {
				size = 8
				p.fragment = p.fragment || rest[2] != 0 || rest[3]&^7 != 0
			}
		case layers.IPProtocolICMPv6:
			p.icmp = true
			p.query = len(rest) > 0 && rest[0] >= 128 && rest[0] != layers.ICMPv6TypeRedirect
			return p, nil
		default:
			return p, nil
		}
		if size == 0 || size > len(rest) || p.fragment {
			return p, nil // what follows is not here: nothing says that it is ICMP
		}
		next, rest = layers.IPProtocol(rest[0]), rest[size:]
	}
}

// mayAnswer applies the rules on what is never answered. toGroup allows a multicast destination (RFC 4443 §2.4 e.3).
func (p packet) mayAnswer(toGroup bool) error {
	switch {
	case !isHost(p.src):
		return fmt.Errorf("%w to a source that is not one host: %s", ErrNoAnswer, p.src)
	case p.dst.IsMulticast() && !toGroup, p.dst.Is4() && p.dst.As4() == [4]byte{255, 255, 255, 255}:
		return fmt.Errorf("%w to a packet for all or many: %s", ErrNoAnswer, p.dst)
	case p.fragment:
		return fmt.Errorf("%w to a fragment other than the first", ErrNoAnswer)
	case p.icmp && !p.query:
		return fmt.Errorf("%w to an ICMP error or redirect", ErrNoAnswer)
	}
	return nil
}

// isHost reports whether an address can be that of one host on a network: not unspecified, loopback, multicast or (IPv4) of the
// reserved 0/8 and 240/4.
func isHost(a netip.Addr) bool {
	if a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() {
		return false
	}
	if a.Is4() {
		first := a.As4()[0]
		return first != 0 && first < 240
	}
	return true
}

// quote is the beginning of the packet, at most n bytes.
func (p packet) quote(n int) []byte { return p.bytes[:min(n, len(p.bytes))] }
