package ovsdb

import (
	"maps"
	"reflect"
	"slices"
	"strings"
)

// rowID names a row of a table.
type rowID struct{ table, uuid string }

// home is where an interface row belongs.
type home struct{ bridge, port, owner string } // bridge by name, port by uuid

// view is our copy of the rows, and the Facts derived from them. Only the goroutine of Run uses it. It survives a
// reconnect, so that what is the same afterwards keeps its pointers in Facts.
type view struct {
	root    *rootRow
	bridges map[string]*bridgeRow // these three by uuid
	ports   map[string]*portRow
	ifaces  map[string]*ifaceRow
	ipfix   map[string]*ipfixRow
	homes   map[string]home // by uuid of the interface; absent: no port holds it

	facts  Facts
	replan bool // something that a plan depends on has changed
}

func newView() *view {
	return &view{
		bridges: map[string]*bridgeRow{}, ports: map[string]*portRow{}, ifaces: map[string]*ifaceRow{}, homes: map[string]home{},
		ipfix: map[string]*ipfixRow{},
		facts: Facts{Bridges: map[string]*Bridge{}, Interfaces: map[string]*Interface{}},
	}
}

// update takes the new contents of rows over; nil means that the row is gone. It reports whether the Facts changed.
func (v *view) update(rows map[rowID]any) bool {
	touched := map[string]bool{} // interfaces to look at, by uuid
	gone := map[string]bool{}    // names of interface rows that went
	structure, root := false, false
	for id, row := range rows {
		switch id.table {
		case tableRoot:
			root = v.setRoot(id.uuid, row) || root
		case tableBridge:
			structure = true
			store[bridgeRow](v.bridges, id.uuid, row)
		case tablePort:
			structure = true
			store[portRow](v.ports, id.uuid, row)
		case tableIPFIX:
			v.replan = true
			store[ipfixRow](v.ipfix, id.uuid, row)
		case tableInterface:
			old := v.ifaces[id.uuid]
			store[ifaceRow](v.ifaces, id.uuid, row)
			touched[id.uuid] = true
			if row == nil && old != nil {
				gone[old.Name] = true
				v.replan = v.replan || v.homes[id.uuid] == home{} // its name is free now
			}
			v.replan = v.replan || v.homes[id.uuid].owner != "" && !sameConfig(old, v.ifaces[id.uuid])
		}
	}
	changed := root && v.deriveRoot()
	if structure {
		v.replan = true
		changed = v.deriveBridges() || changed
		v.settle(touched)
	}
	return v.deriveInterfaces(touched, gone) || changed
}

// setRoot takes the one row of the root table over. After a database was replaced, the old row's end may come last.
func (v *view) setRoot(uuid string, row any) bool {
	if r, ok := row.(*rootRow); ok {
		v.replan = v.replan || v.root == nil || v.root.UUID != uuid
		v.root = r
		return true
	}
	if v.root != nil && v.root.UUID == uuid {
		v.root = nil
		return true
	}
	return false
}

// store puts a row into its map, or takes it out.
func store[R any](into map[string]*R, uuid string, row any) {
	if r, ok := row.(*R); ok && r != nil {
		into[uuid] = r
	} else {
		delete(into, uuid)
	}
}

// sameConfig compares the columns that a desired port writes.
func sameConfig(a, b *ifaceRow) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Type == b.Type && maps.Equal(a.Options, b.Options) && maps.Equal(a.ExternalIDs, b.ExternalIDs) &&
		maps.Equal(a.BFD, b.BFD) && value(a.OFPortRequest) == value(b.OFPortRequest)
}

func (v *view) deriveRoot() bool {
	f := v.facts
	if v.root == nil {
		f.SystemID, f.Hostname, f.OVSVersion, f.ExternalIDs = "", "", "", nil
	} else {
		f.SystemID, f.Hostname = v.root.ExternalIDs["system-id"], v.root.ExternalIDs["hostname"]
		f.OVSVersion, f.ExternalIDs = value(v.root.OVSVersion), v.root.ExternalIDs
	}
	if f.OVSVersion == v.facts.OVSVersion && maps.Equal(f.ExternalIDs, v.facts.ExternalIDs) {
		return false
	}
	v.facts = f
	return true
}

func (v *view) deriveBridges() bool {
	bridges := make(map[string]*Bridge, len(v.bridges))
	for _, r := range v.bridges {
		b := &Bridge{Name: r.Name, DatapathType: r.DatapathType, FailMode: value(r.FailMode), Protocols: slices.Sorted(slices.Values(r.Protocols))}
		if b.DatapathType == "" {
			b.DatapathType = DatapathSystem
		}
		if old := v.facts.Bridges[r.Name]; old != nil && reflect.DeepEqual(old, b) {
			b = old
		}
		bridges[r.Name] = b
	}
	if maps.Equal(bridges, v.facts.Bridges) {
		return false
	}
	v.facts.Bridges = bridges
	return true
}

// settle finds anew which interface belongs to which port and bridge, and adds those that moved to touched.
func (v *view) settle(touched map[string]bool) {
	homes := make(map[string]home, len(v.ifaces))
	for _, b := range v.bridges {
		for _, uuid := range b.Ports {
			p := v.ports[uuid]
			if p == nil {
				continue
			}
			h := home{bridge: b.Name, port: uuid, owner: p.ExternalIDs[OwnerKey]}
			for _, i := range p.Interfaces {
				homes[i] = h
				if v.homes[i] != h {
					touched[i] = true
				}
			}
		}
	}
	for i := range v.homes {
		if _, ok := homes[i]; !ok {
			touched[i] = true
		}
	}
	v.homes = homes
}

// deriveInterfaces makes the facts of the touched interfaces anew, in a copy of the map if any differs.
func (v *view) deriveInterfaces(touched, gone map[string]bool) bool {
	if len(touched) == 0 {
		return false
	}
	next, copied := v.facts.Interfaces, false
	edit := func() map[string]*Interface {
		if !copied {
			next, copied = maps.Clone(next), true
		}
		return next
	}
	for name := range gone {
		if next[name] != nil {
			delete(edit(), name)
		}
	}
	if len(gone) > 0 { // a row of the same name may have come first
		for uuid, row := range v.ifaces {
			touched[uuid] = touched[uuid] || gone[row.Name]
		}
	}
	for uuid, look := range touched {
		row := v.ifaces[uuid]
		if row == nil || !look {
			continue
		}
		i := row.fact(v.homes[uuid])
		if old := v.facts.Interfaces[i.Name]; old != nil && reflect.DeepEqual(old, i) {
			i = old
		}
		if next[i.Name] != i {
			edit()[i.Name] = i
		}
	}
	v.facts.Interfaces = next
	return copied
}

func (r *ifaceRow) fact(h home) *Interface {
	return &Interface{
		Name: r.Name, Type: r.Type, Bridge: h.bridge, Owner: h.owner,
		OFPort: value(r.OFPort), IfaceID: r.ExternalIDs["iface-id"], ExternalIDs: r.ExternalIDs, Options: r.Options,
		Error: value(r.Error), Up: value(r.LinkState) == "up", MAC: strings.ToLower(value(r.MACInUse)), MTU: value(r.MTU),
		BFD: r.BFDStatus,
	}
}
