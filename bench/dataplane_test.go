//go:build bench

package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"tuplenet/e2e/lab"
)

// TestBenchDataPlane measures packets between workloads on four paths, and out through an edge that translates their source.
func TestBenchDataPlane(t *testing.T) {
	targets := map[string]target{}
	for _, path := range []string{"same host", "across", "routed", "routed across", "edge with SNAT"} {
		targets[path+": TCP"] = target{ratio: 1, more: true}
		targets[path+": UDP of 64 bytes"] = target{ratio: 1, more: true}
		targets[path+": CPU of ovs-vswitchd a gigabit"] = target{ratio: 1}
		targets[path+": lookups of a first packet"] = target{ratio: 0.5}
		targets[path+": datapath flows of 100 connections"] = target{ratio: 1}
	}
	compare(t, "data plane", 200, targets, []string{"three"}, dataPlane)
}

// echoTCP is the port of the servers that conversations are held with.
const echoTCP = 7

func dataPlane(s side, r *record) {
	w := s.base()
	s.start(0, 1, 2)
	n := networkOf(r.run.Size)
	a := w.local(0, 0)
	across, routed, routedAcross := w.local(1, 0), w.local(0, 1), w.local(1, 1)
	same := w.workload(0, 0, portName(0, 9), portIP(0, 9), false)
	s.write(n)
	s.gateways(2)
	s.settled()
	server := w.Outside().Server
	for _, p := range []struct {
		name  string
		to    *lab.Workload
		hosts []int
	}{{"same host", same, []int{0}}, {"across", across, []int{0, 1}}, {"routed", routed, []int{0}}, {"routed across", routedAcross, []int{0, 1}}, {"edge with SNAT", server, []int{0, 2}}} {
		w.check(a.Reaches(w.ctx, p.to.Addrs()[0]))
		if p.to != server {
			r.add(p.name+": lookups of a first packet", "lookups", float64(w.lookups(a, p.to)))
		}
		w.connections(r, p.name, a, p.to, p.hosts)
		w.throughput(r, p.name, a, p.to, p.hosts)
	}
}

// switches is the processor time of ovs-vswitchd on hosts.
func (w *world) switches(hosts []int) (sum time.Duration) {
	w.t.Helper()
	for _, h := range hosts {
		sum += cpuOf(w.process(w.Hosts()[h].Name(), "ovs-vswitchd").PID)
	}
	return sum
}

// iperf3 sends from one workload to another for so long and returns the end of its report, and what ovs-vswitchd used on the hosts of the path
// beyond what it uses without traffic.
func (w *world) iperf3(from, to *lab.Workload, hosts []int, args ...string) (end iperfEnd, vswitchd time.Duration) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, time.Minute)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- to.ExecWith(ctx, lab.Streams{}, "iperf3", "-s", "-1", "-p", "5201") }()
	w.check(lab.WaitFor(ctx, "iperf3 -s", func() error {
		out, err := to.Exec(ctx, "ss", "-ltnH", "sport", "=", ":5201")
		if err == nil && strings.TrimSpace(out) == "" {
			err = fmt.Errorf("it does not listen")
		}
		return err
	}))
	before := w.switches(hosts)
	w.pause(time.Second)
	idle := w.switches(hosts) - before // a second of it
	before, begun := w.switches(hosts), time.Now()
	var out bytes.Buffer
	err := from.ExecWith(ctx, lab.Streams{Out: &out}, append([]string{"iperf3", "-c", to.Addrs()[0].String(), "-p", "5201", "-J"}, args...)...)
	vswitchd = w.switches(hosts) - before - time.Duration(float64(idle)*time.Since(begun).Seconds())
	var report struct {
		Error string
		End   iperfEnd
	}
	w.check(json.Unmarshal(out.Bytes(), &report))
	if err != nil || report.Error != "" {
		w.t.Fatalf("iperf3 from %s to %s: %v %s", from.Name, to.Name, err, report.Error)
	}
	w.check(<-ended)
	return report.End, vswitchd
}

// iperfEnd is the part of iperf3's report that counts.
type iperfEnd struct {
	Received struct {
		Bytes, Bits_per_second float64
	} `json:"sum_received"`
	UDP struct {
		Seconds, Packets, Lost_packets float64
	} `json:"sum"`
}

func (w *world) throughput(r *record, path string, from, to *lab.Workload, hosts []int) {
	w.t.Helper()
	end, used := w.iperf3(from, to, hosts, "-t", "4")
	r.add(path+": TCP", "Mbit/s", end.Received.Bits_per_second/1e6)
	r.add(path+": CPU of ovs-vswitchd a gigabit", "s", used.Seconds()/(end.Received.Bytes*8/1e9))
	end, used = w.iperf3(from, to, hosts, "-u", "-b", "0", "-l", "64", "-t", "3")
	arrived := end.UDP.Packets - end.UDP.Lost_packets
	r.add(path+": UDP of 64 bytes", "packets/s", arrived/end.UDP.Seconds)
	r.add(path+": CPU of ovs-vswitchd a million packets", "s", used.Seconds()/(arrived/1e6))
	report, err := from.Ping(w.ctx, to.Addrs()[0], 5*time.Millisecond, 200)
	w.check(err)
	r.add(path+": RTT", "ms", float64(median(report.RTT))/float64(time.Millisecond))
}

// connections opens TCP connections and counts the datapath flows and the tracked connections that they leave on the hosts of the path.
func (w *world) connections(r *record, path string, from, to *lab.Workload, hosts []int) {
	w.t.Helper()
	const conversations = 100
	_, err := to.StartEcho(w.ctx, echoTCP)
	w.check(err)
	w.forget(hosts)
	w.pause(time.Second)
	others, _ := w.datapath(from, hosts) // BFD
	w.forget(hosts)
	var talks []*lab.Conversation
	for range conversations {
		talk, err := from.Converse(w.ctx, netip.AddrPort{}, netip.AddrPortFrom(to.Addrs()[0], echoTCP))
		w.check(err)
		talks = append(talks, talk)
	}
	flows, tracked := w.datapath(from, hosts)
	for _, talk := range talks {
		talk.Close()
	}
	r.add(path+": datapath flows of 100 connections", "flows", float64(flows-others))
	r.add(path+": tracked connections of 100", "entries", float64(tracked))
}

// forget empties the hosts' datapaths and connection tracking.
func (w *world) forget(hosts []int) {
	w.t.Helper()
	for _, h := range hosts {
		_, err := w.Hosts()[h].Appctl(w.ctx, "revalidator/purge")
		w.check(err)
		_, err = w.Hosts()[h].Appctl(w.ctx, "dpctl/flush-conntrack")
		w.check(err)
	}
}

// datapath counts the datapath flows for IPv4 on hosts, and the connections that they track of a workload.
func (w *world) datapath(from *lab.Workload, hosts []int) (flows, tracked int) {
	w.t.Helper()
	for _, h := range hosts {
		out, err := w.Hosts()[h].Appctl(w.ctx, "dpctl/dump-flows", "netdev@ovs-netdev")
		w.check(err)
		flows += strings.Count(out, "eth_type(0x0800)")
		out, err = w.Hosts()[h].Appctl(w.ctx, "dpctl/dump-conntrack", "netdev@ovs-netdev")
		w.check(err)
		tracked += strings.Count(out, "src="+from.Addrs()[0].String()+",")
	}
	return flows, tracked
}

var (
	lookup  = regexp.MustCompile(`(?m)^\s*\d+\. `)
	arrival = regexp.MustCompile(`tunnel\(tun_id=(0x[0-9a-f]+),src=([0-9.]+),dst=([0-9.]+),geneve\(\{class=0x[0-9a-f]+,type=0x[0-9a-f]+,len=\d+,(0x[0-9a-f]+).*eth\(src=([0-9a-f:]+)[^,]*,dst=([0-9a-f:]+).*eth_type\(0x0800\)`)
)

// lookups is how many tables' lookups the first packet of a ping costs in Open vSwitch on its way, by ofproto/trace on each chassis. What
// enters the second one is taken from that one's datapath flow.
func (w *world) lookups(from, to *lab.Workload) (n int) {
	w.t.Helper()
	src, dst := from.Addrs()[0], to.Addrs()[0]
	mac, ttl := macOf(dst).String(), 64
	if netip.PrefixFrom(src, 24).Masked() != netip.PrefixFrom(dst, 24).Masked() {
		mac, ttl = w.gatewayMAC(from), 63
	}
	icmp := fmt.Sprintf("nw_src=%s,nw_dst=%s,icmp_type=8,icmp_code=0", src, dst)
	ofport, err := from.OFPort(w.ctx)
	w.check(err)
	n = w.trace(from.Host, fmt.Sprintf("icmp,in_port=%d,dl_src=%s,dl_dst=%s,nw_ttl=64,%s", ofport, macOf(src), mac, icmp))
	if from.Host == to.Host {
		return n
	}
	_, err = to.Host.Appctl(w.ctx, "revalidator/purge")
	w.check(err)
	_, err = from.Ping(w.ctx, dst, 50*time.Millisecond, 5)
	w.check(err)
	out, err := to.Host.Appctl(w.ctx, "dpctl/dump-flows", "netdev@ovs-netdev")
	w.check(err)
	for line := range strings.Lines(out) {
		m := arrival.FindStringSubmatch(line)
		if m == nil || m[2] != from.Host.Addrs()[0].String() || m[6] != macOf(dst).String() {
			continue
		}
		tunnel, source := w.tunnelPort(to.Host, from.Host), macOf(src).String()
		if ttl == 63 {
			source = w.gatewayMAC(to)
		}
		return n + w.trace(to.Host, fmt.Sprintf("icmp,in_port=%d,tun_id=%s,tun_src=%s,tun_dst=%s,tun_metadata0=%s,dl_src=%s,dl_dst=%s,nw_ttl=%d,%s", tunnel, m[1], m[2], m[3], m[4], source, macOf(dst), ttl, icmp))
	}
	w.t.Fatalf("no datapath flow for what comes from %s to %s in:\n%s", from.Host.Name(), to.Name, out)
	return 0
}

func (w *world) trace(h *lab.Host, packet string) int {
	w.t.Helper()
	out, err := h.Appctl(w.ctx, "ofproto/trace", "br-int", packet)
	w.check(err)
	n := len(lookup.FindAllString(out, -1))
	actions := out[strings.LastIndex(out, "Datapath actions:"):]
	w.t.Logf("%s: %s: %d lookups; %s", h.Name(), packet, n, strings.TrimSpace(actions))
	if strings.Contains(actions, "drop") {
		w.t.Fatal(out)
	}
	return n
}

// gatewayMAC is the MAC of a workload's gateway, as its kernel has learnt it.
func (w *world) gatewayMAC(l *lab.Workload) string {
	w.t.Helper()
	gw := l.Gateways()[0]
	w.check(l.Reaches(w.ctx, gw))
	out, err := l.Exec(w.ctx, "ip", "neigh", "show", gw.String())
	w.check(err)
	_, rest, _ := strings.Cut(out, "lladdr ")
	return strings.Fields(rest + " ?")[0]
}

// tunnelPort is the OpenFlow port at which packets from another host arrive: OVN has one for each peer, tuplenet one for all.
func (w *world) tunnelPort(h, from *lab.Host) int {
	w.t.Helper()
	for _, what := range []string{"options:remote_ip=\"" + from.Addrs()[0].String() + "\"", "options:remote_ip=flow"} {
		out, err := h.Vsctl(w.ctx, "--bare", "--columns=ofport", "find", "Interface", "type=geneve", what)
		w.check(err)
		if n, err := strconv.Atoi(strings.TrimSpace(out)); err == nil {
			return n
		}
	}
	w.t.Fatalf("no tunnel on %s from %s", h.Name(), from.Name())
	return 0
}
