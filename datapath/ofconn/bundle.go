package ofconn

import (
	"context"
	"encoding/binary"
	"fmt"

	"tuplenet/flows/of"
)

// Mod is one change of a bundle: AddFlow, DeleteCookie, DeleteStrict, AddGroup, ModifyGroup or DeleteGroup.
type Mod interface{ append(b []byte) []byte }

// AddFlow adds a flow, or takes the place of the one with its table, priority and match.
type AddFlow struct {
	of.Packed
	Cookie uint64
	// Seconds after which the switch removes the flow by itself; 0 = never.
	Seconds uint16
}

// DeleteCookie deletes the flows with exactly this cookie. Table 0xff means all tables.
type DeleteCookie struct {
	Table  uint8
	Cookie uint64
}

// DeleteStrict deletes the one flow with this table, priority and match (OXM terms without header).
type DeleteStrict struct {
	Table      uint8
	Priority   uint16
	MatchBytes string
}

// AddGroup adds a group that is not there yet.
type AddGroup struct{ of.PackedGroup }

// ModifyGroup replaces the buckets of a group that is there.
type ModifyGroup struct{ of.PackedGroup }

// DeleteGroup deletes a group, and with it the flows that use it. A group that is not there is no error.
type DeleteGroup struct{ ID uint32 }

// hardTimeoutAt is the place of hard_timeout in ofp_flow_mod.
const hardTimeoutAt = 28

// flowMod writes the fixed part of ofp_flow_mod (OpenFlow 1.5.1 section 7.3.4.3).
func flowMod(b []byte, cookie, mask uint64, table, command uint8, priority uint16) []byte {
	b = u64(u64(append(b, message(msgFlowMod)...), cookie), mask)
	b = append(b, table, command, 0, 0, 0, 0)
	b = u32(u32(u32(u16(b, priority), noBuffer), anyPort), anyGroup)
	return append(b, 0, 0, 0, 0)
}

func (m AddFlow) append(b []byte) []byte {
	start := len(b)
	b = flowMod(b, m.Cookie, 0, m.Table, flowAdd, m.Priority)
	binary.BigEndian.PutUint16(b[start+hardTimeoutAt:], m.Seconds)
	return append(b, m.Body()...)
}

func (m DeleteCookie) append(b []byte) []byte {
	return append(flowMod(b, m.Cookie, ^uint64(0), m.Table, flowDelete, 0), 0, 1, 0, 4, 0, 0, 0, 0)
}

func (m DeleteStrict) append(b []byte) []byte {
	b = flowMod(b, 0, 0, m.Table, flowDeleteStrict, m.Priority)
	n := 4 + len(m.MatchBytes)
	b = append(u16(append(b, 0, 1), uint16(n)), m.MatchBytes...)
	return zeros(b, pad8(n)-n)
}

// groupMod writes ofp_group_mod (OpenFlow 1.5.1 section 7.3.4.4).
func groupMod(b []byte, command uint16, typ uint8, id uint32, buckets, properties string) []byte {
	b = append(u16(append(b, message(msgGroupMod)...), command), typ, 0)
	b = u32(b, id)
	b = append(u16(b, uint16(len(buckets))), 0, 0)
	b = u32(b, 0xffffffff) // command_bucket_id: all
	return append(append(b, buckets...), properties...)
}

func (m AddGroup) append(b []byte) []byte {
	return groupMod(b, groupAdd, uint8(m.Type), m.ID, m.Buckets(), m.Properties())
}

func (m ModifyGroup) append(b []byte) []byte {
	return groupMod(b, groupModify, uint8(m.Type), m.ID, m.Buckets(), m.Properties())
}

func (m DeleteGroup) append(b []byte) []byte { return groupMod(b, groupDelete, 0, m.ID, "", "") }

// BundleError says why a bundle was refused. Nothing of it is in the switch.
type BundleError struct {
	// Failed are the refused messages by position. Empty if the switch did not name one.
	Failed map[int]*Error
	// Commit is the switch's answer to the commit; nil if the bundle was given up before.
	Commit error
}

// First is the first refused message that the switch named; ok is false if it named none.
func (e *BundleError) First() (index int, err *Error, ok bool) {
	for i, f := range e.Failed {
		if err == nil || i < index {
			index, err = i, f
		}
	}
	return index, err, err != nil
}

func (e *BundleError) Error() string {
	if i, err, ok := e.First(); ok {
		return fmt.Sprintf("bundle refused: %d messages failed, the first is number %d: %v", len(e.Failed), i, err)
	}
	return fmt.Sprintf("bundle refused: %v", e.Commit)
}

// Bundle does all changes, in order, or, when it returns a *BundleError, none (OpenFlow 1.5.1 section 6.9). When it returns nil, the switch has
// passed a barrier behind them. The switch would commit what is left of a bundle of which it refused a message; so errors are collected
// before the commit. That takes two trips to the switch: all up to a barrier, and the commit with another.
func (s *Session) Bundle(ctx context.Context, mods []Mod) error {
	if len(mods) == 0 {
		return nil
	}
	id := s.bundle.Add(1)
	c := s.collect(len(mods))
	defer s.release(c)
	err := s.guarded(ctx, bundleControl(id, bundleOpen), func(open, barrier []byte) error {
		return s.stream(ctx, id, c.first, mods, open, barrier)
	})
	failed := s.failures(c)
	if err != nil || len(failed) > 0 {
		s.discard(id)
	}
	switch {
	case err != nil:
		return fmt.Errorf("filling a bundle: %w", err)
	case len(failed) > 0:
		return &BundleError{Failed: failed}
	}
	err = s.guarded(ctx, bundleControl(id, bundleCommit), func(commit, barrier []byte) error {
		return s.send(append(commit, barrier...))
	})
	if e, ok := refused(err); ok {
		return &BundleError{Failed: s.failures(c), Commit: e}
	}
	return err
}

// discard gives up a bundle without waiting for the answer. What is sent later comes after it anyway.
func (s *Session) discard(id uint32) {
	b, err := encode(bundleControl(id, bundleDiscard))
	if err != nil {
		return
	}
	seal(b, discardXid)
	_ = s.send(b) // a lost connection discards it too
}

// discardXid is the transaction id of messages that discard a bundle.
const discardXid = 5

// stream sends the messages of a bundle without holding them all, between what opens it and a barrier.
func (s *Session) stream(ctx context.Context, id, first uint32, mods []Mod, open, barrier []byte) error {
	b := make([]byte, 0, 1024)
	s.sendMu.Lock()
	defer s.sendMu.Unlock()
	write := func(b []byte) error {
		_, err := s.w.Write(b)
		return err
	}
	err := write(open)
	for i, m := range mods {
		if err := ctx.Err(); err != nil {
			return err
		}
		xid := first + uint32(i)
		b = append(b[:0], message(msgBundleAdd)...)
		b = u16(append(u32(b, id), 0, 0), bundleFlags)
		n := len(b)
		b = m.append(b)
		if len(b) > 0xffff {
			return fmt.Errorf("message %d of a bundle has %d bytes", i, len(b))
		}
		seal(b[n:], xid)
		seal(b, xid)
		if err != nil {
			break
		}
		err = write(b)
	}
	if err == nil {
		err = write(barrier)
	}
	if err == nil {
		err = s.w.Flush()
	}
	if err != nil {
		s.fail(err)
		return s.closed()
	}
	return nil
}
