package controller

import (
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"tuplenet/controller/responder"
	"tuplenet/datapath/ofconn"
	"tuplenet/flows/compile"
	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
	"tuplenet/model"
)

// Times of unsolicited router advertisements (RFC 4861 section 6.2.1 and 10).
const (
	raMin          = 200 * time.Second // MinRtrAdvInterval
	raMax          = 600 * time.Second // MaxRtrAdvInterval
	raInitial      = 3                 // MAX_INITIAL_RTR_ADVERTISEMENTS
	raInitialPause = 16 * time.Second  // MAX_INITIAL_RTR_ADVERT_INTERVAL
	raMinPause     = 3 * time.Second   // MIN_DELAY_BETWEEN_RAS
	raFirst        = time.Second       // within which the first one goes out
)

// raBudget is how many ports get unsolicited advertisements at one look at the clock; the others wait for the next.
const raBudget = 50

// place names a port as packets do.
type place struct {
	vni model.VNI
	key model.PortKey
}

// guest is a workload here that is told about its network.
type guest struct {
	model.Guest
	next time.Time // of the next unsolicited advertisement
	sent int       // since what is advertised changed
}

// hosts answers the workloads here by DHCP, and advertises routers to them. What it says is what the compiler made of the
// objects; it remembers nothing that a restart could lose. It belongs to the loop.
type hosts struct {
	guests map[place]*guest
	send   func(ofconn.PacketOut) // may lose a packet
	count  func(service, result string)
	jitter func(below time.Duration) time.Duration
	log    *slog.Logger
}

func newHosts(count func(service, result string), log *slog.Logger) *hosts {
	return &hosts{guests: map[place]*guest{}, send: func(ofconn.PacketOut) {}, count: count, log: log.With("component", "hosts"),
		jitter: func(below time.Duration) time.Duration { return rand.N(below) }}
}

// take replaces the workloads that a unit tells of. Who is told something else is advertised the new, and what is not there any
// more is withdrawn.
func (h *hosts) take(now time.Time, old, current []model.Guest) {
	was := map[place]*guest{}
	for i := range old {
		at := place{old[i].VNI, old[i].Key}
		if g := h.guests[at]; g != nil && g.Port == old[i].Port { // the place may be another one's by now
			was[at] = g
			delete(h.guests, at)
		}
	}
	for i := range current {
		g := &guest{Guest: current[i]}
		at := place{g.VNI, g.Key}
		if before := was[at]; before != nil {
			h.withdraw(&before.Guest, g.Routers)
			delete(was, at)
		}
		g.next = now.Add(h.jitter(raFirst))
		h.guests[at] = g
	}
	for _, gone := range was {
		h.withdraw(&gone.Guest, nil)
	}
}

// withdraw tells a workload of routers and prefixes that are not there any more.
func (h *hosts) withdraw(g *model.Guest, left []model.AdvertisedRouter) {
	for i := range g.Routers {
		r := g.Routers[i]
		at := slices.IndexFunc(left, func(o model.AdvertisedRouter) bool { return o.MAC == r.MAC })
		if r.Withdrawn = at < 0; !r.Withdrawn {
			r.Prefixes = slices.DeleteFunc(slices.Clone(r.Prefixes), func(p model.AdvertisedPrefix) bool {
				return slices.Contains(left[at].Prefixes, p)
			})
			for i := range r.Prefixes {
				r.Prefixes[i].Withdrawn = true
			}
		}
		if r.Withdrawn || len(r.Prefixes) > 0 {
			h.advertise(g, &r, responder.AllNodes())
		}
	}
}

// punted answers what a workload asks. It returns false for packets of other kinds.
func (h *hosts) punted(p ofconn.PacketIn) bool {
	if len(p.Userdata) == 0 {
		return false
	}
	why := pipeline.Punt(p.Userdata[0])
	service := answeredBy(why)
	if service == "" {
		return false
	}
	g := h.guests[place{model.VNI(fieldOf(p, of.Metadata)), model.PortKey(fieldOf(p, of.Reg14))}]
	if g == nil { // it came before we know what is to be said, or just after
		h.count(service, "unknown")
		return true
	}
	var a responder.Answer
	var err error
	switch why {
	case pipeline.PuntDHCPv4:
		a, err = responder.DHCPv4(p.Data, &g.Guest)
	case pipeline.PuntDHCPv6:
		a, err = responder.DHCPv6(p.Data, &g.Guest)
	default:
		a, err = h.solicited(p.Data, g)
	}
	h.note(g, service, a.What, err)
	if err == nil && a.Frame != nil {
		h.deliver(&g.Guest, a.Frame)
	}
	return true
}

// answeredBy is the name of the service that answers a packet here; empty if none does.
func answeredBy(why pipeline.Punt) string {
	switch why {
	case pipeline.PuntDHCPv4:
		return "dhcpv4"
	case pipeline.PuntDHCPv6:
		return "dhcpv6"
	case pipeline.PuntSolicit:
		return "ra"
	}
	return ""
}

// note counts an answer, or why there is none.
func (h *hosts) note(g *guest, service, what string, err error) {
	switch {
	case what == "declined":
		h.log.Warn("a workload refuses the address that it is given: somebody else uses it", "port", g.Port, "service", service)
	case err != nil && what == "":
		if what = "refused"; !errors.Is(err, responder.ErrSilence) {
			what = "invalid"
		}
	}
	if err != nil {
		h.log.Debug("no answer", "port", g.Port, "service", service, "why", err)
	}
	h.count(service, what)
}

// solicited advertises the routers at once. RFC 4861 section 6.2.6 wants a random delay, so that several routers do not answer
// the same host, and several hosts are not answered, at the same time; here one answers for all routers, and only who asked.
func (h *hosts) solicited(frame []byte, g *guest) (responder.Answer, error) {
	to, err := responder.Solicitation(frame, &g.Guest)
	if err != nil {
		return responder.Answer{}, err
	}
	for i := range g.Routers {
		h.advertise(&g.Guest, &g.Routers[i], to)
	}
	if len(g.Routers) == 0 {
		return responder.Answer{What: "no_router"}, nil
	}
	return responder.Answer{What: "solicited"}, nil
}

func (h *hosts) advertise(g *model.Guest, r *model.AdvertisedRouter, to netip.Addr) {
	frame, err := responder.Advertisement(g, r, to)
	if err != nil {
		h.log.Warn("no router advertisement", "port", g.Port, "router_port", r.Port, "err", err)
		return
	}
	h.deliver(g, frame)
}

// deliver sends a frame to the workload, and to nobody else.
func (h *hosts) deliver(g *model.Guest, frame []byte) {
	h.send(ofconn.PacketOut{InPort: of.PortController, Data: frame, Actions: []of.Action{
		pipeline.Datapath.Load(uint64(g.VNI)), pipeline.OutPort.Load(uint64(g.Key)), pipeline.Again(pipeline.Deliver)}})
}

// tick sends the unsolicited advertisements that are due, each workload at times of its own.
func (h *hosts) tick(now time.Time) {
	left := raBudget
	for _, g := range h.guests {
		if len(g.Routers) == 0 || now.Before(g.next) {
			continue
		}
		if left--; left < 0 {
			return
		}
		for i := range g.Routers {
			h.advertise(&g.Guest, &g.Routers[i], responder.AllNodes())
		}
		h.count("ra", "unsolicited")
		g.sent++
		if pause := raMin + h.jitter(raMax-raMin); g.sent < raInitial {
			g.next = now.Add(min(pause, raMinPause+h.jitter(raInitialPause-raMinPause)))
		} else {
			g.next = now.Add(pause)
		}
	}
}

// serves are the switches whose workloads here are told all that their switch says, with the revision of the switch.
func (h *hosts) serves(revision func(model.Ref) int64) map[string]int64 {
	var all map[string]int64
	lacking := map[string]bool{}
	for _, g := range h.guests {
		if all[g.Switch] == 0 {
			if all == nil {
				all = map[string]int64{}
			}
			all[g.Switch] = revision(model.Ref{Kind: model.KindSwitch, Name: g.Switch})
		}
		lacking[g.Switch] = lacking[g.Switch] || !g.Complete()
	}
	maps.DeleteFunc(all, func(ls string, _ int64) bool { return lacking[ls] })
	return all
}

// takeHosts hands the workloads of an output over.
func (l *loop) takeHosts(now time.Time, old, current compile.Output) {
	if was, are := old.Seldom().Guests, current.Seldom().Guests; len(was)+len(are) > 0 {
		l.hosts.take(now, was, are)
	}
}
