package cni

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"

	"tuplenet/model"
	"tuplenet/model/store"
	"tuplenet/plugins/plug"
)

// name is that of the plugin in the records of plugged ports and in tags.
const name = "cni"

// ErrAddress is our own code for an address that cannot be given: it, or the whole attachment, is there already. The
// specification leaves codes from 100 on to plugins.
const ErrAddress uint = 100

// Versions are those of the specification that are spoken.
func Versions() version.PluginInfo {
	return version.PluginSupports("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
}

// Funcs are the commands, for skel.PluginMainFuncs. When ctx ends, a command undoes what it did and returns an error. Results
// are written to out.
func Funcs(ctx context.Context, out io.Writer) skel.CNIFuncs {
	command := func(what string, do func(context.Context, *call) error) func(*skel.CmdArgs) error {
		return func(args *skel.CmdArgs) error {
			c, err := newCall(args, out)
			if err != nil {
				return err
			}
			defer c.close()
			limit, cancel := context.WithTimeoutCause(ctx, c.timeout(), fmt.Errorf("not done within %v", c.timeout()))
			defer cancel()
			if err := do(limit, c); err != nil {
				c.log.Error(what+" failed", "err", err)
				return coded(what, err)
			}
			c.log.Info(what + " done")
			return nil
		}
	}
	return skel.CNIFuncs{
		Add: command("ADD", add), Del: command("DEL", del), Check: command("CHECK", check),
		GC: command("GC", gc), Status: command("STATUS", status),
	}
}

// call is one command: its configuration and what it works with.
type call struct {
	*network
	args  *skel.CmdArgs
	out   io.Writer
	log   *slog.Logger
	store *store.Store
	file  *os.File // of the log; nil: none
	// attempt is random, and so tells the ports that this process made from all others.
	attempt string
}

func newCall(args *skel.CmdArgs, out io.Writer) (*call, error) {
	n, err := parse(args)
	if err != nil {
		return nil, err
	}
	c := &call{network: n, args: args, out: out, log: slog.New(slog.DiscardHandler), attempt: rand.Text()}
	if n.LogFile != "" {
		// Opened for each command, in the mode in which lines of several processes do not mix; what rotates it may move it away.
		if c.file, err = os.OpenFile(n.LogFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640); err != nil {
			return nil, types.NewError(types.ErrInvalidNetworkConfig, "invalid network configuration "+n.Name, "log_file: "+err.Error())
		}
		c.log = slog.New(slog.NewTextHandler(c.file, nil)).With("network", n.Name, "container", args.ContainerID, "interface", args.IfName)
	}
	if c.store, err = n.open(); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *call) close() {
	if c.store != nil {
		_ = c.store.Close() // nothing is under way
	}
	if c.file != nil {
		_ = c.file.Close()
	}
}

func (c *call) openHost(ctx context.Context) (*plug.Host, error) {
	return plug.Open(ctx, plug.Config{Socket: c.OVSDB, Bridge: c.Bridge, Logger: c.log})
}

// port is the name of the logical port of the container's interface.
func (c *call) port() string { return "lsp-" + c.args.IfName + "-" + c.args.ContainerID }

// Tags of the logical ports that are made here: who may delete them, and for whom they are.
const (
	tagNetwork   = "cni-network="
	tagChassis   = "cni-chassis="
	tagContainer = "cni-container="
	tagInterface = "cni-interface="
	tagAttempt   = "cni-attempt=" // which process made it
	tagPod       = "pod="
)

// tags of the container's port. Kubernetes tells the name of the pod, which is for people to read.
func (c *call) tags(chassis string) []string {
	tags := []string{name, tagNetwork + c.Name, tagChassis + chassis, tagContainer + c.args.ContainerID, tagInterface + c.args.IfName, tagAttempt + c.attempt}
	var pod struct {
		types.CommonArgs
		K8S_POD_NAMESPACE, K8S_POD_NAME types.UnmarshallableString //nolint:revive // the names are the keys
	}
	pod.IgnoreUnknown = true
	if types.LoadArgs(c.args.Args, &pod) == nil && pod.K8S_POD_NAME != "" {
		tags = append(tags, tagPod+string(pod.K8S_POD_NAMESPACE)+":"+string(pod.K8S_POD_NAME))
	}
	return tags
}

// tagged is the value of a tag of a port; "" if it has none.
func tagged(p *model.LogicalSwitchPort, tag string) string {
	for _, t := range p.Tags {
		if v, ok := strings.CutPrefix(t, tag); ok {
			return v
		}
	}
	return ""
}

// made tells whether a port was made here for a container on a chassis.
func made(p *model.LogicalSwitchPort, chassis string) bool {
	return slices.Contains(p.Tags, name) && tagged(p, tagChassis) == chassis
}

// release deletes the logical port of a container on this chassis, and so gives its address back. One that does not exist, or
// that was made by somebody else, is no error.
func (c *call) release(ctx context.Context, port, chassis string) error {
	ref, err := c.store.PortNamed(ctx, port)
	if err != nil || ref.Kind != model.KindSwitchPort {
		return ignoreNotFound(err)
	}
	p, err := c.store.SwitchPort(ctx, ref.Parent, ref.Name)
	if err != nil {
		return ignoreNotFound(err)
	}
	if !made(p, chassis) {
		c.log.Warn("a port of this name is not ours and stays", "port", port, "tags", p.Tags)
		return nil
	}
	_, err = c.store.DeleteSwitchPort(ctx, ref.Parent, ref.Name)
	return ignoreNotFound(err)
}

func ignoreNotFound(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

// coded makes an error of the specification of any error.
func coded(what string, err error) *types.Error {
	var e *types.Error
	if errors.As(err, &e) {
		return e
	}
	code := types.ErrInternal
	switch {
	case errors.Is(err, plug.ErrNamespace):
		code = types.ErrInvalidNetNS
	case errors.Is(err, store.ErrUnreachable), errors.Is(err, store.ErrExhausted), errors.Is(err, plug.ErrNotReady),
		errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		code = types.ErrTryAgainLater
	case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrInvalid), errors.Is(err, store.ErrDenied):
		code = types.ErrInvalidNetworkConfig
	case errors.Is(err, store.ErrExists), errors.Is(err, store.ErrConflict), errors.Is(err, plug.ErrPlugged):
		code = ErrAddress
	}
	return types.NewError(code, "tpcni "+what+": "+oneLine(err), "")
}

// oneLine joins the lines of errors that were joined.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
