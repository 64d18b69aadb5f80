package cnm

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/go-plugins-helpers/network"

	"tuplenet/model"
)

func none(string) string { return "" }

func TestT46_TheConfigurationIsReadStrictly(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.json")
	load := func(text string, getenv func(string) string) (Config, error) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return Load(file, getenv)
	}
	c, err := load(Example, none)
	want := Config{Etcd: "192.168.5.50:2379,192.168.5.51:2379,192.168.5.53:2379", Prefix: "/tuplenet", Engine: "/var/run/docker.sock", Router: "LR-central", Scope: ScopeGlobal}
	if err != nil || c != want || len(c.endpoints()) != 3 {
		t.Errorf("the example: %+v, %v", c, err)
	}
	if c, err = load(`{"etcd_cluster": "a:1"}`, none); err != nil || c.Router != "" || c.Engine != DefaultEngine {
		t.Errorf("what may be left out: %+v, %v", c, err)
	}
	c, err = load(Example, func(name string) string { return map[string]string{"TPCNM_SCOPE": "local"}[name] })
	if err != nil || c.Scope != ScopeLocal || c.Router != "LR-central" {
		t.Errorf("the environment comes first: %+v, %v", c, err)
	}
	if c, err = Load("", func(name string) string { return map[string]string{"TPCNM_ETCD_CLUSTER": "b:1"}[name] }); err != nil || c.Etcd != "b:1" {
		t.Errorf("the environment alone: %+v, %v", c, err)
	}
	for text, word := range map[string]string{
		`{}`: "etcd_cluster is missing", `{"etcd_cluster": " , "}`: "etcd_cluster is missing", `{`: "unexpected EOF",
		`{"etcd_cluster": "a:1", "egress_route_name": "x"}`:    `unknown field "egress_route_name"`,
		`{"etcd_cluster": "a:1"} x`:                            "behind the end",
		`{"etcd_cluster": "a:1", "scope": "world"}`:            "it is global or local",
		`{"etcd_cluster": "a:1", "etcd_user": "x"}`:            "NAME:PASSWORD",
		`{"etcd_cluster": "a:1", "egress_router_name": "a/b"}`: "egress_router_name",
	} {
		if _, err := load(text, none); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v, want %q", text, err, word)
		}
	}
	for key, file := range map[string]string{"etcd_cacert": "/nowhere/ca.pem", `etcd_key": "/nowhere/key.pem", "etcd_cert`: "/nowhere/cert.pem"} {
		c, err := load(`{"etcd_cluster": "a:1", "`+key+`": "`+file+`"}`, none)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := New(c, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s is not there: %v", key, err)
		}
	}
	if _, err := Load("", none); err == nil || !strings.Contains(err.Error(), "-config FILE") {
		t.Errorf("nothing at all: %v", err)
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none"), none); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func TestT47_OnlyOneProcessServesTheSocketAndAStaleOneIsReplaced(t *testing.T) {
	dir, err := os.MkdirTemp("", "cnm") // short: the path of a socket has a limit
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "docker", "plugins", "tuplenet.sock")
	l, err := Listen(path, none)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := Listen(path, none); !errors.Is(err, ErrServed) {
		t.Errorf("a second one: %v", err)
	}
	stale := filepath.Join(dir, "stale.sock")
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	left.Close()
	again, err := Listen(stale, none)
	if err != nil {
		t.Fatalf("a stale socket: %v", err)
	}
	again.Close()
	foreign := filepath.Join(dir, "foreign.sock")
	other, err := net.Listen("unix", foreign)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := Listen(foreign, none); !errors.Is(err, ErrServed) {
		t.Errorf("served by somebody without the lock: %v", err)
	}
	file := filepath.Join(dir, "file.sock")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(file, none); err == nil {
		t.Error("a file that is no socket was replaced")
	}
}

func TestT47_T48_TheEngineIsToldWhatThePluginIs(t *testing.T) {
	d, err := New(Config{Etcd: "127.0.0.1:1", Scope: ScopeLocal}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	server := httptest.NewServer(d.Handler())
	defer server.Close()
	post := func(path, body string) (int, string) {
		resp, err := http.Post(server.URL+path, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, strings.TrimSpace(string(text))
	}
	for _, c := range []struct {
		path, body string
		code       int
		want       string
	}{
		{"/Plugin.Activate", "", 200, `{"Implements":["NetworkDriver","IpamDriver"]}`},
		{"/NetworkDriver.GetCapabilities", "", 200, `{"Scope":"local","ConnectivityScope":"global"}`},
		{"/IpamDriver.GetCapabilities", "{}", 200, `{"RequiresMACAddress":false}`},
		{"/NetworkDriver.DiscoverNew", `{"DiscoveryType":1,"DiscoveryData":{}}`, 200, `{}`},
		{"/NetworkDriver.AllocateNetwork", `{"NetworkID":"n"}`, 200, `{"Options":{}}`},
		{"/NetworkDriver.Nonsense", "{}", 404, "404 page not found"},
		{"/NetworkDriver.CreateNetwork", "nonsense", 400, ""},
		{"/NetworkDriver.DeleteEndpoint", "", 500, "try the command again"},
		{"/IpamDriver.RequestPool", `{"Pool":"10.0.0.0/24"}`, 500, `--ipam-opt tuplenet.switch=NAME`},
		{"/IpamDriver.RequestAddress", `{"PoolID":"10.0.0.0/24"}`, 500, `none of ours`},
		{"/IpamDriver.RequestPool", `{"Pool":"10.0.0.5/24","SubPool":"10.0.0.128/25","Options":{"tuplenet.switch":"web"}}`, 200, `{"PoolID":"web/10.0.0.0/24/10.0.0.128/25","Pool":"10.0.0.0/24","Data":null}`},
		{"/IpamDriver.RequestPool", `{"Pool":"10.0.0.0/24","SubPool":"10.0.1.0/25","Options":{"tuplenet.switch":"web"}}`, 500, `not in the subnet`},
		{"/IpamDriver.RequestAddress", `{"PoolID":"web/10.0.0.0/24/10.0.0.0/24","Address":"10.0.0.1","Options":{"RequestAddressType":"com.docker.network.gateway"}}`, 200, `{"Address":"10.0.0.1/24","Data":null}`},
	} {
		if code, text := post(c.path, c.body); code != c.code || !strings.Contains(text, c.want) {
			t.Errorf("%s %s: %d %s, want %d %s", c.path, c.body, code, text, c.code, c.want)
		}
	}
	if len(d.doubts) != 1 {
		t.Error("it is not looked for what an empty request should have removed")
	}
	if resp, err := http.Get(server.URL + "/Plugin.Activate"); err != nil || resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET: %v, %v", resp, err)
	}
}

func TestT49_ANetworkIsReadFromTheRequestOfTheEngine(t *testing.T) {
	d := &Driver{cfg: Config{Scope: ScopeLocal, Router: "LR"}}
	request := func(options, generic map[string]any) *network.CreateNetworkRequest {
		all := map[string]any{keyGeneric: generic}
		for k, v := range options {
			all[k] = v
		}
		return &network.CreateNetworkRequest{NetworkID: "0123", Options: all,
			IPv4Data: []*network.IPAMData{{Pool: "10.20.3.0/24", Gateway: "10.20.3.1/24"}}, IPv6Data: []*network.IPAMData{{Pool: "2001:db8::/64", Gateway: "2001:db8::1/64"}}}
	}
	n, err := d.networkOf(request(nil, nil), "host-a")
	if err != nil || n.Switch != "0123" || n.Router != "LR" || n.Chassis != "host-a" || len(n.Subnets) != 2 || n.Gateways[1] != netip.MustParsePrefix("2001:db8::1/64") {
		t.Errorf("%+v, %v", n, err)
	}
	n, err = d.networkOf(request(map[string]any{keyInternal: true}, map[string]any{optionSwitch: "web", optionMTU: "1400"}), "host-a")
	if err != nil || n.Switch != "web" || n.Router != "" || n.MTU != 1400 || !n.Internal {
		t.Errorf("internal: %+v, %v", n, err)
	}
	n, err = d.networkOf(request(nil, map[string]any{optionRoutes: "192.168.7.5/24=10.20.3.9, 2001:db8:7::/48=2001:db8::9", "com.example.other": "x"}), "host-a")
	if err != nil || fmt.Sprint(n.Routes) != "[{192.168.7.0/24 10.20.3.9} {2001:db8:7::/48 2001:db8::9}]" {
		t.Errorf("routes: %+v, %v", n.Routes, err)
	}
	for _, bad := range []map[string]any{
		{optionSwitch: "a/b"}, {optionMTU: "x"}, {optionMTU: "20"}, {"tuplenet.swicth": "web"}, {optionRoutes: ""}, {optionRoutes: "10.0.0.0/8"},
		{optionRoutes: "10.0.0.0/8=10.20.4.1"}, {optionRoutes: "10.0.0.0=10.20.3.9"}, {optionRoutes: "10.0.0.0/8=2001:db8::9"}, {optionRoutes: "2001:db8:7::/48=10.20.3.9"},
	} {
		if n, err := d.networkOf(request(nil, bad), "host-a"); err == nil {
			t.Errorf("%v is accepted: %+v", bad, n)
		}
	}
	n = &engineNetwork{ID: "0123"}
	if err := n.addPool(&network.IPAMData{Pool: "0.0.0.0/0"}); err != nil || len(n.Subnets) != 0 {
		t.Errorf("the pool of --ipam-driver null: %+v, %v", n, err)
	}
}

func TestT50_OnlyWhatTheEngineHasNotChosenIsInTheAnswer(t *testing.T) {
	n := &engineNetwork{ID: "0123", Switch: "web", Subnets: []netip.Prefix{netip.MustParsePrefix("10.20.3.0/24"), netip.MustParsePrefix("2001:db8::/64")}}
	p, err := n.port(&network.EndpointInterface{Address: "10.20.3.2/24", AddressIPv6: "2001:db8::2/64", MacAddress: "02:42:0a:14:03:02"}, "e1", "host-a")
	if err != nil || p.Name != "docker-e1" || len(p.IPs) != 2 || p.MAC.String() != "02:42:0a:14:03:02" || !made(p, "host-a") || made(p, "host-b") {
		t.Fatalf("%+v, %v", p, err)
	}
	if got := n.answer(&network.EndpointInterface{Address: "10.20.3.2/24", AddressIPv6: "2001:db8::2/64", MacAddress: "02:42:0a:14:03:02"}, p); *got != (network.EndpointInterface{}) {
		t.Errorf("all was given: %+v", got)
	}
	if got := n.answer(&network.EndpointInterface{}, p); *got != (network.EndpointInterface{Address: "10.20.3.2/24", AddressIPv6: "2001:db8::2/64", MacAddress: "02:42:0a:14:03:02"}) {
		t.Errorf("nothing was given: %+v", got)
	}
	for _, bad := range []network.EndpointInterface{{Address: "10.20.3.2"}, {MacAddress: "x"}} {
		if p, err := n.port(&bad, "e1", "host-a"); err == nil {
			t.Errorf("%+v is accepted: %+v", bad, p)
		}
	}
	if sw := (&model.LogicalSwitch{Name: "web", Subnets: n.Subnets[:1]}); fits(n, sw) == nil {
		t.Error("a network with a subnet that the switch does not have fits")
	}
}
