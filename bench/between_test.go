package bench

import (
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"tuplenet/flows/compile"
	"tuplenet/model"
	"tuplenet/model/store"
)

// BenchmarkBetween finds whom a change of a port concerns, in a deployment of 20,000 dual-stack ports and two chassis, with the
// work of an etcd in this process.
func BenchmarkBetween(b *testing.B) {
	etcd, err := store.StartEmbedded(b.TempDir(), "http://127.0.0.1:0", nil)
	if err != nil {
		b.Fatal(err)
	}
	defer etcd.Close()
	st, err := store.Open(store.Config{Endpoints: etcd.Endpoints()})
	if err != nil {
		b.Fatal(err)
	}
	defer st.Close()
	tpctlRun(b, etcd, "batch", "-f", networkFile(b, true))
	for i := range 2 {
		name := fmt.Sprintf("hv%d", i)
		if err := st.PutPresence(b.Context(), name, []string{fmt.Sprintf("ls%d", i)}); err != nil {
			b.Fatal(err)
		}
		if _, err := st.PutChassis(b.Context(), &model.Chassis{Name: name, IPs: []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})}, Encaps: []model.Encap{model.EncapGeneve}}); err != nil {
			b.Fatal(err)
		}
	}
	_, rev, err := st.AddSwitchPort(b.Context(), &model.LogicalSwitchPort{Switch: "ls7", Name: "one"})
	if err != nil {
		b.Fatal(err)
	}
	used := processor()
	for b.Loop() {
		d, ok, err := st.Around(b.Context(), rev-1, rev, []model.Ref{{Kind: model.KindSwitchPort, Parent: "ls7", Name: "one"}})
		if err != nil || !ok {
			b.Fatal(ok, err)
		}
		if names := compile.Affected(compile.Sight(d.Old), compile.Sight(d.New), d.Differ); strings.Join(names, " ") != "hv0 hv1" {
			b.Fatal(names)
		}
	}
	b.ReportMetric(float64((processor()-used).Microseconds())/float64(b.N), "µs-CPU/op")
}

// processor is the CPU time that this process has used.
func processor() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
