package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// PodNetwork is the switch that pods are on, and the tag of everything in the store that belongs to them.
const PodNetwork = "pods"

// DefaultPods is how many pods a host gets if nobody says.
const DefaultPods = 4

// maxPods is how many addresses there are for those of one host.
const maxPods = 254

// Names of the interfaces of pods.
const (
	PodIfEth0     = "eth0"
	PodIfHostname = "hostname" // each has the name of its pod
)

// podParent is the device of a host that pods without a veth of their own sit on, podUplink its end on br-int.
const (
	podParent = "pods0"
	podUplink = "v-pods0"
)

// PodsConfig describes pods: workloads that are all alike, the same number on every host. The n-th of the h-th host is called
// <host>-ns<n> and has the addresses 172.16.h.n and 1000::1:172.16.h.n.
type PodsConfig struct {
	// PerHost is how many a host has; default DefaultPods.
	PerHost int
	// Interface is PodIfEth0 (default) or PodIfHostname.
	Interface string
	// Macvlan: pods have no veths, but sit on one device of their host that is a port without declared addresses.
	Macvlan bool
}

// podPrefixes have the addresses of all pods.
var podPrefixes = []netip.Prefix{netip.MustParsePrefix("172.16.0.0/16"), netip.MustParsePrefix("1000::1:0:0/96")}

// pod is the n-th workload of the h-th host, both from 1 on.
func (c PodsConfig) pod(host *Host, h, n int) WorkloadConfig {
	w := WorkloadConfig{Name: fmt.Sprintf("%s-ns%02d", host.name, n), MAC: fmt.Sprintf("f2:01:ac:10:%02x:%02x", h, n), pod: true}
	v4, v6 := [4]byte{172, 16, byte(h), byte(n)}, [16]byte{0: 0x10, 11: 1, 12: 172, 13: 16, 14: byte(h), 15: byte(n)}
	w.Addrs = []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4(v4), 16), netip.PrefixFrom(netip.AddrFrom16(v6), 96)}
	if c.Interface == PodIfHostname {
		w.Interface = w.Name
	}
	if c.Macvlan {
		w.parent = podParent
	}
	return w
}

// CreatePods makes the pods that are missing, with their network, and returns all that were asked for. The daemons of the hosts must
// run. Those that are there stay as they are.
func (l *Lab) CreatePods(ctx context.Context, c PodsConfig) ([]*Workload, error) {
	if c.PerHost == 0 {
		c.PerHost = DefaultPods
	}
	if c.PerHost < 0 || c.PerHost > maxPods {
		return nil, fmt.Errorf("%d pods for each host: at most %d are possible", c.PerHost, maxPods)
	}
	if c.Interface != "" && c.Interface != PodIfEth0 && c.Interface != PodIfHostname {
		return nil, fmt.Errorf("interfaces of pods are called %s or %s, not %q", PodIfEth0, PodIfHostname, c.Interface)
	}
	var wanted []WorkloadConfig
	docs := new(strings.Builder)
	fmt.Fprintf(docs, "apiVersion: tuplenet/v1\nkind: LogicalSwitch\nmetadata: {name: %s}\nspec: {subnets: [%v, %v]}\n", PodNetwork, podPrefixes[0], podPrefixes[1])
	port := func(name, spec string) {
		fmt.Fprintf(docs, "---\napiVersion: tuplenet/v1\nkind: LogicalSwitchPort\nmetadata: {name: %s, switch: %s}\nspec: {%s}\n", name, PodNetwork, spec)
	}
	for i, h := range l.hosts {
		if c.Macvlan {
			port(PodNetwork+"-"+h.name, "ips: [], noPortSecurity: true")
		}
		for n := range c.PerHost {
			w := c.pod(h, i+1, n+1)
			if !c.Macvlan {
				port(w.Name, fmt.Sprintf("ips: [%v, \"%v\"], mac: %q", w.Addrs[0].Addr(), w.Addrs[1].Addr(), w.MAC))
			}
			wanted = append(wanted, w)
		}
	}
	if err := l.applyPods(ctx, docs.String()); err != nil {
		return nil, err
	}
	var pods []*Workload
	for i, c := range wanted {
		h := l.hosts[i/(len(wanted)/len(l.hosts))]
		if w := l.Workload(c.Name); w != nil {
			pods = append(pods, w)
			continue
		}
		if c.parent != "" {
			if err := h.addPodParent(ctx); err != nil {
				return nil, err
			}
		}
		w, err := h.AddWorkload(ctx, c)
		if err != nil {
			return nil, err
		}
		pods = append(pods, w)
	}
	return pods, nil
}

// DeletePods takes away all pods and everything that belongs to them.
func (l *Lab) DeletePods(ctx context.Context) error {
	var errs []error
	for _, i := range l.Workloads() {
		if i.Pod {
			errs = append(errs, l.Workload(i.Name).Remove(ctx))
		}
	}
	for _, h := range l.hosts {
		if _, err := h.Vsctl(ctx, "--if-exists", "del-port", podUplink); err != nil {
			errs = append(errs, err)
		}
		errs = append(errs, h.withLinks("", func(links *netlink.Handle, _ netns.NsHandle) error {
			link, err := links.LinkByName(podParent)
			if errors.As(err, &netlink.LinkNotFoundError{}) {
				return nil
			}
			return errors.Join(err, links.LinkDel(link))
		}))
	}
	return errors.Join(append(errs, l.applyPods(ctx, ""))...)
}

// applyPods makes the store have these objects of pods, and no others.
func (l *Lab) applyPods(ctx context.Context, docs string) error {
	command := []string{"tpctl", "apply", "--tag", PodNetwork, "-f", "-"}
	if docs == "" {
		command = append(command, "--prune")
	}
	out := new(bytes.Buffer)
	if err := l.hosts[0].ExecWith(ctx, Streams{In: strings.NewReader(docs), Out: out, Err: out}, command...); err != nil {
		return fmt.Errorf("the network of pods: %w: %s", err, bytes.TrimSpace(out.Bytes()))
	}
	return nil
}

// addPodParent makes the device that pods without veths sit on, unless it is there.
func (h *Host) addPodParent(ctx context.Context) error {
	err := h.withLinks("", func(links *netlink.Handle, _ netns.NsHandle) error {
		if _, err := links.LinkByName(podParent); err == nil {
			return nil
		}
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU = podUplink, workloadMTU
		if err := links.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: podParent, PeerMTU: workloadMTU}); err != nil {
			return fmt.Errorf("veth %s: %w", podParent, err)
		}
		return errors.Join(setUp(links, podUplink), setUp(links, podParent))
	})
	if err != nil {
		return err
	}
	if _, err := h.Exec(ctx, "ethtool", "-K", podParent, "tx", "off"); err != nil {
		return err
	}
	_, err = h.Vsctl(ctx, "--may-exist", "add-port", "br-int", podUplink, "--", "set", "Interface", podUplink, "external_ids:iface-id="+PodNetwork+"-"+h.name)
	return err
}

// addMacvlan puts an interface on a device of the host into a namespace.
func addMacvlan(links *netlink.Handle, ns netns.NsHandle, c WorkloadConfig, mac net.HardwareAddr) error {
	parent, err := links.LinkByName(c.parent)
	if err != nil {
		return fmt.Errorf("device %s: %w", c.parent, err)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.ParentIndex, attrs.HardwareAddr, attrs.Namespace = c.Interface, c.MTU, parent.Attrs().Index, mac, netlink.NsFd(ns)
	if err := links.LinkAdd(&netlink.Macvlan{LinkAttrs: attrs, Mode: netlink.MACVLAN_MODE_BRIDGE}); err != nil {
		return fmt.Errorf("macvlan on %s: %w", c.parent, err)
	}
	return nil
}
