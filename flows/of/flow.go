package of

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// Flow is an entry of a flow table. Of those that match a packet the one with the highest priority acts.
type Flow struct {
	Table    uint8
	Priority uint16
	Match    Match
	Actions  []Action
}

// Packed is a checked flow in its canonical wire form: equal flows have equal bytes. It is small, comparable and
// immutable.
type Packed struct {
	Table    uint8
	Priority uint16
	matchLen uint16 // bytes of OXM terms at offset 4 of body
	hash     uint64
	body     string // ofp_match with padding, then the instructions
}

// Pack checks a flow and encodes it. The error names what is wrong with which action or term.
func (f Flow) Pack() (Packed, error) {
	if err := f.check(); err != nil {
		return Packed{}, fmt.Errorf("flow %s: %w", f.String(), err)
	}
	var room [768]byte
	b := append(room[:0], f.Table, byte(f.Priority>>8), byte(f.Priority))
	const head = 3
	b = append(b, 0, 1, 0, 0)
	b = appendMatch(b, f.Match)
	putLen(b, head)
	matchLen := len(b) - head - 4
	b = appendInstructions(pad8(b, head), f.Actions)
	if err := checkSize(len(b)); err != nil {
		return Packed{}, fmt.Errorf("flow %s: %w", f.String(), err)
	}
	return Packed{Table: f.Table, Priority: f.Priority, matchLen: uint16(matchLen), hash: hash56(b), body: string(b[head:])}, nil
}

// hash56 is the first seven bytes of SHA-256: enough that two flows of one switch never meet by chance, and a tenant
// cannot make them meet.
func hash56(b []byte) uint64 {
	sum := sha256.Sum256(b)
	return binary.BigEndian.Uint64(sum[:]) >> 8
}

// appendInstructions writes apply-actions, if there are any, and goto-table, if it is the last action.
func appendInstructions(b []byte, as []Action) []byte {
	last, isGoto := Goto{}, false
	if n := len(as); n > 0 {
		if last, isGoto = as[n-1].(Goto); isGoto {
			as = as[:n-1]
		}
	}
	if len(as) > 0 {
		start := len(b)
		b = appendActions(append(b, 0, insApplyActions, 0, 0, 0, 0, 0, 0), as)
		putLen(b, start)
	}
	if isGoto {
		b = append(b, 0, insGotoTable, 0, 8, last.Table, 0, 0, 0)
	}
	return b
}

// AppendActions checks actions and appends their wire form, for packet-outs and buckets. Prerequisites are not
// checked: there is no match. A Goto is refused.
func AppendActions(b []byte, as []Action) ([]byte, error) {
	c := checker{loose: true}
	if err := c.actions(as, false); err != nil {
		return b, err
	}
	n := len(b)
	b = appendActions(b, as)
	return b, checkSize(len(b) - n)
}

// Hash is 56 bits of SHA-256 over table, priority, match and actions.
func (p Packed) Hash() uint64 { return p.hash }

// KeyHash is 64 bits of SHA-256 over table, priority and match: what makes a flow unique in a switch. It is computed
// at each call.
func (p Packed) KeyHash() uint64 {
	var room [512]byte
	b := append(room[:0], p.Table, byte(p.Priority>>8), byte(p.Priority))
	sum := sha256.Sum256(append(b, p.MatchBytes()...))
	return binary.BigEndian.Uint64(sum[:])
}

// MatchBytes are the OXM terms of the match, without header and padding.
func (p Packed) MatchBytes() string {
	if p.body == "" {
		return ""
	}
	return p.body[4 : 4+int(p.matchLen)]
}

// Body is the end of a flow-mod message: the ofp_match structure with its padding, then the instructions.
func (p Packed) Body() string { return p.body }

// IsZero tells the zero Packed from a packed flow.
func (p Packed) IsZero() bool { return p.body == "" }
