package walk

import (
	"net/netip"
	"strings"
	"testing"

	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
	"tuplenet/flows/sim"
	"tuplenet/model"
)

// A packet that misses again and again, by a defect or because two chassis send it to each other, is followed to an end that says so.
func TestAPacketThatAlwaysMissesLoops(t *testing.T) {
	addr := map[string]netip.Addr{"hv1": netip.MustParseAddr("192.168.1.10"), "hv2": netip.MustParseAddr("192.168.1.11")}
	load := pipeline.Missed.Load(pipeline.MissedPort)
	miss := func(table uint8) of.Flow {
		return of.Flow{Table: table, Actions: []of.Action{load, pipeline.AskDaemon(0)}}
	}
	to := func(other string) of.Flow {
		return of.Flow{Table: pipeline.L2Lookup.ID, Actions: []of.Action{of.Load(of.Whole(of.InPort), 0), of.Load(of.Whole(of.TunDst), uint64(of.Addr(addr[other]).Lo)), of.Output{Port: 7}}}
	}
	first := pipeline.Classify.ID
	for name, c := range map[string]struct{ hv1, hv2 []of.Flow }{
		"in the same chassis":            {[]of.Flow{miss(first), miss(pipeline.L2Lookup.ID)}, []of.Flow{miss(first), miss(pipeline.L2Lookup.ID)}},
		"in chassis that send it around": {[]of.Flow{miss(first), to("hv2")}, []of.Flow{miss(first), to("hv1")}},
	} {
		t.Run(name, func(t *testing.T) {
			objects, facts := map[model.Ref]model.Object{}, map[string]Facts{}
			for hv, a := range addr {
				o := &model.Chassis{Name: hv, IPs: []netip.Addr{a}, Encaps: []model.Encap{model.EncapGeneve}}
				objects[o.Ref()] = o
				var f Facts
				f.Node.Chassis, f.Node.IPs, f.Node.TunnelPort, f.Node.OnDemand = hv, o.IPs, 7, true
				facts[hv] = f
			}
			d, err := New(Config{Objects: objects, Facts: facts})
			if err != nil {
				t.Fatal(err)
			}
			for hv, flows := range map[string][]of.Flow{"hv1": c.hv1, "hv2": c.hv2} {
				if d.nodes[hv].sw, err = sim.New(sim.Config{Flows: flows, Tunnels: []uint32{7}}); err != nil {
					t.Fatal(err)
				}
			}
			frame := sim.Packet{Length: 98}
			frame.Set(of.EthSrc, of.MAC(model.MAC{0xf2, 1}))
			frame.Set(of.EthDst, of.MAC(model.MAC{0xf2, 2}))
			r, w := d.Send("hv1", 42, frame)
			if !strings.HasPrefix(r.Verdict, "the packet loops: it was sent on ") || r.Reached || len(r.Defects) != 1 {
				t.Errorf("verdict %q, reached: %v, defects %q", r.Verdict, r.Reached, r.Defects)
			}
			if n := len(w.Hops); n > sim.MaxHops {
				t.Errorf("%d hops were followed", n)
			}
		})
	}
}
