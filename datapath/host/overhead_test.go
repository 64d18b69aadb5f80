package host

import "testing"

func Test_overhead_of_tunnels(t *testing.T) {
	for _, c := range []struct {
		encap string
		v6    bool
		left  int // of 1500
	}{{"geneve", false, 1438}, {"geneve", true, 1418}, {"vxlan", false, 1450}, {"vxlan", true, 1430}} {
		if got := 1500 - TunnelOverhead(c.encap, c.v6); got != c.left {
			t.Errorf("%s, IPv6 %v: %d bytes are left of 1500, want %d", c.encap, c.v6, got, c.left)
		}
	}
}
