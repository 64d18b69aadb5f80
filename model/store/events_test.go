package store

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"tuplenet/model"
)

func TestU05_events_come_in_order_with_their_revisions(t *testing.T) {
	s := newStore(t)
	mustSwitch(t, s, "before")
	enough := errors.New("enough")
	var got []string
	started := make(chan int64, 1)
	done := make(chan error, 1)
	ctx := within(t, time.Minute)
	go func() {
		done <- s.Events(ctx, "switch", 0, func(rev int64) { started <- rev }, func(events []Event) error {
			for _, e := range events {
				if e.ModRevision < e.CreateRevision || e.CreateRevision == 0 || len(e.Value) == 0 {
					return fmt.Errorf("%+v", e)
				}
				got = append(got, fmt.Sprintf("%s %s %d", e.Type, e.Ref, e.Version))
			}
			if len(got) == 3 {
				return enough
			}
			return nil
		})
	}()
	first := <-started
	mustSwitch(t, s, "a")
	if _, _, err := s.AddSwitchPort(t.Context(), &model.LogicalSwitchPort{Switch: "a", Name: "p"}); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := s.AddSubnet(t.Context(), "a", nets("10.0.0.0/24")[0], nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.DeleteSwitch(t.Context(), "a", true); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, enough) {
		t.Fatal(err)
	}
	want := []string{"create switch/a 1", "update switch/a 2", "delete switch/a 0"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	// The same again from the revision on.
	got = nil
	err := s.Events(within(t, time.Minute), "switch/a", first+1, nil, func(events []Event) error {
		for _, e := range events {
			got = append(got, fmt.Sprintf("%s %s %d", e.Type, e.Ref, e.Version))
		}
		if len(got) == 3 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || !slices.Equal(got, want) {
		t.Errorf("%q %v", got, err)
	}
}

func TestU05_a_compacted_revision_is_told(t *testing.T) {
	etcd, err := EmbeddedConfig{Dir: t.TempDir(), Listen: "http://127.0.0.1:0", UnsafeNoSync: true}.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer etcd.Close()
	s := openAt(t, Config{Endpoints: etcd.Endpoints()})
	for i := range 5 {
		mustSwitch(t, s, fmt.Sprint("s", i))
	}
	now, err := s.Revision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := raw(t, s).Compact(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	err = s.Events(within(t, time.Minute), "", 1, nil, func([]Event) error { return errors.New("something came") })
	refused(t, err, ErrNotFound, fmt.Sprintf("revision 1 is compacted, the oldest is %d", now))
}
