package decode_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"tuplenet/flows/decode"
	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
)

// Of every flow of every scenario of the compiler the rule that made it is found; at most one other is as likely
// (connected and static routes look alike).
func TestRulesFindWhatMadeAFlow(t *testing.T) {
	files, err := filepath.Glob("../compile/testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no scenarios", err)
	}
	n := 0
	for _, file := range files {
		ar, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range ar.Files {
			for line := range strings.Lines(string(f.Data)) {
				name, text, ok := strings.Cut(strings.TrimSpace(line), " table=")
				if !ok {
					continue
				}
				n++
				_, rules, err := decode.Line("cookie=0x7400000000000001, duration=1.5s, table=" + strings.Replace(text, " actions=", ", n_packets=3, n_bytes=294, actions=", 1))
				if err != nil {
					t.Fatal(err)
				}
				if len(rules) > 2 || !slices.ContainsFunc(rules, func(r *pipeline.Rule) bool { return r.Name == name }) {
					t.Errorf("%s: found %s", line, names(rules))
				}
			}
		}
	}
	if n < 100 {
		t.Errorf("only %d flows in the scenarios", n)
	}
}

func names(rules []*pipeline.Rule) (names []string) {
	for _, r := range rules {
		names = append(names, r.Name)
	}
	return names
}

// The switch joins neighbouring registers in what it dumps; the rule is found all the same.
func TestRulesKnowJoinedRegisters(t *testing.T) {
	_, rules, err := decode.Line("cookie=0x74, duration=1s, table=100, n_packets=0, n_bytes=0, idle_age=1, priority=100,xreg7=0x1/0xffffffff,metadata=0x1 actions=output:101")
	if err != nil || len(rules) == 0 || rules[0].Name != "output" {
		t.Errorf("found %s, %v", names(rules), err)
	}
}

// A flow that no rule allows is nobody's.
func TestRulesKnowStrangers(t *testing.T) {
	for _, text := range []string{
		"table=5,priority=1 actions=drop",
		"table=100,priority=100,metadata=0x1,reg15=0x1 actions=drop",
		"table=100,priority=100,metadata=0x1,tun_id=0x1 actions=output:3",
		"table=100,priority=101,metadata=0x1,reg15=0x1 actions=output:3",
		"table=0,priority=100,in_port=1 actions=goto_table:100",
	} {
		if _, rules, err := decode.Line(text); err != nil || len(rules) != 0 {
			t.Errorf("%s: found %s, %v", text, names(rules), err)
		}
	}
}

// Flows in words.
func TestFlow(t *testing.T) {
	for text, want := range map[string]string{
		"table=0,priority=100,in_port=101 actions=set_field:0x1->metadata,set_field:0x2->reg14,goto_table:8":          "classify priority=100 in_port=101 -> set datapath=1,set in_port_key=2,goto port_security",
		"table=90,priority=100,reg10=0x3/0x3 actions=drop":                                                            "tunnel_out priority=100 from_tunnel=1,redirected=1 -> drop",
		"table=60,priority=100,ip,metadata=0x3,reg0=0xa14010a,reg15=0x1 actions=set_field:f2:01:00:00:00:01->eth_dst": "neighbour priority=100 datapath=3,next_hop4=10.20.1.10,out_port_key=1,ip -> set_field:f2:01:00:00:00:01->eth_dst",
		"table=60,priority=100,ipv6,xxreg0=0x20010db8000100000000000000000010 actions=resubmit(,72)":                  "neighbour priority=100 next_hop6=2001:db8:1::10,ipv6 -> resubmit router_out",
		"table=94,priority=100 actions=move:metadata[]->tun_id[],move:reg14[0..15]->tun_metadata0[48..63],output:1":   "encap priority=100 any -> copy datapath to tun_id,copy in_port_key to option_src,output:1",
		"table=44,priority=50,ip,nw_ttl=1 actions=controller(userdata=01,meter_id=1)":                                 "router_local priority=50 ip,nw_ttl=1 -> to daemon (TTL expired)",
		"table=77,priority=1,reg10=0x1000/0x3000 actions=goto_table:78":                                               "table 77 priority=1 reg10=0x1000/0x3000 -> goto table 78",
	} {
		f, err := of.ParseFlow(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := decode.Flow(f); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// Registers of a packet in words; the next hop is read by the packet's family.
func TestRegisters(t *testing.T) {
	values := map[of.Field]of.Value{of.Metadata: of.U(3), of.Reg0: of.U(0x0a000001), of.XXReg0: of.Value{Hi: 0x0a00000100000000}, of.Reg10: of.U(5), of.EthType: of.U(0x0800)}
	get := func(f of.Field) of.Value { return values[f] }
	if got, want := decode.Registers(get), "datapath=3,next_hop4=10.0.0.1,from_tunnel=1,routed=1"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	values[of.EthType] = of.U(0x86dd)
	if got, want := decode.Registers(get), "datapath=3,next_hop6=a00:1::,from_tunnel=1,routed=1"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
