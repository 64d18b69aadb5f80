package cnm

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/docker/go-plugins-helpers/ipam"

	"tuplenet/model"
	"tuplenet/model/alloc"
	"tuplenet/model/store"
)

// The address driver. An address that it gives out is a port of the switch, which holds it until the endpoint that it is for
// is made and takes its place. So hosts whose engines know nothing of each other never give out the same one.

// tagHeld marks a port that holds an address.
const tagHeld = "cnm-held"

// Keys of the engine's address requests (libnetwork's package ipamapi).
const (
	keyAddressType = "RequestAddressType"
	typeGateway    = "com.docker.network.gateway"
)

// addressSpaces are names of ours, which the engine keeps pools apart by.
func addressSpaces() *ipam.AddressSpacesResponse {
	return &ipam.AddressSpacesResponse{LocalDefaultAddressSpace: "tuplenet-local", GlobalDefaultAddressSpace: "tuplenet-global"}
}

// pool is what the engine calls a pool: a subnet of a switch, and the part of it that addresses are taken from. Its text is the id.
type pool struct {
	Switch        string
	Subnet, Range netip.Prefix
}

func (p pool) String() string { return fmt.Sprintf("%s/%s/%s", p.Switch, p.Subnet, p.Range) }

func parsePool(id string) (p pool, err error) {
	part := strings.Split(id, "/")
	if len(part) != 5 {
		return p, fmt.Errorf("pool %q is none of ours", id)
	}
	p.Switch = part[0]
	if p.Subnet, err = netip.ParsePrefix(part[1] + "/" + part[2]); err == nil {
		p.Range, err = netip.ParsePrefix(part[3] + "/" + part[4])
	}
	return p, err
}

// requestPool finds the subnet of a network. It is given, or it is that of the switch.
func (d *Driver) requestPool(ctx context.Context, req *ipam.RequestPoolRequest) (*ipam.RequestPoolResponse, error) {
	p := pool{Switch: req.Options[optionSwitch]}
	if p.Switch == "" {
		return nil, fmt.Errorf("the address driver allocates from a logical switch: --ipam-opt %s=NAME, and -o %s=NAME for the network", optionSwitch, optionSwitch)
	}
	if err := model.ValidateName(p.Switch); err != nil {
		return nil, err
	}
	var err error
	if p.Subnet, err = parsePrefix(req.Pool); err != nil {
		return nil, err
	}
	if !p.Subnet.IsValid() {
		if p.Subnet, err = d.subnetOf(ctx, p.Switch, req.V6); err != nil {
			return nil, err
		}
	}
	p.Subnet = p.Subnet.Masked()
	if p.Range, err = parsePrefix(req.SubPool); err != nil {
		return nil, err
	}
	if !p.Range.IsValid() {
		p.Range = p.Subnet
	}
	p.Range = p.Range.Masked()
	if !p.Subnet.Contains(p.Range.Addr()) || p.Range.Bits() < p.Subnet.Bits() {
		return nil, fmt.Errorf("the range %s is not in the subnet %s", p.Range, p.Subnet)
	}
	return &ipam.RequestPoolResponse{PoolID: p.String(), Pool: p.Subnet.String()}, nil
}

// subnetOf is the first subnet of a family of a switch.
func (d *Driver) subnetOf(ctx context.Context, name string, v6 bool) (netip.Prefix, error) {
	sw, err := d.store.Switch(ctx, name)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%w: without it, give --subnet", err)
	}
	i := slices.IndexFunc(sw.Subnets, func(s netip.Prefix) bool { return s.Addr().Is6() == v6 })
	if i < 0 {
		return netip.Prefix{}, fmt.Errorf("the switch %s has no subnet of that family: give --subnet", name)
	}
	return sw.Subnets[i], nil
}

// requestAddress gives out an address: the one asked for, or the lowest free one. The gateway's is not held: it is, or will be, that of
// a router's port.
func (d *Driver) requestAddress(ctx context.Context, req *ipam.RequestAddressRequest) (*ipam.RequestAddressResponse, error) {
	p, err := parsePool(req.PoolID)
	if err != nil {
		return nil, err
	}
	asked, err := parseAddress(req.Address)
	if err != nil {
		return nil, err
	}
	if req.Options[keyAddressType] == typeGateway {
		if !asked.IsValid() {
			if asked, err = d.gatewayIn(ctx, p); err != nil {
				return nil, err
			}
		}
		return &ipam.RequestAddressResponse{Address: netip.PrefixFrom(asked, p.Subnet.Bits()).String()}, nil
	}
	held, err := d.hold(ctx, p, asked)
	if err != nil {
		return nil, err
	}
	d.log.Info("address", "switch", p.Switch, "address", held)
	return &ipam.RequestAddressResponse{Address: netip.PrefixFrom(held, p.Subnet.Bits()).String()}, nil
}

// parseAddress reads an address, or nothing.
func parseAddress(text string) (a netip.Addr, err error) {
	if text == "" {
		return a, nil
	}
	return model.ParseIP(text)
}

// hold adds a port that holds an address; asked is invalid if any will do.
func (d *Driver) hold(ctx context.Context, p pool, asked netip.Addr) (netip.Addr, error) {
	_, chassis, err := d.ready(ctx)
	if err != nil {
		return asked, err
	}
	random := make([]byte, 16)
	_, _ = rand.Read(random) // never fails
	want := &model.LogicalSwitchPort{
		Switch: p.Switch, Name: "docker-held-" + hex.EncodeToString(random), Type: model.PortVIF,
		Tags: []string{tagPlugin, tagHeld, tagChassis + chassis},
	}
	var from []store.Option
	if asked.IsValid() {
		want.IPs = []netip.Addr{asked}
	} else {
		reserved, err := d.gatewaysOn(ctx, p)
		if err != nil {
			return asked, err
		}
		from = append(from, store.FromPools(store.Pool{Subnet: p.Range, Reserved: reserved}))
	}
	made, _, err := d.store.AddSwitchPort(ctx, want, from...)
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, store.ErrUnreachable) { // it may have been added
		d.debts.owe("address "+want.Name, func(ctx context.Context) error {
			_, err := d.store.DeleteSwitchPort(ctx, p.Switch, want.Name)
			return ignoreNotFound(err)
		})
	}
	if err != nil {
		return asked, err
	}
	return made.IPs[0], nil
}

// gatewaysOn are the gateways of all networks that are a switch: the engine has been told of them, whether or not a router has
// them yet.
func (d *Driver) gatewaysOn(ctx context.Context, p pool) ([]netip.Addr, error) {
	notes, err := d.store.Notes(ctx, name)
	if err != nil {
		return nil, err
	}
	var out []netip.Addr
	for _, value := range notes {
		var n engineNetwork
		if json.Unmarshal(value, &n) != nil || n.Switch != p.Switch {
			continue
		}
		for _, g := range n.Gateways {
			out = append(out, g.Addr())
		}
	}
	return out, nil
}

// gatewayIn is the address of the router's port in a subnet, or the one where it is to be.
func (d *Driver) gatewayIn(ctx context.Context, p pool) (netip.Addr, error) {
	snap, err := d.store.Snapshot(ctx, model.KindSwitchPort)
	if err != nil {
		return netip.Addr{}, err
	}
	for _, port := range snap.SwitchPorts(p.Switch) {
		for _, a := range port.IPs {
			if port.Type == model.PortRouter && p.Subnet.Contains(a) {
				return a, nil
			}
		}
	}
	first, _ := alloc.Hosts(p.Subnet)
	return first, nil
}

// releaseAddress gives an address back that is still held. That of an endpoint went with its port.
func (d *Driver) releaseAddress(ctx context.Context, req *ipam.ReleaseAddressRequest) error {
	if err := d.reachable(); err != nil {
		return err
	}
	p, err := parsePool(req.PoolID)
	if err != nil {
		return err
	}
	a, err := parseAddress(req.Address)
	if err != nil || !a.IsValid() {
		return err
	}
	_, chassis, err := d.ready(ctx)
	if err != nil {
		return err
	}
	port, err := d.portWith(ctx, p.Switch, a)
	if err != nil || port == nil || !made(port, chassis) || !slices.Contains(port.Tags, tagHeld) {
		return err
	}
	_, err = d.store.DeleteSwitchPort(ctx, p.Switch, port.Name)
	return ignoreNotFound(err)
}
