package host

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Sign is a tap device that has carrier while it is held, and loses it in the moment when its holder ends, however it ends (kernel
// documentation, networking/tuntap). A switch that has the device as a port so notices by itself. Nothing is read from it. Safe
// for concurrent use.
type Sign struct {
	name string
	mu   sync.Mutex
	held *os.File
}

// NewSign names a sign; its device is made by Make.
func NewSign(name string) *Sign { return &Sign{name: name} }

// Make makes the device, without carrier, if there is none. It outlives its maker.
func (s *Sign) Make() error {
	if _, err := netlink.LinkByName(s.name); err == nil {
		return nil
	}
	f, err := s.attach()
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.IoctlSetInt(int(f.Fd()), unix.TUNSETPERSIST, 1); err != nil {
		return fmt.Errorf("device %s: %w", s.name, err)
	}
	return nil
}

// Hold sets the device up and gives it carrier, until the process ends.
func (s *Sign) Hold() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held != nil {
		return nil
	}
	link, err := netlink.LinkByName(s.name)
	if err != nil {
		return fmt.Errorf("device %s: %w", s.name, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("device %s: %w", s.name, err)
	}
	s.held, err = s.attach()
	return err
}

// Remove deletes the device, if there is one.
func (s *Sign) Remove() error {
	link, err := netlink.LinkByName(s.name)
	var none netlink.LinkNotFoundError
	if errors.As(err, &none) {
		return nil
	}
	if err == nil {
		err = netlink.LinkDel(link)
	}
	if err != nil {
		return fmt.Errorf("device %s: %w", s.name, err)
	}
	return nil
}

// attach opens the device, which makes it if it does not exist.
func (s *Sign) attach() (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("device %s: /dev/net/tun: %w", s.name, err)
	}
	f := os.NewFile(uintptr(fd), "/dev/net/tun")
	request, err := unix.NewIfreq(s.name)
	if err == nil {
		request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("device %s: %w", s.name, err)
	}
	return f, nil
}
