package lab

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"
)

// spawnNotifying starts a process that reports by sd_notify(3) that it is ready, and waits for that.
func (n *node) spawnNotifying(ctx context.Context, name string, env []string, args ...string) error {
	if n.lab.process(n.name, name).Alive() {
		return fmt.Errorf("%s runs on %s already", name, n.name)
	}
	path := filepath.Join(n.dir, name+".ntf")
	_ = os.Remove(path) // of a program that was killed while it waited
	sock, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("notification socket of %s on %s: %w", name, n.name, err)
	}
	defer os.Remove(path)
	defer sock.Close()
	p, err := n.spawn(name, append(env, "NOTIFY_SOCKET="+path), args...)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithDeadline(ctx, deadline(ctx))
	defer cancel()
	buf := make([]byte, 4096)
	return WaitFor(ctx, fmt.Sprintf("%s on %s to become ready", name, n.name), func() error {
		if !p.Alive() {
			return endOfWait{fmt.Errorf("it ended:\n%s", p.Tail(10))}
		}
		_ = sock.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		k, err := sock.Read(buf)
		if err == nil && hasLine(buf[:k], "READY=1") {
			return nil
		}
		return fmt.Errorf("no READY=1 yet; its last lines:\n%s", p.Tail(5))
	})
}

// endOfWait is an error after which waiting is of no use.
type endOfWait struct{ error }

// Unwrap gives the reason.
func (e endOfWait) Unwrap() error { return e.error }

func hasLine(b []byte, line string) bool {
	for l := range bytes.Lines(b) {
		if string(bytes.TrimSpace(l)) == line {
			return true
		}
	}
	return false
}
