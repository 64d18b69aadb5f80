package lab

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Layout tells how an edge reaches the physical network, by the two ways of the tutorial (section 2.1).
type Layout string

// Layouts of an edge.
const (
	// TwoNIC: beside the underlay interface there is a second one, eth1, on the outside LAN. It is up and not a port of any
	// bridge; TutorialEdgeBridge makes the bridge br0 of it.
	TwoNIC Layout = "two-nic"
	// OneNIC: the only interface is eth0; it is a port of the userspace bridge br0, which has the host's addresses. The
	// underlay is then part of the outside LAN.
	OneNIC Layout = "one-nic"
)

// Names on an edge.
const (
	outsideBridge = "br0"
	outsideNIC    = "eth1" // of TwoNIC
	onlyNIC       = "eth0" // of OneNIC
)

// Edge makes one of the hosts an edge, with a way to the Outside.
type Edge struct {
	// Host is its name.
	Host string `json:"host"`
	// Layout is TwoNIC by default.
	Layout Layout `json:"layout"`
	// SystemID is its system-id; default Host.
	SystemID string `json:"systemID"`
}

// edgesWithDefaults checks the edges of a configuration and fills in what was left empty.
func (c Config) edgesWithDefaults() ([]Edge, error) {
	edges := slices.Clone(c.Edges)
	seen := map[string]bool{}
	for i := range edges {
		e := &edges[i]
		if !slices.Contains(c.Hosts, e.Host) || seen[e.Host] {
			return nil, fmt.Errorf("edge %q: must be one of the hosts, and once", e.Host)
		}
		seen[e.Host] = true
		if e.Layout == "" {
			e.Layout = TwoNIC
		}
		if e.Layout != TwoNIC && e.Layout != OneNIC {
			return nil, fmt.Errorf("edge %s: layout %q: %s or %s", e.Host, e.Layout, TwoNIC, OneNIC)
		}
		if e.SystemID == "" {
			e.SystemID = e.Host
		}
	}
	return edges, nil
}

// edge is what the configuration says of a host as an edge; the zero Edge if it is none.
func (c Config) edge(host string) Edge {
	for _, e := range c.Edges {
		if e.Host == host {
			return e
		}
	}
	return Edge{}
}

// edge is what the configuration says of the host as an edge; the zero Edge if it is none.
func (h *Host) edge() Edge { return h.lab.cfg.edge(h.name) }

// SystemID is the host's name in the virtual network: external_ids:system-id of its Open vSwitch.
func (h *Host) SystemID() string {
	if e := h.edge(); e.SystemID != "" {
		return e.SystemID
	}
	return h.name
}

// underlayDevice is the host's end of its underlay link, a port of Bridge.
func (h *Host) underlayDevice() string {
	if h.edge().Layout == OneNIC {
		return onlyNIC
	}
	return underlayPort
}

// OutsideDevice is the interface of an edge that is on the outside LAN; empty if the host is no edge.
func (h *Host) OutsideDevice() string {
	switch h.edge().Layout {
	case TwoNIC:
		return outsideNIC
	case OneNIC:
		return onlyNIC
	}
	return ""
}

// CutOutside takes an edge of two interfaces off the outside LAN, as if the cable of eth1 were pulled; RestoreOutside
// puts it back.
func (h *Host) CutOutside() error { return h.setOutside(false) }

// RestoreOutside ends CutOutside.
func (h *Host) RestoreOutside() error { return h.setOutside(true) }

func (h *Host) setOutside(up bool) error {
	if h.edge().Layout != TwoNIC {
		return fmt.Errorf("host %s has no interface of its own on the outside LAN", h.name)
	}
	return h.lab.outside.setLink("o-"+h.name, up)
}

// CutBetween makes two hosts deaf for what the other one sends over the underlay, while both reach all others;
// RestoreBetween ends that.
func (l *Lab) CutBetween(ctx context.Context, a, b *Host) error {
	return errors.Join(a.setDeaf(ctx, b, true), b.setDeaf(ctx, a, true), a.Revalidated(ctx), b.Revalidated(ctx))
}

// RestoreBetween ends CutBetween.
func (l *Lab) RestoreBetween(ctx context.Context, a, b *Host) error {
	return errors.Join(a.setDeaf(ctx, b, false), b.setDeaf(ctx, a, false), a.Revalidated(ctx), b.Revalidated(ctx))
}

func (h *Host) setDeaf(ctx context.Context, other *Host, deaf bool) error {
	for _, a := range other.Addrs() {
		match := "ip,nw_src=" + a.String()
		if a.Is6() {
			match = "ipv6,ipv6_src=" + a.String()
		}
		command := []string{"del-flows", h.Bridge(), match}
		if deaf {
			command = []string{"add-flow", h.Bridge(), "priority=9000," + match + ",actions=drop"}
		}
		if _, err := h.Ofctl(ctx, command...); err != nil {
			return err
		}
	}
	return nil
}

// CutPower takes the host off every network at once, as a failure of its power does for all others. What runs on it
// goes on: RestorePower puts it back as it was.
func (h *Host) CutPower() error { return h.setPower(false) }

// RestorePower ends CutPower.
func (h *Host) RestorePower() error { return h.setPower(true) }

func (h *Host) setPower(on bool) error {
	if err := h.lab.wire.setLink("u-"+h.name, on); err != nil {
		return err
	}
	if h.edge().Layout == TwoNIC {
		if err := h.lab.outside.setLink("o-"+h.name, on); err != nil {
			return err
		}
	}
	if h.lab.cfg.Etcd == EtcdManagement {
		return h.lab.wire.setLink("m-"+h.name, on)
	}
	return nil
}
