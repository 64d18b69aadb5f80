package model

import (
	"strings"
	"testing"
)

func TestBothEndsOfAWatchedTunnelChooseTheSameEncapsulation(t *testing.T) {
	g, v := []Encap{EncapGeneve}, []Encap{EncapVXLAN}
	gv, vg := []Encap{EncapGeneve, EncapVXLAN}, []Encap{EncapVXLAN, EncapGeneve}
	for _, c := range []struct {
		a, b []Encap
		want Encap
	}{
		{g, g, EncapGeneve}, {v, v, EncapVXLAN}, {g, v, EncapGeneve}, {gv, vg, EncapGeneve}, {gv, v, EncapVXLAN}, {vg, g, EncapGeneve},
	} {
		if ab, ba := WatchEncap(c.a, c.b), WatchEncap(c.b, c.a); ab != c.want || ba != c.want {
			t.Errorf("%v and %v: %s and %s, want %s", c.a, c.b, ab, ba, c.want)
		}
	}
}

func TestX17_TunnelsWithoutEthernetHeadersAreNotOffered(t *testing.T) {
	err := ValidateEncaps([]Encap{EncapGeneve, "ip6tnl"})
	if err == nil || !strings.Contains(err.Error(), `"ip6tnl"`) || !strings.Contains(err.Error(), "geneve") {
		t.Errorf("it says: %v", err)
	}
}
