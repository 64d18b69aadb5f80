package tpctl

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tuplenet/model/store"
)

// toolboxCommand holds the repair commands of the older system by their names. What they repaired cannot break in the same way
// any more: there is no second book of addresses or numbers, only the uniqueness keys beside the objects.
func (a *app) toolboxCommand() *cobra.Command {
	tool := func(name, short string, run func(ctx context.Context, st *store.Store, c *checking) (string, error)) *cobra.Command {
		return a.command(verb{use: name, short: short, max: 0, wrong: "no parameters required", run: func(cmd *cobra.Command, _ []string) error {
			return a.tool(cmd, run)
		}})
	}
	conflicts := func(kinds ...string) func(context.Context, *store.Store, *checking) (string, error) {
		return func(_ context.Context, _ *store.Store, c *checking) (string, error) {
			c.findings = slices.DeleteFunc(c.findings, func(f finding) bool {
				return !slices.ContainsFunc(kinds, func(k string) bool { return strings.HasPrefix(f.conflict, k+"/") })
			})
			return allIsWell, nil
		}
	}
	settle := func(ctx context.Context, st *store.Store, c *checking) (string, error) {
		c.repair(ctx, st)
		c.findings = slices.DeleteFunc(c.findings, func(f finding) bool { return f.repair == nil || f.Fixed })
		return "done", nil
	}
	var fix bool
	check := tool("check", "Look for objects in conflict and for uniqueness keys that disagree with them", func(ctx context.Context, st *store.Store, c *checking) (string, error) {
		if !fix {
			return allIsWell, nil
		}
		c.repair(ctx, st)
		fixed := slices.ContainsFunc(c.findings, func(f finding) bool { return f.Fixed })
		c.findings = slices.DeleteFunc(c.findings, func(f finding) bool { return f.Fixed })
		if fixed {
			return "done", nil
		}
		return allIsWell, nil
	})
	check.Flags().BoolVar(&fix, "fix", false, "repair what is safe to repair")
	return noun("toolbox", "Find and repair what disagrees in the store",
		check,
		tool("find-ip-conflict", "Find objects with the same address", conflicts("ip")),
		tool("find-id-conflict", "Find switches, routers and ports with the same number", conflicts("vni", "key")),
		tool("rebuild-ip-book", "Make the uniqueness keys what the objects say", settle),
		tool("sync-device-map", "Make the uniqueness keys what the objects say", settle),
		a.decodeIDCommand(),
	)
}

// tool runs a check of the store alone, without asking any chassis.
func (a *app) tool(cmd *cobra.Command, run func(ctx context.Context, st *store.Store, c *checking) (string, error)) error {
	set, err := resolveSettings(a.flags, a.env)
	if err != nil {
		return err
	}
	st, err := open(set)
	if err != nil {
		return err
	}
	defer st.Close()
	snap, err := st.Snapshot(cmd.Context())
	if err != nil {
		return err
	}
	c := &checking{deploymentView: &deploymentView{}, snap: snap, set: set, env: a.env, findings: []finding{}}
	c.objects()
	if err := c.claims(cmd.Context(), st); err != nil {
		return err
	}
	c.findings = slices.DeleteFunc(c.findings, func(f finding) bool { return f.Severity == isWarning && f.repair == nil })
	text, err := run(cmd.Context(), st, c)
	if err != nil {
		return err
	}
	if len(c.findings) == 0 && !set.Output.structured() {
		_, err := fmt.Fprintln(a.env.Stdout, text)
		return err
	}
	if err := c.write(a.env.Stdout, set.Output); err != nil {
		return err
	}
	if c.bad(false) {
		return exitStatus(ExitRefused)
	}
	return nil
}
