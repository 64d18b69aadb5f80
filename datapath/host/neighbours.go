package host

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// The times of Neighbours. A neighbour of OVS lives 900 s after it was last learnt or used (ovs-appctl tnl/neigh/aging), so it
// is refreshed a few times in its life, and a changed link-layer address is learnt in minutes. An answer that comes while the datapath flow of an
// earlier one still exists (10 s) does not reach the part of OVS that learns: so a probe is not repeated sooner, and is
// repeated once where such a flow may exist.
const (
	refreshEvery  = 3 * time.Minute  // ± a quarter, so that a fleet does not probe in step
	refreshEarly  = 10 * time.Second // those due so soon are done along with others: a round lists the kernel's neighbours once
	resolveMin    = 100 * time.Millisecond
	resolveMax    = 30 * time.Second
	answerAgain   = 15 * time.Second // at least between two probes of one neighbour
	complainAfter = 5 * time.Second
	peersPerRound = 100 // and at least roundPause between rounds: at most 1,000 probes a second
	roundPause    = 100 * time.Millisecond
)

// hop is a neighbour on the way to some peers.
type hop struct {
	addr   netip.Addr // of the peer itself, or of the gateway
	device int        // index
	source netip.Addr // the address of ours from which packets go there
}

// neighbourState is what the kernel knows of a hop.
type neighbourState uint8

const (
	unresolved neighbourState = iota // nothing, being asked, or failed
	resolved                         // has a link-layer address
	static                           // set by hand, or of a device without neighbours
)

// stack is the part of the kernel that Neighbours talks to.
type stack interface {
	// route finds the hop toward a peer; ok is false if the peer is this host.
	route(peer netip.Addr) (h hop, ok bool, err error)
	// states lists the state of all neighbours that are not unresolved.
	states() (map[hopID]neighbourState, error)
	// resolve makes the kernel ask for an unresolved hop.
	resolve(h hop) error
	// probe asks a resolved hop again, such that OVS sees the answer.
	probe(h hop) error
}

// hopID is how the kernel knows a neighbour.
type hopID struct {
	addr   netip.Addr
	device int
}

// Neighbours keeps the neighbours on the way to tunnel endpoints resolved, in the kernel and in OVS. With the netdev
// datapath OVS has a neighbour table of its own, fed by the ARP and neighbour advertisements that pass the bridge with
// the tunnel address; it drops the first packet to an endpoint that is not in it. The load is one small packet a
// neighbour in some minutes; endpoints behind one gateway share its neighbour. See docs/design/datapath-host.md.
type Neighbours struct {
	log   *slog.Logger
	stack stack

	mu      sync.Mutex
	wanted  []netip.Addr
	changed bool // wanted was set, not taken over yet
	again   bool // all are to be probed now
	wake    chan struct{}

	// Of the goroutine of Run.
	peers  map[netip.Addr]*peer
	probed map[hopID]time.Time // last probe of each neighbour
}

// peer is a tunnel endpoint to keep warm.
type peer struct {
	addr     netip.Addr
	due      time.Time     // next look,
	early    time.Time     // which may be taken so early if there are others to look at
	wait     time.Duration // before due, while unresolved
	since    time.Time     // unresolved since; zero if resolved
	twice    bool          // OVS may have missed the answer that comes next: ask once more
	complain bool          // has been logged as unresolved
}

// NewNeighbours makes one that does nothing before Run.
func NewNeighbours(log *slog.Logger) *Neighbours {
	return newNeighbours(log, kernelStack{})
}

func newNeighbours(log *slog.Logger, s stack) *Neighbours {
	return &Neighbours{
		log: log.With("component", "host"), stack: s, wake: make(chan struct{}, 1),
		peers: map[netip.Addr]*peer{}, probed: map[hopID]time.Time{},
	}
}

// Set replaces the set of tunnel endpoints to keep warm. It returns at once. Any goroutine.
func (n *Neighbours) Set(peers []netip.Addr) {
	n.mu.Lock()
	n.wanted, n.changed = slices.Clone(peers), true
	n.mu.Unlock()
	n.wakeUp()
}

// Refresh has all neighbours probed now: after ovs-vswitchd was restarted, which forgets what it had learnt. Any goroutine.
func (n *Neighbours) Refresh() {
	n.mu.Lock()
	n.again = true
	n.mu.Unlock()
	n.wakeUp()
}

func (n *Neighbours) wakeUp() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// Run works until ctx ends; it returns ctx.Err() then. It is called once.
func (n *Neighbours) Run(ctx context.Context) error {
	for {
		n.takeOver(time.Now())
		next := n.round(time.Now())
		timer := time.NewTimer(next)
		select {
		case <-timer.C:
		case <-n.wake:
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// takeOver brings peers up to what was Set.
func (n *Neighbours) takeOver(now time.Time) {
	n.mu.Lock()
	wanted, changed, again := n.wanted, n.changed, n.again
	n.changed, n.again = false, false
	n.mu.Unlock()
	if changed {
		keep := make(map[netip.Addr]*peer, len(wanted))
		for _, a := range wanted {
			a = a.Unmap()
			if keep[a] = n.peers[a]; keep[a] == nil {
				keep[a] = &peer{addr: a, due: now, since: now, twice: true}
			}
		}
		n.peers = keep
	}
	if again {
		clear(n.probed)
		for _, p := range n.peers {
			p.due, p.wait, p.twice = now, 0, true
		}
	}
}

// round looks at the peers that are due, and returns when to look again.
func (n *Neighbours) round(now time.Time) (next time.Duration) {
	if due := n.duePeers(now); len(due) > 0 {
		n.look(due[:min(len(due), peersPerRound)], now)
	}
	next = refreshEvery
	for _, p := range n.peers {
		next = min(next, p.due.Sub(now))
	}
	return max(next, roundPause)
}

// duePeers are the peers to look at now, the most urgent first; none if there is none that cannot wait.
func (n *Neighbours) duePeers(now time.Time) (due []*peer) {
	urgent := false
	for _, p := range n.peers {
		urgent = urgent || !p.due.After(now)
		if !p.due.After(now) || !p.early.After(now) {
			due = append(due, p)
		}
	}
	if !urgent {
		return nil
	}
	slices.SortFunc(due, func(a, b *peer) int { return a.due.Compare(b.due) })
	return due
}

func (n *Neighbours) look(due []*peer, now time.Time) {
	states, err := n.stack.states()
	if err != nil {
		n.log.Warn("cannot read the kernel's neighbours", "err", err)
	}
	for id, at := range n.probed { // forget what no longer matters
		if now.Sub(at) > answerAgain {
			delete(n.probed, id)
		}
	}
	for _, p := range due {
		h, remote, err := n.stack.route(p.addr)
		switch {
		case err != nil:
			n.missing(p, now, err)
		case !remote:
			n.warm(p, now)
		default:
			n.lookAt(p, h, states[hopID{h.addr, h.device}], now)
		}
	}
}

// lookAt does for a peer what the state of its next hop calls for.
func (n *Neighbours) lookAt(p *peer, h hop, state neighbourState, now time.Time) {
	id := hopID{h.addr, h.device}
	switch state {
	case static:
		n.warm(p, now)
	case resolved:
		if n.probed[id].IsZero() { // else it has just answered, to us for another peer or to the kernel
			n.probed[id] = now
			if err := n.stack.probe(h); err != nil {
				n.missing(p, now, err)
				return
			}
		}
		n.warm(p, now)
	default:
		n.probed[id] = now
		n.missing(p, now, n.stack.resolve(h))
	}
}

// warm notes that all is well with a peer, and when to refresh it.
func (n *Neighbours) warm(p *peer, now time.Time) {
	if p.complain {
		n.log.Info("the underlay neighbour toward a tunnel endpoint answers", "endpoint", p.addr)
	}
	p.complain, p.since, p.wait = false, time.Time{}, 0
	p.due = now.Add(refreshEvery - refreshEvery/4 + rand.N(refreshEvery/2))
	p.early = p.due.Add(-refreshEarly)
	if p.twice {
		p.twice = false
		p.due = now.Add(answerAgain + time.Second)
		p.early = p.due
	}
}

// missing notes that a peer cannot be reached yet, and when to look again.
func (n *Neighbours) missing(p *peer, now time.Time, err error) {
	if p.since.IsZero() {
		p.since = now
	}
	p.wait = min(max(2*p.wait, resolveMin), resolveMax)
	p.due = now.Add(p.wait)
	p.early = p.due
	if !p.complain && now.Sub(p.since) >= complainAfter {
		p.complain = true
		n.log.Warn("the underlay neighbour toward a tunnel endpoint does not answer", "endpoint", p.addr, "err", err)
	}
}
