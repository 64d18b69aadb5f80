package model

import (
	"net/netip"
	"strings"
	"testing"
)

func TestU06_U07_U10_U30_MulticastNetworksAreCalledByTheirNumberInHexadecimal(t *testing.T) {
	for _, c := range []struct {
		vni                   VNI
		device, bridge, group string
	}{
		{1, "vxlan1", "br1", "ff05::1"},
		{100, "vxlan64", "br64", "ff05::64"},
		{3400, "vxland48", "brd48", "ff05::d48"},
		{0x3400, "vxlan3400", "br3400", "ff05::3400"},
		{0xff01, "vxlanff01", "brff01", "ff05::ff01"},
		{0x10000, "vxlan10000", "br10000", "ff05::1:0"},
		{0xffffff, "vxlanffffff", "brffffff", "ff05::ff:ffff"},
	} {
		if d, b, g := c.vni.MulticastDevice(), c.vni.MulticastBridge(), c.vni.MulticastGroup(); d != c.device || b != c.bridge || g != netip.MustParseAddr(c.group) {
			t.Errorf("%d: %s, %s, %s", c.vni, d, b, g)
		}
	}
}

// Every number has names of its own that a network device can have, and a group of its own that holds the number.
func TestU07_U10_U11_NamesAndGroupsOfTheWholeRange(t *testing.T) {
	for v := VNI(1); v <= MaxVNI; v += 1 + v/97 { // every number at first, then ever fewer
		if n := len(v.MulticastDevice()); n > 15 || len(v.MulticastBridge()) >= n {
			t.Fatalf("%s, %s: too long", v.MulticastDevice(), v.MulticastBridge())
		}
		g := v.MulticastGroup().As16()
		if got := VNI(g[13])<<16 | VNI(g[14])<<8 | VNI(g[15]); got != v || g[0] != 0xff || g[1] != 5 {
			t.Fatalf("%d has group %s", v, v.MulticastGroup())
		}
	}
}

func TestU01_TypesOfSwitches(t *testing.T) {
	for text, want := range map[string]SwitchType{"": SwitchOverlay, "overlay": SwitchOverlay, "vxlan-multicast": SwitchMulticast} {
		if got, err := ParseSwitchType(text); err != nil || got != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	if _, err := ParseSwitchType("vlan"); err == nil || err.Error() != `invalid type "vlan" of a switch: it is overlay or vxlan-multicast` {
		t.Error(err)
	}
	for _, c := range []struct {
		ls   LogicalSwitch
		want string // in the error; empty: valid
	}{
		{LogicalSwitch{Type: SwitchMulticast}, ""},
		{LogicalSwitch{Type: SwitchMulticast, Device: "enp0s31f6"}, ""},
		{LogicalSwitch{Type: SwitchMulticast, Device: "a-name-of-16-chr"}, "at most 15 characters"},
		{LogicalSwitch{Type: SwitchMulticast, Device: "eth 0"}, "no blanks"},
		{LogicalSwitch{Type: SwitchMulticast, Device: ".."}, "invalid device"},
		{LogicalSwitch{Type: SwitchMulticast, Device: "a/b"}, `"/" is not allowed`},
		{LogicalSwitch{Device: "eth0"}, "only a switch of type vxlan-multicast has one"},
		{LogicalSwitch{Type: "overlay"}, `invalid type "overlay"`}, // one way to store it
	} {
		c.ls.Name, c.ls.VNI = "LS", 1
		err := c.ls.Validate()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: %v, want %q", c.ls, err, c.want)
		}
	}
	mc, overlay := &LogicalSwitch{Name: "N", Type: SwitchMulticast}, &LogicalSwitch{}
	for _, kind := range []PortType{PortVIF, PortRouter, PortPatch} {
		p := &LogicalSwitchPort{Type: kind}
		if overlay.Admits(p) != nil || (mc.Admits(p) == nil) != (kind == PortVIF) {
			t.Errorf("%s: %v, %v", kind, overlay.Admits(p), mc.Admits(p))
		}
	}
}

func TestU12_WhatFitsIntoAMulticastNetwork(t *testing.T) {
	for underlay, want := range map[int]int{1500: 1430, 9000: 8930, 0: 0, 40: 0} {
		if got := MulticastMTU(underlay); got != want {
			t.Errorf("underlay of %d: %d, want %d", underlay, got, want)
		}
	}
	if got := (&LogicalSwitch{Type: SwitchMulticast, MTU: 1400}).WorkloadMTU(MulticastMTU(1500)); got != 1400 {
		t.Errorf("its own MTU: %d", got)
	}
}
