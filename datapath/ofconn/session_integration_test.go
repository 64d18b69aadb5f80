//go:build integration

package ofconn_test

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"tuplenet/datapath/ofconn"
	"tuplenet/datapath/ovstest"
	"tuplenet/flows/of"
)

func TestTheSessionComesBackAfterVswitchdWasKilled(t *testing.T) {
	l, s := connect(t, ofconn.Config{}, ovstest.Config{})
	for range 3 {
		must(t, s.Bundle(soon(t), numbered(t, 10)))
		l.ovs.KillVswitchd()
		if err := s.Barrier(soon(t)); !errors.Is(err, ofconn.ErrClosed) {
			t.Errorf("barrier on a dead connection: %v", err)
		}
		l.ovs.StartVswitchd()
		s = l.up()
		must(t, s.Barrier(soon(t)))
	}
}

func TestABundleInFlightEndsWhenVswitchdIsKilled(t *testing.T) {
	l, s := connect(t, ofconn.Config{}, ovstest.Config{})
	ended := make(chan error, 1)
	mods := numbered(t, 20000)
	l.ovs.PauseVswitchd()
	go func() { ended <- s.Bundle(context.Background(), mods) }()
	l.ovs.KillVswitchd()
	select {
	case err := <-ended:
		if !errors.Is(err, ofconn.ErrClosed) {
			t.Errorf("error %v", err)
		}
	case <-time.After(patience):
		t.Fatal("the bundle hangs")
	}
	l.ovs.StartVswitchd()
	must(t, l.up().Bundle(soon(t), mods))
}

func TestAHungSwitchIsNoticed(t *testing.T) {
	l, s := connect(t, ofconn.Config{Echo: 500 * time.Millisecond}, ovstest.Config{})
	l.ovs.PauseVswitchd()
	if err := s.Barrier(soon(t)); !errors.Is(err, ofconn.ErrClosed) || !strings.Contains(err.Error(), "said nothing for") {
		t.Errorf("error %v", err)
	}
	l.ovs.ResumeVswitchd()
	l.comesBack()
}

// comesBack waits for a session that answers. With a short Echo, one more may end because the machine was busy.
func (l *link) comesBack() {
	l.t.Helper()
	ctx := soon(l.t)
	for s := l.up(); ; s = l.up() {
		err := s.Barrier(ctx)
		if err == nil {
			return
		}
		if !errors.Is(err, ofconn.ErrClosed) {
			l.t.Fatalf("barrier: %v", err)
		}
	}
}

func TestAHungSwitchIsNoticedWhileABundleIsWritten(t *testing.T) {
	l, s := connect(t, ofconn.Config{Echo: 500 * time.Millisecond}, ovstest.Config{})
	l.ovs.PauseVswitchd()
	if err := s.Bundle(soon(t), numbered(t, 50000)); !errors.Is(err, ofconn.ErrClosed) {
		t.Errorf("error %v", err)
	}
	l.ovs.ResumeVswitchd()
	l.comesBack()
}

func TestAnIdleConnectionStaysUp(t *testing.T) {
	const echo = 3 * time.Second // a switch on a busy machine may take a while to answer
	l, s := connect(t, ofconn.Config{Echo: echo}, ovstest.Config{})
	select {
	case <-l.ups:
		t.Fatal("a second session")
	case <-time.After(2 * echo):
	}
	must(t, s.Barrier(soon(t)))
}

func TestContextEndsARequestAndABundle(t *testing.T) {
	l, s := connect(t, ofconn.Config{}, ovstest.Config{})
	l.ovs.PauseVswitchd()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := s.Barrier(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("barrier: %v", err)
	}
	if err := s.Bundle(ctx, numbered(t, 1)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("bundle: %v", err)
	}
	l.ovs.ResumeVswitchd()
	must(t, s.Barrier(soon(t)))
	if n := len(flows(t, s)); n != 0 {
		t.Errorf("%d flows of a bundle that was given up", n)
	}
}

func TestMetersComeBackAndAreChangedAndDeleted(t *testing.T) {
	_, s := connect(t, ofconn.Config{}, ovstest.Config{})
	a, b := of.Meter{ID: 1, RatePPS: 200, Burst: 100}, of.Meter{ID: 2, RatePPS: 5}
	must(t, s.SetMeter(soon(t), a))
	must(t, s.SetMeter(soon(t), b))
	a.RatePPS, b.Burst = 300, 5 // what the switch makes of no burst
	must(t, s.SetMeter(soon(t), a))
	have, err := s.DumpMeters(soon(t))
	must(t, err)
	if len(have) != 2 || !(have[0] == a && have[1] == b || have[0] == b && have[1] == a) {
		t.Errorf("meters %+v", have)
	}
	must(t, s.DeleteMeter(soon(t), 1))
	have, err = s.DumpMeters(soon(t))
	must(t, err)
	if !reflect.DeepEqual(have, []of.Meter{b}) {
		t.Errorf("meters %+v", have)
	}
	if err := s.SetMeter(soon(t), of.Meter{ID: 0xffff0001, RatePPS: 1}); err == nil || !strings.Contains(err.Error(), "OFPMMFC_INVALID_METER") {
		t.Errorf("meter with an impossible id: %v", err)
	}
}

func TestTLVMapComesBackAndRefusesDuplicates(t *testing.T) {
	_, s := connect(t, ofconn.Config{}, ovstest.Config{})
	must(t, s.AddTLV(soon(t), geneve))
	have, err := s.TLVMap(soon(t))
	must(t, err)
	if !reflect.DeepEqual(have, geneve) {
		t.Errorf("map %+v", have)
	}
	if err := s.AddTLV(soon(t), geneve); err == nil || !strings.Contains(err.Error(), "NXTTMFC_ALREADY_MAPPED") {
		t.Errorf("the same again: %v", err)
	}
	must(t, s.DeleteTLV(soon(t), geneve))
	have, err = s.TLVMap(soon(t))
	must(t, err)
	if len(have) != 0 {
		t.Errorf("map %+v", have)
	}
}

func TestZonesAreFlushed(t *testing.T) {
	l, s := connect(t, ofconn.Config{}, ovstest.Config{Ports: []string{"p1", "p2"}})
	must(t, s.Bundle(soon(t), []ofconn.Mod{add(t, of.Flow{Match: of.Match{}.UDP4(), Actions: []of.Action{of.CT{Commit: true, Zone: 77}}})}))
	l.ovs.Receive("p1", udpFrame())
	deadline := time.Now().Add(patience)
	for !strings.Contains(l.ovs.Appctl("dpctl/dump-conntrack"), "zone=77") {
		if time.Now().After(deadline) {
			t.Fatal("no connection in zone 77")
		}
	}
	must(t, s.FlushZone(soon(t), 78))
	if out := l.ovs.Appctl("dpctl/dump-conntrack"); !strings.Contains(out, "zone=77") {
		t.Errorf("zone 77 was flushed with zone 78:\n%s", out)
	}
	must(t, s.FlushZone(soon(t), 77))
	if out := l.ovs.Appctl("dpctl/dump-conntrack"); strings.Contains(out, "zone=77") {
		t.Errorf("connections of zone 77:\n%s", out)
	}
}
