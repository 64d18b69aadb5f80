package of

import "strings"

// Field is a part of a packet or of its metadata that flows match on or write. Fields are numbered so that a
// prerequisite always has a smaller number than what needs it: OVS checks prerequisites while it reads a match.
type Field uint8

// The fields. Comments give what a name does not tell; formats are in ovs-fields(7).
const (
	InPort   Field = iota // 32 bits as in OpenFlow 1.1+; writing 0 lets a packet leave through where it came in
	Metadata              // 64 bits that live as long as the packet is in the pipeline
	Reg0
	Reg1
	Reg2
	Reg3
	Reg4
	Reg5
	Reg6
	Reg7
	Reg8
	Reg9
	Reg10
	Reg11
	Reg12
	Reg13
	Reg14
	Reg15
	XReg0 // reg0 (upper half) and reg1 as one 64-bit field, and so on
	XReg1
	XReg2
	XReg3
	XReg4
	XReg5
	XReg6
	XReg7
	XXReg0 // reg0 (most significant) to reg3 as one 128-bit field, and so on
	XXReg1
	XXReg2
	XXReg3
	PktMark
	ConjID
	TunID
	TunSrc
	TunDst
	TunIPv6Src
	TunIPv6Dst
	TunFlags
	TunMetadata0 // the Geneve option that the TLV map binds to index 0; 8 bytes in this product
	CTState
	CTZone
	CTMark
	CTLabel
	EthSrc
	EthDst
	EthType
	VLANTCI
	IPProto
	IPTTL
	IPFrag // 0/3 no fragment, 1/3 first, 3/3 later, 1/1 any, 0/2 not a later one
	IPDSCP // the six bits as a number 0…63, not shifted
	IPECN
	IPSrc
	IPDst
	IPv6Src
	IPv6Dst
	IPv6Label
	ARPOp
	ARPSPA
	ARPTPA
	ARPSHA
	ARPTHA
	TCPSrc
	TCPDst
	TCPFlags
	UDPSrc
	UDPDst
	SCTPSrc
	SCTPDst
	ICMPType
	ICMPCode
	ICMPv6Type
	ICMPv6Code
	NDTarget
	NDSLL // needs icmpv6_type=135
	NDTLL // needs icmpv6_type=136
	NDReserved
	NDOptionsType
	CTNwProto // original direction of the connection, fields of the conntrack entry
	CTNwSrc
	CTNwDst
	CTIPv6Src
	CTIPv6Dst
	CTTpSrc
	CTTpDst
	numFields
)

// Format tells how a field's value is written in text.
type Format uint8

// The formats of values.
const (
	Hex Format = iota
	Decimal
	FormatMAC
	FormatIPv4
	FormatIPv6
	FormatPort
	FormatFrag
	FormatCTState
	FormatTCPFlags
	FormatTunFlags
)

// Prereq is what a match must say before a field may be matched or written (ovs-fields(7), "Prerequisites").
type Prereq uint8

// The prerequisites.
const (
	NoPrereq Prereq = iota
	NeedIPv4
	NeedIPv6
	NeedIP // IPv4 or IPv6
	NeedARP
	NeedTCP
	NeedUDP
	NeedSCTP
	NeedICMP
	NeedICMPv6
	NeedND      // neighbour solicitation or advertisement
	NeedNDSol   // icmpv6_type=135
	NeedNDAdv   // icmpv6_type=136
	NeedCT      // ct_state says that there is a connection (ovs-fields(7), "ct_nw_src")
	NeedCTIPv4  // and IPv4
	NeedCTIPv6  // and IPv6
	NeedCTPorts // and ct_nw_proto of a protocol that has ports
	numPrereqs
)

// FieldInfo is the declaration of a field.
type FieldInfo struct {
	// Name in text, as ovs-ofctl reads it; Alias is another name that it reads or prints, Long the one that it prints
	// for parts of fields.
	Name, Alias, Long string
	// Class and Number are the OXM header (OpenFlow 1.5.1 section 7.2.3.2; NXM classes are 0 and 1).
	Class  uint16
	Number uint8
	// Bits is the width; Bytes is the size on the wire.
	Bits, Bytes uint8
	// Maskable fields may be matched in part; Writable ones may be the target of set_field and copy_field.
	Maskable, Writable bool
	Format             Format
	Prereq             Prereq
}

// The OXM classes in use.
const (
	classNXM0    = 0x0000
	classNXM1    = 0x0001
	classBasic   = 0x8000
	classPktRegs = 0x8001
	classEric    = 0x1000 // ND extensions of OVS 2.11
)

func reg(name string, n uint8) FieldInfo {
	return FieldInfo{Name: name, Long: "NXM_NX_" + strings.ToUpper(name), Class: classNXM1, Number: n, Bits: 32, Bytes: 4, Maskable: true, Writable: true}
}

func xreg(name string, n uint8) FieldInfo {
	return FieldInfo{Name: name, Long: "OXM_OF_PKT_REG" + name[4:], Class: classPktRegs, Number: n, Bits: 64, Bytes: 8, Maskable: true, Writable: true}
}

func xxreg(name string, n uint8) FieldInfo {
	return FieldInfo{Name: name, Long: "NXM_NX_" + strings.ToUpper(name), Class: classNXM1, Number: n, Bits: 128, Bytes: 16, Maskable: true, Writable: true}
}

// fields is the one table of fields; nothing else knows widths, headers or prerequisites.
var fields = [numFields]FieldInfo{
	InPort:   {"in_port", "in_port_oxm", "OXM_OF_IN_PORT", classBasic, 0, 32, 4, false, true, FormatPort, NoPrereq},
	Metadata: {"metadata", "", "OXM_OF_METADATA", classBasic, 2, 64, 8, true, true, Hex, NoPrereq},
	Reg0:     reg("reg0", 0), Reg1: reg("reg1", 1), Reg2: reg("reg2", 2), Reg3: reg("reg3", 3),
	Reg4: reg("reg4", 4), Reg5: reg("reg5", 5), Reg6: reg("reg6", 6), Reg7: reg("reg7", 7),
	Reg8: reg("reg8", 8), Reg9: reg("reg9", 9), Reg10: reg("reg10", 10), Reg11: reg("reg11", 11),
	Reg12: reg("reg12", 12), Reg13: reg("reg13", 13), Reg14: reg("reg14", 14), Reg15: reg("reg15", 15),
	XReg0: xreg("xreg0", 0), XReg1: xreg("xreg1", 1), XReg2: xreg("xreg2", 2), XReg3: xreg("xreg3", 3),
	XReg4: xreg("xreg4", 4), XReg5: xreg("xreg5", 5), XReg6: xreg("xreg6", 6), XReg7: xreg("xreg7", 7),
	XXReg0: xxreg("xxreg0", 111), XXReg1: xxreg("xxreg1", 112), XXReg2: xxreg("xxreg2", 113), XXReg3: xxreg("xxreg3", 114),
	PktMark: {"pkt_mark", "", "NXM_NX_PKT_MARK", classNXM1, 33, 32, 4, true, true, Hex, NoPrereq},
	ConjID:  {"conj_id", "", "NXM_NX_CONJ_ID", classNXM1, 37, 32, 4, false, false, Decimal, NoPrereq},

	TunID:        {"tun_id", "tunnel_id", "NXM_NX_TUN_ID", classBasic, 38, 64, 8, true, true, Hex, NoPrereq},
	TunSrc:       {"tun_src", "", "NXM_NX_TUN_IPV4_SRC", classNXM1, 31, 32, 4, true, true, FormatIPv4, NoPrereq},
	TunDst:       {"tun_dst", "", "NXM_NX_TUN_IPV4_DST", classNXM1, 32, 32, 4, true, true, FormatIPv4, NoPrereq},
	TunIPv6Src:   {"tun_ipv6_src", "", "NXM_NX_TUN_IPV6_SRC", classNXM1, 109, 128, 16, true, true, FormatIPv6, NoPrereq},
	TunIPv6Dst:   {"tun_ipv6_dst", "", "NXM_NX_TUN_IPV6_DST", classNXM1, 110, 128, 16, true, true, FormatIPv6, NoPrereq},
	TunFlags:     {"tun_flags", "", "NXM_NX_TUN_FLAGS", classNXM1, 104, 1, 2, true, true, FormatTunFlags, NoPrereq},
	TunMetadata0: {"tun_metadata0", "", "NXM_NX_TUN_METADATA0", classNXM1, 40, 64, 8, true, true, Hex, NoPrereq},

	CTState: {"ct_state", "", "NXM_NX_CT_STATE", classNXM1, 105, 32, 4, true, false, FormatCTState, NoPrereq},
	CTZone:  {"ct_zone", "", "NXM_NX_CT_ZONE", classNXM1, 106, 16, 2, false, false, Hex, NoPrereq},
	CTMark:  {"ct_mark", "", "NXM_NX_CT_MARK", classNXM1, 107, 32, 4, true, true, Hex, NoPrereq},
	CTLabel: {"ct_label", "", "NXM_NX_CT_LABEL", classNXM1, 108, 128, 16, true, true, Hex, NoPrereq},

	EthSrc:  {"eth_src", "dl_src", "NXM_OF_ETH_SRC", classBasic, 4, 48, 6, true, true, FormatMAC, NoPrereq},
	EthDst:  {"eth_dst", "dl_dst", "NXM_OF_ETH_DST", classBasic, 3, 48, 6, true, true, FormatMAC, NoPrereq},
	EthType: {"eth_type", "dl_type", "NXM_OF_ETH_TYPE", classBasic, 5, 16, 2, false, false, Hex, NoPrereq},
	VLANTCI: {"vlan_tci", "", "NXM_OF_VLAN_TCI", classNXM0, 4, 16, 2, true, true, Hex, NoPrereq},

	IPProto:   {"nw_proto", "ip_proto", "NXM_OF_IP_PROTO", classBasic, 10, 8, 1, false, false, Decimal, NeedIP},
	IPTTL:     {"nw_ttl", "ip_ttl", "NXM_NX_IP_TTL", classNXM1, 29, 8, 1, false, true, Decimal, NeedIP},
	IPFrag:    {"ip_frag", "nw_frag", "NXM_NX_IP_FRAG", classNXM1, 26, 2, 1, true, false, FormatFrag, NeedIP},
	IPDSCP:    {"ip_dscp", "", "OXM_OF_IP_DSCP", classBasic, 8, 6, 1, false, true, Decimal, NeedIP},
	IPECN:     {"nw_ecn", "ip_ecn", "NXM_NX_IP_ECN", classBasic, 9, 2, 1, false, true, Decimal, NeedIP},
	IPSrc:     {"ip_src", "nw_src", "NXM_OF_IP_SRC", classBasic, 11, 32, 4, true, true, FormatIPv4, NeedIPv4},
	IPDst:     {"ip_dst", "nw_dst", "NXM_OF_IP_DST", classBasic, 12, 32, 4, true, true, FormatIPv4, NeedIPv4},
	IPv6Src:   {"ipv6_src", "", "NXM_NX_IPV6_SRC", classBasic, 26, 128, 16, true, true, FormatIPv6, NeedIPv6},
	IPv6Dst:   {"ipv6_dst", "", "NXM_NX_IPV6_DST", classBasic, 27, 128, 16, true, true, FormatIPv6, NeedIPv6},
	IPv6Label: {"ipv6_label", "", "NXM_NX_IPV6_LABEL", classBasic, 28, 20, 4, true, true, Hex, NeedIPv6},

	ARPOp:  {"arp_op", "", "NXM_OF_ARP_OP", classBasic, 21, 16, 2, false, true, Decimal, NeedARP},
	ARPSPA: {"arp_spa", "", "NXM_OF_ARP_SPA", classBasic, 22, 32, 4, true, true, FormatIPv4, NeedARP},
	ARPTPA: {"arp_tpa", "", "NXM_OF_ARP_TPA", classBasic, 23, 32, 4, true, true, FormatIPv4, NeedARP},
	ARPSHA: {"arp_sha", "", "NXM_NX_ARP_SHA", classBasic, 24, 48, 6, true, true, FormatMAC, NeedARP},
	ARPTHA: {"arp_tha", "", "NXM_NX_ARP_THA", classBasic, 25, 48, 6, true, true, FormatMAC, NeedARP},

	TCPSrc:   {"tcp_src", "", "NXM_OF_TCP_SRC", classBasic, 13, 16, 2, true, true, Decimal, NeedTCP},
	TCPDst:   {"tcp_dst", "", "NXM_OF_TCP_DST", classBasic, 14, 16, 2, true, true, Decimal, NeedTCP},
	TCPFlags: {"tcp_flags", "", "NXM_NX_TCP_FLAGS", classBasic, 42, 12, 2, true, false, FormatTCPFlags, NeedTCP},
	UDPSrc:   {"udp_src", "", "NXM_OF_UDP_SRC", classBasic, 15, 16, 2, true, true, Decimal, NeedUDP},
	UDPDst:   {"udp_dst", "", "NXM_OF_UDP_DST", classBasic, 16, 16, 2, true, true, Decimal, NeedUDP},
	SCTPSrc:  {"sctp_src", "", "OXM_OF_SCTP_SRC", classBasic, 17, 16, 2, true, true, Decimal, NeedSCTP},
	SCTPDst:  {"sctp_dst", "", "OXM_OF_SCTP_DST", classBasic, 18, 16, 2, true, true, Decimal, NeedSCTP},

	ICMPType:   {"icmp_type", "", "NXM_OF_ICMP_TYPE", classBasic, 19, 8, 1, false, true, Decimal, NeedICMP},
	ICMPCode:   {"icmp_code", "", "NXM_OF_ICMP_CODE", classBasic, 20, 8, 1, false, true, Decimal, NeedICMP},
	ICMPv6Type: {"icmpv6_type", "", "NXM_NX_ICMPV6_TYPE", classBasic, 29, 8, 1, false, true, Decimal, NeedICMPv6},
	ICMPv6Code: {"icmpv6_code", "", "NXM_NX_ICMPV6_CODE", classBasic, 30, 8, 1, false, true, Decimal, NeedICMPv6},

	NDTarget:      {"nd_target", "", "NXM_NX_ND_TARGET", classBasic, 31, 128, 16, true, true, FormatIPv6, NeedND},
	NDSLL:         {"nd_sll", "", "NXM_NX_ND_SLL", classBasic, 32, 48, 6, true, true, FormatMAC, NeedNDSol},
	NDTLL:         {"nd_tll", "", "NXM_NX_ND_TLL", classBasic, 33, 48, 6, true, true, FormatMAC, NeedNDAdv},
	NDReserved:    {"nd_reserved", "", "ERICOXM_OF_ICMPV6_ND_RESERVED", classEric, 1, 32, 4, false, true, Decimal, NeedND},
	NDOptionsType: {"nd_options_type", "", "ERICOXM_OF_ICMPV6_ND_OPTIONS_TYPE", classEric, 2, 8, 1, false, true, Decimal, NeedND},

	CTNwProto: {"ct_nw_proto", "", "NXM_NX_CT_NW_PROTO", classNXM1, 119, 8, 1, false, false, Decimal, NeedCT},
	CTNwSrc:   {"ct_nw_src", "", "NXM_NX_CT_NW_SRC", classNXM1, 120, 32, 4, true, false, FormatIPv4, NeedCTIPv4},
	CTNwDst:   {"ct_nw_dst", "", "NXM_NX_CT_NW_DST", classNXM1, 121, 32, 4, true, false, FormatIPv4, NeedCTIPv4},
	CTIPv6Src: {"ct_ipv6_src", "", "NXM_NX_CT_IPV6_SRC", classNXM1, 122, 128, 16, true, false, FormatIPv6, NeedCTIPv6},
	CTIPv6Dst: {"ct_ipv6_dst", "", "NXM_NX_CT_IPV6_DST", classNXM1, 123, 128, 16, true, false, FormatIPv6, NeedCTIPv6},
	CTTpSrc:   {"ct_tp_src", "", "NXM_NX_CT_TP_SRC", classNXM1, 124, 16, 2, true, false, Decimal, NeedCTPorts},
	CTTpDst:   {"ct_tp_dst", "", "NXM_NX_CT_TP_DST", classNXM1, 125, 16, 2, true, false, Decimal, NeedCTPorts},
}

// Info is the declaration of a field; the zero FieldInfo for a number that is none.
func (f Field) Info() FieldInfo {
	if f >= numFields {
		return FieldInfo{}
	}
	return fields[f]
}

// String is the field's name in text.
func (f Field) String() string {
	if f >= numFields {
		return "unknown_field"
	}
	return fields[f].Name
}

// Bits is the width of the field.
func (f Field) Bits() int {
	if f >= numFields {
		return 0
	}
	return int(fields[f].Bits)
}

// Mask has a one for every bit of the field.
func (f Field) Mask() Value {
	if f >= numFields {
		return Value{}
	}
	return masks[f]
}

// masks are those of the fields, ready: packing a flow needs them many times.
var masks = allMasks()

func allMasks() (ms [numFields]Value) {
	for f := range ms {
		ms[f] = Ones(int(fields[f].Bits))
	}
	return ms
}

// AllFields lists every field, in their order.
func AllFields() []Field {
	fs := make([]Field, numFields)
	for i := range fs {
		fs[i] = Field(i)
	}
	return fs
}

// Subfield is a run of bits of a field: Bits of them, the least significant one at offset Ofs.
type Subfield struct {
	Field Field
	Ofs   uint8
	Bits  uint8
}

// Whole is all of a field.
func Whole(f Field) Subfield { return Subfield{Field: f, Bits: uint8(f.Bits())} }

// Bits is n bits of a field from offset ofs on.
func Bits(f Field, ofs, n uint8) Subfield { return Subfield{Field: f, Ofs: ofs, Bits: n} }

// Mask has a one for every bit of the field that belongs to the subfield.
func (s Subfield) Mask() Value { return Ones(int(s.Bits)).Shl(uint(s.Ofs)) }

// valid tells whether the subfield lies inside its field.
func (s Subfield) valid() bool {
	return s.Field < numFields && s.Bits > 0 && int(s.Ofs)+int(s.Bits) <= s.Field.Bits()
}
