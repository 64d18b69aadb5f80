package responder

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

const (
	hostMAC   = "f2:01:0a:00:01:0a"
	routerMAC = "f2:01:0a:00:01:01"
)

func mac(s string) net.HardwareAddr {
	m, err := net.ParseMAC(s)
	if err != nil {
		panic(err)
	}
	return m
}

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

// frame4 is an Ethernet frame of an IPv4 packet to the router's MAC; edit may change any header.
func frame4(proto layers.IPProtocol, body []byte, edit func(*layers.Ethernet, *layers.IPv4), tags ...*layers.Dot1Q) []byte {
	eth := &layers.Ethernet{SrcMAC: mac(hostMAC), DstMAC: mac(routerMAC), EthernetType: layers.EthernetTypeIPv4}
	v4 := &layers.IPv4{Version: 4, TTL: 1, Protocol: proto, SrcIP: ip("10.0.1.10").AsSlice(), DstIP: ip("10.0.2.10").AsSlice()}
	if edit != nil {
		edit(eth, v4)
	}
	return build(eth, tags, v4, body)
}

func frame6(next layers.IPProtocol, body []byte, edit func(*layers.Ethernet, *layers.IPv6), tags ...*layers.Dot1Q) []byte {
	eth := &layers.Ethernet{SrcMAC: mac(hostMAC), DstMAC: mac(routerMAC), EthernetType: layers.EthernetTypeIPv6}
	v6 := &layers.IPv6{Version: 6, HopLimit: 1, NextHeader: next, SrcIP: ip("2001:db8:1::10").AsSlice(), DstIP: ip("2001:db8:2::10").AsSlice()}
	if edit != nil {
		edit(eth, v6)
	}
	return build(eth, tags, v6, body)
}

func build(eth *layers.Ethernet, tags []*layers.Dot1Q, header gopacket.SerializableLayer, body []byte) []byte {
	parts := []gopacket.SerializableLayer{eth}
	inner := eth.EthernetType
	for i, tag := range tags {
		tag.Type = inner
		if i == 0 {
			eth.EthernetType = layers.EthernetTypeDot1Q
		} else {
			tags[i-1].Type = layers.EthernetTypeDot1Q
		}
		parts = append(parts, tag)
	}
	frame, err := serialize(append(parts, header, gopacket.Payload(body))...)
	if err != nil {
		panic(err)
	}
	return frame
}

func udp(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)
	}
	binary.BigEndian.PutUint16(b, 40000)
	binary.BigEndian.PutUint16(b[2:], 33434)
	return b
}

// sum is the internet checksum (RFC 1071), written apart from the library that the code under test uses.
func sum(parts ...[]byte) uint16 {
	var s uint32
	for _, p := range parts {
		for i := 0; i < len(p); i += 2 {
			s += uint32(p[i]) << 8
			if i+1 < len(p) {
				s += uint32(p[i+1])
			}
		}
	}
	for s>>16 != 0 {
		s = s&0xffff + s>>16
	}
	return ^uint16(s)
}

func TestT23_IPv4ErrorsAreWellFormed(t *testing.T) {
	in := frame4(layers.IPProtocolUDP, udp(700), func(_ *layers.Ethernet, h *layers.IPv4) { h.Flags = layers.IPv4DontFragment })
	for name, c := range map[string]struct {
		kind      Kind
		typ, code byte
		word      uint32
	}{
		"time exceeded":        {TTLExceeded, 11, 0, 0},
		"net unreachable":      {NetUnreachable, 3, 0, 0},
		"host unreachable":     {HostUnreachable, 3, 1, 0},
		"port unreachable":     {PortUnreachable, 3, 3, 0},
		"fragmentation needed": {TooBig, 3, 4, 1400},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := ICMPError(in, c.kind, ip("10.0.1.1"), 1400)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(out[:6], mac(hostMAC)) || !bytes.Equal(out[6:12], mac(routerMAC)) {
				t.Errorf("Ethernet header % x", out[:14])
			}
			h, body := out[14:34], out[34:]
			if len(out)-14 != 576 || binary.BigEndian.Uint16(h[2:]) != 576 || sum(h) != 0 {
				t.Errorf("%d bytes, header % x, checksum %#x", len(out)-14, h, sum(h))
			}
			if h[8] != 64 || h[9] != 1 || binary.BigEndian.Uint16(h[4:]) == 0 || !bytes.Equal(h[12:20], []byte{10, 0, 1, 1, 10, 0, 1, 10}) {
				t.Errorf("header % x", h)
			}
			if body[0] != c.typ || body[1] != c.code || binary.BigEndian.Uint32(body[4:]) != c.word || sum(body) != 0 {
				t.Errorf("ICMP % x, checksum %#x", body[:8], sum(body))
			}
			if !bytes.Equal(body[8:], in[14:14+548]) {
				t.Error("the quote is not the beginning of the packet")
			}
		})
	}
}

func TestT23_IPv6ErrorsAreWellFormed(t *testing.T) {
	in := frame6(layers.IPProtocolUDP, udp(1400), nil)
	for name, c := range map[string]struct {
		kind      Kind
		typ, code byte
		word      uint32
	}{
		"time exceeded":       {TTLExceeded, 3, 0, 0},
		"no route":            {NetUnreachable, 1, 0, 0},
		"address unreachable": {HostUnreachable, 1, 3, 0},
		"port unreachable":    {PortUnreachable, 1, 4, 0},
		"packet too big":      {TooBig, 2, 0, 1418},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := ICMPError(in, c.kind, ip("2001:db8:1::1"), 1418)
			if err != nil {
				t.Fatal(err)
			}
			h, body := out[14:54], out[54:]
			if len(out)-14 != 1280 || int(binary.BigEndian.Uint16(h[4:])) != len(body) || h[6] != 58 || h[7] != 64 {
				t.Errorf("%d bytes, header % x", len(out)-14, h)
			}
			if src, dst := netip.AddrFrom16([16]byte(h[8:24])), netip.AddrFrom16([16]byte(h[24:])); src != ip("2001:db8:1::1") || dst != ip("2001:db8:1::10") {
				t.Errorf("%s to %s", src, dst)
			}
			if body[0] != c.typ || body[1] != c.code || binary.BigEndian.Uint32(body[4:]) != c.word {
				t.Errorf("ICMPv6 % x", body[:8])
			}
			if pseudo := append(bytes.Clone(h[8:40]), 0, 0, byte(len(body)>>8), byte(len(body)), 0, 0, 0, 58); sum(pseudo, body) != 0 {
				t.Errorf("checksum off by %#x", sum(pseudo, body))
			}
			if !bytes.Equal(body[8:], in[14:14+1232]) {
				t.Error("the quote is not the beginning of the packet")
			}
		})
	}
}

func TestTheQuoteIsThePacketWithoutPaddingOfTheFrame(t *testing.T) {
	for name, c := range map[string]struct {
		in   []byte
		from string
		size int // of the IP packet sent
	}{
		"IPv4, padded to 60 bytes": {frame4(layers.IPProtocolUDP, udp(8), nil), "10.0.1.1", 20 + 8 + 28},
		"IPv6, with a trailer":     {append(frame6(layers.IPProtocolUDP, udp(8), nil), 1, 2, 3, 4, 5), "2001:db8:1::1", 40 + 8 + 48},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := ICMPError(c.in, TTLExceeded, ip(c.from), 0)
			if err != nil {
				t.Fatal(err)
			}
			if len(out) < 14+c.size || len(bytes.Trim(out[14+c.size:], "\x00")) != 0 {
				t.Errorf("%d bytes, want %d", len(out)-14, c.size)
			}
		})
	}
}

func TestTagsGoBackAsTheyCame(t *testing.T) {
	one := frame4(layers.IPProtocolTCP, udp(20), nil, &layers.Dot1Q{VLANIdentifier: 7, Priority: 3})
	two := frame6(layers.IPProtocolTCP, udp(20), nil, &layers.Dot1Q{VLANIdentifier: 8}, &layers.Dot1Q{VLANIdentifier: 9})
	for _, c := range []struct {
		in   []byte
		from string
		tags int
	}{{one, "10.0.1.1", 1}, {two, "2001:db8:1::1", 2}} {
		out, err := ICMPError(c.in, TTLExceeded, ip(c.from), 0)
		if err != nil {
			t.Fatal(err)
		}
		if n := 14 + 4*c.tags; !bytes.Equal(out[12:n], c.in[12:n]) {
			t.Errorf("header % x, received % x", out[:n], c.in[:n])
		}
	}
}

func TestNoErrorIsSentFor(t *testing.T) {
	type edit4 = func(*layers.Ethernet, *layers.IPv4)
	type edit6 = func(*layers.Ethernet, *layers.IPv6)
	src4 := func(a string) edit4 { return func(_ *layers.Ethernet, h *layers.IPv4) { h.SrcIP = ip(a).AsSlice() } }
	dst4 := func(a string) edit4 { return func(_ *layers.Ethernet, h *layers.IPv4) { h.DstIP = ip(a).AsSlice() } }
	src6 := func(a string) edit6 { return func(_ *layers.Ethernet, h *layers.IPv6) { h.SrcIP = ip(a).AsSlice() } }
	dst6 := func(a string) edit6 { return func(_ *layers.Ethernet, h *layers.IPv6) { h.DstIP = ip(a).AsSlice() } }
	ether4 := func(m string) edit4 { return func(e *layers.Ethernet, _ *layers.IPv4) { e.DstMAC = mac(m) } }
	fragment := append([]byte{58, 0, 0, 8, 0, 0, 0, 1}, udp(40)...)
	icmp := func(t byte) []byte { return []byte{t, 0, 0, 0, 0, 0, 0, 0} }
	cases := map[string][]byte{
		"v4: an ICMP error":                        frame4(layers.IPProtocolICMPv4, icmp(3), nil),
		"v4: an ICMP time exceeded":                frame4(layers.IPProtocolICMPv4, icmp(11), nil),
		"v4: an ICMP redirect":                     frame4(layers.IPProtocolICMPv4, icmp(5), nil),
		"v4: an ICMP of unknown type":              frame4(layers.IPProtocolICMPv4, icmp(200), nil),
		"v4: an ICMP without a type":               frame4(layers.IPProtocolICMPv4, nil, nil),
		"v4: a later fragment":                     frame4(layers.IPProtocolUDP, udp(40), func(_ *layers.Ethernet, h *layers.IPv4) { h.FragOffset = 5 }),
		"v4: a multicast destination":              frame4(layers.IPProtocolUDP, udp(40), dst4("224.0.0.251")),
		"v4: a broadcast destination":              frame4(layers.IPProtocolUDP, udp(40), dst4("255.255.255.255")),
		"v4: a broadcast frame":                    frame4(layers.IPProtocolUDP, udp(40), ether4("ff:ff:ff:ff:ff:ff")),
		"v4: a multicast frame":                    frame4(layers.IPProtocolUDP, udp(40), ether4("01:00:5e:00:00:01")),
		"v4: source unspecified":                   frame4(layers.IPProtocolUDP, udp(40), src4("0.0.0.0")),
		"v4: source loopback":                      frame4(layers.IPProtocolUDP, udp(40), src4("127.0.0.1")),
		"v4: source multicast":                     frame4(layers.IPProtocolUDP, udp(40), src4("224.0.0.1")),
		"v4: source broadcast":                     frame4(layers.IPProtocolUDP, udp(40), src4("255.255.255.255")),
		"v4: source reserved":                      frame4(layers.IPProtocolUDP, udp(40), src4("240.0.0.1")),
		"v6: an ICMPv6 error":                      frame6(layers.IPProtocolICMPv6, icmp(1), nil),
		"v6: an ICMPv6 redirect":                   frame6(layers.IPProtocolICMPv6, icmp(137), nil),
		"v6: an error behind extension headers":    frame6(layers.IPProtocolIPv6HopByHop, append([]byte{60, 0, 1, 4, 0, 0, 0, 0, 58, 0, 1, 4, 0, 0, 0, 0}, icmp(3)...), nil),
		"v6: a later fragment":                     frame6(layers.IPProtocolIPv6Fragment, fragment, nil),
		"v6: a multicast destination":              frame6(layers.IPProtocolUDP, udp(40), dst6("ff0e::1")),
		"v6: source unspecified":                   frame6(layers.IPProtocolUDP, udp(40), src6("::")),
		"v6: source multicast":                     frame6(layers.IPProtocolUDP, udp(40), src6("ff02::1")),
		"v6: source loopback":                      frame6(layers.IPProtocolUDP, udp(40), src6("::1")),
		"v6: a multicast frame":                    frame6(layers.IPProtocolUDP, udp(40), func(e *layers.Ethernet, _ *layers.IPv6) { e.DstMAC = mac("33:33:00:00:00:01") }),
		"a frame from a group address (a forgery)": frame4(layers.IPProtocolUDP, udp(40), func(e *layers.Ethernet, _ *layers.IPv4) { e.SrcMAC = mac("01:00:00:00:00:01") }),
	}
	for name, in := range cases {
		t.Run(name, func(t *testing.T) {
			from := "10.0.1.1"
			if strings.HasPrefix(name, "v6") {
				from = "2001:db8:1::1"
			}
			if out, err := ICMPError(in, TTLExceeded, ip(from), 0); !errors.Is(err, ErrNoAnswer) {
				t.Errorf("answer % x, error %v", out, err)
			}
		})
	}
}

func TestErrorsAreSentFor(t *testing.T) {
	first := append([]byte{17, 0, 0, 1, 0, 0, 0, 1}, udp(40)...)
	for name, c := range map[string]struct {
		in   []byte
		kind Kind
		from string
	}{
		"v4: an echo request":       {frame4(layers.IPProtocolICMPv4, []byte{8, 0, 0, 0, 0, 1, 0, 1}, nil), TTLExceeded, "10.0.1.1"},
		"v4: an echo reply":         {frame4(layers.IPProtocolICMPv4, []byte{0, 0, 0, 0, 0, 1, 0, 1}, nil), TTLExceeded, "10.0.1.1"},
		"v4: a first fragment":      {frame4(layers.IPProtocolUDP, udp(40), func(_ *layers.Ethernet, h *layers.IPv4) { h.Flags = layers.IPv4MoreFragments }), TTLExceeded, "10.0.1.1"},
		"v6: an echo request":       {frame6(layers.IPProtocolICMPv6, []byte{128, 0, 0, 0, 0, 1, 0, 1}, nil), TTLExceeded, "2001:db8:1::1"},
		"v6: a first fragment":      {frame6(layers.IPProtocolIPv6Fragment, first, nil), TTLExceeded, "2001:db8:1::1"},
		"v6: too big for multicast": {frame6(layers.IPProtocolUDP, udp(40), func(_ *layers.Ethernet, h *layers.IPv6) { h.DstIP = ip("ff0e::1").AsSlice() }), TooBig, "fe80::1"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ICMPError(c.in, c.kind, ip(c.from), 1400); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestArgumentsThatDoNotFitAreErrors(t *testing.T) {
	v4, v6 := frame4(layers.IPProtocolUDP, udp(40), nil), frame6(layers.IPProtocolUDP, udp(40), nil)
	for name, c := range map[string]struct {
		in   []byte
		kind Kind
		from netip.Addr
		mtu  int
	}{
		"an IPv6 router for an IPv4 packet": {v4, TTLExceeded, ip("2001:db8::1"), 0},
		"an IPv4 router for an IPv6 packet": {v6, TTLExceeded, ip("10.0.0.1"), 0},
		"no router address":                 {v4, TTLExceeded, netip.Addr{}, 0},
		"a multicast router address":        {v4, TTLExceeded, ip("224.0.0.1"), 0},
		"no kind":                           {v4, 0, ip("10.0.0.1"), 0},
		"no MTU":                            {v4, TooBig, ip("10.0.0.1"), 0},
		"an MTU below that of IPv6":         {v6, TooBig, ip("2001:db8::1"), 1279},
		"an ARP packet":                     {GARP([6]byte{2}, ip("10.0.0.1")), TTLExceeded, ip("10.0.0.1"), 0},
		"a short frame":                     {v4[:20], TTLExceeded, ip("10.0.0.1"), 0},
		"no frame":                          {nil, TTLExceeded, ip("10.0.0.1"), 0},
	} {
		t.Run(name, func(t *testing.T) {
			if out, err := ICMPError(c.in, c.kind, c.from, c.mtu); err == nil {
				t.Errorf("answer % x", out)
			}
		})
	}
}

func FuzzICMPError(f *testing.F) {
	f.Add(frame4(layers.IPProtocolUDP, udp(40), nil))
	f.Add(frame6(layers.IPProtocolIPv6HopByHop, append([]byte{44, 0, 1, 4, 0, 0, 0, 0, 58, 0, 0, 0, 0, 0, 0, 0}, udp(16)...), nil))
	f.Add(frame4(layers.IPProtocolICMPv4, nil, nil, &layers.Dot1Q{VLANIdentifier: 7}, &layers.Dot1Q{VLANIdentifier: 8}))
	f.Add(frame6(layers.IPProtocolAH, []byte{58, 255, 0}, nil))
	f.Fuzz(func(t *testing.T, in []byte) {
		before := bytes.Clone(in)
		for kind := TTLExceeded; kind <= TooBig; kind++ {
			for from, limit := range map[string]int{"10.0.1.1": 576, "2001:db8::1": 1280} {
				out, err := ICMPError(in, kind, ip(from), 1400)
				if err == nil && (len(out) > 14+4*maxTags+limit || out[0]&1 != 0 && in[6]&1 == 0) {
					t.Errorf("answer of %d bytes: % x", len(out), out)
				}
				if err == nil {
					if _, err := ICMPError(out, kind, ip(from), 1400); !errors.Is(err, ErrNoAnswer) {
						t.Errorf("an error would be answered with an error: %v", err)
					}
				}
			}
		}
		if !bytes.Equal(before, in) {
			t.Error("the frame was changed")
		}
	})
}
