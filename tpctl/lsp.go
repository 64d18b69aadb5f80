package tpctl

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/spf13/cobra"

	"tuplenet/model"
	"tuplenet/model/store"
)

// switchPortCommand is lsp: ports of logical switches.
func (a *app) switchPortCommand() *cobra.Command {
	return noun("lsp", "Ports of logical switches", a.switchPortAdd(), a.switchPortSet(), a.switchPortDel(), a.switchPortShow())
}

func (a *app) switchPortAdd() *cobra.Command {
	security := onOff(true)
	var ipv4, ipv6 string
	c := a.command(verb{
		use: "add SWITCH PORT [IP[,IP6]] [MAC] [PEER]", alias: "a", short: "Create a switch port",
		long: `Create a switch port. Its name is what external_ids:iface-id of the workload's OVS interface says.

Without IP, the port gets the lowest free address of each subnet of the switch (IPv6: the one that the workload makes
itself from its MAC); a switch without subnets gives it none. "-" stands for an IP left out before a MAC.
--ipv4 and --ipv6 ask for an address of one family: "auto" is a free one of the switch's subnets, "eui64" the IPv6 address that
the workload makes itself from its MAC (SLAAC), an address is that one; a family that is not asked for is left out then.
Without MAC, it is f2:01 followed by the IPv4 address, or made from the names of switch and port; it begins
with the MAC prefix of the switch if that has one.
With PEER, the name of a router port, it is the switch's side of a link.
IP 255.255.255.255 with MAC ff:ff:ff:ff:ff:ee makes a patch port: unknown and outer traffic leaves through it. The pair
of patch interfaces is made by hand then; "patchport add" has the chassis make it.
A port without IP and with --port-security off may have any stations behind it: the network learns their MACs.`,
		min: 2, max: 5, wrong: "require a switch name, a port name, an IP and optionally a MAC, a peer port",
		complete: completeAt(switchNames),
		run: func(cmd *cobra.Command, args []string) error {
			lsp, err := newSwitchPort(args, !bool(security))
			if err != nil {
				return err
			}
			families, err := wantedFamilies(lsp, ipv4, ipv6)
			if err != nil {
				return err
			}
			add := func(ctx context.Context, st *store.Store, opts ...store.Option) (change, error) {
				if families != nil {
					opts = append(opts, store.FromSubnets(*families))
				}
				made, revision, err := st.AddSwitchPort(ctx, lsp, opts...)
				if err != nil {
					return change{}, err
				}
				return change{text: createdText(made), revision: revision, view: viewSwitchPort(made, nil)}, nil
			}
			if families != nil {
				return a.change(cmd, false, add)
			}
			return a.add(cmd, []model.Object{lsp}, add)
		},
	})
	c.Flags().StringVar(&ipv4, "ipv4", "", "IPv4 address: `auto|ADDRESS`")
	c.Flags().StringVar(&ipv6, "ipv6", "", "IPv6 address: `eui64|auto|ADDRESS`")
	a.completeOption(c, "ipv4", func(context.Context, *store.Store, []string) ([]string, error) { return []string{autoAddress}, nil })
	a.completeOption(c, "ipv6", func(context.Context, *store.Store, []string) ([]string, error) {
		return []string{eui64Address, autoAddress}, nil
	})
	c.Flags().Var(&security, "port-security", "whether the port may send from its own addresses only: `on|off`")
	return c
}

// Values of --ipv4 and --ipv6.
const (
	autoAddress  = "auto"
	eui64Address = "eui64"
)

// wantedFamilies reads --ipv4 and --ipv6: it adds the addresses that are given to the port and returns which families the store
// chooses an address of; nil if it is not told, or everything is given.
func wantedFamilies(lsp *model.LogicalSwitchPort, ipv4, ipv6 string) (*store.Families, error) {
	if ipv4 == "" && ipv6 == "" {
		return nil, nil
	}
	if lsp.Type != model.PortVIF || len(lsp.IPs) > 0 {
		return nil, usagef("--ipv4 and --ipv6 stand in place of IP, on a port of a workload")
	}
	f := store.Families{IPv4: ipv4 == autoAddress, IPv6: ipv6 == autoAddress || ipv6 == eui64Address, EUI64: ipv6 == eui64Address}
	for _, x := range []struct {
		text   string
		v4, is bool
	}{{ipv4, true, f.IPv4}, {ipv6, false, f.IPv6}} {
		if x.text == "" || x.is {
			continue
		}
		addr, err := model.ParseIP(x.text)
		if err != nil {
			return nil, err
		}
		if addr.Is4() != x.v4 {
			return nil, fmt.Errorf("invalid IP %q: it is of the other family", addr)
		}
		lsp.IPs = append(lsp.IPs, addr)
	}
	if f == (store.Families{}) {
		return nil, nil
	}
	return &f, nil
}

// newSwitchPort makes a port of SWITCH PORT [IP[,IP6]] [MAC] [PEER].
func newSwitchPort(args []string, noSecurity bool) (*model.LogicalSwitchPort, error) {
	if err := checkNames(args[0], args[1]); err != nil {
		return nil, err
	}
	lsp := &model.LogicalSwitchPort{Switch: args[0], Name: args[1], Type: model.PortVIF, NoPortSecurity: noSecurity}
	patch, err := model.ParsePatchMagic(argument(args, 2), argument(args, 3))
	if err != nil {
		return nil, err
	}
	if patch {
		if len(args) > 4 {
			return nil, fmt.Errorf("invalid peer %q: a patch port has none", args[4])
		}
		lsp.Type = model.PortPatch
		return lsp, nil
	}
	if lsp.IPs, err = parseAddrs(argument(args, 2)); err != nil {
		return nil, err
	}
	if text := argument(args, 3); text != "" {
		if lsp.MAC, err = model.ParseMAC(text); err != nil {
			return nil, err
		}
	}
	if lsp.Peer = argument(args, 4); lsp.Peer != "" {
		if err := checkNames(lsp.Peer); err != nil {
			return nil, err
		}
		lsp.Type = model.PortRouter
	}
	return lsp, nil
}

func (a *app) switchPortSet() *cobra.Command {
	security, told := onOff(true), onOff(true)
	var hostname string
	c := a.command(verb{
		use: "set SWITCH PORT", short: "Change what a switch port says besides its addresses",
		long: "Change what a switch port says besides its addresses. Only the options that are given change anything.",
		min:  2, max: 2, wrong: "require switch name and a port name",
		complete: completeAt(switchNames, switchPortNames),
		run: func(cmd *cobra.Command, args []string) error {
			if !anyChanged(cmd) {
				return usagef("nothing to set: give an option, see \"tpctl lsp set --help\"")
			}
			if err := checkNames(args...); err != nil {
				return err
			}
			edit := func(p *model.LogicalSwitchPort) error {
				if cmd.Flags().Changed("hostname") {
					p.Hostname = hostname
				}
				if cmd.Flags().Changed("host-config") {
					p.NoHostConfig = !bool(told)
				}
				if cmd.Flags().Changed("port-security") {
					p.NoPortSecurity = !bool(security)
				}
				return nil
			}
			return a.change(cmd, false, func(ctx context.Context, st *store.Store, opts ...store.Option) (change, error) {
				made, revision, err := st.EditSwitchPort(ctx, args[0], args[1], edit, opts...)
				if err != nil {
					return change{}, err
				}
				return change{text: nameText(made.Ref()) + " changed", revision: revision, view: viewSwitchPort(made, nil)}, nil
			})
		},
	})
	c.Flags().StringVar(&hostname, "hostname", "", "`NAME` that the workload is told; empty = the port's name, if that can be one")
	c.Flags().Var(&told, "host-config", "whether the workload is told what the switch says: `on|off`")
	c.Flags().Var(&security, "port-security", "whether the port may send from its own addresses only: `on|off`")
	return c
}

func (a *app) switchPortDel() *cobra.Command {
	return a.command(verb{
		use: "del SWITCH PORT", alias: "d", short: "Delete a switch port",
		min: 2, max: 2, wrong: "require switch name and a port name",
		complete: completeAt(switchNames, switchPortNames),
		run: func(cmd *cobra.Command, args []string) error {
			return a.change(cmd, false, func(ctx context.Context, st *store.Store, opts ...store.Option) (change, error) {
				revision, err := st.DeleteSwitchPort(ctx, args[0], args[1], opts...)
				return change{text: fmt.Sprintf("switch %s port %s deleted", args[0], args[1]), revision: revision, unnumbered: true}, err
			})
		},
	})
}

func (a *app) switchPortShow() *cobra.Command {
	return a.command(verb{
		use: "show [SWITCH [PORT]]", alias: "s", short: "List switch ports and where they are",
		min: 0, max: 2, wrong: "require at most a switch name and a port name",
		complete: completeAt(switchNames, switchPortNames),
		run: func(cmd *cobra.Command, args []string) error {
			return a.show(cmd, func(ctx context.Context, st *store.Store) (listing, error) {
				snap, err := st.Snapshot(ctx, model.KindSwitchPort, model.KindBinding)
				if err != nil {
					return listing{}, err
				}
				live, err := st.Live(ctx)
				if err != nil {
					return listing{}, err
				}
				return listSwitchPorts(snap, live, argument(args, 0), argument(args, 1)), nil
			})
		},
	})
}

// switchPortView is a switch port in json and yaml.
type switchPortView struct {
	Switch       string         `json:"switch"`
	Name         string         `json:"name"`
	Key          model.PortKey  `json:"key"`
	Type         model.PortType `json:"type"`
	MAC          string         `json:"mac,omitempty"`
	IPs          []netip.Addr   `json:"ips"`
	Peer         string         `json:"peer,omitempty"`
	Chassis      string         `json:"chassis,omitempty"` // where it is: its binding, else its pin
	PinnedTo     string         `json:"pinnedTo,omitempty"`
	Bridge       string         `json:"bridge,omitempty"` // of that chassis, which a patch port leads to
	PortSecurity bool           `json:"portSecurity"`
	Hostname     string         `json:"hostname,omitempty"`
	NoHostConfig bool           `json:"noHostConfig,omitempty"`
	State        string         `json:"state"`
	Tags         []string       `json:"tags,omitempty"`
}

// States of a switch port.
const (
	stateUp       = "up"       // its chassis is alive
	stateDown     = "down"     // it is bound to a chassis that is not alive
	stateUnbound  = "unbound"  // no chassis has its interface
	stateEveryone = "anywhere" // a router port is on every chassis
)

// placement tells where ports are.
type placement struct {
	snap *store.Snapshot
	live map[string]store.Identity
}

// of returns the chassis of a port and the port's state.
func (p *placement) of(lsp *model.LogicalSwitchPort) (chassis, state string) {
	nowhere := stateUnbound
	if lsp.Type == model.PortRouter { // only those in front of pinned routers are bound
		nowhere = stateEveryone
	}
	if p == nil {
		return lsp.Chassis, nowhere
	}
	b := p.snap.Binding(lsp.Name)
	if b == nil {
		return lsp.Chassis, nowhere
	}
	if _, alive := p.live[b.Chassis]; alive {
		return b.Chassis, stateUp
	}
	return b.Chassis, stateDown
}

// viewSwitchPort describes a port; where = nil: it was just made and is nowhere yet.
func viewSwitchPort(lsp *model.LogicalSwitchPort, where *placement) switchPortView {
	chassis, state := where.of(lsp)
	v := switchPortView{
		Switch: lsp.Switch, Name: lsp.Name, Key: lsp.Key, Type: lsp.Type, IPs: lsp.IPs, Peer: lsp.Peer,
		Chassis: chassis, PinnedTo: lsp.Chassis, Bridge: lsp.Bridge, PortSecurity: !lsp.NoPortSecurity, Hostname: lsp.Hostname, NoHostConfig: lsp.NoHostConfig, State: state, Tags: lsp.Tags,
	}
	if v.IPs == nil {
		v.IPs = []netip.Addr{}
	}
	if !lsp.MAC.IsZero() {
		v.MAC = lsp.MAC.String()
	}
	return v
}

func listSwitchPorts(snap *store.Snapshot, live map[string]store.Identity, ls, name string) listing {
	out := listing{columns: []string{"SWITCH", "NAME", "TYPE", "MAC", "IPS", "PEER", "CHASSIS", "STATE"}, broken: brokenOf(snap, ls, name)}
	where := &placement{snap, live}
	for _, lsp := range snap.SwitchPorts(ls) {
		if name != "" && lsp.Name != name {
			continue
		}
		v := viewSwitchPort(lsp, where)
		e := entry{name: lsp.Name, view: v}
		if lsp.Type == model.PortPatch { // shown as it is written
			e.fields = append(e.fields, field{"ip", model.MagicIP}, field{"mac", model.MagicMAC})
		} else {
			e.fields = append(addressFields(lsp.IPs), field{"mac", v.MAC})
		}
		e.fields = append(e.fields, field{"peer", v.Peer}, field{"chassis", v.Chassis})
		if lsp.Bridge != "" {
			e.fields = append(e.fields, field{"bridge", lsp.Bridge})
		}
		if lsp.Hostname != "" {
			e.fields = append(e.fields, field{"hostname", lsp.Hostname})
		}
		if lsp.NoHostConfig {
			e.fields = append(e.fields, field{"host-config", "off"})
		}
		e.cells = []string{lsp.Switch, lsp.Name, string(lsp.Type), v.MAC, join(lsp.IPs), v.Peer, v.Chassis, v.State}
		out.entries = append(out.entries, e)
	}
	return out
}

// addressFields are the plain lines of addresses: the first is ip, whatever its family; further ones of IPv6 are ip6.
func addressFields(ips []netip.Addr) []field {
	if len(ips) == 0 {
		return []field{{"ip", ""}}
	}
	out := []field{{"ip", ips[0].String()}}
	for _, ip := range ips[1:] {
		out = append(out, field{addressKey(ip), ip.String()})
	}
	return out
}

func addressKey(ip netip.Addr) string {
	if ip.Is4() {
		return "ip"
	}
	return "ip6"
}
