package responder

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
	"github.com/insomniacslk/dhcp/rfc1035label"

	"tuplenet/model"
)

// ErrSilence is returned for what gets no answer; it is wrapped with the reason.
var ErrSilence = errors.New("no answer")

// Answer is what a node says to a workload.
type Answer struct {
	// Frame is the Ethernet frame; nil: nothing is said.
	Frame []byte
	// What is it in one word, such as offer or ack.
	What string
}

// serverWithoutRouter names us to clients on networks without a router (RFC 2131 section 2: the server identifier). Nobody has
// this address; clients renew by broadcast there.
var serverWithoutRouter = netip.AddrFrom4([4]byte{169, 254, 0, 67})

// Sizes of DHCPv4 messages, in bytes (RFC 2131 section 2, RFC 2132 section 9.10).
const (
	minDHCPPacket = 576 // of IP that every client takes
	dhcpHeaders   = 20 + 8
)

// DHCPv4 answers a DHCP message (RFC 2131) of the workload g in an Ethernet frame: always with the same, which is the
// workload's own address and what its switch says. Nothing has to be remembered, so an offer is as good as a lease.
//
// It fails with ErrSilence where no answer is due; What then says what the client said. Safe for concurrent use; frame is not
// changed or kept.
func DHCPv4(frame []byte, g *model.Guest) (Answer, error) {
	if !g.AnswersDHCPv4() {
		return Answer{}, fmt.Errorf("%w: there is no address for %s", ErrSilence, g.Port)
	}
	payload, err := udpPayload(frame, g.MAC, layers.EthernetTypeIPv4)
	if err != nil {
		return Answer{}, err
	}
	m, err := dhcpv4.FromBytes(payload)
	if err != nil {
		return Answer{}, fmt.Errorf("not a DHCP message: %w", err)
	}
	if err := fromClient(m, g); err != nil {
		return Answer{What: "refused"}, err
	}
	l := leaser{g: g, m: m, server: g.Router}
	if !l.server.IsValid() {
		l.server = serverWithoutRouter
	}
	return l.answer()
}

// fromClient checks that a message comes from the workload itself.
func fromClient(m *dhcpv4.DHCPv4, g *model.Guest) error {
	switch {
	case m.OpCode != dhcpv4.OpcodeBootRequest || m.HWType != iana.HWTypeEthernet:
		return fmt.Errorf("%w: not a request of an Ethernet client", ErrSilence)
	case !slices.Equal(m.ClientHWAddr, g.MAC[:]):
		return fmt.Errorf("%w: asked for another client, %s", ErrSilence, m.ClientHWAddr)
	case !m.GatewayIPAddr.IsUnspecified() && m.GatewayIPAddr != nil:
		return fmt.Errorf("%w: relayed by %s", ErrSilence, m.GatewayIPAddr)
	}
	return nil
}

// leaser answers one message.
type leaser struct {
	g      *model.Guest
	m      *dhcpv4.DHCPv4
	server netip.Addr
}

func (l *leaser) answer() (Answer, error) {
	switch t := l.m.MessageType(); t {
	case dhcpv4.MessageTypeDiscover:
		return l.reply(dhcpv4.MessageTypeOffer, "offer")
	case dhcpv4.MessageTypeRequest:
		return l.request()
	case dhcpv4.MessageTypeInform:
		return l.reply(dhcpv4.MessageTypeAck, "inform")
	case dhcpv4.MessageTypeDecline:
		return Answer{What: "declined"}, fmt.Errorf("%w: the client says that somebody else uses its address %s", ErrSilence, l.m.RequestedIPAddress())
	case dhcpv4.MessageTypeRelease:
		return Answer{What: "released"}, fmt.Errorf("%w to a release", ErrSilence)
	default:
		return Answer{What: "refused"}, fmt.Errorf("%w to a message of type %s", ErrSilence, t)
	}
}

// request answers DHCPREQUEST in the states of RFC 2131 section 4.3.2: selecting, init-reboot, renewing and rebinding.
func (l *leaser) request() (Answer, error) {
	wanted := addr4(l.m.RequestedIPAddress())
	if !wanted.IsValid() {
		wanted = addr4(l.m.ClientIPAddr)
	}
	server := addr4(l.m.ServerIdentifier())
	switch {
	case server.IsValid() && server != l.server:
		return Answer{What: "refused"}, fmt.Errorf("%w: the client has chosen another server, %s", ErrSilence, server)
	case !wanted.IsValid():
		return Answer{What: "refused"}, fmt.Errorf("%w: a request for no address", ErrSilence)
	case wanted != l.g.IPv4.Addr():
		return l.reply(dhcpv4.MessageTypeNak, "nak")
	}
	return l.reply(dhcpv4.MessageTypeAck, "ack")
}

// reply makes an answer of a type.
func (l *leaser) reply(t dhcpv4.MessageType, what string) (Answer, error) {
	r, err := dhcpv4.NewReplyFromRequest(l.m, dhcpv4.WithMessageType(t), dhcpv4.WithOptionCopied(l.m, dhcpv4.OptionClientIdentifier),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(l.server.AsSlice())))
	if err != nil {
		return Answer{}, fmt.Errorf("building a DHCP message: %w", err)
	}
	r.ClientIPAddr = net.IPv4zero
	inform := l.m.MessageType() == dhcpv4.MessageTypeInform
	switch {
	case t == dhcpv4.MessageTypeNak:
		r.SetBroadcast() // RFC 2131 section 4.3.2
	case inform:
		r.ClientIPAddr = l.m.ClientIPAddr
		l.fill(r)
	default:
		r.YourIPAddr = l.g.IPv4.Addr().AsSlice()
		if t == dhcpv4.MessageTypeAck {
			r.ClientIPAddr = l.m.ClientIPAddr
		}
		lease := time.Duration(l.g.Config.LeaseSeconds()) * time.Second
		r.UpdateOption(dhcpv4.OptIPAddressLeaseTime(lease))
		r.UpdateOption(dhcpv4.OptRenewTimeValue(lease / 2))
		r.UpdateOption(dhcpv4.OptRebindingTimeValue(lease / 8 * 7))
		l.fill(r)
	}
	frame, err := l.frame(r, t)
	return Answer{frame, what}, err
}

// fill adds what the client is told, what it asked for first, as long as it fits.
func (l *leaser) fill(r *dhcpv4.DHCPv4) {
	most := minDHCPPacket
	if size, err := l.m.MaxMessageSize(); err == nil {
		most = max(most, int(size))
	}
	most = min(most, 1500) - dhcpHeaders
	all := l.options()
	asked := l.m.ParameterRequestList()
	slices.SortStableFunc(all, func(a, b dhcpv4.Option) int {
		return rank(asked, a.Code) - rank(asked, b.Code)
	})
	for _, o := range all {
		r.UpdateOption(o)
		if len(r.ToBytes()) > most {
			r.Options.Del(o.Code)
		}
	}
}

// rank is the place of an option among those that are asked for.
func rank(asked dhcpv4.OptionCodeList, code dhcpv4.OptionCode) int {
	if code.Code() == dhcpv4.OptionSubnetMask.Code() {
		return -1 // before the router, RFC 2132 section 3.3
	}
	for i, c := range asked {
		if c.Code() == code.Code() {
			return i
		}
	}
	return len(asked)
}

// options are everything that the client may be told.
func (l *leaser) options() []dhcpv4.Option {
	g, c := l.g, &l.g.Config
	all := []dhcpv4.Option{dhcpv4.OptSubnetMask(net.CIDRMask(g.IPv4.Bits(), 32))}
	if g.IPv4.Bits() < 31 {
		all = append(all, dhcpv4.OptBroadcastAddress(lastOf(g.IPv4).AsSlice()))
	}
	if g.Router.IsValid() && !c.NoDefaultRoute {
		all = append(all, dhcpv4.OptRouter(g.Router.AsSlice()))
	}
	if routes := l.routes(); len(routes) > 0 {
		all = append(all, dhcpv4.OptClasslessStaticRoute(routes...))
	}
	if dns := model.ServersOf(c.DNS, true); len(dns) > 0 {
		all = append(all, dhcpv4.OptDNS(slicesOf(dns)...))
	}
	if c.Domain != "" {
		all = append(all, dhcpv4.OptDomainName(c.Domain))
	}
	if len(c.Search) > 0 {
		all = append(all, dhcpv4.OptDomainSearch(&rfc1035label.Labels{Labels: c.Search}))
	}
	if ntp := model.ServersOf(c.NTP, true); len(ntp) > 0 {
		all = append(all, dhcpv4.OptNTPServers(slicesOf(ntp)...))
	}
	if g.MTU > 0 {
		all = append(all, dhcpv4.Option{Code: dhcpv4.OptionInterfaceMTU, Value: dhcpv4.Uint16(g.MTU)})
	}
	if g.Hostname != "" {
		all = append(all, dhcpv4.OptHostName(g.Hostname))
	}
	return all
}

// routes are the classless routes. A client that gets them ignores the router option, so they hold the default route as well
// (RFC 3442).
func (l *leaser) routes() (routes []*dhcpv4.Route) {
	add := func(p netip.Prefix, via netip.Addr) {
		routes = append(routes, &dhcpv4.Route{Dest: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)}, Router: via.AsSlice()})
	}
	theirs := false
	for _, r := range l.g.Config.Routes {
		theirs = theirs || r.Prefix.Bits() == 0
		add(r.Prefix, r.Via)
	}
	if len(routes) > 0 && !theirs && !l.g.Config.NoDefaultRoute && l.g.Router.IsValid() {
		add(netip.PrefixFrom(netip.IPv4Unspecified(), 0), l.g.Router)
	}
	return routes
}

// frame puts a message into the packet that RFC 2131 section 4.1 asks for.
func (l *leaser) frame(r *dhcpv4.DHCPv4, t dhcpv4.MessageType) ([]byte, error) {
	to, mac := l.g.IPv4.Addr(), net.HardwareAddr(l.g.MAC[:])
	switch client := addr4(l.m.ClientIPAddr); {
	case t == dhcpv4.MessageTypeNak, !client.IsValid() && l.m.IsBroadcast():
		to, mac = netip.AddrFrom4([4]byte{255, 255, 255, 255}), layers.EthernetBroadcast
	case client.IsValid():
		to = client
	}
	eth := &layers.Ethernet{SrcMAC: l.g.Server[:], DstMAC: mac, EthernetType: layers.EthernetTypeIPv4}
	ip := &layers.IPv4{Version: 4, TTL: hopLimit, Protocol: layers.IPProtocolUDP, SrcIP: l.server.AsSlice(), DstIP: to.AsSlice()}
	udp := &layers.UDP{SrcPort: dhcpv4.ServerPort, DstPort: dhcpv4.ClientPort}
	if err := udp.SetNetworkLayerForChecksum(ip); err != nil {
		return nil, fmt.Errorf("UDP checksum: %w", err)
	}
	return serialize(eth, ip, udp, gopacket.Payload(r.ToBytes()))
}

// udpPayload takes the UDP payload out of an untagged frame from mac. Checksums are not looked at: the kernel leaves them to
// devices that a virtual one does not have.
func udpPayload(frame []byte, mac model.MAC, network layers.EthernetType) ([]byte, error) {
	var eth layers.Ethernet
	if err := eth.DecodeFromBytes(frame, gopacket.NilDecodeFeedback); err != nil {
		return nil, fmt.Errorf("not an Ethernet frame: %w", err)
	}
	if eth.EthernetType != network || !slices.Equal(eth.SrcMAC, mac[:]) {
		return nil, fmt.Errorf("%w to a frame of type %#04x from %s", ErrSilence, uint16(eth.EthernetType), eth.SrcMAC)
	}
	next, payload := layers.IPProtocol(0), []byte(nil)
	if network == layers.EthernetTypeIPv4 {
		var ip layers.IPv4
		if err := ip.DecodeFromBytes(frame[14:], gopacket.NilDecodeFeedback); err != nil {
			return nil, fmt.Errorf("not an IPv4 packet: %w", err)
		}
		if ip.FragOffset != 0 || ip.Flags&layers.IPv4MoreFragments != 0 {
			return nil, fmt.Errorf("%w to a fragment", ErrSilence)
		}
		next, payload = ip.Protocol, ip.Payload
	} else {
		var ip layers.IPv6
		if err := ip.DecodeFromBytes(frame[14:], gopacket.NilDecodeFeedback); err != nil {
			return nil, fmt.Errorf("not an IPv6 packet: %w", err)
		}
		next, payload = ip.NextHeader, ip.Payload
	}
	var udp layers.UDP
	if next != layers.IPProtocolUDP {
		return nil, fmt.Errorf("%w to a packet of protocol %s", ErrSilence, next)
	}
	if err := udp.DecodeFromBytes(payload, gopacket.NilDecodeFeedback); err != nil {
		return nil, fmt.Errorf("not a UDP packet: %w", err)
	}
	return udp.Payload, nil
}

// addr4 is an IPv4 address of a message; invalid if it has none.
func addr4(ip net.IP) netip.Addr {
	a, ok := netip.AddrFromSlice(ip)
	if a = a.Unmap(); !ok || !a.Is4() || a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}

// lastOf is the broadcast address of an IPv4 network.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().As4()
	for i := range b {
		if host := 8*(i+1) - p.Bits(); host >= 8 {
			b[i] = 0xff
		} else if host > 0 {
			b[i] |= 1<<host - 1
		}
	}
	return netip.AddrFrom4(b)
}

func slicesOf(addrs []netip.Addr) (out []net.IP) {
	for _, a := range addrs {
		out = append(out, a.AsSlice())
	}
	return out
}
