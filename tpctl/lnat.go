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

// natCommand is lnat: NAT rules of logical routers.
func (a *app) natCommand() *cobra.Command {
	return noun("lnat", "Address translation in logical routers", a.natAdd(), a.natDel(), a.natShow())
}

func (a *app) natAdd() *cobra.Command {
	return a.command(verb{
		use: "add ROUTER NAME CIDR TRANSLATE_TYPE TRANSLATE_IP", alias: "a", short: "Create a NAT rule",
		long: `Create a NAT rule in a router that is pinned to a chassis. TRANSLATE_TYPE is
  snat           connections from CIDR get TRANSLATE_IP as their source
  dnat           connections to TRANSLATE_IP go to CIDR, a single address (/32 or /128)
  dnat_and_snat  both: the single address CIDR has the address TRANSLATE_IP of its own outside
The router answers for TRANSLATE_IP in the network of its port that has it. Of several rules the one with the longest
prefix translates.`,
		min: 5, max: 5, wrong: "require router, NAT name, CIDR, TRANSLATE_TYPE and TRANSLATE_IP",
		complete: completeAt(routerNames, nil, nil, natTypes),
		run: func(cmd *cobra.Command, args []string) error {
			rule, err := newNAT(args)
			if err != nil {
				return err
			}
			return a.change(cmd, false, func(ctx context.Context, st *store.Store, opts ...store.Option) (change, error) {
				revision, err := st.AddNAT(ctx, rule, opts...)
				if err != nil {
					return change{}, err
				}
				return change{text: createdText(rule), revision: revision, view: rule, judge: []model.Object{rule}, unnumbered: true}, nil
			})
		},
	})
}

// newNAT makes a rule of ROUTER NAME CIDR TRANSLATE_TYPE TRANSLATE_IP.
func newNAT(args []string) (*model.NATRule, error) {
	if err := checkNames(args[0], args[1]); err != nil {
		return nil, err
	}
	rule := &model.NATRule{Router: args[0], Name: args[1]}
	var err error
	if rule.Prefix, err = model.ParseRoutePrefix(args[2]); err != nil {
		return nil, err
	}
	if rule.Type, err = model.ParseNATType(args[3]); err != nil {
		return nil, err
	}
	rule.External, err = model.ParseExternal(args[4])
	return rule, err
}

func (a *app) natDel() *cobra.Command {
	return a.command(verb{
		use: "del ROUTER NAME", alias: "d", short: "Delete a NAT rule",
		min: 2, max: 2, wrong: "require router, NAT name",
		complete: completeAt(routerNames, natNames),
		run: func(cmd *cobra.Command, args []string) error {
			return a.change(cmd, false, func(ctx context.Context, st *store.Store, opts ...store.Option) (change, error) {
				revision, err := st.DeleteNAT(ctx, args[0], args[1], opts...)
				return change{text: fmt.Sprintf("router %s NAT %s deleted", args[0], args[1]), revision: revision, unnumbered: true}, err
			})
		},
	})
}

func (a *app) natShow() *cobra.Command {
	return a.command(verb{
		use: "show ROUTER [NAME]", alias: "s", short: "List the NAT rules of a router",
		min: 1, max: 2, wrong: "require router and optionally NAT name",
		complete: completeAt(routerNames, natNames),
		run: func(cmd *cobra.Command, args []string) error {
			return a.show(cmd, func(ctx context.Context, st *store.Store) (listing, error) {
				snap, err := st.Snapshot(ctx, model.KindNAT)
				if err != nil {
					return listing{}, err
				}
				return listNAT(snap, args[0], argument(args, 1)), nil
			})
		},
	})
}

func listNAT(snap *store.Snapshot, lr, name string) listing {
	out := listing{columns: []string{"ROUTER", "NAME", "TYPE", "PREFIX", "TRANSLATE-IP"}, broken: brokenOf(snap, lr, name)}
	for _, r := range snap.NATRules(lr) {
		if name != "" && r.Name != name {
			continue
		}
		e := entry{name: r.Name, view: r, fields: prefixFields(r.Prefix)}
		e.fields = append(e.fields, field{"xlate_type", string(r.Type)}, field{"xlate_ip", r.External.String()})
		e.cells = []string{r.Router, r.Name, string(r.Type), r.Prefix.String(), r.External.String()}
		out.entries = append(out.entries, e)
	}
	return out
}

// prefixFields are the two plain lines of a prefix.
func prefixFields(p netip.Prefix) []field {
	return []field{{"ip", p.Addr().String()}, {"prefix", strconv.Itoa(p.Bits())}}
}
