package controller

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"tuplenet/controller/status"
	"tuplenet/datapath/apply"
	"tuplenet/flows/decode"
	"tuplenet/model"
)

// report tells the reporter the whole of what is true now. While the node is not ready only its status is told.
func (l *loop) report() {
	s := status.State{
		Registered: l.registered(), RegisteredRev: l.own.Rev,
		Present: map[string]bool{}, Bindings: map[string]status.Seen{}, Initial: l.appeared.initial,
		Answers: l.progress.given, Readings: l.readings,
		Status: model.Status{Chassis: l.chassis, Applied: l.progress.acked.rev, Problems: l.problems(), Behind: l.behind(),
			Answered: l.progress.receipts, Serves: l.progress.acked.serves},
	}
	if l.ready {
		s.Chassis, s.Ready = l.self(), l.progress.acked.ports
	}
	for p := range l.ports.present {
		if l.exists(p) {
			s.Present[p] = true
		}
	}
	for p := range l.edge.carries {
		s.Present[p] = true
	}
	s.Switches = l.switchesOf(s.Present)
	for p := range s.Ready {
		s.Bindings[p] = l.binding(p)
	}
	for p := range l.mine {
		s.Bindings[p] = l.bindings[p]
	}
	l.reporter.Set(s)
	l.say(s.Status.Behind, s.Status.Problems)
	if s.Status.Behind == "" {
		l.supervisor.status("in sync with the store and acknowledged by the switch")
	} else {
		l.supervisor.status(s.Status.Behind)
	}
}

// switchesOf are the switches of ports, sorted.
func (l *loop) switchesOf(ports map[string]bool) []string {
	switches := []string{}
	for p := range ports {
		if o, ok := l.facts.Holder(model.ClaimPort(p)).(*model.LogicalSwitchPort); ok {
			switches = append(switches, o.Switch)
		}
	}
	slices.Sort(switches)
	return slices.Compact(switches)
}

// say shows how the node is to who asks it.
func (l *loop) say(behind string, problems []model.Problem) {
	l.vital.said.Store(&saying{chassis: l.chassis, ovs: l.ovsFacts.get().OVSVersion, behind: behind, observed: l.rev,
		compiled: l.progress.last().rev, ports: map[string]int{"present": len(l.ports.present), "ready": len(l.ports.ready), "failed": len(l.ports.problems)},
		applied: l.progress.acked.rev, ready: l.ready, problems: problems})
}

// self is how this node registers.
func (l *loop) self() *model.Chassis {
	hostname, _ := os.Hostname()
	return &model.Chassis{Name: l.chassis, Hostname: hostname, IPs: l.addrs, Encaps: l.encaps(), UnderlayMTU: l.mtu, TunnelMTU: l.tunnelMTU(),
		Gateway: l.cfg.Gateway, Tick: l.tick}
}

// behind says why what the store says is not applied; empty when it is, or will be at once.
func (l *loop) behind() string {
	switch {
	case !l.storeSynced:
		return "waiting for the state of the store"
	case !l.isCleared:
		return "waiting to learn whether another host has this system-id"
	case l.session.Load() == nil:
		return "no connection to the switch at " + l.socket()
	case l.missingTunnel() != "":
		return "the tunnel port " + l.missingTunnel() + " has no port number"
	case l.slow:
		return fmt.Sprintf("the switch has not acknowledged revision %d", l.progress.last().rev)
	case !l.ready:
		return "the switch is being filled for the first time"
	}
	return ""
}

// problems lists what is wrong, as this node sees it, sorted by key.
func (l *loop) problems() []model.Problem {
	all := l.facts.Problems()
	for _, f := range l.failures {
		all = append(all, refusal(f))
	}
	for name, why := range l.ovsFacts.get().Failures {
		all = append(all, model.Problem{Key: "ovs/" + name, Reason: why})
	}
	for _, name := range slices.Sorted(maps.Keys(l.ports.problems)) {
		all = append(all, model.Problem{Key: "interface/" + name, Reason: l.ports.problems[name]})
	}
	all = append(all, l.networks.problems(l.sharesPort())...)
	for _, chassis := range l.edge.silent {
		all = append(all, model.Problem{Key: model.Ref{Kind: model.KindChassis, Name: chassis}.String(), Reason: model.Unreachable})
	}
	if l.lostIP != "" {
		all = append(all, model.Problem{Key: model.Ref{Kind: model.KindChassis, Name: l.chassis}.String(), Reason: l.lostIP})
	}
	slices.SortFunc(all, func(a, b model.Problem) int {
		if c := strings.Compare(a.Key, b.Key); c != 0 {
			return c
		}
		return strings.Compare(a.Reason, b.Reason)
	})
	return slices.Compact(all)
}

// refusal says what the switch did not take: of a flow its table and rule by name.
func refusal(f apply.Failure) model.Problem {
	p := model.Problem{Key: f.Owner, Reason: fmt.Sprintf("%s: %v", f.What, f.Err)}
	if p.Key == "" {
		p.Key = "switch"
	}
	if flow, rules, err := decode.Line(f.What); err == nil && len(rules) > 0 {
		p.Reason = fmt.Sprintf("table %s, rule %s: %v: %s", decode.Table(flow.Table), rules[0].Name, f.Err, f.What)
	}
	return p
}
