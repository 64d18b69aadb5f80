package store

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.etcd.io/etcd/client/v3"

	"tuplenet/model"
)

func addrs(list ...string) []netip.Addr {
	var out []netip.Addr
	for _, a := range list {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

func nets(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, a := range list {
		out = append(out, netip.MustParsePrefix(a))
	}
	return out
}

// refused asserts the reason and the words of an error, and that it is one line.
func refused(t *testing.T, err, reason error, words string) {
	t.Helper()
	if !errors.Is(err, reason) || !strings.Contains(err.Error(), words) || strings.Contains(err.Error(), "\n") {
		t.Fatalf("got error %q, want one line with %q because of %q", err, words, reason)
	}
}

func TestT05_switches_get_the_lowest_free_id_and_names_are_unique(t *testing.T) {
	s := newStore(t)
	a, b, r := mustSwitch(t, s, "LS-A"), mustSwitch(t, s, "LS-B"), mustRouter(t, s, "LR")
	if a.VNI != 1 || b.VNI != 2 || r.ID != 3 {
		t.Fatalf("ids %d %d %d, want 1 2 3", a.VNI, b.VNI, r.ID)
	}
	_, _, err := s.AddSwitch(t.Context(), &model.LogicalSwitch{Name: "LS-A"})
	refused(t, err, ErrExists, "LS-A already exist")
	_, _, err = s.AddRouter(t.Context(), &model.LogicalRouter{Name: "LR"})
	refused(t, err, ErrExists, "LR already exist")
	if _, err := s.DeleteSwitch(t.Context(), "LS-A", false); err != nil {
		t.Fatal(err)
	}
	if c := mustSwitch(t, s, "LS-C"); c.VNI != 1 {
		t.Fatalf("a deleted id did not return: got %d", c.VNI)
	}
	mustSwitch(t, s, "LR") // a switch may be called as a router is
}

func TestU04_U11_a_given_vni_is_taken_or_refused(t *testing.T) {
	s := newStore(t)
	for _, v := range []model.VNI{1, 0xffffff, 3} {
		if _, _, err := s.AddSwitch(t.Context(), &model.LogicalSwitch{Name: "s" + v.String(), VNI: v}); err != nil {
			t.Fatal(err)
		}
	}
	_, _, err := s.AddRouter(t.Context(), &model.LogicalRouter{Name: "r", ID: 3})
	refused(t, err, ErrConflict, "conflict with other VNI: 0x3 is used by switch/s3")
	_, _, err = s.AddSwitch(t.Context(), &model.LogicalSwitch{Name: "big", VNI: 0x1000000})
	refused(t, err, ErrInvalid, "16777215")
	if r := mustRouter(t, s, "r"); r.ID != 2 {
		t.Fatalf("the gap was not used: %d", r.ID)
	}
}

// A multicast network has ports of workloads only, however others are added.
func TestU01_what_a_multicast_network_cannot_have_is_refused(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	if _, _, err := s.AddSwitch(ctx, &model.LogicalSwitch{Name: "N", Type: model.SwitchMulticast, Device: "eth1", VNI: 0xff01}); err != nil {
		t.Fatal(err)
	}
	snap, err := s.Snapshot(ctx, model.KindSwitch)
	if err != nil || len(snap.Switches()) != 1 || snap.Switches()[0].Type != model.SwitchMulticast || snap.Switches()[0].Device != "eth1" {
		t.Fatal(snap, err)
	}
	mustRouter(t, s, "LR")
	const only = "ports of workloads only"
	_, _, _, err = s.Link(ctx, "LR", "N", []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")})
	refused(t, err, ErrInvalid, only)
	router := &model.LogicalSwitchPort{Switch: "N", Name: "r", Type: model.PortRouter, Peer: "rp"}
	patch := &model.LogicalSwitchPort{Switch: "N", Name: "p", Type: model.PortPatch, Chassis: "hv"}
	for _, p := range []*model.LogicalSwitchPort{router, patch} {
		_, _, err = s.AddSwitchPort(ctx, p)
		refused(t, err, ErrInvalid, only)
		_, _, err = s.AddAll(ctx, []model.Object{p})
		refused(t, err, ErrInvalid, only)
	}
	_, _, err = s.AddAll(ctx, []model.Object{&model.LogicalSwitch{Name: "M", Type: model.SwitchMulticast}, &model.LogicalSwitchPort{Switch: "M", Name: "m", Type: model.PortPatch}})
	refused(t, err, ErrInvalid, only)
	if _, _, err := s.AddSwitchPort(ctx, &model.LogicalSwitchPort{Switch: "N", Name: "vm", IPs: []netip.Addr{netip.MustParseAddr("10.0.0.2")}}); err != nil {
		t.Fatal(err)
	}
	for _, o := range []model.Object{&model.LogicalSwitch{Name: "N"}, &model.LogicalSwitchPort{Switch: "N", Name: "vm", Type: model.PortRouter, Peer: "rp"}} {
		plan, err := s.Plan(ctx, []model.Object{o}, nil)
		if err != nil || len(plan.Steps) != 1 {
			t.Fatal(plan, err)
		}
		_, err = s.Carry(ctx, plan, nil)
		refused(t, err, ErrInvalid, "invalid")
	}
	plan, err := s.Plan(ctx, []model.Object{&model.LogicalSwitch{Name: "N", Type: model.SwitchMulticast, Device: "eth2"}}, nil)
	if err == nil {
		_, err = s.Carry(ctx, plan, nil)
	}
	if err != nil {
		t.Fatal("another device:", err)
	}
	_, _, err = s.AddSwitchPort(ctx, &model.LogicalSwitchPort{Switch: "nowhere", Name: "p", Type: model.PortPatch, Chassis: "hv"})
	refused(t, err, ErrNotFound, "switch nowhere not found")
}

// crowd runs n calls at once and returns their errors.
func crowd(n int, f func(i int) error) []error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = f(i) })
	}
	wg.Wait()
	return errs
}

func TestT05_U04_two_hundred_adders_at_once_get_distinct_lowest_ids(t *testing.T) {
	s := newStore(t)
	clients := []*Store{s, s.another(t), s.another(t), s.another(t)}
	for i, err := range crowd(200, func(i int) error {
		_, _, err := clients[i%len(clients)].AddSwitch(t.Context(), &model.LogicalSwitch{Name: fmt.Sprintf("LS-%d", i)})
		return err
	}) {
		if err != nil {
			t.Fatalf("adder %d: %v", i, err)
		}
	}
	snap, err := s.Snapshot(t.Context(), model.KindSwitch)
	if err != nil {
		t.Fatal(err)
	}
	var ids []int
	for _, o := range snap.Switches() {
		ids = append(ids, int(o.VNI))
	}
	slices.Sort(ids)
	if len(ids) != 200 || ids[0] != 1 || ids[199] != 200 || len(slices.Compact(ids)) != 200 {
		t.Fatalf("ids are not 1 … 200: %v", ids)
	}
}

func TestT13_one_of_fifty_adders_of_an_address_succeeds(t *testing.T) {
	s := newStore(t)
	mustSwitch(t, s, "LS")
	won := 0
	for _, err := range crowd(50, func(i int) error {
		_, _, err := s.AddSwitchPort(t.Context(), &model.LogicalSwitchPort{Switch: "LS", Name: fmt.Sprintf("p%d", i), IPs: addrs("10.0.0.5")})
		return err
	}) {
		if err == nil {
			won++
			continue
		}
		refused(t, err, ErrConflict, "conflict with other IP")
	}
	if won != 1 {
		t.Fatalf("%d adders have the address", won)
	}
	// What was refused left nothing behind: object, vni, and of the port name, key, ip, mac.
	if got := keysOf(t, s); len(got) != 7 {
		t.Fatalf("keys: %q", got)
	}
}

func TestT13_addresses_are_unique_within_a_switch_and_within_a_router(t *testing.T) {
	s := newStore(t)
	mustSwitch(t, s, "A")
	mustSwitch(t, s, "B")
	mustRouter(t, s, "A")
	add := func(ls, name string, mac model.MAC, ips ...string) error {
		_, _, err := s.AddSwitchPort(t.Context(), &model.LogicalSwitchPort{Switch: ls, Name: name, MAC: mac, IPs: addrs(ips...)})
		return err
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(add("A", "p1", model.MAC{2, 0, 0, 0, 0, 1}, "10.0.0.1", "2001:db8::1"))
	must(add("B", "p2", model.MAC{2, 0, 0, 0, 0, 1}, "10.0.0.1"))
	refused(t, add("A", "p3", model.MAC{}, "10.0.0.9", "2001:db8::1"), ErrConflict, "conflict with other IP: 2001:db8::1 is used by switchport/A/p1")
	refused(t, add("A", "p3", model.MAC{2, 0, 0, 0, 0, 1}, "10.0.0.9"), ErrConflict, "conflict with other MAC: 02:00:00:00:00:01")
	refused(t, add("A", "p2", model.MAC{}, "10.0.0.9"), ErrExists, "p2 exists: switchport/B/p2")
	refused(t, add("C", "p3", model.MAC{}), ErrNotFound, "switch C not found")
	must(add("A", "p3", model.MAC{}, "10.0.0.9"))
	_, _, err := s.AddRouterPort(t.Context(), &model.LogicalRouterPort{Router: "A", Name: "p1", Networks: nets("10.0.0.1/24")})
	refused(t, err, ErrExists, "p1 exists")
	_, _, err = s.AddRouterPort(t.Context(), &model.LogicalRouterPort{Router: "A", Name: "rp1", Networks: nets("10.0.0.1/24")})
	must(err)
	_, _, err = s.AddRouterPort(t.Context(), &model.LogicalRouterPort{Router: "A", Name: "rp2", Networks: nets("10.0.0.1/16")})
	refused(t, err, ErrConflict, "conflict with other IP")
}

func TestT12_macs_are_derived_and_unique(t *testing.T) {
	s := newStore(t)
	mustSwitch(t, s, "LS")
	v4, _, err := s.AddSwitchPort(t.Context(), &model.LogicalSwitchPort{Switch: "LS", Name: "v4", IPs: addrs("2001:db8::9", "10.20.1.10")})
	if err != nil || v4.MAC.String() != "f2:01:0a:14:01:0a" {
		t.Fatalf("%v %v", v4, err)
	}
	v6, _, err := s.AddSwitchPort(t.Context(), &model.LogicalSwitchPort{Switch: "LS", Name: "v6", IPs: addrs("2001:db8::1")})
	if err != nil || v6.MAC != model.DerivePortMAC("LS", "v6", addrs("2001:db8::1"), 0) || v6.MAC[0] != 0xf6 {
		t.Fatalf("%v %v", v6, err)
	}
	// Somebody took the MAC that would be derived: another one is.
	taken := model.DerivePortMAC("LS", "x", addrs("2001:db8::2"), 0)
	if _, _, err := s.AddSwitchPort(t.Context(), &model.LogicalSwitchPort{Switch: "LS", Name: "thief", MAC: taken}); err != nil {
		t.Fatal(err)
	}
	x, _, err := s.AddSwitchPort(t.Context(), &model.LogicalSwitchPort{Switch: "LS", Name: "x", IPs: addrs("2001:db8::2")})
	if err != nil || x.MAC == taken || x.MAC.IsZero() {
		t.Fatalf("%v %v", x, err)
	}
	if x.Key != 4 || x.Type != model.PortVIF {
		t.Fatalf("key %d type %s", x.Key, x.Type)
	}
}

func TestT14_link_makes_both_ports_in_one_transaction(t *testing.T) {
	s := newStore(t)
	mustRouter(t, s, "LR")
	mustSwitch(t, s, "LS")
	rp, sp, rev, err := s.Link(t.Context(), "LR", "LS", nets("10.20.1.1/24", "2001:db8:1::1/64"))
	if err != nil {
		t.Fatal(err)
	}
	if rp.Name != "LR_to_LS" || sp.Name != "LS_to_LR" || rp.Peer != sp.Name || sp.Peer != rp.Name || rp.MAC != sp.MAC ||
		rp.MAC.String() != "f2:01:0a:14:01:01" || !slices.Equal(sp.IPs, addrs("10.20.1.1", "2001:db8:1::1")) || sp.Type != model.PortRouter {
		t.Fatalf("%+v\n%+v", rp, sp)
	}
	resp, err := raw(t, s).Get(t.Context(), s.keys.spec(), clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	same := 0
	for _, kv := range resp.Kvs {
		if kv.ModRevision == rev {
			same++
		}
	}
	if same != 2 {
		t.Fatalf("%d objects were written at revision %d", same, rev)
	}
	_, _, _, err = s.Link(t.Context(), "LR", "LS", nets("10.20.9.1/24"))
	refused(t, err, ErrExists, "LR_to_LS exists")
	_, _, _, err = s.Link(t.Context(), "LR", "nowhere", nets("10.20.9.1/24"))
	refused(t, err, ErrNotFound, "switch nowhere not found")
	mustRouter(t, s, "LR2")
	_, _, _, err = s.Link(t.Context(), "LR2", "LS", nets("10.20.1.1/24"))
	refused(t, err, ErrConflict, "conflict with other IP: 10.20.1.1 is used by switchport/LS/LS_to_LR")
	_, _, _, err = s.Link(t.Context(), "LR2", "LS", nets("10.20.1.0/24"))
	refused(t, err, ErrInvalid, "invalid CIDR address")
}

func TestDeleting_refuses_while_there_are_ports_and_gives_everything_back(t *testing.T) {
	s := newStore(t)
	mustRouter(t, s, "LR")
	mustSwitch(t, s, "LS")
	if _, _, _, err := s.Link(t.Context(), "LR", "LS", nets("10.0.0.1/24")); err != nil {
		t.Fatal(err)
	}
	for _, recursive := range []bool{false, true} {
		_, err := s.DeleteSwitch(t.Context(), "nope", recursive)
		refused(t, err, ErrNotFound, "switch nope not found")
	}
	_, err := s.DeleteSwitch(t.Context(), "LS", false)
	refused(t, err, ErrChildren, `failed to delete LS: there are remaining ports or static routes, consider using "-r"?`)
	_, err = s.DeleteRouter(t.Context(), "LR", false)
	refused(t, err, ErrChildren, "failed to delete LR")
	_, err = s.DeleteSwitchPort(t.Context(), "LS", "nope")
	refused(t, err, ErrNotFound, "port nope not found")
	if _, err := s.DeleteSwitchPort(t.Context(), "LS", "LS_to_LR"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.DeleteRouterPort(t.Context(), "LR", "LR_to_LS", false); err != nil {
		t.Fatal(err)
	}
	if _, err := s.DeleteSwitch(t.Context(), "LS", false); err != nil {
		t.Fatal(err)
	}
	if _, err := s.DeleteRouter(t.Context(), "LR", false); err != nil {
		t.Fatal(err)
	}
	if left := keysOf(t, s); len(left) != 0 {
		t.Fatalf("left: %q", left)
	}
}

func TestRecursive_deletion_takes_the_ports_the_bindings_and_the_other_ends_of_links(t *testing.T) {
	s := newStore(t)
	mustRouter(t, s, "LR")
	mustSwitch(t, s, "keep")
	mustSwitch(t, s, "LS")
	for _, ls := range []string{"keep", "LS"} {
		if _, _, _, err := s.Link(t.Context(), "LR", ls, nets(map[string]string{"keep": "10.0.1.1/24", "LS": "10.0.0.1/24"}[ls])); err != nil {
			t.Fatal(err)
		}
	}
	for i, err := range crowd(120, func(i int) error {
		_, _, err := s.AddSwitchPort(t.Context(), &model.LogicalSwitchPort{Switch: "LS", Name: fmt.Sprintf("p%d", i),
			IPs: addrs(fmt.Sprintf("10.0.0.%d", i+2), fmt.Sprintf("2001:db8::%x", i+2))})
		return err
	}) {
		if err != nil {
			t.Fatal(i, err)
		}
	}
	put(t, s, "spec/switchport/LS/broken", "{")
	put(t, s, "unique/ip/switch/LS/10.0.0.250", "switchport/LS/broken")
	if _, err := s.Bind(t.Context(), "p7", "ch", 0); err != nil {
		t.Fatal(err)
	}
	if _, err := s.DeleteSwitch(t.Context(), "LS", true); err != nil {
		t.Fatal(err)
	}
	for _, k := range keysOf(t, s) {
		if strings.Contains(k, "LS") || strings.HasPrefix(k, "binding") {
			t.Errorf("left: %s", k)
		}
	}
	snap, err := s.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(snap.RouterPorts("LR")) != 1 || len(snap.SwitchPorts("keep")) != 1 || len(snap.Problems) != 0 {
		t.Fatalf("%v", snap)
	}
	if _, err := s.DeleteRouter(t.Context(), "LR", true); err != nil {
		t.Fatal(err)
	}
	if _, err := s.DeleteSwitch(t.Context(), "keep", false); err != nil {
		t.Fatal(err)
	}
	if left := keysOf(t, s); len(left) != 0 {
		t.Fatalf("left: %q", left)
	}
}

func TestA_port_put_by_hand_does_not_take_the_claims_of_others_with_it(t *testing.T) {
	s := newStore(t)
	mustSwitch(t, s, "LS")
	p := model.LogicalSwitchPort{Switch: "LS", Name: "p", IPs: addrs("10.0.0.1")}
	made, _, err := s.AddSwitchPort(t.Context(), &p)
	if err != nil {
		t.Fatal(err)
	}
	twin := *made
	twin.Name = "twin"
	b, err := model.Encode(&twin)
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, "spec/switchport/LS/twin", string(b))
	if _, err := s.DeleteSwitchPort(t.Context(), "LS", "twin"); err != nil {
		t.Fatal(err)
	}
	p.Name = "q"
	_, _, err = s.AddSwitchPort(t.Context(), &p)
	refused(t, err, ErrConflict, "conflict with other IP: 10.0.0.1 is used by switchport/LS/p")
}

func TestT60_a_newer_store_is_read_but_not_written(t *testing.T) {
	s := newStore(t)
	mustSwitch(t, s, "LS")
	put(t, s, "meta", `{"schemaVersion":65535,"clusterID":"x","new":1}`)
	for _, client := range []*Store{s, s.another(t)} {
		_, _, err := client.AddSwitch(t.Context(), &model.LogicalSwitch{Name: "other"})
		refused(t, err, ErrNewerSchema, "db accessed by higher version")
		if !strings.Contains(err.Error(), "65535") || !strings.Contains(err.Error(), "schema 1") {
			t.Fatalf("both versions are not named: %s", err)
		}
		_, err = client.DeleteSwitch(t.Context(), "LS", true)
		refused(t, err, ErrNewerSchema, "db accessed by higher version")
		snap, err := client.Snapshot(t.Context())
		if err != nil || len(snap.Switches()) != 1 {
			t.Fatalf("%v %v", snap, err)
		}
	}
}

func TestT02_prefixes_separate_deployments_and_trailing_slashes_mean_nothing(t *testing.T) {
	base := fmt.Sprintf("/t%d", prefixes.Add(1))
	a, b := openAt(t, Config{Prefix: base + "/a"}), openAt(t, Config{Prefix: base + "/ab"})
	slash := openAt(t, Config{Prefix: base + "/a/"})
	mustSwitch(t, a, "LS")
	if made := mustSwitch(t, b, "LS"); made.VNI != 1 {
		t.Fatalf("VNI %d", made.VNI)
	}
	_, _, err := slash.AddSwitch(t.Context(), &model.LogicalSwitch{Name: "LS"})
	refused(t, err, ErrExists, "LS already exist")
	if _, err := b.DeleteSwitch(t.Context(), "LS", true); err != nil {
		t.Fatal(err)
	}
	snap, err := slash.Snapshot(t.Context())
	if err != nil || len(snap.Switches()) != 1 {
		t.Fatalf("%v %v", snap, err)
	}
	if newLayout("").root != newLayout("tuplenet/").root || newLayout("/").root != "/v1/" {
		t.Fatal("defaults")
	}
}

func TestU05_objects_are_json_under_a_versioned_prefix(t *testing.T) {
	s := newStore(t)
	mustSwitch(t, s, "LS-A")
	resp, err := raw(t, s).Get(t.Context(), s.cfg.Prefix+"/v1/spec/switch/LS-A")
	if err != nil || len(resp.Kvs) != 1 || string(resp.Kvs[0].Value) != `{"name":"LS-A","vni":1}` {
		t.Fatalf("%v %v", resp, err)
	}
}

func TestU18_a_switch_without_subnets_takes_ports_without_addresses(t *testing.T) {
	s := newStore(t)
	mustSwitch(t, s, "L2")
	p, _, err := s.AddSwitchPort(t.Context(), &model.LogicalSwitchPort{Switch: "L2", Name: "p"})
	if err != nil || p.MAC.IsZero() || len(p.IPs) != 0 {
		t.Fatalf("%v %v", p, err)
	}
	q, _, err := s.AddSwitchPort(t.Context(), &model.LogicalSwitchPort{Switch: "L2", Name: "out", Type: model.PortPatch})
	if err != nil || !q.MAC.IsZero() {
		t.Fatalf("%v %v", q, err)
	}
}

func TestBindings_are_compared_and_set(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	_, err := s.Bind(ctx, "p", "ch1", 0)
	refused(t, err, ErrNotFound, "bind port p: it is not found")
	mustSwitch(t, s, "LS")
	mustPort(t, s, "LS", "p")
	rev, err := s.Bind(ctx, "p", "ch1", 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Bind(ctx, "p", "ch2", 0)
	refused(t, err, ErrConflict, "changed meanwhile")
	if _, err = s.Bind(ctx, "p", "ch2", rev); err != nil {
		t.Fatal(err)
	}
	refused(t, s.Unbind(ctx, "p", "ch1"), ErrConflict, "bound to chassis ch2")
	if err := s.Unbind(ctx, "p", "ch2"); err != nil {
		t.Fatal(err)
	}
	if err := s.Unbind(ctx, "p", "ch2"); err != nil {
		t.Fatal(err)
	}
	if rev, err = s.Bind(ctx, "p", "ch1", 0); err != nil {
		t.Fatal(err)
	}
	if _, err := s.DeleteSwitchPort(ctx, "LS", "p"); err != nil {
		t.Fatal(err)
	}
	for _, seen := range []int64{0, rev} { // by a node that has not heard of it
		if _, err = s.Bind(ctx, "p", "ch1", seen); err == nil {
			t.Error("a port that went is bound")
		}
	}
	if got := strings.Join(keysOf(t, s), " "); strings.Contains(got, "binding") {
		t.Fatalf("left: %s", got)
	}
}

func TestDeleting_a_chassis_removes_all_that_it_wrote(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	for _, ch := range []string{"ch1", "ch2"} {
		if _, err := s.PutChassis(ctx, &model.Chassis{Name: ch, IPs: addrs("192.0.2.1"), Encaps: []model.Encap{model.EncapGeneve}}); err != nil {
			t.Fatal(err)
		}
	}
	mustSwitch(t, s, "LS")
	for i := range 130 {
		mustPort(t, s, "LS", fmt.Sprintf("p%d", i))
		if _, err := s.Bind(ctx, fmt.Sprintf("p%d", i), []string{"ch1", "ch2"}[i/120], 0); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.DeleteChassis(ctx, "ch1"); err != nil {
		t.Fatal(err)
	}
	snap, err := s.Snapshot(ctx, model.KindBinding, model.KindChassis)
	if err != nil || len(snap.Objects) != 11 || len(snap.Chassis()) != 1 {
		t.Fatalf("%v %v", snap, err)
	}
	_, err = s.DeleteChassis(ctx, "ch1")
	refused(t, err, ErrNotFound, "chassis ch1 not found")
}
