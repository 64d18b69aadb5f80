package controller

import (
	"maps"
	"slices"

	"tuplenet/controller/status"
	"tuplenet/datapath/host"
	"tuplenet/datapath/ovsdb"
	"tuplenet/flows/compile"
	"tuplenet/model"
)

// localPorts are the logical ports that have an interface on the integration bridge.
type localPorts struct {
	present  map[string]uint64            // port → number of the interface's appearance
	ready    map[string]compile.Interface // those with a port number
	problems map[string]string            // interface → what is wrong with it
}

// appearances numbers the appearances of interfaces that carry a port's name: a new number each time that one appears.
type appearances struct {
	last    uint64
	seen    map[appearance]uint64
	initial uint64 // the last that was there when the daemon started
	started bool
}

// appearance is an interface that says that it is a port.
type appearance struct{ iface, port string }

// take reads the interfaces of a bridge.
func (a *appearances) take(f ovsdb.Facts, bridge string) localPorts {
	p := localPorts{present: map[string]uint64{}, ready: map[string]compile.Interface{}, problems: map[string]string{}}
	holder, seen := map[string]string{}, map[appearance]uint64{}
	for _, name := range slices.Sorted(maps.Keys(f.Interfaces)) {
		i := f.Interfaces[name]
		if i.Bridge != bridge || i.IfaceID == "" && i.Owner == "" {
			continue
		}
		if i.Error != "" {
			p.problems[name] = i.Error
		}
		if i.IfaceID == "" {
			continue
		}
		if i.OFPort == ovsdb.OFPortFailed { // a dead interface is no port
			if i.Error == "" {
				p.problems[name] = "the switch cannot use it"
			}
			continue
		}
		if first, taken := holder[i.IfaceID]; taken {
			p.problems[name] = "its iface-id " + i.IfaceID + " is that of interface " + first + ", too; only that one is used"
			continue
		}
		holder[i.IfaceID] = name
		is := appearance{name, i.IfaceID}
		n := a.seen[is]
		if n == 0 {
			a.last++
			n = a.last
		}
		seen[is], p.present[i.IfaceID] = n, n
		if i.HasOFPort() {
			p.ready[i.IfaceID] = compile.Interface{OFPort: uint32(i.OFPort)}
		}
	}
	a.seen = seen
	if !a.started {
		a.started, a.initial = true, a.last
	}
	return p
}

// claim lets ports be here whose interface appeared while this daemon runs, before their bindings are written: so their flows are in the switch
// before others send to them, and nothing that comes is sent back to where they were. Each appearance does so once, as it takes
// the binding once (package status).
func (l *loop) claim() {
	for port := range l.claimed {
		if _, here := l.ports.present[port]; !here {
			delete(l.claimed, port)
			l.facts.Unclaim(port)
		}
	}
	for port := range l.ports.ready {
		n := l.ports.present[port]
		if n > l.appeared.initial && l.claimed[port] != n && l.exists(port) && l.works(port) {
			l.claimed[port] = n
			l.facts.Claim(port)
		}
	}
}

// takeInterfaces reads what OVSDB says about the integration bridge and asks for the ports that the node needs.
func (l *loop) takeInterfaces(f ovsdb.Facts) {
	l.wantPorts(f)
	l.facts.SetWatched(l.edge.watched(f, l.cfg.Bridge))
	l.takeTunnels(f)
	l.facts.SetUplinks(uplinks(f, l.cfg.Bridge))
	l.ports = l.appeared.take(f, l.cfg.Bridge)
	maps.DeleteFunc(l.bindings, func(port string, b status.Seen) bool {
		return b.Chassis == "" && !l.holds(port)
	})
	l.facts.SetInterfaces(l.ports.ready)
}

// wantPorts asks for the bridge and the ports that the node needs now. Before anything is compiled nobody knows what is
// needed, so a bridge that is there keeps its ports.
func (l *loop) wantPorts(f ovsdb.Facts) {
	if _, there := f.Bridges[l.cfg.Bridge]; there && l.progress.seq == 0 {
		return
	}
	l.want(ovsdb.Desired{Bridge: l.cfg.Bridge, DatapathType: l.datapath(f), Ports: append(l.edge.ports(&l.cfg), slices.Concat(l.untunnel.ports(), l.demand.ports(), l.networks.ports(f))...), IPFIX: l.ipfix()})
}

// ipfix is what the integration bridge tells about packets; nil = nothing.
func (l *loop) ipfix() *ovsdb.IPFIX {
	if l.cfg.IPFIXCollector == "" {
		return nil
	}
	return &ovsdb.IPFIX{Collector: l.cfg.IPFIXCollector, Sampling: int(l.cfg.IPFIXSampling), Domain: model.ObservationDomain(l.addrs)}
}

// datapath is the type of datapath of the integration bridge. The host is asked only if the bridge has to be made.
func (l *loop) datapath(f ovsdb.Facts) string {
	if b, ok := f.Bridges[l.cfg.Bridge]; ok {
		return b.DatapathType
	}
	tunnelDevice := ""
	if d, err := host.DeviceHolding(l.addrs[0]); err == nil {
		tunnelDevice = d.Name
	}
	kernel, err := host.KernelDatapath()
	return ovsdb.ChooseDatapath(f, l.cfg.Bridge, l.cfg.DatapathType, tunnelDevice, kernel && err == nil)
}
