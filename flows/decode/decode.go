// Package decode gives names to numbers: it finds the table, rule, fields and groups of flows/pipeline in flows, packets
// and the dumps of a switch. It is the reading side of the pipeline's declarations and declares nothing itself; it does
// no I/O and does not know objects: who owns a flow, its caller says (by cookie, from datapath/apply).
package decode

import (
	"fmt"
	"slices"
	"strings"

	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
)

// Table is the name of a table, and its number for one that is not declared.
func Table(id uint8) string {
	if t, ok := pipeline.TableByID(id); ok {
		return t.Name
	}
	return fmt.Sprintf("table %d", id)
}

// Flow is a flow in one line: table, priority, match and actions, with the names of registers, tables and groups.
func Flow(f of.Flow) string {
	return fmt.Sprintf("%s priority=%d %s -> %s", Table(f.Table), f.Priority, Match(f.Match), Actions(f.Actions))
}

// Line reads a line of `ovs-ofctl -O OpenFlow15 dump-flows --no-names` and finds the rules that it may be of.
func Line(text string) (of.Flow, []*pipeline.Rule, error) {
	f, err := of.ParseFlow(text)
	if err != nil {
		return of.Flow{}, nil, err
	}
	return f, Rules(f), nil
}

// Rules are the rules that a flow may be of, the most likely first: those whose declaration allows it, ordered by how
// many declared fields it leaves unused. None: the flow is not of this version of the pipeline.
func Rules(f of.Flow) []*pipeline.Rule {
	var found []*pipeline.Rule
	m := narrow(f.Match)
	for _, r := range pipeline.Rules {
		if r.Table.ID == f.Table && r.Priority <= f.Priority && f.Priority-r.Priority <= r.Span && matches(r, m) && acts(r, f.Actions) {
			found = append(found, r)
		}
	}
	slices.SortStableFunc(found, func(a, b *pipeline.Rule) int { return len(a.Match) - len(b.Match) })
	return found
}

// matches tells whether a rule may match the fields.
func matches(r *pipeline.Rule, m of.Match) bool {
	for _, t := range m {
		if !slices.ContainsFunc(r.Match, func(f of.Field) bool { return overlap(f, t.Field) }) {
			return false
		}
	}
	return true
}

// overlap tells whether two fields are the same or share a register.
func overlap(a, b of.Field) bool {
	first, n := registers(a)
	second, m := registers(b)
	return a == b || n > 0 && m > 0 && first < second+of.Field(m) && second < first+of.Field(n)
}

// acts tells whether a rule may have the actions: nothing for a drop, a punt only where declared, and no other way on.
func acts(r *pipeline.Rule, as []of.Action) bool {
	if len(as) == 0 {
		return r.Drop != "" && !r.Punt
	}
	if r.Drop != "" && !r.Punt {
		return false
	}
	punts, groups := false, false
	for _, a := range as {
		next := -1
		switch a := a.(type) {
		case of.Controller:
			punts = true
		case of.GroupAction:
			groups = true
		case of.Goto:
			next = int(a.Table)
		case of.Resubmit:
			next = int(a.Table)
		case of.CT:
			if a.Table != nil {
				next = int(*a.Table)
			}
		}
		if next >= 0 && !slices.ContainsFunc(r.Next, func(t pipeline.Table) bool { return int(t.ID) == next }) {
			return false
		}
	}
	return punts == r.Punt && (!groups || r.Group) && (groups || !onlyByGroup(r))
}

// onlyByGroup tells whether a rule's flows always use a group: it has no table to go on in.
func onlyByGroup(r *pipeline.Rule) bool { return r.Group && len(r.Next) == 0 }

// registers are the 32-bit registers of a field; none for other fields.
func registers(f of.Field) (first of.Field, n int) {
	switch {
	case f >= of.Reg0 && f <= of.Reg15:
		return f, 1
	case f >= of.XReg0 && f <= of.XReg7:
		return of.Reg0 + 2*(f-of.XReg0), 2
	case f >= of.XXReg0 && f <= of.XXReg3:
		return of.Reg0 + 4*(f-of.XXReg0), 4
	}
	return 0, 0
}

// narrow splits 64-bit registers: a switch joins neighbouring registers in what it dumps. 128-bit ones are addresses.
func narrow(m of.Match) of.Match {
	var out of.Match
	for _, t := range m {
		first, n := registers(t.Field)
		if n != 2 {
			out = out.With(t)
			continue
		}
		out = out.With(
			of.Masked(first, t.Value.Shr(32), t.Mask.Shr(32)),
			of.Masked(first+1, t.Value.And(of.Ones(32)), t.Mask.And(of.Ones(32))))
	}
	return out
}

// join writes parts that are there.
func join(parts []string, none string) string {
	if len(parts) == 0 {
		return none
	}
	return strings.Join(parts, ",")
}
