package ofconn

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"antrea.io/libOpenflow/openflow15"

	"tuplenet/flows/of"
)

// PacketIn is a packet that a flow sent to the daemon.
type PacketIn struct {
	Table  uint8
	Cookie uint64
	Reason uint8
	// Userdata is what the flow's controller action carries.
	Userdata []byte
	// Data is the Ethernet frame.
	Data []byte
	// Fields are the pipeline fields: in-port, metadata, registers, tunnel.
	Fields []of.Term
}

// Properties of NXT_PACKET_IN2.
const (
	propPacket   = 0
	propTable    = 3
	propCookie   = 4
	propReason   = 5
	propMetadata = 6
	propUserdata = 7
)

// decodePacketIn reads NXT_PACKET_IN2, walking its properties by their own lengths; the frame itself is not looked at.
// ok is false for other messages. A tenant decides over these bytes: nothing in here may end the daemon.
func decodePacketIn(b []byte) (p PacketIn, ok bool, err error) {
	defer func() {
		if r := recover(); r != nil {
			p, ok, err = PacketIn{}, false, fmt.Errorf("packet-in: %v", r)
		}
	}()
	if b[1] != msgExperimenter || len(b) < 16 || binary.BigEndian.Uint32(b[8:]) != openflow15.NxExperimenterID ||
		binary.BigEndian.Uint32(b[12:]) != openflow15.Type_PacketIn2 {
		return PacketIn{}, false, nil
	}
	for b = b[16:]; len(b) >= 4; {
		n := int(binary.BigEndian.Uint16(b[2:]))
		if n < 4 || n > len(b) {
			return PacketIn{}, false, fmt.Errorf("packet-in: %w", errShort)
		}
		p.property(binary.BigEndian.Uint16(b), b[4:n])
		b = b[min(pad8(n), len(b)):]
	}
	if p.Data == nil {
		return PacketIn{}, false, fmt.Errorf("packet-in: no packet")
	}
	return p, true, nil
}

func (p *PacketIn) property(typ uint16, v []byte) {
	switch typ {
	case propPacket:
		p.Data = v
	case propTable:
		if len(v) > 0 {
			p.Table = v[0]
		}
	case propCookie:
		if len(v) >= 12 {
			p.Cookie = binary.BigEndian.Uint64(v[4:])
		}
	case propReason:
		if len(v) > 0 {
			p.Reason = v[0]
		}
	case propMetadata:
		// Fields that we do not know are left out.
		if m, err := of.DecodeMatch(v); err == nil || errors.Is(err, of.ErrUnknownField) {
			p.Fields = m
		}
	case propUserdata:
		p.Userdata = v
	}
}

// PacketOut is a packet from the daemon.
type PacketOut struct {
	// InPort is what the packet seems to come from, such as of.PortController.
	InPort  uint32
	Data    []byte
	Actions []of.Action
}

// PacketOut sends a packet (ofp_packet_out, OpenFlow 1.5.1 section 7.3.6). An error of the switch is returned.
func (s *Session) PacketOut(ctx context.Context, p PacketOut) error {
	b, err := p.encode()
	if err != nil {
		return err
	}
	return s.command(ctx, b)
}

// PacketsOut sends packets and waits for the switch once. The error is the first of the switch, or that the connection was lost.
func (s *Session) PacketsOut(ctx context.Context, all []PacketOut) error {
	c := s.collect(len(all))
	defer s.release(c)
	var b []byte
	for i, p := range all {
		m, err := p.encode()
		if err != nil {
			return err
		}
		seal(m, c.first+uint32(i))
		b = append(b, m...)
	}
	if err := s.send(b); err != nil {
		return err
	}
	if err := s.Barrier(ctx); err != nil {
		return err
	}
	failed := s.failures(c)
	for i := range all {
		if err := failed[i]; err != nil {
			return err
		}
	}
	return nil
}

func (p PacketOut) encode() ([]byte, error) {
	b := u32(message(msgPacketOut), noBuffer)
	lenAt := len(b)
	b = append(b, 0, 0, 0, 0)
	n := 4 + 8
	b = append(u16(append(b, 0, 1), uint16(n)), 0x80, 0, 0, 4) // match: OXM in_port
	b = zeros(u32(b, p.InPort), pad8(n)-n)
	start := len(b)
	b, err := of.AppendActions(b, p.Actions)
	if err != nil {
		return nil, err
	}
	binary.BigEndian.PutUint16(b[lenAt:], uint16(len(b)-start))
	return append(b, p.Data...), nil
}
