package host

import (
	"encoding/hex"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestTheEndpointIsChosenByRuleNotByOrder(t *testing.T) {
	a := func(prefix string, flags int) address {
		p := netip.MustParsePrefix(prefix)
		return address{addr: p.Addr(), bits: p.Bits(), device: 1, flags: flags, global: !p.Addr().IsLinkLocalUnicast()}
	}
	const permanent = unix.IFA_F_PERMANENT
	for name, c := range map[string]struct {
		list   []address
		v4, v6 string
	}{
		"one of each family":                    {[]address{a("192.0.2.1/24", permanent), a("2001:db8::1/64", permanent), a("fe80::1/64", permanent)}, "192.0.2.1", "2001:db8::1"},
		"only link-local":                       {[]address{a("169.254.1.1/16", permanent), a("fe80::1/64", permanent)}, "", ""},
		"a primary before a secondary":          {[]address{a("192.0.2.1/24", permanent|unix.IFA_F_SECONDARY), a("192.0.2.9/24", permanent)}, "192.0.2.9", ""},
		"a network before a virtual address":    {[]address{a("192.0.2.1/32", permanent), a("192.0.2.9/24", permanent)}, "192.0.2.9", ""},
		"a single address if there is no other": {[]address{a("192.0.2.1/32", permanent)}, "192.0.2.1", ""},
		"the lowest among equals":               {[]address{a("192.0.2.20/24", permanent), a("192.0.2.3/24", permanent)}, "192.0.2.3", ""},
		"a static address before SLAAC":         {[]address{a("2001:db8::1:2/64", unix.IFA_F_MANAGETEMPADDR), a("2001:db8::ffff/64", permanent)}, "", "2001:db8::ffff"},
		"SLAAC, not its temporary address":      {[]address{a("2001:db8::1/64", unix.IFA_F_TEMPORARY), a("2001:db8::5/64", 0)}, "", "2001:db8::5"},
		"not deprecated, tentative or failed": {[]address{
			a("2001:db8::1/64", unix.IFA_F_DEPRECATED), a("2001:db8::2/64", permanent|unix.IFA_F_TENTATIVE),
			a("2001:db8::3/64", permanent|unix.IFA_F_DADFAILED|unix.IFA_F_TENTATIVE), a("2001:db8::4/64", permanent),
		}, "", "2001:db8::4"},
		"an optimistic address may be used":          {[]address{a("2001:db8::2/64", permanent|unix.IFA_F_TENTATIVE|unix.IFA_F_OPTIMISTIC)}, "", "2001:db8::2"},
		"a global address before a unique local one": {[]address{a("fd00::1/64", permanent), a("2001:db8::2/64", permanent)}, "", "2001:db8::2"},
	} {
		t.Run(name, func(t *testing.T) {
			for range 5 {
				rand.Shuffle(len(c.list), func(i, j int) { c.list[i], c.list[j] = c.list[j], c.list[i] })
				e := choose(c.list)
				if text(e.V4) != c.v4 || text(e.V6) != c.v6 {
					t.Fatalf("chose %s and %s from %v", e.V4, e.V6, c.list)
				}
			}
		})
	}
}

func text(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func TestX18_AddressesThatCannotBeTunnelEndpointsAreNamedWithTheReason(t *testing.T) {
	for _, good := range []string{"192.0.2.1", "10.0.0.1", "2001:db8::1", "fd00::1"} {
		if err := CheckEndpoint(netip.MustParseAddr(good)); err != nil {
			t.Error(err)
		}
	}
	for bad, reason := range map[string]string{
		"fe80::1": "link-local", "fe80::1%eth0": "link-local", "169.254.3.4": "link-local", "127.0.0.1": "loopback", "::1": "loopback",
		"224.0.0.1": "unicast", "ff02::1": "unicast", "255.255.255.255": "unicast", "0.0.0.0": "unspecified", "::": "unspecified", "::ffff:192.0.2.1": "IPv4",
	} {
		err := CheckEndpoint(netip.MustParseAddr(bad))
		if err == nil || !strings.Contains(err.Error(), reason) || !strings.Contains(err.Error(), bad) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if CheckEndpoint(netip.Addr{}) == nil {
		t.Error("no address is an endpoint")
	}
}

func TestASolicitationIsAsTheRFCDrawsIt(t *testing.T) {
	target := netip.MustParseAddr("2001:db8::1:2345:6789")
	if got := netip.AddrFrom16(solicitedNode(target)).String(); got != "ff02::1:ff45:6789" {
		t.Errorf("solicited node: %s", got)
	}
	got := hex.EncodeToString(solicitation(target, net.HardwareAddr{2, 0, 0, 0, 0, 7}))
	if want := "87000000" + "00000000" + "20010db8000000000000000123456789" + "0101" + "020000000007"; got != want {
		t.Errorf("message %s, want %s", got, want)
	}
}
