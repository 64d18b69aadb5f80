//go:build integration

package e2e_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"tuplenet/e2e/lab"
)

func errorf(format string, args ...any) error { return fmt.Errorf(format, args...) }

func TestDamagedObjectsAreOutOfServiceAndListedAndAllElseGoesOn(t *testing.T) {
	f := newFleet(t, lab.Config{Name: "damage"})
	a, b := f.routed()
	tr := f.startTraffic(a, b, bobIP, bobIP6)
	h := f.Hosts()[0]
	for _, kv := range [][2]string{
		{"/tuplenet/v1/spec/switch/broken", `{"name":`},
		{"/tuplenet/v1/spec/switch/newer", `{"name":"newer","vni":900,"colour":"green"}`},
		{"/tuplenet/v1/spec/routerport/LR-central/dangling", `{"router":"LR-central","name":"dangling","key":40,"mac":"f2:01:00:00:00:99","networks":["10.99.0.1/24"],"peer":"nobody"}`},
		{"/tuplenet/v1/spec/switch/twin", `{"name":"twin","vni":1}`},
	} {
		if _, err := h.Exec(f.ctx, "etcdctl", "put", kv[0], kv[1]); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"switch/broken", "switch/newer", "routerport/LR-central/dangling", "switch/twin"} {
		f.eventuallyShows("ch show -o json", want)
	}
	f.tpctl("lsp add LS-A lsp-after 10.20.1.88 f2:01:00:00:00:88")
	c := f.workload(h, "ns-after", "lsp-after", "f2:01:00:00:00:88", "10.20.1.1", "", "10.20.1.88/24")
	f.reach(c, bobIP)
	tr.end("four damaged objects")
	f.on(h, "etcdctl del --prefix /tuplenet/v1/spec/switch/broken")
	f.eventually("the repaired object to leave the list", func() error {
		if out := f.tpctl("ch show -o json"); strings.Contains(out, "switch/broken") {
			return errorf("it says %s", out)
		}
		return nil
	})
}

func TestT05_TwoHundredSwitchesAddedAtOnceGetTwoHundredIDs(t *testing.T) {
	t.Parallel()
	f := newBareFleet(t, lab.Config{Name: "at-once", Hosts: []string{"alice"}})
	errs := f.atOnce(200, func(i int) string { return fmt.Sprintf("ls add ls%d", i) })
	for _, err := range errs {
		f.check(err)
	}
	ids := map[string]bool{}
	for _, line := range strings.Split(f.tpctl("ls show"), "\n") {
		if _, id, found := strings.Cut(line, "- id"); found {
			ids[id] = true
		}
	}
	if len(ids) != 200 {
		t.Errorf("200 switches have %d different ids", len(ids))
	}
}

func TestT13_OneOfFiftyPortsWithTheSameAddressIsAdded(t *testing.T) {
	t.Parallel()
	f := newBareFleet(t, lab.Config{Name: "same-ip", Hosts: []string{"alice"}})
	f.tpctl("ls add LS")
	added := 0
	for _, err := range f.atOnce(50, func(i int) string { return fmt.Sprintf("lsp add LS p%d 10.0.0.7", i) }) {
		switch {
		case err == nil:
			added++
		case !strings.Contains(err.Error(), "conflict with other IP") || exitCode(err) != 4:
			t.Errorf("refused with code %d: %v", exitCode(err), err)
		}
	}
	if added != 1 {
		t.Errorf("%d ports with one address were added", added)
	}
}

// atOnce runs n command lines of tpctl, all at the same time. Those that come last wait for the others: on a slow machine for longer than
// etcd may take to answer one.
func (f *fleet) atOnce(n int, line func(int) string) []error {
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { _, errs[i] = f.Tpctl(f.ctx, append(strings.Fields(line(i)), "--timeout=1m")...) })
	}
	all.Wait()
	return errs
}
