//go:build integration

package ofconn_test

import (
	"context"
	"testing"

	"tuplenet/datapath/ofconn"
	"tuplenet/datapath/ovstest"
	"tuplenet/flows/of"
)

// BenchmarkLoad loads 50,000 flows of the usual size in one bundle, reads them back and deletes them. One operation is
// one flow; everything is dominated by ovs-vswitchd, which the same processors have to serve.
func BenchmarkLoad(b *testing.B) {
	const n = 50000
	ovs := ovstest.Start(b, ovstest.Config{})
	ups := make(chan *ofconn.Session)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = ofconn.Run(ctx, ofconn.Config{Socket: ovs.Mgmt(), OnUp: func(_ context.Context, s *ofconn.Session) { ups <- s }})
	}()
	defer func() { cancel(); <-ended }()
	s := <-ups
	var adds, deletes []ofconn.Mod
	for i := range uint64(n) {
		p, err := of.Flow{Table: 10, Priority: 100,
			Match: of.Match{}.IPv4().With(of.Eq(of.Metadata, of.U(7)), of.Eq(of.Reg14, of.U(i)), of.Eq(of.EthDst, of.U(9)), of.Eq(of.IPDst, of.U(i))),
			Actions: []of.Action{of.SetReg(of.Reg0, 1), of.SetReg(of.Reg1, i), of.Set(of.EthSrc, of.U(3)), of.DecTTL{},
				of.Set(of.EthDst, of.U(4)), of.ResubmitTable(4), of.ResubmitTable(5)}}.Pack()
		if err != nil {
			b.Fatal(err)
		}
		adds = append(adds, ofconn.AddFlow{Packed: p, Cookie: p.Hash()})
		deletes = append(deletes, ofconn.DeleteStrict{Table: 10, Priority: 100, MatchBytes: p.MatchBytes()})
	}
	run := func(name string, f func() error) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/flow")
		})
	}
	run("add", func() error { return s.Bundle(ctx, adds) })
	run("dump", func() error {
		got := 0
		err := s.DumpFlows(ctx, func(ofconn.FlowDesc) { got++ })
		if got != n {
			b.Fatalf("%d flows", got)
		}
		return err
	})
	run("delete", func() error { return s.Bundle(ctx, deletes) })
}
