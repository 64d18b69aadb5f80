package model

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// HostConfig is what the nodes tell the workloads of a switch about their network, each node those that are on it. Addresses
// are those of the ports, so nothing has to be remembered: an answer is made anew from what the objects say.
type HostConfig struct {
	// DHCPv4 (RFC 2131) is answered for ports with IPv4 addresses.
	DHCPv4 bool `json:"dhcpv4,omitempty"`
	// RA: the routers on the switch are advertised (RFC 4861) to ports with IPv6 addresses.
	RA bool `json:"ra,omitempty"`
	// DHCPv6 (RFC 8415) says what ports with IPv6 addresses are told by it.
	DHCPv6 DHCPv6Mode `json:"dhcpv6,omitempty"`
	// DNS are recursive name servers: of IPv4 by DHCPv4, of IPv6 by router advertisements (RFC 8106) and DHCPv6.
	DNS []netip.Addr `json:"dns,omitempty"`
	// Domain is that of the workloads; Search are the domains to look in.
	Domain string   `json:"domain,omitempty"`
	Search []string `json:"search,omitempty"`
	// NTP are time servers.
	NTP []netip.Addr `json:"ntp,omitempty"`
	// Routes are told besides the default route (RFC 3442); IPv4.
	Routes []HostRoute `json:"routes,omitempty"`
	// NoDefaultRoute: the router on the switch is not told as a default router.
	NoDefaultRoute bool `json:"noDefaultRoute,omitempty"`
	// Lease of an address by DHCP, in seconds; 0 = DefaultLease.
	Lease int `json:"lease,omitempty"`
	// RouterLifetime in router advertisements, in seconds; 0 = DefaultRouterLifetime.
	RouterLifetime int `json:"routerLifetime,omitempty"`
}

// HostRoute is a route of a workload.
type HostRoute struct {
	Prefix netip.Prefix `json:"prefix"`
	Via    netip.Addr   `json:"via"`
}

// String is PREFIX=VIA.
func (r HostRoute) String() string { return r.Prefix.String() + "=" + r.Via.String() }

// DHCPv6Mode is what DHCPv6 is used for.
type DHCPv6Mode string

// Modes of DHCPv6.
const (
	DHCPv6Off       DHCPv6Mode = ""          // not answered
	DHCPv6Stateless DHCPv6Mode = "stateless" // name servers and the like; addresses that workloads do not make themselves
	DHCPv6Stateful  DHCPv6Mode = "stateful"  // addresses, too: workloads make none themselves
)

// Times, in seconds. A daemon that is down tells nothing, so what workloads have should outlast that.
const (
	DefaultLease          = 86400
	MinLease              = 60
	MaxLease              = 31536000
	DefaultRouterLifetime = 9000  // the largest of RFC 4861 section 6.2.1
	MinRouterLifetime     = 1800  // three times the longest pause between advertisements
	MaxRouterLifetime     = 65535 // RFC 8319
)

// Limits of lists, so that an answer fits into a packet of any link.
const (
	maxNameServers = 6
	maxTimeServers = 4
	maxSearch      = 6
	maxSearchText  = 240 // characters of all search domains together
	maxHostRoutes  = 16
	maxLabel       = 63 // RFC 1035 section 2.3.4
)

// LeaseSeconds is Lease or its default.
func (c *HostConfig) LeaseSeconds() int {
	if c.Lease == 0 {
		return DefaultLease
	}
	return c.Lease
}

// RouterLifetimeSeconds is what router advertisements say: 0 if the router is no default router.
func (c *HostConfig) RouterLifetimeSeconds() int {
	switch {
	case c.NoDefaultRoute:
		return 0
	case c.RouterLifetime == 0:
		return DefaultRouterLifetime
	}
	return c.RouterLifetime
}

// Serves tells whether workloads are told anything.
func (c *HostConfig) Serves() bool {
	return c != nil && (c.DHCPv4 || c.RA || c.DHCPv6 != DHCPv6Off)
}

// Domains are the search domains, else the domain.
func (c *HostConfig) Domains() []string {
	if len(c.Search) == 0 && c.Domain != "" {
		return []string{c.Domain}
	}
	return c.Search
}

// Validate checks modes, limits of times and lists, and names.
func (c *HostConfig) Validate() error {
	if c == nil {
		return nil
	}
	switch c.DHCPv6 {
	case DHCPv6Off, DHCPv6Stateless, DHCPv6Stateful:
	default:
		return fmt.Errorf("invalid DHCPv6 mode %q: it is %s or %s", c.DHCPv6, DHCPv6Stateless, DHCPv6Stateful)
	}
	if c.Lease != 0 && (c.Lease < MinLease || c.Lease > MaxLease) {
		return fmt.Errorf("invalid lease of %d s: the limits are %d and %d", c.Lease, MinLease, MaxLease)
	}
	if c.RouterLifetime != 0 && (c.RouterLifetime < MinRouterLifetime || c.RouterLifetime > MaxRouterLifetime) {
		return fmt.Errorf("invalid router lifetime of %d s: the limits are %d and %d", c.RouterLifetime, MinRouterLifetime, MaxRouterLifetime)
	}
	if err := validateServers("DNS", c.DNS, maxNameServers); err != nil {
		return err
	}
	if err := validateServers("NTP", c.NTP, maxTimeServers); err != nil {
		return err
	}
	if err := c.validateDomains(); err != nil {
		return err
	}
	return c.validateRoutes()
}

func validateServers(what string, addrs []netip.Addr, most int) error {
	if len(addrs) > most {
		return fmt.Errorf("invalid %s servers: %d are more than %d", what, len(addrs), most)
	}
	for i, a := range addrs {
		if err := validateIP(a); err != nil {
			return fmt.Errorf("%s server: %w", what, err)
		}
		if slices.Contains(addrs[:i], a) {
			return fmt.Errorf("invalid %s servers: %s is there twice", what, a)
		}
	}
	return nil
}

func (c *HostConfig) validateDomains() error {
	if c.Domain != "" {
		if err := validateDomain(c.Domain); err != nil {
			return err
		}
	}
	total := 0
	for _, d := range c.Search {
		if err := validateDomain(d); err != nil {
			return err
		}
		total += len(d) + 1
	}
	if len(c.Search) > maxSearch || total > maxSearchText {
		return fmt.Errorf("invalid search domains: %d of %d characters are more than %d of %d", len(c.Search), total, maxSearch, maxSearchText)
	}
	return nil
}

func (c *HostConfig) validateRoutes() error {
	if len(c.Routes) > maxHostRoutes {
		return fmt.Errorf("invalid routes: %d are more than %d", len(c.Routes), maxHostRoutes)
	}
	for i, r := range c.Routes {
		if !r.Prefix.IsValid() || r.Prefix != r.Prefix.Masked() || !r.Prefix.Addr().Is4() {
			return fmt.Errorf("invalid CIDR address %q of a route: an IPv4 network such as 10.0.0.0/8", r.Prefix)
		}
		if err := validateIP(r.Via); err != nil || !r.Via.Is4() {
			return fmt.Errorf("invalid IP %q of a route: an IPv4 address of a router", r.Via)
		}
		if slices.ContainsFunc(c.Routes[:i], func(o HostRoute) bool { return o.Prefix == r.Prefix }) {
			return fmt.Errorf("invalid routes: %s is there twice", r.Prefix)
		}
	}
	return nil
}

// validateDomain checks a domain name as hosts have them (RFC 1123 section 2.1), without a dot at its end.
func validateDomain(name string) error {
	if len(name) > MaxName {
		return fmt.Errorf("invalid domain of %d characters: at most %d are allowed", len(name), MaxName)
	}
	for label := range strings.SplitSeq(name, ".") {
		if !IsHostLabel(label) {
			return fmt.Errorf("invalid domain %q: letters, digits and hyphens between dots are allowed", name)
		}
	}
	return nil
}

// IsHostLabel tells whether a text can be a host's name or a part of a domain's: 1 to 63 letters, digits and hyphens, no
// hyphen at an end (RFC 1123 section 2.1).
func IsHostLabel(s string) bool {
	if s == "" || len(s) > maxLabel || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-')
	})
}

// validateHost checks what a port says of its workload.
func (o *LogicalSwitchPort) validateHost() error {
	if o.Type != PortVIF && (o.Hostname != "" || o.NoHostConfig) {
		return errors.New("invalid port: only a workload's port has a hostname, or none of the switch's host configuration")
	}
	if o.Hostname != "" && !IsHostLabel(o.Hostname) {
		return fmt.Errorf("invalid hostname %q: at most %d letters, digits and hyphens are allowed", o.Hostname, maxLabel)
	}
	return nil
}

// HostName is what the workload is told to call itself: Hostname, else the port's name if it can be one; empty: nothing.
func (o *LogicalSwitchPort) HostName() string {
	if o.Hostname == "" && IsHostLabel(o.Name) {
		return o.Name
	}
	return o.Hostname
}
