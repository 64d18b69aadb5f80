package store

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"tuplenet/model"
)

func pool(subnet string, reserved ...string) Pool {
	return Pool{Subnet: netip.MustParsePrefix(subnet), Reserved: addrs(reserved...)}
}

func TestT53_a_pool_of_the_callers_gives_the_lowest_free_address_and_never_the_reserved_one(t *testing.T) {
	s := newStore(t)
	mustSwitch(t, s, "LS-A")
	add := func(name string, ips []netip.Addr, p ...Pool) (*model.LogicalSwitchPort, error) {
		o, _, err := s.AddSwitchPort(t.Context(), &model.LogicalSwitchPort{Switch: "LS-A", Name: name, IPs: ips}, FromPools(p...))
		return o, err
	}
	for i, want := range []string{"10.0.0.1", "10.0.0.2", "10.0.0.4", "10.0.0.5", "10.0.0.6"} {
		o, err := add(fmt.Sprint("p", i), nil, pool("10.0.0.0/29", "10.0.0.3", "192.0.2.1"))
		if err != nil || !slices.Equal(o.IPs, addrs(want)) {
			t.Fatalf("%v, %v: want %s", o, err, want)
		}
	}
	_, err := add("p9", nil, pool("10.0.0.0/29", "10.0.0.3"))
	refused(t, err, ErrExhausted, "no free address in 10.0.0.0/29 is left")
	if _, err := s.DeleteSwitchPort(t.Context(), "LS-A", "p1"); err != nil {
		t.Fatal(err)
	}
	o, err := add("p9", nil, pool("10.0.0.0/29", "10.0.0.3"))
	if err != nil || !slices.Equal(o.IPs, addrs("10.0.0.2")) {
		t.Fatalf("%v, %v: want the address that was given back", o, err)
	}
	o, err = add("dual", addrs("10.0.1.77"), pool("2001:db8::/120", "2001:db8::1"))
	if err != nil || !slices.Equal(o.IPs, addrs("10.0.1.77", "2001:db8::2")) || o.MAC != model.DeriveMAC(addrs("10.0.1.77")[0]) {
		t.Fatalf("%v, %v: want the given address and one of the pool", o, err)
	}
	// The gateway's address may be taken already, by the port that leads to the router.
	mustRouter(t, s, "LR")
	if _, _, _, err := s.Link(t.Context(), "LR", "LS-A", nets("10.0.2.1/29")); err != nil {
		t.Fatal(err)
	}
	if o, err = add("linked", nil, pool("10.0.2.0/29", "10.0.2.1")); err != nil || !slices.Equal(o.IPs, addrs("10.0.2.2")) {
		t.Fatalf("%v, %v", o, err)
	}
}

func TestT53_a_large_pool_with_a_reserved_address_is_given_out_to_the_last(t *testing.T) {
	s := newStore(t)
	mustSwitch(t, s, "LS-A")
	seen := map[netip.Addr]bool{}
	const n = 61 // of a /26 without network, broadcast and gateway
	errs := crowd(n, func(i int) error {
		_, _, err := s.AddSwitchPort(t.Context(), &model.LogicalSwitchPort{Switch: "LS-A", Name: fmt.Sprint("p", i)}, FromPools(pool("10.0.0.0/26", "10.0.0.50")))
		return err
	})
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	snap, err := s.Snapshot(t.Context(), model.KindSwitchPort)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range snap.SwitchPorts("LS-A") {
		seen[p.IPs[0]] = true
	}
	if len(seen) != n || seen[addrs("10.0.0.50")[0]] {
		t.Fatalf("%d addresses, the gateway's among them: %v", len(seen), seen[addrs("10.0.0.50")[0]])
	}
	_, _, err = s.AddSwitchPort(t.Context(), &model.LogicalSwitchPort{Switch: "LS-A", Name: "more"}, FromPools(pool("10.0.0.0/26", "10.0.0.50")))
	refused(t, err, ErrExhausted, "no free address")
}

func TestA_port_is_found_by_its_name_alone(t *testing.T) {
	s := newStore(t)
	mustSwitch(t, s, "LS-A")
	if _, _, err := s.AddSwitchPort(t.Context(), &model.LogicalSwitchPort{Switch: "LS-A", Name: "p", IPs: addrs("10.0.0.9")}); err != nil {
		t.Fatal(err)
	}
	ref, err := s.PortNamed(t.Context(), "p")
	if err != nil || ref != (model.Ref{Kind: model.KindSwitchPort, Parent: "LS-A", Name: "p"}) {
		t.Fatal(ref, err)
	}
	_, err = s.PortNamed(t.Context(), "q")
	refused(t, err, ErrNotFound, "port q not found")
	o, err := s.SwitchPort(t.Context(), "LS-A", "p")
	if err != nil || !slices.Equal(o.IPs, addrs("10.0.0.9")) {
		t.Fatal(o, err)
	}
	_, err = s.Switch(t.Context(), "LS-B")
	refused(t, err, ErrNotFound, "switch LS-B not found")
}

func TestA_binding_is_awaited_on_the_chassis_that_was_named(t *testing.T) {
	s := newStore(t)
	ctx := within(t, time.Minute)
	mustSwitch(t, s, "LS-A")
	mustPort(t, s, "LS-A", "p")
	got := make(chan int64, 1)
	go func() {
		rev, _ := s.AwaitBinding(ctx, "p", "hv2")
		got <- rev
	}()
	first, err := s.Bind(ctx, "p", "hv1", 0)
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.Bind(ctx, "p", "hv2", first)
	if err != nil {
		t.Fatal(err)
	}
	if rev := <-got; rev != second {
		t.Fatalf("revision %d, want %d", rev, second)
	}
	if rev, err := s.AwaitBinding(ctx, "p", "hv2"); err != nil || rev != second {
		t.Fatal("a binding that is there already:", rev, err)
	}
	if _, err := s.DeleteSwitchPort(ctx, "LS-A", "p"); err != nil {
		t.Fatal(err)
	}
	put(t, s, "binding/p", `{"port":"p","chassis":"hv2"}`) // by a daemon of an earlier version, which did not know yet
	mustPort(t, s, "LS-A", "p")
	early := within(t, 50*time.Millisecond)
	if _, err := s.AwaitBinding(early, "p", "hv2"); err == nil {
		t.Fatal("bound by what was bound before the port was made")
	}
	o, err := s.load(ctx, model.Ref{Kind: model.KindBinding, Name: "p"})
	if err != nil {
		t.Fatal(err)
	}
	if third, err := s.Bind(ctx, "p", "hv2", o.rev); err != nil {
		t.Fatal(err)
	} else if rev, err := s.AwaitBinding(ctx, "p", "hv2"); err != nil || rev != third {
		t.Fatal(rev, err)
	}
	short := within(t, 50*time.Millisecond)
	if _, err := s.AwaitBinding(short, "p", "hv3"); err == nil {
		t.Fatal("bound to a chassis that has never been")
	}
}

func TestReceipts_are_for_everything_up_to_now(t *testing.T) {
	s := newStore(t)
	mustSwitch(t, s, "LS")
	mustPort(t, s, "LS", "p")
	bound, err := s.Bind(t.Context(), "p", "hv1", 0)
	if err != nil {
		t.Fatal(err)
	}
	rev, err := s.RequestReceipts(t.Context(), "w1")
	if err != nil || rev <= bound {
		t.Fatalf("revision %d behind %d: %v", rev, bound, err)
	}
	r, err := s.Await(t.Context(), Wait{ID: "w1", Revision: rev, Limit: time.Minute})
	if err != nil || len(r.Laggards) != 0 { // nobody is alive
		t.Fatal(r, err)
	}
}
