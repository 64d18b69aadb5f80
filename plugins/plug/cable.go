package plug

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"tuplenet/datapath/ovsdb"
	"tuplenet/model"
)

// Cable is the connection of a container with its logical port.
type Cable struct {
	Record // all but Device
	MAC    model.MAC
	// MTU in bytes of the container's interface.
	MTU int
	// Namespace is the file of the container's network namespace; the interface gets the name Record.Interface there. Empty:
	// the container's end stays here.
	Namespace string
	// Addresses of the interface with the prefix lengths of their networks, and the gateways of the default routes: a family
	// that has a default route in the namespace already keeps it. Only with Namespace.
	Addresses []netip.Prefix
	Gateways  []netip.Addr
	// Tap asks for a tap device in place of a veth; then there is no Namespace, and nothing inside.
	Tap *Tap
}

// Plugged is what Plug made.
type Plugged struct {
	Device    string       // the host's end, a port of the integration bridge
	DeviceMAC model.MAC    // of the host's end
	Inside    string       // the container's end: Record.Interface in its namespace, or a name in ours
	Gateways  []netip.Addr // those of Cable.Gateways that a default route was made for
}

// attach limits how long Open vSwitch may take to take a port in, and, if nothing else is said, cleaning up after a failure.
const attach = 10 * time.Second

// Plug makes the veth, sets up its ends and adds the host's one to the integration bridge; it returns when the switch has taken
// it. When anything fails, nothing of it is left. Errors: ErrPlugged, ErrNamespace, ErrNotReady.
func (h *Host) Plug(ctx context.Context, c Cable) (p Plugged, err error) {
	if r, ok := h.Find(c.Port); ok {
		return p, fmt.Errorf("port %s: %w as %s", c.Port, ErrPlugged, r.Device)
	}
	for attempt := range 16 {
		device, ok := c.device(attempt)
		if !ok {
			break
		}
		p, err = h.tryPlug(ctx, c, device, insideName(device))
		if !errors.Is(err, errNameTaken) {
			break
		}
	}
	if err != nil {
		return Plugged{}, fmt.Errorf("plug port %s: %w", c.Port, err)
	}
	h.log.Info("plugged", "port", c.Port, "device", p.Device, "plugin", c.Plugin, "container", c.Container)
	return p, nil
}

// errNameTaken says that a name of a device belongs to somebody else.
var errNameTaken = errors.New("the name of the device is taken")

// deviceName is the host's end of the veth of a port: 14 characters, of 15 that the kernel allows. 48 bits of a hash of
// the port's name; on a collision, the next attempt is tried.
func deviceName(port string, attempt int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d", port, attempt))
	return "tp" + hex.EncodeToString(sum[:6])
}

// insideName is the container's end of the veth until it is moved and named.
func insideName(device string) string { return "q" + device[1:] }

func (h *Host) tryPlug(ctx context.Context, c Cable, device, inside string) (p Plugged, err error) {
	if i := h.now().Interfaces[device]; i != nil {
		return p, fmt.Errorf("%w: %s is %s of %s", errNameTaken, device, "a port", i.Bridge)
	}
	if err := makeDevice(c, device, inside, h.userspace()); err != nil {
		return p, err
	}
	defer func() {
		if err == nil {
			return
		}
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), h.cfg.Undo)
		defer cancel()
		err = errors.Join(err, h.detach(undo, device, c.Port), removeLink(device, c.Port))
	}()
	p = Plugged{Device: device, Inside: inside}
	if c.Tap != nil {
		p.Inside = ""
	}
	if c.Namespace != "" {
		if p.Gateways, err = moveInside(c, inside); err != nil {
			return p, err
		}
		p.Inside = c.Interface
	}
	if p.DeviceMAC, err = startLink(device); err != nil {
		return p, err
	}
	c.Device = device
	port := ovsdb.Port{Name: device, Bridge: h.cfg.Bridge, ExternalIDs: c.externalIDs()}
	switch err := h.session.AddPort(ctx, port); {
	case errors.Is(err, ovsdb.ErrNoBridge):
		return p, fmt.Errorf("%w: %w", ErrNotReady, err)
	case errors.Is(err, ovsdb.ErrPortExists):
		return p, fmt.Errorf("%w: %w", errNameTaken, err)
	case err != nil:
		return p, err
	}
	return p, h.taken(ctx, device)
}

// taken waits until the switch has given the port a number.
func (h *Host) taken(ctx context.Context, device string) error {
	limit, cancel := context.WithTimeout(ctx, attach)
	defer cancel()
	f, err := h.await(limit, func(f *ovsdb.Facts) bool {
		i := f.Interfaces[device]
		return i.HasOFPort() || i != nil && i.Error != ""
	})
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return fmt.Errorf("%w: Open vSwitch did not take in port %s within %v: is ovs-vswitchd running?", ErrNotReady, device, attach)
	case !f.Interfaces[device].HasOFPort():
		return fmt.Errorf("Open vSwitch cannot use port %s: %s", device, f.Interfaces[device].Error)
	}
	return nil
}

// Unplug takes a logical port out: its port of the switch, and both ends of its veth, wherever the other is. It is no error if
// nothing or only a part of it is there. Ports without a record stay.
func (h *Host) Unplug(ctx context.Context, port string) error {
	var failed []error
	for _, i := range h.now().Interfaces {
		r, ok := recordOf(i)
		if !ok || r.Port != port {
			continue
		}
		failed = append(failed, h.detach(ctx, r.Device, port), removeLink(r.Device, port))
		h.log.Info("unplugged", "port", port, "device", r.Device, "plugin", r.Plugin, "container", r.Container)
	}
	for attempt := range 2 { // what a Plug that was ended made and did not record, or what is not among the facts yet
		device := deviceName(port, attempt)
		failed = append(failed, h.detach(ctx, device, port), removeLink(device, port))
	}
	err := errors.Join(failed...)
	if err == nil {
		err = h.untilGone(ctx, port)
	}
	if err != nil {
		return fmt.Errorf("unplug port %s: %w", port, err)
	}
	return nil
}

// untilGone waits until the facts say what was written: a port that is plugged anew must not seem to be plugged still.
func (h *Host) untilGone(ctx context.Context, port string) error {
	limit, cancel := context.WithTimeout(ctx, attach)
	defer cancel()
	_, err := h.await(limit, func(f *ovsdb.Facts) bool { _, there := find(f, port); return !there })
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return fmt.Errorf("%w: the Open vSwitch database does not show within %v that the port is deleted", ErrNotReady, attach)
	}
	return nil
}

// detach removes the port of the switch if its record names the logical port.
func (h *Host) detach(ctx context.Context, device, port string) error {
	return h.session.DeletePort(ctx, device, func(ids map[string]string) bool { return ids[keyPlugin] != "" && ids[keyPort] == port })
}
