//go:build integration

package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tuplenet/e2e/lab"
)

// overlay lets a host write into a folder of the machine: what it writes goes to the host's own folder.
func (c *cniFleet) overlay(h *lab.Host, folder string) {
	c.t.Helper()
	own := filepath.Join(h.Dir(), "overlay", strings.ReplaceAll(folder, "/", "_"))
	for _, d := range []string{"upper", "work"} {
		c.check(os.MkdirAll(filepath.Join(own, d), 0o755))
	}
	c.on(h, fmt.Sprintf("mount -t overlay overlay -o lowerdir=%s,upperdir=%s/upper,workdir=%s/work %s", folder, own, own, folder))
}

// tutorialConf is the file of section 5 of the tutorial, but for the address of etcd.
const tutorialConf = `mkdir -p /etc/cni/net.d /opt/cni/bin
cat <<EOF  > /etc/cni/net.d/tpcni.conf
{
        "cniVersion": "0.3.0",
        "name": "tpcni-network",
        "type": "tpcni",
        "mtu": 1400,
        "switchname": "LS_A",
        "subnet": "10.20.1.1/24",
        "etcd_cluster": "YOUR_ETCD_IP:PORT",
        "data_store_prefix": "/tuplenet"
}
EOF
`

func TestT52_T53_T55_TheTutorialsFileWorksAsWritten(t *testing.T) {
	t.Parallel()
	f := newBareFleet(t, lab.TutorialConfig("cni-tutorial", "", []string{"alice", "bob"}))
	c := &cniFleet{fleet: f, dir: t.TempDir(), tool: buildTool(t, "github.com/containernetworking/cni/cnitool")}
	c.check(f.Host("alice").Type(c.ctx, nil, "tpctl ls add LS_A", "tpctl ls add LS-B", "tpctl lr add LR-central",
		"tpctl lr link LR-central LS_A 10.20.1.1/24", "tpctl lr link LR-central LS-B 10.20.2.1/24", "tpctl lsp add LS-B lsp-bob 10.20.2.10 f2:01:00:00:00:02"))
	for _, h := range c.Hosts() {
		c.check(h.StartDaemonExactly(c.ctx, c.here(lab.TutorialDaemon())...))
		for _, folder := range []string{"/etc", "/opt", "/usr/bin"} {
			c.overlay(h, folder)
		}
		c.on(h, "mount -t tmpfs tmpfs /var/lib")
		c.on(h, "cp "+bin+"/tpcni /usr/bin/tpcni") // what a package does
		_, err := h.Shell(c.ctx, strings.Replace(tutorialConf, "YOUR_ETCD_IP:PORT", c.Endpoints()[0], 1))
		c.check(err)
		c.on(h, "ln -s /usr/bin/tpcni /opt/cni/bin/tpcni")
	}
	c.check(f.Host("bob").Type(c.ctx, nil, append(lab.TutorialWorkload("bob"), lab.TutorialTuning("bob")...)...))
	bob, err := f.Host("bob").Adopt("ns-bob")
	c.check(err)
	c.reach(bob, netip.MustParseAddr("10.20.2.1"))
	tool := func(p *pod, verb string) string {
		t.Helper()
		return c.on(p.h, "env CNI_PATH=/opt/cni/bin "+c.tool+" "+verb+" tpcni-network "+p.path())
	}
	var pods []*pod
	for i, h := range c.Hosts() {
		p := c.pod(h)
		pods = append(pods, p)
		out := tool(p, "add")
		if got, want := textOf(c.result(out)), fmt.Sprintf("10.20.1.%d/24 by 10.20.1.1", i+2); got != want {
			t.Errorf("the container has %s, want %s", got, want)
		}
		c.reach(p.workload(), bobIP)
		if link := c.on(p.h, "ip netns exec "+p.ns+" ip -o link show eth0"); !strings.Contains(link, "mtu 1400") {
			t.Errorf("the MTU is not that of the file: %s", link)
		}
	}
	c.reach(pods[1].workload(), netip.MustParseAddr("10.20.1.2"))
	c.transfer(pods[0].workload(), pods[1].workload(), netip.MustParseAddr("10.20.1.3"), 5e6)
	c.transfer(pods[0].workload(), bob, bobIP, 5e6)
	if listing := c.tpctl("lsp show LS_A"); strings.Count(listing, "lsp-eth0-cnitool-") < 2 {
		t.Errorf("the ports are not in the listing:\n%s", listing)
	}
	for _, p := range pods {
		tool(p, "del")
	}
	c.nothingLeft()
}

func TestT53_X12_AddressesAndMACByCapabilityAndAResultThatJqReads(t *testing.T) {
	t.Parallel()
	c := newCNIFleet(t, lab.Config{Name: "cni-asked"})
	peer := c.start()
	alice := c.Host("alice")
	c.install("pods", "1.0.0", c.conf(object{"subnet6": podSubnet6, "capabilities": object{"mac": true, "ips": true}}))
	p := c.pod(alice, `CAP_ARGS={"mac":"02:42:0a:00:00:07","ips":["10.20.1.77/24","2001:db8:20:1::77"]}`)
	out, err := p.tool("add", "pods")
	c.check(err)
	file := filepath.Join(c.dir, p.ns+".json")
	c.check(os.WriteFile(file, []byte(out), 0o644))
	if got := c.on(alice, "jq -r .ips[].address "+file); got != "10.20.1.77/24\n2001:db8:20:1::77/64\n" {
		t.Errorf("jq reads %q", got)
	}
	if mac := c.on(alice, "ip netns exec "+p.ns+" cat /sys/class/net/eth0/address"); mac != "02:42:0a:00:00:07\n" {
		t.Errorf("the interface has the MAC %s", mac)
	}
	c.reach(p.workload(), bobIP, bobIP6)
	c.transfer(peer, p.workload(), netip.MustParseAddr("2001:db8:20:1::77"), 2e6)
	// The same once more: the addresses are taken. One family asked for, the other given.
	q := c.pod(alice, p.env...)
	q.fails("add", "pods", "conflict with other")
	q.env = []string{"CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=front-1;IP=10.20.1.78"}
	if got := textOf(q.add("pods")); got != "10.20.1.78/24 by 10.20.1.1, 2001:db8:20:1:f001:aff:fe14:14e/64 by 2001:db8:20:1::1" {
		t.Errorf("asked for an IPv4 address: %s", got)
	}
	c.reach(q.workload(), bobIP, bobIP6)
	p.run("del", "pods")
	q.run("del", "pods")
	c.nothingLeft()
}

func TestT53_ASecondInterfaceOnAnotherSwitchWithTheSubnetOfThatSwitch(t *testing.T) {
	t.Parallel()
	c := newCNIFleet(t, lab.Config{Name: "cni-two"})
	c.start()
	c.tpctl("ls add LS-C --subnet 10.20.7.0/24")
	c.tpctl("lr link LR-central LS-C 10.20.7.1/24")
	c.install("pods", "1.0.0", c.conf(nil))
	c.install("second", "1.0.0", c.conf(object{"switchname": "LS-C", "subnet": ""}))
	first := c.pod(c.Host("alice"))
	first.add("pods")
	second := &pod{c: c, h: first.h, ns: first.ns, env: []string{"CNI_IFNAME=net1"}}
	r := second.add("second")
	if got := textOf(r); got != "10.20.7.2/24 by 10.20.7.1" || len(r.Routes) != 0 {
		t.Errorf("by the subnet of the switch: %s, routes %v", got, r.Routes)
	}
	if got := routesOf(first); got != "10.20.1.1" {
		t.Errorf("default route by way of %s, want that of the first interface", got)
	}
	first.run("check", "pods")
	second.run("check", "second")
	c.reach(first.workload(), bobIP, netip.MustParseAddr("10.20.7.1"))
	c.on(first.h, "ip netns exec "+first.ns+" ping -c 1 -W "+onePing+" -I net1 10.20.7.1")
	second.run("del", "second")
	c.reach(first.workload(), bobIP)
	first.run("del", "pods")
	c.nothingLeft()
}

func TestT53_TheMTUIsWhatFitsIntoTheTunnelAndIPv6NeedsNoIPv4(t *testing.T) {
	t.Parallel()
	for _, u := range []struct {
		underlay lab.Underlay
		mtu      int
	}{{lab.UnderlayIPv4, tunnelMTU(netip.IPv4Unspecified())}, {lab.UnderlayIPv6, tunnelMTU(netip.IPv6Unspecified())}} {
		t.Run(string(u.underlay), func(t *testing.T) {
			c := newCNIFleet(t, lab.Config{Name: "cni-mtu-" + string(u.underlay), Underlay: u.underlay})
			c.start()
			c.install("pods", "1.1.0", c.conf(object{"subnet": "", "subnet6": podSubnet6}))
			a, b := c.pod(c.Host("alice")), c.pod(c.Host("bob"))
			ra, rb := a.add("pods"), b.add("pods")
			if len(ra.IPs) != 1 || ra.IPs[0].Gateway.String() != "2001:db8:20:1::1" || ra.Interfaces[1].Mtu != u.mtu {
				t.Errorf("result: %+v", ra)
			}
			if link := c.on(a.h, "ip netns exec "+a.ns+" ip -o link show eth0"); !strings.Contains(link, fmt.Sprintf("mtu %d ", u.mtu)) {
				t.Errorf("want the MTU %d: %s", u.mtu, link)
			}
			c.reach(a.workload(), bobIP6, addresses(rb)[0])
			c.transfer(a.workload(), b.workload(), addresses(rb)[0], 5e6)
			payload := u.mtu - 40 - 8 // the headers of IPv6 and ICMPv6
			c.on(a.h, fmt.Sprintf("ip netns exec %s ping -c 1 -W %s -M do -s %d %s", a.ns, onePing, payload, addresses(rb)[0]))
			a.run("del", "pods")
			b.run("del", "pods")
			// What the switch is set to counts more, what the configuration says most.
			c.tpctl("ls add LS-M --subnet 10.20.8.0/24 --mtu 1300")
			c.install("set", "1.1.0", c.conf(object{"switchname": "LS-M", "subnet": ""}))
			c.install("said", "1.1.0", c.conf(object{"switchname": "LS-M", "subnet": "", "mtu": 1290}))
			for network, want := range map[string]int{"set": 1300, "said": 1290} {
				if r := a.add(network); r.Interfaces[1].Mtu != want {
					t.Errorf("%s: MTU %d, want %d", network, r.Interfaces[1].Mtu, want)
				}
				a.run("del", network)
			}
			c.nothingLeft()
		})
	}
}

// hostLeg gives a host an address on a switch, so that it and its containers reach each other: docs/guide/kubernetes.md.
var hostLeg = []string{
	"tpctl lsp add LS-A node-alice 10.20.1.250 f2:01:0a:14:01:fa",
	`ovs-vsctl add-port br-int pods0 -- set Interface pods0 type=internal mac='"f2:01:0a:14:01:fa"' external_ids:iface-id=node-alice`,
	"ip addr add 10.20.1.250/24 dev pods0",
	"ip link set pods0 mtu 1438 up",
	"ip route add 10.20.2.0/24 via 10.20.1.1",
	"iptables -t nat -A POSTROUTING -o pods0 ! -s 10.20.1.250 -j MASQUERADE",
	"sysctl -q -w net.ipv4.ip_forward=1",
}

func TestT53_PublishedPortsAndBandwidthByTheReferencePlugins(t *testing.T) {
	t.Parallel()
	c := newCNIFleet(t, lab.Config{Name: "cni-chain"})
	c.start()
	alice := c.Host("alice")
	for _, line := range hostLeg {
		_, err := alice.Shell(c.ctx, line)
		c.check(err)
	}
	c.install("pods", "1.0.0", c.conf(nil),
		object{"type": "portmap", "capabilities": object{"portMappings": true}},
		object{"type": "bandwidth", "capabilities": object{"bandwidth": true}})
	p := c.pod(alice, `CAP_ARGS={"portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"tcp"}],"bandwidth":{"ingressRate":80000000,"ingressBurst":8000000,"egressRate":80000000,"egressBurst":8000000}}`)
	r := p.add("pods")
	c.eventually("the container to answer its host", func() error {
		_, err := alice.Exec(c.ctx, "ping", "-c", "1", "-W", "1", addresses(r)[0].String())
		return err
	})
	if q := c.on(alice, "tc qdisc show dev "+r.Interfaces[0].Name); !strings.Contains(q, "tbf") || !strings.Contains(q, "rate 80Mbit") {
		t.Errorf("bandwidth: %s", q)
	}
	// A client on the other host reaches the container by the port of its host.
	web, err := p.workload().StartWeb(c.ctx, 80)
	c.check(err)
	defer web.Close()
	if _, err := c.Host("bob").Exec(c.ctx, "wget", "-q", "-O", "/dev/null", "-T", "5", "-t", "1", "http://"+alice.Addrs()[0].String()+":8080/"); err != nil || len(web.Seen()) != 1 {
		t.Errorf("through the published port: %v; clients of the container: %v", err, web.Seen())
	}
	p.run("del", "pods")
	if rules := c.on(alice, "iptables-save"); strings.Contains(rules, "8080") {
		t.Errorf("rules of the published port are left:\n%s", rules)
	}
	c.on(alice, "ovs-vsctl del-port pods0")
	c.tpctl("lsp del LS-A node-alice")
	c.nothingLeft()
}

func TestT53_InAChainBehindAnotherPlugin(t *testing.T) {
	t.Parallel()
	c := newCNIFleet(t, lab.Config{Name: "cni-second"})
	c.start()
	before := object{"cniVersion": "1.0.0", "interfaces": []object{{"name": "dummy0"}, {"name": "net9", "sandbox": "/somewhere"}},
		"ips": []object{{"address": "192.0.2.5/24", "gateway": "192.0.2.1", "interface": 1}}, "routes": []object{{"dst": "0.0.0.0/0", "gw": "192.0.2.1"}}}
	p := c.pod(c.Host("alice"))
	out, _, err := p.plugin("ADD", c.whole("1.0.0", object{"subnet6": podSubnet6, "prevResult": before}))
	c.check(err)
	r := c.result(out)
	if len(r.Interfaces) != 4 || len(r.IPs) != 3 || r.IPs[0].Address.String() != "192.0.2.5/24" || *r.IPs[1].Interface != 3 || r.Interfaces[3].Name != "eth0" {
		t.Errorf("the results are not joined: %s", out)
	}
	if got := routesOf(p); got != "2001:db8:20:1::1" || len(r.Routes) != 2 {
		t.Errorf("default routes by way of %s, want that of IPv6 alone: the earlier plugin has one of IPv4", got)
	}
	var prev object
	c.check(json.Unmarshal([]byte(out), &prev))
	if out, _, err := p.plugin("CHECK", c.whole("1.0.0", object{"subnet6": podSubnet6, "prevResult": prev})); err != nil {
		t.Errorf("CHECK: %v: %s", err, out)
	}
	c.reach(p.workload(), bobIP6)
	if out, _, err := p.plugin("DEL", c.whole("1.0.0", nil)); err != nil {
		t.Errorf("DEL: %v: %s", err, out)
	}
	c.nothingLeft()
}
