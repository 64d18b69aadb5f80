package controller

import (
	"encoding/binary"
	"hash/fnv"
	"net/netip"

	"tuplenet/controller/responder"
	"tuplenet/datapath/ofconn"
	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
)

// Two inside addresses that ping one destination with one identifier cannot both be translated to one external address by the
// userspace datapath, which keeps identifiers as they are. The daemon gives the later one another identifier and hands it
// back; the switch remembers with the connection which one the sender knows, and sends the answers here to get it back. The
// daemon remembers nothing: the identifiers that it tries follow from the ping, so all packets of one ping get the same, also
// after a restart.

// maxTries is how many identifiers are tried for a ping before it is dropped.
const maxTries = 8

// renumber gives a ping that was not translated the next identifier.
func renumber(p ofconn.PacketIn, send func(ofconn.PacketOut)) {
	ping, err := responder.ParsePing(p.Data)
	if err != nil {
		return
	}
	tries := subfieldOf(p, pipeline.Tries) + 1
	own := ping.ID
	if tries > 1 {
		own = uint16(subfieldOf(p, pipeline.PingID))
	}
	if tries > maxTries {
		return
	}
	send(ofconn.PacketOut{InPort: of.PortController, Data: ping.WithID(identifier(ping.Src, ping.Dst, own, tries)), Actions: []of.Action{
		pipeline.Datapath.Load(fieldOf(p, of.Metadata)), pipeline.OutPort.Load(fieldOf(p, of.Reg15)), pipeline.Routed.Load(1),
		pipeline.FromEdge.Load(subfieldOf(p, pipeline.FromEdge)), pipeline.PingID.Load(uint64(own)), pipeline.Renumbered.Load(1), pipeline.Tries.Load(tries), pipeline.Again(pipeline.SNAT)}})
}

// identifier is the one that a ping gets at some try.
func identifier(src, dst netip.Addr, own uint16, try uint64) uint16 {
	h := fnv.New32a()
	for _, b := range [][]byte{src.AsSlice(), dst.AsSlice(), binary.BigEndian.AppendUint16(nil, own), {byte(try)}} {
		_, _ = h.Write(b)
	}
	sum := h.Sum32()
	return uint16(sum>>16) ^ uint16(sum)
}

// restore gives the answer to a renumbered ping the identifier that its sender knows.
func restore(p ofconn.PacketIn, send func(ofconn.PacketOut)) {
	ping, err := responder.ParsePing(p.Data)
	if err != nil {
		return
	}
	own := subfieldOf(p, pipeline.PingID)
	send(ofconn.PacketOut{InPort: of.PortController, Data: ping.WithID(uint16(own)), Actions: []of.Action{
		pipeline.Datapath.Load(fieldOf(p, of.Metadata)), pipeline.InPort.Load(fieldOf(p, of.Reg14)), pipeline.Restored.Load(1), pipeline.Again(pipeline.DNAT)}})
}

// subfieldOf is the value of a field of ours of a punted packet.
func subfieldOf(p ofconn.PacketIn, f pipeline.Field) uint64 {
	return fieldOf(p, f.Sub.Field) & f.Sub.Mask().Lo >> f.Sub.Ofs
}
