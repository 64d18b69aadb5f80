package multicast

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Mark is the device group (ip-link(8), group) of what this package made: `ip link show group 29805` lists it.
const Mark = 0x746d

// Network is a multicast network as this host has it.
type Network struct {
	ID uint32 // VNI
	// Device, Bridge: the names of the VXLAN device and of the Linux bridge. Outside is the end of the veth pair that is in Bridge. At most
	// 15 bytes each, here and below.
	Device, Bridge, Outside string
	// Inside are names for the end that the integration bridge takes as a port. A pair that has to be made again gets the other one:
	// Open vSwitch 3.1 in user space goes on with a device that is gone when another one has its name.
	Inside [2]string
	// Taken is the name of the port that the integration bridge has now; empty: none.
	Taken string
	// Group is the multicast address, Port the UDP port, HopLimit that of the outer packets.
	Group    netip.Addr
	Port     uint16
	HopLimit uint8
	// Underlay is the device that leads to the other hosts.
	Underlay string
	// Userspace: the integration bridge forwards in user space, so checksums have to be complete before frames reach it.
	Userspace bool
}

// State is what is there of the wanted networks, by the name of the VXLAN device.
type State map[string]Condition

// Condition is that of one network.
type Condition struct {
	// Inside is the device that may be taken as a port, also while a part of the rest is broken; empty: there is none.
	Inside string
	// Problem says what is missing, in words for people; empty: nothing.
	Problem string
}

// retry is the pause after which a network with a problem is tried again: not every cause is a change of devices.
const retry = 2 * time.Second

// Keeper is the reconciler. Set and Look may be called from any goroutine.
type Keeper struct {
	log     *slog.Logger
	changed func(State)

	mu     sync.Mutex
	wanted []Network
	asked  bool
	wake   chan struct{} // capacity 1

	// Of the goroutine of Run.
	idle  bool // nothing is wanted and nothing of ours is there
	state State
	used  map[string]string // VXLAN device → the name that Inside had last, also of networks that went: they may be back at once
}

// New makes a keeper. changed is called from the goroutine of Run with every new state, which it may keep.
func New(log *slog.Logger, changed func(State)) *Keeper {
	return &Keeper{log: log.With("component", "multicast"), changed: changed, wake: make(chan struct{}, 1), used: map[string]string{}}
}

// Set replaces what is wanted. Before the first call nothing is touched.
func (k *Keeper) Set(wanted []Network) {
	k.mu.Lock()
	k.wanted, k.asked = slices.Clone(wanted), true
	k.mu.Unlock()
	k.kick()
}

// Look says that devices may have changed.
func (k *Keeper) Look() { k.kick() }

func (k *Keeper) kick() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// Run works until ctx ends, and leaves everything as it is then.
func (k *Keeper) Run(ctx context.Context) {
	again := time.NewTimer(retry)
	again.Stop()
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.wake:
		case <-again.C:
		}
		again.Stop()
		k.mu.Lock()
		wanted, asked := k.wanted, k.asked
		k.mu.Unlock()
		if !asked || k.idle && len(wanted) == 0 {
			continue
		}
		if !k.turn(wanted) {
			again.Reset(retry)
		}
	}
}

// turn makes what is wanted so, tells what came of it, and whether nothing is left to do.
func (k *Keeper) turn(wanted []Network) (done bool) {
	state, left, err := reconcile(wanted, k.used)
	if err != nil {
		k.log.Warn("cannot look at the devices of multicast networks", "err", err)
		return false
	}
	k.idle = len(wanted) == 0 && left == 0
	done = true
	for _, device := range slices.Sorted(maps.Keys(state)) {
		c, was := state[device], k.state[device]
		done = done && c.Problem == ""
		if c.Inside != "" {
			k.used[device] = c.Inside
		}
		switch {
		case c.Problem != "" && c.Problem != was.Problem:
			k.log.Warn("multicast network does not work", "device", device, "why", c.Problem)
		case c.Inside != "" && c.Problem == "" && (was.Inside == "" || was.Problem != ""):
			k.log.Info("multicast network is there", "device", device)
		}
	}
	for device := range k.state {
		if _, there := state[device]; !there {
			k.log.Info("multicast network is not used here any more", "device", device)
		}
	}
	if k.state == nil || !maps.Equal(state, k.state) {
		k.state = state
		k.changed(maps.Clone(state))
	}
	return done
}

// problem is an error in words for people.
func problem(format string, args ...any) error { return fmt.Errorf(format, args...) }
