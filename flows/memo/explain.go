package memo

import (
	"fmt"
	"strings"
)

// Explain lists what the unit read when it was computed last, in the order of reading: facts, with a note if they were
// absent, entries with the number of their members, and derived values, each followed by what it read, indented by two
// spaces. What was listed already is not opened a second time. It returns nil if there is no such unit.
func (e *Engine[O]) Explain(u Unit) []string {
	for _, f := range e.features {
		if f.Name == u.Feature && f.units[u.ID] != nil {
			return e.explain(nil, f.units[u.ID].node, 0, map[*node]bool{})
		}
	}
	return nil
}

func (c *core) explain(out []string, n *node, depth int, seen map[*node]bool) []string {
	indent := strings.Repeat("  ", depth)
	for _, x := range n.reads {
		source := c.nodes[c.edges[x].source]
		switch source.kind {
		case factNode:
			line := indent + "fact " + source.key.String()
			if source.value == nil {
				line += " (absent)"
			}
			out = append(out, line)
		case entryNode:
			out = append(out, fmt.Sprintf("%slist %s (%d)", indent, source.key, len(source.value.(*members).list())))
		default:
			line := indent + "derived " + source.key.String()
			if seen[source] {
				out = append(out, line+" (see above)")
				continue
			}
			seen[source] = true
			out = c.explain(append(out, line), source, depth+1, seen)
		}
	}
	return out
}

// Stats returns the counts as they are now.
func (e *Engine[O]) Stats() Stats {
	s := e.stats
	s.Facts, s.Entries, s.Derived, s.Edges = e.held, len(e.entries)+len(e.alone), len(e.derived), e.liveEdges
	for _, f := range e.features {
		s.Units += len(f.units)
	}
	return s
}
