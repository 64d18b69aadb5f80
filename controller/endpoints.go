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
	addrs, d, err := l.findEndpoints()
	if err != nil {
		return err
	}
	l.addrs, l.mtu = addrs, d.MTU
	l.device = l.multicastUnderlay(d.Name)
	return nil
}

// findEndpoints are the addresses that were given, if the host has them, or those of the first device that has any; the one of
// IPv4 first. The device is that of the first address.
func (l *loop) findEndpoints() (addrs []netip.Addr, first host.Device, err error) {
	if len(l.cfg.IPs) > 0 {
		addrs, err := l.cfg.addresses()
		if err != nil {
			return nil, first, err
		}
		for i, a := range addrs {
			d, err := host.DeviceHolding(a)
			if err != nil {
				return nil, first, fmt.Errorf("tunnel endpoint %s: %w", a, err)
			}
			if i == 0 {
				first = d
			}
		}
		return addrs, first, nil
	}
	var failed []string
	for _, name := range l.cfg.Interfaces {
		e, err := host.EndpointOf(name)
		if err != nil {
			failed = append(failed, err.Error())
			continue
		}
		return e.Addrs(), e.Device, nil
	}
	return nil, first, errors.New("no tunnel endpoint: " + strings.Join(failed, "; "))
}

// hostMoved follows a change of the host's addresses and devices, and tells whether it was one of the endpoints: others come with each
// workload. While there is no usable endpoint the old ones stay.
func (l *loop) hostMoved() bool {
	was, mtu, device, lost := slices.Clone(l.addrs), l.mtu, l.device, l.lostIP
	if err := l.readHost(); err != nil {
		if l.lostIP == "" {
			l.log.Warn("tunnel endpoint is gone, keeping what was", "err", err)
		}
		l.lostIP = fmt.Sprintf("tunnel endpoint is gone: %v", err)
		return l.lostIP != lost
	}
	l.lostIP = ""
	if !slices.Equal(was, l.addrs) {
		l.endpointsChanged(was)
		return true
	}
	return l.mtu != mtu || l.device != device || lost != ""
}

// endpointsChanged has done again what was done with the endpoints that were, but for what is compiled and reported at each turn.
func (l *loop) endpointsChanged(was []netip.Addr) {
	l.log.Info("tunnel endpoints changed", "from", was, "to", l.addrs)
	l.wantPorts(l.ovsFacts.get()) // packets are sampled in the name of an endpoint
}
