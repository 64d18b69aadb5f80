package status_test

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

	"tuplenet/controller/status"
	"tuplenet/model"
	"tuplenet/model/store"
)

// fakeStore keeps what is written, with a revision for each write, and a list of the writes.
type fakeStore struct {
	mu       sync.Mutex
	rev      int64
	away     error // returned by every request
	asked    int
	chassis  *model.Chassis
	chassAt  int64
	bindings map[string]status.Seen
	live     map[string]store.Identity
	status   *model.Status
	log      []string
}

func newFakeStore() *fakeStore {
	return &fakeStore{rev: 100, bindings: map[string]status.Seen{}, live: map[string]store.Identity{"me": {}}}
}

func (f *fakeStore) request() error {
	f.asked++
	return f.away
}

func (f *fakeStore) wrote(format string, args ...any) int64 {
	f.rev++
	f.log = append(f.log, fmt.Sprintf(format, args...))
	return f.rev
}

func (f *fakeStore) PutChassis(_ context.Context, c *model.Chassis) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.request(); err != nil {
		return 0, err
	}
	f.chassis, f.chassAt = c, f.wrote("chassis %s %v tick %d", c.Name, c.IPs, c.Tick)
	return f.chassAt, nil
}

func (f *fakeStore) PutPresence(_ context.Context, chassis string, switches []string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.request(); err != nil {
		return err
	}
	f.wrote("presence of %s on %v", chassis, switches)
	return nil
}

func (f *fakeStore) Bind(_ context.Context, port, chassis string, seen int64) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.request(); err != nil {
		return 0, err
	}
	now := f.bindings[port]
	if now.Chassis == "" && seen != 0 || now.Chassis != "" && now.Rev != seen {
		f.log = append(f.log, "conflict "+port)
		return 0, store.ErrConflict
	}
	f.bindings[port] = status.Seen{Chassis: chassis, Rev: f.wrote("bind %s to %s", port, chassis)}
	return f.rev, nil
}

func (f *fakeStore) Unbind(_ context.Context, port, chassis string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.request(); err != nil {
		return err
	}
	if f.bindings[port].Chassis != chassis {
		f.log = append(f.log, "conflict "+port)
		return store.ErrConflict
	}
	f.bindings[port] = status.Seen{Rev: f.wrote("unbind %s", port)}
	return nil
}

func (f *fakeStore) PutStatus(_ context.Context, _ *store.Lease, s *model.Status) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.request(); err != nil {
		return err
	}
	f.status = s
	f.wrote("status %d", s.Applied)
	return nil
}

func (f *fakeStore) Live(context.Context) (map[string]store.Identity, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.live), f.request()
}

// bench is a reporter at work, inside a bubble of testing/synctest.
type bench struct {
	t     *testing.T
	store *fakeStore
	r     *status.Reporter
	s     status.State
	stop  context.CancelFunc
	logs  strings.Builder
}

var me = &model.Chassis{Name: "me", IPs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Encaps: []model.Encap{model.EncapGeneve}, Tick: 1}

// start runs a reporter of a chassis that is registered and has nothing else to tell.
func start(t *testing.T) *bench {
	b := &bench{t: t, store: newFakeStore()}
	b.store.chassis = me
	b.s = status.State{Chassis: me, Registered: me, RegisteredRev: 1, Ready: map[string]uint64{}, Present: map[string]bool{},
		Bindings: map[string]status.Seen{}, Status: model.Status{Chassis: "me"}}
	b.restart()
	b.r.SetLease(&store.Lease{})
	b.settle()
	b.store.log = nil
	return b
}

// restart makes a new reporter, as a new daemon does.
func (b *bench) restart() {
	ctx, cancel := context.WithCancel(b.t.Context())
	b.stop = cancel
	b.r = status.New(b.store, "me", slog.New(slog.NewTextHandler(&b.logs, nil)))
	go b.r.Run(ctx)
	b.r.Set(b.s)
}

// appear makes an interface of a port appear; claim numbers the appearance.
func (b *bench) appear(port string, claim uint64) {
	b.s.Ready, b.s.Present = withPort(b.s.Ready, port, claim), withPort(b.s.Present, port, true)
}

func withPort[T any](m map[string]T, port string, value T) map[string]T {
	out := map[string]T{port: value}
	for k, v := range m {
		if k != port {
			out[k] = v
		}
	}
	return out
}

// edit changes the store as somebody else does.
func (b *bench) edit(change func(f *fakeStore)) {
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	change(b.store)
}

// requests are the requests since the last call.
func (b *bench) requests() (n int) {
	b.edit(func(f *fakeStore) { n, f.asked = f.asked, 0 })
	return n
}

func (b *bench) vanish(port string) {
	b.s.Ready, b.s.Present = maps.Clone(b.s.Ready), maps.Clone(b.s.Present)
	delete(b.s.Ready, port)
	delete(b.s.Present, port)
}

// settle shows the reporter what is in the store, until nothing happens any more.
func (b *bench) settle() {
	b.t.Helper()
	for range 5 {
		b.store.mu.Lock()
		b.s.Bindings = maps.Clone(b.store.bindings)
		if b.store.chassAt > 0 {
			b.s.Registered, b.s.RegisteredRev = b.store.chassis, b.store.chassAt
		}
		b.store.mu.Unlock()
		b.r.Set(b.s)
		synctest.Wait()
	}
}

// wrote compares the writes since the last call.
func (b *bench) wrote(when string, want ...string) {
	b.t.Helper()
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	if !slices.Equal(b.store.log, want) {
		b.t.Errorf("%s: wrote %q, want %q", when, b.store.log, want)
	}
	b.store.log = nil
}

func TestTheSwitchesOfPortsAreSaidBeforeAPortIsBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t)
		b.s.Switches = []string{"LS-A"}
		b.appear("p", 1)
		b.settle()
		b.wrote("on a switch", "presence of me on [LS-A]", "bind p to me")
		b.appear("q", 2)
		b.settle()
		b.wrote("another one on it", "bind q to me")
		b.s.Switches = []string{"LS-A", "LS-B"}
		b.appear("r", 3)
		b.edit(func(f *fakeStore) { f.away = errors.New("no etcd") })
		b.r.Set(b.s)
		synctest.Wait()
		b.wrote("the store is away")
		b.edit(func(f *fakeStore) { f.away = nil })
		time.Sleep(10 * time.Second) // the bubble's
		b.settle()
		b.wrote("it is back", "presence of me on [LS-A LS-B]", "bind r to me")
	})
}

func TestAPortThatLeftIsNotBoundAgainBeforeTheSwitchHasAcknowledgedThat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t)
		b.appear("p", 1)
		b.settle()
		b.wrote("ready", "bind p to me")
		b.s.Present = map[string]bool{} // what is acknowledged lags behind what is there
		b.settle()
		b.wrote("gone", "unbind p")
		b.vanish("p")
		b.settle()
		b.wrote("gone, and acknowledged")
	})
}

func TestT20_APortIsBoundOnceItIsReadyAndUnboundWhenItsInterfaceIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t)
		b.s.Present = map[string]bool{"p": true}
		b.settle()
		b.wrote("present, not ready")
		b.appear("p", 1)
		b.settle()
		b.wrote("ready", "bind p to me")
		b.s.Ready = map[string]uint64{}
		b.settle()
		b.wrote("its port number is gone for a moment")
		b.vanish("p")
		b.settle()
		b.wrote("the interface is gone", "unbind p")
	})
}

func TestT69_TheNewestClaimWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t)
		b.s.Initial = 1
		b.edit(func(f *fakeStore) { f.live["other"] = store.Identity{} })
		b.edit(func(f *fakeStore) { f.bindings["p"] = status.Seen{Chassis: "other", Rev: 50} })
		b.appear("p", 2) // after the start
		b.settle()
		b.wrote("an interface appears here", "bind p to me")
		b.edit(func(f *fakeStore) { f.bindings["p"] = status.Seen{Chassis: "other", Rev: f.wrote("other claims")} })
		b.settle()
		b.wrote("it appears there", "other claims", "status 0")
		if p := b.store.status.Problems; len(p) != 1 || p[0].Key != "binding/p" || !strings.Contains(p[0].Reason, "other") {
			t.Errorf("the conflict is told as %v", p)
		}
		b.vanish("p")
		b.settle()
		b.wrote("it leaves here", "status 0")
		if p := b.store.status.Problems; len(p) != 0 {
			t.Errorf("still told: %v", p)
		}
		b.appear("p", 3)
		b.settle()
		b.wrote("and appears again", "bind p to me")
	})
}

func TestT69_ARestartedDaemonDoesNotStealAPort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t)
		b.stop()
		b.edit(func(f *fakeStore) { f.live["other"] = store.Identity{} })
		b.edit(func(f *fakeStore) { f.bindings["p"] = status.Seen{Chassis: "other", Rev: 50} })
		b.edit(func(f *fakeStore) { f.bindings["q"] = status.Seen{Chassis: "me", Rev: 51} })
		b.appear("p", 1)
		b.appear("q", 2)
		b.s.Initial = 2
		b.restart()
		b.r.SetLease(&store.Lease{})
		b.settle()
		b.wrote("after the restart", "presence of me on []", "status 0")
	})
}

func TestADeadChassisLosesItsPorts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t)
		b.edit(func(f *fakeStore) { f.live["other"] = store.Identity{} })
		b.edit(func(f *fakeStore) { f.bindings["p"] = status.Seen{Chassis: "other", Rev: 50} })
		b.appear("p", 1)
		b.s.Initial = 1
		b.settle()
		b.wrote("while it lives", "status 0")
		b.edit(func(f *fakeStore) { delete(f.live, "other") })
		time.Sleep(31 * time.Second) // of the bubble
		synctest.Wait()
		b.wrote("after its death", "bind p to me", "status 0")
	})
}

func TestABindingThatWasDeletedJustAfterItWasWrittenIsMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t)
		b.appear("p", 1)
		b.r.Set(b.s)
		synctest.Wait()
		b.wrote("ready", "bind p to me")
		// Before the watch showed the binding:
		b.edit(func(f *fakeStore) { f.bindings["p"] = status.Seen{Rev: f.wrote("ch del")} })
		b.settle()
		b.wrote("deleted", "ch del", "bind p to me")
	})
}

func TestAConflictIsDecidedByWhatTheWatchSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t)
		b.appear("p", 1)
		b.edit(func(f *fakeStore) { f.live["other"] = store.Identity{} })
		b.edit(func(f *fakeStore) { f.bindings["p"] = status.Seen{Chassis: "other", Rev: 120} }) // not seen yet
		b.r.Set(b.s)
		synctest.Wait()
		b.wrote("with an old view", "conflict p")
		b.settle()
		b.wrote("with the new view", "bind p to me")
	})
}

func TestT19_NothingIsWrittenBeforeTheIdentityIsHeldAndNoPortsBeforeTheNodeIsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, store: newFakeStore()}
		b.appear("p", 1)
		b.s.Status = model.Status{Chassis: "me", Behind: "no connection to the switch"}
		b.restart()
		b.settle()
		b.wrote("without identity")
		b.r.SetLease(&store.Lease{})
		b.settle()
		b.wrote("with identity, not ready", "status 0")
		b.s.Chassis = me
		b.s.Status.Behind = ""
		b.settle()
		b.wrote("ready", "presence of me on []", "chassis me [192.0.2.1] tick 1", "bind p to me", "status 0")
	})
}

func TestT58_ADeletedChassisThatLivesRegistersItselfAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t)
		b.s.Registered, b.s.RegisteredRev = nil, 90
		b.r.Set(b.s)
		synctest.Wait()
		b.wrote("deleted", "presence of me on []", "chassis me [192.0.2.1] tick 1")
		b.r.Set(b.s) // the watch has not shown it yet
		synctest.Wait()
		b.wrote("not seen yet")
		b.s.RegisteredRev = 200 // deleted again
		b.r.Set(b.s)
		synctest.Wait()
		b.wrote("deleted again", "presence of me on []", "chassis me [192.0.2.1] tick 1")
	})
}

func TestX15_AChangedAddressIsRegistered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t)
		moved := *me
		moved.IPs = []netip.Addr{netip.MustParseAddr("192.0.2.9")}
		b.s.Chassis = &moved
		b.settle()
		b.wrote("renumbered", "chassis me [192.0.2.9] tick 1")
	})
}

func TestTheStatusIsWrittenForWaitersAndProblemsNotForRevisions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t)
		set := func(change func(s *model.Status)) {
			change(&b.s.Status)
			b.settle()
		}
		set(func(s *model.Status) { s.Applied = 7 })
		b.wrote("a new revision")
		b.s.Answers++
		set(func(s *model.Status) { s.Applied, s.Answered = 8, map[string]model.Answer{"w": {Affected: true}} })
		b.wrote("an answer", "status 8")
		b.s.Answers++
		set(func(s *model.Status) { s.Applied = 9 })
		b.wrote("the same waiter asked again", "status 9")
		set(func(s *model.Status) { s.Applied, s.Answered = 10, nil })
		b.wrote("the waiter is gone")
		set(func(s *model.Status) { s.Problems = []model.Problem{{Key: "switch/a", Reason: "broken"}} })
		b.wrote("a problem", "status 10")
		set(func(s *model.Status) { s.Problems = []model.Problem{{Key: "switch/a", Reason: "broken"}} })
		b.wrote("the same problem")
		set(func(s *model.Status) { s.Behind = "no connection to the switch" })
		b.wrote("the switch is away", "status 10")
	})
}

func TestWhileTheStoreIsAwayItIsTriedWithBackOffAndSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t)
		b.edit(func(f *fakeStore) { f.away = errors.New("away") })
		b.requests()
		b.appear("p", 1)
		b.appear("q", 2)
		for range 200 { // much happens meanwhile
			b.r.Set(b.s)
			synctest.Wait()
		}
		if n := b.requests(); n > 2 {
			t.Errorf("%d requests at once", n)
		}
		time.Sleep(time.Minute) // of the bubble
		synctest.Wait()
		if n := b.requests(); n < 20 || n > 100 {
			t.Errorf("%d requests in a minute", n)
		}
		if n := strings.Count(b.logs.String(), "level=WARN"); n != 1 {
			t.Errorf("said %d times:\n%s", n, b.logs.String())
		}
		b.edit(func(f *fakeStore) { f.away = nil })
		time.Sleep(3 * time.Second)
		synctest.Wait()
		b.wrote("the store is back", "bind p to me", "bind q to me")
		if !strings.Contains(b.logs.String(), "again") {
			t.Errorf("its return is not said:\n%s", b.logs.String())
		}
	})
}

func TestOnePortThatFailsDoesNotHoldBackTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t)
		b.stop()
		s := &stubborn{fakeStore: b.store, port: "p"}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		r := status.New(s, "me", slog.New(slog.DiscardHandler))
		go r.Run(ctx)
		b.appear("p", 1)
		b.appear("q", 2)
		r.SetLease(&store.Lease{})
		r.Set(b.s)
		synctest.Wait()
		b.wrote("p fails", "presence of me on []", "bind q to me", "status 0")
	})
}

// stubborn refuses to bind one port.
type stubborn struct {
	*fakeStore
	port string
}

func (s *stubborn) Bind(ctx context.Context, port, chassis string, seen int64) (int64, error) {
	if port == s.port {
		return 0, errors.New("refused")
	}
	return s.fakeStore.Bind(ctx, port, chassis, seen)
}
