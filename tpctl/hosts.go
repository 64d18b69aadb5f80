package tpctl

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"tuplenet/model"
	"tuplenet/model/store"
)

// hostOptions are the options that say what workloads of a switch are told about their network.
type hostOptions struct {
	dhcp, ra, router         onOff
	dhcpv6, domain           string
	dns, search, ntp, routes []string
	lease, routerLifetime    time.Duration
	given                    *pflag.FlagSet
}

// options of hostOptions, by name.
const (
	optDHCP           = "dhcp"
	optRA             = "ra"
	optDHCPv6         = "dhcpv6"
	optDNS            = "dns"
	optDomain         = "domain"
	optSearch         = "search"
	optNTP            = "ntp"
	optRoute          = "route"
	optDefaultRoute   = "default-route"
	optLease          = "lease"
	optRouterLifetime = "router-lifetime"
)

// register adds the options to a command.
func (h *hostOptions) register(f *pflag.FlagSet) {
	h.given, h.router = f, true
	f.Var(&h.dhcp, optDHCP, "answer DHCP (IPv4) of workloads: `on|off`")
	f.Var(&h.ra, optRA, "advertise the routers on the switch to workloads (IPv6): `on|off`")
	f.StringVar(&h.dhcpv6, optDHCPv6, "off", "answer DHCPv6 of workloads: `off|stateless|stateful`")
	f.StringSliceVar(&h.dns, optDNS, nil, "name servers that workloads are told, `IP[,IP]…`")
	f.StringVar(&h.domain, optDomain, "", "domain `NAME` that workloads are told")
	f.StringSliceVar(&h.search, optSearch, nil, "search domains that workloads are told, `NAME[,NAME]…`")
	f.StringSliceVar(&h.ntp, optNTP, nil, "time servers that workloads are told, `IP[,IP]…`")
	f.StringSliceVar(&h.routes, optRoute, nil, "routes that workloads are told besides, `CIDR=IP[,CIDR=IP]…`")
	f.Var(&h.router, optDefaultRoute, "whether the router on the switch is told as the default router: `on|off`")
	f.DurationVar(&h.lease, optLease, 0, "`time` of a lease, such as 12h; 0 = 24h")
	f.DurationVar(&h.routerLifetime, optRouterLifetime, 0, "`time` that a router advertisement is good for; 0 = 2h30m")
}

// edit puts what was given into a configuration, nil for none, and returns the new one, nil if it says nothing.
func (h *hostOptions) edit(old *model.HostConfig) (*model.HostConfig, error) {
	var c model.HostConfig
	if old != nil {
		c = *old
	}
	h.edit1(&c)
	var errs error
	set(h, optDNS, &c.DNS, h.dns, model.ParseIP, &errs)
	set(h, optNTP, &c.NTP, h.ntp, model.ParseIP, &errs)
	set(h, optRoute, &c.Routes, h.routes, parseHostRoute, &errs)
	set(h, optSearch, &c.Search, h.search, func(s string) (string, error) { return s, nil }, &errs)
	if h.given.Changed(optDHCPv6) {
		switch mode := model.DHCPv6Mode(h.dhcpv6); mode {
		case "off":
			c.DHCPv6 = model.DHCPv6Off
		case model.DHCPv6Stateless, model.DHCPv6Stateful:
			c.DHCPv6 = mode
		default:
			errs = errors.Join(errs, fmt.Errorf("invalid DHCPv6 mode %q: it is off, %s or %s", h.dhcpv6, model.DHCPv6Stateless, model.DHCPv6Stateful))
		}
	}
	for name, d := range map[string]time.Duration{optLease: h.lease, optRouterLifetime: h.routerLifetime} {
		if d%time.Second != 0 || d < 0 {
			errs = errors.Join(errs, fmt.Errorf("invalid --%s %s: whole seconds are needed", name, d))
		}
	}
	if errs != nil {
		return nil, errors.New(oneLine(errs))
	}
	if c.Equal(&model.HostConfig{}) {
		return nil, nil
	}
	return &c, c.Validate()
}

// edit1 puts the plain values in.
func (h *hostOptions) edit1(c *model.HostConfig) {
	for name, put := range map[string]func(){
		optDHCP:           func() { c.DHCPv4 = bool(h.dhcp) },
		optRA:             func() { c.RA = bool(h.ra) },
		optDomain:         func() { c.Domain = h.domain },
		optDefaultRoute:   func() { c.NoDefaultRoute = !bool(h.router) },
		optLease:          func() { c.Lease = int(h.lease / time.Second) },
		optRouterLifetime: func() { c.RouterLifetime = int(h.routerLifetime / time.Second) },
	} {
		if h.given.Changed(name) {
			put()
		}
	}
}

// set replaces a list, if the option was given; an empty value empties it.
func set[T any](h *hostOptions, name string, list *[]T, texts []string, parse func(string) (T, error), errs *error) {
	if !h.given.Changed(name) {
		return
	}
	*list = nil
	for _, text := range texts {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		v, err := parse(text)
		if err != nil {
			*errs = errors.Join(*errs, err)
			continue
		}
		*list = append(*list, v)
	}
}

// parseHostRoute reads CIDR=IP.
func parseHostRoute(text string) (r model.HostRoute, err error) {
	prefix, via, ok := strings.Cut(text, "=")
	if !ok {
		return r, fmt.Errorf("invalid route %q: it is CIDR=IP, such as 10.0.0.0/8=10.20.1.2", text)
	}
	if r.Prefix, err = netip.ParsePrefix(prefix); err != nil {
		return r, fmt.Errorf("invalid CIDR address %q", prefix)
	}
	r.Via, err = model.ParseIP(via)
	return r, err
}

// hostFields are the plain lines of what workloads are told.
func hostFields(c *model.HostConfig) (fields []field) {
	if c == nil {
		return nil
	}
	add := func(key, value string) {
		if value != "" {
			fields = append(fields, field{key, value})
		}
	}
	seconds := func(n int) string {
		if n == 0 {
			return ""
		}
		return (time.Duration(n) * time.Second).String()
	}
	add("hosts", hostServices(c))
	add("dns", join(c.DNS))
	add("domain", c.Domain)
	add("search", strings.Join(c.Search, ","))
	add("ntp", join(c.NTP))
	add("route", join(c.Routes))
	if c.NoDefaultRoute {
		add(optDefaultRoute, "off")
	}
	add("lease", seconds(c.Lease))
	add(optRouterLifetime, seconds(c.RouterLifetime))
	return fields
}

// hostServices names what is answered, such as dhcp,ra,dhcpv6=stateless.
func hostServices(c *model.HostConfig) string {
	var on []string
	if c != nil && c.DHCPv4 {
		on = append(on, optDHCP)
	}
	if c != nil && c.RA {
		on = append(on, optRA)
	}
	if c != nil && c.DHCPv6 != model.DHCPv6Off {
		on = append(on, optDHCPv6+"="+string(c.DHCPv6))
	}
	return strings.Join(on, ",")
}

// readiness tells which chassis do not yet tell the workloads of a switch what it says.
type readiness struct {
	snap   *store.Snapshot
	live   map[string]store.Identity
	status map[string]*model.Status
}

// readReadiness reads what readiness needs if a switch with that name, or any if it is empty, tells its workloads something; nil
// if none does.
func readReadiness(ctx context.Context, st *store.Store, snap *store.Snapshot, name string) (*readiness, error) {
	if !slices.ContainsFunc(snap.Switches(), func(ls *model.LogicalSwitch) bool { return ls.Hosts.Serves() && (name == "" || name == ls.Name) }) {
		return nil, nil
	}
	r := &readiness{}
	var err error
	if r.snap, err = st.Snapshot(ctx, model.KindSwitchPort, model.KindBinding); err != nil {
		return nil, err
	}
	if r.live, err = st.Live(ctx); err != nil {
		return nil, err
	}
	r.status, err = st.Status(ctx)
	return r, err
}

// waiting are the chassis with workloads of the switch that are not known to tell them what the switch says as of a revision,
// each with the reason, sorted.
func (r *readiness) waiting(ls *model.LogicalSwitch, revision int64) []string {
	late := []string{}
	seen := map[string]bool{}
	for _, p := range r.snap.SwitchPorts(ls.Name) {
		b := r.snap.Binding(p.Name)
		if b == nil || p.Type != model.PortVIF || p.NoHostConfig || seen[b.Chassis] || !told(ls.Hosts, p) {
			continue
		}
		seen[b.Chassis] = true
		st := r.status[b.Chassis]
		switch _, live := r.live[b.Chassis]; {
		case !live:
			late = append(late, b.Chassis+" is down")
		case st == nil || st.Serves[ls.Name] == 0:
			late = append(late, b.Chassis+" does not serve it")
		case st.Serves[ls.Name] < revision:
			late = append(late, b.Chassis+" serves what it said before")
		}
	}
	slices.Sort(late)
	return late
}

// told tells whether a port has addresses that there is something to tell for.
func told(c *model.HostConfig, p *model.LogicalSwitchPort) bool {
	return slices.ContainsFunc(p.IPs, func(a netip.Addr) bool {
		return a.Is4() && c.DHCPv4 || a.Is6() && (c.RA || c.DHCPv6 != model.DHCPv6Off)
	})
}
