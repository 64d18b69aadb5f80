package tpctl

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"tuplenet/model"
	"tuplenet/model/store"
)

// routerCommand is lr: logical routers.
func (a *app) routerCommand() *cobra.Command {
	return noun("lr", "Logical routers", a.routerAdd(), a.routerDel(), a.routerLink(), a.routerShow())
}

func (a *app) routerAdd() *cobra.Command {
	return a.command(verb{
		use: "add ROUTER [CHASSIS]", alias: "a", short: "Create a router",
		long: `Create a router. It works on every chassis, unless CHASSIS, the system-id of a gateway, pins it to one: then the traffic
of its networks goes there, and it may translate addresses (lnat). The chassis need not be known yet.`,
		min: 1, max: 2, wrong: "require a name, an optional chassis",
		complete: completeAt(nil, chassisNames),
		run: func(cmd *cobra.Command, args []string) error {
			lr := &model.LogicalRouter{Name: args[0], Chassis: argument(args, 1)}
			if err := checkNames(args...); err != nil {
				return err
			}
			return a.change(cmd, false, func(ctx context.Context, st *store.Store, opts ...store.Option) (change, error) {
				made, revision, err := st.AddRouter(ctx, lr, opts...)
				if err != nil {
					return change{}, err
				}
				return change{text: createdText(made), revision: revision, view: viewRouter(made), judge: []model.Object{made}}, nil
			})
		},
	})
}

func (a *app) routerDel() *cobra.Command {
	var recursive bool
	c := a.command(verb{
		use: "del ROUTER", alias: "d", short: "Delete a router",
		min: 1, max: 1, wrong: "require a name",
		complete: completeAt(routerNames),
		run: func(cmd *cobra.Command, args []string) error {
			return a.change(cmd, recursive, func(ctx context.Context, st *store.Store, opts ...store.Option) (change, error) {
				revision, err := st.DeleteRouter(ctx, args[0], recursive, opts...)
				return change{text: args[0] + " deleted", revision: revision}, err
			})
		},
	})
	c.Flags().BoolVarP(&recursive, "recursive", "r", false, "delete its ports and everything else that belongs to it too")
	return c
}

func (a *app) routerLink() *cobra.Command {
	return a.command(verb{
		use: "link ROUTER SWITCH CIDR[,CIDR6]", short: "Link a router to a switch",
		long: `Link a router to a switch: makes the router port ROUTER_to_SWITCH and the switch port SWITCH_to_ROUTER, with the
same addresses and MAC, each the other's peer. CIDR is the router's address with the length of the network's prefix.`,
		min: 3, max: 3, wrong: "require a router, a switch name and a CIDR string of: 10.0.0.1/24",
		complete: completeAt(routerNames, switchNames),
		run: func(cmd *cobra.Command, args []string) error {
			if err := checkNames(args[0], args[1]); err != nil {
				return err
			}
			nets, err := parseNets(args[2])
			if err != nil {
				return err
			}
			rp, sp := model.NewLink(args[0], args[1], slices.Clone(nets))
			return a.add(cmd, []model.Object{rp, sp}, func(ctx context.Context, st *store.Store, opts ...store.Option) (change, error) {
				lrp, lsp, revision, err := st.Link(ctx, args[0], args[1], nets, opts...)
				if err != nil {
					return change{}, err
				}
				view := linkView{RouterPort: viewRouterPort(lrp), SwitchPort: viewSwitchPort(lsp, nil)}
				return change{text: fmt.Sprintf("%s linked to %s", args[0], args[1]), revision: revision, view: view}, nil
			})
		},
	})
}

// linkView is what lr link made.
type linkView struct {
	RouterPort routerPortView `json:"routerPort"`
	SwitchPort switchPortView `json:"switchPort"`
}

func (a *app) routerShow() *cobra.Command {
	return a.command(verb{
		use: "show [ROUTER]", alias: "s", short: "List routers",
		long: `List routers, with the problem of each that is pinned to a chassis on which it cannot work.`,
		min:  0, max: 1, wrong: "require at most one name",
		complete: completeAt(routerNames),
		run: func(cmd *cobra.Command, args []string) error {
			return a.show(cmd, func(ctx context.Context, st *store.Store) (listing, error) {
				snap, err := st.Snapshot(ctx, model.KindRouter, model.KindChassis)
				if err != nil {
					return listing{}, err
				}
				return listRouters(snap, argument(args, 0)), nil
			})
		},
	})
}

// routerView is a router in json and yaml.
type routerView struct {
	*model.LogicalRouter
	IDHex   string `json:"idHex"`
	Problem string `json:"problem,omitempty"`
}

func viewRouter(lr *model.LogicalRouter) routerView {
	return routerView{LogicalRouter: lr, IDHex: lr.ID.Hex()}
}

func listRouters(snap *store.Snapshot, name string) listing {
	out := listing{columns: []string{"NAME", "ID", "HEX", "CHASSIS", "PROBLEM"}, broken: brokenOf(snap, "", name)}
	chassis := map[string]*model.Chassis{}
	for _, c := range snap.Chassis() {
		chassis[c.Name] = c
	}
	for _, lr := range snap.Routers() {
		if name != "" && lr.Name != name {
			continue
		}
		v := viewRouter(lr)
		v.Problem = lr.PinProblem(chassis[lr.Chassis])
		e := entry{name: lr.Name, view: v, fields: []field{{"id", lr.ID.String()}, {"chassis", lr.Chassis}}}
		if v.Problem != "" {
			e.fields = append(e.fields, field{"problem", v.Problem})
		}
		e.cells = []string{lr.Name, lr.ID.String(), lr.ID.Hex(), lr.Chassis, v.Problem}
		out.entries = append(out.entries, e)
	}
	return out
}
