package controller

import (
	"errors"
	"sync/atomic"
	"time"

	"tuplenet/datapath/apply"
	"tuplenet/model"
)

// vital is how the loop does, for readers outside of it.
type vital struct {
	started time.Time
	version string
	turned  atomic.Int64 // when the loop came round last, in nanoseconds since started
	said    atomic.Pointer[saying]
}

// saying is what the loop says of itself.
type saying struct {
	chassis, ovs, behind string
	ports                map[string]int // by state
	ready                bool

	observed, compiled, applied int64
	problems                    []model.Problem
}

// stuckAfter is after how long without a turn the loop counts as stuck. It turns at every tick of its fastest ticker.
const stuckAfter = 15 * time.Second

func newVital(version string) *vital {
	v := &vital{started: time.Now(), version: version}
	v.said.Store(&saying{behind: "starting"})
	return v
}

func (v *vital) turn() { v.turned.Store(int64(time.Since(v.started))) }

// alive returns why the daemon does not work; nil if it does.
func (v *vital) alive() error {
	if time.Since(v.started)-time.Duration(v.turned.Load()) > stuckAfter {
		return errors.New("the event loop is stuck")
	}
	return nil
}

// ready returns why what the store says is not in the switch; nil if it is, and the switch acknowledged it.
func (v *vital) ready() error {
	if err := v.alive(); err != nil {
		return err
	}
	switch s := v.said.Load(); {
	case s.behind != "":
		return errors.New(s.behind)
	case !s.ready:
		return errors.New("the switch is being filled for the first time")
	}
	return nil
}

// health is the whole, with what the reconciler of flows counts.
func (v *vital) health(a apply.Stats, now time.Time) model.NodeHealth {
	s := v.said.Load()
	return model.NodeHealth{
		Chassis: s.chassis, Version: v.version, OVSVersion: s.ovs, Alive: v.alive() == nil, Ready: v.ready() == nil, Behind: s.behind,
		Observed: s.observed, Applied: s.applied, Flows: a.Flows, Groups: a.Groups, Present: a.Present, Foreign: a.Foreign, Refused: a.Failing,
		Problems: s.problems, StartedMS: v.started.UnixMilli(), ClockMS: now.UnixMilli(),
	}
}
