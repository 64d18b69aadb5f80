package report

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Table is Markdown: what was measured where, and a line for each figure.
func Table(runs []*Run) string {
	var b strings.Builder
	machines := []string{}
	for _, r := range runs {
		if m := r.Machine.String(); !slices.Contains(machines, m) {
			machines = append(machines, m)
			fmt.Fprintf(&b, "%s\n\n", m)
		}
	}
	b.WriteString("| scenario | what | tuplenet | peer | ratio | target | met | runs | load |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, r := range runs {
		for _, f := range r.Figures {
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %d | %.1f–%.1f |\n", r.title(), f.Name, value(f.Ours, f.Unit), peer(r, f), ratio(f), target(f), met(f),
				max(len(f.Ours), len(f.Peer)), min(r.LoadBefore, r.LoadAfter), max(r.LoadBefore, r.LoadAfter))
		}
	}
	return b.String()
}

func (r *Run) title() string {
	if r.Size == 0 {
		return r.Scenario
	}
	return r.Scenario + ", " + thousands(r.Size)
}

// thousands writes 20000 as 20,000.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func peer(r *Run, f *Figure) string {
	if len(f.Peer) == 0 {
		return ""
	}
	return value(f.Peer, f.Unit) + " (" + r.Peer + ")"
}

// value is the median with three digits that count.
func value(values []float64, unit string) string {
	if len(values) == 0 {
		return ""
	}
	return digits(Median(values)) + " " + unit
}

func digits(v float64) string {
	switch {
	case v >= 1000:
		return thousands(int(v + 0.5))
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	default:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
}

func ratio(f *Figure) string {
	r, ok := f.Against()
	if !ok {
		return ""
	}
	return strconv.FormatFloat(r, 'g', 2, 64)
}

func target(f *Figure) string {
	sign := "≤ "
	if f.MoreIsBetter {
		sign = "≥ "
	}
	switch {
	case f.Limit > 0:
		return sign + strconv.FormatFloat(f.Limit, 'g', -1, 64) + " " + f.Unit
	case f.Ratio > 0:
		return sign + strconv.FormatFloat(f.Ratio, 'g', 3, 64)
	}
	return ""
}

func met(f *Figure) string {
	yes, known := f.Met()
	switch {
	case !known:
		return ""
	case yes:
		return "yes"
	}
	return "**no**"
}
