package store

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/client/v3"
)

// presence is the value of the key presence/<chassis>.
type presence struct {
	Switches []string `json:"switches"`
}

// PutPresence says of which switches a chassis has ports. It is a digest of interfaces and bindings, so that whoever waits for a change learns
// whom it concerns without reading every port. A chassis says it before it registers and before it binds a port of another switch; a
// switch too many costs a question.
func (s *Store) PutPresence(ctx context.Context, chassis string, switches []string) error {
	b, err := json.Marshal(presence{Switches: switches})
	if err != nil {
		return fmt.Errorf("write the switches of a chassis as JSON: %w", err)
	}
	_, _, err = s.commit(ctx, change{what: "say of which switches " + chassis + " has ports",
		ops: []clientv3.Op{clientv3.OpPut(s.keys.presence(chassis), string(b))}})
	return err
}

// presence fills in what chassis said at two revisions.
func (s *Store) presence(ctx context.Context, from, to int64, old, now *Sight) (err error) {
	if old.Present, err = s.presenceAt(ctx, from); err == nil {
		now.Present, err = s.presenceAt(ctx, to)
	}
	return err
}

// presenceAt is what all chassis said of themselves at a revision; what cannot be read was not said.
func (s *Store) presenceAt(ctx context.Context, rev int64) (map[string][]string, error) {
	said := map[string][]string{}
	folder := s.keys.presence("")
	_, err := s.walkAt(ctx, []keyRange{prefixRange(folder)}, rev, func(kv *mvccpb.KeyValue) {
		if switches, ok := saidPresent(kv); ok {
			said[strings.TrimPrefix(string(kv.Key), folder)] = switches
		}
	})
	return said, err
}

// saidPresent reads what a chassis said.
func saidPresent(kv *mvccpb.KeyValue) ([]string, bool) {
	var p presence
	return p.Switches, json.Unmarshal(kv.Value, &p) == nil
}
