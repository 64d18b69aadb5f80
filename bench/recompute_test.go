//go:build bench

package bench

import (
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"syscall"
	"testing"
	"time"

	"tuplenet/flows/compile"
	"tuplenet/model"
)

// own is the processor time that this process has used.
func own() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestBenchCompile compiles 20,000 ports from nothing, and one changed port, on one core. Processor time is measured, with that of the
// collector: on a busy machine the clock says more of the others.
func TestBenchCompile(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	r := &record{t, newRun(t, "compile", switches*portsPerSwitch, ""), true, map[string]target{
		"everything, dual stack":       {limit: 1},
		"one port added, then deleted": {limit: 0.5},
		"one port moves":               {limit: 0.5},
	}}
	if dir := env("PROFILE", ""); dir != "" {
		f, err := os.Create(filepath.Join(dir, "compile-cpu.prof"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			t.Fatal(err)
		}
		defer pprof.StopCPUProfile()
	}
	e := compile.New()
	for range 5 {
		for _, dual := range []bool{false, true} {
			e = compile.New()
			runtime.GC()
			begun := own()
			deploy(e.Set, dual)
			e.Update()
			r.seconds(map[bool]string{false: "everything, IPv4", true: "everything, dual stack"}[dual], own()-begun)
		}
	}
	r.add("flows, dual stack", "flows", float64(countFlows(e)))
	const changes = 2000
	begun := own()
	for i := range changes {
		fact(e.Set, &model.Binding{Port: "p7-7", Chassis: []string{"hv1", "hv2"}[i%2]})
		e.Update()
	}
	r.milliseconds("one port moves", (own()-begun)/changes)
	begun = own()
	for range changes {
		p := port(7, 150, true)
		p.Name = "new"
		fact(e.Set, p)
		e.Update()
		e.Delete(compile.FactKey(p.Ref()))
		e.Update()
	}
	r.milliseconds("one port added, then deleted", (own()-begun)/changes)
	write(t, r.run)
}
