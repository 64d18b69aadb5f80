//go:build integration

package multicast

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// inside marks the test process that runs in a network namespace of its own, which goes when the process does.
const inside = "TUPLENET_MULTICAST_TEST"

func TestMain(m *testing.M) {
	if os.Getenv(inside) != "" {
		os.Exit(m.Run())
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "in a new network namespace (needs root):", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func run(t *testing.T, line string) string {
	t.Helper()
	out, err := exec.Command("/bin/sh", "-c", line).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return string(out)
}

// wire makes a device of the underlay, with an IPv6 address.
func wire(t *testing.T) {
	t.Helper()
	run(t, "ip link add wire0 type veth peer name wire1 && ip link set wire0 up && ip link set wire1 up && ip -6 addr add 2001:db8::1/64 dev wire0 nodad")
	t.Cleanup(func() {
		if _, _, err := reconcile(nil, nil); err != nil {
			t.Error(err)
		}
		_ = exec.Command("ip", "link", "del", "wire0").Run()
	})
}

func network(id uint32) Network {
	hex := fmt.Sprintf("%x", id)
	return Network{ID: id, Device: "vxlan" + hex, Bridge: "br" + hex, Inside: [2]string{"tnm-" + hex, "tno-" + hex}, Outside: "tnn-" + hex, Port: 4789, HopLimit: 5,
		Group: netip.AddrFrom16([16]byte{0: 0xff, 1: 5, 13: byte(id >> 16), 14: byte(id >> 8), 15: byte(id)}), Underlay: "wire0", Userspace: true}
}

// check reconciles, and compares the problem of the first network.
func check(t *testing.T, want string, networks ...Network) State {
	t.Helper()
	state, _, err := reconcile(networks, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := state[networks[0].Device].Problem; got != want {
		t.Fatalf("problem %q, not %q", got, want)
	}
	return state
}

// names are those of all devices but those of the test, sorted.
func names(t *testing.T) (all []string) {
	t.Helper()
	links, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if n := l.Attrs().Name; n != "lo" && !strings.HasPrefix(n, "wire") {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	return all
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("%s: %v, not %v", what, got, want)
	}
}

func TestU08_U09_U12_TheDevicesOfANetworkAreMadeOnceAndRemoved(t *testing.T) {
	wire(t)
	if state := check(t, "", network(0xff01), network(0xffffff)); state["vxlanff01"].Inside != "tnm-ff01" || state["vxlanffffff"].Inside != "tnm-ffffff" {
		t.Fatal(state)
	}
	all := []string{"brff01", "brffffff", "tnm-ff01", "tnm-ffffff", "tnn-ff01", "tnn-ffffff", "vxlanff01", "vxlanffffff"}
	same(t, "devices", names(t), all)
	about := run(t, "ip -d link show vxlanff01; ip -d link show vxlanffffff")
	for _, want := range []string{"vxlan id 65281 group ff05::ff01 dev wire0", "vxlan id 16777215 group ff05::ff:ffff dev wire0", "dstport 4789", "ttl 5 ",
		"mtu 1430", "master brff01", "master brffffff"} {
		if !strings.Contains(about, want) {
			t.Errorf("no %q in\n%s", want, about)
		}
	}
	if groups := run(t, "ip -6 maddr show dev wire0"); !strings.Contains(groups, "ff05::ff01") || !strings.Contains(groups, "ff05::ff:ffff") {
		t.Errorf("groups of the underlay:\n%s", groups)
	}
	if addrs := run(t, "for d in brff01 vxlanff01 tnm-ff01 tnn-ff01; do ip -o -6 addr show dev $d; done"); addrs != "" {
		t.Errorf("the host has a part in the network:\n%s", addrs)
	}
	before := run(t, "ip -o link | cut -d' ' -f1-2")
	check(t, "", network(0xff01), network(0xffffff))
	if after := run(t, "ip -o link | cut -d' ' -f1-2"); after != before {
		t.Errorf("made again:\n%s%s", before, after)
	}
	// What is made again has a name that the switch does not know.
	remake := func(n Network, used, want string) {
		t.Helper()
		run(t, "ip link del tnn-ffffff")
		state, _, err := reconcile([]Network{network(0xff01), n}, map[string]string{n.Device: used})
		if err != nil || state["vxlanff01"].Inside != "tnm-ff01" || state["vxlanffffff"] != (Condition{Inside: want}) {
			t.Errorf("made again: %+v, %v, want %s", state, err, want)
		}
	}
	n := network(0xffffff)
	n.Taken = "tnm-ffffff"
	remake(n, "", "tno-ffffff")
	remake(n, "tno-ffffff", "tno-ffffff") // both are known: the switch has the other one still
	n.Taken = "tno-ffffff"
	remake(n, "tno-ffffff", "tnm-ffffff")
	if _, left, err := reconcile([]Network{network(0xff01)}, nil); err != nil || left != 0 {
		t.Fatal(left, err)
	}
	same(t, "devices of one network", names(t), []string{"brff01", "tnm-ff01", "tnn-ff01", "vxlanff01"})
	// What a killed daemon left is all that there is to know about it.
	run(t, "ip link del vxlanff01; ip link del tnm-ff01")
	if _, left, err := reconcile(nil, nil); err != nil || left != 0 {
		t.Fatal(left, err)
	}
	same(t, "devices at the end", names(t), nil)
}

func TestDevicesInTheWayAreNamedAndStay(t *testing.T) {
	wire(t)
	n := network(0xff01)
	for _, foreign := range []struct{ device, make, want string }{
		{"vxlanff01", "ip link add vxlanff01 type bridge", "device vxlanff01 is in the way: it was not made by tuplenet, remove it (ip link del vxlanff01)"},
		{"brff01", "ip link add brff01 type bridge", "device brff01 is in the way: it was not made by tuplenet, remove it (ip link del brff01)"},
		{"tnm-ff01", "ip link add tnm-ff01 type bridge", "device tnm-ff01 is in the way: it was not made by tuplenet, remove it (ip link del tnm-ff01)"},
		{"tnn-ff01", "ip link add tnn-ff01 type bridge", "device tnn-ff01 is in the way: it was not made by tuplenet, remove it (ip link del tnn-ff01)"},
		{"mine", "ip -6 link add mine type vxlan id 65281 dstport 4789 group ff05::ff01 dev wire0 ttl 5", "device mine has VNI 65281 already and was not made by tuplenet: remove it (ip link del mine)"},
	} {
		run(t, foreign.make)
		state := check(t, foreign.want, n, network(7))
		if state["vxlan7"].Problem != "" {
			t.Errorf("another network: %s", state["vxlan7"].Problem)
		}
		if _, _, err := reconcile(nil, nil); err != nil {
			t.Fatal(err)
		}
		same(t, "devices", names(t), []string{foreign.device})
		run(t, "ip link del "+foreign.device)
		check(t, "", n)
		if _, _, err := reconcile(nil, nil); err != nil {
			t.Fatal(err)
		}
	}
}

func TestADeviceOfSomebodyElseInTheBridgeKeepsIt(t *testing.T) {
	wire(t)
	check(t, "", network(0xff01))
	run(t, "ip link add wiretap type veth peer name wirevm && ip link set wiretap master brff01")
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", "wiretap").Run() })
	if _, left, err := reconcile(nil, nil); err != nil || left != 2 {
		t.Fatal(left, err)
	}
	same(t, "devices", names(t), []string{"brff01", "vxlanff01"})
	check(t, "", network(0xff01)) // it is used again
	run(t, "ip link set wiretap nomaster")
	if _, left, err := reconcile(nil, nil); err != nil || left != 0 {
		t.Fatal(left, err)
	}
	same(t, "devices at the end", names(t), nil)
}

func TestTheUnderlayIsFollowed(t *testing.T) {
	check(t, "there is no device wire0, which is to lead to the other hosts", network(1))
	wire(t)
	check(t, "", network(1))
	run(t, "ip link set wire0 mtu 9000; ip link set wire1 mtu 9000")
	check(t, "", network(1))
	if about := run(t, "cat /sys/class/net/vxlan1/mtu /sys/class/net/br1/mtu 2>/dev/null || ip -o link show br1"); !strings.Contains(about, "8930") {
		t.Errorf("MTU: %s", about)
	}
	run(t, "ip link set wire0 down")
	if state := check(t, "device wire0, which is to lead to the other hosts, is down", network(1)); state["vxlan1"].Inside != "tnm-1" {
		t.Error("the port of the switch went with the underlay")
	}
	run(t, "ip link del wire0")
	check(t, "there is no device wire0, which is to lead to the other hosts", network(1))
	run(t, "ip link add wire0 type veth peer name wire1 && ip link set wire0 up && ip link set wire1 up && ip -6 addr flush dev wire0")
	check(t, "device wire0 has no IPv6 address (a link-local one is enough): the groups of multicast networks are IPv6", network(1))
	run(t, "ip -6 addr add 2001:db8::1/64 dev wire0 nodad")
	check(t, "", network(1))
	if about := run(t, "ip -d link show vxlan1"); !strings.Contains(about, "dev wire0") || !strings.Contains(about, "master br1") {
		t.Errorf("after the underlay was made anew:\n%s", about)
	}
	// Settings of ours that somebody changed, and half of the veth.
	run(t, "ip link del vxlan1; ip link add vxlan1 group 29805 type vxlan id 9 dstport 4789 group ff05::9 dev wire0; ip link del tnn-1")
	check(t, "", network(1))
	if about := run(t, "ip -d link show vxlan1"); !strings.Contains(about, "id 1 group ff05::1 dev wire0") {
		t.Errorf("after somebody changed it:\n%s", about)
	}
}

func TestAPortOfUDPThatIsTakenIsAProblemThatIsTriedAgain(t *testing.T) {
	wire(t)
	taken, err := syscall.Socket(syscall.AF_INET6, syscall.SOCK_DGRAM, 0)
	if err == nil {
		err = syscall.Bind(taken, &syscall.SockaddrInet6{Port: 4789})
	}
	if err != nil {
		t.Fatal(err)
	}
	states := make(chan State, 100)
	k := New(slog.New(slog.DiscardHandler), func(s State) { states <- s })
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { k.Run(ctx); close(ended) }()
	defer func() { cancel(); <-ended }()
	k.Look() // nothing was asked for yet: nothing is touched
	k.Set([]Network{network(0xff01)})
	next := func(want string) {
		t.Helper()
		for deadline := time.After(30 * time.Second); ; {
			select {
			case s := <-states:
				if c, ok := s["vxlanff01"]; ok && c.Problem == want {
					return
				}
			case <-deadline:
				t.Fatalf("no state with problem %q", want)
			}
		}
	}
	next("vxlanff01 cannot be used: UDP port 4789 is used by another program or tunnel of this host")
	if err := syscall.Close(taken); err != nil {
		t.Fatal(err)
	}
	next("")
	k.Set(nil)
	for deadline := time.After(30 * time.Second); ; {
		select {
		case s := <-states:
			if len(s) == 0 {
				same(t, "devices at the end", names(t), nil)
				return
			}
		case <-deadline:
			t.Fatal("the network is not removed")
		}
	}
}
