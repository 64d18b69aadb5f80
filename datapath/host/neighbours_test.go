package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeStack is a kernel in memory. Peers in 10/8 are on link; all others are behind the gateway 10.0.0.1. Known and silent are changed only
// before the peer in question is Set, or while Neighbours waits.
type fakeStack struct {
	mu     sync.Mutex
	start  time.Time
	known  map[string]neighbourState
	silent map[string]bool // never answer
	calls  []string        // "1s resolve 10.0.0.2"
	lists  int
}

func (f *fakeStack) route(peer netip.Addr) (hop, bool, error) {
	switch {
	case peer.String() == "10.0.0.99":
		return hop{}, false, nil
	case peer.String() == "198.51.100.1":
		return hop{}, false, errors.New("network is unreachable")
	case !strings.HasPrefix(peer.String(), "10."):
		peer = netip.MustParseAddr("10.0.0.1")
	}
	return hop{addr: peer, device: 1}, true, nil
}

func (f *fakeStack) states() (map[hopID]neighbourState, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lists++
	states := map[hopID]neighbourState{}
	for a, s := range f.known {
		states[hopID{netip.MustParseAddr(a), 1}] = s
	}
	return states, nil
}

func (f *fakeStack) call(what string, h hop) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, fmt.Sprintf("%s %s %s", time.Since(f.start).Round(100*time.Millisecond), what, h.addr))
}

func (f *fakeStack) resolve(h hop) error {
	f.call("resolve", h)
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.silent[h.addr.String()] {
		f.known[h.addr.String()] = resolved
	}
	return nil
}

func (f *fakeStack) probe(h hop) error { f.call("probe", h); return nil }

// take returns the calls since the last time.
func (f *fakeStack) take() (calls []string) {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	calls, f.calls = f.calls, nil
	return calls
}

// listings is how often the table was listed since the last time.
func (f *fakeStack) listings() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, f.lists = f.lists, 0
	return n
}

// hush makes a peer silent, or lets it answer again.
func (f *fakeStack) hush(peer string, silent bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.silent[peer] = silent
}

// inBubble runs a test with Neighbours running on a fake kernel and a fake clock.
func inBubble(t *testing.T, test func(n *Neighbours, f *fakeStack)) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeStack{start: time.Now(), known: map[string]neighbourState{}, silent: map[string]bool{}}
		n := newNeighbours(slog.New(slog.DiscardHandler), f)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- n.Run(ctx) }()
		test(n, f)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// advance lets the fake clock run.
func advance(d time.Duration) { <-time.After(d) }

func addrs(list ...string) (out []netip.Addr) {
	for _, a := range list {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

func TestANewEndpointIsResolvedAtOnceAndRefreshedSlowly(t *testing.T) {
	inBubble(t, func(n *Neighbours, f *fakeStack) {
		n.Set(addrs("10.0.0.2"))
		if got := f.take(); !slices.Equal(got, []string{"0s resolve 10.0.0.2"}) {
			t.Errorf("at first: %v", got)
		}
		advance(time.Minute)
		if got := f.take(); !slices.Equal(got, []string{"16.1s probe 10.0.0.2"}) {
			t.Errorf("in the first minute: %v, want one repetition", got)
		}
		advance(15 * time.Minute)
		if got := f.take(); len(got) < 3 || len(got) > 8 || !strings.HasSuffix(got[0], "probe 10.0.0.2") {
			t.Errorf("in the life of a neighbour in OVS: %v", got)
		}
		n.Set(nil)
		advance(time.Hour)
		if got := f.take(); len(got) != 0 {
			t.Errorf("after it left: %v", got)
		}
	})
}

func TestAnEndpointThatTheKernelKnowsIsProbedForOVS(t *testing.T) {
	inBubble(t, func(n *Neighbours, f *fakeStack) {
		f.known["10.0.0.2"], f.known["10.0.0.3"] = resolved, static
		n.Set(addrs("10.0.0.2", "10.0.0.3", "10.0.0.99"))
		if got := f.take(); !slices.Equal(got, []string{"0s probe 10.0.0.2"}) {
			t.Errorf("calls %v; a static entry and this host need none", got)
		}
	})
}

func TestAnEndpointThatDoesNotAnswerIsAskedEverMoreSlowly(t *testing.T) {
	inBubble(t, func(n *Neighbours, f *fakeStack) {
		f.hush("10.0.0.2", true)
		n.Set(addrs("10.0.0.2", "198.51.100.1"))
		advance(4 * time.Second)
		got := f.take()
		if want := []string{"0s", "100ms", "300ms", "700ms", "1.5s", "3.1s"}; len(got) != len(want) {
			t.Errorf("in four seconds: %v, want them at %v", got, want)
		}
		advance(time.Hour - 4*time.Second)
		if got := len(f.take()); got < 115 || got > 125 {
			t.Errorf("%d requests in an hour, want one in 30 s", got)
		}
		f.hush("10.0.0.2", false)
		advance(time.Minute)
		if got := f.take(); len(got) == 0 || len(got) > 2 {
			t.Errorf("once it answers: %v", got)
		}
	})
}

func TestEndpointsBehindOneGatewayShareItsNeighbour(t *testing.T) {
	inBubble(t, func(n *Neighbours, f *fakeStack) {
		var peers []netip.Addr
		for i := range 1000 {
			peers = append(peers, netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)}))
		}
		n.Set(peers)
		advance(5 * time.Second)
		if got := f.take(); len(got) > 100 {
			t.Errorf("%d requests for one gateway at the start", len(got))
		}
		f.listings()
		advance(15 * time.Minute)
		if got := f.take(); len(got) == 0 || len(got) > 900/15 {
			t.Errorf("%d probes of one gateway in 15 minutes", len(got))
		}
		if lists := f.listings(); lists > 250 {
			t.Errorf("the kernel's table was listed %d times in 15 minutes", lists)
		}
	})
}

func TestRefreshProbesAllAgainButInPortions(t *testing.T) {
	inBubble(t, func(n *Neighbours, f *fakeStack) {
		var peers []netip.Addr
		for i := range 250 {
			peers = append(peers, netip.AddrFrom4([4]byte{10, 1, 0, byte(i)}))
		}
		n.Set(peers)
		advance(time.Second)
		f.take()
		n.Refresh()
		perTime := map[string]int{}
		if first := len(f.take()); first != peersPerRound {
			t.Errorf("%d probes at once", first)
		}
		advance(2 * time.Second)
		for _, c := range f.take() {
			perTime[strings.Fields(c)[0]]++
		}
		total := 0
		for at := range maps.Values(perTime) {
			total += at
		}
		if total != 150 || len(perTime) != 2 {
			t.Errorf("afterwards %v", perTime)
		}
	})
}
