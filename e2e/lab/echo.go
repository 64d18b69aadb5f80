package lab

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Echo answers on TCP and UDP and tells every client the address and port that it was seen from: a TCP connection
// begins with a line that says so, and then everything comes back; each datagram comes back with such a line before
// it, from the address that it was sent to.
type Echo struct {
	cancel context.CancelFunc
	all    sync.WaitGroup
}

// StartEcho starts an Echo in the workload, on all its addresses. It ends with Close or ctx.
func (w *Workload) StartEcho(ctx context.Context, port uint16) (*Echo, error) {
	e, err := startEcho(ctx, w.InNet, port)
	if err != nil {
		return nil, fmt.Errorf("on %s: %w", w.Name, err)
	}
	return e, nil
}

// startEcho starts an Echo in the network namespace of in.
func startEcho(ctx context.Context, in within, port uint16) (*Echo, error) {
	ctx, cancel := context.WithCancel(ctx)
	e := &Echo{cancel: cancel}
	l, err := listen(ctx, in, port)
	if err != nil {
		cancel()
		return nil, err
	}
	e.all.Go(func() { e.accept(ctx, l) })
	for _, network := range []string{"udp4", "udp6"} {
		conn, err := listenPacket(ctx, in, network, port)
		if err != nil {
			return nil, errors.Join(err, l.Close(), e.Close())
		}
		e.all.Go(func() { reflect(ctx, conn) })
	}
	return e, nil
}

// Close ends the server and its connections.
func (e *Echo) Close() error {
	e.cancel()
	e.all.Wait()
	return nil
}

func (e *Echo) accept(ctx context.Context, l net.Listener) {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		e.all.Go(func() {
			stop := context.AfterFunc(ctx, func() { conn.Close() })
			defer stop()
			defer conn.Close()
			if _, err := fmt.Fprintln(conn, seenFrom(conn)); err == nil {
				_, _ = io.Copy(conn, conn) // the client sees how it ended
			}
		})
	}
}

// listenPacket opens a UDP port on all addresses of a network namespace, which tells with each datagram to which it was sent.
func listenPacket(ctx context.Context, in within, network string, port uint16) (*net.UDPConn, error) {
	options := net.ListenConfig{Control: func(network, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) {
			if network == "udp6" {
				failed = errors.Join(unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1),
					// Else it may not answer from an address that a local route holds, as those of Destinations6.
					unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_FREEBIND, 1))
			} else {
				failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
			}
		})
		return errors.Join(err, failed)
	}}
	var conn net.PacketConn
	err := in(func() (err error) {
		conn, err = options.ListenPacket(ctx, network, fmt.Sprintf(":%d", port))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("UDP port %d: %w", port, err)
	}
	return conn.(*net.UDPConn), nil
}

// reflect sends datagrams back. The control message that came with one says to the kernel, on its way back, to use the
// address that it was sent to as its source (ip(7), IP_PKTINFO; RFC 3542 section 6).
func reflect(ctx context.Context, conn *net.UDPConn) {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	b, info := make([]byte, 2048), make([]byte, 256)
	for {
		n, k, _, from, err := conn.ReadMsgUDPAddrPort(b, info)
		if err != nil {
			return
		}
		reply := append([]byte(from.String()+"\n"), b[:n]...)
		_, _, _ = conn.WriteMsgUDPAddrPort(reply, info[:k], from) // like any datagram, it may be lost
	}
}

// answerTime is how long an Echo may take to answer: the kernel sends a lost segment again after 1, 3, 7 and 15 seconds.
const answerTime = 20 * time.Second

// Conversation is a TCP connection with an Echo.
type Conversation struct {
	conn net.Conn
	in   *bufio.Reader
	// Seen is the client's address and port as the other end sees it.
	Seen netip.AddrPort
}

// Converse connects to an Echo; local may be the zero AddrPort.
func (w *Workload) Converse(ctx context.Context, local, to netip.AddrPort) (*Conversation, error) {
	what := fmt.Sprintf("TCP from %s to %s", w.Name, to)
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	conn, err := w.dial(ctx, "tcp", local, to.String())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	c := &Conversation{conn: conn, in: bufio.NewReader(conn)}
	_ = conn.SetReadDeadline(deadline(ctx))
	line, err := c.in.ReadString('\n')
	if err == nil {
		c.Seen, err = netip.ParseAddrPort(strings.TrimSpace(line))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", what, err), conn.Close())
	}
	return c, nil
}

// Say sends some bytes and waits until the same come back.
func (c *Conversation) Say(ctx context.Context) error {
	sent, got := make([]byte, 1000), make([]byte, 1000)
	_, _ = rand.Read(sent) // never fails
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	_ = c.conn.SetDeadline(deadline(ctx))
	if _, err := c.conn.Write(sent); err != nil {
		return fmt.Errorf("connection seen as %s: %w", c.Seen, err)
	}
	if _, err := io.ReadFull(c.in, got); err != nil {
		return fmt.Errorf("connection seen as %s: no echo: %w", c.Seen, err)
	}
	if !bytes.Equal(sent, got) {
		return fmt.Errorf("connection seen as %s: the echo differs from what was sent", c.Seen)
	}
	return nil
}

// Close ends the conversation.
func (c *Conversation) Close() error { return c.conn.Close() }

// Ask sends a datagram to an Echo until it is answered, every 200 ms, and returns the address and port that it was seen
// from; local may be the zero AddrPort.
func (w *Workload) Ask(ctx context.Context, local, to netip.AddrPort) (seen netip.AddrPort, err error) {
	what := fmt.Sprintf("UDP from %s to %s", w.Name, to)
	conn, err := w.dial(ctx, "udp", local, to.String())
	if err != nil {
		return seen, fmt.Errorf("%s: %w", what, err)
	}
	defer conn.Close()
	b := make([]byte, 2048)
	for end := deadline(ctx); time.Now().Before(end) && ctx.Err() == nil; {
		if _, err = conn.Write([]byte("ask")); err == nil {
			_ = conn.SetReadDeadline(time.Now().Add(askAgain))
			var n int
			if n, err = conn.Read(b); err == nil {
				return seenIn(b[:n])
			}
		}
		if errors.Is(err, unix.ECONNREFUSED) {
			break
		}
	}
	return seen, fmt.Errorf("%s: no answer: %w", what, err)
}

const askAgain = 200 * time.Millisecond

func seenIn(reply []byte) (netip.AddrPort, error) {
	line, _, _ := bytes.Cut(reply, []byte("\n"))
	return netip.ParseAddrPort(string(line))
}

// Survey asks the Echo at every one of the addresses, all of one family, until each has answered, and returns the
// address from which each saw the workload. After what anything in a lab may take it gives up, naming who is silent.
func (w *Workload) Survey(ctx context.Context, port uint16, dst []netip.Addr) (map[netip.Addr]netip.Addr, error) {
	network := "udp4"
	if len(dst) > 0 && dst[0].Is6() {
		network = "udp6"
	}
	conn, err := listenPacket(ctx, w.InNet, network, 0)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	seen := map[netip.Addr]netip.Addr{}
	b := make([]byte, 2048)
	for end := deadline(ctx); len(seen) < len(dst); {
		if !time.Now().Before(end) || ctx.Err() != nil {
			return seen, fmt.Errorf("UDP from %s to %d addresses: %d are silent, such as %s", w.Name, len(dst), len(dst)-len(seen), firstSilent(dst, seen))
		}
		for i, d := range dst {
			if seen[d].IsValid() {
				continue
			}
			_, _ = conn.WriteToUDPAddrPort([]byte("ask"), netip.AddrPortFrom(d, port)) // who is silent is asked again
			if i%16 == 15 {
				collect(conn, b, seen, time.Millisecond)
			}
		}
		collect(conn, b, seen, askAgain)
	}
	return seen, nil
}

// collect reads answers until there was none for so long.
func collect(conn *net.UDPConn, b []byte, seen map[netip.Addr]netip.Addr, quiet time.Duration) {
	for {
		_ = conn.SetReadDeadline(time.Now().Add(quiet))
		n, from, err := conn.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		if me, err := seenIn(b[:n]); err == nil {
			seen[from.Addr().Unmap()] = me.Addr()
		}
	}
}

func firstSilent(dst []netip.Addr, seen map[netip.Addr]netip.Addr) netip.Addr {
	for _, d := range dst {
		if !seen[d].IsValid() {
			return d
		}
	}
	return netip.Addr{}
}

// seenFrom is the address of the other end, IPv4 as such.
func seenFrom(conn net.Conn) netip.AddrPort {
	a := conn.RemoteAddr().(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
