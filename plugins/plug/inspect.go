package plug

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"tuplenet/model"
)

// Inside is how an interface in a container's namespace is set up.
type Inside struct {
	MAC       model.MAC
	MTU       int // bytes
	Up        bool
	Addresses []netip.Prefix // all but link-local ones
	Gateways  []netip.Addr   // of the default routes through it
}

// Inspect looks at an interface in a namespace. Errors: ErrNamespace if there is no such namespace or interface.
func Inspect(namespace, name string) (in Inside, err error) {
	ns, err := netns.GetFromPath(namespace)
	if err != nil {
		return in, fmt.Errorf("%w: open %s: %w", ErrNamespace, namespace, err)
	}
	defer ns.Close()
	links, err := netlink.NewHandleAt(ns)
	if err != nil {
		return in, fmt.Errorf("%w: %s: %w", ErrNamespace, namespace, err)
	}
	defer links.Close()
	l, err := links.LinkByName(name)
	if err != nil {
		return in, fmt.Errorf("%w: interface %s: %w", ErrNamespace, name, err)
	}
	a := l.Attrs()
	in.MTU, in.Up = a.MTU, a.Flags&1 != 0 // IFF_UP
	copy(in.MAC[:], a.HardwareAddr)
	addrs, err := links.AddrList(l, netlink.FAMILY_ALL)
	if err != nil {
		return in, fmt.Errorf("addresses of %s: %w", name, err)
	}
	for _, x := range addrs {
		ip, ok := netip.AddrFromSlice(x.IP)
		bits, _ := x.Mask.Size()
		if ok && x.Scope != unix.RT_SCOPE_LINK {
			in.Addresses = append(in.Addresses, netip.PrefixFrom(ip.Unmap(), bits))
		}
	}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		routes, err := links.RouteList(l, family)
		if err != nil {
			return in, fmt.Errorf("routes of %s: %w", name, err)
		}
		for _, r := range routes {
			if bits := prefixLength(r); bits != 0 {
				continue
			}
			if gw, ok := netip.AddrFromSlice(r.Gw); ok {
				in.Gateways = append(in.Gateways, gw.Unmap())
			}
		}
	}
	return in, nil
}

// prefixLength is that of a route's destination; the default route has none or 0.
func prefixLength(r netlink.Route) int {
	if r.Dst == nil {
		return 0
	}
	bits, _ := r.Dst.Mask.Size()
	return bits
}
