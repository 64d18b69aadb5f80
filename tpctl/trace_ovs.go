package tpctl

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"tuplenet/flows/decode"
	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
	"tuplenet/flows/walk"
	"tuplenet/model"
)

// compare gives every packet of a report to the switch of its chassis, and notes where it meets other flows: a defect of
// whoever made the flows, or of the switch's contents.
func (t *tracing) compare(ctx context.Context, r *walk.Report) error {
	legs := []*walk.Leg{&r.Forward}
	if r.Reply != nil {
		legs = append(legs, r.Reply)
	}
	for _, l := range legs {
		for _, h := range l.Hops {
			for i, p := range h.Passes {
				args := map[string]string{"flow": p.Packet}
				if i > 0 { // given back by connection tracking
					args["actions"] = fmt.Sprintf("resubmit(,%d)", p.Table)
				}
				var text string
				if err := askNode(ctx, t.env, t.store, h.Chassis, model.NodeCommandTrace, args, &text); err != nil {
					return err
				}
				if why := disagreement(stagesOf(h, i), text); why != "" {
					r.Defects = append(r.Defects, fmt.Sprintf("the switch of %s does something else with %s: %s", h.Chassis, p.Packet, why))
				}
				t.asked++
			}
		}
	}
	return nil
}

func stagesOf(h walk.Hop, pass int) (stages []walk.Stage) {
	for _, s := range h.Stages {
		if s.Pass == pass {
			stages = append(stages, s)
		}
	}
	return stages
}

// metFlow is a flow that ofproto/trace met.
type metFlow struct {
	table  uint8
	cookie uint64
	line   string
	action string // the first
}

// traceLine is a lookup in what ofproto/trace prints: table, match, priority and cookie.
var traceLine = regexp.MustCompile(`^ *([0-9]+)\. (.*cookie 0x([0-9a-f]+).*|No match\..*)$`)

// ourNamespace is the highest byte of the cookies of the product's flows on the integration bridge.
const ourNamespace = 't'

// readTrace finds the flows of ours that a packet met, up to where connection tracking takes it.
func readTrace(text string) (met []metFlow) {
	text, _, _ = strings.Cut(text, "\n====")
	ours := false // the last flow
	for line := range strings.Lines(text) {
		m := traceLine.FindStringSubmatch(strings.TrimRight(line, "\n"))
		if m == nil {
			if n := len(met); ours && met[n-1].action == "" {
				met[n-1].action = strings.TrimSpace(line)
			}
			continue
		}
		table, _ := strconv.ParseUint(m[1], 10, 8)
		cookie, _ := strconv.ParseUint(m[3], 16, 64)
		if ours = cookie>>56 == ourNamespace; ours {
			met = append(met, metFlow{table: uint8(table), cookie: cookie, line: strings.TrimSpace(line)})
		}
	}
	return met
}

// asks tells whether it is a flow that shows the daemon a packet whose destination has no flows yet.
func (m metFlow) asks() bool {
	return slices.ContainsFunc([]*pipeline.Rule{pipeline.AskARP, pipeline.AskND, pipeline.AskPort, pipeline.AskNeighbour}, func(r *pipeline.Rule) bool {
		return r.Table.ID == m.table && strings.Contains(m.line, fmt.Sprintf("priority %d,", r.Priority))
	})
}

// Rules that look at the size of a packet, and those that packets meet behind them that are too large.
var (
	sizeChecks = []*pipeline.Rule{pipeline.CheckExternal, pipeline.CheckNext, pipeline.CheckSize}
	oversized  = []*pipeline.Rule{pipeline.ExternalExceeded, pipeline.NextExceeded, pipeline.SizeExceeded}
)

func isOneOf(rule string, all []*pipeline.Rule) bool {
	return slices.ContainsFunc(all, func(r *pipeline.Rule) bool { return r.Name == rule })
}

// disagreement says where a switch meets another flow than the one on paper; empty: nowhere. After the size of a packet was
// looked at, ofproto/trace, which has none, goes on first as if it did not fit, then as if it did: one way is enough then.
func disagreement(want []walk.Stage, text string) string {
	met := readTrace(text)
	at, last := 0, ""
	for _, s := range want {
		if isOneOf(last, sizeChecks) {
			at = otherWay(met, at, s.Cookie)
		}
		if at == len(met) {
			return fmt.Sprintf("it does not come to table %s, where %s is expected", s.Table, s.Rule)
		}
		if met[at].cookie != s.Cookie && met[at].asks() {
			return "" // on demand: the daemon makes the flows when it is shown the packet
		}
		if met[at].cookie != s.Cookie {
			return fmt.Sprintf("in table %s it meets %q, expected is %s of %s", decode.Table(met[at].table), met[at].line, s.Rule, s.Owner)
		}
		if !sameAction(s.Flow, met[at].action) {
			return fmt.Sprintf("in table %s the flow %s was altered: it begins with %q", s.Table, s.Flow, met[at].action)
		}
		at++
		last = s.Rule
	}
	if at < len(met) && !isOneOf(last, oversized) {
		return fmt.Sprintf("in table %s it meets %q, expected is nothing more", decode.Table(met[at].table), met[at].line)
	}
	return ""
}

// otherWay goes from where a trace takes one of two ways to where it takes the one with a cookie, in the same table.
func otherWay(met []metFlow, at int, cookie uint64) int {
	for i := at; i < len(met); i++ {
		if met[i].table == met[at].table && met[i].cookie == cookie {
			return i
		}
	}
	return at
}

// sameAction tells whether a flow may begin with the action that a trace shows, so that a flow that was altered to drop or to go out
// elsewhere is found though it kept its cookie. Other actions Open vSwitch writes in several ways.
func sameAction(flow, shown string) bool {
	f, err := of.ParseFlow(flow)
	if err != nil || shown == "" {
		return true
	}
	if len(f.Actions) == 0 {
		return shown == "drop"
	}
	want := of.ActionsString(f.Actions[:1])
	if _, is := f.Actions[0].(of.Output); is {
		return shown == want
	}
	return shown != "drop" && !strings.HasPrefix(shown, "output:")
}
