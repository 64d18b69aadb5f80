package apply

import (
	"bytes"
	"context"
	"fmt"

	"tuplenet/datapath/ofconn"
	"tuplenet/flows/of"
)

// TLV maps a tunnel option to a tun_metadata field.
type TLV = ofconn.TLV

// session is what Serve needs of a connection to a switch. An error that is no refusal means that the connection, or the
// understanding with the switch, is lost; so does the end of the context.
type session interface {
	// Bundle does all of the messages in this order, and passes a barrier, or, when it returns a *refusal, does none.
	Bundle(ctx context.Context, ms []message) error
	Barrier(ctx context.Context) error
	// DumpFlows calls fn for every flow of the switch that is selected, of whatever namespace.
	DumpFlows(ctx context.Context, sel selection, fn func(foundFlow)) error
	// TableCounts says how many flows each table has, of whatever namespace; tables without any are left out.
	TableCounts(ctx context.Context) (map[uint8]int, error)
	DumpGroups(ctx context.Context) ([]foundGroup, error)

	DumpMeters(ctx context.Context) ([]of.Meter, error)
	SetMeter(ctx context.Context, m of.Meter) error
	DeleteMeter(ctx context.Context, id uint32) error
	TLVMap(ctx context.Context) ([]TLV, error)
	AddTLV(ctx context.Context, tlvs []TLV) error
	DeleteTLV(ctx context.Context, tlvs []TLV) error
}

// refusal is the switch's no.
type refusal struct {
	// each has the messages of a bundle that were refused, by position, as far as the switch named them.
	each map[int]error
	err  error
}

func (r *refusal) Error() string {
	for _, err := range r.each {
		return fmt.Sprintf("%d messages refused, one of them: %v", len(r.each), err)
	}
	return r.err.Error()
}

// of returns the error for the message at position i.
func (r *refusal) of(i int) error {
	if err := r.each[i]; err != nil {
		return err
	}
	return r.err
}

// foundFlow is a flow read back.
type foundFlow struct {
	Table    uint8
	Priority uint16
	Cookie   uint64
	// Shown stands for everything of the flow, as the switch writes it, but its cookie and its counters; not 0.
	Shown uint64
	// Settings are the timeouts, flags and importance: 0 for what we send.
	Settings uint64
	Packets  uint64 // that met it
	// Match and Instructions as the switch writes them; valid while the flow is handed over.
	Match, Instructions []byte
}

// selection is a part of the switch's flows.
type selection = ofconn.Selection

// keep makes a flow that stays valid.
func (f foundFlow) keep() foundFlow {
	f.Match, f.Instructions = bytes.Clone(f.Match), bytes.Clone(f.Instructions)
	return f
}

// foundGroup is a group read back: its buckets and properties as the switch encodes them.
type foundGroup struct {
	ID   uint32
	Type of.GroupType
	Body string
}

// operation of a message.
type operation uint8

const (
	addGroup operation = iota
	modifyGroup
	addFlow     // also takes the place of another with its table, priority and match
	replaceFlow // delete by cookie, then add
	deleteFlow  // by cookie
	removeFlow  // the one with a table, priority and match that somebody else put there
	deleteGroup
)

// allTables in place of a table's number.
const allTables = 0xff

// message is one step of a plan.
type message struct {
	op     operation
	table  uint8           // deleteFlow, replaceFlow: allTables or where the cookie was seen
	again  bool            // addFlow: it is there already, but altered
	id     uint32          // of groups
	cookie uint64          // of flows
	flow   of.Packed       // addFlow, replaceFlow
	group  *of.PackedGroup // addGroup, modifyGroup
	stray  *foundFlow      // removeFlow

	key        uint64 // KeyHash of flow
	overwrites uint64 // hash of the flow, not wanted any more, whose place an added one takes; 0 = none
}

func (m *message) hash() uint64 { return m.cookie & hashMask }
