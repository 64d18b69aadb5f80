package bench

import (
	"fmt"
	"net/netip"
	"testing"

	"tuplenet/controller/facts"
	"tuplenet/flows/compile"
	"tuplenet/flows/memo"
	"tuplenet/model"
	"tuplenet/model/store"
)

// watched is a node's facts of a network of 200 switches behind one router, and an island that its port does not reach.
func watched(onDemand bool) *facts.Facts {
	f := facts.New()
	u := store.Update{Reset: true}
	rev := int64(0)
	take := func(o model.Object) {
		rev++
		u.Changes = append(u.Changes, store.Change{Ref: o.Ref(), Object: o, Revision: rev})
	}
	deploy(func(_ memo.Key, v any) {
		if o, ok := v.(model.Object); ok {
			take(o)
		}
	}, false)
	take(&model.LogicalSwitch{Name: "island", VNI: 9999})
	f.Apply(u)
	f.SetNode(compile.Node{Chassis: "hv1", IPs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, TunnelPort: 1, TunnelMTU: 1438, OnDemand: onDemand})
	f.SetInterfaces(map[string]compile.Interface{"p0-0": {OFPort: 10}, "p1-0": {OFPort: 11}})
	f.Update()
	return f
}

// BenchmarkChange is what one port that comes, or goes, costs a node behind the client of the store: among 20,000 ports that its own
// can reach, the same with flows on demand, and on a switch that they do not reach.
func BenchmarkChange(b *testing.B) {
	for _, c := range []struct {
		name, on string
		onDemand bool
	}{{"reachable", "ls7", false}, {"ondemand", "ls7", true}, {"elsewhere", "island", false}} {
		b.Run(c.name, func(b *testing.B) {
			f := watched(c.onDemand)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				p := port(7, 150, false)
				p.Switch, p.Name = c.on, "new"
				u := store.Update{Revision: int64(1e6 + i), Changes: []store.Change{{Ref: p.Ref(), Object: p, Revision: int64(1e6 + i)}}}
				if i%2 == 1 {
					u.Changes[0].Object = nil
				}
				f.Apply(u)
				f.Update()
			}
		})
	}
	b.Run("decoding", func(b *testing.B) {
		p := port(7, 150, false)
		p.MAC = portMAC(7, 150)
		text, err := model.Encode(p)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := model.Decode(p.Ref(), text); err != nil {
				b.Fatal(fmt.Errorf("decode %s: %w", text, err))
			}
		}
	})
}
