package cnm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"tuplenet/model"
	"tuplenet/model/store"
	"tuplenet/plugins/plug"
)

// Quiet is how long something has to be garbage before it is removed. An engine tries a call for up to 30 seconds while the plugin is
// away, so an endpoint may be without an interface, and unknown to the engine, for so long and live.
const Quiet = 35 * time.Second

// asking is how long the engine, the store and the switch together may take to say what is there.
const asking = 15 * time.Second

// rubbish is something to remove: what it is, and how.
type rubbish map[string]func(context.Context) error

// CollectOnce finds and removes garbage, for `tpcnm gc`: what is garbage now and still is after quiet. It returns what was removed.
func CollectOnce(ctx context.Context, d *Driver, quiet time.Duration) ([]string, error) {
	limit, cancel := context.WithTimeoutCause(ctx, asking, late(asking))
	defer cancel()
	if !d.connect(limit) {
		return nil, fmt.Errorf("%w: no answer from the Open vSwitch database: is Open vSwitch running?", plug.ErrNotReady)
	}
	defer d.host.Close()
	return d.collect(ctx, quiet)
}

// Close ends the connection to the store, of a Driver that does not Run.
func (d *Driver) Close() error { return d.store.Close() }

// doubt has garbage collected: a removal did not say what it was about.
func (d *Driver) doubt() {
	select {
	case d.doubts <- struct{}{}:
	default: // there is one
	}
}

// collectAlways collects at the start, and after each doubt once the engine will have forgotten what it wanted to be removed.
func (d *Driver) collectAlways(ctx context.Context, quiet time.Duration) {
	for ctx.Err() == nil {
		d.collectPatiently(ctx, quiet)
		select {
		case <-d.doubts:
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(quiet):
		case <-ctx.Done():
		}
	}
}

// collectPatiently collects once, as soon as the engine can be asked: at the start of a host the plugin is there before it.
func (d *Driver) collectPatiently(ctx context.Context, quiet time.Duration) {
	for said := ""; ; {
		_, err := d.collect(ctx, quiet)
		switch {
		case err == nil || ctx.Err() != nil:
			return
		case err.Error() != said:
			said = err.Error()
			d.log.Warn("collecting garbage goes on later", "err", err)
		}
		for again := false; !again; {
			select {
			case <-time.After(quiet):
			case <-ctx.Done():
				return
			}
			limit, cancel := context.WithTimeout(ctx, asking)
			again = newEngine(d.cfg.Engine).there(limit) // the whole store is not read for nothing
			cancel()
		}
	}
}

// collect removes what is garbage now and still is after quiet, and returns what that was. If the engine could not be asked,
// which is an error then, that is only a part of it.
func (d *Driver) collect(ctx context.Context, quiet time.Duration) ([]string, error) {
	before, mute, err := d.search(ctx)
	if err != nil || len(before) == 0 {
		return nil, errors.Join(err, mute)
	}
	d.log.Info("found what may be garbage", "what", slices.Sorted(maps.Keys(before)), "removed_in", quiet)
	select {
	case <-time.After(quiet):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	after, mute, err := d.search(ctx)
	if err != nil {
		return nil, err
	}
	var removed []string
	failed := []error{mute}
	for _, what := range slices.Sorted(maps.Keys(after)) { // endpoints before the networks that they are on
		if before[what] == nil {
			continue
		}
		limit, cancel := context.WithTimeout(ctx, Budget)
		err := after[what](limit)
		cancel()
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", what, err))
			continue
		}
		d.log.Warn("removed garbage", "what", what)
		removed = append(removed, what)
	}
	return removed, errors.Join(failed...)
}

// search finds what looks like garbage on this host. Without the engine's word (mute says why) only that is garbage whose container
// the kernel says is gone; and what is in a container's namespace is none, whatever the engine says.
func (d *Driver) search(ctx context.Context) (found rubbish, mute, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, asking, late(asking))
	defer cancel()
	h, chassis, err := d.ready(ctx)
	if err != nil {
		return nil, nil, err
	}
	// The engine is asked last: what it made meanwhile is known then, and what it knew is no garbage now.
	records := h.Records(name)
	snap, err := d.store.Snapshot(ctx, model.KindSwitchPort)
	if err != nil {
		return nil, nil, err
	}
	notes, err := d.store.Notes(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	k, mute := newEngine(d.cfg.Engine).ask(ctx)
	found = rubbish{}
	plugged := d.searchPlugged(found, records, k)
	if k == nil {
		return found, mute, nil
	}
	for _, p := range snap.SwitchPorts("") {
		switch endpoint := tagged(p, tagEndpoint); {
		case !made(p, chassis):
		case slices.Contains(p.Tags, tagHeld):
			if !slices.ContainsFunc(p.IPs, func(a netip.Addr) bool { return k.reserved[a] }) {
				found["address "+p.Name] = d.deletePort(p)
			}
		case !plugged[p.Name] && !k.endpoints[endpoint]:
			found["endpoint "+endpoint] = func(ctx context.Context) error { return d.dropEndpoint(ctx, endpoint) }
		}
	}
	d.searchNetworks(found, notes, snap, k, chassis)
	return found, nil, nil
}

// searchNetworks finds networks that were made here and that the engine does not know any more. Those on all hosts are left if
// any of these has a container on them; and those that the engine knows are remembered, in case that somebody deletes the note.
func (d *Driver) searchNetworks(found rubbish, notes map[string][]byte, snap *store.Snapshot, k *known, chassis string) {
	used := func(n *engineNetwork) bool {
		return slices.ContainsFunc(snap.SwitchPorts(n.Switch), func(p *model.LogicalSwitchPort) bool {
			return tagged(p, tagNetwork) == n.ID && found["endpoint "+tagged(p, tagEndpoint)] == nil
		})
	}
	for id, value := range notes {
		n := &engineNetwork{}
		if json.Unmarshal(value, n) != nil {
			continue
		}
		switch {
		case k.networks[id]:
			d.mu.Lock()
			d.networks[id] = n
			d.mu.Unlock()
		case n.Chassis == chassis, n.Chassis == "" && n.Maker == chassis && k.clustered && !used(n):
			found["network "+id] = func(ctx context.Context) error { return d.deleteNetwork(ctx, id, false) }
		}
	}
}

// searchPlugged finds plugged ports whose container is gone, or that never came to be in one. It returns the names of all
// plugged ports.
func (d *Driver) searchPlugged(found rubbish, records []plug.Record, k *known) map[string]bool {
	plugged := map[string]bool{}
	for _, r := range records {
		plugged[r.Port] = true
		if plug.Gone(r) || k != nil && !k.endpoints[r.Container] && plug.Waiting(r) {
			found["endpoint "+r.Container] = func(ctx context.Context) error { return d.dropEndpoint(ctx, r.Container) }
		}
	}
	return plugged
}

func (d *Driver) deletePort(p *model.LogicalSwitchPort) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := d.store.DeleteSwitchPort(ctx, p.Switch, p.Name)
		return ignoreNotFound(err)
	}
}
