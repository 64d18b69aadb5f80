package controller

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"tuplenet/datapath/host"
)

// readHost finds the tunnel endpoints and what they allow. It fails if there are none.
func (l *loop) readHost() error {
	addrs, err := l.findEndpoints()
	if err != nil {
		return err
	}
	d, err := host.DeviceHolding(addrs[0])
	if err != nil {
		return fmt.Errorf("tunnel endpoint %s: %w", addrs[0], err)
	}
	l.addrs, l.mtu = addrs, d.MTU
	l.device = l.multicastUnderlay(d.Name)
	return nil
}

// findEndpoints are the addresses that were given, if the host has them, or those of the first device that has any; the one of
// IPv4 first.
func (l *loop) findEndpoints() ([]netip.Addr, error) {
	if len(l.cfg.IPs) > 0 {
		addrs, err := l.cfg.addresses()
		if err != nil {
			return nil, err
		}
		for _, a := range addrs {
			if _, err := host.DeviceHolding(a); err != nil {
				return nil, fmt.Errorf("tunnel endpoint %s: %w", a, err)
			}
		}
		return addrs, nil
	}
	var failed []string
	for _, name := range l.cfg.Interfaces {
		e, err := host.EndpointOf(name)
		if err != nil {
			failed = append(failed, err.Error())
			continue
		}
		return slices.DeleteFunc([]netip.Addr{e.V4, e.V6}, func(a netip.Addr) bool { return !a.IsValid() }), nil
	}
	return nil, errors.New("no tunnel endpoint: " + strings.Join(failed, "; "))
}

// hostMoved follows a change of the host's addresses. While there is no usable endpoint the old ones stay.
func (l *loop) hostMoved() {
	was := slices.Clone(l.addrs)
	if err := l.readHost(); err != nil {
		if l.lostIP == "" {
			l.log.Warn("tunnel endpoint is gone, keeping what was", "err", err)
		}
		l.lostIP = fmt.Sprintf("tunnel endpoint is gone: %v", err)
		return
	}
	l.lostIP = ""
	if !slices.Equal(was, l.addrs) {
		l.endpointsChanged(was)
	}
}

// endpointsChanged has done again what was done with the endpoints that were, but for what is compiled and reported at each turn.
func (l *loop) endpointsChanged(was []netip.Addr) {
	l.log.Info("tunnel endpoints changed", "from", was, "to", l.addrs)
	l.wantPorts(l.ovsFacts.get()) // packets are sampled in the name of an endpoint
}
