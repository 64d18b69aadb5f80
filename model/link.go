package model

import "net/netip"

// NewLink makes the two ports of a link between a router and a switch: the router's port <router>_to_<switch> and the
// switch's port <switch>_to_<router>, with the same addresses, each the other's peer. Keys and the MAC, which is the same
// for both, are left to the store.
func NewLink(router, ls string, nets []netip.Prefix) (*LogicalRouterPort, *LogicalSwitchPort) {
	rp := &LogicalRouterPort{Router: router, Name: router + "_to_" + ls, Networks: nets}
	sp := &LogicalSwitchPort{Switch: ls, Name: ls + "_to_" + router, Type: PortRouter}
	for _, n := range nets {
		sp.IPs = append(sp.IPs, n.Addr())
	}
	rp.Peer, sp.Peer = sp.Name, rp.Name
	return rp, sp
}
