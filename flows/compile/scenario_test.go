package compile_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"tuplenet/flows/compile"
	"tuplenet/flows/memo"
	"tuplenet/flows/pipeline"
	"tuplenet/model"
)

// world is a small deployment in memory: what would be in the store, and where interfaces are.
type world struct {
	facts map[memo.Key]any             // that every node sees
	ports map[string]map[string]uint32 // chassis → port name → ofport
	keys  map[string]int
	// learnt are the neighbours in the physical network that a chassis knows.
	learnt map[string][]compile.Neighbour
	// watched are the ports by which a chassis watches others.
	watched map[string]map[string]uint32
	// onDemand makes all chassis but gateways work so; wanted are the ports that they want, life is whether they have a port that
	// tells that their daemon lives.
	onDemand, life bool
	wanted         map[string]map[memo.Key]compile.Wanted
	// uplinks are the ports that lead to VXLAN devices of multicast networks, by the device's name.
	uplinks map[string]map[string]uint32
}

func newWorld() *world {
	return &world{facts: map[memo.Key]any{}, ports: map[string]map[string]uint32{}, keys: map[string]int{}, learnt: map[string][]compile.Neighbour{}, watched: map[string]map[string]uint32{},
		wanted: map[string]map[memo.Key]compile.Wanted{}, uplinks: map[string]map[string]uint32{}}
}

func (w *world) put(o model.Object) { w.facts[compile.FactKey(o.Ref())] = o }

// parse builds a world from lines such as
//
//	switch LS-A 1
//	port LS-A alice f2:01:00:00:00:01 10.20.1.10,2001:db8::10
//	router LR 3 [CHASSIS]
//	link LR LS-A 10.20.1.1/24,2001:db8::1/64
//	chassis hv1 10.0.0.1
//	bind alice hv1
//	ondemand
//	wanted hv1 LS-A bob
//	hosts LS-A dhcp ra stateful
//	multicast NET 0xff01 [DEVICE]
//	uplink hv1 NET 30
//
// and those of edgeCommand.
func parse(t testing.TB, text string) *world {
	t.Helper()
	w := newWorld()
	for _, line := range strings.Split(text, "\n") {
		if f := strings.Fields(line); len(f) > 0 && !strings.HasPrefix(f[0], "#") {
			if err := w.command(f); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
		}
	}
	return w
}

func (w *world) command(f []string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	arg := func(i int) string {
		if i < len(f) {
			return f[i]
		}
		return ""
	}
	switch f[0] {
	case "switch":
		ls := &model.LogicalSwitch{Name: f[1], VNI: vni(f[2])}
		if len(f) > 3 {
			ls.MTU = int(vni(f[3]))
		}
		w.put(ls)
	case "router":
		w.put(&model.LogicalRouter{Name: f[1], ID: vni(f[2]), Chassis: arg(3)})
	case "port":
		p := &model.LogicalSwitchPort{Switch: f[1], Name: f[2], Key: w.key(f[1]), MAC: mac(f[3]), Type: model.PortVIF}
		for _, o := range f[4:] {
			switch o {
			case "unchecked":
				p.NoPortSecurity = true
			case "patch":
				p.Type = model.PortPatch
			default:
				for _, ip := range strings.Split(o, ",") {
					p.IPs = append(p.IPs, netip.MustParseAddr(ip))
				}
			}
		}
		w.put(p)
	case "link":
		w.link(f[1], f[2], f[3])
	case "chassis":
		w.chassisIs(f, false)
	case "bind":
		w.bind(f[1], f[2])
	case "ondemand":
		w.onDemand, w.life = true, true
	case "wanted":
		w.want(f[1], f[2], f[3])
	case "hosts":
		w.hosts(f[1], f[2:])
	case "multicast":
		w.put(&model.LogicalSwitch{Name: f[1], VNI: vni(f[2]), Type: model.SwitchMulticast, Device: arg(3)})
	case "uplink":
		if w.uplinks[f[1]] == nil {
			w.uplinks[f[1]] = map[string]uint32{}
		}
		ls := w.facts[compile.FactKey(model.Ref{Kind: model.KindSwitch, Name: f[2]})].(*model.LogicalSwitch)
		w.uplinks[f[1]][ls.VNI.MulticastDevice()] = uint32(vni(f[3]))
	default:
		return w.edgeCommand(f)
	}
	return nil
}

// chassisIs reads a chassis: its name, addresses, and encapsulations if they are not just Geneve.
func (w *world) chassisIs(f []string, gateway bool) {
	c := &model.Chassis{Name: f[1], Encaps: []model.Encap{model.EncapGeneve}, Gateway: gateway}
	for _, ip := range strings.Split(f[2], ",") {
		c.IPs = append(c.IPs, netip.MustParseAddr(ip))
	}
	if len(f) > 3 {
		c.Encaps = nil
		for _, e := range strings.Split(f[3], ",") {
			c.Encaps = append(c.Encaps, model.Encap(e))
		}
	}
	w.put(c)
	w.ports[c.Name] = map[string]uint32{}
}

// hosts has a switch tell its workloads about their network.
func (w *world) hosts(ls string, options []string) {
	sw := *w.facts[compile.FactKey(model.Ref{Kind: model.KindSwitch, Name: ls})].(*model.LogicalSwitch)
	sw.Hosts = &model.HostConfig{DHCPv4: slices.Contains(options, "dhcp"), RA: slices.Contains(options, "ra")}
	for _, mode := range []model.DHCPv6Mode{model.DHCPv6Stateless, model.DHCPv6Stateful} {
		if slices.Contains(options, string(mode)) {
			sw.Hosts.DHCPv6 = mode
		}
	}
	w.put(&sw)
}

func (w *world) link(router, sw, networks string) {
	lrp, lsp := router+"_to_"+sw, sw+"_to_"+router
	rp := &model.LogicalRouterPort{Router: router, Name: lrp, Key: w.key(router), Peer: lsp}
	sp := &model.LogicalSwitchPort{Switch: sw, Name: lsp, Key: w.key(sw), Type: model.PortRouter, Peer: lrp}
	for _, n := range strings.Split(networks, ",") {
		p := netip.MustParsePrefix(n)
		rp.Networks = append(rp.Networks, p)
		sp.IPs = append(sp.IPs, p.Addr())
	}
	rp.MAC = model.MAC{0xf2, 0x02, 0, 0, byte(rp.Key), byte(len(w.facts))}
	sp.MAC = rp.MAC
	w.put(rp)
	w.put(sp)
}

// bind puts the interface of a port on a chassis, and the binding as that chassis would write it.
func (w *world) bind(port, chassis string) {
	for _, ports := range w.ports {
		delete(ports, port)
	}
	w.ports[chassis][port] = uint32(100 + w.ordinal(port))
	w.put(&model.Binding{Port: port, Chassis: chassis})
}

// ordinal numbers ports in the order of their first mention.
func (w *world) ordinal(port string) int {
	k := "ofport/" + port
	if w.keys[k] == 0 {
		w.keys["ofports"]++
		w.keys[k] = w.keys["ofports"]
	}
	return w.keys[k]
}

func (w *world) key(owner string) model.PortKey {
	w.keys["key/"+owner]++
	return model.PortKey(w.keys["key/"+owner])
}

// node is what a chassis knows of itself.
func (w *world) node(chassis string) compile.Node {
	c := w.chassisOf(chassis)
	n := compile.Node{Chassis: chassis, IPs: c.IPs, Encaps: c.Encaps, TunnelPort: tunnelPort, TunnelMTU: 1438, MulticastMTU: 1430, Gateway: c.Gateway, Redirect: true, OnDemand: w.onDemand && !c.Gateway}
	if w.life && n.OnDemand {
		n.LifePort = lifePort
	}
	for _, other := range objects[*model.Chassis](w) {
		if slices.Contains(other.Encaps, model.EncapVXLAN) {
			n.VXLANPort = vxlanPort
		}
	}
	return n
}

func (w *world) chassisOf(name string) *model.Chassis {
	return w.facts[compile.FactKey(model.Ref{Kind: model.KindChassis, Name: name})].(*model.Chassis)
}

// watchEncap is the encapsulation of the port by which a chassis watches another, which may be gone.
func (w *world) watchEncap(chassis, peer string) model.Encap {
	var theirs []model.Encap
	if c := fact[*model.Chassis](w, model.Ref{Kind: model.KindChassis, Name: peer}); c != nil {
		theirs = c.Encaps
	}
	return model.WatchEncap(w.chassisOf(chassis).Encaps, theirs)
}

// chassis are the names of all chassis, sorted.
func (w *world) chassis() []string {
	var names []string
	for name := range w.ports {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// see lists everything that a chassis knows.
func (w *world) see(chassis string) map[memo.Key]any {
	all := map[memo.Key]any{{Kind: compile.KindNode}: w.node(chassis)}
	for k, v := range w.facts {
		all[k] = v
	}
	for peer, n := range w.watched[chassis] {
		all[memo.Key{Kind: compile.KindWatched, ID: peer}] = compile.Watched{OFPort: n, Encap: w.watchEncap(chassis, peer)}
	}
	for port, n := range w.ports[chassis] {
		all[memo.Key{Kind: compile.KindInterface, ID: port}] = compile.Interface{OFPort: n}
	}
	for device, n := range w.uplinks[chassis] {
		all[memo.Key{Kind: compile.KindUplink, ID: device}] = compile.Uplink{OFPort: n}
	}
	for k, v := range w.wanted[chassis] {
		all[k] = v
	}
	for _, n := range w.learnt[chassis] {
		all[memo.Key{Kind: compile.KindNeighbour, ID: n.ID()}] = n
	}
	return all
}

// compiled is the whole desired state of a chassis, as text lines.
func compiled(e *memo.Engine[compile.Output]) []string {
	var lines []string
	e.Outputs(func(_ memo.Unit, o compile.Output) { lines = append(lines, describe(o)...) })
	slices.Sort(lines)
	return lines
}

// describe renders an output: one line a flow, group, endpoint and problem.
func describe(o compile.Output) []string {
	var lines []string
	for _, f := range o.Flows {
		r, _ := pipeline.RuleByID(f.Rule)
		u, err := f.Packed.Unpack()
		if err != nil {
			lines = append(lines, "BROKEN FLOW "+err.Error())
			continue
		}
		lines = append(lines, fmt.Sprintf("%03d %05d %s %s", u.Table, 65535-int(u.Priority), r.Name, u.String()))
	}
	for _, g := range o.Groups {
		lines = append(lines, "group "+g.String())
	}
	for _, ip := range o.Endpoints {
		lines = append(lines, "endpoint "+ip.String())
	}
	for _, c := range o.Seldom().Watch {
		lines = append(lines, "watch "+c.Chassis+" at "+c.IP.String())
	}
	for _, p := range o.Seldom().Carries {
		lines = append(lines, "carry "+p)
	}
	for _, p := range o.Seldom().Patches {
		lines = append(lines, "patch "+p.Port+" to bridge "+p.Bridge)
	}
	for _, m := range o.Seldom().Multicast {
		lines = append(lines, fmt.Sprintf("multicast network %s: %s by way of %q", m.Switch, m.VNI.MulticastDevice(), m.Device))
	}
	for _, a := range o.Seldom().Announce {
		lines = append(lines, fmt.Sprintf("announce %s at %s on %s port %d", a.IP, a.MAC, a.VNI, a.Port))
	}
	for _, m := range o.Seldom().Meters {
		lines = append(lines, fmt.Sprintf("meter %d: %d a second, bursts of %d", m.ID, m.RatePPS, m.Burst))
	}
	for _, g := range o.Seldom().Guests {
		lines = append(lines, fmt.Sprintf("tell %s (%s, %s port %d): %s by %s, MTU %d, DHCPv4 %s from %s, DHCPv6 %s, routers %v",
			g.Port, g.MAC, g.VNI, g.Key, g.Hostname, g.Server, g.MTU, g.IPv4, g.Router, g.IPv6, g.Routers))
	}
	for _, p := range o.Problems {
		lines = append(lines, "problem "+p.Key+": "+p.Reason)
	}
	return lines
}

// strip takes the sort prefix off the lines of compiled, but for the name of the rule.
func strip(lines []string) []string {
	out := make([]string, len(lines))
	for i, l := range lines {
		if len(l) > 10 && l[3] == ' ' && l[9] == ' ' {
			l = l[10:]
		}
		out[i] = l
	}
	return out
}

func vni(s string) model.VNI {
	n, err := strconv.ParseUint(s, 0, 24)
	if err != nil {
		panic(err)
	}
	return model.VNI(n)
}

func mac(s string) model.MAC {
	m, err := model.ParseMAC(s)
	if err != nil {
		panic(err)
	}
	return m
}
