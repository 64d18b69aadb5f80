package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os/exec"
	"regexp"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// PingReport is what came of a series of pings.
type PingReport struct {
	Sent, Received int
	// Missing are the sequence numbers, from 1, that got no answer; After is for each when the last answer before it came.
	Missing []int
	After   []time.Time
	// TTL of the first reply.
	TTL int
	// RTT of every reply, in order of arrival.
	RTT []time.Duration
	// Gap is the longest time between two replies, Since when it began.
	Gap   time.Duration
	Since time.Time
}

// Lost is the number of pings without an answer.
func (r PingReport) Lost() int { return r.Sent - r.Received }

func (r PingReport) String() string {
	s := fmt.Sprintf("%d sent, %d received", r.Sent, r.Received)
	if len(r.Missing) > 0 {
		s += fmt.Sprintf(", missing %v", r.Missing[:min(len(r.Missing), 20)])
	}
	return s
}

// Pinger is a running series of pings.
type Pinger struct {
	cmd  *exec.Cmd
	what string
	done chan struct{}

	hasty int // so many pings may be under way when it ends by itself

	// Written by the reader until done is closed.
	report   PingReport
	seen     map[int]time.Time // when the answers came
	last     time.Time
	first    chan struct{} // closed at the first reply
	complete bool          // ping's own summary was read
	fresh    chan struct{} // gets a value, if there is room, at every reply
	cutOff   bool          // stopped while replies came: what was under way then does not count
	noise    string        // its last other line
	err      error         // how it ended
}

var (
	pingReply   = regexp.MustCompile(`icmp_seq=(\d+) (?:ttl|hop limit)=(\d+) time=([0-9.]+) ms`)
	pingTime    = regexp.MustCompile(`^\[(\d+)\.(\d+)\]`)
	pingSummary = regexp.MustCompile(`^(\d+) packets transmitted`)
)

// StartPing pings dst from the workload at an interval until Stop, or count times if count is not 0. The kernel rounds
// intervals from 10 ms up to its own clock; 5 ms is exact.
func (w *Workload) StartPing(ctx context.Context, dst netip.Addr, interval time.Duration, count int) (*Pinger, error) {
	return w.Host.startPing(ctx, w.Name, w.enter(pingCommand(dst, interval, count)), interval)
}

// StartPing pings dst from the host itself, over whatever leads there; see Workload.StartPing.
func (h *Host) StartPing(ctx context.Context, dst netip.Addr, interval time.Duration, count int) (*Pinger, error) {
	return h.startPing(ctx, h.name, pingCommand(dst, interval, count), interval)
}

// pingCommand ends with the destination.
func pingCommand(dst netip.Addr, interval time.Duration, count int) []string {
	args := []string{"ping", "-n", "-D", "-i", strconv.FormatFloat(interval.Seconds(), 'f', -1, 64), "-W", "1"}
	if count > 0 {
		args = append(args, "-c", strconv.Itoa(count))
	}
	return append(args, dst.String())
}

func (h *Host) startPing(ctx context.Context, from string, args []string, interval time.Duration) (*Pinger, error) {
	dst := args[len(args)-1]
	cmd := h.command(ctx, args)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = cmd.Stdout
	if err := h.start(cmd); err != nil {
		return nil, fmt.Errorf("ping from %s: %w", from, err)
	}
	p := &Pinger{
		cmd: cmd, what: fmt.Sprintf("ping from %s to %s", from, dst),
		done: make(chan struct{}), seen: map[int]time.Time{}, first: make(chan struct{}), fresh: make(chan struct{}, 1),
		hasty: int(hastyTime / interval),
	}
	go p.read(out)
	return p, nil
}

func (p *Pinger) read(out io.Reader) {
	defer close(p.done)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		p.line(lines.Text())
	}
	p.err = p.cmd.Wait() // here, so that it is buried also if nobody asks: the host could not end before
}

func (p *Pinger) line(line string) {
	if m := pingSummary.FindStringSubmatch(line); m != nil {
		p.report.Sent, _ = strconv.Atoi(m[1])
		p.complete = true
		return
	}
	m := pingReply.FindStringSubmatch(line)
	if m == nil {
		if line != "" {
			p.noise = line
		}
		return
	}
	seq, _ := strconv.Atoi(m[1])
	if p.answered(seq) {
		return // a duplicate
	}
	now := time.Now()
	p.report.Received++
	if ms, err := strconv.ParseFloat(m[3], 64); err == nil {
		p.report.RTT = append(p.report.RTT, time.Duration(ms*float64(time.Millisecond)))
	}
	if t := pingTime.FindStringSubmatch(line); t != nil {
		sec, _ := strconv.ParseInt(t[1], 10, 64)
		usec, _ := strconv.ParseInt((t[2] + "000000")[:6], 10, 64)
		now = time.Unix(sec, usec*1000)
		if !p.last.IsZero() {
			if gap := now.Sub(p.last); gap > p.report.Gap {
				p.report.Gap, p.report.Since = gap, p.last
			}
		}
		p.last = now
	}
	p.seen[seq] = now
	select {
	case p.fresh <- struct{}{}:
	default:
	}
	if p.report.Received == 1 {
		p.report.TTL, _ = strconv.Atoi(m[2])
		close(p.first)
	}
}

func (p *Pinger) answered(seq int) bool {
	_, ok := p.seen[seq]
	return ok
}

// Answered waits for the first reply.
func (p *Pinger) Answered(ctx context.Context) error {
	select {
	case <-p.first:
		return nil
	case <-p.done:
		return fmt.Errorf("%s: no reply: %s", p.what, p.noise)
	case <-ctx.Done():
		return fmt.Errorf("%s: no reply: %w", p.what, context.Cause(ctx))
	}
}

// hastyTime is what ping(8) may be too early at its end: having had replies, it waits for the last ones only as long as two of the others
// took, and on a busy machine a switch may not run for longer than that. Pings of this time before the end do not count as sent if
// they and all after them have no reply.
const hastyTime = 300 * time.Millisecond

// Stop ends the series, if it still runs, and reports on it. It waits a moment for one more reply; if that comes, pings
// that were under way when the series was ended do not count as sent.
func (p *Pinger) Stop() (PingReport, error) {
	select {
	case <-p.fresh: // an old one
	default:
	}
	select {
	case <-p.fresh:
		p.cutOff = true
	case <-p.done:
	case <-time.After(time.Second):
	}
	_ = p.cmd.Process.Signal(unix.SIGINT) // prints the summary; may have ended already
	return p.Wait()
}

// Wait waits for the end of a series and reports on it. Lost pings are no error.
func (p *Pinger) Wait() (PingReport, error) {
	<-p.done
	if !p.complete {
		return p.report, fmt.Errorf("%s: %w", p.what, errors.Join(p.err, errors.New(p.noise)))
	}
	if p.report.Received > 0 && p.report.Sent > 0 && !p.cutOff {
		underWay := 0
		for !p.answered(p.report.Sent - underWay) {
			underWay++
		}
		p.cutOff = underWay <= p.hasty
	}
	for p.cutOff && p.report.Sent > 0 && !p.answered(p.report.Sent) {
		p.report.Sent--
	}
	var last time.Time
	for seq := 1; seq <= p.report.Sent; seq++ {
		if at, ok := p.seen[seq]; ok {
			last = at
			continue
		}
		p.report.Missing, p.report.After = append(p.report.Missing, seq), append(p.report.After, last)
	}
	return p.report, nil
}

// Ping sends count pings from the workload and reports on them. Lost pings are no error.
func (w *Workload) Ping(ctx context.Context, dst netip.Addr, interval time.Duration, count int) (PingReport, error) {
	p, err := w.StartPing(ctx, dst, interval, count)
	if err != nil {
		return PingReport{}, err
	}
	return p.Wait()
}

// Reaches waits until dst answers a ping from the workload.
func (w *Workload) Reaches(ctx context.Context, dst netip.Addr) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p, err := w.StartPing(ctx, dst, 50*time.Millisecond, 0)
	if err != nil {
		return err
	}
	ended, stop := context.WithDeadline(ctx, deadline(ctx))
	defer stop()
	answered := p.Answered(ended)
	_, err = p.Stop()
	if answered != nil {
		return answered
	}
	return err
}
