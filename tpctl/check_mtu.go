package tpctl

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"tuplenet/model"
	"tuplenet/model/store"
)

// Bounds of measuring ways: to how many others each chassis does, and how long all of them together may take.
const (
	waysOfOne    = 64
	waysPatience = 15 * time.Second
)

// wayView is the way from one chassis to another.
type wayView struct {
	From string `json:"from"`
	To   string `json:"to"`
	// MTU is the largest IP packet between the hosts, in bytes, that gets there in one piece; 0: Error says why not known.
	MTU int `json:"mtu,omitempty"`
	// Device is what the devices at both ends allow.
	Device int    `json:"deviceMTU,omitempty"`
	Error  string `json:"error,omitempty"`
}

func (a *app) checkMTUCommand() *cobra.Command {
	return a.command(verb{
		use: "mtu", short: "Measure which packets pass between the chassis",
		long: `Have every chassis that is up measure the largest IP packet that reaches each other one in one piece, by echo requests that may not be
fragmented, and print the matrix in bytes. A ? stands where echo requests are not answered. A way that carries less than the devices
at its ends (marked with !) loses packets of the tunnels: set the MTU of the devices to what passes, on all hosts; the chassis tell
their workloads what then fits. With more than 64 others a chassis measures 64 of them.`,
		max: 0, wrong: "no parameters required",
		run: func(cmd *cobra.Command, _ []string) error {
			return a.show(cmd, func(ctx context.Context, st *store.Store) (listing, error) {
				d, _, err := a.survey(ctx, st)
				if err != nil {
					return listing{}, err
				}
				return listWays(a.measureWays(ctx, st, d)), nil
			})
		},
	})
}

// measureWays asks the chassis that answered to measure the ways between them; sorted.
func (a *app) measureWays(ctx context.Context, st *store.Store, d *deploymentView) []wayView {
	ctx, cancel := context.WithTimeout(ctx, waysPatience)
	defer cancel()
	var up []*model.Chassis
	for _, h := range d.Chassis {
		if h.health != nil {
			up = append(up, h.info)
		}
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	var all []wayView
	turns := make(chan struct{}, askAtOnce)
	for i, from := range up {
		ends := map[netip.Addr]*model.Chassis{}
		for n := 1; n < len(up) && n <= waysOfOne; n++ {
			if to := up[(i+n)%len(up)]; wayTo(from, to).IsValid() {
				ends[wayTo(from, to)] = to
			}
		}
		if len(ends) == 0 {
			continue
		}
		wg.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			ways := a.waysFrom(ctx, st, from, ends)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, ways...)
		})
	}
	wg.Wait()
	slices.SortFunc(all, func(x, y wayView) int { return cmp.Or(strings.Compare(x.From, y.From), strings.Compare(x.To, y.To)) })
	return all
}

// waysFrom asks one chassis. One of an older version measures nothing.
func (a *app) waysFrom(ctx context.Context, st *store.Store, from *model.Chassis, ends map[netip.Addr]*model.Chassis) (out []wayView) {
	var to []string
	for ip := range ends {
		to = append(to, ip.String())
	}
	var ways []model.NodeWay
	if askNode(ctx, a.env, st, from.Name, model.NodeCommandWays, map[string]string{"to": strings.Join(to, ",")}, &ways) != nil {
		return nil
	}
	for _, w := range ways {
		if c := ends[w.To]; c != nil {
			out = append(out, wayView{From: from.Name, To: c.Name, MTU: w.MTU, Device: min(from.UnderlayMTU, c.UnderlayMTU), Error: w.Error})
		}
	}
	return out
}

// wayTo is the tunnel endpoint of a chassis that another one uses: of the first family that both have; none: they cannot meet.
func wayTo(from, to *model.Chassis) netip.Addr {
	for _, ip := range to.IPs {
		if slices.ContainsFunc(from.IPs, func(own netip.Addr) bool { return own.Is4() == ip.Is4() }) {
			return ip
		}
	}
	return netip.Addr{}
}

// narrow tells whether a way carries less than both its ends believe.
func (w wayView) narrow() bool { return w.MTU > 0 && w.MTU < w.Device }

func (w wayView) text() string {
	switch {
	case w.MTU == 0:
		return "?"
	case w.narrow():
		return strconv.Itoa(w.MTU) + "!"
	}
	return strconv.Itoa(w.MTU)
}

// listWays makes the matrix, one row for each chassis.
func listWays(all []wayView) listing {
	var names []string
	cells := map[[2]string]wayView{}
	for _, w := range all {
		names = append(names, w.From, w.To)
		cells[[2]string{w.From, w.To}] = w
	}
	slices.Sort(names)
	names = slices.Compact(names)
	out := listing{columns: append([]string{"FROM"}, names...)}
	for _, from := range names {
		e := entry{name: from, cells: []string{from}}
		views := []wayView{}
		for _, to := range names {
			w, measured := cells[[2]string{from, to}]
			if !measured {
				e.cells = append(e.cells, "")
				continue
			}
			e.cells = append(e.cells, w.text())
			e.fields = append(e.fields, field{to, w.text()})
			views = append(views, w)
		}
		e.view = views
		out.entries = append(out.entries, e)
	}
	return out
}

// ways judges what was measured.
func (c *checking) ways(all []wayView) {
	for _, w := range all {
		if w.narrow() {
			c.warnf("chassis/"+w.From, fmt.Sprintf("on all chassis: ip link set dev DEVICE mtu %d, or let %d bytes pass between them; tpctl check mtu shows all ways", w.MTU, w.Device),
				"packets of %d bytes do not pass to %s, only up to %d", w.Device, w.To, w.MTU)
		}
	}
}
