package of

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// defaultPriority is that of a flow whose text does not say (ovs-ofctl(8), "Flow Syntax").
const defaultPriority = 32768

// ParseFlow reads the text of one flow: what Flow.String writes, and what `ovs-ofctl -O OpenFlow15 dump-flows --no-names`
// prints for flows that this package can express. Cookie, statistics and timeouts of a dump are left out. The switch
// may have rewritten a match (it joins registers), so a parsed dump need not equal the flow that was sent.
func ParseFlow(text string) (Flow, error) {
	f := Flow{Priority: defaultPriority}
	head, tail, ok := strings.Cut(text, "actions=")
	if !ok {
		return Flow{}, fmt.Errorf("flow %q: no actions", text)
	}
	for _, w := range strings.FieldsFunc(head, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' }) {
		if err := f.parseWord(w); err != nil {
			return Flow{}, fmt.Errorf("flow %q: %w", text, err)
		}
	}
	var err error
	if f.Actions, err = ParseActions(strings.TrimSpace(tail)); err != nil {
		return Flow{}, fmt.Errorf("flow %q: %w", text, err)
	}
	return f, nil
}

// ParseMatch reads the text of a match.
func ParseMatch(text string) (Match, error) {
	var f Flow
	for _, w := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' }) {
		if err := f.parseMatchWord(w); err != nil {
			return nil, fmt.Errorf("match %q: %w", text, err)
		}
	}
	return f.Match, nil
}

// parseWord reads one part of a flow before its actions.
func (f *Flow) parseWord(w string) error {
	name, value, _ := strings.Cut(w, "=")
	switch name {
	case "cookie", "duration", "n_packets", "n_bytes", "idle_age", "hard_age", "idle_timeout", "hard_timeout", "importance",
		"send_flow_rem", "check_overlap", "reset_counts", "no_packet_counts", "no_byte_counts":
		return nil
	case "table":
		t, err := strconv.ParseUint(value, 0, 8)
		f.Table = uint8(t)
		return err
	case "priority":
		p, err := strconv.ParseUint(value, 0, 16)
		f.Priority = uint16(p)
		return err
	}
	return f.parseMatchWord(w)
}

func (f *Flow) parseMatchWord(w string) error {
	name, value, ok := strings.Cut(w, "=")
	if !ok {
		for _, p := range protocols {
			if p.name == name {
				f.Match = f.Match.insert(Eq(EthType, U(uint64(p.ethType))))
				if p.proto >= 0 {
					f.Match = f.Match.insert(Eq(IPProto, U(uint64(p.proto))))
				}
				return nil
			}
		}
		return fmt.Errorf("unknown word %q", name)
	}
	t, err := f.parseTerm(name, value)
	if err != nil {
		return err
	}
	if t.Field == VLANTCI {
		f.Match = f.Match.join(t)
	} else {
		f.Match = f.Match.insert(t)
	}
	return nil
}

// parseTerm reads name=value. Names of a dump whose field depends on the protocol (tp_dst, icmp_type) are resolved by
// what the match says already: a dump has the protocol first.
func (f *Flow) parseTerm(name, value string) (Term, error) {
	if name == "nw_tos" { // the dump's form of ip_dscp
		v, err := strconv.ParseUint(value, 0, 8)
		return Eq(IPDSCP, U(v>>2)), err
	}
	if name == "dl_vlan" || name == "dl_vlan_pcp" { // and of vlan_tci
		v, err := strconv.ParseUint(value, 0, 16)
		if name == "dl_vlan" {
			return Masked(VLANTCI, U(v|0x1000), U(0x1fff)), err
		}
		return Masked(VLANTCI, U(v<<13|0x1000), U(0xf000)), err
	}
	fld, ok := f.resolve(name)
	if !ok {
		return Term{}, fmt.Errorf("unknown field %q", name)
	}
	v, mask, err := parseMasked(fld, value)
	if err != nil {
		return Term{}, fmt.Errorf("%s=%s: %w", name, value, err)
	}
	return Term{Field: fld, Value: v, Mask: mask}, nil
}

// transportFields are the fields behind the names of a dump, by IP protocol.
var transportFields = map[string]map[uint64]Field{
	"tp_src":    {protoTCP: TCPSrc, protoUDP: UDPSrc, protoSCTP: SCTPSrc},
	"tp_dst":    {protoTCP: TCPDst, protoUDP: UDPDst, protoSCTP: SCTPDst},
	"icmp_type": {protoICMP: ICMPType, protoICMPv6: ICMPv6Type},
	"icmp_code": {protoICMP: ICMPCode, protoICMPv6: ICMPv6Code},
}

func (f *Flow) resolve(name string) (Field, bool) {
	if byProto, ok := transportFields[name]; ok {
		proto, _ := f.Match.exact(IPProto)
		fld, ok := byProto[proto]
		return fld, ok
	}
	return FieldByName(name)
}

// fieldNames finds a field by each of its names.
var fieldNames = indexNames()

func indexNames() map[string]Field {
	m := make(map[string]Field, 3*numFields)
	for f := range numFields {
		for _, n := range []string{fields[f].Name, fields[f].Alias, fields[f].Long} {
			if n != "" {
				m[n] = f
			}
		}
	}
	return m
}

// FieldByName finds a field by the name or one of the other names that OVS has for it.
func FieldByName(name string) (Field, bool) {
	f, ok := fieldNames[name]
	return f, ok
}

// parseMasked reads VALUE, VALUE/MASK, or the words of flag fields.
func parseMasked(f Field, text string) (v, mask Value, err error) {
	info := f.Info()
	switch info.Format {
	case FormatFrag:
		for _, n := range fragNames {
			if n.name == text {
				return U(n.value), U(n.mask), nil
			}
		}
	case FormatCTState:
		if v, mask, ok := parseFlags(ctStateNames[:], f, text); ok {
			return v, mask, nil
		}
	case FormatTCPFlags:
		if v, mask, ok := parseFlags(tcpFlagNames[:], f, text); ok {
			return v, mask, nil
		}
	case FormatTunFlags:
		if v, mask, ok := parseFlags([]string{"oam"}, f, text); ok {
			return v, mask, nil
		}
	}
	value, maskText, masked := strings.Cut(text, "/")
	if v, err = parseValue(info, value); err != nil {
		return Value{}, Value{}, err
	}
	mask = f.Mask()
	if masked {
		if mask, err = parseMask(info, maskText); err != nil {
			return Value{}, Value{}, err
		}
	}
	if !v.And(f.Mask().Not()).IsZero() || !mask.And(f.Mask().Not()).IsZero() {
		return Value{}, Value{}, fmt.Errorf("is wider than %d bits", f.Bits())
	}
	return v.And(mask), mask, nil
}

// parseFlags reads +a-b (a mask of the flags named) or a|b (all flags of the field).
func parseFlags(names []string, f Field, text string) (v, mask Value, ok bool) {
	bit := func(n string) uint64 {
		for i, m := range names {
			if m == n {
				return 1 << i
			}
		}
		if len(n) > 2 && n[0] == '[' && n[len(n)-1] == ']' { // a bit without a name
			u, _ := strconv.ParseUint(n[1:len(n)-1], 16, 32)
			return u
		}
		return 0
	}
	if text == "" || text[0] != '+' && text[0] != '-' {
		for n := range strings.SplitSeq(text, "|") {
			u := bit(n)
			if u == 0 {
				return Value{}, Value{}, false
			}
			v.Lo |= u
		}
		return v, f.Mask(), true
	}
	for text != "" {
		set := text[0] == '+'
		end := strings.IndexAny(text[1:], "+-")
		if end < 0 {
			end = len(text) - 1
		}
		u := bit(text[1 : 1+end])
		if u == 0 {
			return Value{}, Value{}, false
		}
		mask.Lo |= u
		if set {
			v.Lo |= u
		}
		text = text[1+end:]
	}
	return v, mask, true
}

func parseMask(info FieldInfo, text string) (Value, error) {
	if info.Format == FormatIPv4 || info.Format == FormatIPv6 {
		if n, err := strconv.ParseUint(text, 10, 8); err == nil && n <= uint64(info.Bits) {
			return Ones(int(n)).Shl(uint(info.Bits) - uint(n)), nil
		}
	}
	return parseValue(info, text)
}

func parseValue(info FieldInfo, text string) (Value, error) {
	switch info.Format {
	case FormatMAC:
		return parseMAC(text)
	case FormatIPv4, FormatIPv6:
		a, err := netip.ParseAddr(text)
		if err != nil {
			return Value{}, err
		}
		if a.Is4() != (info.Format == FormatIPv4) || a.Zone() != "" {
			return Value{}, fmt.Errorf("%s is of the wrong family", text)
		}
		b := a.As16() // keeps a mapped address apart from its IPv4 twin
		if a.Is4() {
			return readValue(b[12:]), nil
		}
		return readValue(b[:]), nil
	case FormatPort:
		p, err := parsePort(text)
		return U(uint64(p)), err
	}
	return parseNumber(text)
}

// parseNumber reads decimal numbers, and hexadecimal ones of up to 128 bits.
func parseNumber(text string) (Value, error) {
	digits, ok := strings.CutPrefix(text, "0x")
	if !ok {
		n, err := strconv.ParseUint(text, 10, 64)
		return U(n), err
	}
	digits = strings.TrimLeft(digits, "0")
	if len(digits) > 32 {
		return Value{}, errors.New("is wider than 128 bits")
	}
	var v Value
	for _, c := range []byte(digits) {
		d, err := strconv.ParseUint(string(c), 16, 8)
		if err != nil {
			return Value{}, err
		}
		v = v.Shl(4).Or(U(d))
	}
	return v, nil
}

func parseMAC(text string) (Value, error) {
	parts := strings.Split(text, ":")
	if len(parts) != 6 {
		return Value{}, fmt.Errorf("%q is no MAC address", text)
	}
	var v Value
	for _, p := range parts {
		n, err := strconv.ParseUint(p, 16, 8)
		if err != nil {
			return Value{}, fmt.Errorf("%q is no MAC address", text)
		}
		v.Lo = v.Lo<<8 | n
	}
	return v, nil
}

// parsePort reads a number or the name of a reserved port.
func parsePort(text string) (uint32, error) {
	for _, n := range portNames {
		if n.name == text {
			return n.port, nil
		}
	}
	p, err := strconv.ParseUint(text, 0, 32)
	return uint32(p), err
}
