package apply

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"tuplenet/flows/of"
)

// meterWish is a meter that owners want, and how many do.
type meterWish struct {
	meter  of.Meter
	owners int
}

// setMeters makes these the meters of an owner.
func (d *desired) setMeters(o *owner, meters []of.Meter) {
	if slices.Equal(o.meters, meters) {
		return
	}
	d.dirtyMeters = true
	for _, m := range meters {
		d.meters[m.ID] = meterWish{m, d.meters[m.ID].owners + 1}
	}
	for _, m := range o.meters {
		w := d.meters[m.ID]
		if w.owners--; w.owners == 0 {
			delete(d.meters, m.ID)
		} else {
			d.meters[m.ID] = w
		}
	}
	o.meters = meters
}

// wantedMeters are the meters that the switch should have now. The caller holds a.mu.
func (a *Applier) wantedMeters() []of.Meter {
	a.want.dirtyMeters = false
	all := slices.Clone(a.cfg.Meters)
	for _, id := range slices.Sorted(maps.Keys(a.want.meters)) {
		all = append(all, a.want.meters[id].meter)
	}
	return all
}

// changedMeters are the meters that the switch should have, if they are others than before. The caller holds a.mu.
func (a *Applier) changedMeters() (meters []of.Meter, changed bool) {
	if !a.want.dirtyMeters {
		return nil, false
	}
	return a.wantedMeters(), true
}

// setMeters adds and changes meters. It returns those that are not wanted.
func (a *Applier) setMeters(ctx context.Context, s session, wanted []of.Meter) (surplus []uint32, err error) {
	dump, err := s.DumpMeters(ctx)
	if err != nil {
		return nil, fmt.Errorf("meters: %w", err)
	}
	have, want := byID(dump), byID(wanted)
	for _, m := range dump {
		if _, ok := want[m.ID]; !ok {
			surplus = append(surplus, m.ID)
		}
	}
	a.settledMeters(have, want)
	a.meters = wanted
	changed := false
	for _, m := range wanted {
		if now, there := have[m.ID]; there && now == m {
			continue
		}
		changed = true
		if err := a.setting(s.SetMeter(ctx, m), meterSetting(m.ID), fmt.Sprintf("meter %d", m.ID)); err != nil {
			return nil, err
		}
	}
	if changed {
		if err := s.Barrier(ctx); err != nil {
			return nil, fmt.Errorf("meters: barrier: %w", err)
		}
	}
	return surplus, nil
}

func byID(meters []of.Meter) map[uint32]of.Meter {
	m := make(map[uint32]of.Meter, len(meters))
	for _, x := range meters {
		m[x.ID] = x
	}
	return m
}

// dropMeters deletes meters that nobody needs meanwhile either. It comes after the flows, as the switch deletes the flows of a
// meter with it.
func (a *Applier) dropMeters(ctx context.Context, s session, surplus []uint32) error {
	want := byID(a.meters)
	for _, id := range surplus {
		if _, again := want[id]; again {
			continue
		}
		if err := a.setting(s.DeleteMeter(ctx, id), meterRemoval(id), fmt.Sprintf("removal of meter %d", id)); err != nil {
			return err
		}
	}
	return nil
}

// dropLast is dropMeters after a round was reported; it reports what failed, or does not fail any more.
func (a *Applier) dropLast(ctx context.Context, s session, surplus []uint32) error {
	if err := a.dropMeters(ctx, s, surplus); err != nil {
		return err
	}
	a.mu.Lock()
	applied := Applied{Rev: a.stats.Applied}
	a.mu.Unlock()
	a.report(&applied, 0, false)
	return nil
}
