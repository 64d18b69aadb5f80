package tpctl

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tuplenet/model"
	"tuplenet/model/alloc"
	"tuplenet/model/store"
	"tuplenet/plugins/ipam"
)

// poolCommand is pool: pools of prefixes.
func (a *app) poolCommand() *cobra.Command {
	return noun("pool", "Pools of prefixes that subnets are taken from", a.poolAdd(), a.poolDel(), a.poolRelease(), a.poolShow())
}

// prefixService is what drivers of pools are run by.
func (a *app) prefixService() store.Option {
	return store.WithPrefixService(&ipam.Drivers{Dir: a.env.Getenv("TPCTL_IPAM_DIR")})
}

// poolOptions are the options of pool add.
type poolOptions struct {
	length         int
	reserved       []string
	strategy       string
	seed           uint64
	quarantine     time.Duration
	template       string
	ipv6Template   string
	driver         string
	quarantineSaid bool
}

func (a *app) poolAdd() *cobra.Command {
	var o poolOptions
	c := a.command(verb{
		use: "add POOL [CIDR]…", alias: "a", short: "Create a pool of prefixes",
		long: `Create a pool of prefixes of one family. "ls add --pool POOL" and "subnet add" take the next free prefix of it: of length 64
in IPv6, of 24 in IPv4, unless --length or who takes it says otherwise. A prefix that was given back is not given out again
before the time of --quarantine is over.

--template SUPERNET/LENGTH/LENGTH, such as 172.16.0.0/16/24, stands for CIDR and --length; "ip make --pool POOL" makes
addresses of it from numbers of nets and hosts.`,
		min: 1, max: 1 + model.MaxPoolPrefixes, wrong: "require a name and prefixes",
		run: func(cmd *cobra.Command, args []string) error {
			o.quarantineSaid = cmd.Flags().Changed("quarantine")
			p, err := o.pool(args[0], args[1:])
			if err != nil {
				return err
			}
			return a.add(cmd, []model.Object{p}, func(ctx context.Context, st *store.Store, opts ...store.Option) (change, error) {
				rev, err := st.AddPool(ctx, p, opts...)
				if err != nil {
					return change{}, err
				}
				return change{text: createdText(p), revision: rev, view: p}, nil
			})
		},
	})
	f := c.Flags()
	f.IntVar(&o.length, "length", 0, "prefix `length` that is given out (default 64 in IPv6, 24 in IPv4)")
	f.StringArrayVar(&o.reserved, "reserved", nil, "never give out `CIDR` or FROM-TO; may be repeated")
	f.StringVar(&o.strategy, "strategy", "", "give out the `lowest|random` one (default lowest)")
	f.Uint64Var(&o.seed, "seed", 0, "`number` that the random order depends on")
	f.DurationVar(&o.quarantine, "quarantine", model.DefaultQuarantine*time.Second, "`time` before a prefix that was given back is used again")
	f.StringVar(&o.template, "template", "", "SUPERNET/LENGTH/LENGTH in place of CIDR and --length")
	f.StringVar(&o.ipv6Template, "ipv6template", "", "`ADDRESS` of IPv6 whose last 32 bits become the IPv4 address in \"ip make\", such as 1000::1:0.0.0.0")
	f.StringVar(&o.driver, "driver", "", "`program` in /etc/tuplenet/ipam.d that gives out the prefixes")
	a.completeOption(c, "strategy", func(context.Context, *store.Store, []string) ([]string, error) {
		return []string{string(model.StrategyLowest), string(model.StrategyRandom)}, nil
	})
	return c
}

func (o poolOptions) pool(name string, cidrs []string) (*model.Pool, error) {
	p := &model.Pool{Name: name, Length: o.length, Strategy: model.Strategy(o.strategy), Seed: o.seed, Driver: o.driver}
	var err error
	if o.template != "" {
		if len(cidrs) > 0 || o.length != 0 {
			return nil, usagef("--template stands for CIDR and --length, give either")
		}
		var net netip.Prefix
		if net, p.Length, err = model.ParseTemplate(o.template); err != nil {
			return nil, err
		}
		p.Prefixes = []netip.Prefix{net}
	} else if len(cidrs) == 0 {
		return nil, usagef("require a name and prefixes")
	} else if p.Prefixes, err = parseSubnets(cidrs); err != nil {
		return nil, err
	}
	for _, text := range o.reserved {
		r, err := parseRange(text)
		if err != nil {
			return nil, err
		}
		p.Reserved = append(p.Reserved, r...)
	}
	if o.quarantineSaid {
		q := int64((o.quarantine + time.Second - 1) / time.Second)
		p.Quarantine = &q
	}
	if o.ipv6Template != "" {
		if p.IPv6Template, err = parseIPv6Template(o.ipv6Template); err != nil {
			return nil, err
		}
	}
	return p, p.Validate()
}

func parseIPv6Template(text string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return addr, fmt.Errorf("invalid IPv6 template %q: an address such as 1000::1:0.0.0.0 is expected", text)
	}
	return addr, model.ValidateIPv6Template(addr)
}

// parseRange reads a prefix, an address, or the first and the last address of a range, as the prefixes that cover it.
func parseRange(text string) ([]netip.Prefix, error) {
	if from, to, ok := strings.Cut(text, "-"); ok {
		first, err := netip.ParseAddr(from)
		last, err2 := netip.ParseAddr(to)
		if err != nil || err2 != nil || first.BitLen() != last.BitLen() || last.Less(first) || first.Zone()+last.Zone() != "" {
			return nil, fmt.Errorf("invalid range %q: FROM-TO is expected, the addresses of one family and in order", text)
		}
		return alloc.Cover(first, last), nil
	}
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		return []netip.Prefix{netip.PrefixFrom(addr, addr.BitLen())}, nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return nil, fmt.Errorf("invalid range %q: CIDR, an address or FROM-TO is expected", text)
	}
	if p != p.Masked() {
		return nil, fmt.Errorf("invalid CIDR address %q: bits are set behind the prefix, the network is %s", p, p.Masked())
	}
	return []netip.Prefix{p}, nil
}

func (a *app) poolDel() *cobra.Command {
	return a.command(verb{
		use: "del POOL", alias: "d", short: "Delete a pool of which nothing is in use",
		min: 1, max: 1, wrong: "require a name",
		complete: completeAt(poolNames),
		run: func(cmd *cobra.Command, args []string) error {
			return a.change(cmd, false, func(ctx context.Context, st *store.Store, opts ...store.Option) (change, error) {
				revision, err := st.DeletePool(ctx, args[0], opts...)
				return change{text: args[0] + " deleted", revision: revision}, err
			})
		},
	})
}

func (a *app) poolRelease() *cobra.Command {
	return a.command(verb{
		use: "release POOL CIDR", short: "End the quarantine of a prefix, and tell the driver that it is free",
		min: 2, max: 2, wrong: "require a pool and a CIDR",
		complete: completeAt(poolNames),
		run: func(cmd *cobra.Command, args []string) error {
			subnet, err := model.ParseSubnet(args[1])
			if err != nil {
				return err
			}
			return a.change(cmd, false, func(ctx context.Context, st *store.Store, opts ...store.Option) (change, error) {
				rev, err := st.ReleasePrefix(ctx, args[0], subnet, append(opts, a.prefixService())...)
				return change{text: fmt.Sprintf("pool %s prefix %s released", args[0], subnet), revision: rev}, err
			})
		},
	})
}

func (a *app) poolShow() *cobra.Command {
	return a.command(verb{
		use: "show [POOL]", alias: "s", short: "List pools, and of one pool what is in use and what is in quarantine",
		min: 0, max: 1, wrong: "require at most one name",
		complete: completeAt(poolNames),
		run: func(cmd *cobra.Command, args []string) error {
			return a.show(cmd, func(ctx context.Context, st *store.Store) (listing, error) {
				snap, err := st.Snapshot(ctx, model.KindPool)
				if err != nil {
					return listing{}, err
				}
				name := argument(args, 0)
				out := listing{columns: []string{"NAME", "PREFIXES", "LENGTH", "STRATEGY", "USED", "QUARANTINE", "DRIVER"}, broken: brokenOf(snap, "", name)}
				for _, p := range snap.Pools() {
					if name != "" && p.Name != name {
						continue
					}
					held, err := st.Held(ctx, p.Name, name != "")
					if err != nil {
						return listing{}, err
					}
					out.entries = append(out.entries, poolEntry(p, held, name != ""))
				}
				return out, nil
			})
		},
	})
}

// poolView is a pool in json and yaml.
type poolView struct {
	*model.Pool
	Used       []heldView `json:"used"`
	Quarantine []heldView `json:"quarantine"`
}

type heldView struct {
	Prefix netip.Prefix `json:"prefix"`
	Owner  string       `json:"owner"`
	// Seconds that it stays in quarantine, where one pool is asked for.
	Seconds int64 `json:"seconds,omitempty"`
}

func poolEntry(p *model.Pool, held []store.Held, detailed bool) entry {
	v := poolView{Pool: p, Used: []heldView{}, Quarantine: []heldView{}}
	var details []field
	for _, h := range held {
		x := heldView{Prefix: h.Prefix, Owner: h.Owner}
		if h.Quarantine == 0 {
			v.Used = append(v.Used, x)
			details = append(details, field{"used", h.Prefix.String() + " " + h.Owner})
			continue
		}
		if detailed {
			x.Seconds = int64(h.Quarantine / time.Second)
		}
		v.Quarantine = append(v.Quarantine, x)
		details = append(details, field{"quarantine", fmt.Sprintf("%s %s for %s", h.Prefix, h.Owner, h.Quarantine)})
	}
	strategy := firstOf(string(p.Strategy), string(model.StrategyLowest))
	e := entry{name: p.Name, view: v}
	for _, prefix := range p.Prefixes {
		e.fields = append(e.fields, field{"prefix", prefix.String()})
	}
	e.fields = append(e.fields, field{"length", strconv.Itoa(p.DefaultLength())}, field{"strategy", strategy})
	for _, r := range p.Reserved {
		e.fields = append(e.fields, field{"reserved", r.String()})
	}
	if p.IPv6Template.IsValid() {
		e.fields = append(e.fields, field{"ipv6template", p.IPv6Template.String()})
	}
	if p.Driver != "" {
		e.fields = append(e.fields, field{"driver", p.Driver})
	}
	used, resting := strconv.Itoa(len(v.Used)), strconv.Itoa(len(v.Quarantine))
	if detailed {
		e.fields = append(e.fields, details...)
	} else {
		e.fields = append(e.fields, field{"used", used}, field{"quarantine", resting})
	}
	e.cells = []string{p.Name, join(p.Prefixes), strconv.Itoa(p.DefaultLength()), strategy, used, resting, p.Driver}
	return e
}

// parseSources reads the values of --pool; each may be a list too.
func parseSources(texts []string) ([]model.SubnetSource, error) {
	if len(texts) == 0 {
		return nil, nil
	}
	return parseEach(strings.Join(texts, ","), model.ParseSubnetSource)
}
