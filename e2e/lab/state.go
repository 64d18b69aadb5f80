package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// ErrInUse is returned for a lab whose owner runs, or that was left running on purpose (Detach).
var ErrInUse = errors.New("lab in use")

// ErrNoLab is returned by Open when there is no such lab.
var ErrNoLab = errors.New("no such lab")

// state is what is known of a lab on disk, in <lab>/lab.json; it lets another program open, end or clear the lab.
type state struct {
	Name      string             `json:"name"`
	Hosts     []string           `json:"hosts"`
	Edges     []Edge             `json:"edges,omitempty"`
	Underlay  Underlay           `json:"underlay"`
	MTU       int                `json:"mtu"`
	Bridge    string             `json:"bridge"`
	Bin       string             `json:"bin"`
	Etcd      EtcdPlace          `json:"etcd"`
	EtcdCmd   []string           `json:"etcdCommand"`
	Prefix    string             `json:"prefix"`
	Routes    bool               `json:"kernelRoutes"`
	Owner     Process            `json:"owner"`
	Detached  bool               `json:"detached"`
	Complete  bool               `json:"complete"` // New succeeded
	Nodes     map[string]Process `json:"nodes"`    // their first processes
	Processes []Process          `json:"processes"`
	Workloads []WorkloadInfo     `json:"workloads"`
}

// WorkloadInfo says where a workload of a lab is.
type WorkloadInfo struct {
	Name string `json:"name"`
	Host string `json:"host"`
	Pod  bool   `json:"pod,omitempty"` // it is one of CreatePods
}

func (s *state) config(dir string) Config {
	return Config{
		Name: s.Name, Hosts: s.Hosts, Edges: s.Edges, Underlay: s.Underlay, UnderlayMTU: s.MTU, Bridge: s.Bridge,
		Bin: s.Bin, Dir: dir, Etcd: s.Etcd, EtcdCommand: s.EtcdCmd, Prefix: s.Prefix, KernelRoutes: s.Routes,
	}
}

func newState(c Config) (*state, error) {
	owner, err := identify("owner", "", os.Getpid(), "")
	if err != nil {
		return nil, err
	}
	return &state{
		Name: c.Name, Hosts: c.Hosts, Edges: c.Edges, Underlay: c.Underlay, MTU: c.UnderlayMTU, Bridge: c.Bridge,
		Bin: c.Bin, Etcd: c.Etcd, EtcdCmd: c.EtcdCommand, Prefix: c.Prefix, Routes: c.KernelRoutes,
		Owner: owner, Nodes: map[string]Process{},
	}, nil
}

func statePath(dir string) string { return filepath.Join(dir, "lab.json") }

func readState(dir string) (*state, error) {
	b, err := os.ReadFile(statePath(dir))
	if err != nil {
		return nil, err
	}
	var s state
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("%s: %w", statePath(dir), err)
	}
	return &s, nil
}

func (s *state) write(dir string) error {
	b, err := json.MarshalIndent(s, "", "\t")
	if err != nil {
		return err
	}
	temp := statePath(dir) + ".new"
	if err := os.WriteFile(temp, append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("lab state: %w", err)
	}
	if err := os.Rename(temp, statePath(dir)); err != nil {
		return fmt.Errorf("lab state: %w", err)
	}
	return nil
}

// claim makes the lab's directory with its state, in one step, after clearing what a killed owner left there.
func claim(ctx context.Context, c Config) (*state, error) {
	s, err := newState(c)
	if err != nil {
		return nil, err
	}
	dir := c.path()
	if err := clearDead(ctx, dir); err != nil {
		return nil, err
	}
	temp, err := os.MkdirTemp(c.Dir, "tn-"+c.Name+"-new-")
	if err != nil {
		return nil, fmt.Errorf("lab directory: %w", err)
	}
	if err := errors.Join(os.Chmod(temp, 0o755), s.write(temp)); err != nil {
		return nil, errors.Join(err, os.RemoveAll(temp))
	}
	if err := os.Rename(temp, dir); err != nil { // fails if somebody else was faster
		return nil, errors.Join(fmt.Errorf("lab %s: %w: %w", c.Name, ErrInUse, err), os.RemoveAll(temp))
	}
	return s, nil
}

// clearDead removes the lab in dir unless its owner lives or left it on purpose.
func clearDead(ctx context.Context, dir string) error {
	s, err := readState(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		if _, statErr := os.Stat(dir); errors.Is(statErr, os.ErrNotExist) {
			return nil
		}
	case err == nil && s.Owner.Alive():
		return fmt.Errorf("lab %s: %w by process %d", s.Name, ErrInUse, s.Owner.PID)
	case err == nil && s.Detached && s.anyAlive():
		return fmt.Errorf("lab %s: %w: it was left running", s.Name, ErrInUse)
	}
	return destroy(ctx, dir)
}

func (s *state) anyAlive() bool {
	for _, p := range s.Nodes {
		if p.Alive() {
			return true
		}
	}
	return false
}

// destroy ends every process of the lab in dir, which ends its namespaces, and removes its files.
func destroy(ctx context.Context, dir string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settle)
	defer cancel()
	if err := killMarked(ctx, dir); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove lab: %w", err)
	}
	return nil
}

// Sweep removes the labs under dir (default /tmp) whose owner was killed, and leaves all others alone. It returns the
// names of what it removed.
func Sweep(ctx context.Context, dir string) ([]string, error) {
	if dir == "" {
		dir = "/tmp"
	}
	found, err := filepath.Glob(filepath.Join(dir, "tn-*", "lab.json"))
	if err != nil {
		return nil, err
	}
	var names []string
	var errs []error
	for _, f := range found {
		d := filepath.Dir(f)
		switch err := clearDead(ctx, d); {
		case errors.Is(err, ErrInUse):
		case err != nil:
			errs = append(errs, err)
		default:
			names = append(names, strings.TrimPrefix(filepath.Base(d), "tn-"))
		}
	}
	return names, errors.Join(errs...)
}

// Remove ends and removes the lab of that name, whoever owns it. It is no error if there is none.
func Remove(ctx context.Context, dir, name string) error {
	if !labName.MatchString(name) {
		return fmt.Errorf("lab name %q: 1-20 lower case letters, digits and dashes", name)
	}
	return destroy(ctx, labPath(dir, name))
}

// Leftovers tells what exists on the machine of the lab of that name: processes and files. Nothing after Down.
// (Namespaces of a lab are held by its processes only.)
func Leftovers(dir, name string) []string {
	path := labPath(dir, name)
	var left []string
	for _, pid := range marked(path) {
		cmd, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		left = append(left, fmt.Sprintf("process %d: %s", pid, strings.ReplaceAll(string(cmd), "\x00", " ")))
	}
	files, _ := filepath.Glob(path)
	temps, _ := filepath.Glob(path + "-new-*")
	for _, f := range append(files, temps...) {
		left = append(left, "file "+f)
	}
	return left
}
