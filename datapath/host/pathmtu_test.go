//go:build integration

package host

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestT39_TheLargestPacketThatPassesIsMeasured(t *testing.T) {
	lo, err := netlink.LinkByName("lo")
	must(t, err)
	must(t, netlink.LinkSetUp(lo))
	for _, peer := range []string{"127.0.0.1", "::1"} {
		a := netip.MustParseAddr(peer)
		if got, err := PathMTU(t.Context(), a, 9000); err != nil || got != 9000 {
			t.Errorf("%s: %d, %v", a, got, err)
		}
	}
	must(t, netlink.LinkSetMTU(lo, 1337)) // what is asked for does not pass
	for _, peer := range []string{"127.0.0.1", "::1"} {
		a := netip.MustParseAddr(peer)
		if got, err := PathMTU(t.Context(), a, 9000); err != nil || got != 1337 {
			t.Errorf("%s: %d, %v", a, got, err)
		}
	}
	t.Cleanup(func() { run(t, "sysctl", "-q", "-w", "net.ipv4.icmp_echo_ignore_all=0") })
	run(t, "sysctl", "-q", "-w", "net.ipv4.icmp_echo_ignore_all=1")
	if _, err := PathMTU(t.Context(), netip.MustParseAddr("127.0.0.1"), 1500); !errors.Is(err, ErrSilent) {
		t.Errorf("%v", err)
	}
	must(t, netlink.LinkSetMTU(lo, 65536))
}
