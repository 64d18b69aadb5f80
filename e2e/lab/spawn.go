package lab

import (
	"context"

	"golang.org/x/sys/unix"
)

// Spawn starts a program that runs on the host until it is ended, in the place of an earlier one of that name that has
// ended. NAME=VALUE before the command are environment variables. Its output is in the host's folder log.
func (h *Host) Spawn(name string, command ...string) (Process, error) {
	env, args := splitEnv(command)
	return h.spawn(name, env, args...)
}

// Spawned is what Spawn started last by that name; the zero Process if nothing was.
func (h *Host) Spawned(name string) Process { return h.lab.process(h.name, name) }

// End signals what Spawn started by that name and waits for its end.
func (h *Host) End(ctx context.Context, name string, sig unix.Signal) error {
	return h.kill(ctx, name, sig)
}

// SpawnCentral starts a program that runs until it is ended on the node where etcd runs: what a peer in a comparison has there.
func (l *Lab) SpawnCentral(name string, command ...string) (Process, error) {
	env, args := splitEnv(command)
	return l.etcdNode().spawn(name, env, args...)
}

// ExecCentral runs a command on the node where etcd runs; see Host.Exec.
func (l *Lab) ExecCentral(ctx context.Context, command ...string) (string, error) {
	return l.etcdNode().Exec(ctx, command...)
}

// CentralDir is the folder, on the machine, of the node where etcd runs; its /run is below it.
func (l *Lab) CentralDir() string { return l.etcdNode().dir }
