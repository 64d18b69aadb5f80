package host

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// kernelStack is the network stack of this namespace, over netlink.
type kernelStack struct{}

func (kernelStack) route(peer netip.Addr) (h hop, ok bool, err error) {
	routes, err := netlink.RouteGet(peer.AsSlice())
	if err != nil {
		return hop{}, false, fmt.Errorf("no route to %s: %w", peer, err)
	}
	if len(routes) == 0 {
		return hop{}, false, fmt.Errorf("no route to %s", peer)
	}
	r := routes[0]
	if r.Type == unix.RTN_LOCAL {
		return hop{}, false, nil
	}
	h = hop{addr: peer, device: r.LinkIndex}
	if gateway, ok := netip.AddrFromSlice(r.Gw); ok {
		h.addr = gateway.Unmap()
	} else if via, ok := r.Via.(*netlink.Via); ok { // an IPv4 route over an IPv6 gateway (RFC 8950)
		if gateway, ok := netip.AddrFromSlice(via.Addr); ok {
			h.addr = gateway
		}
	}
	if source, ok := netip.AddrFromSlice(r.Src); ok {
		h.source = source.Unmap()
	}
	return h, true, nil
}

func (kernelStack) states() (map[hopID]neighbourState, error) {
	states := map[hopID]neighbourState{}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		list, err := dump(func() ([]netlink.Neigh, error) { return netlink.NeighList(0, family) })
		if err != nil {
			return nil, fmt.Errorf("listing neighbours: %w", err)
		}
		for _, n := range list {
			addr, ok := netip.AddrFromSlice(n.IP)
			if !ok {
				continue
			}
			id := hopID{addr.Unmap(), n.LinkIndex}
			switch {
			case n.State&(netlink.NUD_PERMANENT|netlink.NUD_NOARP) != 0:
				states[id] = static
			case n.State&(netlink.NUD_REACHABLE|netlink.NUD_STALE|netlink.NUD_DELAY|netlink.NUD_PROBE) != 0:
				states[id] = resolved
			}
		}
	}
	return states, nil
}

// resolve has the kernel send what it sends before the first packet to a neighbour: a broadcast ARP request, or a
// neighbour solicitation by multicast.
func (kernelStack) resolve(h hop) error {
	err := netlink.NeighSet(&netlink.Neigh{LinkIndex: h.device, IP: h.addr.AsSlice(), Flags: netlink.NTF_USE})
	if err != nil {
		return fmt.Errorf("resolving %s: %w", h.addr, err)
	}
	return nil
}

// probe asks a neighbour that the kernel knows already. For IPv4 the kernel does it by a unicast ARP request, if told to
// doubt its entry. For IPv6 its unicast solicitation would not do: Linux answers that without the link-layer address,
// and OVS learns only from an advertisement that has it; so a solicitation by multicast is sent from here.
func (kernelStack) probe(h hop) error {
	if h.addr.Is6() {
		return solicit(h)
	}
	err := netlink.NeighSet(&netlink.Neigh{LinkIndex: h.device, IP: h.addr.AsSlice(), State: netlink.NUD_PROBE})
	if errors.Is(err, unix.EINVAL) { // the entry has lost its address in this moment
		return nil
	}
	if err != nil {
		return fmt.Errorf("probing %s: %w", h.addr, err)
	}
	return nil
}

// solicit sends a neighbour solicitation (RFC 4861 §4.3) to the solicited-node multicast address of h.
func solicit(h hop) error {
	link, err := netlink.LinkByIndex(h.device)
	if err != nil {
		return fmt.Errorf("soliciting %s: %w", h.addr, err)
	}
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_ICMPV6)
	if err != nil {
		return fmt.Errorf("soliciting %s: %w", h.addr, err)
	}
	defer unix.Close(fd)
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, 255),
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF, h.device),
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_LOOP, 0))
	if err == nil && h.source.Is6() {
		err = unix.Bind(fd, &unix.SockaddrInet6{Addr: h.source.As16(), ZoneId: uint32(h.device)})
	}
	if err == nil {
		to := &unix.SockaddrInet6{Addr: solicitedNode(h.addr), ZoneId: uint32(h.device)}
		err = unix.Sendto(fd, solicitation(h.addr, link.Attrs().HardwareAddr), 0, to)
	}
	if err != nil {
		return fmt.Errorf("soliciting %s: %w", h.addr, err)
	}
	return nil
}

// solicitedNode is the multicast address on which the holder of addr listens (RFC 4291 §2.7.1).
func solicitedNode(addr netip.Addr) [16]byte {
	a := addr.As16()
	return [16]byte{0: 0xff, 1: 2, 11: 1, 12: 0xff, 13: a[13], 14: a[14], 15: a[15]}
}

// solicitation is the ICMPv6 message; the kernel fills the checksum in (RFC 3542 §3.1).
func solicitation(target netip.Addr, mac net.HardwareAddr) []byte {
	const typeSolicitation, optionSource = 135, 1
	addr := target.As16()
	b := append([]byte{typeSolicitation, 0, 0, 0, 0, 0, 0, 0}, addr[:]...)
	if len(mac) == 6 {
		b = append(b, optionSource, 1)
		b = append(b, mac...)
	}
	return b
}
