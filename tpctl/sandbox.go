package tpctl

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tuplenet/e2e/lab"
)

// sandboxHosts are the names of the hosts; further ones are host3, host4 …
var sandboxHosts = []string{"alice", "bob"}

const (
	maxSandboxHosts     = 32
	maxSandboxEdges     = 4
	maxHostsBesideEdges = 4 // the addresses of all must not meet those of the edges in the physical network

	sandboxUpDeadline = 3 * time.Minute
	defaultSandbox    = "sandbox"
)

// exitStatus is the code that a command run for the user ended with. It becomes that of tpctl, without a word.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// sandbox is one call of a sandbox command.
type sandbox struct {
	*app
	name string
}

// newSandboxCommand makes the commands of the sandbox: hosts with the real programs, in namespaces of this machine.
func newSandboxCommand(a *app) *cobra.Command {
	s := &sandbox{app: a}
	c := noun("sandbox", "Run hosts with a virtual network on this machine, to play with",
		s.upCommand(), s.statusCommand(), s.execCommand(), s.restartCommand(), s.podsCommand(), s.downCommand(), s.etcdCommand(), s.serveCommand())
	c.Long = `A sandbox is a small fleet of hosts on this machine, each in namespaces of its own with its own Open vSwitch and node
daemon, and an etcd on the first host. It runs the programs that lie beside tpctl. Nothing of the machine's own network
is touched, and everything is gone after "tpctl sandbox down". Root is needed, and Open vSwitch must be installed.

The hosts are alice (192.168.1.10), bob (192.168.1.11), host3 …, then edge1, edge2 … On them, ovs-vsctl, ip netns, tpctl and the
like do what they do on a real host. With edges there is a physical network, too: its router 192.168.1.1, a server
192.168.1.250, and behind the router a host called far, 198.51.100.10, which also answers for 198.18.0.0/15. Both serve HTTP.`
	c.PersistentFlags().StringVar(&s.name, "name", defaultSandbox, "`name` of the sandbox; several can run side by side")
	return c
}

// sandboxPlan is what "up" is to make.
type sandboxPlan struct {
	hosts, edges     int
	tutorial, oneNIC bool
	underlay, bin    string
}

func (s *sandbox) upCommand() *cobra.Command {
	var p sandboxPlan
	c := &cobra.Command{
		Use: "up", Short: "Start a sandbox and leave it running", DisableAutoGenTag: true,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := p.config(s.name)
			if err != nil {
				return err
			}
			return s.up(cmd.Context(), cfg, p.tutorial)
		},
	}
	c.Flags().IntVar(&p.hosts, "hosts", 2, "`number` of hosts that are no edges")
	c.Flags().IntVar(&p.edges, "edges", 0, "`number` of edges, hosts with a leg in a physical network")
	c.Flags().BoolVar(&p.oneNIC, "one-nic", false, "edges have one interface for tunnels and physical network, as all hosts are in that")
	c.Flags().BoolVar(&p.tutorial, "tutorial", false, "make the tutorial's network too: switches, router, ports and a workload on alice and bob; with edges, the way outside")
	c.Flags().StringVar(&p.underlay, "underlay", string(lab.UnderlayIPv4), "addresses of the hosts: `v4|v6|dual`")
	c.Flags().StringVar(&p.bin, "bin", "", "`directory` with the programs (default: that of tpctl)")
	return c
}

// config checks the plan and turns it into that of a lab.
func (p sandboxPlan) config(name string) (lab.Config, error) {
	if p.hosts < 1 || p.hosts > maxSandboxHosts || (p.tutorial && p.hosts < len(sandboxHosts)) {
		return lab.Config{}, usagef("%d hosts: 1 to %d are possible, the tutorial needs 2", p.hosts, maxSandboxHosts)
	}
	if p.edges < 0 || p.edges > maxSandboxEdges || p.edges > 0 && p.hosts > maxHostsBesideEdges {
		return lab.Config{}, usagef("%d edges: 0 to %d are possible, beside at most %d hosts", p.edges, maxSandboxEdges, maxHostsBesideEdges)
	}
	bin := p.bin
	if bin == "" {
		self, err := os.Executable()
		if err != nil {
			return lab.Config{}, fmt.Errorf("find the programs beside tpctl: %w", err)
		}
		bin = filepath.Dir(self)
	}
	layout := lab.TwoNIC
	if p.oneNIC {
		layout = lab.OneNIC
	}
	edges := lab.TutorialEdgesConfig(name, bin, layout, p.edges)
	cfg := lab.TutorialConfig(name, bin, sandboxHostNames(p.hosts))
	for _, e := range edges.Edges {
		cfg.Hosts, cfg.Edges = append(cfg.Hosts, e.Host), append(cfg.Edges, e)
	}
	cfg.Underlay = lab.Underlay(p.underlay)
	return cfg, nil
}

// noArguments refuses arguments in the words of the other commands.
func noArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("no parameters required")
	}
	return nil
}

func sandboxHostNames(n int) []string {
	var names []string
	for i := range n {
		name := fmt.Sprintf("host%d", i+1)
		if i < len(sandboxHosts) {
			name = sandboxHosts[i]
		}
		names = append(names, name)
	}
	return names
}

// up makes the lab and leaves it, or leaves nothing.
func (s *sandbox) up(ctx context.Context, cfg lab.Config, tutorial bool) (err error) {
	if cfg.Underlay != lab.UnderlayIPv4 && cfg.Underlay != lab.UnderlayIPv6 && cfg.Underlay != lab.UnderlayDual {
		return usagef("invalid underlay %q, expected v4, v6 or dual", cfg.Underlay)
	}
	ctx, cancel := context.WithTimeout(ctx, sandboxUpDeadline)
	defer cancel()
	l, err := lab.New(ctx, cfg)
	if errors.Is(err, lab.ErrInUse) {
		return fmt.Errorf("%w, see \"tpctl sandbox status --name %s\" and \"tpctl sandbox down --name %s\"", err, s.name, s.name)
	}
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Down())
		}
	}()
	if err := l.StartEtcd(ctx); err != nil {
		return err
	}
	for _, h := range l.Hosts() {
		if err := h.StartDaemon(ctx, edgeVariables(cfg, h.Name())...); err != nil {
			return err
		}
		fmt.Fprintf(s.env.Stdout, "%s is up: %v\n", h.Name(), h.Addrs())
	}
	if out := l.Outside(); out != nil {
		if err := out.StartServers(ctx); err != nil {
			return err
		}
	}
	if tutorial {
		if err := s.playTutorial(ctx, l, cfg.Edges); err != nil {
			return err
		}
	}
	if err := l.Detach(); err != nil {
		return err
	}
	fmt.Fprintf(s.env.Stdout, "sandbox %s is up; a shell on a host: tpctl sandbox exec --name %s alice\n", s.name, s.name)
	return nil
}

// edgeVariables are the environment variables of a host's daemon: those of an edge, if it is one.
func edgeVariables(cfg lab.Config, host string) []string {
	if slices.ContainsFunc(cfg.Edges, func(e lab.Edge) bool { return e.Host == host }) {
		return []string{"ONDEMAND=0", "GATEWAY=1"}
	}
	return nil
}

// playTutorial types the tutorial's sections 1.2 and 1.4, and 2 and 3 for the edges, and waits until the workloads reach each other
// and the outside.
func (s *sandbox) playTutorial(ctx context.Context, l *lab.Lab, edges []lab.Edge) error {
	tell := func(host, command string) { fmt.Fprintf(s.env.Stdout, "%s# %s\n", host, command) }
	alice, bob := l.Host("alice"), l.Host("bob")
	if err := alice.Type(ctx, tell, lab.TutorialNetwork()...); err != nil {
		return err
	}
	for _, h := range []*lab.Host{alice, bob} {
		commands := append(lab.TutorialWorkload(h.Name()), lab.TutorialTuning(h.Name())...)
		if err := h.Type(ctx, tell, commands...); err != nil {
			return err
		}
		if _, err := h.Adopt("ns-" + h.Name()); err != nil {
			return err
		}
	}
	for i, e := range edges {
		for _, typed := range []struct {
			on       *lab.Host
			commands []string
		}{{l.Host(e.Host), append(lab.TutorialEdgeBridge(e.Layout), lab.TutorialEdgePatch(i+1)...)}, {alice, lab.TutorialEdgeNetwork(i + 1)}} {
			if err := typed.on.Type(ctx, tell, typed.commands...); err != nil {
				return err
			}
		}
	}
	a := l.Workload("ns-alice")
	if out := l.Outside(); out != nil {
		if err := a.Reaches(ctx, out.Far.Addrs()[0]); err != nil {
			return err
		}
	}
	return a.Reaches(ctx, netip.MustParseAddr("10.20.2.10"))
}

// open finds the sandbox.
func (s *sandbox) open() (*lab.Lab, error) {
	l, err := lab.Open("", s.name)
	if errors.Is(err, lab.ErrNoLab) {
		return nil, notFound{fmt.Sprintf("sandbox %s not found, \"tpctl sandbox up\" starts one", s.name)}
	}
	return l, err
}

// notFound is an error about something that is not in the store but does not exist either.
type notFound struct{ text string }

func (e notFound) Error() string { return e.text }

// sandboxView is the status of a sandbox in json and yaml.
type sandboxView struct {
	Name      string               `json:"name"`
	Directory string               `json:"directory"`
	Endpoints []string             `json:"endpoints"`
	Hosts     []sandboxHostView    `json:"hosts"`
	Workloads []lab.WorkloadInfo   `json:"workloads,omitempty"`
	Processes []sandboxProcessView `json:"processes"`
}

type sandboxHostView struct {
	Name string       `json:"name"`
	IPs  []netip.Addr `json:"ips"`
}

type sandboxProcessView struct {
	Name    string `json:"name"`
	Host    string `json:"host"`
	PID     int    `json:"pid"`
	Running bool   `json:"running"`
	Log     string `json:"log"`
}

func (s *sandbox) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show the hosts, workloads and processes of a sandbox", DisableAutoGenTag: true,
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error {
			set, err := resolveSettings(s.flags, s.env)
			if err != nil {
				return err
			}
			l, err := s.open()
			if err != nil {
				return err
			}
			v := viewSandbox(l)
			if set.Output.structured() {
				return writeDocument(s.env.Stdout, set.Output, v)
			}
			return v.listing().writeTable(s.env.Stdout)
		},
	}
}

func viewSandbox(l *lab.Lab) sandboxView {
	v := sandboxView{Name: l.Name(), Directory: l.Dir(), Endpoints: l.Endpoints(), Workloads: l.Workloads()}
	for _, h := range l.Hosts() {
		v.Hosts = append(v.Hosts, sandboxHostView{Name: h.Name(), IPs: h.Addrs()})
	}
	for _, p := range l.Processes() {
		v.Processes = append(v.Processes, sandboxProcessView{Name: p.Name, Host: p.Node, PID: p.PID, Running: p.Alive(), Log: p.Log})
	}
	return v
}

// listing shows a host, workload or process a line.
func (v sandboxView) listing() listing {
	l := listing{columns: []string{"KIND", "NAME", "HOST", "STATE", "WHERE"}}
	for _, h := range v.Hosts {
		l.entries = append(l.entries, entry{cells: []string{"host", h.Name, "", "", fmt.Sprint(h.IPs)}})
	}
	for _, w := range v.Workloads {
		l.entries = append(l.entries, entry{cells: []string{"workload", w.Name, w.Host, "", ""}})
	}
	for _, p := range v.Processes {
		state := "running"
		if !p.Running {
			state = "ended"
		}
		l.entries = append(l.entries, entry{cells: []string{"process", p.Name, p.Host, state, fmt.Sprintf("pid %d, %s", p.PID, p.Log)}})
	}
	return l
}

func (s *sandbox) execCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "exec HOST|WORKLOAD [--] [COMMAND [ARGUMENT]...]", Short: "Run a command, by default a shell, on a host or in a workload", DisableAutoGenTag: true,
		Long: `Run a command, by default a shell, on a host or in a workload; with edges also on router, server and far, the stations of the
physical network.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("require a host or a workload, and optionally a command")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			where, command := args[0], args[1:]
			if len(command) > 0 && command[0] == "--" {
				command = command[1:]
			}
			if len(command) == 0 {
				command = []string{shell()}
			}
			return s.exec(cmd.Context(), where, command)
		},
	}
	c.Flags().SetInterspersed(false) // what follows the name belongs to the command
	return c
}

// shell is the shell of someone who names none. bash copes with a terminal whose processes are in another namespace,
// simpler shells complain when they end.
func shell() string {
	if _, err := os.Stat("/bin/bash"); err == nil {
		return "/bin/bash"
	}
	return "/bin/sh"
}

// place is where a command can be run: a host or a workload.
type place interface {
	ExecWith(ctx context.Context, s lab.Streams, args ...string) error
}

// find is the host, workload or station outside of that name; nil if there is none.
func find(l *lab.Lab, name string) place {
	if h := l.Host(name); h != nil {
		return h
	}
	if w := l.Workload(name); w != nil {
		return w
	}
	if out := l.Outside(); out != nil {
		for _, w := range out.Stations() {
			if w.Name == name {
				return w
			}
		}
	}
	return nil
}

func (s *sandbox) exec(ctx context.Context, where string, command []string) error {
	l, err := s.open()
	if err != nil {
		return err
	}
	p := find(l, where)
	if p == nil {
		return notFound{fmt.Sprintf("host or workload %s not found in sandbox %s", where, s.name)}
	}
	err = p.ExecWith(ctx, lab.Streams{In: s.env.Stdin, Out: s.env.Stdout, Err: s.env.Stderr}, command...)
	var ended *exec.ExitError
	if errors.As(err, &ended) && ended.ExitCode() >= 0 {
		return exitStatus(ended.ExitCode())
	}
	return err
}

func (s *sandbox) restartCommand() *cobra.Command {
	return &cobra.Command{
		Use: "restart HOST [NAME=VALUE]...", Short: "Restart the daemon of a host, with other environment variables", DisableAutoGenTag: true,
		Long: `Restart the daemon of a host. NAME=VALUE are environment variables for it, such as ENABLE_UNTUNNEL=1; those of an edge are set
on edges, and earlier ones are forgotten.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 || slices.ContainsFunc(args[1:], func(a string) bool { return !strings.Contains(a, "=") }) {
				return usagef("require a host and optionally environment variables NAME=VALUE")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := s.open()
			if err != nil {
				return err
			}
			h := l.Host(args[0])
			if h == nil {
				return notFound{fmt.Sprintf("host %s not found in sandbox %s", args[0], s.name)}
			}
			if h.Daemon().Alive() {
				if err := h.StopDaemon(cmd.Context()); err != nil {
					return err
				}
			}
			if err := h.StartDaemon(cmd.Context(), append(edgeVariables(l.Config(), h.Name()), args[1:]...)...); err != nil {
				return err
			}
			_, err = fmt.Fprintf(s.env.Stdout, "tuplenet on %s restarted\n", h.Name())
			return err
		},
	}
}

func (s *sandbox) downCommand() *cobra.Command {
	return &cobra.Command{
		Use: "down", Short: "End a sandbox and remove everything of it", DisableAutoGenTag: true,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := s.open(); err != nil {
				var none notFound
				if errors.As(err, &none) {
					return err
				} // anything else, such as a damaged state file, is what down is for
			}
			if err := lab.Remove(cmd.Context(), "", s.name); err != nil {
				return err
			}
			_, err := fmt.Fprintf(s.env.Stdout, "sandbox %s removed\n", s.name)
			return err
		},
	}
}
