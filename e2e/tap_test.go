//go:build integration

package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tuplenet/e2e/lab"
)

// machineCommand is the first argument with which this test program is a virtual machine (see TestMain): a process that has opened a tap
// device and passes frames between it and the network card of its guest. The guest is a network namespace with its own TCP/IP.
const machineCommand = "virtual-machine"

// image is what a machine serves on its port 80: it has no patterns that a broken path could keep.
func image() []byte {
	b := make([]byte, 1<<20)
	for i, r := 0, rand.New(rand.NewPCG(1, 2)); i < len(b); i++ {
		b[i] = byte(r.Uint32())
	}
	return b
}

// runMachine is the virtual machine: DEVICE MAC ADDRESS/LENGTH GATEWAY MTU. It says "ready" and runs until it is killed.
func runMachine(args []string) error {
	runtime.LockOSThread() // the guest's namespace is this thread's; those of others stay in the host's
	outside, err := openTap(args[0], unix.IFF_TAP|unix.IFF_NO_PI)
	if err != nil {
		return err
	}
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	inside, err := openTap("eth0", unix.IFF_TAP|unix.IFF_NO_PI)
	if err != nil {
		return err
	}
	if err := bootGuest(args[1], args[2], args[3], args[4]); err != nil {
		return err
	}
	l, err := net.Listen("tcp", ":80")
	if err != nil {
		return err
	}
	go relay(outside, inside)
	go relay(inside, outside)
	fmt.Println("ready")
	for content := image(); ; {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			_, _ = c.Write(content) // a client that goes away is no business of the guest
			_ = c.Close()
		}()
	}
}

// openTap opens a tap device of the thread's namespace; it is made if it is not there.
func openTap(name string, flags uint16) (*os.File, error) {
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	req, err := unix.NewIfreq(name)
	if err != nil {
		return nil, err
	}
	req.SetUint16(flags)
	if err := unix.IoctlIfreq(int(f.Fd()), unix.TUNSETIFF, req); err != nil {
		return nil, fmt.Errorf("open tap %s: %w", name, err)
	}
	return f, nil
}

func bootGuest(mac, address, gateway, mtu string) error {
	l, err := netlink.LinkByName("eth0")
	if err != nil {
		return err
	}
	hw, err := net.ParseMAC(mac)
	if err != nil {
		return err
	}
	addr, err := netlink.ParseAddr(address)
	if err != nil {
		return err
	}
	var size int
	if _, err := fmt.Sscan(mtu, &size); err != nil {
		return err
	}
	for _, step := range []func() error{
		func() error { return netlink.LinkSetHardwareAddr(l, hw) },
		func() error { return netlink.LinkSetMTU(l, size) },
		func() error { return netlink.AddrAdd(l, addr) },
		func() error { return netlink.LinkSetUp(l) },
		func() error {
			return netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Gw: net.ParseIP(gateway)})
		},
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// relay passes frames on, one a read.
func relay(from, to *os.File) {
	for frame := make([]byte, 1<<16); ; {
		n, err := from.Read(frame)
		if err != nil {
			fmt.Fprintln(os.Stderr, "machine:", err)
			os.Exit(1)
		}
		_, _ = to.Write(frame[:n]) // dropped, as a card does that is not up
	}
}

// startMachine starts a virtual machine on a host, ended with the test or by stop.
func (f *fleet) startMachine(h *lab.Host, args ...string) (stop func()) {
	f.t.Helper()
	self, err := os.Executable()
	f.check(err)
	ctx, cancel := context.WithCancel(f.ctx)
	out, in := io.Pipe()
	var complaint bytes.Buffer
	ended := make(chan error, 1)
	go func() {
		err := h.ExecWith(ctx, lab.Streams{Out: in, Err: &complaint}, append([]string{self, machineCommand}, args...)...)
		in.CloseWithError(io.EOF)
		ended <- err
	}()
	stopped := false
	stop = func() {
		cancel()
		if !stopped {
			<-ended
			stopped = true
		}
	}
	f.t.Cleanup(stop)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "ready\n" {
		f.t.Fatalf("the machine did not start: %q %v: %s", line, err, complaint.String())
	}
	return stop
}

func TestU31_AVirtualMachineOpensATapThatOneCommandMade(t *testing.T) {
	t.Parallel()
	f := newFleet(t, lab.Config{Name: "tap"})
	a, _ := f.routed()
	bob := f.Hosts()[1]
	f.tpctl("lsp add LS-B vm 10.20.2.60 f2:01:00:00:00:60")
	tap := "tpctl node tap "
	said := f.on(bob, tap+"add vm --ifname vm0")
	var device, mac string
	var mtu int
	if _, err := fmt.Sscanf(strings.NewReplacer(",", "").Replace(said), "tap %s plugged as port vm MAC %s MTU %d", &device, &mac, &mtu); err != nil || device != "vm0" || mac != "f2:01:00:00:00:60" {
		t.Fatalf("%q: %v", said, err)
	}
	f.eventuallyShows("lsp show LS-B vm", "chassis: bob") // it is bound before a machine runs
	if out, err := bob.Shell(f.ctx, tap+"add vm"); err == nil {
		t.Fatalf("plugged twice: %s", out)
	}
	stop := f.startMachine(bob, device, mac, "10.20.2.60/24", "10.20.2.1", fmt.Sprint(mtu))
	vm := netip.MustParseAddr("10.20.2.60")
	f.reach(a, vm)
	sum := sha256.Sum256(image())
	got, err := a.Exec(f.ctx, "/bin/bash", "-c", "cat < /dev/tcp/10.20.2.60/80 | sha256sum")
	if err != nil || !strings.HasPrefix(got, hex.EncodeToString(sum[:])) {
		t.Fatalf("by TCP came %q: %v", got, err)
	}
	stop()
	if shown := f.on(bob, tap+"show -o table"); !strings.Contains(shown, "vm0") {
		t.Errorf("with the machine off, the tap is not shown: %s", shown)
	}
	if said := f.on(bob, tap+"del vm"); said != "tap vm0 of port vm deleted\n" {
		t.Errorf("%q", said)
	}
	if left := f.on(bob, "ip -o link") + f.on(bob, "ovs-vsctl show"); strings.Contains(left, "vm0") {
		t.Errorf("left behind: %s", left)
	}
	if out, err := bob.Shell(f.ctx, tap+"del vm"); err == nil {
		t.Errorf("deleted twice: %s", out)
	}
}
