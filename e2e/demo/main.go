// Command demo plays the tutorial in a lab, with the built programs. Section 1: two hosts, a virtual network, two pings, TCP with checksums
// in both directions over IPv4 and IPv6, and what tpctl lists of it. Sections 2 and 3: an edge, the physical network seen through it, a
// second edge added while pings run, and the loss of one, measured. A table at the end says what worked; if anything did not, it ends with 1.
//
// It owns its lab, named demo, and removes it at the end unless KEEP=1 is in the environment. `make demo` runs it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"tuplenet/e2e/lab"
)

func main() {
	bin := flag.String("bin", "bin", "directory with tpctl and tuplenet")
	name := flag.String("name", "demo", "name of the lab")
	limit := flag.Duration("timeout", 3*time.Minute, "give up after this time")
	edges := flag.Bool("edges", true, "play sections 2 and 3, too")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, *limit)
	defer cancel()
	if err := run(ctx, *name, *bin, *edges, os.Getenv("KEEP") == "1"); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		cancel()
		stop()
		os.Exit(1)
	}
}

// run makes the lab, plays the tutorial in it, and takes it down or leaves it.
func run(ctx context.Context, name, bin string, edges, keep bool) (err error) {
	d := &demo{begin: time.Now(), out: os.Stdout}
	d.step("two hosts, Alice (192.168.1.10) and Bob (192.168.1.11), each with Open vSwitch")
	cfg := lab.TutorialConfig(name, bin, []string{"alice", "bob"})
	if edges {
		d.say("   and two edges, 192.168.1.12 and .13, with a second interface in the physical network")
		cfg = lab.TutorialEdgesConfig(name, bin, lab.TwoNIC, demoEdges)
	}
	l, err := lab.New(ctx, cfg)
	if errors.Is(err, lab.ErrInUse) {
		return fmt.Errorf("%w; `%s/tpctl sandbox down --name %s` removes it", err, bin, name)
	}
	if err != nil {
		return err
	}
	defer func() {
		if keep {
			err = errors.Join(err, l.Detach())
			d.say("the lab stays: `%s/tpctl sandbox exec --name %s alice` is a shell on Alice, `%s/tpctl sandbox down --name %s` removes it", bin, name, bin, name)
			return
		}
		err = errors.Join(err, l.Down())
		d.say("everything removed")
	}()
	d.lab = l
	if err := d.tutorial(ctx); err != nil {
		d.showLogs()
		return err
	}
	if edges {
		if err := d.edges(ctx); err != nil {
			d.showLogs()
			return err
		}
	}
	return d.verdict()
}
