package walk

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"tuplenet/flows/compile"
	"tuplenet/flows/memo"
	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
	"tuplenet/flows/sim"
	"tuplenet/model"
)

// Config is what a deployment is made of.
type Config struct {
	// Objects are those of the store: intent, chassis and bindings.
	Objects map[model.Ref]model.Object
	// Facts are those of chassis that were asked; those of others are made up.
	Facts map[string]Facts
	// UnderlayMTU is that of the network between chassis, for those that were not asked; 0 = 1500.
	UnderlayMTU int
	// Down are chassis that nobody reaches, nor they anybody.
	Down []string
	// Via is the chassis that equal ways are to lead through, where there is a choice; empty: as the hash has it.
	Via string
}

// Deployment is all chassis of a store, each compiled when the first packet comes to it. It is not safe for concurrent
// use, and remembers connections from packet to packet.
type Deployment struct {
	objects     map[model.Ref]model.Object
	facts       map[string]Facts
	underlayMTU int
	down        map[string]bool
	via         string
	nodes       map[string]*node
	net         sim.Net
	index
	assumed    []assumption
	neighbours map[string][]compile.Neighbour // assumed to answer, by chassis
	wanted     map[string][]model.Ref         // ports that packets made wanted, by chassis
}

// node is one chassis.
type node struct {
	facts   Facts
	sw      *sim.Switch         // compiled from the facts; nil: not yet
	origins map[*of.Flow]origin // of the flows of sw and of those before it
}

// origin is where a flow comes from.
type origin struct {
	rule  *pipeline.Rule
	owner memo.Unit
}

// New makes a deployment. Chassis that are named but not there are an error.
func New(c Config) (*Deployment, error) {
	d := &Deployment{
		objects: map[model.Ref]model.Object{}, facts: c.Facts, underlayMTU: cmp.Or(c.UnderlayMTU, defaultUnderlayMTU), down: map[string]bool{}, via: c.Via,
		neighbours: map[string][]compile.Neighbour{}, wanted: map[string][]model.Ref{},
	}
	d.take(c.Objects)
	for _, name := range append(slices.Clone(c.Down), c.Via) {
		if name != "" && d.chassisOf(name) == nil {
			return nil, fmt.Errorf("chassis %s not found", name)
		}
	}
	for _, name := range c.Down {
		d.down[name] = true
	}
	d.index = newIndex(d.objects)
	d.forget()
	return d, nil
}

// take keeps the objects that can be in service: of two that claim the same thing the first by name. (Which one a chassis
// serves is a matter of age, which nobody can see here.) A patch port that its chassis makes is taken to be there.
func (d *Deployment) take(objects map[model.Ref]model.Object) {
	claimed := map[string]model.Ref{}
	for _, ref := range slices.SortedFunc(maps.Keys(objects), compareRefs) {
		o, taken := objects[ref], ""
		claims := model.Claims(o)
		for _, c := range claims {
			if other, is := claimed[c]; is {
				taken = fmt.Sprintf("%s is left out, because %s is held by %s", ref, c, other)
			}
		}
		if taken != "" {
			d.assume(taken)
			continue
		}
		for _, c := range claims {
			claimed[c] = ref
		}
		d.objects[ref] = o
	}
	for _, ref := range slices.SortedFunc(maps.Keys(d.objects), compareRefs) {
		p, ok := d.objects[ref].(*model.LogicalSwitchPort)
		if !ok {
			continue
		}
		b := &model.Binding{Port: p.Name, Chassis: p.Chassis}
		if c := d.chassisOf(p.Chassis); p.Type == model.PortPatch && p.Bridge != "" && d.objects[b.Ref()] == nil && c != nil && c.Gateway {
			d.objects[b.Ref()] = b
			d.assumeAt(p.Chassis, fmt.Sprintf("patch port %s is on chassis %s", p.Name, p.Chassis))
		}
	}
}

// assumption is what is not known from the store, and the chassis that it concerns; empty: all.
type assumption struct{ chassis, text string }

func (d *Deployment) assume(what string) { d.assumeAt("", what) }

func (d *Deployment) assumeAt(chassis, what string) {
	if a := (assumption{chassis, what}); !slices.Contains(d.assumed, a) {
		d.assumed = append(d.assumed, a)
	}
}

// forget makes every chassis anew: nothing compiled, no connection known.
func (d *Deployment) forget() {
	d.nodes, d.net = map[string]*node{}, sim.Net{}
	for _, name := range d.chassis {
		c := d.chassisOf(name)
		f, asked := d.facts[name]
		if !asked {
			f = d.makeUp(c)
		}
		f.Neighbours = append(slices.Clone(f.Neighbours), d.neighbours[name]...)
		f.Wanted = append(slices.Clone(f.Wanted), d.wanted[name]...)
		f.Down = slices.Clone(f.Down)
		f.isolate(d.down)
		n := &node{facts: f}
		d.nodes[name] = n
		at := sim.Node{Open: func() (*sim.Switch, error) { return d.open(n) }, Tunnel: f.Node.TunnelPort, VXLAN: f.Node.VXLANPort,
			From: map[netip.Addr]uint32{}, FromVXLAN: map[netip.Addr]uint32{}, IPs: f.Node.IPs}
		for other, w := range f.Watched {
			if c := d.chassisOf(other); c != nil {
				from := at.From
				if w.Encap == model.EncapVXLAN {
					from = at.FromVXLAN
				}
				for _, ip := range c.IPs {
					from[ip] = w.OFPort
				}
			}
		}
		if d.down[name] {
			at.Tunnel, at.VXLAN, at.IPs = 0, 0, nil
		}
		d.net[name] = at
	}
}

// open compiles a chassis.
func (d *Deployment) open(n *node) (*sim.Switch, error) {
	if n.sw != nil {
		return n.sw, nil
	}
	e := compile.New()
	for ref, o := range d.objects {
		e.Set(compile.FactKey(ref), o)
	}
	f := n.facts
	e.Set(memo.Key{Kind: compile.KindNode}, f.Node)
	for name, port := range f.Interfaces {
		e.Set(memo.Key{Kind: compile.KindInterface, ID: name}, compile.Interface{OFPort: port})
	}
	tunnels := []uint32{f.Node.TunnelPort, f.Node.VXLANPort}
	for name, w := range f.Watched {
		e.Set(memo.Key{Kind: compile.KindWatched, ID: name}, w)
		tunnels = append(tunnels, w.OFPort)
	}
	for device, port := range f.Uplinks {
		e.Set(memo.Key{Kind: compile.KindUplink, ID: device}, compile.Uplink{OFPort: port})
	}
	for _, port := range f.Wanted {
		e.Set(memo.Key{Kind: compile.KindWanted, ID: compile.FactKey(port).ID}, compile.Wanted{Switch: port.Parent})
	}
	for _, nb := range f.Neighbours {
		e.Set(memo.Key{Kind: compile.KindNeighbour, ID: nb.ID()}, nb)
	}
	e.Update()
	cfg, origins, err := gather(e)
	if err != nil {
		return nil, err
	}
	cfg.Tunnels, cfg.Down = tunnels, f.Down
	if via := f.Watched[d.via].OFPort; via != 0 {
		cfg.Prefer = func(_ of.Group, b of.Bucket) bool { return b.WatchPort == via }
	}
	n.sw, err = sim.New(cfg)
	if n.origins == nil {
		n.origins = map[*of.Flow]origin{}
	}
	for i := range cfg.Flows {
		n.origins[&cfg.Flows[i]] = origins[i]
	}
	return n.sw, err
}

// gather joins what all units ask for, as datapath/apply does: of two that want different flows in the same place the
// first by name wins.
func gather(e *memo.Engine[compile.Output]) (c sim.Config, origins []origin, err error) {
	type place struct {
		table    uint8
		priority uint16
		match    string
	}
	type want struct {
		flow  pipeline.Flow
		owner memo.Unit
	}
	wants, groups := map[place]want{}, map[uint32]of.Group{}
	owners := map[uint32]memo.Unit{}
	e.Outputs(func(u memo.Unit, o compile.Output) {
		for _, f := range o.Flows {
			at := place{f.Table, f.Priority, f.MatchBytes()}
			if old, is := wants[at]; !is || u.String() < old.owner.String() {
				wants[at] = want{f, u}
			}
		}
		for _, g := range o.Groups {
			if old, is := owners[g.ID]; !is || u.String() < old.String() {
				groups[g.ID], owners[g.ID] = g, u
			}
		}
	})
	for _, at := range slices.SortedFunc(maps.Keys(wants), func(a, b place) int {
		return cmp.Or(cmp.Compare(a.table, b.table), cmp.Compare(b.priority, a.priority), cmp.Compare(a.match, b.match))
	}) {
		w := wants[at]
		f, err := w.flow.Unpack()
		if err != nil {
			return c, nil, err
		}
		rule, _ := pipeline.RuleByID(w.flow.Rule)
		c.Flows, origins = append(c.Flows, f), append(origins, origin{rule, w.owner})
	}
	for _, id := range slices.Sorted(maps.Keys(groups)) {
		c.Groups = append(c.Groups, groups[id])
	}
	return c, origins, nil
}

func object[T model.Object](d *Deployment, ref model.Ref) T {
	o, _ := d.objects[ref].(T)
	return o
}

func (d *Deployment) chassisOf(name string) *model.Chassis {
	return object[*model.Chassis](d, model.Ref{Kind: model.KindChassis, Name: name})
}

// Port finds a switch port by its name; nil if there is none.
func (d *Deployment) Port(name string) *model.LogicalSwitchPort { return d.ports[name] }

// where is the chassis and the OpenFlow port of a switch port; empty if it is nowhere.
func (d *Deployment) where(port string) (chassis string, ofport uint32) {
	b := object[*model.Binding](d, model.Ref{Kind: model.KindBinding, Name: port})
	if b == nil || d.nodes[b.Chassis] == nil {
		return "", 0
	}
	return b.Chassis, d.nodes[b.Chassis].facts.Interfaces[port]
}
