package compile_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"tuplenet/flows/compile"
	"tuplenet/model"
)

// subnet is a pair of networks that a switch may have. The last one contains the others, so that routes have to choose
// the longest prefix.
type subnet struct{ v4, v6 netip.Prefix }

var subnets = []subnet{
	{netip.MustParsePrefix("10.0.0.0/24"), netip.MustParsePrefix("2001:db8:0:0::/64")},
	{netip.MustParsePrefix("10.0.1.0/24"), netip.MustParsePrefix("2001:db8:0:1::/64")},
	{netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("2001:db8::/48")},
}

// host is the address number n of the subnet with this index. Numbers of different subnets never meet.
func host(subnet, n int) (v4, v6 netip.Addr) {
	a := subnets[subnet].v4.Addr().As4()
	a[2], a[3] = byte(subnet), byte(n)
	b := subnets[subnet].v6.Addr().As16()
	b[7], b[15] = byte(subnet), byte(n)
	return netip.AddrFrom4(a), netip.AddrFrom16(b)
}

// anyWorld draws a valid deployment: switches that are IPv4, IPv6 or both, often with the same addresses as another
// switch; workloads on random chassis or nowhere, some without addresses or checks; routers between switches with
// different subnets, distributed or pinned, with static routes; patch ports, and neighbours that pinned routers learnt behind them; chassis
// with either or both kinds of tunnel addresses and encapsulations.
func anyWorld(t *rapid.T) *world {
	w := newWorld()
	for i := range rapid.IntRange(1, 4).Draw(t, "chassis") {
		c := &model.Chassis{Name: fmt.Sprintf("hv%d", i), Encaps: one(t, "encaps", someEncaps), Gateway: rapid.IntRange(0, 3).Draw(t, "gateway") > 0}
		family := rapid.IntRange(0, 3).Draw(t, "underlay")
		if family != 1 {
			c.IPs = append(c.IPs, netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}))
		}
		if family > 0 {
			c.IPs = append(c.IPs, netip.AddrFrom16([16]byte{0: 0xfd, 15: byte(i + 1)}))
		}
		w.put(c)
		w.ports[c.Name] = map[string]uint32{}
	}
	var at []int // subnet of each switch
	for i := range rapid.IntRange(1, 4).Draw(t, "switches") {
		at = append(at, rapid.IntRange(0, len(subnets)-1).Draw(t, "subnet"))
		anySwitch(t, w, i, at[i])
	}
	for r := range rapid.IntRange(0, 3).Draw(t, "routers") {
		anyRouter(t, w, r, at)
	}
	for _, lr := range objects[*model.LogicalRouter](w) {
		anyRoutes(t, w, lr.Name)
	}
	return w
}

// someEncaps are what a chassis may offer; most offer what is usual.
var someEncaps = [][]model.Encap{{model.EncapGeneve}, {model.EncapGeneve}, {model.EncapVXLAN}, {model.EncapVXLAN, model.EncapGeneve}, {model.EncapGeneve, model.EncapVXLAN}}

// anyRoutes draws static routes of a router: over a workload, or over a router whose name comes later, so that packets
// do not go in circles.
func anyRoutes(t *rapid.T, w *world, lr string) {
	for _, out := range w.routerPorts(lr) {
		for i, next := range w.portsOf(w.switchEnd(out).Switch) {
			peer := w.routerEnd(next)
			if len(next.IPs) == 0 || peer != nil && peer.Router <= lr || rapid.IntRange(0, 2).Draw(t, "route") > 0 {
				continue
			}
			hop := one(t, "next hop", next.IPs)
			to := one(t, "destination", somewhere[hop.Is4()])
			if len(w.ways(lr, to)) == 0 {
				w.put(&model.StaticRoute{Router: lr, Name: fmt.Sprintf("%s-%d", out.Name, i), Prefix: to, NextHop: hop, OutPort: out.Name})
			}
		}
	}
}

// somewhere are destinations of static routes, IPv4 or not.
var somewhere = map[bool][]netip.Prefix{
	true:  {netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("198.51.100.0/24"), subnets[0].v4, netip.MustParsePrefix("10.0.1.0/28")},
	false: {netip.MustParsePrefix("::/0"), netip.MustParsePrefix("2001:db8:ffff::/64"), subnets[0].v6, netip.MustParsePrefix("2001:db8:0:1::/120")},
}

func anySwitch(t *rapid.T, w *world, i, subnet int) {
	sw := &model.LogicalSwitch{Name: fmt.Sprintf("S%d", i), VNI: model.VNI(i + 1)}
	families := rapid.IntRange(1, 3).Draw(t, "families") // bit 0 IPv4, bit 1 IPv6
	if families&1 != 0 {
		sw.Subnets = append(sw.Subnets, subnets[subnet].v4)
	}
	if families&2 != 0 {
		sw.Subnets = append(sw.Subnets, subnets[subnet].v6)
	}
	sw.Hosts = anyHosts(t)
	w.put(sw)
	for n := range rapid.IntRange(0, 3).Draw(t, "ports") {
		p := &model.LogicalSwitchPort{Switch: sw.Name, Name: fmt.Sprintf("%s-p%d", sw.Name, n), Key: w.key(sw.Name),
			MAC: model.MAC{0xf2, 1, 10, 0, byte(subnet), byte(10 + n)}, Type: model.PortVIF}
		kind := rapid.IntRange(0, 9).Draw(t, "kind")
		if v4, v6 := host(subnet, 10+n); kind > 0 {
			if families&1 != 0 && kind != 1 {
				p.IPs = append(p.IPs, v4)
			}
			if families&2 != 0 && kind != 2 {
				p.IPs = append(p.IPs, v6)
			}
		}
		p.NoPortSecurity = kind == 3 || kind == 0 && rapid.Bool().Draw(t, "loose")
		w.put(p)
		if rapid.IntRange(0, 7).Draw(t, "bound") > 0 {
			w.bind(p.Name, one(t, "on", w.chassis()))
		}
	}
	if rapid.IntRange(0, 2).Draw(t, "patch") == 0 {
		p := &model.LogicalSwitchPort{Switch: sw.Name, Name: sw.Name + "-patch", Key: w.key(sw.Name), Type: model.PortPatch}
		w.put(p)
		w.bind(p.Name, one(t, "patched at", w.chassis()))
	}
}

// outside is the MAC of a station in the physical network.
var outside = model.MAC{0xf2, 0xdd, 0, 0, 0, 1}

func anyRouter(t *rapid.T, w *world, r int, at []int) {
	lr := &model.LogicalRouter{Name: fmt.Sprintf("R%d", r), ID: model.VNI(100 + r)}
	if rapid.IntRange(0, 2).Draw(t, "pinned") == 0 {
		lr.Chassis = one(t, "pinned to", w.chassis())
	}
	w.put(lr)
	var used []int
	for i, subnet := range at {
		if slices.Contains(used, subnet) || !rapid.Bool().Draw(t, "linked") {
			continue
		}
		used = append(used, subnet)
		sw := fact[*model.LogicalSwitch](w, model.Ref{Kind: model.KindSwitch, Name: fmt.Sprintf("S%d", i)})
		v4, v6 := host(subnet, 1+r)
		var networks []string
		for _, p := range sw.Subnets {
			own := v4
			if p.Addr().Is6() {
				own = v6
			}
			networks = append(networks, netip.PrefixFrom(own, p.Bits()).String())
		}
		w.link(lr.Name, sw.Name, strings.Join(networks, ","))
		if lr.Chassis != "" && w.patch(sw.Name) != nil {
			v4, v6 := host(subnet, 50)
			for _, ip := range []netip.Addr{v4, v6} {
				w.learnt[lr.Chassis] = append(w.learnt[lr.Chassis], compile.Neighbour{Router: lr.Name, Port: lr.Name + "_to_" + sw.Name, IP: ip, MAC: outside})
			}
		}
	}
}

// targets are addresses worth asking for: all that somebody has, and of each subnet one that nobody has and one that may
// be outside.
func (w *world) targets() []netip.Addr {
	all := map[netip.Addr]bool{}
	for _, p := range objects[*model.LogicalSwitchPort](w) {
		for _, ip := range p.IPs {
			all[ip] = true
		}
	}
	for i := range subnets {
		for _, n := range []int{50, 99} {
			v4, v6 := host(i, n)
			all[v4], all[v6] = true, true
		}
	}
	for _, far := range []string{"198.51.100.1", "2001:db8:ffff::1"} {
		all[netip.MustParseAddr(far)] = true
	}
	var ips []netip.Addr
	for ip := range all {
		ips = append(ips, ip)
	}
	slices.SortFunc(ips, netip.Addr.Compare)
	return ips
}
