package store

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"go.etcd.io/etcd/client/v3"

	"tuplenet/model"
)

func TestA_space_of_numbers_that_is_full_is_told(t *testing.T) {
	s := newStore(t)
	in := model.Ref{Kind: model.KindSwitch, Name: "LS"}
	small := portKeys(in)
	for n := uint32(1); n <= 5; n++ {
		put(t, s, "unique/"+small.claim(n), "x")
	}
	small.last = 5
	_, err := s.free(t.Context(), small, 1)
	refused(t, err, ErrExhausted, "no free port key of switch/LS is left")
	small.last = 6
	if got, err := s.free(t.Context(), small, 3); err != nil || !slices.Equal(got, []uint32{6}) {
		t.Fatal(got, err)
	}
}

func TestNumbers_are_found_behind_a_full_page(t *testing.T) {
	s := newStore(t)
	c := raw(t, s)
	fill := func(from, to int) {
		for n := from; n <= to; n += 100 {
			var ops []clientv3.Op
			for k := n; k < n+100 && k <= to; k++ {
				ops = append(ops, clientv3.OpPut(s.keys.unique(model.ClaimVNI(model.VNI(k))), "switch/x"))
			}
			if _, err := c.Txn(context.Background()).Then(ops...).Commit(); err != nil {
				t.Fatal(err)
			}
		}
	}
	fill(1, 3000)
	if got := mustSwitch(t, s, "a"); got.VNI != 3001 {
		t.Fatalf("got %d", got.VNI)
	}
	fill(3001, 5000)
	if _, err := c.Delete(context.Background(), s.keys.unique(model.ClaimVNI(2345))); err != nil {
		t.Fatal(err)
	}
	put(t, s, "unique/vni/zzz", "by hand")
	if got := mustSwitch(t, s, "b"); got.VNI != 2345 {
		t.Fatalf("got %d", got.VNI)
	}
	// A crowd that looks for the few free numbers of a part that is nearly full.
	for _, n := range []int{4100, 4101, 4102} {
		if _, err := c.Delete(context.Background(), s.keys.unique(model.ClaimVNI(model.VNI(n)))); err != nil {
			t.Fatal(err)
		}
	}
	for i, err := range crowd(40, func(i int) error {
		_, _, err := s.AddSwitch(t.Context(), &model.LogicalSwitch{Name: fmt.Sprintf("c%d", i)})
		return err
	}) {
		if err != nil {
			t.Fatal(i, err)
		}
	}
	if got := mustSwitch(t, s, "last"); got.VNI != 5001+37 {
		t.Fatalf("got %d", got.VNI)
	}
}

func TestPorts_without_addresses_get_free_ones_of_each_subnet(t *testing.T) {
	s := newStore(t)
	if _, _, err := s.AddSwitch(t.Context(), &model.LogicalSwitch{Name: "LS", Subnets: nets("10.0.0.0/28", "2001:db8::/64")}); err != nil {
		t.Fatal(err)
	}
	mustRouter(t, s, "LR")
	if _, _, _, err := s.Link(t.Context(), "LR", "LS", nets("10.0.0.3/28", "2001:db8::1/64")); err != nil {
		t.Fatal(err)
	}
	p, _, err := s.AddSwitchPort(t.Context(), &model.LogicalSwitchPort{Switch: "LS", Name: "p"})
	if err != nil || !slices.Equal(p.IPs, addrs("10.0.0.2", "2001:db8::f001:aff:fe00:2")) || p.MAC.String() != "f2:01:0a:00:00:02" {
		t.Fatalf("%v %v", p, err)
	}
	_, _, err = s.AddSwitchPort(t.Context(), &model.LogicalSwitchPort{Switch: "LS", Name: "r", MAC: p.MAC})
	refused(t, err, ErrConflict, "conflict with other")
	// 16 addresses: network, gateway, broadcast and the two in use leave 11.
	errs := crowd(14, func(i int) error {
		_, _, err := s.AddSwitchPort(t.Context(), &model.LogicalSwitchPort{Switch: "LS", Name: fmt.Sprintf("p%d", i)})
		return err
	})
	failed := 0
	for _, err := range errs {
		if err != nil {
			failed++
			refused(t, err, ErrExhausted, "no free address in 10.0.0.0/28 is left")
		}
	}
	if failed != 3 {
		t.Fatalf("%d of 14 failed", failed)
	}
	if _, err := s.DeleteSwitchPort(t.Context(), "LS", "p"); err != nil {
		t.Fatal(err)
	}
	mac := model.MAC{2, 0, 0, 0, 0, 9}
	q, _, err := s.AddSwitchPort(t.Context(), &model.LogicalSwitchPort{Switch: "LS", Name: "q", MAC: mac})
	if err != nil || !slices.Equal(q.IPs, addrs("10.0.0.2", "2001:db8::ff:fe00:9")) {
		t.Fatalf("%v %v", q, err)
	}
}

func TestPorts_of_an_ipv6_only_switch_get_the_address_of_their_mac(t *testing.T) {
	s := newStore(t)
	if _, _, err := s.AddSwitch(t.Context(), &model.LogicalSwitch{Name: "LS", Subnets: nets("2001:db8::/64")}); err != nil {
		t.Fatal(err)
	}
	thief := model.DeriveMACFromName("LS", "p")
	for _, name := range []string{"thief", "p"} {
		mac := model.MAC{}
		if name == "thief" {
			mac = thief
		}
		p, _, err := s.AddSwitchPort(t.Context(), &model.LogicalSwitchPort{Switch: "LS", Name: name, MAC: mac})
		if err != nil {
			t.Fatal(err)
		}
		if want, _ := p.MAC.EUI64(nets("2001:db8::/64")[0]); len(p.IPs) != 1 || p.IPs[0] != want {
			t.Fatalf("%+v", p)
		}
		if name == "p" && p.MAC == thief {
			t.Fatal("the MAC is not unique")
		}
	}
}
