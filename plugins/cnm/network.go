package cnm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/go-plugins-helpers/network"

	"tuplenet/model"
	"tuplenet/model/store"
)

// Options of `docker network create -o`, and of --ipam-opt.
const (
	optionSwitch = "tuplenet.switch"
	optionRoutes = "tuplenet.routes"
	optionMTU    = "com.docker.network.driver.mtu"
)

// Keys of the engine in the options of a request (libnetwork's package netlabel).
const (
	keyGeneric  = "com.docker.network.generic"
	keyInternal = "com.docker.network.internal"
)

// engineNetwork is a network of an engine, as the note in the store tells.
type engineNetwork struct {
	ID string `json:"id"`
	// Switch is the logical switch that it is; several networks, of several hosts, may be the same one.
	Switch  string         `json:"switch"`
	Subnets []netip.Prefix `json:"subnets"`
	// Gateways of the containers, with the prefix lengths of their subnets, at most one a family.
	Gateways []netip.Prefix `json:"gateways,omitempty"`
	// Router is linked to the switch with the gateways; empty: none is.
	Router string `json:"router,omitempty"`
	// Chassis on which a network of scope local is; empty: it is on all of them.
	Chassis string `json:"chassis,omitempty"`
	// Maker is the chassis on which the network was made last: its engine is asked whether it still exists.
	Maker string `json:"maker,omitempty"`
	// Routes of the containers, beside that by way of the gateways.
	Routes   []route `json:"routes,omitempty"`
	MTU      int     `json:"mtu,omitempty"`
	Internal bool    `json:"internal,omitempty"`
}

// route is a static route of containers.
type route struct {
	To  netip.Prefix `json:"to"`
	Via netip.Addr   `json:"via"`
}

// Tags of what is made here. A switch without the first was made by somebody else, and is never deleted.
const (
	tagPlugin   = name
	tagNetwork  = "cnm-network="
	tagChassis  = "cnm-chassis="
	tagEndpoint = "cnm-endpoint="
)

// networkOf reads a request. chassis is that of this host.
func (d *Driver) networkOf(req *network.CreateNetworkRequest, chassis string) (*engineNetwork, error) {
	n := &engineNetwork{ID: req.NetworkID, Switch: req.NetworkID, Router: d.cfg.Router, Maker: chassis}
	if err := model.ValidateName(req.NetworkID); err != nil {
		return nil, fmt.Errorf("NetworkID: %w", err)
	}
	if d.cfg.Scope == ScopeLocal {
		n.Chassis = chassis
	}
	n.Internal, _ = req.Options[keyInternal].(bool)
	for _, p := range slices.Concat(req.IPv4Data, req.IPv6Data) {
		if err := n.addPool(p); err != nil {
			return nil, err
		}
	}
	if n.Internal || len(n.Gateways) == 0 {
		n.Router = ""
	}
	generic, _ := req.Options[keyGeneric].(map[string]any)
	return n, n.options(generic)
}

// options takes over those of `docker network create -o`, which may be meant for others too; but not tuplenet.*, where
// another one is a typing error.
func (n *engineNetwork) options(generic map[string]any) (err error) {
	for key, value := range generic {
		s, isText := value.(string)
		switch {
		case !isText:
		case key == optionSwitch:
			if n.Switch, err = s, model.ValidateName(s); err != nil {
				return fmt.Errorf("%s: %w", optionSwitch, err)
			}
		case key == optionMTU:
			if n.MTU, err = strconv.Atoi(s); err != nil || n.MTU < model.MinMTU || n.MTU > model.MaxMTU {
				return fmt.Errorf("%s is %q: a number from %d to %d", optionMTU, s, model.MinMTU, model.MaxMTU)
			}
		case key == optionRoutes:
			if n.Routes, err = n.parseRoutes(s); err != nil {
				return fmt.Errorf("%s: %w", optionRoutes, err)
			}
		case strings.HasPrefix(key, "tuplenet."):
			return fmt.Errorf("the option %s is not known: there are %s and %s", key, optionSwitch, optionRoutes)
		}
	}
	return nil
}

// parseRoutes reads PREFIX=NEXTHOP[,PREFIX=NEXTHOP…]. Next hops are in a subnet of the network, of the family of the prefix.
func (n *engineNetwork) parseRoutes(text string) (out []route, err error) {
	for part := range strings.SplitSeq(text, ",") {
		to, via, _ := strings.Cut(strings.TrimSpace(part), "=")
		var r route
		if r.To, err = parsePrefix(to); err == nil {
			r.Via, err = netip.ParseAddr(via)
		}
		if err != nil || !r.To.IsValid() {
			return nil, fmt.Errorf("%q is not of the form PREFIX=NEXTHOP", part)
		}
		onLink := func(s netip.Prefix) bool { return s.Contains(r.Via) && s.Addr().Is4() == r.To.Addr().Is4() }
		if r.To = r.To.Masked(); !slices.ContainsFunc(n.Subnets, onLink) {
			return nil, fmt.Errorf("the next hop of %s is in no subnet of the network of its family", part)
		}
		out = append(out, r)
	}
	return out, nil
}

// addPool takes over a subnet. The engine gives an empty one to a network of `--ipam-driver null`.
func (n *engineNetwork) addPool(p *network.IPAMData) error {
	subnet, err := parsePrefix(p.Pool)
	if err != nil {
		return fmt.Errorf("pool: %w", err)
	}
	if subnet.Bits() == 0 || !subnet.IsValid() {
		return nil
	}
	gateway, err := parsePrefix(p.Gateway)
	if err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	n.Subnets = append(n.Subnets, subnet.Masked())
	if gateway.IsValid() && !slices.ContainsFunc(n.Gateways, func(g netip.Prefix) bool { return g.Addr().Is4() == gateway.Addr().Is4() }) {
		n.Gateways = append(n.Gateways, netip.PrefixFrom(gateway.Addr(), subnet.Bits()))
	}
	return nil
}

// createNetwork makes the switch of a network, links it to the router, and notes what containers have to be told later. When it
// is there already, as when another host has made it, only what is missing is made.
func (d *Driver) createNetwork(ctx context.Context, req *network.CreateNetworkRequest) error {
	_, chassis, err := d.ready(ctx)
	if err != nil {
		return err
	}
	n, err := d.networkOf(req, chassis)
	if err != nil {
		return err
	}
	d.debts.cancel(ctx, "network "+n.ID)
	value, err := json.Marshal(n)
	if err != nil {
		return err
	}
	// The note comes first: what is made without one would belong to nobody.
	if err := d.store.PutNote(ctx, name, n.ID, value); err != nil {
		return err
	}
	if err := d.ensure(ctx, n); err != nil {
		d.undo(ctx, "network "+n.ID, func(ctx context.Context) error { return d.dropNetwork(ctx, n, false) })
		return err
	}
	d.mu.Lock()
	d.networks[n.ID] = n
	d.mu.Unlock()
	d.log.Info("network", "id", n.ID, "switch", n.Switch, "subnets", n.Subnets, "router", n.Router)
	return nil
}

// errVanished says that another host has just deleted what was found: it had no use for it any more.
var errVanished = errors.New("deleted by another host meanwhile")

// ensure makes the switch of a network and its link, if they are missing, and checks them if not.
func (d *Driver) ensure(ctx context.Context, n *engineNetwork) error {
	for attempt := 0; ; attempt++ {
		err := d.ensureOnce(ctx, n)
		if !errors.Is(err, errVanished) || attempt == 4 {
			return err
		}
	}
}

func (d *Driver) ensureOnce(ctx context.Context, n *engineNetwork) error {
	_, _, err := d.store.AddSwitch(ctx, &model.LogicalSwitch{Name: n.Switch, Subnets: n.Subnets, MTU: n.MTU, Tags: []string{tagPlugin}})
	if errors.Is(err, store.ErrExists) {
		var sw *model.LogicalSwitch
		if sw, err = d.found(ctx, n); err == nil {
			err = fits(n, sw)
		}
	}
	if err != nil || n.Router == "" {
		return err
	}
	_, _, _, err = d.store.Link(ctx, n.Router, n.Switch, n.Gateways)
	switch {
	case errors.Is(err, store.ErrNotFound):
		if _, e := d.found(ctx, n); e != nil {
			return e
		}
		return fmt.Errorf("%w: egress_router_name is %s; `tpctl lr add %s` makes it", err, n.Router, n.Router)
	case errors.Is(err, store.ErrExists), errors.Is(err, store.ErrConflict):
		linked, e := d.hasGateways(ctx, n)
		if e != nil || linked {
			return e
		}
		if errors.Is(err, store.ErrExists) {
			return fmt.Errorf("%w: %w", err, errVanished)
		}
	}
	return err
}

// found is the switch of a network, which was there a moment ago: errVanished if it is not.
func (d *Driver) found(ctx context.Context, n *engineNetwork) (*model.LogicalSwitch, error) {
	sw, err := d.store.Switch(ctx, n.Switch)
	if errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("%w: %w", err, errVanished)
	}
	return sw, err
}

// fits checks that the subnets of a network are those of a switch that exists, if it has any.
func fits(n *engineNetwork, sw *model.LogicalSwitch) error {
	for _, s := range n.Subnets {
		if len(sw.Subnets) > 0 && !slices.ContainsFunc(sw.Subnets, func(p netip.Prefix) bool { return p.Bits() <= s.Bits() && p.Contains(s.Addr()) }) {
			return fmt.Errorf("the switch %s exists and has the subnets %v, %s is not in one of them", sw.Name, sw.Subnets, s)
		}
	}
	return nil
}

// hasGateways tells whether routers are linked to the switch with all gateways, whoever has linked them.
func (d *Driver) hasGateways(ctx context.Context, n *engineNetwork) (bool, error) {
	for _, g := range n.Gateways {
		p, err := d.portWith(ctx, n.Switch, g.Addr())
		if err != nil {
			return false, err
		}
		if p == nil || p.Type != model.PortRouter {
			return false, nil
		}
	}
	return true, nil
}

// portWith is the port of a switch that has an address; nil if there is none.
func (d *Driver) portWith(ctx context.Context, ls string, a netip.Addr) (*model.LogicalSwitchPort, error) {
	ref, err := d.store.PortWithAddress(ctx, ls, a)
	if err != nil {
		return nil, ignoreNotFound(err)
	}
	p, err := d.store.SwitchPort(ctx, ref.Parent, ref.Name)
	return p, ignoreNotFound(err)
}

// network finds what was noted of a network. What this process made and somebody else has deleted meanwhile, as an engine of
// a swarm does that has no container on it any more, is made again.
func (d *Driver) network(ctx context.Context, id string) (*engineNetwork, error) {
	value, err := d.store.Note(ctx, name, id)
	if errors.Is(err, store.ErrNotFound) {
		d.mu.Lock()
		n := d.networks[id]
		d.mu.Unlock()
		if n == nil {
			return nil, fmt.Errorf("network %s is not known here: it has no note in the store", id)
		}
		return n, d.restore(ctx, n)
	}
	if err != nil {
		return nil, err
	}
	n := &engineNetwork{}
	if err := json.Unmarshal(value, n); err != nil {
		return nil, fmt.Errorf("note of network %s: %w", id, err)
	}
	return n, nil
}

// restore makes a network again.
func (d *Driver) restore(ctx context.Context, n *engineNetwork) error {
	value, err := json.Marshal(n)
	if err != nil {
		return err
	}
	if err := d.store.PutNote(ctx, name, n.ID, value); err != nil {
		return err
	}
	d.log.Info("network made again", "id", n.ID, "switch", n.Switch)
	return d.ensure(ctx, n)
}

// deleteNetwork undoes createNetwork. One that is not known is deleted already. last says that no host has the network any more: what is
// still on its switch then is being removed, and not in use.
func (d *Driver) deleteNetwork(ctx context.Context, id string, last bool) error {
	n, err := d.noted(ctx, id)
	if err != nil {
		return err
	}
	if n == nil {
		return nil
	}
	if err := d.dropNetwork(ctx, n, last); err != nil {
		return err
	}
	d.mu.Lock()
	delete(d.networks, id)
	d.mu.Unlock()
	d.log.Info("network deleted", "id", id, "switch", n.Switch)
	return nil
}

// noted is a network that has a readable note; nil if it has none.
func (d *Driver) noted(ctx context.Context, id string) (*engineNetwork, error) {
	value, err := d.store.Note(ctx, name, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	n := &engineNetwork{}
	if err == nil {
		err = json.Unmarshal(value, n)
	}
	return n, err
}

// dropNetwork deletes the switch, with its link, unless somebody else has made it or other networks or ports need it, and then
// the note.
func (d *Driver) dropNetwork(ctx context.Context, n *engineNetwork, last bool) error {
	others, err := d.sharing(ctx, n)
	if err != nil {
		return err
	}
	sw, err := d.store.Switch(ctx, n.Switch)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if err == nil && len(others) == 0 && slices.Contains(sw.Tags, tagPlugin) {
		err = d.deleteSwitch(ctx, n)
		if errors.Is(err, store.ErrChildren) && !last {
			d.log.Info("the switch stays: other hosts have containers on it, or something was added to it by hand", "network", n.ID, "switch", n.Switch)
			if n.Chassis == "" {
				return nil // and the note, for the containers elsewhere
			}
			err = nil
		}
		if err != nil {
			return err
		}
	}
	return d.store.DeleteNote(ctx, name, n.ID)
}

// sharing are the other networks that are the same switch.
func (d *Driver) sharing(ctx context.Context, n *engineNetwork) (ids []string, err error) {
	notes, err := d.store.Notes(ctx, name)
	if err != nil {
		return nil, err
	}
	for id, value := range notes {
		var other engineNetwork
		if id != n.ID && json.Unmarshal(value, &other) == nil && other.Switch == n.Switch {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// deleteSwitch deletes the switch of a network with the link to its router, all or nothing: ErrChildren if there is more.
func (d *Driver) deleteSwitch(ctx context.Context, n *engineNetwork) error {
	var refs []model.Ref
	if n.Router != "" {
		rp, sp := model.NewLink(n.Router, n.Switch, n.Gateways)
		refs = append(refs, rp.Ref(), sp.Ref())
	}
	_, err := d.store.DeleteAll(ctx, append(refs, model.Ref{Kind: model.KindSwitch, Name: n.Switch}))
	return err
}
