package controller

import (
	"context"
	"maps"
	"slices"
	"strings"

	"tuplenet/flows/walk"
	"tuplenet/model"
)

// traceFacts are what this node knows beside the store, for whoever follows a packet on paper: numbers of ports, what is
// reachable, what answered in the physical network.
func (a answers) traceFacts(ctx context.Context, args map[string]string) (any, error) {
	if err := allowed(args); err != nil {
		return nil, err
	}
	var out walk.Facts
	err := a.l.inLoop(ctx, func() {
		out.Node, out.Neighbours = a.l.facts.Node(), a.l.facts.Neighbours()
		out.Wanted = slices.SortedFunc(maps.Keys(a.l.facts.Wanted()), func(a, b model.Ref) int { return strings.Compare(a.String(), b.String()) })
		out.Interfaces, out.Watched = a.l.facts.Interfaces(), a.l.facts.Watched()
		out.Uplinks = map[string]uint32{}
		for device, u := range a.l.facts.Uplinks() {
			out.Uplinks[device] = u.OFPort
		}
	})
	if err != nil {
		return nil, err
	}
	for _, i := range a.l.ovsFacts.get().Interfaces {
		if i.Bridge == a.l.cfg.Bridge && i.HasOFPort() && i.BFD["forwarding"] == "false" {
			out.Down = append(out.Down, uint32(i.OFPort))
		}
	}
	return out, nil
}

// inLoop runs f in the loop, where everything may be read that the loop owns. It does not run if the loop has ended, or
// ctx before its turn came.
func (l *loop) inLoop(ctx context.Context, f func()) error {
	done := make(chan struct{})
	select {
	case l.calls <- func() { defer close(done); f() }:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	<-done
	return nil
}
