package tpctl

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// referenceCommand writes the reference pages. It is for the makers of the documentation, so the help hides it.
func referenceCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "reference DIR",
		Short:  "Write the reference pages of all commands",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return WriteReference(cmd.Root(), args[0])
		},
	}
}

// WriteReference writes a page in Markdown for the root command and one for each command below it into dir, which
// is made if it is missing. Pages of commands that are no more are deleted.
func WriteReference(root *cobra.Command, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write reference: %w", err)
	}
	pages := Reference(root)
	old, err := filepath.Glob(filepath.Join(dir, "*.md"))
	if err != nil {
		return fmt.Errorf("write reference: %w", err)
	}
	for _, path := range old {
		if _, stays := pages[filepath.Base(path)]; !stays {
			if err := os.Remove(path); err != nil {
				return fmt.Errorf("write reference: %w", err)
			}
		}
	}
	for name, text := range pages {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("write reference: %w", err)
		}
	}
	return nil
}

// Reference returns the pages of WriteReference by file name.
func Reference(root *cobra.Command) map[string]string {
	var index strings.Builder
	writeSection(&index, root, "#")
	index.WriteString("## Commands\n\n")
	pages := map[string]string{}
	for _, c := range visible(root) {
		file := c.Name() + ".md"
		fmt.Fprintf(&index, "* [%s](%s): %s\n", c.CommandPath(), file, c.Short)
		var page strings.Builder
		writeTree(&page, c, "#")
		pages[file] = page.String()
	}
	pages["README.md"] = index.String()
	return pages
}

// writeTree describes a command and all below it.
func writeTree(b *strings.Builder, c *cobra.Command, heading string) {
	writeSection(b, c, heading)
	for _, sub := range visible(c) {
		writeTree(b, sub, heading+"#")
	}
}

// writeSection describes one command: what it is for, its form, its own options.
func writeSection(b *strings.Builder, c *cobra.Command, heading string) {
	fmt.Fprintf(b, "%s %s\n\n%s\n\n", heading, c.CommandPath(), firstOf(c.Long, c.Short+"."))
	if !c.HasAvailableSubCommands() || strings.Contains(c.Use, " ") { // it has arguments of its own
		fmt.Fprintf(b, "```\n%s\n```\n\n", c.UseLine())
	}
	if len(c.Aliases) > 0 {
		fmt.Fprintf(b, "Short: `%s %s`\n\n", c.Parent().CommandPath(), c.Aliases[0])
	}
	if options := c.NonInheritedFlags(); options.HasAvailableFlags() {
		fmt.Fprintf(b, "Options:\n\n```\n%s```\n\n", options.FlagUsages())
	}
}

// visible returns the commands below c that a user sees.
func visible(c *cobra.Command) []*cobra.Command {
	var out []*cobra.Command
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			out = append(out, sub)
		}
	}
	return out
}
