package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Names on a host.
const (
	underlayPort   = "wire0" // the host's end of its underlay link; a port of the bridge that has the addresses
	managementPort = "mgmt0"
)

// switchPriority is the nice value of Open vSwitch, the one that ovs-ctl(8) gives it: a switch that waits for seconds
// behind a compiler on a busy machine loses what its sockets cannot hold.
const switchPriority = "-10"

// Host is a host of the lab.
type Host struct {
	*node
	index int
}

// newHost makes a host, starts its switch and gives it its addresses.
func newHost(ctx context.Context, l *Lab, index int, name string) (*Host, error) {
	n, err := newNode(ctx, l, name)
	if err != nil {
		return nil, err
	}
	if err := l.recordNode(n); err != nil {
		return nil, err
	}
	h := &Host{node: n, index: index}
	if err := h.join(l.wire.node, "underlay", "u-"+name, h.underlayDevice(), l.cfg.UnderlayMTU); err != nil {
		return nil, err
	}
	if h.edge().Layout == TwoNIC {
		if err := h.join(l.outside.node, outsideLAN, "o-"+name, outsideNIC, 1500); err != nil {
			return nil, err
		}
	}
	if l.cfg.Etcd == EtcdManagement {
		if err := h.joinManagement(); err != nil {
			return nil, err
		}
	}
	if _, err := h.Exec(ctx, "ovsdb-tool", "create", h.database(), "/usr/share/openvswitch/vswitch.ovsschema"); err != nil {
		return nil, err
	}
	if err := h.StartOVSDB(ctx); err != nil {
		return nil, err
	}
	if err := h.describe(ctx); err != nil {
		return nil, err
	}
	if _, err := h.Vsctl(ctx, "--no-wait", "add-br", h.Bridge(), "--", "set", "Bridge", h.Bridge(), "datapath_type=netdev",
		"--", "add-port", h.Bridge(), h.underlayDevice()); err != nil {
		return nil, err
	}
	return h, h.StartSwitch(ctx)
}

// join connects the host with a Linux bridge of another node, by a veth pair.
func (h *Host) join(to *node, bridge, outside, inside string, mtu int) error {
	if err := to.plug(h.node, bridge, outside, inside, mtu); err != nil {
		return err
	}
	return h.withLinks("", func(nl *netlink.Handle, _ netns.NsHandle) error { return setUp(nl, inside) })
}

// describe writes into the database what the distribution's start script writes on a real host.
func (h *Host) describe(ctx context.Context) error {
	out, err := h.Exec(ctx, "ovs-vswitchd", "--version") // ovs-vswitchd (Open vSwitch) 3.1.0
	if err != nil {
		return err
	}
	first, _, _ := strings.Cut(out, "\n")
	version := first[strings.LastIndexByte(first, ' ')+1:]
	_, err = h.Vsctl(ctx, "--no-wait", "init", "--", "set", "Open_vSwitch", ".",
		"external_ids:system-id="+h.SystemID(), "external_ids:hostname="+h.name, "ovs_version="+version)
	return err
}

func (h *Host) joinManagement() error {
	if err := h.lab.wire.plug(h.node, "management", "m-"+h.name, managementPort, 1500); err != nil {
		return err
	}
	n := firstHost + h.index
	addrs := []netip.Prefix{
		netip.MustParsePrefix(fmt.Sprintf("%s%d/24", management4, n)), netip.MustParsePrefix(fmt.Sprintf("%s%d/64", management6, n)),
	}
	return h.withLinks("", func(nl *netlink.Handle, _ netns.NsHandle) error { return configure(nl, managementPort, addrs) })
}

func (h *Host) database() string { return filepath.Join(h.dir, "db", "conf.db") }

// Addrs are the host's underlay addresses, IPv4 first.
func (h *Host) Addrs() []netip.Addr {
	var addrs []netip.Addr
	for _, p := range h.prefixes() {
		addrs = append(addrs, p.Addr())
	}
	return addrs
}

func (h *Host) prefixes() []netip.Prefix {
	n := firstHost + h.index
	v4 := netip.MustParsePrefix(fmt.Sprintf("%s%d/24", underlay4, n))
	v6 := netip.MustParsePrefix(fmt.Sprintf("%s%d/64", underlay6, n))
	switch h.lab.cfg.Underlay {
	case UnderlayIPv6:
		return []netip.Prefix{v6}
	case UnderlayDual:
		return []netip.Prefix{v4, v6}
	default:
		return []netip.Prefix{v4}
	}
}

// Bridge is the name of the bridge that has the host's underlay addresses: what `tuplenet --interface` is given.
func (h *Host) Bridge() string {
	if h.edge().Layout == OneNIC {
		return outsideBridge
	}
	return h.lab.cfg.Bridge
}

// StartOVSDB starts ovsdb-server and waits until it answers.
func (h *Host) StartOVSDB(ctx context.Context) error {
	if h.lab.process(h.name, "ovsdb-server").Alive() {
		return fmt.Errorf("ovsdb-server runs on %s already", h.name)
	}
	p, err := h.spawn("ovsdb-server", nil, "nice", "-n", switchPriority, "ovsdb-server", h.database(), "--remote=punix:/run/openvswitch/db.sock",
		"--pidfile", "--log-file", "-vconsole:off", "-vsyslog:off", "--no-chdir")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithDeadline(ctx, deadline(ctx))
	defer cancel()
	return WaitFor(ctx, "ovsdb-server of "+h.name, func() error {
		if !p.Alive() {
			return endOfWait{fmt.Errorf("it ended: %s", p.Tail(3))}
		}
		c, err := net.Dial("unix", h.SocketPath("db.sock"))
		if err != nil {
			return err
		}
		return c.Close()
	})
}

// SocketPath is the path on the machine of a socket of the host's Open vSwitch, such as db.sock or br-int.mgmt.
func (h *Host) SocketPath(name string) string {
	return filepath.Join(h.dir, "run", "openvswitch", name)
}

// StartSwitch starts ovs-vswitchd, waits until it has made the bridges of its database, and gives the host its
// addresses: they went with the bridge's interface when an earlier one ended.
//
// The switch is told the routes of its tunnels, and does not copy the kernel's table. Open vSwitch 3.1 empties its copy
// and fills it again whenever any interface of the host changes; a flow that a revalidator translates in between cannot
// reach its tunnel, and packets are lost until the next round. Plugging an interface does both at once, so that every
// twentieth plug or so cost the whole host some milliseconds. It concerns the userspace datapath only.
func (h *Host) StartSwitch(ctx context.Context) error {
	if h.lab.process(h.name, "ovs-vswitchd").Alive() {
		return fmt.Errorf("ovs-vswitchd runs on %s already", h.name)
	}
	command := []string{"nice", "-n", switchPriority, "ovs-vswitchd", "unix:/run/openvswitch/db.sock", "--disable-system"}
	if !h.lab.cfg.KernelRoutes {
		command = append(command, "--disable-system-route")
	}
	p, err := h.spawn("ovs-vswitchd", nil, append(command, "--pidfile", "--log-file", "-vconsole:off", "-vsyslog:off", "--no-chdir")...)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithDeadline(ctx, deadline(ctx))
	defer cancel()
	err = WaitFor(ctx, "bridge "+h.Bridge()+" on "+h.name, func() error {
		if !p.Alive() {
			return endOfWait{fmt.Errorf("ovs-vswitchd ended: %s", p.Tail(3))}
		}
		return h.withLinks("", func(nl *netlink.Handle, _ netns.NsHandle) error {
			_, err := nl.LinkByName(h.Bridge())
			return err
		})
	})
	if err != nil {
		return err
	}
	// Not before its bridges are done: to give a new interface its MAC, the switch takes it down, and up again only if it was up when
	// it looked.
	if err := h.bridgesAnswer(ctx); err != nil {
		return err
	}
	err = h.withLinks("", func(nl *netlink.Handle, _ netns.NsHandle) error { return configure(nl, h.Bridge(), h.prefixes()) })
	if err != nil || h.lab.cfg.KernelRoutes {
		return err
	}
	for _, p := range h.prefixes() {
		if err := h.RouteTunnels(ctx, p.Masked()); err != nil {
			return err
		}
	}
	return nil
}

// RouteTunnels tells the switch that a network of the underlay is at the bridge that has the host's addresses. The
// host must have an address of it.
func (h *Host) RouteTunnels(ctx context.Context, network netip.Prefix) error {
	return WaitFor(ctx, "route of the tunnels on "+h.name, func() error {
		_, err := h.Appctl(ctx, "ovs/route/add", network.String(), h.Bridge())
		return err
	})
}

// bridgesAnswer waits until ovs-vswitchd takes OpenFlow connections for every bridge of the database.
func (h *Host) bridgesAnswer(ctx context.Context) error {
	names, err := h.Vsctl(ctx, "list-br")
	if err != nil {
		return err
	}
	for _, bridge := range strings.Fields(names) {
		err := WaitFor(ctx, "OpenFlow of "+bridge+" on "+h.name, func() error {
			_, err := h.Ofctl(ctx, "dump-tables", bridge)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// KillSwitch ends ovs-vswitchd with SIGKILL; StartSwitch brings it back.
func (h *Host) KillSwitch(ctx context.Context) error {
	return h.kill(ctx, "ovs-vswitchd", unix.SIGKILL)
}

// KillOVSDB ends ovsdb-server with SIGKILL; StartOVSDB brings it back.
func (h *Host) KillOVSDB(ctx context.Context) error { return h.kill(ctx, "ovsdb-server", unix.SIGKILL) }

// kill signals a process that the lab started on the host and waits for its end.
func (h *Host) kill(ctx context.Context, name string, sig unix.Signal) error {
	p := h.lab.process(h.name, name)
	if err := p.Signal(sig); err != nil {
		return err
	}
	ctx, cancel := context.WithDeadline(ctx, deadline(ctx))
	defer cancel()
	return p.Wait(ctx)
}

// Vsctl runs ovs-vsctl on the host.
func (h *Host) Vsctl(ctx context.Context, args ...string) (string, error) {
	return h.Exec(ctx, append([]string{"ovs-vsctl", "--timeout=60"}, args...)...)
}

// Ofctl runs ovs-ofctl on the host, with OpenFlow 1.5.
func (h *Host) Ofctl(ctx context.Context, args ...string) (string, error) {
	return h.Exec(ctx, append([]string{"ovs-ofctl", "-O", "OpenFlow15"}, args...)...)
}

// Appctl runs ovs-appctl on the host, by default to ovs-vswitchd.
func (h *Host) Appctl(ctx context.Context, args ...string) (string, error) {
	return h.Exec(ctx, append([]string{"ovs-appctl"}, args...)...)
}

// Revalidated waits until the host's datapath has nothing cached that contradicts what the tables of its switch say: a flow is acknowledged
// when it is in a table, and what is cached is corrected behind that.
func (h *Host) Revalidated(ctx context.Context) error {
	for range 2 { // the first round may have begun before
		if _, err := h.Appctl(ctx, "revalidator/wait"); err != nil {
			return err
		}
	}
	return nil
}

// Tpctl runs the built tpctl on the host.
func (h *Host) Tpctl(ctx context.Context, args ...string) (string, error) {
	if h.lab.cfg.Bin == "" {
		return "", errors.New("the lab was made without a directory of binaries")
	}
	return h.Exec(ctx, append([]string{filepath.Join(h.lab.cfg.Bin, "tpctl")}, args...)...)
}

// CutUnderlay takes the host off the underlay; RestoreUnderlay puts it back.
func (h *Host) CutUnderlay() error { return h.lab.wire.setLink("u-"+h.name, false) }

// RestoreUnderlay ends CutUnderlay.
func (h *Host) RestoreUnderlay() error { return h.lab.wire.setLink("u-"+h.name, true) }

// CutManagement takes the host off the management network, hence from etcd; RestoreManagement puts it back.
func (h *Host) CutManagement() error { return h.lab.wire.setLink("m-"+h.name, false) }

// RestoreManagement ends CutManagement.
func (h *Host) RestoreManagement() error { return h.lab.wire.setLink("m-"+h.name, true) }

// Kill ends everything that runs on the host, workloads included, as if its power failed. It does not come back.
func (h *Host) Kill(ctx context.Context) error {
	if err := h.first.Signal(unix.SIGKILL); err != nil {
		return err
	}
	ctx, cancel := context.WithDeadline(ctx, deadline(ctx))
	defer cancel()
	return h.first.Wait(ctx)
}

// Tpctl runs the built tpctl on the first host.
func (l *Lab) Tpctl(ctx context.Context, args ...string) (string, error) {
	return l.hosts[0].Tpctl(ctx, args...)
}

// Endpoints are etcd's client addresses, host:port, as given to the programs.
func (l *Lab) Endpoints() []string {
	addr := management4 + "1"
	switch {
	case l.cfg.Etcd == EtcdFirstHost && l.cfg.Underlay == UnderlayIPv6:
		addr = fmt.Sprintf("%s%d", underlay6, firstHost)
	case l.cfg.Etcd == EtcdFirstHost:
		addr = fmt.Sprintf("%s%d", underlay4, firstHost)
	case l.cfg.Underlay == UnderlayIPv6:
		addr = management6 + "1"
	}
	if strings.Contains(addr, ":") {
		addr = "[" + addr + "]"
	}
	return []string{addr + ":2379"}
}
