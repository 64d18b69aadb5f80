package model

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
)

// MAC is a 48-bit Ethernet address. Its text, also in JSON, is f2:01:0a:14:01:0a. The zero value means "none".
type MAC [6]byte

// ParseMAC reads six pairs of hexadecimal digits separated by ":" or "-".
func ParseMAC(text string) (MAC, error) {
	var m MAC
	if len(text) != 17 {
		return m, fmt.Errorf("invalid MAC address %q", text)
	}
	sep := text[2]
	parts := strings.Split(text, string(sep))
	if sep != ':' && sep != '-' || len(parts) != len(m) {
		return m, fmt.Errorf("invalid MAC address %q", text)
	}
	for i, p := range parts {
		if n, err := hex.Decode(m[i:i+1], []byte(p)); err != nil || n != 1 {
			return MAC{}, fmt.Errorf("invalid MAC address %q", text)
		}
	}
	return m, nil
}

// String is the canonical text: lower case, separated by ":".
func (m MAC) String() string { return string(m.appendTo(make([]byte, 0, 17))) }

func (m MAC) appendTo(text []byte) []byte {
	const digits = "0123456789abcdef"
	for i, b := range m {
		if i > 0 {
			text = append(text, ':')
		}
		text = append(text, digits[b>>4], digits[b&15])
	}
	return text
}

// MarshalText writes the canonical text.
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads what ParseMAC reads.
func (m *MAC) UnmarshalText(b []byte) (err error) {
	*m, err = ParseMAC(string(b))
	return err
}

// IsZero reports whether there is no address.
func (m MAC) IsZero() bool { return m == MAC{} }

// IsMulticast reports whether the group bit is set (IEEE 802-2014 section 8.2.2); broadcast is multicast.
func (m MAC) IsMulticast() bool { return m[0]&1 != 0 }

// validate refuses what cannot be the address of an interface.
func (m MAC) validate() error {
	switch {
	case m.IsZero():
		return fmt.Errorf("invalid MAC address %q: it is all zeros", m)
	case m.IsMulticast():
		return fmt.Errorf("invalid MAC address %q: it is multicast or broadcast", m)
	}
	return nil
}

// interfaceID is the modified EUI-64 of the address (RFC 4291 appendix A).
func (m MAC) interfaceID() [8]byte {
	return [8]byte{m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]}
}

// LinkLocal is the link-local IPv6 address of an interface with this MAC (RFC 4291 appendix A, RFC 4862 section 5.3).
func (m MAC) LinkLocal() netip.Addr {
	var a [16]byte
	a[0], a[1] = 0xfe, 0x80
	id := m.interfaceID()
	copy(a[8:], id[:])
	return netip.AddrFrom16(a)
}

// EUI64 is the address that an interface with this MAC has in an IPv6 prefix of 64 bits or shorter (RFC 4862
// section 5.5.3); ok is false for all other prefixes.
func (m MAC) EUI64(p netip.Prefix) (addr netip.Addr, ok bool) {
	if !p.IsValid() || !p.Addr().Is6() || p.Bits() > 64 {
		return netip.Addr{}, false
	}
	a := p.Masked().Addr().As16()
	id := m.interfaceID()
	copy(a[8:], id[:])
	return netip.AddrFrom16(a), true
}

// DeriveMAC is the MAC of a port from its IPv4 address: f2:01 and the four bytes of the address.
// For an IPv6 address it is the hash of the address alone; DerivePortMAC is the rule for ports.
func DeriveMAC(ip netip.Addr) MAC {
	if ip = ip.Unmap(); ip.Is4() {
		b := ip.As4()
		return MAC{0xf2, 0x01, b[0], b[1], b[2], b[3]}
	}
	return hashMAC("", ip.String(), 0)
}

// DeriveMACFromName is the MAC of a port without addresses: f6 (locally administered, never the f2:01 of an IPv4
// address) and five bytes of the SHA-256 of the names of its network and of itself.
func DeriveMACFromName(network, name string) MAC { return hashMAC(network, name, 0) }

// DerivePortMAC is the MAC of a port for which none was given: from its first IPv4 address, else from a hash of the
// network (switch or router) and its first IPv6 address, else from a hash of network and name. A higher attempt gives
// another address, for when one is taken already; it is always the hash.
func DerivePortMAC(network, name string, ips []netip.Addr, attempt int) MAC {
	seed := name
	for _, ip := range ips {
		if ip.Unmap().Is4() && attempt == 0 {
			return DeriveMAC(ip)
		}
	}
	if len(ips) > 0 {
		seed = ips[0].String()
	}
	return hashMAC(network, seed, attempt)
}

func hashMAC(network, seed string, attempt int) MAC {
	h := sha256.Sum256([]byte(fmt.Sprintf("%s/%s/%d", network, seed, attempt)))
	return MAC{0xf6, h[0], h[1], h[2], h[3], h[4]}
}

// MACPrefix is the first octets of MACs, one to three of them, such as 02:42:ac; empty: none.
type MACPrefix string

// maxMACPrefix leaves three octets to be chosen.
const maxMACPrefix = 3

// ParseMACPrefix reads one to three pairs of hexadecimal digits separated by ":".
func ParseMACPrefix(text string) (MACPrefix, error) {
	p := MACPrefix(strings.ToLower(strings.TrimSuffix(text, ":")))
	if p == "" {
		return "", fmt.Errorf("invalid MAC prefix %q: one to three octets are expected, such as 02:42:ac", text)
	}
	return p, p.validate()
}

// octets are the bytes of the prefix; ok is false if it is not in its canonical form.
func (p MACPrefix) octets() (b []byte, ok bool) {
	for part := range strings.SplitSeq(string(p), ":") {
		octet, err := hex.DecodeString(part)
		if err != nil || len(octet) != 1 || strings.ToLower(part) != part {
			return nil, false
		}
		b = append(b, octet...)
	}
	return b, len(b) <= maxMACPrefix
}

func (p MACPrefix) validate() error {
	if p == "" {
		return nil
	}
	b, ok := p.octets()
	switch {
	case !ok:
		return fmt.Errorf("invalid MAC prefix %q: one to three octets are expected, such as 02:42:ac", string(p))
	case b[0]&1 != 0:
		return fmt.Errorf("invalid MAC prefix %q: it is multicast", string(p))
	}
	return nil
}

// PortMAC is the MAC of a switch port for which none was given: the prefix and as many bytes of a hash of network and name
// as are missing; without a prefix it is DerivePortMAC's. A higher attempt gives another one.
func (p MACPrefix) PortMAC(network, name string, ips []netip.Addr, attempt int) MAC {
	b, ok := p.octets()
	if p == "" || !ok {
		return DerivePortMAC(network, name, ips, attempt)
	}
	m := MAC{}
	h := sha256.Sum256([]byte(fmt.Sprintf("%s/%s/%d", network, name, attempt)))
	copy(m[copy(m[:], b):], h[:])
	return m
}
