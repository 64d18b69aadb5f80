package controller

import (
	"log/slog"
	"slices"
	"strings"
	"testing"

	"tuplenet/datapath/multicast"
	"tuplenet/datapath/ovsdb"
	"tuplenet/flows/compile"
	"tuplenet/flows/memo"
	"tuplenet/model"
)

// A port is asked for when its device is there, a device stays until its port is gone, and a restart takes nothing away.
func TestU08_U09_DevicesComeBeforeTheirPortsAndGoAfterThem(t *testing.T) {
	n := newNetworks(slog.New(slog.DiscardHandler))
	net := compile.Output{}.With(compile.Seldom{Multicast: []compile.Multicast{{Switch: "NET", VNI: 0xff01}}})
	none := rows()
	none.Bridges = map[string]*ovsdb.Bridge{"br-int": {Name: "br-int", DatapathType: ovsdb.DatapathNetdev}}
	plugged := rows(&ovsdb.Interface{Name: "tnm-ff01", Bridge: "br-int", Owner: "multicast vxlanff01", OFPort: 30})
	plugged.Bridges = none.Bridges
	expect := func(when string, f ovsdb.Facts, devices, ports string) {
		t.Helper()
		n.keep(f, "br-int", "br-phy")
		var d, p []string
		for _, m := range n.asked {
			d = append(d, m.Device+" "+m.Underlay)
		}
		for _, x := range n.ports(f) {
			p = append(p, x.Name+" "+x.Owner)
		}
		if got := strings.Join(d, ", "); got != devices {
			t.Errorf("%s: devices %q, want %q", when, got, devices)
		}
		if got := strings.Join(p, ", "); got != ports {
			t.Errorf("%s: ports %q, want %q", when, got, ports)
		}
	}
	const device, port = "vxlanff01 br-phy", "tnm-ff01 multicast vxlanff01"
	expect("nothing is wanted", none, "", "")
	if !n.take(memo.Change[compile.Output]{New: net}) {
		t.Error("a network came, and no ports are looked at")
	}
	expect("wanted", none, device, "")
	m := n.asked[0]
	if m.Bridge != "brff01" || m.Outside != "tnn-ff01" || m.ID != 0xff01 || m.Group.String() != "ff05::ff01" || m.Port != 4789 || m.HopLimit != 5 || !m.Userspace {
		t.Errorf("the network is %+v", m)
	}
	n.states.set(multicast.State{"vxlanff01": {Problem: "something"}})
	expect("not made", none, device, "")
	if got := n.problems(false); len(got) != 1 || got[0] != (model.Problem{Key: "switch/NET", Reason: "something"}) {
		t.Errorf("problems %v", got)
	}
	n.states.set(multicast.State{"vxlanff01": {Inside: "tnm-ff01"}})
	expect("made", none, device, port)
	expect("plugged", plugged, device, port)
	if got := uplinks(plugged, "br-int"); len(got) != 1 || got["vxlanff01"].OFPort != 30 {
		t.Errorf("uplinks %v", got)
	}
	if got := n.problems(true); len(got) != 1 || !strings.Contains(got[0].Reason, "--vxlan-port") {
		t.Errorf("problems with a shared port: %v", got)
	}
	if n.keep(plugged, "br-int", "br-phy"); n.asked[0].Taken != "tnm-ff01" {
		t.Errorf("the keeper is not told which name is taken: %+v", n.asked[0])
	}
	n.states.set(multicast.State{"vxlanff01": {Inside: "tno-ff01"}}) // somebody removed it, and it was made again
	expect("its device is another one", plugged, device, "tno-ff01 multicast vxlanff01")
	n.states.set(multicast.State{"vxlanff01": {Problem: "it cannot be made again"}})
	expect("its device is gone", plugged, device, port)
	n.take(memo.Change[compile.Output]{Old: net})
	expect("not wanted, its port is there", plugged, device, "")
	expect("its port is gone", none, "", "")

	n = newNetworks(slog.New(slog.DiscardHandler)) // after a restart
	n.take(memo.Change[compile.Output]{New: net})
	expect("a port of before", plugged, device, port)
	n = newNetworks(slog.New(slog.DiscardHandler))
	expect("a port of before that nobody wants", plugged, device, "")
	expect("it is gone", none, "", "")
}

func TestU01_NetworksThatNameADeviceUseIt(t *testing.T) {
	n := newNetworks(slog.New(slog.DiscardHandler))
	n.take(memo.Change[compile.Output]{New: compile.Output{}.With(compile.Seldom{Multicast: []compile.Multicast{{Switch: "b", VNI: 0xffffff, Device: "eth1"}, {Switch: "a", VNI: 1}}})})
	n.keep(rows(), "br-int", "eth0")
	var got []string
	for _, m := range n.asked {
		got = append(got, m.Device+" by "+m.Underlay)
	}
	if !slices.Equal(got, []string{"vxlan1 by eth0", "vxlanffffff by eth1"}) {
		t.Errorf("asked for %v", got)
	}
}
