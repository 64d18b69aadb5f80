package tpctl

import (
	"encoding/json"
	"fmt"
	"io"
	"sort"
	"strings"
	"text/tabwriter"

	"sigs.k8s.io/yaml"

	"tuplenet/model"
)

// format is the form in which a command answers.
type format string

const (
	formatPlain format = "plain" // the listing that scripts know; it does not change
	formatJSON  format = "json"
	formatYAML  format = "yaml"
	formatTable format = "table"

	formatNames = "plain|json|yaml|table"
)

func parseFormat(text string) (format, error) {
	switch f := format(text); f {
	case formatPlain, formatJSON, formatYAML, formatTable:
		return f, nil
	}
	return "", fmt.Errorf("invalid output format %q, expected one of %s", text, formatNames)
}

// structured formats carry one document on stdout and nothing else.
func (f format) structured() bool { return f == formatJSON || f == formatYAML }

// field is a line of the plain listing.
type field struct{ key, value string }

// entry is one object of a listing, in all its forms.
type entry struct {
	name   string
	fields []field  // plain
	cells  []string // table, one for each column
	view   any      // json, yaml
}

// listing is what a show command found.
type listing struct {
	columns []string
	entries []entry
	ordered bool            // as the entries are; else they are sorted by name
	broken  []model.Problem // objects that are in the store but cannot be read or are invalid: out of service everywhere
}

const nothingFound = "empty data set"

// write prints the listing, sorted by name unless it has an order of its own.
func (l listing) write(w io.Writer, f format) error {
	if !l.ordered {
		sort.SliceStable(l.entries, func(i, j int) bool { return l.entries[i].name < l.entries[j].name })
	}
	if f.structured() {
		views := make([]any, 0, len(l.entries)) // an empty listing is [], not null
		for _, e := range l.entries {
			views = append(views, e.view)
		}
		return writeDocument(w, f, views)
	}
	if len(l.entries) == 0 {
		_, err := fmt.Fprintln(w, nothingFound)
		return err
	}
	if f == formatTable {
		return l.writeTable(w)
	}
	return l.writePlain(w)
}

// writePlain prints NAME: and a line a field with its key padded to the longest one, an empty line after each object.
func (l listing) writePlain(w io.Writer) error {
	var b strings.Builder
	for _, e := range l.entries {
		longest := 0
		for _, f := range e.fields {
			longest = max(longest, len(f.key))
		}
		fmt.Fprintf(&b, "%s:\n", e.name)
		for _, f := range e.fields {
			fmt.Fprintf(&b, "  - %-*s: %s\n", longest, f.key, f.value)
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (l listing) writeTable(w io.Writer) error {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, strings.Join(l.columns, "\t"))
	for _, e := range l.entries {
		cells := make([]string, len(e.cells))
		for i, c := range e.cells {
			cells[i] = firstOf(c, "-")
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeDocument prints one value as JSON or YAML.
func writeDocument(w io.Writer, f format, value any) error {
	text, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	if f == formatYAML {
		if text, err = yaml.JSONToYAML(text); err != nil {
			return fmt.Errorf("encode the answer: %w", err)
		}
		_, err = w.Write(text)
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", text)
	return err
}
