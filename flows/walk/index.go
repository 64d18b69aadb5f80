package walk

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"tuplenet/model"
)

// index finds objects without going through all of them: a deployment may have many thousands.
type index struct {
	sorted      []model.Object // by their refs
	chassis     []string
	gateways    []string
	offered     map[model.Encap]bool  // by any chassis
	endpoints   map[netip.Addr]string // tunnel address → chassis
	ports       map[string]*model.LogicalSwitchPort
	routerPorts map[string]*model.LogicalRouterPort
	bySwitch    map[string][]*model.LogicalSwitchPort
	bound       map[string][]string         // chassis → its workloads' and patch ports, sorted
	keys        map[portKey]string          // port of a switch or router → its name
	devices     map[uint64]model.Ref        // VNI or router id → switch or router
	nat         map[string][]*model.NATRule // by router
}

// portKey names a port of a device by its number.
type portKey struct {
	in  model.Ref
	key model.PortKey
}

func newIndex(objects map[model.Ref]model.Object) index {
	x := index{
		offered:   map[model.Encap]bool{},
		endpoints: map[netip.Addr]string{}, ports: map[string]*model.LogicalSwitchPort{}, routerPorts: map[string]*model.LogicalRouterPort{},
		bySwitch: map[string][]*model.LogicalSwitchPort{}, bound: map[string][]string{}, keys: map[portKey]string{}, devices: map[uint64]model.Ref{},
		nat: map[string][]*model.NATRule{},
	}
	for _, ref := range slices.SortedFunc(maps.Keys(objects), compareRefs) {
		x.sorted = append(x.sorted, objects[ref])
		switch o := objects[ref].(type) {
		case *model.LogicalSwitch:
			x.devices[uint64(o.VNI)] = ref
		case *model.LogicalRouter:
			x.devices[uint64(o.ID)] = ref
		case *model.LogicalSwitchPort:
			x.ports[o.Name] = o
			x.bySwitch[o.Switch] = append(x.bySwitch[o.Switch], o)
			x.keys[portKey{model.Ref{Kind: model.KindSwitch, Name: o.Switch}, o.Key}] = o.Name
		case *model.LogicalRouterPort:
			x.routerPorts[o.Name] = o
			x.keys[portKey{model.Ref{Kind: model.KindRouter, Name: o.Router}, o.Key}] = o.Name
		case *model.NATRule:
			x.nat[o.Router] = append(x.nat[o.Router], o)
		case *model.Chassis:
			x.addChassis(o)
		}
	}
	for _, o := range x.sorted {
		if b, ok := o.(*model.Binding); ok && x.ports[b.Port] != nil && x.ports[b.Port].Type != model.PortRouter {
			x.bound[b.Chassis] = append(x.bound[b.Chassis], b.Port)
		}
	}
	return x
}

func (x *index) addChassis(c *model.Chassis) {
	for _, e := range c.Encaps {
		x.offered[e] = true
	}
	x.chassis = append(x.chassis, c.Name)
	if c.Gateway {
		x.gateways = append(x.gateways, c.Name)
	}
	for _, ip := range c.IPs {
		if _, taken := x.endpoints[ip]; !taken {
			x.endpoints[ip] = c.Name
		}
	}
}

func compareRefs(a, b model.Ref) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Parent, b.Parent), cmp.Compare(a.Name, b.Name))
}
