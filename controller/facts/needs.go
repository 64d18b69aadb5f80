package facts

import (
	"fmt"
	"slices"

	"tuplenet/model"
)

// needs finds objects that refer to something that is not there. What an object refers to is looked at again when that changes,
// not at every question: there are many objects and few that dangle.
type needs struct {
	children map[model.Ref]*entry       // switch or router → the first of what belongs to it, which leads to the others
	ends     map[string]map[*entry]bool // name of a port → who refers to it
	due      map[*entry]bool            // to be looked at again
	unmet    map[*entry]string          // who dangles → why
}

// manyDue is how many may be due before the room for them is let go afterwards.
const manyDue = 256

func newNeeds() needs {
	return needs{children: map[model.Ref]*entry{}, ends: map[string]map[*entry]bool{}, due: map[*entry]bool{}, unmet: map[*entry]string{}}
}

// otherEnd is the name of the port that an object refers to: the peer of a port, the out-port of a route; empty if none.
func otherEnd(o model.Object) string {
	switch o := o.(type) {
	case *model.LogicalSwitchPort:
		return o.Peer
	case *model.LogicalRouterPort:
		return o.Peer
	case *model.StaticRoute:
		return o.OutPort
	}
	return ""
}

// add takes in an object. It need not be looked at if another one of the same switch was and lacks nothing, and it refers to nothing but the switch.
func (n *needs) add(e *entry) {
	ref := e.ref()
	if !ref.Kind.HasParent() {
		return
	}
	parent := parentOf(ref)
	complete := false
	if first := n.children[parent]; first != nil {
		complete = onlySwitch(e.object) && !n.due[first] && n.unmet[first] == ""
		first.prev, e.next = e, first
	}
	n.children[parent] = e
	if port := otherEnd(e.object); port != "" {
		if n.ends[port] == nil {
			n.ends[port] = map[*entry]bool{}
		}
		n.ends[port][e] = true
	}
	if !complete {
		n.due[e] = true
	}
}

func (n *needs) remove(e *entry) {
	ref := e.ref()
	if !ref.Kind.HasParent() {
		return
	}
	if e.next != nil {
		e.next.prev = e.prev
	}
	switch parent := parentOf(ref); {
	case e.prev != nil:
		e.prev.next = e.next
	case e.next != nil:
		n.children[parent] = e.next
	default:
		delete(n.children, parent)
	}
	e.prev, e.next = nil, nil
	if port := otherEnd(e.object); port != "" {
		delete(n.ends[port], e)
		if len(n.ends[port]) == 0 {
			delete(n.ends, port)
		}
	}
	delete(n.due, e)
	delete(n.unmet, e)
}

// changed notes that an object came, went, or went into or out of service.
func (n *needs) changed(ref model.Ref) {
	if isPort(ref) {
		for e := range n.ends[ref.Name] {
			n.due[e] = true
		}
		return
	}
	for e := n.children[ref]; e != nil; e = e.next {
		n.due[e] = true
	}
}

// onlySwitch tells whether an object refers to its switch and to nothing else, as most do.
func onlySwitch(o model.Object) bool {
	p, ok := o.(*model.LogicalSwitchPort)
	return ok && p.Type != model.PortRouter && p.Peer == ""
}

// parentOf is the switch or router that an object belongs to.
func parentOf(ref model.Ref) model.Ref {
	if ref.Kind == model.KindSwitchPort {
		return model.Ref{Kind: model.KindSwitch, Name: ref.Parent}
	}
	return model.Ref{Kind: model.KindRouter, Name: ref.Parent}
}

func isPort(ref model.Ref) bool {
	return ref.Kind == model.KindSwitchPort || ref.Kind == model.KindRouterPort
}

// dangling lists the objects in service that refer to something that does not exist. What exists but is out of service is
// listed itself; those that need it are not, so that the list shows causes.
func (f *Facts) dangling() []model.Problem {
	for e := range f.needs.due {
		if why := f.lacks(e); why != "" {
			f.needs.unmet[e] = why
		} else {
			delete(f.needs.unmet, e)
		}
	}
	if len(f.needs.due) > manyDue {
		f.needs.due = map[*entry]bool{} // clearing it would for ever cost what the largest number cost
	} else {
		clear(f.needs.due)
	}
	var all []model.Problem
	for e, why := range f.needs.unmet {
		if e.live && !f.excused(e.object) {
			all = append(all, model.Problem{Key: e.ref().String(), Reason: why})
		}
	}
	return all
}

// lacks says what an object refers to that is not in service, in the words of the compiler; empty if there is nothing.
func (f *Facts) lacks(e *entry) string {
	parent := parentOf(e.ref())
	if f.Object(parent) == nil {
		return fmt.Sprintf(`%s "%s" does not exist`, parent.Kind, parent.Name)
	}
	switch o := e.object.(type) {
	case *model.LogicalSwitchPort:
		rp, ok := f.Holder(model.ClaimPort(o.Peer)).(*model.LogicalRouterPort)
		if o.Type == model.PortRouter && (!ok || rp.Peer != o.Name) {
			return `peer "` + o.Peer + `" is not a router port that has this port as its peer`
		}
	case *model.LogicalRouterPort:
		sp, ok := f.Holder(model.ClaimPort(o.Peer)).(*model.LogicalSwitchPort)
		if o.Peer != "" && (!ok || sp.Type != model.PortRouter || sp.Peer != o.Name) {
			return `peer "` + o.Peer + `" is not a switch port that has this port as its peer`
		}
	case *model.StaticRoute:
		if rp, ok := f.Holder(model.ClaimPort(o.OutPort)).(*model.LogicalRouterPort); !ok || rp.Router != o.Router {
			return `out-port "` + o.OutPort + `" does not exist on router "` + o.Router + `"`
		}
	}
	return ""
}

// excused tells whether an object that cannot work needs one that is listed itself: its switch or router, the other port, or
// that one's router or switch.
func (f *Facts) excused(o model.Object) bool {
	port := otherEnd(o)
	parents := []model.Ref{parentOf(o.Ref())}
	if p := f.Holder(model.ClaimPort(port)); p != nil {
		parents = append(parents, parentOf(p.Ref()))
	}
	guilty := func(ref model.Ref) bool {
		return slices.Contains(parents, ref) || port != "" && isPort(ref) && ref.Name == port
	}
	for ref := range f.invalid {
		if guilty(ref) {
			return true
		}
	}
	for e := range f.losers {
		if e.object != o && guilty(e.ref()) {
			return true
		}
	}
	return false
}
