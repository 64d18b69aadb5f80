package responder

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"github.com/gopacket/gopacket/layers"
)

// Ping is an echo request or reply (RFC 792, RFC 4443 section 4).
type Ping struct {
	Src, Dst netip.Addr
	ID       uint16
	frame    []byte
	at       int // where the ICMP header is
}

// ErrNoPing is returned for frames that are no whole echo request or reply without IPv6 extension headers.
var ErrNoPing = errors.New("not a ping")

// ParsePing reads a ping.
func ParsePing(frame []byte) (Ping, error) {
	_, network, payload, err := parseLink(frame)
	if err != nil {
		return Ping{}, err
	}
	at := len(frame) - len(payload)
	switch {
	case network == layers.EthernetTypeIPv4 && len(payload) >= 20:
		p := Ping{frame: frame, at: at + int(payload[0]&0xf)*4}
		p.Src, p.Dst = netip.AddrFrom4([4]byte(payload[12:16])), netip.AddrFrom4([4]byte(payload[16:20]))
		const fragment = 0x3fff // more fragments, or an offset
		if payload[9] != 1 || binary.BigEndian.Uint16(payload[6:])&fragment != 0 {
			return Ping{}, ErrNoPing
		}
		return p.read(0, 8)
	case network == layers.EthernetTypeIPv6 && len(payload) >= 40:
		p := Ping{frame: frame, at: at + 40}
		p.Src, p.Dst = netip.AddrFrom16([16]byte(payload[8:24])), netip.AddrFrom16([16]byte(payload[24:40]))
		if payload[6] != 58 {
			return Ping{}, ErrNoPing
		}
		return p.read(128, 129)
	}
	return Ping{}, ErrNoPing
}

// read takes the identifier out of an ICMP header of one of two types.
func (p Ping) read(kinds ...byte) (Ping, error) {
	if len(p.frame) < p.at+8 || p.frame[p.at] != kinds[0] && p.frame[p.at] != kinds[1] {
		return Ping{}, ErrNoPing
	}
	p.ID = binary.BigEndian.Uint16(p.frame[p.at+4:])
	return p, nil
}

// WithID is the frame of the ping with another identifier. The checksum is updated (RFC 1624), so a broken one stays broken.
func (p Ping) WithID(id uint16) []byte {
	b := append([]byte(nil), p.frame...)
	h := b[p.at:]
	sum := uint32(^binary.BigEndian.Uint16(h[2:])) + uint32(^p.ID) + uint32(id)
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	binary.BigEndian.PutUint16(h[2:], ^uint16(sum))
	binary.BigEndian.PutUint16(h[4:], id)
	return b
}
