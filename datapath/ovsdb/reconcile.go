package ovsdb

import (
	"context"
	"maps"
	"time"

	"github.com/ovn-kubernetes/libovsdb/client"
)

// write plans and writes, and keeps Facts.Failures current. It returns the rows that it wrote. fresh: d was not planned for yet.
func (s *Session) write(ctx context.Context, c client.Client, d *Desired, fresh bool) (written []rowID, err error) {
	if s.view.root == nil {
		return nil, nil // a database that ovs-vswitchd never started on: its first row will wake us
	}
	steps, refused := s.view.plan(d)
	drifted := s.drift.judge(s.view, d.Bridge, d.wantedPorts(), steps, refused, fresh)
	if s.cfg.ReportOnly {
		steps = leave(steps, drifted)
	}
	now := time.Now()
	var due []step
	planned := map[string]bool{}
	for _, st := range steps {
		planned[st.name] = true
		if !now.Before(s.failures[st.name].until) {
			due = append(due, st)
		}
	}
	maps.DeleteFunc(s.failures, func(name string, _ failure) bool { return !planned[name] })
	for len(due) > 0 {
		n := min(maxSteps, len(due))
		done, err := s.writeSteps(ctx, c, due[:n])
		if err != nil {
			return nil, err
		}
		written = append(written, done...)
		due = due[n:]
	}
	s.reportDrift(drifted)
	s.report(refused)
	return written, nil
}

// writeSteps writes steps in one transaction or, if the database refuses that, each in its own.
func (s *Session) writeSteps(ctx context.Context, c client.Client, steps []step) (written []rowID, err error) {
	txn, cancel := context.WithTimeout(ctx, s.cfg.Echo)
	defer cancel()
	done, refused, err := transact(txn, c, s.view.root.UUID, steps)
	if err != nil {
		return nil, err
	}
	if refused == nil {
		for _, st := range steps {
			delete(s.failures, st.name)
			s.log.Info(st.action.String(), "name", st.name, "type", st.want.Type)
		}
		return done, nil
	}
	if len(steps) == 1 {
		s.refuse(steps[0], refused)
		return nil, nil
	}
	for i := range steps {
		done, err := s.writeSteps(ctx, c, steps[i:i+1])
		if err != nil {
			return nil, err
		}
		written = append(written, done...)
	}
	return written, nil
}

// refuse notes that the database did not do a step. The reason is logged when it is new, not at every attempt.
func (s *Session) refuse(st step, reason error) {
	f := s.failures[st.name]
	if f.reason != reason.Error() {
		s.log.Warn("the Open vSwitch database refused: "+st.action.String(), "name", st.name, "err", reason)
	}
	f.reason = reason.Error()
	f.pause = min(max(2*f.pause, refusedPauseMin), refusedPauseMax)
	f.until = time.Now().Add(f.pause)
	s.failures[st.name] = f
}

// report puts what failed or cannot be done into the Facts, and tells if that differs from before.
func (s *Session) report(refused map[string]string) {
	for name, f := range s.failures {
		refused[name] = f.reason
	}
	if maps.Equal(refused, s.view.facts.Failures) {
		return
	}
	for name, reason := range refused {
		if _, known := s.failures[name]; !known && s.view.facts.Failures[name] != reason {
			s.log.Warn("cannot make a port", "name", name, "reason", reason)
		}
	}
	s.view.facts.Failures = refused
	s.tell()
}

// nextTry is how long to wait until the first of the refused steps is due; 0: nothing was refused.
func (s *Session) nextTry() (next time.Duration) {
	for _, f := range s.failures {
		if d := max(time.Until(f.until), time.Millisecond); next == 0 || d < next {
			next = d
		}
	}
	return next
}
