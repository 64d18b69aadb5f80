//go:build integration

package sim_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"tuplenet/datapath/ovstest"
	"tuplenet/flows/of"
	"tuplenet/flows/sim"
)

// The bucket that a select group takes is the one that Open vSwitch takes, by every field that groups of ours hash by, with
// weights and ids of their own.
func TestSelectGroupsChooseAsOpenVSwitchDoes(t *testing.T) {
	k := ovstest.Start(t, ovstest.Config{Ports: []string{"p1", "p2", "p3", "p4", "p5"}})
	for i, fields := range [][]of.Field{
		{of.IPDst}, {of.IPSrc}, {of.EthSrc}, {of.IPv6Dst}, {of.IPv6Src},
		{of.IPSrc, of.IPDst, of.IPProto, of.TCPSrc, of.TCPDst, of.UDPSrc, of.UDPDst},
		{of.IPv6Src, of.IPv6Dst, of.IPProto, of.TCPSrc, of.TCPDst, of.UDPSrc, of.UDPDst},
	} {
		g := of.Group{ID: uint32(i + 1), Type: of.GroupSelect, Hash: &of.HashSelection{Method: of.MethodHash, Fields: fields}}
		for n := uint32(1); n <= 3; n++ {
			g.Buckets = append(g.Buckets, of.Bucket{ID: n * 77777, Weight: uint16(n), Actions: []of.Action{of.Output{Port: n + 1}}})
		}
		family := "ip"
		if v6 := fmt.Sprint(fields); strings.Contains(v6, "ipv6") {
			family = "ipv6"
		}
		flow := fmt.Sprintf("table=0,priority=%d,in_port=1,%s,eth_dst=00:00:00:00:00:%02x actions=group:%d", i, family, i, g.ID)
		k.Ofctl("add-group", g.String())
		k.Ofctl("add-flow", flow)
		sw, err := sim.New(sim.Config{Flows: parse(t, flow), Groups: []of.Group{g}})
		if err != nil {
			t.Fatal(err)
		}
		for n := range 60 {
			tr := sw.Run(spread(t, family, i, n), 1)
			if len(tr.Outputs) != 1 {
				t.Fatalf("%d outputs", len(tr.Outputs))
			}
			text := k.Trace(tr.Passes[0].Packet.String())
			c := tr.Steps[0].Choices[0]
			if want := fmt.Sprintf("bucket %d", g.Buckets[c.Bucket].ID); !strings.Contains(text, want) || !c.Predicted {
				t.Fatalf("fields %v: %s is said to take %s\n%s", fields, tr.Passes[0].Packet.String(), want, text)
			}
		}
	}
}

// spread is the n-th of packets that differ in everything that groups hash by.
func spread(t *testing.T, family string, i, n int) sim.Packet {
	proto := []string{"tcp", "udp", "icmp"}[n%3]
	p := packet(t, fmt.Sprintf("%s,eth_src=f2:01:00:00:01:%02x,eth_dst=00:00:00:00:00:%02x", strings.Replace(proto, "icmp", family, 1)+map[bool]string{true: "6"}[family == "ipv6" && n%3 < 2], n, i))
	if family == "ip" {
		p.Set(of.IPSrc, of.Addr(netip.AddrFrom4([4]byte{10, 1, byte(n * 7), byte(n)})))
		p.Set(of.IPDst, of.Addr(netip.AddrFrom4([4]byte{192, 168, byte(n), byte(n * 3)})))
	} else {
		p.Set(of.IPv6Src, of.Addr(netip.AddrFrom16([16]byte{0xfd, 1, 2, 3, 15: byte(n)})))
		p.Set(of.IPv6Dst, of.Addr(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 9: byte(n * 5), 15: byte(n * 3)})))
	}
	src, dst := of.TCPSrc, of.TCPDst
	if proto == "udp" {
		src, dst = of.UDPSrc, of.UDPDst
	}
	p.Set(src, of.U(uint64(1000+n)))
	p.Set(dst, of.U(uint64(80+n*11)))
	return p
}
