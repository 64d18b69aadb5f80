//go:build integration

package store

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"tuplenet/model"
)

// freePorts are addresses on which nobody listens now.
func freePorts(t *testing.T, n int) []string {
	t.Helper()
	var out []string
	for range n {
		l, err := net.Listen("tcp", net.JoinHostPort(ownAddress(), "0"))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // after all are taken, so that they differ
		out = append(out, "http://"+l.Addr().String())
	}
	return out
}

func TestT01_a_cluster_of_three_goes_on_without_one_of_its_members(t *testing.T) {
	peers := freePorts(t, 3)
	var cluster []string
	for i, p := range peers {
		cluster = append(cluster, fmt.Sprintf("m%d=%s", i, p))
	}
	members := make([]*Embedded, 3)
	var wg sync.WaitGroup
	for i := range members {
		wg.Go(func() {
			var err error
			members[i], err = EmbeddedConfig{Dir: t.TempDir(), Listen: "http://127.0.0.1:0", UnsafeNoSync: true,
				Name: fmt.Sprintf("m%d", i), Peer: peers[i], Cluster: strings.Join(cluster, ",")}.Start()
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	var endpoints []string
	for _, m := range members {
		endpoints = append(endpoints, strings.TrimPrefix(m.Endpoints()[0], "http://"))
	}
	s := openAt(t, Config{Endpoints: endpoints})
	mustSwitch(t, s, "LS-A")
	r := follow(t, s)
	r.until(t, "first state", func() bool { return len(r.objects) == 1 })

	leader := 0
	for i, m := range members {
		if m.server.Server.Leader() == m.server.Server.MemberID() {
			leader = i
		}
	}
	_ = members[leader].Close()
	// The client that was connected to all, one that comes anew, and the one that follows: all go on.
	if _, _, err := s.AddSwitch(t.Context(), &model.LogicalSwitch{Name: "LS-B"}); err != nil {
		t.Fatal(err)
	}
	mustSwitch(t, openAt(t, Config{Endpoints: endpoints}), "LS-C")
	r.until(t, "changes after the loss", func() bool { return len(r.objects) == 3 })
	for i, m := range members {
		if i != leader {
			_ = m.Close()
		}
	}
}
