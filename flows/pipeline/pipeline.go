// Package pipeline declares how packets travel through br-int: the tables with their fixed numbers, the register and
// tunnel-option fields with their meaning, and the named rules, each with its table, its priorities, the fields that
// it may match and the tables that it may send to. Every flow of the product is built by Rule.Flow, which verifies
// the flow against its declaration; the pipeline reference in docs/ and the decoder are generated from the same values.
//
// Numbers are part of the product's interface with a running switch: once declared they are never reused. The
// package declares; what flows there are is decided by flows/compile.
package pipeline

import (
	"fmt"

	"tuplenet/flows/of"
)

// Table is one OpenFlow table of br-int.
type Table struct {
	ID   uint8
	Name string
	Doc  string
}

// Field is a named part of a register or of the tunnel option.
type Field struct {
	Name string
	Sub  of.Subfield
	Doc  string
}

// Load returns the action that sets the field to a constant.
func (f Field) Load(v uint64) of.Action { return of.Load(f.Sub, v) }

// Is adds "the field has this value" to a match.
func (f Field) Is(m of.Match, v uint64) of.Match { return m.Subfield(f.Sub, v) }

// Rule is one kind of flow.
type Rule struct {
	// ID is the rule's number in memory, status and traces of one version; it is not on the wire.
	ID    uint16
	Name  string
	Table Table
	// Priority is the lowest priority of the rule's flows, Span what may be added (prefix lengths).
	Priority, Span uint16
	// Match lists the fields that flows of this rule may match.
	Match []of.Field
	// Next lists the tables that the rule may continue in.
	Next []Table
	// Drop, if set, says why a packet that ends here was dropped; the flow's packet counter counts them.
	Drop string
	// Punt tells that packets go to the daemon.
	Punt bool
	// Group tells that a group decides how the packet goes on; Buckets are the tables that its buckets lead to, nil for any
	// that groups usually do.
	Group   bool
	Buckets []Table
	Doc     string
}

// Flow is a flow of a rule, ready for the switch.
type Flow struct {
	of.Packed
	Rule uint16
}

// Flow builds a flow of the rule at its base priority.
func (r *Rule) Flow(m of.Match, actions ...of.Action) Flow { return r.FlowAt(0, m, actions...) }

// FlowAt builds a flow of the rule at extra above its base priority (such as a prefix length). A flow that breaks the
// declaration is a defect of the compiler, so it panics.
func (r *Rule) FlowAt(extra uint16, m of.Match, actions ...of.Action) Flow {
	if err := r.verify(extra, m, actions); err != nil {
		panic(fmt.Sprintf("pipeline: rule %s: %v", r.Name, err))
	}
	p, err := of.Flow{Table: r.Table.ID, Priority: r.Priority + extra, Match: m, Actions: actions}.Pack()
	if err != nil {
		panic(fmt.Sprintf("pipeline: rule %s: %v", r.Name, err))
	}
	return Flow{Packed: p, Rule: r.ID}
}

func (r *Rule) verify(extra uint16, m of.Match, actions []of.Action) error {
	if extra > r.Span {
		return fmt.Errorf("priority +%d is beyond +%d", extra, r.Span)
	}
	for _, t := range m {
		if !contains(r.Match, t.Field) {
			return fmt.Errorf("may not match %v", t.Field)
		}
	}
	if r.Drop != "" && !r.Punt && len(actions) > 0 {
		return fmt.Errorf("is a drop and may have no actions")
	}
	return r.verifyActions(actions)
}

func (r *Rule) verifyActions(actions []of.Action) error {
	for _, a := range actions {
		var next uint8
		switch a := a.(type) {
		case of.Goto:
			next = a.Table
			if next <= r.Table.ID {
				return fmt.Errorf("goto table %d goes back", next)
			}
		case of.Resubmit:
			next = a.Table
		case of.CT:
			if a.Table == nil {
				continue
			}
			next = *a.Table
		case of.Learn:
			next = a.Table
		case of.Controller:
			if !r.Punt {
				return fmt.Errorf("may not punt")
			}
			continue
		case of.GroupAction:
			if !r.Group {
				return fmt.Errorf("may not use a group")
			}
			continue
		default:
			continue
		}
		if !r.leadsTo(next) {
			return fmt.Errorf("may not continue in table %d", next)
		}
	}
	return nil
}

func (r *Rule) leadsTo(id uint8) bool {
	for _, t := range r.Next {
		if t.ID == id {
			return true
		}
	}
	return false
}

func contains(fields []of.Field, f of.Field) bool {
	for _, g := range fields {
		if g == f {
			return true
		}
	}
	return false
}

// To is the instruction that continues in a later table.
func To(t Table) of.Action { return of.Goto{Table: t.ID} }

// Again continues in any table, also an earlier one (a router hands a packet back to a switch).
func Again(t Table) of.Action { return of.Resubmit{Port: of.ResubmitInPort, Table: t.ID} }

// RuleByID finds a rule by its number.
func RuleByID(id uint16) (*Rule, bool) {
	for _, r := range Rules {
		if r.ID == id {
			return r, true
		}
	}
	return nil, false
}

// TableByID finds a table by its number.
func TableByID(id uint8) (Table, bool) {
	for _, t := range Tables {
		if t.ID == id {
			return t, true
		}
	}
	return Table{}, false
}
