package of

import "strconv"

// String is the canonical text of a flow, as `ovs-ofctl -O OpenFlow15 add-flow` reads it.
func (f Flow) String() string {
	b := make([]byte, 0, 256)
	b = strconv.AppendUint(append(b, "table="...), uint64(f.Table), 10)
	b = strconv.AppendUint(append(b, ",priority="...), uint64(f.Priority), 10)
	if len(f.Match) > 0 {
		b = appendMatchText(append(b, ','), f.Match)
	}
	return string(appendActionsText(append(b, " actions="...), f.Actions))
}

// String is the text of a match; the empty match is the empty string.
func (m Match) String() string { return string(appendMatchText(nil, m)) }

// String is the text of one term.
func (t Term) String() string { return string(appendTermText(nil, t)) }

// protocols are the words that stand for eth_type and ip_proto together.
var protocols = []struct {
	name           string
	ethType, proto int // proto -1: none
}{
	{"ip", ethIPv4, -1}, {"ipv6", ethIPv6, -1}, {"arp", ethARP, -1},
	{"icmp", ethIPv4, protoICMP}, {"tcp", ethIPv4, protoTCP}, {"udp", ethIPv4, protoUDP}, {"sctp", ethIPv4, protoSCTP},
	{"icmp6", ethIPv6, protoICMPv6}, {"tcp6", ethIPv6, protoTCP}, {"udp6", ethIPv6, protoUDP}, {"sctp6", ethIPv6, protoSCTP},
}

// protocolWord finds the word for what a match says, and whether it covers the IP protocol too.
func protocolWord(m Match) (word string, covers bool) {
	eth, ok := m.exact(EthType)
	if !ok {
		return "", false
	}
	proto, hasProto := m.exact(IPProto)
	for _, p := range protocols {
		switch {
		case p.ethType != int(eth):
		case p.proto == -1:
			word = p.name
		case hasProto && p.proto == int(proto):
			return p.name, true
		}
	}
	return word, false
}

// appendMatchText writes the protocol word first, then the terms in the order of their fields.
func appendMatchText(b []byte, m Match) []byte {
	word, covers := protocolWord(m)
	start := len(b)
	b = append(b, word...)
	for _, t := range m {
		if t.Field == EthType && word != "" || t.Field == IPProto && covers {
			continue
		}
		if len(b) > start {
			b = append(b, ',')
		}
		b = appendTermText(b, t)
	}
	return b
}

func appendTermText(b []byte, t Term) []byte {
	b = append(append(b, t.Field.String()...), '=')
	switch t.Field.Info().Format {
	case FormatFrag:
		return append(b, fragName(t.Value.Lo, t.Mask.Lo)...)
	case FormatCTState:
		return appendFlags(b, ctStateNames[:], t.Field, t.Value, t.Mask)
	case FormatTCPFlags:
		return appendFlags(b, tcpFlagNames[:], t.Field, t.Value, t.Mask)
	case FormatTunFlags:
		if t.Value.Lo == 0 {
			return append(b, "-oam"...)
		}
		return append(b, "+oam"...)
	}
	return appendMaskedText(b, t.Field, t.Value, t.Mask)
}

var (
	ctStateNames = [...]string{"new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat"}
	tcpFlagNames = [...]string{"fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns"}
	fragNames    = [...]struct {
		name        string
		value, mask uint64
	}{{"no", 0, 3}, {"first", 1, 3}, {"later", 3, 3}, {"yes", 1, 1}, {"not_later", 0, 2}}
)

// fragName is the word for a condition on IPFrag, empty for conditions that OVS has no word for.
func fragName(value, mask uint64) string {
	for _, f := range fragNames {
		if f.value == value && f.mask == mask {
			return f.name
		}
	}
	return ""
}

// appendFlags writes +set-clear, or numbers if the mask covers everything or bits without a name.
func appendFlags(b []byte, names []string, f Field, v, mask Value) []byte {
	if mask == f.Mask() || mask.Lo>>len(names) != 0 {
		return appendMaskedText(b, f, v, mask)
	}
	for i, n := range names {
		switch bit := uint64(1) << i; {
		case mask.Lo&bit == 0:
		case v.Lo&bit != 0:
			b = append(append(b, '+'), n...)
		default:
			b = append(append(b, '-'), n...)
		}
	}
	return b
}

// appendMaskedText writes VALUE or VALUE/MASK in the field's format.
func appendMaskedText(b []byte, f Field, v, mask Value) []byte {
	format := f.Info().Format
	if mask == f.Mask() {
		return appendValueText(b, format, v)
	}
	switch format {
	case FormatIPv4, FormatIPv6:
		b = append(appendValueText(b, format, v), '/')
		if n := mask.onesCount(); mask == Ones(n).Shl(uint(f.Bits()-n)) {
			return strconv.AppendUint(b, uint64(n), 10)
		}
		return appendValueText(b, format, mask)
	case FormatMAC:
	default:
		format = Hex
	}
	return appendValueText(append(appendValueText(b, format, v), '/'), format, mask)
}

func appendValueText(b []byte, format Format, v Value) []byte {
	switch format {
	case Decimal:
		return strconv.AppendUint(b, v.Lo, 10)
	case FormatMAC:
		return appendMAC(b, v.MAC())
	case FormatIPv4:
		return v.Addr4().AppendTo(b)
	case FormatIPv6:
		return v.Addr6().AppendTo(b)
	case FormatPort:
		return appendPort(b, uint32(v.Lo))
	}
	return appendHex(b, v)
}

func appendMAC(b []byte, m [6]byte) []byte {
	for i, c := range m {
		if i > 0 {
			b = append(b, ':')
		}
		b = append(b, "0123456789abcdef"[c>>4], "0123456789abcdef"[c&15])
	}
	return b
}

// appendHex writes a value as 0x….
func appendHex(b []byte, v Value) []byte {
	b = append(b, "0x"...)
	if v.Hi == 0 {
		return strconv.AppendUint(b, v.Lo, 16)
	}
	b = strconv.AppendUint(b, v.Hi, 16)
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, "0123456789abcdef"[v.Lo>>shift&15])
	}
	return b
}

// portNames are the reserved ports in text.
var portNames = []struct {
	name string
	port uint32
}{
	{"IN_PORT", PortInPort}, {"TABLE", PortTable}, {"NORMAL", PortNormal}, {"FLOOD", PortFlood},
	{"ALL", PortAll}, {"CONTROLLER", PortController}, {"LOCAL", PortLocal}, {"ANY", PortAny},
}

func appendPort(b []byte, p uint32) []byte {
	for _, n := range portNames {
		if n.port == p {
			return append(b, n.name...)
		}
	}
	return strconv.AppendUint(b, uint64(p), 10)
}
