package tpctl

import (
	"fmt"
	"io"
	"strings"

	"tuplenet/flows/walk"
)

// write prints a report in the form that was asked for. The text is for people; plain, asked for by name, is one line a
// stage for scripts.
func (t *tracing) write(r *walk.Report) error {
	if t.set.Output.structured() {
		return writeDocument(t.env.Stdout, t.set.Output, r)
	}
	var b strings.Builder
	if t.set.Output == formatPlain && (t.flags.Changed("output") || t.env.Getenv("TPCTL_OUTPUT") != "") {
		writeStages(&b, r.Forward)
		if r.Reply != nil {
			writeStages(&b, *r.Reply)
		}
	} else {
		writeStory(&b, r)
		if t.paper != "" && t.paper != r.Verdict {
			fmt.Fprintf(&b, "on paper: %s\n", t.paper)
		}
		if t.o.ovs && len(r.Defects) == 0 {
			fmt.Fprintf(&b, "the switches agree: ofproto/trace was asked %d times\n", t.asked)
		}
	}
	_, err := io.WriteString(t.env.Stdout, b.String())
	return err
}

// unknownPort stands in the plain form for a port that is not decided yet.
const unknownPort = "<UNK>"

// writeStages writes one line a stage.
func writeStages(b *strings.Builder, l walk.Leg) {
	for _, h := range l.Hops {
		for _, s := range h.Stages {
			fmt.Fprintf(b, "type:%s,pipeline:%s,from:%s,to:%s,stage:%s/%s,chassis:%s\n", s.Type, s.Device, firstOf(s.From, unknownPort), firstOf(s.To, unknownPort), s.Table, s.Rule, h.Chassis)
		}
	}
}

// writeStory tells the way in text.
func writeStory(b *strings.Builder, r *walk.Report) {
	writeLeg(b, "packet", r.Forward)
	if r.Reply != nil {
		b.WriteByte('\n')
		writeLeg(b, "answer", *r.Reply)
	}
	b.WriteByte('\n')
	for _, a := range r.Assumed {
		fmt.Fprintf(b, "assumed: %s\n", a)
	}
	for _, d := range r.Defects {
		fmt.Fprintf(b, "DEFECT: %s\n", d)
	}
	fmt.Fprintf(b, "=> %s\n", r.Verdict)
}

func writeLeg(b *strings.Builder, what string, l walk.Leg) {
	fmt.Fprintf(b, "%s: %s\nfrom:   %s on %s\n", what, l.Packet, l.From, l.Chassis)
	for i, h := range l.Hops {
		by := ""
		if h.From >= 0 {
			by = ", through the tunnel from " + l.Hops[h.From].Chassis
		}
		fmt.Fprintf(b, "\n%d. chassis %s%s\n", i+1, h.Chassis, by)
		writeHop(b, h)
		for _, e := range l.Ends {
			if e.Hop == i {
				fmt.Fprintf(b, "   => %s\n", e)
			}
		}
		if h.MTU > 0 {
			fmt.Fprintf(b, "   MTU of the tunnel: %d bytes\n", h.MTU)
		}
	}
}

func writeHop(b *strings.Builder, h walk.Hop) {
	device := ""
	for _, s := range h.Stages {
		if name := s.Type + " " + s.Device; name != device {
			device = name
			fmt.Fprintf(b, "   %s%s\n", name, ports(s))
		}
		rule := firstOf(s.Rule, "no flow")
		fmt.Fprintf(b, "     %-13s %-18s %s\n", s.Table, rule, s.Owner)
		for _, line := range append(append(choices(s.Choices), s.Changes...), s.Notes...) {
			fmt.Fprintf(b, "     %-13s   %s\n", "", line)
		}
		if s.Drop == "" {
			continue
		}
		fmt.Fprintf(b, "     %-13s   DROP: %s\n", "", s.Drop)
		for _, m := range s.WhyNot {
			fmt.Fprintf(b, "     %-13s   why not %s (%s): it wants %s, the packet has %s\n", "", m.Rule, m.Owner, m.Wants, m.Has)
		}
	}
}

func ports(s walk.Stage) string {
	if s.From == "" {
		return ""
	}
	return ", in by " + s.From
}

func choices(all []walk.Choice) (lines []string) {
	for _, c := range all {
		line := fmt.Sprintf("takes %s of %s, by %s", firstOf(c.Taken, "none"), firstOf(strings.Join(c.Ways, " | "), "none"), c.By)
		if len(c.Dead) > 0 {
			line += "; dead: " + strings.Join(c.Dead, " | ")
		}
		if !c.Predicted {
			line += " (any of them is possible)"
		}
		lines = append(lines, line)
	}
	return lines
}
