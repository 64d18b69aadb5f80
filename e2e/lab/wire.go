package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// wireName is the name of the node that holds the networks between the hosts.
const wireName = "wire"

// The networks. Every lab is alone in its namespaces, so all use the same addresses.
const (
	underlay4   = "192.168.1."    // + 10 + index, /24; the wire itself has .1
	underlay6   = "2001:db8:ff::" // + 10 + index, /64
	management4 = "10.254.0."     // + 10 + index, /24; the wire itself has .1
	management6 = "fd00:254::"    // + 10 + index, /64
	firstHost   = 10
)

// wire is the physical network: a node with one Linux bridge for the underlay and, unless etcd runs on a host, one for
// management. Hosts hang on it by veth pairs u-<host> and m-<host>.
type wire struct{ *node }

func newWire(ctx context.Context, l *Lab) (*wire, error) {
	n, err := newNode(ctx, l, wireName)
	if err != nil {
		return nil, err
	}
	if err := l.recordNode(n); err != nil {
		return nil, err
	}
	w := &wire{node: n}
	if err := w.addBridge("underlay", l.cfg.UnderlayMTU, nil); err != nil {
		return nil, err
	}
	if l.cfg.Etcd == EtcdManagement {
		addrs := []netip.Prefix{netip.MustParsePrefix(management4 + "1/24"), netip.MustParsePrefix(management6 + "1/64")}
		if err := w.addBridge("management", 1500, addrs); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// addBridge makes a learning bridge, with addresses of its own if given.
func (n *node) addBridge(name string, mtu int, addrs []netip.Prefix) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = name, mtu
	// Without an address of its own, a bridge takes the lowest of its ports, and changes it when that host goes: then
	// all others look for etcd at an old one until their neighbour entries age.
	attrs.HardwareAddr = net.HardwareAddr{0x02, 0x74, 0x6e, 0, 0, 1}
	snooping := false
	return n.withLinks("", func(h *netlink.Handle, _ netns.NsHandle) error {
		b := &netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &snooping}
		if err := h.LinkAdd(b); err != nil {
			return fmt.Errorf("bridge %s: %w", name, err)
		}
		return configure(h, name, addrs)
	})
}

// plug makes a veth pair between a Linux bridge of the node and a host; the host's end is called inside.
func (n *node) plug(h *node, bridge, outside, inside string, mtu int) error {
	return h.withLinks("", func(_ *netlink.Handle, ns netns.NsHandle) error {
		return n.withLinks("", func(wh *netlink.Handle, _ netns.NsHandle) error {
			br, err := wh.LinkByName(bridge)
			if err != nil {
				return fmt.Errorf("bridge %s: %w", bridge, err)
			}
			attrs := netlink.NewLinkAttrs()
			attrs.Name, attrs.MTU, attrs.MasterIndex = outside, mtu, br.Attrs().Index
			v := &netlink.Veth{LinkAttrs: attrs, PeerName: inside, PeerNamespace: netlink.NsFd(ns), PeerMTU: uint32(mtu)}
			if err := wh.LinkAdd(v); err != nil {
				return fmt.Errorf("veth %s: %w", outside, err)
			}
			return setUp(wh, outside)
		})
	})
}

// setLink turns the node's end of a host's link on or off.
func (n *node) setLink(name string, up bool) error {
	return n.withLinks("", func(h *netlink.Handle, _ netns.NsHandle) error {
		if up {
			return setUp(h, name)
		}
		link, err := h.LinkByName(name)
		if err != nil {
			return fmt.Errorf("link %s: %w", name, err)
		}
		return h.LinkSetDown(link)
	})
}

// withLinks calls f with a netlink handle in the network namespace of the node, or of a namespace made on it.
func (n *node) withLinks(workload string, f func(*netlink.Handle, netns.NsHandle) error) error {
	ns, err := netns.GetFromPath(n.netPath(workload))
	if err != nil {
		return fmt.Errorf("network namespace of %s %s: %w", n.name, workload, err)
	}
	defer ns.Close()
	h, err := netlink.NewHandleAt(ns)
	if err != nil {
		return fmt.Errorf("netlink of %s %s: %w", n.name, workload, err)
	}
	defer h.Close()
	return f(h, ns)
}

func setUp(h *netlink.Handle, name string) error {
	link, err := h.LinkByName(name)
	if err != nil {
		return fmt.Errorf("link %s: %w", name, err)
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("link %s up: %w", name, err)
	}
	return nil
}

// configure gives a link the addresses that it lacks and turns it on.
func configure(h *netlink.Handle, name string, addrs []netip.Prefix) error {
	link, err := h.LinkByName(name)
	if err != nil {
		return fmt.Errorf("link %s: %w", name, err)
	}
	for _, a := range addrs {
		addr, err := netlink.ParseAddr(a.String())
		if err != nil {
			return fmt.Errorf("address %s: %w", a, err)
		}
		if err := h.AddrReplace(link, addr); err != nil {
			return fmt.Errorf("address %s of %s: %w", a, name, err)
		}
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("link %s up: %w", name, err)
	}
	return nil
}
