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
	limit, cancel := context.WithTimeoutCause(ctx, asking, fmt.Errorf("no answer within %v", asking))
	defer cancel()
	if !d.connect(limit) {
		return nil, fmt.Errorf("%w: no answer from the Open vSwitch database: is Open vSwitch running?", plug.ErrNotReady)
	}
	defer d.host.Close()
	return d.collect(ctx, quiet)
}

// Close ends the connection to the store, of a Driver that does not Run.
func (d *Driver) Close() error { return d.store.Close() }

// collect removes what is garbage now and still is after quiet.
func (d *Driver) collect(ctx context.Context, quiet time.Duration) ([]string, error) {
	before, err := d.search(ctx)
	if err != nil || len(before) == 0 {
		return nil, err
	}
	d.log.Info("found what may be garbage", "what", slices.Sorted(maps.Keys(before)), "removed_in", quiet)
	select {
	case <-time.After(quiet):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	after, err := d.search(ctx)
	if err != nil {
		return nil, err
	}
	var removed []string
	var failed []error
	for _, what := range slices.Sorted(maps.Keys(after)) {
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

// search finds what looks like garbage on this host. Without the engine's word only that is garbage whose container the kernel says
// is gone; and what is in a container's namespace is none, whatever the engine says.
func (d *Driver) search(ctx context.Context) (rubbish, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, asking, fmt.Errorf("no answer within %v", asking))
	defer cancel()
	h, chassis, err := d.ready(ctx)
	if err != nil {
		return nil, err
	}
	// The engine is asked last: what it made meanwhile is known then, and what it knew is no garbage now.
	records := h.Records(name)
	snap, err := d.store.Snapshot(ctx, model.KindSwitchPort)
	if err != nil {
		return nil, err
	}
	notes, err := d.store.Notes(ctx, name)
	if err != nil {
		return nil, err
	}
	k, err := newEngine(d.cfg.Engine).ask(ctx)
	if err != nil {
		d.log.Info("garbage is looked for without the engine's word", "err", err)
	}
	found := rubbish{}
	plugged := d.searchPlugged(found, records, k)
	if k == nil {
		return found, nil
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
	for id, value := range notes {
		var n engineNetwork
		// Of networks on all hosts, this engine may not know every one.
		if json.Unmarshal(value, &n) == nil && n.Chassis == chassis && !k.networks[id] {
			found["network "+id] = func(ctx context.Context) error { return d.deleteNetwork(ctx, id, false) }
		}
	}
	return found, nil
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
