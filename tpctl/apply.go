package tpctl

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tuplenet/model"
	"tuplenet/model/store"
)

// applyOptions are the options of apply.
type applyOptions struct {
	files         []string
	tag           string
	prune, all    bool
	dryRun, quiet bool
}

func (a *app) applyCommand() *cobra.Command {
	var o applyOptions
	c := a.command(verb{
		use: "apply", short: "Make the store have the objects of files",
		long: `Read documents (see "tpctl export"; "-" is stdin) and make the store have these objects: what is missing is created, what
differs is changed, the rest stays. Applying the same again changes nothing. In a document of your own, numbers, MAC
addresses and automatic addresses may be left out; the store chooses them once, and they stay.

--prune deletes what is not in the files: within a tag (--tag, which all objects of the files get) or, with --all, everything
that operators write. --dry-run prints the difference and changes nothing.

The change is made in transactions of limited size, in an order in which nothing is missing what it refers to. If it breaks
off, apply the same again.`,
		max: 0, wrong: "no parameters required, only options",
		run: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			wanted, err := o.read(a.env.Stdin)
			if err != nil {
				return err
			}
			if o.dryRun {
				return a.dryRun(cmd, wanted, o)
			}
			return a.change(cmd, false, func(ctx context.Context, st *store.Store, opts ...store.Option) (change, error) {
				return a.carry(ctx, st, wanted, o, opts)
			})
		},
	})
	c.Flags().StringArrayVarP(&o.files, "file", "f", nil, "`file` with documents, - for stdin; may be repeated")
	c.Flags().StringVar(&o.tag, "tag", "", "give all objects of the files this `tag`")
	c.Flags().BoolVar(&o.prune, "prune", false, "delete objects that are not in the files, within --tag or --all")
	c.Flags().BoolVar(&o.all, "all", false, "with --prune: not only within a tag")
	c.Flags().BoolVar(&o.dryRun, "dry-run", false, "print what would be done")
	c.Flags().BoolVar(&o.quiet, "quiet", false, "print how many objects were changed in place of which")
	return c
}

func (o applyOptions) check() error {
	switch {
	case len(o.files) == 0:
		return usagef("require -f FILE")
	case o.prune && o.tag == "" && !o.all:
		return usagef("--prune needs --tag, or --all to delete everything that is not in the files")
	case o.all && !o.prune:
		return usagef("--all is for --prune")
	}
	if o.tag != "" {
		return checkNames(o.tag)
	}
	return nil
}

// read reads the objects of all files.
func (o applyOptions) read(stdin io.Reader) (all []model.Object, err error) {
	seen := map[model.Ref]string{}
	for _, name := range o.files {
		objects, err := readFile(name, stdin)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		for _, obj := range objects {
			if first, twice := seen[obj.Ref()]; twice {
				return nil, fmt.Errorf("%s: %s is in %s, too", name, nameText(obj.Ref()), first)
			}
			seen[obj.Ref()] = name
			if o.tag != "" {
				model.AddTag(obj, o.tag)
			}
			all = append(all, obj)
		}
	}
	return model.InOrder(all), nil
}

func readFile(name string, stdin io.Reader) ([]model.Object, error) {
	if name == "-" {
		return model.ReadDocuments(stdin)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return model.ReadDocuments(f)
}

func (o applyOptions) plan(ctx context.Context, st *store.Store, wanted []model.Object) (*store.Plan, error) {
	if !o.prune {
		return st.Plan(ctx, wanted, nil)
	}
	return st.Plan(ctx, wanted, func(obj model.Object) bool { return o.all || slices.Contains(model.Tags(obj), o.tag) })
}

// stepView is a step in json and yaml.
type stepView struct {
	Verb   store.Verb          `json:"verb"`
	Object string              `json:"object"`
	Fields []store.FieldChange `json:"fields,omitempty"`
}

func viewSteps(steps []store.Step) []stepView {
	views := make([]stepView, len(steps))
	for i, s := range steps {
		views[i] = stepView{Verb: s.Verb, Object: s.Ref.String()}
		if s.Verb == store.VerbUpdate {
			views[i].Fields = s.Fields()
		}
	}
	return views
}

// verbWords are what sentences of success say of what was done.
var verbWords = map[store.Verb]string{store.VerbCreate: "created", store.VerbUpdate: "changed", store.VerbDelete: "deleted"}

const nothingToChange = "nothing to change"

func (a *app) carry(ctx context.Context, st *store.Store, wanted []model.Object, o applyOptions, opts []store.Option) (change, error) {
	plan, err := o.plan(ctx, st, wanted)
	if err != nil {
		return change{}, err
	}
	var done []store.Step
	rev, err := st.Carry(ctx, plan, func(steps []store.Step) { done = append(done, steps...) }, append(opts, a.prefixService())...)
	if err != nil && len(done) > 0 {
		return change{}, fmt.Errorf("%d of %d changes are made, apply again to go on: %w", len(done), len(plan.Steps), err)
	}
	if err != nil {
		return change{}, err
	}
	c := change{text: nothingToChange, revision: rev, view: viewSteps(done)}
	var lines []string
	counts := map[store.Verb]int{}
	for _, s := range done {
		counts[s.Verb]++
		lines = append(lines, nameText(s.Ref)+" "+verbWords[s.Verb])
		if s.Verb != store.VerbDelete {
			c.judge = append(c.judge, s.New)
		}
	}
	switch {
	case len(done) == 0:
	case o.quiet:
		c.text = countText(counts)
	default:
		c.text = strings.Join(lines, "\n")
	}
	return c, nil
}

func countText(counts map[store.Verb]int) string {
	return fmt.Sprintf("%d created, %d changed, %d deleted", counts[store.VerbCreate], counts[store.VerbUpdate], counts[store.VerbDelete])
}

// dryRun prints the difference: a line an object, and a line a field that changes.
func (a *app) dryRun(cmd *cobra.Command, wanted []model.Object, o applyOptions) error {
	set, err := resolveSettings(a.flags, a.env)
	if err != nil {
		return err
	}
	st, err := open(set)
	if err != nil {
		return err
	}
	defer st.Close()
	plan, err := o.plan(cmd.Context(), st, wanted)
	if err != nil {
		return err
	}
	if set.Output.structured() {
		return writeDocument(a.env.Stdout, set.Output, viewSteps(plan.Steps))
	}
	if len(plan.Steps) == 0 {
		_, err = fmt.Fprintln(a.env.Stdout, nothingToChange)
		return err
	}
	signs := map[store.Verb]string{store.VerbCreate: "+", store.VerbUpdate: "~", store.VerbDelete: "-"}
	var b strings.Builder
	for _, s := range plan.Steps {
		fmt.Fprintf(&b, "%s %s\n", signs[s.Verb], s.Ref)
		if s.Verb != store.VerbUpdate {
			continue
		}
		for _, f := range s.Fields() {
			fmt.Fprintf(&b, "    %s: %s -> %s\n", f.Field, firstOf(f.Old, "-"), firstOf(f.New, "-"))
		}
	}
	_, err = io.WriteString(a.env.Stdout, b.String())
	return err
}
