package controller

import (
	"net/netip"
	"testing"

	"tuplenet/controller/facts"
	"tuplenet/model"
	"tuplenet/model/store"
)

func TestT23_ARouterSpeaksFromItsAddressOnTheNetworkOfTheOther(t *testing.T) {
	f := facts.New()
	rp := &model.LogicalRouterPort{Router: "LR", Name: "rp", Key: 3, MAC: model.MAC{2, 0, 0, 0, 0, 1}, Networks: []netip.Prefix{
		netip.MustParsePrefix("10.0.0.1/24"), netip.MustParsePrefix("10.0.1.1/24"), netip.MustParsePrefix("2001:db8::1/64"), netip.MustParsePrefix("2001:db8:1::1/64")}}
	v4only := &model.LogicalRouterPort{Router: "LR", Name: "v4", Key: 4, MAC: model.MAC{2, 0, 0, 0, 0, 2}, Networks: []netip.Prefix{netip.MustParsePrefix("10.0.2.1/24")}}
	u := store.Update{Revision: 1}
	for _, o := range []model.Object{&model.LogicalRouter{Name: "LR", ID: 7}, rp, v4only} {
		u.Changes = append(u.Changes, store.Change{Ref: o.Ref(), Object: o, Revision: 1})
	}
	f.Apply(u)
	l := &loop{facts: f}
	for _, c := range []struct {
		router model.VNI
		key    model.PortKey
		to     string
		want   string
	}{
		{7, 3, "10.0.0.9", "10.0.0.1"},
		{7, 3, "10.0.1.9", "10.0.1.1"},
		{7, 3, "192.0.2.9", "10.0.0.1"},
		{7, 3, "2001:db8:1::9", "2001:db8:1::1"},
		{7, 3, "2001:db8:9::9", "2001:db8::1"},
		{7, 4, "2001:db8::9", ""},
		{7, 5, "10.0.0.9", ""},
		{8, 3, "10.0.0.9", ""},
	} {
		got := l.routerAddress(c.router, c.key, netip.MustParseAddr(c.to))
		if want, _ := netip.ParseAddr(c.want); got != want {
			t.Errorf("router %d, port %d, to %s: from %v, want %q", c.router, c.key, c.to, got, c.want)
		}
	}
}

func TestWhatSeveralUnitsWantStaysUntilTheLastDoesNot(t *testing.T) {
	c := counted[string]{}
	for _, step := range []struct {
		old, now []string
		changed  bool
		left     int
	}{
		{nil, []string{"a", "b"}, true, 2},
		{nil, []string{"a"}, false, 2},
		{[]string{"a", "b"}, []string{"a", "b"}, false, 2}, // the same again changes nothing
		{[]string{"a", "b"}, []string{"a"}, true, 1},
		{[]string{"a"}, nil, false, 1},
		{[]string{"a"}, nil, true, 0},
	} {
		if got := c.replace(step.old, step.now); got != step.changed || len(c) != step.left {
			t.Errorf("%v → %v: changed %v, left %v", step.old, step.now, got, c)
		}
	}
}
