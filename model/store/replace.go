package store

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/client/v3"

	"tuplenet/model"
)

// ReplaceSwitchPorts puts a new port of a switch into the place of others of the same switch, in one transaction: it may have
// their addresses, which nobody else can get in between, and has the key of the first. The MAC, if none is given, is derived.
// A port that is held while it is not known for whom becomes that of a workload so. It returns what was stored.
// Errors: ErrInvalid, ErrNotFound (one of the others), ErrExists (name), ErrConflict.
func (s *Store) ReplaceSwitchPorts(ctx context.Context, others []string, o *model.LogicalSwitchPort, opts ...Option) (*model.LogicalSwitchPort, int64, error) {
	for attempt := 0; attempt < attempts; {
		p, rev, err := s.replaceOnce(ctx, others, *o, attempt, collect(opts))
		switch {
		case errors.Is(err, errRaced):
			continue
		case errors.Is(err, errMAC) && o.MAC.IsZero() && attempt < maxMACAttempts:
			attempt++
			continue
		}
		return p, rev, err
	}
	return nil, 0, fmt.Errorf("replace ports of switch %s: others were faster", o.Switch)
}

func (s *Store) replaceOnce(ctx context.Context, others []string, p model.LogicalSwitchPort, macAttempt int, opt options) (*model.LogicalSwitchPort, int64, error) {
	given := map[string]bool{} // keys of the claims that the others give up
	ch := change{what: "add " + p.Ref().String(), options: opt, key: s.keys.object(p.Ref())}
	for _, name := range others {
		ref := model.Ref{Kind: model.KindSwitchPort, Parent: p.Switch, Name: name}
		other, err := s.load(ctx, ref)
		if err != nil {
			return nil, 0, err
		}
		old, ok := other.object.(*model.LogicalSwitchPort)
		if !ok {
			return nil, 0, refuse(ErrInvalid, "port %s in the store is invalid", name)
		}
		if p.Key == 0 {
			p.Key = old.Key
		}
		for _, c := range model.Claims(old) {
			given[s.keys.unique(c)] = true
		}
		ch.guards = append(ch.guards, unchanged(s.keys.object(ref), other.rev))
		ch.ops = append(ch.ops, clientv3.OpDelete(s.keys.object(ref)), clientv3.OpDelete(s.keys.object(model.Ref{Kind: model.KindBinding, Name: name})))
	}
	if p.MAC.IsZero() {
		p.MAC = model.DerivePortMAC(p.Switch, p.Name, p.IPs, macAttempt)
	}
	if err := p.Validate(); err != nil {
		return nil, 0, refuse(ErrInvalid, "%s", err)
	}
	value, err := model.Encode(&p)
	if err != nil {
		return nil, 0, refuse(ErrInvalid, "%s", err)
	}
	ch.guards = append(ch.guards, absent(s.keys.object(p.Ref()), func(string) error { return refuse(ErrExists, "%s exists", p.Name) }))
	ch.ops = append(ch.ops, clientv3.OpPut(s.keys.object(p.Ref()), string(value)))
	ch.done = func(kv *mvccpb.KeyValue) (int, bool) { return 0, kv != nil && string(kv.Value) == string(value) }
	for _, c := range model.Claims(&p) {
		key := s.keys.unique(c)
		if !given[key] {
			ch.guards = append(ch.guards, s.claimGuard(c))
		}
		delete(given, key)
		ch.ops = append(ch.ops, clientv3.OpPut(key, p.Ref().String()))
	}
	for key := range given {
		ch.ops = append(ch.ops, clientv3.OpDelete(key))
	}
	rev, _, err := s.commit(ctx, ch)
	if err != nil {
		return nil, 0, err
	}
	return &p, rev, nil
}
