//go:build integration

package ofconn_test

import (
	"bytes"
	"strings"
	"testing"

	"tuplenet/datapath/ofconn"
	"tuplenet/datapath/ovstest"
	"tuplenet/flows/of"
)

// What follows are properties of Open vSwitch that the pipeline counts on (docs/design/flows-of.md).

// outcome installs flows and traces a packet; it returns the datapath actions.
func outcome(t *testing.T, l *link, s *ofconn.Session, packet string, fs ...of.Flow) string {
	t.Helper()
	l.ovs.Ofctl("del-flows")
	var mods []ofconn.Mod
	for _, f := range fs {
		mods = append(mods, add(t, f))
	}
	must(t, s.Bundle(soon(t), mods))
	trace := l.ovs.Trace(packet)
	_, actions, ok := strings.Cut(trace, "Datapath actions: ")
	if !ok {
		t.Fatalf("trace:\n%s", trace)
	}
	return strings.TrimSpace(actions)
}

func TestAPacketLeavesThroughItsInPortOnlyWhenToldSo(t *testing.T) {
	l, s := connect(t, ofconn.Config{}, ovstest.Config{Ports: []string{"p1", "p2"}})
	const packet = "in_port=1,dl_type=0x800"
	for what, c := range map[string]struct {
		actions []of.Action
		want    string
	}{
		"output to the in-port is skipped":            {[]of.Action{of.Output{Port: 1}}, "drop"},
		"IN_PORT":                                     {[]of.Action{of.Output{Port: of.PortInPort}}, "1"},
		"in-port 0, then output":                      {[]of.Action{of.SetReg(of.InPort, 0), of.Output{Port: 1}}, "1"},
		"in-port 0, then output to a field":           {[]of.Action{of.SetReg(of.InPort, 0), of.SetReg(of.Reg1, 1), of.OutputField{Src: of.Whole(of.Reg1)}}, "1"},
		"in-port none, then output":                   {[]of.Action{of.Set(of.InPort, of.U(uint64(of.PortAny))), of.Output{Port: 1}}, "1"},
		"in-port copied from a register, then output": {[]of.Action{of.CopyField{Src: of.Whole(of.Reg1), Dst: of.Whole(of.InPort)}, of.Output{Port: 1}}, "1"},
		"in-port saved, cleared and restored": {[]of.Action{of.Push{Src: of.Whole(of.InPort)}, of.SetReg(of.InPort, 0), of.Pop{Dst: of.Whole(of.InPort)},
			of.Output{Port: 1}}, "drop"},
	} {
		if got := outcome(t, l, s, packet, of.Flow{Actions: c.actions}); got != c.want {
			t.Errorf("%s: %s, want %s", what, got, c.want)
		}
	}
}

func TestThePacketLengthIsCheckedIntoABitOfARegister(t *testing.T) {
	l, s := connect(t, ofconn.Config{}, ovstest.Config{Ports: []string{"p1", "p2"}})
	must(t, s.Bundle(soon(t), []ofconn.Mod{
		add(t, of.Flow{Actions: []of.Action{of.CheckPktLarger{Bytes: 100, Dst: of.Bits(of.Reg4, 3, 1)}, of.Goto{Table: 1}}}),
		add(t, of.Flow{Table: 1, Match: of.Match{}.Subfield(of.Bits(of.Reg4, 3, 1), 1), Actions: []of.Action{of.Controller{MaxLen: 0xffff, Userdata: []byte("large")}}}),
		add(t, of.Flow{Table: 1, Match: of.Match{}.Subfield(of.Bits(of.Reg4, 3, 1), 0), Actions: []of.Action{of.Controller{MaxLen: 0xffff, Userdata: []byte("small")}}}),
	}))
	for length, want := range map[int]string{100: "small", 101: "large", 1400: "large"} {
		l.ovs.Receive("p1", udpOf(make([]byte, length-headers)))
		if got := string(l.packet().Userdata); got != want {
			t.Errorf("%d bytes are %s, want %s", length, got, want)
		}
	}
}

func TestBitsOfTheTunnelOptionAreCopiedFromAndToRegisters(t *testing.T) {
	l, s := connect(t, ofconn.Config{}, ovstest.Config{Ports: []string{"p1", "p2"}})
	must(t, s.AddTLV(soon(t), geneve))
	must(t, s.Bundle(soon(t), []ofconn.Mod{
		add(t, of.Flow{Actions: []of.Action{
			of.SetReg(of.Reg0, 0x1234), of.SetReg(of.Reg1, 0xabcd),
			of.CopyField{Src: of.Bits(of.Reg0, 0, 16), Dst: of.Bits(of.TunMetadata0, 48, 16)},
			of.CopyField{Src: of.Bits(of.Reg1, 0, 16), Dst: of.Bits(of.TunMetadata0, 32, 16)},
			of.Load(of.Bits(of.TunMetadata0, 0, 1), 1),
			of.CopyField{Src: of.Bits(of.TunMetadata0, 32, 32), Dst: of.Whole(of.Reg5)},
			of.Goto{Table: 1}}}),
		add(t, of.Flow{Table: 1, Match: of.Match{}.Eq(of.TunMetadata0, of.U(0x1234_abcd_0000_0001)).Eq(of.Reg5, of.U(0x1234abcd)),
			Actions: []of.Action{of.Controller{MaxLen: 0xffff, Userdata: []byte("right")}}}),
		add(t, of.Flow{Table: 1, Priority: 0, Actions: []of.Action{of.Controller{MaxLen: 0xffff, Userdata: []byte("wrong")}}}),
	}))
	l.ovs.Receive("p1", udpFrame())
	in := l.packet()
	if string(in.Userdata) != "right" || term(in, of.TunMetadata0).Lo != 0x1234_abcd_0000_0001 {
		t.Errorf("%s, fields %s", in.Userdata, of.Match(in.Fields))
	}
}

func TestUserdataAndMeterTravelTogether(t *testing.T) {
	l, s := connect(t, ofconn.Config{}, ovstest.Config{Ports: []string{"p1"}})
	must(t, s.SetMeter(soon(t), of.Meter{ID: 1, RatePPS: 1, Burst: 1}))
	must(t, s.Bundle(soon(t), []ofconn.Mod{add(t, of.Flow{Actions: []of.Action{of.Controller{MaxLen: 0xffff, Userdata: []byte("metered"), MeterID: 1}}})}))
	want := udpFrame()
	for range 50 {
		l.ovs.Receive("p1", want)
	}
	if in := l.packet(); string(in.Userdata) != "metered" || !bytes.Equal(in.Data, want) {
		t.Errorf("%+v", in)
	}
	stats := l.ovs.Ofctl("meter-stats")
	if !strings.Contains(stats, "packet_in_count:") {
		t.Errorf("meter statistics:\n%s", stats)
	}
}

// What is learnt is there for the next packet, moves with its sender, is bounded for each cookie, and goes with the flow that learnt it.
func TestLearntFlowsFollowTheirSendersUpToALimitAndGoWithWhoLearntThem(t *testing.T) {
	l, s := connect(t, ofconn.Config{}, ovstest.Config{Ports: []string{"p1", "p2"}})
	var mods []ofconn.Mod
	for port := range uint64(2) {
		port++
		mods = append(mods, add(t, of.Flow{Match: of.Match{}.Eq(of.InPort, of.U(port)), Actions: []of.Action{
			of.Learn{Table: 2, Priority: 7, Cookie: port, HardTimeout: 300, Limit: 2,
				Match: []of.LearnTerm{{Dst: of.Whole(of.EthDst), Src: of.Whole(of.EthSrc)}}, Load: []of.LearnTerm{{Dst: of.Bits(of.Reg1, 0, 16), Value: of.U(port)}}},
			of.ResubmitTable(2), of.Goto{Table: 3}}}))
	}
	for behind, userdata := range []string{"unknown", "p1", "p2"} {
		mods = append(mods, add(t, of.Flow{Table: 3, Match: of.Match{}.Eq(of.Reg1, of.U(uint64(behind))),
			Actions: []of.Action{of.Controller{MaxLen: 0xffff, Userdata: []byte(userdata)}}}))
	}
	must(t, s.Bundle(soon(t), append(mods, add(t, of.Flow{Table: 2, Actions: []of.Action{of.SetReg(of.Reg1, 0)}}))))
	frame := udpFrame()
	for i, step := range []struct {
		port     string
		src, dst byte
		want     string
	}{
		{"p1", 1, 2, "unknown"}, {"p2", 2, 1, "p1"}, {"p1", 1, 2, "p2"},
		{"p2", 1, 5, "unknown"}, // moves
		{"p1", 3, 1, "p2"},
		{"p2", 4, 3, "p1"}, // is one too many
		{"p1", 3, 4, "unknown"},
	} {
		copy(frame, []byte{2, 0, 0, 0, 0, step.dst, 2, 0, 0, 0, 0, step.src})
		l.ovs.Appctl("revalidator/wait") // what the datapath has cached knows nothing of what was learnt since
		l.ovs.Receive(step.port, frame)
		if got := string(l.packet().Userdata); got != step.want {
			t.Errorf("packet %d goes to %s, want %s", i, got, step.want)
		}
	}
	l.ovs.Ofctl("del-flows", "table=0,in_port=2")
	if left := l.ovs.Ofctl("dump-flows", "table=2"); strings.Count(left, "cookie=0x1,") != 1 || strings.Contains(left, "cookie=0x2,") {
		t.Errorf("after the flow of port 2 has gone there is\n%s", left)
	}
}
