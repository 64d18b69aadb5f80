package responder

import (
	"encoding/hex"
	"strings"
	"testing"
)

func TestAnnouncementsAreAsTheRFCsDrawThem(t *testing.T) {
	m := [6]byte{0xf2, 1, 10, 0, 1, 1}
	arp := strings.Join([]string{
		"ffffffffffff f2010a000101 0806", // to all, from the new holder
		"0001 0800 06 04 0001",           // a request
		"f2010a000101 0a000101",          // sender
		"000000000000 0a000101",          // target: the same address
		strings.Repeat("00", 18),         // padding to the shortest frame
	}, "")
	if got, want := hex.EncodeToString(GARP(m, ip("10.0.1.1"))), strings.ReplaceAll(arp, " ", ""); got != want {
		t.Errorf("GARP\n%s, want\n%s", got, want)
	}
	for flags, router := range map[string]bool{"20": false, "a0": true} {
		got := UnsolicitedNA(m, ip("2001:db8::1"), router)
		na := strings.Join([]string{
			"333300000001 f2010a000101 86dd",
			"60000000 0020 3a ff", // hop limit 255
			"20010db8000000000000000000000001 ff020000000000000000000000000001",
			"88 00", hex.EncodeToString(got[56:58]), flags + "000000",
			"20010db8000000000000000000000001", // target
			"02 01 f2010a000101",               // its link-layer address
		}, "")
		if want := strings.ReplaceAll(na, " ", ""); hex.EncodeToString(got) != want {
			t.Errorf("NA\n%x, want\n%s", got, want)
		}
		pseudo := append(append([]byte{}, got[22:54]...), 0, 0, 0, 32, 0, 0, 0, 58)
		if s := sum(pseudo, got[54:]); s != 0 {
			t.Errorf("checksum off by %#x", s)
		}
	}
	if GARP(m, ip("2001:db8::1")) != nil || UnsolicitedNA(m, ip("10.0.0.1"), false) != nil || UnsolicitedNA(m, ip("::ffff:10.0.0.1"), false) != nil {
		t.Error("an announcement for the wrong family")
	}
}
