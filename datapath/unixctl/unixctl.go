// Package unixctl runs commands of the Open vSwitch daemons (ovs-appctl(8)) through their control sockets, without starting a
// process. It carries words and knows none: controller asks for traces with it, datapath/ovstest drives its switch.
package unixctl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// Socket finds the control socket of a daemon, such as ovs-vswitchd, in the run folder of Open vSwitch: <name>.<pid>.ctl, with
// the pid of its pid file.
func Socket(runDir, daemon string) (string, error) {
	b, err := os.ReadFile(filepath.Join(runDir, daemon+".pid"))
	if err != nil {
		return "", fmt.Errorf("which %s runs: %w", daemon, err)
	}
	return filepath.Join(runDir, daemon+"."+strings.TrimSpace(string(b))+".ctl"), nil
}

// Error is what a daemon answers to a command that it refuses.
type Error struct{ Text string }

func (e *Error) Error() string { return strings.TrimSpace(e.Text) }

// Call runs one command and returns its output. The protocol is JSON-RPC 1.0 (ovs-appctl's), one request a connection here.
// ctx bounds it. An *Error is the daemon's own.
func Call(ctx context.Context, socket, command string, args ...string) (string, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return "", err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	out, err := exchange(c, command, args)
	if ctx.Err() != nil {
		return "", fmt.Errorf("%s: %w", command, context.Cause(ctx))
	}
	return out, err
}

func exchange(c net.Conn, command string, args []string) (string, error) {
	if args == nil {
		args = []string{}
	}
	request := struct {
		ID     int      `json:"id"`
		Method string   `json:"method"`
		Params []string `json:"params"`
	}{Method: command, Params: args}
	if err := json.NewEncoder(c).Encode(request); err != nil {
		return "", err
	}
	var reply struct {
		Result, Error *string
	}
	if err := json.NewDecoder(c).Decode(&reply); err != nil {
		return "", fmt.Errorf("%s: %w", command, err)
	}
	switch {
	case reply.Error != nil:
		return "", &Error{*reply.Error}
	case reply.Result == nil:
		return "", errors.New(command + ": neither result nor error")
	}
	return *reply.Result, nil
}
