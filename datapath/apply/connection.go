package apply

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/maphash"
	"time"

	"tuplenet/datapath/ofconn"
	"tuplenet/flows/of"
)

// retryAfter is the pause after something went wrong that is neither a refusal nor the end of the session.
const retryAfter = time.Second

// Serve makes the switch at the other end of s what it should be, and keeps it so until the session ends, which is the end of
// ctx or an error that says so. It is meant to be called by ofconn's OnUp. If the Serve of another session still runs, it waits
// for its end.
func (a *Applier) Serve(ctx context.Context, s *ofconn.Session) error {
	for {
		err := a.serve(ctx, connection{s: s, seed: a.seed})
		if ctx.Err() != nil || errors.Is(err, ofconn.ErrClosed) {
			return err
		}
		a.cfg.Logger.Error("cannot apply, trying again", "component", "apply", "error", err)
		t := time.NewTimer(retryAfter)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
}

// connection makes a session of datapath/ofconn one of ours.
type connection struct {
	s    *ofconn.Session
	seed maphash.Seed
}

// refused turns the switch's refusals into ours.
func refused(err error) error {
	var bundle *ofconn.BundleError
	var single *ofconn.Error
	switch {
	case errors.As(err, &bundle):
		no := &refusal{each: make(map[int]error, len(bundle.Failed)), err: bundle.Commit}
		for i, e := range bundle.Failed {
			no.each[i] = e
		}
		if no.err == nil {
			no.err = bundle
		}
		return no
	case errors.As(err, &single):
		return &refusal{err: single}
	}
	return err
}

func (o connection) Bundle(ctx context.Context, ms []message) error {
	mods := make([]ofconn.Mod, 0, len(ms))
	from := make([]int, 0, len(ms)) // which message a mod comes from
	for i := range ms {
		mods = appendMods(mods, &ms[i])
		for len(from) < len(mods) {
			from = append(from, i)
		}
	}
	err := refused(o.s.Bundle(ctx, mods))
	if no, ok := err.(*refusal); ok {
		each := make(map[int]error, len(no.each))
		for i, e := range no.each {
			each[from[i]] = e
		}
		no.each = each
	}
	return err
}

// appendMods adds what m says in the words of the protocol.
func appendMods(mods []ofconn.Mod, m *message) []ofconn.Mod {
	switch m.op {
	case addGroup:
		return append(mods, ofconn.AddGroup{PackedGroup: *m.group})
	case modifyGroup:
		return append(mods, ofconn.ModifyGroup{PackedGroup: *m.group})
	case deleteGroup:
		return append(mods, ofconn.DeleteGroup{ID: m.id})
	case deleteFlow:
		return append(mods, ofconn.DeleteCookie{Table: m.table, Cookie: m.cookie})
	case removeFlow:
		return append(mods, ofconn.DeleteStrict{Table: m.stray.Table, Priority: m.stray.Priority, MatchBytes: string(m.stray.Match)})
	case replaceFlow:
		mods = append(mods, ofconn.DeleteCookie{Table: m.table, Cookie: m.cookie})
	}
	return append(mods, ofconn.AddFlow{Packed: m.flow, Cookie: m.cookie})
}

func (o connection) Barrier(ctx context.Context) error { return refused(o.s.Barrier(ctx)) }

func (o connection) DumpFlows(ctx context.Context, sel selection, fn func(foundFlow)) error {
	var h maphash.Hash
	h.SetSeed(o.seed)
	var fixed [10]byte
	return o.s.DumpSelected(ctx, sel, func(d ofconn.FlowDesc) {
		binary.BigEndian.PutUint64(fixed[:], d.Settings)
		binary.BigEndian.PutUint16(fixed[8:], d.Priority)
		h.Reset()
		_, _ = h.Write(fixed[:])
		_, _ = h.Write(d.Match)
		_, _ = h.Write(d.Instructions)
		fn(foundFlow{Table: d.Table, Priority: d.Priority, Cookie: d.Cookie, Shown: max(1, h.Sum64()),
			Settings: d.Settings, Packets: d.Packets, Match: d.Match, Instructions: d.Instructions})
	})
}

func (o connection) TableCounts(ctx context.Context) (map[uint8]int, error) {
	return o.s.TableCounts(ctx)
}

func (o connection) DumpGroups(ctx context.Context) ([]foundGroup, error) {
	found, err := o.s.DumpGroups(ctx)
	out := make([]foundGroup, len(found))
	for i, g := range found {
		out[i] = foundGroup{ID: g.ID, Type: g.Type, Body: string(g.Buckets) + string(g.Properties)}
	}
	return out, err
}

func (o connection) DumpMeters(ctx context.Context) ([]of.Meter, error) { return o.s.DumpMeters(ctx) }
func (o connection) TLVMap(ctx context.Context) ([]TLV, error)          { return o.s.TLVMap(ctx) }

func (o connection) SetMeter(ctx context.Context, m of.Meter) error {
	return refused(o.s.SetMeter(ctx, m))
}

func (o connection) DeleteMeter(ctx context.Context, id uint32) error {
	return refused(o.s.DeleteMeter(ctx, id))
}

func (o connection) AddTLV(ctx context.Context, tlvs []TLV) error {
	return refused(o.s.AddTLV(ctx, tlvs))
}

func (o connection) DeleteTLV(ctx context.Context, tlvs []TLV) error {
	return refused(o.s.DeleteTLV(ctx, tlvs))
}
