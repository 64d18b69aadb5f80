package responder

import (
	"encoding/binary"
	"net/netip"
)

// Target is the address that a frame asks for: that of an ARP request (RFC 826) or of a neighbour solicitation (RFC 4861 §4.3).
// ok is false for any other frame, also for one with a VLAN tag.
func Target(frame []byte) (ip netip.Addr, ok bool) {
	const ethernet, arp, ipv6, solicitation = 14, 28, 40, 24
	if len(frame) < ethernet {
		return ip, false
	}
	b := frame[ethernet:]
	switch binary.BigEndian.Uint16(frame[12:]) {
	case 0x0806:
		if len(b) < arp || b[4] != 6 || b[5] != 4 || binary.BigEndian.Uint16(b[6:]) != 1 {
			return ip, false
		}
		return netip.AddrFrom4([4]byte(b[24:28])), true
	case 0x86dd:
		if len(b) < ipv6+solicitation || b[6] != 58 || b[ipv6] != 135 {
			return ip, false
		}
		return netip.AddrFrom16([16]byte(b[ipv6+8 : ipv6+24])), true
	}
	return ip, false
}
