package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"tuplenet/model"
)

// Verb is what a step of a plan does.
type Verb string

// The verbs of steps.
const (
	VerbCreate Verb = "create"
	VerbUpdate Verb = "update"
	VerbDelete Verb = "delete"
)

// Step is the change of one object that a plan makes.
type Step struct {
	Verb Verb
	Ref  model.Ref
	// Old is what is in the store, New what will be. Of a new object numbers, MACs and addresses may be missing: they are chosen
	// when it is stored.
	Old, New model.Object
	rev      int64 // of Old
}

// FieldChange is one field of an object that a step updates, with its values in JSON; empty: it is not there.
type FieldChange struct {
	Field string `json:"field"`
	Old   string `json:"old,omitempty"`
	New   string `json:"new,omitempty"`
}

// Fields are those that an update changes, sorted by name.
func (s Step) Fields() (out []FieldChange) {
	old, now := fieldsOf(s.Old), fieldsOf(s.New)
	names := maps.Clone(old)
	maps.Copy(names, now)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if !bytes.Equal(old[name], now[name]) {
			out = append(out, FieldChange{name, string(old[name]), string(now[name])})
		}
	}
	return out
}

func fieldsOf(o model.Object) map[string]json.RawMessage {
	fields := map[string]json.RawMessage{}
	if o == nil {
		return fields
	}
	if b, err := json.Marshal(o); err == nil {
		_ = json.Unmarshal(b, &fields) // it is an object: we wrote it
	}
	return fields
}

// Plan is how the store is made to have some objects. It is good for the state that it was made from: Carry fails rather than
// do something else if that changed.
type Plan struct {
	// Revision of the state that the plan was made from.
	Revision int64
	// Steps in the order in which they are done.
	Steps []Step
}

// Plan compares wanted objects with what is in the store. What the store chooses and a wanted object does not say (number, key,
// MAC, addresses of a port if IPs is nil) stays as it is. Objects of the store that are not wanted are deleted if prune says so;
// nil: none is.
//
// Chassis and bindings are what nodes say of themselves: they are restored if they are missing, and never changed or deleted.
// Errors: ErrInvalid.
func (s *Store) Plan(ctx context.Context, wanted []model.Object, prune func(model.Object) bool) (*Plan, error) {
	from, end := s.keys.nodes()
	h, kvs, err := s.list(ctx, []keyRange{prefixRange(s.keys.spec()), {from, end}})
	if err != nil {
		return nil, err
	}
	have := map[model.Ref]stored{}
	for _, kv := range kvs {
		c := s.decode(kv)
		have[c.Ref] = stored{ref: c.Ref, object: c.Object, rev: kv.ModRevision}
	}
	p := &Plan{Revision: h.revision}
	keep := map[model.Ref]bool{}
	for _, o := range wanted {
		keep[o.Ref()] = true
		if step, ok := planOne(have, o); ok {
			p.Steps = append(p.Steps, step)
		}
	}
	for ref, o := range have {
		if !keep[ref] && isSpec(ref.Kind) && prune != nil && o.object != nil && prune(o.object) {
			p.Steps = append(p.Steps, Step{Verb: VerbDelete, Ref: ref, Old: o.object, rev: o.rev})
		}
	}
	p.order(have)
	return p, nil
}

// planOne is the step for a wanted object; ok is false if there is nothing to do.
func planOne(have map[model.Ref]stored, o model.Object) (step Step, ok bool) {
	ref := o.Ref()
	old, there := have[ref]
	switch {
	case !there:
		return Step{Verb: VerbCreate, Ref: ref, New: o}, true
	case !isSpec(ref.Kind):
		return step, false
	case old.object == nil: // unusable: written anew
		return Step{Verb: VerbUpdate, Ref: ref, New: o, rev: old.rev}, true
	}
	o = completed(o, old.object)
	step = Step{Verb: VerbUpdate, Ref: ref, Old: old.object, New: o, rev: old.rev}
	return step, len(step.Fields()) > 0
}

// completed is an object with what it does not say taken from how it is.
func completed(o, old model.Object) model.Object {
	o, vni, key := copied(o)
	_, oldVNI, oldKey := copied(old)
	if vni != nil && *vni == 0 {
		*vni = *oldVNI
	}
	if key != nil && *key == 0 {
		*key = *oldKey
	}
	switch o := o.(type) {
	case *model.LogicalSwitch:
		completeSources(o, old.(*model.LogicalSwitch))
	case *model.LogicalSwitchPort:
		old := old.(*model.LogicalSwitchPort)
		if o.MAC.IsZero() && o.Type != model.PortPatch {
			o.MAC = old.MAC
		}
		if o.IPs == nil && o.Type == old.Type {
			o.IPs = old.IPs
		}
	case *model.LogicalRouterPort:
		if o.MAC.IsZero() {
			o.MAC = old.(*model.LogicalRouterPort).MAC
		}
	}
	return o
}

// Places in the order of steps. Deletions come first, so that what they free can be used, but for router ports that routes still
// use until they are updated, and for what such ports belong to. Then kind by kind, each after those that it refers to; within a
// kind updates first, since they may free what new objects take.
const (
	placeDelete = 0
	placeUpdate = 100
	placeLast   = 1000
)

func (p *Plan) order(have map[model.Ref]stored) {
	used := map[model.Ref]bool{} // router ports with routes that stay, and the routers of those
	deleted := map[model.Ref]bool{}
	for _, s := range p.Steps {
		deleted[s.Ref] = s.Verb == VerbDelete
	}
	for ref, o := range have {
		if r, ok := o.object.(*model.StaticRoute); ok && !deleted[ref] {
			used[model.Ref{Kind: model.KindRouterPort, Parent: r.Router, Name: r.OutPort}] = true
			used[model.Ref{Kind: model.KindRouter, Name: r.Router}] = true
		}
	}
	up := map[model.Kind]int{model.KindPool: 0, model.KindSwitch: 1, model.KindRouter: 2, model.KindRouterPort: 3,
		model.KindSwitchPort: 4, model.KindRoute: 5, model.KindNAT: 6, model.KindChassis: 7, model.KindBinding: 8}
	place := func(s Step) int {
		switch {
		case s.Verb == VerbDelete && used[s.Ref]:
			return placeLast - up[s.Ref.Kind]
		case s.Verb == VerbDelete:
			return placeDelete + len(up) - up[s.Ref.Kind]
		case s.Verb == VerbUpdate:
			return placeUpdate + 2*up[s.Ref.Kind]
		}
		return placeUpdate + 2*up[s.Ref.Kind] + 1
	}
	slices.SortFunc(p.Steps, func(a, b Step) int {
		if x, y := place(a), place(b); x != y {
			return x - y
		}
		return compareRefs(a.Ref, b.Ref)
	})
}

// Carry carries a plan out, in transactions of limited size. If it fails halfway, what was done stays: plan again. done is called
// with the steps of each transaction, the new objects filled in; nil: nobody listens. It returns the revision of the last
// transaction, or of the plan if there is nothing to do.
// Errors: those of AddAll and DeleteAll; ErrConflict also if an object changed since the plan was made.
func (s *Store) Carry(ctx context.Context, p *Plan, done func([]Step), opts ...Option) (rev int64, err error) {
	if done == nil {
		done = func([]Step) {}
	}
	rev = p.Revision
	service := collect(opts).service
	for rest := p.Steps; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].Verb == rest[0].Verb && rest[n].Ref.Kind == rest[0].Ref.Kind {
			n++
		}
		switch rest[0].Verb {
		case VerbDelete:
			rev, err = s.carryDeletes(ctx, rest[:n], done, service)
		case VerbUpdate:
			rev, err = s.carryUpdates(ctx, rest[:n], done, service)
		default:
			rev, err = s.carryCreates(ctx, rest[:n], done, service)
		}
		if err != nil {
			return rev, err
		}
		rest = rest[n:]
	}
	if o := collect(opts); o.waiter != "" {
		rev, _, err = s.commit(ctx, change{what: "ask for receipts", options: o, nodes: true})
	}
	return rev, err
}

func (s *Store) carryDeletes(ctx context.Context, steps []Step, done func([]Step), service PrefixService) (int64, error) {
	refs := make([]model.Ref, len(steps))
	for i, step := range steps {
		refs[i] = step.Ref
	}
	rev, err := s.DeleteAll(ctx, refs)
	if err == nil {
		done(steps)
		err = s.giveAllBack(ctx, service, steps)
	}
	return rev, err
}

// carryCreates adds objects of one kind.
func (s *Store) carryCreates(ctx context.Context, steps []Step, done func([]Step), service PrefixService) (rev int64, err error) {
	var pending []Step
	weight := 0
	flush := func() error {
		if len(pending) == 0 {
			return nil
		}
		objects := make([]model.Object, len(pending))
		for i, step := range pending {
			objects[i] = step.New
		}
		var made []model.Object
		if made, rev, err = s.AddAll(ctx, objects); err != nil {
			return err
		}
		for i := range pending {
			pending[i].New = made[i]
		}
		done(pending)
		pending, weight = nil, 0
		return nil
	}
	var alone []Step
	for _, step := range steps {
		if isAlone(step.New) {
			alone = append(alone, step)
			continue
		}
		w := 3 + len(model.Claims(step.New))
		if weight+w > maxOps-8 {
			if err := flush(); err != nil {
				return rev, err
			}
		}
		pending, weight = append(pending, step), weight+w
	}
	if err := flush(); err != nil {
		return rev, err
	}
	for _, step := range alone { // last, so that no address is chosen that another object asks for
		if rev, err = s.carryAlone(ctx, &step, service); err != nil {
			return rev, fmt.Errorf("%s: %w", step.Ref, err)
		}
		done([]Step{step})
	}
	return rev, nil
}

// isAlone tells whether an object is not added together with others: nodes write it, or its addresses or subnets are to be
// chosen.
func isAlone(o model.Object) bool {
	if ls, ok := o.(*model.LogicalSwitch); ok && len(ls.Pools) > 0 {
		return true
	}
	p, ok := o.(*model.LogicalSwitchPort)
	return !isSpec(o.Ref().Kind) || ok && p.Type == model.PortVIF && p.IPs == nil
}

// carryAlone adds such an object.
func (s *Store) carryAlone(ctx context.Context, step *Step, service PrefixService) (rev int64, err error) {
	switch o := step.New.(type) {
	case *model.Chassis:
		return s.PutChassis(ctx, o)
	case *model.Binding:
		// A node was faster, and it knows better; or the port is not in the document, and a binding of none means nothing.
		if rev, err = s.Bind(ctx, o.Port, o.Chassis, 0); errors.Is(err, ErrConflict) || errors.Is(err, ErrNotFound) {
			return s.Revision(ctx)
		}
	case *model.LogicalSwitchPort:
		step.New, rev, err = s.AddSwitchPort(ctx, o)
	case *model.LogicalSwitch:
		step.New, rev, err = s.AddSwitch(ctx, o, WithPrefixService(service))
	}
	return rev, err
}
