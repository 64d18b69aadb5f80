package sim

import (
	"net/netip"

	"tuplenet/flows/of"
)

// Connection tracking as the userspace datapath of Open vSwitch does it (ovs-actions(7), "The ct action"), as far as
// flows can tell. What is left out: connections neither age nor close, TCP flags say nothing, ICMP errors (whose inner
// packet a Packet does not have), fragments, application helpers, forced commits and ranges of addresses or ports end
// the interpretation with an error.

// natPorts are the ports that a translation may give to a packet with some source port (lib/conntrack.c): the next one
// upwards, and after the last one from the first one on. With none left the packet goes on as it is, new and unknown.
func natPorts(source uint16) (first, last uint16) {
	switch {
	case source < 512:
		return 1, 511
	case source < 1024:
		return 600, 1023
	}
	return 1024, 65535
}

// endpoint is one end of a connection. For ICMP the port is the identifier, and kind the type of message that this end
// sends.
type endpoint struct {
	ip   netip.Addr
	port uint16
	kind uint8
}

// tuple5 says which connection, in which direction, a packet belongs to.
type tuple5 struct {
	zone     uint16
	proto    uint8
	src, dst endpoint
}

func (t tuple5) reversed() tuple5 {
	t.src, t.dst = t.dst, t.src
	return t
}

// connection is one entry of the table: what its packets look like as they come in, in both directions.
type connection struct {
	orig, reply tuple5
	nat         uint64 // of.CTSNAT, of.CTDNAT or none
	replied     bool
	mark, label of.Value
}

// tracked is a connection as one packet met it.
type tracked struct {
	*connection
	isReply bool
}

// conntrack is the connections of a switch, each under both its tuples.
type conntrack map[tuple5]tracked

func (c conntrack) insert(n *connection) {
	c[n.orig] = tracked{n, false}
	if _, taken := c[n.reply]; !taken {
		c[n.reply] = tracked{n, true}
	}
}

// translate gives a new connection its translation: the address of the rule and, if such a connection is there already,
// another source port, where the protocol has ports. The choice is that of Open vSwitch: the next free one.
func (c conntrack) translate(n *connection, by *of.NAT) bool {
	if by.Type == of.NATSrc {
		n.nat, n.reply.dst.ip = of.CTSNAT, by.AddrMin
	} else {
		n.nat, n.reply.src.ip = of.CTDNAT, by.AddrMin
	}
	if _, taken := c[n.reply]; !taken {
		return true
	}
	if n.orig.proto == protoICMP || n.orig.proto == protoICMPv6 {
		return false
	}
	at := n.orig.src.port
	first, last := natPorts(at)
	for range int(last-first) + 1 {
		if at++; at < first || at > last {
			at = first
		}
		n.reply.dst.port = at
		if _, taken := c[n.reply]; !taken {
			return true
		}
	}
	return false
}

// icmpReplies are the queries of ICMP that connection tracking knows, and their answers.
var icmpReplies = map[uint8]map[uint8]uint8{
	protoICMP:   {8: 0, 13: 14, 15: 16},
	protoICMPv6: {128: 129},
}

// tupleOf reads the connection of a packet. Starts tells whether it can be the first one of it. ok is false for what
// can not be tracked.
func tupleOf(p *Packet, zone uint16) (t tuple5, starts, ok bool) {
	proto := uint8(p.Get(of.IPProto).Lo)
	t = tuple5{zone: zone, proto: proto}
	if p.Has(of.IPSrc) {
		t.src.ip, t.dst.ip = p.Get(of.IPSrc).Addr4(), p.Get(of.IPDst).Addr4()
	} else {
		t.src.ip, t.dst.ip = p.Get(of.IPv6Src).Addr6(), p.Get(of.IPv6Dst).Addr6()
	}
	if src, dst, has := portFields(p); has {
		t.src.port, t.dst.port = uint16(p.Get(src).Lo), uint16(p.Get(dst).Lo)
		return t, true, true
	}
	kind := of.ICMPType
	if p.Has(of.ICMPv6Type) {
		kind = of.ICMPv6Type
	}
	if !p.Has(kind) {
		return t, false, false
	}
	t.src.port, t.dst.port, t.src.kind = p.ICMPID, p.ICMPID, uint8(p.Get(kind).Lo)
	for query, answer := range icmpReplies[proto] {
		switch t.src.kind {
		case query:
			t.dst.kind = answer
			return t, true, true
		case answer:
			t.dst.kind = query
			return t, false, true
		}
	}
	return t, false, false
}

// portFields are the fields of the transport ports, if the packet has any.
func portFields(p *Packet) (src, dst of.Field, ok bool) {
	for _, f := range [][2]of.Field{{of.TCPSrc, of.TCPDst}, {of.UDPSrc, of.UDPDst}, {of.SCTPSrc, of.SCTPDst}} {
		if p.Has(f[0]) {
			return f[0], f[1], true
		}
	}
	return 0, 0, false
}

// rewrite makes the packet look like one of a tuple.
func (t tuple5) rewrite(p *Packet) {
	src, dst := of.IPSrc, of.IPDst
	if t.src.ip.Is6() {
		src, dst = of.IPv6Src, of.IPv6Dst
	}
	p.Set(src, of.Addr(t.src.ip))
	p.Set(dst, of.Addr(t.dst.ip))
	if src, dst, has := portFields(p); has {
		p.Set(src, of.U(uint64(t.src.port)))
		p.Set(dst, of.U(uint64(t.dst.port)))
	}
}

// track passes the packet through connection tracking. A tracked copy goes on in the action's table, after everything
// else that happens to the packet; the packet itself goes on untracked.
func (r *run) track(a of.CT) {
	if !r.trackable(a) {
		return
	}
	zone := a.Zone
	if a.ZoneSrc != nil {
		zone = uint16(r.p.bits(*a.ZoneSrc).Lo)
	}
	untracked := r.p
	c, state := r.connection(zone, a)
	if c.connection != nil && a.NAT != nil && c.nat != 0 && r.p.Get(of.CTState).Lo&(of.CTSNAT|of.CTDNAT) == 0 {
		if c.isReply { // its other end changes
			state |= (of.CTSNAT | of.CTDNAT) &^ c.nat
			c.orig.reversed().rewrite(&r.p)
		} else {
			state |= c.nat
			c.reply.reversed().rewrite(&r.p)
		}
	}
	r.p.Set(of.CTState, of.U(state))
	r.p.Set(of.CTZone, of.U(uint64(zone)))
	if c.connection != nil {
		r.remember(c, a)
	}
	if a.Table != nil {
		next := pass{table: *a.Table, p: r.p, stack: append([]of.Value(nil), r.stack...)}
		if c.connection != nil && r.sw.conns[c.orig].connection == c.connection { // what was not committed is forgotten
			next.conn, next.zone = c, zone
		}
		r.queue = append(r.queue, next)
	}
	r.p = untracked
	r.untrack()
}

// connection finds the packet's connection, or makes it if that is to be committed, and tells the state of the packet.
// There is none for an invalid packet.
func (r *run) connection(zone uint16, a of.CT) (tracked, uint64) {
	if r.conn.connection != nil && r.zone == zone {
		return r.conn, r.p.Get(of.CTState).Lo // known from an earlier pass, and translated there
	}
	r.p.Set(of.CTState, of.Value{})
	t, starts, ok := tupleOf(&r.p, zone)
	c, known := r.sw.conns[t]
	switch {
	case !ok || !known && !starts:
		r.note("zone %d: invalid", zone)
		return tracked{}, of.CTTrk | of.CTInv
	case !known:
		c = tracked{&connection{orig: t, reply: t.reversed()}, false}
		if a.Commit {
			if a.NAT != nil && a.NAT.Type != of.NATExisting && !r.sw.conns.translate(c.connection, a.NAT) {
				r.note("zone %d: no translation is left, the packet stays as it is", zone)
				return tracked{}, of.CTTrk | of.CTNew
			}
			r.sw.conns.insert(c.connection)
		}
		return c, of.CTTrk | of.CTNew
	case c.isReply:
		c.replied = true
		return c, of.CTTrk | of.CTEst | of.CTRpl
	case c.replied:
		return c, of.CTTrk | of.CTEst
	}
	return c, of.CTTrk | of.CTNew
}

// remember writes what the action wants to be remembered with the connection, and shows the packet what there is.
func (r *run) remember(c tracked, a of.CT) {
	r.p.Set(of.CTMark, c.mark)
	r.p.Set(of.CTLabel, c.label)
	r.actions(a.Exec)
	c.mark, c.label = r.p.Get(of.CTMark), r.p.Get(of.CTLabel)
	r.p.Set(of.CTNwProto, of.U(uint64(c.orig.proto)))
	src, dst := of.CTNwSrc, of.CTNwDst
	if c.orig.src.ip.Is6() {
		src, dst = of.CTIPv6Src, of.CTIPv6Dst
	}
	r.p.Set(src, of.Addr(c.orig.src.ip))
	r.p.Set(dst, of.Addr(c.orig.dst.ip))
	if r.p.Has(of.CTTpSrc) {
		r.p.Set(of.CTTpSrc, of.U(uint64(c.orig.src.port)))
		r.p.Set(of.CTTpDst, of.U(uint64(c.orig.dst.port)))
	}
}

// trackable tells whether sim knows what the action does with the packet; if not, the interpretation ends.
func (r *run) trackable(a of.CT) bool {
	n := a.NAT
	switch {
	case a.Force || a.ALG != 0:
		r.fail("table %d: ct with force or alg is not simulated", r.table)
	case n != nil && a.Table == nil:
		r.fail("table %d: ct with nat and without table is not simulated", r.table)
	case n != nil && n.Type != of.NATExisting && (!n.AddrMin.IsValid() || n.AddrMax.IsValid() || n.PortMin != 0):
		r.fail("table %d: nat to other than one address is not simulated", r.table)
	case !r.p.Has(of.IPProto):
		r.note("ct left out: the packet is not IP")
		return false
	case !r.p.Get(of.IPFrag).IsZero():
		r.fail("table %d: connection tracking of fragments is not simulated", r.table)
	case r.isICMPError():
		r.fail("table %d: connection tracking of ICMP errors is not simulated", r.table)
	}
	return r.trace.Err == nil
}

func (r *run) isICMPError() bool {
	switch kind := r.p.Get(of.ICMPType).Lo; {
	case r.p.Has(of.ICMPType):
		return kind >= 3 && kind <= 5 || kind == 11 || kind == 12 // RFC 792
	case r.p.Has(of.ICMPv6Type):
		return r.p.Get(of.ICMPv6Type).Lo < 128 // RFC 4443 section 2.1
	}
	return false
}

// untrack forgets what the packet knows of its connection.
func (r *run) untrack() {
	r.conn, r.zone = tracked{}, 0
	for _, f := range []of.Field{of.CTState, of.CTZone, of.CTMark, of.CTLabel, of.CTNwProto, of.CTNwSrc, of.CTNwDst,
		of.CTIPv6Src, of.CTIPv6Dst, of.CTTpSrc, of.CTTpDst} {
		r.p.Set(f, of.Value{})
	}
}
