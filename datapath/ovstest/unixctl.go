package ovstest

import (
	"context"
	"encoding/hex"

	"tuplenet/datapath/unixctl"
)

// Appctl runs a command of ovs-vswitchd (ovs-appctl(8)) through its control socket, without starting a process: a trace
// costs a fraction of a millisecond.
func (s *Switch) Appctl(command string, args ...string) string {
	s.t.Helper()
	out, err := s.TryAppctl(command, args...)
	if err != nil {
		s.t.Fatalf("%s %v: %v", command, args, err)
	}
	return out
}

// Trace shows how a packet, given as a flow in ovs-ofctl's syntax, would travel (ofproto/trace).
func (s *Switch) Trace(flow string) string {
	s.t.Helper()
	return s.Appctl("ofproto/trace", s.cfg.Bridge, flow)
}

// Receive makes a dummy port receive a frame.
func (s *Switch) Receive(port string, frame []byte) {
	s.t.Helper()
	s.Appctl("netdev-dummy/receive", port, hex.EncodeToString(frame))
}

// TryAppctl is Appctl for a command that may fail; several goroutines may call it.
func (s *Switch) TryAppctl(command string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return unixctl.Call(ctx, s.path("v.ctl"), command, args...)
}
