//go:build integration

package e2e_test

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tuplenet/e2e/lab"
)

// told is a network of two switches whose workloads are told everything, a client on each host.
func toldFleet(t *testing.T, name string) (*fleet, *client, *client) {
	f := newFleet(t, lab.Config{Name: name})
	for _, line := range []string{
		"ls add LS-A --subnet 10.20.1.0/24 --subnet 2001:db8:20:1::/64 --dhcp on --ra on --dhcpv6 stateless --dns 10.20.1.53,2001:db8::53" +
			" --domain example.org --search a.example.org,example.org --ntp 10.20.1.123,2001:db8::123 --route 192.168.0.0/16=10.20.1.2 --lease 1h",
		"ls add LS-B --subnet 10.20.2.0/24 --subnet 2001:db8:20:2::/64 --dhcp on --ra on --mtu 1300",
		"lr add LR", "lr link LR LS-A 10.20.1.1/24,2001:db8:20:1::1/64", "lr link LR LS-B 10.20.2.1/24,2001:db8:20:2::1/64",
		"lsp add LS-A lsp-a", "lsp add LS-B lsp-b --ipv4 auto --ipv6 eui64",
	} {
		f.tpctl(line)
	}
	mac := func(ls, port string) string { return f.port(ls, port).MAC }
	a := f.asks(f.Hosts()[0], "ask-a", "lsp-a", mac("LS-A", "lsp-a"))
	b := f.asks(f.Hosts()[1], "ask-b", "lsp-b", mac("LS-B", "lsp-b"))
	f.eventuallyShows("lsp show LS-A lsp-a", "chassis: alice")
	f.eventuallyShows("lsp show LS-B lsp-b", "chassis: bob")
	return f, a, b
}

// portView is what tpctl says of a port.
type portView struct {
	MAC string       `json:"mac"`
	IPs []netip.Addr `json:"ips"`
}

func (f *fleet) port(ls, name string) portView {
	f.t.Helper()
	var all []portView
	f.check(json.Unmarshal([]byte(f.tpctl("lsp show "+ls+" "+name+" -o json")), &all))
	if len(all) != 1 {
		f.t.Fatalf("%d ports", len(all))
	}
	return all[0]
}

func TestG28_G18_G19_G20_U28_X15_WorkloadsConfigureThemselves(t *testing.T) {
	t.Parallel()
	f, a, b := toldFleet(t, "told")
	mtu := strconv.Itoa(tunnelMTU(f.Hosts()[0].Addrs()[0]))
	pa, pb := f.port("LS-A", "lsp-a"), f.port("LS-B", "lsp-b")

	a.expect(a.dhclient("BOUND"), map[string]string{
		"new_ip_address": pa.IPs[0].String(), "new_subnet_mask": "255.255.255.0", "new_broadcast_address": "10.20.1.255", "new_routers": "10.20.1.1",
		"new_domain_name_servers": "10.20.1.53", "new_domain_name": "example.org", "new_domain_search": "a.example.org. example.org.",
		"new_host_name": "lsp-a", "new_interface_mtu": mtu, "new_ntp_servers": "10.20.1.123", "new_dhcp_lease_time": "3600",
		"new_rfc3442_classless_static_routes": "16 192 168 10 20 1 2 0 10 20 1 1", "new_dhcp_server_identifier": "10.20.1.1",
	})
	f.check(b.udhcpc(10))
	b.expect(b.told("bound"), map[string]string{"ip": pb.IPs[0].String(), "router": "10.20.2.1", "mtu": "1300", "hostname": "lsp-b"})

	// SLAAC by the kernel: the address is the one that the port has, and there is one router, the port's own.
	for _, c := range []*client{a, b} {
		ip6 := map[*client]netip.Addr{a: pa.IPs[1], b: pb.IPs[1]}[c]
		f.eventually("the address "+ip6.String(), func() error {
			out, err := c.Exec(f.ctx, "ip", "-6", "-o", "addr", "show", "dev", "eth0", "scope", "global")
			if err == nil && (strings.Count(out, "inet6") != 1 || !strings.Contains(out, ip6.String()+"/64")) {
				err = errorf("it has %q", out)
			}
			return err
		})
		routes, err := c.Exec(f.ctx, "ip", "-6", "route", "show", "default")
		if err != nil || strings.Count(routes, "via fe80:") != 1 {
			t.Errorf("default routers of %s: %q, %v", c.Name, routes, err)
		}
	}
	advertised := a.rdisc6()
	a.contains(advertised, "Stateful address conf. : No", "Stateful other conf. : Yes", "Router lifetime : 9000", "Prefix : 2001:db8:20:1::/64",
		"Autonomous address conf.: Yes", "Recursive DNS server : 2001:db8::53", "DNS search list : a.example.org example.org", "MTU : "+mtu+" bytes")
	routers := regexp.MustCompile(`from fe80:\S+`).FindAllString(advertised, -1)
	if slices.Sort(routers); len(slices.Compact(routers)) != 1 { // which may advertise unasked meanwhile
		t.Errorf("not one router: %s", advertised)
	}
	b.contains(b.rdisc6(), "Stateful other conf. : No", "MTU : 1300 bytes")
	a.expect(a.dhclient("RENEW6", "-6", "-S"), map[string]string{"new_dhcp6_name_servers": "2001:db8::53",
		"new_dhcp6_domain_search": "a.example.org. example.org.", "new_dhcp6_sntp_servers": "2001:db8::123"})

	for _, ip := range pb.IPs {
		f.reach(a.Workload, ip)
		f.transfer(a.Workload, b.Workload, ip, 2e6)
	}
	for _, ip := range pa.IPs {
		f.reach(b.Workload, ip)
	}
}

// A network of IPv4 alone needs nothing of the other family, and says nothing in it.
func TestG28_WorkloadsOfAnIPv4OnlyNetworkConfigureThemselves(t *testing.T) {
	t.Parallel()
	f := newFleet(t, lab.Config{Name: "told4"})
	for _, line := range []string{"ls add LS-4 --subnet 10.20.4.0/24 --dhcp on", "lr add LR", "lr link LR LS-4 10.20.4.1/24", "lsp add LS-4 four-a", "lsp add LS-4 four-b"} {
		f.tpctl(line)
	}
	pa, pb := f.port("LS-4", "four-a"), f.port("LS-4", "four-b")
	a := f.asks(f.Hosts()[0], "four-a", "four-a", pa.MAC)
	b := f.asks(f.Hosts()[1], "four-b", "four-b", pb.MAC)
	a.expect(a.dhclient("BOUND"), map[string]string{"new_ip_address": pa.IPs[0].String(), "new_routers": "10.20.4.1"})
	f.check(b.udhcpc(10))
	b.expect(b.told("bound"), map[string]string{"ip": pb.IPs[0].String(), "router": "10.20.4.1"})
	f.reach(a.Workload, pb.IPs[0])
	f.transfer(a.Workload, b.Workload, pb.IPs[0], 1e6)
	for _, c := range []*client{a, b} {
		if out, err := c.Exec(f.ctx, "ip", "-6", "-o", "addr", "show", "dev", "eth0", "scope", "global"); err != nil || out != "" {
			t.Errorf("%s has addresses of IPv6: %q, %v", c.Name, out, err)
		}
	}
}

// A daemon that is down disturbs nobody, and one that comes back knows every lease, for leases are what the objects say.
func TestG28_LeasesOutliveTheDaemon(t *testing.T) {
	t.Parallel()
	f, a, b := toldFleet(t, "lease")
	a.dhclient("BOUND")
	b.dhclient("BOUND")
	target := f.port("LS-B", "lsp-b").IPs[0]
	f.reach(a.Workload, target)
	f.check(f.Hosts()[0].KillDaemon(f.ctx))
	f.reach(a.Workload, target)
	f.transfer(a.Workload, b.Workload, target, 1e6)
	f.daemon(f.Hosts()[0])
	// With its lease in hand a client asks for the same address (INIT-REBOOT).
	a.expect(a.dhclient("REBOOT"), map[string]string{"new_ip_address": f.port("LS-A", "lsp-a").IPs[0].String()})
	// One that remembers an address of elsewhere is told no, and gets its own.
	a.stop()
	leases := filepath.Join(a.dir, "leases")
	text, err := os.ReadFile(leases)
	f.check(err)
	f.check(os.WriteFile(leases, []byte(strings.ReplaceAll(string(text), "fixed-address 10.20.1.", "fixed-address 10.20.77.")), 0o644))
	a.expect(a.dhclient("BOUND"), map[string]string{"new_ip_address": f.port("LS-A", "lsp-a").IPs[0].String()})
	f.reach(a.Workload, target)
}

func TestG28_C15_WhoIsNotToldGetsNothing(t *testing.T) {
	t.Parallel()
	f, _, _ := toldFleet(t, "silent")
	host := f.Hosts()[0]
	for _, line := range []string{"ls add LS-C --subnet 10.20.3.0/24", "lsp add LS-C lsp-c", "lsp add LS-A lsp-forged", "lsp add LS-A lsp-loose",
		"lsp set LS-A lsp-loose --port-security off", "lsp add LS-A lsp-off", "lsp set LS-A lsp-off --host-config off"} {
		f.tpctl(line)
	}
	clients := map[string]*client{
		"spoofed-address": f.asks(host, "forged", "lsp-forged", "f2:00:00:00:00:99"),
		"strange-client":  f.asks(host, "loose", "lsp-loose", "f2:00:00:00:00:98"),
		"no service":      f.asks(host, "plain", "lsp-c", f.port("LS-C", "lsp-c").MAC),
		"switched off":    f.asks(host, "off", "lsp-off", f.port("LS-A", "lsp-off").MAC),
		"no port":         f.asks(host, "nobody", "lsp-nobody", "f2:00:00:00:00:97"),
	}
	f.eventuallyShows("lsp show LS-C lsp-c", "chassis: alice")
	f.eventuallyShows("lsp show LS-A lsp-loose", "chassis: alice")
	f.eventuallyShows("lsp show LS-A lsp-forged", "chassis: alice")
	f.eventuallyShows("lsp show LS-A lsp-off", ": alice")
	for why, c := range clients {
		if err := c.udhcpc(2); err == nil {
			t.Errorf("%s: got a lease: %v", why, c.told("bound"))
		}
	}
	for _, rule := range []string{"spoofed-address", "strange-client", "unbound-port"} {
		f.eventually("packets dropped by "+rule, func() error {
			out, err := f.Tpctl(f.ctx, "why-drop", "--chassis", "alice", "--interval", "50ms")
			if err == nil && !strings.Contains(out, rule) {
				err = errorf("it says:\n%s", out)
			}
			return err
		})
	}
}

func TestG19_U22_AddressesOfAnIPv6OnlyNetworkCanBeLeased(t *testing.T) {
	t.Parallel()
	f := newFleet(t, lab.Config{Name: "lease6"})
	for _, line := range []string{"ls add LS-6 --ra on --dhcpv6 stateful --dns 2001:db8::53", "lr add LR", "lr link LR LS-6 2001:db8:6::1/64",
		"lsp add LS-6 six-a 2001:db8:6::10", "lsp add LS-6 six-b 2001:db8:6::20"} {
		f.tpctl(line)
	}
	a := f.asks(f.Hosts()[0], "six-a", "six-a", f.port("LS-6", "six-a").MAC)
	b := f.asks(f.Hosts()[1], "six-b", "six-b", f.port("LS-6", "six-b").MAC)
	for c, ip := range map[*client]string{a: "2001:db8:6::10", b: "2001:db8:6::20"} {
		// Every node that has a workload of the network answers by itself.
		c.contains(c.rdisc6(), "Stateful address conf. : Yes", "Prefix : 2001:db8:6::/64", "Autonomous address conf.: No")
		c.expect(c.dhclient("BOUND6", "-6"), map[string]string{"new_ip6_address": ip, "new_dhcp6_name_servers": "2001:db8::53"})
	}
	f.reach(a.Workload, netip.MustParseAddr("2001:db8:6::20"))
	f.transfer(a.Workload, b.Workload, netip.MustParseAddr("2001:db8:6::20"), 1e6)
}

func TestU24_ANetworkIsReadyOnceEveryChassisOfItTellsItsWorkloads(t *testing.T) {
	t.Parallel()
	f, _, _ := toldFleet(t, "ready")
	f.tpctl("lsp add LS-A lsp-far")
	f.asks(f.Hosts()[1], "far", "lsp-far", f.port("LS-A", "lsp-far").MAC)
	f.eventuallyShows("lsp show LS-A lsp-far", "chassis: bob")
	f.eventuallyShows("ls show LS-A", "ready : yes")
	f.check(f.Hosts()[1].StopDaemon(f.ctx))
	f.eventuallyShows("ls show LS-A", "ready : no: bob is down")
	f.late(10*time.Second, "ls set LS-A --lease 2h --wait=1m", "bob") // who is down is not waited for
	f.eventuallyShows("ls show LS-A", "ready : no: bob is down")
	f.daemon(f.Hosts()[1])
	f.eventuallyShows("ls show LS-A", "ready : yes")
	if out := f.tpctl("ls set LS-A --lease 3h --wait=1m"); !strings.Contains(out, "applied on 2/2 affected chassis") {
		t.Error(out)
	}
	f.eventuallyShows("ls show LS-A", "ready : yes")
}

// What is printed for radvd is what radvd understands.
func TestU23_RadvdTakesItsConfiguration(t *testing.T) {
	t.Parallel()
	f, _, _ := toldFleet(t, "radvd")
	file := filepath.Join(f.Hosts()[0].Dir(), "radvd.conf")
	f.check(os.WriteFile(file, []byte(f.tpctl("ls radvd LS-A")), 0o644))
	if out, err := f.Hosts()[0].Exec(f.ctx, "radvd", "-c", "-C", file); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
