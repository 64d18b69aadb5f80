//go:build integration

package sim_test

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"pgregory.net/rapid"

	"tuplenet/datapath/ovstest"
	"tuplenet/flows/of"
	"tuplenet/flows/sim"
)

// tracking is four ways through connection tracking, that of each in-port in its own way; the state ends up in the last
// byte of the source MAC. From port 5 to 4 a packet takes the steps that it takes in an edge's router.
const tracking = `
table=0,in_port=8,ip actions=ct(commit,zone=5,nat(src=192.0.2.1),table=1)
table=0,in_port=9,ip actions=ct(zone=5,nat,table=1)
table=0,in_port=7,ip actions=ct(commit,zone=6,nat(dst=10.0.0.7),table=1)
table=0,in_port=6,ip actions=ct(zone=6,nat,table=1)
table=0,in_port=5,ip actions=ct(zone=5,nat,table=10)
table=0,in_port=8,ipv6 actions=ct(commit,zone=5,nat(src=fd00::1),table=1)
table=0,in_port=9,ipv6 actions=ct(zone=5,nat,table=1)
table=0,in_port=7,ipv6 actions=ct(commit,zone=6,nat(dst=fd00::10:7),table=1)
table=0,in_port=6,ipv6 actions=ct(zone=6,nat,table=1)
table=0,in_port=5,ipv6 actions=ct(zone=5,nat,table=10)
table=1 actions=move:ct_state[0..7]->eth_src[0..7],resubmit(,2)
table=2,in_port=8 actions=output:9
table=2,in_port=9 actions=output:8
table=2,in_port=7 actions=output:6
table=2,in_port=6 actions=output:7
table=2,in_port=5 actions=output:4
table=10,priority=2,ip,ip_dst=192.0.2.7 actions=ct(commit,zone=6,nat(dst=10.0.0.7),table=11)
table=10,priority=2,ipv6,ipv6_dst=fd00::7 actions=ct(commit,zone=6,nat(dst=fd00::10:7),table=11)
table=10,priority=1 actions=resubmit(,11)
table=11,priority=2,ip,ip_src=10.0.0.7 actions=ct(zone=6,nat,table=12)
table=11,priority=2,ipv6,ipv6_src=fd00::10:7 actions=ct(zone=6,nat,table=12)
table=11,priority=1 actions=resubmit(,12)
table=12,priority=2,ip,ip_src=10.0.0.0/8 actions=ct(commit,zone=5,nat(src=192.0.2.1),table=1)
table=12,priority=2,ipv6,ipv6_src=fd00::10:0/112 actions=ct(commit,zone=5,nat(src=fd00::1),table=1)
table=12,priority=1 actions=resubmit(,1)`

// tracker is a real switch with these flows, whose ports write what they send to files.
type tracker struct {
	sw    *ovstest.Switch
	files map[uint32]*os.File // where ports write what they send, read up to the last whole packet
}

func newTracker(t *testing.T) *tracker {
	k := &tracker{files: map[uint32]*os.File{}}
	var ports []string
	for i := 1; i <= 9; i++ {
		ports = append(ports, fmt.Sprintf("p%d", i))
	}
	k.sw = ovstest.Start(t, ovstest.Config{Ports: ports})
	flows := filepath.Join(t.TempDir(), "flows")
	if err := os.WriteFile(flows, []byte(strings.TrimSpace(tracking)), 0o600); err != nil {
		t.Fatal(err)
	}
	k.sw.Ofctl("add-flows", flows)
	for i := uint32(4); i <= 9; i++ {
		file := filepath.Join(k.sw.Dir(), fmt.Sprintf("p%d.pcap", i))
		k.sw.Vsctl("set", "interface", fmt.Sprintf("p%d", i), "options:tx_pcap="+file)
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() }) // it was read
		if _, err = f.Seek(pcapHeader, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		k.files[i] = f
	}
	return k
}

// Sizes of the headers of a capture file and of a packet in it (libpcap's savefile format).
const (
	pcapHeader   = 24
	recordHeader = 16
)

// next reads the next packet of a file, nil if there is none yet, or not all of it.
func next(f *os.File) ([]byte, error) {
	at, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 2048)
	n, err := f.ReadAt(b, at)
	if err != nil && !errors.Is(err, io.EOF) || n < recordHeader {
		return nil, ignoreEOF(err)
	}
	size := int(binary.NativeEndian.Uint32(b[8:12]))
	if n < recordHeader+size {
		return nil, nil
	}
	_, err = f.Seek(int64(recordHeader+size), io.SeekCurrent)
	return b[recordHeader : recordHeader+size], err
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// send gives the switch a packet, and returns where it left, and with what.
func (k *tracker) send(t *rapid.T, port uint32, frame []byte) (uint32, sim.Packet) {
	t.Helper()
	k.sw.Receive(fmt.Sprintf("p%d", port), frame)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for limit := time.After(time.Minute); ; {
		for port, f := range k.files {
			b, err := next(f)
			if err != nil {
				t.Fatalf("port %d: %v", port, err)
			}
			if b != nil {
				return port, dissect(b)
			}
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("nothing left the switch in a minute")
		}
	}
}

// dissect reads what flows and connection tracking know of a frame.
func dissect(b []byte) (p sim.Packet) {
	packet := gopacket.NewPacket(b, layers.LayerTypeEthernet, gopacket.Default)
	p.Length = len(b)
	for _, l := range packet.Layers() {
		switch l := l.(type) {
		case *layers.Ethernet:
			p.Set(of.EthSrc, of.MAC([6]byte(l.SrcMAC)))
			p.Set(of.EthDst, of.MAC([6]byte(l.DstMAC)))
			p.Set(of.EthType, of.U(uint64(l.EthernetType)))
		case *layers.IPv4:
			p.Set(of.IPProto, of.U(uint64(l.Protocol)))
			p.Set(of.IPTTL, of.U(uint64(l.TTL)))
			p.Set(of.IPSrc, of.Addr(netip.AddrFrom4([4]byte(l.SrcIP.To4()))))
			p.Set(of.IPDst, of.Addr(netip.AddrFrom4([4]byte(l.DstIP.To4()))))
		case *layers.IPv6:
			p.Set(of.IPProto, of.U(uint64(l.NextHeader)))
			p.Set(of.IPTTL, of.U(uint64(l.HopLimit)))
			p.Set(of.IPv6Src, of.Addr(netip.AddrFrom16([16]byte(l.SrcIP))))
			p.Set(of.IPv6Dst, of.Addr(netip.AddrFrom16([16]byte(l.DstIP))))
		case *layers.UDP:
			p.Set(of.UDPSrc, of.U(uint64(l.SrcPort)))
			p.Set(of.UDPDst, of.U(uint64(l.DstPort)))
		case *layers.ICMPv4:
			p.Set(of.ICMPType, of.U(uint64(l.TypeCode.Type())))
			p.ICMPID = l.Id
		case *layers.ICMPv6:
			p.Set(of.ICMPv6Type, of.U(uint64(l.TypeCode.Type())))
		case *layers.ICMPv6Echo:
			p.ICMPID = l.Identifier
		}
	}
	return p
}

// anyFrame draws a ping, its answer, or UDP, between few addresses, ports and identifiers, so that they meet.
func anyFrame(t *rapid.T) []byte {
	six := rapid.Bool().Draw(t, "IPv6")
	addresses := []string{"10.0.0.1", "10.0.0.2", "10.0.0.7", "192.0.2.1", "192.0.2.7", "8.8.8.8"}
	if six {
		addresses = []string{"fd00::10:1", "fd00::10:2", "fd00::10:7", "fd00::1", "fd00::7", "2001:db8::8"}
	}
	src := net.ParseIP(rapid.SampledFrom(addresses).Draw(t, "source"))
	dst := net.ParseIP(rapid.SampledFrom(addresses).Draw(t, "destination"))
	ports := rapid.SampledFrom([]uint16{53, 511, 560, 1023, 5000, 65535})
	id := rapid.Uint16Range(1, 2).Draw(t, "identifier")
	kind := rapid.IntRange(0, 3).Draw(t, "kind") // 0 query, 1 answer, 2 and 3 UDP
	udp := &layers.UDP{SrcPort: layers.UDPPort(ports.Draw(t, "source port")), DstPort: layers.UDPPort(ports.Draw(t, "port"))}
	eth := &layers.Ethernet{SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 0}, DstMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, EthernetType: layers.EthernetTypeIPv4}
	if !six {
		ip := &layers.IPv4{Version: 4, TTL: 64, SrcIP: src, DstIP: dst, Protocol: layers.IPProtocolUDP}
		_ = udp.SetNetworkLayerForChecksum(ip) // it is a network layer
		if kind > 1 {
			return serialize(t, eth, ip, udp, gopacket.Payload("hello"))
		}
		ip.Protocol = layers.IPProtocolICMPv4
		return serialize(t, eth, ip, &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(uint8(8-8*kind), 0), Id: id})
	}
	eth.EthernetType = layers.EthernetTypeIPv6
	ip := &layers.IPv6{Version: 6, HopLimit: 64, SrcIP: src, DstIP: dst, NextHeader: layers.IPProtocolUDP}
	_ = udp.SetNetworkLayerForChecksum(ip)
	if kind > 1 {
		return serialize(t, eth, ip, udp, gopacket.Payload("hello"))
	}
	ip.NextHeader = layers.IPProtocolICMPv6
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(uint8(128+kind), 0)}
	_ = icmp.SetNetworkLayerForChecksum(ip)
	return serialize(t, eth, ip, icmp, &layers.ICMPv6Echo{Identifier: id})
}

func serialize(t *rapid.T, ls ...gopacket.SerializableLayer) []byte {
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ls...); err != nil {
		t.Fatalf("%v", err)
	}
	return b.Bytes()
}

// The simulator's connection tracking and that of Open vSwitch's userspace datapath do the same to random packets, one
// after the other: port, addresses, ports, identifier, state. TCP is left out: its real state depends on flags and
// sequence numbers.
func TestConnectionsAgreeWithOpenVSwitch(t *testing.T) {
	k := newTracker(t)
	f := flag.Lookup("rapid.nofailfile")
	old := f.Value.String()
	if err := f.Value.Set("true"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Value.Set(old) }) // it was its value
	rapid.Check(t, func(r *rapid.T) {
		k.sw.Appctl("dpctl/flush-conntrack")
		sw := build(t, nil, tracking)
		for i := range 40 {
			b := anyFrame(r)
			port := rapid.Uint32Range(5, 9).Draw(r, "in-port")
			tr := sw.Run(dissect(b), port)
			if tr.Err != nil || len(tr.Outputs) != 1 {
				r.Fatalf("%d outputs, %v", len(tr.Outputs), tr.Err)
			}
			told := tr.Outputs[0]
			at, p := k.send(r, port, b)
			want := fmt.Sprint(told.Port, wire(told.Packet), told.Packet.ICMPID)
			if got := fmt.Sprint(at, wire(p), p.ICMPID); got != want {
				in := dissect(b)
				r.Fatalf("packet %d, %s into port %d:\nthe simulator says %s,\nthe switch         %s\n%v", i, wire(in), port, want, got, tr.Last().Notes)
			}
		}
	})
}

// wire is what of a packet is on the wire.
func wire(p sim.Packet) string {
	var m of.Match
	for _, t := range p.Match() {
		if t.Field >= of.EthSrc && t.Field < of.CTNwProto {
			m = append(m, t)
		}
	}
	return m.String()
}
