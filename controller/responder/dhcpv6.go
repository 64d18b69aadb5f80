package responder

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
	"github.com/insomniacslk/dhcp/rfc1035label"

	"tuplenet/model"
)

// DHCPv6 answers a message (RFC 8415) of the workload g in an Ethernet frame: addresses that the workload does not make
// itself, name and time servers. As with DHCPv4 nothing is remembered: the same question has the same answer on every node
// and after every restart.
//
// It fails with ErrSilence where no answer is due; What then says what the client said. Safe for concurrent use; frame is not
// changed or kept.
func DHCPv6(frame []byte, g *model.Guest) (Answer, error) {
	if !g.AnswersDHCPv6() {
		return Answer{}, fmt.Errorf("%w: DHCPv6 is off for %s", ErrSilence, g.Port)
	}
	payload, err := udpPayload(frame, g.MAC, layers.EthernetTypeIPv6)
	if err != nil {
		return Answer{}, err
	}
	m, err := dhcpv6.MessageFromBytes(payload)
	if err != nil {
		return Answer{}, fmt.Errorf("not a DHCPv6 message of a client: %w", err)
	}
	client := netip.AddrFrom16([16]byte(frame[14+8 : 14+24]))
	l := leaser6{g: g, m: m, server: &dhcpv6.DUIDLL{HWType: iana.HWTypeEthernet, LinkLayerAddr: duidMAC(g)}}
	a, err := l.answer()
	if err != nil {
		return a, err
	}
	a.Frame, err = l.frame(client)
	return a, err
}

// duidMAC identifies the server of a switch, on all nodes and whatever routers come and go.
func duidMAC(g *model.Guest) net.HardwareAddr {
	mac := model.DeriveMACFromName(g.Switch, "dhcp")
	return mac[:]
}

// leaser6 answers one message.
type leaser6 struct {
	g      *model.Guest
	m, out *dhcpv6.Message
	server *dhcpv6.DUIDLL
}

// answer makes the reply to a message by its type (RFC 8415 section 18.3), after the checks of section 16.
func (l *leaser6) answer() (Answer, error) {
	refused := func(why string) (Answer, error) {
		return Answer{What: "refused"}, fmt.Errorf("%w to a DHCPv6 %s: %s", ErrSilence, l.m.MessageType, why)
	}
	server, client := l.m.Options.ServerID(), l.m.Options.ClientID()
	ours := server != nil && l.server.Equal(server)
	t := l.m.MessageType
	switch t {
	case dhcpv6.MessageTypeSolicit, dhcpv6.MessageTypeConfirm, dhcpv6.MessageTypeRebind:
		if server != nil || client == nil {
			return refused("it names a server, or no client")
		}
	case dhcpv6.MessageTypeRequest, dhcpv6.MessageTypeRenew, dhcpv6.MessageTypeRelease, dhcpv6.MessageTypeDecline:
		if !ours || client == nil {
			return refused("it is for another server, or names no client")
		}
	case dhcpv6.MessageTypeInformationRequest:
		if server != nil && !ours || l.m.Options.OneIANA() != nil {
			return refused("it is for another server, or asks for addresses")
		}
	default:
		return refused("clients do not send that")
	}
	if t == dhcpv6.MessageTypeConfirm && !l.namesAddresses() {
		return refused("it names no address")
	}
	l.out = &dhcpv6.Message{MessageType: dhcpv6.MessageTypeReply, TransactionID: l.m.TransactionID}
	l.out.AddOption(dhcpv6.OptServerID(l.server))
	if client != nil {
		l.out.AddOption(dhcpv6.OptClientID(client))
	}
	return Answer{What: l.content(t)}, nil
}

// content fills the reply, and says in a word what it is.
func (l *leaser6) content(t dhcpv6.MessageType) string {
	switch t {
	case dhcpv6.MessageTypeSolicit:
		what := "reply"
		if l.m.GetOneOption(dhcpv6.OptionRapidCommit) == nil {
			l.out.MessageType, what = dhcpv6.MessageTypeAdvertise, "advertise"
		} else {
			l.out.AddOption(&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionRapidCommit})
		}
		l.addresses()
		l.configuration()
		return what
	case dhcpv6.MessageTypeConfirm:
		l.confirm()
		return "confirm"
	case dhcpv6.MessageTypeRelease:
		l.status(iana.StatusSuccess)
		return "released"
	case dhcpv6.MessageTypeDecline:
		l.status(iana.StatusSuccess)
		return "declined"
	case dhcpv6.MessageTypeInformationRequest:
		l.out.AddOption(dhcpv6.OptInformationRefreshTime(l.lease()))
		l.configuration()
		return "information"
	}
	l.addresses()
	l.configuration()
	return "reply"
}

func (l *leaser6) lease() time.Duration {
	return time.Duration(l.g.Config.LeaseSeconds()) * time.Second
}

func (l *leaser6) status(code iana.StatusCode) {
	l.out.AddOption(&dhcpv6.OptStatusCode{StatusCode: code})
}

// addresses answers the identity associations: the first of addresses gets those of the port; what the client has besides,
// it has to give up (lifetimes of 0). There are no temporary addresses and no prefixes to delegate.
func (l *leaser6) addresses() {
	for i, ia := range l.m.Options.IANA() {
		out := &dhcpv6.OptIANA{IaId: ia.IaId}
		mine := l.g.IPv6
		if i > 0 {
			mine = nil
		}
		for _, a := range mine {
			out.T1, out.T2 = l.lease()/2, l.lease()/5*4
			out.Options.Add(&dhcpv6.OptIAAddress{IPv6Addr: a.AsSlice(), PreferredLifetime: l.lease(), ValidLifetime: l.lease()})
		}
		if l.m.MessageType != dhcpv6.MessageTypeSolicit {
			for _, a := range ia.Options.Addresses() {
				if !slices.Contains(mine, addr6(a.IPv6Addr)) {
					out.Options.Add(&dhcpv6.OptIAAddress{IPv6Addr: a.IPv6Addr})
				}
			}
		}
		if len(out.Options.Options) == 0 {
			out.Options.Add(&dhcpv6.OptStatusCode{StatusCode: iana.StatusNoAddrsAvail})
		}
		l.out.AddOption(out)
	}
	for _, ia := range l.m.Options.IATA() {
		out := &dhcpv6.OptIATA{IaId: ia.IaId}
		out.Options.Add(&dhcpv6.OptStatusCode{StatusCode: iana.StatusNoAddrsAvail})
		l.out.AddOption(out)
	}
	for _, ia := range l.m.Options.IAPD() {
		out := &dhcpv6.OptIAPD{IaId: ia.IaId}
		out.Options.Add(&dhcpv6.OptStatusCode{StatusCode: iana.StatusNoPrefixAvail})
		l.out.AddOption(out)
	}
}

func (l *leaser6) namesAddresses() bool {
	return slices.ContainsFunc(l.m.Options.IANA(), func(ia *dhcpv6.OptIANA) bool { return len(ia.Options.Addresses()) > 0 })
}

// confirm tells whether the client's addresses are right for the link (RFC 8415 section 18.3.3).
func (l *leaser6) confirm() {
	for _, ia := range l.m.Options.IANA() {
		for _, a := range ia.Options.Addresses() {
			if !slices.Contains(l.g.IPv6, addr6(a.IPv6Addr)) {
				l.status(iana.StatusNotOnLink)
				return
			}
		}
	}
	l.status(iana.StatusSuccess)
}

// configuration adds name servers and search domains, and time servers for those who ask for them.
func (l *leaser6) configuration() {
	c := &l.g.Config
	if dns := model.ServersOf(c.DNS, false); len(dns) > 0 {
		l.out.AddOption(dhcpv6.OptDNS(slicesOf(dns)...))
	}
	if domains := c.Domains(); len(domains) > 0 {
		l.out.AddOption(dhcpv6.OptDomainSearchList(&rfc1035label.Labels{Labels: domains}))
	}
	ntp := model.ServersOf(c.NTP, false)
	if len(ntp) == 0 {
		return
	}
	if l.m.IsOptionRequested(dhcpv6.OptionSNTPServerList) {
		l.out.AddOption(dhcpv6.OptSNTP(slicesOf(ntp)...))
	}
	if l.m.IsOptionRequested(dhcpv6.OptionNTPServer) {
		servers := &dhcpv6.OptNTPServer{}
		for _, a := range ntp {
			server := dhcpv6.NTPSuboptionSrvAddr(a.AsSlice())
			servers.Suboptions.Add(&server)
		}
		l.out.AddOption(servers)
	}
}

// frame puts the reply into a packet to the client.
func (l *leaser6) frame(client netip.Addr) ([]byte, error) {
	eth := &layers.Ethernet{SrcMAC: l.g.Server[:], DstMAC: l.g.MAC[:], EthernetType: layers.EthernetTypeIPv6}
	ip := &layers.IPv6{Version: 6, HopLimit: hopLimit, NextHeader: layers.IPProtocolUDP, SrcIP: l.g.Server.LinkLocal().AsSlice(), DstIP: client.AsSlice()}
	udp := &layers.UDP{SrcPort: dhcpv6.DefaultServerPort, DstPort: dhcpv6.DefaultClientPort}
	if err := udp.SetNetworkLayerForChecksum(ip); err != nil {
		return nil, fmt.Errorf("UDP checksum: %w", err)
	}
	return serialize(eth, ip, udp, gopacket.Payload(l.out.ToBytes()))
}

func addr6(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a
}
