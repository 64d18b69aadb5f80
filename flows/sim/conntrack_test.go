package sim_test

import (
	"strings"
	"testing"

	"tuplenet/flows/of"
)

// A translating switch: the inside is at port 8, the outside at 9. States are the bits of
// of.CTNew and so on: 0x61 is new, translated at its source.
const nat44 = `
table=0,in_port=8,ip actions=ct(commit,zone=5,nat(src=192.0.2.1),table=1)
table=0,in_port=9,ip actions=ct(zone=5,nat,table=1)
table=0,in_port=7,ip,ip_dst=192.0.2.7 actions=ct(commit,zone=6,nat(dst=10.0.0.7),table=1)
table=0,in_port=6,ip actions=ct(zone=6,nat,table=1)
table=1,in_port=8 actions=output:9
table=1,in_port=9 actions=output:8
table=1,in_port=7 actions=output:6
table=1,in_port=6 actions=output:7`

// Packets of connections that begin inside get an address, and a free port, and their replies lose them again.
func TestConnections(t *testing.T) {
	type sent struct {
		port   uint32
		packet string
		id     uint16
		want   string
	}
	for name, packets := range map[string][]sent{
		"out and back": {
			{8, "udp,ip_src=10.0.0.1,ip_dst=8.8.8.8,udp_src=5000,udp_dst=53", 0, "9,ct_state=0x61,ip_src=192.0.2.1,ip_dst=8.8.8.8,udp_src=5000,udp_dst=53"},
			{8, "udp,ip_src=10.0.0.1,ip_dst=8.8.8.8,udp_src=5000,udp_dst=53", 0, "9,ct_state=0x61,ip_src=192.0.2.1,ip_dst=8.8.8.8,udp_src=5000,udp_dst=53"},
			{9, "udp,ip_src=8.8.8.8,ip_dst=192.0.2.1,udp_src=53,udp_dst=5000", 0, "8,ct_state=0xaa,ip_src=8.8.8.8,ip_dst=10.0.0.1,udp_src=53,udp_dst=5000"},
			{8, "udp,ip_src=10.0.0.1,ip_dst=8.8.8.8,udp_src=5000,udp_dst=53", 0, "9,ct_state=0x62,ip_src=192.0.2.1,ip_dst=8.8.8.8,udp_src=5000,udp_dst=53"},
			{9, "udp,ip_src=8.8.8.8,ip_dst=192.0.2.1,udp_src=53,udp_dst=5001", 0, "8,ct_state=0x21,ip_src=8.8.8.8,ip_dst=192.0.2.1,udp_src=53,udp_dst=5001"},
		},
		"equal ports of two stations": {
			{8, "udp,ip_src=10.0.0.1,ip_dst=8.8.8.8,udp_src=65535,udp_dst=53", 0, "9,ct_state=0x61,ip_src=192.0.2.1,ip_dst=8.8.8.8,udp_src=65535,udp_dst=53"},
			{8, "udp,ip_src=10.0.0.2,ip_dst=8.8.8.8,udp_src=65535,udp_dst=53", 0, "9,ct_state=0x61,ip_src=192.0.2.1,ip_dst=8.8.8.8,udp_src=1024,udp_dst=53"},
			{8, "udp,ip_src=10.0.0.2,ip_dst=9.9.9.9,udp_src=65535,udp_dst=53", 0, "9,ct_state=0x61,ip_src=192.0.2.1,ip_dst=9.9.9.9,udp_src=65535,udp_dst=53"},
			{9, "udp,ip_src=8.8.8.8,ip_dst=192.0.2.1,udp_src=53,udp_dst=1024", 0, "8,ct_state=0xaa,ip_src=8.8.8.8,ip_dst=10.0.0.2,udp_src=53,udp_dst=65535"},
			{9, "udp,ip_src=8.8.8.8,ip_dst=192.0.2.1,udp_src=53,udp_dst=65535", 0, "8,ct_state=0xaa,ip_src=8.8.8.8,ip_dst=10.0.0.1,udp_src=53,udp_dst=65535"},
		},
		"pings are told apart by their identifier": {
			{8, "icmp,ip_src=10.0.0.1,ip_dst=8.8.8.8,icmp_type=8", 1, "9,ct_state=0x61,ip_src=192.0.2.1,ip_dst=8.8.8.8,udp_src=0,udp_dst=0"},
			{8, "icmp,ip_src=10.0.0.2,ip_dst=8.8.8.8,icmp_type=8", 2, "9,ct_state=0x61,ip_src=192.0.2.1,ip_dst=8.8.8.8,udp_src=0,udp_dst=0"},
			{8, "icmp,ip_src=10.0.0.3,ip_dst=8.8.8.8,icmp_type=8", 2, "9,ct_state=0x21,ip_src=10.0.0.3,ip_dst=8.8.8.8,udp_src=0,udp_dst=0"},
			{9, "icmp,ip_src=8.8.8.8,ip_dst=192.0.2.1,icmp_type=0", 2, "8,ct_state=0xaa,ip_src=8.8.8.8,ip_dst=10.0.0.2,udp_src=0,udp_dst=0"},
			{9, "icmp,ip_src=8.8.8.8,ip_dst=192.0.2.1,icmp_type=0", 1, "8,ct_state=0xaa,ip_src=8.8.8.8,ip_dst=10.0.0.1,udp_src=0,udp_dst=0"},
		},
		"a destination is translated": {
			{7, "udp,ip_src=8.8.8.8,ip_dst=192.0.2.7,udp_src=53,udp_dst=80", 0, "6,ct_state=0xa1,ip_src=8.8.8.8,ip_dst=10.0.0.7,udp_src=53,udp_dst=80"},
			{6, "udp,ip_src=10.0.0.7,ip_dst=8.8.8.8,udp_src=80,udp_dst=53", 0, "7,ct_state=0x6a,ip_src=192.0.2.7,ip_dst=8.8.8.8,udp_src=80,udp_dst=53"},
			{6, "udp,ip_src=10.0.0.7,ip_dst=8.8.8.8,udp_src=81,udp_dst=53", 0, "7,ct_state=0x21,ip_src=10.0.0.7,ip_dst=8.8.8.8,udp_src=81,udp_dst=53"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			sw := build(t, nil, nat44)
			for i, s := range packets {
				p := packet(t, s.packet)
				p.ICMPID = s.id
				if got := verdict(sw.Run(p, s.port), of.CTState, of.IPSrc, of.IPDst, of.UDPSrc, of.UDPDst); got != s.want {
					t.Fatalf("packet %d: got %q, want %q", i, got, s.want)
				}
			}
		})
	}
}

// Zones keep connections apart, marks stay with theirs, and what was translated in a zone is not translated there again.
func TestConnectionsOfZones(t *testing.T) {
	sw := build(t, nil, `
table=0,ip,reg5=0 actions=ct(commit,zone=1,nat(src=192.0.2.1),exec(set_field:7->ct_mark),table=1)
table=0,ip,reg5=1 actions=ct(zone=2,nat,table=2)
table=0,ip,reg5=2 actions=ct(zone=1,nat,table=2)
table=1 actions=ct(commit,zone=1,nat(src=192.0.2.2),table=2)
table=2 actions=output:4`)
	const out = "udp,ip_src=10.0.0.1,ip_dst=8.8.8.8,udp_src=1,udp_dst=2"
	const back = "udp,ip_src=8.8.8.8,ip_dst=192.0.2.1,udp_src=2,udp_dst=1"
	for _, c := range []struct{ packet, want string }{
		{out, "4,ct_mark=0x7,ct_nw_src=10.0.0.1,ip_src=192.0.2.1,ip_dst=8.8.8.8"},
		{back + ",reg5=1", "4,ct_mark=0x0,ct_nw_src=8.8.8.8,ip_src=8.8.8.8,ip_dst=192.0.2.1"},
		{back + ",reg5=2", "4,ct_mark=0x7,ct_nw_src=10.0.0.1,ip_src=8.8.8.8,ip_dst=10.0.0.1"},
	} {
		if got := verdict(sw.Run(packet(t, c.packet), 9), of.CTMark, of.CTNwSrc, of.IPSrc, of.IPDst); got != c.want {
			t.Errorf("%s: got %q, want %q", c.packet, got, c.want)
		}
	}
}

// A pass begins with what connection tracking gave back: registers and metadata are kept.
func TestPasses(t *testing.T) {
	sw := build(t, nil, "table=0,ip actions=set_field:3->reg1,set_field:9->metadata,ct(commit,zone=1,nat(src=192.0.2.1),table=4)\ntable=4,reg1=3,metadata=9 actions=resubmit(,5)\ntable=5 actions=output:4")
	tr := sw.Run(packet(t, icmp), 9)
	if tr.Err != nil || len(tr.Passes) != 2 || len(tr.Outputs) != 1 || len(tr.Steps) != 3 {
		t.Fatalf("got %+v", tr)
	}
	if p := tr.Passes[1]; p.Table != 4 || !strings.Contains(p.Packet.String(), "ip_src=192.0.2.1") || p.Packet.Get(of.InPort).Lo != 9 ||
		tr.Steps[1].Pass != 1 || tr.Steps[0].Pass != 0 || p.Final != tr.Final {
		t.Errorf("got %+v", p)
	}
}
