package ovsdb

import (
	"maps"
	"reflect"
	"slices"
)

// Drift is a port or bridge that was as desired, or not there, until somebody else changed it.
type Drift struct {
	Name string
	// What is "port" or "bridge", Kind "missing", "foreign" (a port with our owner key that nobody asked for) or "altered".
	What, Kind string
	// Owner is that of the desired port; empty for foreign ones and the bridge.
	Owner string
	// Healed: it is as desired again.
	Healed bool
}

// drift knows what was in place already, to tell what somebody else did from what we have not done yet. It belongs to the
// goroutine of Run.
type drift struct {
	settled   map[string]Port // what was as desired, by name; a bridge has an empty Port
	condemned map[string]bool // ports that are to be deleted because they are not desired any more
	told      map[string]bool // reported, and not repaired since
}

// judge tells which of the planned steps are needed because of others. refused are the names for which there is no step, though
// they are not as desired. fresh: the desired state is new.
func (d *drift) judge(v *view, bridge string, wanted map[string]Port, steps []step, refused map[string]string, fresh bool) map[string]Drift {
	if fresh || d.settled == nil {
		d.condemned = map[string]bool{}
	}
	if d.settled == nil {
		d.settled, d.told = map[string]Port{}, map[string]bool{}
	}
	found, planned := map[string]Drift{}, map[string]bool{}
	for _, st := range steps {
		planned[st.name] = true
		if kind := d.kind(st, wanted, fresh); kind != "" {
			f := Drift{Name: st.name, What: "port", Kind: kind, Owner: wanted[st.name].Owner}
			if st.action == createBridge || st.action == fixBridge {
				f.What = "bridge"
			}
			found[st.name] = f
		}
	}
	maps.DeleteFunc(d.told, func(name string, _ bool) bool { return !planned[name] })
	maps.DeleteFunc(d.settled, func(name string, p Port) bool {
		w, still := wanted[name]
		return name != bridge && (!still || !reflect.DeepEqual(w, p))
	})
	for name, p := range wanted {
		i := v.facts.Interfaces[name]
		if _, cannot := refused[name]; !planned[name] && !cannot && i != nil && i.Bridge != "" {
			d.settled[name] = p
		}
	}
	if !planned[bridge] && v.bridgeNamed(bridge) != nil {
		d.settled[bridge] = Port{}
	}
	return found
}

// kind says what somebody else did that makes a step necessary; empty: nothing.
func (d *drift) kind(st step, wanted map[string]Port, fresh bool) string {
	p, was := d.settled[st.name]
	switch st.action {
	case createBridge, fixBridge:
		if !was {
			return ""
		}
	case createPort, fixPort:
		if w, ok := wanted[st.name]; !was || !ok || !reflect.DeepEqual(w, p) {
			return ""
		}
	case setIPFIX, clearIPFIX:
		return ""
	case deletePort:
		if fresh || was || d.condemned[st.name] {
			d.condemned[st.name] = true
			return ""
		}
		return "foreign"
	}
	if st.action == createBridge || st.action == createPort {
		return "missing"
	}
	return "altered"
}

// wantedPorts are the desired ports, complete, by name.
func (d *Desired) wantedPorts() map[string]Port {
	all := map[string]Port{}
	for _, p := range d.Ports {
		p = complete(p)
		if p.Bridge == "" {
			p.Bridge = d.Bridge
		}
		all[p.Name] = p
	}
	return all
}

// leave takes from steps those that repair what others did.
func leave(steps []step, found map[string]Drift) []step {
	return slices.DeleteFunc(steps, func(st step) bool { _, ok := found[st.name]; return ok })
}

// reportDrift hands over what was found and not handed over yet; what is repaired is news the next time.
func (s *Session) reportDrift(found map[string]Drift) {
	var news []Drift
	for _, name := range slices.Sorted(maps.Keys(found)) {
		f := found[name]
		_, failed := s.failures[name]
		f.Healed = !failed && !s.cfg.ReportOnly
		if !s.drift.told[name] {
			news = append(news, f)
		}
		if s.drift.told[name] = true; f.Healed {
			delete(s.drift.told, name)
		}
	}
	if len(news) > 0 && s.cfg.OnDrift != nil {
		s.cfg.OnDrift(news)
	}
}
