package compile

import (
	"cmp"
	"net/netip"
	"slices"

	"tuplenet/flows/memo"
	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
	"tuplenet/model"
)

// UDP ports of DHCP (RFC 2131 section 4.1, RFC 8415 section 7.2).
const (
	dhcpServer   = 67
	dhcpClient   = 68
	dhcpv6Client = 546
	dhcpv6Server = 547
)

const icmp6RA = 134

var allDHCPv6 = netip.MustParseAddr("ff02::1:2") // RFC 8415 section 7.1

// compileHosts makes what a workload here is told by DHCP and router advertisements, and has its questions sent to the
// daemon. A port without addresses of a family is told nothing by that family's means.
func compileHosts(r memo.Reader, id string) Output {
	var o Output
	p := getPort(r, id)
	if p == nil || p.Type != model.PortVIF || p.NoHostConfig || len(p.IPs) == 0 {
		return o
	}
	ls := getSwitch(r, p.Switch)
	ofport := get[Interface](r, KindInterface, p.Name).OFPort
	if ls == nil || ofport == 0 || !ls.Hosts.Serves() {
		return o
	}
	g := guestOf(r, p, ls)
	from := pipeline.InPort.Is(pipeline.Datapath.Is(of.Match{}, uint64(ls.VNI)), uint64(p.Key))
	for _, q := range questions(&g) {
		o.add(
			pipeline.AskHostConfig.Flow(q.ask(from.Eq(of.EthSrc, of.MAC(p.MAC))), pipeline.ToDaemonFrom(q.why, ofport)),
			pipeline.StrangeClient.Flow(q.ask(from)),
			pipeline.RogueServer.Flow(q.forged(from)))
	}
	if len(o.Flows) == 0 {
		return o
	}
	o.rare().Guests = []model.Guest{g}
	o.rare().Meters = []of.Meter{pipeline.PortMeter(ofport)}
	o.Problems = cannotTell(&g, p)
	return o
}

// question is something that a workload may ask; forged is what only an answer looks like.
type question struct {
	why         pipeline.Punt
	ask, forged func(of.Match) of.Match
}

// questions are what a workload is answered.
func questions(g *model.Guest) (all []question) {
	if g.Config.DHCPv4 && g.HasIPv4 {
		all = append(all, question{pipeline.PuntDHCPv4,
			func(m of.Match) of.Match {
				return m.UDP4().Eq(of.UDPSrc, of.U(dhcpClient)).Eq(of.UDPDst, of.U(dhcpServer))
			},
			func(m of.Match) of.Match {
				return m.UDP4().Eq(of.UDPSrc, of.U(dhcpServer)).Eq(of.UDPDst, of.U(dhcpClient))
			}})
	}
	if g.Config.RA && g.HasIPv6 {
		all = append(all, question{pipeline.PuntSolicit,
			func(m of.Match) of.Match {
				return m.ICMP6().Eq(of.ICMPv6Type, of.U(icmp6RS)).Eq(of.ICMPv6Code, of.U(0))
			},
			func(m of.Match) of.Match { return m.ICMP6().Eq(of.ICMPv6Type, of.U(icmp6RA)) }})
	}
	if g.AnswersDHCPv6() && g.HasIPv6 {
		all = append(all, question{pipeline.PuntDHCPv6,
			func(m of.Match) of.Match {
				return m.UDP6().Eq(of.IPv6Dst, of.Addr(allDHCPv6)).Eq(of.UDPDst, of.U(dhcpv6Server))
			},
			func(m of.Match) of.Match {
				return m.UDP6().Eq(of.UDPSrc, of.U(dhcpv6Server)).Eq(of.UDPDst, of.U(dhcpv6Client))
			}})
	}
	return all
}

// guestOf puts together what a workload is told.
func guestOf(r memo.Reader, p *model.LogicalSwitchPort, ls *model.LogicalSwitch) model.Guest {
	g := model.Guest{Port: p.Name, Switch: ls.Name, VNI: ls.VNI, Key: p.Key, MAC: p.MAC, Config: *ls.Hosts, Hostname: p.HostName(), MTU: ls.MTU,
		HasIPv4: slices.ContainsFunc(p.IPs, netip.Addr.Is4), HasIPv6: hasIPv6(p.IPs)}
	if g.MTU == 0 {
		g.MTU = getNode(r).TunnelMTU
		if isMulticast(ls) {
			g.MTU = getNode(r).MulticastMTU
		}
	}
	routers := routersOn(r, ls.Name)
	g.Server = model.DeriveMACFromName(ls.Name, "dhcp")
	if len(routers) > 0 {
		g.Server = routers[0].MAC
	}
	if g.Config.DHCPv4 {
		g.IPv4, g.Router = networkOn(p, ls, routers)
	}
	if !g.HasIPv6 {
		return g
	}
	own := map[netip.Addr]bool{} // addresses that the workload makes itself
	if g.Config.RA {
		for _, rp := range routers {
			if a := advertised(rp, p, g.Config.DHCPv6, own); len(a.Prefixes) > 0 {
				g.Routers = append(g.Routers, a)
			}
		}
	}
	if g.AnswersDHCPv6() {
		for _, ip := range p.IPs {
			if ip.Is6() && !ip.IsLinkLocalUnicast() && !own[ip] {
				g.IPv6 = append(g.IPv6, ip)
			}
		}
	}
	return g
}

// routersOn are the router ports on a switch, in the order of their keys there.
func routersOn(r memo.Reader, ls string) (ports []*model.LogicalRouterPort) {
	links := slices.Clone(r.Derived(derivedLinks, ls).([]link))
	slices.SortFunc(links, func(a, b link) int { return cmp.Compare(a.PortKey, b.PortKey) })
	for _, l := range links {
		if rp := routerPortByName(r, l.RouterPort); rp != nil {
			ports = append(ports, rp)
		}
	}
	return ports
}

// networkOn is the first IPv4 address of a port that is on a network known to the switch, with its prefix length, and the
// router there, if there is one.
func networkOn(p *model.LogicalSwitchPort, ls *model.LogicalSwitch, routers []*model.LogicalRouterPort) (netip.Prefix, netip.Addr) {
	for _, ip := range p.IPs {
		if !ip.Is4() {
			continue
		}
		for _, rp := range routers {
			for _, n := range rp.Networks {
				if n.Contains(ip) {
					return netip.PrefixFrom(ip, n.Bits()), n.Addr()
				}
			}
		}
		for _, n := range ls.Subnets {
			if n.Contains(ip) {
				return netip.PrefixFrom(ip, n.Bits()), netip.Addr{}
			}
		}
	}
	return netip.Prefix{}, netip.Addr{}
}

// advertised is a router port as a workload sees it. An address is made by the workload itself only where it is the one that
// the port has (RFC 4862 with EUI-64): others, port security would not let pass.
func advertised(rp *model.LogicalRouterPort, p *model.LogicalSwitchPort, mode model.DHCPv6Mode, own map[netip.Addr]bool) model.AdvertisedRouter {
	a := model.AdvertisedRouter{Port: rp.Name, MAC: rp.MAC}
	for _, n := range rp.Networks {
		if !n.Addr().Is6() || n.Addr().IsLinkLocalUnicast() {
			continue
		}
		made, ok := p.MAC.EUI64(n)
		auto := ok && n.Bits() == 64 && mode != model.DHCPv6Stateful && slices.Contains(p.IPs, made)
		if auto {
			own[made] = true
		}
		a.Prefixes = append(a.Prefixes, model.AdvertisedPrefix{Prefix: n.Masked(), Autonomous: auto})
	}
	return a
}

// cannotTell is what the switch says to tell and what nobody knows.
func cannotTell(g *model.Guest, p *model.LogicalSwitchPort) (problems []model.Problem) {
	if g.Config.DHCPv4 && g.HasIPv4 && !g.IPv4.IsValid() {
		problems = append(problems, model.Problem{Key: FactKey(p.Ref()).String(),
			Reason: "DHCP has no address for it: its addresses are on no subnet of the switch and on no network of a router there"})
	}
	if g.Config.RA && g.HasIPv6 && len(g.Routers) == 0 {
		problems = append(problems, model.Problem{Key: FactKey(switchRef(g.Switch)).String(),
			Reason: "there is no router to advertise: no router port with an IPv6 network is on the switch"})
	}
	return problems
}
