package tpctl

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tuplenet/model"
	"tuplenet/model/store"
)

func (a *app) flowsCommand() *cobra.Command {
	var chassis, table, rule string
	c := a.command(verb{
		use: "flows [OBJECT]", short: "Flows in the switch of a chassis, with rule, owner and counters",
		long: `Show the flows that are in the switch of a chassis: table, rule and owner by name, match and actions decoded, packets and
bytes. OBJECT limits them to a switch, a router, a port, a static route or a NAT rule (names, or ROUTER/NAME); --table and
--rule to those. Without --chassis it is the chassis
that the port is bound to, or the only one that there is.`,
		max: 1, wrong: "require at most a switch, a router or a port, and --chassis",
		complete: completeAt(anyNames),
		run: func(cmd *cobra.Command, args []string) error {
			return a.show(cmd, func(ctx context.Context, st *store.Store) (listing, error) {
				snap, err := st.Snapshot(ctx)
				if err != nil {
					return listing{}, err
				}
				owner, at, err := findOwner(snap, argument(args, 0))
				if err != nil {
					return listing{}, err
				}
				if at, err = oneChassis(snap, firstOf(chassis, at)); err != nil {
					return listing{}, err
				}
				query := map[string]string{}
				for k, v := range map[string]string{"owner": owner, "table": table, "rule": rule} {
					if v != "" {
						query[k] = v
					}
				}
				var flows []model.NodeFlow
				if err := askNode(ctx, a.env, st, at, model.NodeCommandFlows, query, &flows); err != nil {
					return listing{}, err
				}
				return listFlows(flows), nil
			})
		},
	})
	c.Flags().StringVar(&chassis, "chassis", "", "`system-id` of the chassis to ask")
	c.Flags().StringVar(&table, "table", "", "only this `table`, by name or number")
	c.Flags().StringVar(&rule, "rule", "", "only flows of this `rule`")
	a.completeOption(c, "chassis", chassisNames)
	return c
}

// findOwner is what the owners of the flows of an object have in common, and the chassis of a port that is bound.
func findOwner(snap *store.Snapshot, name string) (owner, chassis string, err error) {
	if name == "" {
		return "", "", nil
	}
	for _, ref := range slices.SortedFunc(maps.Keys(snap.Objects), func(a, b model.Ref) int { return strings.Compare(a.String(), b.String()) }) {
		if ref.Name != name && ref.String() != name && ref.Parent+"/"+ref.Name != name {
			continue
		}
		switch ref.Kind {
		case model.KindSwitch, model.KindRouter:
			return ref.Name, "", nil
		case model.KindSwitchPort:
			if b := snap.Binding(ref.Name); b != nil {
				chassis = b.Chassis
			}
			return ref.Parent + "/" + ref.Name, chassis, nil
		case model.KindRouterPort, model.KindNAT:
			return ref.Parent + "/" + ref.Name, "", nil
		case model.KindRoute: // routes with the same prefix are one
			return ref.Parent + "/" + snap.Objects[ref].(*model.StaticRoute).Prefix.String(), "", nil
		}
	}
	return "", "", fmt.Errorf("no object %s: %w", name, store.ErrNotFound)
}

// oneChassis is the chassis that is meant.
func oneChassis(snap *store.Snapshot, name string) (string, error) {
	all := snap.Chassis()
	switch {
	case name != "":
		return name, nil
	case len(all) == 1:
		return all[0].Name, nil
	}
	return "", usagef("say which chassis: --chassis NAME")
}

func anyNames(ctx context.Context, st *store.Store, _ []string) ([]string, error) {
	snap, err := st.Snapshot(ctx, model.KindSwitch, model.KindRouter, model.KindSwitchPort)
	if err != nil {
		return nil, err
	}
	var names []string
	for ref := range snap.Objects {
		names = append(names, ref.Name)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// listFlows keeps the order of the node: tables as packets travel, priorities from the highest.
func listFlows(flows []model.NodeFlow) listing {
	out := listing{columns: []string{"TABLE", "PRIORITY", "RULE", "OWNER", "PACKETS", "BYTES", "MATCH", "ACTIONS"}, ordered: true}
	for _, f := range flows {
		packets, bytes := strconv.FormatUint(f.Packets, 10), strconv.FormatUint(f.Bytes, 10)
		out.entries = append(out.entries, entry{
			name: fmt.Sprintf("%s %d %s", f.Table, f.Priority, firstOf(f.Rule, "not ours")),
			fields: []field{{"owner", f.Owner}, {"packets", packets}, {"bytes", bytes},
				{"match", f.Match}, {"actions", f.Actions}},
			cells: []string{f.Table, strconv.Itoa(int(f.Priority)), f.Rule, f.Owner, packets, bytes, f.Match, f.Actions},
			view:  f,
		})
	}
	return out
}

// dropRate is what a drop rule of an owner counted on one chassis.
type dropRate struct {
	Chassis string `json:"chassis"`
	model.NodeDrop
	// PerSecond are packets in a second, while we looked.
	PerSecond float64 `json:"packetsPerSecond"`
}

func (a *app) whyDropCommand() *cobra.Command {
	var chassis string
	var over time.Duration
	c := a.command(verb{
		use: "why-drop [LSP]", short: "What is dropped, where and why, with rates",
		long: `Every packet that is dropped is dropped by a rule that has a name and a reason, and counts. Show those that counted
anything, of one port (and its switch) or of all, on the chassis of the port or, with --chassis or without LSP, on others; the
rate is taken over --interval. Those with a rate come first.`,
		max: 1, wrong: "require at most a port",
		complete: completeAt(anyNames),
		run: func(cmd *cobra.Command, args []string) error {
			if over <= 0 {
				return usagef("--interval is a time such as 2s")
			}
			return a.show(cmd, func(ctx context.Context, st *store.Store) (listing, error) {
				snap, err := st.Snapshot(ctx)
				if err != nil {
					return listing{}, err
				}
				owner, at, err := findOwner(snap, argument(args, 0))
				if err != nil {
					return listing{}, err
				}
				names := []string{firstOf(chassis, at)}
				if names[0] == "" {
					live, err := st.Live(ctx)
					if err != nil {
						return listing{}, err
					}
					names = slices.Sorted(maps.Keys(live))
				}
				drops, err := a.dropRates(ctx, st, names, owner, over)
				return listDrops(drops), err
			})
		},
	})
	c.Flags().StringVar(&chassis, "chassis", "", "`system-id` of the chassis to ask")
	c.Flags().DurationVar(&over, "interval", 2*time.Second, "take rates over this `time`")
	a.completeOption(c, "chassis", chassisNames)
	return c
}

// dropRates asks chassis twice. Of a port, what its switch drops counts, too: a packet to an unknown address is nobody's.
func (a *app) dropRates(ctx context.Context, st *store.Store, chassis []string, owner string, over time.Duration) (out []dropRate, err error) {
	key := func(c string, d model.NodeDrop) string { return c + "\x00" + d.Rule + "\x00" + d.Owner }
	before := map[string]uint64{}
	look := func(visit func(c string, d model.NodeDrop)) error {
		for _, c := range chassis {
			var drops []model.NodeDrop
			if err := askNode(ctx, a.env, st, c, model.NodeCommandDrops, nil, &drops); err != nil {
				return err
			}
			for _, d := range drops {
				if concerns(d.Owner, owner) {
					visit(c, d)
				}
			}
		}
		return nil
	}
	began := time.Now()
	if err := look(func(c string, d model.NodeDrop) { before[key(c, d)] = d.Packets }); err != nil {
		return nil, err
	}
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-time.After(over):
	}
	took := time.Since(began).Seconds()
	err = look(func(c string, d model.NodeDrop) {
		r := dropRate{Chassis: c, NodeDrop: d}
		if was, there := before[key(c, d)]; there && d.Packets >= was {
			r.PerSecond = float64(d.Packets-was) / took
		}
		if d.Packets > 0 {
			out = append(out, r)
		}
	})
	slices.SortStableFunc(out, func(x, y dropRate) int {
		switch {
		case x.PerSecond != y.PerSecond && x.PerSecond > y.PerSecond:
			return -1
		case x.PerSecond != y.PerSecond:
			return 1
		}
		return 0
	})
	return out, err
}

// concerns tells whether what an owner of flows drops concerns an object, SWITCH/PORT or SWITCH or ROUTER: it is of the object
// itself, of its switch as a whole, or of nobody.
func concerns(owner, object string) bool {
	if object == "" || strings.Contains("/"+owner+"/", "/"+object+"/") {
		return true
	}
	feature, of, _ := strings.Cut(owner, "/")
	parent, _, isPort := strings.Cut(object, "/")
	return of == "" || isPort && feature == "switch" && of == parent
}

func listDrops(drops []dropRate) listing {
	out := listing{columns: []string{"CHASSIS", "TABLE", "RULE", "OWNER", "PACKETS", "RATE", "REASON"}, ordered: true}
	for _, d := range drops {
		packets, rate := strconv.FormatUint(d.Packets, 10), strconv.FormatFloat(d.PerSecond, 'f', 1, 64)+"/s"
		out.entries = append(out.entries, entry{
			name: d.Chassis + " " + d.Rule, view: d,
			fields: []field{{"reason", d.Reason}, {"owner", d.Owner}, {"table", d.Table}, {"packets", packets}, {"rate", rate}},
			cells:  []string{d.Chassis, d.Table, d.Rule, d.Owner, packets, rate, d.Reason},
		})
	}
	return out
}
