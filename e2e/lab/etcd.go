package lab

import (
	"context"
	"errors"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const etcdName = "etcd"

// etcdNode is where etcd runs.
func (l *Lab) etcdNode() *node {
	if l.cfg.Etcd == EtcdFirstHost {
		return l.hosts[0].node
	}
	return l.wire.node
}

// StartEtcd starts an etcd server of one member, listening on Endpoints, with the data of an earlier one if there was
// one, and waits until it serves. `etcdctl` on any host talks to it.
func (l *Lab) StartEtcd(ctx context.Context) error {
	if len(l.cfg.EtcdCommand) == 0 {
		return errors.New("the lab was made without an etcd command and without a directory of binaries")
	}
	args := append([]string{}, l.cfg.EtcdCommand...)
	args = append(args, "--data", filepath.Join(l.dir, "etcd-data"), "--listen", "http://"+l.Endpoints()[0])
	return l.etcdNode().spawnNotifying(ctx, etcdName, nil, args...)
}

// StopEtcd ends etcd with the signal given and waits for its end; StartEtcd brings it back with its data.
func (l *Lab) StopEtcd(ctx context.Context, sig unix.Signal) error {
	n := l.etcdNode()
	return (&Host{node: n}).kill(ctx, etcdName, sig)
}
