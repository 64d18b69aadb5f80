package tpctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"tuplenet/model"
	"tuplenet/model/store"
)

// statusPatience is how long the chassis together may take to say how they do.
const statusPatience = 3 * time.Second

// askAtOnce bounds how many chassis are asked at the same time.
const askAtOnce = 32

// chassisHealth is a chassis at a glance, as status and check see it.
type chassisHealth struct {
	Name    string `json:"name"`
	State   string `json:"state"`
	Gateway bool   `json:"gateway,omitempty"`
	// LastSeenMS is how long ago one that is down was alive, in milliseconds.
	LastSeenMS int64 `json:"lastSeenMilliseconds,omitempty"`
	// Silent says why it did not tell how it does, though it is up.
	Silent string `json:"silent,omitempty"`
	// Lag is how many revisions it is behind what any chassis has read.
	Lag      int64             `json:"revisionLag"`
	Behind   string            `json:"behind,omitempty"`
	Flows    int               `json:"flows"`
	Refused  int               `json:"refused,omitempty"`
	Ports    int               `json:"ports"`
	BFD      map[string]string `json:"bfd,omitempty"` // interface of the tunnel → state
	Problems []model.Problem   `json:"problems"`
	health   *model.NodeHealth // nil: not known
	ports    []model.NodePort  // of Open vSwitch
	info     *model.Chassis    // as registered
	identity *store.Identity   // nil: not alive
	asked    time.Duration     // how long the answer took
	at       time.Time         // our clock when it was asked
	reported *model.Status     // as last published
}

// deploymentView is the whole deployment at a glance.
type deploymentView struct {
	Revision int64           `json:"revision"`
	Objects  map[string]int  `json:"objects"`
	Unbound  []string        `json:"unboundPorts,omitempty"`
	Chassis  []chassisHealth `json:"chassis"`
	Problems []model.Problem `json:"problems"`
	// Hooks are those of "tpctl watch --exec" that fail.
	Hooks []model.Problem `json:"hooks,omitempty"`
}

func (a *app) statusCommand() *cobra.Command {
	c := a.command(verb{
		use: "status", short: "The whole deployment at a glance",
		long: `Show every chassis with its liveness, how many revisions it is behind, flows, ports, the state of watched tunnels (BFD) and
its problems, and every object that is out of service. Chassis that live are asked for their own truth; those that do not
answer within 3 s are shown with what they reported last. The exit code is 0 whatever is found: "tpctl check" judges.`,
		max: 0, wrong: "no parameters required",
		run: func(cmd *cobra.Command, _ []string) error {
			set, err := resolveSettings(a.flags, a.env)
			if err != nil {
				return err
			}
			st, err := open(set)
			if err != nil {
				return err
			}
			defer st.Close()
			d, _, err := a.survey(cmd.Context(), st)
			if err != nil {
				return err
			}
			if set.Output.structured() {
				return writeDocument(a.env.Stdout, set.Output, d)
			}
			return d.write(a.env.Stdout)
		},
	})
	return c
}

// survey looks at everything: the store, and each chassis that lives.
func (a *app) survey(ctx context.Context, st *store.Store) (*deploymentView, *store.Snapshot, error) {
	snap, err := st.Snapshot(ctx)
	if err != nil {
		return nil, nil, err
	}
	live, err := st.Live(ctx)
	if err != nil {
		return nil, nil, err
	}
	reported, err := st.Status(ctx)
	if err != nil {
		return nil, nil, err
	}
	d := &deploymentView{Revision: snap.Revision, Objects: countObjects(snap), Problems: append([]model.Problem{}, brokenOf(snap, "", "")...)}
	bound := map[string]int{}
	for _, p := range snap.SwitchPorts("") {
		b := snap.Binding(p.Name)
		switch {
		case b != nil:
			bound[b.Chassis]++
		case p.Type == model.PortVIF:
			d.Unbound = append(d.Unbound, p.Switch+"/"+p.Name)
		}
	}
	for _, c := range snap.Chassis() {
		h := chassisHealth{Name: c.Name, State: stateDown, Gateway: c.Gateway, Ports: bound[c.Name], Problems: []model.Problem{}, info: c, reported: reported[c.Name]}
		if id, alive := live[c.Name]; alive {
			h.State, h.identity = stateUp, &id
		}
		d.Chassis = append(d.Chassis, h)
	}
	if d.Hooks, err = hookProblems(ctx, st); err != nil {
		return nil, nil, err
	}
	a.askAll(ctx, st, d)
	d.Problems = append(d.Problems, d.shared()...)
	return d, snap, nil
}

func countObjects(snap *store.Snapshot) map[string]int {
	n := map[string]int{}
	for ref := range snap.Objects {
		n[string(ref.Kind)]++
	}
	return n
}

// askAll asks all chassis that live how they do, many at the same time, and etcd when the others were alive.
func (a *app) askAll(ctx context.Context, st *store.Store, d *deploymentView) {
	ctx, cancel := context.WithTimeout(ctx, statusPatience)
	defer cancel()
	var wg sync.WaitGroup
	turns := make(chan struct{}, askAtOnce)
	for i := range d.Chassis {
		wg.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			a.askOne(ctx, st, &d.Chassis[i])
		})
	}
	wg.Wait()
	newest := int64(0) // of intent: what any of them has read; the store has revisions of other things, too
	for _, h := range d.Chassis {
		if h.health != nil {
			newest = max(newest, h.health.Observed)
		}
	}
	for i := range d.Chassis {
		if h := &d.Chassis[i]; h.health != nil {
			h.Lag = newest - h.health.Applied
		}
	}
}

func (a *app) askOne(ctx context.Context, st *store.Store, h *chassisHealth) {
	if h.identity == nil {
		age, _ := st.LastSeen(ctx, h.Name) // not knowing is shown as such
		h.LastSeenMS = age.Milliseconds()
		return
	}
	h.at = time.Now()
	var health model.NodeHealth
	if err := askNode(ctx, a.env, st, h.Name, model.NodeCommandHealth, nil, &health); err != nil {
		h.Silent = oneLine(err)
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			h.Silent = "no answer within " + statusPatience.String()
		}
		if s := h.reported; s != nil {
			h.Behind = s.Behind
			h.Problems = append(h.Problems, s.Problems...)
		}
		return
	}
	h.asked, h.health = time.Since(h.at), &health
	h.Behind, h.Flows, h.Refused = health.Behind, health.Present, health.Refused
	h.Problems = append(h.Problems, health.Problems...)
	if askNode(ctx, a.env, st, h.Name, model.NodeCommandPorts, nil, &h.ports) != nil {
		return // the daemon has just said how it does; without the ports there is less to show
	}
	for _, p := range h.ports {
		if p.BFD != "" {
			if h.BFD == nil {
				h.BFD = map[string]string{}
			}
			h.BFD[firstOf(p.Remote, p.Name)] = p.BFD
		}
	}
}

// shared are the problems of objects: what chassis say, each once. What is wrong with a chassis itself stays with it.
func (d *deploymentView) shared() (out []model.Problem) {
	seen := map[model.Problem]bool{}
	for _, p := range d.Problems {
		seen[p] = true
	}
	for _, h := range d.Chassis {
		for _, p := range h.Problems {
			if _, err := model.ParseRef(p.Key); err == nil && !seen[p] {
				seen[p] = true
				out = append(out, p)
			}
		}
	}
	slices.SortFunc(out, func(a, b model.Problem) int { return strings.Compare(a.Key+a.Reason, b.Key+b.Reason) })
	return out
}

// write prints the deployment as text for people.
func (d *deploymentView) write(w io.Writer) error {
	var b strings.Builder
	o := d.Objects
	fmt.Fprintf(&b, "revision %d: %d switches, %d routers, %d ports (%d unbound), %d routes, %d NAT rules\n\n", d.Revision,
		o[string(model.KindSwitch)], o[string(model.KindRouter)], o[string(model.KindSwitchPort)], len(d.Unbound), o[string(model.KindRoute)], o[string(model.KindNAT)])
	t := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "CHASSIS\tSTATE\tLAG\tFLOWS\tPORTS\tBFD\tPROBLEMS")
	for _, h := range d.Chassis {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%s\t%d\n", h.Name, h.stateText(), h.number(h.Lag), h.number(int64(h.Flows)), h.Ports, h.bfdText(), len(h.Problems))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, h := range d.Chassis {
		texts := []string{h.Silent, h.Behind}
		for _, p := range h.Problems {
			if _, err := model.ParseRef(p.Key); err != nil { // those of objects follow, each once
				texts = append(texts, p.Key+": "+p.Reason)
			}
		}
		for _, text := range texts {
			if text != "" {
				fmt.Fprintf(&b, "\n%s: %s", h.Name, text)
			}
		}
	}
	if len(d.Problems) > 0 {
		b.WriteString("\n\nout of service:\n")
		for _, p := range d.Problems {
			fmt.Fprintf(&b, "  %s: %s\n", p.Key, p.Reason)
		}
	}
	if len(d.Hooks) > 0 {
		b.WriteString("\n\nhooks that fail:\n")
		for _, p := range d.Hooks {
			fmt.Fprintf(&b, "  %s: %s\n", p.Key, p.Reason)
		}
	}
	text := strings.TrimRight(b.String(), "\n") + "\n"
	_, err := io.WriteString(w, text)
	return err
}

// stateText is up or down, and since when.
func (h *chassisHealth) stateText() string {
	switch {
	case h.State == stateDown && h.LastSeenMS > 0:
		return fmt.Sprintf("down (%s)", seenText(h.LastSeenMS))
	case h.Silent != "":
		return "up, silent"
	case h.Gateway:
		return h.State + ", gateway"
	}
	return h.State
}

// number is a number that is only known of a chassis that answered.
func (h *chassisHealth) number(n int64) string {
	if h.health == nil {
		return "-"
	}
	return strconv.FormatInt(n, 10)
}

// bfdText is how many of the watched tunnels are up.
func (h *chassisHealth) bfdText() string {
	if len(h.BFD) == 0 {
		return "-"
	}
	up := 0
	for _, s := range h.BFD {
		if s == "up" {
			up++
		}
	}
	return fmt.Sprintf("%d/%d up", up, len(h.BFD))
}
