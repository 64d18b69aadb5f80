package controller

import (
	"strings"
	"testing"
	"time"

	"tuplenet/datapath/ofconn"
	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
)

// reported is a packet as the switch reports it for a live trace: registers come in pairs.
func reported(id uint16, table uint8) ofconn.PacketIn {
	return ofconn.PacketIn{Table: table, Userdata: []byte{byte(pipeline.PuntTrace)}, Data: make([]byte, 60),
		Fields: []of.Term{of.Eq(of.InPort, of.U(3)), of.Eq(of.XReg6, of.U(uint64(0x20000)|uint64(id)))}}
}

func TestSightingsBelongToTheirTrace(t *testing.T) {
	var l liveTraces
	now := time.Unix(1000, 0)
	for _, id := range []uint16{7, 8} {
		if err := l.start(id, now.Add(time.Minute), now); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []ofconn.PacketIn{reported(7, 0), reported(8, 0), reported(7, 16), reported(9, 0)} {
		if !l.take(p) {
			t.Error("a report of a live trace is left to others")
		}
	}
	if l.take(ofconn.PacketIn{Userdata: []byte{byte(pipeline.PuntTTL)}}) || l.take(ofconn.PacketIn{}) {
		t.Error("a packet that has nothing to do with a trace is taken")
	}
	seen, lost, ok := l.sightings(7)
	if len(seen) != 2 || lost != 0 || !ok || seen[0].Table != 0 || seen[1].Table != 16 || !strings.Contains(seen[0].Fields, "in_port=3") {
		t.Errorf("seen %v, lost %d, %v", seen, lost, ok)
	}
	if _, _, ok := l.sightings(9); ok {
		t.Error("sightings of a trace that nobody began")
	}
	l.stop(7)
	if _, _, ok := l.sightings(7); ok {
		t.Error("sightings of a trace that has ended")
	}
}

// A packet that goes round, or many traces, cannot fill the memory of the daemon.
func TestSightingsAndTracesAreLimited(t *testing.T) {
	var l liveTraces
	now := time.Unix(1000, 0)
	for id := range uint16(maxLiveTraces) {
		if err := l.start(id+1, now.Add(time.Minute), now); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.start(100, now.Add(time.Minute), now); err == nil {
		t.Error("one trace too many is begun")
	}
	if err := l.start(1, now.Add(time.Minute), now); err != nil {
		t.Errorf("a trace cannot be begun anew: %v", err)
	}
	for range maxSightings + 5 {
		l.take(reported(1, 0))
	}
	if seen, lost, _ := l.sightings(1); len(seen) != maxSightings || lost != 5 {
		t.Errorf("%d seen, %d lost", len(seen), lost)
	}
	later := now.Add(2 * time.Minute)
	if err := l.start(100, later.Add(time.Minute), later); err != nil {
		t.Errorf("traces whose time is over are in the way: %v", err)
	}
}
