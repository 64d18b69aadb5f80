package store

import (
	"context"
	"errors"
	"slices"
	"strings"

	"go.etcd.io/etcd/client/v3"

	"tuplenet/model"
)

// carryUpdates replaces objects, in transactions of limited size. Objects that exchange names, addresses or numbers with each other
// are in the same one.
func (s *Store) carryUpdates(ctx context.Context, steps []Step, done func([]Step), service PrefixService) (rev int64, err error) {
	var together []Step
	commit := func() error {
		if len(together) == 0 {
			return nil
		}
		if rev, err = s.update(ctx, together, service); err == nil {
			done(together)
			err = s.giveAllBack(ctx, service, together)
		}
		together = nil
		return err
	}
	for _, set := range exchanging(steps) {
		if weightOf(together)+weightOf(set) > maxOps-8 {
			if err := commit(); err != nil {
				return rev, err
			}
		}
		together = append(together, set...)
	}
	return rev, commit()
}

// weightOf is how many operations a transaction of updates needs at most.
func weightOf(steps []Step) (n int) {
	for _, s := range steps {
		n += 2 + len(model.Claims(s.New))
		if s.Old != nil {
			n += len(model.Claims(s.Old)) * 2 // a release is a transaction within
		}
	}
	return n
}

// exchanging divides updates into sets: two are in the same one if one takes a claim that the other gives up.
func exchanging(steps []Step) (sets [][]Step) {
	holder := map[string]int{} // claim given up → step
	for i, s := range steps {
		if s.Old == nil {
			continue
		}
		for _, c := range model.Claims(s.Old) {
			if !slices.Contains(model.Claims(s.New), c) {
				holder[c] = i
			}
		}
	}
	root := make([]int, len(steps))
	for i := range root {
		root[i] = i
	}
	find := func(i int) int {
		for root[i] != i {
			i = root[i]
		}
		return i
	}
	for i, s := range steps {
		for _, c := range model.Claims(s.New) {
			if j, ok := holder[c]; ok {
				root[find(i)] = find(j)
			}
		}
	}
	at := map[int]int{}
	for i, s := range steps {
		r := find(i)
		if _, ok := at[r]; !ok {
			at[r] = len(sets)
			sets = append(sets, nil)
		}
		sets[at[r]] = append(sets[at[r]], s)
	}
	return sets
}

// keepsType refuses another type for a switch, since what it has may not fit, and ports that their switch cannot have.
func (s *Store) keepsType(ctx context.Context, step Step) error {
	now, isSwitch := step.New.(*model.LogicalSwitch)
	if was, ok := step.Old.(*model.LogicalSwitch); ok && isSwitch && was.Type != now.Type {
		return refuse(ErrInvalid, "invalid type %q: switch %s is of type %s, which stays; delete it first", now.Type, now.Name, was.Type)
	}
	return admits(ctx, s.switchIfThere, step.New)
}

// update replaces objects in one transaction, if they are as they were when it was planned and what they newly claim is free.
func (s *Store) update(ctx context.Context, steps []Step, service PrefixService) (int64, error) {
	for _, step := range steps {
		if err := s.keepsType(ctx, step); err != nil {
			return 0, err
		}
	}
	ch := change{what: "update " + steps[0].Ref.String()}
	e := exchange{freed: map[string]model.Ref{}, taken: map[string]model.Ref{}, claims: map[string]string{}}
	var asked []*sourcing
	failed := func(err error) (int64, error) {
		for _, t := range asked {
			err = t.undo(ctx, err)
		}
		return 0, err
	}
	for i := range steps {
		t := &sourcing{store: s, service: service, owner: steps[i].Ref.String(), spread: 1}
		asked = append(asked, t)
		if err := s.updateOne(ctx, &ch, &steps[i], e, t); err != nil {
			return failed(err)
		}
	}
	for key, owner := range e.taken {
		if _, exchanged := e.freed[key]; !exchanged && !strings.HasPrefix(e.claims[key], "prefix/") { // sourcing has guards for these
			ch.guards = append(ch.guards, s.claimGuard(e.claims[key]))
		}
		ch.ops = append(ch.ops, clientv3.OpPut(key, owner.String()))
	}
	for key, owner := range e.freed {
		if _, taken := e.taken[key]; !taken {
			op, err := s.releasing(ctx, owner, key)
			if err != nil {
				return failed(err)
			}
			ch.ops = append(ch.ops, op)
		}
	}
	rev, _, err := s.commit(ctx, ch)
	if errors.Is(err, errRaced) {
		err = refuse(ErrConflict, "%s or another object was changed meanwhile: plan again", steps[0].Ref)
	}
	if err != nil {
		return failed(err)
	}
	return rev, nil
}

// exchange is what the objects of an update give up and take, by the keys of the claims, and whose it was or becomes.
type exchange struct {
	freed, taken map[string]model.Ref
	claims       map[string]string // key → claim
}

// updateOne adds the replacement of one object to a change.
func (s *Store) updateOne(ctx context.Context, ch *change, step *Step, e exchange, t *sourcing) error {
	made, err := s.filled(ctx, *step)
	if err != nil {
		return err
	}
	if ls, ok := made.(*model.LogicalSwitch); ok && len(ls.Pools) > 0 {
		old, _ := step.Old.(*model.LogicalSwitch)
		if ls, err = t.fill(ctx, ls, old); err != nil {
			return err
		}
		made, step.New = ls, ls
		ch.guards, ch.ops = append(ch.guards, t.guards...), append(ch.ops, t.ops...)
	}
	value, err := model.Encode(made)
	if err != nil {
		return refuse(ErrInvalid, "%s: %s", step.Ref, err)
	}
	ch.guards = append(ch.guards, unchanged(s.keys.object(step.Ref), step.rev))
	ch.ops = append(ch.ops, clientv3.OpPut(s.keys.object(step.Ref), string(value)))
	if r, ok := made.(*model.StaticRoute); ok {
		ch.guards = append(ch.guards, present(s.keys.object(model.Ref{Kind: model.KindRouterPort, Parent: r.Router, Name: r.OutPort}),
			refuse(ErrNotFound, "outport %s not found in router %s", r.OutPort, r.Router)))
	}
	var before []string // keys
	if step.Old == nil {
		if before, err = s.search(ctx, step.Ref); err != nil {
			return err
		}
	} else {
		for _, c := range model.Claims(step.Old) {
			before = append(before, s.keys.unique(c))
		}
	}
	var now []string
	for _, c := range model.Claims(made) {
		key := s.keys.unique(c)
		now = append(now, key)
		if slices.Contains(before, key) {
			continue
		}
		if owner, twice := e.taken[key]; twice {
			return refuse(ErrConflict, "%s and %s both claim %s", owner, step.Ref, c)
		}
		e.taken[key], e.claims[key] = step.Ref, c
	}
	for _, key := range before {
		if !slices.Contains(now, key) {
			e.freed[key] = step.Ref
		}
	}
	return nil
}

// filled gives an object that takes the place of an unusable one the numbers and the MAC that it does not say.
func (s *Store) filled(ctx context.Context, step Step) (model.Object, error) {
	if step.Old != nil {
		return step.New, nil
	}
	b := batch{store: s, refs: map[model.Ref]bool{}, free: s.free, switchOf: s.switchIfThere}
	made, _, err := b.fill(ctx, []model.Object{step.New})
	if err != nil {
		return nil, err
	}
	return made[0], nil
}
