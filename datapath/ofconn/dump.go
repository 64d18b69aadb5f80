package ofconn

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"tuplenet/flows/of"
)

// FlowDesc is a flow read back from the switch.
type FlowDesc struct {
	Table    uint8
	Priority uint16
	Cookie   uint64
	// Match are the OXM terms, in the switch's own canonical form; valid during the call only.
	Match []byte
	// Instructions are the instructions as the switch encodes them; valid during the call only.
	Instructions []byte
	// Duration is for how long the flow has been there.
	Duration time.Duration
	// Settings are the idle and the hard timeout, the flags and the importance, 16 bits each: zero for flows that were added by
	// a Session.
	Settings uint64
	// Idle is for how long no packet met it, in whole seconds; as long as Duration if none ever did. The switch counts with a delay of
	// half a second or so.
	Idle time.Duration
	// Packets and Bytes that met it.
	Packets, Bytes uint64
}

var errShort = errors.New("the switch sent a message that ends too early")

// Flow decodes the description.
func (d FlowDesc) Flow() (of.Flow, error) {
	m, err := of.DecodeMatch(d.Match)
	if err != nil {
		return of.Flow{}, err
	}
	as, err := of.DecodeInstructions(d.Instructions)
	return of.Flow{Table: d.Table, Priority: d.Priority, Match: m, Actions: as}, err
}

// Selection is a part of a switch's flows: those of a table whose cookie agrees with Cookie in the bits of Mask.
type Selection struct {
	Table        uint8 // AllTables = any
	Cookie, Mask uint64
}

// AllTables in place of the number of a table.
const AllTables = 0xff

// DumpFlows calls fn for every flow, of whatever owner (OFPMP_FLOW_DESC, OpenFlow 1.5.1 section 7.3.5.2).
func (s *Session) DumpFlows(ctx context.Context, fn func(FlowDesc)) error {
	return s.DumpSelected(ctx, Selection{Table: AllTables}, fn)
}

// DumpSelected is DumpFlows of a part of the flows. The switch looks at all flows of the table, and does nothing else meanwhile,
// but sends only these.
func (s *Session) DumpSelected(ctx context.Context, sel Selection, fn func(FlowDesc)) error {
	return s.ask(ctx, flowsOf(sel), func(r []byte) error {
		return entries(r, func(e []byte) error {
			if len(e) < 32 {
				return errShort
			}
			d := FlowDesc{Table: e[4], Priority: binary.BigEndian.Uint16(e[6:]), Cookie: binary.BigEndian.Uint64(e[16:]),
				Settings: binary.BigEndian.Uint64(e[8:])}
			return d.rest(e[24:], fn)
		})
	})
}

// rest reads the match, the statistics and the instructions of a flow description.
func (d FlowDesc) rest(e []byte, fn func(FlowDesc)) error {
	n := int(binary.BigEndian.Uint16(e[2:]))
	if n < 4 || pad8(n) > len(e) {
		return errShort
	}
	d.Match = e[4:n]
	e = e[pad8(n):]
	if len(e) < 4 {
		return errShort
	}
	n = int(binary.BigEndian.Uint16(e[2:]))
	if n < 4 || pad8(n) > len(e) {
		return errShort
	}
	d.statistics(e[4:n])
	d.Instructions = e[pad8(n):]
	fn(d)
	return nil
}

// statistics reads the OXS statistics (OpenFlow 1.5.1 section 7.2.4) of a flow.
func (d *FlowDesc) statistics(b []byte) {
	const class, duration, idle, packets, bytes = 0x8002, 0, 1, 4, 5
	for len(b) >= 4 {
		n := 4 + int(b[3])
		if n > len(b) {
			return
		}
		field, value := b[2]>>1, b[4:n]
		if binary.BigEndian.Uint16(b) == class && len(value) == 8 {
			switch field {
			case duration:
				d.Duration = time.Duration(binary.BigEndian.Uint32(value))*time.Second + time.Duration(binary.BigEndian.Uint32(value[4:]))
			case idle:
				d.Idle = time.Duration(binary.BigEndian.Uint32(value))*time.Second + time.Duration(binary.BigEndian.Uint32(value[4:]))
			case packets:
				d.Packets = binary.BigEndian.Uint64(value)
			case bytes:
				d.Bytes = binary.BigEndian.Uint64(value)
			}
		}
		b = b[n:]
	}
}

// entries calls fn for each entry of a part of a multipart reply; entries begin with their length.
func entries(r []byte, fn func([]byte) error) error {
	if len(r) < 16 {
		return errShort
	}
	for b := r[16:]; len(b) > 0; {
		if len(b) < 2 {
			return errShort
		}
		n := int(binary.BigEndian.Uint16(b))
		if n < 8 || n > len(b) {
			return errShort
		}
		if err := fn(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// GroupDesc is a group read back from the switch. Buckets and Properties are as the switch encodes them.
type GroupDesc struct {
	ID                  uint32
	Type                of.GroupType
	Buckets, Properties []byte
}

// Group decodes the description.
func (d GroupDesc) Group() (of.Group, error) {
	return of.DecodeGroup(d.ID, d.Type, d.Buckets, d.Properties)
}

// DumpGroups returns every group (OFPMP_GROUP_DESC, OpenFlow 1.5.1 section 7.3.5.11).
func (s *Session) DumpGroups(ctx context.Context) ([]GroupDesc, error) {
	var all []GroupDesc
	err := s.ask(ctx, allGroups(), func(r []byte) error {
		return entries(r, func(e []byte) error {
			if len(e) < 16 {
				return errShort
			}
			n := int(binary.BigEndian.Uint16(e[8:]))
			if 16+n > len(e) {
				return errShort
			}
			all = append(all, GroupDesc{ID: binary.BigEndian.Uint32(e[4:]), Type: of.GroupType(e[2]), Buckets: e[16 : 16+n], Properties: e[16+n:]})
			return nil
		})
	})
	return all, err
}

// TableCounts says how many flows each table has that has any (OFPMP_TABLE_STATS, OpenFlow 1.5.1 section 7.3.5.7).
func (s *Session) TableCounts(ctx context.Context) (map[uint8]int, error) {
	const entry = 24
	counts := map[uint8]int{}
	err := s.ask(ctx, tableStats(), func(r []byte) error {
		if len(r) < 16 {
			return errShort
		}
		for b := r[16:]; len(b) >= entry; b = b[entry:] {
			if n := binary.BigEndian.Uint32(b[4:]); n > 0 {
				counts[b[0]] = int(n)
			}
		}
		return nil
	})
	return counts, err
}
