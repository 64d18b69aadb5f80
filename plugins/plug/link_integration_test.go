//go:build integration

package plug

import (
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// A pair is found by the mark of its port, or, if whoever made it was killed before it had one, by the group it is born with.
// Devices of others stay, whatever their names.
func TestOnlyDevicesOfOursAreRemovedMarkedOrNewborn(t *testing.T) {
	runtime.LockOSThread() // and never unlocked: the thread ends with the test, and with it the namespace
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	for _, c := range []struct {
		name  string
		group uint32
		alias string
		stays bool
	}{
		{"marked", vethGroup, "lsp-a", false},
		{"newborn", vethGroup, "", false},
		{"otherport", vethGroup, "lsp-b", true},
		{"foreign", 0, "", true},
		{"othergroup", 7, "", true},
	} {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.Group = c.name, c.group
		veth := &netlink.Veth{LinkAttrs: attrs, PeerName: "peer" + c.name}
		if err := netlink.LinkAdd(veth); err != nil {
			t.Fatal(err)
		}
		if c.alias != "" {
			if err := netlink.LinkSetAlias(veth, c.alias); err != nil {
				t.Fatal(err)
			}
		}
		if err := removeLink(c.name, "lsp-a"); err != nil {
			t.Fatal(err)
		}
		for _, end := range []string{c.name, "peer" + c.name} {
			_, err := netlink.LinkByName(end)
			if stays := err == nil; stays != c.stays {
				t.Errorf("%s stays: %v, want %v (%v)", end, stays, c.stays, err)
			}
		}
	}
}
