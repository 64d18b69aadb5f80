package walk

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"tuplenet/flows/of"
	"tuplenet/flows/sim"
	"tuplenet/model"
)

// Protocols that a probe may have.
const (
	ICMP = "icmp" // an echo request, of ICMPv6 for IPv6 addresses
	TCP  = "tcp"
	UDP  = "udp"
	ARP  = "arp" // the question who has the destination, a neighbour solicitation for IPv6 addresses
)

// Probe is a packet to be followed. What is zero is found out: addresses of the port, the station or router that the
// destination is behind.
type Probe struct {
	From     string // switch port
	Protocol string
	Src, Dst netip.Addr
	// SrcPort and DstPort are those of tcp and udp.
	SrcPort, DstPort uint16
	SrcMAC, DstMAC   model.MAC
	TTL              uint8 // 0 = 64
	Size             int   // of the IP packet in bytes, 0 = 84
}

// Defaults of a probe.
const (
	defaultTTL  = 64
	defaultSize = 84 // of ping(8)
	defaultPort = 40000
	echoID      = 1
	etherSize   = 14
)

const (
	ethIPv4 = 0x0800
	ethARP  = 0x0806
	ethIPv6 = 0x86dd

	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58

	icmpEcho       = 8
	icmpEchoReply  = 0
	icmp6Echo      = 128
	icmp6EchoReply = 129
	icmp6Solicit   = 135
)

var broadcastMAC = model.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// outsideMAC stands for stations of the physical network, whose addresses are not known here.
var outsideMAC = model.MAC{0x02, 0, 0, 0, 0, 0x01}

// complete fills in what a probe leaves open.
func (d *Deployment) complete(p Probe) (Probe, error) {
	lsp := d.Port(p.From)
	if lsp == nil {
		return p, fmt.Errorf("switch port %s not found", p.From)
	}
	if lsp.Type == model.PortRouter {
		return p, fmt.Errorf("switch port %s leads to a router: packets come from workloads and patch ports", p.From)
	}
	if !p.Dst.IsValid() {
		return p, fmt.Errorf("no destination is given")
	}
	if !p.Src.IsValid() {
		i := slices.IndexFunc(lsp.IPs, func(ip netip.Addr) bool { return ip.Is4() == p.Dst.Is4() })
		if i < 0 {
			return p, fmt.Errorf("switch port %s has no address of the destination's family: give the source", p.From)
		}
		p.Src = lsp.IPs[i]
		if p.Dst.IsLinkLocalUnicast() && p.Dst.Is6() {
			p.Src = lsp.MAC.LinkLocal()
		}
	}
	if p.Src.Is4() != p.Dst.Is4() {
		return p, fmt.Errorf("source %s and destination %s are of different families", p.Src, p.Dst)
	}
	if p.SrcMAC.IsZero() {
		p.SrcMAC = lsp.MAC
		if lsp.Type == model.PortPatch {
			p.SrcMAC = outsideMAC
		}
	}
	p.Protocol = cmp.Or(p.Protocol, ICMP)
	p.TTL, p.Size = cmp.Or(p.TTL, defaultTTL), cmp.Or(p.Size, defaultSize)
	if p.SrcPort == 0 {
		p.SrcPort = defaultPort
	}
	if p.DstMAC.IsZero() {
		p.DstMAC = d.nextStation(lsp, p.Src, p.Dst)
		if p.DstMAC.IsZero() && p.Protocol != ARP {
			d.assume(fmt.Sprintf("nobody on %s tells the MAC of %s, so the packet is never sent: what is followed is the question for it", lsp.Switch, p.Dst))
			p.Protocol = ARP
		}
	}
	return p, nil
}

// packet is the frame of a complete probe.
func (p Probe) packet() (sim.Packet, error) {
	out := sim.Packet{Length: p.Size + etherSize}
	out.Set(of.EthSrc, of.MAC(p.SrcMAC))
	if p.Protocol == ARP {
		return p.question(out), nil
	}
	out.Set(of.EthDst, of.MAC(p.DstMAC))
	proto := map[string]uint64{TCP: protoTCP, UDP: protoUDP, ICMP: protoICMP}[p.Protocol]
	if proto == 0 {
		return out, fmt.Errorf("protocol %q is none of icmp, tcp, udp, arp", p.Protocol)
	}
	if p.Src.Is4() {
		out.Set(of.EthType, of.U(ethIPv4))
		out.Set(of.IPSrc, of.Addr(p.Src))
		out.Set(of.IPDst, of.Addr(p.Dst))
	} else {
		out.Set(of.EthType, of.U(ethIPv6))
		out.Set(of.IPv6Src, of.Addr(p.Src))
		out.Set(of.IPv6Dst, of.Addr(p.Dst))
	}
	switch {
	case proto == protoTCP:
		out.Set(of.TCPSrc, of.U(uint64(p.SrcPort)))
		out.Set(of.TCPDst, of.U(uint64(p.DstPort)))
		out.Set(of.TCPFlags, of.U(tcpSYN))
	case proto == protoUDP:
		out.Set(of.UDPSrc, of.U(uint64(p.SrcPort)))
		out.Set(of.UDPDst, of.U(uint64(p.DstPort)))
	case p.Src.Is4():
		out.Set(of.ICMPType, of.U(icmpEcho))
		out.ICMPID = echoID
	default:
		proto = protoICMPv6
		out.Set(of.ICMPv6Type, of.U(icmp6Echo))
		out.ICMPID = echoID
	}
	out.Set(of.IPProto, of.U(proto))
	out.Set(of.IPTTL, of.U(uint64(p.TTL)))
	return out, nil
}

// TCP flags of an opening and of its answer (RFC 9293 section 3.1).
const (
	tcpSYN = 0x02
	tcpACK = 0x10
)

// question asks for the MAC of the destination: ARP (RFC 826) or a neighbour solicitation (RFC 4861 section 4.3).
func (p Probe) question(out sim.Packet) sim.Packet {
	if p.Dst.Is4() {
		out.Length = 42
		out.Set(of.EthDst, of.MAC(broadcastMAC))
		out.Set(of.EthType, of.U(ethARP))
		out.Set(of.ARPOp, of.U(1))
		out.Set(of.ARPSPA, of.Addr(p.Src))
		out.Set(of.ARPTPA, of.Addr(p.Dst))
		out.Set(of.ARPSHA, of.MAC(p.SrcMAC))
		return out
	}
	out.Length = 86
	group, at := p.Dst.As16(), [16]byte{0xff, 0x02, 11: 0x01, 12: 0xff}
	copy(at[13:], group[13:])
	out.Set(of.EthDst, of.MAC(model.MAC{0x33, 0x33, 0xff, group[13], group[14], group[15]}))
	out.Set(of.EthType, of.U(ethIPv6))
	out.Set(of.IPv6Src, of.Addr(p.Src))
	out.Set(of.IPv6Dst, of.Addr(netip.AddrFrom16(at)))
	out.Set(of.IPProto, of.U(protoICMPv6))
	out.Set(of.IPTTL, of.U(255))
	out.Set(of.ICMPv6Type, of.U(icmp6Solicit))
	out.Set(of.NDTarget, of.Addr(p.Dst))
	out.Set(of.NDSLL, of.MAC(p.SrcMAC))
	return out
}

// nextStation is the MAC to which a station on a switch sends what is for an address: that of whoever has the address on
// the switch, else of the router that is the station's gateway. Zero: it asks in vain.
func (d *Deployment) nextStation(lsp *model.LogicalSwitchPort, src, dst netip.Addr) model.MAC {
	if dst.IsMulticast() || dst == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return groupMAC(dst)
	}
	if mac := d.owner(lsp.Switch, dst); !mac.IsZero() {
		return mac
	}
	if ls := d.multicastOf(lsp); ls != nil {
		d.assume(fmt.Sprintf("%s is with another host of the multicast network %s", dst, ls.Name))
		return outsideMAC
	}
	var gateways []*model.LogicalRouterPort
	onLink, patch := false, false
	for _, p := range d.bySwitch[lsp.Switch] {
		patch = patch || p.Type == model.PortPatch && p.Name != lsp.Name
		rp := d.routerEnd(p)
		if rp == nil || !slices.ContainsFunc(rp.Networks, func(n netip.Prefix) bool { return n.Addr().Is4() == dst.Is4() }) {
			continue
		}
		gateways = append(gateways, rp)
		onLink = onLink || slices.ContainsFunc(rp.Networks, func(n netip.Prefix) bool { return n.Contains(dst) })
	}
	switch {
	case onLink && patch:
		d.assume(fmt.Sprintf("%s is in the physical network behind %s", dst, lsp.Switch))
		return outsideMAC
	case onLink || len(gateways) == 0:
		return model.MAC{}
	}
	score := func(rp *model.LogicalRouterPort) int {
		s := 0
		if slices.ContainsFunc(rp.Networks, func(n netip.Prefix) bool { return n.Contains(src) }) {
			s -= 2
		}
		if lr := object[*model.LogicalRouter](d, model.Ref{Kind: model.KindRouter, Name: rp.Router}); lr == nil || lr.Chassis != "" {
			s++
		}
		return s
	}
	slices.SortStableFunc(gateways, func(a, b *model.LogicalRouterPort) int { return cmp.Compare(score(a), score(b)) })
	if len(gateways) > 1 && score(gateways[0]) == score(gateways[1]) {
		d.assume(fmt.Sprintf("the gateway of %s is %s", lsp.Name, gateways[0].Name))
	}
	return gateways[0].MAC
}

// groupMAC is the group address of a multicast or broadcast address (RFC 1112 section 6.4, RFC 2464 section 7).
func groupMAC(ip netip.Addr) model.MAC {
	if !ip.IsMulticast() {
		return broadcastMAC
	}
	if ip.Is4() {
		b := ip.As4()
		return model.MAC{0x01, 0, 0x5e, b[1] & 0x7f, b[2], b[3]}
	}
	b := ip.As16()
	return model.MAC{0x33, 0x33, b[12], b[13], b[14], b[15]}
}

// owner is the MAC of whoever answers for an address on a switch: a port, a router, or a router on behalf of an external
// address of its NAT rules.
func (d *Deployment) owner(ls string, ip netip.Addr) model.MAC {
	for _, p := range d.bySwitch[ls] {
		if slices.Contains(p.IPs, ip) || !p.MAC.IsZero() && p.Type == model.PortVIF && p.MAC.LinkLocal() == ip {
			return p.MAC
		}
		rp := d.routerEnd(p)
		if rp == nil {
			continue
		}
		if rp.MAC.LinkLocal() == ip || slices.ContainsFunc(rp.Networks, func(n netip.Prefix) bool { return n.Addr() == ip }) {
			return rp.MAC
		}
		if !slices.ContainsFunc(rp.Networks, func(n netip.Prefix) bool { return n.Contains(ip) }) {
			continue
		}
		for _, n := range d.nat[rp.Router] {
			if n.External == ip {
				return rp.MAC
			}
		}
	}
	return model.MAC{}
}

// routerEnd is the router port that a switch port leads to; nil if it leads to none.
func (d *Deployment) routerEnd(p *model.LogicalSwitchPort) *model.LogicalRouterPort {
	if p.Type != model.PortRouter {
		return nil
	}
	if rp := d.routerPorts[p.Peer]; rp != nil && rp.Peer == p.Name {
		return rp
	}
	return nil
}

// answer is what a station sends back: the ports and addresses exchanged, an echo reply, a connection accepted. ok is false
// for what is not answered.
func answer(p sim.Packet) (sim.Packet, bool) {
	back := p
	swap := func(a, b of.Field) {
		back.Set(a, p.Get(b))
		back.Set(b, p.Get(a))
	}
	swap(of.EthSrc, of.EthDst)
	switch {
	case p.Has(of.IPSrc):
		swap(of.IPSrc, of.IPDst)
	case p.Has(of.IPv6Src):
		swap(of.IPv6Src, of.IPv6Dst)
	default:
		return back, false
	}
	back.Set(of.IPTTL, of.U(defaultTTL))
	switch {
	case p.Has(of.TCPSrc):
		swap(of.TCPSrc, of.TCPDst)
		back.Set(of.TCPFlags, of.U(tcpSYN|tcpACK))
	case p.Has(of.UDPSrc):
		swap(of.UDPSrc, of.UDPDst)
	case p.Has(of.ICMPType) && p.Get(of.ICMPType).Lo == icmpEcho:
		back.Set(of.ICMPType, of.U(icmpEchoReply))
	case p.Has(of.ICMPv6Type) && p.Get(of.ICMPv6Type).Lo == icmp6Echo:
		back.Set(of.ICMPv6Type, of.U(icmp6EchoReply))
	default:
		return back, false
	}
	return onThePort(back), true
}

// onThePort is a packet as a workload sends it, without what switches know of it.
func onThePort(p sim.Packet) sim.Packet {
	clean := sim.Packet{Length: p.Length, ICMPID: p.ICMPID}
	for _, f := range of.AllFields() {
		if f >= of.EthSrc && f < of.CTNwProto && p.Has(f) {
			clean.Set(f, p.Get(f))
		}
	}
	return clean
}
