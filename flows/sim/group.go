package sim

import (
	"slices"

	"tuplenet/flows/of"
)

// group runs the buckets that its type chooses, each on a copy of the packet.
func (r *run) group(id uint32) {
	g := r.sw.groups[id]
	switch g.Type {
	case of.GroupAll, of.GroupIndirect:
		for _, b := range g.Buckets {
			r.bucket(b)
		}
	case of.GroupFastFailover, of.GroupSelect:
		c := r.sw.choose(g, &r.p)
		if r.step >= 0 {
			r.trace.Steps[r.step].Choices = append(r.trace.Steps[r.step].Choices, c)
		}
		if c.Bucket < 0 {
			r.note("group %#x: no bucket is alive", id)
			return
		}
		r.bucket(g.Buckets[c.Bucket])
	}
}

// Choice is how a select or fast-failover group decided.
type Choice struct {
	Group of.Group
	// Bucket is the index of the bucket that acted, -1 if none is alive; Alive are those that could have.
	Bucket int
	Alive  []int
	// Predicted tells that the choice by hash is the one that Open vSwitch makes, too. It is not for dp_hash, which needs a
	// hash of the datapath's, nor for a choice that Config.Prefer narrowed.
	Predicted bool
}

func (r *run) bucket(b of.Bucket) {
	if r.depth >= maxDepth {
		r.fail("a group nests more than %d lookups", maxDepth)
		return
	}
	r.copied(func() { r.actions(actionSet(b.Actions)) })
}

// Group is a group of the switch, empty if there is none.
func (s *Switch) Group(id uint32) of.Group { return s.groups[id] }

// alive tells whether a bucket may act. Groups refer to such with smaller ids, so this ends.
func (s *Switch) alive(b of.Bucket) bool {
	return b.WatchPort == 0 && b.WatchGroup == 0 || b.WatchPort != 0 && !s.down[b.WatchPort] ||
		b.WatchGroup != 0 && slices.ContainsFunc(s.groups[b.WatchGroup].Buckets, s.alive)
}

// actionSet is what a bucket does: Open vSwitch takes its actions for an action set (OpenFlow 1.5.1 section 5.6), so
// dec_ttl comes first, then the fields are written in their order, and of the actions that finish a packet's way only
// one acts: group before output before resubmit before ct, of equals the last.
func actionSet(as []of.Action) []of.Action {
	var ttl, final of.Action
	var set []of.Action
	rank := 0
	finish := func(a of.Action, n int) {
		if n >= rank {
			final, rank = a, n
		}
	}
	for _, a := range as {
		switch a.(type) {
		case of.DecTTL:
			ttl = a
		case of.SetField, of.CopyField:
			set = append(set, a)
		case of.CT:
			finish(a, 1)
		case of.Resubmit:
			finish(a, 2)
		case of.Output, of.OutputField, of.Controller:
			finish(a, 3)
		case of.GroupAction:
			finish(a, 4)
		}
	}
	var out []of.Action
	if ttl != nil {
		out = append(out, ttl)
	}
	out = append(out, set...)
	if final != nil {
		out = append(out, final)
	}
	return out
}

// choose picks the bucket of a group among those alive: the first of a fast-failover group, and of a select group the one
// that the hash gives.
func (s *Switch) choose(g of.Group, p *Packet) Choice {
	c := Choice{Group: g, Bucket: -1, Predicted: true}
	for i, b := range g.Buckets {
		if s.alive(b) {
			c.Alive = append(c.Alive, i)
		}
	}
	switch {
	case len(c.Alive) == 0:
	case g.Type == of.GroupFastFailover:
		c.Bucket = c.Alive[0]
	default:
		among := c.Alive
		if s.prefer != nil {
			if liked := preferred(c.Alive, g, s.prefer); len(liked) > 0 && len(liked) < len(among) {
				among, c.Predicted = liked, false
			}
		}
		c.Predicted = c.Predicted && byFields(g)
		c.Bucket = selected(g, among, p)
	}
	return c
}

func preferred(alive []int, g of.Group, like func(of.Group, of.Bucket) bool) (liked []int) {
	for _, i := range alive {
		if like(g, g.Buckets[i]) {
			liked = append(liked, i)
		}
	}
	return liked
}
