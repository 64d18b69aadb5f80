package lab

import (
	"context"
	"errors"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const daemonName = "tuplenet"

// StartDaemon starts `tuplenet` on the host, on the bridge that has its addresses and with the lab's etcd, and waits
// until it says that it is ready. More arguments follow these, NAME=VALUE before them are environment variables.
func (h *Host) StartDaemon(ctx context.Context, args ...string) error {
	env, rest := splitEnv(args)
	return h.startDaemon(ctx, env, append(h.daemonCommand()[1:], rest...))
}

// daemonCommand is the lab's command line of the daemon.
func (h *Host) daemonCommand() []string {
	return []string{
		filepath.Join(h.lab.cfg.Bin, "tuplenet"),
		"--interface", h.Bridge(), "--host", strings.Join(h.lab.Endpoints(), ","), "--prefix", h.lab.cfg.Prefix,
	}
}

// StartDaemonExactly is StartDaemon with these arguments only.
func (h *Host) StartDaemonExactly(ctx context.Context, args ...string) error {
	env, rest := splitEnv(args)
	return h.startDaemon(ctx, env, rest)
}

func (h *Host) startDaemon(ctx context.Context, env, args []string) error {
	if h.lab.cfg.Bin == "" {
		return errors.New("the lab was made without a directory of binaries")
	}
	return h.spawnNotifying(ctx, daemonName, env, append([]string{filepath.Join(h.lab.cfg.Bin, "tuplenet")}, args...)...)
}

// SpawnDaemon is StartDaemon without waiting until the daemon is ready.
func (h *Host) SpawnDaemon(args ...string) error {
	env, rest := splitEnv(args)
	_, err := h.spawn(daemonName, env, append(h.daemonCommand(), rest...)...)
	return err
}

// splitEnv takes NAME=VALUE off the front, where NAME is in capitals.
func splitEnv(args []string) (env, rest []string) {
	for i, a := range args {
		name, _, found := strings.Cut(a, "=")
		if !found || name == "" || strings.ToUpper(name) != name || strings.HasPrefix(name, "-") {
			return env, args[i:]
		}
		env = append(env, a)
	}
	return env, nil
}

// Daemon is the host's tuplenet process, as started last.
func (h *Host) Daemon() Process { return h.lab.process(h.name, daemonName) }

// KillDaemon ends tuplenet with SIGKILL and waits for its end.
func (h *Host) KillDaemon(ctx context.Context) error { return h.kill(ctx, daemonName, unix.SIGKILL) }

// StopDaemon asks tuplenet to end, by SIGTERM, and waits for its end.
func (h *Host) StopDaemon(ctx context.Context) error { return h.kill(ctx, daemonName, unix.SIGTERM) }
