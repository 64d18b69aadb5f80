package store

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"go.etcd.io/etcd/client/v3"
)

// Members returns where the members of the etcd cluster take requests, as HOST:PORT, sorted.
func (s *Store) Members(ctx context.Context) ([]string, error) {
	var all []string
	err := s.call(ctx, "list the members of etcd", func(ctx context.Context, c *clientv3.Client, _ bool) error {
		all = nil
		resp, err := c.MemberList(ctx)
		if err != nil {
			return err
		}
		for _, m := range resp.Members {
			for _, u := range m.ClientURLs {
				// A member whose port was chosen by the system says 0, which is no help.
				if parsed, err := url.Parse(u); err == nil && parsed.Host != "" && parsed.Port() != "0" {
					all = append(all, parsed.Host)
				}
			}
		}
		return nil
	})
	slices.Sort(all)
	return slices.Compact(all), err
}

// Prefixes returns the prefixes under which there are deployments in this etcd, sorted. It looks at one key a prefix,
// however much is under it; at most max are looked for.
func (s *Store) Prefixes(ctx context.Context, max int) ([]string, error) {
	var all []string
	err := s.call(ctx, "look for deployments", func(ctx context.Context, c *clientv3.Client, _ bool) error {
		all = nil
		for from := "/"; len(all) < max; {
			resp, err := c.Get(ctx, from, clientv3.WithRange("0"), clientv3.WithLimit(1), clientv3.WithKeysOnly()) // "0" follows "/"
			if err != nil || len(resp.Kvs) == 0 {
				return err
			}
			key := string(resp.Kvs[0].Key)
			prefix, _, ok := strings.Cut(key, "/v1/")
			if !ok {
				from = key + "\x00"
				continue
			}
			if prefix != "" {
				all = append(all, prefix)
			}
			from = prefix + "/v1/\xff"
		}
		return nil
	})
	return all, err
}
