package responder

import (
	"net/netip"

	"github.com/gopacket/gopacket/layers"
)

// Source is the IP address that a frame comes from; invalid if the frame is no complete IP packet.
func Source(frame []byte) netip.Addr {
	_, network, payload, err := parseLink(frame)
	if err != nil {
		return netip.Addr{}
	}
	var p packet
	switch network {
	case layers.EthernetTypeIPv4:
		p, err = parseV4(payload)
	case layers.EthernetTypeIPv6:
		p, err = parseV6(payload)
	}
	if err != nil {
		return netip.Addr{}
	}
	return p.src
}
