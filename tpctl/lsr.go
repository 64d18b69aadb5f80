package tpctl

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"tuplenet/model"
	"tuplenet/model/store"
)

// routeCommand is lsr: static routes of logical routers.
func (a *app) routeCommand() *cobra.Command {
	return noun("lsr", "Static routes of logical routers", a.routeAdd(), a.routeDel(), a.routeShow())
}

func (a *app) routeAdd() *cobra.Command {
	var weight uint16
	c := a.command(verb{
		use: "add ROUTER NAME CIDR NEXT_HOP OUTPORT", alias: "a", short: "Create a static route",
		long: `Create a static route: what is for CIDR goes to NEXT_HOP through the router port OUTPORT. The longest prefix wins.
Several routes with the same CIDR share the destinations among them (ECMP), whatever their next hops are; those whose
next hop is on a chassis that does not answer take no part. In IPv6, NEXT_HOP may be link-local.`,
		min: 5, max: 5, wrong: "require router name, static route name, CIDR, next_hop and outport",
		complete: completeAt(routerNames, nil, nil, nil, routerPortNames),
		run: func(cmd *cobra.Command, args []string) error {
			route, err := newRoute(args, weight)
			if err != nil {
				return err
			}
			return a.change(cmd, false, func(ctx context.Context, st *store.Store, opts ...store.Option) (change, error) {
				revision, err := st.AddRoute(ctx, route, opts...)
				if err != nil {
					return change{}, err
				}
				return change{text: createdText(route), revision: revision, view: route, judge: []model.Object{route}, unnumbered: true}, nil
			})
		},
	})
	c.Flags().Uint16Var(&weight, "weight", 0, "share `N` of this route among those with the same CIDR, 0 = 1")
	return c
}

// newRoute makes a route of ROUTER NAME CIDR NEXT_HOP OUTPORT.
func newRoute(args []string, weight uint16) (*model.StaticRoute, error) {
	if err := checkNames(args[0], args[1], args[4]); err != nil {
		return nil, err
	}
	prefix, err := model.ParseRoutePrefix(args[2])
	if err != nil {
		return nil, err
	}
	hop, err := model.ParseNextHop(args[3])
	if err != nil {
		return nil, err
	}
	return &model.StaticRoute{Router: args[0], Name: args[1], Prefix: prefix, NextHop: hop, OutPort: args[4], Weight: weight}, nil
}

func (a *app) routeDel() *cobra.Command {
	return a.command(verb{
		use: "del ROUTER NAME", alias: "d", short: "Delete a static route",
		min: 2, max: 2, wrong: "require router name and a static route name",
		complete: completeAt(routerNames, routeNames),
		run: func(cmd *cobra.Command, args []string) error {
			return a.change(cmd, false, func(ctx context.Context, st *store.Store, opts ...store.Option) (change, error) {
				revision, err := st.DeleteRoute(ctx, args[0], args[1], opts...)
				return change{text: fmt.Sprintf("router %s static route %s deleted", args[0], args[1]), revision: revision, unnumbered: true}, err
			})
		},
	})
}

func (a *app) routeShow() *cobra.Command {
	return a.command(verb{
		use: "show ROUTER [NAME]", alias: "s", short: "List the static routes of a router",
		min: 1, max: 2, wrong: "require a router name and optionally a static route name",
		complete: completeAt(routerNames, routeNames),
		run: func(cmd *cobra.Command, args []string) error {
			return a.show(cmd, func(ctx context.Context, st *store.Store) (listing, error) {
				snap, err := st.Snapshot(ctx, model.KindRoute)
				if err != nil {
					return listing{}, err
				}
				return listRoutes(snap, args[0], argument(args, 1)), nil
			})
		},
	})
}

func listRoutes(snap *store.Snapshot, lr, name string) listing {
	out := listing{columns: []string{"ROUTER", "NAME", "PREFIX", "NEXT-HOP", "OUTPORT", "WEIGHT"}, broken: brokenOf(snap, lr, name)}
	for _, r := range snap.Routes(lr) {
		if name != "" && r.Name != name {
			continue
		}
		e := entry{name: r.Name, view: r, fields: prefixFields(r.Prefix)}
		e.fields = append(e.fields, field{"next_hop", r.NextHop.String()}, field{"outport", r.OutPort})
		weight := ""
		if r.Weight > 0 {
			weight = strconv.Itoa(int(r.Weight))
			e.fields = append(e.fields, field{"weight", weight})
		}
		e.cells = []string{r.Router, r.Name, r.Prefix.String(), r.NextHop.String(), r.OutPort, weight}
		out.entries = append(out.entries, e)
	}
	return out
}
