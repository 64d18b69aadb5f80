package ovsdb

import (
	"errors"
	"strings"
	"testing"
)

func TestTheDatapathTypeIsChosenInOrder(t *testing.T) {
	phy := Facts{
		Bridges: map[string]*Bridge{"br-phy": {Name: "br-phy", DatapathType: "netdev"}, "br-old": {Name: "br-old", DatapathType: "system"}},
		Interfaces: map[string]*Interface{
			"br-phy": {Name: "br-phy", Bridge: "br-phy", Type: "internal"},
			"vtep0":  {Name: "vtep0", Bridge: "br-old", Type: "internal"},
			"eth0":   {Name: "eth0", Bridge: "br-phy"},
		},
	}
	existing := Facts{Bridges: map[string]*Bridge{"br-int": {Name: "br-int", DatapathType: "dummy"}}}
	for name, c := range map[string]struct {
		facts          Facts
		option, device string
		kernel         bool
		want           string
	}{
		"an existing bridge keeps its own, whatever the option":    {existing, "netdev", "br-phy", true, "dummy"},
		"the option goes before what the host looks like":          {phy, "system", "br-phy", false, "system"},
		"the bridge that holds the tunnel address decides":         {phy, "", "br-phy", true, "netdev"},
		"an internal port of a bridge counts as its local port":    {phy, "", "vtep0", false, "system"},
		"a device that is only plugged into a bridge says nothing": {phy, "", "eth0", true, "system"},
		"a plain device and a kernel with the datapath":            {phy, "", "eth1", true, "system"},
		"a plain device and a kernel without it":                   {phy, "", "eth1", false, "netdev"},
		"nothing known at all":                                     {Facts{}, "", "", false, "netdev"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := ChooseDatapath(c.facts, "br-int", c.option, c.device, c.kernel); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestTheVersionGate(t *testing.T) {
	for _, good := range []string{"2.10", "2.10.0", "2.17.9", "3.1.0", "3.5.0-rc1", "10.0.1"} {
		if err := CheckVersion(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for version, reason := range map[string]string{
		"2.9.8": "too old", "1.10.0": "too old", "2.0": "too old", "unknown": "not of the form", "3": "not of the form", "3.x": "not of the form",
	} {
		if err := CheckVersion(version); err == nil || !strings.Contains(err.Error(), reason) || !strings.Contains(err.Error(), version) {
			t.Errorf("%s: %v, want a reason with %q", version, err, reason)
		}
	}
	if err := CheckVersion(""); !errors.Is(err, ErrVersionUnknown) {
		t.Errorf("no version: %v", err)
	}
}
