package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"tuplenet/flows/of"
)

// setSettings sets right what no bundle can carry and what flows need to be accepted. It returns the meters that nobody needs.
func (a *Applier) setSettings(ctx context.Context, s session) (surplus []uint32, err error) {
	if err := a.setTLVs(ctx, s); err != nil {
		return nil, err
	}
	a.mu.Lock()
	meters := a.wantedMeters()
	a.mu.Unlock()
	return a.setMeters(ctx, s, meters)
}

// setTLVs adds the mappings that are missing. One that contradicts ours is taken away first; the switch refuses that while
// flows use it.
func (a *Applier) setTLVs(ctx context.Context, s session) error {
	if len(a.cfg.TLVs) == 0 {
		return nil
	}
	missing, wrong, err := a.compareTLVs(ctx, s)
	if err != nil {
		return err
	}
	if len(wrong) > 0 {
		if err := a.setting(s.DeleteTLV(ctx, wrong), wrongTLVs, "removal of TLV mappings that contradict ours"); err != nil {
			return err
		}
	}
	if len(missing) > 0 {
		return a.setting(s.AddTLV(ctx, missing), missingTLVs, "TLV map")
	}
	return nil
}

// compareTLVs finds the mappings that are missing, and those that contradict them.
func (a *Applier) compareTLVs(ctx context.Context, s session) (missing, wrong []TLV, err error) {
	have, err := s.TLVMap(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("TLV map: %w", err)
	}
	for _, t := range a.cfg.TLVs {
		if !slices.Contains(have, t) {
			missing = append(missing, t)
		}
	}
	for _, h := range have {
		if slices.ContainsFunc(missing, func(t TLV) bool { return t.Index == h.Index || t.Class == h.Class && t.Type == h.Type }) {
			wrong = append(wrong, h)
		}
	}
	a.settledTLVs(missing, wrong)
	return missing, wrong, nil
}

// Numbers of the settings that may fail: of the TLV map here, those of meters follow.
const (
	wrongTLVs uint64 = iota
	missingTLVs
	firstMeter
)

// meterSetting is the number of a meter that is to be set, meterRemoval of one that is to go.
func meterSetting(id uint32) uint64 { return uint64(id) + firstMeter }
func meterRemoval(id uint32) uint64 { return uint64(id) << 32 }

// settled drops the failures of settings that are as they should be, whoever made them so.
func (a *Applier) settled(right func(id uint64) bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for k := range a.trouble.failures {
		if k.kind == settingFailure && right(k.id) {
			a.trouble.resolve(k)
		}
	}
}

// settledTLVs is told which mappings are missing, and which contradict them.
func (a *Applier) settledTLVs(missing, wrong []TLV) {
	a.settled(func(id uint64) bool {
		return id == missingTLVs && len(missing) == 0 || id == wrongTLVs && len(wrong) == 0
	})
}

// settledMeters is told which meters there are and which are wanted, by id.
func (a *Applier) settledMeters(have, want map[uint32]of.Meter) {
	a.settled(func(id uint64) bool {
		if id < firstMeter {
			return false
		}
		if gone := uint32(id >> 32); id == meterRemoval(gone) {
			_, there := have[gone]
			_, wanted := want[gone]
			return !there || wanted
		}
		m, wanted := want[uint32(id-firstMeter)]
		return !wanted || have[m.ID] == m
	})
}

// setting notes a refusal as a failure of nobody in particular; other errors it returns.
func (a *Applier) setting(err error, id uint64, what string) error {
	k := failureKey{kind: settingFailure, id: id}
	a.mu.Lock()
	defer a.mu.Unlock()
	var no *refusal
	switch {
	case err == nil:
		a.trouble.resolve(k)
		return nil
	case errors.As(err, &no):
		a.trouble.report(k, Failure{What: what, Err: no.of(0)})
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
