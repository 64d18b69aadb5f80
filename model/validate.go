package model

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// MTU limits of a switch: what IPv6 needs (RFC 8200 section 5; smaller ones are left to IPv4-only networks) and what
// Ethernet with jumbo frames carries.
const (
	MinMTU = 576
	MaxMTU = 9216
)

// maxIP is the largest IP packet (RFC 791): loopback devices have it as their MTU.
const maxIP = 65535

const maxTags = 64

func validateTags(tags []string) error {
	if len(tags) > maxTags {
		return fmt.Errorf("invalid tags: %d are more than %d", len(tags), maxTags)
	}
	for _, t := range tags {
		if err := validateName("tag", t); err != nil {
			return err
		}
	}
	return nil
}

// Validate checks name, VNI, type, subnets (masked, not overlapping), MTU, what hosts are told, and tags.
func (o *LogicalSwitch) Validate() error {
	if err := errors.Join(validateName("switch", o.Name)); err != nil {
		return err
	}
	if err := o.VNI.validate("VNI"); err != nil {
		return err
	}
	if err := o.validateType(); err != nil {
		return err
	}
	if len(o.Subnets) > MaxAddresses {
		return fmt.Errorf("invalid subnets: %d are more than %d", len(o.Subnets), MaxAddresses)
	}
	for i, p := range o.Subnets {
		if err := validateSubnet(p); err != nil {
			return err
		}
		for _, q := range o.Subnets[:i] {
			if p.Overlaps(q) {
				return fmt.Errorf("invalid CIDR address %q: it overlaps with %s", p, q)
			}
		}
	}
	if err := o.validateSources(); err != nil {
		return err
	}
	if err := o.MACPrefix.validate(); err != nil {
		return err
	}
	if o.MTU != 0 && (o.MTU < MinMTU || o.MTU > MaxMTU) {
		return fmt.Errorf("invalid MTU %d: the limits are %d and %d", o.MTU, MinMTU, MaxMTU)
	}
	if err := o.Hosts.Validate(); err != nil {
		return err
	}
	return validateTags(o.Tags)
}

// Validate checks names, key and addresses, and that the fields fit the type: a router port has a peer, a patch port
// has no addresses, only a patch port has a chassis and a bridge.
func (o *LogicalSwitchPort) Validate() error {
	if err := validateName("switch", o.Switch); err != nil {
		return err
	}
	if err := validateName("port", o.Name); err != nil {
		return err
	}
	if err := o.Key.validate(); err != nil {
		return err
	}
	if err := validateIPs(o.IPs); err != nil {
		return err
	}
	if err := o.validateType(); err != nil {
		return err
	}
	if err := o.validateHost(); err != nil {
		return err
	}
	return validateTags(o.Tags)
}

func (o *LogicalSwitchPort) validateType() error {
	switch o.Type {
	case PortVIF, PortRouter, PortPatch:
	default:
		return fmt.Errorf("invalid type %q of a port: it is %s, %s or %s", o.Type, PortVIF, PortRouter, PortPatch)
	}
	if o.Type == PortPatch {
		if !o.MAC.IsZero() || len(o.IPs) > 0 {
			return errors.New("invalid patch port: it has no addresses of its own")
		}
	} else if err := o.MAC.validate(); err != nil {
		return err
	}
	if o.Type == PortRouter {
		if err := validateName("peer", o.Peer); err != nil {
			return err
		}
	} else if o.Peer != "" {
		return fmt.Errorf("invalid peer %q: a port of type %s has none", o.Peer, o.Type)
	}
	if o.Chassis != "" && o.Type != PortPatch {
		return fmt.Errorf("invalid chassis %q: only a patch port is pinned", o.Chassis)
	}
	if o.Chassis != "" {
		if err := validateName("chassis", o.Chassis); err != nil {
			return err
		}
	}
	return o.validateBridge()
}

// maxDeviceName is the longest name of a network device of Linux. An OVS bridge has an interface of its name.
const maxDeviceName = 15

func (o *LogicalSwitchPort) validateBridge() error {
	switch {
	case o.Bridge == "":
		return nil
	case o.Type != PortPatch:
		return fmt.Errorf("invalid bridge %q: only a patch port leads to one", o.Bridge)
	case o.Chassis == "":
		return fmt.Errorf("invalid bridge %q: say on which chassis it is", o.Bridge)
	case len(o.Bridge) > maxDeviceName || strings.ContainsAny(o.Bridge, " \t"):
		return fmt.Errorf("invalid bridge %q: the name of an OVS bridge has at most %d characters, no blanks", o.Bridge, maxDeviceName)
	}
	return validateName("bridge", o.Bridge)
}

// Validate checks names and id.
func (o *LogicalRouter) Validate() error {
	if err := validateName("router", o.Name); err != nil {
		return err
	}
	if err := o.ID.validate("id"); err != nil {
		return err
	}
	if o.Chassis != "" {
		if err := validateName("chassis", o.Chassis); err != nil {
			return err
		}
	}
	return validateTags(o.Tags)
}

// Validate checks names, key, MAC and networks: at least one, addresses of interfaces, not overlapping.
func (o *LogicalRouterPort) Validate() error {
	if err := validateName("router", o.Router); err != nil {
		return err
	}
	if err := validateName("port", o.Name); err != nil {
		return err
	}
	if err := o.Key.validate(); err != nil {
		return err
	}
	if err := o.MAC.validate(); err != nil {
		return err
	}
	if o.Peer != "" {
		if err := validateName("peer", o.Peer); err != nil {
			return err
		}
	}
	if n := len(o.Networks); n == 0 || n > MaxAddresses {
		return fmt.Errorf("invalid networks: a router port has 1 to %d, not %d", MaxAddresses, n)
	}
	for i, p := range o.Networks {
		if err := validateInterface(p); err != nil {
			return err
		}
		if slices.ContainsFunc(o.Networks[:i], p.Overlaps) {
			return fmt.Errorf("invalid CIDR address %q: it overlaps with another network of the port", p)
		}
	}
	return validateTags(o.Tags)
}

// Validate checks names, tunnel endpoints (one of a family at most, at least one) and encapsulations.
func (o *Chassis) Validate() error {
	if err := validateName("chassis", o.Name); err != nil {
		return err
	}
	if o.Hostname != "" {
		if err := validateName("hostname", o.Hostname); err != nil {
			return err
		}
	}
	if len(o.IPs) == 0 || len(o.IPs) > 2 {
		return fmt.Errorf("invalid IPs: a chassis has one tunnel endpoint or one of each family, not %d", len(o.IPs))
	}
	if err := validateIPs(o.IPs); err != nil {
		return err
	}
	if len(o.IPs) == 2 && o.IPs[0].Is4() == o.IPs[1].Is4() {
		return fmt.Errorf("invalid IP %q: a chassis has one tunnel endpoint of each family", o.IPs[1])
	}
	for _, ip := range o.IPs {
		if ip.IsLinkLocalUnicast() && ip.Is6() {
			return fmt.Errorf("invalid IP %q: a link-local address cannot be a tunnel endpoint", ip)
		}
	}
	for what, mtu := range map[string]int{"underlay MTU": o.UnderlayMTU, "tunnel MTU": o.TunnelMTU} {
		if mtu < 0 || mtu > maxIP {
			return fmt.Errorf("invalid %s %d: the limits are 0 and %d", what, mtu, maxIP)
		}
	}
	return ValidateEncaps(o.Encaps)
}

// ValidateEncaps checks that encapsulations are known and each is named once.
func ValidateEncaps(encaps []Encap) error {
	if len(encaps) == 0 {
		return errors.New("invalid encapsulations: none given")
	}
	for i, e := range encaps {
		if e != EncapGeneve && e != EncapVXLAN {
			return fmt.Errorf("invalid encapsulation %q: it is %s or %s", e, EncapGeneve, EncapVXLAN)
		}
		if slices.Contains(encaps[:i], e) {
			return fmt.Errorf("invalid encapsulation %q: named twice", e)
		}
	}
	return nil
}

// Validate checks names.
func (o *Binding) Validate() error {
	if err := validateName("port", o.Port); err != nil {
		return err
	}
	return validateName("chassis", o.Chassis)
}
