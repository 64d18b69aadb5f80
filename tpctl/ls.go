package tpctl

import (
	"context"
	"net/netip"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"tuplenet/model"
	"tuplenet/model/store"
)

// switchCommand is ls: logical switches.
func (a *app) switchCommand() *cobra.Command {
	return noun("ls", "Logical switches", a.switchAdd(), a.switchSet(), a.switchDel(), a.switchShow(), a.switchRadvd())
}

func (a *app) switchAdd() *cobra.Command {
	var o switchOptions
	var hosts hostOptions
	c := a.command(verb{
		use: "add SWITCH", alias: "a", short: "Create a switch",
		long: `Create a switch. It gets the lowest free network identifier (VNI) unless --vni names one.
With --subnet, "lsp add" without an address takes a free one of each subnet. With --pool the subnet is the next free prefix of
a pool ("tpctl pool"): POOL, POOL/LENGTH for another length than the pool's, or POOL=CIDR for a certain one.
A switch of type vxlan-multicast is a network of kernel VXLAN devices that find each other by IPv6 multicast, also of hosts without
tuplenet. VNI 0xff01 is the device vxlanff01 in the bridge brff01, group ff05::ff01, UDP port 4789, on each host while it has ports of it.
What workloads are told about their network by DHCP and router advertisements is off unless it is switched on; "ls set" changes it.`,
		min: 1, max: 1, wrong: "require a name",
		run: func(cmd *cobra.Command, args []string) error {
			ls, err := newSwitch(args[0], o)
			if err != nil {
				return err
			}
			if ls.Hosts, err = hosts.edit(nil); err != nil {
				return err
			}
			return a.add(cmd, []model.Object{ls}, func(ctx context.Context, st *store.Store, opts ...store.Option) (change, error) {
				made, revision, err := st.AddSwitch(ctx, ls, append(opts, a.prefixService())...)
				if err != nil {
					return change{}, err
				}
				return change{text: createdText(made), revision: revision, view: viewSwitch(made)}, nil
			})
		},
	})
	c.Flags().StringArrayVar(&o.subnets, "subnet", nil, "take addresses of ports from `CIDR` (one of each family)")
	c.Flags().StringArrayVar(&o.pools, "pool", nil, "take the next free prefix of `POOL` as a subnet; may be repeated")
	c.Flags().StringVar(&o.vni, "vni", "", "network identifier `N`, decimal or with 0x, 1 to 16777215")
	c.Flags().StringVar(&o.kind, "type", model.SwitchOverlay.String(), "`TYPE` of the network: "+strings.Join(model.SwitchTypes(), " or "))
	c.Flags().StringVar(&o.device, "dev", "", "with type vxlan-multicast: the hosts' network `DEVICE` that leads to the others, empty = the one with the tunnel address")
	c.Flags().StringVar(&o.macPrefix, "mac-prefix", "", "begin the MACs of ports that have none given with these `octets`, such as 02:42:ac")
	c.Flags().IntVar(&o.mtu, "mtu", 0, "MTU of the workloads' interfaces in `bytes`, 0 = what the underlay allows")
	a.completeOption(c, "pool", poolNames)
	a.completeOption(c, "type", func(context.Context, *store.Store, []string) ([]string, error) { return model.SwitchTypes(), nil })
	hosts.register(c.Flags())
	return c
}

// switchOptions are the options of ls add.
type switchOptions struct {
	subnets, pools []string
	vni, macPrefix string
	kind, device   string
	mtu            int
}

func newSwitch(name string, o switchOptions) (*model.LogicalSwitch, error) {
	if err := checkNames(name); err != nil {
		return nil, err
	}
	ls := &model.LogicalSwitch{Name: name, MTU: o.mtu, Device: o.device}
	var err error
	if ls.Type, err = model.ParseSwitchType(o.kind); err != nil {
		return nil, err
	}
	if ls.Subnets, err = parseSubnets(o.subnets); err != nil {
		return nil, err
	}
	if ls.Pools, err = parseSources(o.pools); err != nil {
		return nil, err
	}
	if o.vni != "" {
		if ls.VNI, err = model.ParseVNI(o.vni); err != nil {
			return nil, err
		}
	}
	if o.macPrefix != "" {
		if ls.MACPrefix, err = model.ParseMACPrefix(o.macPrefix); err != nil {
			return nil, err
		}
	}
	return ls, nil
}

func (a *app) switchDel() *cobra.Command {
	var recursive bool
	c := a.command(verb{
		use: "del SWITCH", alias: "d", short: "Delete a switch",
		min: 1, max: 1, wrong: "require a name",
		complete: completeAt(switchNames),
		run: func(cmd *cobra.Command, args []string) error {
			return a.change(cmd, recursive, func(ctx context.Context, st *store.Store, opts ...store.Option) (change, error) {
				revision, err := st.DeleteSwitch(ctx, args[0], recursive, append(opts, a.prefixService())...)
				return change{text: args[0] + " deleted", revision: revision}, err
			})
		},
	})
	c.Flags().BoolVarP(&recursive, "recursive", "r", false, "delete its ports too")
	return c
}

func (a *app) switchShow() *cobra.Command {
	return a.command(verb{
		use: "show [SWITCH]", alias: "s", short: "List switches",
		min: 0, max: 1, wrong: "require at most one name",
		complete: completeAt(switchNames),
		run: func(cmd *cobra.Command, args []string) error {
			return a.show(cmd, func(ctx context.Context, st *store.Store) (listing, error) {
				snap, err := st.Snapshot(ctx, model.KindSwitch)
				if err != nil {
					return listing{}, err
				}
				ready, err := readReadiness(ctx, st, snap, argument(args, 0))
				if err != nil {
					return listing{}, err
				}
				return listSwitches(snap, ready, argument(args, 0)), nil
			})
		},
	})
}

// switchView is a switch in json and yaml.
type switchView struct {
	*model.LogicalSwitch
	VNIHex string `json:"vniHex"`
	// Multicast is how a multicast network is called on the hosts.
	Multicast *multicastView `json:"multicast,omitempty"`
	// Ready: every chassis with workloads of the switch tells them what it says; nil: it says nothing, or it is not known.
	Ready *bool `json:"ready,omitempty"`
	// Waiting names the chassis that do not, and why.
	Waiting []string `json:"waiting,omitempty"`
}

// multicastView is a multicast network as the hosts have it.
type multicastView struct {
	Interface string     `json:"interface"`
	Bridge    string     `json:"bridge"`
	Group     netip.Addr `json:"group"`
	Port      int        `json:"port"`
}

func viewSwitch(ls *model.LogicalSwitch) switchView {
	v := switchView{LogicalSwitch: ls, VNIHex: ls.VNI.Hex()}
	if ls.Type == model.SwitchMulticast {
		v.Multicast = &multicastView{ls.VNI.MulticastDevice(), ls.VNI.MulticastBridge(), ls.VNI.MulticastGroup(), model.MulticastPort}
	}
	return v
}

// multicastFields are those of a multicast network.
func multicastFields(ls *model.LogicalSwitch, v *multicastView) []field {
	if v == nil {
		return nil
	}
	f := []field{{"vni", ls.VNI.Hex()}, {"type", ls.Type.String()}, {"interface", v.Interface}, {"bridge", v.Bridge}, {"group", v.Group.String()}}
	if ls.Device != "" {
		f = append(f, field{"dev", ls.Device})
	}
	return f
}

func listSwitches(snap *store.Snapshot, ready *readiness, name string) listing {
	out := listing{columns: []string{"NAME", "VNI", "HEX", "SUBNETS", "MTU", "HOSTS", "READY", "TYPE"}, broken: brokenOf(snap, "", name)}
	for _, ls := range snap.Switches() {
		if name != "" && ls.Name != name {
			continue
		}
		view := viewSwitch(ls)
		e := entry{name: ls.Name, fields: []field{{"id", ls.VNI.String()}}}
		e.fields = append(e.fields, multicastFields(ls, view.Multicast)...)
		for _, p := range ls.Subnets {
			e.fields = append(e.fields, field{"subnet", p.String()})
		}
		for _, p := range ls.Pools {
			e.fields = append(e.fields, field{"pool", p.Pool + " " + p.Subnet.String()})
		}
		if ls.MACPrefix != "" {
			e.fields = append(e.fields, field{"mac prefix", string(ls.MACPrefix)})
		}
		mtu := mtuText(ls.MTU)
		if ls.MTU > 0 {
			e.fields = append(e.fields, field{"mtu", mtu})
		}
		e.fields = append(e.fields, hostFields(ls.Hosts)...)
		isReady := ""
		if ready != nil && ls.Hosts.Serves() {
			view.Waiting = ready.waiting(ls, snap.Written(ls.Ref()))
			isReady = "yes"
			if len(view.Waiting) > 0 {
				isReady = "no: " + strings.Join(view.Waiting, ", ")
			}
			all := len(view.Waiting) == 0
			view.Ready = &all
			e.fields = append(e.fields, field{"ready", isReady})
		}
		e.view = view
		e.cells = []string{ls.Name, ls.VNI.String(), ls.VNI.Hex(), join(ls.Subnets), mtu, hostServices(ls.Hosts), isReady, ls.Type.String()}
		out.entries = append(out.entries, e)
	}
	return out
}

// mtuText is an MTU in bytes; empty if there is none.
func mtuText(mtu int) string {
	if mtu == 0 {
		return ""
	}
	return strconv.Itoa(mtu)
}
