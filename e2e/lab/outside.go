package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// outsideName is the name of the node that holds the physical world outside of the edges.
const outsideName = "outside"

// Linux bridges of the outside node.
const (
	outsideLAN = "lan"
	outsideFar = "far"
)

// Outside is the physical world that the edges lead to: a LAN with a router and a server, and a second subnet with a
// server behind the router. Nothing of it knows the virtual network; there is no route back to its addresses.
//
//	edges ── lan 192.168.1.0/24, 2001:db8:ffff::/64 ──┬── server .250, ::250
//	                                                  └── router .1, ::1 ── 198.51.100.0/24, 2001:db8:fffe::/64 ── far .10, ::10
//
// Far answers for all of Destinations and Destinations6, too, which the router has a route to. The three stations are
// workloads of a host without a switch: Plug and Unplug are not for them.
type Outside struct {
	*node
	// Router is the LAN's default gateway.
	Router *Workload
	// Server is a host on the LAN.
	Server *Workload
	// Far is a host behind the router.
	Far *Workload
}

// Networks of addresses that Far answers for.
const (
	destinations4 = "198.18.0.0/15" // for benchmarks, RFC 2544
	destinations6 = "2001:db8:fffd::/64"
)

// stations are the addresses outside; the first interface of each is eth0.
var outsideStations = struct{ router, routerFar, server, far []netip.Prefix }{
	router:    prefixes("192.168.1.1/24", "2001:db8:ffff::1/64"),
	routerFar: prefixes("198.51.100.1/24", "2001:db8:fffe::1/64"),
	server:    prefixes("192.168.1.250/24", "2001:db8:ffff::250/64"),
	far:       prefixes("198.51.100.10/24", "2001:db8:fffe::10/64"),
}

func prefixes(all ...string) (p []netip.Prefix) {
	for _, a := range all {
		p = append(p, netip.MustParsePrefix(a))
	}
	return p
}

func addrsOf(all []netip.Prefix) (a []netip.Addr) {
	for _, p := range all {
		a = append(a, p.Addr())
	}
	return a
}

// Outside is the world outside of the edges; nil if the lab has no edges.
func (l *Lab) Outside() *Outside { return l.outside }

// Destinations are n addresses of Far, one after the other, at most 65,536.
func (o *Outside) Destinations(n int) []netip.Addr { return following(destinations4, n) }

// Destinations6 is Destinations with IPv6.
func (o *Outside) Destinations6(n int) []netip.Addr { return following(destinations6, n) }

func following(network string, n int) (all []netip.Addr) {
	a := netip.MustParsePrefix(network).Addr()
	for range n {
		a = a.Next()
		all = append(all, a)
	}
	return all
}

// newOutside makes the outside world. Hosts that are edges plug themselves in.
func newOutside(ctx context.Context, l *Lab) (*Outside, error) {
	n, err := newNode(ctx, l, outsideName)
	if err != nil {
		return nil, err
	}
	if err := l.recordNode(n); err != nil {
		return nil, err
	}
	o := &Outside{node: n}
	o.nameStations()
	for _, bridge := range []string{outsideLAN, outsideFar} {
		if err := o.addBridge(bridge, 1500, nil); err != nil {
			return nil, err
		}
	}
	for _, s := range []struct {
		station *Workload
		bridge  string
	}{{o.Router, outsideLAN}, {o.Server, outsideLAN}, {o.Far, outsideFar}} {
		if err := o.addStation(ctx, s.station, s.bridge); err != nil {
			return nil, fmt.Errorf("station %s: %w", s.station.Name, err)
		}
	}
	if err := o.makeRouter(ctx); err != nil {
		return nil, fmt.Errorf("station %s: %w", o.Router.Name, err)
	}
	for _, network := range []string{destinations4, destinations6} {
		if _, err := o.Far.Exec(ctx, "ip", "route", "add", "local", network, "dev", "lo"); err != nil {
			return nil, err
		}
	}
	return o, o.joinUnderlay()
}

// nameStations makes the handles of the stations.
func (o *Outside) nameStations() {
	h := &Host{node: o.node}
	s := outsideStations
	station := func(name string, addrs []netip.Prefix, gateways []netip.Prefix) *Workload {
		return &Workload{Name: name, Host: h, cfg: WorkloadConfig{Name: name, Interface: PodIfEth0, MTU: 1500, Addrs: addrs, Gateways: addrsOf(gateways)}}
	}
	o.Router = station("router", s.router, nil)
	o.Server = station("server", s.server, s.router)
	o.Far = station("far", s.far, s.routerFar)
}

// addStation makes a station's namespace, with eth0 on a bridge.
func (o *Outside) addStation(ctx context.Context, w *Workload, bridge string) error {
	if _, err := o.Exec(ctx, "ip", "netns", "add", w.Name); err != nil {
		return err
	}
	if err := w.configure(ctx, w.cfg); err != nil {
		return err
	}
	return o.enslave(w.Device(), bridge)
}

// enslave makes a device a port of a Linux bridge of the node.
func (n *node) enslave(device, bridge string) error {
	return n.withLinks("", func(h *netlink.Handle, _ netns.NsHandle) error {
		link, err := h.LinkByName(device)
		if err != nil {
			return fmt.Errorf("link %s: %w", device, err)
		}
		br, err := h.LinkByName(bridge)
		if err != nil {
			return fmt.Errorf("bridge %s: %w", bridge, err)
		}
		if err := h.LinkSetMaster(link, br); err != nil {
			return fmt.Errorf("%s into %s: %w", device, bridge, err)
		}
		return nil
	})
}

// makeRouter gives the router its second interface and makes it forward.
func (o *Outside) makeRouter(ctx context.Context) error {
	err := o.withLinks("", func(outer *netlink.Handle, _ netns.NsHandle) error {
		return o.withLinks(o.Router.Name, func(inner *netlink.Handle, ns netns.NsHandle) error {
			attrs := netlink.NewLinkAttrs()
			attrs.Name = "v-router-far"
			v := &netlink.Veth{LinkAttrs: attrs, PeerName: "eth1", PeerNamespace: netlink.NsFd(ns)}
			if err := outer.LinkAdd(v); err != nil {
				return fmt.Errorf("veth: %w", err)
			}
			return errors.Join(setUp(outer, attrs.Name), configure(inner, "eth1", outsideStations.routerFar))
		})
	})
	if err != nil {
		return err
	}
	if err := o.enslave("v-router-far", outsideFar); err != nil {
		return err
	}
	err = o.Router.InNet(func() error {
		for _, s := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
			if err := os.WriteFile("/proc/sys/net/"+s, []byte("1"), 0o644); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	far := o.Far.Addrs()
	for _, args := range [][]string{
		{"ethtool", "-K", "eth1", "tx", "off"},
		{"ip", "route", "add", destinations4, "via", far[0].String()},
		{"ip", "route", "add", destinations6, "via", far[1].String()},
	} {
		if _, err := o.Router.Exec(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

// joinUnderlay makes the underlay part of the LAN if an edge has one interface for both.
func (o *Outside) joinUnderlay() error {
	for _, e := range o.lab.cfg.Edges {
		if e.Layout != OneNIC {
			continue
		}
		if err := o.lab.wire.plug(o.node, "underlay", "outside", "underlay", o.lab.cfg.UnderlayMTU); err != nil {
			return err
		}
		if err := o.enslave("underlay", outsideLAN); err != nil {
			return err
		}
		return o.withLinks("", func(h *netlink.Handle, _ netns.NsHandle) error { return setUp(h, "underlay") })
	}
	return nil
}

// Capture records packets on the LAN, all of them whoever they are for; filter is a pcap-filter(7) expression.
func (o *Outside) Capture(ctx context.Context, filter string) (*Capture, error) {
	return o.capture(ctx, outsideName+"-"+outsideLAN, nil, outsideLAN, filter)
}

// CaptureOutside records what an edge sends to and gets from the outside LAN.
func (h *Host) CaptureOutside(ctx context.Context, filter string) (*Capture, error) {
	return h.Capture(ctx, h.OutsideDevice(), filter)
}
