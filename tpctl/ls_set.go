package tpctl

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tuplenet/model"
	"tuplenet/model/store"
)

func (a *app) switchSet() *cobra.Command {
	var mtu int
	var hosts hostOptions
	c := a.command(verb{
		use: "set SWITCH", short: "Change what a switch tells its workloads",
		long: `Change what the workloads of a switch are told about their network. Only the options that are given change anything;
a list is replaced, "" empties it. With --wait the command returns when every chassis with a workload of the switch tells
them so; "ls show" names those that do not.`,
		min: 1, max: 1, wrong: "require a name",
		complete: completeAt(switchNames),
		run: func(cmd *cobra.Command, args []string) error {
			if !anyChanged(cmd) {
				return usagef("nothing to set: give an option, see \"tpctl ls set --help\"")
			}
			if err := checkNames(args[0]); err != nil {
				return err
			}
			return a.change(cmd, false, func(ctx context.Context, st *store.Store, opts ...store.Option) (change, error) {
				made, revision, err := st.EditSwitch(ctx, args[0], func(ls *model.LogicalSwitch) (err error) {
					if cmd.Flags().Changed("mtu") {
						ls.MTU = mtu
					}
					ls.Hosts, err = hosts.edit(ls.Hosts)
					return err
				}, opts...)
				if err != nil {
					return change{}, err
				}
				return change{text: nameText(made.Ref()) + " changed", revision: revision, view: viewSwitch(made)}, nil
			})
		},
	})
	c.Flags().IntVar(&mtu, "mtu", 0, "MTU of the workloads' interfaces in `bytes`, 0 = what the underlay allows")
	hosts.register(c.Flags())
	return c
}

// anyChanged tells whether an option of the command itself was given.
func anyChanged(cmd *cobra.Command) bool {
	changed := false
	cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) { changed = changed || f.Changed })
	return changed
}
