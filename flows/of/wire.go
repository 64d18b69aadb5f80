package of

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// Numbers of the wire format: action and instruction types (OpenFlow 1.5.1 sections 7.2.5 and 7.2.6), and the
// subtypes and flags of Nicira extension actions (ovs-actions(7)).
const (
	actOutput       = 0
	actGroup        = 22
	actDecNwTTL     = 24
	actSetField     = 25
	actCopyField    = 28
	actMeter        = 29
	actExperimenter = 0xffff

	insGotoTable    = 1
	insApplyActions = 4

	nxVendor = 0x00002320

	nxResubmitTable  = 14
	nxOutputReg      = 15
	nxStackPush      = 27
	nxStackPop       = 28
	nxCT             = 35
	nxNAT            = 36
	nxController2    = 37
	nxClone          = 42
	nxCTClear        = 43
	nxCheckPktLarger = 49

	ctCommit = 1
	ctForce  = 2

	natSrc        = 1
	natDst        = 2
	natPersistent = 4
	natHash       = 8
	natRandom     = 16

	natRangeV4Min   = 1
	natRangeV4Max   = 2
	natRangeV6Min   = 4
	natRangeV6Max   = 8
	natRangePortMin = 16
	natRangePortMax = 32

	c2MaxLen       = 0
	c2ControllerID = 1
	c2Reason       = 2
	c2Userdata     = 3
	c2Pause        = 4
	c2MeterID      = 5

	noTable = 0xff

	algFTP  = 21
	algTFTP = 69
)

func u16(b []byte, v uint16) []byte { return binary.BigEndian.AppendUint16(b, v) }
func u32(b []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(b, v) }

// pad8 adds zeros until what was written since start is a multiple of eight.
func pad8(b []byte, start int) []byte {
	for (len(b)-start)%8 != 0 {
		b = append(b, 0)
	}
	return b
}

// putLen writes the length of what was appended since start into the two bytes at start+2.
func putLen(b []byte, start int) { binary.BigEndian.PutUint16(b[start+2:], uint16(len(b)-start)) }

// appendOXMHeader writes the four bytes before a field's value.
func appendOXMHeader(b []byte, f Field, masked bool) []byte {
	i := &fields[f]
	n, hm := i.Bytes, byte(0)
	if masked {
		n, hm = 2*n, 1
	}
	return append(b, byte(i.Class>>8), byte(i.Class), i.Number<<1|hm, n)
}

// appendOXM writes a field with its value, and its mask unless that is full.
func appendOXM(b []byte, f Field, v, mask Value) []byte {
	n := int(fields[f].Bytes)
	masked := mask != f.Mask()
	b = v.append(appendOXMHeader(b, f, masked), n)
	if masked {
		b = mask.append(b, n)
	}
	return b
}

// appendMatch writes the terms one after the other, without header and padding.
func appendMatch(b []byte, m Match) []byte {
	for i := range m {
		b = appendOXM(b, m[i].Field, m[i].Value, m[i].Mask)
	}
	return b
}

// maxNesting bounds clone in clone, here and in the decoder.
const maxNesting = 16

// appendActions writes actions; a Goto is not one of them. They were checked before. It keeps its own stack for clones
// instead of calling itself: the compiler lets a buffer stay on its caller's stack only without recursion.
func appendActions(b []byte, as []Action) []byte {
	var outer [maxNesting]struct {
		start int
		rest  []Action
	}
	depth := 0
	for {
		if len(as) == 0 {
			if depth == 0 {
				return b
			}
			depth--
			b = pad8(b, outer[depth].start)
			putLen(b, outer[depth].start)
			as = outer[depth].rest
			continue
		}
		a := as[0]
		as = as[1:]
		if c, ok := a.(Clone); ok {
			outer[depth].start, outer[depth].rest = len(b), as
			depth++
			b = append(nx(b, 0, nxClone), 0, 0, 0, 0, 0, 0)
			as = c.Actions
			continue
		}
		b = appendAction(b, a)
	}
}

// appendAction writes one action. It is a switch and not a method of each type for the same reason.
func appendAction(b []byte, a Action) []byte {
	switch a := a.(type) {
	case SetField:
		b = appendSetField(b, &a)
	case CopyField:
		b = appendCopyField(b, a)
	case Resubmit:
		b = append(u16(nx(b, 16, nxResubmitTable), a.Port), a.Table, 0, 0, 0)
	case Output:
		b = append(u32(append(b, 0, actOutput, 0, 16), a.Port), 0, 0, 0, 0, 0, 0, 0, 0)
	case OutputField:
		b = u16(nx(b, 24, nxOutputReg), ofsBits(a.Src))
		b = append(u16(appendOXMHeader(b, a.Src.Field, false), 0xffff), 0, 0, 0, 0, 0, 0)
	case GroupAction:
		b = u32(append(b, 0, actGroup, 0, 8), a.ID)
	case MeterAction:
		b = u32(append(b, 0, actMeter, 0, 8), a.ID)
	case DecTTL:
		b = append(b, 0, actDecNwTTL, 0, 8, 0, 0, 0, 0)
	case CTClear:
		b = append(nx(b, 16, nxCTClear), 0, 0, 0, 0, 0, 0)
	case Push:
		b = appendStack(b, nxStackPush, a.Src)
	case Pop:
		b = appendStack(b, nxStackPop, a.Dst)
	case CheckPktLarger:
		b = u16(u16(nx(b, 24, nxCheckPktLarger), a.Bytes), uint16(a.Dst.Ofs))
		b = append(appendOXMHeader(b, a.Dst.Field, false), 0, 0, 0, 0, 0, 0)
	case Controller:
		b = appendController(b, a)
	case CT:
		b = appendCT(b, a)
	case Learn:
		b = appendLearn(b, &a)
	}
	return b
}

// appendSetField writes the field as in a match, but the in-port in its 16-bit form (NXM_OF_IN_PORT): OVS refuses to
// write the 32-bit one with OFPBAC_BAD_SET_ARGUMENT. Both forms read the same.
func appendSetField(b []byte, a *SetField) []byte {
	start := len(b)
	b = append(b, 0, actSetField, 0, 0)
	if a.Field == InPort {
		b = u16(append(b, classNXM0>>8, classNXM0, 0, 2), uint16(a.Value.Lo))
	} else {
		b = appendOXM(b, a.Field, a.Value, a.Mask)
	}
	b = pad8(b, start)
	putLen(b, start)
	return b
}

// nx writes the header of a Nicira extension action.
func nx(b []byte, length uint16, subtype byte) []byte {
	return append(b, 0xff, 0xff, byte(length>>8), byte(length), 0, 0, 0x23, 0x20, 0, subtype)
}

// ofsBits packs offset and width as the Nicira actions want them.
func ofsBits(s Subfield) uint16 { return uint16(s.Ofs)<<6 | uint16(s.Bits-1) }

func appendStack(b []byte, subtype byte, s Subfield) []byte {
	b = u16(nx(b, 24, subtype), uint16(s.Ofs))
	b = appendOXMHeader(b, s.Field, false)
	return append(u16(b, uint16(s.Bits)), 0, 0, 0, 0, 0, 0)
}

func appendCopyField(b []byte, a CopyField) []byte {
	start := len(b)
	b = append(b, 0, actCopyField, 0, 0, 0, a.Src.Bits, 0, a.Src.Ofs, 0, a.Dst.Ofs, 0, 0)
	b = appendOXMHeader(b, a.Src.Field, false)
	b = pad8(appendOXMHeader(b, a.Dst.Field, false), start)
	putLen(b, start)
	return b
}

// appendController writes the properties in the order in which OVS itself does, without those that have their default.
func appendController(b []byte, a Controller) []byte {
	start := len(b)
	b = append(nx(b, 0, nxController2), 0, 0, 0, 0, 0, 0)
	if a.MaxLen != 0xffff {
		b = append(u16(append(b, 0, c2MaxLen, 0, 8), a.MaxLen), 0, 0)
	}
	if a.ID != 0 {
		b = append(u16(append(b, 0, c2ControllerID, 0, 8), a.ID), 0, 0)
	}
	if a.Reason != ReasonAction {
		b = append(b, 0, c2Reason, 0, 5, a.Reason, 0, 0, 0)
	}
	if len(a.Userdata) > 0 {
		p := len(b)
		b = append(append(b, 0, c2Userdata, 0, 0), a.Userdata...)
		putLen(b, p)
		b = pad8(b, p)
	}
	if a.MeterID != 0 {
		b = u32(append(b, 0, c2MeterID, 0, 8), a.MeterID)
	}
	putLen(b, start)
	return b
}

func appendCT(b []byte, a CT) []byte {
	start := len(b)
	var flags uint16
	if a.Commit {
		flags |= ctCommit
	}
	if a.Force {
		flags |= ctForce
	}
	b = u16(nx(b, 0, nxCT), flags)
	if a.ZoneSrc != nil {
		b = u16(appendOXMHeader(b, a.ZoneSrc.Field, false), ofsBits(*a.ZoneSrc))
	} else {
		b = u16(u32(b, 0), a.Zone)
	}
	table := byte(noTable)
	if a.Table != nil {
		table = *a.Table
	}
	b = u16(append(b, table, 0, 0, 0), a.ALG)
	if a.NAT != nil {
		b = appendNAT(b, a.NAT)
	}
	for _, e := range a.Exec {
		switch e := e.(type) {
		case SetField:
			b = appendSetField(b, &e)
		case CopyField:
			b = appendCopyField(b, e)
		}
	}
	b = pad8(b, start)
	putLen(b, start)
	return b
}

func appendNAT(b []byte, n *NAT) []byte {
	start := len(b)
	var flags, ranges uint16
	for _, f := range [...]struct {
		on  bool
		bit uint16
	}{{n.Type == NATSrc, natSrc}, {n.Type == NATDst, natDst}, {n.Persistent, natPersistent}, {n.Hash, natHash}, {n.Random, natRandom}} {
		if f.on {
			flags |= f.bit
		}
	}
	for _, r := range [...]struct {
		on  bool
		bit uint16
	}{
		{n.AddrMin.Is4(), natRangeV4Min}, {n.AddrMax.Is4(), natRangeV4Max},
		{n.AddrMin.Is6(), natRangeV6Min}, {n.AddrMax.Is6(), natRangeV6Max},
		{n.PortMin != 0, natRangePortMin}, {n.PortMax != 0, natRangePortMax},
	} {
		if r.on {
			ranges |= r.bit
		}
	}
	b = u16(u16(append(nx(b, 0, nxNAT), 0, 0), flags), ranges)
	b = appendAddr(appendAddr(b, n.AddrMin), n.AddrMax)
	if n.PortMin != 0 {
		b = u16(b, n.PortMin)
	}
	if n.PortMax != 0 {
		b = u16(b, n.PortMax)
	}
	b = pad8(b, start)
	putLen(b, start)
	return b
}

func appendAddr(b []byte, a netip.Addr) []byte {
	if !a.IsValid() {
		return b
	}
	return append(b, a.AsSlice()...)
}

// limit is the size of everything that is packed: a message of 64 KiB less its headers.
const limit = 0xffff - 128

// checkSize refuses what no message can carry.
func checkSize(n int) error {
	if n > limit {
		return fmt.Errorf("%d bytes do not fit into an OpenFlow message (at most %d)", n, limit)
	}
	return nil
}
