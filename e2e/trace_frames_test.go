//go:build integration

package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"golang.org/x/sys/unix"

	"tuplenet/e2e/lab"
	"tuplenet/flows/of"
)

// Frames that are known again wherever they are captured: their payload says which one it is.

// token marks the n-th frame.
func token(n int) []byte { return fmt.Appendf(nil, "<tuplenet-trace-%04d>", n) }

// frame builds the packet that a match describes, of that many bytes of IP, with a token and, for pings, an identifier of its own.
func frame(t *testing.T, match string, n, size int) []byte {
	t.Helper()
	m, err := of.ParseMatch(match)
	if err != nil {
		t.Fatal(err)
	}
	get := func(f of.Field) of.Value { term, _ := m.Get(f); return term.Value }
	has := func(f of.Field) bool { _, ok := m.Get(f); return ok }
	mac := func(f of.Field) net.HardwareAddr { a := get(f).MAC(); return a[:] }
	all := []gopacket.SerializableLayer{&layers.Ethernet{SrcMAC: mac(of.EthSrc), DstMAC: mac(of.EthDst), EthernetType: layers.EthernetType(get(of.EthType).Lo)}}
	var ip gopacket.NetworkLayer
	header, proto := 0, layers.IPProtocol(get(of.IPProto).Lo)
	if has(of.IPSrc) {
		p := &layers.IPv4{Version: 4, TTL: uint8(get(of.IPTTL).Lo), Protocol: proto, SrcIP: get(of.IPSrc).Addr4().AsSlice(), DstIP: get(of.IPDst).Addr4().AsSlice(), Flags: layers.IPv4DontFragment}
		all, ip, header = append(all, p), p, 20
	} else {
		p := &layers.IPv6{Version: 6, HopLimit: uint8(get(of.IPTTL).Lo), NextHeader: proto, SrcIP: get(of.IPv6Src).Addr6().AsSlice(), DstIP: get(of.IPv6Dst).Addr6().AsSlice()}
		all, ip, header = append(all, p), p, 40
	}
	switch {
	case has(of.TCPSrc):
		tcp := &layers.TCP{SrcPort: layers.TCPPort(get(of.TCPSrc).Lo), DstPort: layers.TCPPort(get(of.TCPDst).Lo), SYN: true, Window: 1000}
		check(t, tcp.SetNetworkLayerForChecksum(ip))
		all, header = append(all, tcp), header+20
	case has(of.UDPSrc):
		udp := &layers.UDP{SrcPort: layers.UDPPort(get(of.UDPSrc).Lo), DstPort: layers.UDPPort(get(of.UDPDst).Lo)}
		check(t, udp.SetNetworkLayerForChecksum(ip))
		all, header = append(all, udp), header+8
	case has(of.IPSrc):
		all, header = append(all, &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(8, 0), Id: uint16(n)}), header+8
	default:
		icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(128, 0)}
		check(t, icmp.SetNetworkLayerForChecksum(ip))
		all, header = append(all, icmp, &layers.ICMPv6Echo{Identifier: uint16(n)}), header+8
	}
	payload := append(token(n), make([]byte, max(0, size-header-len(token(n))))...)
	b := gopacket.NewSerializeBuffer()
	check(t, gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, append(all, gopacket.Payload(payload))...))
	return b.Bytes()
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// transmit sends a frame from the workload's eth0, as it is.
func transmit(w *lab.Workload, frame []byte) error {
	return w.InNet(func() error {
		dev, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		err = unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: dev.Index})
		return errors.Join(err, unix.Close(fd))
	})
}

// seen is a frame with a token, in a capture.
type seen struct {
	where  string // the workload that captured it
	header string // what headersOf says
	answer bool   // an echo reply
}

// sightings are the frames with tokens of a capture file, by the number of the token, without ICMP errors about them.
func sightings(where, file string) (map[int][]seen, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := pcapgo.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	all := map[int][]seen{}
	for {
		b, _, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) { // not all of it is written yet
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		_, text, ok := bytes.Cut(b, []byte("<tuplenet-trace-"))
		n := 0
		if !ok {
			continue
		}
		if _, err := fmt.Sscanf(string(text[:min(len(text), 5)]), "%04d>", &n); err != nil {
			continue
		}
		if header, answer, ok := headersOf(b); ok {
			all[n] = append(all[n], seen{where, header, answer})
		}
	}
}

// headersOf is addresses, ports and TTL of a frame, in the words of flows. ok is false for ICMP errors and what is in a tunnel.
func headersOf(b []byte) (text string, answer, ok bool) {
	p := gopacket.NewPacket(b, layers.LayerTypeEthernet, gopacket.Default)
	var parts []string
	add := func(f of.Field, v of.Value) { parts = append(parts, of.Eq(f, v).String()) }
	for _, l := range p.Layers() {
		switch l := l.(type) {
		case *layers.Ethernet:
			add(of.EthSrc, of.MAC([6]byte(l.SrcMAC)))
			add(of.EthDst, of.MAC([6]byte(l.DstMAC)))
		case *layers.IPv4:
			parts = append(parts, fmt.Sprintf("nw_ttl=%d ip_src=%s ip_dst=%s", l.TTL, l.SrcIP, l.DstIP))
		case *layers.IPv6:
			parts = append(parts, fmt.Sprintf("nw_ttl=%d ipv6_src=%s ipv6_dst=%s", l.HopLimit, l.SrcIP, l.DstIP))
		case *layers.TCP:
			parts = append(parts, fmt.Sprintf("tcp_src=%d tcp_dst=%d", l.SrcPort, l.DstPort))
		case *layers.UDP:
			if l.DstPort == 6081 || l.DstPort == 4789 {
				return "", false, false // in a tunnel
			}
			parts = append(parts, fmt.Sprintf("udp_src=%d udp_dst=%d", l.SrcPort, l.DstPort))
		case *layers.ICMPv4:
			kind := l.TypeCode.Type()
			if kind != 0 && kind != 8 {
				return "", false, false
			}
			answer = kind == 0
			parts = append(parts, fmt.Sprintf("icmp_type=%d", kind))
		case *layers.ICMPv6:
			kind := l.TypeCode.Type()
			if kind != 128 && kind != 129 {
				return "", false, false
			}
			answer = kind == 129
			parts = append(parts, fmt.Sprintf("icmpv6_type=%d", kind))
		}
	}
	return strings.Join(parts, " "), answer, true
}

// describedHeaders is headersOf of a packet that a match describes.
func describedHeaders(t *testing.T, match string) string {
	t.Helper()
	m, err := of.ParseMatch(match)
	if err != nil {
		t.Fatal(err)
	}
	var parts []string
	for _, f := range []of.Field{of.EthSrc, of.EthDst, of.IPTTL, of.IPSrc, of.IPDst, of.IPv6Src, of.IPv6Dst, of.TCPSrc, of.TCPDst, of.UDPSrc, of.UDPDst, of.ICMPType, of.ICMPv6Type} {
		if term, ok := m.Get(f); ok {
			parts = append(parts, term.String())
		}
	}
	return strings.Join(parts, " ")
}

// watchers capture at every place where a frame can arrive.
type watchers struct {
	places   map[string]*lab.Workload
	captures map[string]*lab.Capture
}

func watchAll(ctx context.Context, places map[string]*lab.Workload) (*watchers, error) {
	w := &watchers{places, map[string]*lab.Capture{}}
	for name, at := range places {
		c, err := at.Capture(ctx, "")
		if err != nil {
			return nil, err
		}
		w.captures[name] = c
	}
	return w, nil
}

// seen are all sightings up to now.
func (w *watchers) seen() (map[int][]seen, error) {
	all := map[int][]seen{}
	for name, c := range w.captures {
		some, err := sightings(name, c.File)
		if err != nil {
			return nil, err
		}
		for n, s := range some {
			all[n] = append(all[n], s...)
		}
	}
	return all, nil
}

func (w *watchers) stop(ctx context.Context) error {
	var failed []error
	for _, c := range w.captures {
		_, err := c.Stop(ctx)
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}
