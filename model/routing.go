package model

import (
	"fmt"
	"net/netip"
)

// StaticRoute sends what is for a prefix to a next hop. Several routes of a router with the same prefix are one route
// with several ways (ECMP), whatever their next hops are.
type StaticRoute struct {
	Router string `json:"router"`
	Name   string `json:"name"`
	// Prefix is masked; 0.0.0.0/0 and ::/0 are the default routes.
	Prefix netip.Prefix `json:"prefix"`
	// NextHop is of the family of the prefix; in IPv6 it may be link-local.
	NextHop netip.Addr `json:"nextHop"`
	// OutPort is the port of the same router that the next hop is reached through.
	OutPort string `json:"outPort"`
	// Weight is the share of this way among those with the same prefix; 0 counts as 1.
	Weight uint16   `json:"weight,omitempty"`
	Tags   []string `json:"tags,omitempty"`
}

// NATType is the direction in which a rule translates.
type NATType string

// Types of NAT rules.
const (
	NATSource      NATType = "snat"          // connections from inside get the external address as their source
	NATDestination NATType = "dnat"          // connections to the external address go to the one inside
	NATFloating    NATType = "dnat_and_snat" // both: the address inside has an external one of its own
)

// NATRule translates addresses in a router, which has to be pinned to a chassis.
type NATRule struct {
	Router string  `json:"router"`
	Name   string  `json:"name"`
	Type   NATType `json:"type"`
	// Prefix is what is inside: any for snat, of one address for the others. It is masked.
	Prefix netip.Prefix `json:"prefix"`
	// External is the address outside, of the family of the prefix.
	External netip.Addr `json:"external"`
	Tags     []string   `json:"tags,omitempty"`
}

// ParseNextHop reads the next hop of a route.
func ParseNextHop(text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("invalid next_hop %q", text)
	}
	a = a.Unmap()
	return a, validateNextHop(a)
}

// ParseNATType reads the type of a NAT rule.
func ParseNATType(text string) (NATType, error) {
	t := NATType(text)
	return t, t.validate()
}

// ParseExternal reads the external address of a NAT rule.
func ParseExternal(text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("invalid translate IP %q", text)
	}
	a = a.Unmap()
	return a, validateExternal(a)
}

// ParseRoutePrefix reads the prefix of a route or of a NAT rule; unlike that of a subnet it may be of length 0.
func ParseRoutePrefix(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("invalid CIDR address %q", text)
	}
	return p, validateRoutePrefix(p)
}

func validateRoutePrefix(p netip.Prefix) error {
	if p.IsValid() && p.Bits() == 0 && p.Addr().IsUnspecified() && !p.Addr().Is4In6() {
		return nil
	}
	return validateSubnet(p)
}

func validateNextHop(a netip.Addr) error {
	if err := validateIP(a); err != nil {
		return fmt.Errorf("invalid next_hop: %w", err)
	}
	return nil
}

func validateExternal(a netip.Addr) error {
	if err := validateIP(a); err != nil {
		return fmt.Errorf("invalid translate IP: %w", err)
	}
	if a.Is6() && a.IsLinkLocalUnicast() {
		return fmt.Errorf("invalid translate IP %q: it is link-local", a)
	}
	return nil
}

func (t NATType) validate() error {
	switch t {
	case NATSource, NATDestination, NATFloating:
		return nil
	}
	return fmt.Errorf("invalid translate type %q: it is %s, %s or %s", string(t), NATSource, NATDestination, NATFloating)
}

// Validate checks names, that the prefix is that of a network, and that the next hop is an address of its family.
func (o *StaticRoute) Validate() error {
	if err := validateName("router", o.Router); err != nil {
		return err
	}
	if err := validateName("static route", o.Name); err != nil {
		return err
	}
	if err := validateName("outport", o.OutPort); err != nil {
		return err
	}
	if err := validateRoutePrefix(o.Prefix); err != nil {
		return err
	}
	if err := validateNextHop(o.NextHop); err != nil {
		return err
	}
	if o.NextHop.Is4() != o.Prefix.Addr().Is4() {
		return fmt.Errorf("invalid next_hop %q: it is not of the family of %s", o.NextHop, o.Prefix)
	}
	return validateTags(o.Tags)
}

// Validate checks names and type, that the prefix is that of a network, for dnat and dnat_and_snat of a single address,
// and that the external address is another one of the same family.
func (o *NATRule) Validate() error {
	if err := validateName("router", o.Router); err != nil {
		return err
	}
	if err := validateName("NAT", o.Name); err != nil {
		return err
	}
	if err := o.Type.validate(); err != nil {
		return err
	}
	if err := validateRoutePrefix(o.Prefix); err != nil {
		return err
	}
	if o.Type != NATSource {
		if !o.Prefix.IsSingleIP() {
			return fmt.Errorf("invalid CIDR address %q: %s is to a single address, with prefix length %d", o.Prefix, o.Type, o.Prefix.Addr().BitLen())
		}
		if err := validateIP(o.Prefix.Addr()); err != nil {
			return fmt.Errorf("invalid CIDR address %q: %w", o.Prefix, err)
		}
	}
	if err := validateExternal(o.External); err != nil {
		return err
	}
	if o.External.Is4() != o.Prefix.Addr().Is4() {
		return fmt.Errorf("invalid translate IP %q: it is not of the family of %s", o.External, o.Prefix)
	}
	if o.Prefix.IsSingleIP() && o.Prefix.Addr() == o.External {
		return fmt.Errorf("invalid translate IP %q: it is the address to translate", o.External)
	}
	return validateTags(o.Tags)
}

// Ref is the name of the route in the store.
func (o *StaticRoute) Ref() Ref { return Ref{Kind: KindRoute, Parent: o.Router, Name: o.Name} }

// Ref is the name of the rule in the store.
func (o *NATRule) Ref() Ref { return Ref{Kind: KindNAT, Parent: o.Router, Name: o.Name} }

// FromInside reports whether the rule gives connections from inside another source.
func (o *NATRule) FromInside() bool { return o.Type == NATSource || o.Type == NATFloating }

// FromOutside reports whether the rule takes connections to the external address inside.
func (o *NATRule) FromOutside() bool { return o.Type == NATDestination || o.Type == NATFloating }
