package ofconn

import (
	"fmt"

	"antrea.io/libOpenflow/openflow15"
	"antrea.io/libOpenflow/util"

	"tuplenet/flows/of"
)

// The messages below are encoded by libOpenflow. Those that are sent by the hundred thousand, flow-mods and group-mods,
// are appended by bundle.go, from bytes that flows/of has ready. Nothing that comes from the switch is decoded by it:
// its decoders can be brought down by a frame of a tenant.

// encode turns a message of the library into bytes; seal gives it our transaction id.
func encode(m util.Message) ([]byte, error) {
	b, err := m.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("encoding %T: %w", m, err)
	}
	return b, nil
}

// setConfig asks for whole packets. The management socket sends nothing of its own accord before this is not zero.
func setConfig() util.Message {
	m := openflow15.NewSetConfig()
	m.MissSendLen = 0xffff
	return m
}

// packetInFormat asks for packet-ins with registers, cookie and userdata.
func packetInFormat() util.Message {
	return openflow15.NewSetPacketInFormat(openflow15.OFPUTIL_PACKET_IN_NXT2)
}

func bundleControl(id uint32, what uint16) util.Message {
	return openflow15.NewBundleCtrl(id, what, bundleFlags)
}

// flowsOf asks for the description of flows.
func flowsOf(sel Selection) util.Message {
	m := openflow15.NewMpRequest(openflow15.MultipartType_FlowDesc)
	body := openflow15.NewFlowStatsRequest()
	body.TableId, body.Cookie, body.CookieMask = sel.Table, sel.Cookie, sel.Mask
	m.Body = append(m.Body, body)
	return m
}

// tableStats asks how many flows the tables have.
func tableStats() util.Message { return openflow15.NewMpRequest(openflow15.MultipartType_TableStats) }

// allGroups asks for the description of every group.
func allGroups() util.Message {
	m := openflow15.NewMpRequest(openflow15.MultipartType_GroupDesc)
	m.Body = append(m.Body, openflow15.NewGroupMultipartRequest(openflow15.OFPG_ALL))
	return m
}

// allMeters asks for the configuration of every meter.
func allMeters() util.Message {
	m := openflow15.NewMpRequest(openflow15.MultipartType_MeterDesc)
	m.Body = append(m.Body, openflow15.NewMeterMultipartRequest(openflow15.M_ALL))
	return m
}

// meterStats asks for the counts of every meter.
func meterStats() util.Message {
	m := openflow15.NewMpRequest(openflow15.MultipartType_MeterStats)
	m.Body = append(m.Body, openflow15.NewMeterMultipartRequest(openflow15.M_ALL))
	return m
}

// meterMod adds or modifies a meter; with MC_DELETE only the id counts.
func meterMod(command uint16, meter of.Meter) util.Message {
	m := openflow15.NewMeterMod()
	m.Command, m.MeterId = command, meter.ID
	if command == openflow15.MC_DELETE {
		return m
	}
	m.Flags = openflow15.MF_PKTPS
	band := openflow15.NewMeterBandDrop()
	band.Rate = meter.RatePPS
	if meter.Burst != 0 {
		m.Flags |= openflow15.MF_BURST
		band.BurstSize = meter.Burst
	}
	m.AddMeterBand(band)
	return m
}

func tlvRequest() util.Message { return openflow15.NewTLVTableRequest() }

func tlvMod(command uint16, tlvs []TLV) util.Message {
	var maps []*openflow15.TLVTableMap
	for _, t := range tlvs {
		maps = append(maps, &openflow15.TLVTableMap{OptClass: t.Class, OptType: t.Type, OptLength: t.Len, Index: t.Index})
	}
	return openflow15.NewTLVTableModMessage(openflow15.NewTLVTableMod(command, maps))
}

// flushZone has no type in the library; a body of our own behind its header.
func flushZone(zone uint16) util.Message {
	m := openflow15.NewNXTVendorHeader(openflow15.Type_CtFlushZone)
	m.VendorData = zoneBody(zone)
	return m
}

// zoneBody is the body of NXT_CT_FLUSH_ZONE: six zero bytes and the zone.
type zoneBody uint16

func (z zoneBody) Len() uint16                    { return 8 }
func (z zoneBody) MarshalBinary() ([]byte, error) { return u16(make([]byte, 6, 8), uint16(z)), nil }
func (z zoneBody) UnmarshalBinary([]byte) error   { return fmt.Errorf("never received") }
