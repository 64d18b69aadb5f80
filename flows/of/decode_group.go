package of

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// DecodeGroup reads the buckets and properties of a group as the switch describes it (OpenFlow 1.5.1 section 7.3.5.14),
// or as PackedGroup has them. It accepts any bytes.
func DecodeGroup(id uint32, t GroupType, buckets, properties []byte) (Group, error) {
	g := Group{ID: id, Type: t}
	for b := buckets; len(b) > 0; {
		if len(b) < 8 {
			return Group{}, fmt.Errorf("group %d: bucket: %w", id, errShort)
		}
		n := int(binary.BigEndian.Uint16(b))
		if n < 8 || n > len(b) {
			return Group{}, fmt.Errorf("group %d: bucket: %w", id, errShort)
		}
		k, err := decodeBucket(t, b[:n])
		if err != nil {
			return Group{}, fmt.Errorf("group %d: bucket: %w", id, err)
		}
		g.Buckets = append(g.Buckets, k)
		b = b[n:]
	}
	if err := g.decodeProperties(properties); err != nil {
		return Group{}, fmt.Errorf("group %d: %w", id, err)
	}
	return g, nil
}

func decodeBucket(t GroupType, b []byte) (Bucket, error) {
	k := Bucket{ID: binary.BigEndian.Uint32(b[4:])}
	n := int(binary.BigEndian.Uint16(b[2:]))
	if 8+n > len(b) {
		return Bucket{}, errShort
	}
	var err error
	if k.Actions, err = DecodeActions(b[8 : 8+n]); err != nil {
		return Bucket{}, err
	}
	for b = b[8+n:]; len(b) > 0; {
		typ, body, rest, err := readTLV(b)
		if err != nil {
			return Bucket{}, err
		}
		r := reader{b: body}
		switch typ {
		case bucketWeight:
			if w := r.u16(); t == GroupSelect {
				k.Weight = w
			}
		case bucketWatchPort:
			if p := r.u32(); p != PortAny {
				k.WatchPort = p
			}
		case bucketWatchGroup:
			if g := r.u32(); g <= maxGroupID {
				k.WatchGroup = g
			}
		}
		if r.err != nil {
			return Bucket{}, r.err
		}
		b = rest
	}
	return k, nil
}

// decodeProperties finds the selection method; other properties do not concern us.
func (g *Group) decodeProperties(b []byte) error {
	for len(b) >= 4 {
		typ, body, rest, err := readTLV(b)
		if err != nil {
			return fmt.Errorf("property: %w", err)
		}
		if typ == propExperimenter && len(body) >= 36 &&
			binary.BigEndian.Uint32(body) == ntrVendor && binary.BigEndian.Uint32(body[4:]) == ntrSelection {
			name, _, _ := strings.Cut(string(body[12:12+ntrMethodLen]), "\x00")
			m, err := DecodeMatch(body[36:])
			if err != nil {
				return fmt.Errorf("selection method: %w", err)
			}
			if name != "" {
				g.Hash = &HashSelection{Method: name}
				for _, t := range m {
					g.Hash.Fields = append(g.Hash.Fields, t.Field)
				}
			}
		}
		pad := (8 - (len(body)+4)%8) % 8
		b = rest[min(pad, len(rest)):]
	}
	return nil
}

// Unpack decodes everything that Pack makes; buckets have their numbers.
func (p PackedGroup) Unpack() (Group, error) {
	return DecodeGroup(p.ID, p.Type, []byte(p.Buckets()), []byte(p.Properties()))
}

// String is the group's text.
func (p PackedGroup) String() string {
	g, err := p.Unpack()
	if err != nil {
		return "invalid group: " + err.Error()
	}
	return g.String()
}
