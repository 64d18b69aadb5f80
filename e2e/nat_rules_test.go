//go:build integration

package e2e_test

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tuplenet/e2e/lab"
)

// What becomes of connections when rules come and go, daemons die, and addresses meet.

// connections are the connections that a host's switch tracks and that have a word in them, without their states and
// those of other protocols than TCP.
func (e *edged) connections(h *lab.Host, with string) (all []string) {
	e.t.Helper()
	out, err := h.Appctl(e.ctx, "dpctl/dump-conntrack", "netdev@ovs-netdev")
	e.check(err)
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "tcp,") && strings.Contains(line, with) {
			all = append(all, regexp.MustCompile(`,protoinfo=.*`).ReplaceAllString(strings.TrimSpace(line), ""))
		}
	}
	slices.Sort(all)
	return all
}

// forgotten waits until a host's switch tracks no connection with an address.
func (e *edged) forgotten(h *lab.Host, ip netip.Addr) {
	e.t.Helper()
	e.eventually("no connection with "+ip.String(), func() error {
		if left := e.connections(h, "="+ip.String()+","); len(left) > 0 {
			return fmt.Errorf("%d, one is %s", len(left), left[0])
		}
		return nil
	})
}

// converse begins n conversations with an echo.
func (e *edged) converse(w *lab.Workload, n int, to netip.Addr) (all []*lab.Conversation) {
	e.t.Helper()
	for range n {
		talk, err := w.Converse(e.ctx, netip.AddrPort{}, echo(to))
		e.check(err)
		all = append(all, talk)
	}
	return all
}

func (e *edged) say(all []*lab.Conversation) {
	e.t.Helper()
	for _, talk := range all {
		e.check(talk.Say(e.ctx))
	}
}

func TestT36_T38_T67_ConnectionsGoWithTheirRuleAndSurviveTheDaemon(t *testing.T) {
	t.Parallel()
	e := withEdges(t, "nat-rules", 1)
	h, far := e.edge(1), e.far.Addrs()[0]
	float, other := netip.MustParseAddr("192.168.1.40"), netip.MustParseAddr("192.168.1.45")
	_, err := e.b.StartEcho(e.ctx, echoPort)
	e.check(err)
	e.tpctl("lnat add LR-edge1 float 10.20.2.10/32 dnat_and_snat 192.168.1.40")
	e.reach(e.far, float)

	kept := e.converse(e.a, 40, far) // by the rule that stays
	out, in := e.converse(e.b, 40, far), e.converse(e.far, 40, float)
	if kept[0].Seen.Addr() != snat1 || out[0].Seen.Addr() != float {
		t.Fatalf("seen as %s and %s", kept[0].Seen, out[0].Seen)
	}
	e.say(slices.Concat(kept, out, in))
	before := e.connections(h, snat1.String())

	// kill -9 under all of them: nothing is lost while no daemon runs, and nothing when it is back.
	all := len(e.connections(h, ""))
	e.check(h.KillDaemon(e.ctx))
	e.say(slices.Concat(kept, out, in))
	e.startEdge(h)
	e.tpctl("lsp add LS-A after-restart 10.20.1.99 --wait=60s")
	e.say(slices.Concat(kept, out, in))
	if now := len(e.connections(h, "")); now != all {
		t.Errorf("%d connections after the restart, %d before", now, all)
	}

	e.tpctl("lnat del LR-edge1 float")
	e.forgotten(h, float)
	e.say(kept)
	// Its external address may belong to another workload now: none of the old connections ends up there.
	_, err = e.a.StartEcho(e.ctx, echoPort)
	e.check(err)
	e.tpctl("lnat add LR-edge1 float 10.20.1.10/32 dnat 192.168.1.40")
	e.reach(e.far, float)
	talk, err := e.far.Converse(e.ctx, netip.AddrPort{}, echo(float))
	e.check(err)
	e.check(talk.Say(e.ctx))
	for _, c := range e.connections(h, "="+float.String()+",") {
		if strings.Contains(c, "=10.20.2.10,") {
			t.Errorf("still to the old inside address: %s", c)
		}
	}

	// The rule changes while no daemon runs.
	e.check(h.KillDaemon(e.ctx))
	e.tpctl("lnat del LR-edge1 float")
	e.tpctl("lnat add LR-edge1 float 10.20.1.10/32 dnat 192.168.1.45")
	e.startEdge(h)
	e.forgotten(h, float)
	e.reach(e.far, other)
	e.say(kept)
	for _, c := range before {
		if strings.Contains(c, "=10.20.1.10,") && !slices.Contains(e.connections(h, snat1.String()), c) {
			t.Errorf("gone, though its rule stayed: %s", c)
		}
	}
	e.tpctl("lnat del LR-edge1 snat_rule1")
	e.forgotten(h, snat1)
}

func TestT38_T42_AWorkloadWithAddressesAtTwoEdgesAnswersEachConnectionThroughItsEdge(t *testing.T) {
	t.Parallel()
	e := withEdges(t, "two-floats", 2)
	float1, float2 := netip.MustParseAddr("192.168.1.40"), netip.MustParseAddr("192.168.1.41")
	e.tpctl("lnat add LR-edge1 float1 10.20.2.10/32 dnat_and_snat 192.168.1.40")
	e.tpctl("lnat add LR-edge2 float2 10.20.2.10/32 dnat_and_snat 192.168.1.41")
	_, err := e.b.StartEcho(e.ctx, echoPort)
	e.check(err)
	e.reach(e.far, float1, float2)

	// Clients on many addresses, so that equal routes back would use both edges for each.
	var all []*lab.Conversation
	for i, client := range e.Outside().Destinations(24) {
		for _, to := range []netip.Addr{float1, float2} {
			local := netip.AddrPortFrom(client, uint16(51000+2*i)+uint16(to.As4()[3]%2))
			talk, err := e.far.Converse(e.ctx, local, echo(to))
			e.check(err)
			if talk.Seen != local {
				t.Errorf("%s to %s is seen as %s", local, to, talk.Seen)
			}
			all = append(all, talk)
			u, err := e.far.Ask(e.ctx, local, echo(to))
			e.check(err)
			if u != local {
				t.Errorf("UDP of %s to %s is seen as %s", local, to, u)
			}
		}
	}
	e.say(all)
	e.check(e.Host("bob").KillDaemon(e.ctx)) // what is remembered is the switch's
	e.say(all)
	e.daemon(e.Host("bob"))
	e.say(all)

	// Nothing else is tracked on hosts: not what workloads say to each other, nor what leaves from others.
	e.transfer(e.a, e.b, bobIP, 1e5)
	e.fetches(e.a, e.far.Addrs()[0], snat1, snat2)
	for name, n := range map[string]int{"alice": 0, "bob": len(all)} {
		tracked := e.connections(e.Host(name), "")
		if len(tracked) != n {
			t.Errorf("%s tracks %d connections, want %d: %.1000v", name, len(tracked), n, tracked)
		}
	}
	// What the workload begins is seen as one of its addresses, always the same.
	seen, times := e.survey(e.b, 64)
	if times[float1] != 64 {
		t.Errorf("seen as %v: %v", times, seen)
	}
	// One address goes: the connections through the other edge stay.
	e.tpctl("lnat del LR-edge1 float1")
	e.forgotten(e.edge(1), float1)
	for i, talk := range all {
		if i%2 == 1 {
			e.check(talk.Say(e.ctx))
		}
	}
}

func TestT38_WithoutSourceTranslationHairpinsComeBackAsFromWhomWasAsked(t *testing.T) {
	t.Parallel()
	e := withEdges(t, "hairpin", 2)
	_, err := e.a.StartEcho(e.ctx, echoPort)
	e.check(err)
	_, err = e.b.StartEcho(e.ctx, echoPort)
	e.check(err)
	for _, line := range []string{
		"lsp add LS-A neighbour 10.20.1.11 f2:01:00:00:00:21",
		"lnat add LR-edge1 published 10.20.1.10/32 dnat 192.168.1.40", "lnat add LR-edge2 float 10.20.2.10/32 dnat_and_snat 192.168.1.41",
		"lnat del LR-edge1 snat_rule1", "lnat del LR-edge2 snat_rule2",
	} {
		e.tpctl(line)
	}
	neighbour := e.workload(e.Host("alice"), "neighbour", "neighbour", "f2:01:00:00:00:21", "10.20.1.1", "", "10.20.1.11/24")
	published, float := netip.MustParseAddr("192.168.1.40"), netip.MustParseAddr("192.168.1.41")
	e.forgotten(e.edge(1), snat1)
	e.reach(neighbour, published, float)
	for _, to := range []netip.Addr{published, float} {
		for name, n := range pingAll(e.fleet, to, 4713, 5, e.a, e.b, neighbour) {
			if n != 5 {
				t.Errorf("%s got %d of 5 answers from %s, which others ping with its identifier", name, n, to)
			}
		}
	}
	for _, c := range []struct {
		from *lab.Workload
		to   netip.Addr
		as   netip.Addr // as whom the other end sees it
	}{
		{e.b, published, float},           // it has an address of its own
		{neighbour, published, published}, // on one switch: it could be answered directly
		{e.a, published, published},       // itself
		{neighbour, float, float},         // by either edge
		{e.a, float, float}, {e.b, float, float},
	} {
		var talks []*lab.Conversation
		for range 8 {
			var talk *lab.Conversation
			e.eventually(fmt.Sprintf("TCP from %s to %s", c.from.Name, c.to), func() (err error) {
				talk, err = c.from.Converse(e.ctx, netip.AddrPort{}, echo(c.to))
				return err
			})
			if talk.Seen.Addr() != c.as {
				t.Errorf("%s to %s is seen as %s, want %s", c.from.Name, c.to, talk.Seen, c.as)
			}
			talks = append(talks, talk)
		}
		e.say(talks)
		report, err := c.from.Ping(e.ctx, c.to, 20*time.Millisecond, 5)
		e.check(err)
		if report.Lost() > 0 {
			t.Errorf("ping from %s to %s: %v", c.from.Name, c.to, report)
		}
	}
}

// pingAll has workloads ping one destination at the same time, with one identifier, and returns how many of their first count pings
// were answered. They go on until they have got so many answers, at most for a while: else ping(8) waits for the last answer only twice
// as long as others took.
func pingAll(f *fleet, dst netip.Addr, id, count int, all ...*lab.Workload) map[string]int {
	f.t.Helper()
	const while = 5 // seconds
	answer := regexp.MustCompile(` bytes from ` + regexp.QuoteMeta(dst.String()) + `: icmp_seq=(\d+) `)
	var wg sync.WaitGroup
	var mu sync.Mutex
	got := map[string]int{}
	for _, w := range all {
		wg.Go(func() {
			// It fails if there are fewer answers.
			out, _ := w.Exec(f.ctx, "ping", "-n", "-e", fmt.Sprint(id), "-c", fmt.Sprint(count), "-i", "0.1", "-w", fmt.Sprint(while), dst.String())
			mu.Lock()
			defer mu.Unlock()
			got[w.Name] = 0
			for _, m := range answer.FindAllStringSubmatch(out, -1) {
				if seq, err := strconv.Atoi(m[1]); err == nil && seq <= count {
					got[w.Name]++
				}
			}
			if strings.Contains(out, "DUP!") || strings.Contains(out, "DIFFERENT ADDRESS") {
				f.t.Errorf("%s pings %s:\n%s", w.Name, dst, out)
			}
		})
	}
	wg.Wait()
	return got
}

func TestT36_PingsWithOneIdentifierAreKeptApartAndNothingLeavesWithAnInsideAddress(t *testing.T) {
	t.Parallel()
	e := withEdges(t, "ping-ids", 1)
	e.tpctl("lsp add LS-A third 10.20.1.12 f2:01:00:00:00:22")
	third := e.workload(e.Host("alice"), "third", "third", "f2:01:00:00:00:22", "10.20.1.1", "", "10.20.1.12/24")
	h, far := e.edge(1), e.far.Addrs()[0]
	e.reach(third, far)
	wire, err := e.Outside().Capture(e.ctx, "net 10.20.0.0/16")
	e.check(err)
	for _, dst := range []netip.Addr{far, e.server.Addrs()[0]} {
		for name, n := range pingAll(e.fleet, dst, 4711, 10, e.a, e.b, third) {
			if n != 10 {
				t.Errorf("%s got %d of 10 answers from %s", name, n, dst)
			}
		}
	}
	// While no daemon runs, the first one's work, and the others' do not leave as what they are.
	e.check(h.KillDaemon(e.ctx))
	if got := pingAll(e.fleet, far, 4711, 3, e.a, e.b, third); got[e.a.Name]+got[e.b.Name]+got[third.Name] != 3 {
		t.Errorf("without a daemon: %v", got)
	}
	e.startEdge(h)
	e.eventually("all of them again", func() error {
		got := pingAll(e.fleet, far, 4711, 2, e.a, e.b, third)
		for name, n := range got {
			if n != 2 {
				return fmt.Errorf("%s: %v", name, got)
			}
		}
		return nil
	})
	// What a workload says of a connection that the edge has forgotten begins a new one there, or does not leave.
	talk := e.converse(e.a, 1, far)
	e.say(talk)
	e.on(h, "ovs-ofctl -O OpenFlow15 ct-flush br-int")
	e.check(talk[0].Close())
	e.reach(e.a, far)
	text, err := wire.Stop(e.ctx)
	e.check(err)
	if strings.TrimSpace(text) != "" {
		t.Errorf("on the LAN:\n%.2000s", text)
	}
	// What comes for an external address without a connection is counted, and nobody is asked for it.
	e.ping(e.server, snat1)
	e.dropped(h, "table=44, n_packets=", "nw_dst=192.168.1.30")
	// And a frame for a MAC of nobody does not come back.
	e.check(e.exec(e.server, "ip neigh replace 192.168.1.77 lladdr 02:00:00:00:00:77 dev eth0 nud permanent"))
	e.ping(e.server, netip.MustParseAddr("192.168.1.77"))
	e.dropped(h, "table=16, n_packets=", "priority=25,reg14=")
}

// ping sends one that nobody answers.
func (e *edged) ping(w *lab.Workload, dst netip.Addr) {
	e.t.Helper()
	if err := e.exec(w, "ping -c 1 -W 1 "+dst.String()); err == nil {
		e.t.Errorf("%s answers %s", dst, w.Name)
	}
}

// dropped waits until a flow that drops has counted a packet; what the flow looks like is told by words of its dump.
func (e *edged) dropped(h *lab.Host, words ...string) {
	e.t.Helper()
	e.eventually(fmt.Sprintf("a drop counted by %q", words), func() error {
		flows, err := h.Ofctl(e.ctx, "dump-flows", "--no-names", "br-int")
		if err != nil {
			return err
		}
		for line := range strings.Lines(flows) {
			if strings.Contains(line, "actions=drop") && !strings.Contains(line, "n_packets=0,") &&
				!slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
				return nil
			}
		}
		return errors.New("none")
	})
}

func TestT36_TheEdgesOwnAddressMayBeTheExternalOne(t *testing.T) {
	t.Parallel()
	e := withEdges(t, "own-address", 1)
	own, far := netip.MustParseAddr("192.168.1.20"), e.far.Addrs()[0]
	e.tpctl("lnat del LR-edge1 snat_rule1")
	e.forgotten(e.edge(1), snat1)
	for _, inside := range []string{"10.20.0.0/16", "0.0.0.0/0"} {
		e.tpctl("lnat add LR-edge1 own " + inside + " snat 192.168.1.20")
		e.reach(e.a, far)
		e.reach(e.server, own)
		for _, w := range []*lab.Workload{e.a, e.b} {
			e.fetches(w, far, own)
		}
		for name, n := range pingAll(e.fleet, far, 4712, 5, e.a, e.b) {
			if n != 5 {
				t.Errorf("%s: %s got %d of 5 answers", inside, name, n)
			}
		}
		if got := pingAll(e.fleet, own, 4712, 5, e.server, e.far); got[e.server.Name]+got[e.far.Name] != 10 {
			t.Errorf("%s: the edge answers %v of 5 pings", inside, got)
		}
		if hops := e.traceroute(e.a, far); !slices.Equal(hops, []string{"10.20.1.1", "100.10.10.2", "192.168.1.1", far.String()}) {
			t.Errorf("%s: hops %v", inside, hops)
		}
		if _, err := e.server.Ask(e.ctx, netip.AddrPort{}, netip.AddrPortFrom(own, 9999)); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("%s: a closed port of the edge: %v", inside, err)
		}
		talk := e.converse(e.a, 3, far)
		e.say(talk)
		e.tpctl("lnat del LR-edge1 own")
		e.forgotten(e.edge(1), own)
	}
}

// hopWait is how long traceroute(8) waits for a hop, 10 s, whatever it knows of others: else it waits for a near hop, whose answer a
// daemon makes, ten times as long as the answer of a far one took, and that may be 5 ms.
const hopWait = "10,0,0"

// traceroute are the hops to a destination.
func (e *edged) traceroute(w *lab.Workload, dst netip.Addr) (hops []string) {
	e.t.Helper()
	out, err := w.Exec(e.ctx, "traceroute", "-n", "-q", "1", "-w", hopWait, "-m", "8", dst.String())
	e.check(err)
	for _, m := range regexp.MustCompile(`(?m)^ *\d+ +(\S+)`).FindAllStringSubmatch(out, -1) {
		hops = append(hops, m[1])
	}
	return hops
}
