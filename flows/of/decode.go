package of

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrUnknownField marks a match that has a field which this package does not declare. The other terms are decoded.
var ErrUnknownField = errors.New("unknown field")

// errShort is what every truncated structure is.
var errShort = errors.New("truncated")

// oxm is the header of one field on the wire.
type oxm struct {
	field  Field
	known  bool
	masked bool
	class  uint16
	number uint8
	size   int // of the value, without mask
}

// byHeader finds fields by OXM class and number.
var byHeader = indexHeaders()

func indexHeaders() map[uint32]Field {
	m := make(map[uint32]Field, numFields+32)
	for f := range numFields {
		i := &fields[f]
		m[uint32(i.Class)<<8|uint32(i.Number)] = f
	}
	// Other headers of the same fields, which a switch may use towards us.
	for f, h := range map[Field][2]uint16{
		InPort: {classNXM0, 0}, EthDst: {classNXM0, 1}, EthSrc: {classNXM0, 2}, EthType: {classNXM0, 3},
		IPProto: {classNXM0, 6}, IPSrc: {classNXM0, 7}, IPDst: {classNXM0, 8}, TCPSrc: {classNXM0, 9}, TCPDst: {classNXM0, 10},
		UDPSrc: {classNXM0, 11}, UDPDst: {classNXM0, 12}, ICMPType: {classNXM0, 13}, ICMPCode: {classNXM0, 14},
		ARPOp: {classNXM0, 15}, ARPSPA: {classNXM0, 16}, ARPTPA: {classNXM0, 17},
		TunID: {classNXM1, 16}, ARPSHA: {classNXM1, 17}, ARPTHA: {classNXM1, 18}, IPv6Src: {classNXM1, 19}, IPv6Dst: {classNXM1, 20},
		ICMPv6Type: {classNXM1, 21}, ICMPv6Code: {classNXM1, 22}, NDTarget: {classNXM1, 23}, NDSLL: {classNXM1, 24},
		NDTLL: {classNXM1, 25}, IPv6Label: {classNXM1, 27}, IPECN: {classNXM1, 28}, TCPFlags: {classNXM1, 34},
	} {
		m[uint32(h[0])<<8|uint32(h[1])] = f
	}
	return m
}

// readOXMHeader reads four bytes, or eight for fields of an experimenter, and tells how many.
func readOXMHeader(b []byte) (oxm, int, error) {
	if len(b) < 4 {
		return oxm{}, 0, errShort
	}
	h := oxm{class: binary.BigEndian.Uint16(b), number: b[2] >> 1, masked: b[2]&1 != 0, size: int(b[3])}
	n := 4
	if h.class == 0xffff {
		if h.size < 4 || len(b) < 8 {
			return oxm{}, 0, errShort
		}
		h.size -= 4
		n = 8
	} else {
		h.field, h.known = byHeader[uint32(h.class)<<8|uint32(h.number)]
	}
	if h.masked {
		if h.size%2 != 0 {
			return oxm{}, 0, fmt.Errorf("odd length of masked field %#x/%d", h.class, h.number)
		}
		h.size /= 2
	}
	return h, n, nil
}

// readOXM reads one field with its value. ok is false for a field that is not declared, or too wide for us.
func readOXM(b []byte) (t Term, ok bool, n int, err error) {
	h, n, err := readOXMHeader(b)
	if err != nil {
		return Term{}, false, 0, err
	}
	end := n + h.size
	if h.masked {
		end += h.size
	}
	if end > len(b) {
		return Term{}, false, 0, errShort
	}
	if !h.known {
		t, err = h.vlan(b[n:end])
		return t, err == nil, end, err
	}
	t = Term{Field: h.field, Value: readValue(b[n : n+h.size]), Mask: h.field.Mask()}
	if h.masked {
		t.Mask = readValue(b[n+h.size : end])
	}
	if err := h.fits(&t, b[n:n+h.size]); err != nil {
		return Term{}, false, end, err
	}
	return t, true, end, nil
}

// vlan turns the switch's two fields for a VLAN tag into conditions on VLANTCI.
func (h *oxm) vlan(b []byte) (Term, error) {
	switch {
	case h.class == classBasic && h.number == numVLANVID && h.size == 2:
		v, mask := readValue(b[:2]), U(0x1fff)
		if h.masked {
			mask = mask.And(readValue(b[2:]))
		}
		return Masked(VLANTCI, v, mask), nil
	case h.class == classBasic && h.number == numVLANPCP && h.size == 1 && !h.masked:
		return Masked(VLANTCI, readValue(b).Shl(13), U(0xe000)), nil
	}
	return Term{}, fmt.Errorf("%w: class %#x number %d", ErrUnknownField, h.class, h.number)
}

// The fields of a VLAN tag in OpenFlow's basic class.
const (
	numVLANVID = 6
	numVLANPCP = 7
)

// fits checks the size of a value and brings the forms that differ from ours into ours.
func (h *oxm) fits(t *Term, raw []byte) error {
	full := h.field.Mask()
	switch size := int(fields[h.field].Bytes); {
	case h.field == TunMetadata0:
		// OVS leaves out leading zero bytes, and an option may have been mapped with another length.
		for _, c := range raw[:max(0, len(raw)-size)] {
			if c != 0 {
				return fmt.Errorf("%w: %s of %d bytes", ErrUnknownField, h.field, h.size)
			}
		}
	case h.field == InPort && h.size == 2:
		t.Value, t.Mask = U(port16(uint16(t.Value.Lo))), full
	case h.size != size:
		return fmt.Errorf("%s has %d bytes", h.field, h.size)
	}
	t.Mask = t.Mask.And(full)
	if !t.Value.And(full.Not()).IsZero() {
		return fmt.Errorf("%s: value is wider than %d bits", h.field, h.field.Bits())
	}
	t.Value = t.Value.And(t.Mask)
	return nil
}

// port16 widens a 16-bit port number: the reserved ones move to the end of the 32-bit space.
func port16(p uint16) uint64 {
	if p > maxPort {
		return uint64(p) | 0xffff0000
	}
	return uint64(p)
}

// DecodeMatch reads OXM terms as Packed.MatchBytes, flow dumps and packet-ins have them. It accepts any bytes. Fields
// that are not declared here are left out and reported by an error that wraps ErrUnknownField; the match is then good
// but incomplete. Any other error means that the bytes are no match.
func DecodeMatch(b []byte) (Match, error) {
	var m Match
	var unknown error
	for len(b) > 0 {
		t, ok, n, err := readOXM(b)
		switch {
		case ok && t.Field == VLANTCI:
			m = m.join(t)
		case ok:
			m = m.insert(t)
		case errors.Is(err, ErrUnknownField):
			unknown = err
		default:
			return nil, fmt.Errorf("match: %w", err)
		}
		b = b[n:]
	}
	if unknown != nil {
		return m, fmt.Errorf("match: %w", unknown)
	}
	return m, nil
}

// Unpack decodes everything that Pack makes.
func (p Packed) Unpack() (Flow, error) {
	f := Flow{Table: p.Table, Priority: p.Priority}
	var err error
	if f.Match, err = DecodeMatch([]byte(p.MatchBytes())); err != nil {
		return Flow{}, err
	}
	if len(p.body) < int(p.matchLen)+4 {
		return Flow{}, errShort
	}
	at := (int(p.matchLen) + 4 + 7) / 8 * 8
	if f.Actions, err = DecodeInstructions([]byte(p.body[at:])); err != nil {
		return Flow{}, err
	}
	return f, nil
}

// String is the flow's text.
func (p Packed) String() string {
	f, err := p.Unpack()
	if err != nil {
		return "invalid flow: " + err.Error()
	}
	return f.String()
}
