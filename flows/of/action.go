package of

import "net/netip"

// Ports with a meaning of their own (OpenFlow 1.5.1 section 7.2.1), 32 bits wide.
const (
	PortInPort     uint32 = 0xfffffff8 // back out of the in-port; plain output never does that
	PortTable      uint32 = 0xfffffff9 // packet-out only: run the pipeline
	PortNormal     uint32 = 0xfffffffa
	PortFlood      uint32 = 0xfffffffb
	PortAll        uint32 = 0xfffffffc
	PortController uint32 = 0xfffffffd
	PortLocal      uint32 = 0xfffffffe
	PortAny        uint32 = 0xffffffff // none
)

// ResubmitInPort as port of a Resubmit leaves the in-port as it is.
const ResubmitInPort uint16 = 0xfff8

// Bits of CTState (ovs-fields(7), "ct_state").
const (
	CTNew  = 0x01
	CTEst  = 0x02
	CTRel  = 0x04
	CTRpl  = 0x08
	CTInv  = 0x10
	CTTrk  = 0x20
	CTSNAT = 0x40
	CTDNAT = 0x80
)

// Reasons of a packet-in (OpenFlow 1.5.1 section 7.4.1).
const (
	ReasonNoMatch    uint8 = 0
	ReasonAction     uint8 = 1
	ReasonInvalidTTL uint8 = 2
)

// Action is one step that a flow takes with a packet. The set of actions is closed: the types of this file.
// No actions at all drop the packet.
type Action interface{ isAction() }

// Output sends the packet out of a port. A port equal to the packet's in-port is skipped by the switch.
type Output struct{ Port uint32 }

// OutputField sends the packet out of the port whose number is in a field.
type OutputField struct{ Src Subfield }

// Controller sends the packet to this controller (NXAST_CONTROLLER2). MaxLen 0xffff sends all of it. Userdata comes
// back in the packet-in. MeterID 0 is no meter. ID selects the connection: 0 for ours. OVS delivers the reasons
// ReasonNoMatch and ReasonAction; others only to controllers that asked for them, which we do not.
type Controller struct {
	MaxLen   uint16
	Userdata []byte
	MeterID  uint32
	Reason   uint8
	ID       uint16
}

// SetField writes the bits of Value that are set in Mask. Mask must not be empty.
type SetField struct {
	Field       Field
	Value, Mask Value
}

// CopyField copies bits between fields; both subfields have the same number of bits.
type CopyField struct{ Src, Dst Subfield }

// Resubmit looks the packet up in another table and returns here. Port is ResubmitInPort or an in-port for that lookup.
type Resubmit struct {
	Port  uint16
	Table uint8
}

// Goto continues in a later table. It must be the last action: it is an instruction on the wire.
type Goto struct{ Table uint8 }

// GroupAction runs a group.
type GroupAction struct{ ID uint32 }

// MeterAction passes or drops the packet by a meter.
type MeterAction struct{ ID uint32 }

// DecTTL decrements the TTL or hop limit; a packet whose TTL is 0 or 1 stops here and goes to controllers that asked
// for that, so pipelines test the TTL before.
type DecTTL struct{}

// CTClear forgets the connection tracking state of the packet.
type CTClear struct{}

// CT passes the packet through connection tracking (ovs-actions(7), "The ct action").
type CT struct {
	Commit, Force bool
	Zone          uint16    // used when ZoneSrc is nil
	ZoneSrc       *Subfield // 16 bits that hold the zone
	Table         *uint8    // where a copy of the packet goes on, with its state; nil: nowhere
	NAT           *NAT
	Exec          []Action // SetField and CopyField on ct_mark and ct_label, for a commit
	ALG           uint16   // port of the application helper, 0 = none (21 FTP, 69 TFTP)
}

// NATType tells which address is translated.
type NATType uint8

// Types of translation. NATExisting does for a packet what its connection was committed with.
const (
	NATExisting NATType = iota
	NATSrc
	NATDst
)

// NAT is the translation part of CT. Max values are zero for single addresses and ports.
type NAT struct {
	Type             NATType
	AddrMin, AddrMax netip.Addr
	PortMin, PortMax uint16
	Persistent       bool
	Hash, Random     bool // how ports are chosen; at most one
}

// Push saves bits on the packet's stack, Pop takes them off again.
type Push struct{ Src Subfield }

// Pop takes bits off the stack.
type Pop struct{ Dst Subfield }

// CheckPktLarger sets a bit to whether the packet (with its Ethernet header) is larger than Bytes.
type CheckPktLarger struct {
	Bytes uint16
	Dst   Subfield // one bit of a register
}

// Clone runs actions on a copy of the packet and its metadata.
type Clone struct{ Actions []Action }

func (Output) isAction()         {}
func (OutputField) isAction()    {}
func (Controller) isAction()     {}
func (SetField) isAction()       {}
func (CopyField) isAction()      {}
func (Resubmit) isAction()       {}
func (Goto) isAction()           {}
func (GroupAction) isAction()    {}
func (MeterAction) isAction()    {}
func (DecTTL) isAction()         {}
func (CTClear) isAction()        {}
func (CT) isAction()             {}
func (Push) isAction()           {}
func (Pop) isAction()            {}
func (CheckPktLarger) isAction() {}
func (Clone) isAction()          {}

// Set writes all of a field.
func Set(f Field, v Value) SetField { return SetField{Field: f, Value: v, Mask: f.Mask()} }

// SetReg writes a number to all of a field.
func SetReg(f Field, v uint64) SetField { return Set(f, U(v)) }

// Load writes a number to a run of bits.
func Load(s Subfield, v uint64) SetField {
	return SetField{Field: s.Field, Value: U(v).Shl(uint(s.Ofs)), Mask: s.Mask()}
}

// ResubmitTable looks the packet up in another table with its in-port unchanged.
func ResubmitTable(table uint8) Resubmit { return Resubmit{Port: ResubmitInPort, Table: table} }
