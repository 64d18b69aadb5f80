package compile

import (
	"fmt"
	"net/netip"
	"testing"

	"tuplenet/flows/memo"
	"tuplenet/flows/pipeline"
	"tuplenet/model"
)

// A switch with many ports grows and shrinks again. At each size everybody is in the group for broadcasts, and compiling everything anew finds
// nothing else.
func TestEverybodyOnASwitchWithManyPortsGetsBroadcasts(t *testing.T) {
	e := New()
	e.Set(memo.Key{Kind: KindNode}, Node{Chassis: "hv0", IPs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, TunnelPort: 1})
	for i := range 4 {
		c := &model.Chassis{Name: fmt.Sprintf("hv%d", i), IPs: []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)})}, Encaps: []model.Encap{model.EncapGeneve}}
		e.Set(FactKey(c.Ref()), c)
	}
	ls := &model.LogicalSwitch{Name: "ls", VNI: 5}
	e.Set(FactKey(ls.Ref()), ls)
	// Local ports are the first, and one in a hundred; the last chassis has a single port.
	local := func(i int) bool { return i == 0 || i%100 == 7 }
	chassis := func(i int) string {
		switch {
		case local(i):
			return "hv0"
		case i == 300:
			return "hv3"
		}
		return fmt.Sprintf("hv%d", 1+i%2)
	}
	put := func(i int, there bool) {
		p := &model.LogicalSwitchPort{Switch: "ls", Name: fmt.Sprintf("p%d", i), Key: model.PortKey(i + 1), MAC: model.MAC{2, 0, 0, 0, byte(i >> 8), byte(i)}, Type: model.PortVIF}
		b := &model.Binding{Port: p.Name, Chassis: chassis(i)}
		if !there {
			e.Delete(FactKey(p.Ref()))
			e.Delete(FactKey(b.Ref()))
			e.Delete(memo.Key{Kind: KindInterface, ID: p.Name})
			return
		}
		e.Set(FactKey(p.Ref()), p)
		e.Set(FactKey(b.Ref()), b)
		if local(i) {
			e.Set(memo.Key{Kind: KindInterface, ID: p.Name}, Interface{OFPort: uint32(10 + i)})
		}
	}
	check := func(ports int) {
		t.Helper()
		want, away := 0, map[string]bool{}
		for i := range ports {
			if local(i) {
				want++
			} else {
				away[chassis(i)] = true
			}
		}
		got := 0
		e.Outputs(func(u memo.Unit, o Output) {
			for _, g := range o.Groups {
				if u.Feature == "switch" && g.ID == pipeline.GroupID(pipeline.GroupFlood, 0, 5) {
					got = len(g.Buckets)
				}
			}
		})
		if got != want+len(away) {
			t.Fatalf("%d ports: broadcasts go %d ways, not to %d ports and %d chassis", ports, got, want, len(away))
		}
		if ch := e.Recompute(); len(ch) > 0 {
			t.Fatalf("%d ports: compiling anew changed %v", ports, ch[0].Unit)
		}
	}
	const most = 320
	for i := range most {
		put(i, true)
		e.Update()
		if i%40 == 0 {
			check(i + 1)
		}
	}
	check(most)
	for i := most - 1; i > 0; i-- {
		put(i, false)
		e.Update()
		if i%40 == 0 {
			check(i)
		}
	}
}
