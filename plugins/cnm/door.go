package cnm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"tuplenet/plugins/plug"
)

// door is the published ports of a container: sockets of the host, from which connections are handed on into the container. They
// are opened inside the container's namespace, to its own address, so the host needs no way into the virtual network; the container sees
// them come from itself.
type door struct {
	log       *slog.Logger
	namespace string
	closers   []io.Closer
	ctx       context.Context // ends with the door
	cancel    context.CancelFunc
}

// publication is a published port, as the engine says it (libnetwork's types.PortBinding).
type publication struct {
	Proto       uint8 // IANA's number: 6 TCP, 17 UDP
	Port        uint16
	HostIP      string
	HostPort    uint16
	HostPortEnd uint16
}

// idle is after how long without a datagram the answers to a client of a UDP port are not waited for any more.
const idle = 90 * time.Second

// dialing limits how long a container may take to accept a connection.
const dialing = 10 * time.Second

// openDoor opens all ports or none. inside is the container's address, for each family of the host's addresses.
func openDoor(log *slog.Logger, namespace string, inside []netip.Addr, ports []publication) (d *door, err error) {
	d = &door{log: log, namespace: namespace}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	if len(inside) == 0 {
		return d, errors.New("a container without an address cannot publish ports")
	}
	for _, p := range ports {
		to := netip.AddrPortFrom(inside[0], p.Port)
		host, err := p.host()
		if err != nil {
			return d, err
		}
		switch p.Proto {
		case 6:
			err = d.openTCP(host, to)
		case 17:
			err = d.openUDP(host, to)
		default:
			err = fmt.Errorf("only TCP and UDP ports are published, not those of IP protocol %d", p.Proto)
		}
		if err != nil {
			return d, err
		}
	}
	return d, nil
}

// host is the address and port of the host, as net.Listen wants it.
func (p publication) host() (string, error) {
	if p.HostPort == 0 {
		return "", fmt.Errorf("port %d is published without a port of the host, and Docker does not learn which one a plugin takes: -p HOSTPORT:%d", p.Port, p.Port)
	}
	if p.HostPortEnd > p.HostPort {
		return "", fmt.Errorf("a range of ports of the host (%d-%d) cannot be published: give one", p.HostPort, p.HostPortEnd)
	}
	return net.JoinHostPort(strings.Trim(p.HostIP, "[]"), fmt.Sprint(p.HostPort)), nil
}

func (d *door) close() {
	d.cancel()
	for _, c := range d.closers {
		_ = c.Close()
	}
}

func (d *door) openTCP(host string, to netip.AddrPort) error {
	l, err := net.Listen("tcp", host)
	if err != nil {
		return fmt.Errorf("publish port %d: %w", to.Port(), err)
	}
	d.closers = append(d.closers, l)
	go func() {
		for {
			c, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				d.log.Warn("published port", "host", host, "err", err)
				time.Sleep(idle / 1000) // out of descriptors, say
				continue
			}
			go d.connection(c.(*net.TCPConn), to)
		}
	}()
	return nil
}

// dial opens a socket in the container.
func (d *door) dial(protocol string, to netip.AddrPort) (c net.Conn, err error) {
	err = plug.Within(d.namespace, func() (err error) {
		c, err = net.DialTimeout(protocol, to.String(), dialing)
		return err
	})
	return c, err
}

// connection carries bytes both ways until both ends are done, or the door is closed.
func (d *door) connection(outer *net.TCPConn, to netip.AddrPort) {
	defer outer.Close()
	conn, err := d.dial("tcp", to)
	if err != nil {
		d.log.Debug("published port: the container does not accept", "to", to, "err", err)
		return
	}
	inner := conn.(*net.TCPConn)
	defer inner.Close()
	stop := context.AfterFunc(d.ctx, func() { _, _ = outer.Close(), inner.Close() })
	defer stop()
	var both sync.WaitGroup
	for _, way := range [][2]*net.TCPConn{{outer, inner}, {inner, outer}} {
		both.Go(func() {
			_, _ = io.Copy(way[1], way[0]) // it ends as TCP does; what is wrong, both ends see
			_ = way[1].CloseWrite()
		})
	}
	both.Wait()
}

func (d *door) openUDP(host string, to netip.AddrPort) error {
	pc, err := net.ListenPacket("udp", host)
	if err != nil {
		return fmt.Errorf("publish port %d: %w", to.Port(), err)
	}
	outer := pc.(*net.UDPConn)
	d.closers = append(d.closers, outer)
	go d.datagrams(outer, to)
	return nil
}

// datagrams hands datagrams of each client on from a socket of its own, and the answers back.
func (d *door) datagrams(outer *net.UDPConn, to netip.AddrPort) {
	var mu sync.Mutex
	clients := map[netip.AddrPort]net.Conn{}
	buffer := make([]byte, 1<<16)
	for {
		n, from, err := outer.ReadFromUDPAddrPort(buffer)
		if errors.Is(err, net.ErrClosed) {
			break
		}
		if err != nil {
			continue // an ICMP error of an earlier answer
		}
		mu.Lock()
		inner := clients[from]
		mu.Unlock()
		if inner == nil {
			if inner, err = d.dial("udp", to); err != nil {
				d.log.Debug("published port: no socket in the container", "to", to, "err", err)
				continue
			}
			mu.Lock()
			clients[from] = inner
			mu.Unlock()
			go func() {
				defer func() {
					mu.Lock()
					delete(clients, from)
					mu.Unlock()
					_ = inner.Close()
				}()
				relay(outer, inner, from)
			}()
		}
		_ = inner.SetReadDeadline(time.Now().Add(idle))
		_, _ = inner.Write(buffer[:n]) // UDP: it arrives or not
	}
	mu.Lock()
	defer mu.Unlock()
	for _, c := range clients {
		_ = c.Close()
	}
}

// relay sends back what the container answers to a client, until neither says anything any more.
func relay(outer *net.UDPConn, inner net.Conn, to netip.AddrPort) {
	buffer := make([]byte, 1<<16)
	for {
		n, err := inner.Read(buffer)
		switch {
		case errors.Is(err, net.ErrClosed), errors.Is(err, context.DeadlineExceeded), isTimeout(err):
			return
		case err != nil: // nobody listens in the container yet
			continue
		}
		_ = inner.SetReadDeadline(time.Now().Add(idle))
		if _, err := outer.WriteToUDPAddrPort(buffer[:n], to); errors.Is(err, net.ErrClosed) {
			return
		}
	}
}

func isTimeout(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}
