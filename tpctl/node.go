package tpctl

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tuplenet/model"
	"tuplenet/model/store"
)

// nodePatience is how long a node may take to answer if nothing else bounds it: a dump of a large switch takes seconds.
const nodePatience = 20 * time.Second

// askNode asks a chassis for its own truth and fills out with what it says: on the daemon's socket if the chassis is this
// machine's and the socket may be used, else through the store. An error of the node says which one it is from.
func askNode(ctx context.Context, env Env, st *store.Store, chassis, command string, args map[string]string, out any) error {
	ctx, cancel := context.WithTimeout(ctx, nodePatience)
	defer cancel()
	req := model.NodeRequest{Command: command, Args: args, Chassis: chassis}
	answer, err := askHere(ctx, env, req)
	if errors.Is(err, errNotHere) {
		answer, err = st.Ask(ctx, chassis, req)
	}
	if err != nil {
		return err
	}
	if answer.Error != "" {
		return fmt.Errorf("chassis %s: %s: %s", answer.Chassis, command, answer.Error)
	}
	if err := json.Unmarshal(answer.Body, out); err != nil {
		return fmt.Errorf("read what chassis %s says to %s: %w", answer.Chassis, command, err)
	}
	return nil
}

// errNotHere says that the chassis is not that of this machine, or that its daemon cannot be asked directly.
var errNotHere = errors.New("the daemon of this machine is not the one")

// askHere asks the daemon of this machine.
func askHere(ctx context.Context, env Env, req model.NodeRequest) (a model.NodeAnswer, err error) {
	socket := filepath.Join(cmp.Or(env.Getenv("TUPLENET_RUNDIR"), model.DefaultRunDir), model.AdminSocket)
	if _, err := os.Stat(socket); err != nil {
		return a, errNotHere
	}
	question, err := json.Marshal(req)
	if err != nil {
		return a, fmt.Errorf("write a question as JSON: %w", err)
	}
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	hr, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://node/v1/"+req.Command, bytes.NewReader(question))
	if err != nil {
		return a, err
	}
	hr.Header.Set("Content-Type", "application/json")
	resp, err := transport.RoundTrip(hr)
	if err != nil {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return a, fmt.Errorf("the daemon of this machine does not answer on %s: %w", socket, store.ErrNotLive)
		}
		return a, errNotHere // it does not run, or we may not: the store tells
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusMisdirectedRequest {
		return a, errNotHere
	}
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		return a, fmt.Errorf("read the answer of %s: %w", socket, err)
	}
	return a, nil
}

// nodeCommand is node: questions to a daemon, as it understands them.
func (a *app) nodeCommand() *cobra.Command {
	c := a.command(verb{
		use: "node CHASSIS COMMAND [KEY=VALUE]…", short: "Ask the daemon of a chassis directly",
		long: `Ask the daemon of a chassis for its own truth and print the answer as JSON (or YAML with -o yaml). Commands:

  flows [table=T] [owner=O] [rule=R]     flows in the switch with rule, owner and counters
  drops [owner=O]                        what the drop rules counted
  groups                                 groups in the switch
  ports                                  interfaces of Open vSwitch
  ofproto-trace flow=F [packet=HEX] [bridge=B]
                                         how the switch would treat a packet, see ofproto/trace in ovs-vswitchd(8)
  trace-facts                            what the node knows beside the store, for "tpctl trace"
  health                                 the daemon: revisions, problems, counts, audit
  audit                                  what reading back the switch found
  inspect                                the host: MTU, offload, kernel parameters, certificates, clock

An owner is a feature and an object, feature/object; any parts of it in a row are enough. On the chassis' own machine the
daemon's socket is asked, from elsewhere the question goes through the store.`,
		min: 2, max: 64, wrong: "require a chassis, a command and optionally arguments as KEY=VALUE",
		complete: completeAt(chassisNames),
		run: func(cmd *cobra.Command, args []string) error {
			set, err := resolveSettings(a.flags, a.env)
			if err != nil {
				return err
			}
			with, err := keyValues(args[2:])
			if err != nil {
				return err
			}
			st, err := open(set)
			if err != nil {
				return err
			}
			defer st.Close()
			var body any
			if err := askNode(cmd.Context(), a.env, st, args[0], args[1], with, &body); err != nil {
				return err
			}
			if text, ok := body.(string); ok && !set.Output.structured() {
				fmt.Fprintln(a.env.Stdout, strings.TrimRight(text, "\n"))
				return nil
			}
			if !set.Output.structured() {
				set.Output = formatJSON
			}
			return writeDocument(a.env.Stdout, set.Output, body)
		},
	})
	c.AddCommand(a.tapCommand())
	return c
}

// keyValues reads arguments of the form KEY=VALUE.
func keyValues(args []string) (map[string]string, error) {
	out := map[string]string{}
	for _, arg := range args {
		k, v, ok := strings.Cut(arg, "=")
		if !ok || k == "" {
			return nil, usagef("argument %q is not KEY=VALUE", arg)
		}
		out[k] = v
	}
	return out, nil
}
