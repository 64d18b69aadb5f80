//go:build integration

package apply

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tuplenet/datapath/ofconn"
	"tuplenet/datapath/ovstest"
	"tuplenet/flows/of"
)

// cpu is the processor time that a process has used.
func cpu(b *testing.B, pid int) time.Duration {
	b.Helper()
	if pid == os.Getpid() {
		var u unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(text)[strings.LastIndexByte(string(text), ')')+1:])
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100
}

// What a pass of the audit over 100,000 flows costs the daemon and the switch, and for how long one portion keeps the switch.
// At the default of a pass a minute, 1,200 ms together are 2 % of a core.
func BenchmarkAuditPassOver100000Flows(b *testing.B) {
	sw := ovstest.Start(b, ovstest.Config{Ports: []string{"p1", "p2"}})
	a := New(Config{Steps: 50})
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	up := make(chan *ofconn.Session)
	go func() {
		_ = ofconn.Run(ctx, ofconn.Config{Socket: sw.Mgmt(), OnUp: func(ctx context.Context, s *ofconn.Session) { up <- s; <-ctx.Done() }})
	}()
	s := connection{s: <-up, seed: a.seed}
	flows := make([]Flow, 100_000)
	for n := range flows {
		m := of.Match{}.IPv4().Eq(of.Metadata, of.U(uint64(n%500))).Eq(of.Reg14, of.U(uint64(n))).Eq(of.EthDst, of.U(uint64(n)))
		flows[n] = pack(of.Flow{Table: uint8(n % 7), Priority: 10, Match: m,
			Actions: []of.Action{of.SetReg(of.Reg15, uint64(n)), of.SetReg(of.Reg6, 3), of.DecTTL{}, of.Goto{Table: 40}}})
	}
	a.Put("a", &Set{Flows: flows})
	a.Commit(1)
	if err := a.round(ctx, s, true); err != nil {
		b.Fatal(err)
	}
	pass := func() (longest time.Duration) {
		for range 50 {
			begin := time.Now()
			if err := a.auditTick(ctx, s, begin); err != nil {
				b.Fatal(err)
			}
			longest = max(longest, time.Since(begin))
		}
		return longest
	}
	first := cpu(b, os.Getpid())
	pass() // decodes every flow
	first = cpu(b, os.Getpid()) - first
	self, vswitchd, longest := cpu(b, os.Getpid()), cpu(b, sw.VswitchdPID()), time.Duration(0)
	for b.Loop() {
		longest = max(longest, pass())
	}
	b.ReportMetric(float64((cpu(b, os.Getpid())-self).Milliseconds())/float64(b.N), "ms-daemon/op")
	b.ReportMetric(float64((cpu(b, sw.VswitchdPID())-vswitchd).Milliseconds())/float64(b.N), "ms-vswitchd/op")
	b.ReportMetric(float64(first.Milliseconds()), "ms-daemon-first-pass")
	b.ReportMetric(float64(longest.Milliseconds()), "ms-longest-tick")
	if st := a.Stats(); st.Drift != [numKinds]uint64{} {
		b.Fatalf("found what is not there: %+v", st)
	}
}
