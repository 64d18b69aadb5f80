package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"text/tabwriter"
	"time"

	"tuplenet/e2e/lab"
)

// transferBytes is what each TCP transfer moves.
const transferBytes = 20_000_000

// demo is one run.
type demo struct {
	lab   *lab.Lab
	begin time.Time
	out   io.Writer
	rows  []row
}

// row is a line of the table at the end.
type row struct {
	what, result string
	ok           bool
}

func (d *demo) say(format string, args ...any) {
	fmt.Fprintf(d.out, "%6.2fs  %s\n", time.Since(d.begin).Seconds(), fmt.Sprintf(format, args...))
}

func (d *demo) step(what string) { d.say("== %s", what) }

func (d *demo) typed(host, command string) { d.say("   %s# %s", host, command) }

// tutorial plays the sections. It returns an error when the play cannot go on; failed checks are rows of the table.
func (d *demo) tutorial(ctx context.Context) error {
	alice, bob := d.lab.Host("alice"), d.lab.Host("bob")
	d.step("1.1 etcd on Alice, system-ids in both databases")
	if err := d.lab.StartEtcd(ctx); err != nil {
		return err
	}
	for _, h := range d.lab.Hosts() {
		if err := h.Type(ctx, d.typed, "ovs-vsctl get open_vswitch . external-ids:system-id"); err != nil {
			return err
		}
	}
	d.step("1.2 logical switches, a router, ports and links")
	if err := alice.Type(ctx, d.typed, lab.TutorialNetwork()...); err != nil {
		return err
	}
	d.step("1.3 tuplenet on both hosts")
	for _, h := range []*lab.Host{alice, bob} {
		d.typed(h.Name(), "tuplenet "+strings.Join(lab.TutorialDaemon(), " "))
		if err := h.StartDaemonExactly(ctx, lab.TutorialDaemon()...); err != nil {
			return err
		}
	}
	d.step("1.4 a namespace on each host")
	a, err := d.workload(ctx, alice)
	if err != nil {
		return err
	}
	b, err := d.workload(ctx, bob)
	if err != nil {
		return err
	}
	d.step("1.5 ping")
	d.ping(ctx, a, netip.MustParseAddr("10.20.2.10"))
	d.ping(ctx, b, netip.MustParseAddr("10.20.1.10"))
	d.step("TCP, 20 MB each way, compared by SHA-256")
	d.transfer(ctx, "TCP v4 Alice to Bob", a, b, "10.20.2.10")
	d.transfer(ctx, "TCP v4 Bob to Alice", b, a, "10.20.1.10")
	if err := d.again(ctx, alice, bob); err != nil {
		return err
	}
	return d.listings(ctx, alice)
}

// workload types section 1.4 on a host.
func (d *demo) workload(ctx context.Context, h *lab.Host) (*lab.Workload, error) {
	if err := h.Type(ctx, d.typed, append(lab.TutorialWorkload(h.Name()), lab.TutorialTuning(h.Name())...)...); err != nil {
		return nil, err
	}
	return h.Adopt("ns-" + h.Name())
}

// again does all of it with IPv6, on the same router.
func (d *demo) again(ctx context.Context, alice, bob *lab.Host) error {
	d.step("the same with IPv6")
	if err := alice.Type(ctx, d.typed, lab.TutorialNetworkIPv6()...); err != nil {
		return err
	}
	a, err := alice.AddWorkload(ctx, lab.TutorialIPv6("alice"))
	if err != nil {
		return err
	}
	b, err := bob.AddWorkload(ctx, lab.TutorialIPv6("bob"))
	if err != nil {
		return err
	}
	d.ping(ctx, a, netip.MustParseAddr("2001:db8:20:2::10"))
	d.ping(ctx, b, netip.MustParseAddr("2001:db8:20:1::10"))
	d.transfer(ctx, "TCP v6 Alice to Bob", a, b, "2001:db8:20:2::10")
	d.transfer(ctx, "TCP v6 Bob to Alice", b, a, "2001:db8:20:1::10")
	return nil
}

// ping waits until the flows are there, which takes a moment after the port was plugged in, and then counts.
func (d *demo) ping(ctx context.Context, w *lab.Workload, dst netip.Addr) {
	what := fmt.Sprintf("ping %s from %s", dst, w.Name)
	d.typed(w.Host.Name(), fmt.Sprintf("ip netns exec %s ping %s", w.Name, dst))
	if err := w.Reaches(ctx, dst); err != nil {
		d.row(what, false, "%v", err)
		return
	}
	report, err := w.Ping(ctx, dst, 50*time.Millisecond, 20)
	d.row(what, err == nil && report.Sent == 20 && report.Lost() == 0, "%s", say(report.String(), err))
}

func (d *demo) transfer(ctx context.Context, what string, from, to *lab.Workload, addr string) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	report, err := from.Transfer(ctx, to, netip.MustParseAddr(addr), lab.TransferOptions{Bytes: transferBytes})
	text := fmt.Sprintf("%.0f MB, SHA-256 %x… equal, %.0f Mbit/s", float64(report.Bytes)/1e6, report.SHA256[:4], report.Rate())
	if err != nil {
		text = ""
	}
	d.row(what, err == nil, "%s", say(text, err))
}

func say(text string, err error) string {
	if err != nil {
		return strings.TrimSpace(text + " " + err.Error())
	}
	return text
}

func (d *demo) row(what string, ok bool, format string, args ...any) {
	r := row{what: what, ok: ok, result: fmt.Sprintf(format, args...)}
	d.rows = append(d.rows, r)
	d.say("   %s: %s: %s", r.verdict(), r.what, r.result)
}

func (r row) verdict() string {
	if r.ok {
		return "ok"
	}
	return "FAILED"
}

// listings shows what tpctl lists, and checks that both chassis and the places of the ports are in it.
func (d *demo) listings(ctx context.Context, h *lab.Host) error {
	d.step("what tpctl shows")
	for _, l := range []struct {
		command string
		words   []string
	}{
		{"tpctl ch show", []string{"alice:", "bob:", "192.168.1.10", "192.168.1.11"}},
		{"tpctl lsp show", []string{"lsp-alice:", "lsp-bob:", "chassis: alice", "chassis: bob"}},
	} {
		d.typed(h.Name(), l.command)
		out, err := h.Exec(ctx, strings.Fields(l.command)...)
		if err != nil {
			return err
		}
		for line := range strings.Lines(out) {
			fmt.Fprint(d.out, "           ", line)
		}
		var missing []string
		for _, w := range l.words {
			if !strings.Contains(out, w) {
				missing = append(missing, w)
			}
		}
		result := "both hosts are in it"
		if missing != nil {
			result = fmt.Sprintf("not in it: %q", missing)
		}
		d.row(l.command, missing == nil, "%s", result)
	}
	return nil
}

// verdict prints the table and returns an error if anything in it failed.
func (d *demo) verdict() error {
	fmt.Fprintln(d.out)
	t := tabwriter.NewWriter(d.out, 0, 4, 2, ' ', 0)
	failed := 0
	for _, r := range d.rows {
		fmt.Fprintf(t, "%s\t%s\t%s\n", r.what, r.verdict(), r.result)
		if !r.ok {
			failed++
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(d.out)
	if failed > 0 {
		d.showLogs()
		return fmt.Errorf("%d of %d checks failed", failed, len(d.rows))
	}
	if len(d.rows) == 0 {
		return errors.New("nothing was checked")
	}
	return nil
}

// showLogs prints the ends of the daemons' logs, for whoever wants to know why.
func (d *demo) showLogs() {
	for _, h := range d.lab.Hosts() {
		if p := h.Daemon(); p.PID != 0 {
			fmt.Fprintf(d.out, "--- last lines of tuplenet on %s\n%s\n", h.Name(), p.Tail(15))
		}
	}
}
