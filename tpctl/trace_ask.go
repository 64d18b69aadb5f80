package tpctl

import (
	"context"
	"fmt"
	"time"

	"tuplenet/flows/walk"
	"tuplenet/model"
)

// factsPatience is how long a chassis may take to say what it knows beside the store; then it is made up.
const factsPatience = 3 * time.Second

// follow follows the packet, and asks the chassis that it visits for what the store does not say, as long as there are new ones.
func (t *tracing) follow(ctx context.Context, cfg walk.Config) (*walk.Report, error) {
	cfg.Facts = map[string]walk.Facts{}
	silent := map[string]string{} // chassis → why it did not say
	for {
		report, err := follow(cfg, t.probe)
		if err != nil || t.store == nil || t.o.offline {
			return report, err
		}
		news := false
		for _, chassis := range visited(report) {
			_, said := cfg.Facts[chassis]
			if _, known := silent[chassis]; said || known {
				continue
			}
			if f, err := t.ask(ctx, chassis); err != nil {
				silent[chassis] = err.Error()
			} else {
				cfg.Facts[chassis] = f
			}
			news = true
		}
		if news {
			continue
		}
		for _, chassis := range visited(report) {
			if why, is := silent[chassis]; is {
				report.Assumed = append(report.Assumed, fmt.Sprintf("the settings of chassis %s are those by default: %s", chassis, why))
			}
		}
		t.facts = cfg.Facts
		return report, nil
	}
}

// ask asks a chassis for what it knows, if it is alive.
func (t *tracing) ask(ctx context.Context, chassis string) (f walk.Facts, err error) {
	if t.live == nil {
		if t.live, err = t.store.Live(ctx); err != nil {
			return f, err
		}
	}
	if _, alive := t.live[chassis]; !alive {
		return f, fmt.Errorf("it is not alive")
	}
	ctx, cancel := context.WithTimeout(ctx, factsPatience)
	defer cancel()
	err = askNode(ctx, t.env, t.store, chassis, model.NodeCommandTraceFacts, nil, &f)
	return f, err
}

// visited are the chassis of a report, in the order of the way.
func visited(r *walk.Report) (names []string) {
	seen := map[string]bool{}
	legs := []*walk.Leg{&r.Forward}
	if r.Reply != nil {
		legs = append(legs, r.Reply)
	}
	for _, l := range legs {
		for _, h := range l.Hops {
			if !seen[h.Chassis] {
				seen[h.Chassis] = true
				names = append(names, h.Chassis)
			}
		}
	}
	return names
}
