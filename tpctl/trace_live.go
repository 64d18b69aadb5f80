package tpctl

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"tuplenet/flows/walk"
	"tuplenet/model"
)

// How a live trace waits. The flows in the switches go by themselves after liveSeconds, should nobody take them out.
const (
	liveSeconds = 20
	liveLimit   = 5 * time.Second        // after the packet was sent
	liveQuiet   = 500 * time.Millisecond // without news: that was all, if the packet is not on its way somewhere
	livePause   = 100 * time.Millisecond // between questions
	liveChassis = 64                     // that watch at most; those on the way come first
)

// sendLive sends the packet for real and tells its way from what chassis saw. The report on paper says which chassis are on
// the way.
func (t *tracing) sendLive(ctx context.Context, cfg walk.Config, paper *walk.Report) (*walk.Report, error) {
	cfg.Facts = t.facts
	d, err := walk.New(cfg)
	if err != nil {
		return nil, err
	}
	source, packet, err := d.Origin(t.probe)
	if err != nil {
		return nil, err
	}
	frame, err := encodeFrame(packet)
	if err != nil {
		return nil, err
	}
	l := &liveTrace{tracing: t, id: strconv.Itoa(1 + rand.IntN(0xfffe))}
	defer l.disarm(context.WithoutCancel(ctx))
	if err := l.arm(ctx, source, paper); err != nil {
		return nil, err
	}
	var port uint32
	args := map[string]string{"id": l.id, "port": t.probe.From, "frame": hex.EncodeToString(frame)}
	if err := askNode(ctx, t.env, t.store, source, model.NodeCommandTraceInject, args, &port); err != nil {
		return nil, err
	}
	report, err := l.collect(ctx, func(seen map[string][]walk.Sighting) (*walk.Report, error) {
		// The flows are looked up with what the chassis know, also of those that were not on the way on paper.
		for chassis := range seen {
			if _, said := cfg.Facts[chassis]; !said {
				if f, err := t.ask(ctx, chassis); err == nil {
					cfg.Facts[chassis] = f
				}
			}
		}
		d, err := walk.New(cfg)
		if err != nil {
			return nil, err
		}
		return d.Observe(t.probe.From, source, packet, seen)
	})
	if err != nil {
		return nil, err
	}
	report.Assumed = append(report.Assumed, l.silent...)
	t.paper = paper.Verdict
	return report, nil
}

// liveTrace is a live trace under way.
type liveTrace struct {
	*tracing
	id     string
	armed  []string
	silent []string // chassis that do not watch, and why
}

// arm makes the chassis watch: those on the way on paper, and as many others as are allowed. That of the sender has to.
func (l *liveTrace) arm(ctx context.Context, source string, paper *walk.Report) error {
	names := visited(paper)
	if !slices.Contains(names, source) {
		names = append(names, source)
	}
	for _, c := range l.chassisByName() {
		if _, alive := l.live[c]; alive && !slices.Contains(names, c) && len(names) < liveChassis {
			names = append(names, c)
		}
	}
	failed := make([]error, len(names))
	var all sync.WaitGroup
	for i, chassis := range names {
		all.Go(func() {
			var flows int
			failed[i] = askNode(ctx, l.env, l.store, chassis, model.NodeCommandTraceArm, map[string]string{"id": l.id, "seconds": strconv.Itoa(liveSeconds)}, &flows)
		})
	}
	all.Wait()
	for i, chassis := range names {
		switch {
		case failed[i] == nil:
			l.armed = append(l.armed, chassis)
		case chassis == source:
			l.armed = append(l.armed, chassis) // perhaps it does
			return failed[i]
		default:
			l.silent = append(l.silent, fmt.Sprintf("chassis %s does not watch: %s", chassis, oneLine(failed[i])))
		}
	}
	return nil
}

func (l *liveTrace) chassisByName() (names []string) {
	for ref := range l.objects {
		if ref.Kind == model.KindChassis {
			names = append(names, ref.Name)
		}
	}
	slices.Sort(names)
	return names
}

// disarm takes the flows out again.
func (l *liveTrace) disarm(ctx context.Context) {
	var all sync.WaitGroup
	for _, chassis := range l.armed {
		all.Go(func() {
			var nothing string
			_ = askNode(ctx, l.env, l.store, chassis, model.NodeCommandTraceDisarm, map[string]string{"id": l.id}, &nothing) // they go by themselves
		})
	}
	all.Wait()
}

// collect asks the chassis what they saw until there is nothing new, and tells what became of the packet by that. While it went on
// from where it was seen last, the next switch may only be slow: then no silence is long enough.
func (l *liveTrace) collect(ctx context.Context, tell func(map[string][]walk.Sighting) (*walk.Report, error)) (*walk.Report, error) {
	end, quiet, last := time.Now().Add(liveLimit), time.Now(), 0
	var told *walk.Report // of what was seen last
	for {
		answers, failed := l.look(ctx)
		total := 0
		for _, a := range answers {
			total += len(a.Seen)
		}
		now := time.Now()
		if total != last {
			last, quiet, told = total, now, nil
		}
		if ctx.Err() != nil {
			return nil, errors.New("interrupted")
		}
		if over := now.After(end); over || total > 0 && now.Sub(quiet) > liveQuiet {
			if over && len(answers) == 0 {
				return nil, failed
			}
			if told == nil {
				seen, err := readSightings(answers)
				if err == nil {
					told, err = tell(seen)
				}
				if err != nil {
					return nil, err
				}
			}
			if over || !told.Open() {
				return told, nil
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(livePause):
		}
	}
}

// look asks every chassis once.
func (l *liveTrace) look(ctx context.Context) (map[string]model.NodeSightings, error) {
	var mu sync.Mutex
	var all sync.WaitGroup
	var failed error
	answers := map[string]model.NodeSightings{}
	for _, chassis := range l.armed {
		all.Go(func() {
			var s model.NodeSightings
			err := askNode(ctx, l.env, l.store, chassis, model.NodeCommandTraceSeen, map[string]string{"id": l.id}, &s)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = err
				return
			}
			answers[chassis] = s
		})
	}
	all.Wait()
	return answers, failed
}

func readSightings(answers map[string]model.NodeSightings) (map[string][]walk.Sighting, error) {
	seen := map[string][]walk.Sighting{}
	for chassis, a := range answers {
		for _, s := range a.Seen {
			p, err := readSighting(s)
			if err != nil {
				return nil, fmt.Errorf("chassis %s: %w", chassis, err)
			}
			seen[chassis] = append(seen[chassis], walk.Sighting{Table: s.Table, Packet: p})
		}
	}
	return seen, nil
}
