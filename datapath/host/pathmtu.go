package host

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// ErrSilent is returned for a peer that answers no echo request at all.
var ErrSilent = errors.New("no answer to echo requests")

// Of an echo request (RFC 792, RFC 4443): how long its answer may take, and how often it is sent.
const (
	echoPatience = 150 * time.Millisecond
	echoTries    = 2
)

// PathMTU measures the largest IP packet, of at most `most` bytes, that reaches a peer in one piece: the MTU of the way
// there (the answer may come in pieces). It sends echo requests that may not be fragmented; what routers on the way say of their MTU is not relied upon.
// ErrSilent if even the smallest packet is not answered. Safe for concurrent use.
func PathMTU(ctx context.Context, peer netip.Addr, most int) (int, error) {
	e, err := newEchoes(peer)
	if err != nil {
		return 0, fmt.Errorf("measure the way to %s: %w", peer, err)
	}
	defer e.conn.Close()
	answered := func(size int) bool {
		for range echoTries {
			if ctx.Err() == nil && e.ask(size) {
				return true
			}
		}
		return false
	}
	if answered(most) {
		return most, nil
	}
	good, bad := e.header+echoHeader, most
	if !answered(good) {
		return 0, fmt.Errorf("measure the way to %s: %w", peer, errors.Join(ErrSilent, ctx.Err()))
	}
	for bad-good > 1 {
		if mid := (good + bad) / 2; answered(mid) {
			good = mid
		} else {
			bad = mid
		}
	}
	return good, ctx.Err()
}

// echoHeader is the length of an echo message without data.
const echoHeader = 8

// echoes sends echo requests to one peer and reads its answers.
type echoes struct {
	conn            net.Conn
	request, answer byte
	header          int // of IP, bytes
	id, seq         uint16
	v4              bool
}

func newEchoes(peer netip.Addr) (*echoes, error) {
	e := &echoes{request: 128, answer: 129, header: 40, id: uint16(rand.Uint32()), v4: peer.Is4()}
	network, level, option, probe := "ip6:ipv6-icmp", unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE
	if e.v4 {
		e.request, e.answer, e.header = 8, 0, 20
		network, level, option, probe = "ip4:icmp", unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE
	}
	conn, err := net.Dial(network, peer.String())
	if err != nil {
		return nil, err
	}
	raw, err := conn.(*net.IPConn).SyscallConn()
	if err == nil {
		err = errors.Join(raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), level, option, probe) }), err)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	e.conn = conn
	return e, nil
}

// ask sends a request whose IP packet has size bytes, and tells whether it is answered.
func (e *echoes) ask(size int) bool {
	e.seq++
	b := make([]byte, size-e.header)
	b[0] = e.request
	binary.BigEndian.PutUint16(b[4:], e.id)
	binary.BigEndian.PutUint16(b[6:], e.seq)
	if e.v4 { // the kernel does it for IPv6 (RFC 3542 section 3.1)
		binary.BigEndian.PutUint16(b[2:], checksum(b))
	}
	if _, err := e.conn.Write(b); err != nil {
		return false // larger than the device takes, for one
	}
	if e.conn.SetReadDeadline(time.Now().Add(echoPatience)) != nil {
		return false
	}
	in := make([]byte, size)
	for {
		n, err := e.conn.Read(in)
		if err != nil {
			return false
		}
		got := in[:n]
		if e.v4 && n > 0 && got[0]>>4 == 4 { // with the IP header
			got = got[min(n, int(got[0]&15)*4):]
		}
		if len(got) >= echoHeader && got[0] == e.answer && binary.BigEndian.Uint16(got[4:]) == e.id && binary.BigEndian.Uint16(got[6:]) == e.seq {
			return true
		}
	}
}

// checksum of the Internet (RFC 1071).
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
