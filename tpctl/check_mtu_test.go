package tpctl

import (
	"net/netip"
	"strings"
	"testing"

	"tuplenet/model"
)

func TestT39_TheMatrixShowsWhatPassesBetweenTheChassis(t *testing.T) {
	all := []wayView{{From: "a", To: "b", MTU: 1400, Device: 1500}, {From: "a", To: "c", Error: "no answer"}, {From: "b", To: "a", MTU: 1500, Device: 1500}}
	for f, want := range map[format]string{
		formatTable: "FROM  a     b      c\na     -     1400!  ?\nb     1500  -      -\nc     -     -      -\n",
		formatPlain: "a:\n  - b: 1400!\n  - c: ?\n\nb:\n  - a: 1500\n\nc:\n\n",
	} {
		var b strings.Builder
		if err := listWays(all).write(&b, f); err != nil || trimmed(b.String()) != trimmed(want) {
			t.Errorf("%s: %v\n%s\nwant\n%s", f, err, b.String(), want)
		}
	}
	c := &checking{}
	if c.ways(all); len(c.findings) != 1 || c.findings[0].Text != "packets of 1500 bytes do not pass to b, only up to 1400" {
		t.Errorf("found %v", c.findings)
	}
}

// trimmed is a text without blanks at the ends of lines.
func trimmed(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return b.String()
}

func TestAWayIsOfTheFirstFamilyThatBothHave(t *testing.T) {
	at := func(ips ...string) *model.Chassis {
		c := &model.Chassis{}
		for _, ip := range ips {
			c.IPs = append(c.IPs, netip.MustParseAddr(ip))
		}
		return c
	}
	for _, c := range []struct {
		from, to *model.Chassis
		want     string
	}{
		{at("192.0.2.1", "2001:db8::1"), at("192.0.2.2", "2001:db8::2"), "192.0.2.2"},
		{at("2001:db8::1"), at("192.0.2.2", "2001:db8::2"), "2001:db8::2"},
		{at("2001:db8::1"), at("192.0.2.2"), "invalid IP"},
	} {
		if got := wayTo(c.from, c.to); got.String() != c.want {
			t.Errorf("to %v, want %s", got, c.want)
		}
	}
}
