//go:build integration

package e2e_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"tuplenet/e2e/lab"
)

// ethernetSized gives a workload's interface the MTU of Ethernet, as containers have it.
func (f *fleet) ethernetSized(w *lab.Workload, outer, inner string) {
	f.t.Helper()
	f.on(w.Host, "ip link set dev "+outer+" mtu 1500")
	_, err := w.Exec(f.ctx, "ip", "link", "set", "dev", inner, "mtu", "1500")
	f.check(err)
}

// told pings without fragmentation: a packet of `fits` bytes passes, one byte more is answered with that MTU.
func (f *fleet) told(w *lab.Workload, dst netip.Addr, fits int) {
	f.t.Helper()
	headers, said := 28, fmt.Sprintf(`(?i)frag needed and df set \(mtu = %d\)`, fits)
	if dst.Is6() {
		headers, said = 48, fmt.Sprintf(`Packet too big: mtu[=:] ?%d`, fits)
	}
	ping := func(size int) string {
		for _, family := range []string{"-4", "-6"} {
			_, err := w.Exec(f.ctx, "ip", family, "route", "flush", "cache")
			f.check(err)
		}
		out, _ := w.Exec(f.ctx, "ping", "-c", "1", "-W", "5", "-M", "do", "-s", fmt.Sprint(size-headers), dst.String())
		return out
	}
	f.eventually(fmt.Sprintf("%d bytes pass from %s to %s and %d are too many", fits, w.Name, dst, fits+1), func() error {
		if out := ping(fits); !strings.Contains(out, "1 received") {
			return errors.New(out)
		}
		if out := ping(fits + 1); !regexp.MustCompile(said).MatchString(out) {
			return fmt.Errorf("want %s:\n%s", said, out)
		}
		return nil
	})
}

func TestT39_WorkloadsWithTheMTUOfEthernetAreToldWhatFits(t *testing.T) {
	t.Parallel()
	f := newFleet(t, lab.Config{Name: "mtu-in"})
	alice, bob := f.routed()
	f.tpctl("lsp add LS-A lsp-carol 10.20.1.11,2001:db8:20:1::11 f2:01:00:00:00:03")
	carol := f.workload(f.Hosts()[1], "ns-carol", "lsp-carol", "f2:01:00:00:00:03", "10.20.1.1", "2001:db8:20:1::1", "10.20.1.11/24", "2001:db8:20:1::11/64")
	for _, w := range []*lab.Workload{alice, bob, carol} {
		f.ethernetSized(w, "v-"+w.Name, "eth0")
	}
	carol4, carol6 := netip.MustParseAddr("10.20.1.11"), netip.MustParseAddr("2001:db8:20:1::11")
	f.reach(alice, carol4, carol6)
	all := func(fits int) {
		t.Helper()
		for _, to := range []struct {
			w    *lab.Workload
			addr netip.Addr
		}{{bob, bobIP}, {bob, bobIP6}, {carol, carol4}, {carol, carol6}} { // routed, and switched
			f.transfer(alice, to.w, to.addr, 1e6)
			f.told(alice, to.addr, fits)
		}
		f.transfer(carol, alice, aliceIP6, 1e6)
		f.transfer(bob, alice, aliceIP, 1e6)
	}
	fits := tunnelMTU(f.Hosts()[0].Addrs()[0])
	all(fits)
	f.says(0, "check mtu -o table", `^FROM +alice +bob *$`, `^alice +- +1500$`, `^bob +1500 +-$`)
	f.says(0, "check", `^warning: chassis/alice/interface/v-ns-alice: its MTU is 1500, but only packets of `+fmt.Sprint(fits)+` bytes fit into the tunnels$`)

	// The underlay of one host has a smaller MTU: that counts for all.
	f.on(f.Hosts()[1], "ovs-vsctl set interface br-phy mtu_request=1400")
	f.eventuallyShows("ch show alice -o json", fmt.Sprintf(`"tunnelMTU": %d`, fits-100))
	all(fits - 100)
	f.says(0, "check mtu", `^bob:$`, `^  - alice: 1400$`)

	// A network with an MTU of its own, also between workloads of one host.
	f.tpctl("ls add LS-C --mtu 1300")
	f.tpctl("lsp add LS-C lsp-dave 10.20.3.10,2001:db8:20:3::10 f2:01:00:00:00:04")
	f.tpctl("lr link LR-central LS-C 10.20.3.1/24,2001:db8:20:3::1/64")
	dave := f.workload(f.Hosts()[0], "ns-dave", "lsp-dave", "f2:01:00:00:00:04", "10.20.3.1", "2001:db8:20:3::1", "10.20.3.10/24", "2001:db8:20:3::10/64")
	for _, to := range []string{"10.20.3.10", "2001:db8:20:3::10"} {
		addr := netip.MustParseAddr(to)
		f.reach(alice, addr)
		f.transfer(alice, dave, addr, 1e6)
		f.told(alice, addr, 1300)
	}
}

// uploads sends bytes to a workload by an address and port that is not its own, and compares what arrived.
func (f *fleet) uploads(from, to *lab.Workload, own, external netip.Addr) {
	f.t.Helper()
	const port = 7070
	var listener net.Listener
	f.check(to.InNet(func() (err error) {
		listener, err = net.Listen("tcp", netip.AddrPortFrom(own, port).String())
		return err
	}))
	defer listener.Close()
	sent := make([]byte, 1<<20)
	source := rand.NewChaCha8([32]byte{})
	_, _ = source.Read(sent)
	arrived := make(chan error, 1)
	go func() {
		c, err := listener.Accept()
		if err != nil {
			arrived <- err
			return
		}
		defer c.Close()
		got, err := io.ReadAll(c)
		if sum := sha256.Sum256(got); err == nil && !bytes.Equal(got, sent) {
			err = fmt.Errorf("%d bytes with SHA-256 %x arrived", len(got), sum)
		}
		arrived <- err
	}()
	var c net.Conn
	f.check(from.InNet(func() (err error) {
		c, err = (&net.Dialer{Timeout: 20 * time.Second}).DialContext(f.ctx, "tcp", netip.AddrPortFrom(external, port).String())
		return err
	}))
	defer c.Close()
	f.check(c.SetDeadline(time.Now().Add(30 * time.Second)))
	_, err := c.Write(sent)
	f.check(errors.Join(err, c.Close()))
	select {
	case err := <-arrived:
		f.check(err)
	case <-time.After(30 * time.Second):
		f.t.Fatalf("what %s sent to %s has not arrived", from.Name, external)
	}
}

func TestT39_ThoseOutsideAreToldWhatFitsInside(t *testing.T) {
	t.Parallel()
	e := withEdges(t, "mtu-out", 1)
	e.ethernetSized(e.a, "nseth0-peer", "nseth0")
	e.tpctl("lnat add LR-edge1 float 10.20.1.10/32 dnat 192.168.1.40")
	float := netip.MustParseAddr("192.168.1.40")
	e.reach(e.far, float)
	e.told(e.far, float, tunnelMTU(e.edge(1).Addrs()[0]))
	_, err := e.far.Exec(e.ctx, "ip", "route", "flush", "cache")
	e.check(err)
	e.uploads(e.far, e.a, aliceIP, float)
	// A connection from inside: the server's packets are too large, and it is told so behind the translation.
	e.fetches(e.a, e.far.Addrs()[0], snat1)
	_, err = e.a.Transfer(e.ctx, e.far, e.far.Addrs()[0], lab.TransferOptions{Bytes: 1 << 20})
	e.check(err)
}

func TestT39_ThoseOutsideAreToldWhatFitsInsideByIPv6(t *testing.T) {
	t.Parallel()
	f := newBareFleet(t, lab.TutorialEdgesConfig("mtu-out6", "", lab.TwoNIC, 1))
	alice, edge := f.Host("alice"), f.Host("edge1")
	f.check(alice.Type(f.ctx, nil, append([]string{"tpctl lr add LR-central"}, lab.TutorialNetworkIPv6()...)...))
	f.daemon(alice)
	w, err := alice.AddWorkload(f.ctx, lab.TutorialIPv6("alice"))
	f.check(err)
	f.check(edge.Type(f.ctx, nil, lab.TutorialEdgeBridge(lab.TwoNIC)...))
	f.daemon(edge, "ONDEMAND=0", "GATEWAY=1")
	f.check(edge.Type(f.ctx, nil, lab.TutorialEdgePatch(1)...))
	f.check(alice.Type(f.ctx, nil, tutorial6(1)...))
	f.tpctl("lnat add LR-edge1 float " + aliceIP6.String() + "/128 dnat 2001:db8:ffff::40")
	f.ethernetSized(w, "v-"+w.Name, "eth0")
	far, float := f.Outside().Far, netip.MustParseAddr("2001:db8:ffff::40")
	f.reach(w, far.Addrs()[1])
	f.reach(far, float)
	f.told(far, float, tunnelMTU(edge.Addrs()[0]))
	_, err = far.Exec(f.ctx, "ip", "-6", "route", "flush", "cache")
	f.check(err)
	f.uploads(far, w, aliceIP6, float)
	_, err = w.Transfer(f.ctx, far, far.Addrs()[1], lab.TransferOptions{Bytes: 1 << 20})
	f.check(err)
}
