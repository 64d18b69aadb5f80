package of

import (
	"fmt"
	"slices"
)

// GroupType tells which of a group's buckets act (OpenFlow 1.5.1 section 5.10.1).
type GroupType uint8

// The types of groups.
const (
	GroupAll          GroupType = 0 // every bucket, each on a copy of the packet
	GroupSelect       GroupType = 1 // one bucket, chosen by a hash
	GroupIndirect     GroupType = 2 // the only bucket
	GroupFastFailover GroupType = 3 // the first bucket that is alive
)

// Ways in which a select group chooses.
const (
	MethodHash   = "hash"    // over the fields named
	MethodDPHash = "dp_hash" // by a hash that the datapath makes of the 5-tuple
)

// MaxGroupBytes is the size of packed buckets that fits into one message both ways.
const MaxGroupBytes = limit

// Bucket is one list of actions of a group.
type Bucket struct {
	// ID is unique in the group. The choice of a select group hashes it, so a next hop that keeps its ID keeps its
	// packets whatever happens to the others. All zero: the buckets are numbered by position.
	ID uint32
	// Weight is the share of a bucket in a select group, 0 counts as 1; in other groups it must be 0.
	Weight uint16
	// WatchPort makes the bucket live only while that port is up (carrier and BFD); WatchGroup while a bucket of that group is live. With both, one
	// of the two is enough; both 0 = always live.
	WatchPort, WatchGroup uint32
	Actions               []Action
}

// HashSelection is how a select group chooses: Method and, for "hash", the fields.
type HashSelection struct {
	Method string
	Fields []Field
}

// Group is an entry of the group table. It refers, by actions and WatchGroup, to groups with smaller ids only: so there are no circles, and
// groups that are set in the order of their ids, and deleted in the reverse order, never refer to one that is not there.
type Group struct {
	ID      uint32
	Type    GroupType
	Buckets []Bucket
	Hash    *HashSelection // select groups only; nil lets the switch choose
}

// PackedGroup is a checked group in its canonical wire form.
type PackedGroup struct {
	ID         uint32
	Type       GroupType
	bucketsLen uint16
	hash       uint64
	body       string // buckets, then group properties
}

const (
	bucketWeight     = 0
	bucketWatchPort  = 1
	bucketWatchGroup = 2
	propExperimenter = 0xffff
	ntrVendor        = 0x0000154d // Netronome, selection method of groups
	ntrSelection     = 1
	ntrMethodLen     = 16
)

// Pack checks a group and encodes it.
func (g Group) Pack() (PackedGroup, error) {
	if err := g.check(); err != nil {
		return PackedGroup{}, fmt.Errorf("group %d: %w", g.ID, err)
	}
	b := make([]byte, 0, 64+96*len(g.Buckets))
	b = append(u32(b, g.ID), byte(g.Type))
	head := len(b)
	numbered := g.numbered()
	for i := range g.Buckets {
		id := g.Buckets[i].ID
		if !numbered {
			id = uint32(i)
		}
		b = appendBucket(b, g.Type, id, &g.Buckets[i])
		if err := checkSize(len(b)); err != nil {
			return PackedGroup{}, fmt.Errorf("group %d: %w", g.ID, err)
		}
	}
	n := len(b) - head
	if g.Hash != nil {
		b = appendSelection(b, g.Hash)
	}
	return PackedGroup{ID: g.ID, Type: g.Type, bucketsLen: uint16(n), hash: hash56(b), body: string(b[head:])}, nil
}

// numbered tells whether the buckets have IDs of their own.
func (g Group) numbered() bool {
	return slices.ContainsFunc(g.Buckets, func(b Bucket) bool { return b.ID != 0 })
}

func (g Group) check() error {
	if g.ID > maxGroupID {
		return fmt.Errorf("id is above %#x", uint32(maxGroupID))
	}
	if g.Type > GroupFastFailover {
		return fmt.Errorf("unknown type %d", g.Type)
	}
	if g.Type == GroupIndirect && len(g.Buckets) != 1 {
		return fmt.Errorf("an indirect group has one bucket, not %d", len(g.Buckets))
	}
	ids := make(map[uint32]bool, len(g.Buckets))
	numbered := g.numbered()
	for i, b := range g.Buckets {
		switch {
		case numbered && ids[b.ID]:
			return fmt.Errorf("two buckets have the id %d", b.ID)
		case b.ID > maxGroupID:
			return fmt.Errorf("bucket id %d is above %#x", b.ID, uint32(maxGroupID))
		case b.Weight != 0 && g.Type != GroupSelect:
			return fmt.Errorf("bucket %d has a weight, but the group is of type %s", i, g.Type)
		case b.watches() && g.Type != GroupSelect && g.Type != GroupFastFailover:
			return fmt.Errorf("bucket %d watches a port or group, but the group is of type %s", i, g.Type)
		case !b.watches() && g.Type == GroupFastFailover:
			return fmt.Errorf("bucket %d of a fast failover group watches no port or group", i)
		}
		for _, id := range b.groups() {
			if id >= g.ID {
				return fmt.Errorf("bucket %d refers to group %d, whose id is not smaller", i, id)
			}
		}
		ids[b.ID] = true
		c := checker{loose: true}
		if err := c.actions(b.Actions, false); err != nil {
			return fmt.Errorf("bucket %d: %w", i, err)
		}
	}
	return g.checkSelection()
}

func (b *Bucket) watches() bool { return b.WatchPort != 0 || b.WatchGroup != 0 }

// groups are those that a bucket refers to.
func (b *Bucket) groups() (ids []uint32) {
	if b.WatchGroup != 0 {
		ids = append(ids, b.WatchGroup)
	}
	for _, a := range b.Actions {
		if to, ok := a.(GroupAction); ok {
			ids = append(ids, to.ID)
		}
	}
	return ids
}

func (g Group) checkSelection() error {
	switch h := g.Hash; {
	case h == nil:
		return nil
	case g.Type != GroupSelect:
		return fmt.Errorf("selection method %q in a group of type %s", h.Method, g.Type)
	case h.Method != MethodHash && h.Method != MethodDPHash:
		return fmt.Errorf("unknown selection method %q", h.Method)
	case h.Method == MethodDPHash && len(h.Fields) > 0:
		return fmt.Errorf("selection method %q takes no fields", h.Method)
	}
	for _, f := range g.Hash.Fields {
		if f >= numFields {
			return fmt.Errorf("unknown hash field %d", f)
		}
	}
	return nil
}

// appendBucket writes an ofp_bucket (OpenFlow 1.5.1 section 7.3.4.4.1).
func appendBucket(b []byte, t GroupType, id uint32, k *Bucket) []byte {
	start := len(b)
	b = u32(append(b, 0, 0, 0, 0), id)
	b = appendActions(b, k.Actions)
	b[start+2], b[start+3] = byte((len(b)-start-8)>>8), byte(len(b)-start-8)
	if t == GroupSelect {
		b = append(u16(append(b, 0, bucketWeight, 0, 8), max(k.Weight, 1)), 0, 0)
	}
	if k.WatchPort != 0 {
		b = u32(append(b, 0, bucketWatchPort, 0, 8), k.WatchPort)
	}
	if k.WatchGroup != 0 {
		b = u32(append(b, 0, bucketWatchGroup, 0, 8), k.WatchGroup)
	}
	b[start], b[start+1] = byte((len(b)-start)>>8), byte(len(b)-start)
	return b
}

// appendSelection writes the selection method property.
func appendSelection(b []byte, h *HashSelection) []byte {
	start := len(b)
	b = u32(u32(u32(append(b, 0xff, 0xff, 0, 0), ntrVendor), ntrSelection), 0)
	var name [ntrMethodLen]byte
	copy(name[:], h.Method)
	b = append(append(b, name[:]...), 0, 0, 0, 0, 0, 0, 0, 0)
	for _, f := range h.sorted() {
		i := &fields[f]
		b = f.Mask().append(appendOXMHeader(b, f, false), int(i.Bytes))
	}
	putLen(b, start)
	return pad8(b, start)
}

// sorted are the fields in their canonical order, each once.
func (h *HashSelection) sorted() []Field {
	fs := slices.Clone(h.Fields)
	slices.Sort(fs)
	return slices.Compact(fs)
}

// Hash is 56 bits of SHA-256 over id, type, buckets and selection method.
func (p PackedGroup) Hash() uint64 { return p.hash }

// Buckets are the bytes of the bucket array.
func (p PackedGroup) Buckets() string { return p.body[:p.bucketsLen] }

// Properties are the bytes of the group's properties.
func (p PackedGroup) Properties() string { return p.body[p.bucketsLen:] }

// String is the type's name in text.
func (t GroupType) String() string {
	switch t {
	case GroupAll:
		return "all"
	case GroupSelect:
		return "select"
	case GroupIndirect:
		return "indirect"
	case GroupFastFailover:
		return "fast_failover"
	}
	return "unknown"
}

// Meter drops packets above a rate. One band, kind drop.
type Meter struct {
	ID uint32
	// RatePPS is in packets a second.
	RatePPS uint32
	// Burst is in packets. 0 leaves it to the switch, which takes as many as RatePPS and says so in dumps.
	Burst uint32
}
