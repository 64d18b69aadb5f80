//go:build bench

package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tuplenet/e2e/lab"
	"tuplenet/model"
)

// Networks that both sides use beyond the switches. The outside is that of the lab.
var (
	outsideRouter = netip.MustParseAddr("192.168.1.1")
	outsideHost   = netip.MustParseAddr("192.168.1.250")
)

// ownOutside is the address of the router, or of the router of gateway number k, in the network outside.
func ownOutside(k int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 168, 1, byte(20 + k)}), 24)
}

// outsideNAT is the external address of number k: 0, and below it that of further gateways, for everybody without one of its own.
func outsideNAT(k int) netip.Addr { return netip.AddrFrom4([4]byte{192, 168, 1, byte(100 + k)}) }

// routed is the destination of the static route of number k.
func routed(k int) string { return fmt.Sprintf("172.31.%d.0/24", k) }

// ours is tuplenet in a lab.
type ours struct {
	*world
	client *batch // the client that stays
}

func newOurs(t *testing.T, name string, edges ...string) *ours {
	t.Helper()
	o := &ours{world: newWorld(t, name+"t", edges...)}
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
	o.client = o.startBatch()
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
	o.client.do("lsp add " + switchName(sw) + " " + name + " " + ip.String())
}

func (o *ours) delPort(sw int, name string) {
	o.t.Helper()
	o.client.do("lsp del " + switchName(sw) + " " + name)
}

func (o *ours) settled() {
	o.t.Helper()
	o.client.do("ls add settled", "ls del settled", "wait 120s")
	o.client.applied()
}

// rested waits for the first audit of each switch, too: it decodes every flow, later ones do not.
func (o *ours) rested() {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(o.ctx, 3*time.Minute)
	defer cancel()
	for _, h := range o.Hosts() {
		if h.Daemon().PID == 0 {
			continue
		}
		o.check(lab.WaitFor(ctx, "the first audit of "+h.SystemID(), func() error {
			var a model.NodeAudit
			out, err := o.Tpctl(ctx, "node", h.SystemID(), "audit")
			if err == nil {
				err = json.Unmarshal([]byte(out), &a)
			}
			if err == nil && a.Passes == 0 {
				o.pause(time.Second)
				err = errors.New("under way")
			}
			return err
		}))
	}
	o.quiet()
}

// gateways is described at side: routers pinned to the hosts, as in the tutorial. All are used at once.
func (o *ours) gateways(hosts ...int) {
	o.t.Helper()
	for k, host := range hosts {
		h := o.Hosts()[host]
		o.check(h.StopDaemon(o.ctx))
		o.check(h.StartDaemon(o.ctx, append(daemonEnv, "GATEWAY=1")...))
		o.outsideBridge(h)
		patch := fmt.Sprintf("patch-outside%d", k)
		_, err := h.Vsctl(o.ctx, "add-port", "br-int", patch, "--", "set", "Interface", patch, "type=patch", "external_ids:iface-id="+patch, "options:peer="+patch+"-peer",
			"--", "add-port", "br0", patch+"-peer", "--", "set", "Interface", patch+"-peer", "type=patch", "options:peer="+patch)
		o.check(err)
		fill := strings.NewReplacer("#", strconv.Itoa(k), "HOST", h.SystemID(), "OWN", ownOutside(k).String(), "ROUTER", outsideRouter.String(), "SNAT", outsideNAT(-k).String())
		for _, line := range []string{
			"lr add edge# HOST", "ls add middle#", "ls add outside#", "lr link lr middle# 100.64.#.1/24", "lr link edge# middle# 100.64.#.2/24", "lr link edge# outside# OWN",
			"lsr add edge# to_virt 10.0.0.0/8 100.64.#.1 edge#_to_middle#", "lsr add edge# to_world 0.0.0.0/0 ROUTER edge#_to_outside#",
			"lsp add outside# " + patch + " 255.255.255.255 ff:ff:ff:ff:ff:ee", "lnat add edge# snat# 10.0.0.0/8 snat SNAT", "lsr add lr to_outside# 0.0.0.0/0 100.64.#.2 lr_to_middle#",
		} {
			o.tpctl(strings.Fields(fill.Replace(line))...)
		}
	}
}

func (o *ours) changes() map[string]change {
	do := func(args ...string) {
		o.t.Helper()
		o.client.do(strings.Join(args, " "), "wait 60s")
		o.client.applied()
	}
	name := func(k int) string { return fmt.Sprintf("bench%d", k) }
	return map[string]change{
		"route": {
			func(k int) { do("lsr", "add", "lr", name(k), routed(k), "100.64.0.2", "lr_to_middle0") },
			func(k int) { do("lsr", "del", "lr", name(k)) },
		},
		"NAT rule": {
			func(k int) {
				do("lnat", "add", "edge0", name(k), portIP(0, 20+k).String()+"/32", "dnat_and_snat", outsideNAT(k).String())
			},
			func(k int) { do("lnat", "del", "edge0", name(k)) },
		},
	}
}

// batch is a `tpctl batch` that stays and is given one line after the other, as OVN's client is a process that stays, too.
type batch struct {
	w       *world
	in      *os.File
	answers *bufio.Scanner
}

// clientName is the process of a client that stays; its processor time counts as the clients'.
const clientName = "client"

func (w *world) startBatch() *batch {
	w.t.Helper()
	dir := w.CentralDir()
	in, out := filepath.Join(dir, "batch.in"), filepath.Join(dir, "batch.out")
	w.check(unix.Mkfifo(in, 0o600))
	w.check(unix.Mkfifo(out, 0o600))
	_, err := w.SpawnCentral(clientName, "sh", "-c", "exec "+filepath.Join(binaries(w.t), "tpctl")+" --endpoints "+w.Endpoints()[0]+" batch -f - <"+in+" >"+out)
	w.check(err)
	b := &batch{w: w}
	b.in, err = os.OpenFile(in, os.O_WRONLY, 0) // waits for the reader
	w.check(err)
	answers, err := os.Open(out)
	w.check(err)
	b.answers = bufio.NewScanner(answers)
	w.t.Cleanup(func() { _, _ = b.in.Close(), answers.Close() })
	return b
}

// do hands lines over.
func (b *batch) do(lines ...string) {
	b.w.t.Helper()
	_, err := b.in.WriteString(strings.Join(lines, "\n") + "\n")
	b.w.check(err)
}

// applied waits for the answer to a line that waits.
func (b *batch) applied() {
	b.w.t.Helper()
	if !b.answers.Scan() || !strings.HasPrefix(b.answers.Text(), "applied on ") {
		b.w.t.Fatalf("tpctl batch answers %q, %v", b.answers.Text(), b.answers.Err())
	}
}
