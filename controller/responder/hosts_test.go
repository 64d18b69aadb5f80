package responder

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"tuplenet/model"
)

// alice is a workload of a dual-stack network that is told everything.
func alice() *model.Guest {
	router := model.MAC{0xf2, 1, 10, 20, 1, 1}
	return &model.Guest{
		Port: "lsp-alice", Switch: "LS-A", VNI: 1, Key: 2, MAC: model.MAC{0xf2, 1, 10, 20, 1, 10}, Server: router, Hostname: "alice", MTU: 1438,
		HasIPv4: true, HasIPv6: true, IPv4: netip.MustParsePrefix("10.20.1.10/24"), Router: ip("10.20.1.1"), IPv6: []netip.Addr{ip("2001:db8:1::10")},
		Routers: []model.AdvertisedRouter{{Port: "LR_to_LS-A", MAC: router, Prefixes: []model.AdvertisedPrefix{
			{Prefix: netip.MustParsePrefix("2001:db8:1::/64"), Autonomous: true}}}},
		Config: model.HostConfig{DHCPv4: true, RA: true, DHCPv6: model.DHCPv6Stateful, DNS: []netip.Addr{ip("10.20.1.53"), ip("2001:db8::53")},
			Domain: "example.org", Search: []string{"a.example.org", "example.org"}, NTP: []netip.Addr{ip("10.20.1.123"), ip("2001:db8::123")},
			Routes: []model.HostRoute{{Prefix: netip.MustParsePrefix("192.168.0.0/16"), Via: ip("10.20.1.2")}}, Lease: 3600},
	}
}

// ask4 is the frame of a DHCP message of alice.
func ask4(t testing.TB, g *model.Guest, kind dhcpv4.MessageType, edit ...dhcpv4.Modifier) []byte {
	t.Helper()
	m, err := dhcpv4.New(append([]dhcpv4.Modifier{dhcpv4.WithMessageType(kind), dhcpv4.WithHwAddr(g.MAC[:])}, edit...)...)
	if err != nil {
		t.Fatal(err)
	}
	src := net.IPv4zero.To4()
	if m.ClientIPAddr != nil {
		src = m.ClientIPAddr.To4()
	}
	eth := &layers.Ethernet{SrcMAC: g.MAC[:], DstMAC: layers.EthernetBroadcast, EthernetType: layers.EthernetTypeIPv4}
	v4 := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: src, DstIP: net.IPv4bcast}
	u := &layers.UDP{SrcPort: 68, DstPort: 67}
	_ = u.SetNetworkLayerForChecksum(v4)
	frame, err := serialize(eth, v4, u, gopacket.Payload(m.ToBytes()))
	if err != nil {
		t.Fatal(err)
	}
	return frame
}

// told4 reads an answer; it checks what holds for all of them.
func told4(t *testing.T, g *model.Guest, frame []byte) (*dhcpv4.DHCPv4, netip.Addr, net.HardwareAddr) {
	t.Helper()
	p := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default)
	eth, v4 := p.LinkLayer().(*layers.Ethernet), p.NetworkLayer().(*layers.IPv4)
	u, ok := p.TransportLayer().(*layers.UDP)
	if !ok || u.SrcPort != 67 || u.DstPort != 68 || !bytes.Equal(eth.SrcMAC, g.Server[:]) {
		t.Fatalf("not from the server: %v", p)
	}
	if pseudo := append(bytes.Clone(frame[26:34]), 0, 17, byte(u.Length>>8), byte(u.Length)); sum(frame[14:34]) != 0 || sum(pseudo, frame[34:]) != 0 {
		t.Error("checksum")
	}
	m, err := dhcpv4.FromBytes(u.Payload)
	if err != nil {
		t.Fatal(err)
	}
	to, _ := netip.AddrFromSlice(v4.DstIP)
	return m, to, eth.DstMAC
}

func TestG28_AnOfferAndALeaseTellEverythingThatTheSwitchSays(t *testing.T) {
	for kind, want := range map[dhcpv4.MessageType]dhcpv4.MessageType{dhcpv4.MessageTypeDiscover: dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeRequest: dhcpv4.MessageTypeAck} {
		g := alice()
		a, err := DHCPv4(ask4(t, g, kind, dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(net.IPv4(10, 20, 1, 10))), dhcpv4.WithOption(dhcpv4.OptClientIdentifier([]byte{1, 2, 3}))), g)
		if err != nil {
			t.Fatal(err)
		}
		m, to, mac := told4(t, g, a.Frame)
		if m.MessageType() != want || !m.YourIPAddr.Equal(net.IPv4(10, 20, 1, 10)) || to != ip("10.20.1.10") || !bytes.Equal(mac, g.MAC[:]) {
			t.Errorf("%s to %s %s", m, to, mac)
		}
		for what, ok := range map[string]bool{
			"server":    m.ServerIdentifier().Equal(net.IPv4(10, 20, 1, 1)),
			"lease":     m.IPAddressLeaseTime(0) == time.Hour && m.IPAddressRenewalTime(0) == 30*time.Minute && m.IPAddressRebindingTime(0) == 52*time.Minute+30*time.Second,
			"mask":      m.SubnetMask().String() == "ffffff00",
			"broadcast": m.BroadcastAddress().Equal(net.IPv4(10, 20, 1, 255)),
			"router":    len(m.Router()) == 1 && m.Router()[0].Equal(net.IPv4(10, 20, 1, 1)),
			"DNS":       len(m.DNS()) == 1 && m.DNS()[0].Equal(net.IPv4(10, 20, 1, 53)),
			"NTP":       len(m.NTPServers()) == 1 && m.NTPServers()[0].Equal(net.IPv4(10, 20, 1, 123)),
			"domain":    m.DomainName() == "example.org",
			"search":    slices.Equal(m.DomainSearch().Labels, []string{"a.example.org", "example.org"}),
			"hostname":  m.HostName() == "alice",
			"MTU":       bytes.Equal(m.Options.Get(dhcpv4.OptionInterfaceMTU), []byte{1438 >> 8, 1438 & 0xff}),
			"routes":    bytes.Equal(m.Options.Get(dhcpv4.OptionClasslessStaticRoute), []byte{16, 192, 168, 10, 20, 1, 2, 0, 10, 20, 1, 1}),
			"client":    bytes.Equal(m.Options.Get(dhcpv4.OptionClientIdentifier), []byte{1, 2, 3}),
		} {
			if !ok {
				t.Errorf("%s: wrong %s in %s", want, what, m.Summary())
			}
		}
	}
}

// RFC 2131 section 4.3: what is answered to what, and where to.
func TestG28_MessagesAreAnsweredByTheStateOfTheClient(t *testing.T) {
	g := alice()
	mine, other := net.IPv4(10, 20, 1, 10), net.IPv4(10, 20, 1, 77)
	server := func(ip net.IP) dhcpv4.Modifier { return dhcpv4.WithOption(dhcpv4.OptServerIdentifier(ip)) }
	wants := func(ip net.IP) dhcpv4.Modifier { return dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(ip)) }
	broadcast := dhcpv4.WithBroadcast(true)
	for name, c := range map[string]struct {
		frame []byte
		what  string // empty Frame if it begins with "-"
		to    string
	}{
		"discover":                          {ask4(t, g, dhcpv4.MessageTypeDiscover), "offer", "10.20.1.10"},
		"discover, broadcast wanted":        {ask4(t, g, dhcpv4.MessageTypeDiscover, broadcast), "offer", "255.255.255.255"},
		"selecting us":                      {ask4(t, g, dhcpv4.MessageTypeRequest, server(net.IPv4(10, 20, 1, 1)), wants(mine)), "ack", "10.20.1.10"},
		"selecting another server":          {ask4(t, g, dhcpv4.MessageTypeRequest, server(other), wants(mine)), "-refused", ""},
		"selecting us, another address":     {ask4(t, g, dhcpv4.MessageTypeRequest, server(net.IPv4(10, 20, 1, 1)), wants(other)), "nak", "255.255.255.255"},
		"init-reboot":                       {ask4(t, g, dhcpv4.MessageTypeRequest, wants(mine)), "ack", "10.20.1.10"},
		"init-reboot, from another network": {ask4(t, g, dhcpv4.MessageTypeRequest, wants(net.IPv4(192, 168, 7, 7))), "nak", "255.255.255.255"},
		"renewing":                          {ask4(t, g, dhcpv4.MessageTypeRequest, dhcpv4.WithClientIP(mine)), "ack", "10.20.1.10"},
		"renewing another address":          {ask4(t, g, dhcpv4.MessageTypeRequest, dhcpv4.WithClientIP(other)), "nak", "255.255.255.255"},
		"asking for nothing":                {ask4(t, g, dhcpv4.MessageTypeRequest), "-refused", ""},
		"inform":                            {ask4(t, g, dhcpv4.MessageTypeInform, dhcpv4.WithClientIP(mine)), "inform", "10.20.1.10"},
		"decline":                           {ask4(t, g, dhcpv4.MessageTypeDecline, wants(mine)), "-declined", ""},
		"release":                           {ask4(t, g, dhcpv4.MessageTypeRelease, dhcpv4.WithClientIP(mine)), "-released", ""},
		"an offer":                          {ask4(t, g, dhcpv4.MessageTypeOffer), "-refused", ""},
		"relayed":                           {ask4(t, g, dhcpv4.MessageTypeDiscover, dhcpv4.WithGatewayIP(other)), "-refused", ""},
		"for another client":                {ask4(t, g, dhcpv4.MessageTypeDiscover, dhcpv4.WithHwAddr(net.HardwareAddr{2, 0, 0, 0, 0, 9})), "-refused", ""},
	} {
		a, err := DHCPv4(c.frame, g)
		if what, silent := strings.CutPrefix(c.what, "-"); a.What != what || silent != errors.Is(err, ErrSilence) || silent != (a.Frame == nil) {
			t.Errorf("%s: %q, %v", name, a.What, err)
			continue
		}
		if a.Frame == nil {
			continue
		}
		m, to, _ := told4(t, g, a.Frame)
		if to.String() != c.to {
			t.Errorf("%s: to %s", name, to)
		}
		if given := m.YourIPAddr.Equal(mine); given != (a.What == "offer" || a.What == "ack") || given != m.Options.Has(dhcpv4.OptionIPAddressLeaseTime) {
			t.Errorf("%s: %s", name, m.Summary())
		}
	}
}

func TestG28_NobodyElseGetsAnAnswer(t *testing.T) {
	g := alice()
	discover := ask4(t, g, dhcpv4.MessageTypeDiscover)
	spoofed := bytes.Clone(discover)
	spoofed[6] = 2
	off := alice()
	off.Config.DHCPv4 = false
	nowhere := alice()
	nowhere.IPv4 = netip.Prefix{}
	for name, c := range map[string]struct {
		frame []byte
		g     *model.Guest
	}{"from another MAC": {spoofed, g}, "switched off": {discover, off}, "no address": {discover, nowhere}} {
		if a, err := DHCPv4(c.frame, c.g); !errors.Is(err, ErrSilence) || a.Frame != nil {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
}

func TestG28_WhatTheClientAsksForFitsIntoItsPackets(t *testing.T) {
	g := alice()
	g.Config.Domain = strings.Repeat("x", 60) + ".example.org"
	g.Config.Search = []string{strings.Repeat("y", 60) + ".example.org", strings.Repeat("z", 60) + ".example.org"}
	for i := range 14 {
		g.Config.Routes = append(g.Config.Routes, model.HostRoute{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 16, byte(i), 0}), 24), Via: ip("10.20.1.2")})
	}
	a, err := DHCPv4(ask4(t, g, dhcpv4.MessageTypeDiscover, dhcpv4.WithOption(dhcpv4.OptParameterRequestList(dhcpv4.OptionDomainNameServer, dhcpv4.OptionInterfaceMTU, dhcpv4.OptionRouter))), g)
	if err != nil {
		t.Fatal(err)
	}
	m, _, _ := told4(t, g, a.Frame)
	if len(a.Frame)-14 > minDHCPPacket || len(m.DNS()) != 1 || len(m.Router()) != 1 || !m.Options.Has(dhcpv4.OptionInterfaceMTU) || m.SubnetMask() == nil {
		t.Errorf("%d bytes: %s", len(a.Frame)-14, m.Summary())
	}
	a, err = DHCPv4(ask4(t, g, dhcpv4.MessageTypeDiscover, dhcpv4.WithOption(dhcpv4.OptMaxMessageSize(1500))), g)
	if err != nil {
		t.Fatal(err)
	}
	if m, _, _ := told4(t, g, a.Frame); len(m.ClasslessStaticRoute()) != 16 || len(m.DomainSearch().Labels) != 2 {
		t.Errorf("a client that takes large packets: %s", m.Summary())
	}
}

func TestG28_ANetworkWithoutARouterHasAServerToo(t *testing.T) {
	g := alice()
	g.Router, g.Config.Routes = netip.Addr{}, nil
	a, err := DHCPv4(ask4(t, g, dhcpv4.MessageTypeDiscover), g)
	if err != nil {
		t.Fatal(err)
	}
	m, _, _ := told4(t, g, a.Frame)
	if !m.ServerIdentifier().Equal(net.IPv4(169, 254, 0, 67)) || m.Options.Has(dhcpv4.OptionRouter) || m.Options.Has(dhcpv4.OptionClasslessStaticRoute) {
		t.Error(m.Summary())
	}
	a, err = DHCPv4(ask4(t, g, dhcpv4.MessageTypeRequest, dhcpv4.WithOption(dhcpv4.OptServerIdentifier(m.ServerIdentifier())), dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(m.YourIPAddr))), g)
	if err != nil || a.What != "ack" {
		t.Error(a.What, err)
	}
	silent := alice()
	silent.Config.NoDefaultRoute, silent.Config.Routes = true, nil
	if a, err = DHCPv4(ask4(t, silent, dhcpv4.MessageTypeDiscover), silent); err != nil {
		t.Fatal(err)
	}
	if m, _, _ := told4(t, silent, a.Frame); m.Options.Has(dhcpv4.OptionRouter) {
		t.Error("a router that is no default router is told as one")
	}
}

// ask6 is the frame of a DHCPv6 message of alice.
func ask6(t testing.TB, g *model.Guest, kind dhcpv6.MessageType, options ...dhcpv6.Option) []byte {
	t.Helper()
	m, err := dhcpv6.NewMessage()
	if err != nil {
		t.Fatal(err)
	}
	m.MessageType = kind
	for _, o := range options {
		m.AddOption(o)
	}
	eth := &layers.Ethernet{SrcMAC: g.MAC[:], DstMAC: net.HardwareAddr{0x33, 0x33, 0, 1, 0, 2}, EthernetType: layers.EthernetTypeIPv6}
	v6 := &layers.IPv6{Version: 6, HopLimit: 1, NextHeader: layers.IPProtocolUDP, SrcIP: g.MAC.LinkLocal().AsSlice(), DstIP: ip("ff02::1:2").AsSlice()}
	u := &layers.UDP{SrcPort: 546, DstPort: 547}
	_ = u.SetNetworkLayerForChecksum(v6)
	frame, err := serialize(eth, v6, u, gopacket.Payload(m.ToBytes()))
	if err != nil {
		t.Fatal(err)
	}
	return frame
}

func told6(t *testing.T, g *model.Guest, frame []byte) *dhcpv6.Message {
	t.Helper()
	p := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default)
	v6 := p.NetworkLayer().(*layers.IPv6)
	u, ok := p.TransportLayer().(*layers.UDP)
	if !ok || u.SrcPort != 547 || u.DstPort != 546 || !bytes.Equal(v6.DstIP, g.MAC.LinkLocal().AsSlice()) || !bytes.Equal(v6.SrcIP, g.Server.LinkLocal().AsSlice()) {
		t.Fatalf("not from the server: %v", p)
	}
	if pseudo := append(bytes.Clone(frame[22:54]), 0, 0, byte(u.Length>>8), byte(u.Length), 0, 0, 0, 17); sum(pseudo, frame[54:]) != 0 {
		t.Error("checksum")
	}
	m, err := dhcpv6.MessageFromBytes(u.Payload)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestG19_DHCPv6MessagesAreAnswered(t *testing.T) {
	g := alice()
	client := dhcpv6.OptClientID(&dhcpv6.DUIDLL{HWType: iana.HWTypeEthernet, LinkLayerAddr: g.MAC[:]})
	ours := dhcpv6.OptServerID(&dhcpv6.DUIDLL{HWType: iana.HWTypeEthernet, LinkLayerAddr: duidMAC(g)})
	other := dhcpv6.OptServerID(&dhcpv6.DUIDLL{HWType: iana.HWTypeEthernet, LinkLayerAddr: net.HardwareAddr{2, 0, 0, 0, 0, 9}})
	ia := func(addrs ...string) *dhcpv6.OptIANA {
		o := &dhcpv6.OptIANA{IaId: [4]byte{1, 2, 3, 4}}
		for _, a := range addrs {
			o.Options.Add(&dhcpv6.OptIAAddress{IPv6Addr: ip(a).AsSlice()})
		}
		return o
	}
	rapid := &dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionRapidCommit}
	mine, strange := "2001:db8:1::10", "2001:db8:9::9"
	leased := "2001:db8:1::10 1h0m0s"
	for name, c := range map[string]struct {
		frame []byte
		what  string
		gets  []string // addresses with lifetimes
		code  iana.StatusCode
	}{
		"solicit":                        {ask6(t, g, dhcpv6.MessageTypeSolicit, client, ia()), "advertise", []string{leased}, 0},
		"solicit, rapid":                 {ask6(t, g, dhcpv6.MessageTypeSolicit, client, ia(), rapid), "reply", []string{leased}, 0},
		"solicit without a client id":    {ask6(t, g, dhcpv6.MessageTypeSolicit, ia()), "-refused", nil, 0},
		"solicit of a certain server":    {ask6(t, g, dhcpv6.MessageTypeSolicit, client, ours, ia()), "-refused", nil, 0},
		"request":                        {ask6(t, g, dhcpv6.MessageTypeRequest, client, ours, ia(mine)), "reply", []string{leased}, 0},
		"request of another server":      {ask6(t, g, dhcpv6.MessageTypeRequest, client, other, ia(mine)), "-refused", nil, 0},
		"renew":                          {ask6(t, g, dhcpv6.MessageTypeRenew, client, ours, ia(mine)), "reply", []string{leased}, 0},
		"renew of what is not there":     {ask6(t, g, dhcpv6.MessageTypeRenew, client, ours, ia(strange)), "reply", []string{leased, strange + " 0s"}, 0},
		"rebind":                         {ask6(t, g, dhcpv6.MessageTypeRebind, client, ia(mine)), "reply", []string{leased}, 0},
		"confirm":                        {ask6(t, g, dhcpv6.MessageTypeConfirm, client, ia(mine)), "confirm", nil, iana.StatusSuccess},
		"confirm on another link":        {ask6(t, g, dhcpv6.MessageTypeConfirm, client, ia(strange)), "confirm", nil, iana.StatusNotOnLink},
		"confirm of nothing":             {ask6(t, g, dhcpv6.MessageTypeConfirm, client, ia()), "-refused", nil, 0},
		"release":                        {ask6(t, g, dhcpv6.MessageTypeRelease, client, ours, ia(mine)), "released", nil, iana.StatusSuccess},
		"decline":                        {ask6(t, g, dhcpv6.MessageTypeDecline, client, ours, ia(mine)), "declined", nil, iana.StatusSuccess},
		"information":                    {ask6(t, g, dhcpv6.MessageTypeInformationRequest, client), "information", nil, 0},
		"information for another server": {ask6(t, g, dhcpv6.MessageTypeInformationRequest, client, other), "-refused", nil, 0},
		"a reply":                        {ask6(t, g, dhcpv6.MessageTypeReply, client, ours), "-refused", nil, 0},
	} {
		a, err := DHCPv6(c.frame, g)
		if what, silent := strings.CutPrefix(c.what, "-"); a.What != what || silent != errors.Is(err, ErrSilence) || silent != (a.Frame == nil) {
			t.Errorf("%s: %q, %v", name, a.What, err)
			continue
		}
		if a.Frame == nil {
			continue
		}
		m := told6(t, g, a.Frame)
		var got []string
		if ia := m.Options.OneIANA(); ia != nil {
			for _, a := range ia.Options.Addresses() {
				got = append(got, a.IPv6Addr.String()+" "+a.ValidLifetime.String())
			}
		}
		code := iana.StatusSuccess
		if s := m.Options.Status(); s != nil {
			code = s.StatusCode
		}
		if !slices.Equal(got, c.gets) || code != c.code || m.Options.ServerID() == nil {
			t.Errorf("%s: %v, status %s", name, got, code)
		}
	}
}

func TestG19_DHCPv6TellsServersAndDomains(t *testing.T) {
	g := alice()
	g.Config.DHCPv6, g.IPv6 = model.DHCPv6Stateless, nil
	client := dhcpv6.OptClientID(&dhcpv6.DUIDLL{HWType: iana.HWTypeEthernet, LinkLayerAddr: g.MAC[:]})
	a, err := DHCPv6(ask6(t, g, dhcpv6.MessageTypeInformationRequest, client, dhcpv6.OptRequestedOption(dhcpv6.OptionSNTPServerList, dhcpv6.OptionNTPServer)), g)
	if err != nil {
		t.Fatal(err)
	}
	m := told6(t, g, a.Frame)
	if dns := m.Options.DNS(); len(dns) != 1 || dns[0].String() != "2001:db8::53" {
		t.Error(dns)
	}
	if l := m.Options.DomainSearchList(); l == nil || !slices.Equal(l.Labels, []string{"a.example.org", "example.org"}) {
		t.Error(l)
	}
	if n, s := m.Options.NTPServers(), m.Options.SNTP(); len(n) != 1 || len(s) != 1 || n[0].String() != "2001:db8::123" {
		t.Error(n, s)
	}
	a, err = DHCPv6(ask6(t, g, dhcpv6.MessageTypeSolicit, client, &dhcpv6.OptIANA{}), g)
	if err != nil {
		t.Fatal(err)
	}
	if ia := told6(t, g, a.Frame).Options.OneIANA(); ia == nil || ia.Options.Status() == nil || ia.Options.Status().StatusCode != iana.StatusNoAddrsAvail {
		t.Error("a workload that makes its address itself gets another one")
	}
	off := alice()
	off.Config.DHCPv6 = model.DHCPv6Off
	if _, err := DHCPv6(ask6(t, off, dhcpv6.MessageTypeSolicit, client), off); !errors.Is(err, ErrSilence) {
		t.Error(err)
	}
}

func TestG18_AdvertisementsAreWellFormed(t *testing.T) {
	g := alice()
	r := g.Routers[0]
	gone := r
	gone.Withdrawn = true
	for name, c := range map[string]struct {
		r                  model.AdvertisedRouter
		to                 netip.Addr
		lifetime, prefixed uint32
		options            int
	}{
		"to all nodes":     {r, ip("ff02::1"), 9000, 2592000, 5},
		"to the solicitor": {r, g.MAC.LinkLocal(), 9000, 2592000, 5},
		"withdrawn":        {gone, ip("ff02::1"), 0, 0, 3},
	} {
		frame, err := Advertisement(g, &c.r, c.to)
		if err != nil {
			t.Fatal(err)
		}
		if pseudo := append(bytes.Clone(frame[22:54]), 0, 0, 0, byte(len(frame)-54), 0, 0, 0, 58); sum(pseudo, frame[54:]) != 0 {
			t.Errorf("%s: checksum", name)
		}
		p := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default)
		v6, ra := p.NetworkLayer().(*layers.IPv6), p.Layer(layers.LayerTypeICMPv6RouterAdvertisement).(*layers.ICMPv6RouterAdvertisement)
		src, _ := netip.AddrFromSlice(v6.SrcIP)
		dst, _ := netip.AddrFromSlice(v6.DstIP)
		if src != r.MAC.LinkLocal() || dst != c.to || v6.HopLimit != 255 || !ra.ManagedAddressConfig() || !ra.OtherConfig() || uint32(ra.RouterLifetime) != c.lifetime || len(ra.Options) != c.options {
			t.Errorf("%s: %v", name, p)
		}
		for _, o := range ra.Options {
			if o.Type == layers.ICMPv6OptPrefixInfo && (o.Data[0] != 64 || o.Data[1] != 0xc0 || uint32(o.Data[2])<<24|uint32(o.Data[3])<<16|uint32(o.Data[4])<<8|uint32(o.Data[5]) != c.prefixed ||
				netip.AddrFrom16([16]byte(o.Data[14:30])) != ip("2001:db8:1::")) {
				t.Errorf("%s: prefix % x", name, o.Data)
			}
		}
	}
}

func TestG18_SolicitationsAreRead(t *testing.T) {
	g := alice()
	solicit := func(edit func(*layers.Ethernet, *layers.IPv6), code uint8) []byte {
		eth := &layers.Ethernet{SrcMAC: g.MAC[:], DstMAC: net.HardwareAddr{0x33, 0x33, 0, 0, 0, 2}, EthernetType: layers.EthernetTypeIPv6}
		v6 := &layers.IPv6{Version: 6, HopLimit: 255, NextHeader: layers.IPProtocolICMPv6, SrcIP: g.MAC.LinkLocal().AsSlice(), DstIP: ip("ff02::2").AsSlice()}
		edit(eth, v6)
		icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypeRouterSolicitation, code)}
		_ = icmp.SetNetworkLayerForChecksum(v6)
		frame, err := serialize(eth, v6, icmp, gopacket.Payload{0, 0, 0, 0})
		if err != nil {
			t.Fatal(err)
		}
		return frame
	}
	for name, c := range map[string]struct {
		frame []byte
		to    netip.Addr // zero: silence
	}{
		"of a host with an address":    {solicit(func(*layers.Ethernet, *layers.IPv6) {}, 0), g.MAC.LinkLocal()},
		"of a host without an address": {solicit(func(_ *layers.Ethernet, h *layers.IPv6) { h.SrcIP = net.IPv6unspecified }, 0), ip("ff02::1")},
		"from beyond the link":         {solicit(func(_ *layers.Ethernet, h *layers.IPv6) { h.HopLimit = 254 }, 0), netip.Addr{}},
		"from a group":                 {solicit(func(_ *layers.Ethernet, h *layers.IPv6) { h.SrcIP = ip("ff02::1").AsSlice() }, 0), netip.Addr{}},
		"from another MAC":             {solicit(func(e *layers.Ethernet, _ *layers.IPv6) { e.SrcMAC = net.HardwareAddr{2, 0, 0, 0, 0, 9} }, 0), netip.Addr{}},
		"with a code":                  {solicit(func(*layers.Ethernet, *layers.IPv6) {}, 1), netip.Addr{}},
		"cut off":                      {solicit(func(*layers.Ethernet, *layers.IPv6) {}, 0)[:50], netip.Addr{}},
	} {
		to, err := Solicitation(c.frame, g)
		if !c.to.IsValid() && !errors.Is(err, ErrSilence) || c.to.IsValid() && (err != nil || to != c.to) {
			t.Errorf("%s: %s, %v", name, to, err)
		}
	}
}

func FuzzHosts(f *testing.F) {
	g := alice()
	f.Add(ask4(f, g, dhcpv4.MessageTypeDiscover))
	f.Add(ask4(f, g, dhcpv4.MessageTypeRequest, dhcpv4.WithClientIP(net.IPv4(10, 20, 1, 10))))
	f.Add(ask6(f, g, dhcpv6.MessageTypeSolicit, dhcpv6.OptClientID(&dhcpv6.DUIDLL{HWType: iana.HWTypeEthernet, LinkLayerAddr: g.MAC[:]}), &dhcpv6.OptIANA{}))
	f.Add(ask6(f, g, dhcpv6.MessageTypeInformationRequest))
	f.Fuzz(func(t *testing.T, in []byte) {
		before := bytes.Clone(in)
		for _, answer := range []func([]byte, *model.Guest) (Answer, error){DHCPv4, DHCPv6} {
			a, err := answer(in, g)
			if (err == nil) != (a.Frame != nil) {
				t.Errorf("%+v, %v", a, err)
			}
			if a.Frame != nil && (len(a.Frame) > 14+1500 || len(in) < 12 || !bytes.Equal(in[6:12], g.MAC[:])) {
				t.Errorf("an answer of %d bytes to % x", len(a.Frame), in)
			}
		}
		if to, err := Solicitation(in, g); err == nil && to.IsMulticast() && to != allNodes {
			t.Errorf("an answer to %s", to)
		}
		if !bytes.Equal(before, in) {
			t.Error("the frame was changed")
		}
	})
}
