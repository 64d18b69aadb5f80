package controller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"tuplenet/model/store"
)

// identity tells this node from others: machine and boot, and which Open vSwitch of the machine it drives.
func identity(chassis, ovsdbSocket string) store.Identity {
	read := func(name string) string {
		b, _ := os.ReadFile(name)
		return strings.TrimSpace(string(b))
	}
	hostname, _ := os.Hostname()
	instance := ovsdbSocket
	if real, err := filepath.EvalSymlinks(instance); err == nil { // /var/run is /run
		instance = real
	}
	if full, err := filepath.Abs(instance); err == nil {
		instance = full
	}
	return store.Identity{Chassis: chassis, Hostname: hostname,
		MachineID: cmp.Or(read("/etc/machine-id"), "of host "+hostname), // containers may have none
		BootID:    read("/proc/sys/kernel/random/boot_id"), Instance: instance}
}

// registry is what of the store deals with identities.
type registry interface {
	Live(ctx context.Context) (map[string]store.Identity, error)
	HoldIdentity(ctx context.Context, id store.Identity) (*store.Lease, error)
}

// registryPause is the pause after an attempt to reach the store, which waits for some seconds itself.
const registryPause = 500 * time.Millisecond

// holdIdentity makes sure that no other live host uses the same system-id, and keeps the liveness key until ctx ends, which is
// no error. cleared is called as soon as it is known that no other host has the name, which may be some time before held: the
// lease of a previous boot has to expire first. While the store is away it waits. It returns an error when the identity
// cannot be had, or is lost for good.
func holdIdentity(ctx context.Context, reg registry, id store.Identity, log *slog.Logger, cleared func(), held func(*store.Lease)) error {
	var lease *store.Lease
	err := patiently(ctx, log, func() error {
		live, err := reg.Live(ctx)
		if err != nil {
			return err
		}
		if by, taken := live[id.Chassis]; taken && (by.MachineID != id.MachineID || by.Instance != id.Instance) {
			return &store.ErrHeld{By: by}
		}
		return nil
	})
	if err == nil && ctx.Err() == nil {
		cleared()
		err = patiently(ctx, log, func() (err error) {
			lease, err = reg.HoldIdentity(ctx, id)
			return err
		})
	}
	if err != nil || ctx.Err() != nil {
		return err
	}
	held(lease)
	select {
	case <-ctx.Done():
		return nil
	case <-lease.Done():
	}
	if err := lease.Err(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("lost: %w", err)
	}
	return nil
}

// patiently tries until the store can be reached; it returns nil at the end of ctx.
func patiently(ctx context.Context, log *slog.Logger, try func() error) error {
	said := false
	for {
		err := try()
		switch {
		case ctx.Err() != nil:
			return nil
		case !errors.Is(err, store.ErrUnreachable):
			return err
		case !said:
			said = true
			log.Warn("the store is away; the switch goes on as it is, and the node waits", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(registryPause):
		}
	}
}
