//go:build integration

package e2e_test

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tuplenet/e2e/lab"
)

// wireTap is what stations say to each other in experimental frames.
type wireTap struct {
	*fleet
	fds  map[*lab.Workload]int
	macs map[*lab.Workload]string
	said int
}

const everybodyMAC = "ff:ff:ff:ff:ff:ff"

func (x *wireTap) say(from *lab.Workload, dst, src, payload string) {
	x.t.Helper()
	var frame []byte
	for _, text := range []string{dst, src} {
		mac, err := net.ParseMAC(text)
		x.check(err)
		frame = append(frame, mac...)
	}
	frame = append(frame, etherExperimental>>8, etherExperimental&0xff)
	_, err := unix.Write(x.fds[from], fmt.Appendf(frame, "%-46s", payload))
	x.check(err)
}

// hear tells who gets a frame. A frame for everybody follows it from the same sender: who has heard that one and not the other, does not
// get the other.
func (x *wireTap) hear(from *lab.Workload, dst, src string) (got []string) {
	x.t.Helper()
	x.eventually("who hears a frame to "+dst, func() error {
		x.said++
		payload, end := fmt.Sprintf("frame %d.", x.said), fmt.Sprintf("end of %d.", x.said)
		x.say(from, dst, src, payload)
		x.say(from, everybodyMAC, x.macs[from], end)
		got = nil
		for w, fd := range x.fds {
			if w == from {
				continue
			}
			for buf := make([]byte, 2048); ; {
				n, _, err := unix.Recvfrom(fd, buf, 0)
				if err != nil {
					return fmt.Errorf("%s did not hear the end: %w", w.Name, err)
				}
				if text := string(buf[14:n]); strings.HasPrefix(text, end) {
					break
				} else if strings.HasPrefix(text, payload) {
					got = append(got, w.Name)
				}
			}
		}
		slices.Sort(got)
		return nil
	})
	return got
}

func (x *wireTap) expect(what string, from *lab.Workload, dst string, want ...string) {
	x.t.Helper()
	x.eventually(what, func() error {
		if got := x.hear(from, dst, x.macs[from]); !slices.Equal(got, want) {
			return fmt.Errorf("a frame of %s to %s is heard by %v, want %v", from.Name, dst, got, want)
		}
		return nil
	})
}

// learnt is what the switch of a host has learnt.
func (x *wireTap) learnt(h *lab.Host) string {
	x.t.Helper()
	out, err := h.Exec(x.ctx, "ovs-ofctl", "-O", "OpenFlow15", "dump-flows", "br-int", "table=17")
	x.check(err)
	return out
}

// Behind ports without declared addresses are stations that nobody has told of: bridges, machines in machines. Frames for one
// go to all such ports until it is heard, then to it, wherever it is; and to where it is heard next. The MACs of other ports can
// not be claimed. Nobody can fill the network with what is for everybody.
func TestU18_MACsAreLearntWherePortsHaveNoDeclaredAddressAndStormsAreBounded(t *testing.T) {
	t.Parallel()
	f := newFleet(t, lab.Config{Name: "l2-learn"})
	f.tpctl("ls add WIRE")
	f.tpctl("lsp add WIRE fixed - f2:01:00:00:00:44")
	x := &wireTap{fleet: f, fds: map[*lab.Workload]int{}, macs: map[*lab.Workload]string{}}
	station := func(host int, port, mac, ip string) *lab.Workload {
		if port != "fixed" {
			f.tpctl("lsp add WIRE " + port + " --port-security off")
		}
		w := f.workload(f.Hosts()[host], port, port, mac, "", "", ip)
		x.fds[w], x.macs[w] = openPackets(t, w), mac
		return w
	}
	left, third := station(0, "left", "f2:aa:00:00:00:01", "10.9.0.1/24"), station(0, "third", "f2:aa:00:00:00:03", "10.9.0.3/24")
	right, fixed := station(1, "right", "f2:aa:00:00:00:02", "10.9.0.2/24"), station(1, "fixed", "f2:01:00:00:00:44", "10.9.0.4/24")
	f.reach(left, right.Addrs()[0])
	f.transfer(left, right, right.Addrs()[0], 2e6)
	f.reach(third, fixed.Addrs()[0])

	const nested = "f2:bb:00:00:00:01" // a station behind one of the ports
	x.expect("a MAC that was never heard", left, nested, "right", "third")
	x.hear(right, everybodyMAC, nested)
	x.expect("a MAC that was heard on the other host", left, nested, "right")
	x.expect("a MAC that was heard on the other host, from another port", third, nested, "right")
	x.expect("a MAC that was heard on this host, not back to it", right, nested)
	x.hear(third, everybodyMAC, nested)
	x.expect("a MAC that has moved here", left, nested, "third")
	x.expect("a MAC that has moved away", right, nested, "third")

	if got := x.hear(third, everybodyMAC, x.macs[fixed]); got != nil {
		t.Errorf("%v heard a frame with the MAC of another port", got)
	}
	x.expect("a declared MAC that another port has claimed", left, x.macs[fixed], "fixed")

	f.check(f.Hosts()[0].KillDaemon(f.ctx))
	f.daemon(f.Hosts()[0])
	x.expect("a MAC that was learnt before the daemon restarted", left, nested, "third")
	f.tpctl("lsp set WIRE third --port-security on --wait=30s")
	f.eventually("the end of what was learnt from a port", func() error {
		if out := x.learnt(f.Hosts()[0]); strings.Contains(out, nested) {
			return fmt.Errorf("there is\n%s", out)
		}
		return nil
	})
	x.storm(left, right)
}

// storm sends broadcasts as fast as it can, and counts how many arrive.
func (x *wireTap) storm(from, to *lab.Workload) {
	x.t.Helper()
	const rate, burst = 1000, 1000
	var arrived atomic.Int64
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for buf := make([]byte, 2048); ; {
			n, _, err := unix.Recvfrom(x.fds[to], buf, 0)
			switch text := string(buf[14:max(n, 14)]); {
			case err != nil: // nothing for a while
				return
			case strings.HasPrefix(text, "storm"):
				arrived.Add(1)
			}
		}
	}()
	begin, sent := time.Now(), 0
	x.eventually("the meter that drops a storm", func() error {
		pace := time.NewTicker(time.Millisecond) // what comes at once does not fit into the sockets of the switch, and never meets the meter
		defer pace.Stop()
		for range 200 {
			for range 20 {
				x.say(from, everybodyMAC, x.macs[from], "storm")
			}
			<-pace.C
		}
		sent += 4000
		out, err := from.Host.Exec(x.ctx, "ovs-ofctl", "-O", "OpenFlow15", "meter-stats", "br-int")
		for _, m := range dropped.FindAllStringSubmatch(out, -1) {
			if n, _ := strconv.Atoi(m[1]); n >= 2*burst {
				return nil
			}
		}
		return errors.Join(err, fmt.Errorf("of %d frames it has dropped few:\n%s", sent, out))
	})
	<-ended
	most := burst + int(rate*time.Since(begin).Seconds())
	if n := int(arrived.Load()); n == 0 || n > most+most/2 {
		x.t.Errorf("of %d broadcasts in %v, %d arrived, expected at most %d", sent, time.Since(begin), n, most)
	}
}

// dropped is how many packets a meter of a port has dropped.
var dropped = regexp.MustCompile(`meter:131\d+ .*\n\s*0: packet_count:(\d+)`)
