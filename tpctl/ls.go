package tpctl

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"

	"tuplenet/model"
	"tuplenet/model/store"
)

// switchCommand is ls: logical switches.
func (a *app) switchCommand() *cobra.Command {
	return noun("ls", "Logical switches", a.switchAdd(), a.switchDel(), a.switchShow())
}

func (a *app) switchAdd() *cobra.Command {
	var subnets []string
	var vni string
	var mtu int
	c := a.command(verb{
		use: "add SWITCH", alias: "a", short: "Create a switch",
		long: `Create a switch. It gets the lowest free network identifier (VNI) unless --vni names one.
With --subnet, "lsp add" without an address takes a free one of each subnet.`,
		min: 1, max: 1, wrong: "require a name",
		run: func(cmd *cobra.Command, args []string) error {
			ls, err := newSwitch(args[0], subnets, vni, mtu)
			if err != nil {
				return err
			}
			return a.add(cmd, []model.Object{ls}, func(ctx context.Context, st *store.Store, opts ...store.Option) (change, error) {
				made, revision, err := st.AddSwitch(ctx, ls, opts...)
				if err != nil {
					return change{}, err
				}
				return change{text: createdText(made), revision: revision, view: viewSwitch(made)}, nil
			})
		},
	})
	c.Flags().StringArrayVar(&subnets, "subnet", nil, "take addresses of ports from `CIDR` (one of each family)")
	c.Flags().StringVar(&vni, "vni", "", "network identifier `N`, decimal or with 0x, 1 to 16777215")
	c.Flags().IntVar(&mtu, "mtu", 0, "MTU of the workloads' interfaces in `bytes`, 0 = what the underlay allows")
	return c
}

func newSwitch(name string, subnets []string, vni string, mtu int) (*model.LogicalSwitch, error) {
	if err := checkNames(name); err != nil {
		return nil, err
	}
	ls := &model.LogicalSwitch{Name: name, MTU: mtu}
	var err error
	if ls.Subnets, err = parseSubnets(subnets); err != nil {
		return nil, err
	}
	if vni != "" {
		if ls.VNI, err = model.ParseVNI(vni); err != nil {
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
				revision, err := st.DeleteSwitch(ctx, args[0], recursive, opts...)
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
				return listSwitches(snap, argument(args, 0)), nil
			})
		},
	})
}

// switchView is a switch in json and yaml.
type switchView struct {
	*model.LogicalSwitch
	VNIHex string `json:"vniHex"`
}

func viewSwitch(ls *model.LogicalSwitch) switchView {
	return switchView{ls, ls.VNI.Hex()}
}

func listSwitches(snap *store.Snapshot, name string) listing {
	out := listing{columns: []string{"NAME", "VNI", "HEX", "SUBNETS", "MTU"}, broken: brokenOf(snap, "", name)}
	for _, ls := range snap.Switches() {
		if name != "" && ls.Name != name {
			continue
		}
		e := entry{name: ls.Name, view: viewSwitch(ls), fields: []field{{"id", ls.VNI.String()}}}
		for _, p := range ls.Subnets {
			e.fields = append(e.fields, field{"subnet", p.String()})
		}
		mtu := mtuText(ls.MTU)
		if ls.MTU > 0 {
			e.fields = append(e.fields, field{"mtu", mtu})
		}
		e.cells = []string{ls.Name, ls.VNI.String(), ls.VNI.Hex(), join(ls.Subnets), mtu}
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
