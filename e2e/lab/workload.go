package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// workloadMTU fits into an underlay of 1500 bytes with every encapsulation.
const workloadMTU = 1400

// WorkloadConfig describes a workload: a namespace on a host, with one interface that is a port of br-int.
type WorkloadConfig struct {
	// Name of the namespace; the host's end of the veth is called v-<name>. Default: the host's name and the lowest free
	// number, as in vm-001-ns03, for hosts with names of at most 8 characters.
	Name string
	// Port is the logical port, as external_ids:iface-id; default Name.
	Port string
	// Interface is the name of the interface in the namespace; default eth0.
	Interface string
	// MAC of the interface; default: the kernel's choice.
	MAC string
	// Addrs are addresses with prefix lengths.
	Addrs []netip.Prefix
	// Gateways get a default route each.
	Gateways []netip.Addr
	// MTU in bytes; default 1400.
	MTU int
	// KeepOffload leaves checksum offload on: TCP then moves nothing over a userspace datapath.
	KeepOffload bool
	// Unplugged leaves the port off br-int; see Plug.
	Unplugged bool

	pod    bool   // DeletePods takes it away
	parent string // the interface is no veth, but a macvlan on this device of the host
}

// Workload is a namespace on a host. `ip netns exec NAME` on that host enters it.
type Workload struct {
	Name string
	Host *Host
	cfg  WorkloadConfig
}

// Addrs are the addresses that the workload was made with; none if it was adopted.
func (w *Workload) Addrs() []netip.Addr {
	var addrs []netip.Addr
	for _, p := range w.cfg.Addrs {
		addrs = append(addrs, p.Addr())
	}
	return addrs
}

// Gateways are those that the workload was made with.
func (w *Workload) Gateways() []netip.Addr { return w.cfg.Gateways }

var workloadName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,12}$`)

// AddWorkload makes a workload and plugs it into br-int, which must exist.
func (h *Host) AddWorkload(ctx context.Context, c WorkloadConfig) (*Workload, error) {
	for n := 1; c.Name == ""; n++ {
		if name := fmt.Sprintf("%s-ns%02d", h.name, n); h.lab.Workload(name) == nil {
			c.Name = name
		}
	}
	if !workloadName.MatchString(c.Name) {
		return nil, fmt.Errorf("workload name %q: 1-13 letters, digits, dots and dashes", c.Name)
	}
	if h.lab.Workload(c.Name) != nil {
		return nil, fmt.Errorf("workload %s exists", c.Name)
	}
	if c.Port == "" {
		c.Port = c.Name
	}
	if c.MTU == 0 {
		c.MTU = workloadMTU
	}
	w := &Workload{Name: c.Name, Host: h, cfg: c}
	if _, err := h.Exec(ctx, "ip", "netns", "add", c.Name); err != nil {
		return nil, err
	}
	if err := w.configure(ctx, c); err != nil {
		_, delErr := h.Exec(context.WithoutCancel(ctx), "ip", "netns", "del", c.Name)
		return nil, errors.Join(fmt.Errorf("workload %s: %w", c.Name, err), delErr)
	}
	h.lab.mu.Lock()
	h.lab.workloads[c.Name] = w
	h.lab.state.Workloads = append(h.lab.state.Workloads, WorkloadInfo{Name: c.Name, Host: h.name, Pod: c.pod})
	err := h.lab.state.write(h.lab.dir)
	h.lab.mu.Unlock()
	if err != nil || c.Unplugged || c.parent != "" {
		return w, err
	}
	return w, w.Plug(ctx)
}

// Adopt makes a Workload of a namespace that was made on the host by other means, such as typed commands.
func (h *Host) Adopt(name string) (*Workload, error) {
	if _, err := os.Stat(h.netPath(name)); err != nil {
		return nil, fmt.Errorf("namespace %s on %s: %w", name, h.name, err)
	}
	h.lab.mu.Lock()
	defer h.lab.mu.Unlock()
	w := &Workload{Name: name, Host: h}
	if _, known := h.lab.workloads[name]; known {
		return w, nil
	}
	h.lab.workloads[name] = w
	h.lab.state.Workloads = append(h.lab.state.Workloads, WorkloadInfo{Name: name, Host: h.name})
	return w, h.lab.state.write(h.lab.dir)
}

// Device is the host's end of the workload's veth.
func (w *Workload) Device() string { return "v-" + w.Name }

// Port is the external_ids:iface-id that it is plugged in with.
func (w *Workload) Port() string { return w.cfg.Port }

// configure makes the veth and everything inside the namespace.
func (w *Workload) configure(ctx context.Context, c WorkloadConfig) error {
	if c.Interface == "" {
		c.Interface = PodIfEth0
	}
	if err := w.InNet(func() error {
		return os.WriteFile("/proc/sys/net/ipv6/conf/default/accept_dad", []byte("0"), 0o644)
	}); err != nil {
		return err
	}
	var mac net.HardwareAddr
	if c.MAC != "" {
		var err error
		if mac, err = net.ParseMAC(c.MAC); err != nil {
			return err
		}
	}
	err := w.Host.withLinks("", func(hostLinks *netlink.Handle, _ netns.NsHandle) error {
		return w.Host.withLinks(w.Name, func(links *netlink.Handle, ns netns.NsHandle) error {
			if err := w.connect(hostLinks, ns, mac, c); err != nil {
				return err
			}
			if err := errors.Join(setUp(links, "lo"), configure(links, c.Interface, c.Addrs)); err != nil {
				return err
			}
			return addDefaultRoutes(links, c.Interface, c.Gateways)
		})
	})
	if err != nil || c.KeepOffload {
		return err
	}
	_, err = w.Exec(ctx, "ethtool", "-K", c.Interface, "tx", "off")
	return err
}

// connect makes the workload's interface.
func (w *Workload) connect(hostLinks *netlink.Handle, ns netns.NsHandle, mac net.HardwareAddr, c WorkloadConfig) error {
	if c.parent != "" {
		return addMacvlan(hostLinks, ns, c, mac)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = w.Device(), c.MTU
	v := &netlink.Veth{LinkAttrs: attrs, PeerName: c.Interface, PeerNamespace: netlink.NsFd(ns), PeerHardwareAddr: mac, PeerMTU: uint32(c.MTU)}
	if err := hostLinks.LinkAdd(v); err != nil {
		return fmt.Errorf("veth: %w", err)
	}
	return setUp(hostLinks, w.Device())
}

func addDefaultRoutes(links *netlink.Handle, device string, gateways []netip.Addr) error {
	link, err := links.LinkByName(device)
	if err != nil {
		return err
	}
	for _, g := range gateways {
		if err := links.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: g.AsSlice()}); err != nil {
			return fmt.Errorf("default route via %s: %w", g, err)
		}
	}
	return nil
}

// Plug makes the workload's veth a port of br-int, bound to its logical port.
func (w *Workload) Plug(ctx context.Context) error {
	_, err := w.Host.Vsctl(ctx, "add-port", "br-int", w.Device(), "--", "set", "Interface", w.Device(), "external_ids:iface-id="+w.cfg.Port)
	return err
}

// Unplug takes the workload's veth off br-int.
func (w *Workload) Unplug(ctx context.Context) error {
	_, err := w.Host.Vsctl(ctx, "del-port", "br-int", w.Device())
	return err
}

// OFPort is the OpenFlow number of the workload's port on br-int.
func (w *Workload) OFPort(ctx context.Context) (int, error) {
	out, err := w.Host.Vsctl(ctx, "get", "Interface", w.Device(), "ofport")
	if err != nil {
		return 0, err
	}
	var n int
	if _, err := fmt.Sscan(out, &n); err != nil {
		return 0, fmt.Errorf("ofport of %s: %q", w.Name, out)
	}
	return n, nil
}

// unlink deletes the veth. It would go with the namespace, but the kernel takes those down when it has time.
func (w *Workload) unlink() error {
	return w.Host.withLinks("", func(links *netlink.Handle, _ netns.NsHandle) error {
		veth, err := links.LinkByName(w.Device())
		if _, none := errors.AsType[netlink.LinkNotFoundError](err); none {
			return nil
		}
		if err != nil {
			return err
		}
		return links.LinkDel(veth)
	})
}

// Remove unplugs the workload and deletes its veth and its namespace.
func (w *Workload) Remove(ctx context.Context) error {
	_, err := w.Host.Vsctl(ctx, "--if-exists", "del-port", w.Device())
	err = errors.Join(err, w.unlink())
	_, delErr := w.Host.Exec(ctx, "ip", "netns", "del", w.Name)
	l := w.Host.lab
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.workloads, w.Name)
	l.state.Workloads = slices.DeleteFunc(l.state.Workloads, func(i WorkloadInfo) bool { return i.Name == w.Name })
	return errors.Join(err, delErr, l.state.write(l.dir))
}

// Exec runs a command in the workload.
func (w *Workload) Exec(ctx context.Context, args ...string) (string, error) {
	return w.Host.Exec(ctx, w.enter(args)...)
}

// ExecWith runs a command in the workload with the streams given.
func (w *Workload) ExecWith(ctx context.Context, s Streams, args ...string) error {
	return w.Host.ExecWith(ctx, s, w.enter(args)...)
}

func (w *Workload) enter(args []string) []string {
	return append([]string{"ip", "netns", "exec", w.Name}, args...)
}

// InNet runs f on a thread in the workload's network namespace; sockets that f opens belong to it.
func (w *Workload) InNet(f func() error) error { return w.Host.inNet(w.Name, f) }
