//go:build integration

package host

import (
	"testing"

	"github.com/vishvananda/netlink"
)

// A sign has carrier while it is held, also after its holder was replaced by another.
func TestT28_ASignHasCarrierWhileItIsHeld(t *testing.T) {
	const name = "sign0"
	s := NewSign(name)
	carrier := func() bool {
		link, err := netlink.LinkByName(name)
		must(t, err)
		return link.Attrs().RawFlags&0x10000 != 0 // IFF_LOWER_UP, netdevice(7)
	}
	for range 2 { // the second finds the device of the first
		must(t, s.Make())
		if carrier() {
			t.Fatal("carrier, though nobody holds it")
		}
		must(t, s.Hold())
		must(t, s.Hold())
		if !carrier() {
			t.Fatal("no carrier while it is held")
		}
		must(t, s.held.Close()) // as at the end of the process
		s = NewSign(name)
	}
	for range 2 {
		must(t, s.Remove())
	}
	if _, err := netlink.LinkByName(name); err == nil {
		t.Error("the device is still there")
	}
	if s.Hold() == nil {
		t.Error("it can be held without a device")
	}
}
