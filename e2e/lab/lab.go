package lab

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync"
	"time"
)

// Lab is a running lab.
type Lab struct {
	cfg     Config
	dir     string
	wire    *wire
	outside *Outside // nil without edges
	hosts   []*Host

	mu        sync.Mutex // guards what follows
	state     *state
	workloads map[string]*Workload
	children  sync.WaitGroup // processes that this program must wait for
}

// New makes a lab: hosts with Open vSwitch running and addresses that reach one another; no etcd and no daemon yet.
// What a killed lab of the same name left behind is removed first; a living one is ErrInUse.
func New(ctx context.Context, cfg Config) (*Lab, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*settle)
	defer cancel()
	s, err := claim(ctx, cfg)
	if err != nil {
		return nil, err
	}
	l := &Lab{cfg: cfg, dir: cfg.path(), state: s, workloads: map[string]*Workload{}}
	if err := l.build(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("lab %s: %w", cfg.Name, err), l.Down())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s.Complete = true
	return l, s.write(l.dir)
}

// build makes the wire and the outside world, and then the hosts, side by side.
func (l *Lab) build(ctx context.Context) error {
	w, err := newWire(ctx, l)
	if err != nil {
		return err
	}
	l.wire = w
	if len(l.cfg.Edges) > 0 {
		if l.outside, err = newOutside(ctx, l); err != nil {
			return err
		}
	}
	l.hosts = make([]*Host, len(l.cfg.Hosts))
	errs := make([]error, len(l.cfg.Hosts))
	var all sync.WaitGroup
	for i, name := range l.cfg.Hosts {
		all.Go(func() { l.hosts[i], errs[i] = newHost(ctx, l, i, name) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// Open returns the handle of a lab that another program made and left running.
func Open(dir, name string) (*Lab, error) {
	path := labPath(dir, name)
	s, err := readState(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", name, ErrNoLab)
	}
	if err != nil {
		return nil, err
	}
	cfg, err := s.config(dir).withDefaults()
	if err != nil {
		return nil, err
	}
	l := &Lab{cfg: cfg, dir: path, state: s, workloads: map[string]*Workload{}}
	l.wire = &wire{node: l.reopen(wireName)}
	if len(cfg.Edges) > 0 {
		l.outside = &Outside{node: l.reopen(outsideName)}
		l.outside.nameStations()
	}
	for i, h := range cfg.Hosts {
		l.hosts = append(l.hosts, &Host{node: l.reopen(h), index: i})
	}
	for _, w := range s.Workloads {
		if h := l.Host(w.Host); h != nil {
			l.workloads[w.Name] = &Workload{Name: w.Name, Host: h, cfg: WorkloadConfig{pod: w.Pod}}
		}
	}
	return l, nil
}

func (l *Lab) reopen(name string) *node {
	return &node{lab: l, name: name, dir: l.dir + "/" + name, first: l.state.Nodes[name]}
}

// Down ends everything that runs in the lab and removes its files. It may be called more than once.
func (l *Lab) Down() error {
	if err := destroy(context.Background(), l.dir); err != nil {
		return fmt.Errorf("lab %s: %w", l.cfg.Name, err)
	}
	buried := make(chan struct{})
	go func() {
		l.children.Wait()
		close(buried)
	}()
	select {
	case <-buried:
		return nil
	case <-time.After(settle):
		return fmt.Errorf("lab %s: a process was killed and did not end within %v", l.cfg.Name, settle)
	}
}

// Detach leaves the lab running when this program ends.
func (l *Lab) Detach() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state.Detached = true
	l.state.Owner = Process{}
	return l.state.write(l.dir)
}

// Config is what the lab was made from, with what was left empty filled in.
func (l *Lab) Config() Config { return l.cfg }

// Name is the lab's name.
func (l *Lab) Name() string { return l.cfg.Name }

// Dir is the lab's directory on the machine.
func (l *Lab) Dir() string { return l.dir }

// Hosts are the lab's hosts in the order of the configuration.
func (l *Lab) Hosts() []*Host { return l.hosts }

// Host returns a host by its name, nil if there is none.
func (l *Lab) Host(name string) *Host {
	for _, h := range l.hosts {
		if h.name == name {
			return h
		}
	}
	return nil
}

// Workload returns a workload by its name, nil if there is none.
func (l *Lab) Workload(name string) *Workload {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.workloads[name]
}

// Workloads are the lab's workloads, sorted by name.
func (l *Lab) Workloads() []WorkloadInfo {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []WorkloadInfo
	for _, w := range l.workloads {
		all = append(all, WorkloadInfo{Name: w.Name, Host: w.Host.name, Pod: w.cfg.pod})
	}
	slices.SortFunc(all, func(a, b WorkloadInfo) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return all
}

// Processes are the daemons that the lab has started, each name and host once, the latest start.
func (l *Lab) Processes() []Process {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.state.Processes)
}

// process returns the latest process of that name on a node; the zero Process if there was none.
func (l *Lab) process(node, name string) Process {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.state.Processes {
		if p.Node == node && p.Name == name {
			return p
		}
	}
	return Process{}
}

// record notes a process in the lab's state, in the place of an earlier one of the same name.
func (l *Lab) record(p Process) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state.Processes = slices.DeleteFunc(l.state.Processes, func(q Process) bool { return q.Node == p.Node && q.Name == p.Name })
	l.state.Processes = append(l.state.Processes, p)
	return l.state.write(l.dir)
}

// recordNode notes the first process of a node.
func (l *Lab) recordNode(n *node) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state.Nodes[n.name] = n.first
	return l.state.write(l.dir)
}

// adopt buries a child of this program when it ends.
func (l *Lab) adopt(cmd *exec.Cmd) {
	l.children.Go(func() { _ = cmd.Wait() }) // its end is seen by Process.Alive, its code by nobody
}

// machineID derives an id for a host, shaped like machine-id(5).
func machineID(lab, host string) string {
	sum := sha256.Sum256([]byte(lab + "/" + host))
	return hex.EncodeToString(sum[:16])
}
