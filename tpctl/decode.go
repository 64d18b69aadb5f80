package tpctl

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"tuplenet/flows/decode"
	"tuplenet/flows/of"
)

// maxLine bounds a line of a dump: a group of a large network has thousands of buckets.
const maxLine = 16 << 20

func (a *app) decodeCommand() *cobra.Command {
	return a.command(verb{
		use: "decode", short: "Give names to the numbers of flow dumps and traces on stdin",
		long: `Read what ovs-ofctl dump-flows, ovs-ofctl dump-groups or ovs-appctl ofproto/trace printed from stdin and write it with the
names of tables, rules, registers and actions. Lines that are none of these are passed on as they are. No etcd and no switch
is needed: it works on what somebody sent.

  ovs-ofctl -O OpenFlow15 dump-flows br-int | tpctl decode
  ovs-appctl ofproto/trace br-int in_port=5,icmp,… | tpctl decode`,
		max: 0, wrong: "no parameters required, the text comes from stdin",
		run: func(cmd *cobra.Command, _ []string) error { return decodeLines(a.env.Stdin, a.env.Stdout) },
	})
}

// decodeLines decodes text line by line, so that it can follow a stream.
func decodeLines(in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 64<<10), maxLine)
	for lines.Scan() {
		if _, err := fmt.Fprintln(out, decodeLine(lines.Text())); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read stdin: %w", err)
	}
	return nil
}

var (
	// step is a line of ofproto/trace: the number of a table, the match of the flow, its priority.
	step = regexp.MustCompile(`^(\s*)(\d{1,3})\. (.*?),? ?priority (\d+)(, cookie (0x[0-9a-f]+))?$`)
	// counters are what dump-flows says of a flow beside itself.
	counters = regexp.MustCompile(`n_packets=(\d+), n_bytes=(\d+)`)
	cookie   = regexp.MustCompile(`cookie=(0x[0-9a-f]+)`)
)

// decodeLine decodes one line if it is of a kind that is known.
func decodeLine(line string) string {
	if m := step.FindStringSubmatch(line); m != nil {
		return decodeStep(line, m)
	}
	trimmed := strings.TrimSpace(line)
	if !strings.Contains(trimmed, "actions=") || strings.HasPrefix(trimmed, "group_id=") {
		return line
	}
	flow, rules, err := decode.Line(trimmed)
	if err != nil {
		return line
	}
	var b strings.Builder
	b.WriteString(decode.Flow(flow))
	if len(rules) > 0 {
		fmt.Fprintf(&b, " rule=%s", rules[0].Name)
		if rules[0].Drop != "" {
			fmt.Fprintf(&b, " (drop: %s)", rules[0].Drop)
		}
	}
	if m := counters.FindStringSubmatch(trimmed); m != nil {
		fmt.Fprintf(&b, " packets=%s bytes=%s", m[1], m[2])
	}
	if m := cookie.FindStringSubmatch(trimmed); m != nil {
		fmt.Fprintf(&b, " cookie=%s", m[1])
	}
	return b.String()
}

// decodeStep names the table and the fields of a step of a trace. The rule needs the actions, which are on the lines that follow.
func decodeStep(line string, m []string) string {
	match := m[3]
	if match == "No match" {
		return line
	}
	f, err := of.ParseFlow(fmt.Sprintf("table=%s,priority=%s,%s,actions=drop", m[2], m[4], match))
	if err != nil && match == "" {
		f, err = of.ParseFlow(fmt.Sprintf("table=%s,priority=%s,actions=drop", m[2], m[4]))
	}
	if err != nil {
		return line
	}
	return fmt.Sprintf("%s%s priority=%d %s", m[1], decode.Table(f.Table), f.Priority, decode.Match(f.Match))
}
