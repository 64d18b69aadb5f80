package model

import (
	"encoding/binary"
	"net/netip"
)

// ObservationDomain is the id under which a chassis with these tunnel endpoints reports packets (RFC 7011 section 3.1): its IPv4
// address as a number, else the last 32 bits of its IPv6 address. 0 if it has none.
func ObservationDomain(endpoints []netip.Addr) uint32 {
	var domain uint32
	for _, a := range endpoints {
		if a.Is4() {
			b := a.As4()
			return binary.BigEndian.Uint32(b[:])
		}
		b := a.As16()
		domain = binary.BigEndian.Uint32(b[12:])
	}
	return domain
}
