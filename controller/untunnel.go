package controller

import (
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"tuplenet/datapath/host"
	"tuplenet/datapath/ovsdb"
	"tuplenet/flows/compile"
	"tuplenet/model"
)

// untunnelName is the internal port by which packets reach the host's own stack in untunnel mode.
const untunnelName = "tuplenet-host"

// untunnel keeps the host's side of untunnel mode: the internal port is up, and the host forwards what comes from it. When
// the mode is off, the kernel parameters have their old values again. It belongs to the loop.
type untunnel struct {
	on      bool
	sysctls *host.Sysctls
	log     *slog.Logger
	up      string   // MAC of the port for which the host is prepared
	failed  string   // why the last thing that was done for that failed; empty: it did not
	drifted []string // kernel parameters that others changed and that stay so
}

func newUntunnel(cfg Config, log *slog.Logger) *untunnel {
	return &untunnel{on: cfg.Untunnel, sysctls: host.NewSysctls(filepath.Join(cfg.RunDir, "sysctls.json")), log: log.With("component", "untunnel")}
}

// ports are the OVS ports that the mode needs.
func (u *untunnel) ports() []ovsdb.Port {
	if !u.on {
		return nil
	}
	return []ovsdb.Port{{Name: untunnelName, Type: "internal", Owner: "untunnel"}}
}

// forwarding are the kernel parameters that let packets of workloads, whose addresses the host has no route to, pass
// through it (ip-sysctl: forwarding, rp_filter). The strictest of all and the device's rp_filter counts. Forwarding of IPv6
// is one switch for all devices, which makes hosts ignore router advertisements unless accept_ra is 2.
var forwarding = map[string]string{
	"net/ipv4/conf/" + untunnelName + "/forwarding": "1",
	"net/ipv4/conf/" + untunnelName + "/rp_filter":  "0",
	"net/ipv4/conf/all/forwarding":                  "1",
	"net/ipv4/conf/all/rp_filter":                   "0",
	"net/ipv6/conf/all/forwarding":                  "1",
}

// prepare makes the host ready for what the database says of the port, and fills in what the compiler needs to know.
func (u *untunnel) prepare(f ovsdb.Facts, n *compile.Node) {
	i := f.Interfaces[untunnelName]
	if !u.on || !i.HasOFPort() || i.MAC == "" {
		if !u.on && u.up == "" {
			u.do("restore kernel parameters", func() error { return u.sysctls.Set(nil) })
			u.up = "off"
		}
		return
	}
	mac, err := model.ParseMAC(i.MAC)
	if err != nil {
		return
	}
	if u.up != i.MAC {
		ok := u.do("prepare the host", func() error {
			if err := host.SetUp(untunnelName); err != nil {
				return err
			}
			return u.sysctls.Set(forwarding)
		})
		if !ok {
			return // without the host's help packets would be lost: they go on to the edge
		}
		u.up = i.MAC
	}
	n.HostPort, n.HostMAC = uint32(i.OFPort), mac
}

// audit sets the kernel parameters right that somebody else changed.
func (u *untunnel) audit(found *ledger, heal bool, now time.Time) {
	if !u.on || u.up == "" {
		return
	}
	drifted := u.sysctls.Drifted(forwarding)
	if !heal {
		news := slices.DeleteFunc(slices.Clone(drifted), func(p string) bool { return slices.Contains(u.drifted, p) })
		u.drifted = drifted
		found.sysctlDrift(news, false, now)
		return
	}
	if len(drifted) > 0 {
		healed := u.do("restore kernel parameters", func() error { return u.sysctls.Set(forwarding) })
		found.sysctlDrift(drifted, healed, now)
	}
}

// do does something, says once when it fails, and tells whether it worked. What fails is tried again at the next audit of the host.
func (u *untunnel) do(what string, f func() error) bool {
	err := f()
	switch {
	case err == nil:
		u.failed = ""
	case u.failed != err.Error():
		u.failed = err.Error()
		u.log.Warn("untunnel: cannot "+what, "err", err)
	}
	return err == nil
}
