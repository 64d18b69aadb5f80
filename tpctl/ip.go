package tpctl

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/spf13/cobra"

	"tuplenet/model"
	"tuplenet/model/alloc"
	"tuplenet/model/store"
)

// ipCommand is ip: addresses made from numbers.
func (a *app) ipCommand() *cobra.Command {
	return noun("ip", "Addresses made from numbers", a.ipMake())
}

// ipOptions are the options of ip make.
type ipOptions struct {
	pool, template, ipv6Template, strategy string
	seed, net, host, reserve, perNet       uint64
	all                                    bool // no host was named: those of the net
}

func (a *app) ipMake() *cobra.Command {
	var o ipOptions
	c := a.command(verb{
		use: "make --net N [--host H]", short: "Make the address of a host from the numbers of its net and itself",
		long: `Make the address of host H (from 1) of net N (from 0) by a template: of 172.16.0.0/16/24 net 2 is 172.16.2.0/24, and its host 3
172.16.2.3/24. With an IPv6 template, such as 1000::1:0.0.0.0, the IPv6 address with the IPv4 address at its end follows.
The template is given, or it is that of a pool; only then is etcd asked.

With --strategy random the hosts of one flat network are shuffled, in an order that depends on --seed alone and so is the same
on all nodes. The first --reserve addresses are those of the nodes: host 0 of net N is node N itself (from 1). Each net has
--per-net of the addresses that follow. Without --host all addresses of the net are made.`,
		max: 0, wrong: "no parameters required, only options",
		run: func(cmd *cobra.Command, _ []string) error {
			o.all = !cmd.Flags().Changed("host")
			if !cmd.Flags().Changed("net") || (o.pool == "") == (o.template == "") {
				return usagef("require --net N, and --template or --pool")
			}
			if o.template != "" {
				return a.printAddresses(o, nil)
			}
			set, err := resolveSettings(a.flags, a.env)
			if err != nil {
				return err
			}
			st, err := open(set)
			if err != nil {
				return err
			}
			defer st.Close()
			p, err := st.Pool(cmd.Context(), o.pool)
			if err != nil {
				return err
			}
			return a.printAddresses(o, p)
		},
	})
	f := c.Flags()
	f.StringVar(&o.template, "template", "", "SUPERNET/LENGTH/LENGTH, or CIDR of one flat network")
	f.StringVar(&o.pool, "pool", "", "take template, IPv6 template, strategy and seed of `POOL`")
	f.Uint64Var(&o.net, "net", 0, "`number` of the net or node")
	f.Uint64Var(&o.host, "host", 0, "`number` of the host in it")
	f.StringVar(&o.ipv6Template, "ipv6template", "", "`ADDRESS` of IPv6 whose last 32 bits become the IPv4 address")
	f.StringVar(&o.strategy, "strategy", "", "number hosts in the `lowest|random` order (default lowest)")
	f.Uint64Var(&o.seed, "seed", 0, "`number` that the random order depends on")
	f.Uint64Var(&o.reserve, "reserve", 0, "how many `addresses` are for the nodes themselves, with --strategy random")
	f.Uint64Var(&o.perNet, "per-net", 0, "how many `addresses` each net has, with --strategy random")
	a.completeOption(c, "pool", poolNames)
	a.completeOption(c, "strategy", func(context.Context, *store.Store, []string) ([]string, error) {
		return []string{string(model.StrategyLowest), string(model.StrategyRandom)}, nil
	})
	return c
}

// maxListed bounds how many addresses of a net are made without --host.
const maxListed = 1 << 16

// addressView is an address in json and yaml.
type addressView struct {
	Net     uint64       `json:"net"`
	Host    uint64       `json:"host"`
	Address netip.Prefix `json:"address"`
	IPv6    netip.Prefix `json:"ipv6,omitzero"`
}

func (a *app) printAddresses(o ipOptions, p *model.Pool) error {
	set, err := resolveSettings(a.flags, a.env)
	if err != nil {
		return err
	}
	t, err := o.rule(p)
	if err != nil {
		return err
	}
	first, last := o.host, o.host
	if o.all {
		first, last = 1, t.Hosts()
		if last > maxListed {
			return fmt.Errorf("a net of length %d has %d hosts: say which with --host", t.Length, last)
		}
	}
	views := []addressView{}
	for host := first; host <= last; host++ {
		addr, err := t.Address(o.net, host)
		if err != nil {
			return err
		}
		v := addressView{Net: o.net, Host: host, Address: addr}
		if t.IPv6.IsValid() {
			v.IPv6 = t.Embed(addr)
		}
		views = append(views, v)
	}
	if set.Output.structured() {
		return writeDocument(a.env.Stdout, set.Output, views)
	}
	for _, v := range views {
		fmt.Fprintln(a.env.Stdout, v.Address)
		if v.IPv6.IsValid() {
			fmt.Fprintln(a.env.Stdout, v.IPv6)
		}
	}
	return nil
}

// rule is how addresses are made: as the options say, or else the pool.
func (o ipOptions) rule(p *model.Pool) (t alloc.Template, err error) {
	t = alloc.Template{Seed: o.seed, Reserve: o.reserve, PerNet: o.perNet}
	strategy := model.Strategy(o.strategy)
	if p == nil {
		if t.Network, t.Length, err = model.ParseTemplate(o.template); err != nil {
			return t, err
		}
	} else {
		t.Network, t.Length, t.IPv6 = p.Prefixes[0], p.DefaultLength(), p.IPv6Template
		if strategy == "" {
			strategy = p.Strategy
		}
		if o.seed == 0 {
			t.Seed = p.Seed
		}
	}
	if o.ipv6Template != "" {
		if t.IPv6, err = parseIPv6Template(o.ipv6Template); err != nil {
			return t, err
		}
	}
	switch t.Random = strategy == model.StrategyRandom; {
	case strategy != "" && strategy != model.StrategyLowest && !t.Random:
		return t, fmt.Errorf("invalid strategy %q: it is %s or %s", strategy, model.StrategyLowest, model.StrategyRandom)
	case t.IPv6.IsValid() && !t.Network.Addr().Is4():
		return t, fmt.Errorf("an IPv6 template is for IPv4 addresses, and %s is IPv6", t.Network)
	case t.Random && t.PerNet == 0 && t.Reserve == 0:
		return t, fmt.Errorf("with the strategy %s, say with --per-net how many addresses each net has", model.StrategyRandom)
	}
	return t, nil
}
