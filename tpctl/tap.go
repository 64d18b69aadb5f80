package tpctl

import (
	"context"
	"fmt"
	"os/user"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"tuplenet/model"
	"tuplenet/model/store"
	"tuplenet/plugins/plug"
)

// tapPlugin is whose the ports are that node tap plugs (plug.Record).
const tapPlugin = "tap"

// tapPatience is how long this host may take to plug and bind a port, and othersPatience how long the others may to apply it.
const (
	tapPatience    = 30 * time.Second
	othersPatience = 5 * time.Second
)

// tapCommand is node tap: tap devices on this host.
func (a *app) tapCommand() *cobra.Command {
	return noun("tap", "Tap devices on this host, for virtual machines", a.tapAdd(), a.tapDel(), a.tapShow())
}

// openHost connects to Open vSwitch of this host.
func (a *app) openHost(ctx context.Context) (*plug.Host, error) {
	return plug.Open(ctx, plug.Config{Socket: a.env.Getenv("TUPLENET_OVSDB_PATH")})
}

// tapView is a tap in json and yaml.
type tapView struct {
	Port    string `json:"port"`
	Switch  string `json:"switch"`
	Device  string `json:"device"`
	MAC     string `json:"mac,omitempty"`
	MTU     int    `json:"mtu,omitempty"`
	Chassis string `json:"chassis,omitempty"`
	Trouble string `json:"trouble,omitempty"`
}

func (a *app) tapAdd() *cobra.Command {
	var device, owner string
	c := a.command(verb{
		use: "add PORT", alias: "a", short: "Make a tap device on this host and plug it as a switch port",
		long: `Make a tap device on this host with the MTU of the port's switch, make it a port of br-int as the switch port PORT, and wait until this
host's daemon has bound it and all hosts have applied that. A virtual machine that opens the device then has the network; its MAC
has to be that of the port. The device stays until "node tap del". It takes root on the host; TUPLENET_OVSDB_PATH names the socket of
the Open vSwitch database if it is not the usual one.`,
		min: 1, max: 1, wrong: "require a port name",
		complete: completeAt(anySwitchPort),
		run: func(cmd *cobra.Command, args []string) error {
			tap := &plug.Tap{Device: device}
			if err := setOwner(tap, owner); err != nil {
				return err
			}
			return a.withHost(cmd, func(ctx context.Context, st *store.Store, h *plug.Host, set settings) error {
				v, err := plugTap(ctx, st, h, args[0], tap)
				if err != nil {
					return err
				}
				if set.Output.structured() {
					return writeDocument(a.env.Stdout, set.Output, v)
				}
				fmt.Fprintf(a.env.Stdout, "tap %s plugged as port %s, MAC %s, MTU %d\n", v.Device, v.Port, v.MAC, v.MTU)
				return nil
			})
		},
	})
	c.Flags().StringVar(&device, "ifname", "", "`name` of the device (default: made from that of the port)")
	c.Flags().StringVar(&owner, "owner", "", "`user` who may open the device without being root")
	return c
}

// setOwner finds the numbers of a user and of the user's group.
func setOwner(tap *plug.Tap, name string) error {
	if name == "" {
		return nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return fmt.Errorf("invalid owner %q: there is no such user on this host", name)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil || err2 != nil {
		return fmt.Errorf("invalid owner %q: the ids %s and %s are no numbers", name, u.Uid, u.Gid)
	}
	tap.Owner, tap.Group = uint32(uid), uint32(gid)
	return nil
}

// plugTap plugs a tap as a port and waits until it works. If it does not, nothing is left of it.
func plugTap(ctx context.Context, st *store.Store, h *plug.Host, port string, tap *plug.Tap) (tapView, error) {
	v := tapView{Port: port}
	ref, err := st.PortNamed(ctx, port)
	if err != nil {
		return v, err
	}
	if ref.Kind != model.KindSwitchPort {
		return v, fmt.Errorf("port %s belongs to a router: a tap is plugged as the port of a switch", port)
	}
	lsp, err := st.SwitchPort(ctx, ref.Parent, ref.Name)
	if err != nil {
		return v, err
	}
	if lsp.Type != model.PortVIF {
		return v, fmt.Errorf("port %s is of type %s: a tap is plugged as one of type %s", port, lsp.Type, model.PortVIF)
	}
	if v.Chassis, err = h.Ready(ctx); err != nil {
		return v, err
	}
	snap, err := st.Snapshot(ctx, model.KindSwitch, model.KindChassis)
	if err != nil {
		return v, err
	}
	ls, _ := snap.Objects[model.Ref{Kind: model.KindSwitch, Name: lsp.Switch}].(*model.LogicalSwitch)
	ch, _ := snap.Objects[model.Ref{Kind: model.KindChassis, Name: v.Chassis}].(*model.Chassis)
	if ls == nil || ch == nil {
		return v, fmt.Errorf("port %s: switch %s or chassis %s is not usable in the store: has the daemon (tuplenet) run on this host?", port, lsp.Switch, v.Chassis)
	}
	if v.MTU, err = h.MTU(ls, ch); err != nil {
		return v, err
	}
	v.Switch, v.MAC = lsp.Switch, lsp.MAC.String()
	plugged, err := h.Plug(ctx, plug.Cable{Record: plug.Record{Plugin: tapPlugin, Switch: lsp.Switch, Port: port}, MAC: lsp.MAC, MTU: v.MTU, Tap: tap})
	if err != nil {
		return v, err
	}
	v.Device = plugged.Device
	if _, err = plug.Settle(ctx, st, port, v.Chassis, othersPatience); err != nil {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), tapPatience)
		defer cancel()
		if failed := h.Unplug(undo, port); failed != nil {
			return v, fmt.Errorf("%w; and %w", err, failed)
		}
		return v, err
	}
	return v, nil
}

// withHost runs a command that needs the store and this host's switch.
func (a *app) withHost(cmd *cobra.Command, do func(ctx context.Context, st *store.Store, h *plug.Host, set settings) error) error {
	set, err := resolveSettings(a.flags, a.env)
	if err != nil {
		return err
	}
	st, err := open(set)
	if err != nil {
		return err
	}
	defer st.Close()
	ctx, cancel := context.WithTimeout(cmd.Context(), tapPatience)
	defer cancel()
	h, err := a.openHost(ctx)
	if err != nil {
		return err
	}
	defer h.Close()
	return do(ctx, st, h, set)
}

func (a *app) tapDel() *cobra.Command {
	return a.command(verb{
		use: "del PORT", alias: "d", short: "Take the tap device of a switch port out and remove it",
		min: 1, max: 1, wrong: "require a port name",
		complete: completeAt(anySwitchPort),
		run: func(cmd *cobra.Command, args []string) error {
			return a.withHost(cmd, func(ctx context.Context, _ *store.Store, h *plug.Host, _ settings) error {
				r, ok := h.Find(args[0])
				if !ok || r.Plugin != tapPlugin {
					return fmt.Errorf("tap of port %s %w on this host", args[0], store.ErrNotFound)
				}
				if err := h.Unplug(ctx, args[0]); err != nil {
					return err
				}
				fmt.Fprintf(a.env.Stdout, "tap %s of port %s deleted\n", r.Device, args[0])
				return nil
			})
		},
	})
}

func (a *app) tapShow() *cobra.Command {
	return a.command(verb{
		use: "show", alias: "s", short: "List the tap devices that were made on this host",
		max: 0, wrong: "no parameters required",
		run: func(cmd *cobra.Command, _ []string) error {
			return a.withHost(cmd, func(_ context.Context, _ *store.Store, h *plug.Host, set settings) error {
				out := listing{columns: []string{"DEVICE", "SWITCH", "PORT", "TROUBLE"}}
				for _, r := range h.Records(tapPlugin) {
					v := tapView{Port: r.Port, Switch: r.Switch, Device: r.Device, Trouble: h.Trouble(r)}
					out.entries = append(out.entries, entry{name: r.Device, view: v,
						fields: []field{{"switch", v.Switch}, {"port", v.Port}, {"trouble", v.Trouble}}, cells: []string{v.Device, v.Switch, v.Port, v.Trouble}})
				}
				return out.write(a.env.Stdout, set.Output)
			})
		},
	})
}

// anySwitchPort proposes the ports of workloads of all switches.
func anySwitchPort(ctx context.Context, st *store.Store, _ []string) ([]string, error) {
	snap, err := st.Snapshot(ctx, model.KindSwitchPort)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, p := range snap.SwitchPorts("") {
		if p.Type == model.PortVIF {
			out = append(out, p.Name)
		}
	}
	return out, nil
}
