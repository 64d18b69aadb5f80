package ofconn

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"

	"antrea.io/libOpenflow/openflow15"
	"antrea.io/libOpenflow/util"
)

// Connections selects connections of a conntrack zone by the addresses that packets of both directions come in with: as the
// first packet came, and as answers come. An invalid address stands for any. All valid ones are of one family.
type Connections struct {
	Zone               uint16
	OrigSrc, OrigDst   netip.Addr
	ReplySrc, ReplyDst netip.Addr
}

// flushPasses is how often the switch is asked for the same: Open vSwitch (3.1, lib/ct-dpif.c) deletes while it walks through a
// table that shrinks meanwhile, and misses up to half of the entries that are left each time.
const flushPasses = 16

// FlushConnections forgets some connections (NXT_CT_FLUSH, Open vSwitch 3.1 and later). An *Error says that the switch does
// not know how.
func (s *Session) FlushConnections(ctx context.Context, c Connections) error {
	b, err := encode(flushConnections(c))
	if err != nil {
		return err
	}
	return s.commandAgain(ctx, b, flushPasses)
}

// ctFlush is the subtype of NXT_CT_FLUSH, which the library does not know (include/openflow/nicira-ext.h).
const ctFlush = 32

// Properties of NXT_CT_FLUSH and of the tuples in it.
const (
	flushOrig  = 0
	flushReply = 1
	flushZoneP = 2
	tupleSrc   = 0
	tupleDst   = 1
)

func flushConnections(c Connections) util.Message {
	m := openflow15.NewNXTVendorHeader(ctFlush)
	m.VendorData = flushBody(c)
	return m
}

// flushBody is the body of NXT_CT_FLUSH: the protocol (0 = any), padding, and properties padded to eight bytes each.
type flushBody Connections

func (f flushBody) bytes() []byte {
	b := make([]byte, 8)
	b = appendTuple(b, flushOrig, f.OrigSrc, f.OrigDst)
	b = appendTuple(b, flushReply, f.ReplySrc, f.ReplyDst)
	return append(u16(u16(u16(b, flushZoneP), 8), f.Zone), 0, 0)
}

// appendTuple adds the addresses of one direction, unless both are any.
func appendTuple(b []byte, property uint16, src, dst netip.Addr) []byte {
	if !src.IsValid() && !dst.IsValid() {
		return b
	}
	at := len(b)
	b = zeros(u16(b, property), 6)
	for kind, ip := range []netip.Addr{tupleSrc: src, tupleDst: dst} {
		if ip.IsValid() {
			a := ip.As16() // IPv4 as mapped addresses
			b = zeros(append(u16(u16(b, uint16(kind)), 20), a[:]...), 4)
		}
	}
	binary.BigEndian.PutUint16(b[at+2:], uint16(len(b)-at))
	return b
}

func (f flushBody) Len() uint16                    { return uint16(len(f.bytes())) }
func (f flushBody) MarshalBinary() ([]byte, error) { return f.bytes(), nil }
func (f flushBody) UnmarshalBinary([]byte) error   { return fmt.Errorf("never received") }
