package model

import (
	"net/netip"
	"slices"
)

// Guest is what a node tells one workload by DHCP and router advertisements: all that the objects say, put together.
type Guest struct {
	Port   string // name of the switch port
	Switch string
	VNI    VNI
	Key    PortKey
	MAC    MAC
	// Server is the MAC that answers come from: that of the first router on the switch, else one of the switch's own.
	Server MAC
	// HasIPv4 and HasIPv6: the port has addresses of the family.
	HasIPv4, HasIPv6 bool
	// Config is that of the switch.
	Config HostConfig
	// Hostname is what it is told to call itself; empty: nothing.
	Hostname string
	// MTU of its interface in bytes; 0 = it is not told.
	MTU int
	// IPv4 is its address with the length of the network's prefix; invalid: DHCPv4 has none for it.
	IPv4 netip.Prefix
	// Router is the IPv4 address of the router on that network; invalid: there is none.
	Router netip.Addr
	// IPv6 are the addresses that DHCPv6 gives it: those that it does not make itself.
	IPv6 []netip.Addr
	// Routers are advertised to it.
	Routers []AdvertisedRouter
}

// AdvertisedRouter is a router port, as it is advertised (RFC 4861 section 4.2).
type AdvertisedRouter struct {
	Port     string // name of the router port
	MAC      MAC
	Prefixes []AdvertisedPrefix
	// Withdrawn: it is not there any more.
	Withdrawn bool
}

// AdvertisedPrefix is on the link; Autonomous says that the workload makes its address from it (RFC 4862 section 5.5.3).
type AdvertisedPrefix struct {
	Prefix     netip.Prefix
	Autonomous bool
	// Withdrawn: it is not there any more; addresses made from it are not used for new connections.
	Withdrawn bool
}

// Equal tells whether a workload is told the same.
func (g Guest) Equal(o Guest) bool {
	return g.Port == o.Port && g.Switch == o.Switch && g.VNI == o.VNI && g.Key == o.Key && g.MAC == o.MAC && g.Server == o.Server && g.HasIPv4 == o.HasIPv4 && g.HasIPv6 == o.HasIPv6 && g.Config.Equal(&o.Config) &&
		g.Hostname == o.Hostname && g.MTU == o.MTU && g.IPv4 == o.IPv4 && g.Router == o.Router && slices.Equal(g.IPv6, o.IPv6) &&
		slices.EqualFunc(g.Routers, o.Routers, AdvertisedRouter.equal)
}

func (r AdvertisedRouter) equal(o AdvertisedRouter) bool {
	return r.Port == o.Port && r.Withdrawn == o.Withdrawn && r.MAC == o.MAC && slices.Equal(r.Prefixes, o.Prefixes)
}

// Equal tells whether two configurations say the same; nil is none.
func (c *HostConfig) Equal(o *HostConfig) bool {
	if c == nil || o == nil {
		return c == o
	}
	return c.DHCPv4 == o.DHCPv4 && c.RA == o.RA && c.DHCPv6 == o.DHCPv6 && slices.Equal(c.DNS, o.DNS) && c.Domain == o.Domain &&
		slices.Equal(c.Search, o.Search) && slices.Equal(c.NTP, o.NTP) && slices.Equal(c.Routes, o.Routes) && c.NoDefaultRoute == o.NoDefaultRoute &&
		c.Lease == o.Lease && c.RouterLifetime == o.RouterLifetime
}

// AnswersDHCPv4 tells whether DHCPv4 has an answer for the workload.
func (g *Guest) AnswersDHCPv4() bool { return g.Config.DHCPv4 && g.IPv4.IsValid() }

// AnswersDHCPv6 tells whether DHCPv6 has an answer for the workload.
func (g *Guest) AnswersDHCPv6() bool { return g.Config.DHCPv6 != DHCPv6Off }

// Complete tells whether everything that the switch says can be told: there is a network, and a router to advertise.
func (g *Guest) Complete() bool {
	return (!g.Config.DHCPv4 || g.IPv4.IsValid() || !g.HasIPv4) && (!g.Config.RA || len(g.Routers) > 0 || !g.HasIPv6)
}

// Managed is the M flag of router advertisements: addresses are given by DHCPv6.
func (g *Guest) Managed() bool { return len(g.IPv6) > 0 }

// ServersOf are those of a list of servers that are of a family.
func ServersOf(servers []netip.Addr, v4 bool) (out []netip.Addr) {
	for _, a := range servers {
		if a.Is4() == v4 {
			out = append(out, a)
		}
	}
	return out
}
