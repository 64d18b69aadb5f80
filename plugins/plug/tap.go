package plug

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
)

// Tap asks Plug for a tap device, which a virtual machine opens, in place of a veth.
type Tap struct {
	// Device is the name of the device; empty: one is made from that of the port.
	Device string
	// Owner and Group are, by number, the user and the group that may open it: who has both. 0 and 0: root.
	Owner, Group uint32
}

// device is the name that is tried at the n-th attempt; ok is false if there is none to try.
func (c Cable) device(attempt int) (name string, ok bool) {
	if c.Tap != nil && c.Tap.Device != "" {
		return c.Tap.Device, attempt == 0
	}
	return deviceName(c.Port, attempt), true
}

// makeDevice makes what the port of the switch is: a tap, or a veth with its other end.
func makeDevice(c Cable, device, inside string, userspace bool) error {
	if c.Tap == nil {
		return makeVeth(c, device, inside, userspace)
	}
	if err := removeLink(device, c.Port); err != nil {
		return err
	}
	_, err := netlink.LinkByName(device)
	switch missing := ignoreMissing(err) == nil; {
	case err == nil:
		return fmt.Errorf("%w: %s", errNameTaken, device)
	case !missing:
		return fmt.Errorf("look for %s: %w", device, err)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = device
	tap := &netlink.Tuntap{LinkAttrs: attrs, Mode: netlink.TUNTAP_MODE_TAP, Flags: netlink.TUNTAP_TUN_EXCL, Owner: c.Tap.Owner, Group: c.Tap.Group}
	if err := netlink.LinkAdd(tap); err != nil {
		return fmt.Errorf("make tap %s: %w", device, err)
	}
	if err := dressTap(c, device, userspace); err != nil {
		return errors.Join(err, removeNew(device))
	}
	return nil
}

// dressTap marks a tap and sets its MTU and offloads. Its MAC is the kernel's choice: that of the port is the machine's.
func dressTap(c Cable, device string, userspace bool) error {
	if err := dress(device, c.Port, userspace); err != nil {
		return err
	}
	l, err := netlink.LinkByName(device)
	if err == nil && c.MTU > 0 {
		err = netlink.LinkSetMTU(l, c.MTU)
	}
	if err != nil {
		return fmt.Errorf("set the MTU of %s: %w", device, err)
	}
	return nil
}
