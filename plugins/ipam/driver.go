// Package ipam asks executables for prefixes: drivers that stand between tuplenet and a system that keeps the addresses of an
// organisation. It owns their protocol: one request as JSON on stdin, one answer as JSON on stdout. It is called by the
// command line, on the machine of the operator, as the store's PrefixService. It knows nothing of any such system, and does
// not touch the store.
package ipam

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"tuplenet/model"
)

// DefaultDir is where drivers are: <dir>/<name of the driver>.
const DefaultDir = "/etc/tuplenet/ipam.d"

// DefaultTimeout bounds one request to a driver.
const DefaultTimeout = 10 * time.Second

// maxAnswer bounds what is read of a driver, bytes.
const maxAnswer = 64 << 10

// Version is that of the protocol, in every request.
const Version = 1

// Operation is what a driver is asked to do.
type Operation string

// Operations.
const (
	// Allocate takes a prefix for an owner. The same request for the same owner has the same answer, for an answer may be lost.
	Allocate Operation = "allocate"
	// Release gives a prefix back. One that the system does not know is no error, for the same reason.
	Release Operation = "release"
)

// Request is what a driver reads from stdin.
type Request struct {
	Version   int       `json:"version"`
	Operation Operation `json:"operation"`
	// Pool is the name of the pool, Prefixes are what it consists of; an answer lies in one of them.
	Pool     string         `json:"pool"`
	Prefixes []netip.Prefix `json:"prefixes"`
	// Owner is whom the prefix is for, such as switch/NET.
	Owner string `json:"owner"`
	// Length of the prefix to allocate.
	Length int `json:"length,omitempty"`
	// Subnet to release; in a request to allocate: exactly this one.
	Subnet netip.Prefix `json:"subnet,omitzero"`
}

// Answer is what a driver writes to stdout, with exit code 0. Without an error, or with another exit code, Error or the last
// line on stderr is what the operator reads.
type Answer struct {
	Subnet netip.Prefix `json:"subnet,omitzero"`
	Error  string       `json:"error,omitempty"`
}

// Drivers runs drivers. It is safe for concurrent use.
type Drivers struct {
	// Dir has the executables; empty: DefaultDir.
	Dir string
	// Timeout of a request; 0: DefaultTimeout.
	Timeout time.Duration
}

// Allocate takes a prefix of a pool (store.PrefixService).
func (d *Drivers) Allocate(ctx context.Context, pool *model.Pool, owner string, length int, subnet netip.Prefix) (netip.Prefix, error) {
	a, err := d.ask(ctx, pool, Request{Operation: Allocate, Owner: owner, Length: length, Subnet: subnet})
	if err == nil && !a.Subnet.IsValid() {
		err = fmt.Errorf("driver %s: its answer has no subnet", pool.Driver)
	}
	return a.Subnet, err
}

// Release gives a prefix of a pool back (store.PrefixService).
func (d *Drivers) Release(ctx context.Context, pool *model.Pool, owner string, subnet netip.Prefix) error {
	_, err := d.ask(ctx, pool, Request{Operation: Release, Owner: owner, Subnet: subnet})
	return err
}

// ask runs the driver of a pool once. Every error is one line that names the driver.
func (d *Drivers) ask(ctx context.Context, pool *model.Pool, r Request) (a Answer, err error) {
	dir, timeout := d.Dir, d.Timeout
	if dir == "" {
		dir = DefaultDir
	}
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	r.Version, r.Pool, r.Prefixes = Version, pool.Name, pool.Prefixes
	in, err := json.Marshal(r)
	if err != nil {
		return a, fmt.Errorf("driver %s: %w", pool.Driver, err)
	}
	limit, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	path := filepath.Join(dir, pool.Driver)
	cmd := exec.CommandContext(limit, path)
	var out, errs limited
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(append(in, '\n')), &out, &errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // what it started, too
	cmd.WaitDelay = time.Second
	if err = cmd.Run(); errors.Is(err, exec.ErrWaitDelay) {
		err = nil // it ended well, and left something running that holds its output
	}
	switch {
	case limit.Err() != nil && ctx.Err() == nil:
		return a, fmt.Errorf("driver %s did not answer within %s", pool.Driver, timeout)
	case ctx.Err() != nil:
		return a, context.Cause(ctx)
	case errors.Is(err, os.ErrNotExist):
		return a, fmt.Errorf("driver %s: there is no program %s", pool.Driver, path)
	}
	return read(pool.Driver, out.Bytes(), errs.String(), err)
}

// read makes the answer of what a driver wrote and how it ended.
func read(driver string, out []byte, stderr string, failed error) (a Answer, err error) {
	dec := json.NewDecoder(bytes.NewReader(out))
	dec.DisallowUnknownFields()
	err = dec.Decode(&a)
	if err == nil {
		if _, more := dec.Token(); more != io.EOF {
			err = errors.New("something follows the object")
		}
	}
	switch text := lastLine(stderr); {
	case err == nil && a.Error != "":
		return Answer{}, fmt.Errorf("driver %s: %s", driver, strings.Join(strings.Fields(a.Error), " "))
	case failed != nil && text != "":
		return Answer{}, fmt.Errorf("driver %s: %s", driver, text)
	case failed != nil:
		return Answer{}, fmt.Errorf("driver %s: %w", driver, failed)
	case err != nil:
		return Answer{}, fmt.Errorf("driver %s: its answer is not what the protocol says: %w", driver, err)
	}
	return a, nil
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

// limited keeps the first maxAnswer bytes that are written to it and takes the rest without keeping it.
type limited struct{ bytes.Buffer }

func (l *limited) Write(b []byte) (int, error) {
	if room := maxAnswer - l.Len(); room > 0 {
		l.Buffer.Write(b[:min(len(b), room)])
	}
	return len(b), nil
}
