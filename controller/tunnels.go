package controller

import (
	"fmt"
	"slices"

	"tuplenet/datapath/ovsdb"
	"tuplenet/model"
)

// The flow-based tunnel ports, one an encapsulation.
const (
	tunnelName = "tuplenet-gnv"
	vxlanName  = "tuplenet-vxl"
)

// vxlanUDPPort is VXLAN's own (RFC 7348 section 5).
const vxlanUDPPort = 4789

func tunnelNameOf(e model.Encap) string {
	if e == model.EncapVXLAN {
		return vxlanName
	}
	return tunnelName
}

// encaps are the encapsulations that this node takes packets in, the best first.
func (l *loop) encaps() []model.Encap { return l.cfg.encaps() }

// encaps reads the configured encapsulations.
func (c *Config) encaps() (all []model.Encap) {
	for _, e := range c.Encaps {
		all = append(all, model.Encap(e))
	}
	if len(all) == 0 {
		all = []model.Encap{model.EncapGeneve}
	}
	return all
}

// tunnelOptions are the options of a tunnel port to an address, or by "flow" to wherever a flow says.
func (c *Config) tunnelOptions(e model.Encap, remote string) map[string]string {
	o := map[string]string{"remote_ip": remote, "key": "flow"}
	if e == model.EncapVXLAN && c.VXLANPort != vxlanUDPPort {
		o["dst_port"] = fmt.Sprint(c.VXLANPort)
	}
	return o
}

// tunnels are the flow-based tunnel ports that the node needs: for what it offers, and for what others want to be sent.
func (e *edge) tunnels(c *Config) (all []ovsdb.Port) {
	for _, encap := range []model.Encap{model.EncapGeneve, model.EncapVXLAN} {
		if slices.Contains(c.encaps(), encap) || e.encaps[encap] > 0 {
			all = append(all, ovsdb.Port{Name: tunnelNameOf(encap), Type: string(encap), Owner: "tunnel", Options: c.tunnelOptions(encap, "flow")})
		}
	}
	return all
}

// takeTunnels reads which tunnel ports there are. When the first one came, what the switch could not learn before is learnt.
func (l *loop) takeTunnels(f ovsdb.Facts) {
	had := l.tunnel != 0 || l.vxlan != 0
	l.tunnel, l.vxlan = l.tunnelIn(f, model.EncapGeneve), l.tunnelIn(f, model.EncapVXLAN)
	if !had && (l.tunnel != 0 || l.vxlan != 0) {
		l.neighbours.Refresh() // the switch learns neighbours only while it has a tunnel
	}
}

func (l *loop) tunnelIn(f ovsdb.Facts, e model.Encap) uint32 {
	if i := f.Interfaces[tunnelNameOf(e)]; i.HasOFPort() && i.Bridge == l.cfg.Bridge {
		return uint32(i.OFPort)
	}
	return 0
}

// missingTunnel is the tunnel port of what the node offers that has no OpenFlow port number yet; empty: none is missing.
func (l *loop) missingTunnel() string {
	for _, e := range l.encaps() {
		if e == model.EncapGeneve && l.tunnel == 0 || e == model.EncapVXLAN && l.vxlan == 0 {
			return tunnelNameOf(e)
		}
	}
	return ""
}
