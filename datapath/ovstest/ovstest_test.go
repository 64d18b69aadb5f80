//go:build integration

package ovstest_test

import (
	"os"
	"strings"
	"testing"

	"tuplenet/datapath/ovstest"
)

func TestSwitchForwardsAndTraces(t *testing.T) {
	s := ovstest.Start(t, ovstest.Config{Ports: []string{"p1", "p2"}})
	s.Ofctl("add-flow", "in_port=1,actions=output:2")
	if out := s.Trace("in_port=1,dl_type=0x800"); !strings.Contains(out, "output:2") {
		t.Errorf("trace:\n%s", out)
	}
	s.Receive("p1", make([]byte, 60))
	if out := s.Ofctl("dump-flows"); !strings.Contains(out, "actions=output:2") {
		t.Errorf("flows:\n%s", out)
	}
	if _, err := s.TryOfctl("add-flow", "actions=nonsense"); err == nil {
		t.Error("a nonsensical flow was taken")
	}
}

func TestSwitchComesBackAfterAKill(t *testing.T) {
	s := ovstest.Start(t, ovstest.Config{})
	s.Ofctl("add-flow", "actions=drop")
	s.KillVswitchd()
	s.StartVswitchd()
	s.Vsctl("set", "bridge", "br0", "external_ids:a=b") // returns when vswitchd has taken notice
	if out := s.Ofctl("dump-flows"); strings.Contains(out, "actions=drop") {
		t.Errorf("flows survived:\n%s", out)
	}
}

func TestNothingStaysBehind(t *testing.T) {
	var dir string
	t.Run("a switch", func(t *testing.T) { dir = ovstest.Start(t, ovstest.Config{}).Dir() })
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s is still there", dir)
	}
}
