package controller

import (
	"net/netip"
	"testing"

	"tuplenet/model"
)

func TestTheTunnelLeavesRoomForItsHeaders(t *testing.T) {
	for _, c := range []struct {
		addrs     string
		mtu, want int
	}{{"192.0.2.1", 1500, 1438}, {"2001:db8::1", 1500, 1418}, {"192.0.2.1", 9000, 8938}, {"192.0.2.1", 50, 0}} {
		l := &loop{addrs: []netip.Addr{netip.MustParseAddr(c.addrs)}, mtu: c.mtu}
		if got := l.tunnelMTU(); got != c.want {
			t.Errorf("over %s with %d bytes: %d, want %d", c.addrs, c.mtu, got, c.want)
		}
	}
}

// What fits on every chassis fits: the smallest underlay, and the largest headers.
func TestT39_TheTunnelsOfAllChassisFitThePacketsOfTheNetwork(t *testing.T) {
	geneve, vxlan := []model.Encap{model.EncapGeneve}, []model.Encap{model.EncapVXLAN}
	at := func(ip string, mtu int, encaps []model.Encap) *model.Chassis {
		return &model.Chassis{IPs: []netip.Addr{netip.MustParseAddr(ip)}, Encaps: encaps, UnderlayMTU: mtu}
	}
	l := &loop{addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, mtu: 1500}
	for _, step := range []struct {
		name string
		says *model.Chassis
		want int
	}{
		{"jumbo", at("192.0.2.2", 9000, geneve), 1438},
		{"old", at("192.0.2.3", 0, geneve), 1438},
		{"small", at("192.0.2.4", 1400, vxlan), 1338},
		{"v6", at("2001:db8::5", 9000, geneve), 1318},
		{"small", nil, 1418},
		{"v6", at("192.0.2.5", 9000, geneve), 1438},
	} {
		if l.underlays.take(step.name, step.says); l.tunnelMTU() != step.want {
			t.Errorf("with %s: %d, want %d", step.name, l.tunnelMTU(), step.want)
		}
	}
	for set, want := range map[int]int{0: 1438, 1300: 1300, 9000: 9000} {
		if got := l.switchMTU(&model.LogicalSwitch{MTU: set}); got != want {
			t.Errorf("a switch with %d: %d, want %d", set, got, want)
		}
	}
	l.underlays.take("small", at("192.0.2.4", 1400, vxlan))
	if l.underlays.reset(); l.tunnelMTU() != 1438 {
		t.Errorf("after the store was read anew: %d", l.tunnelMTU())
	}
}
