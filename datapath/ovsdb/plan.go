package ovsdb

import (
	"fmt"
	"maps"
	"slices"
)

// step is one independent change of the database: it is written, or fails, as a whole.
type step struct {
	name   string // of the bridge or port, the key in Facts.Failures
	action stepAction
	bridge string // uuid of the bridge row concerned
	port   string // uuid of the port row
	iface  string // uuid of the interface row
	want   Port   // for createPort and fixPort
	fix    bridgeRow
	ipfix  *ipfixRow // for setIPFIX
}

type stepAction uint8

const (
	createBridge stepAction = iota + 1
	fixBridge
	createPort
	fixPort
	deletePort
	setIPFIX
	clearIPFIX
)

func (a stepAction) String() string {
	return [...]string{"", "create bridge", "correct bridge", "create port", "correct port", "delete port", "set IPFIX", "clear IPFIX"}[a]
}

// The settings of the integration bridge.
const (
	failModeSecure = "secure"
	disableInBand  = "disable-in-band"
	defaultOwner   = "tuplenet"
)

func neededProtocols() []string { return []string{"OpenFlow13", "OpenFlow15"} }

// plan compares what is desired with what is there. What cannot be done at all is in refused, by name. Some steps make
// others possible (a bridge for its ports, a deleted port for its successor): plan is called again after the steps are done.
func (v *view) plan(d *Desired) (steps []step, refused map[string]string) {
	refused = map[string]string{}
	bridge := v.bridgeNamed(d.Bridge)
	switch {
	case d.Bridge == "":
		refused[""] = "no integration bridge is named"
	case bridge == nil:
		steps = append(steps, step{name: d.Bridge, action: createBridge, fix: newBridge(d)})
	default:
		if fix, needed := correctBridge(bridge); needed {
			steps = append(steps, step{name: d.Bridge, action: fixBridge, bridge: bridge.UUID, fix: fix})
		}
	}
	wanted := map[string]Port{}
	for _, p := range d.Ports {
		if _, twice := wanted[p.Name]; twice || p.Name == "" || p.Name == d.Bridge {
			refused[p.Name] = fmt.Sprintf("port %q is wanted twice, or has no name of its own", p.Name)
			continue
		}
		wanted[p.Name] = complete(p)
	}
	homes := v.homesOf(d, wanted)
	steps = append(steps, v.planExisting(homes, wanted, refused)...)
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		want := wanted[name]
		if homes[name] == nil {
			if want.Bridge != d.Bridge { // the integration bridge comes with the next round, others are not ours to make
				refused[name] = fmt.Sprintf("bridge %q does not exist: make it with `ovs-vsctl add-br %s`", want.Bridge, want.Bridge)
			}
			continue
		}
		if i := v.facts.Interfaces[name]; i != nil && i.Bridge == "" {
			continue // on its way out, or in: the end of its row, or its port's, wakes us
		} else if i != nil {
			refused[name] = fmt.Sprintf("an interface of this name exists on bridge %q and was not made by tuplenet", i.Bridge)
			continue
		}
		steps = append(steps, step{name: name, action: createPort, bridge: homes[name].UUID, want: want})
	}
	return append(steps, v.planIPFIX(d, refused)...), refused
}

// homesOf finds the bridge of each wanted port; those whose bridge does not exist are not in it.
func (v *view) homesOf(d *Desired, wanted map[string]Port) map[string]*bridgeRow {
	bridges := make(map[string]*bridgeRow, len(v.bridges))
	for _, b := range v.bridges {
		bridges[b.Name] = b
	}
	homes := make(map[string]*bridgeRow, len(wanted))
	for name, p := range wanted {
		if p.Bridge == "" {
			p.Bridge = d.Bridge
			wanted[name] = p
		}
		if b := bridges[p.Bridge]; b != nil {
			homes[name] = b
		}
	}
	return homes
}

// planExisting deals with the ports that exist, and takes from wanted what needs no creation (now).
func (v *view) planExisting(homes map[string]*bridgeRow, wanted map[string]Port, refused map[string]string) (steps []step) {
	for _, b := range v.bridges {
		for _, uuid := range b.Ports {
			p := v.ports[uuid]
			if p == nil {
				continue
			}
			want, isWanted := wanted[p.Name]
			owner, ours := p.ExternalIDs[OwnerKey]
			iface := v.soleInterface(p)
			switch {
			case ours && isWanted && !v.wasRead(p): // as soon as the rest is read we are here again
			case !ours && isWanted:
				refused[p.Name] = fmt.Sprintf("a port of this name exists on bridge %q and was not made by tuplenet", b.Name)
			case !ours:
			case !isWanted || b != homes[p.Name] || iface == nil:
				steps = append(steps, step{name: p.Name, action: deletePort, bridge: b.UUID, port: uuid})
			case owner != want.Owner || !sameConfig(iface, want.row()):
				steps = append(steps, step{name: p.Name, action: fixPort, bridge: b.UUID, port: uuid, iface: iface.UUID, want: want})
			}
			delete(wanted, p.Name)
		}
	}
	slices.SortFunc(steps, func(a, b step) int { return compareSteps(a, b) })
	return steps
}

func compareSteps(a, b step) int {
	if a.action != b.action {
		return int(a.action) - int(b.action)
	}
	if a.name < b.name {
		return -1
	}
	return 1
}

func (v *view) bridgeNamed(name string) *bridgeRow {
	for _, b := range v.bridges {
		if b.Name == name {
			return b
		}
	}
	return nil
}

// wasRead reports whether the interfaces of a port were read. The rows of one transaction are read as they are announced, which
// is not always all at once; in the database itself no port lacks an interface, and no interface a port.
func (v *view) wasRead(p *portRow) bool {
	return !slices.ContainsFunc(p.Interfaces, func(uuid string) bool { return v.ifaces[uuid] == nil })
}

// soleInterface is the interface of a port as we make them: one, of the same name; nil if it is something else.
func (v *view) soleInterface(p *portRow) *ifaceRow {
	if len(p.Interfaces) != 1 {
		return nil
	}
	if i := v.ifaces[p.Interfaces[0]]; i != nil && i.Name == p.Name {
		return i
	}
	return nil
}

// complete fills the owner key in.
func complete(p Port) Port {
	if p.Owner == "" {
		p.Owner = defaultOwner
	}
	ids := maps.Clone(p.ExternalIDs)
	if ids == nil {
		ids = map[string]string{}
	}
	ids[OwnerKey] = p.Owner
	p.ExternalIDs = ids
	return p
}

// row is the interface row of a completed port.
func (p Port) row() *ifaceRow {
	r := &ifaceRow{Name: p.Name, Type: p.Type, Options: p.Options, ExternalIDs: p.ExternalIDs, BFD: p.BFD}
	if p.OFPortRequest != 0 {
		r.OFPortRequest = &p.OFPortRequest
	}
	return r
}

func newBridge(d *Desired) bridgeRow {
	mode := failModeSecure
	return bridgeRow{
		Name: d.Bridge, DatapathType: d.DatapathType, FailMode: &mode, Protocols: neededProtocols(),
		OtherConfig: map[string]string{disableInBand: "true"}, ExternalIDs: map[string]string{OwnerKey: defaultOwner},
	}
}

// correctBridge gives the values that an existing bridge should have. Further protocols and settings of others stay.
func correctBridge(b *bridgeRow) (fix bridgeRow, needed bool) {
	mode := failModeSecure
	fix = bridgeRow{FailMode: &mode, Protocols: slices.Clone(b.Protocols), OtherConfig: maps.Clone(b.OtherConfig)}
	needed = value(b.FailMode) != failModeSecure
	for _, p := range neededProtocols() {
		if !slices.Contains(fix.Protocols, p) {
			fix.Protocols = append(fix.Protocols, p)
			needed = true
		}
	}
	if fix.OtherConfig == nil {
		fix.OtherConfig = map[string]string{}
	}
	if fix.OtherConfig[disableInBand] != "true" {
		fix.OtherConfig[disableInBand] = "true"
		needed = true
	}
	return fix, needed
}
