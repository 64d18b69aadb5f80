package alloc

import (
	"fmt"
	"net/netip"
)

// Template makes addresses from the number of a network (or node) and that of a host in it.
type Template struct {
	// Network that all addresses are in; the prefixes of Length in it are numbered from 0. If Length is that of Network there
	// is one flat network, which the nodes share when it is Random.
	Network netip.Prefix
	Length  int
	// Random shuffles the hosts of a flat network as NewOrder does with Seed, and cuts them up: the first Reserve ones are
	// those of the nodes themselves, then come PerNet ones for each node.
	Random  bool
	Seed    uint64
	Reserve uint64
	PerNet  uint64
	// IPv6, if it is valid, is the address whose last 32 bits an IPv4 address takes the place of.
	IPv6 netip.Addr
}

// maxHosts is how many hosts a network is taken to have at most.
const maxHosts = 1<<32 - 1

// Hosts is how many hosts a net has.
func (t Template) Hosts() uint64 {
	if t.Random {
		return t.PerNet
	}
	return t.all()
}

// all is how many host numbers a prefix of Length has: 1 to it. In IPv4 the last address is broadcast.
func (t Template) all() uint64 {
	bits := min(t.Network.Addr().BitLen()-t.Length, 32)
	if t.Network.Addr().Is4() {
		return max(uint64(1)<<bits, 2) - 2
	}
	return 1<<bits - 1
}

// Address is that of a host of a network. Numbers of hosts begin with 1; of networks with 0, or, if the template is random,
// with 1, and its host 0 is the node itself.
func (t Template) Address(net, host uint64) (netip.Prefix, error) {
	if t.Random {
		return t.shuffled(net, host)
	}
	if bits := t.Length - t.Network.Bits(); bits < 64 && net >= 1<<bits {
		return netip.Prefix{}, fmt.Errorf("invalid net %d: %s has the nets 0 to %d of length %d", net, t.Network, uint64(1)<<bits-1, t.Length)
	}
	if n := t.all(); host < 1 || host > n {
		return netip.Prefix{}, fmt.Errorf("invalid host %d: a net of length %d has the hosts 1 to %d", host, t.Length, n)
	}
	return netip.PrefixFrom(Offset(Subnet(t.Network, t.Length, net).Addr(), uint32(host)), t.Length), nil
}

func (t Template) shuffled(node, host uint64) (netip.Prefix, error) {
	all := t.all()
	switch {
	case t.Length != t.Network.Bits():
		return netip.Prefix{}, fmt.Errorf("invalid template %s/%d: random addresses are for one flat network", t.Network, t.Length)
	case t.Reserve > all || t.PerNet > maxHosts:
		return netip.Prefix{}, fmt.Errorf("invalid reserve %d: %s has %d hosts", t.Reserve, t.Network, all)
	case host == 0 && (node < 1 || node > t.Reserve):
		return netip.Prefix{}, fmt.Errorf("invalid net %d: %d nodes have an address of their own", node, t.Reserve)
	case host > t.PerNet:
		return netip.Prefix{}, fmt.Errorf("invalid host %d: each net has the hosts 1 to %d", host, t.PerNet)
	case node < 1 || host > 0 && node > (all-t.Reserve)/max(t.PerNet, 1):
		return netip.Prefix{}, fmt.Errorf("invalid net %d: in %s there is room for the nets 1 to %d", node, t.Network, (all-t.Reserve)/max(t.PerNet, 1))
	}
	at := node - 1
	if host > 0 {
		at = t.Reserve + (node-1)*t.PerNet + host - 1
	}
	number := 1 + NewOrder(all, t.Seed).At(at)
	return netip.PrefixFrom(Offset(t.Network.Masked().Addr(), uint32(number)), t.Length), nil
}

// Embed puts an IPv4 address with its prefix length into the IPv6 template: 1000::1:0.0.0.0 and 172.16.2.3/24 make
// 1000::1:172.16.2.3/120.
func (t Template) Embed(v4 netip.Prefix) netip.Prefix {
	b, low := t.IPv6.As16(), v4.Addr().As4()
	copy(b[12:], low[:])
	return netip.PrefixFrom(netip.AddrFrom16(b), 96+v4.Bits())
}

// Cover are the fewest prefixes that cover exactly the addresses from first to last, which are of one family.
func Cover(first, last netip.Addr) (out []netip.Prefix) {
	for a := first; a.IsValid() && a.Compare(last) <= 0; {
		p := netip.PrefixFrom(a, a.BitLen())
		for bits := a.BitLen() - 1; bits >= 0; bits-- {
			larger := netip.PrefixFrom(a, bits)
			if larger.Masked().Addr() != a || last.Less(LastOf(larger)) {
				break
			}
			p = larger
		}
		out = append(out, p)
		a = LastOf(p).Next()
	}
	return out
}
