package tpctl

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tuplenet/model"
	"tuplenet/model/store"
)

// switchRadvd prints what a switch advertises as a file for radvd.
func (a *app) switchRadvd() *cobra.Command {
	var device string
	var mtu int
	c := a.command(verb{
		use: "radvd SWITCH", short: "Print what a switch advertises as radvd.conf",
		long: `Print a configuration of radvd (radvd.conf(5)) that advertises on a device what the nodes advertise on the switch: for a
router that is not part of the deployment and has a leg in its network. Workloads on the switch itself need no radvd.`,
		min: 1, max: 1, wrong: "require a name",
		complete: completeAt(switchNames),
		run: func(cmd *cobra.Command, args []string) error {
			set, err := resolveSettings(a.flags, a.env)
			if err != nil {
				return err
			}
			st, err := open(set)
			if err != nil {
				return err
			}
			defer st.Close()
			ls, err := st.Switch(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			snap, err := st.Snapshot(cmd.Context(), model.KindSwitchPort, model.KindRouterPort)
			if err != nil {
				return err
			}
			_, err = a.env.Stdout.Write(radvdConf(snap, ls, device, mtu))
			return err
		},
	})
	c.Flags().StringVar(&device, "device", "eth0", "network `device` to advertise on")
	c.Flags().IntVar(&mtu, "link-mtu", 0, "MTU to advertise in `bytes`, 0 = that of the switch, else none")
	return c
}

// radvdConf writes the configuration.
func radvdConf(snap *store.Snapshot, ls *model.LogicalSwitch, device string, mtu int) []byte {
	c := ls.Hosts
	if c == nil {
		c = &model.HostConfig{}
	}
	var b bytes.Buffer
	line := func(depth int, format string, args ...any) {
		fmt.Fprintf(&b, strings.Repeat("\t", depth)+format+"\n", args...)
	}
	flag := func(on bool) string { return map[bool]string{true: "on", false: "off"}[on] }
	line(0, "# what switch %s advertises", ls.Name)
	line(0, "interface %s", device)
	line(0, "{")
	line(1, "AdvSendAdvert %s;", flag(c.RA))
	line(1, "AdvManagedFlag %s;", flag(c.DHCPv6 == model.DHCPv6Stateful))
	line(1, "AdvOtherConfigFlag %s;", flag(c.DHCPv6 != model.DHCPv6Off))
	line(1, "AdvDefaultLifetime %d;", min(c.RouterLifetimeSeconds(), 9000)) // the most that radvd takes
	if mtu == 0 {
		mtu = ls.MTU
	}
	if mtu > 0 {
		line(1, "AdvLinkMTU %d;", mtu)
	}
	for _, p := range radvdPrefixes(snap, ls.Name) {
		line(1, "prefix %s", p)
		line(1, "{")
		line(2, "AdvOnLink on;")
		line(2, "AdvAutonomous %s;", flag(c.DHCPv6 != model.DHCPv6Stateful))
		line(1, "};")
	}
	if dns := model.ServersOf(c.DNS, false); len(dns) > 0 {
		line(1, "RDNSS %s", strings.ReplaceAll(join(dns), ",", " "))
		line(1, "{")
		line(1, "};")
	}
	if domains := c.Domains(); len(domains) > 0 {
		line(1, "DNSSL %s", strings.Join(domains, " "))
		line(1, "{")
		line(1, "};")
	}
	line(0, "};")
	return b.Bytes()
}

// radvdPrefixes are the IPv6 networks of the router ports on a switch, sorted.
func radvdPrefixes(snap *store.Snapshot, ls string) (prefixes []string) {
	peers := map[string]bool{}
	for _, p := range snap.SwitchPorts(ls) {
		if p.Type == model.PortRouter {
			peers[p.Peer] = true
		}
	}
	for _, o := range snap.Objects {
		rp, ok := o.(*model.LogicalRouterPort)
		if !ok || !peers[rp.Name] {
			continue
		}
		for _, n := range rp.Networks {
			if n.Addr().Is6() && !n.Addr().IsLinkLocalUnicast() {
				prefixes = append(prefixes, n.Masked().String())
			}
		}
	}
	slices.Sort(prefixes)
	return slices.Compact(prefixes)
}
