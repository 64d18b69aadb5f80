package store

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"go.etcd.io/etcd/client/v3"

	"tuplenet/model"
)

// Misclaim is a uniqueness key that is not as the objects are: left over, missing, or in the name of another object.
type Misclaim struct {
	Claim string // of the key, such as ip/switch/LS-A/010.020.001.010
	// Owner is whom the key names, empty: there is no such key. Rightful is whose it is, empty: nobody's.
	Owner, Rightful string
	rev             int64 // of the key
}

// Misclaims compares the uniqueness keys with the objects, sorted by claim. What two objects claim is not listed: that is theirs to
// settle, whoever has the key.
func (s *Store) Misclaims(ctx context.Context) (out []Misclaim, err error) {
	folder := s.keys.unique("")
	_, kvs, err := s.list(ctx, []keyRange{prefixRange(s.keys.spec()), prefixRange(folder)})
	if err != nil {
		return nil, err
	}
	claimants, unreadable := map[string][]string{}, map[string]bool{}
	keys := map[string]Misclaim{}
	for _, kv := range kvs {
		key := string(kv.Key)
		if strings.HasPrefix(key, folder) {
			if strings.HasPrefix(string(kv.Value), quarantined) {
				continue // nobody's, and of no use to anybody yet
			}
			keys[key] = Misclaim{Claim: strings.TrimPrefix(key, folder), Owner: string(kv.Value), rev: kv.ModRevision}
			continue
		}
		c := s.decode(kv)
		if c.Object == nil {
			unreadable[c.Ref.String()] = true
			continue
		}
		for _, claim := range model.Claims(c.Object) {
			k := s.keys.unique(claim)
			claimants[k] = append(claimants[k], c.Ref.String())
		}
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		m := keys[key]
		switch by := claimants[key]; {
		case slices.Contains(by, m.Owner), len(by) == 0 && unreadable[m.Owner], len(by) > 1:
		default:
			if len(by) == 1 {
				m.Rightful = by[0]
			}
			out = append(out, m)
		}
	}
	for key, by := range claimants {
		if _, there := keys[key]; !there && len(by) == 1 {
			out = append(out, Misclaim{Claim: strings.TrimPrefix(key, folder), Rightful: by[0]})
		}
	}
	slices.SortFunc(out, func(a, b Misclaim) int { return strings.Compare(a.Claim, b.Claim) })
	return out, nil
}

// Settle makes a uniqueness key what it has to be, if neither it nor the objects changed since it was looked at; then it leaves it
// alone, for the change settled it.
func (s *Store) Settle(ctx context.Context, m Misclaim) error {
	key := s.keys.unique("") + m.Claim
	ch := change{what: "settle the claim " + m.Claim, guards: []guard{unchanged(key, m.rev)}}
	if m.Rightful == "" {
		if ref, err := model.ParseRef(m.Owner); err == nil {
			o, err := s.load(ctx, ref)
			switch {
			case err == nil && (o.object == nil || slices.ContainsFunc(model.Claims(o.object), func(c string) bool { return s.keys.unique(c) == key })):
				return nil
			case err != nil && !errors.Is(err, ErrNotFound):
				return err
			}
			ch.guards = append(ch.guards, unchanged(s.keys.object(ref), o.rev))
		}
		ch.ops = []clientv3.Op{clientv3.OpDelete(key)}
	} else {
		ref, err := model.ParseRef(m.Rightful)
		if err != nil {
			return err
		}
		ch.guards = append(ch.guards, present(s.keys.object(ref), errRaced))
		ch.ops = []clientv3.Op{clientv3.OpPut(key, m.Rightful)}
	}
	if _, _, err := s.commit(ctx, ch); !errors.Is(err, errRaced) {
		return err
	}
	return nil
}
