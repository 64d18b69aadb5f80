package plug

import (
	"net/netip"
	"strings"
	"testing"

	"tuplenet/datapath/ovsdb"
	"tuplenet/model"
)

func TestNames_of_devices_fit_into_the_kernel_and_differ(t *testing.T) {
	seen := map[string]string{}
	for _, port := range []string{"lsp-eth0-a", "lsp-eth0-b", "lsp-eth1-a", strings.Repeat("x", 300)} {
		for attempt := range 16 {
			name := deviceName(port, attempt)
			if len(name) > 14 || seen[name] != "" { // 14: the other end has a name of the same length
				t.Errorf("%s for %q, attempt %d; %q has it too", name, port, attempt, seen[name])
			}
			seen[name] = port
			if name != deviceName(port, attempt) {
				t.Error("not the same name each time")
			}
		}
	}
	if got := alias(strings.Repeat("x", 300)); len(got) != maxAlias {
		t.Errorf("an alias of %d bytes", len(got))
	}
}

func TestA_record_is_what_was_written_and_ports_of_others_have_none(t *testing.T) {
	want := Record{Plugin: "cni", Network: "pods", Container: "c1", Interface: "eth0", Switch: "LS-A", Port: "lsp-eth0-c1", Device: "tp1"}
	got, ok := recordOf(&ovsdb.Interface{Name: "tp1", ExternalIDs: want.externalIDs()})
	if !ok || got != want {
		t.Errorf("read %+v, want %+v", got, want)
	}
	for _, ids := range []map[string]string{nil, {"iface-id": "lsp-alice"}, {keyPlugin: "cni"}} {
		if r, ok := recordOf(&ovsdb.Interface{Name: "v", ExternalIDs: ids}); ok {
			t.Errorf("%v is a record: %+v", ids, r)
		}
	}
	if _, set := want.externalIDs()[ovsdb.OwnerKey]; set {
		t.Error("with that key, the daemon would delete the port")
	}
	if empty := (Record{Plugin: "cnm", Port: "p"}).externalIDs(); len(empty) != 2 {
		t.Errorf("empty fields are written: %v", empty)
	}
}

func TestThe_MTU_of_a_switch_counts_more_than_that_of_tunnels(t *testing.T) {
	h := &Host{}
	if mtu, err := h.MTU(&model.LogicalSwitch{MTU: 1300}, nil); err != nil || mtu != 1300 {
		t.Error(mtu, err)
	}
	if mtu, err := h.MTU(&model.LogicalSwitch{}, &model.Chassis{TunnelMTU: 1418}); err != nil || mtu != 1418 {
		t.Error(mtu, err)
	}
	multicast := &model.LogicalSwitch{Type: model.SwitchMulticast}
	for want, c := range map[int]model.Chassis{ // an underlay of 1500 bytes, and one of 1400
		1430: {TunnelMTU: 1438, IPs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Encaps: []model.Encap{model.EncapGeneve}},
		1330: {TunnelMTU: 1318, IPs: []netip.Addr{netip.MustParseAddr("2001:db8::1")}, Encaps: []model.Encap{model.EncapGeneve, model.EncapVXLAN}},
	} {
		if mtu, err := h.MTU(multicast, &c); err != nil || mtu != want {
			t.Errorf("multicast network: %d, %v, want %d", mtu, err, want)
		}
	}
}

func TestA_device_that_does_not_exist_is_of_a_container_that_is_gone(t *testing.T) {
	if !Gone(Record{Device: "tp-never"}) {
		t.Error("a device that does not exist")
	}
	if Gone(Record{Device: "lo"}) {
		t.Error("a device that exists")
	}
	if seen, _ := recordOf(&ovsdb.Interface{Name: "tp-never", Up: true, ExternalIDs: map[string]string{keyPlugin: "cni", keyPort: "p"}}); Gone(seen) {
		t.Error("a device that Open vSwitch sees: it is us who look in the wrong place")
	}
}
