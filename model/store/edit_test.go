package store

import (
	"errors"
	"sync"
	"testing"

	"tuplenet/model"
)

func TestG28_edits_of_a_switch_at_the_same_time_all_count(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	if _, _, err := s.AddSwitch(ctx, &model.LogicalSwitch{Name: "LS", VNI: 7}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if _, _, err := s.EditSwitch(ctx, "LS", func(o *model.LogicalSwitch) error {
				c := model.HostConfig{DHCPv4: true, Lease: model.MinLease}
				if o.Hosts != nil {
					c.Lease = o.Hosts.Lease + 1
				}
				o.Hosts = &c
				return nil
			}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	ls, err := s.Switch(ctx, "LS")
	if err != nil || ls.Hosts == nil || ls.Hosts.Lease != model.MinLease+9 || ls.VNI != 7 {
		t.Errorf("%+v, %v", ls, err)
	}
}

func TestG28_an_edit_is_refused_whole(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	mine := errors.New("no")
	if _, _, err := s.EditSwitchPort(ctx, "LS", "p", nil); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if _, _, err := s.AddSwitch(ctx, &model.LogicalSwitch{Name: "LS"}); err != nil {
		t.Fatal(err)
	}
	p, _, err := s.AddSwitchPort(ctx, &model.LogicalSwitchPort{Switch: "LS", Name: "p", Type: model.PortVIF})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.EditSwitchPort(ctx, "LS", "p", func(*model.LogicalSwitchPort) error { return mine }); !errors.Is(err, mine) {
		t.Error(err)
	}
	if _, _, err := s.EditSwitchPort(ctx, "LS", "p", func(o *model.LogicalSwitchPort) error { o.Hostname = "a b"; return nil }); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	now, rev, err := s.EditSwitchPort(ctx, "LS", "p", func(o *model.LogicalSwitchPort) error { o.Hostname = "web"; return nil })
	if err != nil || now.Hostname != "web" || now.MAC != p.MAC || rev == 0 {
		t.Errorf("%+v at %d, %v", now, rev, err)
	}
	snap, err := s.Snapshot(ctx, model.KindSwitchPort)
	if err != nil || snap.Written(now.Ref()) != rev {
		t.Errorf("written at %d, not %d: %v", snap.Written(now.Ref()), rev, err)
	}
}
