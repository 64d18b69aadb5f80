package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Capture is a running tcpdump.
type Capture struct {
	node *node
	cmd  *exec.Cmd
	done chan struct{}
	said []string // what tcpdump wrote to its standard error; read after done
	err  error    // how it ended; read after done

	// File is the capture on the machine, in pcap format.
	File string
}

// Capture records packets on a device of the host, such as its underlay port; filter is a pcap-filter(7) expression.
func (h *Host) Capture(ctx context.Context, device, filter string) (*Capture, error) {
	return h.capture(ctx, h.name+"-"+device, nil, device, filter)
}

// CaptureUnderlay records what the host sends to and gets from the underlay.
func (h *Host) CaptureUnderlay(ctx context.Context, filter string) (*Capture, error) {
	return h.Capture(ctx, h.underlayDevice(), filter)
}

// Capture records packets on the workload's eth0.
func (w *Workload) Capture(ctx context.Context, filter string) (*Capture, error) {
	return w.Host.capture(ctx, w.Name, w.enter(nil), "eth0", filter)
}

func (n *node) capture(ctx context.Context, name string, enter []string, device, filter string) (*Capture, error) {
	file := filepath.Join(n.lab.dir, "capture-"+name+".pcap")
	args := append(enter, "tcpdump", "-i", device, "-n", "-U", "--immediate-mode", "-s", "0", "-Z", "root", "-w", file)
	if filter != "" {
		args = append(args, filter)
	}
	cmd := n.command(ctx, args)
	messages, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := n.start(cmd); err != nil {
		return nil, fmt.Errorf("capture on %s: %w", name, err)
	}
	c := &Capture{node: n, cmd: cmd, done: make(chan struct{}), File: file}
	listening := make(chan struct{})
	go c.read(messages, listening)
	select {
	case <-listening:
		return c, nil
	case <-c.done:
		return nil, fmt.Errorf("capture on %s: tcpdump ended: %s", name, errors.Join(c.err, errors.New(strings.Join(c.said, "; "))))
	}
}

func (c *Capture) read(messages io.Reader, listening chan struct{}) {
	defer close(c.done)
	for lines := bufio.NewScanner(messages); lines.Scan(); {
		c.said = append(c.said, lines.Text())
		if strings.Contains(lines.Text(), "listening on") && listening != nil {
			close(listening)
			listening = nil
		}
	}
	c.err = c.cmd.Wait()
}

// Text is tcpdump's text of what was recorded so far. The last packet may be half written: that is an error.
func (c *Capture) Text(ctx context.Context) (string, error) {
	return c.node.Exec(ctx, "tcpdump", "-e", "-n", "-v", "-t", "-r", c.File)
}

// Stop ends the recording and returns tcpdump's text of it, one packet a line, with link-level headers. What was on the device before
// is in it.
func (c *Capture) Stop(ctx context.Context) (string, error) {
	if err := c.drained(ctx); err != nil {
		return "", err
	}
	_ = c.cmd.Process.Signal(unix.SIGINT)
	<-c.done
	if c.err != nil {
		return "", fmt.Errorf("tcpdump: %w: %s", c.err, strings.Join(c.said, "; "))
	}
	return c.Text(ctx)
}

// drained waits until tcpdump sleeps: it does when it has written all packets that the kernel had for it, and only then. A signal
// would make it leave them there.
func (c *Capture) drained(ctx context.Context) error {
	ctx, cancel := context.WithDeadline(ctx, deadline(ctx))
	defer cancel()
	return WaitFor(ctx, "tcpdump to have written "+c.File, func() error {
		if f := stat(c.cmd.Process.Pid); f != nil && f[statState] != "S" && f[statState] != "Z" {
			return fmt.Errorf("its state is %s", f[statState])
		}
		return nil
	})
}
