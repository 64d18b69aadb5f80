package tpctl

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"tuplenet/model"
	"tuplenet/model/store"
)

// objects judges what is in the store by itself.
func (c *checking) objects() {
	for _, ref := range slices.SortedFunc(maps.Keys(c.snap.Problems), compareNames) {
		c.errorf(ref.String(), deletion(ref), "cannot be used: %s", c.snap.Problems[ref].Reason)
	}
	first := map[string]model.Ref{}
	ports := map[string]model.Object{}
	refs := slices.SortedFunc(maps.Keys(c.snap.Objects), compareNames)
	for _, ref := range refs {
		o := c.snap.Objects[ref]
		if ref.Kind == model.KindSwitchPort || ref.Kind == model.KindRouterPort {
			ports[ref.Name] = o
		}
		for _, claim := range model.Claims(o) {
			if other, taken := first[claim]; taken {
				c.add(finding{Severity: isError, Object: ref.String(), Fix: deletion(ref), conflict: claim, Text: fmt.Sprintf("%s has the same %s", other, claimText(claim))})
				continue
			}
			first[claim] = ref
		}
	}
	for _, ref := range refs {
		if why, fix := c.dangles(c.snap.Objects[ref], ports); why != "" {
			c.errorf(ref.String(), fix, "%s", why)
		}
		c.place(c.snap.Objects[ref])
	}
}

func compareNames(a, b model.Ref) int { return strings.Compare(a.String(), b.String()) }

// claimText is a claim in words: "ip/switch/LS-A/10.0.0.1" is "ip 10.0.0.1".
func claimText(claim string) string {
	what, rest, _ := strings.Cut(claim, "/")
	if what == "inside" || what == "outside" {
		return "translation of " + rest
	}
	return what + " " + rest[strings.LastIndexByte(rest, '/')+1:]
}

// dangles tells what an object refers to that does not exist, and what to do.
func (c *checking) dangles(o model.Object, ports map[string]model.Object) (why, fix string) {
	ref := o.Ref()
	if ref.Kind.HasParent() {
		parent := model.Ref{Kind: model.KindRouter, Name: ref.Parent}
		if ref.Kind == model.KindSwitchPort {
			parent.Kind = model.KindSwitch
		}
		if c.snap.Objects[parent] == nil {
			return fmt.Sprintf("%s %s does not exist", parent.Kind, parent.Name), deletion(ref)
		}
	}
	switch o := o.(type) {
	case *model.LogicalSwitchPort:
		peer, ok := ports[o.Peer].(*model.LogicalRouterPort)
		if o.Type == model.PortRouter && (!ok || peer.Peer != o.Name) {
			return fmt.Sprintf("its peer %s does not exist or names another port as its peer", o.Peer), deletion(ref)
		}
	case *model.LogicalRouterPort:
		peer, ok := ports[o.Peer].(*model.LogicalSwitchPort)
		if o.Peer != "" && (!ok || peer.Peer != o.Name) {
			return fmt.Sprintf("its peer %s does not exist or names another port as its peer", o.Peer), deletion(ref)
		}
	case *model.StaticRoute:
		if rp, ok := ports[o.OutPort].(*model.LogicalRouterPort); !ok || rp.Router != o.Router {
			return fmt.Sprintf("its outport %s does not exist on router %s", o.OutPort, o.Router), deletion(ref)
		}
	}
	return "", ""
}

// place judges where things are.
func (c *checking) place(o model.Object) {
	switch o := o.(type) {
	case *model.Binding:
		if lsp := c.port(o.Port); lsp == nil {
			c.add(finding{Severity: isWarning, Object: o.Ref().String(), Text: fmt.Sprintf("chassis %s has a port that does not exist", o.Chassis),
				Fix: "tpctl check --fix", repair: func(ctx context.Context, st *store.Store) error { return st.Unbind(ctx, o.Port, o.Chassis) }})
		} else if c.snap.Objects[model.Ref{Kind: model.KindChassis, Name: o.Chassis}] == nil {
			c.errorf(o.Ref().String(), "start tuplenet on that host, or plug the interface in elsewhere", "it is bound to chassis %s, which does not exist", o.Chassis)
		}
	case *model.LogicalRouter:
		c.pin(o.Ref(), o.Chassis)
	case *model.LogicalSwitchPort:
		c.pin(o.Ref(), o.Chassis)
		if o.Type == model.PortVIF && c.snap.Binding(o.Name) == nil {
			c.warnf(o.Ref().String(), "on its host: ovs-vsctl set Interface NAME external_ids:iface-id="+o.Name, "it is bound to no chassis: there is no interface for it")
		}
	}
}

// port finds a switch port by its name; nil: there is none.
func (c *checking) port(name string) *model.LogicalSwitchPort {
	if c.ports == nil {
		c.ports = map[string]*model.LogicalSwitchPort{}
		for _, p := range c.snap.SwitchPorts("") {
			c.ports[p.Name] = p
		}
	}
	return c.ports[name]
}

func (c *checking) pin(ref model.Ref, name string) {
	if name == "" {
		return
	}
	o, ok := c.snap.Objects[model.Ref{Kind: model.KindChassis, Name: name}].(*model.Chassis)
	switch {
	case !ok:
		c.errorf(ref.String(), "start tuplenet on that host, or see tpctl ch show for the names", "it is pinned to chassis %s, which does not exist", name)
	case !o.Gateway:
		c.errorf(ref.String(), "on "+name+": set GATEWAY=1 for tuplenet and restart it", "it is pinned to chassis %s, which is no gateway", name)
	}
}

// claims compares the uniqueness keys with the objects.
func (c *checking) claims(ctx context.Context, st *store.Store) error {
	found, err := st.Misclaims(ctx)
	if err != nil {
		return err
	}
	for _, m := range found {
		text := fmt.Sprintf("it is in the name of %s, but belongs to %s", m.Owner, m.Rightful)
		switch {
		case m.Rightful == "":
			text = fmt.Sprintf("it is in the name of %s, which does not have it: nobody can use it", m.Owner)
		case m.Owner == "":
			text = fmt.Sprintf("it is missing, another object could take what is %s's", m.Rightful)
		}
		c.add(finding{Severity: isError, Object: "unique/" + m.Claim, Text: text, Fix: "tpctl check --fix",
			repair: func(ctx context.Context, st *store.Store) error { return st.Settle(ctx, m) }})
	}
	return nil
}
