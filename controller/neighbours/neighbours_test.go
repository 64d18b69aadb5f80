package neighbours

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

var (
	gateway = ID{"LR-edge1", "LR-edge1_to_outside1", netip.MustParseAddr("192.168.1.1")}
	mac     = [6]byte{2, 0, 0, 0, 0, 1}
	start   = time.Unix(1000, 0)
)

func at(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }

// The packets that wait for a neighbour are delivered when it answers, and it is asked for once, not once a packet.
func TestWaitingPacketsLeaveWithTheAnswer(t *testing.T) {
	n := New()
	for i := range 3 {
		_, known, ask := n.Miss(at(0), gateway, Packet{Frame: []byte{byte(i)}})
		if known || ask != (i == 0) {
			t.Fatalf("packet %d: known %v, ask %v", i, known, ask)
		}
	}
	if asked := n.Asked(gateway.IP); len(asked) != 1 || asked[0] != gateway {
		t.Fatalf("asked for %v", asked)
	}
	got := n.Heard(at(0), gateway, mac)
	if len(got) != 3 || got[0].Frame[0] != 0 || got[2].Frame[0] != 2 {
		t.Fatalf("delivered %v", got)
	}
	if all, changed := n.Changed(); !changed || len(all) != 1 || all[0].MAC != mac {
		t.Fatalf("known %v, changed %v", all, changed)
	}
	if m, known, _ := n.Miss(at(1), gateway, Packet{}); !known || m != mac {
		t.Fatal("a known neighbour is not known")
	}
	if _, changed := n.Changed(); changed {
		t.Fatal("nothing changed")
	}
}

// A neighbour that never answers is asked three times, then its packets are given up.
func TestSilentNeighbourIsGivenUp(t *testing.T) {
	n := New()
	n.Miss(at(0), gateway, Packet{Frame: []byte{7}})
	for s := 1; s <= 2; s++ {
		if ask, lost := n.Tick(at(s)); len(ask) != 1 || lost != nil {
			t.Fatalf("second %d: ask %v, lost %v", s, ask, lost)
		}
	}
	ask, lost := n.Tick(at(3))
	if len(ask) != 0 || len(lost[gateway]) != 1 {
		t.Fatalf("ask %v, lost %v", ask, lost)
	}
}

// A known neighbour is asked again after a minute, and forgotten when it stays silent; until then packets go on.
func TestKnownNeighbourIsAskedAgain(t *testing.T) {
	n := New()
	n.Miss(at(0), gateway, Packet{})
	n.Heard(at(0), gateway, mac)
	n.Changed()
	if ask, _ := n.Tick(at(59)); len(ask) != 0 {
		t.Fatal("asked too early")
	}
	for s := 60; s <= 62; s++ {
		if ask, _ := n.Tick(at(s)); len(ask) != 1 {
			t.Fatalf("second %d: asked %v", s, ask)
		}
		if _, changed := n.Changed(); changed {
			t.Fatalf("second %d: forgotten too early", s)
		}
	}
	n.Tick(at(63))
	if all, changed := n.Changed(); !changed || len(all) != 0 {
		t.Fatalf("still %v", all)
	}
}

// An announcement changes the MAC of a known neighbour, and teaches nothing about addresses that nobody asked for.
func TestAnnouncements(t *testing.T) {
	n := New()
	n.Heard(at(0), gateway, mac)
	if _, changed := n.Changed(); changed {
		t.Fatal("learnt what nobody asked for")
	}
	n.Miss(at(0), gateway, Packet{})
	n.Heard(at(0), gateway, mac)
	other := [6]byte{2, 0, 0, 0, 0, 2}
	n.Heard(at(5), gateway, other)
	if all, _ := n.Changed(); len(all) != 1 || all[0].MAC != other {
		t.Fatalf("known %v", all)
	}
}

// Scanning through an edge fills neither the table nor the memory, and does not push out who is known.
func TestScanIsBounded(t *testing.T) {
	n := New()
	n.Miss(at(0), gateway, Packet{})
	n.Heard(at(0), gateway, mac)
	for i := range 3 * MaxNeighbours {
		id := ID{gateway.Router, gateway.Port, netip.MustParseAddr(fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255))}
		for range 2 * MaxWaiting {
			n.Miss(at(1), id, Packet{})
		}
		if got := len(n.entries[id].waiting); got != MaxWaiting {
			t.Fatalf("%d packets wait", got)
		}
	}
	if len(n.entries) > MaxNeighbours {
		t.Fatalf("%d neighbours", len(n.entries))
	}
	if all, _ := n.Changed(); len(all) != 1 {
		t.Fatal("the known neighbour was pushed out")
	}
}

// What is known survives a restart and goes with its router.
func TestRestoreAndKeep(t *testing.T) {
	n := New()
	n.Restore(at(0), Known{gateway, mac})
	if all, changed := n.Changed(); !changed || len(all) != 1 {
		t.Fatal("not restored")
	}
	if ask, _ := n.Tick(at(0)); len(ask) != 1 {
		t.Fatal("a restored neighbour is not asked")
	}
	n.Keep(func(ID) bool { return false })
	if all, changed := n.Changed(); !changed || len(all) != 0 {
		t.Fatal("still there")
	}
}
