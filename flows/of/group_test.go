package of_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"tuplenet/flows/of"
)

// The bytes were made by ovs-ofctl of OVS 3.1 from the same text.
func TestGroupsHaveTheBytesOfOvsOfctl(t *testing.T) {
	for _, c := range []struct {
		text, buckets, properties string
		group                     of.Group
	}{
		{
			"group_id=5,type=select,selection_method=hash,fields(ip_src,ip_dst),bucket=bucket_id:0,weight:100,watch_port:5,actions=output:1,bucket=bucket_id:7,weight:1,actions=output:2",
			"00280010 00000000 00000010 00000001 00000000 00000000 00000008 00640000 00010008 00000005 00200010 00000007 00000010 00000002 00000000 00000000 00000008 00010000",
			"ffff0038 0000154d 00000001 00000000 68617368 00000000 00000000 00000000 00000000 00000000 80001604 ffffffff 80001804 ffffffff",
			of.Group{ID: 5, Type: of.GroupSelect, Hash: &of.HashSelection{Method: of.MethodHash, Fields: []of.Field{of.IPDst, of.IPSrc, of.IPDst}},
				Buckets: []of.Bucket{{Weight: 100, WatchPort: 5, Actions: []of.Action{of.Output{Port: 1}}}, {ID: 7, Actions: []of.Action{of.Output{Port: 2}}}}},
		}, {
			"group_id=7,type=select,selection_method=dp_hash,bucket=bucket_id:0,weight:1,actions=output:1",
			"00200010 00000000 00000010 00000001 00000000 00000000 00000008 00010000",
			"ffff0028 0000154d 00000001 00000000 64705f68 61736800 00000000 00000000 00000000 00000000",
			of.Group{ID: 7, Type: of.GroupSelect, Hash: &of.HashSelection{Method: of.MethodDPHash}, Buckets: []of.Bucket{{Actions: []of.Action{of.Output{Port: 1}}}}},
		}, {
			"group_id=6,type=all,bucket=bucket_id:0,actions=output:1,bucket=bucket_id:1,actions=output:2",
			"00180010 00000000 00000010 00000001 00000000 00000000 00180010 00000001 00000010 00000002 00000000 00000000", "",
			of.Group{ID: 6, Buckets: []of.Bucket{{Actions: []of.Action{of.Output{Port: 1}}}, {Actions: []of.Action{of.Output{Port: 2}}}}},
		}, {
			"group_id=8,type=fast_failover,bucket=bucket_id:0,watch_port:1,actions=output:1",
			"00200010 00000000 00000010 00000001 00000000 00000000 00010008 00000001", "",
			of.Group{ID: 8, Type: of.GroupFastFailover, Buckets: []of.Bucket{{WatchPort: 1, Actions: []of.Action{of.Output{Port: 1}}}}},
		}, {
			"group_id=30,type=fast_failover,bucket=bucket_id:0,watch_group:12,actions=group:12,bucket=bucket_id:1,watch_port:1,watch_group:12,actions=output:1",
			"00180008 00000000 00160008 0000000c 00020008 0000000c 00280010 00000001 00000010 00000001 00000000 00000000 00010008 00000001 00020008 0000000c", "",
			of.Group{ID: 30, Type: of.GroupFastFailover, Buckets: []of.Bucket{{WatchGroup: 12, Actions: []of.Action{of.GroupAction{ID: 12}}},
				{WatchPort: 1, WatchGroup: 12, Actions: []of.Action{of.Output{Port: 1}}}}},
		},
	} {
		p, err := c.group.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if got, want := hex.EncodeToString([]byte(p.Buckets())), strings.ReplaceAll(c.buckets, " ", ""); got != want {
			t.Errorf("%s: buckets\n%s\nwant\n%s", c.text, got, want)
		}
		if got, want := hex.EncodeToString([]byte(p.Properties())), strings.ReplaceAll(c.properties, " ", ""); got != want {
			t.Errorf("%s: properties\n%s\nwant\n%s", c.text, got, want)
		}
		if c.group.String() != c.text || p.String() != c.text {
			t.Errorf("text %s\npacked %s\nwant %s", c.group, p, c.text)
		}
		back, err := p.Unpack()
		if err != nil {
			t.Fatal(err)
		}
		if q, err := back.Pack(); err != nil || q != p {
			t.Errorf("%s: unpacked and packed again: %s, %v", c.text, q, err)
		}
	}
}

func TestGroupsThatTheSwitchWouldRefuse(t *testing.T) {
	out := of.Bucket{Actions: []of.Action{of.Output{Port: 1}}}
	weighted, watching, first, again := out, out, out, out
	weighted.Weight, watching.WatchPort, first.ID, again.ID = 3, 3, 3, 3
	for want, g := range map[string]of.Group{
		"id is above":             {ID: 0xffffff00},
		"one bucket, not 0":       {Type: of.GroupIndirect},
		"two buckets have the id": {Buckets: []of.Bucket{first, again}},
		"has a weight":            {Buckets: []of.Bucket{weighted}},
		"watches a port":          {Buckets: []of.Bucket{watching}},
		"watches no port":         {Type: of.GroupFastFailover, Buckets: []of.Bucket{out}},
		"refers to group 5":       {ID: 5, Type: of.GroupFastFailover, Buckets: []of.Bucket{{WatchGroup: 5}}},
		"refers to group 6":       {ID: 5, Buckets: []of.Bucket{{Actions: []of.Action{of.GroupAction{ID: 6}}}}},
		"in a group of type all":  {Hash: &of.HashSelection{Method: "hash"}},
		"unknown selection":       {Type: of.GroupSelect, Hash: &of.HashSelection{Method: "dice"}},
		"takes no fields":         {Type: of.GroupSelect, Hash: &of.HashSelection{Method: "dp_hash", Fields: []of.Field{of.IPSrc}}},
		"unknown type":            {Type: 9},
		"must be the last":        {Buckets: []of.Bucket{{Actions: []of.Action{of.Goto{Table: 1}}}}},
	} {
		if _, err := g.Pack(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", g, err, want)
		}
	}
	big := of.Group{}
	for range 3000 {
		big.Buckets = append(big.Buckets, out)
	}
	if _, err := big.Pack(); err == nil || !strings.Contains(err.Error(), "do not fit") {
		t.Errorf("group of 3000 buckets: %v", err)
	}
}
