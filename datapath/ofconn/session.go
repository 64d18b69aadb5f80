package ofconn

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"

	"antrea.io/libOpenflow/openflow15"
	"antrea.io/libOpenflow/util"
)

// Session is one connection. Its methods may be used from any goroutine; after the connection is lost they return an
// error that wraps ErrClosed. A context that ends while a message is being written does not interrupt the write, which
// lasts at most until the keep-alive gives up the connection.
type Session struct {
	conn net.Conn
	r    *bufio.Reader
	log  *slog.Logger

	sendMu sync.Mutex
	w      *bufio.Writer

	xid     atomic.Uint32
	bundle  atomic.Uint32
	alive   liveness
	lost    atomic.Uint64
	invalid atomic.Uint64

	mu      sync.Mutex
	waiting map[uint32]chan []byte // xid → who waits for its replies
	bundles map[uint32]*collected  // first xid of a bundle in progress → its errors

	done   chan struct{}
	once   sync.Once
	reason error
}

// collected are the errors of the messages of a bundle.
type collected struct {
	first, n uint32
	errors   map[int]*Error
}

// Transaction ids below this one are for messages whose answer nobody waits for.
const firstXid = 0x100

func newSession(c net.Conn, log *slog.Logger) *Session {
	s := &Session{conn: c, log: log, r: bufio.NewReaderSize(c, 256<<10),
		waiting: map[uint32]chan []byte{}, bundles: map[uint32]*collected{}, done: make(chan struct{})}
	s.alive.init()
	s.w = bufio.NewWriterSize(&progress{Conn: c, alive: &s.alive}, 256<<10)
	s.xid.Store(firstXid)
	return s
}

// fail ends the session, once.
func (s *Session) fail(err error) {
	s.once.Do(func() {
		s.reason = err
		s.conn.Close()
		close(s.done)
	})
}

// cause is why the session ended. Only after done.
func (s *Session) cause() error { return s.reason }

func (s *Session) closed() error { return fmt.Errorf("%w: %w", ErrClosed, s.reason) }

// read dispatches what the switch says, in order, until the connection ends. It never writes: a switch that does not
// read would keep it from reading.
func (s *Session) read(packets chan<- PacketIn) {
	for {
		b, err := readMessage(s.r)
		if err != nil {
			s.fail(err)
			return
		}
		s.alive.heard()
		xid := binary.BigEndian.Uint32(b[4:])
		switch b[1] {
		case msgEchoRequest:
			s.alive.answer(b)
		case msgEchoReply:
		case msgError:
			if !s.bundleError(xid, b) && !s.reply(xid, b) {
				s.log.Debug("the switch refused a message that nobody waits for", "err", parseError(b))
			}
		default:
			if !s.reply(xid, b) {
				s.packetIn(b, packets)
			}
		}
	}
}

// packetIn queues a packet-in, or counts it as lost.
func (s *Session) packetIn(b []byte, packets chan<- PacketIn) {
	p, ok, err := decodePacketIn(b)
	switch {
	case err != nil:
		s.invalid.Add(1)
	case ok:
		select {
		case packets <- p:
		default:
			s.lost.Add(1)
		}
	}
}

// Lost counts the packet-ins that were dropped because OnPacketIn did not keep up.
func (s *Session) Lost() uint64 { return s.lost.Load() }

// Invalid counts the packet-ins that could not be read.
func (s *Session) Invalid() uint64 { return s.invalid.Load() }

// reply hands a message to who waits for it.
func (s *Session) reply(xid uint32, b []byte) bool {
	s.mu.Lock()
	ch, ok := s.waiting[xid]
	s.mu.Unlock()
	if !ok {
		return false
	}
	select {
	case ch <- b:
	case <-s.done:
	}
	return true
}

// bundleError notes an error of a message of a bundle.
func (s *Session) bundleError(xid uint32, b []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.bundles {
		if i := xid - c.first; i < c.n {
			c.errors[int(i)] = parseError(b)
			return true
		}
	}
	return false
}

// send writes complete messages and flushes.
func (s *Session) send(b []byte) error {
	s.sendMu.Lock()
	defer s.sendMu.Unlock()
	_, err := s.w.Write(b)
	if err == nil {
		err = s.w.Flush()
	}
	if err != nil {
		s.fail(err)
		return s.closed()
	}
	return nil
}

// ask encodes a message, sends it and calls each for every part of the reply.
func (s *Session) ask(ctx context.Context, m util.Message, each func([]byte) error) error {
	b, err := encode(m)
	if err != nil {
		return err
	}
	return s.request(ctx, b, each)
}

// request sends a message and calls each for every part of the reply, until the last. An error of the switch is an *Error.
func (s *Session) request(ctx context.Context, b []byte, each func([]byte) error) error {
	p := s.pose(b)
	defer p.forget()
	if err := s.send(b); err != nil {
		return err
	}
	return p.wait(ctx, each)
}

// pending is a message that has a reply which was not read yet.
type pending struct {
	s   *Session
	xid uint32
	ch  chan []byte
}

// pose makes a message ready to be sent: it gets its transaction id, and the reply will be kept until forget.
func (s *Session) pose(b []byte) pending {
	p := pending{s, s.xid.Add(1), make(chan []byte, 4)}
	seal(b, p.xid)
	s.mu.Lock()
	s.waiting[p.xid] = p.ch
	s.mu.Unlock()
	return p
}

// poseMessage encodes a message and makes it ready.
func (s *Session) poseMessage(m util.Message) ([]byte, pending, error) {
	b, err := encode(m)
	if err != nil {
		return nil, pending{}, err
	}
	return b, s.pose(b), nil
}

// wait calls each for every part of the reply, until the last. An error of the switch is an *Error.
func (p pending) wait(ctx context.Context, each func([]byte) error) error {
	s := p.s
	for {
		select {
		case r := <-p.ch:
			if r[1] == msgError {
				return parseError(r)
			}
			if err := each(r); err != nil {
				return err
			}
			if r[1] == msgMultipartReply && len(r) >= 12 && binary.BigEndian.Uint16(r[10:])&partMore != 0 {
				continue
			}
			return nil
		case <-s.done:
			return s.closed()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// forget takes the waiter away. The reader may have found it just before: emptying the channel lets it go on.
func (p pending) forget() {
	p.s.mu.Lock()
	delete(p.s.waiting, p.xid)
	p.s.mu.Unlock()
	for {
		select {
		case <-p.ch:
		default:
			return
		}
	}
}

func ignore([]byte) error { return nil }

// Barrier returns when the switch has done everything that was sent before.
func (s *Session) Barrier(ctx context.Context) error {
	return s.ask(ctx, openflow15.NewBarrierRequest(), ignore)
}

// guarded has a message and a barrier sent, and returns when the replies to both are there.
func (s *Session) guarded(ctx context.Context, m util.Message, send func(m, barrier []byte) error) error {
	b, answer, err := s.poseMessage(m)
	if err != nil {
		return err
	}
	defer answer.forget()
	barrier, passed, err := s.poseMessage(openflow15.NewBarrierRequest())
	if err != nil {
		return err
	}
	defer passed.forget()
	if err := send(b, barrier); err != nil {
		return err
	}
	if err := answer.wait(ctx, ignore); err != nil {
		return err
	}
	return passed.wait(ctx, ignore)
}

// tell encodes a message that has no reply, sends it, and a barrier to collect its error.
func (s *Session) tell(ctx context.Context, m util.Message) error {
	b, err := encode(m)
	if err != nil {
		return err
	}
	return s.command(ctx, b)
}

// command sends a message that has no reply, and a barrier to collect its error.
func (s *Session) command(ctx context.Context, b []byte) error { return s.commandAgain(ctx, b, 1) }

// commandAgain sends a message that has no reply so many times, and a barrier to collect the first error.
func (s *Session) commandAgain(ctx context.Context, b []byte, times int) error {
	c := s.collect(times)
	defer s.release(c)
	all := make([]byte, 0, times*len(b))
	for i := range times {
		seal(b, c.first+uint32(i))
		all = append(all, b...)
	}
	if err := s.send(all); err != nil {
		return err
	}
	if err := s.Barrier(ctx); err != nil {
		return err
	}
	failed := s.failures(c)
	for i := range times {
		if err := failed[i]; err != nil {
			return err
		}
	}
	return nil
}

// collect reserves transaction ids for n messages and collects their errors until release.
func (s *Session) collect(n int) *collected {
	c := &collected{n: uint32(n), errors: map[int]*Error{}}
	c.first = s.xid.Add(uint32(n)) - uint32(n) + 1
	s.mu.Lock()
	s.bundles[c.first] = c
	s.mu.Unlock()
	return c
}

func (s *Session) release(c *collected) {
	s.mu.Lock()
	delete(s.bundles, c.first)
	s.mu.Unlock()
}

// failures are the errors collected so far, by position.
func (s *Session) failures(c *collected) map[int]*Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	failed := make(map[int]*Error, len(c.errors))
	for i, err := range c.errors {
		failed[i] = err
	}
	return failed
}

// refused tells an error of the switch from a lost connection.
func refused(err error) (*Error, bool) {
	var e *Error
	ok := errors.As(err, &e)
	return e, ok
}
