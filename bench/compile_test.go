package bench

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"

	"tuplenet/flows/compile"
	"tuplenet/flows/memo"
	"tuplenet/model"
)

// The deployment of the scale scenario: switches of 100 ports behind one router, two chassis, the node being one.
const (
	switches        = 200
	portsPerSwitch  = 100
	localsPerSwitch = 1 // on the first two switches
)

func fact(set func(memo.Key, any), o model.Object) { set(compile.FactKey(o.Ref()), o) }

func portMAC(sw, port int) model.MAC {
	return model.MAC{0xf2, 0x01, 10, byte(sw), byte(port >> 8), byte(port)}
}

func port(sw, i int, dual bool) *model.LogicalSwitchPort {
	p := &model.LogicalSwitchPort{Switch: fmt.Sprintf("ls%d", sw), Name: fmt.Sprintf("p%d-%d", sw, i), Key: model.PortKey(i + 2), MAC: portMAC(sw, i),
		Type: model.PortVIF, IPs: []netip.Addr{netip.AddrFrom4([4]byte{10, byte(sw), 0, byte(i + 10)})}}
	if dual {
		a := netip.MustParseAddr("2001:db8::").As16()
		a[6], a[7], a[15] = 0, byte(sw), byte(i+10)
		p.IPs = append(p.IPs, netip.AddrFrom16(a))
	}
	return p
}

// deploy sets the facts of the whole deployment.
func deploy(set func(memo.Key, any), dual bool) { deploySome(set, dual, switches) }

// deploySome sets the facts of a deployment with fewer switches.
func deploySome(set func(memo.Key, any), dual bool, switches int) {
	set(memo.Key{Kind: compile.KindNode}, compile.Node{Chassis: "hv1", IPs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, TunnelPort: 1, TunnelMTU: 1438})
	for i := 1; i <= 2; i++ {
		fact(set, &model.Chassis{Name: fmt.Sprintf("hv%d", i), IPs: []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})}, Encaps: []model.Encap{model.EncapGeneve}})
	}
	fact(set, &model.LogicalRouter{Name: "lr", ID: 1})
	for s := 0; s < switches; s++ {
		ls := fmt.Sprintf("ls%d", s)
		fact(set, &model.LogicalSwitch{Name: ls, VNI: model.VNI(s + 2)})
		mac := model.MAC{0xf2, 0x02, 0, 0, 0, byte(s)}
		networks := []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(s), 0, 1}), 24)}
		if dual {
			a := netip.MustParseAddr("2001:db8::1").As16()
			a[7] = byte(s)
			networks = append(networks, netip.PrefixFrom(netip.AddrFrom16(a), 64))
		}
		fact(set, &model.LogicalRouterPort{Router: "lr", Name: "lr_to_" + ls, Key: model.PortKey(s + 1), MAC: mac, Networks: networks, Peer: ls + "_to_lr"})
		fact(set, &model.LogicalSwitchPort{Switch: ls, Name: ls + "_to_lr", Key: 1, MAC: mac, Type: model.PortRouter, Peer: "lr_to_" + ls})
		for i := 0; i < portsPerSwitch; i++ {
			p := port(s, i, dual)
			fact(set, p)
			if i == 0 && s < 2*localsPerSwitch {
				set(memo.Key{Kind: compile.KindInterface, ID: p.Name}, compile.Interface{OFPort: uint32(10 + s)})
				fact(set, &model.Binding{Port: p.Name, Chassis: "hv1"})
			} else {
				fact(set, &model.Binding{Port: p.Name, Chassis: "hv2"})
			}
		}
	}
}

func full(b *testing.B, dual bool) *memo.Engine[compile.Output] {
	e := compile.New()
	deploy(e.Set, dual)
	e.Update()
	return e
}

func countFlows(e *memo.Engine[compile.Output]) (flows int) {
	e.Outputs(func(_ memo.Unit, o compile.Output) { flows += len(o.Flows) })
	return flows
}

// BenchmarkFull compiles 20,000 ports on 200 switches behind one router from nothing.
func BenchmarkFull(b *testing.B) {
	for _, dual := range []bool{false, true} {
		b.Run(map[bool]string{false: "ipv4", true: "dual"}[dual], func(b *testing.B) {
			b.ReportAllocs()
			var e *memo.Engine[compile.Output]
			for b.Loop() {
				e = full(b, dual)
			}
			b.ReportMetric(float64(countFlows(e)), "flows")
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			b.ReportMetric(float64(m.HeapAlloc)/1e6, "heapMB")
			runtime.KeepAlive(e)
		})
	}
}

// BenchmarkOneChange changes, adds and removes one port of the 20,000.
func BenchmarkOneChange(b *testing.B) {
	e := full(b, true)
	b.Run("move", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			fact(e.Set, &model.Binding{Port: "p7-7", Chassis: fmt.Sprintf("hv%d", i%2+1)})
			if len(e.Update()) == 0 {
				b.Fatal("nothing changed")
			}
		}
	})
	b.Run("readdress", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			p := port(7, 7, true)
			p.IPs[0] = netip.AddrFrom4([4]byte{10, 7, 0, byte(200 + i%2)})
			fact(e.Set, p)
			if len(e.Update()) == 0 {
				b.Fatal("nothing changed")
			}
		}
	})
	b.Run("add-and-delete", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			p := port(7, 150, true)
			p.Name = "new"
			fact(e.Set, p)
			e.Update()
			e.Delete(compile.FactKey(p.Ref()))
			e.Update()
		}
	})
}

// BenchmarkOneSwitch adds and deletes a port of a switch that has 5,000.
func BenchmarkOneSwitch(b *testing.B) {
	const ports = 5000
	e := compile.New()
	deploySome(e.Set, true, 2)
	many := func(i int) *model.LogicalSwitchPort {
		p := port(0, 300+i, false)
		p.Name, p.IPs = fmt.Sprintf("many%d", i), []netip.Addr{netip.AddrFrom4([4]byte{10, 0, byte(1 + i/250), byte(i % 250)})}
		return p
	}
	for i := range ports {
		fact(e.Set, many(i))
		fact(e.Set, &model.Binding{Port: many(i).Name, Chassis: "hv2"})
	}
	e.Update()
	b.ReportAllocs()
	for b.Loop() {
		fact(e.Set, many(ports))
		if len(e.Update()) == 0 {
			b.Fatal("nothing changed")
		}
		e.Delete(compile.FactKey(many(ports).Ref()))
		e.Update()
	}
}
