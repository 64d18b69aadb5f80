//go:build integration

package ovsdb

import (
	"fmt"
	"strings"
	"testing"
)

func TestT56_IPFIXSettingsAreMadeKeptAndRemoved(t *testing.T) {
	s := newServer(t)
	f := s.follow()
	d := desired(geneve())
	d.IPFIX = &IPFIX{Collector: "192.0.2.9:4739", Sampling: 64, Domain: 0xc0000201}
	f.Set(d)
	settings := func() string {
		return strings.NewReplacer(`"`, "", "[", "", "]", "").Replace(strings.Join(strings.Fields(s.vsctl("--columns=targets,sampling,obs_domain_id,obs_point_id", "-f", "csv", "--no-headings", "list", "ipfix")), " "))
	}
	has := func(want string) {
		t.Helper()
		s.eventually("settings "+want, func() error {
			if got := settings(); got != want {
				return fmt.Errorf("they are %q", got)
			}
			return nil
		})
	}
	has("192.0.2.9:4739,64,3221225985,0")
	s.vsctl("set", "ipfix", ".", "sampling=1")
	has("192.0.2.9:4739,64,3221225985,0")
	s.vsctl("clear", "bridge", "br-int", "ipfix")
	has("192.0.2.9:4739,64,3221225985,0")
	changed := desired(geneve())
	changed.IPFIX = &IPFIX{Collector: "[2001:db8::9]:4739", Sampling: 1, Domain: 7}
	f.Set(changed)
	has("2001:db8::9:4739,1,7,0")
	f.Set(desired(geneve()))
	has("")

	s.vsctl("--", "--id=@x", "create", "ipfix", `targets="192.0.2.1:1"`, "--", "set", "bridge", "br-int", "ipfix=@x")
	f.Set(d)
	f.until("the refusal", func(facts Facts) string {
		if why := facts.Failures["ipfix"]; !strings.Contains(why, "tuplenet did not make") {
			return why
		}
		return ""
	})
	f.Set(desired(geneve()))
	f.until("no failure", func(facts Facts) string { return facts.Failures["ipfix"] })
	has("192.0.2.1:1,,,")
}
