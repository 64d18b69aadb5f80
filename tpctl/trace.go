package tpctl

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"tuplenet/flows/walk"
	"tuplenet/model"
	"tuplenet/model/store"
)

// traceOptions are those of the trace command.
type traceOptions struct {
	from, to, toPort, via, file string
	src, srcMAC, dstMAC         string
	srcPort                     uint16
	ttl                         uint8
	size, underlayMTU           int
	down                        []string
	offline, ovs, live          bool
}

// traceCommand is trace: what becomes of a packet.
func (a *app) traceCommand() *cobra.Command {
	var o traceOptions
	c := a.command(verb{
		use: "trace --from PORT --to IP [tcp/PORT|udp/PORT|icmp|arp]", short: "Tell what becomes of a packet, hop by hop, and why",
		long: `Tell what becomes of a packet that a workload sends: every chassis, switch and router that it crosses, the table, the
rule and the object because of which the rule is there, what was rewritten, which of several equal ways it takes, and where it
ends and why. The way of the answer is told, too.

The chassis are compiled here from what the store holds, or, with --store, from a file that "tpctl export" wrote; no switch
is needed. Chassis that live are asked for what the store does not say, such as the settings of their daemons and what
answers in the physical network; for others, and with --offline for all, it is made up, and the answer says what was assumed.
--down tells what would be if a chassis was not reached. --ovs gives the same packet to ofproto/trace on every chassis that it visits and points out where the switch does something
else. --live sends a real packet and tells where it came by.

The answer is a text; -o plain gives one line a stage, -o json and yaml everything. The exit code is 0 if the packet gets
somewhere, 1 if not, or if a switch disagrees.`,
		min: 0, max: 1, wrong: "require at most one protocol: icmp, tcp/PORT, udp/PORT or arp",
		complete: func(context.Context, *store.Store, []string) ([]string, error) {
			return []string{"icmp", "tcp/443", "udp/53", "arp"}, nil
		},
		run: func(cmd *cobra.Command, args []string) error { return a.trace(cmd, o, argument(args, 0)) },
	})
	f := c.Flags()
	f.SortFlags = false
	f.StringVar(&o.from, "from", "", "the switch `port` that sends: of a workload, or a patch port")
	f.StringVar(&o.to, "to", "", "the destination `IP`")
	f.StringVar(&o.toPort, "to-lsp", "", "the switch `port` that is the destination, in place of --to")
	f.StringSliceVar(&o.down, "down", nil, "take the `chassis` for unreachable; names of routers that are pinned to one and of edges will do")
	f.StringVar(&o.via, "via", "", "of equal ways take the one through this `chassis` (or router, or edge)")
	f.StringVar(&o.file, "store", "", "read the objects from a `file` that \"tpctl export\" wrote, not from etcd")
	f.BoolVar(&o.offline, "offline", false, "ask no chassis for what the store does not say")
	f.BoolVar(&o.ovs, "ovs", false, "compare with ofproto/trace of each chassis")
	f.BoolVar(&o.live, "live", false, "send a real packet and tell where it came by")
	f.StringVar(&o.src, "src", "", "the source `IP`, if not the port's own")
	f.Uint16Var(&o.srcPort, "src-port", 0, "the source `port` of tcp and udp")
	f.StringVar(&o.srcMAC, "src-mac", "", "the source `MAC`, if not the port's own")
	f.StringVar(&o.dstMAC, "dst-mac", "", "the destination `MAC`, if not that of the destination or of the gateway")
	f.Uint8Var(&o.ttl, "ttl", 64, "`hops` that the packet may take")
	f.IntVar(&o.size, "size", 84, "size of the IP packet in `bytes`")
	f.IntVar(&o.underlayMTU, "underlay-mtu", 1500, "MTU between the chassis in `bytes`, where they are not asked")
	a.completeOption(c, "from", sendingPorts)
	a.completeOption(c, "to-lsp", sendingPorts)
	a.completeOption(c, "down", chassisNames)
	a.completeOption(c, "via", chassisNames)
	return c
}

// sendingPorts proposes the switch ports that packets come from.
func sendingPorts(ctx context.Context, st *store.Store, _ []string) ([]string, error) {
	snap, err := st.Snapshot(ctx, model.KindSwitchPort)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, p := range snap.SwitchPorts("") {
		if p.Type != model.PortRouter {
			names = append(names, p.Name)
		}
	}
	return names, nil
}

func (a *app) trace(cmd *cobra.Command, o traceOptions, protocol string) error {
	if o.from == "" || (o.to == "") == (o.toPort == "") {
		return usagef("require --from and one of --to and --to-lsp, see %q", "tpctl trace --help")
	}
	if (o.file != "" || o.offline) && (o.ovs || o.live) || o.ovs && o.live {
		return usagef("--ovs and --live ask the chassis: they do not go together, nor with --store and --offline")
	}
	set, err := resolveSettings(a.flags, a.env)
	if err != nil {
		return err
	}
	probe, err := o.probe(protocol)
	if err != nil {
		return err
	}
	var st *store.Store
	var objects map[model.Ref]model.Object
	if o.file != "" {
		objects, err = readExport(o.file)
	} else {
		if st, err = open(set); err != nil {
			return err
		}
		defer st.Close()
		var snap *store.Snapshot
		if snap, err = st.Snapshot(cmd.Context()); err == nil {
			objects = snap.Objects
		}
	}
	if err != nil {
		return err
	}
	t := tracing{app: a, set: set, o: o, objects: objects, store: st, probe: probe}
	return t.run(cmd.Context())
}

// readExport reads the objects of a file.
func readExport(file string) (map[model.Ref]model.Object, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read the export: %w", err)
	}
	defer f.Close() // it was read
	list, err := model.ReadDocuments(f)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	objects := map[model.Ref]model.Object{}
	for _, o := range list {
		if err := o.Validate(); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", file, o.Ref(), err)
		}
		objects[o.Ref()] = o
	}
	return objects, nil
}

// probe makes the packet that the options describe.
func (o traceOptions) probe(protocol string) (p walk.Probe, err error) {
	p = walk.Probe{From: o.from, SrcPort: o.srcPort, TTL: o.ttl, Size: o.size}
	name, port, has := strings.Cut(protocol, "/")
	p.Protocol = name
	if has {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || name != walk.TCP && name != walk.UDP {
			return p, usagef("invalid protocol %q, expected tcp/PORT or udp/PORT", protocol)
		}
		p.DstPort = uint16(n)
	}
	switch {
	case !slices.Contains([]string{"", walk.ICMP, walk.TCP, walk.UDP, walk.ARP}, name):
		return p, usagef("invalid protocol %q, expected icmp, tcp/PORT, udp/PORT or arp", protocol)
	case !has && (name == walk.TCP || name == walk.UDP):
		return p, usagef("%s needs a port, such as %s/443", name, name)
	}
	for _, ip := range []struct {
		text string
		to   *netip.Addr
	}{{o.to, &p.Dst}, {o.src, &p.Src}} {
		if ip.text == "" {
			continue
		}
		if *ip.to, err = netip.ParseAddr(ip.text); err != nil {
			return p, usagef("invalid address %q", ip.text)
		}
		*ip.to = ip.to.Unmap()
	}
	for _, mac := range []struct {
		text string
		to   *model.MAC
	}{{o.srcMAC, &p.SrcMAC}, {o.dstMAC, &p.DstMAC}} {
		if mac.text == "" {
			continue
		}
		if *mac.to, err = model.ParseMAC(mac.text); err != nil {
			return p, usageError{err}
		}
	}
	return p, nil
}

// tracing is one run of the command.
type tracing struct {
	*app
	set     settings
	o       traceOptions
	objects map[model.Ref]model.Object
	store   *store.Store // nil with --store
	probe   walk.Probe

	live  map[string]store.Identity
	facts map[string]walk.Facts // what chassis said
	asked int                   // questions to switches
	paper string                // the verdict on paper, beside that of a live trace
}

func (t *tracing) run(ctx context.Context) error {
	cfg := walk.Config{Objects: t.objects, UnderlayMTU: t.o.underlayMTU}
	for _, name := range t.o.down {
		chassis, err := t.chassisOf(name)
		if err != nil {
			return err
		}
		cfg.Down = append(cfg.Down, chassis)
	}
	if t.o.via != "" {
		var err error
		if cfg.Via, err = t.chassisOf(t.o.via); err != nil {
			return err
		}
	}
	if err := t.destination(); err != nil {
		return err
	}
	report, err := t.follow(ctx, cfg)
	if err != nil {
		return err
	}
	switch {
	case t.o.ovs:
		err = t.compare(ctx, report)
	case t.o.live:
		report, err = t.sendLive(ctx, cfg, report)
	}
	if err != nil {
		return err
	}
	if err := t.write(report); err != nil {
		return err
	}
	if !report.Reached || len(report.Defects) > 0 {
		return exitStatus(ExitRefused)
	}
	return nil
}

func follow(cfg walk.Config, p walk.Probe) (*walk.Report, error) {
	d, err := walk.New(cfg)
	if err != nil {
		return nil, notFound{err.Error()}
	}
	if d.Port(p.From) == nil {
		return nil, notFound{fmt.Sprintf("switch port %s not found", p.From)}
	}
	return d.Trace(p)
}

// destination finds the address of --to-lsp, of a family that the sender has.
func (t *tracing) destination() error {
	if t.o.toPort == "" {
		return nil
	}
	var from, to *model.LogicalSwitchPort
	for _, o := range t.objects {
		p, ok := o.(*model.LogicalSwitchPort)
		if ok && p.Name == t.o.from {
			from = p
		}
		if ok && p.Name == t.o.toPort {
			to = p
		}
	}
	if to == nil {
		return notFound{fmt.Sprintf("switch port %s not found", t.o.toPort)}
	}
	for _, ip := range to.IPs {
		has := func(own netip.Addr) bool { return own.Is4() == ip.Is4() }
		if from == nil || slices.ContainsFunc(from.IPs, has) || t.probe.Src.IsValid() && has(t.probe.Src) {
			t.probe.Dst = ip
			return nil
		}
	}
	return fmt.Errorf("switch port %s has no address of a family that %s has, too", t.o.toPort, t.o.from)
}

// chassisOf is the chassis of that name, or the one to which the router of that name, or the edge's router, is pinned.
func (t *tracing) chassisOf(name string) (string, error) {
	if _, ok := t.objects[model.Ref{Kind: model.KindChassis, Name: name}]; ok {
		return name, nil
	}
	for _, router := range []string{name, "LR-" + name} {
		if lr, ok := t.objects[model.Ref{Kind: model.KindRouter, Name: router}].(*model.LogicalRouter); ok && lr.Chassis != "" {
			return lr.Chassis, nil
		}
	}
	for _, ref := range slices.SortedFunc(maps.Keys(t.objects), func(a, b model.Ref) int { return strings.Compare(a.Name, b.Name) }) {
		if c, ok := t.objects[ref].(*model.Chassis); ok && c.Hostname == name {
			return c.Name, nil
		}
	}
	return "", notFound{fmt.Sprintf("chassis %s not found, nor a router of that name that is pinned to one", name)}
}
