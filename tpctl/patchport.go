package tpctl

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"tuplenet/model"
	"tuplenet/model/store"
)

// patchPortCommand is patchport: ports that lead to physical networks.
func (a *app) patchPortCommand() *cobra.Command {
	return noun("patchport", "Ports of logical switches to physical networks", a.patchPortAdd())
}

func (a *app) patchPortAdd() *cobra.Command {
	return a.command(verb{
		use: "add SWITCH PORT CHASSIS OVS_BRIDGE", alias: "a", short: "Create a port to an OVS bridge of a chassis",
		long: `Create a patch port: unknown and outer traffic of the switch leaves through it to OVS_BRIDGE of CHASSIS. The chassis makes
and keeps the pair of patch interfaces between its integration bridge and OVS_BRIDGE, which must exist there.
To make the pair by hand, create the port with "lsp add SWITCH PORT 255.255.255.255 ff:ff:ff:ff:ff:ee" instead.
"lsp show" and "lsp del" show and delete both sorts.`,
		min: 4, max: 4, wrong: "require a switch name, a port name, chassis and peer ovs-bridge name",
		complete: completeAt(switchNames, nil, chassisNames),
		run: func(cmd *cobra.Command, args []string) error {
			if err := checkNames(args...); err != nil {
				return err
			}
			lsp := &model.LogicalSwitchPort{Switch: args[0], Name: args[1], Type: model.PortPatch, Chassis: args[2], Bridge: args[3]}
			return a.change(cmd, false, func(ctx context.Context, st *store.Store, opts ...store.Option) (change, error) {
				made, revision, err := st.AddSwitchPort(ctx, lsp, opts...)
				if err != nil {
					return change{}, err
				}
				return change{text: fmt.Sprintf("switch %s patchport %s created", made.Switch, made.Name), revision: revision,
					view: viewSwitchPort(made, nil), judge: []model.Object{made}}, nil
			})
		},
	})
}
