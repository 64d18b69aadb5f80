package tpctl

import (
	"context"
	"crypto/rand"
	"errors"
	"net/netip"

	"github.com/spf13/cobra"

	"tuplenet/model"
	"tuplenet/model/store"
)

// mainSubnet is the IPv4 subnet of the main network where none is said.
const mainSubnet = "10.128.0.0/16"

// initCommand is init: what a new deployment begins with.
func (a *app) initCommand() *cobra.Command {
	var main bool
	var name string
	var o switchOptions
	c := a.command(verb{
		use: "init", short: "Begin a deployment, with one main network if wanted",
		long: `Write the record of a new deployment into etcd, if there is none. With --main-network it gets a switch named main, for everything
that needs no network of its own: with the subnets of --subnet and --pool, or else with ` + mainSubnet + ` and a /64 of a unique local prefix
that is chosen at random (RFC 4193). Doing it again changes nothing.`,
		max: 0, wrong: "no parameters required, only options",
		run: func(cmd *cobra.Command, _ []string) error {
			if !main && (name != "main" || len(o.subnets)+len(o.pools) > 0) {
				return usagef("--name, --subnet and --pool are for --main-network")
			}
			ls, err := mainNetwork(name, o)
			if err != nil {
				return err
			}
			return a.change(cmd, false, func(ctx context.Context, st *store.Store, opts ...store.Option) (change, error) {
				if !main {
					rev, err := st.Initialize(ctx, opts...)
					return change{text: "deployment is ready", revision: rev}, err
				}
				made, rev, err := st.AddSwitch(ctx, ls, append(opts, a.prefixService())...)
				if errors.Is(err, store.ErrExists) {
					rev, err = st.Initialize(ctx) // for the revision; the waiter of opts is used up
					return change{text: "switch " + name + " is there", revision: rev}, err
				}
				if err != nil {
					return change{}, err
				}
				return change{text: createdText(made), revision: rev, view: viewSwitch(made)}, nil
			})
		},
	})
	c.Flags().BoolVar(&main, "main-network", false, "create the main network")
	c.Flags().StringVar(&name, "name", "main", "`name` of the main network")
	c.Flags().StringArrayVar(&o.subnets, "subnet", nil, "subnet `CIDR` of the main network; may be repeated")
	c.Flags().StringArrayVar(&o.pools, "pool", nil, "take a subnet of the main network from `POOL`; may be repeated")
	a.completeOption(c, "pool", poolNames)
	return c
}

// mainNetwork is the main network as it is asked for.
func mainNetwork(name string, o switchOptions) (*model.LogicalSwitch, error) {
	ls, err := newSwitch(name, o)
	if err != nil || len(ls.Subnets)+len(ls.Pools) > 0 {
		return ls, err
	}
	local := [16]byte{0xfd}
	if _, err := rand.Read(local[1:6]); err != nil { // the global ID of RFC 4193 section 3.2
		return nil, err
	}
	ls.Subnets = []netip.Prefix{netip.MustParsePrefix(mainSubnet), netip.PrefixFrom(netip.AddrFrom16(local), 64)}
	return ls, nil
}
