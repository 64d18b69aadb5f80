package controller

import (
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"tuplenet/datapath/host"
	"tuplenet/datapath/multicast"
	"tuplenet/datapath/ovsdb"
	"tuplenet/flows/compile"
	"tuplenet/flows/memo"
	"tuplenet/model"
)

// networks are the multicast networks that this node has ports of: their kernel devices, which the keeper makes, and the ports of the
// integration bridge that lead to them. A port of the bridge is asked for when its device is there; a device stays until
// its port is gone. It belongs to the loop.
type networks struct {
	wanted counted[compile.Multicast]
	keeper *multicast.Keeper
	states *latest[multicast.State] // from the keeper
	asked  []multicast.Network      // of the keeper
	set    bool                     // the keeper was asked once
}

func newNetworks(log *slog.Logger) *networks {
	n := &networks{wanted: counted[compile.Multicast]{}, states: newLatest[multicast.State]()}
	n.keeper = multicast.New(log, n.states.set)
	return n
}

// uplinkOwner is what the owner of a port that leads to a VXLAN device begins with; the name of the device follows.
const uplinkOwner = "multicast "

// uplinkOf reads such an owner.
func uplinkOf(i *ovsdb.Interface) (device string, ok bool) {
	if i == nil {
		return "", false
	}
	return strings.CutPrefix(i.Owner, uplinkOwner)
}

// uplinkNames are the ends of the veth pair of a network: two names for the port of the integration bridge, and the one in the Linux
// bridge.
func uplinkNames(device string) (inside [2]string, outside string) {
	digits := strings.TrimPrefix(device, "vxlan")
	return [2]string{"tnm-" + digits, "tno-" + digits}, "tnn-" + digits
}

// portsTo are the ports of ours to the VXLAN device of a network.
func portsTo(f ovsdb.Facts, device string) (names []string) {
	inside, _ := uplinkNames(device)
	for _, name := range inside {
		if d, ok := uplinkOf(f.Interfaces[name]); ok && d == device {
			names = append(names, name)
		}
	}
	return names
}

// take replaces what a unit asks for, and tells whether other ports are wanted now.
func (n *networks) take(c memo.Change[compile.Output]) bool {
	return n.wanted.replace(c.Old.Seldom().Multicast, c.New.Seldom().Multicast)
}

// ports are the ports of the integration bridge to the VXLAN devices that are there. As long as the keeper has said of none that it
// is there, those that the bridge has stay.
func (n *networks) ports(f ovsdb.Facts) (all []ovsdb.Port) {
	state := n.states.get()
	for w := range n.wanted {
		device := w.VNI.MulticastDevice()
		names := portsTo(f, device)
		if inside := state[device].Inside; inside != "" {
			names = []string{inside}
		}
		for _, name := range names {
			all = append(all, ovsdb.Port{Name: name, Owner: uplinkOwner + device})
		}
	}
	slices.SortFunc(all, func(a, b ovsdb.Port) int { return strings.Compare(a.Name, b.Name) })
	return slices.CompactFunc(all, func(a, b ovsdb.Port) bool { return a.Name == b.Name })
}

// uplinks finds the ports that lead to VXLAN devices, by what the database says: after a restart they are there before anybody has
// compiled what is wanted.
func uplinks(f ovsdb.Facts, bridge string) map[string]compile.Uplink {
	found := map[string]compile.Uplink{}
	for _, name := range slices.Sorted(maps.Keys(f.Interfaces)) {
		i := f.Interfaces[name]
		if device, ok := uplinkOf(i); ok && i.HasOFPort() && i.Bridge == bridge {
			found[device] = compile.Uplink{OFPort: uint32(i.OFPort)}
		}
	}
	return found
}

// keep tells the keeper what is wanted, and what still has a port in the bridge. Underlay is the device for networks that name none.
func (n *networks) keep(f ovsdb.Facts, bridge, underlay string) {
	userspace := f.Bridges[bridge] != nil && f.Bridges[bridge].DatapathType == ovsdb.DatapathNetdev
	by := map[string]multicast.Network{}
	for _, w := range slices.SortedFunc(maps.Keys(n.wanted), func(a, b compile.Multicast) int { return strings.Compare(a.Switch, b.Switch) }) {
		if _, twice := by[w.VNI.MulticastDevice()]; twice {
			continue
		}
		m := networkOf(w.VNI, w.Device, userspace)
		if m.Underlay == "" {
			m.Underlay = underlay
		}
		by[m.Device] = m
	}
	for _, old := range n.asked {
		if len(portsTo(f, old.Device)) > 0 {
			if _, wanted := by[old.Device]; !wanted {
				by[old.Device] = old
			}
		}
	}
	if !n.set { // what an earlier daemon left: its port first
		for _, i := range f.Interfaces {
			device, ok := uplinkOf(i)
			digits, isOne := strings.CutPrefix(device, "vxlan")
			id, err := strconv.ParseUint(digits, 16, 24)
			if _, wanted := by[device]; ok && isOne && err == nil && !wanted {
				m := networkOf(model.VNI(id), "", userspace)
				m.Underlay = underlay
				by[m.Device] = m
			}
		}
	}
	var all []multicast.Network
	for _, device := range slices.Sorted(maps.Keys(by)) {
		m := by[device]
		m.Taken = ""
		if taken := portsTo(f, device); len(taken) > 0 {
			m.Taken = taken[0]
		}
		all = append(all, m)
	}
	if n.set && reflect.DeepEqual(all, n.asked) {
		return
	}
	n.asked, n.set = all, true
	n.keeper.Set(all)
}

// networkOf is a multicast network in the words of the keeper.
func networkOf(vni model.VNI, underlay string, userspace bool) multicast.Network {
	device := vni.MulticastDevice()
	inside, outside := uplinkNames(device)
	return multicast.Network{ID: uint32(vni), Device: device, Bridge: vni.MulticastBridge(), Inside: inside, Outside: outside,
		Group: vni.MulticastGroup(), Port: model.MulticastPort, HopLimit: model.MulticastTTL, Underlay: underlay, Userspace: userspace}
}

// problems are those of the networks, on their switches. shared says that tunnels of the deployment use the same UDP port.
func (n *networks) problems(shared bool) (all []model.Problem) {
	state := n.states.get()
	for w := range n.wanted {
		key := model.Ref{Kind: model.KindSwitch, Name: w.Switch}.String()
		if why := state[w.VNI.MulticastDevice()].Problem; why != "" {
			all = append(all, model.Problem{Key: key, Reason: why})
		}
		if shared {
			all = append(all, model.Problem{Key: key, Reason: fmt.Sprintf("UDP port %d is also that of the tunnels of this deployment, which take frames away "+
				"from multicast networks: give all daemons another one with --vxlan-port", model.MulticastPort)})
		}
	}
	return all
}

// sharesPort tells whether tunnels of this node use the UDP port of multicast networks.
func (l *loop) sharesPort() bool {
	return l.cfg.VXLANPort == model.MulticastPort && (slices.Contains(l.encaps(), model.EncapVXLAN) || l.edge.encaps[model.EncapVXLAN] > 0)
}

// keepNetworks tells the keeper of multicast networks what is wanted.
func (l *loop) keepNetworks() { l.networks.keep(l.ovsFacts.get(), l.cfg.Bridge, l.device) }

// connected tells whether a port can speak to the others of its switch: that of a multicast network once its VXLAN device is there.
func (l *loop) connected(p *model.LogicalSwitchPort) bool {
	ls, _ := l.facts.Object(model.Ref{Kind: model.KindSwitch, Name: p.Switch}).(*model.LogicalSwitch)
	if ls == nil || ls.Type != model.SwitchMulticast {
		return true
	}
	_, there := l.facts.Uplinks()[ls.VNI.MulticastDevice()]
	return there && ls.Admits(p) == nil
}

// multicastMTU is the largest IP packet that fits into multicast networks on every chassis of the deployment; 0 if it is not known.
func (l *loop) multicastMTU() int {
	own := underlayOf(&model.Chassis{IPs: l.addrs, Encaps: l.encaps(), UnderlayMTU: l.mtu})
	return model.MulticastMTU(own.and(l.underlays.smallest()).mtu)
}

// multicastUnderlay is the device with the tunnel endpoint, that of IPv6 if there is one; found is that of the first.
func (l *loop) multicastUnderlay(found string) string {
	for _, a := range l.addrs {
		if a.Is6() {
			if d, err := host.DeviceHolding(a); err == nil {
				return d.Name
			}
		}
	}
	return found
}
