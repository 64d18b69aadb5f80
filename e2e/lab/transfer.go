package lab

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"
)

// TransferReport is what came of a TCP transfer.
type TransferReport struct {
	Bytes    int64
	Duration time.Duration
	SHA256   [32]byte // of what arrived; equal to that of what was sent
}

// Rate in megabits per second.
func (r TransferReport) Rate() float64 {
	return float64(r.Bytes) * 8 / 1e6 / max(r.Duration.Seconds(), 1e-9)
}

// TransferOptions describe a TCP transfer.
type TransferOptions struct {
	// Bytes to send; 0: until Stop is closed.
	Bytes int64
	// Stop ends a transfer without end.
	Stop <-chan struct{}
	// Pace limits the sender to so many bytes a second; 0: no limit.
	Pace int64
	// Port the receiver listens on; default: any.
	Port uint16
}

// Transfer sends bytes by TCP from w to the address `to` of workload receiver, one connection, and compares checksums.
// It ends with an error when ctx ends, saying how much had arrived.
func (w *Workload) Transfer(ctx context.Context, receiver *Workload, to netip.Addr, o TransferOptions) (TransferReport, error) {
	what := fmt.Sprintf("TCP from %s to %s [%s]", w.Name, receiver.Name, to)
	var listener net.Listener
	err := receiver.InNet(func() error {
		var err error
		listener, err = net.Listen("tcp", netip.AddrPortFrom(to, o.Port).String())
		return err
	})
	if err != nil {
		return TransferReport{}, fmt.Errorf("%s: %w", what, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	unblock := context.AfterFunc(ctx, func() { listener.Close() })
	defer unblock()
	defer listener.Close()

	arrived := make(chan received, 1)
	go func() { arrived <- receive(ctx, listener) }()
	start := time.Now()
	sent, sum, sendErr := w.send(ctx, listener.Addr().String(), o)
	if sendErr != nil {
		cancel()
	}
	got := <-arrived
	report := TransferReport{Bytes: got.bytes, Duration: time.Since(start), SHA256: got.sum}
	switch {
	case sendErr != nil || got.err != nil:
		return report, fmt.Errorf("%s: sent %d bytes, %d arrived: %w", what, sent, got.bytes, errors.Join(sendErr, got.err))
	case got.bytes != sent || got.sum != sum:
		return report, fmt.Errorf("%s: sent %d bytes with SHA-256 %x, received %d with %x", what, sent, sum, got.bytes, got.sum)
	}
	return report, nil
}

type received struct {
	bytes int64
	sum   [32]byte
	err   error
}

// receive takes one connection and reads it to its end.
func receive(ctx context.Context, l net.Listener) received {
	conn, err := l.Accept()
	if err != nil {
		return received{err: err}
	}
	defer conn.Close()
	unblock := context.AfterFunc(ctx, func() { conn.Close() })
	defer unblock()
	h := sha256.New()
	n, err := io.Copy(h, conn)
	return received{bytes: n, sum: digest(h), err: err}
}

// send connects from the workload's namespace and sends a stream of random bytes.
func (w *Workload) send(ctx context.Context, to string, o TransferOptions) (int64, [32]byte, error) {
	var conn net.Conn
	err := w.InNet(func() error {
		var err error
		conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", to)
		return err
	})
	if err != nil {
		return 0, [32]byte{}, err
	}
	defer conn.Close()
	unblock := context.AfterFunc(ctx, func() { conn.Close() })
	defer unblock()
	h := sha256.New()
	n, err := pour(conn, h, o)
	if err == nil {
		err = conn.(*net.TCPConn).CloseWrite()
	}
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return n, digest(h), err
}

// pour writes the stream to conn and to the hash.
func pour(conn io.Writer, h hash.Hash, o TransferOptions) (int64, error) {
	// A seed for each stream, so that two streams mixed up are noticed.
	random := rand.NewChaCha8([32]byte{byte(rand.Uint32()), byte(rand.Uint32()), byte(rand.Uint32()), byte(rand.Uint32())})
	chunk := make([]byte, 64<<10)
	start := time.Now()
	var n int64
	for o.Bytes == 0 || n < o.Bytes {
		if stopped(o.Stop) {
			return n, nil
		}
		b := chunk
		if o.Bytes > 0 {
			b = chunk[:min(int64(len(chunk)), o.Bytes-n)]
		}
		if o.Pace > 0 {
			b = b[:min(len(b), 1<<10)]
			ahead := time.Duration(float64(n)/float64(o.Pace)*float64(time.Second)) - time.Since(start)
			select {
			case <-time.After(ahead):
			case <-o.Stop:
				return n, nil
			}
		}
		_, _ = random.Read(b) // never fails
		h.Write(b)
		k, err := conn.Write(b)
		n += int64(k)
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func stopped(stop <-chan struct{}) bool {
	select {
	case <-stop:
		return true
	default:
		return false
	}
}

func digest(h hash.Hash) (sum [32]byte) {
	copy(sum[:], h.Sum(nil))
	return sum
}
