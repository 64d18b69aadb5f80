package store

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"

	"go.etcd.io/etcd/client/v3"
)

// SchemaVersion is the version of the layout and of the objects that this code writes. A store of a higher version is
// read (what is not understood is isolated), but not written.
const SchemaVersion = 1

// metaValue is the JSON under <prefix>/v1/meta. It is made in the transaction of the first write.
type metaValue struct {
	SchemaVersion int `json:"schemaVersion"`
	// ClusterID tells one deployment from another, also after etcd was replaced or wiped.
	ClusterID string `json:"clusterID"`
}

// metaRecord is what was read: the revision of the key (0: absent) and its value.
type metaRecord struct {
	revision int64
	value    metaValue
}

// currentMeta is the record as last read, or as in the store if it was not read yet or fresh is set. It fails if this
// version may not write.
func (s *Store) currentMeta(ctx context.Context, fresh bool) (*metaRecord, error) {
	s.mu.Lock()
	m := s.meta
	s.mu.Unlock()
	if m != nil && !fresh {
		return m, m.writable()
	}
	m = new(metaRecord)
	err := s.call(ctx, "read the schema version", func(ctx context.Context, c *clientv3.Client, _ bool) error {
		resp, err := c.Get(ctx, s.keys.meta())
		if err != nil || len(resp.Kvs) == 0 {
			return err
		}
		m.revision = resp.Kvs[0].ModRevision
		m.value, err = parseMeta(resp.Kvs[0].Value)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.meta = m
	s.mu.Unlock()
	return m, m.writable()
}

func parseMeta(value []byte) (metaValue, error) {
	var m metaValue
	if err := json.Unmarshal(value, &m); err != nil || m.SchemaVersion < 1 {
		return m, refuse(ErrNewerSchema, "the record of the schema version in the store (key meta) cannot be read")
	}
	return m, nil
}

func (m *metaRecord) writable() error {
	if m.value.SchemaVersion > SchemaVersion {
		return refuse(ErrNewerSchema, "db accessed by higher version: the store has schema %d, this program writes schema %d", m.value.SchemaVersion, SchemaVersion)
	}
	return nil
}

// guard is the condition that the record is as it was read, and the write that makes it if it is absent.
func (m *metaRecord) guard(key string) (clientv3.Cmp, []clientv3.Op, error) {
	if m.revision != 0 {
		return clientv3.Compare(clientv3.ModRevision(key), "=", m.revision), nil, nil
	}
	b, err := json.Marshal(metaValue{SchemaVersion: SchemaVersion, ClusterID: rand.Text()})
	if err != nil {
		return clientv3.Cmp{}, nil, fmt.Errorf("write the schema version: %w", err)
	}
	return clientv3.Compare(clientv3.CreateRevision(key), "=", 0), []clientv3.Op{clientv3.OpPut(key, string(b))}, nil
}

// Initialize writes the record of the deployment if there is none, and nothing else. It returns the revision.
func (s *Store) Initialize(ctx context.Context, opts ...Option) (int64, error) {
	rev, _, err := s.commit(ctx, change{what: "begin the deployment", options: collect(opts)})
	return rev, err
}
