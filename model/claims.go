package model

import (
	"fmt"
	"net/netip"
)

// Claims are the things that only one object may have, as text: the object's VNI or id (vni/00ff01), its name among all
// ports (port/…), and its key, addresses and MAC within its switch or router (key/switch/LS-A/00001, ip/switch/LS-A/…). Of
// NAT rules it is what would make a translation ambiguous: whose connections get another source (inside/router/LR/prefix),
// and where connections to an external address go (outside/router/LR/address). Of a switch with subnets from pools it is
// those (prefix/POOL/first address/length). A route claims nothing that another one
// could have; its entry under its port (outport/router/LR/port/route) tells that the port is in use.
//
// Two objects with a claim in common are in conflict. The store keeps one key for each claim; whoever reads a store
// that was edited by hand has to compare the claims of what is read.
func Claims(o Object) []string {
	var room [256]byte
	var marks [8]int
	text, ends := AppendClaims(room[:0], marks[:0], o)
	if len(ends) == 0 {
		return nil
	}
	all, from := string(text), 0
	claims := make([]string, len(ends))
	for i, end := range ends {
		claims[i], from = all[from:end], end
	}
	return claims
}

// AppendClaims appends the claims of an object to text, one after the other, and where each of them ends to ends. For whoever looks at many
// objects: it takes no memory of its own.
func AppendClaims(text []byte, ends []int, o Object) ([]byte, []int) {
	switch o := o.(type) {
	case *LogicalSwitch:
		text = appendClaimVNI(text, o.VNI)
		ends = append(ends, len(text))
		for _, s := range o.Pools {
			text = append(text, ClaimPrefix(s.Pool, s.Subnet)...)
			ends = append(ends, len(text))
		}
	case *LogicalRouter:
		text = appendClaimVNI(text, o.ID)
		ends = append(ends, len(text))
	case *LogicalSwitchPort:
		in := Ref{Kind: KindSwitch, Name: o.Switch}
		text, ends = appendClaimsOfPort(text, ends, in, o.Name, o.Key)
		if !o.MAC.IsZero() {
			text = appendClaimMAC(text, in, o.MAC)
			ends = append(ends, len(text))
		}
		for _, ip := range o.IPs {
			text = appendClaimIP(text, in, ip)
			ends = append(ends, len(text))
		}
	case *LogicalRouterPort:
		in := Ref{Kind: KindRouter, Name: o.Router}
		text, ends = appendClaimsOfPort(text, ends, in, o.Name, o.Key)
		text = appendClaimMAC(text, in, o.MAC)
		ends = append(ends, len(text))
		for _, n := range o.Networks {
			text = appendClaimIP(text, in, n.Addr())
			ends = append(ends, len(text))
		}
	case *StaticRoute:
		text = append(append(text, OutPortClaims(o.Router, o.OutPort)...), o.Name...)
		ends = append(ends, len(text))
	case *NATRule:
		in := Ref{Kind: KindRouter, Name: o.Router}
		if o.FromInside() {
			text = fmt.Appendf(text, "inside/%s/%s", in, o.Prefix)
			ends = append(ends, len(text))
		}
		if o.FromOutside() {
			text = fmt.Appendf(text, "outside/%s/%s", in, o.External)
			ends = append(ends, len(text))
		}
	}
	return text, ends
}

func appendClaimsOfPort(text []byte, ends []int, in Ref, name string, key PortKey) ([]byte, []int) {
	text = append(append(text, portClaim...), name...)
	ends = append(ends, len(text))
	text = appendClaimKey(text, in, key)
	return text, append(ends, len(text))
}

// OutPortClaims is what the claims of the static routes through a router port begin with.
func OutPortClaims(router, port string) string {
	return fmt.Sprintf("outport/%s/%s/", Ref{Kind: KindRouter, Name: router}, port)
}

// ClaimVNI is the claim of a VNI; claims of VNIs sort as the numbers do.
func ClaimVNI(v VNI) string { return string(appendClaimVNI(make([]byte, 0, 64), v)) }

func appendClaimVNI(text []byte, v VNI) []byte { return fmt.Appendf(text, "vni/%06x", uint32(v)) }

// ClaimKey is the claim of a port key in a switch or router; claims of keys sort as the numbers do.
func ClaimKey(in Ref, k PortKey) string { return string(appendClaimKey(make([]byte, 0, 64), in, k)) }

func appendClaimKey(text []byte, in Ref, k PortKey) []byte {
	text = append(in.appendTo(append(text, "key/"...)), '/')
	for digit := PortKey(10000); digit > 0; digit /= 10 {
		text = append(text, '0'+byte(k/digit%10))
	}
	return text
}

// ClaimIP is the claim of an address in a switch or router.
func ClaimIP(in Ref, ip netip.Addr) string { return string(appendClaimIP(make([]byte, 0, 64), in, ip)) }

func appendClaimIP(text []byte, in Ref, ip netip.Addr) []byte {
	return ip.AppendTo(append(in.appendTo(append(text, "ip/"...)), '/'))
}

// ClaimMAC is the claim of a MAC in a switch or router.
func ClaimMAC(in Ref, m MAC) string { return string(appendClaimMAC(make([]byte, 0, 64), in, m)) }

func appendClaimMAC(text []byte, in Ref, m MAC) []byte {
	return m.appendTo(append(in.appendTo(append(text, "mac/"...)), '/'))
}

// ClaimPort is the claim of the name of a port of a switch or router.
func ClaimPort(name string) string { return portClaim + name }

const portClaim = "port/"
