package tpctl

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tuplenet/model"
	"tuplenet/model/store"
)

// demoTag marks what demo made.
const demoTag = "tuplenet-demo"

// demoCommand is demo: a network to try things with.
func (a *app) demoCommand() *cobra.Command {
	return noun("demo", "A network to try things with", a.demoCreate(), a.demoDelete())
}

func (a *app) demoCreate() *cobra.Command {
	return a.command(verb{
		use: "create", alias: "a", short: "Create the network of the tutorial",
		long: `Create the network of the tutorial: switches LS-A and LS-B with a subnet each, the router LR-central between them, and the ports
lsp-alice (10.20.1.10) and lsp-bob (10.20.2.10). All of it has the tag ` + demoTag + `. Doing it again changes nothing, and makes what is
missing; objects of these names that are somebody else's are left alone, and then nothing is done.`,
		max: 0, wrong: "no parameters required",
		run: func(cmd *cobra.Command, _ []string) error {
			return a.change(cmd, false, func(ctx context.Context, st *store.Store, opts ...store.Option) (change, error) {
				wanted := demoObjects()
				snap, err := st.Snapshot(ctx, model.SpecKinds()...)
				if err != nil {
					return change{}, err
				}
				for _, o := range wanted {
					if have, there := snap.Objects[o.Ref()]; there && !slices.Contains(model.Tags(have), demoTag) {
						return change{}, fmt.Errorf("%s exists and is not of the demo: use another prefix (-p) for it, %w", nameText(o.Ref()), store.ErrExists)
					}
				}
				return carryTagged(ctx, st, wanted, nil, opts)
			})
		},
	})
}

func (a *app) demoDelete() *cobra.Command {
	return a.command(verb{
		use: "delete", alias: "d", short: "Delete what demo create made",
		max: 0, wrong: "no parameters required",
		run: func(cmd *cobra.Command, _ []string) error {
			return a.change(cmd, false, func(ctx context.Context, st *store.Store, opts ...store.Option) (change, error) {
				return carryTagged(ctx, st, nil, func(o model.Object) bool { return slices.Contains(model.Tags(o), demoTag) }, opts)
			})
		},
	})
}

// carryTagged makes the store have some objects, and not have others.
func carryTagged(ctx context.Context, st *store.Store, wanted []model.Object, prune func(model.Object) bool, opts []store.Option) (change, error) {
	plan, err := st.Plan(ctx, wanted, prune)
	if err != nil {
		return change{}, err
	}
	var lines []string
	rev, err := st.Carry(ctx, plan, func(steps []store.Step) {
		for _, s := range steps {
			lines = append(lines, nameText(s.Ref)+" "+verbWords[s.Verb])
		}
	}, opts...)
	if err != nil {
		return change{}, err
	}
	c := change{text: nothingToChange, revision: rev, view: viewSteps(plan.Steps)}
	if len(lines) > 0 {
		c.text = strings.Join(lines, "\n")
	}
	return c, nil
}

// demoObjects are those of the tutorial, each with the tag.
func demoObjects() []model.Object {
	lr := &model.LogicalRouter{Name: "LR-central"}
	out := []model.Object{lr}
	for _, n := range []struct {
		ls, lsp, ip, gateway string
		mac                  model.MAC
	}{
		{"LS-A", "lsp-alice", "10.20.1.10", "10.20.1.1/24", model.MAC{0xf2, 1, 0, 0, 0, 1}},
		{"LS-B", "lsp-bob", "10.20.2.10", "10.20.2.1/24", model.MAC{0xf2, 1, 0, 0, 0, 2}},
	} {
		gateway := netip.MustParsePrefix(n.gateway)
		rp, sp := model.NewLink(lr.Name, n.ls, []netip.Prefix{gateway})
		out = append(out, &model.LogicalSwitch{Name: n.ls, Subnets: []netip.Prefix{gateway.Masked()}}, rp, sp,
			&model.LogicalSwitchPort{Switch: n.ls, Name: n.lsp, Type: model.PortVIF, IPs: []netip.Addr{netip.MustParseAddr(n.ip)}, MAC: n.mac})
	}
	for _, o := range out {
		model.AddTag(o, demoTag)
	}
	return model.InOrder(out)
}
