package model

import (
	"bytes"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

// everyKind is one object of each kind, in the order of documents, with every field set.
func everyKind() []Object {
	addr, net := netip.MustParseAddr, netip.MustParsePrefix
	return []Object{
		&Pool{Name: "v4", Prefixes: []netip.Prefix{net("10.0.0.0/8")}, Length: 24, Reserved: []netip.Prefix{net("10.1.0.0/16")}, Strategy: StrategyRandom, Seed: 1,
			Quarantine: new(int64), IPv6Template: addr("1000::1:0.0.0.0"), Driver: "netbox", Tags: []string{"red"}},
		&LogicalSwitch{Name: "LS A", VNI: 0xff01, Subnets: []netip.Prefix{net("10.0.0.0/24"), net("2001:db8::/64")}, MTU: 1400, MACPrefix: "02",
			Pools: []SubnetSource{{Pool: "v4", Length: 24, Subnet: net("10.0.0.0/24")}}, Tags: []string{"red", "on"}},
		&LogicalRouter{Name: "LR", ID: 7, Chassis: "hv1", Tags: []string{"red"}},
		&LogicalRouterPort{Router: "LR", Name: "LR_to_LS A", Key: 1, MAC: MAC{0xf2, 1, 10, 0, 0, 1}, Networks: []netip.Prefix{net("10.0.0.1/24")}, Peer: "LS A_to_LR", Tags: []string{"x"}},
		&LogicalSwitchPort{Switch: "LS A", Name: "LS A_to_LR", Key: 2, MAC: MAC{0xf2, 1, 10, 0, 0, 1}, IPs: []netip.Addr{addr("10.0.0.1")}, Type: PortRouter, Peer: "LR_to_LS A"},
		&LogicalSwitchPort{Switch: "LS A", Name: "out", Key: 4, Type: PortPatch, Chassis: "hv1", Bridge: "br-ex"},
		&LogicalSwitchPort{Switch: "LS A", Name: "p", Key: 3, MAC: MAC{0xf2, 1, 10, 0, 0, 9}, Type: PortVIF, NoPortSecurity: true, Tags: []string{"1"}},
		&StaticRoute{Router: "LR", Name: "0", Prefix: net("0.0.0.0/0"), NextHop: addr("10.0.0.254"), OutPort: "LR_to_LS A", Weight: 3, Tags: []string{"x"}},
		&NATRule{Router: "LR", Name: "n", Type: NATSource, Prefix: net("10.0.0.0/24"), External: addr("192.0.2.1"), Tags: []string{"x"}},
		&Chassis{Name: "hv1", Hostname: "h", IPs: []netip.Addr{addr("192.0.2.9")}, Encaps: []Encap{EncapGeneve}, Gateway: true, Tick: 4},
		&Binding{Port: "p", Chassis: "hv1"},
	}
}

func TestT64_DocumentsAreReadAsTheObjectsThatWereWritten(t *testing.T) {
	want := everyKind()
	for form, write := range map[string]func(*bytes.Buffer) error{
		"yaml": func(b *bytes.Buffer) error { return WriteDocuments(b, 42, want) },
		"json": func(b *bytes.Buffer) error { return WriteDocumentList(b, 42, want) },
	} {
		var first, second bytes.Buffer
		if err := write(&first); err != nil {
			t.Fatal(err)
		}
		got, err := ReadDocuments(bytes.NewReader(first.Bytes()))
		if err != nil {
			t.Fatalf("%s: %v\n%s", form, err, first.String())
		}
		for i, o := range got {
			if p, ok := o.(*LogicalSwitchPort); ok && p.Name == "p" {
				if p.IPs == nil {
					t.Error("that a port has no addresses is said, so they are not nil")
				}
				p.IPs = nil
			}
			if !reflect.DeepEqual(o, want[i]) {
				t.Errorf("%s: got %+v\nwant %+v", form, o, want[i])
			}
			if err := o.Validate(); err != nil {
				t.Errorf("%s: %v", form, err)
			}
		}
		if form == "yaml" {
			if err := WriteDocuments(&second, 42, got); err != nil || first.String() != second.String() {
				t.Errorf("written again it is something else: %v", err)
			}
		}
	}
}

func TestDocumentsOfPeopleMayLeaveOutWhatTheStoreChooses(t *testing.T) {
	got, err := ReadDocuments(strings.NewReader(`
# a network
apiVersion: tuplenet/v1
kind: LogicalSwitch
metadata: {name: net, tags: [blue]}
spec: {subnets: [10.1.0.0/24]}
--- # its port
apiVersion: tuplenet/v1
kind: LogicalSwitchPort
metadata:
  name: vm
  switch: net
...
---
{"apiVersion": "tuplenet/v1", "kind": "LogicalRouter", "metadata": {"name": "r"}}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []Object{
		&LogicalSwitch{Name: "net", Subnets: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/24")}, Tags: []string{"blue"}},
		&LogicalSwitchPort{Switch: "net", Name: "vm", Type: PortVIF},
		&LogicalRouter{Name: "r"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}

func TestDocumentsThatMakeNoSenseAreRefusedByNumber(t *testing.T) {
	const head = "apiVersion: tuplenet/v1\n"
	for text, want := range map[string]string{
		"kind: LogicalSwitch\n":                                                                                        `document 1: apiVersion "" is not "tuplenet/v1"`,
		head + "kind: Cloud\nmetadata: {name: x}\n":                                                                    `document 1: unknown kind "Cloud"`,
		head + "kind: LogicalRouter\n":                                                                                 `document 1: LogicalRouter: metadata.name is missing`,
		head + "kind: LogicalRouter\nmetadata: {name: a/b}\n":                                                          `document 1: LogicalRouter a/b: router: invalid name "a/b": "/" is not allowed`,
		head + "kind: LogicalRouter\nmetadata: {name: x}\nspec: {name: x}\n":                                           `document 1: LogicalRouter x: name belongs into the metadata`,
		head + "kind: LogicalRouter\nmetadata: {name: x}\nspec: {colour: red}\n":                                       `document 1: LogicalRouter x: unknown field "colour"`,
		head + "kind: LogicalRouter\nmetadata: {name: x, switch: s}\n":                                                 `document 1: LogicalRouter x: unknown field "switch"`,
		head + "kind: LogicalSwitchPort\nmetadata: {name: x}\n":                                                        `document 1: LogicalSwitchPort x: metadata.switch is missing`,
		head + "kind: LogicalSwitch\nmetadata: {name: x}\nmetadata: {name: z}\n":                                       `document 1: invalid YAML: line 4: key "metadata" already set in map`,
		head + "kind: LogicalSwitch\nmetadata: {name: x}\nitems: [{}]\n":                                               `document 1: LogicalSwitch: only a List has items`,
		head + "kind: List\nspec: {}\n":                                                                                `document 1: a List has items, which are objects`,
		head + "kind: List\nitems: [{apiVersion: tuplenet/v1, kind: Router}]\n":                                        `document 1: item 1: unknown kind "Router"`,
		"---\n---\n" + head + "kind: LogicalSwitch\nmetadata: {name: x}\nstatus: {}\n":                                 `document 1: unknown field "status"`,
		head + "kind: LogicalRouter\nmetadata: {name: x}\n---\n" + head + "kind: LogicalRouter\nmetadata: {name: x}\n": `document 2: LogicalRouter x is given twice`,
		"- 1\n": `document 1: invalid JSON: not an object`,
	} {
		_, err := ReadDocuments(strings.NewReader(text))
		if err == nil || err.Error() != want {
			t.Errorf("%q:\ngot  %v\nwant %s", text, err, want)
		}
	}
}
