//go:build bench

package bench

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Networks that both sides use beyond the switches. The outside is that of the lab.
var (
	outsideNet    = netip.MustParsePrefix("192.168.1.20/24") // the router's address there
	outsideRouter = netip.MustParseAddr("192.168.1.1")
	outsideHost   = netip.MustParseAddr("192.168.1.250")
)

// outsideNAT is the external address of number k: 0 for everybody without one of its own.
func outsideNAT(k int) netip.Addr { return netip.AddrFrom4([4]byte{192, 168, 1, byte(100 + k)}) }

// routed is the destination of the static route of number k.
func routed(k int) string { return fmt.Sprintf("172.31.%d.0/24", k) }

// ours is tuplenet in a lab.
type ours struct {
	*world
	held int // the host that is the edge; -1 if none
}

func newOurs(t *testing.T, name string, edges ...string) *ours {
	t.Helper()
	o := &ours{world: newWorld(t, name+"t", edges...), held: -1}
	o.makeBridges()
	return o
}

func (o *ours) title() string { return "tuplenet" }

func (o *ours) tpctl(args ...string) string {
	o.t.Helper()
	out, err := o.Tpctl(o.ctx, args...)
	o.check(err)
	return out
}

// daemonEnv asks for all flows of all remote ports beforehand, which is what OVN has.
var daemonEnv = []string{"ONDEMAND=0"}

func (o *ours) start(hosts ...int) {
	o.t.Helper()
	o.check(o.StartEtcd(o.ctx))
	for _, h := range hosts {
		o.check(o.Hosts()[h].StartDaemon(o.ctx, daemonEnv...))
	}
	o.tpctl("ls", "add", "warm", "--wait=20s")
	o.tpctl("ls", "del", "warm")
}

func (o *ours) join(host int) { o.t.Helper(); o.check(o.Hosts()[host].SpawnDaemon(daemonEnv...)) }

func (o *ours) write(n network) {
	o.t.Helper()
	file := filepath.Join(o.t.TempDir(), "network.txt")
	o.check(os.WriteFile(file, n.commands(), 0o600))
	o.tpctl("batch", "-f", file, "--wait=120s")
}

func (o *ours) addPort(sw int, name string, ip netip.Addr) {
	o.t.Helper()
	o.tpctl("lsp", "add", switchName(sw), name, ip.String())
}

func (o *ours) delPort(sw int, name string) {
	o.t.Helper()
	o.tpctl("lsp", "del", switchName(sw), name)
}

func (o *ours) settled() {
	o.t.Helper()
	o.tpctl("ls", "add", "settled", "--wait=120s")
	o.tpctl("ls", "del", "settled", "--wait=120s")
}

// gateway is described at side: a router pinned to the host, as in the tutorial.
func (o *ours) gateway(host int) {
	o.t.Helper()
	h := o.Hosts()[host]
	o.check(h.StopDaemon(o.ctx))
	o.check(h.StartDaemon(o.ctx, append(daemonEnv, "GATEWAY=1")...))
	_, err := h.Vsctl(o.ctx, "add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev")
	o.check(err)
	if dev := h.OutsideDevice(); dev != "" {
		_, err := h.Vsctl(o.ctx, "add-port", "br0", dev)
		o.check(err)
	}
	_, err = h.Vsctl(o.ctx, "add-port", "br-int", "patch-outside", "--", "set", "Interface", "patch-outside", "type=patch", "external_ids:iface-id=patch-outside", "options:peer=patch-outside-peer",
		"--", "add-port", "br0", "patch-outside-peer", "--", "set", "Interface", "patch-outside-peer", "type=patch", "options:peer=patch-outside")
	o.check(err)
	for _, line := range []string{
		"lr add edge " + h.SystemID(), "ls add middle", "ls add outside", "lr link lr middle 100.64.0.1/24", "lr link edge middle 100.64.0.2/24", "lr link edge outside " + outsideNet.String(),
		"lsr add lr to_outside 0.0.0.0/0 100.64.0.2 lr_to_middle", "lsr add edge to_virt 10.0.0.0/8 100.64.0.1 edge_to_middle",
		"lsr add edge to_world 0.0.0.0/0 " + outsideRouter.String() + " edge_to_outside", "lsp add outside patch-outside 255.255.255.255 ff:ff:ff:ff:ff:ee",
		"lnat add edge snat 10.0.0.0/8 snat " + outsideNAT(0).String(),
	} {
		o.tpctl(strings.Fields(line)...)
	}
}

func (o *ours) changes() map[string]change {
	do := func(args ...string) { o.t.Helper(); o.tpctl(append(args, "--wait=60s")...) }
	name := func(k int) string { return fmt.Sprintf("bench%d", k) }
	return map[string]change{
		"route": {
			func(k int) { do("lsr", "add", "lr", name(k), routed(k), "100.64.0.2", "lr_to_middle") },
			func(k int) { do("lsr", "del", "lr", name(k)) },
		},
		"NAT rule": {
			func(k int) {
				do("lnat", "add", "edge", name(k), portIP(0, 20+k).String()+"/32", "dnat_and_snat", outsideNAT(k).String())
			},
			func(k int) { do("lnat", "del", "edge", name(k)) },
		},
	}
}
