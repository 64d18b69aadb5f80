package store

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"tuplenet/model"
)

// Warnings tells what is odd about objects beside what the store has now, though it is allowed, since the rest may come
// later: a chassis that is unknown or no gateway, a next hop or an external address that nothing leads to. One line each.
func (s *Store) Warnings(ctx context.Context, objects ...model.Object) (out []string, err error) {
	for _, o := range objects {
		var more []string
		switch o := o.(type) {
		case *model.LogicalRouter:
			more, err = s.warnChassis(ctx, o.Chassis)
		case *model.LogicalSwitchPort:
			more, err = s.warnChassis(ctx, o.Chassis)
		case *model.StaticRoute:
			more, err = s.warnRoute(ctx, o)
		case *model.NATRule:
			more, err = s.warnNAT(ctx, o)
		}
		if err != nil {
			return nil, err
		}
		for _, text := range more {
			if !slices.Contains(out, text) {
				out = append(out, text)
			}
		}
	}
	return out, nil
}

// warnChassis judges the chassis that something is pinned to.
func (s *Store) warnChassis(ctx context.Context, name string) ([]string, error) {
	if name == "" {
		return nil, nil
	}
	key := s.keys.object(model.Ref{Kind: model.KindChassis, Name: name})
	found, err := readable[*model.Chassis](ctx, s, keyRange{key, key + "\x00"})
	switch {
	case err != nil:
		return nil, err
	case len(found) == 0:
		return []string{fmt.Sprintf("chassis %s is not known: nothing is forwarded there until its daemon has registered", name)}, nil
	case !found[0].Gateway:
		return []string{fmt.Sprintf("chassis %s is not a gateway: start its daemon with GATEWAY=1", name)}, nil
	}
	return nil, nil
}

// readable are the objects of a type within some keys; what cannot be read is left out.
func readable[T model.Object](ctx context.Context, s *Store, ranges ...keyRange) (out []T, err error) {
	_, kvs, err := s.list(ctx, ranges)
	if err != nil {
		return nil, err
	}
	for _, kv := range kvs {
		if o, ok := s.decode(kv).Object.(T); ok {
			out = append(out, o)
		}
	}
	return out, nil
}

// networks are those of the ports of a router, or of its port of that name only if one is given.
func (s *Store) networks(ctx context.Context, router, port string) (out []netip.Prefix, err error) {
	keys := prefixRange(s.keys.children(model.KindRouterPort, router))
	if port != "" {
		key := s.keys.object(model.Ref{Kind: model.KindRouterPort, Parent: router, Name: port})
		keys = keyRange{key, key + "\x00"}
	}
	ports, err := readable[*model.LogicalRouterPort](ctx, s, keys)
	for _, p := range ports {
		out = append(out, p.Networks...)
	}
	return out, err
}

func (s *Store) warnRoute(ctx context.Context, o *model.StaticRoute) ([]string, error) {
	if o.NextHop.IsLinkLocalUnicast() {
		return nil, nil
	}
	nets, err := s.networks(ctx, o.Router, o.OutPort)
	if err != nil {
		return nil, err
	}
	for _, n := range nets {
		if n.Addr() == o.NextHop {
			return []string{fmt.Sprintf("next_hop %s is the address of %s itself", o.NextHop, o.OutPort)}, nil
		}
	}
	if !slices.ContainsFunc(nets, func(n netip.Prefix) bool { return n.Contains(o.NextHop) }) {
		return []string{fmt.Sprintf("next_hop %s is in no network of %s: %s", o.NextHop, o.OutPort, listed(nets))}, nil
	}
	return nil, nil
}

func (s *Store) warnNAT(ctx context.Context, o *model.NATRule) (out []string, err error) {
	ref := model.Ref{Kind: model.KindRouter, Name: o.Router}
	router, err := s.load(ctx, ref)
	if err != nil {
		return nil, err
	}
	if lr, ok := router.object.(*model.LogicalRouter); ok && lr.Chassis == "" {
		out = append(out, fmt.Sprintf("router %s is not pinned to a chassis, so it does not translate", o.Router))
	}
	nets, err := s.networks(ctx, o.Router, "")
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(nets, func(n netip.Prefix) bool { return n.Contains(o.External) }) {
		out = append(out, fmt.Sprintf("translate IP %s is in no network of %s, so the outside needs a route to it", o.External, o.Router))
	}
	rules, err := readable[*model.NATRule](ctx, s, prefixRange(s.keys.folder(model.KindNAT)))
	if err != nil {
		return nil, err
	}
	for _, r := range rules {
		if r.Router != o.Router && r.External == o.External {
			out = append(out, fmt.Sprintf("translate IP %s is also that of %s in router %s", o.External, r.Name, r.Router))
		}
	}
	return out, nil
}

func listed(nets []netip.Prefix) string {
	texts := make([]string, len(nets))
	for i, n := range nets {
		texts[i] = n.String()
	}
	return strings.Join(texts, ", ")
}
