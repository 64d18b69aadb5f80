// Package tap makes the flows that report a marked packet in every table that it comes to, and change nothing else about it.
// They are put into a switch for the time of one trace, in a cookie namespace of their own, beside the flows of the pipeline,
// which know nothing of them. The package declares values; package controller puts them in and takes them out, tpctl reads
// what they report.
//
// A marked packet has the trace's id in a register, which stays with it inside of one switch, connection tracking included, and
// which is zero for all others; into a tunnel it goes in the tunnel option. (pkt_mark would not do: Open vSwitch finds no way for
// a tunnel packet that has one.) The flow of a table with the highest priority matches
// the id, sends a copy to the daemon and looks the packet up in the same table once more. That it does not match a second time is
// the work of two more bits, the colour: each table has one, the flow matches every other colour and sets its own. Neighbouring
// tables, between which packets go, have different colours, so the next table reports again.
package tap

import (
	"fmt"

	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
)

// Namespace is the highest byte of the cookies of these flows.
const Namespace = 'T'

// priority is above all flows of the pipeline.
const priority = 0xffff

// colours is how many there are: two bits.
const colours = 4

// Cookie is that of all flows of one trace.
func Cookie(id uint16) uint64 { return Namespace<<56 | uint64(id) }

// Flows are those of the trace of that id, which is not 0.
func Flows(id uint16) ([]of.Flow, error) {
	colour, err := paint()
	if err != nil {
		return nil, err
	}
	var flows []of.Flow
	for _, t := range pipeline.Tables {
		own := colour[t.ID]
		marked := pipeline.TraceID.Is(of.Match{}, uint64(id))
		// Every other colour: the lower bit differs, or only the upper one.
		for _, other := range []of.Match{
			marked.Subfield(of.Bits(pipeline.TraceColour.Sub.Field, pipeline.TraceColour.Sub.Ofs, 1), uint64(own&1^1)),
			pipeline.TraceColour.Is(marked, uint64(own^2)),
		} {
			flows = append(flows, report(t, other, own))
		}
		if t == pipeline.Classify { // from a tunnel
			arriving := pipeline.OptionTrace.Is(pipeline.TraceID.Is(of.Match{}, 0), uint64(id))
			f := report(t, arriving, own)
			f.Actions = append([]of.Action{pipeline.TraceID.Load(uint64(id))}, f.Actions...)
			flows = append(flows, f)
		}
	}
	return flows, nil
}

// report is the flow of one table.
func report(t pipeline.Table, m of.Match, own uint8) of.Flow {
	actions := []of.Action{pipeline.TraceColour.Load(uint64(own))}
	if t == pipeline.Encap {
		actions = append(actions, of.CopyField{Src: pipeline.TraceID.Sub, Dst: pipeline.OptionTrace.Sub})
	}
	return of.Flow{Table: t.ID, Priority: priority, Match: m, Actions: append(actions, pipeline.ToDaemon(pipeline.PuntTrace), pipeline.Again(t))}
}

// Inject is what has to be done with a packet to mark it and to let it go its way, as if it had come in by a port; 0 is its
// in-port.
func Inject(id uint16, port uint32) ([]of.Action, error) {
	colour, err := paint()
	if err != nil {
		return nil, err
	}
	first := pipeline.Classify
	var actions []of.Action
	if port != 0 {
		actions = append(actions, of.Set(of.InPort, of.U(uint64(port))))
	}
	return append(actions, pipeline.TraceID.Load(uint64(id)), pipeline.TraceColour.Load(uint64(colour[first.ID]^1)), pipeline.Again(first)), nil
}

// Neighbours are the pairs of tables between which a packet may go.
func Neighbours() map[uint8]map[uint8]bool {
	next := map[uint8]map[uint8]bool{}
	for _, t := range pipeline.Tables {
		next[t.ID] = map[uint8]bool{}
	}
	join := func(a, b pipeline.Table) { next[a.ID][b.ID], next[b.ID][a.ID] = true, true }
	for _, r := range pipeline.Rules {
		for _, t := range r.Next {
			join(r.Table, t)
		}
		buckets := r.Buckets
		if r.Group && buckets == nil {
			buckets = []pipeline.Table{pipeline.Deliver, pipeline.Encap, pipeline.TunnelOut, pipeline.Neighbour}
		}
		for _, t := range buckets {
			join(r.Table, t)
		}
	}
	return next
}

// paint gives each table a colour that no neighbour has.
func paint() (map[uint8]uint8, error) {
	next, colour := Neighbours(), map[uint8]uint8{}
	var try func(i int) bool
	try = func(i int) bool {
		if i == len(pipeline.Tables) {
			return true
		}
		id := pipeline.Tables[i].ID
		for c := range uint8(colours) {
			free := !next[id][id]
			for other := range next[id] {
				if used, painted := colour[other]; painted && used == c {
					free = false
				}
			}
			if !free {
				continue
			}
			colour[id] = c
			if try(i + 1) {
				return true
			}
			delete(colour, id)
		}
		return false
	}
	if !try(0) {
		return nil, fmt.Errorf("the tables cannot be painted with %d colours", colours)
	}
	return colour, nil
}
