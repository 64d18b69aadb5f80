// Package report keeps what benchmarks measured and shows it: as JSON, as a table and as plots. Scenarios fill a Run and write it;
// the pages are made from all runs that a folder holds. It measures nothing itself.
package report

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Figure is one measured quantity, of which less is better unless MoreIsBetter says otherwise.
type Figure struct {
	// Name says what was measured, in words that go on after those of the scenario.
	Name string `json:"name"`
	// Unit of the values, such as ms.
	Unit         string `json:"unit"`
	MoreIsBetter bool   `json:"moreIsBetter,omitempty"`
	// Ratio is the target: ours divided by the peer's at most so much, or at least where more is better. 0: none.
	Ratio float64 `json:"ratio,omitempty"`
	// Limit is a target for ours alone, in the unit. 0: none.
	Limit float64 `json:"limit,omitempty"`
	// Ours and Peer are the values of the runs, in the order in which they were taken in turn; one of them may be missing.
	Ours []float64 `json:"ours"`
	Peer []float64 `json:"peer,omitempty"`
}

// Run is one scenario at one size.
type Run struct {
	Scenario string `json:"scenario"`
	// Size is the number of ports in place, or what else the scenario grows with.
	Size int `json:"size,omitempty"`
	// Peer is what ours is compared with, with its version; empty if with nothing.
	Peer    string    `json:"peer,omitempty"`
	Machine Machine   `json:"machine"`
	Begun   time.Time `json:"begun"`
	// LoadBefore and LoadAfter are the load of the machine (getloadavg(3), one minute) when the run began and ended.
	LoadBefore float64   `json:"loadBefore"`
	LoadAfter  float64   `json:"loadAfter"`
	Figures    []*Figure `json:"figures"`
}

// Machine describes where a run was made.
type Machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Memory string `json:"memory"`
	Kernel string `json:"kernel"`
	System string `json:"system"`
	Switch string `json:"switch"`
	Go     string `json:"go"`
}

// ThisMachine describes the machine; what it does not tell is left empty. The switch is given: its version is not for this package to
// ask.
func ThisMachine(vswitch string) Machine {
	m := Machine{Cores: runtime.NumCPU(), Go: runtime.Version(), Switch: vswitch}
	m.CPU = field("/proc/cpuinfo", "model name", ":")
	m.Memory = field("/proc/meminfo", "MemTotal", ":")
	m.System = strings.Trim(field("/etc/os-release", "PRETTY_NAME", "="), `"`)
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(b))
	}
	return m
}

func field(file, name, separator string) string {
	b, _ := os.ReadFile(file)
	for line := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(line, separator); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func (m Machine) String() string {
	return fmt.Sprintf("%d cores (%s), %s, Linux %s, %s, %s, %s", m.Cores, m.CPU, m.Memory, m.Kernel, m.System, m.Switch, m.Go)
}

// Load is the machine's load of the last minute.
func Load() float64 {
	b, _ := os.ReadFile("/proc/loadavg")
	var load float64
	_, _ = fmt.Sscan(string(b), &load)
	return load
}

// New begins a run.
func New(scenario string, size int, peer string, m Machine) *Run {
	return &Run{Scenario: scenario, Size: size, Peer: peer, Machine: m, Begun: time.Now().UTC().Truncate(time.Second), LoadBefore: Load()}
}

// Figure returns the figure of that name, and makes it at first.
func (r *Run) Figure(name, unit string) *Figure {
	for _, f := range r.Figures {
		if f.Name == name {
			return f
		}
	}
	f := &Figure{Name: name, Unit: unit}
	r.Figures = append(r.Figures, f)
	return f
}

// Median of values; 0 of none.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	v := slices.Clone(values)
	slices.Sort(v)
	if len(v)%2 == 0 {
		return (v[len(v)/2-1] + v[len(v)/2]) / 2
	}
	return v[len(v)/2]
}

// Against is the median of ours divided by that of the peer; ok is false without both.
func (f *Figure) Against() (ratio float64, ok bool) {
	ours, peer := Median(f.Ours), Median(f.Peer)
	if len(f.Ours) == 0 || len(f.Peer) == 0 || peer == 0 {
		return 0, false
	}
	return ours / peer, true
}

// Met tells whether the target is met; known is false if there is none, or what it needs was not measured.
func (f *Figure) Met() (met, known bool) {
	if f.Limit > 0 && len(f.Ours) > 0 {
		return f.within(Median(f.Ours), f.Limit), true
	}
	if ratio, ok := f.Against(); ok && f.Ratio > 0 {
		return f.within(ratio, f.Ratio), true
	}
	return false, false
}

func (f *Figure) within(value, target float64) bool {
	if f.MoreIsBetter {
		return value >= target
	}
	return value <= target
}

// file is the run's name in a folder of results.
func (r *Run) file() string {
	name := strings.ReplaceAll(r.Scenario, " ", "-")
	if r.Size > 0 {
		name += fmt.Sprintf("-%d", r.Size)
	}
	return name
}

// Write ends the run and puts it into a folder, where it takes the place of an earlier one of the same scenario and size, and makes the
// folder's table and plots anew.
func (r *Run) Write(dir string) error {
	r.LoadAfter = Load()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("folder of the results: %w", err)
	}
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return fmt.Errorf("result as JSON: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, r.file()+".json"), append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("result: %w", err)
	}
	return Pages(dir)
}

// Read returns all runs of a folder, by scenario and size.
func Read(dir string) ([]*Run, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	var runs []*Run
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("result: %w", err)
		}
		r := &Run{}
		if err := json.Unmarshal(b, r); err != nil {
			return nil, fmt.Errorf("result %s: %w", file, err)
		}
		runs = append(runs, r)
	}
	slices.SortFunc(runs, func(a, b *Run) int {
		return cmp.Or(cmp.Compare(a.Scenario, b.Scenario), cmp.Compare(a.Size, b.Size))
	})
	return runs, nil
}

// Pages makes table.md and the plots of a folder from its runs.
func Pages(dir string) error {
	runs, err := Read(dir)
	if err != nil {
		return err
	}
	errs := []error{os.WriteFile(filepath.Join(dir, "table.md"), []byte(Table(runs)), 0o644)}
	for name, svg := range Plots(runs) {
		errs = append(errs, os.WriteFile(filepath.Join(dir, name+".svg"), []byte(svg), 0o644))
	}
	return errors.Join(errs...)
}
