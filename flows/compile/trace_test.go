//go:build integration

package compile_test

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"tuplenet/flows/of"
	"tuplenet/flows/sim"
)

// Reading what ofproto/trace prints. The last lines are stable over versions: the flow after all actions, and the
// actions for the datapath, whose syntax ovs-dpctl(8) shares.

// traced is what a real switch would do.
type traced struct {
	outputs []string
	final   map[of.Field]of.Value // only fields that the text has; nil: unchanged
}

// readTrace reads a trace of a packet of a length, up to connection tracking. Ports maps the datapath's port numbers to
// OpenFlow's; those of the underlay are not in it.
func readTrace(text string, length int, ports map[string]uint32) (traced, error) {
	var tr traced
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "Datapath actions: "); ok {
			if err := tr.actions(strings.TrimSpace(rest), length, ports); err != nil {
				return tr, err
			}
			return tr, nil
		}
		if rest, ok := strings.CutPrefix(line, "Final flow: "); ok {
			tr.final = readFlow(strings.TrimSpace(rest))
		}
	}
	return tr, errors.New("no actions")
}

// split cuts a list of actions at commas outside of brackets.
func split(text string) []string {
	var parts []string
	depth, start := 0, 0
	for i, c := range text {
		switch c {
		case '(', '{':
			depth++
		case ')', '}':
			depth--
		case ',':
			if depth == 0 {
				parts = append(parts, text[start:i])
				start = i + 1
			}
		}
	}
	return append(parts, text[start:])
}

// arguments is what stands between the brackets of an action.
func arguments(action string) string {
	return strings.TrimSuffix(action[strings.IndexByte(action, '(')+1:], ")")
}

var (
	tunnelHeader = regexp.MustCompile(`ipv[46]\(src=[^,]*,dst=([^,]*),.*(geneve|vxlan)\((?:flags=0x8000000,)?(?:oam,)?(?:crit,)?vni=(0x[0-9a-f]+)(?:,options\(\{class=0xffee,type=0x80,len=8,(0x[0-9a-f]+)\}\))?\)`)
	controller   = regexp.MustCompile(`controller\(reason=([0-9]+).*rule_cookie=(0x[0-9a-f]+|0)`)
	packetSize   = regexp.MustCompile(`^size=([0-9]+)$`)
)

func (tr *traced) actions(text string, length int, ports map[string]uint32) error {
	for _, a := range split(text) {
		name, _, _ := strings.Cut(a, "(")
		switch name {
		case "drop", "set", "meter", "ct_clear", "push_vlan", "pop_vlan", "recirc":
		case "ct":
			tr.outputs = append(tr.outputs, a)
		case "clone", "actions":
			if err := tr.actions(arguments(a), length, ports); err != nil {
				return err
			}
		case "sample":
			parts := split(arguments(a))
			if err := tr.actions(parts[len(parts)-1], length, ports); err != nil {
				return err
			}
		case "check_pkt_len":
			parts := split(arguments(a))
			size := packetSize.FindStringSubmatch(parts[0])
			if len(parts) != 3 || size == nil {
				return fmt.Errorf("cannot read %q", a)
			}
			branch := parts[2] // le
			if n, _ := strconv.Atoi(size[1]); length > n {
				branch = parts[1]
			}
			if err := tr.actions(arguments(branch), length, ports); err != nil {
				return err
			}
		case "tnl_push":
			h := tunnelHeader.FindStringSubmatch(a)
			if h == nil {
				return fmt.Errorf("cannot read %q", a)
			}
			tr.outputs = append(tr.outputs, tunnelOutput(h[1], h[2], h[3], h[4]))
		case "userspace":
			c := controller.FindStringSubmatch(a)
			if c == nil {
				return fmt.Errorf("cannot read %q", a)
			}
			tr.outputs = append(tr.outputs, "controller by "+c[2])
		default:
			if _, err := strconv.Atoi(a); err != nil {
				return fmt.Errorf("unknown action %q", a)
			}
			if p, ok := ports[a]; ok {
				tr.outputs = append(tr.outputs, fmt.Sprintf("port %d", p))
			}
		}
	}
	return nil
}

func tunnelOutput(dst, encap, vni, option string) string {
	return fmt.Sprintf("%s tunnel to %s vni %s option %s", encap, dst, vni, option)
}

// readFlow reads the fields that flows/of knows and that are printed in full; tunnel fields are compared with the
// outputs.
func readFlow(text string) map[of.Field]of.Value {
	if text == "unchanged" {
		return nil
	}
	words := split(text)
	fields := map[of.Field]of.Value{}
	for _, w := range words[1:] {
		m, err := of.ParseMatch(words[0] + "," + w) // the protocol decides what a word means
		if err != nil {
			continue
		}
		for _, t := range m {
			if t.Mask == t.Field.Mask() && !strings.HasPrefix(t.Field.String(), "tun_") {
				fields[t.Field] = t.Value
			}
		}
	}
	return fields
}

var ctZone = regexp.MustCompile(`zone=[0-9]+`)

// markOf is what an action writes into the mark of a connection, as the datapath has it.
func markOf(ct of.CT, p *sim.Packet) string {
	var value, mask of.Value
	for _, a := range ct.Exec {
		switch a := a.(type) {
		case of.SetField:
			value, mask = value.Or(a.Value), mask.Or(a.Mask)
		case of.CopyField:
			bits := p.Get(a.Src.Field).And(a.Src.Mask()).Shr(uint(a.Src.Ofs)).Shl(uint(a.Dst.Ofs))
			value, mask = value.Or(bits), mask.Or(a.Dst.Mask())
		}
	}
	if mask.IsZero() {
		return ""
	}
	return fmt.Sprintf(",mark=%#x/%#x", value.Lo, mask.Lo)
}

// simulated renders the outputs of the simulator, and then its visits to connection tracking, in the same words. Cookies says which flow punted.
func simulated(t sim.Trace, cookie func(*of.Flow) uint64) []string {
	var outputs []string
	for _, o := range t.Outputs {
		switch {
		case o.Port == of.PortController:
			outputs = append(outputs, fmt.Sprintf("controller by %#x", cookie(t.Steps[o.Step].Flow)))
		case o.Tunnel:
			dst := o.Packet.Get(of.TunDst).Addr4()
			if o.Packet.Get(of.TunDst).IsZero() {
				dst = o.Packet.Get(of.TunIPv6Dst).Addr6()
			}
			encap, option := "geneve", fmt.Sprintf("%#x", o.Packet.Get(of.TunMetadata0).Lo)
			if o.Port == vxlanPort {
				encap, option = "vxlan", ""
			}
			outputs = append(outputs, tunnelOutput(dst.String(), encap, fmt.Sprintf("%#x", o.Packet.Get(of.TunID).Lo), option))
		default:
			outputs = append(outputs, fmt.Sprintf("port %d", o.Port))
		}
	}
	for _, s := range t.Steps {
		for _, a := range s.Flow.Actions {
			if ct, ok := a.(of.CT); ok {
				mark := markOf(ct, &s.Packet)
				ct.Table, ct.Exec = nil, nil
				text := strings.TrimPrefix(of.Flow{Actions: []of.Action{ct}}.String(), "table=0,priority=0 actions=")
				outputs = append(outputs, ctZone.ReplaceAllString(text, "$0"+mark))
			}
		}
	}
	return outputs
}

// disagree tells how a trace and the simulator differ, or the empty string.
func (tr traced) disagree(t sim.Trace, before sim.Packet, cookie func(*of.Flow) uint64) string {
	if want := simulated(t, cookie); !slices.Equal(want, tr.outputs) {
		return fmt.Sprintf("the simulator says %q, the switch %q", want, tr.outputs)
	}
	for _, s := range t.Steps {
		for _, a := range s.Flow.Actions {
			if _, ok := a.(of.CheckPktLarger); ok {
				return "" // the switch goes both ways, and shows the flow before
			}
		}
	}
	final := tr.final
	if final == nil {
		if t.Final.Match().String() != before.Match().String() && len(t.Outputs) > 0 && headers(t.Final) != headers(before) {
			return fmt.Sprintf("the simulator ends with %s, the switch changes nothing", t.Final.String())
		}
		return ""
	}
	for f, v := range final {
		if t.Final.Get(f) != v && f != of.InPort {
			return fmt.Sprintf("the simulator ends with %s, the switch with %s", of.Eq(f, t.Final.Get(f)), of.Eq(f, v))
		}
	}
	return ""
}

// headers is what of a packet is on the wire, without metadata.
func headers(p sim.Packet) string {
	var m of.Match
	for _, t := range p.Match() {
		if t.Field >= of.EthSrc {
			m = append(m, t)
		}
	}
	return m.String()
}
