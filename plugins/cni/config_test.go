package cni

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"

	"tuplenet/model"
	"tuplenet/model/store"
	"tuplenet/plugins/plug"
)

// tutorial is the file of the tutorial.
const tutorial = `"cniVersion": "0.3.0", "name": "tpcni-network", "type": "tpcni", "mtu": 1400, "switchname": "LS_A",
	"subnet": "10.20.1.1/24", "etcd_cluster": "192.168.1.10:2379, 192.168.1.11:2379", "data_store_prefix": "/tuplenet"`

func read(args string, more ...string) (*network, error) {
	return parse(&skel.CmdArgs{Args: args, StdinData: []byte("{" + strings.Join(append([]string{tutorial}, more...), ",") + "}")})
}

func TestT52_The_tutorials_keys(t *testing.T) {
	n, err := read("")
	if err != nil {
		t.Fatal(err)
	}
	if n.MTU != 1400 || n.Switch != "LS_A" || n.Prefix != "/tuplenet" || n.timeout() != 30*time.Second {
		t.Errorf("%+v", n)
	}
	if len(n.pools) != 1 || n.pools[0].Subnet != netip.MustParsePrefix("10.20.1.0/24") || !slices.Equal(n.pools[0].Reserved, n.gateway) {
		t.Errorf("pools %+v", n.pools)
	}
	st, err := n.open()
	if err != nil {
		t.Fatal(err)
	}
	st.Close()
}

func TestT52_The_address_in_a_subnet_is_the_gateway(t *testing.T) {
	for text, want := range map[string]string{
		`"subnet": "10.20.1.1/24"`:                             "10.20.1.0/24 10.20.1.1",
		`"subnet": "10.20.1.254/24"`:                           "10.20.1.0/24 10.20.1.254",
		`"subnet": "10.20.1.0/24"`:                             "10.20.1.0/24 10.20.1.1",
		`"subnet": "10.20.1.0/31"`:                             "10.20.1.0/31 10.20.1.0",
		`"subnet": "2001:db8::1/64"`:                           "2001:db8::/64 2001:db8::1",
		`"subnet": "10.20.1.1/24", "subnet6": "2001:db8::/64"`: "10.20.1.0/24 10.20.1.1 2001:db8::/64 2001:db8::1",
		`"subnet": "", "subnet6": "2001:db8::53/120"`:          "2001:db8::/120 2001:db8::53",
		`"subnet": ""`:                                         "",
	} {
		n, err := read("", text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		var got []string
		for i, s := range n.subnets {
			got = append(got, s.String(), n.gateway[i].String())
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s", text, got, want)
		}
	}
}

func TestT52_What_cannot_be_is_refused_with_the_codes_of_the_specification(t *testing.T) {
	for text, want := range map[string]string{
		`"subnet": "10.20.1.1/32"`:                                  "has no address but the gateway's",
		`"subnet": "10.20.1.255/24"`:                                "broadcast",
		`"subnet": "ten"`:                                           "not of the form",
		`"subnet": "::ffff:10.0.0.1/96"`:                            "not of the form",
		`"subnet": "2001:db8::1/64", "subnet6": "2001:db8:1::1/64"`: "one subnet of each family",
		`"subnet6": "10.1.1.1/24"`:                                  "one subnet of each family",
		`"switchname": "a/b"`:                                       "switchname",
		`"etcd_cluster": ""`:                                        "etcd_cluster is missing",
		`"mtu": 70000`:                                              "mtu 70000",
		`"timeout": -1`:                                             "timeout",
		`"runtimeConfig": {"ips": ["10.20.1.1"]}`:                   "address of the gateway",
		`"runtimeConfig": {"ips": ["10.20.2.1/24"]}`:                "not in the subnet",
		`"runtimeConfig": {"mac": "x"}`:                             "MAC",
	} {
		_, err := read("", text)
		var e *types.Error
		if !errors.As(err, &e) || e.Code != types.ErrInvalidNetworkConfig || !strings.Contains(e.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	for _, text := range []string{`"mtu": "1400"`, `"prevResult": {"cniVersion": "7.0.0"}`} {
		_, err := read("", text)
		var e *types.Error
		if !errors.As(err, &e) || e.Code != types.ErrDecodingFailure {
			t.Errorf("%s: %v", text, err)
		}
	}
	n, err := read("", `"etcd_user": "root"`)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.open(); err == nil || !strings.Contains(err.Error(), "NAME:PASSWORD") {
		t.Error(err)
	}
}

func TestT53_Addresses_are_asked_for_in_three_ways_and_the_newest_counts(t *testing.T) {
	env := "IgnoreUnknown=1;K8S_POD_NAME=p;IP=10.20.1.5;MAC=02:00:00:00:00:05"
	for text, want := range map[string]string{
		`"args": {}`: "[10.20.1.5] 02:00:00:00:00:05",
		`"args": {"cni": {"ips": ["10.20.1.6/24"]}}`:                                                          "[10.20.1.6] 02:00:00:00:00:05",
		`"args": {"cni": {"ips": ["10.20.1.6"]}}, "runtimeConfig": {"mac": "02:00:00:00:00:07"}`:              "[10.20.1.6] 02:00:00:00:00:07",
		`"args": {"cni": {"mac": "02:00:00:00:00:08"}}, "runtimeConfig": {"ips": ["10.20.1.7/24"]}`:           "[10.20.1.7] 02:00:00:00:00:08",
		`"subnet6": "2001:db8::1/64", "runtimeConfig": {"ips": ["2001:db8::9/64", "10.20.1.9"], "mac": null}`: "[2001:db8::9 10.20.1.9] 02:00:00:00:00:05",
	} {
		n, err := read(env, text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := fmt.Sprint(n.ips, " ", n.mac); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

func TestErrors_have_the_codes_that_runtimes_know(t *testing.T) {
	for _, c := range []struct {
		err  error
		want uint
	}{
		{fmt.Errorf("x: %w", store.ErrUnreachable), types.ErrTryAgainLater},
		{fmt.Errorf("x: %w", store.ErrExhausted), types.ErrTryAgainLater},
		{errors.Join(plug.ErrNotReady, errors.New("and more")), types.ErrTryAgainLater},
		{plug.ErrNamespace, types.ErrInvalidNetNS},
		{store.ErrNotFound, types.ErrInvalidNetworkConfig},
		{store.ErrConflict, ErrAddress},
		{errors.New("else"), types.ErrInternal},
		{fmt.Errorf("x: %w", types.NewError(types.ErrIOFailure, "io", "")), types.ErrIOFailure},
	} {
		got := coded("ADD", c.err)
		if got.Code != c.want || strings.Contains(got.Msg, "\n") {
			t.Errorf("%v: %+v, want code %d", c.err, got, c.want)
		}
	}
}

func TestT54_Only_ports_that_were_made_for_this_host_are_ours(t *testing.T) {
	n, err := read("")
	if err != nil {
		t.Fatal(err)
	}
	c := &call{network: n, args: &skel.CmdArgs{ContainerID: "c1", IfName: "eth0", Args: "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=front"}}
	p := &model.LogicalSwitchPort{Tags: c.tags("hv1")}
	if c.port() != "lsp-eth0-c1" || !made(p, "hv1") || made(p, "hv2") || tagged(p, tagContainer) != "c1" || !slices.Contains(p.Tags, "pod=shop:front") {
		t.Errorf("%s %v", c.port(), p.Tags)
	}
	if made(&model.LogicalSwitchPort{Tags: []string{"cni-chassis=hv1"}}, "hv1") {
		t.Error("a port without our tag")
	}
}
