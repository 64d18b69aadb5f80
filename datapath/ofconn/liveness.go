package ofconn

import (
	"fmt"
	"net"
	"sync/atomic"
	"time"
)

// liveness knows when the switch was last seen alive. A unix socket does not time out: a hung switch is noticed only by
// asking it.
type liveness struct {
	last    atomic.Int64 // ns
	unread  atomic.Int64 // bytes written since then
	answers chan []byte  // echo requests of the switch, to be answered
}

// drained is so much more than any socket buffers that a switch which took it must have been reading.
const drained = 4 << 20

func (l *liveness) init() {
	l.answers = make(chan []byte, 4)
	l.heard()
}

// heard notes a sign of life.
func (l *liveness) heard() {
	l.last.Store(time.Now().UnixNano())
	l.unread.Store(0)
}

// wrote notes bytes that the socket took. While a large bundle is on its way the switch answers nothing, echo requests
// wait behind the bundle; that it reads shows that it lives.
func (l *liveness) wrote(n int) {
	if l.unread.Add(int64(n)) > drained {
		l.heard()
	}
}

func (l *liveness) silence() time.Duration { return time.Since(time.Unix(0, l.last.Load())) }

// answer queues an echo request for the goroutine that writes; a switch that sends them faster than they can be
// answered gets fewer answers.
func (l *liveness) answer(request []byte) {
	select {
	case l.answers <- request:
	default:
	}
}

// progress tells liveness what the socket takes.
type progress struct {
	net.Conn
	alive *liveness
}

func (p *progress) Write(b []byte) (int, error) {
	n, err := p.Conn.Write(b)
	p.alive.wrote(n)
	return n, err
}

// keepAlive asks a silent switch for an echo, and gives it up when it stays silent. Time in which we did not run ourselves does not
// count: what the switch said then waits to be read.
func (s *Session) keepAlive(limit time.Duration, asks chan<- struct{}) {
	t := time.NewTicker(limit / 4)
	defer t.Stop()
	for quiet := 0; ; { // so many ticks, one after the other
		select {
		case <-s.done:
			return
		case <-t.C:
		}
		silent := s.alive.silence()
		if quiet++; silent <= limit/4 {
			quiet = 0
		}
		switch {
		case silent > limit && quiet >= 4:
			s.fail(fmt.Errorf("the switch said nothing for %s", silent.Round(time.Millisecond)))
			return
		case silent > limit/4:
			select {
			case asks <- struct{}{}:
			default: // the last one is still being written
			}
		}
	}
}

// echo writes echo requests and replies. It is apart from keepAlive and from the reader because a write to a hung switch
// blocks until the session is given up.
func (s *Session) echo(asks <-chan struct{}) {
	for {
		var b []byte
		select {
		case <-s.done:
			return
		case <-asks:
			b = message(msgEchoRequest)
			seal(b, echoXid)
		case b = <-s.alive.answers:
			b[1] = msgEchoReply
		}
		if s.send(b) != nil {
			return
		}
	}
}

// echoXid is the transaction id of echo requests.
const echoXid = 4
