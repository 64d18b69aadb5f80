//go:build integration

package e2e_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tuplenet/e2e/lab"
)

func TestX02_X10_ManyWorkloadsOnOneBridgeReachEachOther(t *testing.T) {
	t.Parallel()
	f := newFleet(t, lab.Config{Name: "h8-pods", Hosts: []string{"vm-001", "vm-002"}})
	f.tpctl("ls add NET")
	var pods []*lab.Workload
	for i := range 6 {
		host := f.Hosts()[i/3]
		port, ip := fmt.Sprintf("pod%d", i), fmt.Sprintf("172.16.0.%d", i+1)
		f.tpctl("lsp add NET " + port + " " + ip)
		mac := fmt.Sprintf("f2:01:ac:10:00:%02x", i+1)
		pods = append(pods, f.workload(host, "", port, mac, "", "", ip+"/24"))
	}
	for i, want := range []string{"vm-001-ns01", "vm-001-ns02", "vm-001-ns03", "vm-002-ns01", "vm-002-ns02", "vm-002-ns03"} {
		if pods[i].Name != want {
			t.Errorf("workload %d is called %s, not %s", i, pods[i].Name, want)
		}
	}
	for _, from := range pods {
		for _, to := range pods {
			if from != to {
				f.reach(from, to.Addrs()[0])
			}
		}
	}
	f.transfer(pods[0], pods[2], pods[2].Addrs()[0], 5e6)
	f.transfer(pods[5], pods[3], pods[3].Addrs()[0], 5e6)
	f.transfer(pods[1], pods[4], pods[4].Addrs()[0], 5e6)
}

func TestT08_ADistributedRouterRoutesOnTheHostOfTheSender(t *testing.T) {
	f := newFleet(t, lab.Config{Name: "h8-local"})
	f.routed()
	f.tpctl("lsp add LS-B lsp-near 10.20.2.30,2001:db8:20:2::30 f2:01:00:00:00:30")
	alice := f.Hosts()[0]
	near := f.workload(alice, "ns-near", "lsp-near", "f2:01:00:00:00:30", "10.20.2.1", "2001:db8:20:2::1", "10.20.2.30/24", "2001:db8:20:2::30/64")
	a := f.Workload("ns-alice")
	f.reach(a, near.Addrs()...)
	wire, err := alice.CaptureUnderlay(f.ctx, tunnels())
	f.check(err)
	f.transfer(a, near, near.Addrs()[0], 2e6)
	f.transfer(near, a, aliceIP6, 2e6)
	report, err := a.Ping(f.ctx, near.Addrs()[0], 20*time.Millisecond, 10)
	f.check(err)
	if report.Lost() != 0 || report.TTL != 63 {
		t.Errorf("%v with ttl %d, want one hop", report, report.TTL)
	}
	f.reach(a, bobIP) // which crosses, and so ends the capture with something in it
	text, err := wire.Stop(f.ctx)
	f.check(err)
	if !strings.Contains(text, "10.20.2.10") {
		t.Errorf("the capture has seen nothing:\n%.1000s", text)
	}
	for _, never := range []string{"10.20.2.30", "2001:db8:20:2::30"} {
		if strings.Contains(text, never) {
			t.Errorf("traffic of two workloads of one host, routed to %s, crossed the underlay:\n%.1000s", never, text)
		}
	}
}

// etherExperimental is an EtherType for experiments (IEEE 802): no IP.
const etherExperimental = 0x88b5

func TestU18_ASwitchWithoutAddressesCarriesFramesThatAreNotIP(t *testing.T) {
	f := newFleet(t, lab.Config{Name: "h8-l2"})
	f.tpctl("ls add WIRE")
	f.tpctl("lsp add WIRE left - f2:01:00:00:00:41")
	f.tpctl("lsp add WIRE right - f2:01:00:00:00:42")
	left := f.workload(f.Hosts()[0], "w-left", "left", "f2:01:00:00:00:41", "", "", "10.9.0.1/24")
	right := f.workload(f.Hosts()[1], "w-right", "right", "f2:01:00:00:00:42", "", "", "10.9.0.2/24")
	f.reach(left, right.Addrs()[0]) // by ARP of their own, which is flooded
	f.transfer(left, right, right.Addrs()[0], 2e6)
	here, there := openPackets(t, left), openPackets(t, right)
	for _, dst := range []string{"f2:01:00:00:00:42", "ff:ff:ff:ff:ff:ff"} {
		to, err := net.ParseMAC(dst)
		f.check(err)
		payload := []byte("no IP at all, to " + dst)
		frame := append(append(append([]byte{}, to...), 0xf2, 1, 0, 0, 0, 0x41), 0x88, 0xb5)
		frame = append(frame, payload...)
		f.eventually("the frame to "+dst, func() error {
			if _, err := unix.Write(here, frame); err != nil {
				return err
			}
			return expectFrame(there, payload)
		})
	}
}

// openPackets opens a packet socket on eth0 of a workload; it receives experimental frames, each within 200 ms or not.
func openPackets(t *testing.T, w *lab.Workload) int {
	t.Helper()
	fd := -1
	err := w.InNet(func() error {
		i, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		proto := binary.NativeEndian.Uint16([]byte{etherExperimental >> 8, etherExperimental & 0xff})
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(proto)); err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: proto, Ifindex: i.Index})
	})
	if fd >= 0 {
		t.Cleanup(func() { unix.Close(fd) })
	}
	if err == nil {
		err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 200_000})
	}
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// expectFrame reads frames until one has the payload.
func expectFrame(fd int, payload []byte) error {
	buf := make([]byte, 2048)
	for {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if err != nil {
			return err
		}
		if n > 14 && bytes.HasPrefix(buf[14:n], payload) {
			return nil
		}
	}
}
