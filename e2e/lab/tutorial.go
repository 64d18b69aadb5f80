package lab

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// The tutorial: two hosts, Alice and Bob, with a workload each on logical switches of their own, joined by a router.
// Its commands are typed as they are written there.

// TutorialConfig is a lab in which the tutorial's commands work as written: the address of the hosts is on eth0, etcd
// is on Alice. There may be more hosts than these two.
func TutorialConfig(name, bin string, hosts []string) Config {
	return Config{Name: name, Bin: bin, Hosts: hosts, Bridge: "eth0", Etcd: EtcdFirstHost}
}

// TutorialDaemon is the tutorial's command line of the node daemon, without its name.
func TutorialDaemon() []string { return []string{"--interface", "eth0", "--host", "192.168.1.10:2379"} }

// TutorialNetwork makes the logical switches, the router, ports and links (section 1.2).
func TutorialNetwork() []string {
	return []string{
		"tpctl ls add LS-A",
		"tpctl ls add LS-B",
		"tpctl lr add LR-central",
		"tpctl lsp add LS-A lsp-alice 10.20.1.10 f2:01:00:00:00:01",
		"tpctl lsp add LS-B lsp-bob 10.20.2.10 f2:01:00:00:00:02",
		"tpctl lr link LR-central LS-A 10.20.1.1/24",
		"tpctl lr link LR-central LS-B 10.20.2.1/24",
	}
}

// TutorialNetworkIPv6 is the same again with IPv6, beside it and on the same router.
func TutorialNetworkIPv6() []string {
	return []string{
		"tpctl ls add LS-A6",
		"tpctl ls add LS-B6",
		"tpctl lsp add LS-A6 lsp-alice6 2001:db8:20:1::10 f2:01:00:00:00:03",
		"tpctl lsp add LS-B6 lsp-bob6 2001:db8:20:2::10 f2:01:00:00:00:04",
		"tpctl lr link LR-central LS-A6 2001:db8:20:1::1/64",
		"tpctl lr link LR-central LS-B6 2001:db8:20:2::1/64",
	}
}

// TutorialWorkload makes the workload on alice or bob (section 1.4).
func TutorialWorkload(host string) []string {
	subnet, mac := "10.20.1", "f2:01:00:00:00:01"
	if host == "bob" {
		subnet, mac = "10.20.2", "f2:01:00:00:00:02"
	}
	ns := "ns-" + host
	return []string{
		"ip netns add " + ns,
		"ip link add nseth0 type veth peer name nseth0-peer",
		"ip link set nseth0 netns " + ns,
		"ovs-vsctl add-port br-int nseth0-peer -- set Interface  nseth0-peer external-ids:iface-id=lsp-" + host,
		"ip netns exec " + ns + " ip addr add " + subnet + ".10/24 dev nseth0",
		"ip netns exec " + ns + " ip link set dev nseth0 address " + mac,
		"ip netns exec " + ns + " ip link set dev nseth0 up",
		"ip netns exec " + ns + " ip route add default via " + subnet + ".1",
		"ifconfig nseth0-peer up",
	}
}

// TutorialTuning is what TCP needs besides: an MTU that leaves room for the tunnel (section 2.2), and checksums made by
// the sender, because the lab's switches forward in user space, where a veth's promise to fill them in later is void.
func TutorialTuning(host string) []string {
	return []string{
		"ip netns exec ns-" + host + " ip link set dev nseth0 mtu 1400",
		"ip netns exec ns-" + host + " ethtool -K nseth0 tx off",
	}
}

// TutorialIPv6 describes the workload of TutorialNetworkIPv6 on alice or bob.
func TutorialIPv6(host string) WorkloadConfig {
	subnet, mac := "2001:db8:20:1::", "f2:01:00:00:00:03"
	if host == "bob" {
		subnet, mac = "2001:db8:20:2::", "f2:01:00:00:00:04"
	}
	return WorkloadConfig{
		Name: "ns-" + host + "6", Port: "lsp-" + host + "6", MAC: mac,
		Addrs: []netip.Prefix{netip.MustParsePrefix(subnet + "10/64")}, Gateways: []netip.Addr{netip.MustParseAddr(subnet + "1")},
	}
}

// TutorialEdgesConfig is TutorialConfig with edges beside Alice and Bob: edge1 (192.168.1.12), edge2 …, whose system-ids are
// edge1-node, edge2-node … (sections 2 and 3).
func TutorialEdgesConfig(name, bin string, layout Layout, edges int) Config {
	c := TutorialConfig(name, bin, []string{"alice", "bob"})
	for i := range edges {
		host := fmt.Sprintf("edge%d", i+1)
		c.Hosts = append(c.Hosts, host)
		c.Edges = append(c.Edges, Edge{Host: host, Layout: layout, SystemID: host + "-node"})
	}
	return c
}

// TutorialEdgeBridge makes the bridge of an edge with two interfaces (section 2.1). In the lab its switch forwards in user
// space, which the third command says. With one interface, the lab has made the bridge already: it has the host's
// address.
func TutorialEdgeBridge(layout Layout) []string {
	if layout == OneNIC {
		return nil
	}
	return []string{
		"ovs-vsctl add-br br0",
		"ovs-vsctl add-port br0 eth1",
		"ovs-vsctl set Bridge br0 datapath_type=netdev",
	}
}

// TutorialEdgeDaemon is the tutorial's command line of the daemon on an edge, without its name, with the environment
// variables before it.
func TutorialEdgeDaemon(layout Layout) []string {
	device := "eth0"
	if layout == OneNIC {
		device = "br0"
	}
	return []string{"ONDEMAND=0", "GATEWAY=1", "--interface", device, "--host", "192.168.1.10:2379"}
}

// TutorialEdgePatch joins the two bridges of the edge of that number, from 1 (sections 2.1, 3.1).
func TutorialEdgePatch(n int) []string {
	p := fmt.Sprintf("patchport-outside%d", n)
	return []string{
		"ovs-vsctl add-port br-int " + p + " -- set Interface " + p + " type=patch external_ids:iface-id=" + p + " options:peer=" + p + "-peer",
		"ovs-vsctl add-port br0 " + p + "-peer -- set Interface " + p + "-peer type=patch options:peer=" + p,
	}
}

// TutorialEdgeNetwork makes the virtual part of the edge of that number: sections 2.2 and 3.2.
func TutorialEdgeNetwork(n int) []string {
	back := "100.10.10.1" // the address of LR-central on the way to the edge
	if n > 1 {
		back = fmt.Sprintf("100.10.10.%d", n+1)
	}
	numbered := []string{
		"tpctl lr add LR-edge# edge#-node",
		"tpctl ls add m#",
		"tpctl ls add outside#",
		"tpctl lr link LR-central m# BACK/24",
		"tpctl lr link LR-edge# m# 100.10.10.2/24",
		"tpctl lr link LR-edge# outside# OWN/24",
		"tpctl lsr add LR-central to_outside# 0.0.0.0/0 100.10.10.2 LR-central_to_m#",
		"tpctl lsr add LR-edge# to_virt# 10.20.0.0/16 BACK LR-edge#_to_m#",
		"tpctl lsr add LR-edge# to_ext_world# 0.0.0.0/0  192.168.1.1 LR-edge#_to_outside#",
		"tpctl lsp add outside# patchport-outside# 255.255.255.255 ff:ff:ff:ff:ff:ee",
		"tpctl lnat add LR-edge# snat_rule# 10.20.0.0/16 snat SNAT",
	}
	fill := strings.NewReplacer("#", strconv.Itoa(n), "BACK", back, "OWN", fmt.Sprintf("192.168.1.%d", 19+n), "SNAT", TutorialSNAT(n).String())
	for i, line := range numbered {
		numbered[i] = fill.Replace(line)
	}
	return numbered
}

// TutorialSNAT is the address as which the outside sees what comes through the edge of that number.
func TutorialSNAT(n int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("192.168.1.%d", 29+n)) }

// Type runs commands on the host as an operator types them, one after the other, until one fails. before, if given, is
// told each.
func (h *Host) Type(ctx context.Context, before func(host, command string), commands ...string) error {
	for _, c := range commands {
		if before != nil {
			before(h.name, c)
		}
		if _, err := h.Exec(ctx, strings.Fields(c)...); err != nil {
			return fmt.Errorf("typed on %s: %w", h.name, err)
		}
	}
	return nil
}
