package model

import (
	"fmt"
	"net/netip"
	"strconv"
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
	switch o := o.(type) {
	case *LogicalSwitch:
		out := []string{ClaimVNI(o.VNI)}
		for _, s := range o.Pools {
			out = append(out, ClaimPrefix(s.Pool, s.Subnet))
		}
		return out
	case *LogicalRouter:
		return []string{ClaimVNI(o.ID)}
	case *LogicalSwitchPort:
		in := Ref{Kind: KindSwitch, Name: o.Switch}
		out := append(make([]string, 0, 3+len(o.IPs)), ClaimPort(o.Name), ClaimKey(in, o.Key))
		if !o.MAC.IsZero() {
			out = append(out, ClaimMAC(in, o.MAC))
		}
		for _, ip := range o.IPs {
			out = append(out, ClaimIP(in, ip))
		}
		return out
	case *LogicalRouterPort:
		in := Ref{Kind: KindRouter, Name: o.Router}
		out := []string{ClaimPort(o.Name), ClaimKey(in, o.Key), ClaimMAC(in, o.MAC)}
		for _, n := range o.Networks {
			out = append(out, ClaimIP(in, n.Addr()))
		}
		return out
	case *StaticRoute:
		return []string{OutPortClaims(o.Router, o.OutPort) + o.Name}
	case *NATRule:
		return claimsOfNAT(o)
	}
	return nil
}

func claimsOfNAT(o *NATRule) (out []string) {
	in := Ref{Kind: KindRouter, Name: o.Router}
	if o.FromInside() {
		out = append(out, fmt.Sprintf("inside/%s/%s", in, o.Prefix))
	}
	if o.FromOutside() {
		out = append(out, fmt.Sprintf("outside/%s/%s", in, o.External))
	}
	return out
}

// OutPortClaims is what the claims of the static routes through a router port begin with.
func OutPortClaims(router, port string) string {
	return fmt.Sprintf("outport/%s/%s/", Ref{Kind: KindRouter, Name: router}, port)
}

// ClaimVNI is the claim of a VNI; claims of VNIs sort as the numbers do.
func ClaimVNI(v VNI) string { return fmt.Sprintf("vni/%06x", uint32(v)) }

// ClaimKey is the claim of a port key in a switch or router; claims of keys sort as the numbers do.
func ClaimKey(in Ref, k PortKey) string {
	digits := strconv.Itoa(int(uint16(k)))
	return "key/" + in.String() + "/" + "00000"[len(digits):] + digits
}

// ClaimIP is the claim of an address in a switch or router.
func ClaimIP(in Ref, ip netip.Addr) string { return "ip/" + in.String() + "/" + ip.String() }

// ClaimMAC is the claim of a MAC in a switch or router.
func ClaimMAC(in Ref, m MAC) string { return "mac/" + in.String() + "/" + m.String() }

// ClaimPort is the claim of the name of a port of a switch or router.
func ClaimPort(name string) string { return "port/" + name }
