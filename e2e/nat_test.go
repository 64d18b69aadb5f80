//go:build integration

package e2e_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tuplenet/e2e/lab"
)

func TestT36_ConnectionsWithTheSameSourcePortToTheSameServerDoNotMeet(t *testing.T) {
	t.Parallel()
	e := withEdges(t, "same-port", 1)
	to := echo(e.far.Addrs()[0])
	var all []*lab.Conversation
	seen := map[netip.AddrPort]bool{}
	for _, c := range []struct {
		w  *lab.Workload
		ip netip.Addr
	}{{e.a, aliceIP}, {e.b, bobIP}} {
		local := netip.AddrPortFrom(c.ip, 40000)
		talk, err := c.w.Converse(e.ctx, local, to)
		e.check(err)
		all = append(all, talk)
		seen[talk.Seen] = true
		u, err := c.w.Ask(e.ctx, local, to)
		e.check(err)
		if talk.Seen.Addr() != snat1 || u.Addr() != snat1 {
			t.Errorf("%s is seen as %s and %s", c.w.Name, talk.Seen, u)
		}
	}
	if len(seen) != 2 {
		t.Errorf("both are seen as %v", seen)
	}
	for range 3 {
		for _, talk := range all {
			e.check(talk.Say(e.ctx))
		}
	}
}

func TestT36_ErrorsFromOutsideComeBackThroughNAT(t *testing.T) {
	t.Parallel()
	e := withEdges(t, "nat-errors", 1)
	_, err := e.a.Ask(e.ctx, netip.AddrPort{}, netip.AddrPortFrom(e.far.Addrs()[0], 9999))
	if !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("a closed UDP port behind NAT: %v", err)
	}
	hops := e.traceroute(e.a, e.far.Addrs()[0])
	if want := []string{"10.20.1.1", "100.10.10.2", "192.168.1.1", "198.51.100.10"}; !slices.Equal(hops, want) {
		t.Errorf("hops %v, want %v", hops, want)
	}
	e.workloadsErrorComesOut(netip.AddrPortFrom(e.far.Addrs()[0], 9007))
}

// workloadsErrorComesOut has a workload ask a server outside and close before the answer: it complains of the answer, and
// the server's kernel must know its own connection in the complaint (RFC 5508 section 4.2).
func (e *edged) workloadsErrorComesOut(server netip.AddrPort) {
	e.t.Helper()
	var listener net.PacketConn
	var client net.Conn
	e.check(e.far.InNet(func() (err error) { listener, err = net.ListenPacket("udp4", server.String()); return err }))
	e.check(e.a.InNet(func() (err error) { client, err = net.Dial("udp4", server.String()); return err }))
	seen := ""
	e.eventually("a datagram from inside", func() error {
		if _, err := client.Write([]byte("ask")); err != nil {
			return err
		}
		_ = listener.SetReadDeadline(time.Now().Add(time.Second))
		_, from, err := listener.ReadFrom(make([]byte, 16))
		if err == nil {
			seen = from.String()
		}
		return err
	})
	if !strings.HasPrefix(seen, "192.168.1.30:") {
		e.t.Errorf("the server outside sees %s", seen)
	}
	e.check(client.Close())
	e.check(listener.Close())
	dialer := net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(server)}
	var answer net.Conn
	e.eventually("the server's port to be free", func() error { // a command that is being started may still hold the listener's socket
		return e.far.InNet(func() (err error) { answer, err = dialer.Dial("udp4", seen); return err })
	})
	defer answer.Close()
	e.eventually("the workload's port unreachable at the server outside", func() error {
		if _, err := answer.Write([]byte("late")); errors.Is(err, unix.ECONNREFUSED) {
			return nil
		}
		_ = answer.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := answer.Read(make([]byte, 16)); !errors.Is(err, unix.ECONNREFUSED) {
			return fmt.Errorf("to %s: %v", seen, err)
		}
		return nil
	})
}

func TestT38_AFloatingAddressWorksBothWaysAndFromInside(t *testing.T) {
	t.Parallel()
	e := withEdges(t, "floating", 2)
	e.tpctl("lnat add LR-edge1 float 10.20.1.10/32 dnat_and_snat 192.168.1.40")
	e.tpctl("lnat add LR-edge1 published 10.20.2.10/32 dnat 192.168.1.41")
	_, err := e.a.StartEcho(e.ctx, echoPort)
	e.check(err)
	_, err = e.b.StartEcho(e.ctx, echoPort)
	e.check(err)
	float, published := netip.MustParseAddr("192.168.1.40"), netip.MustParseAddr("192.168.1.41")
	for _, c := range []struct {
		from *lab.Workload
		to   netip.Addr
	}{{e.server, float}, {e.far, float}, {e.server, published}, {e.far, published}} {
		// Many clients, so that equal routes back would use both edges.
		for port := range uint16(16) {
			e.eventually(fmt.Sprintf("TCP from %s to %s", c.from.Name, c.to), func() error {
				local := netip.AddrPortFrom(c.from.Addrs()[0], 50000+port)
				talk, err := c.from.Converse(e.ctx, local, echo(c.to))
				if err != nil {
					return err
				}
				if talk.Seen != local {
					t.Errorf("the workload behind %s sees the client as %s, not %s", c.to, talk.Seen, local)
				}
				return errors.Join(talk.Say(e.ctx), talk.Close())
			})
		}
	}
	// From inside: another workload, and the one that has the address.
	for _, w := range []*lab.Workload{e.b, e.a} {
		talk, err := w.Converse(e.ctx, netip.AddrPort{}, echo(float))
		if err != nil {
			t.Errorf("hairpin: %v", err)
			continue
		}
		e.check(talk.Say(e.ctx))
	}
	// What goes out through the edge that has it is seen as it; each address is answered for by its edge.
	seen, _ := e.survey(e.a, 64)
	for dst, as := range seen {
		if as != float && as != snat2 {
			t.Errorf("%s saw %s", dst, as)
		}
	}
	e.tpctl("lnat del LR-edge1 float")
	e.eventually("silence of the deleted address", func() error {
		if _, err := e.server.Exec(e.ctx, "ping", "-c", "1", "-W", "1", float.String()); err == nil {
			return errStillAnswers
		}
		return nil
	})
}

func TestT36_AThousandConnectionsOfFourWorkloadsThroughTwoEdges(t *testing.T) {
	t.Parallel()
	e := withEdges(t, "thousand", 2)
	workloads := []*lab.Workload{e.a, e.b}
	for i, h := range []*lab.Host{e.Host("alice"), e.Host("bob")} {
		ls, subnet := []string{"LS-A", "LS-B"}[i], []string{"10.20.1", "10.20.2"}[i]
		name, mac := fmt.Sprintf("more%d", i), fmt.Sprintf("f2:01:00:00:00:1%d", i)
		e.tpctl(fmt.Sprintf("lsp add %s %s %s.20 %s", ls, name, subnet, mac))
		w := e.workload(h, name, name, mac, subnet+".1", "", subnet+".20/24")
		e.reach(w, e.far.Addrs()[0])
		workloads = append(workloads, w)
	}
	dst := e.Outside().Destinations(50)
	var mu sync.Mutex
	var all []*lab.Conversation
	var open sync.WaitGroup
	for _, w := range workloads {
		open.Go(func() {
			for n := range 250 {
				talk, err := w.Converse(e.ctx, netip.AddrPort{}, echo(dst[n%len(dst)]))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				all = append(all, talk)
				mu.Unlock()
			}
		})
	}
	open.Wait()
	times, broken := map[netip.Addr]int{}, 0
	for range 3 {
		for _, talk := range all {
			times[talk.Seen.Addr()]++
			if err := talk.Say(e.ctx); err != nil {
				broken++
				t.Log(err)
			}
		}
	}
	if len(all) != 1000 || broken > 0 || len(times) != 2 {
		t.Errorf("%d connections, %d times broken, by edge %v", len(all), broken, times)
	}
	for _, talk := range all {
		e.check(talk.Close())
	}
}

func TestX13_TheSameAddressesBehindDifferentEdgesAreSeenApart(t *testing.T) {
	t.Parallel()
	e := withEdges(t, "twin-nat", 1)
	// A second world with the addresses of the first, with a router of its own on the same edge.
	for _, line := range []string{
		"ls add red", "ls add red-m", "ls add red-out", "lr add red-central", "lr add red-edge edge1-node",
		"lsp add red red1 10.20.1.10 f2:01:00:00:00:31", "lr link red-central red 10.20.1.1/24",
		"lr link red-central red-m 100.10.10.1/24", "lr link red-edge red-m 100.10.10.2/24", "lr link red-edge red-out 192.168.1.25/24",
		"lsr add red-central out 0.0.0.0/0 100.10.10.2 red-central_to_red-m",
		"lsr add red-edge back 10.20.0.0/16 100.10.10.1 red-edge_to_red-m",
		"lsr add red-edge world 0.0.0.0/0 192.168.1.1 red-edge_to_red-out",
		"patchport add red-out red-patch edge1-node br0", "lnat add red-edge snat 10.20.0.0/16 snat 192.168.1.50",
	} {
		e.tpctl(line)
	}
	red := e.workload(e.Host("bob"), "red1", "red1", "f2:01:00:00:00:31", "10.20.1.1", "", "10.20.1.10/24")
	far := e.far.Addrs()[0]
	e.reach(red, far)
	asRed := netip.MustParseAddr("192.168.1.50")
	local := netip.AddrPortFrom(aliceIP, 40001)
	for range 3 {
		one, err := e.a.Converse(e.ctx, local, echo(far))
		e.check(err)
		two, err := red.Converse(e.ctx, local, echo(far))
		e.check(err)
		if one.Seen.Addr() != snat1 || two.Seen.Addr() != asRed {
			t.Errorf("seen as %s and %s", one.Seen, two.Seen)
		}
		e.check(errors.Join(one.Say(e.ctx), two.Say(e.ctx), one.Close(), two.Close()))
		local = netip.AddrPortFrom(aliceIP, local.Port()+1)
	}
	e.fetches(red, far, asRed)
	e.fetches(e.a, far, snat1)
}

func TestT39_TooLargePacketsAreToldSo(t *testing.T) {
	t.Parallel()
	e := withEdges(t, "mtu", 1)
	far := e.far.Addrs()[0]
	out, err := e.a.Exec(e.ctx, "ping", "-c", "2", "-w", "10", "-i", "0.2", "-M", "do", "-s", "1372", far.String())
	e.check(err)
	if !strings.Contains(out, "2 received") {
		t.Errorf("1400 bytes:\n%s", out)
	}
	e.on(e.Host("alice"), "ip netns exec ns-alice ip link set dev nseth0 mtu 1500")
	e.on(e.Host("alice"), "ip link set dev nseth0-peer mtu 1500")
	out, _ = e.a.Exec(e.ctx, "ping", "-c", "3", "-i", "0.2", "-M", "do", "-s", "1472", far.String())
	if !strings.Contains(strings.ToLower(out), "frag needed") && !strings.Contains(out, "too long") {
		t.Errorf("1500 bytes:\n%s", out)
	}
	// TCP learns from it, in both directions.
	_, err = e.a.Transfer(e.ctx, e.far, far, lab.TransferOptions{Bytes: 1 << 20})
	e.check(err)
	e.fetches(e.a, far, snat1)
}

func TestTheFirstPacketToANeighbourOutsideIsNotLost(t *testing.T) {
	e := newEdged(t, "first", lab.TwoNIC, 1)
	e.addEdge(1)
	e.reach(e.a, netip.MustParseAddr("100.10.10.2"))
	for _, dst := range []netip.Addr{e.server.Addrs()[0], e.far.Addrs()[0]} { // each needs a neighbour that nobody asked for yet
		report, err := e.a.Ping(e.ctx, dst, 100*time.Millisecond, 1)
		e.check(err)
		if report.Lost() > 0 {
			t.Errorf("the first packet to %s was lost", dst)
		}
	}
	// The server gets another network card and says so, as kernels do when an address comes up.
	e.check(errors.Join(e.exec(e.server, "ip link set eth0 down"), e.exec(e.server, "ip link set eth0 address 02:00:00:00:00:99"),
		e.exec(e.server, "sysctl -q -w net.ipv4.conf.eth0.arp_notify=1"), e.exec(e.server, "ip link set eth0 up"),
		e.exec(e.server, "ip route replace default via 192.168.1.1")))
	_ = e.exec(e.server, "ping -c 1 -W 1 192.168.1.249") // nobody answers, but all hear where the server is now
	e.reach(e.a, e.server.Addrs()[0])
	e.fetches(e.a, e.server.Addrs()[0], snat1)
}

// exec runs a command line in a workload.
func (e *edged) exec(w *lab.Workload, line string) error {
	_, err := w.Exec(e.ctx, strings.Fields(line)...)
	return err
}
