package responder_test

import (
	"net/netip"
	"testing"

	"tuplenet/controller/responder"
)

func TestTargetOfAQuestion(t *testing.T) {
	mac := [6]byte{2, 0, 0, 0, 0, 1}
	for _, c := range []struct{ from, target string }{{"10.0.0.1", "10.0.0.2"}, {"2001:db8::1", "2001:db8::2"}} {
		from, target := netip.MustParseAddr(c.from), netip.MustParseAddr(c.target)
		frame := responder.Ask(mac, from, target)
		if got, ok := responder.Target(frame); !ok || got != target {
			t.Errorf("asks for %s: %v, %v", target, got, ok)
		}
		// A question that is cut off asks for nobody.
		for n := range frame {
			if _, ok := responder.Target(frame[:n]); ok && n < 42 {
				t.Errorf("%d bytes of it ask", n)
			}
		}
	}
	if ip, ok := responder.Target(responder.UnsolicitedNA(mac, netip.MustParseAddr("2001:db8::2"), false)); ok {
		t.Errorf("an advertisement asks for %s", ip)
	}
}
