package host

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const flagUp = net.FlagUp

// Endpoint is the pair of addresses that a device offers for tunnels; an invalid Addr means that it has none of the family.
type Endpoint struct {
	Device Device
	V4, V6 netip.Addr
}

// Addrs are those that there are, the one of IPv4 first.
func (e Endpoint) Addrs() []netip.Addr {
	return slices.DeleteFunc([]netip.Addr{e.V4, e.V6}, func(a netip.Addr) bool { return !a.IsValid() })
}

// EndpointOf chooses the addresses of a device for tunnels. Only global addresses count: not link-local, loopback,
// deprecated, tentative or temporary (RFC 8981) ones. Among several of a family the choice depends on the set of
// addresses alone, not on the order in which they came, so that a restart chooses the same again: permanent before
// dynamic, primary before secondary, those with a network before single ones (/32, /128: usually a virtual address that
// may move away), then the numerically lowest. ErrNoDevice; ErrNoAddress if there is none of either family.
func EndpointOf(device string) (Endpoint, error) {
	link, err := linkNamed(device)
	if err != nil {
		return Endpoint{}, err
	}
	list, err := addresses(link)
	if err != nil {
		return Endpoint{}, err
	}
	e := choose(list)
	e.Device = deviceOf(link)
	if !e.V4.IsValid() && !e.V6.IsValid() {
		return e, fmt.Errorf("%w on %s: no global address that is neither tentative, deprecated nor temporary", ErrNoAddress, device)
	}
	return e, nil
}

// CheckEndpoint says why addr cannot be a tunnel endpoint; nil if it can.
func CheckEndpoint(addr netip.Addr) error {
	reason := ""
	switch {
	case !addr.IsValid():
		reason = "not an address"
	case addr.Zone() != "" || addr.IsLinkLocalUnicast():
		reason = "link-local addresses have no meaning beyond one link, give a global or unique local one"
	case addr.IsLoopback():
		reason = "it is a loopback address"
	case addr.IsMulticast() || addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		reason = "it is not unicast"
	case addr.IsUnspecified():
		reason = "it is unspecified"
	case addr.Is4In6():
		reason = "write it as IPv4"
	default:
		return nil
	}
	return fmt.Errorf("%s cannot be a tunnel endpoint: %s", addr, reason)
}

// address is an address of a device with what the choice depends on.
type address struct {
	addr   netip.Addr
	bits   int
	device int // index
	flags  int // IFA_F_*
	global bool
}

// addresses lists the addresses of a device, or of all.
func addresses(link netlink.Link) (list []address, err error) {
	raw, err := dump(func() ([]netlink.Addr, error) { return netlink.AddrList(link, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("reading addresses: %w", err)
	}
	for _, a := range raw {
		addr, ok := netip.AddrFromSlice(a.IP)
		if !ok {
			continue
		}
		ones, _ := a.Mask.Size()
		list = append(list, address{addr.Unmap(), ones, a.LinkIndex, a.Flags, a.Scope == unix.RT_SCOPE_UNIVERSE})
	}
	return list, nil
}

// dump repeats a listing that the kernel had to interrupt because the table changed meanwhile.
func dump[T any](list func() ([]T, error)) (out []T, err error) {
	for range 5 {
		if out, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			return out, err
		}
	}
	return out, nil // some entries may be missing or twice; the change that interrupted will call for another look
}

// choose picks the endpoint from the addresses of a device.
func choose(list []address) (e Endpoint) {
	list = slices.DeleteFunc(slices.Clone(list), func(a address) bool { return !a.usable() })
	slices.SortFunc(list, func(a, b address) int {
		if d := a.rank() - b.rank(); d != 0 {
			return d
		}
		return a.addr.Compare(b.addr)
	})
	for _, a := range list {
		if a.addr.Is4() && !e.V4.IsValid() {
			e.V4 = a.addr
		}
		if a.addr.Is6() && !e.V6.IsValid() {
			e.V6 = a.addr
		}
	}
	return e
}

func (a address) usable() bool {
	unfit := unix.IFA_F_DEPRECATED | unix.IFA_F_DADFAILED
	if a.flags&unix.IFA_F_OPTIMISTIC == 0 {
		unfit |= unix.IFA_F_TENTATIVE
	}
	if a.addr.Is6() {
		unfit |= unix.IFA_F_TEMPORARY // the same bit as "secondary" of IPv4
	}
	return a.global && a.flags&unfit == 0 && CheckEndpoint(a.addr) == nil
}

// rank orders usable addresses: lower is better.
func (a address) rank() (r int) {
	if a.flags&unix.IFA_F_PERMANENT == 0 {
		r += 4
	}
	if a.addr.Is4() && a.flags&unix.IFA_F_SECONDARY != 0 {
		r += 2
	}
	if a.bits == a.addr.BitLen() {
		r++
	}
	return r
}
