package model

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// SwitchType tells how frames of a switch come from one host to another.
type SwitchType string

// Types of switches.
const (
	// SwitchOverlay: in the tunnels of the deployment, to where intent says that a port is.
	SwitchOverlay SwitchType = ""
	// SwitchMulticast: through a VXLAN device of each host's kernel, which finds the others by IPv6 multicast (RFC 7348 section 4.2).
	// Hosts that know nothing of tuplenet can take part.
	SwitchMulticast SwitchType = "vxlan-multicast"
)

// nameOverlay is how people write SwitchOverlay.
const nameOverlay = "overlay"

// SwitchTypes are the types as people write them.
func SwitchTypes() []string { return []string{nameOverlay, string(SwitchMulticast)} }

// ParseSwitchType reads a type of switches; empty is overlay.
func ParseSwitchType(text string) (SwitchType, error) {
	switch text {
	case "", nameOverlay:
		return SwitchOverlay, nil
	case string(SwitchMulticast):
		return SwitchMulticast, nil
	}
	return "", fmt.Errorf("invalid type %q of a switch: it is %s", text, strings.Join(SwitchTypes(), " or "))
}

// String is the type as people write it.
func (t SwitchType) String() string {
	if t == SwitchOverlay {
		return nameOverlay
	}
	return string(t)
}

// What all hosts of a multicast network agree on besides its number.
const (
	MulticastPort = 4789 // UDP (RFC 7348 section 5)
	MulticastTTL  = 5    // hop limit: how many routers of the underlay a frame may pass
)

// multicastOverhead is what VXLAN over IPv6 adds to an IP packet: IPv6, UDP, VXLAN and the inner Ethernet header.
const multicastOverhead = 40 + 8 + 8 + 14

// MulticastMTU is the largest IP packet in a multicast network, in bytes, over an underlay of an MTU; 0 = not known.
func MulticastMTU(underlay int) int { return max(0, underlay-multicastOverhead) }

// MulticastDevice is the name of the VXLAN device of a multicast network on every host: vxlanff01 for 0xff01.
func (v VNI) MulticastDevice() string { return "vxlan" + v.digits() }

// MulticastBridge is the name of the Linux bridge of a multicast network on every host: brff01 for 0xff01.
func (v VNI) MulticastBridge() string { return "br" + v.digits() }

// MulticastGroup is the site-local group of a multicast network (RFC 4291 section 2.7), ff05:: plus the number: ff05::ff01 for
// 0xff01, ff05::ff:ffff for 0xffffff.
func (v VNI) MulticastGroup() netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0xff, 1: 0x05, 13: byte(v >> 16), 14: byte(v >> 8), 15: byte(v)})
}

// digits is the number in hexadecimal, as it is in names.
func (v VNI) digits() string { return strconv.FormatUint(uint64(v), 16) }

// validateType checks the type, and the device that only a multicast network has.
func (o *LogicalSwitch) validateType() error {
	switch o.Type {
	case SwitchOverlay, SwitchMulticast:
	default:
		return fmt.Errorf("invalid type %q of a switch: it is %s", string(o.Type), strings.Join(SwitchTypes(), " or "))
	}
	switch {
	case o.Device == "":
		return nil
	case o.Type != SwitchMulticast:
		return fmt.Errorf("invalid device %q: only a switch of type %s has one", o.Device, SwitchMulticast)
	case len(o.Device) > maxDeviceName || strings.ContainsAny(o.Device, " \t:") || o.Device == "." || o.Device == "..":
		return fmt.Errorf("invalid device %q: the name of a network device has at most %d characters, no blanks, \"/\" or \":\"", o.Device, maxDeviceName)
	}
	return validateName("device", o.Device)
}

// Admits tells whether a port can be on the switch; the error is one line. A multicast network is one segment of all its hosts: a
// router or another way out of it would work on each of them, side by side, and frames would go round.
func (o *LogicalSwitch) Admits(p *LogicalSwitchPort) error {
	if o.Type == SwitchMulticast && p.Type != PortVIF {
		return errors.New(`invalid port of type ` + string(p.Type) + `: switch "` + o.Name + `" is of type ` + string(SwitchMulticast) + `, which has ports of workloads only`)
	}
	return nil
}
