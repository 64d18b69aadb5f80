package facts

import (
	"net/netip"

	"tuplenet/flows/compile"
	"tuplenet/flows/memo"
	"tuplenet/model"
)

// Want makes the flows of a switch port wanted, and tells whether they were not.
func (f *Facts) Want(port model.Ref) bool {
	if f.wanted[port] {
		return false
	}
	f.wanted[port] = true
	f.engine.Set(wantedKey(port), compile.Wanted{Switch: port.Parent})
	return true
}

// Unwant takes that back.
func (f *Facts) Unwant(port model.Ref) {
	delete(f.wanted, port)
	f.engine.Delete(wantedKey(port))
}

// Wanted are the ports whose flows are wanted. It belongs to Facts.
func (f *Facts) Wanted() map[model.Ref]bool { return f.wanted }

func wantedKey(port model.Ref) memo.Key {
	return memo.Key{Kind: compile.KindWanted, ID: compile.FactKey(port).ID}
}

// PortOfMAC is the port of a switch that has a MAC, nil if there is none or no such switch.
func (f *Facts) PortOfMAC(vni model.VNI, mac model.MAC) *model.LogicalSwitchPort {
	ls, _ := f.Holder(model.ClaimVNI(vni)).(*model.LogicalSwitch)
	if ls == nil {
		return nil
	}
	p, _ := f.Holder(model.ClaimMAC(ls.Ref(), mac)).(*model.LogicalSwitchPort)
	return p
}

// PortOfIP is the port of a switch that has an address, also the link-local one of its MAC; nil if there is none.
func (f *Facts) PortOfIP(vni model.VNI, ip netip.Addr) *model.LogicalSwitchPort {
	ls, _ := f.Holder(model.ClaimVNI(vni)).(*model.LogicalSwitch)
	if ls == nil {
		return nil
	}
	if p, _ := f.Holder(model.ClaimIP(ls.Ref(), ip)).(*model.LogicalSwitchPort); p != nil {
		return p
	}
	b := ip.As16()
	mac := model.MAC{b[8] ^ 2, b[9], b[10], b[13], b[14], b[15]} // RFC 4291 appendix A
	if ip.Is6() && mac.LinkLocal() == ip {
		p, _ := f.Holder(model.ClaimMAC(ls.Ref(), mac)).(*model.LogicalSwitchPort)
		return p
	}
	return nil
}

// PortBehind is the port that has an address on the switch behind a router port, by the keys of both; nil if there is none.
func (f *Facts) PortBehind(router model.VNI, key model.PortKey, ip netip.Addr) *model.LogicalSwitchPort {
	lr, _ := f.Holder(model.ClaimVNI(router)).(*model.LogicalRouter)
	if lr == nil {
		return nil
	}
	rp, _ := f.Holder(model.ClaimKey(lr.Ref(), key)).(*model.LogicalRouterPort)
	if rp == nil {
		return nil
	}
	ls, _ := f.Behind(rp)
	if ls == nil {
		return nil
	}
	return f.PortOfIP(ls.VNI, ip)
}
