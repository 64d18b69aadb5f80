package tpctl

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// Env is everything that tpctl takes from its process.
type Env struct {
	Args           []string // without the program's name
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Getenv         func(string) string
	// Version is that of the build, such as v1.2.0; empty: what the Go toolchain knows.
	Version string
	// SystemConfig is the configuration file that is read when the user has none; empty: there is none.
	SystemConfig string
}

// Main runs one command line and returns the exit code of the process. ctx ends when the user interrupts.
func Main(ctx context.Context, env Env) int {
	root := NewCommand(env)
	root.SetArgs(env.Args)
	err := root.ExecuteContext(ctx)
	if err != nil && !errors.As(err, new(exitStatus)) {
		fmt.Fprintln(env.Stderr, oneLine(err))
	}
	return exitCode(err)
}

// NewCommand builds the command tree. Main runs it; the reference pages and completion scripts are made from it.
func NewCommand(env Env) *cobra.Command {
	return newRoot(&app{env: env})
}

func newRoot(a *app) *cobra.Command {
	env := a.env
	root := &cobra.Command{
		Use:   "tpctl",
		Short: "Operate the virtual networks of a tuplenet deployment",
		Long: `tpctl writes what an operator wants into etcd and shows what is there and what the nodes made of it.

A setting comes from the command line, else from the environment (TPCTL_ENDPOINTS, TPCTL_PREFIX, TPCTL_CACERT,
TPCTL_CERT, TPCTL_KEY, TPCTL_USER, TPCTL_PASSWORD, TPCTL_OUTPUT, TPCTL_TIMEOUT; ETCDCTL_ENDPOINTS and the others of
etcdctl that name the server and the client count too), else from a file: the one that TPCTL_CONFIG names, or
~/.config/tpctl/config.yaml, or /etc/tuplenet/tpctl.yaml. The file has the keys endpoints (a list), prefix, cacert,
cert, key, user, password, output and timeout.

Exit codes: 0 done, 1 invalid or refused, 2 wrong usage, 3 not found, 4 conflict, 5 not applied within the time of
--wait, 6 etcd does not answer.`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		DisableAutoGenTag: true,
		Args:              cobra.ArbitraryArgs,
		RunE:              groupHelp,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w, see %q", err, cmd.CommandPath()+" --help")
	})
	a.flags = root.PersistentFlags()
	globalFlags(a.flags)
	a.completeSettings(root)
	root.AddCommand(a.commands()...)
	return root
}

// commands are those of the first level, in the order of the help.
func (a *app) commands() []*cobra.Command {
	return []*cobra.Command{
		a.switchCommand(),
		a.switchPortCommand(),
		a.subnetCommand(),
		a.poolCommand(),
		a.ipCommand(),
		a.routerCommand(),
		a.routerPortCommand(),
		a.routeCommand(),
		a.natCommand(),
		a.patchPortCommand(),
		a.edgeCommand(),
		a.chassisCommand(),
		a.statusCommand(),
		a.checkCommand(),
		a.toolboxCommand(),
		a.topologyCommand(),
		a.decodeCommand(),
		a.flowsCommand(),
		a.whyDropCommand(),
		a.exportCommand(),
		a.applyCommand(),
		a.batchCommand(),
		a.watchCommand(),
		a.initCommand(),
		a.demoCommand(),
		a.traceCommand(),
		a.nodeCommand(),
		a.completionCommand(),
		a.versionCommand(),
		newSandboxCommand(a),
		referenceCommand(),
	}
}

// groupHelp is run by a command that only has commands below it: no argument asks for help, another one is a mistake.
func groupHelp(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	hint := ""
	if similar := cmd.SuggestionsFor(args[0]); len(similar) > 0 {
		hint = fmt.Sprintf(", did you mean %q", similar[0])
	}
	return usagef("unknown command %q for %q%s, see %q", args[0], cmd.CommandPath(), hint, cmd.CommandPath()+" --help")
}

// noun makes the command that holds the verbs of one kind of object.
func noun(use, short string, verbs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: cobra.ArbitraryArgs, RunE: groupHelp, DisableAutoGenTag: true}
	c.SuggestionsMinimumDistance = 2
	c.AddCommand(verbs...)
	return c
}

// verb describes a command that does something.
type verb struct {
	use      string // name and arguments, as in the help
	alias    string
	short    string
	long     string
	min, max int
	wrong    string // what a wrong number of arguments is answered with
	run      func(cmd *cobra.Command, args []string) error
	complete candidates // names for the next argument; nil: none
}

// command makes the verb's command. The number of arguments is checked before anything else is done.
func (a *app) command(v verb) *cobra.Command {
	c := &cobra.Command{
		Use:               v.use,
		Short:             v.short,
		Long:              v.long,
		DisableAutoGenTag: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < v.min || len(args) > v.max {
				return usagef("%s", v.wrong)
			}
			return nil
		},
		RunE:              v.run,
		ValidArgsFunction: a.completeNames(v),
	}
	if v.alias != "" {
		c.Aliases = []string{v.alias}
	}
	return c
}
