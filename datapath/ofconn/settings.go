package ofconn

import (
	"context"
	"encoding/binary"
	"fmt"

	"antrea.io/libOpenflow/openflow15"

	"tuplenet/flows/of"
)

// DumpMeters returns every meter that drops by packets a second (OFPMP_METER_DESC); others come with rate 0.
func (s *Session) DumpMeters(ctx context.Context) ([]of.Meter, error) {
	var all []of.Meter
	err := s.ask(ctx, allMeters(), func(r []byte) error {
		return entries(r, func(e []byte) error {
			m := of.Meter{ID: binary.BigEndian.Uint32(e[4:])}
			flags := binary.BigEndian.Uint16(e[2:])
			band := e[8:]
			if len(band) == 16 && binary.BigEndian.Uint16(band) == openflow15.MBT_DROP && flags&openflow15.MF_PKTPS != 0 {
				m.RatePPS, m.Burst = binary.BigEndian.Uint32(band[4:]), binary.BigEndian.Uint32(band[8:])
			}
			all = append(all, m)
			return nil
		})
	})
	return all, err
}

// MeterDrops says how many packets each meter dropped (OFPMP_METER_STATS, OpenFlow 1.5.1 section 7.3.5.13), by its id.
func (s *Session) MeterDrops(ctx context.Context) (map[uint32]uint64, error) {
	const head, entry, band = 16, 40, 16
	drops := map[uint32]uint64{}
	err := s.ask(ctx, meterStats(), func(r []byte) error {
		if len(r) < head {
			return errShort
		}
		for b := r[head:]; len(b) > 0; {
			if len(b) < entry {
				return errShort
			}
			id, n := binary.BigEndian.Uint32(b), int(binary.BigEndian.Uint16(b[4:]))
			if n < entry || n > len(b) {
				return errShort
			}
			for bands := b[entry:n]; len(bands) >= band; bands = bands[band:] {
				drops[id] += binary.BigEndian.Uint64(bands)
			}
			b = b[n:]
		}
		return nil
	})
	return drops, err
}

// SetMeter adds a meter or changes the one with its id (ofp_meter_mod, OpenFlow 1.5.1 section 7.3.4.5).
func (s *Session) SetMeter(ctx context.Context, m of.Meter) error {
	err := s.tell(ctx, meterMod(openflow15.MC_ADD, m))
	if e, ok := refused(err); ok && *e == errMeterExists {
		err = s.tell(ctx, meterMod(openflow15.MC_MODIFY, m))
	}
	if err != nil {
		return fmt.Errorf("meter %d: %w", m.ID, err)
	}
	return nil
}

// DeleteMeter deletes a meter and the flows that use it.
func (s *Session) DeleteMeter(ctx context.Context, id uint32) error {
	return s.tell(ctx, meterMod(openflow15.MC_DELETE, of.Meter{ID: id}))
}

// TLV maps a Geneve option to a tun_metadata field (ovs-ofctl(8), add-tlv-map). Len is in bytes.
type TLV struct {
	Class     uint16
	Type, Len uint8
	Index     uint16
}

// TLVMap returns the present mappings.
func (s *Session) TLVMap(ctx context.Context) ([]TLV, error) {
	const head = 32 // headers, maximum space and number of fields
	var all []TLV
	err := s.ask(ctx, tlvRequest(), func(r []byte) error {
		if len(r) < head || r[1] != msgExperimenter || binary.BigEndian.Uint32(r[12:]) != openflow15.Type_TlvTableReply {
			return fmt.Errorf("unexpected answer to a request for the TLV map")
		}
		for b := r[head:]; len(b) >= 8; b = b[8:] {
			all = append(all, TLV{Class: binary.BigEndian.Uint16(b), Type: b[2], Len: b[3], Index: binary.BigEndian.Uint16(b[4:])})
		}
		return nil
	})
	return all, err
}

// AddTLV adds mappings. The switch refuses a type or an index that is mapped already.
func (s *Session) AddTLV(ctx context.Context, tlvs []TLV) error {
	return s.tell(ctx, tlvMod(tlvAdd, tlvs))
}

// DeleteTLV deletes mappings. The switch refuses it while flows use them.
func (s *Session) DeleteTLV(ctx context.Context, tlvs []TLV) error {
	return s.tell(ctx, tlvMod(tlvDelete, tlvs))
}

// Commands of NXT_TLV_TABLE_MOD.
const (
	tlvAdd    = 0
	tlvDelete = 1
)

// FlushZone forgets the connections of a conntrack zone (NXT_CT_FLUSH_ZONE).
func (s *Session) FlushZone(ctx context.Context, zone uint16) error {
	return s.tell(ctx, flushZone(zone))
}
