package tpctl

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"tuplenet/model"
)

func (a *app) exportCommand() *cobra.Command {
	var tag string
	var intent bool
	c := a.command(verb{
		use: "export", short: "Write all objects as documents, for backup, review or another store",
		long: `Write the objects of the store to stdout as documents, YAML by default or one JSON list with -o json. "tpctl apply" reads
them: what is exported and applied again changes nothing, and a store that was wiped is the same again, numbers and MAC
addresses included, so that the nodes make the same flows. Chassis and bindings, which nodes write, are part of it; "apply"
restores them where they are missing. "tpctl trace --store FILE" works on such a file.`,
		max: 0, wrong: "no parameters required, only options",
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
			kinds := model.Kinds()
			if intent || tag != "" {
				kinds = model.SpecKinds()
			}
			snap, err := st.Snapshot(cmd.Context(), kinds...)
			if err != nil {
				return err
			}
			for _, p := range brokenOf(snap, "", "") {
				fmt.Fprintf(a.env.Stderr, "left out, it is out of service: %s: %s\n", p.Key, p.Reason)
			}
			var objects []model.Object
			for _, o := range snap.Objects {
				if tag == "" || slices.Contains(model.Tags(o), tag) {
					objects = append(objects, o)
				}
			}
			if set.Output == formatJSON {
				return model.WriteDocumentList(a.env.Stdout, snap.Revision, objects)
			}
			return model.WriteDocuments(a.env.Stdout, snap.Revision, objects)
		},
	})
	c.Flags().BoolVar(&intent, "intent", false, "leave out chassis and bindings: what operators write, not what nodes write")
	c.Flags().StringVar(&tag, "tag", "", "only objects with this `tag`, of those that operators write")
	return c
}
