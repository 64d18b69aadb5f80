package plug

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"tuplenet/datapath/host"
	"tuplenet/datapath/ovsdb"
	"tuplenet/model"
)

// Config tells where the switch of this host is.
type Config struct {
	// Socket of the Open vSwitch database; default /var/run/openvswitch/db.sock.
	Socket string
	// Bridge is the integration bridge; default br-int.
	Bridge string
	// Undo limits how long the cleaning after a failed Plug may take, which goes on when its context has ended; default 10 s.
	Undo time.Duration
	// Logger; nil discards.
	Logger *slog.Logger
}

// Defaults of Config.
const (
	DefaultSocket = "/var/run/openvswitch/db.sock"
	DefaultBridge = "br-int"
)

// Errors that a caller branches on.
var (
	// ErrNotReady: Open vSwitch, the integration bridge or the daemon of this host is not there (yet); it may be later.
	ErrNotReady = errors.New("this host is not ready")
	// ErrPlugged: the logical port is plugged already.
	ErrPlugged = errors.New("plugged already")
	// ErrNamespace: the namespace cannot be used, or has an interface of the wanted name.
	ErrNamespace = errors.New("the container's namespace cannot be used")
)

// Host is this host's switch, as seen by a plugin. It is safe for use by several goroutines.
type Host struct {
	cfg     Config
	log     *slog.Logger
	session *ovsdb.Session
	cancel  context.CancelFunc
	ended   chan struct{}

	mu      sync.Mutex
	facts   *ovsdb.Facts
	changed chan struct{} // closed and replaced with every new facts
}

// Open connects to the database of Open vSwitch and reads it. It waits for it until ctx ends; then the error is ErrNotReady.
func Open(ctx context.Context, cfg Config) (*Host, error) {
	cfg.Socket, cfg.Bridge, cfg.Undo = cmp.Or(cfg.Socket, DefaultSocket), cmp.Or(cfg.Bridge, DefaultBridge), cmp.Or(cfg.Undo, attach)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	h := &Host{cfg: cfg, log: cfg.Logger.With("component", "plug"), changed: make(chan struct{}), ended: make(chan struct{})}
	h.session = ovsdb.New(ovsdb.Config{Socket: cfg.Socket, Logger: cfg.Logger, OnFacts: h.learn})
	running, cancel := context.WithCancel(context.Background())
	h.cancel = cancel
	go func() {
		defer close(h.ended)
		_ = h.session.Run(running) // ends with its context only
	}()
	if _, err := h.await(ctx, func(*ovsdb.Facts) bool { return true }); err != nil {
		h.Close()
		return nil, fmt.Errorf("%w: no answer from the Open vSwitch database at %s: is Open vSwitch running?", ErrNotReady, cfg.Socket)
	}
	return h, nil
}

// Close ends the connection. Ports stay as they are.
func (h *Host) Close() {
	h.cancel()
	<-h.ended
}

func (h *Host) learn(f ovsdb.Facts) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.facts = &f
	close(h.changed)
	h.changed = make(chan struct{})
}

// await waits until the facts are as wanted.
func (h *Host) await(ctx context.Context, wanted func(*ovsdb.Facts) bool) (*ovsdb.Facts, error) {
	for {
		h.mu.Lock()
		f, changed := h.facts, h.changed
		h.mu.Unlock()
		if f != nil && wanted(f) {
			return f, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return f, context.Cause(ctx)
		}
	}
}

func (h *Host) now() *ovsdb.Facts {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.facts
}

// Ready waits until the switch has a name (its system-id) and the integration bridge, which the daemon makes, with its device,
// and returns the name: the chassis. When ctx ends before, the error is ErrNotReady and says what is missing. Who runs in
// another network namespace than Open vSwitch is never ready: to it, all containers would seem to be gone.
func (h *Host) Ready(ctx context.Context) (chassis string, err error) {
	f, err := h.await(ctx, func(f *ovsdb.Facts) bool { return f.SystemID != "" && f.Bridges[h.cfg.Bridge] != nil })
	switch {
	case err == nil:
		return f.SystemID, h.awaitDevice(ctx)
	case f.SystemID == "":
		return "", fmt.Errorf("%w: Open vSwitch has no system-id (ovs-vsctl set open_vswitch . external-ids:system-id=NAME)", ErrNotReady)
	}
	return "", fmt.Errorf("%w: there is no bridge %s: has the daemon (tuplenet) run on this host?", ErrNotReady, h.cfg.Bridge)
}

// awaitDevice waits for the device of the integration bridge, which goes and comes with ovs-vswitchd.
func (h *Host) awaitDevice(ctx context.Context) error {
	for {
		_, err := host.DeviceNamed(h.cfg.Bridge)
		if err == nil {
			return nil
		}
		select {
		case <-time.After(devicePause):
		case <-ctx.Done():
			return fmt.Errorf("%w: %w: is ovs-vswitchd running, and in this network namespace?", ErrNotReady, err)
		}
	}
}

// devicePause is how often it is looked for a device.
const devicePause = 50 * time.Millisecond

// Chassis is the system-id of this host; "" if it has none. Ready waits for it.
func (h *Host) Chassis() string { return h.now().SystemID }

// userspace tells whether the bridge forwards in user space, so that nobody fills in checksums that a veth leaves out.
func (h *Host) userspace() bool {
	b := h.now().Bridges[h.cfg.Bridge]
	return b != nil && b.DatapathType == ovsdb.DatapathNetdev
}

// MTU is that of the interfaces of containers on a switch: what the switch is set to, else the largest IP packet that fits
// into a tunnel of this host, whose registration is chassis.
func (h *Host) MTU(sw *model.LogicalSwitch, chassis *model.Chassis) (int, error) {
	if sw.MTU != 0 {
		return sw.MTU, nil
	}
	tunnel, err := TunnelMTU(chassis)
	if sw.Type == model.SwitchMulticast && tunnel > 0 {
		tunnel = model.MulticastMTU(tunnel + overheadOf(chassis))
	}
	return sw.WorkloadMTU(tunnel), err
}

// overheadOf is the most that a tunnel of a chassis adds to a packet.
func overheadOf(chassis *model.Chassis) int {
	over := 0
	for _, e := range chassis.Encaps {
		over = max(over, host.TunnelOverhead(string(e), chassis.IPs[0].Is6()))
	}
	return over
}

// TunnelMTU is the largest IP packet that fits into the tunnels of the deployment, as this host's daemon says in its
// registration. A daemon of an older version does not say it; then it is what the device with the address of the tunnels allows.
func TunnelMTU(chassis *model.Chassis) (int, error) {
	if chassis.TunnelMTU != 0 {
		return chassis.TunnelMTU, nil
	}
	d, err := host.DeviceHolding(chassis.IPs[0])
	if err != nil {
		return 0, fmt.Errorf("%w: the MTU of tunnels is not known: %w", ErrNotReady, err)
	}
	return d.MTU - overheadOf(chassis), nil
}

// Records are the ports of the integration bridge that a plugin has plugged ("" = all plugins), sorted by logical port.
func (h *Host) Records(plugin string) (out []Record) {
	for _, i := range h.now().Interfaces {
		if r, ok := recordOf(i); ok && (plugin == "" || r.Plugin == plugin) {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b Record) int { return cmp.Or(cmp.Compare(a.Port, b.Port), cmp.Compare(a.Device, b.Device)) })
	return out
}

// Find is the record of a logical port; ok is false if it is not plugged here by a plugin.
func (h *Host) Find(port string) (r Record, ok bool) { return find(h.now(), port) }

func find(f *ovsdb.Facts, port string) (r Record, ok bool) {
	for _, i := range f.Interfaces {
		if r, ok := recordOf(i); ok && r.Port == port {
			return r, true
		}
	}
	return r, false
}

// Trouble says why Open vSwitch does not use a plugged port; "" if it does.
func (h *Host) Trouble(r Record) string {
	i := h.now().Interfaces[r.Device]
	switch {
	case i == nil:
		return fmt.Sprintf("%s is not a port of %s", r.Device, h.cfg.Bridge)
	case i.Error != "":
		return i.Error
	case !i.HasOFPort():
		return fmt.Sprintf("Open vSwitch has not taken %s", r.Device)
	}
	return ""
}
