package controller

import (
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"time"

	"tuplenet/datapath/ofconn"
	"tuplenet/datapath/ovsdb"
	"tuplenet/flows/compile"
	"tuplenet/flows/memo"
	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
	"tuplenet/model"
)

// edge is what the compiled outputs ask of a node beside flows: to have tunnels, to watch other chassis, to make patch ports, to announce
// addresses. It belongs to the loop.
type edge struct {
	watch    counted[compile.Watch]
	encaps   counted[model.Encap] // that others want to be sent
	patches  counted[compile.Patch]
	announce counted[compile.Announcement]
	carries  counted[string] // ports in front of routers, to be bound

	reached map[string]bool // interfaces of watched chassis that were up once
	silent  []string        // watched chassis that were reachable once and are not now, sorted

	announcer    announcer
	external     *external
	translations *translations
}

// take replaces what a unit asks for, and tells whether other ports are wanted now.
func (e *edge) take(c memo.Change[compile.Output]) (ports bool) {
	was, now := c.Old.Seldom(), c.New.Seldom()
	ports = e.watch.replace(was.Watch, now.Watch)
	ports = e.encaps.replace(c.Old.Tunnels, c.New.Tunnels) || ports
	ports = e.patches.replace(was.Patches, now.Patches) || ports
	e.carries.replace(was.Carries, now.Carries)
	e.translations.wanted.replace(was.Translations, now.Translations)
	if e.announce.replace(was.Announce, now.Announce) {
		e.announcer.set(time.Now(), e.announce)
	}
	return ports
}

// ports are the OVS ports that the node needs for its part in the network.
func (e *edge) ports(c *Config) []ovsdb.Port {
	all := e.tunnels(c)
	for w := range e.watch {
		ms := fmt.Sprint(c.BFDInterval.Milliseconds())
		all = append(all, ovsdb.Port{
			Name: watchName(w.Chassis), Type: string(w.Encap), Owner: watchedBy + w.Chassis,
			Options: c.tunnelOptions(w.Encap, w.IP.String()),
			BFD:     map[string]string{"enable": "true", "min_rx": ms, "min_tx": ms},
		})
	}
	for p := range e.patches {
		near, far := patchNames(p)
		all = append(all,
			ovsdb.Port{Name: near, Type: "patch", Owner: "patch port " + p.Port, Options: map[string]string{"peer": far}, ExternalIDs: map[string]string{"iface-id": p.Port}},
			ovsdb.Port{Name: far, Bridge: p.Bridge, Type: "patch", Owner: "patch port " + p.Port, Options: map[string]string{"peer": near}})
	}
	slices.SortFunc(all, func(a, b ovsdb.Port) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// watchedBy is what the owner of a port that watches a chassis begins with.
const watchedBy = "watch "

// watched finds the ports through which other chassis are watched. It goes by what the database says, not by what is wanted:
// after a restart the ports are there before anybody has compiled what is wanted. A port is new until it was up once; what follows
// from ups and downs after that is the switch's own business.
func (e *edge) watched(f ovsdb.Facts, bridge string) map[string]compile.Watched {
	found, reached := map[string]compile.Watched{}, map[string]bool{}
	e.silent = nil
	for _, i := range f.Interfaces {
		if chassis, ok := strings.CutPrefix(i.Owner, watchedBy); ok && i.HasOFPort() && i.Bridge == bridge {
			port := fmt.Sprint(i.Name, " ", i.OFPort)
			reached[port] = e.reached[port] || i.BFD["state"] == "up"
			found[chassis] = compile.Watched{OFPort: uint32(i.OFPort), New: !reached[port], Encap: model.Encap(i.Type)}
			if reached[port] && i.BFD["state"] != "up" {
				e.silent = append(e.silent, chassis)
			}
		}
	}
	e.reached = reached
	slices.Sort(e.silent)
	return found
}

// Names of ports fit into 15 bytes; they are made of a hash, and the owner says what they are.
func watchName(chassis string) string { return "tnb-" + short(chassis) }

func patchNames(p compile.Patch) (near, far string) {
	h := short(p.Port)
	return "tnp-" + h, "tnq-" + h
}

func short(s string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s))
	return fmt.Sprintf("%010x", h.Sum64()&0xffffffffff)
}

// announceDue sends the announcements that are due.
func (e *edge) announceDue(now time.Time) {
	for _, a := range e.announcer.due(now) {
		e.external.send(ofconn.PacketOut{InPort: of.PortController, Data: announcementFrame(a), Actions: []of.Action{
			pipeline.Datapath.Load(uint64(a.VNI)), pipeline.InPort.Load(uint64(a.Port)), pipeline.Again(pipeline.L2Lookup)}})
	}
}

// edgeTick does what time asks for, and tells whether the facts changed. Nothing is announced, nobody is asked, and nothing is given
// up for want of an answer, before the switch does what the node says.
func (l *loop) edgeTick(ctx context.Context, now time.Time) bool {
	if l.ready {
		l.demand.live(l.log) // if it failed before
	}
	s := l.working()
	if s == nil {
		return false
	}
	l.edge.translations.settle(ctx, now, l.progress.acked.seq, s)
	if l.ready {
		l.edge.announceDue(now)
		l.hosts.tick(now)
		l.demand.look(ctx, now, l.applier, s)
	}
	return l.storeSynced && l.edge.external.tick(now)
}

// packetOut gives a packet to the switch, if there is one.
func (l *loop) packetOut(ctx context.Context) func(ofconn.PacketOut) {
	return func(p ofconn.PacketOut) {
		s := l.session.Load()
		if s == nil {
			return
		}
		if err := s.PacketOut(ctx, p); err != nil && ctx.Err() == nil {
			l.log.Debug("packet-out failed", "err", err)
		}
	}
}

// keys of a set, in no order.
func keys[T comparable](c counted[T]) []T { return slices.Collect(maps.Keys(c)) }
