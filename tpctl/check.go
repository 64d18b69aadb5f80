package tpctl

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tuplenet/model"
	"tuplenet/model/store"
)

// severity of a finding.
type severity string

const (
	isError   severity = "error"   // something does not work
	isWarning severity = "warning" // something may not work, or will not for long
)

// finding is one thing that is wrong.
type finding struct {
	Severity severity `json:"severity"`
	// Object is what it is about: an object's key, chassis/NAME, or a file.
	Object string `json:"object"`
	Text   string `json:"text"`
	// Fix is the command that repairs it, or what to do.
	Fix string `json:"fix,omitempty"`
	// Fixed: --fix has repaired it.
	Fixed bool `json:"fixed,omitempty"`
	// conflict is the claim that two objects share.
	conflict string
	// repair is what --fix does; nil: it is not safe to do without looking.
	repair func(ctx context.Context, st *store.Store) error
}

// checking collects findings.
type checking struct {
	*deploymentView
	snap     *store.Snapshot
	set      settings
	env      Env
	findings []finding
	ports    map[string]*model.LogicalSwitchPort // by name; nil until they are needed
}

func (c *checking) add(f finding) { c.findings = append(c.findings, f) }

func (c *checking) errorf(object, fix, format string, args ...any) {
	c.add(finding{Severity: isError, Object: object, Fix: fix, Text: fmt.Sprintf(format, args...)})
}

func (c *checking) warnf(object, fix, format string, args ...any) {
	c.add(finding{Severity: isWarning, Object: object, Fix: fix, Text: fmt.Sprintf(format, args...)})
}

func (a *app) checkCommand() *cobra.Command {
	var fix, strict bool
	c := a.command(verb{
		use: "check", short: "Look for everything that is known to go wrong",
		long: `Look at the store, at all chassis and at their hosts for what commonly goes wrong, and print each finding with the command
that fixes it:

  objects that cannot be read, that claim the same address, number or name, that refer to something that does not exist
  bindings without a port, ports that are bound nowhere, pins to chassis that are unknown or no gateways
  uniqueness keys in etcd that disagree with the objects (after edits by hand or a partial restore)
  chassis that are down, silent, behind, or whose switch refuses flows; watched tunnels (BFD) that are down
  workloads with a larger MTU than fits into the tunnels, underlays with different MTUs, ways between hosts that carry less than
  their devices (measured; tpctl check mtu shows the matrix)
  transmit checksum offload on interfaces of the userspace datapath; kernel parameters for untunnel
  clocks that differ by more than 1 s, certificates that end within 30 days

--fix repairs what is safe to repair without looking: uniqueness keys and bindings without a port. The exit code is 1 if there
is an error left (with --strict, also for a warning), else 0.`,
		max: 0, wrong: "no parameters required",
		run: func(cmd *cobra.Command, _ []string) error {
			set, err := resolveSettings(a.flags, a.env)
			if err != nil {
				return err
			}
			st, err := open(set)
			if err != nil {
				return err
			}
			defer st.Close()
			check, err := a.check(cmd.Context(), st, set)
			if err != nil {
				return err
			}
			if fix {
				check.repair(cmd.Context(), st)
			}
			if err := check.write(a.env.Stdout, set.Output); err != nil {
				return err
			}
			if check.bad(strict) {
				return exitStatus(ExitRefused)
			}
			return nil
		},
	})
	c.AddCommand(a.checkMTUCommand())
	c.Flags().BoolVar(&fix, "fix", false, "repair what is safe to repair")
	c.Flags().BoolVar(&strict, "strict", false, "exit with 1 for warnings, too")
	return c
}

// check looks at everything.
func (a *app) check(ctx context.Context, st *store.Store, set settings) (*checking, error) {
	d, snap, err := a.survey(ctx, st)
	if err != nil {
		return nil, err
	}
	c := &checking{deploymentView: d, snap: snap, set: set, env: a.env, findings: []finding{}}
	c.objects()
	if err := c.claims(ctx, st); err != nil {
		return nil, err
	}
	c.chassis()
	c.hosts(a.inspectAll(ctx, st, d))
	c.ways(a.measureWays(ctx, st, d))
	c.certificates()
	slices.SortStableFunc(c.findings, func(x, y finding) int { return strings.Compare(string(x.Severity), string(y.Severity)) })
	return c, nil
}

// repair does what is safe.
func (c *checking) repair(ctx context.Context, st *store.Store) {
	for i := range c.findings {
		f := &c.findings[i]
		if f.repair == nil {
			continue
		}
		if err := f.repair(ctx, st); err != nil {
			f.Text += ", and it cannot be fixed: " + oneLine(err)
		} else {
			f.Fixed = true
		}
	}
}

// bad tells whether anything is left that counts.
func (c *checking) bad(strict bool) bool {
	return slices.ContainsFunc(c.findings, func(f finding) bool { return !f.Fixed && (strict || f.Severity == isError) })
}

// allIsWell is what check says when it finds nothing.
const allIsWell = "looks good!"

func (c *checking) write(w io.Writer, f format) error {
	switch {
	case f.structured():
		return writeDocument(w, f, c.findings)
	case len(c.findings) == 0:
		_, err := fmt.Fprintln(w, allIsWell)
		return err
	case f == formatTable:
		l := listing{columns: []string{"SEVERITY", "OBJECT", "FINDING", "FIX"}, ordered: true}
		for _, x := range c.findings {
			l.entries = append(l.entries, entry{cells: []string{x.word(), x.Object, x.Text, x.Fix}})
		}
		return l.writeTable(w)
	}
	var b strings.Builder
	for _, x := range c.findings {
		fmt.Fprintf(&b, "%s: %s: %s\n", x.word(), x.Object, x.Text)
		if x.Fix != "" && !x.Fixed {
			fmt.Fprintf(&b, "    %s\n", x.Fix)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (f finding) word() string {
	if f.Fixed {
		return "fixed"
	}
	return string(f.Severity)
}

// deletion is the command that deletes an object.
func deletion(ref model.Ref) string {
	nouns := map[model.Kind]string{model.KindSwitch: "ls", model.KindSwitchPort: "lsp", model.KindRouter: "lr",
		model.KindRouterPort: "lrp", model.KindRoute: "lsr", model.KindNAT: "lnat", model.KindPool: "pool", model.KindChassis: "ch"}
	noun, ok := nouns[ref.Kind]
	if !ok {
		return ""
	}
	return strings.Join(strings.Fields(fmt.Sprintf("tpctl %s del %s %s", noun, ref.Parent, ref.Name)), " ")
}
