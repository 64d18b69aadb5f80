package tpctl

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// versionView is the version in json and yaml.
type versionView struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// versionCommand prints what was built. It asks nobody.
func (a *app) versionCommand() *cobra.Command {
	return a.command(verb{
		use: "version", short: "Print the version of tpctl",
		max: 0, wrong: "no parameters required",
		run: func(*cobra.Command, []string) error {
			set, err := resolveSettings(a.flags, a.env)
			if err != nil {
				return err
			}
			v := builtVersion(a.env.Version)
			if set.Output.structured() {
				return writeDocument(a.env.Stdout, set.Output, v)
			}
			text := "tpctl " + v.Version
			if v.Revision != "" {
				text += " " + v.Revision[:min(12, len(v.Revision))]
			}
			if v.Modified {
				text += "+changes"
			}
			_, err = fmt.Fprintf(a.env.Stdout, "%s (%s, %s)\n", text, v.Go, v.Platform)
			return err
		},
	})
}

// builtVersion adds what the Go toolchain wrote into the binary.
func builtVersion(given string) versionView {
	v := versionView{Version: firstOf(given, "(devel)"), Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	v.Version = firstOf(given, info.Main.Version, v.Version)
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}
