//go:build integration

package e2e_test

import (
	"net/netip"
	"os"
	"regexp"
	"strings"

	"tuplenet/e2e/lab"
)

// What the labs of a run stand on: the variables that package lab reads.

// vxlan tells whether daemons offer VXLAN unless a test has them offer something else.
func vxlan() bool { return os.Getenv(lab.EncapVariable) == "vxlan" }

// tunnels is what tcpdump catches tunnel packets with.
func tunnels() string { return "udp port " + tunnelPort() }

func tunnelPort() string {
	if vxlan() {
		return "4789"
	}
	return "6081"
}

// tunnelMTU is what fits into tunnels between these addresses, of 1500 bytes.
func tunnelMTU(endpoint netip.Addr) int {
	mtu := 1500 - 20 - 8 - 8 - 14 - 12 // IP, UDP, Geneve, Ethernet, option
	if vxlan() {
		mtu += 12
	}
	if endpoint.Is6() {
		mtu -= 20
	}
	return mtu
}

// here has a command of the tutorial talk to the lab's etcd, wherever it is.
func (f *fleet) here(command []string) []string {
	out := make([]string, len(command))
	for i, word := range command {
		out[i] = strings.Replace(word, "192.168.1.10:2379", f.Endpoints()[0], 1)
	}
	return out
}

// ip is the tunnel address of a host.
func ip(h *lab.Host) string { return h.Addrs()[0].String() }

// whole is a capture in which what is in a VXLAN tunnel stands behind the tunnel's header, as tcpdump shows it of Geneve.
func whole(capture string) string {
	return regexp.MustCompile(`(VXLAN, flags .*)\n`).ReplaceAllString(capture, "$1 ")
}

// listed is how `tpctl ch show` tells the address of a host.
func listed(h *lab.Host) string {
	if vxlan() {
		return "ip    : " + ip(h) // beside "encaps"
	}
	return "ip  : " + ip(h)
}
