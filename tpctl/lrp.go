package tpctl

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"

	"github.com/spf13/cobra"

	"tuplenet/model"
	"tuplenet/model/store"
)

// routerPortCommand is lrp: ports of logical routers.
func (a *app) routerPortCommand() *cobra.Command {
	return noun("lrp", "Ports of logical routers", a.routerPortAdd(), a.routerPortDel(), a.routerPortShow())
}

func (a *app) routerPortAdd() *cobra.Command {
	return a.command(verb{
		use: "add ROUTER PORT CIDR[,CIDR6] [MAC] [PEER]", alias: "a", short: "Create a router port",
		long: `Create a router port. CIDR is its address with the length of the network's prefix. Without MAC, it is f2:01 followed
by the IPv4 address, or made from names. PEER is the switch port at the other end. "lr link" makes both ends at once.`,
		min: 3, max: 5, wrong: "require a router name, a port name, an CIDR and optionally a MAC, a peer port",
		complete: completeAt(routerNames),
		run: func(cmd *cobra.Command, args []string) error {
			lrp, err := newRouterPort(args)
			if err != nil {
				return err
			}
			return a.add(cmd, []model.Object{lrp}, func(ctx context.Context, st *store.Store, opts ...store.Option) (change, error) {
				made, revision, err := st.AddRouterPort(ctx, lrp, opts...)
				if err != nil {
					return change{}, err
				}
				return change{text: createdText(made), revision: revision, view: viewRouterPort(made)}, nil
			})
		},
	})
}

// newRouterPort makes a port of ROUTER PORT CIDR[,CIDR6] [MAC] [PEER].
func newRouterPort(args []string) (*model.LogicalRouterPort, error) {
	if err := checkNames(args[0], args[1]); err != nil {
		return nil, err
	}
	lrp := &model.LogicalRouterPort{Router: args[0], Name: args[1]}
	var err error
	if lrp.Networks, err = parseNets(args[2]); err != nil {
		return nil, err
	}
	if text := argument(args, 3); text != "" {
		if lrp.MAC, err = model.ParseMAC(text); err != nil {
			return nil, err
		}
	}
	if lrp.Peer = argument(args, 4); lrp.Peer != "" {
		if err := checkNames(lrp.Peer); err != nil {
			return nil, err
		}
	}
	return lrp, nil
}

func (a *app) routerPortDel() *cobra.Command {
	var recursive bool
	c := a.command(verb{
		use: "del ROUTER PORT", alias: "d", short: "Delete a router port",
		min: 2, max: 2, wrong: "require router name and a port name",
		complete: completeAt(routerNames, routerPortNames),
		run: func(cmd *cobra.Command, args []string) error {
			return a.change(cmd, recursive, func(ctx context.Context, st *store.Store, opts ...store.Option) (change, error) {
				revision, err := st.DeleteRouterPort(ctx, args[0], args[1], recursive, opts...)
				return change{text: fmt.Sprintf("router %s port %s deleted", args[0], args[1]), revision: revision}, err
			})
		},
	})
	c.Flags().BoolVarP(&recursive, "recursive", "r", false, "delete the static routes through it too")
	return c
}

func (a *app) routerPortShow() *cobra.Command {
	return a.command(verb{
		use: "show [ROUTER [PORT]]", alias: "s", short: "List router ports",
		min: 0, max: 2, wrong: "require at most a router name and a port name",
		complete: completeAt(routerNames, routerPortNames),
		run: func(cmd *cobra.Command, args []string) error {
			return a.show(cmd, func(ctx context.Context, st *store.Store) (listing, error) {
				snap, err := st.Snapshot(ctx, model.KindRouterPort)
				if err != nil {
					return listing{}, err
				}
				return listRouterPorts(snap, argument(args, 0), argument(args, 1)), nil
			})
		},
	})
}

// routerPortView is a router port in json and yaml.
type routerPortView struct {
	*model.LogicalRouterPort
	LinkLocal netip.Addr `json:"linkLocal"`
}

func viewRouterPort(lrp *model.LogicalRouterPort) routerPortView {
	return routerPortView{lrp, lrp.MAC.LinkLocal()}
}

func listRouterPorts(snap *store.Snapshot, lr, name string) listing {
	out := listing{columns: []string{"ROUTER", "NAME", "NETWORKS", "MAC", "LINK-LOCAL", "PEER"}, broken: brokenOf(snap, lr, name)}
	for _, lrp := range snap.RouterPorts(lr) {
		if name != "" && lrp.Name != name {
			continue
		}
		e := entry{name: lrp.Name, view: viewRouterPort(lrp), fields: networkFields(lrp.Networks)}
		e.fields = append(e.fields, field{"mac", lrp.MAC.String()}, field{"peer", lrp.Peer})
		e.cells = []string{lrp.Router, lrp.Name, join(lrp.Networks), lrp.MAC.String(), lrp.MAC.LinkLocal().String(), lrp.Peer}
		out.entries = append(out.entries, e)
	}
	return out
}

// networkFields are the plain lines of interface addresses: the first takes two lines as it always did, further ones
// take one each, with their prefix length.
func networkFields(nets []netip.Prefix) []field {
	if len(nets) == 0 {
		return []field{{"ip", ""}, {"prefix", ""}}
	}
	out := []field{{"ip", nets[0].Addr().String()}, {"prefix", strconv.Itoa(nets[0].Bits())}}
	for _, p := range nets[1:] {
		out = append(out, field{addressKey(p.Addr()), p.String()})
	}
	return out
}
