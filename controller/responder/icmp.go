package responder

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"net/netip"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// Kind is the reason of an ICMP error.
type Kind uint8

// The errors that a router sends. For IPv4 see RFC 792, for IPv6 RFC 4443.
const (
	TTLExceeded     Kind = iota + 1 // time exceeded in transit (v4 11/0, v6 3/0)
	NetUnreachable                  // no route (v4 3/0, v6 1/0)
	HostUnreachable                 // the neighbour does not answer (v4 3/1, v6 1/3)
	PortUnreachable                 // nobody listens at the router's own address (v4 3/3, v6 1/4)
	TooBig                          // fragmentation needed (v4 3/4, with the MTU of RFC 1191), packet too big (v6 2/0)
)

// ErrNoAnswer is returned for a packet that must not be answered with an ICMP error: RFC 1122 §3.2.2, RFC 1812 §4.3.2.7,
// RFC 4443 §2.4(e). It is wrapped with the reason.
var ErrNoAnswer = errors.New("no ICMP error may be sent")

// Sizes in bytes of IP packet, and fields of the errors that we send.
const (
	maxErrorV4 = 576  // RFC 1812 §4.3.2.3: quote as much as fits
	maxErrorV6 = 1280 // RFC 4443 §2.4(c): the minimum MTU
	minMTUV4   = 68   // RFC 791
	minMTUV6   = 1280 // RFC 8200 §5
	icmpHeader = 8
	hopLimit   = 64
	tosError   = 0xc0 // internetwork control: RFC 1812 §4.3.2.5
)

// ICMPError makes the Ethernet frame that answers the received Ethernet frame pkt with an ICMP or ICMPv6 error of the
// given kind, from the router's address from (of the same family as the packet), back to where pkt came from. VLAN tags
// of pkt are kept. mtu is the next hop's MTU in bytes of IP packet, used by TooBig only.
//
// It fails with ErrNoAnswer where no error may be sent, and with another error where pkt is not a complete IP packet or
// the arguments do not fit. A directed broadcast of some subnet looks like any address here: the caller, who knows the subnets,
// does not ask for an answer to it. Safe for concurrent use; pkt is not changed or kept.
func ICMPError(pkt []byte, kind Kind, from netip.Addr, mtu int) ([]byte, error) {
	link, network, payload, err := parseLink(pkt)
	if err != nil {
		return nil, err
	}
	switch network {
	case layers.EthernetTypeIPv4:
		return errorV4(link, payload, kind, from, mtu)
	case layers.EthernetTypeIPv6:
		return errorV6(link, payload, kind, from, mtu)
	}
	return nil, fmt.Errorf("not an IP packet: EtherType %#04x", uint16(network))
}

func errorV4(link []gopacket.SerializableLayer, payload []byte, kind Kind, from netip.Addr, mtu int) ([]byte, error) {
	code, ok := codeV4(kind)
	if !ok || !from.Is4() || !isHost(from) {
		return nil, fmt.Errorf("no IPv4 error of kind %d can come from %s", kind, from)
	}
	icmp := &layers.ICMPv4{TypeCode: code}
	if kind == TooBig {
		if mtu < minMTUV4 || mtu > math.MaxUint16 {
			return nil, fmt.Errorf("%d is no MTU of IPv4", mtu)
		}
		icmp.Seq = uint16(mtu)
	}
	p, err := parseV4(payload)
	if err != nil {
		return nil, err
	}
	if err := p.mayAnswer(false); err != nil {
		return nil, err
	}
	quote := p.quote(maxErrorV4 - 20 - icmpHeader)
	ip := &layers.IPv4{
		Version: 4, TOS: tosError, TTL: hopLimit, Protocol: layers.IPProtocolICMPv4, Id: identification(kind, quote),
		SrcIP: from.AsSlice(), DstIP: p.src.AsSlice(),
	}
	return serialize(append(link, ip, icmp, gopacket.Payload(quote))...)
}

func errorV6(link []gopacket.SerializableLayer, payload []byte, kind Kind, from netip.Addr, mtu int) ([]byte, error) {
	code, ok := codeV6(kind)
	if !ok || !from.Is6() || from.Is4In6() || !isHost(from) {
		return nil, fmt.Errorf("no IPv6 error of kind %d can come from %s", kind, from)
	}
	word := uint32(0)
	if kind == TooBig {
		if mtu < minMTUV6 || mtu > math.MaxInt32 {
			return nil, fmt.Errorf("%d is no MTU of IPv6", mtu)
		}
		word = uint32(mtu)
	}
	p, err := parseV6(payload)
	if err != nil {
		return nil, err
	}
	if err := p.mayAnswer(kind == TooBig); err != nil {
		return nil, err
	}
	ip := &layers.IPv6{
		Version: 6, HopLimit: hopLimit, NextHeader: layers.IPProtocolICMPv6, SrcIP: from.WithZone("").AsSlice(), DstIP: p.src.AsSlice(),
	}
	icmp := &layers.ICMPv6{TypeCode: code}
	if err := icmp.SetNetworkLayerForChecksum(ip); err != nil {
		return nil, fmt.Errorf("ICMPv6 checksum: %w", err)
	}
	body := append([]byte{byte(word >> 24), byte(word >> 16), byte(word >> 8), byte(word)}, p.quote(maxErrorV6-40-icmpHeader)...)
	return serialize(append(link, ip, icmp, gopacket.Payload(body))...)
}

// codeV4 is type and code of a kind.
func codeV4(kind Kind) (layers.ICMPv4TypeCode, bool) {
	unreachable := uint8(layers.ICMPv4TypeDestinationUnreachable)
	switch kind {
	case TTLExceeded:
		return layers.CreateICMPv4TypeCode(layers.ICMPv4TypeTimeExceeded, layers.ICMPv4CodeTTLExceeded), true
	case NetUnreachable:
		return layers.CreateICMPv4TypeCode(unreachable, layers.ICMPv4CodeNet), true
	case HostUnreachable:
		return layers.CreateICMPv4TypeCode(unreachable, layers.ICMPv4CodeHost), true
	case PortUnreachable:
		return layers.CreateICMPv4TypeCode(unreachable, layers.ICMPv4CodePort), true
	case TooBig:
		return layers.CreateICMPv4TypeCode(unreachable, layers.ICMPv4CodeFragmentationNeeded), true
	}
	return 0, false
}

// codeV6 is type and code of a kind.
func codeV6(kind Kind) (layers.ICMPv6TypeCode, bool) {
	unreachable := uint8(layers.ICMPv6TypeDestinationUnreachable)
	switch kind {
	case TTLExceeded:
		return layers.CreateICMPv6TypeCode(layers.ICMPv6TypeTimeExceeded, layers.ICMPv6CodeHopLimitExceeded), true
	case NetUnreachable:
		return layers.CreateICMPv6TypeCode(unreachable, layers.ICMPv6CodeNoRouteToDst), true
	case HostUnreachable:
		return layers.CreateICMPv6TypeCode(unreachable, layers.ICMPv6CodeAddressUnreachable), true
	case PortUnreachable:
		return layers.CreateICMPv6TypeCode(unreachable, layers.ICMPv6CodePortUnreachable), true
	case TooBig:
		return layers.CreateICMPv6TypeCode(layers.ICMPv6TypePacketTooBig, 0), true
	}
	return 0, false
}

// identification makes an IP id that differs between answers to different packets, without keeping state. The answers are
// far too small to be fragmented on any sane path, so it hardly matters (RFC 6864).
func identification(kind Kind, quote []byte) uint16 {
	h := fnv.New32a()
	h.Write([]byte{byte(kind)})
	h.Write(quote)
	sum := h.Sum32()
	return uint16(sum>>16) ^ uint16(sum)
}

func serialize(parts ...gopacket.SerializableLayer) ([]byte, error) {
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, parts...); err != nil {
		return nil, fmt.Errorf("building the packet: %w", err)
	}
	return buf.Bytes(), nil
}
