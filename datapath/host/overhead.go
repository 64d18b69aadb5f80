package host

// Bytes that a tunnel adds to an IP packet of a workload: outer IP, UDP (RFC 768), the tunnel's own header and the inner
// Ethernet header. Geneve (RFC 8926 section 3.4) has its option header and our option of 8 bytes besides; VXLAN is RFC 7348.
const (
	udpAndEthernet = 8 + 14
	geneveHeader   = 8 + 4 + 8
	vxlanHeader    = 8
)

// TunnelOverhead is what an encapsulation ("geneve" or "vxlan") takes from the MTU of the underlay, in bytes; v6 tells that
// the tunnel's own addresses are IPv6. 62 and 82 for Geneve, 50 and 70 for VXLAN.
func TunnelOverhead(encap string, v6 bool) int {
	n := 20 + udpAndEthernet
	if v6 {
		n += 20
	}
	if encap == "vxlan" {
		return n + vxlanHeader
	}
	return n + geneveHeader
}
