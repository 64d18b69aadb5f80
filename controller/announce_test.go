package controller

import (
	"net/netip"
	"testing"
	"time"

	"tuplenet/flows/compile"
)

// An address is announced three times when the node begins to answer for it, and again only after it was away.
func TestG21_AddressesAreAnnouncedWhenTheyCome(t *testing.T) {
	var a announcer
	start := time.Unix(1000, 0)
	x := compile.Announcement{VNI: 5, Port: 1, IP: netip.MustParseAddr("192.168.1.30")}
	wanted := counted[compile.Announcement]{}
	want := func(old, now []compile.Announcement) {
		wanted.replace(old, now)
		a.set(start, wanted)
	}
	count := func(from, to int) (n int) {
		for s := from; s <= to; s++ {
			n += len(a.due(start.Add(time.Duration(s) * time.Second)))
		}
		return n
	}
	one := []compile.Announcement{x}
	want(nil, one)
	want(nil, one) // a second rule wants it, too
	if n := count(0, 60); n != 3 {
		t.Errorf("announced %d times", n)
	}
	want(one, nil)
	want(nil, one)
	if n := count(61, 120); n != 0 {
		t.Errorf("announced %d times although it was never away", n)
	}
	want(one, nil)
	want(one, nil)
	if n := count(121, 180); n != 0 {
		t.Errorf("announced %d times when it is gone", n)
	}
	want(nil, one)
	if n := count(181, 240); n != 3 {
		t.Errorf("announced %d times when it came back", n)
	}
}

// Frames are of the family of the address.
func TestAnnouncementFrames(t *testing.T) {
	for ip, ethertype := range map[string]byte{"192.168.1.30": 0x06, "2001:db8::30": 0xdd} {
		if f := announcementFrame(compile.Announcement{MAC: [6]byte{2}, IP: netip.MustParseAddr(ip)}); len(f) < 14 || f[13] != ethertype {
			t.Errorf("%s: %x", ip, f)
		}
	}
}
