package of

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// ParseActions reads a list of actions as after "actions=".
func ParseActions(text string) ([]Action, error) {
	if text == "drop" || text == "" {
		return nil, nil
	}
	var as []Action
	for _, w := range splitTop(text) {
		a, err := parseAction(w)
		if err != nil {
			return nil, fmt.Errorf("action %q: %w", w, err)
		}
		as = append(as, a)
	}
	return as, nil
}

// splitTop splits at commas that are not inside of parentheses.
func splitTop(text string) []string {
	var parts []string
	depth, start := 0, 0
	for i := range len(text) {
		switch text[i] {
		case '(':
			depth++
		case ')':
			depth--
		case ',':
			if depth == 0 {
				parts = append(parts, strings.TrimSpace(text[start:i]))
				start = i + 1
			}
		}
	}
	return append(parts, strings.TrimSpace(text[start:]))
}

// cutAction splits a word into its name and argument: name(arg), name:arg or name(arg)->rest, where the rest is returned too.
func cutAction(w string) (name, arg, rest string) {
	i := strings.IndexAny(w, ":(")
	if i < 0 {
		return w, "", ""
	}
	if w[i] == ':' {
		return w[:i], w[i+1:], ""
	}
	if j := strings.LastIndexByte(w, ')'); j > i {
		return w[:i], w[i+1 : j], w[j+1:]
	}
	return w[:i], w[i+1:], "unclosed"
}

func parseAction(w string) (Action, error) {
	name, arg, rest := cutAction(w)
	if rest != "" && name != "check_pkt_larger" {
		return nil, fmt.Errorf("unexpected %q", rest)
	}
	switch name {
	case "output":
		if strings.Contains(arg, "[") {
			s, err := parseSubfield(arg)
			return OutputField{Src: s}, err
		}
		p, err := parsePort(arg)
		return Output{Port: p}, err
	case "controller", "CONTROLLER":
		return parseController(arg)
	case "set_field":
		return parseSetField(arg)
	case "move":
		return parseMove(arg)
	case "resubmit":
		return parseResubmit(arg)
	case "goto_table":
		n, err := strconv.ParseUint(arg, 0, 8)
		return Goto{Table: uint8(n)}, err
	case "group":
		n, err := strconv.ParseUint(arg, 0, 32)
		return GroupAction{ID: uint32(n)}, err
	case "meter":
		n, err := strconv.ParseUint(arg, 0, 32)
		return MeterAction{ID: uint32(n)}, err
	case "push":
		s, err := parseSubfield(arg)
		return Push{Src: s}, err
	case "pop":
		s, err := parseSubfield(arg)
		return Pop{Dst: s}, err
	case "check_pkt_larger":
		n, err := strconv.ParseUint(arg, 0, 16)
		s, err2 := parseSubfield(strings.TrimPrefix(rest, "->"))
		return CheckPktLarger{Bytes: uint16(n), Dst: s}, errors.Join(err, err2)
	case "clone":
		as, err := ParseActions(arg)
		return Clone{Actions: as}, err
	case "ct":
		return parseCT(arg)
	case "learn":
		return parseLearn(arg)
	case "dec_ttl":
		return DecTTL{}, nil
	case "ct_clear":
		return CTClear{}, nil
	}
	p, err := parsePort(w)
	if err != nil {
		return nil, errors.New("unknown action")
	}
	return Output{Port: p}, nil
}

func parseMove(arg string) (Action, error) {
	src, dst, ok := strings.Cut(arg, "->")
	if !ok {
		return nil, errors.New("no target")
	}
	s, err := parseSubfield(src)
	d, err2 := parseSubfield(dst)
	return CopyField{Src: s, Dst: d}, errors.Join(err, err2)
}

// parseSubfield reads name[a..b], name[a], name[] or name.
func parseSubfield(text string) (Subfield, error) {
	name, bits, hasBits := strings.Cut(text, "[")
	f, ok := FieldByName(name)
	if !ok || name == "in_port" { // that would be the 16-bit form, see subfieldName
		return Subfield{}, fmt.Errorf("unknown field %q", name)
	}
	bits = strings.TrimSuffix(bits, "]")
	if !hasBits || bits == "" {
		return Whole(f), nil
	}
	first, last, isRange := strings.Cut(bits, "..")
	a, err := strconv.ParseUint(first, 10, 8)
	b := a
	if isRange && err == nil {
		b, err = strconv.ParseUint(last, 10, 8)
	}
	if err != nil || b < a || int(b) >= f.Bits() {
		return Subfield{}, fmt.Errorf("%q is no part of %s", bits, f)
	}
	return Bits(f, uint8(a), uint8(b-a+1)), nil
}

func parseSetField(arg string) (Action, error) {
	value, name, ok := strings.Cut(arg, "->")
	f, known := FieldByName(name)
	if !ok || !known {
		return nil, fmt.Errorf("unknown field %q", name)
	}
	v, mask, err := parseMasked(f, value)
	return SetField{Field: f, Value: v, Mask: mask}, err
}

func parseResubmit(arg string) (Action, error) {
	port, table, ok := strings.Cut(arg, ",")
	if !ok {
		return nil, errors.New("no table")
	}
	a := Resubmit{Port: ResubmitInPort}
	if port != "" {
		n, err := strconv.ParseUint(port, 0, 16)
		if err != nil {
			return nil, err
		}
		a.Port = uint16(n)
	}
	n, err := strconv.ParseUint(table, 0, 8)
	a.Table = uint8(n)
	return a, err
}

// parseController reads the arguments of controller(…), or the maximum length of the dump's CONTROLLER:N.
func parseController(arg string) (Action, error) {
	a := Controller{MaxLen: 0xffff, Reason: ReasonAction}
	if n, err := strconv.ParseUint(arg, 10, 16); err == nil {
		a.MaxLen = uint16(n)
		return a, nil
	}
	for _, w := range splitTop(arg) {
		name, value, _ := strings.Cut(w, "=")
		var n uint64
		var err error
		switch name {
		case "":
		case "max_len":
			n, err = strconv.ParseUint(value, 0, 16)
			a.MaxLen = uint16(n)
		case "id":
			n, err = strconv.ParseUint(value, 0, 16)
			a.ID = uint16(n)
		case "meter_id":
			n, err = strconv.ParseUint(value, 0, 32)
			a.MeterID = uint32(n)
		case "userdata":
			a.Userdata, err = hex.DecodeString(strings.ReplaceAll(value, ".", ""))
		case "reason":
			a.Reason, err = parseReason(value)
		default:
			err = fmt.Errorf("unknown argument %q", name)
		}
		if err != nil {
			return nil, err
		}
	}
	return a, nil
}

func parseReason(text string) (uint8, error) {
	for i, n := range reasonNames {
		if n == text {
			return uint8(i), nil
		}
	}
	n, err := strconv.ParseUint(text, 0, 8)
	return uint8(n), err
}

func parseCT(arg string) (Action, error) {
	var a CT
	for _, w := range splitTop(arg) {
		if err := a.parseArg(w); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func (a *CT) parseArg(w string) error {
	name, value := w, ""
	if i := strings.IndexAny(w, "=("); i >= 0 {
		name, value = w[:i], w[i+1:]
		if w[i] == '(' {
			value = strings.TrimSuffix(value, ")")
		}
	}
	var err error
	switch name {
	case "":
	case "commit":
		a.Commit = true
	case "force":
		a.Force = true
	case "table":
		var n uint64
		n, err = strconv.ParseUint(value, 0, 8)
		t := uint8(n)
		a.Table = &t
	case "zone":
		err = a.parseZone(value)
	case "nat":
		a.NAT, err = parseNAT(value)
	case "exec":
		a.Exec, err = ParseActions(value)
	case "alg":
		switch value {
		case "ftp":
			a.ALG = algFTP
		case "tftp":
			a.ALG = algTFTP
		default:
			err = fmt.Errorf("unknown alg %q", value)
		}
	default:
		err = fmt.Errorf("unknown argument %q", name)
	}
	return err
}

func (a *CT) parseZone(text string) error {
	if n, err := strconv.ParseUint(text, 0, 16); err == nil {
		a.Zone = uint16(n)
		return nil
	}
	s, err := parseSubfield(text)
	a.ZoneSrc = &s
	return err
}

func parseNAT(text string) (*NAT, error) {
	n := &NAT{}
	if text == "" {
		return n, nil
	}
	for i, w := range splitTop(text) {
		name, value, _ := strings.Cut(w, "=")
		switch {
		case i == 0 && name == "src":
			n.Type = NATSrc
		case i == 0 && name == "dst":
			n.Type = NATDst
		case w == "persistent":
			n.Persistent = true
		case w == "hash":
			n.Hash = true
		case w == "random":
			n.Random = true
		default:
			return nil, fmt.Errorf("unknown argument %q", w)
		}
		if value != "" {
			if err := n.parseRange(value); err != nil {
				return nil, fmt.Errorf("nat %q: %w", value, err)
			}
		}
	}
	return n, nil
}

// parseRange reads ADDR[-ADDR][:PORT[-PORT]], with brackets around IPv6 addresses before ports.
func (n *NAT) parseRange(text string) error {
	addrs, ports := text, ""
	if i := strings.LastIndexByte(text, ':'); i >= 0 && (strings.Contains(text, "]:") || strings.Count(text, ":") == 1) {
		addrs, ports = text[:i], text[i+1:]
	}
	first, last, isRange := strings.Cut(addrs, "-")
	var err error
	if n.AddrMin, err = netip.ParseAddr(strings.Trim(first, "[]")); err != nil {
		return err
	}
	if isRange {
		if n.AddrMax, err = netip.ParseAddr(strings.Trim(last, "[]")); err != nil {
			return err
		}
	}
	if ports == "" {
		return nil
	}
	first, last, isRange = strings.Cut(ports, "-")
	p, err := strconv.ParseUint(first, 10, 16)
	if err != nil {
		return err
	}
	n.PortMin = uint16(p)
	if isRange {
		p, err = strconv.ParseUint(last, 10, 16)
		n.PortMax = uint16(p)
	}
	return err
}
