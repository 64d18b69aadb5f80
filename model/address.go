package model

import (
	"fmt"
	"net/netip"
	"strings"
)

// MaxAddresses is the largest number of addresses of a port. It keeps the transaction that adds a port within the
// number of operations that etcd allows.
const MaxAddresses = 32

// MagicIP and MagicMAC are what the tutorial writes for a port that leads to the physical network; they are input
// syntax only, such a port is stored with PortPatch as its type.
const (
	MagicIP  = "255.255.255.255"
	MagicMAC = "ff:ff:ff:ff:ff:ee"
)

// ParsePatchMagic reports whether address and MAC, as typed, are the syntax for a patch port. Half of it is an error.
func ParsePatchMagic(ip, mac string) (patch bool, err error) {
	m, merr := ParseMAC(mac)
	magicMAC := merr == nil && m.String() == MagicMAC
	switch {
	case ip == MagicIP && (magicMAC || mac == ""):
		return true, nil
	case ip == MagicIP:
		return false, fmt.Errorf("invalid IP %q: with MAC %s it makes a patch port, else it is the broadcast address", ip, MagicMAC)
	case magicMAC:
		return false, fmt.Errorf("invalid MAC address %q: with IP %s it makes a patch port, else it is multicast", mac, MagicIP)
	}
	return false, nil
}

// ParseIP reads the address of a workload or a node.
func ParseIP(text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("invalid IP %q", text)
	}
	a = a.Unmap()
	return a, validateIP(a)
}

// ParseInterfaceCIDR reads an interface address with its prefix length, such as 10.20.1.1/24.
func ParseInterfaceCIDR(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("invalid CIDR address %q", text)
	}
	return p, validateInterface(p)
}

// ParseSubnet reads the prefix of a network, such as 10.20.1.0/24.
func ParseSubnet(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("invalid CIDR address %q", text)
	}
	return p, validateSubnet(p)
}

// validateIP refuses what cannot be the unicast address of an interface.
func validateIP(a netip.Addr) error {
	reason := ""
	switch {
	case !a.IsValid():
		return fmt.Errorf("invalid IP: none given")
	case a.Zone() != "":
		reason = "a zone is not allowed"
	case a.Is4In6():
		reason = "it is an IPv4 address written as IPv6"
	case a.IsUnspecified():
		reason = "it is the unspecified address"
	case a.IsMulticast():
		reason = "it is multicast"
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		reason = "it is the broadcast address"
	case a.IsLoopback():
		reason = "it is a loopback address"
	default:
		return nil
	}
	return fmt.Errorf("invalid IP %q: %s", a, reason)
}

func validateIPs(ips []netip.Addr) error {
	if len(ips) > MaxAddresses {
		return fmt.Errorf("invalid IPs: %d are more than %d", len(ips), MaxAddresses)
	}
	for i, a := range ips {
		if err := validateIP(a); err != nil {
			return err
		}
		for _, b := range ips[:i] {
			if a == b {
				return fmt.Errorf("invalid IP %q: given twice", a)
			}
		}
	}
	return nil
}

// validateInterface refuses what cannot be the address and network of an interface. The network and broadcast
// addresses of an IPv4 network are refused, but for /31 (RFC 3021) and /32; likewise the subnet-router anycast address
// of an IPv6 network (RFC 4291 section 2.6.1), but for /127 (RFC 6164) and /128.
func validateInterface(p netip.Prefix) error {
	if !p.IsValid() {
		return fmt.Errorf("invalid CIDR address: none given")
	}
	a := p.Addr()
	if err := validateIP(a); err != nil {
		return fmt.Errorf("invalid CIDR address %q: %w", p, err)
	}
	if p.Bits() == 0 {
		return fmt.Errorf("invalid CIDR address %q: the prefix length is 0", p)
	}
	if a.BitLen()-p.Bits() < 2 {
		return nil
	}
	if a == p.Masked().Addr() {
		return fmt.Errorf("invalid CIDR address %q: it is the address of the network, give that of the interface", p)
	}
	if a.Is4() && a == broadcast(p) {
		return fmt.Errorf("invalid CIDR address %q: it is the broadcast address of the network", p)
	}
	return nil
}

// broadcast is the last address of an IPv4 prefix.
func broadcast(p netip.Prefix) netip.Addr {
	b := p.Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(b)
}

func validateSubnet(p netip.Prefix) error {
	switch {
	case !p.IsValid():
		return fmt.Errorf("invalid CIDR address: none given")
	case p.Addr().Is4In6(), p.Bits() == 0, p.Addr().IsMulticast(), p.Addr().IsLoopback():
		return fmt.Errorf("invalid CIDR address %q: not the prefix of a network", p)
	case p != p.Masked():
		return fmt.Errorf("invalid CIDR address %q: bits are set behind the prefix, the network is %s", p, p.Masked())
	}
	return nil
}

// FullLength is an address with all its leading zeros, such as 010.020.001.001, so that
// addresses of a family sort as text.
func FullLength(a netip.Addr) string {
	if !a.Is4() {
		return a.StringExpanded()
	}
	var text [len("255.255.255.255")]byte
	for i, b := range a.As4() {
		at := 4 * i
		if i > 0 {
			text[at-1] = '.'
		}
		text[at], text[at+1], text[at+2] = '0'+b/100, '0'+b/10%10, '0'+b%10
	}
	return string(text[:])
}

// ParseFullLength reads what FullLength writes.
func ParseFullLength(text string) (netip.Addr, error) {
	if strings.Contains(text, ":") {
		return netip.ParseAddr(text)
	}
	parts := strings.Split(text, ".")
	for i, p := range parts {
		if parts[i] = strings.TrimLeft(p, "0"); parts[i] == "" {
			parts[i] = "0"
		}
	}
	return netip.ParseAddr(strings.Join(parts, "."))
}
