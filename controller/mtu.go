package controller

import (
	"tuplenet/datapath/host"
	"tuplenet/model"
)

// underlay is what a chassis needs of the network between the hosts, in bytes: the MTU of its device, and the most that a
// tunnel from or to it adds to a packet.
type underlay struct{ mtu, overhead int }

// underlayOf reads it out of a registration. A chassis of an older version says no MTU.
func underlayOf(c *model.Chassis) underlay {
	u := underlay{mtu: c.UnderlayMTU}
	v6 := len(c.IPs) > 0 && c.IPs[0].Is6()
	for _, e := range c.Encaps {
		u.overhead = max(u.overhead, host.TunnelOverhead(string(e), v6))
	}
	return u
}

// underlays are what the chassis of the deployment need, and the worst of it, found when it is asked for.
type underlays struct {
	of    map[string]underlay
	worst underlay
	known bool // worst is that of of
}

// take notes what a chassis needs; nil: it is gone.
func (u *underlays) take(name string, c *model.Chassis) {
	u.known = false
	if c == nil {
		delete(u.of, name)
		return
	}
	if u.of == nil {
		u.of = map[string]underlay{}
	}
	u.of[name] = underlayOf(c)
}

// reset forgets all.
func (u *underlays) reset() { *u = underlays{} }

// smallest is the smallest MTU that any of them has (0: none says one), and the most that any of them adds.
func (u *underlays) smallest() underlay {
	if !u.known {
		u.worst, u.known = underlay{}, true
		for _, c := range u.of {
			u.worst = u.worst.and(c)
		}
	}
	return u.worst
}

// and is what two chassis need of the network between them.
func (u underlay) and(v underlay) underlay {
	if u.mtu == 0 || v.mtu > 0 && v.mtu < u.mtu {
		u.mtu = v.mtu
	}
	u.overhead = max(u.overhead, v.overhead)
	return u
}

// tunnelMTU is the largest IP packet of a workload that fits into one packet of the underlay on every chassis of the
// deployment; 0 if it is not known. It is the same on all of them, so that both ends of a network agree.
func (l *loop) tunnelMTU() int {
	own := underlayOf(&model.Chassis{IPs: l.addrs, Encaps: l.encaps(), UnderlayMTU: l.mtu})
	all := own.and(l.underlays.smallest())
	return max(0, all.mtu-all.overhead)
}

// switchMTU is the MTU in bytes that workloads on a switch are to have: what DHCP and router advertisements tell them. 0: not known.
func (l *loop) switchMTU(ls *model.LogicalSwitch) int {
	if ls.Type == model.SwitchMulticast {
		return ls.WorkloadMTU(l.multicastMTU())
	}
	return ls.WorkloadMTU(l.tunnelMTU())
}
