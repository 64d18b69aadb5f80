package tpctl

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"tuplenet/model"
	"tuplenet/model/store"
)

// subnetCommand is subnet: the subnets of switches, one at a time.
func (a *app) subnetCommand() *cobra.Command {
	return noun("subnet", "Subnets of logical switches", a.subnetAdd(), a.subnetDel(), a.subnetShow())
}

func (a *app) subnetAdd() *cobra.Command {
	var pool string
	var next int
	c := a.command(verb{
		use: "add SWITCH [CIDR]", alias: "a", short: "Give a switch one more subnet",
		long: `Give a switch one more subnet: CIDR, or the next free prefix of a pool. --pool says which pool (POOL or POOL/LENGTH), --next
which length; with --next alone it is the only pool that has prefixes of that length.`,
		min: 1, max: 2, wrong: "require a switch name and a CIDR, --pool or --next",
		complete: completeAt(switchNames),
		run: func(cmd *cobra.Command, args []string) error {
			subnet, from, err := newSubnet(argument(args, 1), pool, next)
			if err != nil {
				return err
			}
			return a.change(cmd, false, func(ctx context.Context, st *store.Store, opts ...store.Option) (change, error) {
				if from != nil && from.Pool == "" {
					if from.Pool, err = onlyPool(ctx, st, from.Length); err != nil {
						return change{}, err
					}
				}
				made, subnet, rev, err := st.AddSubnet(ctx, args[0], subnet, from, append(opts, a.prefixService())...)
				if err != nil {
					return change{}, err
				}
				return change{text: fmt.Sprintf("switch %s subnet %s created", args[0], subnet), revision: rev, view: viewSwitch(made)}, nil
			})
		},
	})
	c.Flags().StringVar(&pool, "pool", "", "take the next free prefix of `POOL`, or POOL/LENGTH")
	c.Flags().IntVar(&next, "next", 0, "take the next free prefix of this `length`")
	a.completeOption(c, "pool", poolNames)
	return c
}

// newSubnet reads which subnet is wanted: one that is given, or one of a pool, whose name may be missing.
func newSubnet(cidr, pool string, next int) (subnet netip.Prefix, from *model.SubnetSource, err error) {
	if (cidr != "") == (pool != "" || next != 0) {
		return subnet, nil, usagef("require a switch name and a CIDR, --pool or --next")
	}
	if cidr != "" {
		subnet, err = model.ParseSubnet(cidr)
		return subnet, nil, err
	}
	from = &model.SubnetSource{}
	if pool != "" {
		if *from, err = model.ParseSubnetSource(pool); err != nil {
			return subnet, nil, err
		}
	}
	switch {
	case next < 0 || next > 128:
		return subnet, nil, fmt.Errorf("invalid prefix length %d: a number from 1 to 128 is expected", next)
	case next != 0 && (from.Length != 0 || from.Subnet.IsValid()):
		return subnet, nil, usagef("the prefix length is given twice")
	case next != 0:
		from.Length = next
	}
	return subnet, from, nil
}

// onlyPool is the one pool that has prefixes of a length.
func onlyPool(ctx context.Context, st *store.Store, length int) (string, error) {
	snap, err := st.Snapshot(ctx, model.KindPool)
	if err != nil {
		return "", err
	}
	var fit []string
	for _, p := range snap.Pools() {
		if p.CheckLength(length) == nil {
			fit = append(fit, p.Name)
		}
	}
	switch len(fit) {
	case 0:
		return "", fmt.Errorf("no pool has prefixes of length %d: make one with \"tpctl pool add\"", length)
	case 1:
		return fit[0], nil
	}
	return "", fmt.Errorf("the pools %s have prefixes of length %d: say which with --pool", strings.Join(fit, ", "), length)
}

func (a *app) subnetDel() *cobra.Command {
	return a.command(verb{
		use: "del SWITCH CIDR", alias: "d", short: "Take a subnet that no port has an address of from a switch",
		min: 2, max: 2, wrong: "require a switch name and a CIDR",
		complete: completeAt(switchNames, subnetsOfSwitch),
		run: func(cmd *cobra.Command, args []string) error {
			subnet, err := model.ParseSubnet(args[1])
			if err != nil {
				return err
			}
			return a.change(cmd, false, func(ctx context.Context, st *store.Store, opts ...store.Option) (change, error) {
				rev, err := st.DeleteSubnet(ctx, args[0], subnet, append(opts, a.prefixService())...)
				return change{text: fmt.Sprintf("switch %s subnet %s deleted", args[0], subnet), revision: rev}, err
			})
		},
	})
}

func (a *app) subnetShow() *cobra.Command {
	return a.command(verb{
		use: "show [SWITCH]", alias: "s", short: "List subnets and the pools that they are from",
		min: 0, max: 1, wrong: "require at most one name",
		complete: completeAt(switchNames),
		run: func(cmd *cobra.Command, args []string) error {
			return a.show(cmd, func(ctx context.Context, st *store.Store) (listing, error) {
				snap, err := st.Snapshot(ctx, model.KindSwitch)
				if err != nil {
					return listing{}, err
				}
				return listSubnets(snap, argument(args, 0)), nil
			})
		},
	})
}

// subnetView is a subnet in json and yaml.
type subnetView struct {
	Switch string       `json:"switch"`
	Subnet netip.Prefix `json:"subnet"`
	Pool   string       `json:"pool,omitempty"`
}

func listSubnets(snap *store.Snapshot, name string) listing {
	out := listing{columns: []string{"SUBNET", "SWITCH", "POOL"}, broken: brokenOf(snap, "", name)}
	for _, ls := range snap.Switches() {
		if name != "" && ls.Name != name {
			continue
		}
		for _, p := range ls.Subnets {
			v := subnetView{Switch: ls.Name, Subnet: p}
			for _, s := range ls.Pools {
				if s.Subnet == p {
					v.Pool = s.Pool
				}
			}
			out.entries = append(out.entries, entry{name: p.String(), view: v, fields: []field{{"switch", ls.Name}, {"pool", v.Pool}},
				cells: []string{p.String(), ls.Name, v.Pool}})
		}
	}
	return out
}
