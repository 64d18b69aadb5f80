package pipeline

import (
	"strings"
	"testing"

	"tuplenet/flows/of"
)

// What is declared is consistent: numbers and names are used once, every table ends in an explicit rule that always
// matches, and every table can be reached.
func TestDeclarations(t *testing.T) {
	ids, names := map[uint16]string{}, map[string]bool{}
	last := map[uint8]bool{}
	reached := map[uint8]bool{Classify.ID: true}
	for _, r := range Rules {
		if ids[r.ID] != "" || names[r.Name] || r.ID == 0 {
			t.Errorf("rule %s: id %d or its name is used twice", r.Name, r.ID)
		}
		ids[r.ID], names[r.Name] = r.Name, true
		if r.Doc == "" {
			t.Errorf("rule %s has no description", r.Name)
		}
		if _, ok := TableByID(r.Table.ID); !ok {
			t.Errorf("rule %s is in an undeclared table", r.Name)
		}
		if r.Priority == 0 {
			if last[r.Table.ID] {
				t.Errorf("table %s has two last rules", r.Table.Name)
			}
			last[r.Table.ID] = true
		}
		if r.Drop == "" && len(r.Next) == 0 && !r.Punt && !r.Group && !endsWell[r.Name] {
			t.Errorf("rule %s leads nowhere", r.Name)
		}
		for _, n := range r.Next {
			reached[n.ID] = true
		}
	}
	for i, table := range Tables {
		if i > 0 && Tables[i-1].ID >= table.ID {
			t.Errorf("table %s is out of order", table.Name)
		}
		if !last[table.ID] {
			t.Errorf("table %s has no last rule", table.Name)
		}
		if !reached[table.ID] {
			t.Errorf("no rule leads to table %s", table.Name)
		}
	}
}

// endsWell are the rules that finish a packet's way with an output.
var endsWell = map[string]bool{"arp-responder": true, "nd-advertise": true, "nd-advertise-all": true, "encapsulate": true, "encapsulate-vxlan": true, "output": true, "untunnel": true}

// Fields that are in use at the same time do not overlap.
func TestFieldsDoNotOverlap(t *testing.T) {
	for i, a := range Fields {
		for _, b := range Fields[:i] {
			if a.Sub.Field == b.Sub.Field && a.Sub.Ofs < b.Sub.Ofs+b.Sub.Bits && b.Sub.Ofs < a.Sub.Ofs+a.Sub.Bits {
				t.Errorf("%s and %s overlap", a.Name, b.Name)
			}
		}
	}
}

// A flow that its rule does not allow is refused where it is built.
func TestRuleRefusesWhatItDoesNotDeclare(t *testing.T) {
	for name, build := range map[string]func(){
		"may not match":       func() { LocalPort.Flow(of.Match{}.Eq(of.Metadata, of.U(1)), To(PortSecurity)) },
		"may not continue":    func() { LocalPort.Flow(of.Match{}.Eq(of.InPort, of.U(1)), To(Deliver)) },
		"goes back":           func() { Output.Flow(of.Match{}, To(Classify)) },
		"is a drop":           func() { UnboundPort.Flow(of.Match{}, of.Output{Port: 1}) },
		"may not punt":        func() { Output.Flow(of.Match{}, ToDaemon(PuntTTL)) },
		"may not use a group": func() { Output.Flow(of.Match{}, of.GroupAction{ID: 1}) },
		"is beyond":           func() { Output.FlowAt(1, of.Match{}) },
		"continue in table":   func() { LeaveRouter.Flow(of.Match{}, Again(Deliver)) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if r := recover(); r == nil || !strings.Contains(r.(string), name) {
					t.Errorf("got %v", r)
				}
			}()
			build()
		})
	}
}
