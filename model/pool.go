package model

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// KindPool is the kind of pools. It is a spec kind.
const KindPool Kind = "pool"

// Strategy is the order in which a pool gives out prefixes.
type Strategy string

// Strategies.
const (
	StrategyLowest Strategy = "lowest" // the lowest free one
	StrategyRandom Strategy = "random" // in an order that looks random and depends on the seed alone
)

// DefaultQuarantine is how long a prefix that was given back is not given out, in seconds, where the pool does not say.
const DefaultQuarantine = 3600

// Limits of pools.
const (
	// MaxPoolPrefixes is the largest number of prefixes of a pool, and of its reserved ones.
	MaxPoolPrefixes = 64
	// MaxQuarantine is ten years, in seconds.
	MaxQuarantine = 10 * 365 * 24 * 3600
	maxDriverName = 64
)

// Pool is a set of prefixes from which the subnets of switches are taken.
type Pool struct {
	Name string `json:"name"`
	// Prefixes are what subnets are taken from, all of one family; in this order with StrategyLowest.
	Prefixes []netip.Prefix `json:"prefixes"`
	// Length of the prefixes that are given out unless another one is asked for; 0: 64 in IPv6, 24 in IPv4, or that of the
	// longest of Prefixes if it is longer.
	Length int `json:"length,omitempty"`
	// Reserved are never given out, except to who names one.
	Reserved []netip.Prefix `json:"reserved,omitempty"`
	// Strategy; empty: StrategyLowest.
	Strategy Strategy `json:"strategy,omitempty"`
	// Seed of StrategyRandom: the same seed makes the same order everywhere.
	Seed uint64 `json:"seed,omitempty"`
	// Quarantine in seconds; nil: DefaultQuarantine, 0: none.
	Quarantine *int64 `json:"quarantineSeconds,omitempty"`
	// IPv6Template of an IPv4 pool makes an IPv6 address from an IPv4 one, which takes the place of its last 32 bits.
	IPv6Template netip.Addr `json:"ipv6Template,omitzero"`
	// Driver is the name of an executable that gives out the prefixes in the place of the store; empty: the store does.
	Driver string   `json:"driver,omitempty"`
	Tags   []string `json:"tags,omitempty"`
}

// Ref is the name of the pool in the store.
func (o *Pool) Ref() Ref { return Ref{Kind: KindPool, Name: o.Name} }

// Is4 reports whether the pool is one of IPv4.
func (o *Pool) Is4() bool { return len(o.Prefixes) > 0 && o.Prefixes[0].Addr().Is4() }

// DefaultLength is the length of the prefixes that are given out unless another one is asked for.
func (o *Pool) DefaultLength() int {
	if o.Length > 0 {
		return o.Length
	}
	length := 64
	if o.Is4() {
		length = 24
	}
	for _, p := range o.Prefixes {
		length = max(length, p.Bits())
	}
	return length
}

// QuarantineSeconds is how long a prefix that was given back is not given out; 0: it is at once.
func (o *Pool) QuarantineSeconds() int64 {
	if o.Quarantine == nil {
		return DefaultQuarantine
	}
	return *o.Quarantine
}

// Contains reports whether a prefix lies in the pool.
func (o *Pool) Contains(p netip.Prefix) bool {
	return slices.ContainsFunc(o.Prefixes, func(q netip.Prefix) bool { return q.Bits() <= p.Bits() && q.Overlaps(p) })
}

// CheckLength refuses a length that prefixes of the pool cannot have.
func (o *Pool) CheckLength(length int) error {
	most, least := 128, 128
	if o.Is4() {
		most = 32
	}
	for _, p := range o.Prefixes {
		least = min(least, p.Bits())
	}
	if length < least || length > most {
		return fmt.Errorf("invalid prefix length %d: pool %s gives out /%d to /%d", length, o.Name, least, most)
	}
	return nil
}

// Validate checks names, prefixes (masked, of one family, not overlapping), lengths, strategy and limits.
func (o *Pool) Validate() error {
	if err := validateName("pool", o.Name); err != nil {
		return err
	}
	if n := len(o.Prefixes); n == 0 || n > MaxPoolPrefixes {
		return fmt.Errorf("invalid prefixes: a pool has 1 to %d, not %d", MaxPoolPrefixes, n)
	}
	for i, p := range o.Prefixes {
		if err := validateSubnet(p); err != nil {
			return err
		}
		if p.Addr().Is4() != o.Is4() {
			return fmt.Errorf("invalid CIDR address %q: all prefixes of a pool are of one family, make another pool", p)
		}
		if slices.ContainsFunc(o.Prefixes[:i], p.Overlaps) {
			return fmt.Errorf("invalid CIDR address %q: it overlaps with another prefix of the pool", p)
		}
	}
	if o.Length != 0 {
		if err := o.CheckLength(o.Length); err != nil {
			return err
		}
	}
	if err := o.validateReserved(); err != nil {
		return err
	}
	if err := o.validateRest(); err != nil {
		return err
	}
	return validateTags(o.Tags)
}

func (o *Pool) validateReserved() error {
	if len(o.Reserved) > MaxPoolPrefixes {
		return fmt.Errorf("invalid reserved ranges: %d prefixes are more than %d", len(o.Reserved), MaxPoolPrefixes)
	}
	for _, p := range o.Reserved {
		if !p.IsValid() || p != p.Masked() {
			return fmt.Errorf("invalid CIDR address %q: not the prefix of a network", p)
		}
		if !slices.ContainsFunc(o.Prefixes, p.Overlaps) {
			return fmt.Errorf("invalid reserved range %s: it is not in the pool", p)
		}
	}
	return nil
}

func (o *Pool) validateRest() error {
	switch o.Strategy {
	case "", StrategyLowest, StrategyRandom:
	default:
		return fmt.Errorf("invalid strategy %q: it is %s or %s", o.Strategy, StrategyLowest, StrategyRandom)
	}
	if o.Seed != 0 && o.Strategy != StrategyRandom {
		return fmt.Errorf("invalid seed %d: only the strategy %s has one", o.Seed, StrategyRandom)
	}
	if q := o.Quarantine; q != nil && (*q < 0 || *q > MaxQuarantine) {
		return fmt.Errorf("invalid quarantine %d: the limits are 0 and %d seconds", *q, int64(MaxQuarantine))
	}
	if o.IPv6Template.IsValid() {
		if !o.Is4() {
			return errors.New("invalid IPv6 template: only a pool of IPv4 has one")
		}
		if err := ValidateIPv6Template(o.IPv6Template); err != nil {
			return err
		}
	}
	return validateDriver(o.Driver)
}

// validateDriver refuses names that could lead out of the directory of drivers.
func validateDriver(name string) error {
	if name == "" {
		return nil
	}
	for _, r := range name {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' {
			return fmt.Errorf("invalid driver %q: it is the name of a program, of letters, digits, - and _", name)
		}
	}
	if len(name) > maxDriverName {
		return fmt.Errorf("invalid driver %q: at most %d characters are allowed", name, maxDriverName)
	}
	return nil
}

// ValidateIPv6Template checks an address whose last 32 bits an IPv4 address will take the place of.
func ValidateIPv6Template(a netip.Addr) error {
	if !a.Is6() || a.Is4In6() || a.Zone() != "" || a.IsMulticast() || a.IsLoopback() {
		return fmt.Errorf("invalid IPv6 template %q: an address such as 1000::1:0.0.0.0 is expected", a)
	}
	return nil
}

// ParseTemplate reads the template of addresses SUPERNET/LENGTH/LENGTH, such as 172.16.0.0/16/24: of the network
// 172.16.0.0/16 each node has a prefix of length 24. Without the second length it is one flat network.
func ParseTemplate(text string) (network netip.Prefix, length int, err error) {
	cidr, last := text, ""
	if strings.Count(text, "/") == 2 {
		i := strings.LastIndexByte(text, '/')
		cidr, last = text[:i], text[i+1:]
	}
	if network, err = ParseSubnet(cidr); err != nil {
		return network, 0, err
	}
	if last == "" {
		return network, network.Bits(), nil
	}
	length, err = strconv.Atoi(last)
	if err != nil || length < network.Bits() || length > network.Addr().BitLen() {
		return network, 0, fmt.Errorf("invalid template %q: the second length is from %d to %d", text, network.Bits(), network.Addr().BitLen())
	}
	return network, length, nil
}

// SubnetSource says that a subnet of a switch is from a pool.
type SubnetSource struct {
	Pool string `json:"pool"`
	// Length that was asked for; 0: that of the pool.
	Length int `json:"length,omitempty"`
	// Subnet is one of the switch's. Not valid only in a draft: the store chooses it then.
	Subnet netip.Prefix `json:"subnet,omitzero"`
}

// ParseSubnetSource reads POOL, POOL/LENGTH or POOL=SUBNET: which pool, and what of it.
func ParseSubnetSource(text string) (s SubnetSource, err error) {
	if name, cidr, ok := strings.Cut(text, "="); ok {
		s.Pool = name
		if s.Subnet, err = ParseSubnet(cidr); err != nil {
			return s, err
		}
		return s, validateName("pool", name)
	}
	name, length, ok := strings.Cut(text, "/")
	s.Pool = name
	if ok {
		if s.Length, err = strconv.Atoi(length); err != nil || s.Length < 1 || s.Length > 128 {
			return s, fmt.Errorf("invalid prefix length %q: a number from 1 to 128 is expected", length)
		}
	}
	return s, validateName("pool", name)
}

// validateSources checks that each subnet that is said to be from a pool is one of the switch's, and is said once.
func (o *LogicalSwitch) validateSources() error {
	for i, s := range o.Pools {
		if err := validateName("pool", s.Pool); err != nil {
			return err
		}
		if s.Length < 0 || s.Length > 128 {
			return fmt.Errorf("invalid prefix length %d: the limits are 1 and 128", s.Length)
		}
		if !slices.Contains(o.Subnets, s.Subnet) {
			return fmt.Errorf("invalid subnet of pool %s: %s is not a subnet of the switch", s.Pool, s.Subnet)
		}
		if slices.ContainsFunc(o.Pools[:i], func(x SubnetSource) bool { return x.Subnet == s.Subnet }) {
			return fmt.Errorf("invalid subnet %s: two pools are given for it", s.Subnet)
		}
	}
	return nil
}

// PrefixClaims is what the claims on prefixes of a pool begin with.
func PrefixClaims(pool string) string { return "prefix/" + pool + "/" }

// ClaimPrefix is the claim of a prefix of a pool. Claims of one family sort as the prefixes do, the larger one of two that
// begin at one address first.
func ClaimPrefix(pool string, p netip.Prefix) string {
	return fmt.Sprintf("%s%s/%03d", PrefixClaims(pool), FullLength(p.Addr()), p.Bits())
}

// ParsePrefixClaim reads what ClaimPrefix writes.
func ParsePrefixClaim(claim string) (pool string, p netip.Prefix, ok bool) {
	part := strings.Split(claim, "/")
	if len(part) != 4 || part[0] != "prefix" {
		return "", p, false
	}
	a, err := ParseFullLength(part[2])
	bits, err2 := strconv.Atoi(part[3])
	if err != nil || err2 != nil {
		return "", p, false
	}
	p = netip.PrefixFrom(a, bits)
	return part[1], p, p.IsValid()
}

// validateDraft validates a switch whose VNI and whose subnets from pools may have to be chosen yet.
func (o *LogicalSwitch) validateDraft() error {
	c := *o
	c.VNI = max(c.VNI, 1)
	c.Pools = nil
	for _, s := range o.Pools {
		if s.Subnet.IsValid() {
			c.Pools = append(c.Pools, s)
			if !slices.Contains(c.Subnets, s.Subnet) {
				c.Subnets = append(slices.Clip(c.Subnets), s.Subnet)
			}
			continue
		}
		if err := validateName("pool", s.Pool); err != nil {
			return err
		}
		if s.Length < 0 || s.Length > 128 {
			return fmt.Errorf("invalid prefix length %d: the limits are 1 and 128", s.Length)
		}
	}
	if len(c.Subnets)+len(o.Pools)-len(c.Pools) > MaxAddresses {
		return fmt.Errorf("invalid subnets: more than %d", MaxAddresses)
	}
	return c.Validate()
}
