package controller

import (
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"tuplenet/datapath/ofconn"
	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
	"tuplenet/model"
)

// listener is a hosts whose packets and counts are kept; its jitter is always the half.
type listener struct {
	*hosts
	sent   []ofconn.PacketOut
	counts map[string]int
}

func newListener() *listener {
	l := &listener{counts: map[string]int{}}
	l.hosts = newHosts(func(service, result string) { l.counts[service+" "+result]++ }, slog.New(slog.DiscardHandler))
	l.hosts.send = func(p ofconn.PacketOut) { l.sent = append(l.sent, p) }
	l.hosts.jitter = func(below time.Duration) time.Duration { return below / 2 }
	return l
}

// advertised are the lifetimes of the routers and of the prefixes of the advertisements sent since the last call, in seconds.
func (l *listener) advertised(t *testing.T) (routers []int, prefixes map[string]int) {
	t.Helper()
	prefixes = map[string]int{}
	for _, p := range l.sent {
		ra, ok := gopacket.NewPacket(p.Data, layers.LayerTypeEthernet, gopacket.Default).Layer(layers.LayerTypeICMPv6RouterAdvertisement).(*layers.ICMPv6RouterAdvertisement)
		if !ok {
			t.Fatalf("% x is no advertisement", p.Data)
		}
		routers = append(routers, int(ra.RouterLifetime))
		for _, o := range ra.Options {
			if o.Type == layers.ICMPv6OptPrefixInfo {
				prefixes[netip.AddrFrom16([16]byte(o.Data[14:30])).String()] = int(o.Data[2])<<24 | int(o.Data[3])<<16 | int(o.Data[4])<<8 | int(o.Data[5])
			}
		}
	}
	l.sent = nil
	return routers, prefixes
}

func guestWith(key model.PortKey, prefixes ...string) model.Guest {
	g := model.Guest{Port: "p", Switch: "LS", VNI: 7, Key: key, MAC: model.MAC{2, 0, 0, 0, 0, byte(key)}, HasIPv6: true, Config: model.HostConfig{RA: true}}
	if len(prefixes) > 0 {
		r := model.AdvertisedRouter{Port: "r", MAC: model.MAC{2, 0, 0, 0, 1, 1}}
		for _, p := range prefixes {
			r.Prefixes = append(r.Prefixes, model.AdvertisedPrefix{Prefix: netip.MustParsePrefix(p), Autonomous: true})
		}
		g.Routers = append(g.Routers, r)
	}
	return g
}

// RFC 4861 section 6.2.4: a few advertisements soon after one begins, then every 200 to 600 s.
func TestG18_UnsolicitedAdvertisementsKeepTheTimesOfTheStandard(t *testing.T) {
	l, start := newListener(), time.Unix(1000, 0)
	l.take(start, nil, []model.Guest{guestWith(1, "2001:db8::/64")})
	var at []time.Duration
	for now := start; now.Before(start.Add(15 * time.Minute)); now = now.Add(edgePause) {
		l.tick(now)
		for range l.sent {
			at = append(at, now.Sub(start))
		}
		l.sent = nil
	}
	want := []time.Duration{500 * time.Millisecond, 10 * time.Second, 19500 * time.Millisecond, 419500 * time.Millisecond, 819500 * time.Millisecond}
	if !slices.Equal(at, want) {
		t.Errorf("sent at %v, want %v", at, want)
	}
	if l.counts["ra unsolicited"] != len(want) {
		t.Error(l.counts)
	}
}

func TestG18_ManyWorkloadsAreAdvertisedToALittleAtATime(t *testing.T) {
	l, now := newListener(), time.Unix(1000, 0)
	for key := range model.PortKey(2*raBudget + 1) {
		l.take(now, nil, []model.Guest{guestWith(key+1, "2001:db8::/64")})
	}
	for i, want := range []int{raBudget, raBudget, 1, 0} {
		l.tick(now.Add(raFirst))
		if len(l.sent) != want {
			t.Errorf("look %d: %d sent, want %d", i, len(l.sent), want)
		}
		l.sent = nil
	}
}

func TestG18_WhatIsNotThereAnyMoreIsWithdrawnAtOnce(t *testing.T) {
	l, now := newListener(), time.Unix(1000, 0)
	both, one, none := guestWith(1, "2001:db8:1::/64", "2001:db8:2::/64"), guestWith(1, "2001:db8:1::/64"), guestWith(1)
	l.take(now, nil, []model.Guest{both})
	l.take(now, []model.Guest{both}, []model.Guest{one})
	if routers, prefixes := l.advertised(t); len(routers) != 1 || routers[0] == 0 || len(prefixes) != 1 || prefixes["2001:db8:2::"] != 0 {
		t.Errorf("one prefix less: %v %v", routers, prefixes)
	}
	l.take(now, []model.Guest{one}, []model.Guest{none})
	if routers, prefixes := l.advertised(t); len(routers) != 1 || routers[0] != 0 || prefixes["2001:db8:1::"] != 0 {
		t.Errorf("no router any more: %v %v", routers, prefixes)
	}
	l.take(now, []model.Guest{none}, []model.Guest{both})
	l.take(now, []model.Guest{both}, nil)
	if routers, _ := l.advertised(t); !slices.Equal(routers, []int{0}) {
		t.Errorf("nothing is told any more: %v", routers)
	}
	l.tick(now.Add(time.Hour))
	if len(l.sent) != 0 || len(l.guests) != 0 {
		t.Errorf("%d sent to nobody", len(l.sent))
	}
}

// solicitation is what the switch punts for a router solicitation of port key of network 7.
func solicitation(key uint64, mac model.MAC) ofconn.PacketIn {
	frame := append([]byte{0x33, 0x33, 0, 0, 0, 2}, mac[:]...)
	frame = append(frame, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 8, 58, 255)
	src, dst := mac.LinkLocal().As16(), netip.MustParseAddr("ff02::2").As16()
	frame = append(append(append(frame, src[:]...), dst[:]...), 133, 0, 0, 0, 0, 0, 0, 0)
	return ofconn.PacketIn{Userdata: []byte{byte(pipeline.PuntSolicit)}, Data: frame,
		Fields: []of.Term{of.Eq(of.Metadata, of.U(7)), of.Eq(of.Reg14, of.U(key))}}
}

func TestG20_TheAnswerGoesToThePortThatAskedAndToNoOther(t *testing.T) {
	l, now := newListener(), time.Unix(1000, 0)
	g, other := guestWith(1, "2001:db8::/64"), guestWith(2, "2001:db8::/64")
	l.take(now, nil, []model.Guest{g, other})
	if !l.punted(solicitation(1, g.MAC)) || len(l.sent) != 1 {
		t.Fatalf("%d answers", len(l.sent))
	}
	want := of.ActionsString([]of.Action{pipeline.Datapath.Load(7), pipeline.OutPort.Load(1), pipeline.Again(pipeline.Deliver)})
	if got := of.ActionsString(l.sent[0].Actions); got != want || l.sent[0].InPort != of.PortController {
		t.Errorf("answered by %s, want %s", got, want)
	}
	l.sent = nil
	l.punted(solicitation(1, other.MAC)) // forged
	l.punted(solicitation(3, g.MAC))     // nobody is told anything there
	if len(l.sent) != 0 || l.counts["ra solicited"] != 1 || l.counts["ra refused"] != 1 || l.counts["ra unknown"] != 1 {
		t.Errorf("%d answers, %v", len(l.sent), l.counts)
	}
	if l.punted(ofconn.PacketIn{Userdata: []byte{byte(pipeline.PuntTTL)}}) || l.punted(ofconn.PacketIn{}) {
		t.Error("a packet of another kind was taken")
	}
}

func TestU24_ASwitchIsServedOnceAllThatItSaysIsTold(t *testing.T) {
	l, now := newListener(), time.Unix(1000, 0)
	revision := func(ref model.Ref) int64 { return map[string]int64{"LS": 42}[ref.Name] }
	if s := l.serves(revision); len(s) != 0 {
		t.Errorf("served: %v", s)
	}
	routed, lost := guestWith(1, "2001:db8::/64"), guestWith(2)
	l.take(now, nil, []model.Guest{routed})
	if s := l.serves(revision); len(s) != 1 || s["LS"] != 42 {
		t.Errorf("served: %v", s)
	}
	l.take(now, nil, []model.Guest{lost})
	if s := l.serves(revision); len(s) != 0 {
		t.Errorf("served without a router to advertise: %v", s)
	}
}
