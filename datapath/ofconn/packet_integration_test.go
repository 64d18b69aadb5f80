//go:build integration

package ofconn_test

import (
	"bytes"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"tuplenet/datapath/ofconn"
	"tuplenet/datapath/ovstest"
	"tuplenet/flows/of"
)

func frame(ls ...gopacket.SerializableLayer) []byte {
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ls...); err != nil {
		panic(err)
	}
	return b.Bytes()
}

var (
	macA = net.HardwareAddr{0xf2, 1, 0, 0, 0, 1}
	macB = net.HardwareAddr{0xf2, 1, 0, 0, 0, 2}
	ipA  = net.IP{10, 0, 0, 1}
	ipB  = net.IP{10, 0, 0, 2}
)

func udpFrame() []byte { return udpOf([]byte("hello")) }

// headers is what the headers of udpOf take.
const headers = 14 + 20 + 8

func udpOf(payload []byte) []byte {
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: ipA, DstIP: ipB}
	udp := &layers.UDP{SrcPort: 1000, DstPort: 2000}
	_ = udp.SetNetworkLayerForChecksum(ip)
	return frame(&layers.Ethernet{SrcMAC: macA, DstMAC: macB, EthernetType: layers.EthernetTypeIPv4}, ip, udp, gopacket.Payload(payload))
}

// arpFrame is padded to 60 bytes, as network cards do.
func arpFrame() []byte {
	b := frame(&layers.Ethernet{SrcMAC: macA, DstMAC: macB, EthernetType: layers.EthernetTypeARP},
		&layers.ARP{AddrType: 1, Protocol: 0x800, HwAddressSize: 6, ProtAddressSize: 4, Operation: 1,
			SourceHwAddress: macA, SourceProtAddress: ipA, DstHwAddress: make([]byte, 6), DstProtAddress: ipB})
	return append(b, make([]byte, 60-len(b))...)
}

func term(p ofconn.PacketIn, f of.Field) of.Value {
	t, _ := of.Match(p.Fields).Get(f)
	return t.Value
}

func TestPacketInCarriesUserdataRegistersAndThePaddedFrame(t *testing.T) {
	l, s := connect(t, ofconn.Config{}, ovstest.Config{Ports: []string{"p1", "p2"}})
	must(t, s.SetMeter(soon(t), of.Meter{ID: 5, RatePPS: 1000, Burst: 100}))
	f := of.Flow{Table: 3, Match: of.Match{}.ARP(), Actions: []of.Action{
		of.SetReg(of.Metadata, 0xabc), of.SetReg(of.Reg14, 7), of.SetReg(of.XXReg1, 9),
		of.Controller{MaxLen: 0xffff, Userdata: []byte{1, 2, 3, 4, 5}, MeterID: 5, Reason: of.ReasonNoMatch}}}
	p := packed(t, f)
	must(t, s.Bundle(soon(t), []ofconn.Mod{
		ofconn.AddFlow{Packed: p, Cookie: p.Hash()},
		add(t, of.Flow{Actions: []of.Action{of.Goto{Table: 3}}}),
	}))
	want := arpFrame()
	l.ovs.Receive("p2", want)
	in := l.packet()
	if !bytes.Equal(in.Data, want) {
		t.Errorf("frame %x, want %x", in.Data, want)
	}
	if !bytes.Equal(in.Userdata, []byte{1, 2, 3, 4, 5}) || in.Table != 3 || in.Cookie != p.Hash() || in.Reason != of.ReasonNoMatch {
		t.Errorf("packet-in %+v", in)
	}
	if term(in, of.InPort).Lo != 2 || term(in, of.Metadata).Lo != 0xabc {
		t.Errorf("fields %s", of.Match(in.Fields))
	}
	if m := of.Match(in.Fields).Plain(); m.String() == "" || regOf(m, of.Reg14) != 7 || regOf(m, of.Reg7) != 9 {
		t.Errorf("fields %s", m)
	}
}

func regOf(m of.Match, f of.Field) uint64 {
	t, _ := m.Get(f)
	return t.Value.Lo
}

func TestPacketOutRunsThePipeline(t *testing.T) {
	l, s := connect(t, ofconn.Config{}, ovstest.Config{Ports: []string{"p1", "p2"}})
	must(t, s.Bundle(soon(t), []ofconn.Mod{add(t, of.Flow{Table: 9, Match: of.Match{}.Eq(of.Reg3, of.U(5)).Eq(of.InPort, of.U(1)),
		Actions: []of.Action{of.Controller{MaxLen: 0xffff, Userdata: []byte{42}}}})}))
	want := udpFrame()
	must(t, s.PacketOut(soon(t), ofconn.PacketOut{InPort: 1, Data: want, Actions: []of.Action{of.SetReg(of.Reg3, 5), of.ResubmitTable(9)}}))
	if in := l.packet(); !bytes.Equal(in.Data, want) || !bytes.Equal(in.Userdata, []byte{42}) {
		t.Errorf("packet-in %+v", in)
	}
	out := ofconn.PacketOut{InPort: 1, Data: want, Actions: []of.Action{of.SetReg(of.Reg3, 5), of.ResubmitTable(9)}}
	must(t, s.PacketsOut(soon(t), []ofconn.PacketOut{out, out}))
	for range 2 {
		if in := l.packet(); !bytes.Equal(in.Data, want) {
			t.Errorf("packet-in %+v", in)
		}
	}
	bad := ofconn.PacketOut{InPort: of.PortController, Data: want, Actions: []of.Action{of.GroupAction{ID: 9}}}
	if err := s.PacketsOut(soon(t), []ofconn.PacketOut{out, bad, out}); err == nil {
		t.Error("one of several that the switch refuses is no error")
	}
	if err := s.PacketOut(soon(t), ofconn.PacketOut{InPort: of.PortController, Data: want, Actions: []of.Action{of.GroupAction{ID: 9}}}); err == nil {
		t.Error("a packet-out to a group that does not exist is no error")
	}
	if err := s.PacketOut(soon(t), ofconn.PacketOut{Data: want, Actions: []of.Action{of.Goto{Table: 1}}}); err == nil {
		t.Error("goto in a packet-out is no error")
	}
}

func TestPacketInsThatAreNotTakenInTimeAreCounted(t *testing.T) {
	gate := make(chan struct{})
	_, s := connect(t, ofconn.Config{OnPacketIn: func(ofconn.PacketIn) { <-gate }}, ovstest.Config{Ports: []string{"p1"}})
	defer close(gate)
	must(t, s.Bundle(soon(t), []ofconn.Mod{add(t, of.Flow{Actions: []of.Action{of.Controller{MaxLen: 0xffff, Userdata: []byte{1}}}})}))
	out := ofconn.PacketOut{InPort: 1, Data: udpFrame(), Actions: []of.Action{of.ResubmitTable(0)}}
	for range 60 {
		must(t, s.PacketsOut(soon(t), slices.Repeat([]ofconn.PacketOut{out}, 50))) // returns after a barrier: its packet-ins were sent before
	}
	if s.Lost() == 0 {
		t.Error("no packet-in was counted as lost")
	}
}

// A meter tells how many packets it dropped, a flow for how long no packet met it.
func TestMetersTellWhatTheyDropped(t *testing.T) {
	l, s := connect(t, ofconn.Config{}, ovstest.Config{Ports: []string{"p1"}})
	must(t, s.SetMeter(soon(t), of.Meter{ID: 1, RatePPS: 1, Burst: 1}))
	must(t, s.SetMeter(soon(t), of.Meter{ID: 2, RatePPS: 1, Burst: 1}))
	must(t, s.Bundle(soon(t), []ofconn.Mod{
		add(t, of.Flow{Priority: 1, Match: of.Match{}.Eq(of.InPort, of.U(1)), Actions: []of.Action{of.Controller{MaxLen: 0xffff, Userdata: []byte{1}, MeterID: 1}}}),
		add(t, of.Flow{Table: 5, Actions: []of.Action{of.Controller{MaxLen: 0xffff, Userdata: []byte{2}}}}),
	}))
	const sent = 50
	must(t, s.PacketsOut(soon(t), slices.Repeat([]ofconn.PacketOut{{InPort: 1, Data: udpFrame(), Actions: []of.Action{of.ResubmitTable(0)}}}, sent)))
	must(t, s.PacketOut(soon(t), ofconn.PacketOut{InPort: 1, Data: udpFrame(), Actions: []of.Action{of.ResubmitTable(5)}}))
	came := 0
	for in := l.packet(); in.Userdata[0] == 1; in = l.packet() {
		came++
	}
	drops, err := s.MeterDrops(soon(t))
	must(t, err)
	if drops[1] != uint64(sent-came) || drops[2] != 0 || came == sent {
		t.Errorf("%d of %d came, the meters say that they dropped %v", came, sent, drops)
	}
	must(t, s.DumpFlows(soon(t), func(f ofconn.FlowDesc) {
		if f.Idle > f.Duration+time.Second {
			t.Errorf("idle for %s, there for %s", f.Idle, f.Duration)
		}
	}))
}
