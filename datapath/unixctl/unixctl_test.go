package unixctl

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// serve answers one connection after another; a nil reply leaves it waiting.
func serve(t *testing.T, reply func(method string, params []string) any) (socket string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "uctl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.WriteFile(filepath.Join(dir, "ovs-vswitchd.pid"), []byte("77\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "ovs-vswitchd.77.ctl"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			var r struct {
				Method string
				Params []string
			}
			if json.NewDecoder(c).Decode(&r) == nil {
				if answer := reply(r.Method, r.Params); answer != nil {
					_ = json.NewEncoder(c).Encode(answer)
					c.Close()
				}
			}
		}
	}()
	socket, err = Socket(dir, "ovs-vswitchd")
	if err != nil {
		t.Fatal(err)
	}
	return socket
}

func TestACommandIsAnsweredRefusedOrGivenUp(t *testing.T) {
	socket := serve(t, func(method string, params []string) any {
		switch method {
		case "echo":
			return map[string]any{"id": 0, "result": params[0], "error": nil}
		case "bad":
			return map[string]any{"id": 0, "result": nil, "error": "no such thing\n"}
		}
		return nil
	})
	if out, err := Call(t.Context(), socket, "echo", "hello"); err != nil || out != "hello" {
		t.Fatal(out, err)
	}
	var refused *Error
	if _, err := Call(t.Context(), socket, "bad"); !errors.As(err, &refused) || err.Error() != "no such thing" {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Call(ctx, socket, "hang"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
}

func TestNoDaemonIsAnError(t *testing.T) {
	if _, err := Socket(t.TempDir(), "ovs-vswitchd"); !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
}
