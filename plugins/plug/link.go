package plug

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"tuplenet/datapath/host"
	"tuplenet/model"
)

// maxAlias is the longest alias of a device, in bytes (IFALIASZ of linux/if.h, less its end).
const maxAlias = 255

// vethGroup marks the host's end of a veth from its birth, by the group of the device (ip-link(8), group), until it has the mark of
// its port: the kernel takes an alias only for a device that exists, and a plugin can be killed in between.
const vethGroup = 0x7470

// alias marks both ends of a veth with its logical port.
func alias(port string) string { return port[:min(len(port), maxAlias)] }

// makeVeth makes the pair here, both ends down, with everything set that goes with them wherever they are moved. A pair of
// the same port that is left over is replaced; a device of somebody else is errNameTaken.
func makeVeth(c Cable, device, inside string, userspace bool) error {
	for _, name := range []string{device, inside} {
		if err := removeLink(name, c.Port); err != nil {
			return err
		}
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.Group = device, c.MTU, vethGroup
	err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: inside, PeerHardwareAddr: c.MAC[:], PeerMTU: uint32(c.MTU)})
	switch {
	case errors.Is(err, unix.EEXIST):
		return fmt.Errorf("%w: %s or %s", errNameTaken, device, inside)
	case err != nil:
		return fmt.Errorf("make veth %s: %w", device, err)
	}
	for _, name := range []string{device, inside} {
		if err := dress(name, c.Port, userspace); err != nil {
			return errors.Join(err, removeNew(device))
		}
	}
	return nil
}

// dress marks an end and sets its offloads.
func dress(name, port string, userspace bool) error {
	l, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkSetAlias(l, alias(port))
	}
	if err != nil {
		return fmt.Errorf("mark %s: %w", name, err)
	}
	if !userspace {
		return nil
	}
	return host.DisableTxOffload(name)
}

// removeNew removes a device that was made a moment ago and may have no mark yet.
func removeNew(name string) error {
	l, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkDel(l)
	}
	return ignoreMissing(err)
}

// removeLink removes a device, and with it the other end of its veth, if it is one of ours for that port. What is not there
// is removed already; a device of somebody else is left alone, which errNameTaken says later to whom it matters.
func removeLink(name, port string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return ignoreMissing(err)
	}
	newborn := l.Attrs().Alias == "" && l.Attrs().Group == vethGroup
	if l.Type() != "veth" && l.Type() != "tuntap" || !newborn && l.Attrs().Alias != alias(port) {
		return nil
	}
	if err := ignoreMissing(netlink.LinkDel(l)); err != nil {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	return nil
}

// ignoreMissing is nil for the errors that say that a device does not exist (any more).
func ignoreMissing(err error) error {
	if _, missing := errors.AsType[netlink.LinkNotFoundError](err); missing || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

// startLink brings the host's end up.
func startLink(name string) (mac model.MAC, err error) {
	l, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkSetUp(l)
	}
	if err != nil {
		return mac, fmt.Errorf("bring %s up: %w", name, err)
	}
	copy(mac[:], l.Attrs().HardwareAddr)
	return mac, nil
}

// moveInside moves the container's end into its namespace and makes it work there. It returns the gateways that default routes
// were made for.
func moveInside(c Cable, inside string) ([]netip.Addr, error) {
	ns, err := netns.GetFromPath(c.Namespace)
	if err != nil {
		return nil, fmt.Errorf("%w: open %s: %w", ErrNamespace, c.Namespace, err)
	}
	defer ns.Close()
	links, err := netlink.NewHandleAt(ns)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrNamespace, c.Namespace, err)
	}
	defer links.Close()
	if _, err := links.LinkByName(c.Interface); ignoreMissing(err) != nil {
		return nil, fmt.Errorf("look for %s in %s: %w", c.Interface, c.Namespace, err)
	} else if err == nil {
		return nil, fmt.Errorf("%w: it has an interface %s already", ErrNamespace, c.Interface)
	}
	l, err := netlink.LinkByName(inside)
	if err == nil {
		err = netlink.LinkSetNsFd(l, int(ns))
	}
	if err != nil {
		return nil, fmt.Errorf("move %s into %s: %w", inside, c.Namespace, err)
	}
	if l, err = links.LinkByName(inside); err == nil { // its number may be another one there
		err = links.LinkSetName(l, c.Interface)
	}
	if err != nil {
		return nil, fmt.Errorf("name the interface %s in %s: %w", c.Interface, c.Namespace, err)
	}
	if err := inNamespace(ns, func() error { return settings6(c.Interface, c.Addresses) }); err != nil {
		return nil, err
	}
	if err := address(links, l, c); err != nil {
		return nil, err
	}
	return route(links, l, c.Gateways)
}

// address gives the container's interface its addresses and brings it up.
func address(links *netlink.Handle, l netlink.Link, c Cable) error {
	for _, a := range c.Addresses {
		addr := &netlink.Addr{IPNet: &net.IPNet{IP: a.Addr().AsSlice(), Mask: net.CIDRMask(a.Bits(), a.Addr().BitLen())}}
		if a.Addr().Is6() {
			addr.Flags = unix.IFA_F_NODAD // the store has made sure; else it would not be usable for a second
		}
		if err := links.AddrAdd(l, addr); err != nil {
			return fmt.Errorf("give %s the address %s: %w", c.Interface, a, err)
		}
	}
	if err := links.LinkSetUp(l); err != nil {
		return fmt.Errorf("bring %s up: %w", c.Interface, err)
	}
	return nil
}

// route makes the default routes. Where there is one already, another interface leads to the world.
func route(links *netlink.Handle, l netlink.Link, gateways []netip.Addr) (made []netip.Addr, err error) {
	for _, g := range gateways {
		err := links.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: everything(g), Gw: g.AsSlice()})
		switch {
		case err == nil:
			made = append(made, g)
		case !errors.Is(err, unix.EEXIST):
			return nil, fmt.Errorf("route by way of %s: %w", g, err)
		}
	}
	return made, nil
}

// everything is the destination of the default route of a family.
func everything(gateway netip.Addr) *net.IPNet {
	n := gateway.BitLen()
	return &net.IPNet{IP: make(net.IP, n/8), Mask: net.CIDRMask(0, n)}
}

// settings6 turns IPv6 on for an interface that has such an address: runtimes turn it off where they do not expect it. Nobody
// else has the link-local address either, so that need not be asked for.
func settings6(name string, addresses []netip.Prefix) error {
	for _, a := range addresses {
		if !a.Addr().Is6() {
			continue
		}
		dir := filepath.Join("/proc/sys/net/ipv6/conf", name)
		for _, s := range []struct{ name, value string }{{"disable_ipv6", "0"}, {"accept_dad", "0"}} {
			if err := os.WriteFile(filepath.Join(dir, s.name), []byte(s.value), 0o644); err != nil {
				return fmt.Errorf("turn IPv6 on for %s: %w", name, err)
			}
		}
		return nil
	}
	return nil
}

// inNamespace runs f on a thread in a network namespace. The thread ends with it.
func inNamespace(ns netns.NsHandle, f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread is not used for anything else
		if err := netns.Set(ns); err != nil {
			done <- fmt.Errorf("%w: enter it: %w", ErrNamespace, err)
			return
		}
		done <- f()
	}()
	return <-done
}
