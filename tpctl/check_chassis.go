package tpctl

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"tuplenet/model"
	"tuplenet/model/store"
)

// Limits of what is no finding.
const (
	maxSkew     = time.Second
	certificate = 30 * 24 * time.Hour // before its end
	netdev      = "netdev"
)

// chassis judges what the chassis say of themselves.
func (c *checking) chassis() {
	for i := range c.Chassis {
		h := &c.Chassis[i]
		object := "chassis/" + h.Name
		restart := fmt.Sprintf("on %s: systemctl restart tuplenet; journalctl -u tuplenet", h.Name)
		switch {
		case h.State == stateDown:
			c.errorf(object, restart+"; or, if it is gone: tpctl ch del "+h.Name, "it is down (%s)", seenText(h.LastSeenMS))
			continue
		case h.Silent != "":
			c.errorf(object, restart, "it does not say how it does: %s", h.Silent)
		case h.Behind != "":
			c.errorf(object, restart, "it is %d revisions behind: %s", h.Lag, h.Behind)
		}
		if h.Refused > 0 {
			c.errorf(object, "tpctl ch show "+h.Name, "its switch refuses %d flows or groups", h.Refused)
		}
		for _, remote := range slices.Sorted(maps.Keys(h.BFD)) {
			if h.BFD[remote] != "up" {
				c.errorf(object, fmt.Sprintf("on %s: ping %s; open UDP 6081 both ways", h.Name, remote), "the watched tunnel to %s is %s", remote, h.BFD[remote])
			}
		}
		for _, p := range h.Problems {
			if _, err := model.ParseRef(p.Key); err != nil { // of objects, the store's check tells
				c.errorf(object, "tpctl ch show "+h.Name, "%s: %s", p.Key, p.Reason)
			}
		}
		c.clock(h)
	}
}

// seenText says when a chassis was alive; 0: it is not known.
func seenText(milliseconds int64) string {
	if milliseconds == 0 {
		return "not seen for long"
	}
	return fmt.Sprintf("last seen %s ago", (time.Duration(milliseconds) * time.Millisecond).Round(time.Second))
}

// clock compares a clock with ours, for which it was asked between two moments.
func (c *checking) clock(h *chassisHealth) {
	if h.health == nil {
		return
	}
	said := time.UnixMilli(h.health.ClockMS)
	skew := said.Sub(h.at.Add(h.asked / 2))
	if skew.Abs() > maxSkew+h.asked/2 {
		c.warnf("chassis/"+h.Name, fmt.Sprintf("on %s: chronyc makestep, or timedatectl set-ntp true", h.Name), "its clock differs from ours by %s", skew.Round(100*time.Millisecond))
	}
}

// inspectAll asks all chassis that answered for what they see of their hosts.
func (a *app) inspectAll(ctx context.Context, st *store.Store, d *deploymentView) map[string]*model.NodeInspection {
	ctx, cancel := context.WithTimeout(ctx, statusPatience)
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex
	out := map[string]*model.NodeInspection{}
	turns := make(chan struct{}, askAtOnce)
	for _, h := range d.Chassis {
		if h.health == nil {
			continue
		}
		wg.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			var i model.NodeInspection
			if askNode(ctx, a.env, st, h.Name, model.NodeCommandInspect, nil, &i) != nil {
				return // it answered before: it is of an older version, or has just died
			}
			mu.Lock()
			defer mu.Unlock()
			out[h.Name] = &i
		})
	}
	wg.Wait()
	return out
}

// hosts judges what the chassis see of their hosts.
func (c *checking) hosts(all map[string]*model.NodeInspection) {
	names := slices.Sorted(maps.Keys(all))
	smallest, multicast := "", 0
	for _, name := range names {
		if fits := model.MulticastMTU(all[name].UnderlayMTU); fits > 0 && (multicast == 0 || fits < multicast) {
			multicast = fits
		}
		if i := all[name]; i.TunnelMTU > 0 && (smallest == "" || i.TunnelMTU < all[smallest].TunnelMTU) {
			smallest = name
		}
	}
	for _, name := range names {
		i, object := all[name], "chassis/"+name
		if smallest != "" && i.TunnelMTU > all[smallest].TunnelMTU {
			c.warnf(object, fmt.Sprintf("give the underlay of all chassis the same MTU: ip link set dev DEVICE mtu %d", i.UnderlayMTU),
				"packets of %d bytes fit into its tunnels, but only of %d into those of %s", i.TunnelMTU, all[smallest].TunnelMTU, smallest)
		}
		fits := i.TunnelMTU
		if smallest != "" {
			fits = all[smallest].TunnelMTU
		}
		for _, w := range i.Interfaces {
			c.workload(name, i.Datapath, fits, multicast, w)
		}
		for _, s := range i.Settings {
			c.errorf(object, fmt.Sprintf("on %s: sysctl -w %s=%s", name, strings.ReplaceAll(s.Path, "/", "."), s.Want), "kernel parameter %s is not %s, which untunnel needs", s.Path, s.Want)
		}
		for _, cert := range i.Certificates {
			c.expires(object, cert)
		}
	}
}

// workload judges an interface of a workload. fits is what fits into tunnels, multicast into multicast networks.
func (c *checking) workload(chassis, datapath string, fits, multicast int, w model.NodeInterface) {
	object := fmt.Sprintf("chassis/%s/interface/%s", chassis, w.Name)
	lsp := c.port(w.LSP)
	switch {
	case w.Error != "":
		c.errorf(object, fmt.Sprintf("on %s: ovs-vsctl del-port %s, or make the device again", chassis, w.Name), "the switch cannot use it: %s", w.Error)
	case lsp == nil:
		c.warnf(object, fmt.Sprintf("tpctl lsp add SWITCH %s, or on %s: ovs-vsctl remove Interface %s external_ids iface-id", w.LSP, chassis, w.Name), "it is for port %s, which does not exist", w.LSP)
	}
	ls, _ := c.snap.Objects[switchOf(lsp)].(*model.LogicalSwitch)
	if ls != nil && ls.Type == model.SwitchMulticast {
		fits = multicast
	}
	limit := fits
	if ls != nil && ls.MTU > 0 {
		limit = min(cmp.Or(fits, ls.MTU), ls.MTU)
	}
	if mtu := max(w.PeerMTU, 0); limit > 0 && cmp.Or(mtu, w.MTU) > limit {
		c.warnf(object, fmt.Sprintf("inside the workload: ip link set dev %s mtu %d", firstOf(w.Peer, "DEVICE"), limit),
			"its MTU is %d, but only packets of %d bytes fit into the tunnels", cmp.Or(mtu, w.MTU), limit)
	}
	if datapath == netdev && w.TxOffload {
		c.errorf(object, fmt.Sprintf("inside the workload: ethtool -K %s tx off", w.Peer), "%s leaves checksums to the device, and the userspace datapath does not fill them in: TCP and UDP will not work", w.Peer)
	}
}

func switchOf(p *model.LogicalSwitchPort) model.Ref {
	if p == nil {
		return model.Ref{}
	}
	return model.Ref{Kind: model.KindSwitch, Name: p.Switch}
}

// certificates judges our own.
func (c *checking) certificates() {
	for _, file := range []string{c.set.CACert, c.set.Cert} {
		if file == "" {
			continue
		}
		cert := model.NodeCertificate{File: file}
		if ends, err := store.CertificateExpiry(file); err != nil {
			cert.Error = err.Error()
		} else {
			cert.ExpiresMS = ends.UnixMilli()
		}
		c.expires("tpctl", cert)
	}
}

func (c *checking) expires(object string, cert model.NodeCertificate) {
	const fix = "renew it: put the new one in its place, it is read again for each connection"
	left := time.Until(time.UnixMilli(cert.ExpiresMS)).Round(time.Hour)
	switch {
	case cert.Error != "":
		c.errorf(object, "", "%s", cert.Error)
	case left <= 0:
		c.errorf(object, fix, "the certificate in %s ended %s ago", cert.File, -left)
	case left < certificate:
		c.warnf(object, fix, "the certificate in %s ends in %d days", cert.File, int(left.Hours()/24))
	}
}
