package tpctl

import (
	"strings"
	"testing"

	"tuplenet/flows/walk"
)

// traceText is what ofproto/trace prints of a packet that is routed, compared with the tunnel's size, and sent; it goes on both as
// if it was too large and as if it fitted.
const traceText = `Flow: icmp,in_port=4

bridge("br-int")
----------------
 0. in_port=4, priority 100, cookie 0x7400000000000001
    set_field:0x1->metadata
    goto_table:90
90. reg10=0x4/0x4, priority 50, cookie 0x7400000000000002
    check_pkt_larger(1452)->reg10[3]
    goto_table:92
92. ip,reg10=0x8/0x8, priority 100, cookie 0x7400000000000003
    controller(userdata=05,meter_id=1)
92. priority 0, cookie 0x7400000000000004
    goto_table:94
94. priority 100, cookie 0x7400000000000005
    move:OXM_OF_METADATA[]->NXM_NX_TUN_ID[]
    output:1
     -> output to native tunnel

bridge("br-phy")
----------------
 0. priority 0
    NORMAL

Final flow: unchanged
Datapath actions: 3
===============================================================================
recirc(0x1) - resume conntrack
 0. priority 0, cookie 0x7400000000000009
`

func TestDisagreementsOfSwitchesAreFound(t *testing.T) {
	stage := func(cookie uint64, table, rule, flow string) walk.Stage {
		return walk.Stage{Table: table, Rule: rule, Owner: "lsp x", Flow: flow, Cookie: 0x74<<56 | cookie}
	}
	way := []walk.Stage{
		stage(1, "classify", "local-port", "table=0,priority=100,in_port=4 actions=set_field:0x1->metadata,goto_table:90"),
		stage(2, "tunnel_out", "check-size", "table=90,priority=50 actions=check_pkt_larger(1452)->reg10[3],goto_table:92"),
		stage(4, "tunnel_size", "size-fits", "table=92,priority=0 actions=goto_table:94"),
		stage(5, "encap", "encapsulate", "table=94,priority=100 actions=move:metadata[]->tun_id[],output:1"),
	}
	if why := disagreement(way, traceText); why != "" {
		t.Errorf("there is none, but %s", why)
	}
	for want, text := range map[string]string{
		`in table tunnel_out it meets "90.`:         strings.Replace(traceText, "cookie 0x7400000000000002", "cookie 0x7400000000000022", 1),
		"does not come to table encap":              strings.Replace(traceText, "cookie 0x7400000000000005", "cookie 0x0", 1),
		"was altered: it begins with \"drop\"":      strings.Replace(traceText, "    move:OXM_OF_METADATA[]->NXM_NX_TUN_ID[]\n", "    drop\n", 1),
		`in table classify it meets "0. in_port=4,`: strings.Replace(traceText, "cookie 0x7400000000000001", "cookie 0x7400000000000011", 1),
	} {
		if why := disagreement(way, text); !strings.Contains(why, want) {
			t.Errorf("got %q, want %q", why, want)
		}
	}
	asks := strings.Replace(traceText, "cookie 0x7400000000000001", "cookie 0x7400000000000011", 1)
	asks = strings.Replace(asks, " 0. in_port=4, priority 100,", "16. reg10=0/0x100,metadata=0x1, priority 30,", 1)
	if why := disagreement(way, asks); why != "" {
		t.Errorf("it asks the daemon, which is no defect: %s", why)
	}
	if why := disagreement(way[:1], traceText); !strings.Contains(why, "expected is nothing more") {
		t.Errorf("got %q", why)
	}
}
