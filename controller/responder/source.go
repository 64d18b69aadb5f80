package responder

import (
	"net/netip"

	"github.com/gopacket/gopacket/layers"
)

// Source is the IP address that a frame comes from; invalid if the frame is no complete IP packet.
func Source(frame []byte) netip.Addr {
	p, _ := parseFrame(frame)
	return p.src
}

// Destination is the IP address that a frame is for; invalid if the frame is no complete IP packet.
func Destination(frame []byte) netip.Addr {
	p, _ := parseFrame(frame)
	return p.dst
}

// TagBytes is how many bytes of a frame with an IP packet are VLAN tags.
func TagBytes(frame []byte) int {
	_, tags := parseFrame(frame)
	return 4 * tags
}

// parseFrame reads the IP packet of a frame; it is empty if there is no complete one. tags are its VLAN tags.
func parseFrame(frame []byte) (p packet, tags int) {
	link, network, payload, err := parseLink(frame)
	if err != nil {
		return packet{}, 0
	}
	switch network {
	case layers.EthernetTypeIPv4:
		p, err = parseV4(payload)
	case layers.EthernetTypeIPv6:
		p, err = parseV6(payload)
	}
	if err != nil {
		return packet{}, 0
	}
	return p, len(link) - 1
}
