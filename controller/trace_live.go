package controller

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"tuplenet/datapath/ofconn"
	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
	"tuplenet/flows/tap"
	"tuplenet/model"
)

// Limits of live traces on a node. The flows of a trace are removed by the switch itself when its time is over, whatever becomes of
// the daemon meanwhile.
const (
	maxTraceTime  = time.Minute
	maxSightings  = 2000 // of one trace
	maxLiveTraces = 8
)

// liveTraces keeps what the switch reports of marked packets. It may be used from any goroutine.
type liveTraces struct {
	mu  sync.Mutex
	all map[uint16]*liveTrace
}

type liveTrace struct {
	until time.Time
	seen  []model.NodeSighting
	lost  int // sightings beyond the limit
}

// start begins a trace anew, and forgets those whose time is over.
func (t *liveTraces) start(id uint16, until, now time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for other, l := range t.all {
		if now.After(l.until) {
			delete(t.all, other)
		}
	}
	if _, again := t.all[id]; !again && len(t.all) >= maxLiveTraces {
		return fmt.Errorf("%d live traces are under way already", len(t.all))
	}
	if t.all == nil {
		t.all = map[uint16]*liveTrace{}
	}
	t.all[id] = &liveTrace{until: until}
	return nil
}

func (t *liveTraces) stop(id uint16) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.all, id)
}

// take keeps a packet if it is of a live trace. It never blocks for long.
func (t *liveTraces) take(p ofconn.PacketIn) (ours bool) {
	if len(p.Userdata) == 0 || pipeline.Punt(p.Userdata[0]) != pipeline.PuntTrace {
		return false
	}
	id := uint16(fieldOf(p, pipeline.TraceID.Sub.Field) >> pipeline.TraceID.Sub.Ofs)
	t.mu.Lock()
	defer t.mu.Unlock()
	switch l := t.all[id]; {
	case l == nil:
	case len(l.seen) >= maxSightings:
		l.lost++
	default:
		l.seen = append(l.seen, model.NodeSighting{Table: p.Table, Fields: of.NewMatch(p.Fields...).String(), Frame: hex.EncodeToString(p.Data)})
	}
	return true
}

// sightings are those of a trace; ok is false if there is none of that id.
func (t *liveTraces) sightings(id uint16) (seen []model.NodeSighting, lost int, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.all[id]
	if l == nil {
		return nil, 0, false
	}
	return slices.Clone(l.seen), l.lost, true
}

// traceID reads the id of a live trace.
func traceID(args map[string]string) (uint16, error) {
	n, err := strconv.ParseUint(args["id"], 0, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("id %q is no number from 1 to 65535", args["id"])
	}
	return uint16(n), nil
}

// armTrace makes the switch report the packets of a live trace, for some seconds.
func (a answers) armTrace(ctx context.Context, args map[string]string) (any, error) {
	if err := allowed(args, "id", "seconds"); err != nil {
		return nil, err
	}
	id, err := traceID(args)
	if err != nil {
		return nil, err
	}
	seconds, err := strconv.Atoi(cmp.Or(args["seconds"], "10"))
	if limit := int(maxTraceTime / time.Second); err != nil || seconds < 1 || seconds > limit {
		return nil, fmt.Errorf("seconds %q is no number from 1 to %d", args["seconds"], limit)
	}
	flows, err := tap.Flows(id)
	if err != nil {
		return nil, err
	}
	mods := []ofconn.Mod{ofconn.DeleteCookie{Table: allTables, Cookie: tap.Cookie(id)}}
	for _, f := range flows {
		p, err := f.Pack()
		if err != nil {
			return nil, err
		}
		mods = append(mods, ofconn.AddFlow{Packed: p, Cookie: tap.Cookie(id), Seconds: uint16(seconds)})
	}
	now := time.Now()
	if err := a.l.traces.start(id, now.Add(time.Duration(seconds)*time.Second), now); err != nil {
		return nil, err
	}
	if err := a.change(ctx, mods); err != nil {
		a.l.traces.stop(id)
		return nil, err
	}
	return len(flows), nil
}

// allTables stands for every table in a message that deletes flows.
const allTables = 0xff

// change makes changes to the switch that are not the applier's: in another cookie namespace than its flows.
func (a answers) change(ctx context.Context, mods []ofconn.Mod) error {
	s := a.l.session.Load()
	if s == nil {
		return fmt.Errorf("%w at %s", errNoSwitch, a.l.socket())
	}
	return s.Bundle(ctx, mods)
}

// injectTrace sends the packet of a live trace, as if it had come in by a port.
func (a answers) injectTrace(ctx context.Context, args map[string]string) (any, error) {
	if err := allowed(args, "id", "port", "frame"); err != nil {
		return nil, err
	}
	id, err := traceID(args)
	if err != nil {
		return nil, err
	}
	frame, err := hex.DecodeString(args["frame"])
	if err != nil || len(frame) < 14 {
		return nil, errors.New("the frame is no Ethernet frame in hexadecimal")
	}
	var port, as uint32
	err = a.l.inLoop(ctx, func() {
		port = a.l.facts.Interfaces()[args["port"]]
		if p, ok := a.l.facts.Holder(model.ClaimPort(args["port"])).(*model.LogicalSwitchPort); ok && p.Type == model.PortPatch {
			as = port
		}
	})
	if err != nil {
		return nil, err
	}
	if port == 0 {
		return nil, fmt.Errorf("switch port %q has no interface here", args["port"])
	}
	actions, err := tap.Inject(id, as)
	if err != nil {
		return nil, err
	}
	in := port
	if as != 0 { // Open vSwitch loses a packet of its controller that comes from a patch port at connection tracking
		in = of.PortLocal
	}
	s := a.l.session.Load()
	if s == nil {
		return nil, fmt.Errorf("%w at %s", errNoSwitch, a.l.socket())
	}
	return port, s.PacketOut(ctx, ofconn.PacketOut{InPort: in, Data: frame, Actions: actions})
}

// seenTrace is what was reported of a live trace so far.
func (a answers) seenTrace(_ context.Context, args map[string]string) (any, error) {
	if err := allowed(args, "id"); err != nil {
		return nil, err
	}
	id, err := traceID(args)
	if err != nil {
		return nil, err
	}
	seen, lost, ok := a.l.traces.sightings(id)
	if !ok {
		return nil, fmt.Errorf("there is no live trace %d, or its time is over", id)
	}
	return model.NodeSightings{Seen: seen, Lost: lost}, nil
}

// disarmTrace ends a live trace: nothing is left of it in the switch, nor here.
func (a answers) disarmTrace(ctx context.Context, args map[string]string) (any, error) {
	if err := allowed(args, "id"); err != nil {
		return nil, err
	}
	id, err := traceID(args)
	if err != nil {
		return nil, err
	}
	a.l.traces.stop(id)
	return "", a.change(ctx, []ofconn.Mod{ofconn.DeleteCookie{Table: allTables, Cookie: tap.Cookie(id)}})
}
