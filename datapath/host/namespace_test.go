//go:build integration

package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"tuplenet/datapath/ovstest"
)

// inside marks the test process that runs in a network namespace of its own, which goes when the process does.
const inside = "TUPLENET_HOST_TEST"

func TestMain(m *testing.M) {
	switch os.Getenv(inside) {
	case "peer": // holds a namespace until its standard input ends
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	case "test":
		os.Exit(m.Run())
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inside+"=test")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "in a new network namespace (needs root):", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// patience is how long anything may take on a busy machine.
const patience = time.Minute

// eventually waits for a condition, and fails with what was missing.
func eventually(t *testing.T, what string, cond func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := cond()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(20 * time.Millisecond) // pause of a poll with a deadline
	}
}

func veth(t *testing.T, name, peer string) {
	t.Helper()
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: peer}))
	t.Cleanup(func() { _ = netlink.LinkDel(&netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Name: name}}) })
}

func TestAddressesAndDevicesAreFound(t *testing.T) {
	veth(t, "h0", "h1")
	run(t, "ip", "link", "set", "h1", "up")
	run(t, "ip", "link", "set", "h0", "up", "mtu", "1400")
	if _, err := EndpointOf("nodev"); !errors.Is(err, ErrNoDevice) {
		t.Errorf("of a missing device: %v", err)
	}
	if _, err := EndpointOf("h0"); !errors.Is(err, ErrNoAddress) || !strings.Contains(err.Error(), "h0") {
		t.Errorf("of a device without address: %v", err)
	}
	run(t, "ip", "addr", "add", "192.0.2.7/24", "dev", "h0")
	run(t, "ip", "addr", "add", "192.0.2.1/24", "dev", "h0") // a secondary
	run(t, "ip", "addr", "add", "2001:db8::7/64", "dev", "h0", "nodad")
	run(t, "ip", "addr", "add", "2001:db8::1/64", "dev", "h0", "nodad", "preferred_lft", "0") // deprecated
	e, err := EndpointOf("h0")
	if err != nil || e.V4.String() != "192.0.2.7" || e.V6.String() != "2001:db8::7" || e.Device.Name != "h0" || e.Device.MTU != 1400 {
		t.Errorf("endpoint %v, %v", e, err)
	}
	for _, a := range []string{"192.0.2.1", "2001:db8::7"} {
		if d, err := DeviceHolding(netip.MustParseAddr(a)); err != nil || d.Name != "h0" || d.MTU != 1400 || !d.Up || len(d.MAC) != 17 {
			t.Errorf("%s is on %+v, %v", a, d, err)
		}
	}
	if _, err := DeviceHolding(netip.MustParseAddr("192.0.2.200")); !errors.Is(err, ErrNoAddress) || !strings.Contains(err.Error(), "192.0.2.200") {
		t.Errorf("of an address of nobody: %v", err)
	}
	if d, err := DeviceNamed("h1"); err != nil || d.MTU != 1500 {
		t.Errorf("h1 is %+v, %v", d, err)
	}
}

func TestX15_ChangesOfAddressesAreFollowed(t *testing.T) {
	veth(t, "f0", "f1")
	run(t, "ip", "link", "set", "f0", "up")
	run(t, "ip", "link", "set", "f1", "up")
	ctx, cancel := context.WithCancel(t.Context())
	seen, done := make(chan Endpoint, 1), make(chan error)
	go func() {
		done <- Follow(ctx, slog.New(slog.DiscardHandler), func() {
			e, _ := EndpointOf("f0")
			select {
			case <-seen:
			default:
			}
			seen <- e
		})
	}()
	until := func(what string, want Endpoint) {
		t.Helper()
		for deadline := time.After(patience); ; {
			select {
			case e := <-seen:
				if slices.Equal(e.Addrs(), want.Addrs()) {
					return
				}
			case <-deadline:
				t.Fatalf("%s: not seen", what)
			}
		}
	}
	until("the start", Endpoint{})
	run(t, "ip", "addr", "add", "2001:db8:1::7/64", "dev", "f0", "nodad")
	until("the first prefix", Endpoint{V6: netip.MustParseAddr("2001:db8:1::7")})
	run(t, "ip", "addr", "add", "2001:db8:2::7/64", "dev", "f0", "nodad")
	run(t, "ip", "addr", "change", "2001:db8:1::7/64", "dev", "f0", "preferred_lft", "0")
	until("the renumbering", Endpoint{V6: netip.MustParseAddr("2001:db8:2::7")})
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Follow ended with %v", err)
	}
}

func TestTransmitOffloadIsTurnedOff(t *testing.T) {
	veth(t, "o0", "o1")
	features := func() string { return run(t, "ethtool", "-k", "o0") }
	if got := features(); !strings.Contains(got, "tx-checksumming: on") || !strings.Contains(got, "tx-tcp-segmentation: on") {
		t.Fatalf("a new veth has no offloads to turn off: %s", got)
	}
	must(t, DisableTxOffload("o0"))
	must(t, DisableTxOffload("o0")) // again: nothing to do
	if got := features(); !strings.Contains(got, "tx-checksumming: off") || !strings.Contains(got, "tx-tcp-segmentation: off") {
		t.Error(got)
	}
	for _, name := range []string{"nodev", "", "a-name-of-sixteen"} {
		if err := DisableTxOffload(name); !errors.Is(err, ErrNoDevice) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestTheKernelDatapathIsFoundWhereItIs(t *testing.T) {
	got, err := KernelDatapath()
	must(t, err)
	listed := strings.Contains(run(t, "genl", "ctrl", "list"), "Name: "+datapathFamily)
	if got != listed {
		t.Errorf("found %v, while the list of families says %v", got, listed)
	}
}

// peerNamespace moves a device into a namespace held by a process of our own, which ends with the test.
func peerNamespace(t *testing.T, device string) *netlink.Handle {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), inside+"=peer")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	hold, err := cmd.StdinPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { hold.Close(); _ = cmd.Wait() })
	link, err := netlink.LinkByName(device)
	must(t, err)
	must(t, netlink.LinkSetNsPid(link, cmd.Process.Pid))
	ns, err := netns.GetFromPid(cmd.Process.Pid)
	must(t, err)
	defer ns.Close()
	h, err := netlink.NewHandleAt(ns)
	must(t, err)
	t.Cleanup(h.Close)
	return h
}

// startOVS runs a private Open vSwitch in this namespace, and returns a function that runs one of its tools.
func startOVS(t *testing.T) (tool func(name string, args ...string) string) {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "tnh")
	must(t, err)
	t.Cleanup(func() { // after the daemons have ended: their devices stay
		for _, name := range []string{"br-phy", "br-int", "ovs-netdev"} {
			_ = netlink.LinkDel(&netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Name: name}})
		}
		os.RemoveAll(dir)
	})
	env := append(os.Environ(), "OVS_RUNDIR="+dir, "OVS_LOGDIR="+dir, "OVS_DBDIR="+dir)
	socket, ctl := filepath.Join(dir, "db.sock"), filepath.Join(dir, "v.ctl")
	tool = func(name string, args ...string) string {
		t.Helper()
		switch name {
		case "ovs-vsctl":
			args = append([]string{"--db=unix:" + socket, "--timeout=60"}, args...)
		case "ovs-appctl":
			args = append([]string{"-t", ctl}, args...)
		}
		cmd := exec.Command(name, args...)
		cmd.Env = env
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	daemon := func(name string, args ...string) {
		cmd := exec.Command(name, args...)
		cmd.Env = env
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		must(t, cmd.Start())
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	}
	tool("ovsdb-tool", "create", filepath.Join(dir, "conf.db"), "/usr/share/openvswitch/vswitch.ovsschema")
	daemon("ovsdb-server", filepath.Join(dir, "conf.db"), "--remote=punix:"+socket, "--no-chdir", "-vconsole:off", "--unixctl="+filepath.Join(dir, "o.ctl"))
	eventually(t, "ovsdb-server", func() error { return ovstest.Accepts(socket) })
	tool("ovs-vsctl", "--no-wait", "init")
	daemon("ovs-vswitchd", "unix:"+socket, "--no-chdir", "-vconsole:off", "--unixctl="+ctl)
	eventually(t, "ovs-vswitchd", func() error { return ovstest.Accepts(ctl) })
	return tool
}

// TestTheFirstTunnelPacketFindsItsNeighbour shows that OVS's own neighbour table is fed: for endpoints that nobody has
// spoken to, for one that the kernel already knew, and again after OVS has forgotten them.
func TestTheFirstTunnelPacketFindsItsNeighbour(t *testing.T) {
	ovs := startOVS(t)
	veth(t, "eth0", "wire")
	peer := peerNamespace(t, "wire")
	wire, err := peer.LinkByName("wire")
	must(t, err)
	endpoints := addrs("192.0.2.2", "192.0.2.3", "2001:db8:ff::2", "2001:db8:ff::3")
	for _, a := range endpoints {
		bits := 24
		if a.Is6() {
			bits = 64
		}
		parsed, err := netlink.ParseAddr(fmt.Sprintf("%s/%d", a, bits))
		must(t, err)
		parsed.Flags = 2 // IFA_F_NODAD
		must(t, peer.AddrAdd(wire, parsed))
	}
	must(t, peer.LinkSetUp(wire))
	ovs("ovs-vsctl", "add-br", "br-phy", "--", "set", "bridge", "br-phy", "datapath_type=netdev", "--", "add-port", "br-phy", "eth0")
	run(t, "ip", "link", "set", "eth0", "up")
	run(t, "ip", "link", "set", "br-phy", "up")
	run(t, "ip", "addr", "add", "192.0.2.1/24", "dev", "br-phy")
	run(t, "ip", "addr", "add", "2001:db8:ff::1/64", "dev", "br-phy", "nodad")

	// OVS learns neighbours only while there is a tunnel port.
	ovs("ovs-vsctl", "add-br", "br-int", "--", "set", "bridge", "br-int", "datapath_type=netdev", "--",
		"add-port", "br-int", "g", "--", "set", "interface", "g", "type=geneve", "options:remote_ip=flow", "options:key=flow")

	known := func() error {
		table := strings.Fields(ovs("ovs-appctl", "tnl/neigh/show"))
		for _, a := range endpoints {
			found := false
			for _, word := range table {
				found = found || word == a.String()
			}
			if !found {
				return fmt.Errorf("%s is not among OVS's neighbours: %v", a, table)
			}
		}
		return nil
	}
	n := NewNeighbours(slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- n.Run(ctx) }()
	defer func() { cancel(); <-done }()
	n.Set(endpoints)
	eventually(t, "the neighbours of new endpoints", known)

	// OVS forgets, while the kernel still knows. Answers are learnt from once the datapath flows of the earlier ones are gone.
	ovs("ovs-appctl", "dpctl/del-flows")
	ovs("ovs-appctl", "tnl/neigh/flush")
	if known() == nil {
		t.Fatal("OVS did not forget")
	}
	n.Refresh()
	eventually(t, "the neighbours after OVS forgot", known)
}
