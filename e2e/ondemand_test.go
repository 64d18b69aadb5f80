//go:build integration

package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tuplenet/e2e/lab"
)

// crowd is a workload on alice, and one on bob that is many ports with one address each.
type crowd struct {
	*fleet
	from *lab.Workload
	dst  []netip.Addr
	udp  *net.UDPConn // of from
}

const crowdPort = 7

// newCrowd makes a lab where n ports are on bob. No daemon runs on alice yet.
func newCrowd(t *testing.T, cfg lab.Config, n int) *crowd {
	t.Helper()
	c := &crowd{fleet: newBareFleet(t, cfg)}
	alice, bob := c.Hosts()[0], c.Hosts()[1]
	c.daemon(bob, "ONDEMAND=1")
	lines := []string{"ls add LS-A", "ls add LS-B", "lr add LR", "lr link LR LS-A 10.20.1.1/24", "lr link LR LS-B 10.21.0.1/16", "lsp add LS-A from 10.20.1.10"}
	for i := range n {
		c.dst = append(c.dst, netip.AddrFrom4([4]byte{10, 21, byte(1 + i/200), byte(1 + i%200)}))
		lines = append(lines, fmt.Sprintf("lsp add LS-B to%d %s", i, c.dst[i]))
	}
	file := filepath.Join(t.TempDir(), "batch")
	c.check(os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o644))
	c.tpctl("batch -f " + file)
	c.plugCrowd(bob)
	bound, cancel := context.WithTimeout(c.ctx, time.Minute)
	defer cancel()
	c.check(lab.WaitFor(bound, "all ports bound", func() error {
		out, err := c.Tpctl(c.ctx, "lsp", "show", "LS-B", "-o", "table")
		if bound := strings.Count(out, bob.Name()); err == nil && bound < n {
			err = fmt.Errorf("%d of %d are", bound, n)
		}
		return err
	}))
	c.daemonOnAlice("ONDEMAND=1")
	c.from = c.workload(alice, "from", "from", "f2:01:0a:14:01:0a", "10.20.1.1", "", "10.20.1.10/24")
	c.reach(c.from, netip.MustParseAddr("10.20.1.1"))
	c.eventuallyShows("lsp show LS-A from", "chassis: alice")
	c.settled() // flows are counted from now on
	c.check(c.from.InNet(func() (err error) {
		c.udp, err = net.ListenUDP("udp4", &net.UDPAddr{})
		return err
	}))
	t.Cleanup(func() { c.udp.Close() })
	return c
}

// daemonOnAlice starts the daemon again, with other settings.
func (c *crowd) daemonOnAlice(args ...string) {
	c.t.Helper()
	alice := c.Hosts()[0]
	if alice.Daemon().PID != 0 {
		c.check(alice.StopDaemon(c.ctx))
	}
	c.daemon(alice, args...)
}

// plugCrowd gives bob an interface for each port: patch ports to a bridge with one workload that has all addresses.
func (c *crowd) plugCrowd(bob *lab.Host) {
	c.t.Helper()
	const mac, gateway = "f2:aa:00:00:00:01", "f2:01:0a:15:00:01"
	w, err := bob.AddWorkload(c.ctx, lab.WorkloadConfig{Name: "crowd", MAC: mac, Unplugged: true})
	c.check(err)
	c.on(bob, "ovs-vsctl add-br br-crowd -- set bridge br-crowd datapath_type=netdev fail_mode=secure -- add-port br-crowd v-crowd -- set interface v-crowd ofport_request=1")
	var flows, addrs strings.Builder
	fmt.Fprintf(&flows, "priority=0,actions=set_field:%s->eth_dst,output:1\npriority=1,in_port=1,actions=drop\n", mac)
	for i, ip := range c.dst {
		b := ip.As4()
		fmt.Fprintf(&flows, "priority=2,ip,in_port=1,nw_src=%s,actions=set_field:f2:01:%02x:%02x:%02x:%02x->eth_src,output:%d\n", ip, b[0], b[1], b[2], b[3], 10+i)
		fmt.Fprintf(&addrs, "addr add %s/32 dev eth0\n", ip)
	}
	const atOnce = 100 // an argument of a command has 128 kB at most
	for from := 0; from < len(c.dst); from += atOnce {
		c.patchPorts(bob, from, min(from+atOnce, len(c.dst)))
	}
	fmt.Fprintf(&addrs, "route add 10.21.0.1/32 dev eth0\nneigh add 10.21.0.1 lladdr %s dev eth0 nud permanent\nroute add default via 10.21.0.1\n", gateway)
	dir := c.t.TempDir()
	c.check(os.WriteFile(filepath.Join(dir, "flows"), []byte(flows.String()), 0o644))
	c.check(os.WriteFile(filepath.Join(dir, "addrs"), []byte(addrs.String()), 0o644))
	_, err = w.Exec(c.ctx, "ip", "-batch", filepath.Join(dir, "addrs"))
	c.check(err)
	c.on(bob, "ovs-ofctl -O OpenFlow15 add-flows br-crowd "+filepath.Join(dir, "flows"))
	echo, err := w.StartEcho(c.ctx, crowdPort)
	c.check(err)
	c.t.Cleanup(func() { _ = echo.Close() })
}

// patchPorts adds pairs of patch ports between br-int and br-crowd to the database of bob. (ovs-vsctl would compare each with all.)
func (c *crowd) patchPorts(bob *lab.Host, from, to int) {
	c.t.Helper()
	ops, ports := []any{"Open_vSwitch"}, map[string][]any{}
	add := func(bridge, name, peer, column string, value any) {
		id := "i" + name
		ops = append(ops,
			map[string]any{"op": "insert", "table": "Interface", "uuid-name": id, "row": map[string]any{"name": name, "type": "patch",
				"options": []any{"map", []any{[]any{"peer", peer}}}, column: value}},
			map[string]any{"op": "insert", "table": "Port", "uuid-name": "p" + name, "row": map[string]any{"name": name, "interfaces": []any{"named-uuid", id}}})
		ports[bridge] = append(ports[bridge], []any{"named-uuid", "p" + name})
	}
	for i := from; i < to; i++ {
		near, far := fmt.Sprintf("n%d", i), fmt.Sprintf("f%d", i)
		add("br-int", near, far, "external_ids", []any{"map", []any{[]any{"iface-id", fmt.Sprintf("to%d", i)}}})
		add("br-crowd", far, near, "ofport_request", 10+i)
	}
	for bridge, all := range ports {
		ops = append(ops, map[string]any{"op": "mutate", "table": "Bridge", "where": []any{[]any{"name", "==", bridge}},
			"mutations": []any{[]any{"ports", "insert", []any{"set", all}}}})
	}
	text, err := json.Marshal(ops)
	c.check(err)
	out, err := bob.Exec(c.ctx, "ovsdb-client", "transact", string(text))
	c.check(err)
	if strings.Contains(out, "error") {
		c.t.Fatalf("%.1000s", out)
	}
}

// touch sends one packet to each of some destinations; each must be answered.
func (c *crowd) touch(dst []netip.Addr) {
	c.t.Helper()
	answered := make(chan map[netip.Addr]bool)
	go func() {
		seen, b := map[netip.Addr]bool{}, make([]byte, 200)
		for len(seen) < len(dst) {
			_, from, err := c.udp.ReadFromUDPAddrPort(b)
			if err != nil {
				break
			}
			seen[from.Addr()] = true
		}
		answered <- seen
	}()
	c.check(c.udp.SetReadDeadline(time.Now().Add(time.Minute)))
	pace := time.NewTicker(4 * time.Millisecond) // a busy machine's switch is late, but its buffers are not full
	defer pace.Stop()
	for _, ip := range dst {
		<-pace.C
		_, err := c.udp.WriteToUDPAddrPort([]byte("hello"), netip.AddrPortFrom(ip, crowdPort))
		c.check(err)
	}
	c.check(c.udp.SetReadDeadline(time.Now().Add(8 * time.Second)))
	if seen := <-answered; len(seen) != len(dst) {
		c.t.Fatalf("%d of %d first packets were answered", len(seen), len(dst))
	}
}

// flows counts the flows of alice.
func (c *crowd) flows() int {
	c.t.Helper()
	out := c.on(c.Hosts()[0], "ovs-ofctl -O OpenFlow15 dump-aggregate br-int")
	m := regexp.MustCompile(`flow_count=(\d+)`).FindStringSubmatch(out)
	if m == nil {
		c.t.Fatalf("no count in %q", out)
	}
	n, err := strconv.Atoi(m[1])
	c.check(err)
	return n
}

// 1,000 destinations are touched once from one port: nothing is lost, there are so many flows as were touched, a restart of the
// daemon changes none of them, and when they are idle they go. Nobody answers for an address that does not exist, and who tries
// them all keeps nobody else busy.
func TestT28_FirstPacketsMakeTheFlowsAndAreNotLost(t *testing.T) {
	c := newCrowd(t, lab.Config{Name: "demand"}, 1000)
	before := c.flows()
	c.touch(c.dst[:100])
	each := (c.flows() - before) / 100
	if each < 1 || each > 6 || c.flows() != before+100*each {
		t.Fatalf("%d flows for 100 destinations", c.flows()-before)
	}
	c.touch(c.dst[100:])
	if got := c.flows(); got != before+1000*each {
		t.Fatalf("%d flows for 1000 destinations, %d for 100", got-before, 100*each)
	}
	c.daemonOnAlice("ONDEMAND=1")
	if got := c.flows(); got != before+1000*each {
		t.Fatalf("%d flows after a restart of the daemon, %d before", got-before, 1000*each)
	}
	c.touch(c.dst[:10])
	c.daemonOnAlice("ONDEMAND=1", "--ondemand-idle", "2s")
	c.eventually("idle flows gone", func() error {
		if got := c.flows(); got != before {
			return fmt.Errorf("%d of %d are there", got-before, 1000*each)
		}
		return nil
	})
	c.touch(c.dst[990:])
	c.scanned(c.dst[999], 1000*each)
	report, err := c.from.Ping(c.ctx, netip.MustParseAddr("10.21.99.99"), 50*time.Millisecond, 3)
	c.check(err)
	if report.Received != 0 {
		t.Error("an address that nobody has answers")
	}

	// A node that had all flows, and has them on demand from now on, goes on with those that it has.
	c.daemonOnAlice("ONDEMAND=0")
	c.settled()
	c.touch(c.dst[:10])
	c.daemonOnAlice("ONDEMAND=1")
	if got := c.flows(); got < before+1000*each {
		t.Errorf("%d flows for ports elsewhere after a change of the mode, %d for 1000", got-before, 1000*each)
	}
	c.touch(c.dst[10:20])
	if n := c.metric(installedPorts); n != 0 {
		t.Errorf("%d ports were asked for though their flows were there", n)
	}
}

// While the daemon is down, first packets go by an edge, which has all flows: nothing is lost. When it is back, it knows
// what was there before. A workload that moves is followed, and what is in use outlives the switch.
func TestT28_WithoutTheDaemonFirstPacketsGoByAnEdge(t *testing.T) {
	c := newCrowd(t, lab.Config{Name: "byedge", Hosts: []string{"alice", "bob", "edge"}}, 60)
	alice, edge := c.Hosts()[0], c.Hosts()[2]
	c.daemon(edge, "GATEWAY=1")
	for _, line := range []string{"ls add m1", "lr add LR-edge edge", "lr link LR m1 100.64.0.1/24", "lr link LR-edge m1 100.64.0.2/24", "lsp add LS-A near 10.20.1.11"} {
		c.tpctl(line)
	}
	c.workload(c.Hosts()[1], "near", "near", "f2:01:0a:14:01:0b", "10.20.1.1", "", "10.20.1.11/24")
	c.eventuallyShows("lsp show LS-A near", "chassis: bob")
	c.eventually("an edge to fall back to", func() error {
		groups, err := alice.Ofctl(c.ctx, "-O", "OpenFlow15", "dump-groups", "br-int")
		if err == nil && strings.Count(groups, "resubmit(,84)") < 5 {
			err = fmt.Errorf("the groups are\n%s", groups)
		}
		if err != nil {
			return err
		}
		up, err := alice.Vsctl(c.ctx, "--bare", "--columns=name", "find", "interface", "bfd_status:state=up")
		carrier, carrierErr := alice.Vsctl(c.ctx, "get", "interface", "tuplenet-life", "link_state")
		if err == nil && (carrierErr != nil || strings.TrimSpace(up) == "" || strings.TrimSpace(carrier) != "up") {
			err = fmt.Errorf("BFD is up at %q, the daemon's sign is %q (%v)", up, carrier, carrierErr)
		}
		return err
	})
	c.settled()
	c.touch(c.dst[:10])
	before := c.flows()
	c.check(alice.KillDaemon(c.ctx))
	c.eventually("the daemon's end noticed", func() error {
		carrier, err := alice.Vsctl(c.ctx, "get", "interface", "tuplenet-life", "link_state")
		if err == nil && strings.TrimSpace(carrier) != "down" {
			err = fmt.Errorf("its sign is %s", carrier)
		}
		return err
	})
	c.touch(c.dst[:50])
	c.reach(c.from, netip.MustParseAddr("10.20.1.11")) // on the same switch: everybody is asked who has it
	if got := c.flows(); got != before {
		t.Errorf("%d flows, %d before: who made them?", got, before)
	}
	c.daemon(alice, "ONDEMAND=1")
	if got := c.flows(); got < before {
		t.Errorf("%d flows after the restart, %d before", got, before)
	}
	c.touch(c.dst[50:])
	c.eventually("the daemon to be asked again, and everybody in use", func() error {
		c.touch(c.dst)
		if n := c.metric("tuplenet_ondemand_ports"); n < len(c.dst) {
			return fmt.Errorf("%d of %d are", n, len(c.dst))
		}
		return nil
	})
	c.moves(alice, edge)
	c.switchRestarts(alice)
}

// switchRestarts ends and starts the switch of a host: flows of what is in use come back without a packet that asks for them.
func (c *crowd) switchRestarts(h *lab.Host) {
	c.t.Helper()
	before, installed := c.flows(), c.metric(installedPorts)
	c.check(h.KillSwitch(c.ctx))
	c.check(h.StartSwitch(c.ctx))
	c.eventually("all flows on "+h.Name(), func() error {
		if n := c.flows(); n != before {
			return fmt.Errorf("%d of %d are there", n, before)
		}
		return nil
	})
	c.reach(c.from, c.dst[0]) // the tunnel's other end is known again
	c.touch(c.dst)
	if n := c.metric(installedPorts); n != installed || c.flows() != before {
		c.t.Errorf("%d ports were asked for anew, there are %d flows of %d", n-installed, c.flows(), before)
	}
}

// moves lets a workload come up on another host before it goes on its own, as virtual machines move, while the daemon of who speaks to it
// hangs, and so does not learn of it: the host that it left hands on what comes, though nobody there ever spoke to it.
func (c *crowd) moves(speaker, to *lab.Host) {
	c.t.Helper()
	near := netip.MustParseAddr("10.20.1.11")
	c.reach(c.from, near)
	c.check(speaker.Daemon().Signal(unix.SIGSTOP))
	defer func() { c.check(speaker.Daemon().Signal(unix.SIGCONT)) }()
	old := c.Workload("near")
	c.workload(to, "near2", "near", "f2:01:0a:14:01:0b", "10.20.1.1", "", "10.20.1.11/24")
	c.eventuallyShows("lsp show LS-A near", "chassis: "+to.Name())
	c.check(old.Remove(c.ctx))
	c.eventually("pings handed on", func() error {
		report, err := c.from.Ping(c.ctx, near, 20*time.Millisecond, 20)
		if err == nil && report.Lost() > 0 {
			err = fmt.Errorf("%v", report)
		}
		return err
	})
}

// A trace says which flows a first packet makes, agrees with the switch before and after, and follows a first packet live.
func TestT28_TracesFollowFirstPackets(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, lab.Config{Name: "demandtrace"}, 3)
	for i, ip := range c.dst[:2] {
		out := c.tpctl("trace --from from --to " + ip.String() + " --ovs")
		if !strings.Contains(out, fmt.Sprintf("alice has no flows for to%d yet", i)) || strings.Contains(out, "something else") || !strings.Contains(out, fmt.Sprintf("delivered to to%d on bob", i)) {
			t.Errorf("the way to %s:\n%s", ip, out)
		}
		c.touch(c.dst[i : i+1])
		if out := c.tpctl("trace --from from --to " + ip.String() + " --ovs"); strings.Contains(out, "has no flows for to"+strconv.Itoa(i)) || strings.Contains(out, "something else") {
			t.Errorf("the way to %s, which is in use:\n%s", ip, out)
		}
	}
	end, code := "\n=> delivered to to2 on bob\n", 0
	if vxlan() {
		end, code = "by VXLAN, which has no room", 1
	}
	out, err := c.Tpctl(c.ctx, strings.Fields("trace --from from --to "+c.dst[2].String()+" --live")...)
	if err != nil && exitCode(err) != code || !strings.Contains(out, "ask-neighbour") || !strings.Contains(out, "the daemon makes the flows for to2 and sends the packet on") || !strings.Contains(out, end) {
		t.Errorf("a first packet, live: %v\n%s", err, out)
	}
	for _, how := range []string{"", " --ovs", " --live"} {
		out, err := c.Tpctl(c.ctx, strings.Fields("trace --from from --to 10.21.99.99"+how)...)
		if exitCode(err) != 1 || !strings.Contains(out, "nobody has the address") || !strings.Contains(out, "\n=> handed to the daemon on alice: no neighbour\n") || strings.Contains(out, "DEFECT") {
			t.Errorf("the way to nobody%s: %v\n%s", how, err, out)
		}
	}
}

// metric reads a number of alice's page of metrics.
func (c *crowd) metric(name string) int {
	c.t.Helper()
	page := c.on(c.Hosts()[0], "wget -q -O - http://127.0.0.1:9476/metrics")
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` ([0-9.e+]+)$`).FindStringSubmatch(page)
	if m == nil {
		return 0 // what never happened is not listed
	}
	n, err := strconv.ParseFloat(m[1], 64)
	c.check(err)
	return int(n)
}

// Metrics of what is on demand.
const (
	askedPackets   = `tuplenet_punt_packets_total{result="taken",service="ondemand"}`
	limitedPackets = "tuplenet_ondemand_limited_packets_total"
	installedPorts = `tuplenet_ondemand_changes_total{op="install"}`
)

// scan sends packets to one address after the other, until told to stop.
func (c *crowd) scan(stop <-chan struct{}) {
	pace := time.NewTicker(5 * time.Millisecond)
	defer pace.Stop()
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		case <-pace.C:
		}
		for j := range 10 { // 2,000 a second
			n := i*10 + j
			to := netip.AddrFrom4([4]byte{10, 21, byte(1 + n>>8%20), byte(n)})
			_, _ = c.udp.WriteToUDPAddrPort([]byte("hello"), netip.AddrPortFrom(to, crowdPort+1)) // there, nobody listens
		}
	}
}

// scanned lets a port scan the addresses of a switch, most of them nobody's. The daemon is shown what the meter lets through, whoever is
// known is reached meanwhile, and there are flows for those that exist only.
func (c *crowd) scanned(known netip.Addr, most int) {
	c.t.Helper()
	ping, err := c.from.StartPing(c.ctx, known, pingInterval, 0)
	c.check(err)
	c.check(ping.Answered(c.ctx))
	before, asked, limited, began := c.flows(), c.metric(askedPackets), c.metric(limitedPackets), time.Now()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { defer close(stopped); c.scan(stop) }()
	c.eventually("packets over the limit", func() error {
		if n := c.metric(limitedPackets); n == limited {
			return errors.New("none is")
		}
		return nil
	})
	c.eventually("pings of a second and more", func() error {
		if took := time.Since(began); took < 2*time.Second {
			return fmt.Errorf("it took %v", took)
		}
		return nil
	})
	close(stop)
	<-stopped
	took, after := time.Since(began), c.flows()
	asked = c.metric(askedPackets) - asked
	report, err := ping.Stop()
	c.check(err)
	c.t.Logf("a scan of %v: %d packets came to the daemon, %d flows more; pings to a known destination: %v", took, asked, after-before, report)
	if bound := 1000 + int(500*took.Seconds()) + 100; asked > bound {
		c.t.Errorf("%d packets came to the daemon in %v, the meter lets %d through", asked, took, bound)
	}
	if report.Received < report.Sent/3 { // a busy machine loses some by itself
		c.t.Errorf("a known destination was hardly reached: %v", report)
	}
	if after-before > most {
		c.t.Errorf("there are %d flows more, at most %d are of ports that exist", after-before, most)
	}
}
