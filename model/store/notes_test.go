package store

import (
	"errors"
	"slices"
	"testing"

	"tuplenet/model"
)

func TestNotes_are_kept_for_each_plugin_and_nobody_follows_them(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	for _, v := range []string{"old", "new"} {
		if err := s.PutNote(ctx, "cnm", "n1", []byte(v)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.PutNote(ctx, "other", "n2", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if v, err := s.Note(ctx, "cnm", "n1"); err != nil || string(v) != "new" {
		t.Errorf("%q, %v", v, err)
	}
	if all, err := s.Notes(ctx, "cnm"); err != nil || len(all) != 1 || string(all["n1"]) != "new" {
		t.Errorf("%q, %v", all, err)
	}
	for range 2 {
		if err := s.DeleteNote(ctx, "cnm", "n1"); err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.Note(ctx, "cnm", "n1")
	refused(t, err, ErrNotFound, "note n1 not found")
	if err := s.PutNote(ctx, "cnm", "a/b", nil); !errors.Is(err, ErrInvalid) {
		t.Errorf("a name that is two parts of a key: %v", err)
	}
}

func TestReplaceSwitchPorts_gives_nobody_else_the_addresses_in_between(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	mustSwitch(t, s, "LS-A")
	hold := func(name, ip string) *model.LogicalSwitchPort {
		p, _, err := s.AddSwitchPort(ctx, &model.LogicalSwitchPort{Switch: "LS-A", Name: name, IPs: addrs(ip)})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	v4 := hold("held4", "10.0.0.2")
	hold("held6", "2001:db8::2")
	p, _, err := s.ReplaceSwitchPorts(ctx, []string{"held4", "held6"}, &model.LogicalSwitchPort{Switch: "LS-A", Name: "c1", Type: model.PortVIF, IPs: addrs("10.0.0.2", "2001:db8::2")})
	if err != nil || p.Key != v4.Key || p.MAC != v4.MAC {
		t.Fatalf("%v, %v: want the key and the derived MAC of the first", p, err)
	}
	snap, err := s.Snapshot(ctx, model.KindSwitchPort)
	if err != nil || len(snap.SwitchPorts("LS-A")) != 1 || !slices.Equal(snap.SwitchPorts("LS-A")[0].IPs, addrs("10.0.0.2", "2001:db8::2")) {
		t.Fatalf("%v, %v", snap.SwitchPorts("LS-A"), err)
	}
	_, _, err = s.ReplaceSwitchPorts(ctx, []string{"held4"}, &model.LogicalSwitchPort{Switch: "LS-A", Name: "c2", Type: model.PortVIF})
	refused(t, err, ErrNotFound, "port held4 not found")
	hold("held", "10.0.0.3")
	_, _, err = s.ReplaceSwitchPorts(ctx, []string{"held"}, &model.LogicalSwitchPort{Switch: "LS-A", Name: "c2", Type: model.PortVIF, IPs: addrs("10.0.0.2")})
	refused(t, err, ErrConflict, "conflict with other IP: 10.0.0.2 is used by switchport/LS-A/c1")
	// Everything that was given up is free: another port may have it.
	if _, _, err := s.ReplaceSwitchPorts(ctx, []string{"held"}, &model.LogicalSwitchPort{Switch: "LS-A", Name: "c3", Type: model.PortVIF, IPs: addrs("10.0.0.4")}); err != nil {
		t.Fatal(err)
	}
	hold("held", "10.0.0.3")
	if ref, err := s.PortWithAddress(ctx, "LS-A", addrs("10.0.0.4")[0]); err != nil || ref.Name != "c3" {
		t.Errorf("%v, %v", ref, err)
	}
	_, err = s.PortWithAddress(ctx, "LS-A", addrs("10.0.0.9")[0])
	refused(t, err, ErrNotFound, "port with 10.0.0.9 on switch LS-A not found")
}
