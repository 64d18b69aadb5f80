package multicast

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tuplenet/datapath/host"
)

// devices are those of this namespace, as they were read.
type devices struct {
	byName  map[string]netlink.Link
	byIndex map[int]netlink.Link
}

// readTries is how often a dump that the kernel interrupted is repeated.
const readTries = 5

func readDevices() (d devices, err error) {
	var all []netlink.Link
	for range readTries {
		if all, err = netlink.LinkList(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	if err != nil {
		return d, fmt.Errorf("list devices: %w", err)
	}
	d = devices{byName: map[string]netlink.Link{}, byIndex: map[int]netlink.Link{}}
	for _, l := range all {
		d.byName[l.Attrs().Name], d.byIndex[l.Attrs().Index] = l, l
	}
	return d, nil
}

func isOurs(l netlink.Link) bool { return l.Attrs().Group == Mark }

// reconcile makes the wanted networks and removes what is left of others. left counts what is ours and could not be removed, or
// is still used. Networks fail independently. used are the names that the switch may know already, by VXLAN device.
func reconcile(wanted []Network, used map[string]string) (state State, left int, err error) {
	d, err := readDevices()
	if err != nil {
		return nil, 0, err
	}
	left = d.clean(wanted)
	state = State{}
	for _, n := range wanted {
		c := Condition{}
		if inside := d.pair(n); inside != nil {
			c.Inside = inside.Attrs().Name
		}
		made, err := d.ensure(n, used[n.Device])
		if err != nil {
			c.Problem = err.Error()
		} else {
			c.Inside = made
		}
		state[n.Device] = c
	}
	return state, left, nil
}

// pair is the inner end of the veth pair of a network, if all of the pair is there.
func (d devices) pair(n Network) netlink.Link {
	outside := d.byName[n.Outside]
	for _, name := range n.Inside {
		l := d.byName[name]
		if l != nil && outside != nil && isOurs(l) && l.Type() == "veth" && outside.Attrs().ParentIndex == l.Attrs().Index && d.isPeerOfOurs(outside) {
			return l
		}
	}
	return nil
}

// clean removes what is ours and of no wanted network. A bridge that somebody else put a device into stays, with its VXLAN
// device, until that is taken out: it carries somebody's frames.
func (d devices) clean(wanted []Network) (left int) {
	keep := map[string]bool{}
	for _, n := range wanted {
		keep[n.Device], keep[n.Bridge], keep[n.Inside[0]], keep[n.Inside[1]], keep[n.Outside] = true, true, true, true, true
	}
	used := map[int]bool{} // bridges
	for _, l := range d.byName {
		if l.Attrs().MasterIndex != 0 && !isOurs(l) && !d.isPeerOfOurs(l) {
			used[l.Attrs().MasterIndex] = true
		}
	}
	for name, l := range d.byName {
		if !isOurs(l) || keep[name] {
			continue
		}
		if used[l.Attrs().Index] || l.Type() != "veth" && used[l.Attrs().MasterIndex] {
			left++
			continue
		}
		if err := gone(netlink.LinkDel(l)); err != nil {
			left++
			continue
		}
		delete(d.byName, name)
	}
	return left
}

// isPeerOfOurs tells whether a device is the other end of a veth of ours: only one end of a pair is born with the mark.
func (d devices) isPeerOfOurs(l netlink.Link) bool {
	peer := d.byIndex[l.Attrs().ParentIndex]
	return l.Type() == "veth" && l.Attrs().NetNsID < 0 && peer != nil && isOurs(peer)
}

// ensure makes a network, and names its inner end. That comes last: what has it works.
func (d devices) ensure(n Network, used string) (inside string, err error) {
	underlay, err := d.underlay(n)
	if err != nil {
		return "", err
	}
	tunnel, err := d.tunnel(n, underlay)
	if err != nil {
		return "", err
	}
	bridge, err := d.bridge(n)
	if err != nil {
		return "", err
	}
	mtu := underlay.Attrs().MTU - overhead
	if err := put(tunnel, bridge, mtu); err != nil {
		return "", err
	}
	if err := bringUp(bridge); err != nil {
		return "", err
	}
	if err := bringUp(tunnel); errors.Is(err, unix.EADDRINUSE) {
		return "", problem("%s cannot be used: UDP port %d is used by another program or tunnel of this host", n.Device, n.Port)
	} else if err != nil {
		return "", err
	}
	return d.cable(n, used, bridge, mtu)
}

// overhead is what VXLAN over IPv6 adds to an IP packet: IPv6, UDP, VXLAN and the inner Ethernet header.
const overhead = 40 + 8 + 8 + 14

// underlay checks the device that leads to the other hosts.
func (d devices) underlay(n Network) (netlink.Link, error) {
	l := d.byName[n.Underlay]
	if l == nil {
		return nil, problem("there is no device %s, which is to lead to the other hosts", n.Underlay)
	}
	if l.Attrs().Flags&net.FlagUp == 0 {
		return nil, problem("device %s, which is to lead to the other hosts, is down", n.Underlay)
	}
	addrs, err := netlink.AddrList(l, netlink.FAMILY_V6)
	if err != nil {
		return nil, fmt.Errorf("read the addresses of %s: %w", n.Underlay, err)
	}
	for _, a := range addrs {
		if a.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) == 0 || a.Flags&unix.IFA_F_OPTIMISTIC != 0 {
			return l, nil
		}
	}
	return nil, problem("device %s has no IPv6 address (a link-local one is enough): the groups of multicast networks are IPv6", n.Underlay)
}

// tunnel is the VXLAN device; one of ours that is not as it should be is replaced, for most of it cannot be changed.
func (d devices) tunnel(n Network, underlay netlink.Link) (netlink.Link, error) {
	if l := d.byName[n.Device]; l != nil {
		if !isOurs(l) {
			return nil, inTheWay(n.Device)
		}
		if isTunnel(l, n, underlay) {
			return l, nil
		}
		if err := gone(netlink.LinkDel(l)); err != nil {
			return nil, fmt.Errorf("remove %s: %w", n.Device, err)
		}
	}
	err := netlink.LinkAdd(&netlink.Vxlan{
		LinkAttrs: marked(n.Device), VxlanId: int(n.ID), VtepDevIndex: underlay.Attrs().Index, Group: n.Group.AsSlice(), Port: int(n.Port),
		TTL: int(n.HopLimit), Learning: true,
	})
	if errors.Is(err, unix.EEXIST) {
		for name, l := range d.byName {
			if v, ok := l.(*netlink.Vxlan); ok && v.VxlanId == int(n.ID) && name != n.Device {
				return nil, problem("device %s has VNI %d already and was not made by tuplenet: remove it (ip link del %s)", name, n.ID, name)
			}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("make %s: %w", n.Device, err)
	}
	return born(n.Device)
}

// isTunnel tells whether a device is the VXLAN device of a network.
func isTunnel(l netlink.Link, n Network, underlay netlink.Link) bool {
	v, ok := l.(*netlink.Vxlan)
	if !ok {
		return false
	}
	group, _ := netip.AddrFromSlice(v.Group)
	return v.VxlanId == int(n.ID) && group == n.Group && v.VtepDevIndex == underlay.Attrs().Index && v.Port == int(n.Port) &&
		v.TTL == int(n.HopLimit) && v.Learning
}

// bridge is the Linux bridge. It floods multicast like a plain Ethernet: nobody in it asks who listens, and the members of the groups
// of workloads are anywhere.
func (d devices) bridge(n Network) (netlink.Link, error) {
	if l := d.byName[n.Bridge]; l != nil {
		if !isOurs(l) || l.Type() != "bridge" {
			return nil, inTheWay(n.Bridge)
		}
		return l, nil
	}
	snooping := false
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: marked(n.Bridge), MulticastSnooping: &snooping}); err != nil {
		return nil, fmt.Errorf("make bridge %s: %w", n.Bridge, err)
	}
	return born(n.Bridge)
}

// cable is the veth pair between the integration bridge and that of the network.
func (d devices) cable(n Network, used string, bridge netlink.Link, mtu int) (string, error) {
	inside, outside := d.pair(n), d.byName[n.Outside]
	if inside == nil {
		var err error
		if inside, outside, err = d.newPair(n, used, mtu); err != nil {
			return "", err
		}
	}
	name := inside.Attrs().Name
	if n.Userspace {
		for _, end := range []string{name, n.Outside} {
			if err := host.DisableTxOffload(end); err != nil {
				return "", err
			}
		}
	}
	if err := put(outside, bridge, mtu); err != nil {
		return "", err
	}
	if inside.Attrs().MTU != mtu {
		if err := netlink.LinkSetMTU(inside, mtu); err != nil {
			return "", fmt.Errorf("set the MTU of %s to %d: %w", name, mtu, err)
		}
	}
	if err := bringUp(outside); err != nil {
		return "", err
	}
	return name, bringUp(inside)
}

// newPair makes the veth pair, by a name for its inner end that the switch does not know, if there is one.
func (d devices) newPair(n Network, used string, mtu int) (inside, outside netlink.Link, err error) {
	for _, name := range n.Inside { // the other half of it was moved elsewhere
		if l := d.byName[name]; l != nil && isOurs(l) {
			if err := gone(netlink.LinkDel(l)); err != nil {
				return nil, nil, fmt.Errorf("remove %s: %w", name, err)
			}
			delete(d.byName, name)
		}
	}
	name := n.Inside[0]
	if name == n.Taken || name == used {
		name = n.Inside[1]
	}
	for _, end := range []string{name, n.Outside} {
		if d.byName[end] != nil {
			return nil, nil, inTheWay(end)
		}
	}
	attrs := marked(name)
	attrs.MTU = mtu
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: n.Outside, PeerMTU: uint32(mtu)}); err != nil {
		return nil, nil, fmt.Errorf("make veth %s: %w", name, err)
	}
	if inside, err = born(name); err == nil {
		outside, err = born(n.Outside)
	}
	return inside, outside, err
}

func marked(name string) netlink.LinkAttrs {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.Group = name, Mark
	return attrs
}

// born finds a device that was just made.
func born(name string) (netlink.Link, error) {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("read device %s: %w", name, err)
	}
	return l, nil
}

// put puts a device into a bridge, with an MTU.
func put(l, bridge netlink.Link, mtu int) error {
	name := l.Attrs().Name
	if l.Attrs().MasterIndex != bridge.Attrs().Index {
		if err := netlink.LinkSetMaster(l, bridge); err != nil {
			return fmt.Errorf("put %s into %s: %w", name, bridge.Attrs().Name, err)
		}
	}
	if l.Attrs().MTU != mtu {
		if err := netlink.LinkSetMTU(l, mtu); err != nil {
			return fmt.Errorf("set the MTU of %s to %d: %w", name, mtu, err)
		}
	}
	return nil
}

// bringUp brings a device up. It gets no IPv6 addresses by itself: the host's own stack has no part in the network.
func bringUp(l netlink.Link) error {
	if l.Attrs().Flags&net.FlagUp != 0 {
		return nil
	}
	err := os.WriteFile(filepath.Join("/proc/sys/net/ipv6/conf", l.Attrs().Name, "disable_ipv6"), []byte("1"), 0o644)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("turn IPv6 of %s off: %w", l.Attrs().Name, err)
	}
	if err := netlink.LinkSetUp(l); err != nil {
		return fmt.Errorf("bring %s up: %w", l.Attrs().Name, err)
	}
	return nil
}

// inTheWay says that a name is taken by somebody else.
func inTheWay(name string) error {
	return problem("device %s is in the way: it was not made by tuplenet, remove it (ip link del %s)", name, name)
}

// gone is nil for the errors that say that a device does not exist (any more).
func gone(err error) error {
	if _, missing := errors.AsType[netlink.LinkNotFoundError](err); missing || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}
