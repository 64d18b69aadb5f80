package lab

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// WebBytes is the size of the document that a Web serves.
const WebBytes = 1 << 20

// clientHeader tells the client of a Web from where it was seen.
const clientHeader = "X-Client"

// Web is an HTTP server in a workload or station. It serves one document of WebBytes, always the same, at every path.
type Web struct {
	server   *http.Server
	document []byte
	done     chan error

	mu   sync.Mutex
	seen []netip.AddrPort
}

// StartWeb starts a Web in the workload, on all its addresses. It ends with Close or ctx.
func (w *Workload) StartWeb(ctx context.Context, port uint16) (*Web, error) {
	web, err := startWeb(ctx, w.InNet, port, w.Host.lab.cfg.Logger)
	if err != nil {
		return nil, fmt.Errorf("on %s: %w", w.Name, err)
	}
	return web, nil
}

// startWeb starts a Web in the network namespace of in.
func startWeb(ctx context.Context, in within, port uint16, log *slog.Logger) (*Web, error) {
	l, err := listen(ctx, in, port)
	if err != nil {
		return nil, err
	}
	web := &Web{document: webDocument(), done: make(chan error, 1)}
	web.server = &http.Server{
		Handler: web, BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	go func() { web.done <- web.server.Serve(l) }()
	context.AfterFunc(ctx, func() { _ = web.server.Close() })
	return web, nil
}

// within runs something in a network namespace.
type within func(f func() error) error

// listen opens a TCP port on all addresses of a network namespace. The address is spelled out: what Go takes for "all" it finds out
// once, in the namespace where a process listens first, which may have no IPv6.
func listen(ctx context.Context, in within, port uint16) (l net.Listener, err error) {
	err = in(func() error {
		l, err = (&net.ListenConfig{}).Listen(ctx, "tcp", fmt.Sprintf("[::]:%d", port))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("TCP port %d: %w", port, err)
	}
	return l, nil
}

// webDocument makes the document; what it is does not matter, but it does not repeat.
func webDocument() []byte {
	b := make([]byte, WebBytes)
	_, _ = rand.NewChaCha8([32]byte{'w', 'e', 'b'}).Read(b) // never fails
	return b
}

// ServeHTTP implements http.Handler.
func (web *Web) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	if client, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		client = netip.AddrPortFrom(client.Addr().Unmap(), client.Port())
		out.Header().Set(clientHeader, client.String())
		web.mu.Lock()
		web.seen = append(web.seen, client)
		web.mu.Unlock()
	}
	out.Header().Set("Content-Type", "application/octet-stream")
	out.Header().Set("Content-Length", fmt.Sprint(len(web.document)))
	_, _ = out.Write(web.document) // the client will complain
}

// Seen are the clients of all requests so far, in order.
func (web *Web) Seen() []netip.AddrPort {
	web.mu.Lock()
	defer web.mu.Unlock()
	return slices.Clone(web.seen)
}

// Close ends the server and its connections.
func (web *Web) Close() error {
	err := web.server.Close()
	if ended := <-web.done; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}

// Fetch gets the document of the Web at an address and port, on a connection of its own. It returns the address that the
// server saw the request come from. A document that arrives otherwise than it was sent is an error.
func (w *Workload) Fetch(ctx context.Context, from netip.AddrPort) (seen netip.Addr, err error) {
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return w.dial(ctx, network, netip.AddrPort{}, addr)
		},
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+from.String()+"/", nil)
	if err != nil {
		return netip.Addr{}, err
	}
	what := fmt.Sprintf("HTTP from %s to %s", w.Name, from)
	reply, err := client.Do(request)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%s: %w", what, err)
	}
	defer reply.Body.Close()
	h := sha256.New()
	n, err := io.Copy(h, reply.Body)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%s: %d bytes of %d: %w", what, n, WebBytes, err)
	}
	if want := sha256.Sum256(webDocument()); digest(h) != want {
		return netip.Addr{}, fmt.Errorf("%s: %d bytes with SHA-256 %x, want %d with %x", what, n, digest(h), WebBytes, want)
	}
	me, err := netip.ParseAddrPort(reply.Header.Get(clientHeader))
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%s: no client address in the reply: %w", what, err)
	}
	return me.Addr(), nil
}

// dial connects from the workload's namespace; local may be the zero AddrPort.
func (w *Workload) dial(ctx context.Context, network string, local netip.AddrPort, to string) (conn net.Conn, err error) {
	d := net.Dialer{}
	if local.IsValid() {
		d.Control = func(_, _ string, c syscall.RawConn) error { // an earlier connection may rest in TIME-WAIT
			var failed error
			err := c.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) })
			return errors.Join(err, failed)
		}
		switch network {
		case "udp":
			d.LocalAddr = net.UDPAddrFromAddrPort(local)
		default:
			d.LocalAddr = net.TCPAddrFromAddrPort(local)
		}
	}
	err = w.InNet(func() error {
		conn, err = d.DialContext(ctx, network, to)
		return err
	})
	return conn, err
}
