package host

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// Device is a network device of this namespace.
type Device struct {
	Name  string
	Index int
	MTU   int    // bytes of IP packet
	MAC   string // in lower case with colons; "" if it has none
	Up    bool   // administratively up
}

// Errors that a caller branches on; they are wrapped with the name or address in question.
var (
	ErrNoDevice  = errors.New("no such network device")
	ErrNoAddress = errors.New("no usable address")
)

// DeviceNamed finds a device by its name; ErrNoDevice.
func DeviceNamed(name string) (Device, error) {
	link, err := linkNamed(name)
	if err != nil {
		return Device{}, err
	}
	return deviceOf(link), nil
}

// DeviceHolding finds the device that holds the address addr, in whatever state; ErrNoAddress if none does.
func DeviceHolding(addr netip.Addr) (Device, error) {
	addr = addr.Unmap()
	list, err := addresses(nil)
	if err != nil {
		return Device{}, err
	}
	for _, a := range list {
		if a.addr != addr {
			continue
		}
		link, err := netlink.LinkByIndex(a.device)
		if err != nil {
			return Device{}, fmt.Errorf("reading the device of %s: %w", addr, err)
		}
		return deviceOf(link), nil
	}
	return Device{}, fmt.Errorf("%w: no device of this host has %s", ErrNoAddress, addr)
}

func linkNamed(name string) (netlink.Link, error) {
	link, err := netlink.LinkByName(name)
	if _, missing := errors.AsType[netlink.LinkNotFoundError](err); missing {
		return nil, fmt.Errorf("%w: %s", ErrNoDevice, name)
	}
	if err != nil {
		return nil, fmt.Errorf("reading device %s: %w", name, err)
	}
	return link, nil
}

func deviceOf(link netlink.Link) Device {
	a := link.Attrs()
	return Device{Name: a.Name, Index: a.Index, MTU: a.MTU, MAC: a.HardwareAddr.String(), Up: a.Flags&flagUp != 0}
}

// SetUp brings a device up (ip link set DEVICE up).
func SetUp(device string) error {
	l, err := netlink.LinkByName(device)
	if err == nil {
		err = netlink.LinkSetUp(l)
	}
	if err != nil {
		return fmt.Errorf("bring device %q up: %w", device, err)
	}
	return nil
}
