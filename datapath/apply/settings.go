package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	have, err := s.TLVMap(ctx)
	if err != nil {
		return fmt.Errorf("TLV map: %w", err)
	}
	var missing, wrong []TLV
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
	if len(wrong) > 0 {
		if err := a.setting(s.DeleteTLV(ctx, wrong), 0, "removal of TLV mappings that contradict ours"); err != nil {
			return err
		}
	}
	if len(missing) > 0 {
		return a.setting(s.AddTLV(ctx, missing), 1, "TLV map")
	}
	return nil
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
