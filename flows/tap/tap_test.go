package tap_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
	"tuplenet/flows/sim"
	"tuplenet/flows/tap"
)

const id = 0x1234

// All flows can be packed, none is twice, and none is above the table that it reports for.
func TestFlowsAreValid(t *testing.T) {
	flows, err := tap.Flows(id)
	if err != nil {
		t.Fatal(err)
	}
	if want := 2*len(pipeline.Tables) + 1; len(flows) != want {
		t.Errorf("%d flows, want %d", len(flows), want)
	}
	seen := map[string]bool{}
	for _, f := range flows {
		p, err := f.Pack()
		if err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		if key := fmt.Sprint(p.Table, p.Priority, p.MatchBytes()); seen[key] {
			t.Errorf("twice: %s", f)
		} else {
			seen[key] = true
		}
	}
}

// A marked packet is reported once in each table that it comes to, also where tables are left out, in loops through routers,
// and behind connection tracking; its way is that of an unmarked one.
func TestAMarkedPacketIsReportedOnceInEveryTable(t *testing.T) {
	for name, way := range map[string][]pipeline.Table{
		"a switch":       {pipeline.Classify, pipeline.PortSecurity, pipeline.Responder, pipeline.L2Lookup, pipeline.Deliver},
		"from a tunnel":  {pipeline.Classify, pipeline.TunnelIn, pipeline.L2Lookup, pipeline.Deliver},
		"a router":       {pipeline.Classify, pipeline.PortSecurity, pipeline.Responder, pipeline.L2Lookup, pipeline.RouterIn, pipeline.UnSNAT, pipeline.DNAT, pipeline.RouterLocal, pipeline.Route, pipeline.Neighbour, pipeline.UnDNAT, pipeline.SNAT, pipeline.RouterOut, pipeline.L2Lookup, pipeline.TunnelOut, pipeline.TunnelSize, pipeline.Encap},
		"an echo":        {pipeline.L2Lookup, pipeline.RouterIn, pipeline.UnSNAT, pipeline.DNAT, pipeline.RouterLocal, pipeline.RouterOut, pipeline.L2Lookup, pipeline.Deliver},
		"the ND replier": {pipeline.Responder, pipeline.NDReply},
	} {
		t.Run(name, func(t *testing.T) {
			for _, tracked := range []bool{false, true} {
				reports, outputs := walk(t, way, tracked, true)
				if want := ids(way); !slices.Equal(reports, want) {
					t.Errorf("reported in %v, want %v", reports, want)
				}
				if outputs != 1 {
					t.Errorf("%d outputs", outputs)
				}
				if reports, outputs = walk(t, way, tracked, false); len(reports) != 0 || outputs != 1 {
					t.Errorf("unmarked, it is reported in %v and leaves %d times", reports, outputs)
				}
			}
		})
	}
}

func ids(way []pipeline.Table) (ids []uint8) {
	for _, t := range way {
		ids = append(ids, t.ID)
	}
	return ids
}

// walk sends a packet through tables in that order, by flows that count the way in reg0, and returns where it was reported.
func walk(t *testing.T, way []pipeline.Table, tracked, marked bool) (reports []uint8, outputs int) {
	t.Helper()
	flows, err := tap.Flows(id)
	if err != nil {
		t.Fatal(err)
	}
	for i, at := range way {
		f := of.Flow{Table: at.ID, Priority: 10, Match: of.Match{}.IPv4().Eq(of.Reg0, of.U(uint64(i))), Actions: []of.Action{of.SetReg(of.Reg0, uint64(i+1))}}
		switch {
		case i == len(way)-1:
			f.Actions = append(f.Actions, of.Output{Port: 7})
		case tracked && i%4 == 1:
			f.Actions = append(f.Actions, of.CT{Zone: uint16(i), Table: &way[i+1].ID})
		default:
			f.Actions = append(f.Actions, pipeline.Again(way[i+1]))
		}
		flows = append(flows, f)
	}
	for _, other := range pipeline.Tables {
		flows = append(flows, of.Flow{Table: other.ID, Priority: 1})
	}
	sw, err := sim.New(sim.Config{Flows: flows})
	if err != nil {
		t.Fatal(err)
	}
	actions := []of.Action{pipeline.Again(way[0])}
	if marked {
		if actions, err = tap.Inject(id, 0); err != nil {
			t.Fatal(err)
		}
		actions[len(actions)-1] = pipeline.Again(way[0])
	}
	tr := sw.Do(packet(), 3, actions)
	if tr.Err != nil {
		t.Fatal(tr.Err)
	}
	for _, o := range tr.Outputs {
		if o.Port == of.PortController {
			reports = append(reports, tr.Steps[o.Step].Table)
		} else {
			outputs++
		}
	}
	return reports, outputs
}

func packet() (p sim.Packet) {
	p.Length = 98
	for f, v := range map[of.Field]of.Value{of.EthType: of.U(0x0800), of.IPProto: of.U(17), of.IPTTL: of.U(64), of.UDPSrc: of.U(1), of.UDPDst: of.U(2),
		of.IPSrc: of.Addr(netip.MustParseAddr("10.0.0.1")), of.IPDst: of.Addr(netip.MustParseAddr("10.0.0.2"))} {
		p.Set(f, v)
	}
	return p
}

// What comes out of a tunnel with the id in its option is marked, and reported from the first table on; into a tunnel the id
// goes with it.
func TestTheMarkGoesThroughTunnels(t *testing.T) {
	flows, err := tap.Flows(id)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range pipeline.Tables {
		flows = append(flows, of.Flow{Table: at.ID, Priority: 1, Actions: map[uint8][]of.Action{
			pipeline.Classify.ID: {pipeline.Again(pipeline.TunnelIn)}, pipeline.TunnelIn.ID: {pipeline.Again(pipeline.L2Lookup)},
			pipeline.L2Lookup.ID: {pipeline.Again(pipeline.TunnelOut)}, pipeline.TunnelOut.ID: {pipeline.Again(pipeline.Encap)}, pipeline.Encap.ID: {of.Output{Port: 7}}}[at.ID]})
	}
	sw, err := sim.New(sim.Config{Flows: flows})
	if err != nil {
		t.Fatal(err)
	}
	p := packet()
	p.Set(of.TunMetadata0, of.U(0xaaaa_bbbb_0001_0000|id))
	tr := sw.Run(p, 1)
	var reports []uint8
	for _, o := range tr.Outputs {
		if o.Port == of.PortController {
			reports = append(reports, tr.Steps[o.Step].Table)
		} else if got := o.Packet.Get(of.TunMetadata0).Lo & 0xffff; got != id {
			t.Errorf("it leaves with id %#x", got)
		}
	}
	if want := []uint8{0, 4, 16, 90, 94}; !slices.Equal(reports, want) {
		t.Errorf("reported in %v, want %v", reports, want)
	}
}
