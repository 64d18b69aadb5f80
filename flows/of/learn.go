package of

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Learn adds a flow to a table, made from the packet at hand, or changes the flow of the same match and priority that is there
// (ovs-actions(7), "The learn action"). The flows that were learnt go with the last flow that learns into that table under
// that cookie.
type Learn struct {
	Table    uint8
	Priority uint16
	Cookie   uint64
	// HardTimeout is how many seconds a flow stays that is not learnt again; 0 = for ever.
	HardTimeout uint16
	// Limit is how many flows with this cookie the table may have; more are not learnt. At least 1.
	Limit uint32
	// Match is what the new flow matches, Load what it writes.
	Match, Load []LearnTerm
}

// LearnTerm makes bits of the new flow's match or actions those that the packet at hand has elsewhere, or Value where Src has none.
type LearnTerm struct {
	Dst, Src Subfield
	Value    Value
}

func (Learn) isAction() {}

// Numbers of struct nx_action_learn2 and its specifications (OVS, ofp-actions.c).
const (
	nxLearn2 = 45

	learnDelete = 2 // flag delete_learned

	specImmediate = 1 << 13
	specLoad      = 1 << 11
	specBits      = 0x7ff
)

func appendLearn(b []byte, a *Learn) []byte {
	start := len(b)
	b = u16(nx(b, 0, nxLearn2), 0) // idle_timeout
	b = u16(u16(b, a.HardTimeout), a.Priority)
	b = u32(u32(b, uint32(a.Cookie>>32)), uint32(a.Cookie))
	b = append(u16(b, learnDelete), a.Table, 0, 0, 0, 0, 0)
	b = append(u32(b, a.Limit), 0, 0, 0, 0)
	for i := range a.Match {
		b = appendLearnTerm(b, &a.Match[i], 0)
	}
	for i := range a.Load {
		b = appendLearnTerm(b, &a.Load[i], specLoad)
	}
	b = pad8(b, start)
	putLen(b, start)
	return b
}

func appendLearnTerm(b []byte, t *LearnTerm, kind uint16) []byte {
	kind |= uint16(t.Dst.Bits)
	if t.Src.Bits == 0 {
		b = u16(b, kind|specImmediate)
		n := immediateBytes(int(t.Dst.Bits))
		room := t.Value.append(nil, 16)
		b = append(b, room[16-n:]...)
	} else {
		b = u16(b, kind)
		b = u16(appendOXMHeader(b, t.Src.Field, false), uint16(t.Src.Ofs))
	}
	return u16(appendOXMHeader(b, t.Dst.Field, false), uint16(t.Dst.Ofs))
}

// immediateBytes is the room of a number of bits, in whole units of 16.
func immediateBytes(bits int) int { return 2 * ((bits + 15) / 16) }

func decodeLearn(r *reader) (Action, error) {
	idle := r.u16()
	a := Learn{HardTimeout: r.u16(), Priority: r.u16()}
	a.Cookie = uint64(r.u32())<<32 | uint64(r.u32())
	flags := r.u16()
	a.Table = r.u8()
	r.skip(1)
	fin := r.u32()
	a.Limit = r.u32()
	result := r.u32()
	if idle != 0 || flags != learnDelete || fin != 0 || result != 0 {
		return nil, errors.New("learn has properties that are not declared")
	}
	for r.err == nil && len(r.b) >= 2 {
		head := r.u16()
		if head == 0 {
			break
		}
		if head&^(specBits|specLoad|specImmediate) != 0 {
			return nil, fmt.Errorf("learn has an unknown specification %#x", head)
		}
		t, bits := LearnTerm{}, head&specBits
		if head&specImmediate != 0 {
			if bits > 128 {
				return nil, fmt.Errorf("learn of %d bits", bits)
			}
			t.Value = readValue(r.take(immediateBytes(int(bits))))
		} else {
			t.Src = r.learnField(bits)
		}
		t.Dst = r.learnField(bits)
		if head&specLoad != 0 {
			a.Load = append(a.Load, t)
		} else {
			a.Match = append(a.Match, t)
		}
	}
	return a, r.err
}

// learnField reads a header and the first of its bits that are meant.
func (r *reader) learnField(bits uint16) Subfield {
	s := r.field()
	ofs := r.u16()
	if ofs > 127 || bits > 128 {
		bits = 0 // check refuses it
	}
	s.Ofs, s.Bits = uint8(ofs), uint8(bits)
	r.check(s)
	return s
}

func appendLearnText(b []byte, a Learn) []byte {
	b = appendNumber(append(b, "learn(table="...), uint64(a.Table))
	if a.HardTimeout != 0 {
		b = appendNumber(append(b, ",hard_timeout="...), uint64(a.HardTimeout))
	}
	b = appendNumber(append(b, ",priority="...), uint64(a.Priority))
	b = append(b, ",delete_learned,cookie="...)
	b = appendHex(b, U(a.Cookie))
	b = appendNumber(append(b, ",limit="...), uint64(a.Limit))
	for _, t := range a.Match {
		b = append(b, ',')
		if t.Src.Bits == 0 {
			b = appendValueText(append(append(b, t.Dst.Field.String()...), '='), t.Dst.Field.Info().Format, t.Value)
			continue
		}
		b = appendSubfieldText(append(appendSubfieldText(b, t.Dst), '='), t.Src)
	}
	for _, t := range a.Load {
		b = append(b, ",load:"...)
		if t.Src.Bits == 0 {
			b = appendHex(b, t.Value)
		} else {
			b = appendSubfieldText(b, t.Src)
		}
		b = appendSubfieldText(append(b, "->"...), t.Dst)
	}
	return append(b, ')')
}

func parseLearn(arg string) (Action, error) {
	a := Learn{Priority: 0x8000, Table: 1}
	for _, w := range splitTop(arg) {
		var err error
		if load, ok := strings.CutPrefix(w, "load:"); ok {
			err = a.parseTerm(&a.Load, load, "->")
		} else if name, value, ok := strings.Cut(w, "="); ok {
			err = a.parseArgument(name, value, w)
		} else if w != "delete_learned" {
			err = fmt.Errorf("unknown argument %q", w)
		}
		if err != nil {
			return nil, err
		}
	}
	return a, nil
}

func (a *Learn) parseArgument(name, value, w string) error {
	bits, known := map[string]int{"table": 8, "hard_timeout": 16, "priority": 16, "cookie": 64, "limit": 32}[name]
	if !known {
		return a.parseTerm(&a.Match, w, "=")
	}
	n, err := strconv.ParseUint(value, 0, bits)
	switch name {
	case "table":
		a.Table = uint8(n)
	case "hard_timeout":
		a.HardTimeout = uint16(n)
	case "priority":
		a.Priority = uint16(n)
	case "cookie":
		a.Cookie = n
	case "limit":
		a.Limit = uint32(n)
	}
	return err
}

// parseTerm reads dst=src of a match, or src->dst of what is written.
func (a *Learn) parseTerm(into *[]LearnTerm, text, sep string) error {
	src, dst, _ := strings.Cut(text, sep)
	if sep == "=" {
		src, dst = dst, src
	}
	to, err := parseSubfield(dst)
	if err != nil {
		return err
	}
	t := LearnTerm{Dst: to}
	switch {
	case strings.Contains(src, "["):
		t.Src, err = parseSubfield(src)
	case sep == "=":
		t.Value, _, err = parseMasked(t.Dst.Field, src)
	default:
		var digits []byte
		digits, err = hex.DecodeString(fmt.Sprintf("%032s", strings.TrimPrefix(src, "0x")))
		t.Value = readValue(digits)
	}
	*into = append(*into, t)
	return err
}

func (c *checker) learnt(a Learn) error {
	switch {
	case a.Limit == 0:
		return errors.New("learn needs a limit")
	case len(a.Match) == 0:
		return errors.New("learn needs something to match")
	case a.Table > MaxTable:
		return fmt.Errorf("learn: table %d does not exist", a.Table)
	}
	for i, t := range slices.Concat(a.Match, a.Load) {
		switch {
		case !t.Dst.valid():
			return fmt.Errorf("learn: bits %d+%d are not inside of %s", t.Dst.Ofs, t.Dst.Bits, t.Dst.Field)
		case fields[t.Dst.Field].Prereq != NoPrereq:
			return fmt.Errorf("learn: %s needs %s in the new flow", t.Dst.Field, fields[t.Dst.Field].Prereq)
		case t.Src.Bits == 0 && !t.Value.And(Ones(int(t.Dst.Bits)).Not()).IsZero():
			return fmt.Errorf("learn: %s has more than %d bits", appendHex(nil, t.Value), t.Dst.Bits)
		case t.Src.Bits == 0 && i < len(a.Match) && t.Dst != Whole(t.Dst.Field):
			return fmt.Errorf("learn: a number is matched with all of %s only", t.Dst.Field)
		case t.Src.Bits != 0 && t.Src.Bits != t.Dst.Bits:
			return fmt.Errorf("learn: %d bits into %d", t.Src.Bits, t.Dst.Bits)
		}
		if t.Src.Bits != 0 {
			if err := c.source(t.Src); err != nil {
				return fmt.Errorf("learn: %w", err)
			}
		}
		if i >= len(a.Match) {
			if err := c.writable(t.Dst.Field); err != nil {
				return fmt.Errorf("learn: %w", err)
			}
		}
	}
	return nil
}
