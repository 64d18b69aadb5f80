package controller

import (
	"context"
	"sync"
	"time"

	"tuplenet/datapath/ofconn"
	"tuplenet/flows/pipeline"
)

// Packets that miss are not dropped while the loop is busy, as other packet-ins are: of so many at most, and not when they are older
// than their senders wait.
const (
	keptMisses = 4096
	missAge    = 5 * time.Second
)

// miss is a packet that missed.
type miss struct {
	ofconn.PacketIn
	at time.Time
}

// isMiss tells whether a packet was sent here because its destination has no flows.
func isMiss(p ofconn.PacketIn) bool {
	return len(p.Userdata) > 0 && pipeline.Punt(p.Userdata[0]) == pipeline.PuntMiss
}

// misses brings packets from the goroutine of the session to the loop.
type misses struct {
	mu      sync.Mutex
	packets []miss
	ready   chan struct{} // capacity 1
}

func newMisses() *misses { return &misses{ready: make(chan struct{}, 1)} }

// put adds a packet, and returns whether there was room.
func (m *misses) put(p ofconn.PacketIn, now time.Time) bool {
	m.mu.Lock()
	room := len(m.packets) < keptMisses
	if room {
		m.packets = append(m.packets, miss{p, now})
	}
	m.mu.Unlock()
	select {
	case m.ready <- struct{}{}:
	default:
	}
	return room
}

// take returns the packets that are not too old.
func (m *misses) take(now time.Time) []miss {
	m.mu.Lock()
	all := m.packets
	m.packets = nil
	m.mu.Unlock()
	for len(all) > 0 && now.Sub(all[0].at) > missAge {
		all = all[1:]
	}
	return all
}

// outbox sends packets from a goroutine of its own, in their order, so that the loop does not wait for the switch.
type outbox struct {
	mu      sync.Mutex
	packets []ofconn.PacketOut
	ready   chan struct{} // capacity 1
}

func newOutbox() *outbox { return &outbox{ready: make(chan struct{}, 1)} }

func (o *outbox) put(all []ofconn.PacketOut) {
	if len(all) == 0 {
		return
	}
	o.mu.Lock()
	o.packets = append(o.packets, all...)
	o.mu.Unlock()
	select {
	case o.ready <- struct{}{}:
	default:
	}
}

// sendAtOnce is how many packets the switch gets before it is asked whether it took them: it forwards nothing else meanwhile.
const sendAtOnce = 64

// run sends until ctx ends. Without a session packets are lost.
func (o *outbox) run(ctx context.Context, session func() *ofconn.Session, failed func(error)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-o.ready:
		}
		o.mu.Lock()
		all := o.packets
		o.packets = nil
		o.mu.Unlock()
		for len(all) > 0 {
			n := min(len(all), sendAtOnce)
			if s := session(); s != nil {
				if err := s.PacketsOut(ctx, all[:n]); err != nil && ctx.Err() == nil {
					failed(err)
				}
			}
			all = all[n:]
		}
	}
}
