package responder

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"tuplenet/model"
)

// Options of router advertisements (RFC 4861 section 4.6, RFC 8106).
const (
	optionSourceLL  = 1
	optionPrefix    = 3
	optionMTU       = 5
	optionRDNSS     = 25
	optionDNSSL     = 31
	flagManaged     = 0x80
	flagOther       = 0x40
	flagOnLink      = 0x80
	flagAutonomous  = 0x40
	ndHopLimit      = 255     // RFC 4861 section 4.2: nobody beyond the link can send it
	prefixValid     = 2592000 // AdvValidLifetime, RFC 4861 section 6.2.1, seconds
	prefixPreferred = 604800  // AdvPreferredLifetime
)

var (
	allNodes    = netip.MustParseAddr("ff02::1")
	allNodesMAC = net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}
)

// Solicitation reads a router solicitation (RFC 4861 section 6.1.1) of the workload g and returns where the answer goes: the
// solicitation's source, or all nodes if it has none. It fails with ErrSilence if it is not one that a router answers.
func Solicitation(frame []byte, g *model.Guest) (to netip.Addr, err error) {
	var eth layers.Ethernet
	if err := eth.DecodeFromBytes(frame, gopacket.NilDecodeFeedback); err != nil {
		return to, fmt.Errorf("not an Ethernet frame: %w", err)
	}
	b := frame[14:]
	if eth.EthernetType != layers.EthernetTypeIPv6 || string(eth.SrcMAC) != string(g.MAC[:]) || len(b) < 40+8 {
		return to, fmt.Errorf("%w: no IPv6 packet of the port", ErrSilence)
	}
	if layers.IPProtocol(b[6]) != layers.IPProtocolICMPv6 || b[7] != ndHopLimit || b[40] != layers.ICMPv6TypeRouterSolicitation || b[41] != 0 {
		return to, fmt.Errorf("%w: no valid router solicitation", ErrSilence)
	}
	to = netip.AddrFrom16([16]byte(b[8:24]))
	if to.IsUnspecified() {
		return allNodes, nil
	}
	if to.IsMulticast() || to.IsLoopback() {
		return to, fmt.Errorf("%w: solicited from %s", ErrSilence, to)
	}
	return to, nil
}

// Advertisement is the router advertisement (RFC 4861 section 4.2) of one router to the workload g, in an Ethernet frame to the
// address to, which is the workload's own or that of all nodes. Lifetimes of what is withdrawn are 0. Safe for concurrent use.
func Advertisement(g *model.Guest, r *model.AdvertisedRouter, to netip.Addr) ([]byte, error) {
	c := &g.Config
	lifetime := c.RouterLifetimeSeconds()
	if r.Withdrawn {
		lifetime = 0
	}
	flags := byte(0)
	if g.Managed() {
		flags |= flagManaged
	}
	if c.DHCPv6 != model.DHCPv6Off {
		flags |= flagOther
	}
	body := []byte{hopLimit, flags, byte(lifetime >> 8), byte(lifetime), 0, 0, 0, 0, 0, 0, 0, 0}
	body = append(body, optionSourceLL, 1)
	body = append(body, r.MAC[:]...)
	if g.MTU > 0 {
		body = append(body, optionMTU, 1, 0, 0)
		body = binary.BigEndian.AppendUint32(body, uint32(g.MTU))
	}
	for _, p := range r.Prefixes {
		on := byte(flagOnLink)
		if p.Autonomous {
			on |= flagAutonomous
		}
		preferred, valid := uint32(prefixPreferred), uint32(prefixValid)
		if p.Withdrawn || r.Withdrawn {
			preferred, valid = 0, 0
		}
		body = append(body, optionPrefix, 4, byte(p.Prefix.Bits()), on)
		body = binary.BigEndian.AppendUint32(body, valid)
		body = binary.BigEndian.AppendUint32(body, preferred)
		body = append(append(body, 0, 0, 0, 0), p.Prefix.Addr().AsSlice()...)
	}
	if !r.Withdrawn {
		body = appendDNS(body, c)
	}
	return advertise(g, r, to, body)
}

// appendDNS adds the recursive name servers and search domains (RFC 8106).
func appendDNS(body []byte, c *model.HostConfig) []byte {
	lifetime := uint32(max(c.RouterLifetimeSeconds(), model.DefaultRouterLifetime))
	if dns := model.ServersOf(c.DNS, false); len(dns) > 0 {
		body = append(body, optionRDNSS, byte(1+2*len(dns)), 0, 0)
		body = binary.BigEndian.AppendUint32(body, lifetime)
		for _, a := range dns {
			body = append(body, a.AsSlice()...)
		}
	}
	var names []byte
	for _, d := range c.Domains() {
		for label := range strings.SplitSeq(d, ".") {
			names = append(append(names, byte(len(label))), label...)
		}
		names = append(names, 0)
	}
	if len(names) == 0 {
		return body
	}
	for len(names)%8 != 0 {
		names = append(names, 0)
	}
	body = append(body, optionDNSSL, byte(1+len(names)/8), 0, 0)
	body = binary.BigEndian.AppendUint32(body, lifetime)
	return append(body, names...)
}

func advertise(g *model.Guest, r *model.AdvertisedRouter, to netip.Addr, body []byte) ([]byte, error) {
	mac := net.HardwareAddr(g.MAC[:])
	if to.IsMulticast() {
		mac = allNodesMAC
	}
	eth := &layers.Ethernet{SrcMAC: r.MAC[:], DstMAC: mac, EthernetType: layers.EthernetTypeIPv6}
	ip := &layers.IPv6{Version: 6, HopLimit: ndHopLimit, NextHeader: layers.IPProtocolICMPv6, SrcIP: r.MAC.LinkLocal().AsSlice(), DstIP: to.AsSlice()}
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypeRouterAdvertisement, 0)}
	if err := icmp.SetNetworkLayerForChecksum(ip); err != nil {
		return nil, fmt.Errorf("ICMPv6 checksum: %w", err)
	}
	return serialize(eth, ip, icmp, gopacket.Payload(body))
}

// AllNodes is where unsolicited advertisements go.
func AllNodes() netip.Addr { return allNodes }
