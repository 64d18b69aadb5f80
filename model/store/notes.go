package store

import (
	"context"
	"strings"

	"go.etcd.io/etcd/client/v3"

	"tuplenet/model"
)

// Notes are what a plugin has to remember of the world that it plugs in, and that belongs to no object: which logical switch a
// network of a container engine is, for one. They are not part of the configuration: nodes do not follow them, and
// nothing is computed from them. plugin and name are model.ValidateName's names; what is in a note is the plugin's business.

func validNote(plugin, name string) error {
	for _, n := range []string{plugin, name} {
		if err := model.ValidateName(n); err != nil {
			return refuse(ErrInvalid, "%s", err)
		}
	}
	return nil
}

// PutNote writes a note, in the place of an earlier one of that name.
func (s *Store) PutNote(ctx context.Context, plugin, name string, value []byte) error {
	if err := validNote(plugin, name); err != nil {
		return err
	}
	_, _, err := s.commit(ctx, change{what: "note " + name, ops: []clientv3.Op{clientv3.OpPut(s.keys.note(plugin, name), string(value))}})
	return err
}

// Note reads a note. Errors: ErrNotFound.
func (s *Store) Note(ctx context.Context, plugin, name string) (value []byte, err error) {
	if err := validNote(plugin, name); err != nil {
		return nil, err
	}
	err = s.call(ctx, "read note "+name, func(ctx context.Context, c *clientv3.Client, _ bool) error {
		resp, err := c.Get(ctx, s.keys.note(plugin, name))
		if err != nil {
			return err
		}
		if len(resp.Kvs) == 0 {
			return refuse(ErrNotFound, "note %s not found", name)
		}
		value = resp.Kvs[0].Value
		return nil
	})
	return value, err
}

// Notes are all notes of a plugin, by name.
func (s *Store) Notes(ctx context.Context, plugin string) (map[string][]byte, error) {
	folder := s.keys.note(plugin, "")
	_, kvs, err := s.list(ctx, []keyRange{prefixRange(folder)})
	if err != nil {
		return nil, err
	}
	notes := make(map[string][]byte, len(kvs))
	for _, kv := range kvs {
		notes[strings.TrimPrefix(string(kv.Key), folder)] = kv.Value
	}
	return notes, nil
}

// DeleteNote removes a note; one that does not exist is no error.
func (s *Store) DeleteNote(ctx context.Context, plugin, name string) error {
	if err := validNote(plugin, name); err != nil {
		return err
	}
	_, _, err := s.commit(ctx, change{what: "delete note " + name, ops: []clientv3.Op{clientv3.OpDelete(s.keys.note(plugin, name))}})
	return err
}
