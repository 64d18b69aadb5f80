package controller

import (
	"maps"
	"slices"
	"testing"

	"tuplenet/datapath/ovsdb"
)

// row is an interface of br-int.
func row(name, port string, ofport int) *ovsdb.Interface {
	return &ovsdb.Interface{Name: name, Bridge: "br-int", IfaceID: port, OFPort: ofport}
}

func rows(list ...*ovsdb.Interface) ovsdb.Facts {
	f := ovsdb.Facts{Interfaces: map[string]*ovsdb.Interface{}}
	for _, i := range list {
		f.Interfaces[i.Name] = i
	}
	return f
}

func TestAnInterfaceIsAPortByItsIfaceID(t *testing.T) {
	var a appearances
	other := row("tap3", "p3", 3)
	other.Bridge = "br-ex"
	p := a.take(rows(row("tap1", "p1", 1), row("tap2", "p2", ovsdb.OFPortUnknown), other, row("plain", "", 4)), "br-int")
	if got := slices.Sorted(maps.Keys(p.present)); !slices.Equal(got, []string{"p1", "p2"}) {
		t.Errorf("present %v", got)
	}
	if len(p.ready) != 1 || p.ready["p1"].OFPort != 1 {
		t.Errorf("ready %v", p.ready)
	}
	if len(p.problems) != 0 {
		t.Errorf("problems %v", p.problems)
	}
}

func TestEachAppearanceIsANewClaim(t *testing.T) {
	var a appearances
	claim := func(f ovsdb.Facts) uint64 { return a.take(f, "br-int").present["p"] }
	first := claim(rows(row("tap", "p", 1)))
	if a.initial != first {
		t.Errorf("what was there at the start is claim %d, the last of those %d", first, a.initial)
	}
	if again := claim(rows(row("tap", "p", 7))); again != first {
		t.Errorf("a new port number made claim %d of %d", again, first)
	}
	if moved := claim(rows(row("other", "p", 1))); moved <= first || moved <= a.initial {
		t.Errorf("another interface for the port is claim %d after %d", moved, first)
	}
	claim(rows())
	if back := claim(rows(row("tap", "p", 1))); back <= 2 {
		t.Errorf("an interface that came back is claim %d", back)
	}
	claim(rows(row("tap", "p", ovsdb.OFPortFailed)))
	if back := claim(rows(row("tap", "p", 1))); back <= 3 {
		t.Errorf("an interface that was dead is claim %d", back)
	}
}

func TestOfTwoInterfacesForAPortOneIsUsedAndTheOtherListed(t *testing.T) {
	var a appearances
	p := a.take(rows(row("tapB", "p", 2), row("tapA", "p", 1)), "br-int")
	if p.ready["p"].OFPort != 1 {
		t.Errorf("used: %v", p.ready)
	}
	if want := map[string]string{"tapB": "its iface-id p is that of interface tapA, too; only that one is used"}; !maps.Equal(p.problems, want) {
		t.Errorf("problems %v", p.problems)
	}
	if p = a.take(rows(row("tapB", "p", 2)), "br-int"); p.ready["p"].OFPort != 2 || len(p.problems) != 0 {
		t.Errorf("when the first is gone: %v, problems %v", p.ready, p.problems)
	}
}

func TestInterfacesThatTheSwitchCannotUseAreListed(t *testing.T) {
	var a appearances
	gone := row("tap", "p", ovsdb.OFPortFailed)
	gone.Error = "could not open network device tap (No such device)"
	tunnel := row(tunnelName, "", ovsdb.OFPortFailed)
	tunnel.Owner, tunnel.Error = "tunnel", "Address family not supported"
	others := row("foreign", "", ovsdb.OFPortFailed)
	others.Error = "not ours"
	p := a.take(rows(gone, tunnel, others, row("dead", "q", ovsdb.OFPortFailed)), "br-int")
	if want := map[string]string{"tap": gone.Error, tunnelName: tunnel.Error, "dead": "the switch cannot use it"}; !maps.Equal(p.problems, want) {
		t.Errorf("problems %v", p.problems)
	}
	if len(p.present) != 0 {
		t.Errorf("present %v", p.present)
	}
}

func TestAWatchedChassisIsNewUntilItWasReachableOnce(t *testing.T) {
	var e edge
	at := func(state string, ofport int) bool {
		i := row("tnb-x", "", ofport)
		i.Owner, i.BFD = watchedBy+"hv1", map[string]string{"state": state}
		return e.watched(rows(i), "br-int")["hv1"].New
	}
	for _, c := range []struct {
		state  string
		ofport int
		want   bool
	}{{"down", 7, true}, {"init", 7, true}, {"up", 7, false}, {"down", 7, false}, {"down", 8, true}} {
		if got := at(c.state, c.ofport); got != c.want {
			t.Errorf("%s at port %d: new %v", c.state, c.ofport, got)
		}
		if silent := slices.Contains(e.silent, "hv1"); silent != (c.state != "up" && !c.want) {
			t.Errorf("%s at port %d: silent %v", c.state, c.ofport, silent)
		}
	}
}
