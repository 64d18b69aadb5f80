package store

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"tuplenet/model"
)

func mustPool(t *testing.T, s *Store, p model.Pool) {
	t.Helper()
	if _, err := s.AddPool(t.Context(), &p); err != nil {
		t.Fatal(err)
	}
}

// pooled adds a switch that takes a subnet from each source, typed as for --pool.
func pooled(t *testing.T, s *Store, name string, sources ...string) (*model.LogicalSwitch, error) {
	t.Helper()
	o := &model.LogicalSwitch{Name: name}
	for _, text := range sources {
		src, err := model.ParseSubnetSource(text)
		if err != nil {
			t.Fatal(err)
		}
		o.Pools = append(o.Pools, src)
	}
	made, _, err := s.AddSwitch(t.Context(), o)
	return made, err
}

func mustPooled(t *testing.T, s *Store, name string, sources ...string) *model.LogicalSwitch {
	t.Helper()
	made, err := pooled(t, s, name, sources...)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func seconds(n int64) *int64 { return &n }

func TestU20_a_switch_takes_the_next_free_prefix(t *testing.T) {
	s := newStore(t)
	mustPool(t, s, model.Pool{Name: "v6", Prefixes: nets("2a0a:e5c0::/29"), Reserved: nets("2a0a:e5c0::/64")})
	mustPool(t, s, model.Pool{Name: "v4", Prefixes: nets("10.0.0.0/23")})
	a := mustPooled(t, s, "a", "v6", "v4/26")
	if want := nets("2a0a:e5c0:0:1::/64", "10.0.0.0/26"); !slices.Equal(a.Subnets, want) || a.VNI != 1 || a.Pools[1].Length != 26 {
		t.Fatalf("%+v", a)
	}
	if b := mustPooled(t, s, "b", "v4"); b.Subnets[0] != nets("10.0.1.0/24")[0] {
		t.Fatalf("a larger prefix does not skip what is used: %v", b.Subnets)
	}
	if c := mustPooled(t, s, "c", "v4/26", "v4/26"); !slices.Equal(c.Subnets, nets("10.0.0.64/26", "10.0.0.128/26")) {
		t.Fatalf("%v", c.Subnets)
	}
	_, err := pooled(t, s, "d", "v4")
	refused(t, err, ErrExhausted, "pool v4 has no free prefix of length 24: 4 are in use, 0 in quarantine")
	_, err = pooled(t, s, "d", "v4=10.0.0.0/25")
	refused(t, err, ErrConflict, "10.0.0.0/26 of pool v4 is used by switch/a")
	_, err = pooled(t, s, "d", "v4=10.0.9.0/24")
	refused(t, err, ErrInvalid, "it is not in pool v4")
	_, err = pooled(t, s, "d", "v6/28")
	refused(t, err, ErrInvalid, "pool v6 gives out /29 to /128")
	_, err = pooled(t, s, "d", "nopool")
	refused(t, err, ErrNotFound, "pool nopool not found")
	_, err = pooled(t, s, "a", "v6")
	refused(t, err, ErrExists, "a already exist")
	if d := mustPooled(t, s, "d", "v6=2a0a:e5c0::/64"); d.Subnets[0] != nets("2a0a:e5c0::/64")[0] {
		t.Fatalf("who names a reserved prefix does not get it: %v", d.Subnets)
	}
	if m, err := s.Misclaims(t.Context()); err != nil || len(m) != 0 {
		t.Fatalf("%v %v", m, err)
	}
}

func TestU04_U20_of_200_at_once_each_has_a_prefix_and_a_number_of_its_own(t *testing.T) {
	s := newStore(t)
	mustPool(t, s, model.Pool{Name: "v6", Prefixes: nets("2001:db8::/48")})
	mustPool(t, s, model.Pool{Name: "v4", Prefixes: nets("10.0.0.0/8"), Strategy: model.StrategyRandom, Seed: 5})
	made := make([]*model.LogicalSwitch, 200)
	errs := crowd(len(made), func(i int) (err error) {
		sources := []model.SubnetSource{{Pool: "v6"}, {Pool: "v4", Length: 20 + i%9}}
		made[i], _, err = s.AddSwitch(context.Background(), &model.LogicalSwitch{Name: fmt.Sprint("s", i), Pools: sources})
		return err
	})
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	numbers := map[model.VNI]bool{}
	var all []netip.Prefix
	for _, m := range made {
		numbers[m.VNI] = true
		for _, p := range m.Subnets {
			if slices.ContainsFunc(all, p.Overlaps) {
				t.Errorf("%s overlaps with a prefix of another switch", p)
			}
			all = append(all, p)
		}
	}
	if len(numbers) != 200 || len(all) != 400 {
		t.Errorf("%d numbers, %d prefixes", len(numbers), len(all))
	}
}

func TestU20_a_freed_prefix_rests_before_it_is_used_again(t *testing.T) {
	s := newStore(t)
	release := func(p string) error { _, err := s.ReleasePrefix(t.Context(), "p", nets(p)[0]); return err }
	mustPool(t, s, model.Pool{Name: "p", Prefixes: nets("10.0.0.0/23")})
	mustPooled(t, s, "a", "p")
	if _, err := s.DeleteSwitch(t.Context(), "a", false); err != nil {
		t.Fatal(err)
	}
	if b := mustPooled(t, s, "b", "p"); b.Subnets[0] != nets("10.0.1.0/24")[0] {
		t.Fatalf("10.0.0.0/24 was given out at once: %v", b.Subnets)
	}
	_, err := pooled(t, s, "c", "p")
	refused(t, err, ErrExhausted, "1 are in use, 1 in quarantine")
	held, err := s.Held(t.Context(), "p", true)
	if err != nil || len(held) != 2 || held[0].Owner != "switch/a" || held[0].Quarantine < 59*time.Minute || held[0].Quarantine > time.Hour || held[1].Quarantine != 0 {
		t.Fatalf("%+v %v", held, err)
	}
	if m, err := s.Misclaims(t.Context()); err != nil || len(m) != 0 {
		t.Fatalf("a check complains about a quarantine: %v %v", m, err)
	}
	_, err = pooled(t, s, "c", "p=10.0.0.0/25")
	refused(t, err, ErrConflict, `is in quarantine, end that with "tpctl pool release"`)
	refused(t, release("10.0.1.0/24"), ErrConflict, "is used by switch/b")
	refused(t, release("10.0.7.0/24"), ErrNotFound, "is not in quarantine")
	if c := mustPooled(t, s, "c", "p=10.0.0.0/24"); c.Subnets[0] != nets("10.0.0.0/24")[0] { // named: at once
		t.Fatal(c.Subnets)
	}
	if _, err := s.DeleteSubnet(t.Context(), "c", nets("10.0.0.0/24")[0]); err != nil {
		t.Fatal(err)
	}
	if err := release("10.0.0.0/24"); err != nil {
		t.Fatal(err)
	}
	mustPooled(t, s, "d", "p")
}

func TestU20_after_the_quarantine_a_prefix_is_used_again(t *testing.T) {
	s := newStore(t)
	mustPool(t, s, model.Pool{Name: "short", Prefixes: nets("10.0.0.0/24"), Quarantine: seconds(1)})
	mustPool(t, s, model.Pool{Name: "none", Prefixes: nets("10.1.0.0/24"), Quarantine: seconds(0)})
	for _, pool := range []string{"none", "short"} {
		mustPooled(t, s, "a", pool)
		if _, err := s.DeleteSwitch(t.Context(), "a", true); err != nil {
			t.Fatal(err)
		}
	}
	mustPooled(t, s, "again", "none")
	ctx := within(t, time.Minute)
	for tick := time.NewTicker(50 * time.Millisecond); ; {
		_, err := pooled(t, s, "b", "short")
		if err == nil {
			return
		}
		refused(t, err, ErrExhausted, "1 in quarantine")
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("the quarantine of a second does not end")
		}
	}
}

func TestU20_a_pool_goes_when_nothing_of_it_is_in_use(t *testing.T) {
	s := newStore(t)
	mustPool(t, s, model.Pool{Name: "p", Prefixes: nets("10.0.0.0/23")})
	refused(t, func() error {
		_, err := s.AddPool(t.Context(), &model.Pool{Name: "p", Prefixes: nets("10.0.0.0/8")})
		return err
	}(), ErrExists, "p already exist")
	mustPooled(t, s, "a", "p")
	_, err := s.DeletePool(t.Context(), "p")
	refused(t, err, ErrChildren, "10.0.0.0/24 is used by switch/a")
	if _, err := s.DeleteSwitch(t.Context(), "a", false); err != nil {
		t.Fatal(err)
	}
	if _, err := s.DeletePool(t.Context(), "p"); err != nil {
		t.Fatal(err)
	}
	if keys := keysOf(t, s); len(keys) != 0 {
		t.Errorf("left: %q", keys)
	}
	_, err = s.DeletePool(t.Context(), "p")
	refused(t, err, ErrNotFound, "pool p not found")
}

func TestU19_subnets_come_after_their_switch(t *testing.T) {
	s := newStore(t)
	mustPool(t, s, model.Pool{Name: "v6", Prefixes: nets("2001:db8::/32")})
	from := &model.SubnetSource{Pool: "v6"}
	_, _, _, err := s.AddSubnet(t.Context(), "net", netip.Prefix{}, from)
	refused(t, err, ErrNotFound, "switch net not found")
	mustSwitch(t, s, "net")
	_, p, _, err := s.AddSubnet(t.Context(), "net", netip.Prefix{}, from)
	if err != nil || p != nets("2001:db8::/64")[0] {
		t.Fatal(p, err)
	}
	ls, _, _, err := s.AddSubnet(t.Context(), "net", nets("10.0.0.0/24")[0], nil)
	if err != nil || !slices.Equal(ls.Subnets, nets("2001:db8::/64", "10.0.0.0/24")) {
		t.Fatalf("%+v %v", ls, err)
	}
	_, _, _, err = s.AddSubnet(t.Context(), "net", nets("10.0.0.0/24")[0], nil)
	refused(t, err, ErrExists, "subnet 10.0.0.0/24 exists")
	_, _, _, err = s.AddSubnet(t.Context(), "net", nets("10.0.0.0/16")[0], nil)
	refused(t, err, ErrInvalid, "overlaps")

	port, _, err := s.AddSwitchPort(t.Context(), &model.LogicalSwitchPort{Switch: "net", Name: "w"})
	if err != nil || len(port.IPs) != 2 {
		t.Fatalf("%+v %v", port, err)
	}
	for _, p := range ls.Subnets {
		_, err = s.DeleteSubnet(t.Context(), "net", p)
		refused(t, err, ErrChildren, "switchport/net/w has an address in it")
	}
	if _, err := s.DeleteSwitchPort(t.Context(), "net", "w"); err != nil {
		t.Fatal(err)
	}
	for _, p := range ls.Subnets {
		if _, err := s.DeleteSubnet(t.Context(), "net", p); err != nil {
			t.Fatal(err)
		}
	}
	_, err = s.DeleteSubnet(t.Context(), "net", nets("10.0.0.0/24")[0])
	refused(t, err, ErrNotFound, "subnet 10.0.0.0/24 not found in switch net")
}

func TestU32_a_document_makes_a_network_with_its_subnets_once(t *testing.T) {
	s := newStore(t)
	docs := `
apiVersion: tuplenet/v1
kind: LogicalSwitch
metadata: {name: order}
spec:
  subnets: [192.0.2.0/24]
  pools: [{pool: v6}, {pool: v4, length: 26}]
---
apiVersion: tuplenet/v1
kind: Pool
metadata: {name: v6}
spec: {prefixes: ["2001:db8::/32"]}
---
apiVersion: tuplenet/v1
kind: Pool
metadata: {name: v4}
spec: {prefixes: [10.0.0.0/8]}
---
apiVersion: tuplenet/v1
kind: LogicalSwitchPort
metadata: {name: w, switch: order}
`
	apply := func(docs string) []Step {
		t.Helper()
		wanted, err := model.ReadDocuments(strings.NewReader(docs))
		if err != nil {
			t.Fatal(err)
		}
		plan, err := s.Plan(t.Context(), model.InOrder(wanted), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Carry(t.Context(), plan, nil); err != nil {
			t.Fatal(err)
		}
		return plan.Steps
	}
	apply(docs)
	ls, _, err := s.switchAt(t.Context(), "order")
	if want := nets("192.0.2.0/24", "2001:db8::/64", "10.0.0.0/26"); err != nil || !slices.Equal(ls.Subnets, want) {
		t.Fatalf("%+v %v", ls, err)
	}
	if steps := apply(docs); len(steps) != 0 {
		t.Errorf("applied again it changes %+v", steps)
	}
	apply(strings.Replace(docs, "{pool: v6}", "{pool: v6}, {pool: v6}", 1))
	if ls, _, err = s.switchAt(t.Context(), "order"); err != nil || len(ls.Subnets) != 4 || ls.Pools[1].Subnet != nets("2001:db8:0:1::/64")[0] {
		t.Fatalf("%+v %v", ls, err)
	}
	if steps := apply(docs); len(steps) != 1 {
		t.Fatalf("%+v", steps)
	}
	held, err := s.Held(t.Context(), "v6", false)
	if err != nil || len(held) != 2 || held[1].Quarantine == 0 {
		t.Errorf("what a document does not want any more: %+v %v", held, err)
	}
	plan, err := s.Plan(t.Context(), nil, func(model.Object) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Carry(t.Context(), plan, nil); err != nil {
		t.Fatal(err)
	}
	if keys := keysOf(t, s); len(keys) != 0 {
		t.Errorf("left: %q", keys)
	}
}

func TestU25_U27_U28_a_port_gets_the_families_that_are_asked_for(t *testing.T) {
	s := newStore(t)
	for name, subnets := range map[string][]netip.Prefix{"l2": nil, "both": nets("10.0.0.0/24", "2001:db8::/64"), "long": nets("2001:db8::/112")} {
		if _, _, err := s.AddSwitch(t.Context(), &model.LogicalSwitch{Name: name, Subnets: subnets}); err != nil {
			t.Fatal(err)
		}
	}
	add := func(ls, name string, f Families, ips ...string) (*model.LogicalSwitchPort, error) {
		p, _, err := s.AddSwitchPort(t.Context(), &model.LogicalSwitchPort{Switch: ls, Name: name, IPs: addrs(ips...)}, FromSubnets(f))
		return p, err
	}
	p, err := add("both", "a", Families{IPv4: true})
	if err != nil || !slices.Equal(p.IPs, addrs("10.0.0.2")) {
		t.Fatalf("%+v %v", p, err)
	}
	p, err = add("both", "b", Families{IPv6: true, EUI64: true})
	if want, _ := p.MAC.EUI64(nets("2001:db8::/64")[0]); err != nil || !slices.Equal(p.IPs, []netip.Addr{want}) {
		t.Fatalf("%+v %v", p, err)
	}
	p, err = add("both", "c", Families{IPv6: true}, "10.0.0.77")
	if err != nil || len(p.IPs) != 2 || p.IPs[0] != addrs("10.0.0.77")[0] {
		t.Fatalf("%+v %v", p, err)
	}
	_, err = add("l2", "d", Families{IPv4: true})
	refused(t, err, ErrInvalid, `switch l2 has no subnet of IPv4: give it one with "tpctl subnet add"`)
	_, err = add("long", "d", Families{IPv6: true, EUI64: true})
	refused(t, err, ErrInvalid, "longer than 64")
	if p, err = add("long", "d", Families{IPv6: true}); err != nil || p.IPs[0] != addrs("2001:db8::2")[0] {
		t.Fatalf("%+v %v", p, err)
	}
}

func TestU29_MACs_with_a_prefix_are_distinct_in_a_crowd(t *testing.T) {
	s := newStore(t)
	if _, _, err := s.AddSwitch(t.Context(), &model.LogicalSwitch{Name: "net", MACPrefix: "02:42:ac", Subnets: nets("10.0.0.0/16", "2001:db8::/64")}); err != nil {
		t.Fatal(err)
	}
	made := make([]*model.LogicalSwitchPort, 60)
	errs := crowd(len(made), func(i int) (err error) {
		made[i], _, err = s.AddSwitchPort(context.Background(), &model.LogicalSwitchPort{Switch: "net", Name: fmt.Sprint("p", i)})
		return err
	})
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	batch, _, err := s.AddAll(t.Context(), []model.Object{&model.LogicalSwitchPort{Switch: "net", Name: "batch", Type: model.PortVIF, IPs: addrs("10.0.9.9")}})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[model.MAC]bool{}
	for _, p := range append(made, batch[0].(*model.LogicalSwitchPort)) {
		if !strings.HasPrefix(p.MAC.String(), "02:42:ac:") {
			t.Errorf("%s has %s", p.Name, p.MAC)
		}
		seen[p.MAC] = true
	}
	if len(seen) != len(made)+1 {
		t.Errorf("%d MACs of %d ports", len(seen), len(made)+1)
	}
}

// ledger is a service that gives out prefixes.
type ledger struct {
	of     map[string]netip.Prefix // owner → prefix
	next   []netip.Prefix
	broken error
}

func (l *ledger) Allocate(_ context.Context, _ *model.Pool, owner string, _ int, _ netip.Prefix) (netip.Prefix, error) {
	if p, ok := l.of[owner]; ok || l.broken != nil {
		return p, l.broken
	}
	p := l.next[0]
	l.of[owner], l.next = p, l.next[1:]
	return p, nil
}

func (l *ledger) Release(_ context.Context, _ *model.Pool, owner string, _ netip.Prefix) error {
	if l.broken == nil {
		delete(l.of, owner)
	}
	return l.broken
}

func TestU21_a_driver_gives_out_what_the_store_then_holds(t *testing.T) {
	s := newStore(t)
	mustPool(t, s, model.Pool{Name: "ext", Prefixes: nets("10.0.0.0/8"), Driver: "d", Quarantine: seconds(0)})
	l := &ledger{of: map[string]netip.Prefix{}, next: nets("10.1.0.0/24", "10.1.0.0/24", "11.0.0.0/24", "10.3.0.0/24")}
	add := func(name string) error {
		_, _, err := s.AddSwitch(t.Context(), &model.LogicalSwitch{Name: name, Pools: []model.SubnetSource{{Pool: "ext"}}}, WithPrefixService(l))
		return err
	}
	if err := add("a"); err != nil {
		t.Fatal(err)
	}
	before := keysOf(t, s)
	refused(t, add("a"), ErrExists, "a already exist")
	refused(t, add("b"), ErrConflict, "10.1.0.0/24 of pool ext is used by switch/a") // the driver errs
	refused(t, add("b"), ErrInvalid, "the driver d gave 11.0.0.0/24")
	l.broken = errors.New("out of\norder")
	refused(t, add("b"), ErrInvalid, "pool ext: out of order")
	if after := keysOf(t, s); !slices.Equal(before, after) {
		t.Errorf("half of it is written: %q", after)
	}
	l.broken = nil
	if len(l.of) != 1 {
		t.Errorf("not given back: %v", l.of)
	}
	_, err := pooled(t, s, "b", "ext")
	refused(t, err, ErrInvalid, "has the driver d")
	_, _, _, err = s.AddSubnet(t.Context(), "a", netip.Prefix{}, &model.SubnetSource{Pool: "ext"}, WithPrefixService(l))
	refused(t, err, ErrInvalid, "gives one subnet to each switch")

	l.broken = errors.New("gone")
	_, err = s.DeleteSwitch(t.Context(), "a", false, WithPrefixService(l))
	if err == nil || !strings.Contains(err.Error(), `switch/a is done, but 10.1.0.0/24 was not given back to the driver d, do that with "tpctl pool release ext 10.1.0.0/24": gone`) {
		t.Fatal(err)
	}
	if _, _, err := s.switchAt(t.Context(), "a"); !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}
	l.broken = nil
	if _, err := s.ReleasePrefix(t.Context(), "ext", nets("10.1.0.0/24")[0], WithPrefixService(l)); err != nil {
		t.Fatal(err)
	}
}
