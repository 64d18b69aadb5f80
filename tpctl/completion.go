package tpctl

import (
	"fmt"

	"github.com/spf13/cobra"
)

// completionCommand prints the completion scripts of shells.
func (a *app) completionCommand() *cobra.Command {
	return noun("completion", "Completion scripts for shells",
		a.completionVerb("bash", "source <(tpctl completion bash)", func(root *cobra.Command) error {
			return root.GenBashCompletionV2(a.env.Stdout, true)
		}),
		a.completionVerb("zsh", "source <(tpctl completion zsh); compdef _tpctl tpctl", func(root *cobra.Command) error {
			return root.GenZshCompletion(a.env.Stdout)
		}),
		a.completionVerb("fish", "tpctl completion fish | source", func(root *cobra.Command) error {
			return root.GenFishCompletion(a.env.Stdout, true)
		}),
	)
}

func (a *app) completionVerb(shell, load string, generate func(root *cobra.Command) error) *cobra.Command {
	return a.command(verb{
		use: shell, short: "Completion script for " + shell,
		long: fmt.Sprintf("Print the completion script for %s. It completes commands, options and the names of objects in the store.\nIn a running shell: %s", shell, load),
		max:  0, wrong: "no parameters required",
		run: func(cmd *cobra.Command, _ []string) error { return generate(cmd.Root()) },
	})
}
