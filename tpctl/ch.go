package tpctl

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"tuplenet/model"
	"tuplenet/model/store"
)

// chassisCommand is ch: the nodes.
func (a *app) chassisCommand() *cobra.Command {
	return noun("ch", "Chassis: the nodes of the deployment", a.chassisDel(), a.chassisShow())
}

func (a *app) chassisDel() *cobra.Command {
	return a.command(verb{
		use: "del NAME|IP", alias: "d", short: "Delete a chassis that will not come back",
		long: `Delete a chassis, by its name or by its tunnel address, and the places of the ports that it had.
A chassis whose daemon runs registers itself again: stop the daemon first.`,
		min: 1, max: 1, wrong: "require a name or ip",
		complete: completeAt(chassisNames),
		run: func(cmd *cobra.Command, args []string) error {
			return a.change(cmd, false, func(ctx context.Context, st *store.Store, opts ...store.Option) (change, error) {
				return deleteChassis(ctx, st, args[0], opts)
			})
		},
	})
}

// deleteChassis deletes the chassis of that name, else those that have the address.
func deleteChassis(ctx context.Context, st *store.Store, nameOrIP string, opts []store.Option) (change, error) {
	snap, err := st.Snapshot(ctx, model.KindChassis)
	if err != nil {
		return change{}, err
	}
	names, err := chassisByNameOrIP(snap, nameOrIP)
	if err != nil {
		return change{}, err
	}
	var done change
	var texts []string
	for _, name := range names {
		if done.revision, err = st.DeleteChassis(ctx, name, opts...); err != nil {
			return done, err
		}
		texts = append(texts, name+" deleted")
	}
	done.text = strings.Join(texts, "\n")
	return done, nil
}

func chassisByNameOrIP(snap *store.Snapshot, nameOrIP string) ([]string, error) {
	ip, notIP := netip.ParseAddr(nameOrIP)
	var byIP []string
	for _, c := range snap.Chassis() {
		if c.Name == nameOrIP {
			return []string{c.Name}, nil
		}
		for _, own := range c.IPs {
			if notIP == nil && own == ip.Unmap() {
				byIP = append(byIP, c.Name)
			}
		}
	}
	switch {
	case len(byIP) > 0:
		return byIP, nil
	case notIP == nil:
		return nil, fmt.Errorf("failed to get chassis by ip %s: %w", ip, store.ErrNotFound)
	default:
		return nil, fmt.Errorf("unable to get chassis %s: %w", nameOrIP, store.ErrNotFound)
	}
}

func (a *app) chassisShow() *cobra.Command {
	return a.command(verb{
		use: "show [NAME]", alias: "s", short: "List the chassis, what they applied and their problems",
		min: 0, max: 1, wrong: "require only one name",
		complete: completeAt(chassisNames),
		run: func(cmd *cobra.Command, args []string) error {
			return a.show(cmd, func(ctx context.Context, st *store.Store) (listing, error) {
				snap, err := st.Snapshot(ctx, model.KindChassis)
				if err != nil {
					return listing{}, err
				}
				live, err := st.Live(ctx)
				if err != nil {
					return listing{}, err
				}
				status, err := st.Status(ctx)
				if err != nil {
					return listing{}, err
				}
				return listChassis(snap, live, status, argument(args, 0)), nil
			})
		},
	})
}

// chassisView is a chassis in json and yaml: what it said of itself, whether it lives and what it last reported.
type chassisView struct {
	*model.Chassis
	State    string          `json:"state"`
	Applied  int64           `json:"appliedRevision"`
	Behind   string          `json:"behind,omitempty"` // why it does not apply newer revisions
	Problems []model.Problem `json:"problems"`
	// ObservationDomain is the id under which the chassis reports packets by IPFIX, if it does.
	ObservationDomain uint32 `json:"observationDomain"`
	// UnreachableFrom are the chassis whose tunnel to this one does not answer, of those that watch it (gateways and all others
	// watch each other).
	UnreachableFrom []string `json:"unreachableFrom,omitempty"`
}

func viewChassis(c *model.Chassis, live map[string]store.Identity, status map[string]*model.Status) chassisView {
	v := chassisView{Chassis: c, State: stateDown, Problems: []model.Problem{}, ObservationDomain: model.ObservationDomain(c.IPs)}
	if _, alive := live[c.Name]; alive {
		v.State = stateUp
	}
	if s := status[c.Name]; s != nil {
		v.Applied, v.Behind = s.Applied, s.Behind
		v.Problems = append(v.Problems, s.Problems...)
	}
	unreachable := model.Problem{Key: c.Ref().String(), Reason: model.Unreachable}
	for name, s := range status {
		if slices.Contains(s.Problems, unreachable) {
			v.UnreachableFrom = append(v.UnreachableFrom, name)
		}
	}
	slices.Sort(v.UnreachableFrom)
	sort.Slice(v.Problems, func(i, j int) bool { return v.Problems[i].Key < v.Problems[j].Key })
	return v
}

// encapsText says what others may send to a chassis, if that is not just Geneve, and what does not work by VXLAN.
func encapsText(encaps []model.Encap) string {
	if len(encaps) == 0 || len(encaps) == 1 && encaps[0] == model.EncapGeneve {
		return ""
	}
	text := joinText(encaps)
	if encaps[0] == model.EncapVXLAN {
		text += " (no redirect, no forwarding after a port has moved, no return through several edges, no live trace)"
	}
	return text
}

func listChassis(snap *store.Snapshot, live map[string]store.Identity, status map[string]*model.Status, name string) listing {
	out := listing{columns: []string{"NAME", "STATE", "IPS", "ENCAPS", "HOSTNAME", "GATEWAY", "APPLIED", "PROBLEMS", "IPFIX-DOMAIN", "MTU"}, broken: brokenOf(snap, "", name)}
	for _, c := range snap.Chassis() {
		if name != "" && c.Name != name {
			continue
		}
		v := viewChassis(c, live, status)
		e := entry{name: c.Name, view: v}
		e.fields = append(addressFields(c.IPs), field{"tick", strconv.FormatUint(c.Tick, 10)})
		if encaps := encapsText(c.Encaps); encaps != "" {
			e.fields = append(e.fields, field{"encaps", encaps})
		}
		if v.Behind != "" {
			e.fields = append(e.fields, field{"behind", v.Behind})
		}
		if len(v.UnreachableFrom) > 0 {
			e.fields = append(e.fields, field{"unreachable from", joinText(v.UnreachableFrom)})
		}
		for _, p := range v.Problems {
			e.fields = append(e.fields, field{"problem", p.Key + ": " + p.Reason})
		}
		applied := ""
		if v.Applied > 0 {
			applied = strconv.FormatInt(v.Applied, 10)
		}
		gateway := ""
		if c.Gateway {
			gateway = "yes"
		}
		e.cells = []string{c.Name, v.State, join(c.IPs), joinText(c.Encaps), c.Hostname, gateway, applied, strconv.Itoa(len(v.Problems)), strconv.FormatUint(uint64(v.ObservationDomain), 10), mtuText(c.TunnelMTU)}
		out.entries = append(out.entries, e)
	}
	return out
}
