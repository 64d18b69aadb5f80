package of

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// DecodeInstructions reads apply-actions and goto-table of a flow into one list of actions.
func DecodeInstructions(b []byte) ([]Action, error) {
	var as []Action
	for len(b) > 0 {
		typ, body, rest, err := readTLV(b)
		if err != nil {
			return nil, fmt.Errorf("instruction: %w", err)
		}
		switch {
		case typ == insApplyActions && len(body) >= 4 && as == nil:
			if as, err = DecodeActions(body[4:]); err != nil {
				return nil, err
			}
		case typ == insGotoTable && len(body) >= 1 && len(rest) == 0:
			as = append(as, Goto{Table: body[0]})
		default:
			return nil, fmt.Errorf("unknown instruction %d of %d bytes", typ, len(body)+4)
		}
		b = rest
	}
	return as, nil
}

// readTLV splits off a structure that begins with type and length, the length including those four bytes.
func readTLV(b []byte) (typ uint16, body, rest []byte, err error) {
	if len(b) < 4 {
		return 0, nil, nil, errShort
	}
	n := int(binary.BigEndian.Uint16(b[2:]))
	if n < 4 || n > len(b) {
		return 0, nil, nil, errShort
	}
	return binary.BigEndian.Uint16(b), b[4:n], b[n:], nil
}

// DecodeActions reads a list of actions. It accepts any bytes.
func DecodeActions(b []byte) ([]Action, error) { return decodeActions(b, 0) }

func decodeActions(b []byte, depth int) ([]Action, error) {
	if depth > maxNesting { // no bytes may make this run out of stack
		return nil, errors.New("actions are nested too deeply")
	}
	var as []Action
	for len(b) > 0 {
		typ, body, rest, err := readTLV(b)
		if err != nil {
			return nil, fmt.Errorf("action: %w", err)
		}
		a, err := decodeAction(typ, body, depth)
		if err != nil {
			return nil, fmt.Errorf("action %d: %w", typ, err)
		}
		as = append(as, a)
		b = rest
	}
	return as, nil
}

func decodeAction(typ uint16, b []byte, depth int) (Action, error) {
	r := reader{b: b}
	var a Action
	switch typ {
	case actOutput:
		port, maxLen := r.u32(), r.u16()
		if a = (Output{Port: port}); port == PortController {
			a = Controller{MaxLen: maxLen, Reason: ReasonAction}
		}
	case actGroup:
		a = GroupAction{ID: r.u32()}
	case actMeter:
		a = MeterAction{ID: r.u32()}
	case actDecNwTTL:
		a = DecTTL{}
	case actSetField:
		t, ok, _, err := readOXM(b)
		if !ok {
			return nil, err
		}
		a = SetField(t)
	case actCopyField:
		n, srcOfs, dstOfs, _ := r.u16(), r.u16(), r.u16(), r.u16()
		a = CopyField{Src: r.subfield(srcOfs, n), Dst: r.subfield(dstOfs, n)}
	case actExperimenter:
		if vendor := r.u32(); vendor != nxVendor {
			return nil, fmt.Errorf("unknown vendor %#x", vendor)
		}
		var err error
		if a, err = decodeNX(r.u16(), &r, depth); err != nil {
			return nil, err
		}
	default:
		return nil, errors.New("unknown type")
	}
	return a, r.err
}

func decodeNX(subtype uint16, r *reader, depth int) (Action, error) {
	switch subtype {
	case nxResubmitTable:
		return Resubmit{Port: r.u16(), Table: r.u8()}, nil
	case nxOutputReg:
		ob := r.u16()
		return OutputField{Src: r.subfield(ob>>6, ob&63+1)}, nil
	case nxStackPush, nxStackPop:
		ofs := r.u16()
		s := r.field()
		s.Ofs, s.Bits = uint8(ofs), uint8(r.u16())
		r.check(s)
		if subtype == nxStackPush {
			return Push{Src: s}, nil
		}
		return Pop{Dst: s}, nil
	case nxCheckPktLarger:
		n, ofs := r.u16(), r.u16()
		return CheckPktLarger{Bytes: n, Dst: r.subfield(ofs, 1)}, nil
	case nxLearn2:
		return decodeLearn(r)
	case nxCTClear:
		return CTClear{}, nil
	case nxController2:
		return decodeController(r)
	case nxCT:
		return decodeCT(r, depth)
	case nxClone:
		r.skip(6)
		as, err := decodeActions(r.b, depth+1)
		return Clone{Actions: as}, err
	}
	return nil, fmt.Errorf("unknown Nicira action %d", subtype)
}

// decodeController walks the properties, each padded to eight bytes.
func decodeController(r *reader) (Action, error) {
	a := Controller{MaxLen: 0xffff, Reason: ReasonAction}
	r.skip(6)
	for len(r.b) > 0 && r.err == nil {
		typ, body, rest, err := readTLV(r.b)
		if err != nil {
			return nil, err
		}
		p := reader{b: body}
		switch typ {
		case c2MaxLen:
			a.MaxLen = p.u16()
		case c2ControllerID:
			a.ID = p.u16()
		case c2Reason:
			a.Reason = p.u8()
		case c2Userdata:
			a.Userdata = append([]byte(nil), body...)
		case c2MeterID:
			a.MeterID = p.u32()
		default:
			return nil, fmt.Errorf("unknown property %d of controller", typ)
		}
		if p.err != nil {
			return nil, p.err
		}
		pad := (8 - (len(body)+4)%8) % 8
		r.b = rest[min(pad, len(rest)):]
	}
	return a, r.err
}

func decodeCT(r *reader, depth int) (Action, error) {
	flags := r.u16()
	a := CT{Commit: flags&ctCommit != 0, Force: flags&ctForce != 0}
	if len(r.b) >= 4 && binary.BigEndian.Uint32(r.b) != 0 {
		s := r.field()
		ob := r.u16()
		s.Ofs, s.Bits = uint8(ob>>6), uint8(ob&63+1)
		r.check(s)
		a.ZoneSrc = &s
	} else {
		r.skip(4)
		a.Zone = r.u16()
	}
	if t := r.u8(); t != noTable {
		a.Table = &t
	}
	r.skip(3)
	a.ALG = r.u16()
	if r.err != nil {
		return nil, r.err
	}
	rest := r.b
	if len(rest) >= 10 && binary.BigEndian.Uint16(rest) == actExperimenter && binary.BigEndian.Uint16(rest[8:]) == nxNAT {
		_, body, after, err := readTLV(rest)
		if err != nil {
			return nil, err
		}
		if a.NAT, err = decodeNAT(&reader{b: body}); err != nil {
			return nil, err
		}
		rest = after
	}
	var err error
	a.Exec, err = decodeActions(rest, depth+1)
	return a, err
}

func decodeNAT(r *reader) (*NAT, error) {
	r.skip(8) // vendor, subtype, padding
	flags, ranges := r.u16(), r.u16()
	n := &NAT{Persistent: flags&natPersistent != 0, Hash: flags&natHash != 0, Random: flags&natRandom != 0}
	switch {
	case flags&natSrc != 0:
		n.Type = NATSrc
	case flags&natDst != 0:
		n.Type = NATDst
	}
	if ranges&natRangeV4Min != 0 {
		n.AddrMin = r.addr(4)
	}
	if ranges&natRangeV4Max != 0 {
		n.AddrMax = r.addr(4)
	}
	if ranges&natRangeV6Min != 0 {
		n.AddrMin = r.addr(16)
	}
	if ranges&natRangeV6Max != 0 {
		n.AddrMax = r.addr(16)
	}
	if ranges&natRangePortMin != 0 {
		n.PortMin = r.u16()
	}
	if ranges&natRangePortMax != 0 {
		n.PortMax = r.u16()
	}
	return n, r.err
}

// reader takes numbers off the front of bytes; after the end it returns zeros and remembers the error.
type reader struct {
	b   []byte
	err error
}

func (r *reader) take(n int) []byte {
	if len(r.b) < n {
		r.b = nil
		if r.err == nil {
			r.err = errShort
		}
		return make([]byte, n)
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) skip(n int)  { r.take(n) }
func (r *reader) u8() uint8   { return r.take(1)[0] }
func (r *reader) u16() uint16 { return binary.BigEndian.Uint16(r.take(2)) }
func (r *reader) u32() uint32 { return binary.BigEndian.Uint32(r.take(4)) }

func (r *reader) addr(n int) netip.Addr {
	a, _ := netip.AddrFromSlice(r.take(n))
	return a
}

// field reads an OXM header without a value.
func (r *reader) field() Subfield {
	h, n, err := readOXMHeader(r.b)
	switch {
	case r.err != nil:
	case err != nil:
		r.err = err
	case !h.known:
		r.err = fmt.Errorf("%w: class %#x number %d", ErrUnknownField, h.class, h.number)
	}
	r.skip(n)
	return Subfield{Field: h.field}
}

// subfield reads a header and combines it with bits read before.
func (r *reader) subfield(ofs, bits uint16) Subfield {
	s := r.field()
	if ofs > 127 || bits > 128 {
		bits = 0 // check refuses it
	}
	s.Ofs, s.Bits = uint8(ofs), uint8(bits)
	r.check(s)
	return s
}

func (r *reader) check(s Subfield) {
	if r.err == nil && !s.valid() {
		r.err = fmt.Errorf("bits %d+%d are not inside of %s", s.Ofs, s.Bits, s.Field)
	}
}
