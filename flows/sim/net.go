package sim

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"tuplenet/flows/of"
)

// MaxHops is how many switches the copies of one packet may visit in a Net before that counts as a loop.
const MaxHops = 1000

// ErrLoops is what a packet does that visits more.
var ErrLoops = errors.New("the packet loops")

// Node is a switch with the addresses of its tunnel endpoint.
type Node struct {
	Switch *Switch
	// Open, if not nil, makes the switch when the first packet comes to it, in place of Switch.
	Open func() (*Switch, error)
	// Tunnel and VXLAN are the ports by which packets that other nodes send through theirs come in; 0 refuses them. By VXLAN
	// no tunnel option arrives.
	Tunnel, VXLAN uint32
	// From and FromVXLAN are the ports by which packets from some nodes come in instead, by the node's tunnel address.
	From, FromVXLAN map[netip.Addr]uint32
	IPs             []netip.Addr
}

// Net is several nodes, by name, that reach each other through an underlay which loses nothing.
type Net map[string]Node

// Hop is one switch that the packet, or a copy, crossed.
type Hop struct {
	Node  string
	From  int    // index of the hop that sent it here, -1 for the first
	Port  uint32 // by which it came in
	Trace Trace
}

// Arrival is a copy at the end of its way: at a port that is no tunnel, or at the controller of a node.
type Arrival struct {
	Node string
	Hop  int
	Output
}

// Walk is everything that happened to one packet.
type Walk struct {
	Hops []Hop
	// Delivered left through ordinary ports, Punted went to controllers, Lost were sent to tunnel addresses of nobody.
	Delivered, Punted, Lost []Arrival
	// Err is the first error of a switch, or wraps ErrLoops: then the walk ends in its last hop.
	Err error
}

// Send sends a packet into a port of a node and follows its copies, breadth first.
func (n Net) Send(node string, port uint32, p Packet) Walk {
	return n.follow(entry{node, port, -1, p}, func(sw *Switch) Trace { return sw.Run(p, port) })
}

// Resume goes on with a packet in a table of a node (Switch.Resume), and follows its copies.
func (n Net) Resume(node string, table uint8, p Packet) Walk {
	return n.follow(entry{node, of.PortController, -1, p}, func(sw *Switch) Trace { return sw.Resume(table, p) })
}

// entry is a packet that comes into a port of a node, from a hop.
type entry struct {
	node string
	port uint32
	from int
	p    Packet
}

// follow follows the copies of a packet; first is what the first node does with it.
func (n Net) follow(start entry, first func(*Switch) Trace) Walk {
	var w Walk
	for todo := []entry{start}; len(todo) > 0; todo = todo[1:] {
		e := todo[0]
		if len(w.Hops) == MaxHops {
			w.fail(fmt.Errorf("%w: it crossed %d switches", ErrLoops, MaxHops))
			return w
		}
		at := len(w.Hops)
		sw, err := n[e.node].open()
		if err != nil {
			w.fail(fmt.Errorf("%s: %w", e.node, err))
			return w
		}
		hop := Hop{Node: e.node, From: e.from, Port: e.port}
		if at == 0 {
			hop.Trace = first(sw)
		} else {
			hop.Trace = sw.Run(e.p, e.port)
		}
		w.Hops = append(w.Hops, hop)
		if err := w.Hops[at].Trace.Err; err != nil {
			w.fail(fmt.Errorf("%s: %w", e.node, err))
		}
		for _, o := range w.Hops[at].Trace.Outputs {
			a := Arrival{Node: e.node, Hop: at, Output: o}
			switch {
			case o.Port == of.PortController:
				w.Punted = append(w.Punted, a)
			case !o.Tunnel:
				w.Delivered = append(w.Delivered, a)
			default:
				to, port, p := n.cross(e.node, o)
				if to == "" {
					w.Lost = append(w.Lost, a)
					continue
				}
				todo = append(todo, entry{to, port, at, p})
			}
		}
	}
	return w
}

func (w *Walk) fail(err error) {
	if w.Err == nil {
		w.Err = err
	}
}

func (n Node) open() (*Switch, error) {
	if n.Open != nil {
		return n.Open()
	}
	return n.Switch, nil
}

// cross carries a packet through the underlay: only what is on the wire arrives, with the sender's address of the same
// family. No node: it is lost.
func (n Net) cross(from string, o Output) (to string, port uint32, p Packet) {
	sent, vxlan := o.Packet, o.Port == n[from].VXLAN
	dst := sent.Get(of.TunDst).Addr4()
	if sent.Get(of.TunDst).IsZero() {
		dst = sent.Get(of.TunIPv6Dst).Addr6()
	}
	src, ok := ofFamily(n[from].IPs, dst.Is4())
	if !ok {
		return "", 0, Packet{}
	}
	for name, node := range n {
		if port, _ := node.entrance(vxlan); port != 0 && slices.Contains(node.IPs, dst) && (to == "" || name < to) {
			to = name
		}
	}
	if to == "" {
		return "", 0, Packet{}
	}
	port, by := n[to].entrance(vxlan)
	if own, ok := by[src]; ok {
		port = own
	}
	if vxlan {
		sent.Set(of.TunMetadata0, of.Value{})
	}
	return to, port, onWire(sent, src, dst)
}

// entrance is how packets of an encapsulation come into a node.
func (n Node) entrance(vxlan bool) (port uint32, from map[netip.Addr]uint32) {
	if vxlan {
		return n.VXLAN, n.FromVXLAN
	}
	return n.Tunnel, n.From
}

func ofFamily(ips []netip.Addr, want4 bool) (netip.Addr, bool) {
	for _, ip := range ips {
		if ip.Is4() == want4 {
			return ip, true
		}
	}
	return netip.Addr{}, false
}

// onWire is the packet as the receiver sees it: registers and the like are gone.
func onWire(sent Packet, src, dst netip.Addr) Packet {
	p := Packet{Length: sent.Length, ICMPID: sent.ICMPID}
	for f := of.EthSrc; f < of.CTNwProto; f++ {
		p.values[f] = sent.values[f]
	}
	for _, f := range []of.Field{of.TunID, of.TunFlags, of.TunMetadata0} {
		p.values[f] = sent.values[f]
	}
	if dst.Is4() {
		p.Set(of.TunSrc, of.Addr(src))
		p.Set(of.TunDst, of.Addr(dst))
	} else {
		p.Set(of.TunIPv6Src, of.Addr(src))
		p.Set(of.TunIPv6Dst, of.Addr(dst))
	}
	return p
}
