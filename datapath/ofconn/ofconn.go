// Package ofconn is the OpenFlow 1.5 session with the local switch: it connects to a bridge's management socket, keeps
// the connection alive and renews it, and carries all-or-nothing bundles, barriers, dumps, groups, meters, the tunnel
// option map, packet-ins and packet-outs. It moves flows and packets and knows nothing of what they mean; datapath/apply
// decides what to send, the controller answers packets.
//
// Replies are read and dispatched in one goroutine, in order, and nothing that came from the switch is decoded by a
// library that could be brought down by a tenant's frame.
package ofconn

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"antrea.io/libOpenflow/util"
)

// Config is how to reach the switch and whom to tell.
type Config struct {
	// Socket is the path of the bridge's management socket, such as /var/run/openvswitch/br-int.mgmt.
	Socket string
	// Echo is after how long without a message from the switch the connection counts as dead; 0 means 5 s.
	Echo   time.Duration
	Logger *slog.Logger
	// OnUp is called in a goroutine of its own for every new session; its context ends with the session. The next
	// connection is not tried before it has returned.
	OnUp func(ctx context.Context, s *Session)
	// OnPacketIn gets packets sent to the daemon, from one goroutine. It must not block: packets that come meanwhile are
	// dropped when the queue is full. nil drops them all.
	OnPacketIn func(PacketIn)
}

// Back-off between attempts to connect.
const (
	backoffMin = 50 * time.Millisecond
	backoffMax = 500 * time.Millisecond
)

// packetQueue is how many packet-ins wait for OnPacketIn at most.
const packetQueue = 2048

// ErrClosed is wrapped by what a Session returns after its connection was lost.
var ErrClosed = errors.New("connection to the switch lost")

// Run connects, and connects again whenever the connection is lost, until ctx ends. It returns ctx's error.
func Run(ctx context.Context, cfg Config) error {
	if cfg.Echo == 0 {
		cfg.Echo = 5 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.Logger = cfg.Logger.With("component", "ofconn")
	log := cfg.Logger
	pause, said := backoffMin, false
	for ctx.Err() == nil {
		s, err := dial(ctx, cfg)
		if err != nil {
			if !said {
				log.Warn("cannot connect to the switch, trying on", "socket", cfg.Socket, "err", err)
				said = true
			}
			wait(ctx, pause)
			pause = min(2*pause, backoffMax)
			continue
		}
		pause, said = backoffMin, false
		log.Info("connected to the switch", "socket", cfg.Socket)
		s.live(ctx, cfg)
		if ctx.Err() == nil {
			log.Warn("connection to the switch lost", "err", s.cause())
		}
	}
	return ctx.Err()
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// dial connects and agrees on OpenFlow 1.5 (section 6.3.1: hello).
func dial(ctx context.Context, cfg Config) (*Session, error) {
	var d net.Dialer
	ctx, cancel := context.WithTimeout(ctx, cfg.Echo)
	defer cancel()
	c, err := d.DialContext(ctx, "unix", cfg.Socket)
	if err != nil {
		return nil, err
	}
	s := newSession(c, cfg.Logger)
	deadline, _ := ctx.Deadline()
	_ = c.SetDeadline(deadline)
	if err := s.hello(); err != nil {
		c.Close()
		return nil, err
	}
	_ = c.SetDeadline(time.Time{})
	return s, nil
}

// hello exchanges versions and asks for asynchronous messages: the management socket sends none before miss_send_len
// is set. Packet-ins come in the format that carries registers and userdata.
func (s *Session) hello() error {
	if _, err := s.conn.Write([]byte{version, msgHello, 0, 16, 0, 0, 0, 1, 0, 1, 0, 8, 0, 0, 0, 1 << version}); err != nil {
		return err
	}
	b, err := readMessage(s.r)
	if err != nil {
		return fmt.Errorf("hello: %w", err)
	}
	if b[1] == msgError {
		return fmt.Errorf("hello: %w", parseError(b))
	}
	if b[1] != msgHello || b[0] < version {
		return fmt.Errorf("the switch speaks OpenFlow version %#x, not 1.5 (allow OpenFlow15 in the bridge's protocols)", b[0])
	}
	for xid, m := range []util.Message{setConfig(), packetInFormat()} {
		b, err := encode(m)
		if err != nil {
			return err
		}
		seal(b, uint32(xid)+2)
		if _, err := s.conn.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// live runs the session until the connection ends.
func (s *Session) live(ctx context.Context, cfg Config) {
	ctx, cancel := context.WithCancel(ctx)
	packets := make(chan PacketIn, packetQueue)
	var wg sync.WaitGroup
	start := func(f func()) {
		wg.Add(1)
		go func() { defer wg.Done(); f() }()
	}
	start(func() { s.read(packets) })
	asks := make(chan struct{}, 1)
	start(func() { s.keepAlive(cfg.Echo, asks) })
	start(func() { s.echo(asks) })
	start(func() { deliver(ctx, packets, cfg.OnPacketIn) })
	if cfg.OnUp != nil {
		start(func() { cfg.OnUp(ctx, s) })
	}
	select {
	case <-s.done:
	case <-ctx.Done():
		s.fail(ctx.Err())
	}
	cancel()
	wg.Wait()
}

func deliver(ctx context.Context, packets <-chan PacketIn, to func(PacketIn)) {
	for {
		select {
		case <-ctx.Done():
			return
		case p := <-packets:
			if to != nil {
				to(p)
			}
		}
	}
}

// readMessage reads one OpenFlow message.
func readMessage(r *bufio.Reader) ([]byte, error) {
	head, err := r.Peek(headerLen)
	if err != nil {
		return nil, err
	}
	n := int(head[2])<<8 | int(head[3])
	if n < headerLen {
		return nil, fmt.Errorf("message of %d bytes", n)
	}
	b := make([]byte, n)
	_, err = io.ReadFull(r, b)
	return b, err
}
