package compile_test

import (
	"flag"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tuplenet/flows/compile"
	"tuplenet/flows/memo"
	"tuplenet/model"
)

// played is how often a test has called check.
var played = map[string]uint64{}

// check runs a property a number of times; a failure prints the seed with which it comes back. If the seed is given, as by
// `make test`, a test that calls it again goes on with others.
func check(t *testing.T, times int, property func(*rapid.T)) {
	t.Helper()
	seed, err := strconv.ParseUint(flag.Lookup("rapid.seed").Value.String(), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	if seed != 0 {
		seed += played[t.Name()] << 32
		played[t.Name()]++
	}
	for name, value := range map[string]string{"rapid.checks": fmt.Sprint(times), "rapid.nofailfile": "true", "rapid.seed": fmt.Sprint(seed)} {
		f := flag.Lookup(name)
		old := f.Value.String()
		if err := f.Value.Set(value); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Value.Set(old) }) // it was its value
	}
	rapid.Check(t, property)
}

// After every edit of a random sequence, valid or not, what was compiled incrementally equals what a fresh engine
// makes of the same facts, and a recompute finds nothing missed.
func TestP02_IncrementalEqualsRecompute(t *testing.T) {
	check(t, editSeeds, func(t *rapid.T) {
		facts := map[memo.Key]any{}
		e := compile.New()
		have := map[memo.Unit]compile.Output{}
		put := func(k memo.Key, v any) {
			if v == nil {
				delete(facts, k)
				e.Delete(k)
				return
			}
			facts[k] = v
			e.Set(k, v)
		}
		put(memo.Key{Kind: compile.KindNode}, anyNode(t))
		for step := range editSteps {
			for range rapid.IntRange(1, 3).Draw(t, "edits") {
				put(anyEdit(t))
			}
			follow(have, e.Update())
			if step%5 != 4 {
				continue
			}
			compare(t, "incremental and held", have, outputs(e))
			fresh := compile.New()
			for k, v := range facts {
				fresh.Set(k, v)
			}
			fresh.Update()
			compare(t, "incremental and fresh", have, outputs(fresh))
			if missed := e.Recompute(); len(missed) != 0 {
				t.Fatalf("step %d: recompute changed %v", step, missed[0].Unit)
			}
		}
	})
}

// follow applies changes as the controller does.
func follow(have map[memo.Unit]compile.Output, changes []memo.Change[compile.Output]) {
	for _, c := range changes {
		if c.Gone {
			delete(have, c.Unit)
		} else {
			have[c.Unit] = c.New
		}
	}
}

func outputs(e *memo.Engine[compile.Output]) map[memo.Unit]compile.Output {
	all := map[memo.Unit]compile.Output{}
	e.Outputs(func(u memo.Unit, o compile.Output) { all[u] = o })
	return all
}

func compare(t *rapid.T, what string, a, b map[memo.Unit]compile.Output) {
	t.Helper()
	if maps.EqualFunc(a, b, compile.Output.Equal) {
		return
	}
	for u := range a {
		if !a[u].Equal(b[u]) {
			t.Fatalf("%s differ in %s:\n%s\n--- and\n%s", what, u, strings.Join(describe(a[u]), "\n"), strings.Join(describe(b[u]), "\n"))
		}
	}
	t.Fatalf("%s have different units: %v and %v", what, slices.Collect(maps.Keys(a)), slices.Collect(maps.Keys(b)))
}

// The small pools that random edits draw from, so that names meet, dangle, and come back.
var (
	someSwitches = []string{"S0", "S1", "S2"}
	someRouters  = []string{"R0", "R1"}
	somePorts    = []string{"p0", "p1", "p2", "p3", "p4"}
	someLinks    = []string{"l0", "l1", "l2", "l3"} // names of link ends: the switch's s-l0, the router's r-l0
	someChassis  = []string{"self", "hv1", "hv2"}
	someIPs      = []string{"10.0.0.1", "10.0.0.2", "10.0.1.1", "2001:db8::1", "2001:db8::2", "2001:db8:1::1"}
	someNetworks = []string{"10.0.0.1/24", "10.0.1.1/24", "10.0.0.254/16", "2001:db8::1/64", "2001:db8:1::1/64"}
	someEndpoint = []string{"192.0.2.1", "192.0.2.2", "2001:db8:ff::1", "2001:db8:ff::2"}
)

func one[V any](t *rapid.T, label string, from []V) V { return rapid.SampledFrom(from).Draw(t, label) }

// some draws a few different values.
func some(t *rapid.T, label string, from []string, limit int) []string {
	return rapid.SliceOfNDistinct(rapid.SampledFrom(from), 0, limit, rapid.ID).Draw(t, label)
}

func anyNode(t *rapid.T) compile.Node {
	n := compile.Node{Chassis: "self", Gateway: rapid.Bool().Draw(t, "gateway"), Encaps: one(t, "own encaps", someEncaps), TunnelPort: one(t, "tunnel port", []uint32{0, 1}), VXLANPort: one(t, "VXLAN port", []uint32{0, 2}), TunnelMTU: one(t, "tunnel MTU", []int{0, 1438}),
		OnDemand: rapid.Bool().Draw(t, "on demand"), LifePort: one(t, "life port", []uint32{0, 9})}
	for _, ip := range some(t, "own endpoints", someEndpoint, 2) {
		n.IPs = append(n.IPs, netip.MustParseAddr(ip))
	}
	return n
}

// anyEdit sets or deletes (nil) one fact. Nothing keeps the facts consistent with each other: peers dangle, addresses
// are taken twice, chassis are missing, as in a store that people edited by hand.
func anyEdit(t *rapid.T) (memo.Key, any) {
	var key memo.Key
	var value any
	object := func(o model.Object) { key, value = compile.FactKey(o.Ref()), o }
	switch rapid.IntRange(0, 14).Draw(t, "kind") {
	case 0:
		object(&model.LogicalSwitch{Name: one(t, "switch", someSwitches), VNI: model.VNI(rapid.IntRange(1, 4).Draw(t, "vni")), MTU: one(t, "MTU", []int{0, 0, 1300, 9000}), Hosts: anyHosts(t)})
	case 1:
		object(&model.LogicalRouter{Name: one(t, "router", someRouters), ID: model.VNI(rapid.IntRange(5, 6).Draw(t, "id")), Chassis: one(t, "pin", []string{"", "", "self", "hv1"})})
	case 2, 3:
		object(anyPort(t))
	case 4:
		object(anySwitchEnd(t))
	case 5:
		object(anyRouterEnd(t))
	case 6:
		c := &model.Chassis{Name: one(t, "chassis", someChassis), Encaps: one(t, "encaps", someEncaps), Gateway: rapid.Bool().Draw(t, "gateway")}
		for _, ip := range some(t, "endpoints", someEndpoint, 2) {
			c.IPs = append(c.IPs, netip.MustParseAddr(ip))
		}
		object(c)
	case 7:
		object(&model.Binding{Port: one(t, "bound", slices.Concat(somePorts, []string{"nobody", "s-l0", "s-l1"})), Chassis: one(t, "on", slices.Concat(someChassis, []string{"missing"}))})
	case 8:
		key = memo.Key{Kind: compile.KindInterface, ID: one(t, "interface", slices.Concat(somePorts, []string{"s-l0"}))}
		value = compile.Interface{OFPort: rapid.Uint32Range(0, 4).Draw(t, "ofport")}
	case 9:
		return memo.Key{Kind: compile.KindNode}, anyNode(t)
	case 11:
		ip := netip.MustParseAddr(one(t, "next hop", someIPs))
		object(&model.StaticRoute{Router: one(t, "router", someRouters), Name: one(t, "route", someLinks), Prefix: one(t, "prefix", somewhere[ip.Is4()]),
			NextHop: ip, OutPort: "r-" + one(t, "out", someLinks)})
	case 12:
		object(anyNAT(t))
	case 14:
		ls := one(t, "switch", someSwitches)
		key, value = memo.Key{Kind: compile.KindWanted, ID: ls + "/" + one(t, "wanted", somePorts)}, compile.Wanted{Switch: ls}
	case 13:
		key, value = memo.Key{Kind: compile.KindWatched, ID: one(t, "watched", someChassis)}, compile.Watched{OFPort: rapid.Uint32Range(5, 6).Draw(t, "port"), New: rapid.Bool().Draw(t, "new"), Encap: one(t, "encap", []model.Encap{model.EncapGeneve, model.EncapVXLAN})}
	case 10:
		n := compile.Neighbour{Router: one(t, "router", someRouters), Port: "r-" + one(t, "link", someLinks), IP: netip.MustParseAddr(one(t, "ip", someIPs)), MAC: anyMAC(t)}
		key, value = memo.Key{Kind: compile.KindNeighbour, ID: n.ID()}, n
	}
	if rapid.IntRange(0, 3).Draw(t, "delete") == 0 {
		value = nil
	}
	return key, value
}

// anyHosts is what a switch tells its workloads, often nothing.
func anyHosts(t *rapid.T) *model.HostConfig {
	if rapid.Bool().Draw(t, "silent") {
		return nil
	}
	return &model.HostConfig{DHCPv4: rapid.Bool().Draw(t, "dhcp"), RA: rapid.Bool().Draw(t, "ra"),
		DHCPv6: one(t, "dhcpv6", []model.DHCPv6Mode{model.DHCPv6Off, model.DHCPv6Stateless, model.DHCPv6Stateful}), NoDefaultRoute: rapid.Bool().Draw(t, "no default")}
}

func anyPort(t *rapid.T) *model.LogicalSwitchPort {
	p := &model.LogicalSwitchPort{Switch: one(t, "switch", someSwitches), Name: one(t, "port", somePorts),
		Key: model.PortKey(rapid.IntRange(1, 4).Draw(t, "key")), Type: one(t, "type", []model.PortType{model.PortVIF, model.PortVIF, model.PortVIF, model.PortPatch}),
		NoPortSecurity: rapid.Bool().Draw(t, "unchecked"), NoHostConfig: rapid.IntRange(0, 4).Draw(t, "untold") == 0}
	if p.Type == model.PortPatch {
		return p
	}
	p.MAC = anyMAC(t)
	for _, ip := range some(t, "ips", someIPs, 3) {
		p.IPs = append(p.IPs, netip.MustParseAddr(ip))
	}
	return p
}

func anyNAT(t *rapid.T) *model.NATRule {
	n := &model.NATRule{Router: one(t, "router", someRouters), Name: one(t, "rule", someLinks), External: netip.MustParseAddr(one(t, "external", someIPs))}
	n.Type = one(t, "type", []model.NATType{model.NATSource, model.NATDestination, model.NATFloating})
	inside := netip.MustParseAddr(one(t, "inside", slices.DeleteFunc(slices.Clone(someIPs), func(ip string) bool {
		return strings.Contains(ip, ":") == n.External.Is4()
	})))
	bits := inside.BitLen()
	if n.Type == model.NATSource {
		bits = 24
	}
	n.Prefix = netip.PrefixFrom(inside, bits).Masked()
	return n
}

func anyMAC(t *rapid.T) model.MAC {
	return model.MAC{0xf2, 1, 0, 0, 0, byte(rapid.IntRange(1, 4).Draw(t, "mac"))}
}

func anySwitchEnd(t *rapid.T) *model.LogicalSwitchPort {
	return &model.LogicalSwitchPort{Switch: one(t, "switch", someSwitches), Name: "s-" + one(t, "link", someLinks),
		Key: model.PortKey(rapid.IntRange(1, 4).Draw(t, "key")), Type: model.PortRouter, Peer: "r-" + one(t, "peer", someLinks), MAC: anyMAC(t)}
}

func anyRouterEnd(t *rapid.T) *model.LogicalRouterPort {
	p := &model.LogicalRouterPort{Router: one(t, "router", someRouters), Name: "r-" + one(t, "link", someLinks),
		Key: model.PortKey(rapid.IntRange(1, 4).Draw(t, "key")), MAC: anyMAC(t)}
	if rapid.IntRange(0, 5).Draw(t, "linked") > 0 {
		p.Peer = "s-" + one(t, "peer", someLinks)
	}
	for _, n := range some(t, "networks", someNetworks, 3) {
		p.Networks = append(p.Networks, netip.MustParsePrefix(n))
	}
	return p
}
