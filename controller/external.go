package controller

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"tuplenet/controller/facts"
	"tuplenet/controller/neighbours"
	"tuplenet/controller/responder"
	"tuplenet/datapath/ofconn"
	"tuplenet/flows/compile"
	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
	"tuplenet/model"
)

// external finds the neighbours of pinned routers in the physical network: it asks for those that packets need, lets
// the packets wait, and keeps what it learnt over a restart. It belongs to the loop.
type external struct {
	facts *facts.Facts
	table *neighbours.Table
	// send gives a packet to the switch; it may be lost.
	send func(ofconn.PacketOut)
	file string // where known neighbours are kept
	log  *slog.Logger
}

func newExternal(f *facts.Facts, runDir string, send func(ofconn.PacketOut), log *slog.Logger) *external {
	e := &external{facts: f, table: neighbours.New(), send: send, file: filepath.Join(runDir, "neighbours.json"), log: log.With("component", "neighbours")}
	e.restore(time.Now())
	return e
}

// edgePause is how often waiting questions and announcements are looked at.
const edgePause = 500 * time.Millisecond

// punted handles a packet that needs a neighbour, or that tells of one, or a ping that needs another identifier. It returns false for packets of other kinds.
func (e *external) punted(now time.Time, p ofconn.PacketIn) bool {
	if len(p.Userdata) == 0 {
		return false
	}
	switch pipeline.Punt(p.Userdata[0]) {
	case pipeline.PuntResolve:
		e.miss(now, p)
	case pipeline.PuntLearn:
		e.heard(now, p)
	case pipeline.PuntPing:
		renumber(p, e.send)
		return true
	case pipeline.PuntPingReply:
		restore(p, e.send)
		return true
	default:
		return false
	}
	e.publish()
	return true
}

// miss handles a packet whose next hop the switch does not know.
func (e *external) miss(now time.Time, p ofconn.PacketIn) {
	regs := registers(p.Fields)
	lr, rp := e.port(model.VNI(fieldOf(p, of.Metadata)), model.PortKey(regs[15]))
	src := responder.Source(p.Data)
	if rp == nil || !src.IsValid() {
		return
	}
	id := neighbours.ID{Router: lr.Name, Port: rp.Name, IP: nextHop(regs, src.Is4())}
	mac, known, ask := e.table.Miss(now, id, neighbours.Packet{Frame: p.Data})
	if known { // the flow for it is on its way
		e.deliver(id, mac, []neighbours.Packet{{Frame: p.Data}})
	}
	if ask {
		e.ask(id)
	}
}

// heard handles what the physical network says of an address.
func (e *external) heard(now time.Time, p ofconn.PacketIn) {
	ip, mac, ok := responder.Claim(p.Data)
	if !ok {
		return
	}
	ls, ok := e.facts.Holder(model.ClaimVNI(model.VNI(fieldOf(p, of.Metadata)))).(*model.LogicalSwitch)
	if !ok {
		return
	}
	for _, id := range e.table.Asked(ip) {
		rp, _ := e.facts.Object(model.Ref{Kind: model.KindRouterPort, Parent: id.Router, Name: id.Port}).(*model.LogicalRouterPort)
		if rp == nil {
			continue
		}
		if on, _ := e.facts.Behind(rp); on != nil && on.Name == ls.Name {
			e.deliver(id, mac, e.table.Heard(now, id, mac))
		}
	}
}

// tick asks again, and gives up who stays silent. It tells whether the facts changed.
func (e *external) tick(now time.Time) bool {
	e.table.Keep(func(id neighbours.ID) bool {
		rp, ok := e.facts.Object(model.Ref{Kind: model.KindRouterPort, Parent: id.Router, Name: id.Port}).(*model.LogicalRouterPort)
		return ok && rp.Peer != ""
	})
	ask, lost := e.table.Tick(now)
	for _, id := range ask {
		e.ask(id)
	}
	for id, packets := range lost {
		e.unreachable(id, packets)
	}
	return e.publish()
}

// publish makes what is known facts of the compiler, and keeps it for the next start. It tells whether that changed.
func (e *external) publish() bool {
	all, changed := e.table.Changed()
	if !changed {
		return false
	}
	known := make([]compile.Neighbour, len(all))
	for i, k := range all {
		known[i] = compile.Neighbour{Router: k.Router, Port: k.Port, IP: k.IP, MAC: k.MAC}
	}
	e.facts.SetNeighbours(known)
	if err := e.save(all); err != nil {
		e.log.Warn("neighbours are not kept over a restart", "err", err)
	}
	return true
}

// ask asks the network behind a router port who has an address.
func (e *external) ask(id neighbours.ID) {
	rp, _ := e.facts.Object(model.Ref{Kind: model.KindRouterPort, Parent: id.Router, Name: id.Port}).(*model.LogicalRouterPort)
	if rp == nil {
		return
	}
	e.inject(rp, responder.Ask(rp.MAC, addressToward(rp, id.IP), id.IP))
}

// inject sends a frame from a router port into the switch behind it.
func (e *external) inject(rp *model.LogicalRouterPort, frame []byte) {
	ls, lsp := e.facts.Behind(rp)
	if frame == nil || ls == nil {
		return
	}
	e.send(ofconn.PacketOut{InPort: of.PortController, Data: frame, Actions: []of.Action{
		pipeline.Datapath.Load(uint64(ls.VNI)), pipeline.InPort.Load(uint64(lsp.Key)), pipeline.Again(pipeline.L2Lookup)}})
}

// deliver sends packets on to a next hop that is known now, from where they were stopped.
func (e *external) deliver(id neighbours.ID, mac [6]byte, packets []neighbours.Packet) {
	lr, _ := e.facts.Object(model.Ref{Kind: model.KindRouter, Name: id.Router}).(*model.LogicalRouter)
	rp, _ := e.facts.Object(model.Ref{Kind: model.KindRouterPort, Parent: id.Router, Name: id.Port}).(*model.LogicalRouterPort)
	if lr == nil || rp == nil {
		return
	}
	for _, p := range packets {
		e.send(ofconn.PacketOut{InPort: of.PortController, Data: p.Frame, Actions: []of.Action{
			pipeline.Datapath.Load(uint64(lr.ID)), pipeline.OutPort.Load(uint64(rp.Key)), pipeline.Routed.Load(1),
			of.Set(of.EthDst, of.MAC(mac)), pipeline.Again(pipeline.UnDNAT)}})
	}
}

// unreachable answers packets whose next hop stayed silent (RFC 1812 section 5.2.7.1).
func (e *external) unreachable(id neighbours.ID, packets []neighbours.Packet) {
	lr, _ := e.facts.Object(model.Ref{Kind: model.KindRouter, Name: id.Router}).(*model.LogicalRouter)
	rp, _ := e.facts.Object(model.Ref{Kind: model.KindRouterPort, Parent: id.Router, Name: id.Port}).(*model.LogicalRouterPort)
	if lr == nil || rp == nil {
		return
	}
	for _, p := range packets {
		reply, err := responder.ICMPError(p.Frame, responder.HostUnreachable, addressToward(rp, id.IP), 0)
		if err != nil {
			continue
		}
		e.send(ofconn.PacketOut{InPort: of.PortController, Data: reply, Actions: []of.Action{
			pipeline.Datapath.Load(uint64(lr.ID)), pipeline.InPort.Load(uint64(rp.Key)), pipeline.Again(pipeline.Route)}})
	}
}

// port finds a router by its id, and its port by the key.
func (e *external) port(router model.VNI, key model.PortKey) (*model.LogicalRouter, *model.LogicalRouterPort) {
	lr, ok := e.facts.Holder(model.ClaimVNI(router)).(*model.LogicalRouter)
	if !ok {
		return nil, nil
	}
	rp, _ := e.facts.Holder(model.ClaimKey(lr.Ref(), key)).(*model.LogicalRouterPort)
	return lr, rp
}

// addressToward is the address of a router port on the network of ip, else its first of the family, else, for IPv6, its
// link-local one.
func addressToward(rp *model.LogicalRouterPort, ip netip.Addr) netip.Addr {
	var first netip.Addr
	if ip.Is6() {
		first = rp.MAC.LinkLocal()
	}
	found := false
	for _, n := range rp.Networks {
		if n.Addr().Is4() != ip.Is4() {
			continue
		}
		if n.Contains(ip) {
			return n.Addr()
		}
		if !found && !ip.IsLinkLocalUnicast() {
			first, found = n.Addr(), true
		}
	}
	return first
}

// registers are the sixteen registers of a punted packet, which the switch sends as halves of 64-bit ones.
func registers(fields []of.Term) (regs [16]uint64) {
	for _, t := range fields {
		switch {
		case t.Field >= of.Reg0 && t.Field <= of.Reg15:
			regs[t.Field-of.Reg0] = t.Value.Lo
		case t.Field >= of.XReg0 && t.Field <= of.XReg7:
			i := 2 * (t.Field - of.XReg0)
			regs[i], regs[i+1] = t.Value.Lo>>32, t.Value.Lo&0xffffffff
		case t.Field >= of.XXReg0 && t.Field <= of.XXReg3:
			i := 4 * (t.Field - of.XXReg0)
			regs[i], regs[i+1], regs[i+2], regs[i+3] = t.Value.Hi>>32, t.Value.Hi&0xffffffff, t.Value.Lo>>32, t.Value.Lo&0xffffffff
		}
	}
	return regs
}

// nextHop reads the next hop out of the registers that hold it.
func nextHop(regs [16]uint64, v4 bool) netip.Addr {
	if v4 {
		return of.U(regs[0]).Addr4()
	}
	return of.Value{Hi: regs[0]<<32 | regs[1], Lo: regs[2]<<32 | regs[3]}.Addr6()
}

// saved is a known neighbour as it is kept in a file.
type saved struct {
	Router, Port string
	IP           netip.Addr
	MAC          model.MAC
}

func (e *external) save(all []neighbours.Known) error {
	list := make([]saved, len(all))
	for i, k := range all {
		list[i] = saved{k.Router, k.Port, k.IP, k.MAC}
	}
	b, err := json.Marshal(list)
	if err != nil {
		return err
	}
	if err := os.WriteFile(e.file+".new", b, 0o644); err != nil {
		return err
	}
	return os.Rename(e.file+".new", e.file)
}

// restore takes in what an earlier daemon learnt. A broken file is no loss: the neighbours are asked again.
func (e *external) restore(now time.Time) {
	b, err := os.ReadFile(e.file)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	var list []saved
	if err == nil {
		err = json.Unmarshal(b, &list)
	}
	if err != nil {
		e.log.Warn("what was known of neighbours is lost", "err", fmt.Errorf("%s: %w", e.file, err))
		return
	}
	for _, s := range list {
		e.table.Restore(now, neighbours.Known{ID: neighbours.ID{Router: s.Router, Port: s.Port, IP: s.IP}, MAC: s.MAC})
	}
	known := make([]compile.Neighbour, len(list))
	for i, s := range list {
		known[i] = compile.Neighbour{Router: s.Router, Port: s.Port, IP: s.IP, MAC: s.MAC}
	}
	e.facts.SetNeighbours(known)
}
