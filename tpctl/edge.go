package tpctl

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tuplenet/model"
	"tuplenet/model/edge"
	"tuplenet/model/store"
)

// edgeCommand is edge: whole ways to the physical world.
func (a *app) edgeCommand() *cobra.Command {
	return noun("edge", "Edges: the ways from the virtual networks to the physical world",
		a.edgeMake("init", "Create the first edge, and the central router", `Create the first edge, and the router that the virtual networks are linked to if there is none yet.
The options are those of "edge add".`, true),
		a.edgeMake("add", "Create another edge", `Create all objects of an edge: a router LR-NAME pinned to the chassis; a switch between it and the central router, and one to
the physical network with a patch port; a default route of the central router to it, which together with those of the
other edges shares the destinations among them (ECMP); routes back and to the physical gateway; and source NAT. For edge1
they are called LR-edge1, m1, outside1, patchport-outside1, to_outside1, to_virt1, to_ext_world1 and snat_rule1; for an
edge that is not called edge and something, such as paris, LR-paris, m-paris and so on. All is one transaction.

On the inner network the edge has the second address, and the central router the lowest other one that it does not have
yet. Values that are lists have an address or network of each family. Repeating the command makes what is missing of the
edge; what exists and says something else is refused.`, false),
		a.edgeRemove())
}

// edgeOptions are the options of edge init and add, as typed.
type edgeOptions struct {
	chassis, name, router              string
	vip, bridge, virt, inner, gw, snat string
}

func (a *app) edgeMake(use, short, long string, first bool) *cobra.Command {
	var o edgeOptions
	alias := ""
	if use == "add" {
		alias = "a"
	}
	c := a.command(verb{
		use: use, alias: alias, short: short, long: long,
		max: 0, wrong: "no parameters required, only options",
		run: func(cmd *cobra.Command, _ []string) error {
			path, err := o.path(first)
			if err != nil {
				return err
			}
			return a.change(cmd, false, func(ctx context.Context, st *store.Store, opts ...store.Option) (change, error) {
				return makeEdge(ctx, st, path, opts)
			})
		},
	})
	c.Flags().StringVar(&o.chassis, "chassis", "", "`system-id` of the host that the edge is on (required)")
	c.Flags().StringVar(&o.vip, "vip", "", "address of the edge in the physical network, `CIDR[,CIDR6]` (required)")
	c.Flags().StringVar(&o.virt, "virt", "", "virtual networks, `CIDR[,CIDR…]` (required)")
	c.Flags().StringVar(&o.inner, "inner", "", "network between central router and edge, `CIDR[,CIDR6]`; may be that of other edges (required)")
	c.Flags().StringVar(&o.gw, "ext-gw", "", "gateway of the physical network, `IP[,IP6]` (required)")
	c.Flags().StringVar(&o.bridge, "phy-br", "", "OVS `bridge` of the chassis to the physical network; without it, the patch pair is made by hand")
	c.Flags().StringVar(&o.snat, "snat", "", "source of connections to the outside, `IP[,IP6]|none`; by default the vip")
	c.Flags().StringVar(&o.name, "name", "", "`name` of the edge; by default that of the edge with this chassis and vip, else the next of edge1, edge2 …")
	c.Flags().StringVar(&o.router, "router", "LR-central", "central `router`")
	a.completeOption(c, "chassis", chassisNames)
	a.completeOption(c, "router", routerNames)
	return c
}

// noSNAT as value of --snat leaves NAT out.
const noSNAT = "none"

// path reads the options; the name may be left empty.
func (o *edgeOptions) path(first bool) (p *edge.Path, err error) {
	for _, r := range []struct{ name, value string }{{"chassis", o.chassis}, {"vip", o.vip}, {"virt", o.virt}, {"inner", o.inner}, {"ext-gw", o.gw}} {
		if r.value == "" {
			return nil, usagef("require --chassis, --vip, --virt, --inner and --ext-gw: --%s is missing", r.name)
		}
	}
	p = &edge.Path{Name: o.name, Chassis: o.chassis, Central: o.router, MakeCentral: first, Bridge: o.bridge}
	if p.VIP, err = parseNets(o.vip); err != nil {
		return nil, err
	}
	if p.Virt, err = parseEach(o.virt, model.ParseRoutePrefix); err != nil {
		return nil, err
	}
	if p.Inner, err = parseEach(o.inner, model.ParseSubnet); err != nil {
		return nil, err
	}
	if p.Gateway, err = parseAddrs(o.gw); err != nil {
		return nil, err
	}
	switch o.snat {
	case noSNAT:
	case "":
		for _, v := range p.VIP {
			p.SNAT = append(p.SNAT, v.Addr())
		}
	default:
		p.SNAT, err = parseAddrs(o.snat)
	}
	return p, err
}

// edgeView is an edge in json and yaml.
type edgeView struct {
	Name    string         `json:"name"`
	Created []model.Object `json:"created"`
}

// makeEdge makes what is missing of an edge.
func makeEdge(ctx context.Context, st *store.Store, p *edge.Path, opts []store.Option) (change, error) {
	snap, err := st.Snapshot(ctx, model.SpecKinds()...)
	if err != nil {
		return change{}, err
	}
	if p.Name == "" {
		p.Name = edge.NameFor(snap.Objects, p.Chassis, p.VIP)
	}
	missing, present, err := p.Plan(snap.Objects)
	if err != nil {
		return change{}, err
	}
	if len(missing) == 0 {
		return change{text: fmt.Sprintf("edge %s is complete", p.Name), revision: snap.Revision, view: edgeView{p.Name, []model.Object{}}, judge: present}, nil
	}
	made, revision, err := st.AddAll(ctx, missing, opts...)
	if err != nil {
		return change{}, err
	}
	var texts []string
	for _, o := range made {
		texts = append(texts, createdText(o))
	}
	outcome, router := "created", model.Ref{Kind: model.KindRouter, Name: edge.NamesOf(p.Name).Router}
	if slices.ContainsFunc(present, func(o model.Object) bool { return o.Ref() == router }) {
		outcome = "completed"
	}
	texts = append(texts, fmt.Sprintf("edge %s %s", p.Name, outcome))
	return change{text: strings.Join(texts, "\n"), revision: revision, view: edgeView{p.Name, made}, judge: append(made, present...)}, nil
}

// drainLimit is how long the removal of an edge waits for the nodes if --wait does not say.
const drainLimit = 30 * time.Second

func (a *app) edgeRemove() *cobra.Command {
	var name, chassis, vip string
	var force bool
	c := a.command(verb{
		use: "remove", short: "Drain an edge and delete its objects",
		long: `Delete all objects of an edge, made by "edge add" or by hand with the same names. First the routes to it are deleted from
the central router, and the command waits until all nodes have applied that (30 s, or as --wait says), so that no traffic
enters the edge any more; then the rest is deleted. It asks. The edge is named, or found by its chassis or its vip.
If nodes do not answer in time, the edge stays drained and the rest is left: repeat the command, or give --force.`,
		max: 0, wrong: "no parameters required, only options",
		run: func(cmd *cobra.Command, _ []string) error {
			address, err := vipOf(vip)
			if err != nil {
				return err
			}
			if name == "" && chassis == "" && vip == "" {
				return usagef("require --name, --chassis or --vip")
			}
			set, err := resolveSettings(a.flags, a.env)
			if err != nil {
				return err
			}
			r := edgeRemoval{name: name, chassis: chassis, vip: address, force: force, limit: drainLimit}
			if set.Wait > 0 {
				r.limit = set.Wait
			}
			return a.change(cmd, true, r.run)
		},
	})
	c.Flags().StringVar(&name, "name", "", "`name` of the edge")
	c.Flags().StringVar(&chassis, "chassis", "", "`system-id` of the host that the edge is on")
	c.Flags().StringVar(&vip, "vip", "", "`address` of the edge in the physical network")
	c.Flags().BoolVar(&force, "force", false, "go on although nodes have not confirmed that they do not use the edge any more")
	a.completeOption(c, "name", edgeNames)
	a.completeOption(c, "chassis", chassisNames)
	return c
}

// vipOf reads an address with or without the length of its prefix.
func vipOf(text string) (netip.Addr, error) {
	if text == "" {
		return netip.Addr{}, nil
	}
	if p, err := netip.ParsePrefix(text); err == nil {
		return p.Addr(), nil
	}
	return model.ParseIP(text)
}

func edgeNames(ctx context.Context, st *store.Store, _ []string) ([]string, error) {
	snap, err := st.Snapshot(ctx, model.KindRouter, model.KindRouterPort)
	if err != nil {
		return nil, err
	}
	return namesOf(edge.All(snap.Objects), func(e edge.Found) string { return e.Name }), nil
}

// edgeRemoval is one run of edge remove.
type edgeRemoval struct {
	name, chassis string
	vip           netip.Addr
	force         bool
	limit         time.Duration
}

func (r edgeRemoval) run(ctx context.Context, st *store.Store, opts ...store.Option) (change, error) {
	snap, err := st.Snapshot(ctx, model.SpecKinds()...)
	if err != nil {
		return change{}, err
	}
	if r.name == "" {
		if r.name, err = edge.Find(snap.Objects, r.chassis, r.vip); err != nil {
			return change{}, err
		}
	}
	all, err := edge.Remove(snap.Objects, r.name)
	if err != nil {
		return change{}, err
	}
	texts, err := r.drain(ctx, st, all.Drain)
	if err != nil {
		return change{}, err
	}
	revision, err := st.DeleteAll(ctx, all.Rest, opts...)
	if err != nil {
		return change{}, fmt.Errorf("edge %s is drained, but not deleted: %w", r.name, err)
	}
	for _, ref := range all.Rest {
		texts = append(texts, nameText(ref)+" deleted")
	}
	texts = append(texts, fmt.Sprintf("edge %s deleted", r.name))
	return change{text: strings.Join(texts, "\n"), revision: revision}, nil
}

// drain deletes the routes to the edge and waits until no node uses them. It waits also if there are none left, since
// an earlier run may have ended before the nodes answered.
func (r edgeRemoval) drain(ctx context.Context, st *store.Store, routes []model.Ref) (texts []string, err error) {
	waiter := newWaiterID()
	revision, err := st.DeleteAll(ctx, routes, store.WithWaiter(waiter))
	if err != nil {
		return nil, fmt.Errorf("drain edge %s: %w", r.name, err)
	}
	for _, ref := range routes {
		texts = append(texts, nameText(ref)+" deleted")
	}
	receipt, err := await(ctx, st, waiter, revision, r.limit)
	if err != nil && !r.force {
		return nil, fmt.Errorf("edge %s: its routes are deleted, the rest is left: %w", r.name, err)
	}
	if err != nil {
		return append(texts, "not confirmed: "+oneLine(err)), nil
	}
	return append(texts, "drained: "+receipt.text), nil
}
