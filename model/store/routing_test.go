package store

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/etcd/client/v3"

	"tuplenet/model"
)

func route(router, name, prefix, via, port string) *model.StaticRoute {
	return &model.StaticRoute{Router: router, Name: name, Prefix: netip.MustParsePrefix(prefix), NextHop: netip.MustParseAddr(via), OutPort: port}
}

func nat(router, name string, kind model.NATType, prefix, external string) *model.NATRule {
	return &model.NATRule{Router: router, Name: name, Type: kind, Prefix: netip.MustParsePrefix(prefix), External: netip.MustParseAddr(external)}
}

// centre is router LR with a link to switch m1 (100.10.10.1/24) and one to m2 (100.10.10.3/24).
func centre(t *testing.T) *Store {
	t.Helper()
	s := newStore(t)
	mustRouter(t, s, "LR")
	for ls, net := range map[string]string{"m1": "100.10.10.1/24", "m2": "100.10.10.3/24"} {
		mustSwitch(t, s, ls)
		if _, _, _, err := s.Link(t.Context(), "LR", ls, nets(net)); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func mustRoute(t *testing.T, s *Store, o *model.StaticRoute) {
	t.Helper()
	if _, err := s.AddRoute(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}

func mustNAT(t *testing.T, s *Store, o *model.NATRule) {
	t.Helper()
	if _, err := s.AddNAT(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}

func routeNames(t *testing.T, s *Store) (out []string) {
	t.Helper()
	snap, err := s.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range snap.Routes("") {
		out = append(out, r.Name)
	}
	return out
}

func TestT34_a_route_needs_its_router_and_its_out_port(t *testing.T) {
	s := centre(t)
	mustRouter(t, s, "other")
	_, err := s.AddRoute(t.Context(), route("nobody", "r", "0.0.0.0/0", "100.10.10.2", "LR_to_m1"))
	refused(t, err, ErrNotFound, "router nobody not found")
	_, err = s.AddRoute(t.Context(), route("LR", "r", "0.0.0.0/0", "100.10.10.2", "LR_to_m9"))
	refused(t, err, ErrNotFound, "outport LR_to_m9 not found in router LR")
	_, err = s.AddRoute(t.Context(), route("other", "r", "0.0.0.0/0", "100.10.10.2", "LR_to_m1"))
	refused(t, err, ErrNotFound, "outport LR_to_m1 not found in router other")
	_, err = s.AddRoute(t.Context(), route("LR", "r", "0.0.0.0/0", "2001:db8::1", "LR_to_m1"))
	refused(t, err, ErrInvalid, "invalid next_hop")
	if got := routeNames(t, s); len(got) > 0 {
		t.Fatalf("refused routes are there: %q", got)
	}
	mustRoute(t, s, route("LR", "r", "0.0.0.0/0", "100.10.10.2", "LR_to_m1"))
	_, err = s.AddRoute(t.Context(), route("LR", "r", "10.0.0.0/8", "100.10.10.2", "LR_to_m1"))
	refused(t, err, ErrExists, "r exists")
	if _, err := s.DeleteRoute(t.Context(), "LR", "r"); err != nil {
		t.Fatal(err)
	}
	_, err = s.DeleteRoute(t.Context(), "LR", "r")
	refused(t, err, ErrNotFound, "static route r not found")
	if i := slices.IndexFunc(keysOf(t, s), func(k string) bool { return strings.Contains(k, "outport") }); i >= 0 {
		t.Fatalf("left behind: %s", keysOf(t, s)[i])
	}
}

func TestT34_several_routes_have_one_prefix_and_they_are_read_in_order(t *testing.T) {
	s := centre(t)
	mustRoute(t, s, route("LR", "to_outside2", "0.0.0.0/0", "100.10.10.2", "LR_to_m2"))
	mustRoute(t, s, route("LR", "to_outside1", "0.0.0.0/0", "100.10.10.2", "LR_to_m1"))
	mustRoute(t, s, route("LR", "to_outside1b", "0.0.0.0/0", "100.10.10.2", "LR_to_m1"))
	if got := routeNames(t, s); !slices.Equal(got, []string{"to_outside1", "to_outside1b", "to_outside2"}) {
		t.Fatalf("%q", got)
	}
}

func TestT34_T10_a_port_that_routes_use_is_deleted_with_them_or_not_at_all(t *testing.T) {
	s := centre(t)
	mustRoute(t, s, route("LR", "a", "0.0.0.0/0", "100.10.10.2", "LR_to_m1"))
	mustRoute(t, s, route("LR", "b", "10.0.0.0/8", "100.10.10.2", "LR_to_m1"))
	mustRoute(t, s, route("LR", "c", "0.0.0.0/0", "100.10.10.2", "LR_to_m2"))
	_, err := s.DeleteRouterPort(t.Context(), "LR", "LR_to_m1", false)
	refused(t, err, ErrChildren, `failed to delete LR_to_m1: there are remaining ports or static routes, consider using "-r"?`)
	if _, err := s.DeleteRouterPort(t.Context(), "LR", "LR_to_m1", true); err != nil {
		t.Fatal(err)
	}
	if got := routeNames(t, s); !slices.Equal(got, []string{"c"}) {
		t.Fatalf("%q", got)
	}
	// A switch takes the ports at the other end of its links along, and those their routes.
	if _, err := s.DeleteSwitch(t.Context(), "m2", true); err != nil {
		t.Fatal(err)
	}
	if got := routeNames(t, s); len(got) > 0 {
		t.Fatalf("%q", got)
	}
	if _, err := s.DeleteRouter(t.Context(), "LR", false); err != nil {
		t.Fatal(err)
	}
}

func TestT10_a_router_goes_with_its_routes_and_NAT_rules_or_not_at_all(t *testing.T) {
	s := centre(t)
	mustNAT(t, s, nat("LR", "n", model.NATSource, "10.0.0.0/8", "100.10.10.9"))
	for i := range 60 {
		mustRoute(t, s, route("LR", fmt.Sprintf("r%d", i), "0.0.0.0/0", "100.10.10.2", "LR_to_m1"))
	}
	for _, port := range []string{"LR_to_m1", "LR_to_m2"} { // with only NAT left it refuses as well
		if _, err := s.DeleteRouterPort(t.Context(), "LR", port, true); err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.DeleteRouter(t.Context(), "LR", false)
	refused(t, err, ErrChildren, "failed to delete LR: there are remaining ports or static routes")

	s = centre(t)
	mustNAT(t, s, nat("LR", "n", model.NATFloating, "10.0.0.1/32", "100.10.10.9"))
	for i := range 60 {
		mustRoute(t, s, route("LR", fmt.Sprintf("r%d", i), "0.0.0.0/0", "100.10.10.2", "LR_to_m1"))
	}
	_, err = s.DeleteRouter(t.Context(), "LR", false)
	refused(t, err, ErrChildren, "remaining ports or static routes")
	if _, err := s.DeleteRouter(t.Context(), "LR", true); err != nil {
		t.Fatal(err)
	}
	// The two switches are left, with their numbers.
	if got := keysOf(t, s); len(got) != 4 {
		t.Fatalf("left: %q", got)
	}
}

func TestT36_NAT_rules_that_overlap_are_refused(t *testing.T) {
	s := centre(t)
	_, err := s.AddNAT(t.Context(), nat("nobody", "n", model.NATSource, "10.0.0.0/8", "192.168.1.30"))
	refused(t, err, ErrNotFound, "router nobody not found")
	mustNAT(t, s, nat("LR", "snat", model.NATSource, "10.0.0.0/8", "192.168.1.30"))
	_, err = s.AddNAT(t.Context(), nat("LR", "snat", model.NATSource, "11.0.0.0/8", "192.168.1.30"))
	refused(t, err, ErrExists, "snat exists")
	_, err = s.AddNAT(t.Context(), nat("LR", "again", model.NATSource, "10.0.0.0/8", "192.168.1.31"))
	refused(t, err, ErrConflict, "conflict with other NAT: connections from 10.0.0.0/8 are translated by nat/LR/snat")
	mustNAT(t, s, nat("LR", "fip", model.NATFloating, "10.0.0.1/32", "192.168.1.40"))
	_, err = s.AddNAT(t.Context(), nat("LR", "web", model.NATDestination, "10.0.0.2/32", "192.168.1.40"))
	refused(t, err, ErrConflict, "conflict with other NAT: connections to 192.168.1.40 are translated by nat/LR/fip")
	if _, err := s.DeleteNAT(t.Context(), "LR", "fip"); err != nil {
		t.Fatal(err)
	}
	mustNAT(t, s, nat("LR", "web", model.NATDestination, "10.0.0.2/32", "192.168.1.40"))
	mustNAT(t, s, nat("LR", "six", model.NATSource, "2001:db8::/32", "2001:db8:9::30"))
	snap, err := s.Snapshot(t.Context(), model.KindNAT)
	if err != nil {
		t.Fatal(err)
	}
	if len(snap.NATRules("LR")) != 3 || len(snap.NATRules("other")) != 0 {
		t.Fatalf("%v", snap.Objects)
	}
}

func TestT35_routes_and_NAT_rules_that_cannot_be_read_are_deleted_with_what_they_hold(t *testing.T) {
	s := centre(t)
	mustRoute(t, s, route("LR", "r", "0.0.0.0/0", "100.10.10.2", "LR_to_m1"))
	mustNAT(t, s, nat("LR", "n", model.NATFloating, "10.0.0.1/32", "192.168.1.40"))
	before := len(keysOf(t, s))
	put(t, s, "spec/route/LR/r", "{")
	put(t, s, "spec/nat/LR/n", "{")
	if snap, err := s.Snapshot(t.Context()); err != nil || len(snap.Problems) != 2 {
		t.Fatal(snap, err)
	}
	if _, err := s.DeleteRoute(t.Context(), "LR", "r"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.DeleteNAT(t.Context(), "LR", "n"); err != nil {
		t.Fatal(err)
	}
	if got := keysOf(t, s); len(got) != before-5 { // two objects, an entry, two claims
		t.Fatalf("left: %q", got)
	}
}

func TestT34_entries_of_routes_made_by_hand_do_not_stop_a_deletion(t *testing.T) {
	s := centre(t)
	mustRoute(t, s, route("LR", "elsewhere", "0.0.0.0/0", "100.10.10.2", "LR_to_m2"))
	put(t, s, "unique/outport/router/LR/LR_to_m1/gone", "x")
	put(t, s, "unique/outport/router/LR/LR_to_m1/elsewhere", "x")
	put(t, s, "unique/outport/router/LR/LR_to_m1/non/sense", "x")
	if _, err := s.DeleteRouterPort(t.Context(), "LR", "LR_to_m1", true); err != nil {
		t.Fatal(err)
	}
	if got := routeNames(t, s); !slices.Equal(got, []string{"elsewhere"}) {
		t.Fatalf("%q", got)
	}
}

func TestT34_a_route_and_the_deletion_of_its_port_exclude_each_other(t *testing.T) {
	s := centre(t)
	for i := range 20 {
		port := fmt.Sprintf("p%d", i)
		if _, _, err := s.AddRouterPort(t.Context(), &model.LogicalRouterPort{Router: "LR", Name: port, Networks: nets(fmt.Sprintf("10.0.%d.1/24", i))}); err != nil {
			t.Fatal(err)
		}
		errs := crowd(2, func(n int) error {
			if n == 0 {
				_, err := s.AddRoute(t.Context(), route("LR", "r-"+port, "0.0.0.0/0", "10.0.0.2", port))
				return err
			}
			_, err := s.DeleteRouterPort(t.Context(), "LR", port, false)
			return err
		})
		if (errs[0] == nil) == (errs[1] == nil) {
			t.Fatalf("route: %v, deletion: %v", errs[0], errs[1])
		}
	}
}

// edgeObjects are those of section 2.2 of the tutorial, without numbers and MACs.
func edgeObjects() []model.Object {
	out := []model.Object{
		&model.LogicalRouter{Name: "LR-edge1", Chassis: "edge1-node"},
		&model.LogicalSwitch{Name: "m9"},
		&model.LogicalSwitch{Name: "outside1"},
		&model.LogicalSwitchPort{Switch: "outside1", Name: "patchport-outside1", Type: model.PortPatch},
		nat("LR-edge1", "snat_rule1", model.NATSource, "10.20.0.0/16", "192.168.1.30"),
		route("LR", "to_outside1", "0.0.0.0/0", "100.10.11.2", "LR_to_m9"),
		route("LR-edge1", "to_virt1", "10.20.0.0/16", "100.10.11.1", "LR-edge1_to_m9"),
		route("LR-edge1", "to_ext_world1", "0.0.0.0/0", "192.168.1.1", "LR-edge1_to_outside1"),
	}
	for _, l := range []struct{ lr, ls, net string }{{"LR", "m9", "100.10.11.1/24"}, {"LR-edge1", "m9", "100.10.11.2/24"}, {"LR-edge1", "outside1", "192.168.1.20/24"}} {
		lrp, lsp := model.NewLink(l.lr, l.ls, nets(l.net))
		out = append(out, lrp, lsp)
	}
	return out
}

func refsOf(objects []model.Object) (out []model.Ref) {
	for _, o := range objects {
		out = append(out, o.Ref())
	}
	return out
}

func TestT63_many_objects_are_added_in_one_transaction(t *testing.T) {
	s := centre(t)
	before := mustSwitch(t, s, "before") // takes a number
	if _, err := s.DeleteSwitch(t.Context(), "m2", true); err != nil {
		t.Fatal(err)
	}
	made, rev, err := s.AddAll(t.Context(), edgeObjects())
	if err != nil {
		t.Fatal(err)
	}
	snap, err := s.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	seen := map[model.VNI]bool{before.VNI: true}
	for _, o := range made {
		if snap.Objects[o.Ref()] == nil {
			t.Errorf("%s is not there", o.Ref())
		}
		resp, err := raw(t, s).Get(t.Context(), s.keys.object(o.Ref()))
		if err != nil || resp.Kvs[0].ModRevision != rev {
			t.Errorf("%s is of another revision", o.Ref())
		}
		for _, claim := range model.Claims(o) {
			resp, err := raw(t, s).Get(t.Context(), s.keys.unique(claim))
			if err != nil || len(resp.Kvs) == 0 || string(resp.Kvs[0].Value) != o.Ref().String() {
				t.Errorf("%s: claim %s is not held", o.Ref(), claim)
			}
		}
		_, vni, _ := copied(o)
		if vni != nil && (*vni == 0 || seen[*vni]) {
			t.Errorf("%s has number %d", o.Ref(), *vni)
		} else if vni != nil {
			seen[*vni] = true
		}
	}
	lrp := snap.Objects[model.Ref{Kind: model.KindRouterPort, Parent: "LR-edge1", Name: "LR-edge1_to_m9"}].(*model.LogicalRouterPort)
	lsp := snap.Objects[model.Ref{Kind: model.KindSwitchPort, Parent: "m9", Name: "m9_to_LR-edge1"}].(*model.LogicalSwitchPort)
	if lrp.MAC != lsp.MAC || lrp.MAC.String() != "f2:01:64:0a:0b:02" || lsp.Key == 0 || lrp.Peer != lsp.Name || lsp.Peer != lrp.Name {
		t.Errorf("link: %+v %+v", lrp, lsp)
	}
	// Once more: refused, and nothing is changed.
	keys := keysOf(t, s)
	_, _, err = s.AddAll(t.Context(), edgeObjects())
	refused(t, err, ErrExists, "LR-edge1 already exist")
	if got := keysOf(t, s); !slices.Equal(got, keys) {
		t.Errorf("keys changed: %q", got)
	}
}

func TestT63_one_object_of_many_that_cannot_be_added_refuses_all(t *testing.T) {
	s := centre(t)
	before := keysOf(t, s)
	for words, reason := range map[string]error{"invalid next_hop": ErrInvalid, "outport nowhere not found": ErrNotFound, "exists: it is given twice": ErrExists, "LR already exist": ErrExists, "claim ip/switch/m9/100.10.11.1": ErrConflict} {
		objects := edgeObjects()
		switch reason {
		case ErrInvalid:
			objects[5].(*model.StaticRoute).NextHop = netip.Addr{}
		case ErrNotFound:
			objects[5].(*model.StaticRoute).OutPort = "nowhere"
		case ErrConflict:
			objects = append(objects, &model.LogicalSwitchPort{Switch: "m9", Name: "x", Type: model.PortVIF, MAC: model.MAC{2}, IPs: addrs("100.10.11.1")})
		default:
			objects = append(objects, objects[5])
			if strings.HasPrefix(words, "LR ") {
				objects[len(objects)-1] = &model.LogicalRouter{Name: "LR"}
			}
		}
		_, _, err := s.AddAll(t.Context(), objects)
		refused(t, err, reason, words)
	}
	if got := keysOf(t, s); !slices.Equal(got, before) {
		t.Fatalf("keys changed: %q", got)
	}
}

func TestT63_a_crowd_of_batches_gets_distinct_numbers(t *testing.T) {
	s := newStore(t)
	for i, err := range crowd(10, func(i int) error {
		_, _, err := s.AddAll(t.Context(), []model.Object{&model.LogicalSwitch{Name: fmt.Sprintf("a%d", i)}, &model.LogicalRouter{Name: fmt.Sprintf("b%d", i)}, &model.LogicalSwitch{Name: fmt.Sprintf("c%d", i)}})
		return err
	}) {
		if err != nil {
			t.Fatal(i, err)
		}
	}
	if got := keysOf(t, s); len(got) != 60 {
		t.Fatalf("%d keys: %q", len(got), got)
	}
}

func TestT63_a_MAC_that_is_taken_is_derived_anew_in_a_batch(t *testing.T) {
	s := newStore(t)
	mustSwitch(t, s, "LS")
	mac, _ := model.ParseMAC("f2:01:0a:00:00:05")
	if _, _, err := s.AddSwitchPort(t.Context(), &model.LogicalSwitchPort{Switch: "LS", Name: "p", IPs: addrs("10.0.0.9"), MAC: mac}); err != nil {
		t.Fatal(err)
	}
	made, _, err := s.AddAll(t.Context(), []model.Object{&model.LogicalSwitchPort{Switch: "LS", Name: "q", Type: model.PortVIF, IPs: addrs("10.0.0.5")}})
	if err != nil || made[0].(*model.LogicalSwitchPort).MAC == mac {
		t.Fatal(made, err)
	}
	_, _, err = s.AddAll(t.Context(), []model.Object{&model.LogicalSwitchPort{Switch: "LS", Name: "r", Type: model.PortVIF, IPs: addrs("10.0.0.6"), MAC: mac}})
	refused(t, err, ErrConflict, "conflict with other MAC")
}

func TestT63_many_objects_are_deleted_in_one_transaction_or_none(t *testing.T) {
	s := centre(t)
	before := keysOf(t, s)
	objects := edgeObjects()
	if _, _, err := s.AddAll(t.Context(), objects); err != nil {
		t.Fatal(err)
	}
	slices.Reverse(objects)
	refs := refsOf(objects)
	slices.SortStableFunc(refs, func(a, b model.Ref) int { // children first
		if a.Kind.HasParent() == b.Kind.HasParent() {
			return 0
		}
		if a.Kind.HasParent() {
			return -1
		}
		return 1
	})
	all := keysOf(t, s)
	// A workload on the switch outside, a route through the link: neither is listed.
	if _, _, err := s.AddSwitchPort(t.Context(), &model.LogicalSwitchPort{Switch: "outside1", Name: "stranger"}); err != nil {
		t.Fatal(err)
	}
	_, err := s.DeleteAll(t.Context(), refs)
	refused(t, err, ErrChildren, "failed to delete outside1: there are remaining ports")
	if _, err := s.DeleteSwitchPort(t.Context(), "outside1", "stranger"); err != nil {
		t.Fatal(err)
	}
	mustRoute(t, s, route("LR", "more", "172.16.0.0/12", "100.10.11.2", "LR_to_m9"))
	_, err = s.DeleteAll(t.Context(), refs)
	refused(t, err, ErrChildren, "failed to delete LR_to_m9: there are remaining ports or static routes")
	if _, err := s.DeleteRoute(t.Context(), "LR", "more"); err != nil {
		t.Fatal(err)
	}
	if got := keysOf(t, s); !slices.Equal(got, all) {
		t.Fatalf("a refused deletion deleted something: %q", got)
	}
	rev, err := s.DeleteAll(t.Context(), refs)
	if err != nil {
		t.Fatal(err)
	}
	if got := keysOf(t, s); !slices.Equal(got, before) {
		t.Fatalf("left: %q", got)
	}
	for at, want := range map[int64]int64{rev - 1: 1, rev: 0} {
		resp, err := raw(t, s).Get(t.Context(), s.keys.object(refs[0]), clientv3.WithRev(at), clientv3.WithCountOnly())
		if err != nil || resp.Count != want {
			t.Fatalf("the deletion says revision %d: %v at revision %d: %v", rev, resp, at, err)
		}
	}
	if _, err := s.DeleteAll(t.Context(), refs, WithWaiter("w")); err != nil { // nothing is left to do
		t.Fatal(err)
	}
}

func TestT63_a_deletion_of_more_than_a_transaction_holds_goes_in_several(t *testing.T) {
	s := centre(t)
	var refs []model.Ref
	for i := range 120 {
		o := route("LR", fmt.Sprintf("r%d", i), "0.0.0.0/0", "100.10.10.2", "LR_to_m1")
		mustRoute(t, s, o)
		refs = append(refs, o.Ref())
	}
	refs = append(refs, model.Ref{Kind: model.KindRouterPort, Parent: "LR", Name: "LR_to_m1"})
	if _, err := s.DeleteAll(t.Context(), refs); err != nil {
		t.Fatal(err)
	}
	if got := routeNames(t, s); len(got) > 0 {
		t.Fatalf("%q", got)
	}
}

func TestT09_T33_T34_what_is_odd_is_warned_about(t *testing.T) {
	s := centre(t)
	for _, c := range []*model.Chassis{
		{Name: "edge1-node", IPs: addrs("192.0.2.1"), Encaps: []model.Encap{model.EncapGeneve}, Gateway: true},
		{Name: "compute", IPs: addrs("192.0.2.2"), Encaps: []model.Encap{model.EncapGeneve}},
	} {
		if _, err := s.PutChassis(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := s.AddRouter(t.Context(), &model.LogicalRouter{Name: "edge", Chassis: "edge1-node"}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.AddRouterPort(t.Context(), &model.LogicalRouterPort{Router: "edge", Name: "out", Networks: nets("192.168.1.20/24")}); err != nil {
		t.Fatal(err)
	}
	mustNAT(t, s, nat("edge", "snat", model.NATSource, "10.0.0.0/8", "192.168.1.30"))
	for _, c := range []struct {
		o    model.Object
		want string
	}{
		{&model.LogicalRouter{Name: "r"}, ""},
		{&model.LogicalRouter{Name: "r", Chassis: "edge1-node"}, ""},
		{&model.LogicalRouter{Name: "r", Chassis: "nowhere"}, "chassis nowhere is not known"},
		{&model.LogicalRouter{Name: "r", Chassis: "compute"}, "chassis compute is not a gateway"},
		{&model.LogicalSwitchPort{Type: model.PortPatch, Chassis: "compute", Bridge: "br0"}, "chassis compute is not a gateway"},
		{route("LR", "r", "0.0.0.0/0", "100.10.10.2", "LR_to_m1"), ""},
		{route("LR", "r", "::/0", "fe80::1", "LR_to_m1"), ""},
		{route("LR", "r", "0.0.0.0/0", "100.10.10.1", "LR_to_m1"), "next_hop 100.10.10.1 is the address of LR_to_m1 itself"},
		{route("LR", "r", "0.0.0.0/0", "100.10.11.2", "LR_to_m1"), "next_hop 100.10.11.2 is in no network of LR_to_m1: 100.10.10.1/24"},
		{nat("edge", "n", model.NATSource, "11.0.0.0/8", "192.168.1.31"), ""},
		{nat("edge", "n", model.NATSource, "11.0.0.0/8", "203.0.113.1"), "translate IP 203.0.113.1 is in no network of edge, so the outside needs a route to it"},
		{nat("LR", "n", model.NATSource, "11.0.0.0/8", "100.10.10.9"), "router LR is not pinned to a chassis, so it does not translate"},
		{nat("LR", "n", model.NATSource, "11.0.0.0/8", "192.168.1.30"), "translate IP 192.168.1.30 is also that of snat in router edge"},
	} {
		got, err := s.Warnings(t.Context(), c.o, c.o)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Join(got, "\n")
		if (c.want == "") != (text == "") || !strings.Contains(text, c.want) {
			t.Errorf("%+v: %q, want %q", c.o, text, c.want)
		}
	}
}
