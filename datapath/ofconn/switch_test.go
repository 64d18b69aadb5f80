//go:build integration

package ofconn_test

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tuplenet/datapath/ofconn"
	"tuplenet/datapath/ovstest"
	"tuplenet/flows/of"
)

// patience is how long anything may take on a loaded machine.
const patience = 60 * time.Second

// link is a running connection to a switch.
type link struct {
	t       *testing.T
	ovs     *ovstest.Switch
	ups     chan *ofconn.Session
	packets chan ofconn.PacketIn
}

// connect starts a switch and a connection, both for the time of the test, and checks that no goroutine stays behind.
func connect(t *testing.T, cfg ofconn.Config, ovs ovstest.Config) (*link, *ofconn.Session) {
	t.Helper()
	ignore := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, ignore) })
	l := &link{t: t, ovs: ovstest.Start(t, ovs), ups: make(chan *ofconn.Session, 16), packets: make(chan ofconn.PacketIn, 1000)}
	if cfg.Echo == 0 {
		cfg.Echo = patience // only some tests are about a switch that hangs
	}
	if cfg.Socket == "" {
		cfg.Socket = l.ovs.Mgmt()
	}
	cfg.OnUp = func(_ context.Context, s *ofconn.Session) { l.ups <- s }
	ctx, cancel := context.WithCancel(context.Background())
	if cfg.OnPacketIn == nil {
		cfg.OnPacketIn = func(p ofconn.PacketIn) {
			select {
			case l.packets <- p:
			case <-ctx.Done(): // the test is over, and nobody takes them
			}
		}
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = ofconn.Run(ctx, cfg)
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return l, l.up()
}

// up waits for the next session.
func (l *link) up() *ofconn.Session {
	l.t.Helper()
	select {
	case s := <-l.ups:
		return s
	case <-time.After(patience):
		l.t.Fatal("no session")
		return nil
	}
}

// packet waits for the next packet-in.
func (l *link) packet() ofconn.PacketIn {
	l.t.Helper()
	select {
	case p := <-l.packets:
		return p
	case <-time.After(patience):
		l.t.Fatal("no packet-in")
		return ofconn.PacketIn{}
	}
}

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func packed(t *testing.T, f of.Flow) of.Packed {
	t.Helper()
	p, err := f.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func packedGroup(t *testing.T, g of.Group) of.PackedGroup {
	t.Helper()
	p, err := g.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// add makes the message that adds a flow under its hash.
func add(t *testing.T, f of.Flow) ofconn.Mod {
	t.Helper()
	p := packed(t, f)
	return ofconn.AddFlow{Packed: p, Cookie: p.Hash()}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// flows dumps the switch's flows with their cookies.
func flows(t *testing.T, s *ofconn.Session) map[uint64]ofconn.FlowDesc {
	t.Helper()
	all := map[uint64]ofconn.FlowDesc{}
	must(t, s.DumpFlows(soon(t), func(d ofconn.FlowDesc) {
		d.Match = append([]byte(nil), d.Match...)
		d.Instructions = append([]byte(nil), d.Instructions...)
		all[d.Cookie] = d
	}))
	return all
}
